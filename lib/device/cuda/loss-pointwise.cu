/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/loss.h"

namespace
{

template < PtPointwiseLoss kind > struct Pointwise
{
  const gfloat *x, *t;
  gfloat *dx;
  gfloat eps2, scale;

  PT_HD void operator() (guint o, guint i, gfloat *sums) const
  {
    gfloat d = x[i] - t[i], value, slope;

    if (kind == PT_POINTWISE_MSE) {
      value = d * d;
      slope = 2.f * d;
    } else if (kind == PT_POINTWISE_L1) {
      value = fabsf (d);
      slope = pt_loss_sign (d);
    } else {
      value = pt_loss_charbonnier (d, eps2, &slope);
    }
    sums[0] += value;
    dx[i] = slope * scale;
  }
};

template < PtPointwiseLoss kind > gboolean
pointwise_launch (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.x);
  gfloat eps = op->desc.pointwise.eps;
  Pointwise < kind > job = { pt_data (args->x),
    pt_data (args->target), pt_data (args->dx), eps * eps,
    (gfloat) (1. / n) };
  PtLossMean mean = { pt_data (args->loss), (gdouble) n };
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, 1, n, launch.scratch, job, mean,
      error);
}

}                               // namespace

static gboolean
pointwise_plan (PtOp *op, GError **error)
{
  op->scratch_size = pt_cuda_sum_scratch (1,
      pt_shape_get_n_elements (&op->desc.x), 1);
  return TRUE;
}

static gboolean
pointwise_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  switch (op->desc.pointwise.kind) {
    case PT_POINTWISE_MSE:
      return pointwise_launch < PT_POINTWISE_MSE > (op, args, error);
    case PT_POINTWISE_L1:
      return pointwise_launch < PT_POINTWISE_L1 > (op, args, error);
    default:
      return pointwise_launch < PT_POINTWISE_CHARBONNIER > (op, args, error);
  }
}

const PtOpImpl pt_cuda_pointwise_loss = {
  .plan = pointwise_plan,
  .run = pointwise_run,
};
