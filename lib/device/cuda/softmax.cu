/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/vec.h"
#include "device/geometry.h"

namespace
{

/* y = exp (x - max x) / sum, or its logarithm, x - max x - log (sum) */
struct Forward
{
  guint c, inner;
  gboolean log;
  const gfloat *x;
  gfloat *y;

  template < typename Team > PT_HD void
  operator() (guint i, const Team &team) const
  {
    gsize first = (gsize) (i / inner) * c * inner + i % inner;
    const gfloat *from = x + first;
    gfloat *to = y + first, top = -INFINITY, sum = 0, scale;

    for (guint k = team.rank; k < c; k += team.size)
      top = from[k * inner] > top ? from[k * inner] : top;
    top = team.max (top);
    for (guint k = team.rank; k < c; k += team.size) {
      gfloat d = from[k * inner] - top, e = expf (d);

      sum += e;
      to[k * inner] = log ? d : e;
    }
    sum = team.sum (sum);
    scale = log ? logf (sum) : 1 / sum;
    for (guint k = team.rank; k < c; k += team.size)
      to[k * inner] = log ? to[k * inner] - scale : to[k * inner] * scale;
  }
};

/* dx = y (dy - sum y dy); of the logarithm, dy - exp (y) sum dy */
struct Backward
{
  guint c, inner;
  gboolean log;
  const gfloat *y, *dy;
  gfloat *dx;

  template < typename Team > PT_HD void
  operator() (guint i, const Team &team) const
  {
    gsize at = (gsize) (i / inner) * c * inner + i % inner;
    gfloat sum = 0;

    for (guint k = team.rank; k < c; k += team.size)
      sum += (log ? 1 : y[at + k * inner]) * dy[at + k * inner];
    sum = team.sum (sum);
    for (guint k = team.rank; k < c; k += team.size) {
      gfloat p = y[at + k * inner], d = dy[at + k * inner];

      dx[at + k * inner] = log ? d - expf (p) * sum : p * (d - sum);
    }
  }
};

}                               // namespace

template < typename Job > static gboolean
softmax_launch (PtOp *op, Job job, GError **error)
{
  PtSoftmaxGeometry g = pt_softmax_geometry (&op->desc);
  PtCudaLaunch launch;

  job.c = g.c;
  job.inner = g.inner;
  job.log = op->desc.softmax.log;
  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_teams (&launch, g.outer * g.inner, g.c, job, error);
}

static gboolean
softmax_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  return softmax_launch (op, Forward { 0, 0, FALSE, pt_data (args->x),
        pt_data (args->y) }, error);
}

static gboolean
softmax_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  return softmax_launch (op, Backward { 0, 0, FALSE, pt_data (args->y),
        pt_data (args->dy), pt_data (args->dx) }, error);
}

const PtOpImpl pt_cuda_softmax = {
  .plan = pt_cuda_plan_nothing,
  .run = softmax_run,
};

const PtOpImpl pt_cuda_softmax_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = softmax_run_backward,
};
