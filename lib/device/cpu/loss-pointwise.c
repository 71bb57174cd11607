/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/loss.h"

typedef struct
{
  PtPointwiseLoss kind;
  gfloat eps2, scale;
  gint64 n;
  const gfloat *x, *t;
  gfloat *dx;
  gdouble *sums;
} PointwiseJob;

PT_INLINE gdouble
pointwise_block (const PointwiseJob *job, gint64 begin, gint64 end,
    PtPointwiseLoss kind)
{
  const gfloat *x = job->x, *t = job->t;
  gfloat *dx = job->dx, eps2 = job->eps2, scale = job->scale;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = begin; i < end; i++) {
    gfloat d = x[i] - t[i], value, slope;

    if (kind == PT_POINTWISE_MSE) {
      value = d * d;
      slope = 2.f * d;
    } else if (kind == PT_POINTWISE_L1) {
      value = fabsf (d);
      slope = d > 0.f ? 1.f : d < 0.f ? -1.f : d;
    } else {
      value = sqrtf (d * d + eps2);
      slope = value > 0.f ? d / value : 0.f;
    }
    sum += value;
    dx[i] = slope * scale;
  }
  return sum;
}

static PT_CLONES void
pointwise_range (gconstpointer data, gint64 begin, gint64 end)
{
  const PointwiseJob *job = data;

  for (gint64 b = begin; b < end; b++) {
    gint64 first = b * PT_LOSS_BLOCK;
    gint64 last = MIN (first + PT_LOSS_BLOCK, job->n);

    if (job->kind == PT_POINTWISE_MSE)
      job->sums[b] = pointwise_block (job, first, last, PT_POINTWISE_MSE);
    else if (job->kind == PT_POINTWISE_L1)
      job->sums[b] = pointwise_block (job, first, last, PT_POINTWISE_L1);
    else
      job->sums[b] = pointwise_block (job, first, last,
          PT_POINTWISE_CHARBONNIER);
  }
}

static gint64
pointwise_count_blocks (const PtOp *op)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.x);

  return (n + PT_LOSS_BLOCK - 1) / PT_LOSS_BLOCK;
}

static gboolean
pointwise_plan (PtOp *op, GError **error)
{
  op->scratch_size = pointwise_count_blocks (op) * sizeof (gdouble);
  return TRUE;
}

static gboolean
pointwise_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtPointwiseLossDesc *desc = &op->desc.pointwise;
  gint64 n = pt_shape_get_n_elements (&op->desc.x);
  gint64 blocks = pointwise_count_blocks (op);
  PointwiseJob job = { desc->kind, desc->eps * desc->eps, 1. / n, n,
    args->x->data, args->target->data, args->dx->data, pt_loss_get_sums (op)
  };

  pt_cpu_for (op, blocks, PT_LOSS_BLOCK, pointwise_range, &job);
  *(gfloat *) args->loss->data = pt_loss_add_up (job.sums, blocks) / n;
  return TRUE;
}

const PtOpImpl pt_cpu_pointwise_loss = {
  .plan = pointwise_plan,
  .run = pointwise_run,
};
