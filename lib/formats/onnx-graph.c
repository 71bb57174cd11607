/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>
#include <unistd.h>

/* From nodes to layers. */

#define GRAPH_MAX_NAME 100
#define GRAPH_MAX_LAYERS 65536

const PtShape *
pt_onnx_get_shape (const OnnxImport *self, gint layer)
{
  return layer == PT_NETWORK_INPUT ? &self->network->input :
      &self->network->nodes[layer].layer->output;
}

void
pt_onnx_get_dims (const OnnxImport *self, const OnnxValue *value,
    gint64 dims[PT_MAX_DIMS])
{
  const PtShape *shape = pt_onnx_get_shape (self, value->layer);

  for (guint i = 0; i < PT_MAX_DIMS; i++)
    dims[i] = pt_shape_get_dim (shape, i);
  if (self->batch > 1)
    dims[0] = self->batch;
}

/* The prefix of a weight's name, which makes "conv1.weight" stay what it was
 * in PyTorch; else the node's name, or its output's. */
static gchar *
graph_pick_name (const OnnxImport *self)
{
  const Onnx__NodeProto *node = self->node;

  for (gsize i = 1; i < node->n_input && i < 3; i++)
    if (g_str_has_suffix (node->input[i], ".weight") &&
        strlen (node->input[i]) > strlen (".weight"))
      return g_strndup (node->input[i],
          strlen (node->input[i]) - strlen (".weight"));
  if (node->name != NULL && *node->name != '\0')
    return g_strdup (node->name);
  return g_strdup (node->n_output ? node->output[0] : "");
}

static gboolean
graph_is_reserved (const gchar *name)
{
  return pt_settings_get_params (name) != NULL || g_str_equal (name, "input")
      || g_str_equal (name, "optimizer") || g_str_equal (name, "stream") ||
      g_str_has_prefix (name, "optimizer.") ||
      g_str_has_prefix (name, "stream.");
}

/* A name for a layer as a network file could have it, and no other layer. */
static gchar *
graph_make_name (OnnxImport *self)
{
  g_autofree gchar *name = graph_pick_name (self);
  gchar *unique;

  if (strlen (name) > GRAPH_MAX_NAME)
    name[GRAPH_MAX_NAME] = '\0';
  g_strcanon (name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
      "0123456789._-/:", '_');
  if (*name == '\0' || g_ascii_isdigit (*name) || graph_is_reserved (name)) {
    unique = g_strconcat (self->node->op_type, "_", name, NULL);
    g_free (name);
    name = g_strcanon (unique, "abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:", '_');
  }
  unique = g_strdup (name);
  for (guint i = 2; g_hash_table_contains (self->names, unique); i++) {
    g_free (unique);
    unique = g_strdup_printf ("%s_%u", name, i);
  }
  g_hash_table_add (self->names, g_strdup (unique));
  return unique;
}

static gint
graph_fail (OnnxImport *self, GError **error, GError *reason)
{
  pt_onnx_refuse (self, error, "%s", reason->message);
  g_error_free (reason);
  return ONNX_NO_LAYER;
}

gint
pt_onnx_add_layer (OnnxImport *self, const gchar *kind, const gint *inputs,
    guint n_inputs, const gchar *words, GError **error)
{
  PtNetwork *network = self->network;
  g_autofree gchar *name = NULL;
  GError *reason = NULL;
  PtLayer *layer;
  PtNode *node;

  if (network->n_nodes == GRAPH_MAX_LAYERS || n_inputs > PT_OP_MAX_INPUTS) {
    pt_onnx_refuse (self, error, "found too many layers or %u inputs, "
        "expected at most %d and %d", n_inputs, GRAPH_MAX_LAYERS,
        PT_OP_MAX_INPUTS);
    return ONNX_NO_LAYER;
  }
  if (pt_layer_kind_find (kind) == NULL) {
    pt_onnx_refuse (self, error, "found no layer %s in this build", kind);
    return ONNX_NO_LAYER;
  }
  name = graph_make_name (self);
  layer = pt_layer_new (pt_layer_kind_find (kind), name);
  network->nodes = g_renew (PtNode, network->nodes, network->n_nodes + 1);
  node = &network->nodes[network->n_nodes];
  memset (node, 0, sizeof *node);
  node->layer = layer;
  layer->n_inputs = n_inputs;
  for (guint i = 0; i < n_inputs; i++) {
    node->inputs[i] = inputs[i];
    layer->inputs[i] = *pt_onnx_get_shape (self, inputs[i]);
  }
  network->n_nodes++;
  if (!pt_params_parse_words (layer->kind->params, layer->options, words,
          kind, &reason) || !pt_layer_infer (layer, &reason))
    return graph_fail (self, error, reason);
  return network->n_nodes - 1;
}

