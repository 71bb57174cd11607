/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/cuda.h"
#include "device/geometry.h"

G_BEGIN_DECLS

/* What is done to the product last. */
typedef struct
{
  const PtTensor *bias;         /* one for each column, or NULL */
  PtActivation activation;
  gfloat alpha;
} PtCudaEpilogue;

/* @desc: of PT_OP_MATMUL; @op: on whose behalf. */
gsize pt_cuda_matmul_scratch (const PtOpDesc *desc);
gboolean pt_cuda_matmul_run (PtOp *op, const PtOpDesc *desc,
    const PtTensor *a, const PtTensor *b, const PtCudaEpilogue *epilogue,
    PtTensor *y, GError **error);

/* @desc: of PT_OP_REDUCE. */
gsize pt_cuda_reduce_scratch (const PtOpDesc *desc);
gboolean pt_cuda_reduce_run (PtOp *op, const PtOpDesc *desc,
    const PtTensor *x, PtTensor *y, GError **error);

G_END_DECLS
