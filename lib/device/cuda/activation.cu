/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/activation.h"
#include "device/cuda/kernel.h"

namespace
{

template < PtActivation kind > struct Forward
{
  const gfloat *x;
  gfloat *y;
  gfloat alpha;

  PT_HD void operator() (guint i) const
  {
    y[i] = pt_activate < kind > (x[i], alpha);
  }
};

/* dx = dy f'(x); @v is y where the slope can be had from it. */
template < PtActivation kind > struct Backward
{
  const gfloat *v, *dy;
  gfloat *dx;
  gfloat alpha;

  PT_HD void operator() (guint i) const
  {
    dx[i] = dy[i] * pt_activate_slope < kind > (v[i], alpha);
  }
};

struct Run
{
  PtOp *op;
  const PtOpArgs *args;
  PtCudaLaunch launch;
  GError **error;

  template < PtActivation kind > gboolean forward () const
  {
    Forward < kind > job = { (const gfloat *) args->x->data,
      (gfloat *) args->y->data, op->desc.activation.alpha };

    return pt_cuda_each (&launch, pt_shape_get_n_elements (&op->desc.x), job,
        error);
  }

  template < PtActivation kind > gboolean backward () const
  {
    const PtTensor *v = pt_activation_uses_y (kind) ? args->y : args->x;
    Backward < kind > job = { (const gfloat *) v->data,
      (const gfloat *) args->dy->data, (gfloat *) args->dx->data,
      op->desc.activation.alpha };

    return pt_cuda_each (&launch, pt_shape_get_n_elements (&op->desc.x), job,
        error);
  }
};

}                               // namespace

/* Calls @method of @run for the activation @kind. */
#define DISPATCH(run, kind, method) \
  switch (kind) { \
    case PT_ACTIVATION_RELU: \
      return run.method < PT_ACTIVATION_RELU > (); \
    case PT_ACTIVATION_LEAKY_RELU: \
      return run.method < PT_ACTIVATION_LEAKY_RELU > (); \
    case PT_ACTIVATION_SIGMOID: \
      return run.method < PT_ACTIVATION_SIGMOID > (); \
    case PT_ACTIVATION_TANH: \
      return run.method < PT_ACTIVATION_TANH > (); \
    case PT_ACTIVATION_GELU: \
      return run.method < PT_ACTIVATION_GELU > (); \
    case PT_ACTIVATION_GELU_TANH: \
      return run.method < PT_ACTIVATION_GELU_TANH > (); \
    case PT_ACTIVATION_SILU: \
      return run.method < PT_ACTIVATION_SILU > (); \
    default: \
      return run.method < PT_ACTIVATION_NONE > (); \
  }

static gboolean
activation_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Run run = { op, args, { }, error };

  if (!pt_cuda_launch_init (&run.launch, op, error))
    return FALSE;
  DISPATCH (run, op->desc.activation.kind, forward);
}

static gboolean
activation_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  Run run = { op, args, { }, error };

  if (!pt_cuda_launch_init (&run.launch, op, error))
    return FALSE;
  DISPATCH (run, op->desc.activation.kind, backward);
}

const PtOpImpl pt_cuda_activation = {
  .plan = pt_cuda_plan_nothing,
  .run = activation_run,
};

const PtOpImpl pt_cuda_activation_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = activation_run_backward,
};