gboolean
pt_onnx_add_unary (OnnxImport *self, const gchar *kind, const OnnxValue *x,
    const gchar *words, GError **error)
{
  const guint rank = x->rank;
  const gint layer =
      pt_onnx_add_layer (self, kind, &x->layer, 1, words, error);

  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, rank,
      error);
}

/* Weights that are one number again and again need no file of their size. */
static gboolean
graph_check_memory (OnnxImport *self, gsize size, GError **error)
{
  const gdouble memory =
      (gdouble) sysconf (_SC_PHYS_PAGES) * sysconf (_SC_PAGESIZE);

  self->weight_bytes += size;
  return self->weight_bytes <= memory || pt_onnx_refuse (self, error, "found "
      "%.0f bytes of weights, expected at most the %.0f of this machine",
      self->weight_bytes, memory);
}

gboolean
pt_onnx_set_weight (OnnxImport *self, gint layer, guint i, gfloat *data,
    GError **error)
{
  PtNode *node = &self->network->nodes[layer];
  const PtShape *shape = &node->layer->weights[i].shape;
  const gsize size = pt_shape_get_n_elements (shape) * sizeof (gfloat);
  PtTensor *tensor = graph_check_memory (self, size, error) ?
      pt_tensor_new_shaped (PT_F32, shape, error) : NULL;

  g_clear_pointer (&node->weights[i], pt_tensor_unref);
  if (tensor != NULL)
    memcpy (tensor->data, data, size);
  g_free (data);
  node->weights[i] = tensor;
  return tensor != NULL;
}

/* Whether @dims are @shape's, but for ones at the end. */
static gboolean
graph_fits (const PtShape *shape, const gint64 *dims, guint n)
{
  for (guint i = 0; i < MAX (n, shape->n_dims); i++)
    if ((i < n ? dims[i] : 1) != pt_shape_get_dim (shape, i))
      return FALSE;
  return TRUE;
}

gboolean
pt_onnx_take_weight (OnnxImport *self, gint layer, guint i,
    const Onnx__TensorProto *tensor, GError **error)
{
  const PtWeight *weight = &self->network->nodes[layer].layer->weights[i];
  gchar expected[PT_SHAPE_TEXT_SIZE];
  gint64 dims[ONNX_MAX_DIMS], n;
  gfloat *data;
  guint n_dims;

  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, error))
    return FALSE;
  if (!graph_fits (&weight->shape, dims, n_dims))
    return pt_onnx_refuse (self, error, "found %s with %" G_GINT64_FORMAT
        " elements in %u dimensions, expected shape %s", weight->name, n,
        n_dims, pt_shape_print (&weight->shape, expected));
  data = pt_onnx_tensor_get_floats (self, tensor, error);
  return data != NULL && pt_onnx_set_weight (self, layer, i, data, error);
}

gboolean
pt_onnx_set_option (OnnxImport *self, gint layer, const gchar *key,
    const gchar *value, GError **error)
{
  PtLayer *changed = self->network->nodes[layer].layer;

  return pt_params_set (changed->kind->params, changed->options, key, value,
      changed->name, error) && pt_layer_infer (changed, error);
}

gint
pt_onnx_as_row (OnnxImport *self, const OnnxValue *x, GError **error)
{
  if (pt_onnx_get_shape (self, x->layer)->n_dims == 2)
    return x->layer;
  return pt_onnx_add_layer (self, "flatten", &x->layer, 1, "", error);
}

