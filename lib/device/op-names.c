/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/op.h"

static const gchar *const op_type_names[PT_N_OPS] = {
  [PT_OP_CONV] = "conv",
  [PT_OP_CONV_DATA] = "conv-data",
  [PT_OP_CONV_WEIGHTS] = "conv-weights",
  [PT_OP_LINEAR] = "linear",
  [PT_OP_LINEAR_DATA] = "linear-data",
  [PT_OP_LINEAR_WEIGHTS] = "linear-weights",
  [PT_OP_ACTIVATION] = "activation",
  [PT_OP_ACTIVATION_BACKWARD] = "activation-backward",
  [PT_OP_POOL] = "pool",
  [PT_OP_POOL_BACKWARD] = "pool-backward",
  [PT_OP_UPSAMPLE] = "upsample",
  [PT_OP_UPSAMPLE_BACKWARD] = "upsample-backward",
  [PT_OP_BATCH_NORM] = "batch-norm",
  [PT_OP_BATCH_NORM_BACKWARD] = "batch-norm-backward",
  [PT_OP_SOFTMAX] = "softmax",
  [PT_OP_SOFTMAX_BACKWARD] = "softmax-backward",
  [PT_OP_ADD] = "add",
  [PT_OP_CONCAT] = "concat",
  [PT_OP_SPLIT] = "split",
  [PT_OP_FLATTEN] = "flatten",
  [PT_OP_UNFLATTEN] = "unflatten",
  [PT_OP_DROPOUT] = "dropout",
  [PT_OP_MULTIPLY] = "multiply",
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

const gchar *const pt_activation_names[] = {
  [PT_ACTIVATION_NONE] = "none",
  [PT_ACTIVATION_RELU] = "relu",
  [PT_ACTIVATION_LEAKY_RELU] = "leaky-relu",
  [PT_ACTIVATION_SIGMOID] = "sigmoid",
  [PT_ACTIVATION_TANH] = "tanh",
  [PT_ACTIVATION_GELU] = "gelu",
  [PT_ACTIVATION_GELU_TANH] = "gelu-tanh",
  [PT_ACTIVATION_SILU] = "silu",
  [PT_N_ACTIVATIONS] = NULL,
};

const gchar *
pt_op_type_name (PtOpType type)
{
  return type < PT_N_OPS ? op_type_names[type] : "unknown";
}
