/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/plan.h"

#include "device/backend.h"

G_BEGIN_DECLS

/* One pass of a layer that multiplies: as cuDNN does it or, where that is of
 * no use, as our own kernels do. The layout of the weights is theirs, and
 * cuDNN's wherever it is asked. */
typedef struct
{
  const PtOpImpl *direct;       /* our own */
  gboolean direct_only;         /* cuDNN is not asked */
  gboolean bias;                /* the layer has one */
  PtActivation activation;
  gfloat alpha;
  PtConvGraph graph;            /* all but bias, add and relu */
  gboolean add;                 /* something of the output's shape */
  gboolean transposed;          /* x is a gradient, y is none */
} PtCudaProduct;

/* Takes over what @direct's own planning has left in @op. */
gboolean pt_cuda_product_plan (PtOp *op, const PtCudaProduct *product,
    GError **error);
gboolean pt_cuda_product_run (PtOp *op, const PtOpArgs *args, GError **error);
void pt_cuda_product_clear (PtOp *op);

/* db = the sum of dy over its pixels. */
gsize pt_cuda_bias_scratch (gint64 channels, gint64 pixels);
gboolean pt_cuda_bias_gradient (PtOp *op, gint64 channels, gint64 pixels,
    const PtTensor *dy, PtTensor *db, GError **error);
/* scale from, from float to BF16 or FP16, to the nearest, ties to even. */
gboolean pt_cuda_narrow (PtOp *op, PtPrecision precision, gfloat scale,
    gint64 n, gconstpointer from, gpointer to, GError **error);
/* to = activation (scale from + b + add), of channels as many as @b has; @b and
 * @add may be NULL. */
gboolean pt_cuda_widen (PtOp *op, const PtCudaProduct *product, gfloat scale,
    gint64 n, gconstpointer from, const PtTensor *b, const PtTensor *add,
    gpointer to, GError **error);
/* to = activation (to + add) */
gboolean pt_cuda_join (PtOp *op, const PtCudaProduct *product, gint64 n,
    const PtTensor *add, PtTensor *to, GError **error);

G_END_DECLS
