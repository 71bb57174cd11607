/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/cudnn.h"

/* Between the operations of one graph, seen by nobody. */
enum
{
  GRAPH_PRODUCT = PT_CONV_N_TENSORS,    /* x * w */
  GRAPH_SUM,
  GRAPH_BIASED,
};

static const gchar *const graph_pass_names[] = {
  [PT_CONV_FORWARD] = "conv",
  [PT_CONV_DATA] = "conv-data",
  [PT_CONV_WEIGHTS] = "conv-weights",
};

static const gchar *const graph_precision_names[] = {
  [PT_PRECISION_FP32] = "fp32",
  [PT_PRECISION_TF32] = "tf32",
  [PT_PRECISION_BF16] = "bf16",
  [PT_PRECISION_FP16] = "fp16",
};

gchar *
pt_conv_graph_print (const PtConvGraph *graph)
{
  const gint64 *x = graph->x, *y = graph->y, *w = graph->w;

#define D G_GINT64_FORMAT
  return g_strdup_printf ("%s%s%s%s %s x %" D "x%" D "x%" D "x%" D " w %" D
      "x%" D "x%" D "x%" D " y %" D "x%" D "x%" D "x%" D " stride %" D "x%" D
      " padding %" D "x%" D "+%" D "x%" D " dilation %" D "x%" D,
      graph_pass_names[graph->pass], graph->add ? "+add" : "",
      graph->bias ? "+bias" : "",
      graph->relu ? "+relu" : "", graph_precision_names[graph->precision],
      x[0], x[1], x[2], x[3], w[0], w[1], w[2], w[3], y[0], y[1], y[2], y[3], graph->stride[0], graph->stride[1],
      graph->padding[0], graph->padding[1], graph->more_padding[0],
      graph->more_padding[1], graph->dilation[0], graph->dilation[1]);
#undef D
}

