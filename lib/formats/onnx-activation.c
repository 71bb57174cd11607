/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <math.h>

/* Operators on each element by itself. */

/* An activation becomes an option of the layer above where nobody else reads
 * that and it takes this one: one pass over memory less. */
static gboolean
activation_activate (OnnxImport *self, const gchar *kind, const gchar *slope,
    GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  g_autofree gchar *words = slope == NULL ? g_strdup ("") :
      g_strconcat ("negative_slope=", slope, NULL);
  g_autofree gchar *now = NULL;
  const PtLayer *layer;

  if (x == NULL)
    return FALSE;
  if (x->alone && x->layer != PT_NETWORK_INPUT) {
    layer = self->network->nodes[x->layer].layer;
    now = pt_params_get (layer->kind->params, layer->options, "activation");
    if (now != NULL && g_str_equal (now, "none") &&
        pt_onnx_set_option (self, x->layer, "activation", kind, NULL))
      return (slope == NULL || pt_onnx_set_option (self, x->layer,
              "negative_slope", slope, error)) &&
          pt_onnx_pass (self, x, error);
  }
  return pt_onnx_add_unary (self, kind, x, words, error);
}

/* Those without attributes, of which the layer has the name. */
static gboolean
activation_plain (OnnxImport *self, GError **error)
{
  g_autofree gchar *kind = g_ascii_strdown (self->node->op_type, -1);

  return activation_activate (self, kind, NULL, error);
}

static gboolean
activation_hard_swish (OnnxImport *self, GError **error)
{
  return activation_activate (self, "hard-swish", NULL, error);
}

/* A layer with options @first and, if not NULL, @second. */
static gboolean
activation_with_numbers (OnnxImport *self, const gchar *kind, const gchar *first,
    gdouble a, const gchar *second, gdouble b, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  gchar texts[2][G_ASCII_DTOSTR_BUF_SIZE];
  g_autofree gchar *words = NULL;

  g_ascii_dtostr (texts[0], sizeof texts[0], a);
  g_ascii_dtostr (texts[1], sizeof texts[1], b);
  words = second == NULL ? g_strdup_printf ("%s=%s", first, texts[0]) :
      g_strdup_printf ("%s=%s %s=%s", first, texts[0], second, texts[1]);
  return x != NULL && pt_onnx_add_unary (self, kind, x, words, error);
}

static gboolean
activation_leaky_relu (OnnxImport *self, GError **error)
{
  gchar slope[G_ASCII_DTOSTR_BUF_SIZE];

  g_ascii_dtostr (slope, sizeof slope, pt_onnx_get_float (self, "alpha",
          0.01));
  return activation_activate (self, "leaky-relu", slope, error);
}

static gboolean
activation_gelu (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);

  if (x == NULL)
    return FALSE;
  if (pt_onnx_is_text (self, "approximate", "none", "none"))
    return activation_activate (self, "gelu", NULL, error);
  if (!pt_onnx_is_text (self, "approximate", "tanh", "none"))
    return pt_onnx_refuse (self, error, "found another approximation, "
        "expected none or tanh");
  return pt_onnx_add_unary (self, "gelu", x, "approximate=tanh", error);
}

static gboolean
activation_elu (OnnxImport *self, GError **error)
{
  return activation_with_numbers (self, "elu", "alpha",
      pt_onnx_get_float (self, "alpha", 1), NULL, 0, error);
}

static gboolean
activation_celu (OnnxImport *self, GError **error)
{
  return activation_with_numbers (self, "celu", "alpha",
      pt_onnx_get_float (self, "alpha", 1), NULL, 0, error);
}

/* gamma x, or gamma alpha (e^x - 1): an ELU and a factor. */
static gboolean
activation_selu (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  const gdouble alpha = pt_onnx_get_float (self, "alpha", 1.67326324);
  const gdouble gamma = pt_onnx_get_float (self, "gamma", 1.05070102);
  gchar text[G_ASCII_DTOSTR_BUF_SIZE];
  g_autofree gchar *words = NULL;
  gint layer;
  guint rank;

  if (x == NULL)
    return FALSE;
  /* older opsets round them to 1.6732 and 1.0507 */
  if (fabs (alpha - 1.67326324) < 1e-6 && fabs (gamma - 1.05070102) < 1e-6)
    return pt_onnx_add_unary (self, "selu", x, "", error);
  rank = x->rank;
  words = g_strconcat ("alpha=", g_ascii_dtostr (text, sizeof text, alpha),
      NULL);
  layer = pt_onnx_add_layer (self, "elu", &x->layer, 1, words, error);
  if (layer != ONNX_NO_LAYER)
    layer = pt_onnx_multiply (self, layer, gamma, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, rank,
      error);
}

