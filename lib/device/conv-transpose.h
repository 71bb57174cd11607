/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/backend.h"

G_BEGIN_DECLS

/* A transposed convolution is the gradient of a convolution with respect to
 * its input, and the other way round: x is that one's dy, y its dx. So what a
 * backend has for these does it, but for bias and activation. */
typedef struct
{
  const PtOpImpl *impl;
  PtOp op;
  const PtOpImpl *packer_impl;  /* of the forward pass: the convolution's */
  PtOp packer;
} PtConvTranspose;

static inline PtOp
pt_conv_transpose_inner (const PtOp *op, PtOpType type)
{
  PtOp inner = { op->desc, op->workspace, NULL, 0, 0 };

  inner.desc.type = type;
  inner.desc.x = op->desc.y;
  inner.desc.y = op->desc.x;
  inner.desc.conv.bias = FALSE;
  inner.desc.conv.activation = PT_ACTIVATION_NONE;
  inner.desc.conv.transposed = TRUE;
  /* one layout of the weights, whatever the pass */
  inner.desc.training = TRUE;
  return inner;
}

static inline gboolean
pt_conv_transpose_plan_packer (PtOp *op, PtConvTranspose *self,
    const PtOpImpl *impl, GError **error)
{
  self->packer = pt_conv_transpose_inner (op, PT_OP_CONV);
  self->packer_impl = impl;
  if (!impl->plan (&self->packer, error))
    return FALSE;
  op->weights_size = self->packer.weights_size;
  return TRUE;
}

/* @impls are those of PT_OP_CONV, _DATA and _WEIGHTS. */
static inline gboolean
pt_conv_transpose_plan (PtOp *op, const PtOpImpl *const impls[3],
    GError **error)
{
  static const PtOpType types[] = { PT_OP_CONV_DATA, PT_OP_CONV,
    PT_OP_CONV_WEIGHTS
  };
  PtOpType type = types[op->desc.type - PT_OP_CONV_TRANSPOSE];
  PtConvTranspose *self = g_new0 (PtConvTranspose, 1);

  op->priv = self;
  self->op = pt_conv_transpose_inner (op, type);
  self->impl = impls[type - PT_OP_CONV];
  if (!self->impl->plan (&self->op, error))
    return FALSE;
  op->scratch_size = self->op.scratch_size;
  return type != PT_OP_CONV_DATA ||
      pt_conv_transpose_plan_packer (op, self, impls[0], error);
}

static inline void
pt_conv_transpose_clear (PtOp *op)
{
  PtConvTranspose *self = (PtConvTranspose *) op->priv;

  if (self == NULL)
    return;
  if (self->impl != NULL && self->impl->clear != NULL)
    self->impl->clear (&self->op);
  if (self->packer_impl != NULL && self->packer_impl->clear != NULL)
    self->packer_impl->clear (&self->packer);
  g_free (self);
}

/* All but bias and activation. */
static inline gboolean
pt_conv_transpose_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtConvTranspose *self = (PtConvTranspose *) op->priv;
  PtOpArgs inner = *args;

  switch (op->desc.type) {
    case PT_OP_CONV_TRANSPOSE:
      inner.dy = args->x;
      inner.dx = args->y;
      break;
    case PT_OP_CONV_TRANSPOSE_DATA:
      inner.x = args->dy;
      inner.y = args->dx;
      break;
    default:
      inner.x = args->dy;
      inner.dy = args->x;
      break;
  }
  return self->impl->run (&self->op, &inner, error);
}

static inline gboolean
pt_conv_transpose_pack (PtOp *op, const PtTensor *host, PtTensor *device,
    GError **error)
{
  PtConvTranspose *self = (PtConvTranspose *) op->priv;

  return self->packer_impl->pack (&self->packer, host, device, error);
}

static inline gboolean
pt_conv_transpose_unpack (PtOp *op, const PtTensor *device, PtTensor *host,
    GError **error)
{
  PtConvTranspose *self = (PtConvTranspose *) op->priv;

  return self->packer_impl->unpack (&self->packer, device, host, error);
}

G_END_DECLS
