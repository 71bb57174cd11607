/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/vec.h"

namespace
{

/* In memory a tensor is (outer, C, step), step being 1 in images. */
struct Window
{
  guint c, step;
  gint before, after;           /* channels of it */
  gfloat alpha, beta, k;        /* alpha is divided by its size */

  /* Calls @add with each element around @i. */
  template < typename F > PT_HD void
  visit (guint i, gint first, gint last, const F &add) const
  {
    gint at = i / step % c;

    for (gint t = MAX (-at, -first); t <= last && at + t < (gint) c; t++)
      add (i + t * (gint) step);
  }
};

struct Forward
{
  Window g;
  const gfloat *x;
  gfloat *y, *s;                /* s may be NULL */

  PT_HD void operator() (guint i) const
  {
    gfloat sum = 0;

    g.visit (i, g.before, g.after,[&](guint j) {
          sum += x[j] * x[j];
        });
    sum = g.k + g.alpha * sum;
    if (s != NULL)
      s[i] = sum;
    y[i] = x[i] * powf (sum, -g.beta);
  }
};

/* dx = dy s^-beta - 2 alpha beta x sum dy x s^(-beta - 1) */
struct Backward
{
  Window g;
  const gfloat *x, *dy, *s;
  gfloat *dx;

  PT_HD void operator() (guint i) const
  {
    gfloat sum = 0;

    g.visit (i, g.after, g.before,[&](guint j) {
          sum += dy[j] * x[j] * powf (s[j], -g.beta - 1);
        });
    dx[i] = dy[i] * powf (s[i], -g.beta) - 2 * g.alpha * g.beta * x[i] * sum;
  }
};

}                               // namespace

static Window
lrn_get_window (const PtOp *op)
{
  const PtLrnDesc *desc = &op->desc.lrn;
  const PtShape *x = &op->desc.x;
  gint64 n = pt_shape_get_n_elements (x), c = pt_shape_c (x);
  gint64 step = x->n_dims > 3 ? 1 : n / (pt_shape_get_dim (x, 0) * c);

  return Window { (guint) c, (guint) step, desc->before, desc->after,
    desc->alpha / (desc->before + 1 + desc->after), desc->beta, desc->k };
}

static gboolean
lrn_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_each (&launch, pt_shape_get_n_elements (&op->desc.x),
      Forward { lrn_get_window (op), pt_data (args->x), pt_data (args->y),
        op->desc.training ? pt_data (args->saved_variance) : NULL }, error);
}

static gboolean
lrn_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_each (&launch, pt_shape_get_n_elements (&op->desc.x),
      Backward { lrn_get_window (op), pt_data (args->x), pt_data (args->dy),
        pt_data (args->saved_variance), pt_data (args->dx) }, error);
}

const PtOpImpl pt_cuda_lrn = {
  .plan = pt_cuda_plan_nothing,
  .run = lrn_run,
};

const PtOpImpl pt_cuda_lrn_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = lrn_run_backward,
};
