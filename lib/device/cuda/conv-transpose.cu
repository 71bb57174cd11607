/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/conv-transpose.h"

#include "device/cuda/activation.h"
#include "device/cuda/conv.h"
#include "device/cuda/vec.h"

namespace
{

/* y = activation (y + b) */
template < int N > struct Finish
{
  guint c;                      /* in PtVecs */
  const PtVec < N > *b;         /* NULL: none */
  PtVec < N > *y;
  PtActivation activation;
  gfloat alpha;

  PT_HD void operator() (guint i) const
  {
    PtVec < N > v = y[i], shift = { };

    if (b != NULL)
      shift = b[i % c];
    for (int k = 0; k < N; k++)
      v.v[k] = pt_activate_as (activation, v.v[k] + shift.v[k], alpha);
    y[i] = v;
  }
};

}                               // namespace

static gboolean
transpose_plan (PtOp *op, GError **error)
{
  static const PtOpImpl *const impls[] = { &pt_cuda_conv, &pt_cuda_conv_data,
    &pt_cuda_conv_weights
  };

  return pt_conv_transpose_plan (op, impls, error);
}

static gboolean
transpose_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtConvDesc *desc = &op->desc.conv;
  gint64 n = pt_shape_get_n_elements (&op->desc.y);
  guint c = pt_shape_c (&op->desc.y);
  PtCudaLaunch launch;

  if (!pt_conv_transpose_run (op, args, error))
    return FALSE;
  if (!desc->bias && desc->activation == PT_ACTIVATION_NONE)
    return TRUE;
  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_vec (c,[&] < int N > () {
        typedef PtVec < N > Vec;
        Finish < N > job = { c / N,
          desc->bias ? pt_data < Vec > (args->b) : NULL,
          pt_data < Vec > (args->y), desc->activation, desc->alpha };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

static gint64
transpose_get_pixels (const PtOp *op)
{
  return pt_shape_get_n_elements (&op->desc.y) / pt_shape_c (&op->desc.y);
}

/* The sums of the biases come when the rest is done. */
static gboolean
transpose_plan_weights (PtOp *op, GError **error)
{
  if (!transpose_plan (op, error))
    return FALSE;
  if (op->desc.conv.bias)
    op->scratch_size = MAX (op->scratch_size, pt_cuda_bias_scratch
        (pt_shape_c (&op->desc.y), transpose_get_pixels (op)));
  return TRUE;
}

static gboolean
transpose_run_weights (PtOp *op, const PtOpArgs *args, GError **error)
{
  return pt_conv_transpose_run (op, args, error) && (!op->desc.conv.bias
      || pt_cuda_bias_gradient (op, pt_shape_c (&op->desc.y),
          transpose_get_pixels (op), args->dy, args->db, error));
}

const PtOpImpl pt_cuda_conv_transpose = {
  .plan = transpose_plan,
  .run = transpose_run,
  .clear = pt_conv_transpose_clear,
  .pack = pt_conv_transpose_pack,
  .unpack = pt_conv_transpose_unpack,
};

const PtOpImpl pt_cuda_conv_transpose_data = {
  .plan = transpose_plan,
  .run = pt_conv_transpose_run,
  .clear = pt_conv_transpose_clear,
};

const PtOpImpl pt_cuda_conv_transpose_weights = {
  .plan = transpose_plan_weights,
  .run = transpose_run_weights,
  .clear = pt_conv_transpose_clear,
};
