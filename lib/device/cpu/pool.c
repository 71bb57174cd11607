/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/tensor.h"
#include "device/cpu/pool-plain.h"

/* The place of each maximum is kept as oneDNN likes it, in the tensor of
 * int32 the caller gives: that is at least as large as oneDNN asks for. */

typedef struct
{
  PtDnnlStep pool;
  gboolean indices;
  gboolean is_plain;            /* not oneDNN's */
} Pool;

typedef struct
{
  dnnl_memory_desc_t x, y;
  dnnl_dims_t stride, kernel, dilation, padding, padding_end;
  dnnl_alg_kind_t kind;
} PoolGeometry;

/* Padding behind the last element that oneDNN must see for the output to have
 * the size of @y; less than PyTorch's where a stride does not come out even. */
static gboolean
pool_geometry_init (PoolGeometry *geometry, const PtOpDesc *desc,
    GError **error)
{
  const PtPoolDesc *pool = &desc->pool;

  for (guint k = 0; k < 2; k++) {
    geometry->stride[k] = pool->stride[k];
    geometry->kernel[k] = pool->kernel[k];
    geometry->padding[k] = pool->padding[k];
    geometry->dilation[k] = MAX (pool->dilation[k], 1) - 1;
    geometry->padding_end[k] = (pt_shape_get_dim (&desc->y, 2 + k) - 1) *
        pool->stride[k] + (pool->kernel[k] - 1) *
        (geometry->dilation[k] + 1) + 1 - pool->padding[k] -
        pt_shape_get_dim (&desc->x, 2 + k);
  }
  if (pool->kind == PT_POOL_MAX)
    geometry->kind = dnnl_pooling_max;
  else
    geometry->kind = pool->count_include_pad ?
        dnnl_pooling_avg_include_padding : dnnl_pooling_avg_exclude_padding;
  return pt_dnnl_nhwc (&geometry->x, &desc->x, error) &&
      pt_dnnl_nhwc (&geometry->y, &desc->y, error);
}

static gboolean
pool_forward_pd (PtOp *op, const PoolGeometry *geometry,
    dnnl_primitive_desc_t *pd, GError **error)
{
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  dnnl_pooling_v2_desc_t pool;

  return attr != NULL &&
      PT_DNNL (dnnl_pooling_v2_forward_desc_init (&pool,
          op->desc.training ? dnnl_forward_training : dnnl_forward_inference,
          geometry->kind, &geometry->x, &geometry->y, geometry->stride,
          geometry->kernel, geometry->dilation, geometry->padding,
          geometry->padding_end), error) &&
      PT_DNNL (dnnl_primitive_desc_create (pd, &pool, attr,
          pt_cpu (op)->engine, NULL), error);
}

/* Adds the workspace of @pd, if it has one, to the arguments. */
static gboolean
pool_add_indices (PtOp *op, const_dnnl_primitive_desc_t pd, GError **error)
{
  Pool *self = op->priv;
  const dnnl_memory_desc_t *md =
      dnnl_primitive_desc_query_md (pd, dnnl_query_workspace_md, 0);
  gsize size = dnnl_memory_desc_get_size (md);
  gsize room = pt_shape_get_n_elements (&op->desc.y) * sizeof (gint32);

  if (size > room) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "oneDNN wants %"
        G_GSIZE_FORMAT " bytes for the places of the maxima, expected at most "
        "%" G_GSIZE_FORMAT, size, room);
    return FALSE;
  }
  self->indices = size > 0;
  return !self->indices ||
      pt_dnnl_step_add (&self->pool, op, DNNL_ARG_WORKSPACE, md, error);
}

static void
pool_clear (PtOp *op)
{
  Pool *self = op->priv;

  if (self != NULL)
    pt_dnnl_step_clear (&self->pool);
  g_free (self);
}

static gboolean
pool_plan (PtOp *op, GError **error)
{
  Pool *self = op->priv = g_new0 (Pool, 1);
  PtDnnlStep *step = &self->pool;
  g_auto (PtDnnlPd) pd = NULL;
  PoolGeometry geometry;

  self->is_plain = pt_cpu_pool_plain_suits (&op->desc);
  return self->is_plain || (pool_geometry_init (&geometry, &op->desc, error) &&
      pool_forward_pd (op, &geometry, &pd, error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_SRC, &geometry.x, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DST, &geometry.y, error) &&
      pool_add_indices (op, pd, error));
}

static gboolean
pool_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Pool *self = op->priv;
  PtDnnlStep *step = &self->pool;

  if (self->is_plain) {
    pt_cpu_pool_plain (op, args);
    return TRUE;
  }
  return pt_dnnl_step_set (step, DNNL_ARG_SRC, args->x->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DST, args->y->data, error) &&
      (!self->indices || pt_dnnl_step_set (step, DNNL_ARG_WORKSPACE,
          args->indices->data, error)) && pt_dnnl_step_run (step, op, error);
}

const PtOpImpl pt_cpu_pool = {
  .plan = pool_plan,
  .run = pool_run,
  .clear = pool_clear,
};

static gboolean
pool_backward_plan (PtOp *op, GError **error)
{
  Pool *self = op->priv = g_new0 (Pool, 1);
  PtDnnlStep *step = &self->pool;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  g_auto (PtDnnlPd) hint = NULL;
  g_auto (PtDnnlPd) pd = NULL;
  dnnl_pooling_v2_desc_t pool;
  PoolGeometry geometry;

  op->desc.training = TRUE;     /* the forward pass that kept the places */
  self->is_plain = pt_cpu_pool_plain_suits (&op->desc);
  return self->is_plain || (attr != NULL &&
      pool_geometry_init (&geometry, &op->desc, error) &&
      pool_forward_pd (op, &geometry, &hint, error) &&
      PT_DNNL (dnnl_pooling_v2_backward_desc_init (&pool, geometry.kind,
          &geometry.x, &geometry.y, geometry.stride, geometry.kernel,
          geometry.dilation, geometry.padding, geometry.padding_end), error) &&
      PT_DNNL (dnnl_primitive_desc_create (&pd, &pool, attr,
          pt_cpu (op)->engine, hint), error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DIFF_DST, &geometry.y, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DIFF_SRC, &geometry.x, error) &&
      pool_add_indices (op, hint, error));
}

static gboolean
pool_backward_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Pool *self = op->priv;
  PtDnnlStep *step = &self->pool;

  if (self->is_plain) {
    pt_cpu_pool_plain_backward (op, args);
    return TRUE;
  }
  return pt_dnnl_step_set (step, DNNL_ARG_DIFF_DST, args->dy->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DIFF_SRC, args->dx->data, error) &&
      (!self->indices || pt_dnnl_step_set (step, DNNL_ARG_WORKSPACE,
          args->indices->data, error)) && pt_dnnl_step_run (step, op, error);
}

const PtOpImpl pt_cpu_pool_backward = {
  .plan = pool_backward_plan,
  .run = pool_backward_run,
  .clear = pool_clear,
};
