/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/vec.h"

namespace
{

/* y = exp (x - max x) / sum, of each pixel */
struct Forward
{
  guint c;
  const gfloat *x;
  gfloat *y;

  template < typename Team > PT_HD void
  operator() (guint pixel, const Team &team) const
  {
    const gfloat *from = x + (gsize) pixel * c;
    gfloat *to = y + (gsize) pixel * c, top = -INFINITY, sum = 0, scale;

    for (guint k = team.rank; k < c; k += team.size)
      top = from[k] > top ? from[k] : top;
    top = team.max (top);
    for (guint k = team.rank; k < c; k += team.size)
      sum += to[k] = expf (from[k] - top);
    scale = 1 / (gfloat) team.sum (sum);
    for (guint k = team.rank; k < c; k += team.size)
      to[k] *= scale;
  }
};

/* dx = y (dy - sum y dy) */
struct Backward
{
  guint c;
  const gfloat *y, *dy;
  gfloat *dx;

  template < typename Team > PT_HD void
  operator() (guint pixel, const Team &team) const
  {
    gsize at = (gsize) pixel * c;
    gfloat sum = 0;

    for (guint k = team.rank; k < c; k += team.size)
      sum += y[at + k] * dy[at + k];
    sum = team.sum (sum);
    for (guint k = team.rank; k < c; k += team.size)
      dx[at + k] = y[at + k] * (dy[at + k] - sum);
  }
};

}                               // namespace

template < typename Job > static gboolean
softmax_launch (PtOp *op, const Job &job, GError **error)
{
  const PtShape *x = &op->desc.x;
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_teams (&launch, pt_shape_h (x) * pt_shape_w (x), job.c, job,
      error);
}

static gboolean
softmax_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Forward job = { (guint) pt_shape_c (&op->desc.x), pt_data (args->x),
    pt_data (args->y) };

  return softmax_launch (op, job, error);
}

static gboolean
softmax_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  Backward job = { (guint) pt_shape_c (&op->desc.x), pt_data (args->y),
    pt_data (args->dy), pt_data (args->dx) };

  return softmax_launch (op, job, error);
}

const PtOpImpl pt_cuda_softmax = {
  .plan = pt_cuda_plan_nothing,
  .run = softmax_run,
};

const PtOpImpl pt_cuda_softmax_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = softmax_run_backward,
};
