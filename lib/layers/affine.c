/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/affine.h"

enum
{
  FORWARD,
  BACKWARD_DATA,
  BACKWARD_WEIGHTS,
  ACTIVATION,                   /* where it is not fused */
  ACTIVATION_BACKWARD,
  COPY,                         /* the gradient of what is added */
};

enum
{
  WEIGHT,
  BIAS,
};

void
pt_affine_infer (PtLayer *layer, const PtShape *weight, gint64 outputs)
{
  const PtAffineOptions *options = layer->options;

  layer->lr_scale = options->lr_scale;
  layer->weights[WEIGHT] = (PtWeight) { "weight", *weight, TRUE };
  layer->weights[BIAS] = (PtWeight) {
    "bias", PT_SHAPE (outputs), TRUE};
  layer->n_weights = options->bias ? 2 : 1;
  layer->backward_uses_x = TRUE;
  if (options->activation == PT_ACTIVATION_NONE)
    return;
  /* Where y does not tell the derivative, what went in is kept. */
  layer->backward_uses_y = pt_activation_uses_y (options->activation);
  if (!layer->backward_uses_y)
    layer->saved[layer->n_saved++] = (PtSaved) { PT_F32, layer->output };
}

gboolean
pt_conv_check_groups (const PtLayer *layer, GError **error)
{
  const PtConvOptions *o = layer->options;
  const gint64 channels = pt_shape_c (&layer->inputs[0]);

  if (channels % o->groups == 0 && o->filters % o->groups == 0)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "groups=%d, expected a divisor of both the %" G_GINT64_FORMAT
      " input channels and filters=%d", o->groups, channels, o->filters);
  return FALSE;
}

void
pt_affine_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  const PtShape *weight = &layer->weights[WEIGHT].shape;

  pt_layer_init_fan_in (layer, i,
      pt_shape_get_n_elements (weight) / weight->dims[0], data, seed);
}

void
pt_affine_scale_rows (const PtLayer *layer, const gdouble *scale,
    gfloat *weight)
{
  const PtShape *shape = &layer->weights[WEIGHT].shape;
  const gint64 columns = pt_shape_get_n_elements (shape) / shape->dims[0];

  for (gint64 i = 0; i < shape->dims[0]; i++)
    for (gint64 k = 0; k < columns; k++)
      weight[i * columns + k] *= scale[i];
}

static gboolean
affine_plan_activation (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const PtAffineOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_ACTIVATION);

  desc.x = layer->output;
  desc.activation = (PtActivationDesc) { options->activation,
    options->negative_slope
  };
  if (layer->n_saved > 0 &&
      !pt_layer_plan_op (plan, ACTIVATION, workspace, &desc, error))
    return FALSE;
  desc.type = PT_OP_ACTIVATION_BACKWARD;
  return pt_layer_plan_op (plan, ACTIVATION_BACKWARD, workspace, &desc, error);
}

/* A sum of one. */
static gboolean
affine_plan_copy (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_ADD);

  desc.x = desc.xs[0] = layer->output;
  desc.n_xs = 1;
  return pt_layer_plan_op (plan, COPY, workspace, &desc, error);
}

gboolean
pt_affine_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, PtOpDesc *desc, PtActivation *fused, GError **error)
{
  const PtAffineOptions *options = layer->options;
  gboolean apart = workspace->training && layer->n_saved > 0;
  PtOpType forward = desc->type;

  *fused = apart ? PT_ACTIVATION_NONE : options->activation;
  if (!pt_layer_plan_op (plan, FORWARD, workspace, desc, error))
    return FALSE;
  plan->packers[WEIGHT] = plan->ops[FORWARD];
  if (!workspace->training)
    return TRUE;
  *fused = PT_ACTIVATION_NONE;
  desc->type = forward + BACKWARD_DATA;
  if (!pt_layer_plan_op (plan, BACKWARD_DATA, workspace, desc, error))
    return FALSE;
  desc->type = forward + BACKWARD_WEIGHTS;
  if (!pt_layer_plan_op (plan, BACKWARD_WEIGHTS, workspace, desc, error))
    return FALSE;
  return (layer->n_inputs == 1 ||
      affine_plan_copy (layer, workspace, plan, error)) &&
      (options->activation == PT_ACTIVATION_NONE ||
      affine_plan_activation (layer, workspace, plan, error));
}

gboolean
pt_conv_plan (const PtLayer *layer, PtOpType type, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const PtConvOptions *o = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, type);

  desc.conv = (PtConvDesc) {
    .groups = o->groups,
    .bias = o->affine.bias,
    .alpha = o->affine.negative_slope,
    .add = layer->n_inputs > 1,
  };
  for (guint i = 0; i < 2; i++) {
    desc.conv.kernel[i] = o->kernel[i];
    desc.conv.stride[i] = o->stride[i];
    desc.conv.padding[i] = o->padding[i];
    desc.conv.more_padding[i] = o->padding[2 + i] - o->padding[i];
    desc.conv.dilation[i] = o->dilation[i];
  }
  return pt_affine_plan (layer, workspace, plan, &desc, &desc.conv.activation,
      error);
}

gboolean
pt_affine_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOp *apart = plan->ops[ACTIVATION];
  PtTensor *y = apart != NULL ? args->saved[0] : args->y;
  PtOpArgs run = {.x = args->x[0], .w = args->w[WEIGHT],
    .half = args->half[WEIGHT], .y = y
  };

  if (layer->n_weights > BIAS)
    run.b = args->w[BIAS];
  if (layer->n_inputs > 1)
    run.add = args->x[1];
  if (!pt_op_run (plan->ops[FORWARD], &run, error))
    return FALSE;
  return apart == NULL ||
      pt_op_run (apart, &(PtOpArgs) {.x = y, .y = args->y}, error);
}

/* dy becomes the gradient of what the activation was applied to. */
static gboolean
affine_backward_activation (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.dy = args->dy, .dx = args->dy };

  if (plan->ops[ACTIVATION_BACKWARD] == NULL)
    return TRUE;
  if (layer->backward_uses_y)
    run.y = args->y;
  else
    run.x = args->saved[0];
  return pt_op_run (plan->ops[ACTIVATION_BACKWARD], &run, error);
}

gboolean
pt_affine_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs data = {.dy = args->dy, .w = args->w[WEIGHT],
    .half = args->half[WEIGHT], .dx = args->dx[0]
  };
  PtOpArgs weights = {.x = args->x[0], .dy = args->dy,
    .dw = args->dw[WEIGHT]
  };

  if (layer->n_weights > BIAS)
    weights.db = args->dw[BIAS];
  if (!affine_backward_activation (layer, plan, args, error))
    return FALSE;
  if (layer->n_inputs > 1 && args->dx[1] != NULL &&
      !pt_op_run (plan->ops[COPY], &(PtOpArgs) {.xs = &args->dy,
          .y = args->dx[1]}, error))
    return FALSE;
  if (args->dx[0] != NULL &&
      !pt_op_run (plan->ops[BACKWARD_DATA], &data, error))
    return FALSE;
  return args->frozen ||
      pt_op_run (plan->ops[BACKWARD_WEIGHTS], &weights, error);
}
