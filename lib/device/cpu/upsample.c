/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

typedef struct
{
  const PtOp *op;
  const gfloat *src;
  gfloat *dst;
} UpsampleJob;

/* Where output @i reads: (1 - t) src[a] + t src[b], as F.interpolate with
 * align_corners=False: position (i + 1/2) / scale - 1/2, at least 0. */
PT_INLINE void
upsample_tap (PtUpsampleMode mode, gint64 i, gint64 n, gint64 n_out,
    gint64 *a, gint64 *b, gfloat *t)
{
  gfloat at;

  if (mode == PT_UPSAMPLE_NEAREST) {
    *a = *b = i * n / n_out;
    *t = 0;
    return;
  }
  at = MAX ((i + 0.5f) * n / n_out - 0.5f, 0.f);
  *a = MIN ((gint64) at, n - 1);
  *b = MIN (*a + 1, n - 1);
  *t = at - *a;
}

static PT_CLONES void
upsample_rows (gconstpointer data, gint64 begin, gint64 end)
{
  const UpsampleJob *job = data;
  const PtOpDesc *desc = &job->op->desc;
  PtUpsampleMode mode = desc->upsample.mode;
  gint64 c = pt_shape_c (&desc->x), h = pt_shape_h (&desc->x);
  gint64 w = pt_shape_w (&desc->x), oh = pt_shape_h (&desc->y);
  gint64 ow = pt_shape_w (&desc->y);

  for (gint64 i = begin; i < end; i++) {
    gint64 a, b, l, r;
    gfloat ty, tx;

    upsample_tap (mode, i, h, oh, &a, &b, &ty);
    for (gint64 j = 0; j < ow; j++) {
      gfloat *y = job->dst + (i * ow + j) * c;
      const gfloat *p, *q, *u, *v;

      upsample_tap (mode, j, w, ow, &l, &r, &tx);
      p = job->src + (a * w + l) * c;
      q = job->src + (a * w + r) * c;
      u = job->src + (b * w + l) * c;
      v = job->src + (b * w + r) * c;
      if (mode == PT_UPSAMPLE_NEAREST) {
        memcpy (y, p, c * sizeof *y);
        continue;
      }
#pragma omp simd
      for (gint64 k = 0; k < c; k++)
        y[k] = (1 - ty) * ((1 - tx) * p[k] + tx * q[k])
            + ty * ((1 - tx) * u[k] + tx * v[k]);
    }
  }
}

/* Adds the row of gradients @dy to one input row with weight @weight. */
PT_INLINE void
upsample_gather_row (const PtOpDesc *desc, const gfloat *dy, gfloat weight,
    gfloat *dx)
{
  gint64 c = pt_shape_c (&desc->x), w = pt_shape_w (&desc->x);
  gint64 ow = pt_shape_w (&desc->y);

  for (gint64 j = 0; j < ow; j++, dy += c) {
    gint64 l, r;
    gfloat t, wl, wr;

    upsample_tap (desc->upsample.mode, j, w, ow, &l, &r, &t);
    wl = weight * (1 - t);
    wr = weight * t;
#pragma omp simd
    for (gint64 k = 0; k < c; k++)
      dx[l * c + k] += wl * dy[k];
    if (wr == 0)
      continue;
#pragma omp simd
    for (gint64 k = 0; k < c; k++)
      dx[r * c + k] += wr * dy[k];
  }
}

/* Each input row gathers from the output rows that read it, in order. */
static PT_CLONES void
upsample_rows_backward (gconstpointer data, gint64 begin, gint64 end)
{
  const UpsampleJob *job = data;
  const PtOpDesc *desc = &job->op->desc;
  gint64 c = pt_shape_c (&desc->x), h = pt_shape_h (&desc->x);
  gint64 w = pt_shape_w (&desc->x), oh = pt_shape_h (&desc->y);
  gint64 ow = pt_shape_w (&desc->y), scale = (oh + h - 1) / h;

  for (gint64 i = begin; i < end; i++) {
    gfloat *dx = job->dst + i * w * c;
    gint64 from = MAX ((i - 1) * scale, 0), to = MIN ((i + 2) * scale, oh);

    memset (dx, 0, w * c * sizeof *dx);
    for (gint64 o = from; o < to; o++) {
      gint64 a, b;
      gfloat t, weight;

      upsample_tap (desc->upsample.mode, o, h, oh, &a, &b, &t);
      weight = (a == i ? 1 - t : 0) + (b == i ? t : 0);
      if (weight != 0)
        upsample_gather_row (desc, job->src + o * ow * c, weight, dx);
    }
  }
}

static gboolean
upsample_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  UpsampleJob job = { op, args->x->data, args->y->data };
  const PtShape *y = &op->desc.y;

  pt_cpu_for (op, pt_shape_h (y), pt_shape_w (y) * pt_shape_c (y),
      upsample_rows, &job);
  return TRUE;
}

static gboolean
upsample_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  UpsampleJob job = { op, args->dy->data, args->dx->data };
  const PtShape *y = &op->desc.y;

  pt_cpu_for (op, pt_shape_h (&op->desc.x), pt_shape_w (y) * pt_shape_c (y),
      upsample_rows_backward, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_upsample = {
  .plan = pt_cpu_plan_nothing,
  .run = upsample_run,
};

const PtOpImpl pt_cpu_upsample_backward = {
  .plan = pt_cpu_plan_nothing,
  .run = upsample_run_backward,
};
