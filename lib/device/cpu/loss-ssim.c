/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/loss.h"

/* Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error
 * visibility to structural similarity", 2004. With d = x - t, G the Gaussian
 * window, a = G x, b = G t, e = G (x^2 + t^2), g = G d^2:
 *   u = (a - b)^2 / (a^2 + b^2 + C1)                  = 1 - luminance
 *   v = (g - (a - b)^2) / (e - a^2 - b^2 + C2)        = 1 - structure
 *   1 - SSIM = u + v - u v
 * which has nothing to subtract where x is near t, so floats are enough. The
 * derivatives with respect to a, e and g go back through G. */

#define SSIM_LINES 4            /* a b e g; on the way back three */

typedef struct
{
  gint64 c, h, w;
  gint64 out_h, out_w;          /* windows that lie inside */
  gint window;
  gfloat *taps;
  gfloat c1, c2, alpha;
  gint64 slices;                /* of rows, one for each thread */
  gint64 line;                  /* floats of a line with its margins */
  gsize maps_at, lines_at;      /* in the scratch, bytes */
  /* of a run */
  const gfloat *x, *t;
  gfloat *dx;
  gdouble *sums;                /* of out_h rows, then of h rows */
  gfloat *maps;                 /* three derivatives, out_h x out_w x c each */
  gfloat *lines;
} Ssim;

/* From the rows under each other, beginning with @row, a line of each of
 * a b e g. */
PT_INLINE void
ssim_down (const Ssim *self, gint64 row, gfloat *lines)
{
  gint64 n = self->w * self->c, line = self->line, first = row * n;
  const gfloat *taps = self->taps;
  gint window = self->window;

#pragma omp simd
  for (gint64 i = 0; i < n; i++) {
    gfloat a = 0, b = 0, e = 0, g = 0;

    for (gint k = 0; k < window; k++) {
      gfloat x = self->x[first + k * n + i], t = self->t[first + k * n + i];
      gfloat d = x - t;

      a += taps[k] * x;
      b += taps[k] * t;
      e += taps[k] * (x * x + t * t);
      g += taps[k] * (d * d);
    }
    lines[i] = a;
    lines[line + i] = b;
    lines[2 * line + i] = e;
    lines[3 * line + i] = g;
  }
}

/* Along the lines, then the formula: the sum of a row of 1 - SSIM, and its
 * derivatives into the maps. */
PT_INLINE gdouble
ssim_along (const Ssim *self, gint64 row, const gfloat *lines)
{
  gint64 n = self->out_w * self->c, size = n * self->out_h;
  gint64 line = self->line, c = self->c;
  gfloat *to = self->maps + row * n, c1 = self->c1, c2 = self->c2;
  const gfloat *taps = self->taps;
  gint window = self->window;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < n; i++) {
    gfloat a = 0, b = 0, e = 0, g = 0, shift, n1, n2, u, v, square;

    for (gint k = 0; k < window; k++) {
      a += taps[k] * lines[i + k * c];
      b += taps[k] * lines[line + i + k * c];
      e += taps[k] * lines[2 * line + i + k * c];
      g += taps[k] * lines[3 * line + i + k * c];
    }
    shift = a - b;
    square = a * a + b * b;
    e -= square;                /* variances: rounding may make them */
    g -= shift * shift;         /* negative */
    n1 = 1.f / (square + c1);
    n2 = 1.f / ((e < 0.f ? 0.f : e) + c2);
    u = shift * shift * n1;
    v = (g < 0.f ? 0.f : g) * n2;
    sum += u + v - u * v;
    to[i] = (1.f - v) * 2.f * (shift - a * u) * n1
        + (1.f - u) * 2.f * (a * v - shift) * n2;
    to[size + i] = (u - 1.f) * v * n2;
    to[2 * size + i] = (1.f - u) * n2;
  }
  return sum;
}

static PT_CLONES void
ssim_range (gconstpointer data, gint64 begin, gint64 end)
{
  const Ssim *self = data;

  for (gint64 i = begin; i < end; i++) {
    gfloat *lines = self->lines + i * SSIM_LINES * self->line;
    gint64 last = self->out_h * (i + 1) / self->slices;

    for (gint64 row = self->out_h * i / self->slices; row < last; row++) {
      ssim_down (self, row, lines);
      self->sums[row] = ssim_along (self, row, lines);
    }
  }
}

/* The maps' rows whose windows reach @row, weighed: a line of each, between
 * margins of zeros. */
PT_INLINE void
ssim_back_down (const Ssim *self, gint64 row, gfloat *lines)
{
  gint64 n = self->out_w * self->c, size = n * self->out_h;
  gint64 line = self->line, margin = (self->window - 1) * self->c;
  gint first = MAX (row - self->out_h + 1, 0);
  gint last = MIN (self->window - 1, row);
  const gfloat *maps = self->maps, *taps = self->taps;
  gfloat *to = lines + margin;

#pragma omp simd
  for (gint64 i = 0; i < n; i++) {
    gfloat a = 0, e = 0, g = 0;

    for (gint k = first; k <= last; k++) {
      const gfloat *from = maps + (row - k) * n;

      a += taps[k] * from[i];
      e += taps[k] * from[size + i];
      g += taps[k] * from[2 * size + i];
    }
    to[i] = a;
    to[line + i] = e;
    to[2 * line + i] = g;
  }
}

