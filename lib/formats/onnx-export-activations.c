/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <string.h>

/* Activations, as layers of their own and fused to others. Both read
 * self->last. */

/* One node, with the option @key as attribute @name where they are given. */
static gboolean
activation_node (OnnxExport *self, const gchar *operator, const gchar *name,
    const gchar *key)
{
  Onnx__NodeProto *node = pt_onnx_write (self, operator, self->last, NULL);

  if (name != NULL)
    pt_onnx_put_float (self, node, name, pt_onnx_option_double (self, key, 0));
  return TRUE;
}

static gboolean
write_operator (OnnxExport *self, GError **error)
{
  return activation_node (self, self->writer->operator, NULL, NULL);
}

/* Elu and Celu. */
static gboolean
write_alpha (OnnxExport *self, GError **error)
{
  return activation_node (self, self->writer->operator, "alpha", "alpha");
}

static gboolean
write_leaky_relu (OnnxExport *self, GError **error)
{
  return activation_node (self, "LeakyRelu", "alpha", "negative_slope");
}

/* By erf, unless the layer says approximate=tanh. */
static gboolean
write_gelu (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write (self, "Gelu", self->last, NULL);

  pt_onnx_put_text (self, node, "approximate",
      g_str_equal (self->writer->kind, "gelu-tanh") ? "tanh" :
      pt_onnx_option_word (self, "approximate", "none"));
  return TRUE;
}

/* x sigmoid (x): the opset has no operator of its own for it. */
static gboolean
write_silu (OnnxExport *self, GError **error)
{
  const gchar *x = self->last;

  pt_onnx_write (self, "Sigmoid", x, NULL);
  pt_onnx_write (self, "Mul", x, self->last, NULL);
  return TRUE;
}

static gboolean
write_hard_sigmoid (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node =
      pt_onnx_write (self, "HardSigmoid", self->last, NULL);

  pt_onnx_put_float (self, node, "alpha",
      pt_onnx_option_double (self, "alpha", 1.0 / 6));
  pt_onnx_put_float (self, node, "beta",
      pt_onnx_option_double (self, "beta", 0.5));
  return TRUE;
}

static gboolean
activation_clip (OnnxExport *self, gdouble min, gdouble max)
{
  const gchar *x = self->last;
  const gchar *low = min <= -G_MAXFLOAT ? "" :
      pt_onnx_make_number (self, "min", min);
  const gchar *high = max >= G_MAXFLOAT ? NULL :
      pt_onnx_make_number (self, "max", max);

  pt_onnx_write (self, "Clip", x, low, high, NULL);
  return TRUE;
}

static gboolean
write_relu6 (OnnxExport *self, GError **error)
{
  return activation_clip (self, 0, 6);
}

static gboolean
write_hard_tanh (OnnxExport *self, GError **error)
{
  return activation_clip (self, pt_onnx_option_double (self, "min_val", -1),
      pt_onnx_option_double (self, "max_val", 1));
}

static gboolean
write_clip (OnnxExport *self, GError **error)
{
  return activation_clip (self, pt_onnx_option_double (self, "min", 0),
      pt_onnx_option_double (self, "max", 0));
}

/* @above where self->last is over @limit, else @below. */
static void
activation_choose (OnnxExport *self, gdouble limit, const gchar *above,
    const gchar *below)
{
  pt_onnx_write (self, "Greater", self->last, pt_onnx_make_number (self,
          "threshold", limit), NULL);
  pt_onnx_write (self, "Where", self->last, above, below, NULL);
}

static gboolean
write_threshold (OnnxExport *self, GError **error)
{
  const gdouble limit = pt_onnx_option_double (self, "threshold", 0);
  const gdouble value = pt_onnx_option_double (self, "value", 0);

  if (value == 0)
    return activation_node (self, "ThresholdedRelu", "alpha", "threshold");
  activation_choose (self, limit, self->last,
      pt_onnx_make_number (self, "value", value));
  return TRUE;
}

/* log (1 + exp (beta x)) / beta, or x where beta x is over the threshold, at
 * which single precision sees no difference from 17 on. */
