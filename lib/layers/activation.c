/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

/* Six kinds over one operation; they differ in options only. */

typedef struct
{
  gdouble negative_slope;
  gint approximate;
} ActivationOptions;

static const gchar *const activation_approximate[] = { "none", "tanh", NULL };

static const PtParam activation_params[] = {
  {NULL}
};

/* The derivative is taken from the sign of y, hence no negative slopes below
 * zero. */
static const PtParam activation_leaky_relu_params[] = {
  {"negative_slope", PT_PARAM_DOUBLE,
        G_STRUCT_OFFSET (ActivationOptions, negative_slope), "0.01", 0, 100,
      NULL, "slope below zero"},
  {NULL}
};

static const PtParam activation_gelu_params[] = {
  {"approximate", PT_PARAM_ENUM,
        G_STRUCT_OFFSET (ActivationOptions, approximate), "none", 0, 0,
      activation_approximate, "none: by erf, or the tanh approximation"},
  {NULL}
};

extern const PtLayerKind pt_layer_relu, pt_layer_leaky_relu, pt_layer_sigmoid,
    pt_layer_tanh, pt_layer_gelu, pt_layer_silu;

static PtActivation
activation_get (const PtLayer *layer)
{
  const ActivationOptions *options = layer->options;

  if (layer->kind == &pt_layer_relu)
    return PT_ACTIVATION_RELU;
  if (layer->kind == &pt_layer_leaky_relu)
    return PT_ACTIVATION_LEAKY_RELU;
  if (layer->kind == &pt_layer_sigmoid)
    return PT_ACTIVATION_SIGMOID;
  if (layer->kind == &pt_layer_tanh)
    return PT_ACTIVATION_TANH;
  if (layer->kind == &pt_layer_silu)
    return PT_ACTIVATION_SILU;
  return options->approximate ? PT_ACTIVATION_GELU_TANH : PT_ACTIVATION_GELU;
}

static gboolean
activation_infer (PtLayer *layer, GError **error)
{
  gboolean uses_y = pt_activation_uses_y (activation_get (layer));

  layer->backward_uses_x = !uses_y;
  layer->backward_uses_y = uses_y;
  return pt_layer_same_shape (layer, error);
}

static gboolean
activation_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const ActivationOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_ACTIVATION);

  desc.activation.kind = activation_get (layer);
  desc.activation.alpha = options->negative_slope;
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_ACTIVATION_BACKWARD,
      error);
}

static const gchar *const activation_samples[] = {
  "in=1x3x5x4",
  "in=1x7",
  NULL,
};

static const gchar *const activation_leaky_relu_samples[] = {
  "in=1x3x5x4",
  "in=1x7 negative_slope=0.2",
  NULL,
};

static const gchar *const activation_gelu_samples[] = {
  "in=1x3x5x4",
  "in=1x7 approximate=tanh",
  NULL,
};

#define ACTIVATION_KIND(symbol, word, text, table, lines) \
const PtLayerKind pt_layer_ ## symbol = { \
  .name = word, \
  .summary = text, \
  .options_size = sizeof (ActivationOptions), \
  .params = table, \
  .min_inputs = 1, \
  .max_inputs = 1, \
  .samples = lines, \
  .infer = activation_infer, \
  .plan = activation_plan, \
  .forward = pt_layer_forward_unary, \
  .backward = pt_layer_backward_unary, \
}

ACTIVATION_KIND (relu, "relu", "max (x, 0), torch.nn.ReLU",
    activation_params, activation_samples);
ACTIVATION_KIND (leaky_relu, "leaky-relu",
    "x, or a fraction of it below zero, torch.nn.LeakyReLU",
    activation_leaky_relu_params, activation_leaky_relu_samples);
ACTIVATION_KIND (sigmoid, "sigmoid", "1 / (1 + exp (-x)), torch.nn.Sigmoid",
    activation_params, activation_samples);
ACTIVATION_KIND (tanh, "tanh", "hyperbolic tangent, torch.nn.Tanh",
    activation_params, activation_samples);
ACTIVATION_KIND (gelu, "gelu", "x times the normal distribution of x, "
    "torch.nn.GELU", activation_gelu_params, activation_gelu_samples);
ACTIVATION_KIND (silu, "silu", "x times its sigmoid, torch.nn.SiLU",
    activation_params, activation_samples);
