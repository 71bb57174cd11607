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

/* Lines and maps have room for reading and writing whole vectors. */
#define LANES 16

typedef gfloat Vec __attribute__ ((vector_size (4 * LANES)));
typedef gfloat VecAt __attribute__ ((vector_size (4 * LANES), aligned (4),
        may_alias));

#define VEC(p) (*(VecAt *) (p))
#define LOAD(p) (*(const VecAt *) (p))

typedef struct
{
  gint64 c, h, w;
  gint64 out_h, out_w;          /* windows that lie inside */
  gint window;
  gfloat *taps;
  gfloat c1, c2, alpha;
  gint64 slices;                /* of rows, one for each thread */
  gint64 line;                  /* floats of a line with its margins */
  gint64 row;                   /* floats of a row of a map */
  gsize maps_at, lines_at;      /* in the scratch, bytes */
  /* of a run */
  const gfloat *x, *t;
  gfloat *dx;
  gdouble *sums;                /* of out_h rows, then of h rows */
  gfloat *maps;                 /* three derivatives, out_h rows each */
  gfloat *lines;
} Ssim;

/* to[i] = sum_k taps[k] from[k step + i] */
PT_INLINE void
ssim_filter (const gfloat *taps, gint window, const gfloat *from, gint64 step,
    gint64 n, gfloat *to)
{
  for (gint64 i = 0; i < n; i += LANES) {
    Vec sum = { 0 };

    for (gint k = 0; k < window; k++)
      sum += taps[k] * LOAD (from + k * step + i);
    VEC (to + i) = sum;
  }
}

/* One column of ssim_down(), at the end of a row that is no whole number of
 * vectors. */
PT_INLINE void
ssim_down_one (const Ssim *self, const gfloat *x, const gfloat *t, gfloat *to)
{
  gint64 n = self->w * self->c, line = self->line;
  gfloat a = 0, b = 0, e = 0, g = 0;

  for (gint k = 0; k < self->window; k++) {
    gfloat p = x[k * n], q = t[k * n], d = p - q, tap = self->taps[k];

    a += tap * p;
    b += tap * q;
    e += tap * (p * p + q * q);
    g += tap * (d * d);
  }
  to[0] = a;
  to[line] = b;
  to[2 * line] = e;
  to[3 * line] = g;
}

/* From the rows under each other, beginning with @row, a line of each of
 * a b e g. */
PT_INLINE void
ssim_down (const Ssim *self, gint64 row, gfloat *lines)
{
  gint64 n = self->w * self->c, line = self->line, i;
  const gfloat *x = self->x + row * n, *t = self->t + row * n;

  for (i = 0; i + LANES <= n; i += LANES) {
    Vec a = { 0 }, b = { 0 }, e = { 0 }, g = { 0 };

    for (gint k = 0; k < self->window; k++) {
      Vec p = LOAD (x + k * n + i), q = LOAD (t + k * n + i), d = p - q;
      gfloat tap = self->taps[k];

      a += tap * p;
      b += tap * q;
      e += tap * (p * p + q * q);
      g += tap * (d * d);
    }
    VEC (lines + i) = a;
    VEC (lines + line + i) = b;
    VEC (lines + 2 * line + i) = e;
    VEC (lines + 3 * line + i) = g;
  }
  for (; i < n; i++)
    ssim_down_one (self, x + i, t + i, lines + i);
}

/* The formula: the sum of a row of 1 - SSIM, and its derivatives into the
 * maps. */
PT_INLINE gdouble
ssim_compare (const Ssim *self, gint64 row, const gfloat *lines)
{
  gint64 line = self->line, map = self->row * self->out_h;
  gfloat *to = self->maps + row * self->row, c1 = self->c1, c2 = self->c2;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < self->out_w * self->c; i++) {
    gfloat a = lines[i], b = lines[line + i], shift = a - b;
    gfloat square = a * a + b * b, n1 = 1.f / (square + c1), n2, u, v;
    /* variances: rounding may make them negative */
    gfloat e = lines[2 * line + i] - square;
    gfloat g = lines[3 * line + i] - shift * shift;

    n2 = 1.f / ((e < 0.f ? 0.f : e) + c2);
    u = shift * shift * n1;
    v = (g < 0.f ? 0.f : g) * n2;
    sum += u + v - u * v;
    to[i] = (1.f - v) * 2.f * (shift - a * u) * n1
        + (1.f - u) * 2.f * (a * v - shift) * n2;
    to[map + i] = (u - 1.f) * v * n2;
    to[2 * map + i] = (1.f - u) * n2;
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
      for (gint k = 0; k < SSIM_LINES; k++)
        ssim_filter (self->taps, self->window, lines + k * self->line,
            self->c, self->out_w * self->c, lines + k * self->line);
      self->sums[row] = ssim_compare (self, row, lines);
    }
  }
}

/* The maps' rows whose windows reach @row, weighed: a line of each, between
 * margins of zeros. */
PT_INLINE void
ssim_back_down (const Ssim *self, gint64 row, gfloat *lines)
{
  gint64 n = self->out_w * self->c, margin = (self->window - 1) * self->c;
  gint64 map = self->row * self->out_h;
  gint64 top = MAX (row - self->window + 1, 0);
  gint64 bottom = MIN (row, self->out_h - 1);
  /* the window is the same both ways */
  const gfloat *taps = self->taps + self->window - 1 - (row - top);

  for (gint k = 0; k < SSIM_LINES - 1; k++) {
    gfloat *to = lines + k * self->line;

    memset (to, 0, margin * sizeof *to);
    ssim_filter (taps, bottom - top + 1,
        self->maps + k * map + top * self->row, self->row, n, to + margin);
    memset (to + margin + n, 0, LANES * sizeof *to);
  }
}

/* dx = da/dx Ga + 2 x Ge + 2 d Gg, and the l1 part; the sum of a row of |d|. */
PT_INLINE gdouble
ssim_back_combine (const Ssim *self, gint64 row, const gfloat *lines)
{
  gint64 n = self->w * self->c, line = self->line;
  const gfloat *x = self->x + row * n, *t = self->t + row * n;
  gfloat *dx = self->dx + row * n;
  gfloat scale = self->alpha / (self->out_h * self->out_w * self->c);
  gfloat scale_l1 = (1 - self->alpha) / (self->h * n);
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < n; i++) {
    gfloat d = x[i] - t[i];

    dx[i] = scale * (lines[i]
        + 2.f * (x[i] * lines[line + i] + d * lines[2 * line + i]))
        + scale_l1 * (d > 0.f ? 1.f : d < 0.f ? -1.f : d);
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
      for (gint k = 0; k < SSIM_LINES - 1; k++)
        ssim_filter (self->taps, self->window, lines + k * self->line,
            self->c, self->w * self->c, lines + k * self->line);
      self->sums[self->out_h + row] = ssim_back_combine (self, row, lines);
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

static gint64
ssim_round_up (gint64 n, gint64 unit)
{
  return (n + unit - 1) / unit * unit;
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
  Ssim *self = op->priv = g_new0 (Ssim, 1);

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
  self->line = ssim_round_up ((self->w + desc->window - 1) * self->c
      + LANES, LANES);
  self->row = ssim_round_up (self->out_w * self->c, LANES);
  self->maps_at = ssim_round_up ((self->out_h + self->h) * sizeof (gdouble),
      PT_ALIGNMENT);
  self->lines_at = ssim_round_up (self->maps_at +
      3 * self->out_h * self->row * sizeof (gfloat), PT_ALIGNMENT);
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
