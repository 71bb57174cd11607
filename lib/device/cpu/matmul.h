/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/cpu.h"
#include "device/geometry.h"

G_BEGIN_DECLS

/* A batched product by oneDNN: a primitive for three dimensions and loops for
 * what is left. Tensors that are not rows of matrices are copied. */
typedef struct
{
  PtMatmulGeometry geometry;
  PtMatmulAxis batch;           /* taken out of its loops */
  PtOp copies[3];
  gboolean copied[3];
  gsize offsets[3];             /* of the copies, in scratch memory */
  PtDnnlStep product, adding;   /* the second adds to y */
} PtCpuMatmul;

/* What is done to the product last. */
typedef struct
{
  gboolean bias;                /* one for each column */
  PtActivation activation;
  gfloat alpha;
} PtCpuEpilogue;

/* @desc: of PT_OP_MATMUL; @op: on whose behalf. Call it once all else that
 * needs scratch memory has been planned. */
gboolean pt_cpu_matmul_init (PtCpuMatmul *self, PtOp *op,
    const PtOpDesc *desc, const PtCpuEpilogue *epilogue, GError **error);
gboolean pt_cpu_matmul_run (PtCpuMatmul *self, PtOp *op, const PtTensor *a,
    const PtTensor *b, const PtTensor *bias, PtTensor *y, GError **error);
void pt_cpu_matmul_clear (PtCpuMatmul *self);

G_END_DECLS