static gboolean
activation_hard_sigmoid (OnnxImport *self, GError **error)
{
  return activation_with_numbers (self, "hard-sigmoid", "alpha",
      pt_onnx_get_float (self, "alpha", 0.2), "beta",
      pt_onnx_get_float (self, "beta", 0.5), error);
}

static gboolean
activation_thresholded_relu (OnnxImport *self, GError **error)
{
  return activation_with_numbers (self, "threshold", "threshold",
      pt_onnx_get_float (self, "alpha", 1), NULL, 0, error);
}

static gboolean
activation_shrink (OnnxImport *self, GError **error)
{
  return activation_with_numbers (self, "shrink", "lambd",
      pt_onnx_get_float (self, "lambd", 0.5), "bias",
      pt_onnx_get_float (self, "bias", 0), error);
}

/* A bound is an attribute, or from opset 11 on input @i; none: @bound stays. */
static gboolean
activation_get_bound (OnnxImport *self, guint i, const gchar *name,
    gdouble *bound, GError **error)
{
  const Onnx__TensorProto *tensor;
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gfloat *data = NULL;
  guint n_dims;

  if (self->opset < 11) {
    *bound = CLAMP (pt_onnx_get_float (self, name, *bound), -G_MAXFLOAT,
        G_MAXFLOAT);
    return TRUE;
  }
  if (pt_onnx_get_input (self, i) == NULL)
    return TRUE;
  if ((tensor = pt_onnx_need_constant (self, i, error)) == NULL ||
      !pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, error))
    return FALSE;
  if (n != 1)
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " numbers in "
        "input %u, expected one", n, i);
  data = pt_onnx_tensor_get_floats (self, tensor, error);
  if (data != NULL)
    *bound = data[0];
  return data != NULL;
}

static gboolean
activation_clip (OnnxImport *self, GError **error)
{
  gdouble low = -G_MAXFLOAT, high = G_MAXFLOAT;

  if (!activation_get_bound (self, 1, "min", &low, error) ||
      !activation_get_bound (self, 2, "max", &high, error))
    return FALSE;
  if (low == 0 && high == 6)
    return activation_activate (self, "relu6", NULL, error);
  return activation_with_numbers (self, "clip", "min", low, "max", high, error);
}

#define OLD " consumed_inputs "

const OnnxOperator pt_onnx_ops_activation[] = {
  {"Abs", activation_plain, OLD},
  {"Acos", activation_plain, " "},
  {"Acosh", activation_plain, " "},
  {"Asin", activation_plain, " "},
  {"Asinh", activation_plain, " "},
  {"Atan", activation_plain, " "},
  {"Atanh", activation_plain, " "},
  {"Ceil", activation_plain, OLD},
  {"Celu", activation_celu, " alpha "},
  {"Clip", activation_clip, " max min consumed_inputs "},
  {"Cos", activation_plain, " "},
  {"Cosh", activation_plain, " "},
  {"Elu", activation_elu, " alpha consumed_inputs "},
  {"Erf", activation_plain, " "},
  {"Exp", activation_plain, OLD},
  {"Floor", activation_plain, OLD},
  {"Gelu", activation_gelu, " approximate "},
  {"HardSigmoid", activation_hard_sigmoid, " alpha beta consumed_inputs "},
  {"HardSwish", activation_hard_swish, " "},
  {"LeakyRelu", activation_leaky_relu, " alpha consumed_inputs "},
  {"Log", activation_plain, OLD},
  {"Mish", activation_plain, " "},
  {"Neg", activation_plain, OLD},
  {"Reciprocal", activation_plain, OLD},
  {"Relu", activation_plain, OLD},
  {"Round", activation_plain, " "},
  {"Selu", activation_selu, " alpha gamma consumed_inputs "},
  {"Shrink", activation_shrink, " bias lambd "},
  {"Sigmoid", activation_plain, OLD},
  {"Sign", activation_plain, " "},
  {"Sin", activation_plain, " "},
  {"Sinh", activation_plain, " "},
  {"Softplus", activation_plain, " "},
  {"Softsign", activation_plain, " "},
  {"Sqrt", activation_plain, OLD},
  {"Tan", activation_plain, " "},
  {"Tanh", activation_plain, OLD},
  {"ThresholdedRelu", activation_thresholded_relu, " alpha "},
  {NULL}
};
