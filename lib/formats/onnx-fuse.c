/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <math.h>

/* Activations that exporters wrote as formulas, become one layer again. */

#define FUSE_MAX_INNER 4

/* @kind of the output of @x; the layers between that make it up. */
typedef struct
{
  const gchar *kind;
  gint x;
  gint inner[FUSE_MAX_INNER];
  guint n_inner;
} Match;

static const PtNode *
fuse_get_node (const OnnxImport *self, gint layer, const gchar *kind,
    guint n_inputs)
{
  const PtNode *node = layer < 0 ? NULL : &self->network->nodes[layer];

  return node != NULL && node->layer->n_inputs == n_inputs &&
      g_str_equal (node->layer->kind->name, kind) ? node : NULL;
}

/* What @layer is made of by @kind alone, noted as one between. */
static gint
fuse_unary (const OnnxImport *self, Match *match, gint layer,
    const gchar *kind)
{
  const PtNode *node = fuse_get_node (self, layer, kind, 1);

  if (node == NULL)
    return ONNX_NO_LAYER;
  match->inner[match->n_inner++] = layer;
  return node->inputs[0];
}

/* The same where @kind has @number as its other operand, behind the first. */
static gint
fuse_number (const OnnxImport *self, Match *match, gint layer,
    const gchar *kind, gdouble number)
{
  const PtNode *node = fuse_get_node (self, layer, kind, 1);
  g_autofree gchar *reverse = NULL;

  if (node == NULL || node->weights[0] == NULL ||
      node->layer->weights[0].learned ||
      pt_tensor_get_n_elements (node->weights[0]) != 1 ||
      fabs (*(gfloat *) node->weights[0]->data - number) > 1e-5 * number)
    return ONNX_NO_LAYER;
  reverse =
      pt_params_get (node->layer->kind->params, node->layer->options,
      "reverse");
  if (g_str_equal (kind, "div") && g_str_equal (reverse, "true"))
    return ONNX_NO_LAYER;
  return fuse_unary (self, match, layer, kind);
}

/* hard-sigmoid as torch.nn has it. */
static gint
fuse_hard_sigmoid (const OnnxImport *self, Match *match, gint layer)
{
  const PtNode *node = fuse_get_node (self, layer, "hard-sigmoid", 1);
  g_autofree gchar *alpha = NULL, *beta = NULL;

  if (node == NULL)
    return ONNX_NO_LAYER;
  alpha =
      pt_params_get (node->layer->kind->params, node->layer->options, "alpha");
  beta =
      pt_params_get (node->layer->kind->params, node->layer->options, "beta");
  if (fabs (g_ascii_strtod (alpha, NULL) - 1. / 6) > 1e-5 ||
      g_ascii_strtod (beta, NULL) != 0.5)
    return ONNX_NO_LAYER;
  return fuse_unary (self, match, layer, "hard-sigmoid");
}

/* Factors of x in formulas that end with a number: relu6 (x + 3), and 1 + erf
 * (x / sqrt (2)). */
static gint
fuse_hard_gate (const OnnxImport *self, Match *match, gint layer)
{
  return fuse_number (self, match, fuse_unary (self, match, layer, "relu6"),
      "add", 3);
}

static gint
fuse_gelu_gate (const OnnxImport *self, Match *match, gint layer)
{
  return fuse_number (self, match, fuse_unary (self, match,
          fuse_number (self, match, layer, "add", 1), "erf"), "div", G_SQRT2);
}

static gint
fuse_sigmoid (const OnnxImport *self, Match *match, gint layer)
{
  return fuse_unary (self, match, layer, "sigmoid");
}

/* x gate (x), either way round. */
static gboolean
fuse_find_gated (const OnnxImport *self, Match *match, gint layer,
    gint (*gate) (const OnnxImport *, Match *, gint))
{
  const PtNode *node = fuse_get_node (self, layer, "mul", 2);
  const guint n_inner = match->n_inner;

  for (guint i = 0; i < 2 && node != NULL; i++) {
    match->n_inner = n_inner;
    match->x = node->inputs[i];
    if (gate (self, match, node->inputs[1 - i]) == match->x)
      return TRUE;
  }
  return FALSE;
}

/* The same times a number. */
static gboolean
fuse_find_scaled (const OnnxImport *self, Match *match, gint layer,
    gdouble factor, gint (*gate) (const OnnxImport *, Match *, gint))
{
  gint product = fuse_number (self, match, layer, "mul", factor);

  if (product == ONNX_NO_LAYER)
    product = fuse_number (self, match, layer, "div", 1 / factor);
  if (product == ONNX_NO_LAYER)
    return FALSE;
  match->inner[0] = product;    /* @layer itself is read by what comes */
  return fuse_find_gated (self, match, product, gate);
}

static gboolean
fuse_find (const OnnxImport *self, Match *match, gint layer)
{
  *match = (Match) { "silu" };
  if (fuse_find_gated (self, match, layer, fuse_sigmoid))
    return TRUE;
  *match = (Match) { "hard-swish" };
  if (fuse_find_gated (self, match, layer, fuse_hard_sigmoid))
    return TRUE;
  *match = (Match) { "hard-swish" };
  if (fuse_find_scaled (self, match, layer, 1. / 6, fuse_hard_gate))
    return TRUE;
  *match = (Match) { "gelu" };
  return fuse_find_scaled (self, match, layer, 0.5, fuse_gelu_gate);
}

/* How many read the output of @layer, by all names that it has; a name that
 * was passed on is read by the one who did. */
static guint
fuse_count_readers (const OnnxImport *self, gint layer)
{
  GHashTableIter iter;
  gpointer name, value;
  guint n = 1;

  g_hash_table_iter_init (&iter, self->values);
  while (g_hash_table_iter_next (&iter, &name, &value)) {
    const OnnxValue *v = value;

    if (v->constant == NULL && v->layer == layer)
      n += GPOINTER_TO_UINT (g_hash_table_lookup (self->uses, name)) - 1;
  }
  return n;
}

/* Whether the activation may be a part of the layer before it: nobody else
 * reads that, nor what is between. */
static gboolean
fuse_is_alone (const OnnxImport *self, const Match *match)
{
  if (match->x < 0 || fuse_count_readers (self, match->x) != 2)
    return FALSE;
  for (guint i = 0; i < match->n_inner; i++)
    if (fuse_count_readers (self, match->inner[i]) != 1)
      return FALSE;
  return TRUE;
}

gint
pt_onnx_fuse (OnnxImport *self, gint layer, GError **error)
{
  g_autofree gchar *now = NULL;
  const PtLayer *before;
  Match match;

  if (!fuse_find (self, &match, layer))
    return layer;
  if (fuse_is_alone (self, &match)) {
    before = self->network->nodes[match.x].layer;
    now = pt_params_get (before->kind->params, before->options, "activation");
    if (now != NULL && g_str_equal (now, "none") &&
        pt_onnx_set_option (self, match.x, "activation", match.kind, NULL))
      return match.x;
  }
  return pt_onnx_add_layer (self, match.kind, &match.x, 1, "", error);
}
