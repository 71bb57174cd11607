/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/geometry.h"

/* -- products -- */

/* A tensor as matrices, transposed if so wanted. */
typedef struct
{
  gint64 rows, columns, row_step, column_step;
  guint n_batch;                /* axes before those of the matrix */
  const PtShape *shape;
  gint64 strides[PT_MAX_DIMS];
} Operand;

static void
operand_init (Operand *self, const PtShape *shape, PtMatrixForm form,
    gboolean row_major, gboolean transposed)
{
  const guint lacking = form == PT_MATRIX ? 0 : 1;
  const guint at = shape->n_dims - 2 + lacking;

  *self = (Operand) { 1, 1, 0, 0, at, shape };
  pt_shape_get_strides (shape, !row_major, self->strides);
  if (form != PT_MATRIX_ROW) {
    self->rows = shape->dims[at];
    self->row_step = self->strides[at];
  }
  if (form != PT_MATRIX_COLUMN) {
    self->columns = shape->dims[at + 1 - lacking];
    self->column_step = self->strides[at + 1 - lacking];
  }
  if (transposed) {
    gint64 rows = self->rows, step = self->row_step;

    self->rows = self->columns;
    self->row_step = self->column_step;
    self->columns = rows;
    self->column_step = step;
  }
}

/* Whether @outer goes on where @inner ends, in every tensor; then @inner
 * takes it over. */
static gboolean
matmul_axis_join (PtMatmulAxis *inner, const PtMatmulAxis *outer)
{
  for (guint i = 0; i < 3; i++)
    if (inner->size > 1
        && outer->steps[i] != inner->size * inner->steps[i])
      return FALSE;
  if (inner->size == 1)
    *inner = *outer;
  else
    inner->size *= outer->size;
  return TRUE;
}

/* @self and @other, in whichever order. */
static gboolean
matmul_axis_take (PtMatmulAxis *self, const PtMatmulAxis *other)
{
  PtMatmulAxis outer = *self, inner = *other;

  if (matmul_axis_join (self, other))
    return TRUE;
  if (!matmul_axis_join (&inner, &outer))
    return FALSE;
  *self = inner;
  return TRUE;
}

static gboolean
matmul_take_loop (PtMatmulGeometry *self, const PtMatmulAxis *loop)
{
  if (loop->size == 1)
    return TRUE;
  if (loop->steps[PT_MATMUL_B] == 0 && loop->steps[PT_MATMUL_A] != 0
      && loop->steps[PT_MATMUL_Y] != 0)
    return matmul_axis_take (&self->m, loop);
  if (loop->steps[PT_MATMUL_A] == 0 && loop->steps[PT_MATMUL_B] != 0
      && loop->steps[PT_MATMUL_Y] != 0)
    return matmul_axis_take (&self->n, loop);
  if (loop->steps[PT_MATMUL_Y] == 0 && loop->steps[PT_MATMUL_A] != 0
      && loop->steps[PT_MATMUL_B] != 0)
    return matmul_axis_take (&self->k, loop);
  return FALSE;
}

/* Batch axis @i from the right. */
static PtMatmulAxis
matmul_batch_axis (const Operand operands[3], guint i)
{
  PtMatmulAxis axis = { 1, {0} };

  for (guint t = 0; t < 3; t++) {
    const Operand *operand = &operands[t];
    guint at = operand->n_batch - 1 - i;

    if (i >= operand->n_batch || operand->shape->dims[at] == 1)
      continue;
    axis.size = operand->shape->dims[at];
    axis.steps[t] = operand->strides[at];
  }
  return axis;
}

