/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/matmul.h"

#include "core/tensor.h"

static const PtShape *
matmul_shape (const PtOpDesc *desc, guint i)
{
  return i == PT_MATMUL_Y ? &desc->y : &desc->xs[i];
}

/* Whether the device's order is another than row-major. */
static gboolean
matmul_is_permuted (const PtShape *shape)
{
  const gint64 c = pt_shape_c (shape);

  return shape->n_dims >= 4 && c > 1 &&
      shape->dims[0] * c < pt_shape_get_n_elements (shape);
}

/* (N, rest, C) to (N, C, rest) or back. */
static gboolean
matmul_init_copy (PtCpuMatmul *self, PtOp *op, const PtOpDesc *desc, guint i,
    GError **error)
{
  const PtShape *shape = matmul_shape (desc, i);
  const gint64 c = pt_shape_c (shape);
  const gint64 rest = pt_shape_get_n_elements (shape) / c / shape->dims[0];
  const gint64 rows = i == PT_MATMUL_Y ? rest : c;
  const gint64 columns = i == PT_MATMUL_Y ? c : rest;

  self->copies[i] = (PtOp) {.workspace = op->workspace,.desc = {
      .type = PT_OP_COMBINE,.x = *shape,.y = *shape,.combine = {
        .axes = {{shape->dims[0], c * rest}, {rows, 1}, {columns, rows}},
        .n_axes = 3,.block = 1}}};
  return pt_cpu_combine.plan (&self->copies[i], error);
}

/* The largest loop that moves in all three tensors goes into the primitive. */
static void
matmul_take_batch (PtCpuMatmul *self)
{
  PtMatmulGeometry *g = &self->geometry;
  guint best = g->n_loops;

  self->batch = (PtMatmulAxis) { 1, {0} };
  for (guint i = 0; i < g->n_loops; i++) {
    const gint64 *steps = g->loops[i].steps;

    if (steps[0] != 0 && steps[1] != 0 && steps[2] != 0 &&
        g->loops[i].size > self->batch.size) {
      self->batch = g->loops[i];
      best = i;
    }
  }
  if (best == g->n_loops)
    return;
  g->n_loops--;
  for (guint i = best; i < g->n_loops; i++)
    g->loops[i] = g->loops[i + 1];
}

/* Steps along axes of size 1 are as oneDNN likes them. */
static gboolean
matmul_md (dnnl_memory_desc_t *md, const PtMatmulAxis *batch,
    const PtMatmulAxis *rows, const PtMatmulAxis *columns, guint i,
    GError **error)
{
  gint64 column = columns->size > 1 ? columns->steps[i] : 1;
  gint64 row = rows->size > 1 ? rows->steps[i] : columns->size * column;
  dnnl_dims_t dims = { batch->size, rows->size, columns->size };
  dnnl_dims_t strides = { batch->size > 1 ? batch->steps[i] :
    MAX (rows->size * row, columns->size * column), row, column
  };

  if (columns->size == 1 && row == 1)
    strides[2] = rows->size;
  return PT_DNNL (dnnl_memory_desc_init_by_strides (md, 3, dims, dnnl_f32,
          strides), error);
}

static gboolean
matmul_attr_append (dnnl_primitive_attr_t attr, gfloat scale,
    gboolean adding, GError **error)
{
  dnnl_post_ops_t ops = NULL;
  gboolean ok;

  if (scale != 1 && !PT_DNNL (dnnl_primitive_attr_set_output_scales (attr, 1,
              0, &scale), error))
    return FALSE;
  if (!adding)
    return TRUE;
  if (!PT_DNNL (dnnl_post_ops_create (&ops), error))
    return FALSE;
  ok = PT_DNNL (dnnl_post_ops_append_sum (ops, 1), error) &&
      PT_DNNL (dnnl_primitive_attr_set_post_ops (attr, ops), error);
  dnnl_post_ops_destroy (ops);
  return ok;
}

static gboolean
matmul_init_product (PtCpuMatmul *self, PtOp *op, gfloat scale,
    const PtCpuEpilogue *epilogue, gboolean adding, GError **error)
{
  const PtMatmulGeometry *g = &self->geometry;
  PtDnnlStep *step = adding ? &self->adding : &self->product;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (epilogue->activation,
      epilogue->alpha, error);
  g_auto (PtDnnlPd) pd = NULL;
  dnnl_memory_desc_t a, b, bias, y;
  dnnl_dims_t bias_dims = { 1, 1, g->n.size };
  dnnl_matmul_desc_t desc;

  return attr != NULL && matmul_attr_append (attr, scale, adding, error) &&
      matmul_md (&a, &self->batch, &g->m, &g->k, PT_MATMUL_A, error) &&
      matmul_md (&b, &self->batch, &g->k, &g->n, PT_MATMUL_B, error) &&
      matmul_md (&y, &self->batch, &g->m, &g->n, PT_MATMUL_Y, error) &&
      PT_DNNL (dnnl_memory_desc_init_by_tag (&bias, 3, bias_dims, dnnl_f32,
          dnnl_abc), error) &&
      PT_DNNL (dnnl_matmul_desc_init (&desc, &a, &b,
          epilogue->bias ? &bias : NULL, &y), error) &&
      PT_DNNL (dnnl_primitive_desc_create (&pd, &desc, attr,
          pt_cpu (op)->engine, NULL), error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_SRC, &a, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_WEIGHTS, &b, error) &&
      (!epilogue->bias ||
      pt_dnnl_step_add (step, op, DNNL_ARG_BIAS, &bias, error)) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DST, &y, error);
}

