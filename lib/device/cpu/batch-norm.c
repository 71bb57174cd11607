/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "core/tensor.h"
#include "device/cpu/cpu.h"

typedef struct
{
  PtDnnlStep norm;
  PtDnnlStep relu;              /* where it cannot be fused; else empty */
} BatchNorm;

static dnnl_status_t
batch_norm_forward_pd (PtOp *op, const dnnl_memory_desc_t *md,
    PtActivation activation, dnnl_primitive_desc_t *pd)
{
  const PtBatchNormDesc *desc = &op->desc.batch_norm;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (activation, 0, NULL);
  guint flags = dnnl_use_scale | dnnl_use_shift;
  dnnl_batch_normalization_desc_t norm;
  dnnl_status_t status;

  if (attr == NULL)
    return dnnl_out_of_memory;
  if (!desc->batch_statistics)
    flags |= dnnl_use_global_stats;
  status = dnnl_batch_normalization_forward_desc_init (&norm,
      desc->batch_statistics && op->desc.training ? dnnl_forward_training :
      dnnl_forward_inference, md, desc->eps, flags);
  if (status != dnnl_success)
    return status;
  return dnnl_primitive_desc_create (pd, &norm, attr, pt_cpu (op)->engine,
      NULL);
}

static gboolean
batch_norm_add_channels (PtDnnlStep *step, PtOp *op, const gint *args,
    guint n_args, GError **error)
{
  dnnl_memory_desc_t md;
  dnnl_dims_t dims = { pt_shape_c (&op->desc.x) };

  if (!PT_DNNL (dnnl_memory_desc_init_by_tag (&md, 1, dims, dnnl_f32, dnnl_a),
          error))
    return FALSE;
  for (guint i = 0; i < n_args; i++)
    if (!pt_dnnl_step_add (step, op, args[i], &md, error))
      return FALSE;
  return TRUE;
}

static gboolean
batch_norm_check (const PtOpDesc *desc, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&desc->x) / pt_shape_c (&desc->x);

  if (desc->batch_norm.activation != PT_ACTIVATION_NONE &&
      desc->batch_norm.activation != PT_ACTIVATION_RELU) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
        "activation %s inside batch-norm, expected none or relu",
        pt_activation_names[desc->batch_norm.activation]);
    return FALSE;
  }
  if (desc->batch_norm.batch_statistics && n < 2) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "statistics of %"
        G_GINT64_FORMAT " value per channel, expected at least 2", n);
    return FALSE;
  }
  return TRUE;
}

static gboolean
batch_norm_plan_relu (PtOp *op, const dnnl_memory_desc_t *md, GError **error)
{
  PtDnnlStep *step = &((BatchNorm *) op->priv)->relu;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  g_auto (PtDnnlPd) pd = NULL;
  dnnl_eltwise_desc_t relu;

  return attr != NULL &&
      PT_DNNL (dnnl_eltwise_forward_desc_init (&relu, dnnl_forward_inference,
          dnnl_eltwise_relu, md, 0, 0), error) &&
      PT_DNNL (dnnl_primitive_desc_create (&pd, &relu, attr,
          pt_cpu (op)->engine, NULL), error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_SRC, md, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DST, md, error);
}

/* Whether mean and variance are handed over, in or out. */
static gboolean
batch_norm_has_statistics (const PtOp *op)
{
  return op->desc.training || !op->desc.batch_norm.batch_statistics;
}

static gboolean
batch_norm_plan (PtOp *op, GError **error)
{
  static const gint channels[] = { DNNL_ARG_SCALE, DNNL_ARG_SHIFT,
    DNNL_ARG_MEAN, DNNL_ARG_VARIANCE
  };
  BatchNorm *self = op->priv = g_new0 (BatchNorm, 1);
  PtActivation activation = op->desc.batch_norm.activation;
  g_auto (PtDnnlPd) pd = NULL;
  dnnl_memory_desc_t md;

  if (!batch_norm_check (&op->desc, error) ||
      !pt_dnnl_nhwc (&md, &op->desc.x, error))
    return FALSE;
  if (activation != PT_ACTIVATION_NONE && batch_norm_forward_pd (op, &md,
          activation, &pd) != dnnl_success &&
      !batch_norm_plan_relu (op, &md, error))
    return FALSE;
  if (pd == NULL && !PT_DNNL (batch_norm_forward_pd (op, &md,
              PT_ACTIVATION_NONE, &pd), error))
    return FALSE;
  /* Without a gradient to come the batch's statistics stay inside. */
  return pt_dnnl_step_init (&self->norm, op, pd, error) &&
      pt_dnnl_step_add (&self->norm, op, DNNL_ARG_SRC, &md, error) &&
      pt_dnnl_step_add (&self->norm, op, DNNL_ARG_DST, &md, error) &&
      batch_norm_add_channels (&self->norm, op, channels,
      batch_norm_has_statistics (op) ? 4 : 2, error);
}

static void
batch_norm_clear (PtOp *op)
{
  BatchNorm *self = op->priv;

  if (self == NULL)
    return;
  pt_dnnl_step_clear (&self->norm);
  pt_dnnl_step_clear (&self->relu);
  g_free (self);
}

