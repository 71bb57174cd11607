/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/activation.h"
#include "device/cuda/vec.h"

namespace
{

template < PtActivation kind > struct Forward
{
  gfloat alpha;

  PT_HD gfloat operator() (gfloat x, gfloat) const
  {
    return pt_activate < kind > (x, alpha);
  }
};

template < PtActivation kind > struct Backward
{
  gfloat alpha;

  PT_HD gfloat operator() (gfloat v, gfloat dy) const
  {
    return pt_activate_gradient < kind > (v, dy, alpha);
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
    Forward < kind > f = { op->desc.activation.alpha };

    return pt_cuda_map (&launch, pt_shape_get_n_elements (&op->desc.x),
        args->x, args->x, args->y, f, error);
  }

  template < PtActivation kind > gboolean backward () const
  {
    const PtTensor *v = pt_activation_uses_y (kind) ? args->y : args->x;
    Backward < kind > f = { op->desc.activation.alpha };

    return pt_cuda_map (&launch, pt_shape_get_n_elements (&op->desc.x),
        v != NULL ? v : args->dy, args->dy, args->dx, f, error);
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
