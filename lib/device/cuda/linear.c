/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/conv.h"

#include "device/cuda/conv-direct.h"

/* As convolutions of one pixel: one library less than with cuBLAS. */

static const PtOpImpl *const linear_direct[] = {
  [PT_CONV_FORWARD] = &pt_cuda_linear_direct,
  [PT_CONV_DATA] = &pt_cuda_linear_direct_data,
  [PT_CONV_WEIGHTS] = &pt_cuda_linear_direct_weights,
};

static gboolean
linear_plan (PtOp *op, GError **error)
{
  const PtLinearDesc *linear = &op->desc.linear;
  gint64 in = pt_shape_get_n_elements (&op->desc.x);
  gint64 out = pt_shape_get_n_elements (&op->desc.y);
  PtConvPass pass = op->desc.type - PT_OP_LINEAR;
  PtCudaProduct product = { linear_direct[pass], FALSE, linear->bias,
    linear->activation, linear->alpha, {
      .pass = pass,
      .x = { 1, in, 1, 1 }, .y = { 1, out, 1, 1 }, .w = { out, in, 1, 1 },
      .stride = { 1, 1 }, .dilation = { 1, 1 },
    }
  };

  return product.direct->plan (op, error)
      && pt_cuda_product_plan (op, &product, error);
}

const PtOpImpl pt_cuda_linear = {
  .plan = linear_plan,
  .run = pt_cuda_product_run,
  .clear = pt_cuda_product_clear,
};

const PtOpImpl pt_cuda_linear_data = {
  .plan = linear_plan,
  .run = pt_cuda_product_run,
  .clear = pt_cuda_product_clear,
};

const PtOpImpl pt_cuda_linear_weights = {
  .plan = linear_plan,
  .run = pt_cuda_product_run,
  .clear = pt_cuda_product_clear,
};
