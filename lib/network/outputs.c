/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/network.h"

#include <string.h>

/* What a network hands out. The first output is the main one: it is learned
 * and drawn. The others ride along. */

static void
outputs_clear (gpointer output)
{
  g_free (((PtOutput *) output)->name);
}

GArray *
pt_network_new_outputs (void)
{
  GArray *self = g_array_new (FALSE, FALSE, sizeof (PtOutput));

  g_array_set_clear_func (self, outputs_clear);
  return self;
}

void
pt_network_clear_outputs (PtNetwork *self)
{
  for (guint i = 0; i < self->n_outputs; i++)
    outputs_clear (&self->outputs[i]);
  g_clear_pointer (&self->outputs, g_free);
  self->n_outputs = 0;
}

/* Layers that the main output does not need. */
static void
outputs_mark_sides (PtNetwork *self)
{
  for (guint i = 0; i < self->n_nodes; i++)
    self->nodes[i].is_side = i != self->outputs[0].node;
  for (guint i = self->outputs[0].node + 1; i-- > 0;)
    for (guint j = 0; j < self->nodes[i].layer->n_inputs; j++)
      if (!self->nodes[i].is_side
          && self->nodes[i].inputs[j] != PT_NETWORK_INPUT)
        self->nodes[self->nodes[i].inputs[j]].is_side = FALSE;
}

void
pt_network_take_outputs (PtNetwork *self, GArray *outputs)
{
  gsize n;

  pt_network_clear_outputs (self);
  self->outputs = g_array_steal (outputs, &n);
  self->n_outputs = n;
  g_array_unref (outputs);
  outputs_mark_sides (self);
}

gboolean
pt_network_is_output (const PtNetwork *self, guint node)
{
  for (guint i = 0; i < self->n_outputs; i++)
    if (self->outputs[i].node == node)
      return TRUE;
  return FALSE;
}

static gboolean
outputs_refuse (PtNetwork *self, const gchar *found, const gchar *expected,
    GError **error)
{
  g_autofree gchar *quoted = pt_params_quote (found);

  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: group [network]: key "
      "output: found %s, expected %s", self->origin, quoted, expected);
  return FALSE;
}

static gboolean
outputs_add (PtNetwork *self, GArray *outputs, const gchar *name,
    GError **error)
{
  const gint node = pt_network_find_layer (self, name);
  PtOutput output;

  if (outputs->len == PT_NETWORK_MAX_OUTPUTS)
    return outputs_refuse (self, name, "at most "
        G_STRINGIFY (PT_NETWORK_MAX_OUTPUTS) " names before", error);
  if (node < 0)
    return outputs_refuse (self, name, "names of layers, separated by ;: there "
        "is no such layer", error);
  for (guint i = 0; i < outputs->len; i++)
    if (g_array_index (outputs, PtOutput, i).node == (guint) node)
      return outputs_refuse (self, name, "each layer once", error);
  output = (PtOutput) { g_strdup (name), node };
  g_array_append_val (outputs, output);
  return TRUE;
}

/* Those that the settings name, or the last layer. */
static gboolean
outputs_list (PtNetwork *self, GArray *outputs, GError **error)
{
  g_auto (GStrv) names = g_strsplit (self->settings.output, ";", -1);
  guint n = g_strv_length (names);

  if (n == 0)
    return outputs_add (self, outputs,
        self->nodes[self->n_nodes - 1].layer->name, error);
  /* a key file's list may end with its separator */
  if (n > 1 && *g_strstrip (names[n - 1]) == '\0')
    n--;
  for (guint i = 0; i < n; i++)
    if (!outputs_add (self, outputs, g_strstrip (names[i]), error))
      return FALSE;
  return TRUE;
}

/* (transfer full): their names, as the settings would have them. */
static gchar *
outputs_print (GArray *outputs)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < outputs->len; i++)
    g_string_append_printf (text, "%s%s", i ? ";" : "",
        g_array_index (outputs, PtOutput, i).name);
  return g_string_free (text, FALSE);
}

/* Work whose result nobody reads is a slip in inputs=. */
static gboolean
outputs_check_readers (PtNetwork *self, GArray *outputs, GError **error)
{
  g_autofree gboolean *is_read = g_new0 (gboolean, self->n_nodes);
  g_autofree gchar *names = outputs_print (outputs);

  for (guint i = 0; i < self->n_nodes; i++)
    for (guint j = 0; j < self->nodes[i].layer->n_inputs; j++)
      if (self->nodes[i].inputs[j] != PT_NETWORK_INPUT)
        is_read[self->nodes[i].inputs[j]] = TRUE;
  for (guint i = 0; i < outputs->len; i++)
    is_read[g_array_index (outputs, PtOutput, i).node] = TRUE;
  for (guint i = 0; i < self->n_nodes; i++)
    if (!is_read[i]) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: group [%s]: found "
          "no layer that reads it, expected it in some inputs= below, or in "
          "output= of group [network], since that is [%s]", self->origin,
          self->nodes[i].layer->name, names);
      return FALSE;
    }
  return TRUE;
}

gboolean
pt_network_choose_outputs (PtNetwork *self, GError **error)
{
  g_autoptr (GArray) outputs = pt_network_new_outputs ();

  if (!outputs_list (self, outputs, error) ||
      !outputs_check_readers (self, outputs, error))
    return FALSE;
  pt_network_take_outputs (self, g_steal_pointer (&outputs));
  return TRUE;
}

/**
 * pt_network_get_n_outputs:
 * @self: a network
 *
 * Returns: how many outputs there are, at least 1: the layers that the key
 *   output of [network] names, or the last one; of an ONNX model its own
 */
guint
pt_network_get_n_outputs (PtNetwork *self)
{
  return self->n_outputs;
}

/**
 * pt_network_get_output_name:
 * @self: a network
 * @index: below pt_network_get_n_outputs(); 0: the main one
 *
 * Returns: (transfer none): the ONNX model's name for it, or the layer's
 */
const gchar *
pt_network_get_output_name (PtNetwork *self, guint index)
{
  g_return_val_if_fail (index < self->n_outputs, NULL);
  return self->outputs[index].name;
}

/**
 * pt_network_get_output_shape:
 * @self: a network
 *
 * Returns: (transfer none): the shape of the main output, the one that is
 *   learned and drawn
 */
const PtShape *
pt_network_get_output_shape (PtNetwork *self)
{
  return pt_network_get_output_shape_at (self, 0);
}

/**
 * pt_network_get_output_shape_at:
 * @self: a network
 * @index: below pt_network_get_n_outputs(); 0: the main one
 *
 * Returns: (transfer none): the shape of that output
 */
const PtShape *
pt_network_get_output_shape_at (PtNetwork *self, guint index)
{
  g_return_val_if_fail (index < self->n_outputs, NULL);
  return &self->nodes[self->outputs[index].node].layer->output;
}