static cudnnDataType_t
graph_type (const PtConvGraph *graph)
{
  switch (graph->precision) {
    case PT_PRECISION_BF16:
      return CUDNN_DATA_BFLOAT16;
    case PT_PRECISION_FP16:
      return CUDNN_DATA_HALF;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

/* @dims are N C H W; in memory C comes last. */
static cudnnBackendDescriptor_t
graph_add_tensor (PtDescriptors *all, gint64 id, const gint64 dims[4],
    cudnnDataType_t type)
{
  cudnnBackendDescriptor_t tensor = pt_descriptors_add (all,
      CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  gint64 strides[4] = { dims[1] * dims[2] * dims[3], 1, dims[1] * dims[3],
    dims[1]
  };
  gint64 alignment = 16;
  bool is_virtual = id >= PT_CONV_N_TENSORS;

  PT_DESCRIPTORS_SET (all, tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID,
      CUDNN_TYPE_INT64, id);
  PT_DESCRIPTORS_SET (all, tensor, CUDNN_ATTR_TENSOR_DATA_TYPE,
      CUDNN_TYPE_DATA_TYPE, type);
  pt_descriptors_set (all, tensor, CUDNN_ATTR_TENSOR_DIMENSIONS,
      CUDNN_TYPE_INT64, 4, dims);
  pt_descriptors_set (all, tensor, CUDNN_ATTR_TENSOR_STRIDES,
      CUDNN_TYPE_INT64, 4, strides);
  PT_DESCRIPTORS_SET (all, tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT,
      CUDNN_TYPE_INT64, alignment);
  PT_DESCRIPTORS_SET (all, tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL,
      CUDNN_TYPE_BOOLEAN, is_virtual);
  pt_descriptors_finalize (all, tensor);
  return tensor;
}

static cudnnBackendDescriptor_t
graph_add_convolution (PtDescriptors *all, const PtConvGraph *graph)
{
  cudnnBackendDescriptor_t conv = pt_descriptors_add (all,
      CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  cudnnDataType_t sums = CUDNN_DATA_FLOAT;
  cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  gint64 n_dims = 2, after[] = { graph->padding[0] + graph->more_padding[0],
    graph->padding[1] + graph->more_padding[1]
  };

  PT_DESCRIPTORS_SET (all, conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
      CUDNN_TYPE_DATA_TYPE, sums);
  PT_DESCRIPTORS_SET (all, conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE,
      CUDNN_TYPE_CONVOLUTION_MODE, mode);
  PT_DESCRIPTORS_SET (all, conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS,
      CUDNN_TYPE_INT64, n_dims);
  pt_descriptors_set (all, conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS,
      CUDNN_TYPE_INT64, n_dims, graph->padding);
  pt_descriptors_set (all, conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS,
      CUDNN_TYPE_INT64, n_dims, after);
  pt_descriptors_set (all, conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES,
      CUDNN_TYPE_INT64, n_dims, graph->stride);
  pt_descriptors_set (all, conv, CUDNN_ATTR_CONVOLUTION_DILATIONS,
      CUDNN_TYPE_INT64, n_dims, graph->dilation);
  pt_descriptors_finalize (all, conv);
  return conv;
}

/* What the operation of each pass and its attributes are called. */
static const struct
{
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t conv, x, y, w, alpha, beta;
} graph_passes[] = {
  [PT_CONV_FORWARD] = {
    CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
  },
  [PT_CONV_DATA] = {
    CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
  },
  [PT_CONV_WEIGHTS] = {
    CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
  },
};

static cudnnBackendDescriptor_t
graph_add_pass (PtDescriptors *all, const PtConvGraph *graph,
    cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t w,
    cudnnBackendDescriptor_t y)
{
  typeof (&graph_passes[0]) names = &graph_passes[graph->pass];
  cudnnBackendDescriptor_t conv = graph_add_convolution (all, graph);
  cudnnBackendDescriptor_t op = pt_descriptors_add (all, names->type);
  gfloat one = 1, zero = 0;

  PT_DESCRIPTORS_SET (all, op, names->conv, CUDNN_TYPE_BACKEND_DESCRIPTOR,
      conv);
  PT_DESCRIPTORS_SET (all, op, names->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, x);
  PT_DESCRIPTORS_SET (all, op, names->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, y);
  PT_DESCRIPTORS_SET (all, op, names->w, CUDNN_TYPE_BACKEND_DESCRIPTOR, w);
  PT_DESCRIPTORS_SET (all, op, names->alpha, CUDNN_TYPE_FLOAT, one);
  PT_DESCRIPTORS_SET (all, op, names->beta, CUDNN_TYPE_FLOAT, zero);
  pt_descriptors_finalize (all, op);
  return op;
}

/* y = @mode (x[, b]). A ReLU may take NaN for 0. To have it propagated is
 * deprecated, and leaves plans and their order as they are; those that promise
 * it, CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP, are the slow ones. So that this
 * hides nothing, the engine looks at the weights: pt_arena_copy_aside(). */
static cudnnBackendDescriptor_t
graph_add_pointwise (PtDescriptors *all, cudnnPointwiseMode_t mode,
    cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
    cudnnBackendDescriptor_t y)
{
  cudnnBackendDescriptor_t pointwise = pt_descriptors_add (all,
      CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  cudnnBackendDescriptor_t op;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;

  PT_DESCRIPTORS_SET (all, pointwise, CUDNN_ATTR_POINTWISE_MODE,
      CUDNN_TYPE_POINTWISE_MODE, mode);
  PT_DESCRIPTORS_SET (all, pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC,
      CUDNN_TYPE_DATA_TYPE, type);
  pt_descriptors_finalize (all, pointwise);
  op = pt_descriptors_add (all,
      CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  PT_DESCRIPTORS_SET (all, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, pointwise);
  PT_DESCRIPTORS_SET (all, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, x);
  if (b != NULL)
    PT_DESCRIPTORS_SET (all, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, b);
  PT_DESCRIPTORS_SET (all, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, y);
  pt_descriptors_finalize (all, op);
  return op;
}

/* Adds what follows the convolution to @ops, backwards: from y to the tensor
 * that the convolution writes, which is returned. */
static cudnnBackendDescriptor_t
graph_add_epilogue (PtDescriptors *all, const PtConvGraph *graph,
    cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t *ops, gint64 *n_ops)
{
  gint64 channels[4] = { 1, graph->y[1], 1, 1 };
  cudnnBackendDescriptor_t from, b;

  if (graph->relu) {
    from = graph_add_tensor (all, GRAPH_BIASED, graph->y, CUDNN_DATA_FLOAT);
    ops[(*n_ops)++] = graph_add_pointwise (all, CUDNN_POINTWISE_RELU_FWD,
        from, NULL, y);
    y = from;
  }
  if (graph->bias) {
    from = graph_add_tensor (all, GRAPH_SUM, graph->y, CUDNN_DATA_FLOAT);
    b = graph_add_tensor (all, PT_CONV_B, channels, CUDNN_DATA_FLOAT);
    ops[(*n_ops)++] = graph_add_pointwise (all, CUDNN_POINTWISE_ADD, from, b,
        y);
    y = from;
  }
  if (graph->add) {
    from = graph_add_tensor (all, GRAPH_PRODUCT, graph->y, CUDNN_DATA_FLOAT);
    b = graph_add_tensor (all, PT_CONV_ADD, graph->y, CUDNN_DATA_FLOAT);
    ops[(*n_ops)++] = graph_add_pointwise (all, CUDNN_POINTWISE_ADD, from, b,
        y);
    y = from;
  }
  return y;
}

cudnnBackendDescriptor_t
pt_conv_graph_build (const PtConvGraph *graph, PtDescriptors *all)
{
  cudnnDataType_t type = graph_type (graph);
  cudnnBackendDescriptor_t x, y, w, ops[4], built;
  gint64 n_ops = 0;

  x = graph_add_tensor (all, PT_CONV_X, graph->x, type);
  y = graph_add_tensor (all, PT_CONV_Y, graph->y, type);
  w = graph_add_tensor (all, PT_CONV_W, graph->w, type);
  y = graph_add_epilogue (all, graph, y, ops, &n_ops);
  ops[n_ops++] = graph_add_pass (all, graph, x, w, y);
  built = pt_descriptors_add (all, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  pt_descriptors_set (all, built, CUDNN_ATTR_OPERATIONGRAPH_OPS,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, n_ops, ops);
  pt_descriptors_finalize (all, built);
  return built;
}