/* PyTorch's: running = (1 - momentum) running + momentum batch, with the
 * unbiased variance. */
static void
batch_norm_move_running (PtOp *op, const PtOpArgs *args)
{
  gint64 c = pt_shape_c (&op->desc.x);
  gdouble n = pt_shape_get_n_elements (&op->desc.x) / c;
  gfloat m = op->desc.batch_norm.momentum, unbias = n / (n - 1);
  const gfloat *mean = args->saved_mean->data;
  const gfloat *variance = args->saved_variance->data;
  gfloat *running_mean = args->mean->data;
  gfloat *running_variance = args->variance->data;

  for (gint64 k = 0; k < c; k++) {
    running_mean[k] += m * (mean[k] - running_mean[k]);
    running_variance[k] += m * (unbias * variance[k] - running_variance[k]);
  }
}

static gboolean
batch_norm_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  BatchNorm *self = op->priv;
  PtDnnlStep *step = &self->norm;
  gboolean batch = op->desc.batch_norm.batch_statistics;
  PtTensor *mean = batch ? args->saved_mean : args->mean;
  PtTensor *variance = batch ? args->saved_variance : args->variance;

  if (!pt_dnnl_step_set (step, DNNL_ARG_SRC, args->x->data, error) ||
      !pt_dnnl_step_set (step, DNNL_ARG_DST, args->y->data, error) ||
      !pt_dnnl_step_set (step, DNNL_ARG_SCALE, args->w->data, error) ||
      !pt_dnnl_step_set (step, DNNL_ARG_SHIFT, args->b->data, error))
    return FALSE;
  if (batch_norm_has_statistics (op) &&
      (!pt_dnnl_step_set (step, DNNL_ARG_MEAN, mean->data, error) ||
          !pt_dnnl_step_set (step, DNNL_ARG_VARIANCE, variance->data, error)))
    return FALSE;
  if (!pt_dnnl_step_run (step, op, error))
    return FALSE;
  if (batch && op->desc.training && args->update_running)
    batch_norm_move_running (op, args);
  if (!batch && args->saved_mean != NULL) {
    memcpy (args->saved_mean->data, mean->data, mean->size);
    memcpy (args->saved_variance->data, variance->data, variance->size);
  }
  return self->relu.primitive == NULL ||
      (pt_dnnl_step_set (&self->relu, DNNL_ARG_SRC, args->y->data, error) &&
      pt_dnnl_step_set (&self->relu, DNNL_ARG_DST, args->y->data, error) &&
      pt_dnnl_step_run (&self->relu, op, error));
}

const PtOpImpl pt_cpu_batch_norm = {
  .plan = batch_norm_plan,
  .run = batch_norm_run,
  .clear = batch_norm_clear,
};

static gboolean
batch_norm_backward_plan (PtOp *op, GError **error)
{
  static const gint channels[] = { DNNL_ARG_SCALE, DNNL_ARG_SHIFT,
    DNNL_ARG_MEAN, DNNL_ARG_VARIANCE, DNNL_ARG_DIFF_SCALE, DNNL_ARG_DIFF_SHIFT
  };
  BatchNorm *self = op->priv = g_new0 (BatchNorm, 1);
  PtDnnlStep *step = &self->norm;
  const PtBatchNormDesc *desc = &op->desc.batch_norm;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  g_auto (PtDnnlPd) hint = NULL;
  g_auto (PtDnnlPd) pd = NULL;
  guint flags = dnnl_use_scale | dnnl_use_shift |
      (desc->batch_statistics ? 0 : dnnl_use_global_stats);
  dnnl_batch_normalization_desc_t norm;
  dnnl_memory_desc_t md;

  return attr != NULL && batch_norm_check (&op->desc, error) &&
      pt_dnnl_nhwc (&md, &op->desc.x, error) &&
      PT_DNNL (batch_norm_forward_pd (op, &md, PT_ACTIVATION_NONE, &hint),
      error) &&
      PT_DNNL (dnnl_batch_normalization_backward_desc_init (&norm,
          dnnl_backward, &md, &md, desc->eps, flags), error) &&
      PT_DNNL (dnnl_primitive_desc_create (&pd, &norm, attr,
          pt_cpu (op)->engine, hint), error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_SRC, &md, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DIFF_DST, &md, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_DIFF_SRC, &md, error) &&
      batch_norm_add_channels (step, op, channels, G_N_ELEMENTS (channels),
      error);
}

/* oneDNN asks for the shift, whose value plays no part. */
static gboolean
batch_norm_backward_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtDnnlStep *step = &((BatchNorm *) op->priv)->norm;

  return pt_dnnl_step_set (step, DNNL_ARG_SRC, args->x->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DIFF_DST, args->dy->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DIFF_SRC, args->dx->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_SCALE, args->w->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_SHIFT, args->w->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_MEAN, args->saved_mean->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_VARIANCE, args->saved_variance->data,
      error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DIFF_SCALE, args->dw->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_DIFF_SHIFT, args->db->data, error) &&
      pt_dnnl_step_run (step, op, error);
}

const PtOpImpl pt_cpu_batch_norm_backward = {
  .plan = batch_norm_backward_plan,
  .run = batch_norm_backward_run,
  .clear = batch_norm_clear,
};