gint
pt_onnx_reshape (OnnxImport *self, gint layer, const PtShape *shape,
    GError **error)
{
  gchar text[PT_SHAPE_TEXT_SIZE];
  GString *words;
  gchar *key;
  gint made;

  if (pt_shape_equal (pt_onnx_get_shape (self, layer), shape))
    return layer;
  key = g_strdup_printf ("%d %s", layer, pt_shape_print (shape, text));
  made = GPOINTER_TO_INT (g_hash_table_lookup (self->reshaped, key)) - 1;
  if (made < 0) {
    words = g_string_new ("shape=");
    for (guint i = 0; i < shape->n_dims; i++)
      g_string_append_printf (words, "%s%" G_GINT64_FORMAT, i ? ";" : "",
          shape->dims[i]);
    made = pt_onnx_add_layer (self, "reshape", &layer, 1, words->str, error);
    g_string_free (words, TRUE);
  }
  if (made == ONNX_NO_LAYER)
    g_free (key);
  else
    g_hash_table_insert (self->reshaped, key, GINT_TO_POINTER (made + 1));
  return made;
}

/* @x as a layer's output of @rank dimensions. */
static gint
graph_set_rank (OnnxImport *self, const OnnxValue *x, guint rank,
    GError **error)
{
  const PtShape *shape = pt_onnx_get_shape (self, x->layer);
  PtShape wanted = {.n_dims = rank };

  for (guint i = 0; i < rank; i++)
    wanted.dims[i] = pt_shape_get_dim (shape, i);
  return pt_onnx_reshape (self, x->layer, &wanted, error);
}

gint
pt_onnx_exact (OnnxImport *self, const OnnxValue *x, GError **error)
{
  return graph_set_rank (self, x, MAX (x->rank, 1), error);
}

gint
pt_onnx_as_image (OnnxImport *self, const OnnxValue *x, GError **error)
{
  return graph_set_rank (self, x, 4, error);
}

gboolean
pt_onnx_add_value (OnnxImport *self, const gchar *name,
    const OnnxValue *value, GError **error)
{
  g_autofree gchar *quoted = pt_params_quote (name);

  if (*name == '\0' || g_hash_table_contains (self->values, name)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: found a second tensor "
        "of name %s, expected each once and not empty", self->path, quoted);
    return FALSE;
  }
  g_hash_table_insert (self->values, (gpointer) name,
      g_memdup2 (value, sizeof *value));
  return TRUE;
}

static gboolean
graph_name_output (OnnxImport *self, guint i, OnnxValue *value,
    GError **error)
{
  const gchar *name;

  if (self->node->n_output <= i)
    return i > 0 || pt_onnx_refuse (self, error, "found no output, expected "
        "one");
  name = self->node->output[i];
  if (i > 0 && *name == '\0')
    return TRUE;
  value->alone = value->alone && GPOINTER_TO_UINT (g_hash_table_lookup
      (self->uses, name)) == 1;
  return pt_onnx_add_value (self, name, value, error);
}

gboolean
pt_onnx_set_output_at (OnnxImport *self, guint i, gint layer, guint rank,
    GError **error)
{
  const PtShape *shape = pt_onnx_get_shape (self, layer);
  OnnxValue value = {.layer = layer,.rank = rank,.alone = TRUE };
  gchar text[PT_SHAPE_TEXT_SIZE];

  for (guint j = rank; j < shape->n_dims; j++)
    if (shape->dims[j] != 1)
      return pt_onnx_refuse (self, error, "found shape %s, expected %u "
          "dimensions", pt_shape_print (shape, text), rank);
  if (self->batch > 1 && shape->dims[0] != 1)
    return pt_onnx_refuse (self, error, "found shape %s, expected one that "
        "does not mix the %" G_GINT64_FORMAT " frames of the batch",
        pt_shape_print (shape, text), self->batch);
  return graph_name_output (self, i, &value, error);
}

gboolean
pt_onnx_set_output (OnnxImport *self, gint layer, guint rank, GError **error)
{
  return pt_onnx_set_output_at (self, 0, layer, rank, error);
}

gboolean
pt_onnx_pass (OnnxImport *self, const OnnxValue *x, GError **error)
{
  OnnxValue value = *x;

  return graph_name_output (self, 0, &value, error);
}
