/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/affine.h"

#include <math.h>

enum
{
  FORWARD,
  BACKWARD,
  ACTIVATION_BACKWARD,
};

enum
{
  WEIGHT,
  BIAS,
  RUNNING_MEAN,
  RUNNING_VAR,
};

enum
{
  SAVED_MEAN,
  SAVED_VARIANCE,
};

typedef struct
{
  gdouble eps, momentum, lr_scale;
  gint statistics;
  gint activation;
} BatchNormOptions;

enum
{
  STATISTICS_BATCH,
  STATISTICS_RUNNING,
};

static const gchar *const batch_norm_statistics[] = {
  "batch", "running", NULL
};

static const gchar *const batch_norm_activations[] = { "none", "relu", NULL };

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (BatchNormOptions, key)

static const PtParam batch_norm_params[] = {
  {ROW (eps, DOUBLE), "1e-5", 1e-12, 1, NULL,
      "added to the variance under the root"},
  {ROW (momentum, DOUBLE), "0.1", 0, 1, NULL,
      "part of a learned frame in the running mean and variance"},
  {ROW (statistics, ENUM), "batch", 0, 0, batch_norm_statistics,
      "batch: of the frame at hand, or running: those of the weights file, "
      "unchanged"},
  {ROW (activation, ENUM), "none", 0, 0, batch_norm_activations,
      "applied to the output"},
  {ROW (lr_scale, DOUBLE), "1", 0, 1e6, NULL,
      "times the learning rate of its weights; 0: they stay"},
  {NULL}
};

#undef ROW

static gboolean
batch_norm_infer (PtLayer *layer, GError **error)
{
  const BatchNormOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  PtShape channels;

  if (x->n_dims != 2 && !pt_layer_check_rank (layer, 4, error))
    return FALSE;
  layer->lr_scale = options->lr_scale;
  if (options->statistics == STATISTICS_BATCH &&
      pt_shape_h (x) * pt_shape_w (x) < 2) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "statistics=batch over an input of 1x1 pixels, expected at least two "
        "pixels or statistics=running");
    return FALSE;
  }
  channels = PT_SHAPE (pt_shape_c (x));
  layer->weights[WEIGHT] = (PtWeight) { "weight", channels, TRUE };
  layer->weights[BIAS] = (PtWeight) { "bias", channels, TRUE };
  layer->weights[RUNNING_MEAN] = (PtWeight) {
    "running_mean", channels, FALSE};
  layer->weights[RUNNING_VAR] = (PtWeight) {
    "running_var", channels, FALSE};
  layer->n_weights = 4;
  layer->saved[SAVED_MEAN] = (PtSaved) { PT_F32, channels };
  layer->saved[SAVED_VARIANCE] = (PtSaved) { PT_F32, channels };
  layer->n_saved = 2;
  layer->backward_uses_x = TRUE;
  layer->backward_uses_y = options->activation != 0;
  return pt_layer_same_shape (layer, error);
}

static void
batch_norm_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  gint64 n = pt_shape_get_n_elements (&layer->weights[i].shape);

  for (gint64 k = 0; k < n; k++)
    data[k] = i == WEIGHT || i == RUNNING_VAR ? 1 : 0;
}

static gboolean
batch_norm_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const BatchNormOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_BATCH_NORM);

  if (desc.x.n_dims == 2)       /* lies in memory as one pixel does */
    desc.x = desc.y = PT_SHAPE (1, desc.x.dims[1], 1, 1);
  desc.batch_norm = (PtBatchNormDesc) {
    .batch_statistics = options->statistics == STATISTICS_BATCH,
    .momentum = options->momentum,
    .eps = options->eps,
    .activation = options->activation ? PT_ACTIVATION_RELU :
        PT_ACTIVATION_NONE,
  };
  if (!pt_layer_plan_op (plan, FORWARD, workspace, &desc, error))
    return FALSE;
  if (!workspace->training)
    return TRUE;
  desc.batch_norm.activation = PT_ACTIVATION_NONE;
  desc.type = PT_OP_BATCH_NORM_BACKWARD;
  if (!pt_layer_plan_op (plan, BACKWARD, workspace, &desc, error))
    return FALSE;
  if (options->activation == 0)
    return TRUE;
  desc = pt_layer_op_desc (layer, workspace, PT_OP_ACTIVATION_BACKWARD);
  desc.activation.kind = PT_ACTIVATION_RELU;
  return pt_layer_plan_op (plan, ACTIVATION_BACKWARD, workspace, &desc, error);
}

