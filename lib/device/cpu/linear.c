/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <omp.h>

#include "core/tensor.h"
#include "device/cpu/matmul.h"
#include "device/cpu/reduce.h"

/* One row times a matrix is bound by reading the matrix once, and oneDNN does
 * that best with plain row-major (out, in) weights: nothing to pack. Several
 * rows are a product of matrices. */

typedef struct
{
  PtDnnlStep product;           /* of one row */
  PtCpuMatmul rows;             /* of several */
  PtReduceGeometry bias;        /* db from dy */
} Linear;

typedef struct
{
  dnnl_memory_desc_t x, y, w, b;
} LinearGeometry;

static gint64
linear_get_in (const PtOp *op)
{
  return op->desc.x.dims[op->desc.x.n_dims - 1];
}

static gint64
linear_get_out (const PtOp *op)
{
  return op->desc.y.dims[op->desc.y.n_dims - 1];
}

static gint64
linear_get_rows (const PtOp *op)
{
  return pt_shape_get_n_elements (&op->desc.x) / linear_get_in (op);
}

static gboolean
linear_md (dnnl_memory_desc_t *md, gint64 rows, gint64 columns,
    GError **error)
{
  dnnl_dims_t dims = { rows, columns };

  return PT_DNNL (dnnl_memory_desc_init_by_tag (md, 2, dims, dnnl_f32,
          dnnl_ab), error);
}

static gboolean
linear_geometry_init (LinearGeometry *geometry, PtOp *op, GError **error)
{
  gint64 in = linear_get_in (op), out = linear_get_out (op);
  dnnl_dims_t channels = { out };

  return linear_md (&geometry->x, 1, in, error) &&
      linear_md (&geometry->y, 1, out, error) &&
      linear_md (&geometry->w, out, in, error) &&
      PT_DNNL (dnnl_memory_desc_init_by_tag (&geometry->b, 1, channels,
          dnnl_f32, dnnl_a), error);
}

static gboolean
linear_forward_pd (PtOp *op, const LinearGeometry *geometry,
    dnnl_primitive_desc_t *pd, GError **error)
{
  const PtLinearDesc *desc = &op->desc.linear;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (desc->activation, desc->alpha,
      error);
  dnnl_inner_product_desc_t product;

  return attr != NULL &&
      PT_DNNL (dnnl_inner_product_forward_desc_init (&product,
          op->desc.training ? dnnl_forward_training : dnnl_forward_inference,
          &geometry->x, &geometry->w, desc->bias ? &geometry->b : NULL,
          &geometry->y), error) &&
      PT_DNNL (dnnl_primitive_desc_create (pd, &product, attr,
          pt_cpu (op)->engine, NULL), error);
}

static void
linear_clear (PtOp *op)
{
  Linear *self = op->priv;

  if (self != NULL) {
    pt_dnnl_step_clear (&self->product);
    pt_cpu_matmul_clear (&self->rows);
  }
  g_free (self);
}

/* What several rows need; TRUE with *done FALSE if there is only one. */
static gboolean
linear_plan_rows (PtOp *op, gboolean *done, GError **error)
{
  const PtLinearDesc *linear = &op->desc.linear;
  const gboolean forward = op->desc.type == PT_OP_LINEAR;
  const PtCpuEpilogue epilogue = { forward && linear->bias,
    forward ? linear->activation : PT_ACTIVATION_NONE, linear->alpha
  };
  Linear *self = op->priv = g_new0 (Linear, 1);
  PtOpDesc desc;

  op->weights_size = linear_get_in (op) * linear_get_out (op) *
      sizeof (gfloat);
  *done = linear_get_rows (op) > 1;
  if (!*done)
    return TRUE;
  pt_linear_as_matmul (&op->desc, &desc);
  pt_reduce_geometry_init (&self->bias, &op->desc.y,
      &PT_SHAPE (linear_get_out (op)), (1u << (op->desc.y.n_dims - 1)) - 1);
  return pt_cpu_matmul_init (&self->rows, op, &desc, &epilogue, error);
}

static gboolean
linear_plan (PtOp *op, GError **error)
{
  PtDnnlStep *step;
  g_auto (PtDnnlPd) pd = NULL;
  LinearGeometry geometry;
  gboolean done;

  if (!linear_plan_rows (op, &done, error) || done)
    return done;
  step = &((Linear *) op->priv)->product;
  return linear_geometry_init (&geometry, op, error) &&
      linear_forward_pd (op, &geometry, &pd, error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_SRC, &geometry.x, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_WEIGHTS, &geometry.w, error) &&
      (!op->desc.linear.bias || pt_dnnl_step_add (step, op, DNNL_ARG_BIAS,
          &geometry.b, error)) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DST, &geometry.y, error);
}

