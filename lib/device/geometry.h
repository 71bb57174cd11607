/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/op.h"

G_BEGIN_DECLS

/* How products and reductions walk through the memory of their tensors, for
 * all backends: as few loops as there can be, each with its steps. */

enum
{
  PT_MATMUL_A,
  PT_MATMUL_B,
  PT_MATMUL_Y,
};

/* A loop; the step of a tensor that it does not move in is 0. */
typedef struct
{
  gint64 size;
  gint64 steps[3];              /* elements of a, b, y */
} PtMatmulAxis;

/* y[m, n] = sum a[m, k] b[k, n], once for each of the @loops. Those that do
 * not move in y add to it. */
typedef struct
{
  PtMatmulAxis m, n, k;
  PtMatmulAxis loops[PT_MAX_DIMS];      /* innermost first */
  guint n_loops;
} PtMatmulGeometry;

/* @row_major: of a, b and y, those that are not as the device has them. */
void pt_matmul_geometry_init (PtMatmulGeometry *self, const PtOpDesc *desc,
    const gboolean row_major[3]);

/* A linear layer's pass over its rows, as PT_OP_MATMUL: y = x w^T, dx = dy w,
 * dw = dy^T x. */
void pt_linear_as_matmul (const PtOpDesc *linear, PtOpDesc *matmul);

typedef struct
{
  gint64 size;
  gint64 x, y;                  /* steps; y is 0 in what is reduced */
} PtReduceAxis;

typedef struct
{
  PtReduceAxis kept[PT_MAX_DIMS], reduced[PT_MAX_DIMS]; /* innermost first */
  guint n_kept, n_reduced;
  gint64 outputs, terms;        /* products of their sizes */
} PtReduceGeometry;

/* @axes: a bit for each of @x's. @y has them as 1, or not at all. */
void pt_reduce_geometry_init (PtReduceGeometry *self, const PtShape *x,
    const PtShape *y, guint axes);

/* What PT_OP_SOFTMAX goes through: element (o, k, i) of (outer, c, inner). */
typedef struct
{
  gint64 outer, c, inner;
} PtSoftmaxGeometry;

static inline PtSoftmaxGeometry
pt_softmax_geometry (const PtOpDesc *desc)
{
  gint64 strides[PT_MAX_DIMS];
  const gint axis = desc->softmax.axis;
  const gint64 c = pt_shape_get_dim (&desc->x, axis);

  pt_shape_get_strides (&desc->x, TRUE, strides);
  return (PtSoftmaxGeometry) {
    pt_shape_get_n_elements (&desc->x) / (c * strides[axis]), c, strides[axis]
  };
}

G_END_DECLS