/* dx = da/dx Ga + 2 x Ge + 2 d Gg, and the l1 part; the sum of a row of |d|. */
PT_INLINE gdouble
ssim_back_along (const Ssim *self, gint64 row, const gfloat *lines)
{
  gint64 n = self->w * self->c, line = self->line, c = self->c;
  const gfloat *x = self->x + row * n, *t = self->t + row * n;
  const gfloat *taps = self->taps;
  gfloat *dx = self->dx + row * n;
  gfloat scale = self->alpha / (self->out_h * self->out_w * c);
  gfloat scale_l1 = (1 - self->alpha) / (self->h * n);
  gint window = self->window;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < n; i++) {
    gfloat a = 0, e = 0, g = 0, d = x[i] - t[i];

    for (gint k = 0; k < window; k++) {
      a += taps[k] * lines[i + k * c];
      e += taps[k] * lines[line + i + k * c];
      g += taps[k] * lines[2 * line + i + k * c];
    }
    dx[i] = scale * (a + 2.f * (x[i] * e + d * g)) +
        scale_l1 * (d > 0.f ? 1.f : d < 0.f ? -1.f : d);
    sum += fabsf (d);
  }
  return sum;
}

static PT_CLONES void
ssim_back_range (gconstpointer data, gint64 begin, gint64 end)
{
  const Ssim *self = data;

  for (gint64 i = begin; i < end; i++) {
    gfloat *lines = self->lines + i * SSIM_LINES * self->line;
    gint64 last = self->h * (i + 1) / self->slices;

    memset (lines, 0, SSIM_LINES * self->line * sizeof *lines);
    for (gint64 row = self->h * i / self->slices; row < last; row++) {
      ssim_back_down (self, row, lines);
      self->sums[self->out_h + row] = ssim_back_along (self, row, lines);
    }
  }
}

static void
ssim_clear (PtOp *op)
{
  Ssim *self = op->priv;

  if (self != NULL)
    g_free (self->taps);
  g_free (self);
}

static void
ssim_make_taps (Ssim *self, gdouble sigma)
{
  g_autofree gdouble *taps = g_new (gdouble, self->window);
  gdouble sum = 0;

  self->taps = g_new (gfloat, self->window);
  for (gint k = 0; k < self->window; k++) {
    gdouble from_middle = (k - (self->window - 1) / 2.) / sigma;

    sum += taps[k] = exp (-from_middle * from_middle / 2);
  }
  for (gint k = 0; k < self->window; k++)
    self->taps[k] = taps[k] / sum;
}

static gboolean
ssim_plan (PtOp *op, GError **error)
{
  const PtSsimDesc *desc = &op->desc.ssim;
  const gsize unit = PT_ALIGNMENT;
  Ssim *self = op->priv = g_new0 (Ssim, 1);
  gint64 map;

  self->c = pt_shape_c (&op->desc.x);
  self->h = pt_shape_h (&op->desc.x);
  self->w = pt_shape_w (&op->desc.x);
  self->window = desc->window;
  self->out_h = self->h - desc->window + 1;
  self->out_w = self->w - desc->window + 1;
  self->c1 = 1e-4 * desc->data_range * desc->data_range;
  self->c2 = 9e-4 * desc->data_range * desc->data_range;
  self->alpha = desc->alpha;
  ssim_make_taps (self, desc->sigma);
  self->slices = MIN (op->workspace->device->n_threads, self->out_h);
  self->line = (self->w + desc->window - 1) * self->c;
  map = self->out_h * self->out_w * self->c;
  self->maps_at = (self->out_h + self->h) * sizeof (gdouble);
  self->maps_at = (self->maps_at + unit - 1) / unit * unit;
  self->lines_at = self->maps_at + 3 * map * sizeof (gfloat);
  self->lines_at = (self->lines_at + unit - 1) / unit * unit;
  op->scratch_size = self->lines_at +
      self->slices * SSIM_LINES * self->line * sizeof (gfloat);
  return TRUE;
}

static gboolean
ssim_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Ssim *self = op->priv;
  guint8 *scratch = op->workspace->scratch->data;
  gint64 n = self->h * self->w * self->c;
  gint64 windows = self->out_h * self->out_w * self->c;
  /* two passes with the taps, each over four lines */
  gint64 cost = n * self->window / self->slices;

  self->x = args->x->data;
  self->t = args->target->data;
  self->dx = args->dx->data;
  self->sums = (gdouble *) scratch;
  self->maps = (gfloat *) (scratch + self->maps_at);
  self->lines = (gfloat *) (scratch + self->lines_at);
  pt_cpu_for (op, self->slices, cost, ssim_range, self);
  pt_cpu_for (op, self->slices, cost, ssim_back_range, self);
  *(gfloat *) args->loss->data =
      self->alpha * pt_loss_add_up (self->sums, self->out_h) / windows +
      (1 - self->alpha) * pt_loss_add_up (self->sums + self->out_h, self->h)
      / n;
  return TRUE;
}

const PtOpImpl pt_cpu_ssim = {
  .plan = ssim_plan,
  .run = ssim_run,
  .clear = ssim_clear,
};
