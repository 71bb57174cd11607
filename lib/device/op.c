/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/op.h"

#include "core/tensor.h"
#include "device/backend.h"

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

void
pt_workspace_init (PtWorkspace *workspace, PtDevice *device, gboolean training)
{
  *workspace = (PtWorkspace) {
    .device = pt_device_ref (device),
    .training = training,
  };
}

/* Gives the scratch memory, once every operation has been planned. */
gboolean
pt_workspace_ready (PtWorkspace *workspace, GError **error)
{
  if (workspace->scratch != NULL &&
      workspace->scratch->size >= workspace->scratch_size)
    return TRUE;
  g_clear_pointer (&workspace->scratch, pt_tensor_unref);
  if (workspace->scratch_size == 0)
    return TRUE;
  workspace->scratch = pt_device_bytes_new (workspace->device,
      workspace->scratch_size, error);
  return workspace->scratch != NULL;
}

void
pt_workspace_clear (PtWorkspace *workspace)
{
  g_clear_pointer (&workspace->scratch, pt_tensor_unref);
  g_clear_pointer (&workspace->device, pt_device_unref);
  workspace->scratch_size = 0;
}

/* What pt_op_new() makes: an operation may be freed after its workspace. */
typedef struct
{
  PtOp op;
  const PtOpImpl *impl;
} Op;

static const PtOpImpl *
op_get_impl (const PtOp *op)
{
  return ((const Op *) op)->impl;
}

/* Plans @desc on the workspace's device. The caller has entered the device
 * and does so on the thread that will run the operation. Returns NULL with
 * PT_ERROR_UNSUPPORTED where the device lacks it. */
PtOp *
pt_op_new (PtWorkspace *workspace, const PtOpDesc *desc, GError **error)
{
  gchar x[PT_SHAPE_TEXT_SIZE], y[PT_SHAPE_TEXT_SIZE];
  Op *self = g_new0 (Op, 1);
  g_autoptr (PtOp) op = &self->op;

  op->desc = *desc;
  op->workspace = workspace;
  self->impl = workspace->device->backend->ops[desc->type];
  if (op_get_impl (op) == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
        "device %s has no operation %s, wanted for x %s, y %s",
        pt_device_get_name (workspace->device), pt_op_type_name (desc->type),
        pt_shape_print (&desc->x, x), pt_shape_print (&desc->y, y));
    return NULL;
  }
  if (!op_get_impl (op)->plan (op, error)) {
    g_prefix_error (error, "planning %s of x %s, y %s on %s: ",
        pt_op_type_name (desc->type), pt_shape_print (&desc->x, x),
        pt_shape_print (&desc->y, y), pt_device_get_name (workspace->device));
    return NULL;
  }
  workspace->scratch_size = MAX (workspace->scratch_size, op->scratch_size);
  return g_steal_pointer (&op);
}

void
pt_op_free (PtOp *op)
{
  const PtOpImpl *impl;

  if (op == NULL)
    return;
  impl = op_get_impl (op);
  if (impl != NULL && impl->clear != NULL)
    impl->clear (op);
  g_free (op);
}

gboolean
pt_op_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  return op_get_impl (op)->run (op, args, error);
}

/* Copies row-major parameters into @device in the layout @op wants. */
gboolean
pt_op_pack (PtOp *op, const PtTensor *host, PtTensor *device, GError **error)
{
  PtDevice *dev = op->workspace->device;

  if (op_get_impl (op)->pack != NULL)
    return op_get_impl (op)->pack (op, host, device, error);
  return dev->backend->upload (dev, device->data, host->data, host->size,
      error);
}

/* The reverse of pt_op_pack(). */
gboolean
pt_op_unpack (PtOp *op, const PtTensor *device, PtTensor *host, GError **error)
{
  PtDevice *dev = op->workspace->device;

  if (op_get_impl (op)->unpack != NULL)
    return op_get_impl (op)->unpack (op, device, host, error);
  return dev->backend->download (dev, host->data, device->data, host->size,
      error);
}
