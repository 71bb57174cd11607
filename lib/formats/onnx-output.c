/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

/* The outputs of a network, and the layers that they need. */

static gboolean
output_refuse (const OnnxImport *self, const gchar *name, GError **error)
{
  g_autofree gchar *quoted = pt_params_quote (name);
  GString *names = g_string_new (NULL);

  for (gsize i = 0; i < self->graph->n_output; i++)
    g_string_append_printf (names, "%s%.60s", i ? ", " : "",
        self->graph->output[i]->name);
  pt_onnx_fail (self, error, "found network.output=%s, expected names of "
      "tensors, each once, such as the model's outputs: %s", quoted, names->str);
  g_string_free (names, TRUE);
  return FALSE;
}

/* Names between ";", which a name may have itself. */
static gboolean
output_add_wanted (const OnnxImport *self, GPtrArray *names, GError **error)
{
  const gchar *wanted = self->network->settings.output;
  g_auto (GStrv) parts = NULL;

  if (pt_onnx_find_tensor (self, wanted) != NULL) {
    g_ptr_array_add (names, (gpointer) pt_onnx_find_tensor (self, wanted));
    return TRUE;
  }
  parts = g_strsplit (wanted, ";", -1);
  for (guint i = 0; parts[i] != NULL; i++) {
    const gchar *name = pt_onnx_find_tensor (self, g_strstrip (parts[i]));

    if (*parts[i] == '\0' && i > 0 && parts[i + 1] == NULL)
      continue;
    if (name == NULL || g_ptr_array_find (names, name, NULL))
      return output_refuse (self, parts[i], error);
    g_ptr_array_add (names, (gpointer) name);
  }
  return TRUE;
}

/* Unless its type says otherwise. */
static gboolean
output_is_float (const Onnx__ValueInfoProto *output)
{
  const Onnx__TypeProto *type = output->type;

  return type == NULL ||
      type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
      pt_onnx_type_is_float (type->tensor_type->elem_type);
}

static gboolean
output_is_asked (const OnnxImport *self, gsize i)
{
  return i == 0 || self->asked == ONNX_ASKED_ALL ||
      (self->asked == ONNX_ASKED_FLOATS &&
      output_is_float (self->graph->output[i]));
}

static gsize
output_count_asked (const OnnxImport *self)
{
  gsize n = 0;

  for (gsize i = 0; i < self->graph->n_output; i++)
    n += output_is_asked (self, i);
  return n;
}

gboolean
pt_onnx_ask_less (OnnxImport *self)
{
  const gsize before = output_count_asked (self);

  while (self->asked < ONNX_ASKED_FIRST) {
    self->asked++;
    if (output_count_asked (self) < before)
      return TRUE;
  }
  return FALSE;
}

GPtrArray *
pt_onnx_find_outputs (OnnxImport *self, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new ();

  if (self->graph->n_output == 0) {
    pt_onnx_fail (self, error, "found no output, expected one");
    return NULL;
  }
  if (*self->network->settings.output != '\0')
    return output_add_wanted (self, names, error) ?
        g_steal_pointer (&names) : NULL;
  for (gsize i = 0; i < self->graph->n_output; i++)
    if (output_is_asked (self, i))
      g_ptr_array_add (names, self->graph->output[i]->name);
  return g_steal_pointer (&names);
}

/* Layers that none of @outputs needs are taken out. */
static void
output_prune (PtNetwork *network, GArray *outputs)
{
  g_autofree gint *places = g_new0 (gint, network->n_nodes);
  guint n = 0;

  for (guint i = 0; i < outputs->len; i++)
    places[g_array_index (outputs, PtOutput, i).node] = 1;
  for (guint i = network->n_nodes; i-- > 0;)
    for (guint j = 0; places[i] && j < network->nodes[i].layer->n_inputs; j++)
      if (network->nodes[i].inputs[j] >= 0)
        places[network->nodes[i].inputs[j]] = 1;
  for (guint i = 0; i < network->n_nodes; i++) {
    PtNode node = network->nodes[i];

    if (!places[i]) {
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
  for (guint i = 0; i < outputs->len; i++)
    g_array_index (outputs, PtOutput, i).node =
        places[g_array_index (outputs, PtOutput, i).node];
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

/* The layer whose output is called @name; constants have none. */
static gint
output_find_layer (OnnxImport *self, const gchar *name, GError **error)
{
  const OnnxValue *value = g_hash_table_lookup (self->values, name);
  g_autofree gchar *quoted = pt_params_quote (name);

  if (value == NULL || value->constant != NULL) {
    pt_onnx_fail (self, error, "found output %s that is %s, expected the "
        "result of a layer", quoted, value == NULL ? "made by no node" :
        "constant");
    return ONNX_NO_LAYER;
  }
  return value->layer != PT_NETWORK_INPUT ? value->layer :
      output_add_copy (self, name, value, error);
}

/* Outputs that were not asked for by name may be constant. */
static gboolean
output_is_skipped (const OnnxImport *self, const gchar *name)
{
  const OnnxValue *value = g_hash_table_lookup (self->values, name);

  return *self->network->settings.output == '\0' && value != NULL &&
      value->constant != NULL;
}

static gboolean
output_list (OnnxImport *self, const GPtrArray *names, GArray *outputs,
    GError **error)
{
  if (names->len > PT_NETWORK_MAX_OUTPUTS)
    return pt_onnx_fail (self, error, "found %u outputs, expected at most %d: "
        "name some (network.output)", names->len, PT_NETWORK_MAX_OUTPUTS);
  for (guint i = 0; i < names->len; i++) {
    const gchar *name = names->pdata[i];
    PtOutput output;
    gint layer;

    if (output_is_skipped (self, name))
      continue;
    layer = output_find_layer (self, name, error);
    if (layer == ONNX_NO_LAYER)
      return FALSE;
    output = (PtOutput) { g_strdup (name), layer };
    g_array_append_val (outputs, output);
  }
  return outputs->len > 0 ||
      output_find_layer (self, names->pdata[0], error) != ONNX_NO_LAYER;
}

gboolean
pt_onnx_finish (OnnxImport *self, const GPtrArray *names, GError **error)
{
  g_autoptr (GArray) outputs = pt_network_new_outputs ();

  if (!output_list (self, names, outputs, error))
    return FALSE;
  output_prune (self->network, outputs);
  pt_network_take_outputs (self->network, g_steal_pointer (&outputs));
  if (!pt_network_infer (self->network, error) ||
      !output_check_weights (self, error))
    return FALSE;
  self->network->initialised = TRUE;
  self->network->imported = TRUE;
  return TRUE;
}
