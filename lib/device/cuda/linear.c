/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/conv.h"

#include "device/cuda/conv-direct.h"

/* As convolutions of 1 x 1, each row a pixel: one library less than with
 * cuBLAS. */

static const PtOpImpl *const linear_direct[] = {
  [PT_CONV_FORWARD] = &pt_cuda_linear_direct,
  [PT_CONV_DATA] = &pt_cuda_linear_direct_data,
  [PT_CONV_WEIGHTS] = &pt_cuda_linear_direct_weights,
};

/* Whether features lie next to one another, row after row. */
static gboolean
linear_is_plain (const PtShape *x)
{
  return x->n_dims < 4 || pt_shape_c (x) == 1;
}

static gboolean
linear_plan (PtOp *op, GError **error)
{
  const PtLinearDesc *linear = &op->desc.linear;
  const PtShape *x = &op->desc.x, *y = &op->desc.y;
  gint64 in = x->dims[x->n_dims - 1], out = y->dims[y->n_dims - 1];
  gint64 rows = pt_shape_get_n_elements (x) / in;
  PtConvPass pass = op->desc.type - PT_OP_LINEAR;
  PtCudaProduct product = { linear_direct[pass], !linear_is_plain (x),
    linear->bias, linear->activation, linear->alpha, {
      .pass = pass,
      .x = { 1, in, rows, 1 }, .y = { 1, out, rows, 1 },
      .w = { out, in, 1, 1 },
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