void
pt_matmul_geometry_init (PtMatmulGeometry *self, const PtOpDesc *desc,
    const gboolean row_major[3])
{
  const PtMatmulDesc *matmul = &desc->matmul;
  const PtShape *shapes[] = { &desc->xs[0], &desc->xs[1], &desc->y };
  const gboolean transposed[] = { matmul->trans_a, matmul->trans_b, FALSE };
  Operand o[3];

  for (guint i = 0; i < 3; i++)
    operand_init (&o[i], shapes[i], matmul->forms[i], row_major[i],
        transposed[i]);
  *self = (PtMatmulGeometry) {
    .m = {o[0].rows, {o[0].row_step, 0, o[2].row_step}},
    .n = {o[1].columns, {0, o[1].column_step, o[2].column_step}},
    .k = {o[0].columns, {o[0].column_step, o[1].row_step, 0}},
  };
  for (guint i = 0; i < MAX (o[0].n_batch, MAX (o[1].n_batch, o[2].n_batch));
      i++) {
    PtMatmulAxis axis = matmul_batch_axis (o, i);

    if (!matmul_take_loop (self, &axis) && (self->n_loops == 0
            || !matmul_axis_join (&self->loops[self->n_loops - 1], &axis)))
      self->loops[self->n_loops++] = axis;
  }
}

void
pt_linear_as_matmul (const PtOpDesc *linear, PtOpDesc *matmul)
{
  const PtShape *x = &linear->x, *y = &linear->y;
  const PtShape w = PT_SHAPE (y->dims[y->n_dims - 1], x->dims[x->n_dims - 1]);

  *matmul = (PtOpDesc) {.type = PT_OP_MATMUL,.n_xs = 2 };
  matmul->matmul.alpha = 1;
  switch (linear->type) {
    case PT_OP_LINEAR:
      matmul->xs[0] = *x;
      matmul->xs[1] = w;
      matmul->matmul.trans_b = TRUE;
      matmul->y = *y;
      break;
    case PT_OP_LINEAR_DATA:
      matmul->xs[0] = *y;
      matmul->xs[1] = w;
      matmul->y = *x;
      break;
    default:
      matmul->xs[0] = *y;
      matmul->xs[1] = *x;
      matmul->matmul.trans_a = TRUE;
      matmul->y = w;
  }
}

/* -- reductions -- */

/* Adds an axis that lies around those in @axes. */
static void
reduce_add_axis (PtReduceAxis *axes, guint *n, const PtReduceAxis *axis)
{
  PtReduceAxis *inner = *n > 0 ? &axes[*n - 1] : NULL;

  if (axis->size == 1)
    return;
  if (inner != NULL && axis->x == inner->size * inner->x
      && axis->y == inner->size * inner->y)
    inner->size *= axis->size;
  else
    axes[(*n)++] = *axis;
}

void
pt_reduce_geometry_init (PtReduceGeometry *self, const PtShape *x,
    const PtShape *y, guint axes)
{
  const gboolean keepdim = x->n_dims == y->n_dims;
  gint64 x_strides[PT_MAX_DIMS], y_strides[PT_MAX_DIMS];
  PtReduceAxis all[PT_MAX_DIMS];

  *self = (PtReduceGeometry) {.outputs = 1,.terms = 1 };
  pt_shape_get_strides (x, TRUE, x_strides);
  pt_shape_get_strides (y, TRUE, y_strides);
  for (guint i = 0, k = 0; i < x->n_dims; i++) {
    gboolean reduced = axes >> i & 1;

    all[i] = (PtReduceAxis) { x->dims[i], x_strides[i],
        reduced ? 0 : y_strides[k]};
    k += keepdim || !reduced;
    if (reduced)
      self->terms *= x->dims[i];
    else
      self->outputs *= x->dims[i];
  }
  /* from the inside: axis 1, if it is the innermost, before the others */
  for (guint i = 0; i < x->n_dims; i++) {
    guint at = x->n_dims - 1 - i;

    if (x->n_dims >= 4)
      at = i == 0 ? 1 : at >= 1 ? at + 1 : 0;
    if (axes >> at & 1)
      reduce_add_axis (self->reduced, &self->n_reduced, &all[at]);
    else
      reduce_add_axis (self->kept, &self->n_kept, &all[at]);
  }
}