static gboolean
write_softplus (OnnxExport *self, GError **error)
{
  const gdouble beta = pt_onnx_option_double (self, "beta", 1);
  const gdouble limit = pt_onnx_option_double (self, "threshold", 20);
  const gchar *x = self->last, *scaled, *factor = NULL;

  if (beta != 1) {
    factor = pt_onnx_make_number (self, "beta", beta);
    pt_onnx_write (self, "Mul", x, factor, NULL);
  }
  scaled = self->last;
  pt_onnx_write (self, "Softplus", scaled, NULL);
  if (beta != 1)
    pt_onnx_write (self, "Div", self->last, factor, NULL);
  if (limit < 17) {
    const gchar *smooth = self->last;

    self->last = scaled;
    activation_choose (self, limit, x, smooth);
  }
  return TRUE;
}

/* ONNX has no truncation but that of a whole number made of it. */
static gboolean
write_trunc (OnnxExport *self, GError **error)
{
  const gchar *x = self->last, *size;

  pt_onnx_write (self, "Abs", x, NULL);
  pt_onnx_write (self, "Floor", self->last, NULL);
  size = self->last;
  pt_onnx_write (self, "Sign", x, NULL);
  pt_onnx_write (self, "Mul", self->last, size, NULL);
  return TRUE;
}

static gboolean
write_shrink (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write (self, "Shrink", self->last, NULL);

  pt_onnx_put_float (self, node, "lambd",
      pt_onnx_option_double (self, "lambd", 0.5));
  pt_onnx_put_float (self, node, "bias",
      pt_onnx_option_double (self, "bias", 0));
  return TRUE;
}

const OnnxWriter pt_onnx_writers_activation[] = {
  {"abs", write_operator, "Abs"},
  {"acos", write_operator, "Acos"},
  {"acosh", write_operator, "Acosh"},
  {"asin", write_operator, "Asin"},
  {"asinh", write_operator, "Asinh"},
  {"atan", write_operator, "Atan"},
  {"atanh", write_operator, "Atanh"},
  {"ceil", write_operator, "Ceil"},
  {"celu", write_alpha, "Celu"},
  {"clip", write_clip},
  {"cos", write_operator, "Cos"},
  {"cosh", write_operator, "Cosh"},
  {"elu", write_alpha, "Elu"},
  {"erf", write_operator, "Erf"},
  {"exp", write_operator, "Exp"},
  {"floor", write_operator, "Floor"},
  {"gelu", write_gelu},
  {"gelu-tanh", write_gelu},
  {"hard-sigmoid", write_hard_sigmoid},
  {"hard-swish", write_operator, "HardSwish"},
  {"hard-tanh", write_hard_tanh},
  {"leaky-relu", write_leaky_relu},
  {"log", write_operator, "Log"},
  {"mish", write_operator, "Mish"},
  {"neg", write_operator, "Neg"},
  {"reciprocal", write_operator, "Reciprocal"},
  {"relu", write_operator, "Relu"},
  {"relu6", write_relu6},
  {"round", write_operator, "Round"},
  {"selu", write_operator, "Selu"},
  {"shrink", write_shrink},
  {"sigmoid", write_operator, "Sigmoid"},
  {"sign", write_operator, "Sign"},
  {"silu", write_silu},
  {"sin", write_operator, "Sin"},
  {"sinh", write_operator, "Sinh"},
  {"softplus", write_softplus},
  {"softsign", write_operator, "Softsign"},
  {"sqrt", write_operator, "Sqrt"},
  {"tan", write_operator, "Tan"},
  {"tanh", write_operator, "Tanh"},
  {"threshold", write_threshold},
  {"trunc", write_trunc},
  {NULL}
};

gboolean
pt_onnx_write_activation (OnnxExport *self, GError **error)
{
  const gchar *word = pt_onnx_option_word (self, "activation", "none");

  if (g_str_equal (word, "none"))
    return TRUE;
  for (const OnnxWriter *at = pt_onnx_writers_activation; at->kind; at++)
    if (strcmp (at->kind, word) == 0) {
      self->writer = at;
      return at->func (self, error);
    }
  return pt_onnx_export_fail (self, error, "found activation=%s, for which "
      "there is no writer", word);
}