static gboolean
batch_norm_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {
    .x = args->x[0],
    .w = args->w[WEIGHT],
    .b = args->w[BIAS],
    .mean = args->w[RUNNING_MEAN],
    .variance = args->w[RUNNING_VAR],
    .y = args->y,
    .saved_mean = args->saved[SAVED_MEAN],
    .saved_variance = args->saved[SAVED_VARIANCE],
    .update_running = args->learning,
  };

  return pt_op_run (plan->ops[FORWARD], &run, error);
}

static gboolean
batch_norm_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {
    .x = args->x[0],
    .w = args->w[WEIGHT],
    .dy = args->dy,
    .saved_mean = args->saved[SAVED_MEAN],
    .saved_variance = args->saved[SAVED_VARIANCE],
    .dx = args->dx[0],
    .dw = args->dw[WEIGHT],
    .db = args->dw[BIAS],
  };

  if (plan->ops[ACTIVATION_BACKWARD] != NULL &&
      !pt_op_run (plan->ops[ACTIVATION_BACKWARD],
          &(PtOpArgs) {.y = args->y, .dy = args->dy, .dx = args->dy}, error))
    return FALSE;
  /* The operation always gives dx; over dy when nobody wants it. */
  if (run.dx == NULL)
    run.dx = args->dy;
  return pt_op_run (plan->ops[BACKWARD], &run, error);
}

/* y = weight (x - mean) / sqrt (variance + eps) + bias. */
static gboolean
batch_norm_get_scale (const PtLayer *layer, guint axis,
    PtTensor *const *weights, gdouble *scale, gdouble *shift)
{
  const BatchNormOptions *options = layer->options;
  const gint64 n = pt_shape_get_n_elements (&layer->weights[WEIGHT].shape);
  const gfloat *data[RUNNING_VAR + 1];

  if (options->statistics != STATISTICS_RUNNING || axis != 1)
    return FALSE;
  for (guint i = 0; i <= RUNNING_VAR && scale != NULL; i++)
    data[i] = weights[i]->data;
  for (gint64 i = 0; i < n && scale != NULL; i++) {
    const gdouble factor =
        data[WEIGHT][i] / sqrt (data[RUNNING_VAR][i] + options->eps);

    scale[i] = factor;
    shift[i] = data[BIAS][i] - factor * data[RUNNING_MEAN][i];
  }
  return TRUE;
}

/* Two passes for the statistics, one to apply them. */
static gdouble
batch_norm_flops (const PtLayer *layer)
{
  return 5.0 * pt_shape_get_n_elements (&layer->output);
}

static const gchar *const batch_norm_samples[] = {
  "in=1x3x5x4",
  "in=1x16x3x4 eps=1e-3 momentum=0.3 activation=relu",
  "in=1x3x5x4 statistics=running",
  "in=1x4x1x1 statistics=running activation=relu",
  "in=1x6 statistics=running activation=relu",
  NULL,
};

const PtLayerKind pt_layer_batch_norm = {
  .name = "batch-norm",
  .summary = "each channel to mean 0 and variance 1, then scaled and moved, "
      "torch.nn.BatchNorm2d; and BatchNorm1d of 1xF",
  .options_size = sizeof (BatchNormOptions),
  .params = batch_norm_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = batch_norm_samples,
  .infer = batch_norm_infer,
  .init = batch_norm_init,
  .plan = batch_norm_plan,
  .forward = batch_norm_forward,
  .backward = batch_norm_backward,
  .get_scale = batch_norm_get_scale,
  .scale_weight = pt_affine_scale_rows,
  .channels_axis = 1,
  .flops = batch_norm_flops,
};
