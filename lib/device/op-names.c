/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/op.h"

static const gchar *const op_type_names[PT_N_OPS] = {
  [PT_OP_CONV] = "conv",
  [PT_OP_CONV_DATA] = "conv-data",
  [PT_OP_CONV_WEIGHTS] = "conv-weights",
  [PT_OP_CONV_TRANSPOSE] = "conv-transpose",
  [PT_OP_CONV_TRANSPOSE_DATA] = "conv-transpose-data",
  [PT_OP_CONV_TRANSPOSE_WEIGHTS] = "conv-transpose-weights",
  [PT_OP_LINEAR] = "linear",
  [PT_OP_LINEAR_DATA] = "linear-data",
  [PT_OP_LINEAR_WEIGHTS] = "linear-weights",
  [PT_OP_ACTIVATION] = "activation",
  [PT_OP_ACTIVATION_BACKWARD] = "activation-backward",
  [PT_OP_POOL] = "pool",
  [PT_OP_POOL_BACKWARD] = "pool-backward",
  [PT_OP_BATCH_NORM] = "batch-norm",
  [PT_OP_BATCH_NORM_BACKWARD] = "batch-norm-backward",
  [PT_OP_NORMALIZE] = "normalize",
  [PT_OP_NORMALIZE_BACKWARD] = "normalize-backward",
  [PT_OP_LRN] = "lrn",
  [PT_OP_LRN_BACKWARD] = "lrn-backward",
  [PT_OP_GRID_SAMPLE] = "grid-sample",
  [PT_OP_GRID_SAMPLE_BACKWARD] = "grid-sample-backward",
  [PT_OP_SOFTMAX] = "softmax",
  [PT_OP_SOFTMAX_BACKWARD] = "softmax-backward",
  [PT_OP_MATMUL] = "matmul",
  [PT_OP_REDUCE] = "reduce",
  [PT_OP_REDUCE_BACKWARD] = "reduce-backward",
  [PT_OP_ADD] = "add",
  [PT_OP_CONCAT] = "concat",
  [PT_OP_SPLIT] = "split",
  [PT_OP_COMBINE] = "combine",
  [PT_OP_DROPOUT] = "dropout",
  [PT_OP_MULTIPLY] = "multiply",
  [PT_OP_BINARY] = "binary",
  [PT_OP_BINARY_BACKWARD] = "binary-backward",
  [PT_OP_POINTWISE_LOSS] = "pointwise-loss",
  [PT_OP_BINARY_CROSS_ENTROPY] = "binary-cross-entropy",
  [PT_OP_CROSS_ENTROPY] = "cross-entropy",
  [PT_OP_SSIM] = "ssim",
  [PT_OP_FLOW_LOSS] = "flow-loss",
  [PT_OP_UPDATE] = "update",
  [PT_OP_DOT] = "dot",
  [PT_OP_PROJECT] = "project",
  [PT_OP_CHECK_FINITE] = "check-finite",
  [PT_OP_GATE] = "gate",
  [PT_OP_CAST] = "cast",
  [PT_OP_GO] = "go",
};

#define FUSED_NAMES \
  [PT_ACTIVATION_NONE] = "none", \
  [PT_ACTIVATION_RELU] = "relu", \
  [PT_ACTIVATION_LEAKY_RELU] = "leaky-relu", \
  [PT_ACTIVATION_SIGMOID] = "sigmoid", \
  [PT_ACTIVATION_TANH] = "tanh", \
  [PT_ACTIVATION_GELU] = "gelu", \
  [PT_ACTIVATION_GELU_TANH] = "gelu-tanh", \
  [PT_ACTIVATION_SILU] = "silu", \
  [PT_ACTIVATION_RELU6] = "relu6", \
  [PT_ACTIVATION_HARD_SWISH] = "hard-swish", \
  [PT_ACTIVATION_MISH] = "mish"

const gchar *const pt_activation_names[] = {
  FUSED_NAMES,
  [PT_N_FUSED_ACTIVATIONS] = NULL,
};

const gchar *const pt_all_activation_names[] = {
  FUSED_NAMES,
  [PT_ACTIVATION_ELU] = "elu",
  [PT_ACTIVATION_SELU] = "selu",
  [PT_ACTIVATION_CELU] = "celu",
  [PT_ACTIVATION_SOFTPLUS] = "softplus",
  [PT_ACTIVATION_SOFTSIGN] = "softsign",
  [PT_ACTIVATION_HARD_SIGMOID] = "hard-sigmoid",
  [PT_ACTIVATION_HARD_TANH] = "hard-tanh",
  [PT_ACTIVATION_CLIP] = "clip",
  [PT_ACTIVATION_THRESHOLD] = "threshold",
  [PT_ACTIVATION_SHRINK] = "shrink",
  [PT_ACTIVATION_EXP] = "exp",
  [PT_ACTIVATION_LOG] = "log",
  [PT_ACTIVATION_SQRT] = "sqrt",
  [PT_ACTIVATION_RECIPROCAL] = "reciprocal",
  [PT_ACTIVATION_ABS] = "abs",
  [PT_ACTIVATION_NEG] = "neg",
  [PT_ACTIVATION_ERF] = "erf",
  [PT_ACTIVATION_SIN] = "sin",
  [PT_ACTIVATION_COS] = "cos",
  [PT_ACTIVATION_TAN] = "tan",
  [PT_ACTIVATION_ASIN] = "asin",
  [PT_ACTIVATION_ACOS] = "acos",
  [PT_ACTIVATION_ATAN] = "atan",
  [PT_ACTIVATION_SINH] = "sinh",
  [PT_ACTIVATION_COSH] = "cosh",
  [PT_ACTIVATION_ASINH] = "asinh",
  [PT_ACTIVATION_ACOSH] = "acosh",
  [PT_ACTIVATION_ATANH] = "atanh",
  [PT_ACTIVATION_FLOOR] = "floor",
  [PT_ACTIVATION_CEIL] = "ceil",
  [PT_ACTIVATION_ROUND] = "round",
  [PT_ACTIVATION_SIGN] = "sign",
  [PT_ACTIVATION_TRUNC] = "trunc",
  [PT_N_ACTIVATIONS] = NULL,
};

gboolean
pt_activation_uses_x (PtActivation activation)
{
  switch (activation) {
    case PT_ACTIVATION_GELU:
    case PT_ACTIVATION_GELU_TANH:
    case PT_ACTIVATION_SILU:
    case PT_ACTIVATION_HARD_SWISH:
    case PT_ACTIVATION_MISH:
    case PT_ACTIVATION_SOFTPLUS:
    case PT_ACTIVATION_SOFTSIGN:
    case PT_ACTIVATION_CLIP:
    case PT_ACTIVATION_THRESHOLD:
    case PT_ACTIVATION_SHRINK:
    case PT_ACTIVATION_LOG:
    case PT_ACTIVATION_ABS:
    case PT_ACTIVATION_ERF:
    case PT_ACTIVATION_SIN:
    case PT_ACTIVATION_COS:
    case PT_ACTIVATION_ASIN ... PT_ACTIVATION_ATANH:
      return TRUE;
    default:
      return FALSE;
  }
}

gboolean
pt_activation_uses_y (PtActivation activation)
{
  return activation != PT_ACTIVATION_NONE && activation != PT_ACTIVATION_NEG
      && activation < PT_ACTIVATION_FLOOR && !pt_activation_uses_x (activation);
}

const gchar *
pt_op_type_name (PtOpType type)
{
  return type < PT_N_OPS ? op_type_names[type] : "unknown";
}
