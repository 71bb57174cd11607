/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/op.h"

#include "core/tensor.h"
#include "device/backend.h"

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
