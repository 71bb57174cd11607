/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

/* Kinds over one operation; they differ in options only. */

typedef struct
{
  gdouble alpha, beta;
  gint approximate;
} ActivationOptions;

static const gchar *const activation_approximate[] = { "none", "tanh", NULL };

static const PtParam activation_params[] = {
  {NULL}
};

/* An option that the operation knows as alpha or beta; @value is the default,
 * or NULL if it must be given. */
#define ROW(key, field, value, low, high, text) \
  {key, PT_PARAM_DOUBLE, G_STRUCT_OFFSET (ActivationOptions, field), value, \
        low, high, NULL, text}
#define ANY(key, field, value, text) ROW (key, field, value, 0, 0, text)
#define PARAMS(symbol, ...) \
static const PtParam activation_ ## symbol ## _params[] = { \
  __VA_ARGS__, \
  {NULL} \
};

/* The derivative is taken from the sign of y, hence no negative slopes below
 * zero. */
PARAMS (leaky_relu, ROW ("negative_slope", alpha, "0.01", 0, 100,
        "slope below zero"))
PARAMS (elu, ROW ("alpha", alpha, "1", 0, 1e6,
        "minus what it tends to below zero"))
PARAMS (celu, ROW ("alpha", alpha, "1", 1e-6, 1e6,
        "minus what it tends to below zero"))
PARAMS (softplus, ROW ("beta", alpha, "1", 1e-6, 1e6,
        "how sharp the bend is"),
    ANY ("threshold", beta, "20", "beta x from which on it is x"))
PARAMS (hard_sigmoid, ROW ("alpha", alpha, "0.16666666666666667", 0, 1e6,
        "slope between 0 and 1"), ANY ("beta", beta, "0.5", "value at zero"))
PARAMS (hard_tanh, ANY ("min_val", alpha, "-1", "least value"),
    ANY ("max_val", beta, "1", "largest value"))
PARAMS (clip, ANY ("min", alpha, "-3.4028234663852886e38", "least value"),
    ANY ("max", beta, "3.4028234663852886e38", "largest value"))
PARAMS (threshold, ANY ("threshold", alpha, NULL,
        "what is not above it is replaced"),
    ANY ("value", beta, "0", "what it is replaced with"))
PARAMS (shrink, ROW ("lambd", alpha, "0.5", 0, 1e30,
        "what is not larger becomes 0"),
    ANY ("bias", beta, "0", "taken off what is larger; lambd: "
        "torch.nn.Softshrink"))

static const PtParam activation_gelu_params[] = {
  {"approximate", PT_PARAM_ENUM,
        G_STRUCT_OFFSET (ActivationOptions, approximate), "none", 0, 0,
      activation_approximate, "none: by erf, or the tanh approximation"},
  {NULL}
};

/* Kinds have the operation's names. */
static PtActivation
activation_get (const PtLayer *layer)
{
  const ActivationOptions *options = layer->options;
  guint i = 0;

  if (options->approximate)
    return PT_ACTIVATION_GELU_TANH;
  while (!g_str_equal (pt_all_activation_names[i], layer->kind->name))
    i++;
  return i;
}

static const gchar *
activation_get_fused (const PtLayer *layer)
{
  const PtActivation activation = activation_get (layer);

  return activation < PT_N_FUSED_ACTIVATIONS ?
      pt_activation_names[activation] : NULL;
}

static gboolean
activation_infer (PtLayer *layer, GError **error)
{
  const ActivationOptions *options = layer->options;
  const PtActivation activation = activation_get (layer);

  if (activation == PT_ACTIVATION_HARD_TANH &&
      options->alpha > options->beta) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "min_val=%g, expected at "
        "most max_val=%g", options->alpha, options->beta);
    return FALSE;
  }
  layer->backward_uses_x = pt_activation_uses_x (activation);
  layer->backward_uses_y = pt_activation_uses_y (activation);
  return pt_layer_same_shape (layer, error);
}

static gboolean
activation_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const ActivationOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_ACTIVATION);

  desc.activation = (PtActivationDesc) { activation_get (layer),
    options->alpha, options->beta
  };
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_ACTIVATION_BACKWARD,
      error);
}

#define SAMPLES(symbol, ...) \
static const gchar *const activation_ ## symbol ## samples[] = { \
  __VA_ARGS__, \
  NULL, \
};

SAMPLES (, "in=1x3x5x4", "in=1x7", "in=3x1x2x3x5")
SAMPLES (leaky_relu_, "in=1x3x5x4", "in=1x7 negative_slope=0.2")
SAMPLES (gelu_, "in=1x3x5x4", "in=1x7 approximate=tanh")
SAMPLES (elu_, "in=1x3x5x4", "in=3x5 alpha=0.4")
SAMPLES (celu_, "in=1x3x5x4", "in=3x5 alpha=0.4")
SAMPLES (softplus_, "in=1x3x5x4", "in=3x5 beta=2.5 threshold=1")
SAMPLES (hard_sigmoid_, "in=1x3x5x4", "in=3x5 alpha=0.4 beta=0.3")
SAMPLES (hard_tanh_, "in=1x3x5x4", "in=3x5 min_val=-0.5 max_val=0.3")
SAMPLES (clip_, "in=1x3x5x4 min=-0.5 max=0.3", "in=3x5 min=0.1")
SAMPLES (threshold_, "in=1x3x5x4 threshold=0.4", "in=3x5 threshold=-0.2 "
    "value=3")
