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
write_relu (OnnxExport *self, GError **error)
{
  return activation_node (self, "Relu", NULL, NULL);
}

static gboolean
write_leaky_relu (OnnxExport *self, GError **error)
{
  return activation_node (self, "LeakyRelu", "alpha", "negative_slope");
}

static gboolean
write_sigmoid (OnnxExport *self, GError **error)
{
  return activation_node (self, "Sigmoid", NULL, NULL);
}

static gboolean
write_tanh (OnnxExport *self, GError **error)
{
  return activation_node (self, "Tanh", NULL, NULL);
}

/* By erf, unless the layer says approximate=tanh. */
static gboolean
write_gelu (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write (self, "Gelu", self->last, NULL);

  pt_onnx_put_text (self, node, "approximate",
      pt_onnx_option_word (self, "approximate", "none"));
  return TRUE;
}

static gboolean
write_gelu_tanh (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write (self, "Gelu", self->last, NULL);

  pt_onnx_put_text (self, node, "approximate", "tanh");
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

const OnnxWriter pt_onnx_writers_activation[] = {
  {"gelu", write_gelu},
  {"gelu-tanh", write_gelu_tanh},
  {"leaky-relu", write_leaky_relu},
  {"relu", write_relu},
  {"sigmoid", write_sigmoid},
  {"silu", write_silu},
  {"tanh", write_tanh},
  {NULL}
};

gboolean
pt_onnx_write_activation (OnnxExport *self, GError **error)
{
  const gchar *word = pt_onnx_option_word (self, "activation", "none");

  if (g_str_equal (word, "none"))
    return TRUE;
  for (const OnnxWriter *at = pt_onnx_writers_activation; at->kind; at++)
    if (strcmp (at->kind, word) == 0)
      return at->func (self, error);
  return pt_onnx_export_fail (self, error, "found activation=%s, for which "
      "there is no writer", word);
}
