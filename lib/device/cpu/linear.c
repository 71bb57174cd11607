/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <omp.h>

#include "core/tensor.h"
#include "device/cpu/cpu.h"

/* One row times a matrix is bound by reading the matrix once, and oneDNN does
 * that best with plain row-major (out, in) weights: nothing to pack. */

typedef struct
{
  PtDnnlStep product;
} Linear;

typedef struct
{
  dnnl_memory_desc_t x, y, w, b;
} LinearGeometry;

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
  gint64 n = pt_shape_get_dim (&op->desc.x, 0);
  gint64 in = pt_shape_get_n_elements (&op->desc.x) / n;
  gint64 out = pt_shape_get_n_elements (&op->desc.y) / n;
  dnnl_dims_t channels = { out };

  op->weights_size = in * out * sizeof (gfloat);
  return linear_md (&geometry->x, n, in, error) &&
      linear_md (&geometry->y, n, out, error) &&
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

  if (self != NULL)
    pt_dnnl_step_clear (&self->product);
  g_free (self);
}

static gboolean
linear_plan (PtOp *op, GError **error)
{
  Linear *self = op->priv = g_new0 (Linear, 1);
  PtDnnlStep *step = &self->product;
  g_auto (PtDnnlPd) pd = NULL;
  LinearGeometry geometry;

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
  PtDnnlStep *step = &((Linear *) op->priv)->product;

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
  Linear *self = op->priv = g_new0 (Linear, 1);
  PtDnnlStep *step = &self->product;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  g_auto (PtDnnlPd) hint = NULL;
  g_auto (PtDnnlPd) pd = NULL;
  dnnl_inner_product_desc_t product;
  LinearGeometry geometry;

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
  PtDnnlStep *step = &((Linear *) op->priv)->product;

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
  op->weights_size = pt_shape_get_n_elements (&op->desc.x) *
      pt_shape_get_n_elements (&op->desc.y) * sizeof (gfloat);
  if (pt_shape_get_dim (&op->desc.x, 0) == 1)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "a batch of %"
      G_GINT64_FORMAT ", expected 1", pt_shape_get_dim (&op->desc.x, 0));
  return FALSE;
}

/* dw = dy x^T, db = dy: bound by writing dw, where oneDNN takes twice as
 * long. */
static gboolean
linear_weights_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 in = pt_shape_get_n_elements (&op->desc.x);
  gint64 out = pt_shape_get_n_elements (&op->desc.y);
  const gfloat *x = args->x->data, *dy = args->dy->data;
  gfloat *dw = args->dw->data;

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
};