SAMPLES (shrink_, "in=1x3x5x4", "in=3x5 lambd=0.3 bias=0.3")

#define ACTIVATION_KIND(symbol, word, text, table, lines) \
const PtLayerKind pt_layer_ ## symbol = { \
  .name = word, \
  .summary = text, \
  .options_size = sizeof (ActivationOptions), \
  .params = activation_ ## table ## params, \
  .min_inputs = 1, \
  .max_inputs = 1, \
  .any_shape = TRUE, \
  .samples = activation_ ## lines ## samples, \
  .infer = activation_infer, \
  .plan = activation_plan, \
  .forward = pt_layer_forward_unary, \
  .backward = pt_layer_backward_unary, \
  .get_activation = activation_get_fused, \
}
#define PLAIN(symbol, word, text) ACTIVATION_KIND (symbol, word, text, ,)
#define WITH_OPTIONS(symbol, word, text) \
  ACTIVATION_KIND (symbol, word, text, symbol ## _, symbol ## _)

PLAIN (relu, "relu", "max (x, 0), torch.nn.ReLU");
WITH_OPTIONS (leaky_relu, "leaky-relu",
    "x, or a fraction of it below zero, torch.nn.LeakyReLU");
PLAIN (sigmoid, "sigmoid", "1 / (1 + exp (-x)), torch.nn.Sigmoid");
PLAIN (tanh, "tanh", "hyperbolic tangent, torch.nn.Tanh");
WITH_OPTIONS (gelu, "gelu", "x times the normal distribution of x, "
    "torch.nn.GELU");
PLAIN (silu, "silu", "x times its sigmoid, torch.nn.SiLU");
PLAIN (relu6, "relu6", "x from 0 to 6, torch.nn.ReLU6");
PLAIN (hard_swish, "hard-swish",
    "x times its hard sigmoid, torch.nn.Hardswish");
PLAIN (mish, "mish", "x tanh (log (1 + exp (x))), torch.nn.Mish");
WITH_OPTIONS (elu, "elu", "x, or alpha (exp (x) - 1) below zero, "
    "torch.nn.ELU");
PLAIN (selu, "selu", "an ELU that keeps mean and variance, torch.nn.SELU");
WITH_OPTIONS (celu, "celu",
    "x, or alpha (exp (x / alpha) - 1) below zero, torch.nn.CELU");
WITH_OPTIONS (softplus, "softplus",
    "log (1 + exp (beta x)) / beta, torch.nn.Softplus");
PLAIN (softsign, "softsign", "x / (1 + |x|), torch.nn.Softsign");
WITH_OPTIONS (hard_sigmoid, "hard-sigmoid",
    "alpha x + beta from 0 to 1, torch.nn.Hardsigmoid");
WITH_OPTIONS (hard_tanh, "hard-tanh",
    "x from min_val to max_val, torch.nn.Hardtanh");
WITH_OPTIONS (clip, "clip", "x from min to max, torch.clamp");
WITH_OPTIONS (threshold, "threshold",
    "x where it is above the threshold, else a value, torch.nn.Threshold");
WITH_OPTIONS (shrink, "shrink", "x where it is large, else 0, "
    "torch.nn.Hardshrink");
PLAIN (exp, "exp", "e to the x, torch.exp");
PLAIN (log, "log", "natural logarithm, torch.log");
PLAIN (sqrt, "sqrt", "square root, torch.sqrt");
PLAIN (reciprocal, "reciprocal", "1 / x, torch.reciprocal");
PLAIN (abs, "abs", "absolute value, torch.abs");
PLAIN (neg, "neg", "-x, torch.neg");
PLAIN (erf, "erf", "error function, torch.erf");
PLAIN (sin, "sin", "sine, torch.sin");
PLAIN (cos, "cos", "cosine, torch.cos");
PLAIN (tan, "tan", "tangent, torch.tan");
PLAIN (asin, "asin", "inverse sine, torch.asin");
PLAIN (acos, "acos", "inverse cosine, torch.acos");
PLAIN (atan, "atan", "inverse tangent, torch.atan");
PLAIN (sinh, "sinh", "hyperbolic sine, torch.sinh");
PLAIN (cosh, "cosh", "hyperbolic cosine, torch.cosh");
PLAIN (asinh, "asinh", "inverse hyperbolic sine, torch.asinh");
PLAIN (acosh, "acosh", "inverse hyperbolic cosine, torch.acosh");
PLAIN (atanh, "atanh", "inverse hyperbolic tangent, torch.atanh");
PLAIN (floor, "floor", "the whole number below, torch.floor");
PLAIN (ceil, "ceil", "the whole number above, torch.ceil");
PLAIN (round, "round", "the nearest whole number, halves to the even one, "
    "torch.round");
PLAIN (sign, "sign", "-1, 0 or 1, torch.sign");
PLAIN (trunc, "trunc", "the whole number towards 0, torch.trunc");
