/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

/* A network has one output: the layers that the chosen one needs. */

const gchar *
pt_onnx_find_output (OnnxImport *self, GError **error)
{
  const gchar *wanted = self->network->settings.output;
  g_autofree gchar *quoted = pt_params_quote (wanted);
  GString *names;

  if (self->graph->n_output == 0) {
    pt_onnx_fail (self, error, "found no output, expected one");
    return NULL;
  }
  if (*wanted == '\0')
    return self->graph->output[0]->name;
  if (pt_onnx_find_tensor (self, wanted) != NULL)
    return wanted;
  names = g_string_new (NULL);
  for (gsize i = 0; i < self->graph->n_output; i++)
    g_string_append_printf (names, "%s%.60s", i ? ", " : "",
        self->graph->output[i]->name);
  pt_onnx_fail (self, error, "found network.output=%s, expected the name of "
      "a tensor, such as the model's outputs: %s", quoted, names->str);
  g_string_free (names, TRUE);
  return NULL;
}

/* Layers that @last does not need are taken out; it becomes the last. */
static void
output_prune (PtNetwork *network, gint last)
{
  g_autofree gint *places = g_new0 (gint, last + 1);
  guint n = 0;

  places[last] = 1;
  for (gint i = last; i >= 0; i--)
    for (guint j = 0; places[i] && j < network->nodes[i].layer->n_inputs; j++)
      if (network->nodes[i].inputs[j] >= 0)
        places[network->nodes[i].inputs[j]] = 1;
  for (guint i = 0; i < network->n_nodes; i++) {
    PtNode node = network->nodes[i];

    if ((gint) i > last || !places[i]) {
      for (guint j = 0; j < PT_LAYER_MAX_WEIGHTS; j++)
        g_clear_pointer (&node.weights[j], pt_tensor_unref);
      pt_layer_free (node.layer);
      continue;
    }
    for (guint j = 0; j < node.layer->n_inputs; j++)
      if (node.inputs[j] >= 0)
        node.inputs[j] = places[node.inputs[j]];
    places[i] = n;
    network->nodes[n++] = node;
  }
  network->n_nodes = n;
}

static gboolean
output_check_weights (const OnnxImport *self, GError **error)
{
  for (guint i = 0; i < self->network->n_nodes; i++) {
    const PtNode *node = &self->network->nodes[i];

    for (guint j = 0; j < node->layer->n_weights; j++)
      if (node->weights[j] == NULL)
        return pt_onnx_fail (self, error, "found no %s for layer %s",
            node->layer->weights[j].name, node->layer->name);
  }
  return TRUE;
}

/* A network has a layer at least: one that changes nothing. */
static gint
output_add_copy (OnnxImport *self, const gchar *name, const OnnxValue *value,
    GError **error)
{
  const PtShape *shape = pt_onnx_get_shape (self, value->layer);
  GString *words = g_string_new ("shape=");
  Onnx__NodeProto node;
  gint layer;

  onnx__node_proto__init (&node);
  node.name = (gchar *) name;
  node.op_type = "Output";
  self->node = &node;
  for (guint i = 0; i < shape->n_dims; i++)
    g_string_append_printf (words, "%s%" G_GINT64_FORMAT, i ? ";" : "",
        shape->dims[i]);
  layer = pt_onnx_add_layer (self, "reshape", &value->layer, 1, words->str,
      error);
  g_string_free (words, TRUE);
  self->node = NULL;
  return layer;
}

gboolean
pt_onnx_finish (OnnxImport *self, const gchar *name, GError **error)
{
  const OnnxValue *value = g_hash_table_lookup (self->values, name);
  g_autofree gchar *quoted = pt_params_quote (name);

  gint layer;

  if (value == NULL || value->constant != NULL)
    return pt_onnx_fail (self, error, "found output %s that is %s, expected "
        "the result of a layer", quoted, value == NULL ? "made by no node" :
        "constant");
  layer = value->layer != PT_NETWORK_INPUT ? value->layer :
      output_add_copy (self, name, value, error);
  if (layer == ONNX_NO_LAYER)
    return FALSE;
  output_prune (self->network, layer);
  if (!pt_network_infer (self->network, error) ||
      !output_check_weights (self, error))
    return FALSE;
  self->network->initialised = TRUE;
  return TRUE;
}
