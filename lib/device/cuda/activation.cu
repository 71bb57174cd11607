/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/activation.h"
#include "device/cuda/vec.h"

namespace
{

template < PtActivation kind > struct Forward
{
  gfloat alpha, beta;

  PT_HD gfloat operator() (gfloat x, gfloat) const
  {
    return pt_activate < kind > (x, alpha, beta);
  }
};

template < PtActivation kind > struct Backward
{
  gfloat alpha, beta;

  PT_HD gfloat operator() (gfloat v, gfloat dy) const
  {
    return pt_activate_gradient < kind > (v, dy, alpha, beta);
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
    const PtActivationDesc *desc = &op->desc.activation;
    Forward < kind > f = { desc->alpha, desc->beta };

    return pt_cuda_map (&launch, pt_shape_get_n_elements (&op->desc.x),
        args->x, args->x, args->y, f, error);
  }

  template < PtActivation kind > gboolean backward () const
  {
    const PtActivationDesc *desc = &op->desc.activation;
    const PtTensor *v = pt_activation_uses_y (kind) ? args->y :
        pt_activation_uses_x (kind) ? args->x : args->dy;
    Backward < kind > f = { desc->alpha, desc->beta };

    return pt_cuda_map (&launch, pt_shape_get_n_elements (&op->desc.x), v,
        args->dy, args->dx, f, error);
  }
};

}                               // namespace

#define FORWARD(kind) \
    case PT_ACTIVATION_ ## kind: \
      return run.forward < PT_ACTIVATION_ ## kind > ();
#define BACKWARD(kind) \
    case PT_ACTIVATION_ ## kind: \
      return run.backward < PT_ACTIVATION_ ## kind > ();

static gboolean
activation_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Run run = { op, args, { }, error };

  if (!pt_cuda_launch_init (&run.launch, op, error))
    return FALSE;
  switch (op->desc.activation.kind) {
    PT_ALL_ACTIVATIONS (FORWARD)
    default:
      return run.forward < PT_ACTIVATION_NONE > ();
  }
}

static gboolean
activation_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  Run run = { op, args, { }, error };

  if (!pt_cuda_launch_init (&run.launch, op, error))
    return FALSE;
  switch (op->desc.activation.kind) {
    PT_ALL_ACTIVATIONS (BACKWARD)
    default:
      return run.backward < PT_ACTIVATION_NONE > ();
  }
}

const PtOpImpl pt_cuda_activation = {
  .plan = pt_cuda_plan_nothing,
  .run = activation_run,
};

const PtOpImpl pt_cuda_activation_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = activation_run_backward,
};