static gboolean
linear_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Linear *self = op->priv;
  PtDnnlStep *step = &self->product;

  if (linear_get_rows (op) > 1)
    return pt_cpu_matmul_run (&self->rows, op, args->x, args->w,
        op->desc.linear.bias ? args->b : NULL, args->y, error);
  return pt_dnnl_step_set (step, DNNL_ARG_SRC, args->x->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_WEIGHTS, args->w->data, error) &&
      (!op->desc.linear.bias ||
      pt_dnnl_step_set (step, DNNL_ARG_BIAS, args->b->data, error)) &&
      pt_dnnl_step_set (step, DNNL_ARG_DST, args->y->data, error) &&
      pt_dnnl_step_run (step, op, error);
}

const PtOpImpl pt_cpu_linear = {
  .plan = linear_plan,
  .run = linear_run,
  .clear = linear_clear,
};

static gboolean
linear_data_plan (PtOp *op, GError **error)
{
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  g_auto (PtDnnlPd) hint = NULL;
  g_auto (PtDnnlPd) pd = NULL;
  dnnl_inner_product_desc_t product;
  LinearGeometry geometry;
  PtDnnlStep *step;
  gboolean done;

  if (!linear_plan_rows (op, &done, error) || done)
    return done;
  step = &((Linear *) op->priv)->product;
  return attr != NULL && linear_geometry_init (&geometry, op, error) &&
      linear_forward_pd (op, &geometry, &hint, error) &&
      PT_DNNL (dnnl_inner_product_backward_data_desc_init (&product,
          &geometry.x, &geometry.w, &geometry.y), error) &&
      PT_DNNL (dnnl_primitive_desc_create (&pd, &product, attr,
          pt_cpu (op)->engine, hint), error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DIFF_DST, &geometry.y, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_WEIGHTS, &geometry.w, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DIFF_SRC, &geometry.x, error);
}

static gboolean
linear_data_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Linear *self = op->priv;
  PtDnnlStep *step = &self->product;

  if (linear_get_rows (op) > 1)
    return pt_cpu_matmul_run (&self->rows, op, args->dy, args->w, NULL,
        args->dx, error);
  return pt_dnnl_step_set (step, DNNL_ARG_DIFF_DST, args->dy->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_WEIGHTS, args->w->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DIFF_SRC, args->dx->data, error) &&
      pt_dnnl_step_run (step, op, error);
}

const PtOpImpl pt_cpu_linear_data = {
  .plan = linear_data_plan,
  .run = linear_data_run,
  .clear = linear_clear,
};

static gboolean
linear_weights_plan (PtOp *op, GError **error)
{
  gboolean done;

  return linear_plan_rows (op, &done, error);
}

static gboolean
linear_weights_run_rows (PtOp *op, const PtOpArgs *args, GError **error)
{
  static const PtReduceDesc sum = {.kind = PT_REDUCE_SUM };
  Linear *self = op->priv;

  if (op->desc.linear.bias)
    pt_cpu_reduce_run (op, &self->bias, &sum, args->dy->data, args->db->data);
  return pt_cpu_matmul_run (&self->rows, op, args->dy, args->x, NULL,
      args->dw, error);
}

/* dw = dy x^T, db = dy: bound by writing dw, where oneDNN takes twice as
 * long. */
static gboolean
linear_weights_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 in = linear_get_in (op), out = linear_get_out (op);
  const gfloat *x = args->x->data, *dy = args->dy->data;
  gfloat *dw = args->dw->data;

  if (linear_get_rows (op) > 1)
    return linear_weights_run_rows (op, args, error);
#pragma omp parallel for if (omp_get_max_threads () > 1 && in * out > 16384)
  for (gint64 o = 0; o < out; o++) {
    gfloat *row = dw + o * in, g = dy[o];

#pragma omp simd
    for (gint64 i = 0; i < in; i++)
      row[i] = g * x[i];
  }
  if (op->desc.linear.bias)
    for (gint64 o = 0; o < out; o++)
      ((gfloat *) args->db->data)[o] = dy[o];
  return TRUE;
}

const PtOpImpl pt_cpu_linear_weights = {
  .plan = linear_weights_plan,
  .run = linear_weights_run,
  .clear = linear_clear,
};
