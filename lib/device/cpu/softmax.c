/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

typedef struct
{
  gint64 c;
  const gfloat *y, *dy;
  gfloat *out;
} SoftmaxJob;

/* y = exp (x - max x) / sum, of each pixel. */
static PT_CLONES void
softmax_range (gconstpointer data, gint64 begin, gint64 end)
{
  const SoftmaxJob *job = data;
  gint64 c = job->c;

  for (gint64 p = begin; p < end; p++) {
    const gfloat *x = job->y + p * c;
    gfloat *y = job->out + p * c, top = x[0], sum = 0, scale;

    for (gint64 k = 1; k < c; k++)
      top = x[k] > top ? x[k] : top;
#pragma omp simd reduction (+:sum)
    for (gint64 k = 0; k < c; k++) {
      gfloat e = pt_expf (x[k] - top);

      y[k] = e;
      sum += e;
    }
    scale = 1.f / sum;
#pragma omp simd
    for (gint64 k = 0; k < c; k++)
      y[k] *= scale;
  }
}

/* dx = y (dy - sum y dy) */
static PT_CLONES void
softmax_range_backward (gconstpointer data, gint64 begin, gint64 end)
{
  const SoftmaxJob *job = data;
  gint64 c = job->c;

  for (gint64 p = begin; p < end; p++) {
    const gfloat *y = job->y + p * c, *dy = job->dy + p * c;
    gfloat *dx = job->out + p * c, sum = 0;

#pragma omp simd reduction (+:sum)
    for (gint64 k = 0; k < c; k++)
      sum += y[k] * dy[k];
#pragma omp simd
    for (gint64 k = 0; k < c; k++)
      dx[k] = y[k] * (dy[k] - sum);
  }
}

static gint64
softmax_pixels (const PtOp *op)
{
  return pt_shape_h (&op->desc.x) * pt_shape_w (&op->desc.x);
}

static gboolean
softmax_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  SoftmaxJob job = { pt_shape_c (&op->desc.x), args->x->data, NULL,
    args->y->data
  };

  pt_cpu_for (op, softmax_pixels (op), 8 * job.c, softmax_range, &job);
  return TRUE;
}

static gboolean
softmax_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  SoftmaxJob job = { pt_shape_c (&op->desc.x), args->y->data, args->dy->data,
    args->dx->data
  };

  pt_cpu_for (op, softmax_pixels (op), job.c, softmax_range_backward, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_softmax = {
  .plan = pt_cpu_plan_nothing,
  .run = softmax_run,
};

const PtOpImpl pt_cpu_softmax_backward = {
  .plan = pt_cpu_plan_nothing,
  .run = softmax_run_backward,
};