static gboolean
matmul_is_sum (const PtMatmulGeometry *g)
{
  for (guint i = 0; i < g->n_loops; i++)
    if (g->loops[i].steps[PT_MATMUL_Y] == 0)
      return TRUE;
  return FALSE;
}

/* The copies lie behind what oneDNN asks for. */
static void
matmul_place_copies (PtCpuMatmul *self, PtOp *op, const PtOpDesc *desc)
{
  for (guint i = 0; i < 3; i++)
    if (self->copied[i]) {
      self->offsets[i] = (op->scratch_size + PT_ALIGNMENT - 1) / PT_ALIGNMENT *
          PT_ALIGNMENT;
      op->scratch_size = self->offsets[i] + sizeof (gfloat) *
          pt_shape_get_n_elements (matmul_shape (desc, i));
    }
}

gboolean
pt_cpu_matmul_init (PtCpuMatmul *self, PtOp *op, const PtOpDesc *desc,
    const PtCpuEpilogue *epilogue, GError **error)
{
  for (guint i = 0; i < 3; i++) {
    self->copied[i] = matmul_is_permuted (matmul_shape (desc, i));
    if (self->copied[i] && !matmul_init_copy (self, op, desc, i, error))
      return FALSE;
  }
  pt_matmul_geometry_init (&self->geometry, desc, self->copied);
  matmul_take_batch (self);
  if (!matmul_init_product (self, op, desc->matmul.alpha, epilogue, FALSE,
          error) || (matmul_is_sum (&self->geometry) &&
          !matmul_init_product (self, op, desc->matmul.alpha, epilogue, TRUE,
              error)))
    return FALSE;
  matmul_place_copies (self, op, desc);
  return TRUE;
}

/* Number @i of the product of the loops. */
static gboolean
matmul_run_one (PtCpuMatmul *self, PtOp *op, gint64 i, gfloat *const data[3],
    GError **error)
{
  const PtMatmulGeometry *g = &self->geometry;
  PtDnnlStep *step = &self->product;
  gint64 offsets[3] = { 0 };

  for (guint k = 0; k < g->n_loops; k++) {
    gint64 at = i % g->loops[k].size;

    i /= g->loops[k].size;
    for (guint t = 0; t < 3; t++)
      offsets[t] += at * g->loops[k].steps[t];
    if (at > 0 && g->loops[k].steps[PT_MATMUL_Y] == 0)
      step = &self->adding;
  }
  return pt_dnnl_step_set (step, DNNL_ARG_SRC, data[PT_MATMUL_A] +
      offsets[PT_MATMUL_A], error) &&
      pt_dnnl_step_set (step, DNNL_ARG_WEIGHTS, data[PT_MATMUL_B] +
      offsets[PT_MATMUL_B], error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DST, data[PT_MATMUL_Y] +
      offsets[PT_MATMUL_Y], error) && pt_dnnl_step_run (step, op, error);
}

static gboolean
matmul_copy (PtCpuMatmul *self, guint i, gpointer from, gpointer to,
    GError **error)
{
  PtTensor x = {.data = from }, y = {.data = to };

  return pt_cpu_combine.run (&self->copies[i],
      &(PtOpArgs) {.x = &x,.y = &y }, error);
}

gboolean
pt_cpu_matmul_run (PtCpuMatmul *self, PtOp *op, const PtTensor *a,
    const PtTensor *b, const PtTensor *bias, PtTensor *y, GError **error)
{
  const PtTensor *tensors[] = { a, b, y };
  const PtMatmulGeometry *g = &self->geometry;
  gfloat *data[3];
  gint64 n = 1;

  for (guint i = 0; i < 3; i++)
    data[i] = self->copied[i] ? (gfloat *) ((guint8 *)
        op->workspace->scratch->data + self->offsets[i]) : tensors[i]->data;
  for (guint i = 0; i < PT_MATMUL_Y; i++)
    if (self->copied[i] &&
        !matmul_copy (self, i, tensors[i]->data, data[i], error))
      return FALSE;
  if (bias != NULL && !pt_dnnl_step_set (&self->product, DNNL_ARG_BIAS,
          bias->data, error))
    return FALSE;
  for (guint i = 0; i < g->n_loops; i++)
    n *= g->loops[i].size;
  for (gint64 i = 0; i < n; i++)
    if (!matmul_run_one (self, op, i, data, error))
      return FALSE;
  return !self->copied[PT_MATMUL_Y] || matmul_copy (self, PT_MATMUL_Y,
      data[PT_MATMUL_Y], y->data, error);
}

void
pt_cpu_matmul_clear (PtCpuMatmul *self)
{
  for (guint i = 0; i < 3; i++)
    pt_cpu_combine.clear (&self->copies[i]);
  pt_dnnl_step_clear (&self->product);
  pt_dnnl_step_clear (&self->adding);
}

static gboolean
matmul_plan (PtOp *op, GError **error)
{
  static const PtCpuEpilogue nothing = { FALSE, PT_ACTIVATION_NONE, 0 };

  op->priv = g_new0 (PtCpuMatmul, 1);
  return pt_cpu_matmul_init (op->priv, op, &op->desc, &nothing, error);
}

static gboolean
matmul_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  return pt_cpu_matmul_run (op->priv, op, args->xs[0], args->xs[1], NULL,
      args->y, error);
}

static void
matmul_clear (PtOp *op)
{
  if (op->priv != NULL)
    pt_cpu_matmul_clear (op->priv);
  g_free (op->priv);
}

const PtOpImpl pt_cpu_matmul = {
  .plan = matmul_plan,
  .run = matmul_run,
  .clear = matmul_clear,
};
