/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/conv.h"

#include "device/cuda/conv-direct.h"

static const PtOpImpl *const conv_direct[] = {
  [PT_CONV_FORWARD] = &pt_cuda_conv_direct,
  [PT_CONV_DATA] = &pt_cuda_conv_direct_data,
  [PT_CONV_WEIGHTS] = &pt_cuda_conv_direct_weights,
};

static void
conv_graph_init (PtConvGraph *graph, const PtOpDesc *desc)
{
  const PtConvDesc *conv = &desc->conv;

  for (guint i = 0; i < 4; i++) {
    graph->x[i] = pt_shape_get_dim (&desc->x, i);
    graph->y[i] = pt_shape_get_dim (&desc->y, i);
  }
  graph->w[0] = graph->y[1];
  graph->w[1] = graph->x[1] / conv->groups;
  for (guint i = 0; i < 2; i++) {
    graph->w[2 + i] = conv->kernel[i];
    graph->stride[i] = conv->stride[i];
    graph->padding[i] = conv->padding[i];
    graph->more_padding[i] = conv->more_padding[i];
    graph->dilation[i] = conv->dilation[i];
  }
}

static gboolean
conv_plan (PtOp *op, GError **error)
{
  const PtConvDesc *conv = &op->desc.conv;
  PtConvPass pass = op->desc.type - PT_OP_CONV;
  PtCudaProduct product = { conv_direct[pass],
    pt_cuda_conv_direct_suits (&op->desc), conv->bias, conv->activation,
    conv->alpha, { pass }, conv->add, conv->transposed
  };

  /* checks the shapes, too */
  if (!product.direct->plan (op, error))
    return FALSE;
  conv_graph_init (&product.graph, &op->desc);
  return pt_cuda_product_plan (op, &product, error);
}

static gboolean
conv_pack (PtOp *op, const PtTensor *host, PtTensor *device, GError **error)
{
  return pt_cuda_conv_direct.pack (op, host, device, error);
}

static gboolean
conv_unpack (PtOp *op, const PtTensor *device, PtTensor *host, GError **error)
{
  return pt_cuda_conv_direct.unpack (op, device, host, error);
}

const PtOpImpl pt_cuda_conv = {
  .plan = conv_plan,
  .run = pt_cuda_product_run,
  .clear = pt_cuda_product_clear,
  .pack = conv_pack,
  .unpack = conv_unpack,
};

const PtOpImpl pt_cuda_conv_data = {
  .plan = conv_plan,
  .run = pt_cuda_product_run,
  .clear = pt_cuda_product_clear,
};

const PtOpImpl pt_cuda_conv_weights = {
  .plan = conv_plan,
  .run = pt_cuda_product_run,
  .clear = pt_cuda_product_clear,
};
