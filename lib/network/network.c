/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/network.h"

#include <string.h>
#include <unistd.h>

G_DEFINE_BOXED_TYPE (PtNetwork, pt_network, pt_network_ref, pt_network_unref)

static gchar *
network_where (const PtNetwork *self, const gchar *group)
{
  return g_strdup_printf ("%s: group [%s]", self->origin, group);
}

PtNetwork *
pt_network_new_empty (const gchar *origin)
{
  PtNetwork *self = g_new0 (PtNetwork, 1);

  g_atomic_ref_count_init (&self->refs);
  self->origin = g_strdup (origin);
  pt_settings_init (&self->settings);
  return self;
}

/* They choose layers, so that it is too late once those are there. */
static gboolean
network_check_choice (const PtNetwork *self, const PtSettings *before,
    const gchar *where, GError **error)
{
  const PtSettings *now = &self->settings;

  if (g_str_equal (now->input_shape, before->input_shape) &&
      (!self->imported || g_str_equal (now->output, before->output)))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found another "
      "input-shape%s, expected it only while an ONNX model is read: beside it, "
      "or with --set", where, self->imported ? " or output" : "");
  return FALSE;
}

/**
 * pt_network_new_from_data:
 * @text: a network file's content
 * @length: bytes in @text, or -1 if it ends with a NUL
 * @origin: (nullable): what to call it in messages
 * @error: return location
 *
 * Reads a network: its layers, their shapes, and the settings to learn with.
 * Allocates no weights.
 *
 * Returns: (transfer full): the network, or %NULL with %PT_ERROR_CONFIG for
 *   text that does not say what it should, %PT_ERROR_SHAPE for layers that do
 *   not fit together
 */
PtNetwork *
pt_network_new_from_data (const gchar *text, gssize length,
    const gchar *origin, GError **error)
{
  g_autoptr (PtNetwork) self =
      pt_network_new_empty (origin != NULL ? origin : "network");

  g_return_val_if_fail (text != NULL, NULL);
  if (!pt_config_parse (self, text, length < 0 ? strlen (text) : (gsize) length,
          error) || !pt_network_bind (self, NULL, error))
    return NULL;
  return g_steal_pointer (&self);
}

/**
 * pt_network_get_left_out:
 * @self: a network
 *
 * An ONNX model of which no outputs are named gives those that can be worked
 * out; constant ones are not counted.
 *
 * Returns: (transfer none) (nullable): which are there, and why others are not;
 *   %NULL if all are
 */
const gchar *
pt_network_get_left_out (PtNetwork *self)
{
  return self->left_out;
}

/**
 * pt_network_ref:
 * @self: a network
 *
 * Thread-safe.
 *
 * Returns: (transfer full): @self
 */
PtNetwork *
pt_network_ref (PtNetwork *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

static void
network_clear_weights (PtNetwork *self)
{
  for (guint i = 0; i < self->n_nodes; i++)
    for (guint j = 0; j < PT_LAYER_MAX_WEIGHTS; j++)
      g_clear_pointer (&self->nodes[i].weights[j], pt_tensor_unref);
  self->initialised = FALSE;
}

/**
 * pt_network_unref:
 * @self: (transfer full): a network
 *
 * Thread-safe.
 */
void
pt_network_unref (PtNetwork *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  network_clear_weights (self);
  for (guint i = 0; i < self->n_nodes; i++)
    pt_layer_free (self->nodes[i].layer);
  g_free (self->nodes);
  pt_network_clear_outputs (self);
  pt_settings_clear (&self->settings);
  g_free (self->left_out);
  g_free (self->origin);
  g_free (self);
}

gint
pt_network_find_layer (PtNetwork *self, const gchar *name)
{
  for (guint i = 0; i < self->n_nodes; i++)
    if (strcmp (self->nodes[i].layer->name, name) == 0)
      return i;
  return -1;
}

gboolean
pt_network_infer (PtNetwork *self, GError **error)
{
  const PtSettings *s = &self->settings;

  self->input = PT_SHAPE (1, (gint64) s->channels * s->frames, s->height,
      s->width);
  if (!pt_shape_check (&self->input, error)) {
    g_prefix_error (error, "%s: group [network]: the input (1, channels x "
        "frames, height, width): ", self->origin);
    return FALSE;
  }
  for (guint i = 0; i < self->n_nodes; i++) {
    PtNode *node = &self->nodes[i];

    for (guint j = 0; j < node->layer->n_inputs; j++)
      node->layer->inputs[j] = node->inputs[j] == PT_NETWORK_INPUT ?
          self->input : self->nodes[node->inputs[j]].layer->output;
    if (!pt_layer_infer (node->layer, error)) {
      g_prefix_error (error, "%s: group [%s]: ", self->origin,
          node->layer->name);
      return FALSE;
    }
  }
  return TRUE;
}

gboolean
pt_network_bind (PtNetwork *self, PtOpenSize *open, GError **error)
{
  const PtSettings none = {.input_shape = "" };
  PtSettings *s = &self->settings;

  if (!network_check_choice (self, &none, self->origin, error))
    return FALSE;
  if (open != NULL && (s->width == 0 || s->height == 0)) {
    open->used = TRUE;
    s->width = s->width > 0 ? s->width : open->width;
    s->height = s->height > 0 ? s->height : open->height;
  }
  if (s->width > 0 && s->height > 0)
    return pt_network_infer (self, error);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: group [network]: found "
      "%s open, expected the input's size here, by --set or in the element's "
      "property settings, unless a stream of frames says it", self->origin,
      s->width > 0 ? "height" : s->height > 0 ? "width" : "width and height");
  return FALSE;
}

/* Whether the weights that are there still have the layers' shapes. */
static gboolean
network_check_weights (PtNetwork *self, const gchar *where, const gchar *key,
    GError **error)
{
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  if (!self->initialised)
    return TRUE;
  for (guint i = 0; i < self->n_nodes; i++) {
    const PtLayer *layer = self->nodes[i].layer;

    for (guint j = 0; j < PT_LAYER_MAX_WEIGHTS; j++) {
      const PtTensor *weight = self->nodes[i].weights[j];
      const gboolean wanted = j < layer->n_weights;

      if (wanted == (weight != NULL) && (!wanted ||
              pt_shape_equal (&weight->shape, &layer->weights[j].shape)))
        continue;
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: key %s: found "
          "weights of shape %s in layer [%s], expected %s: set it before the "
          "weights are loaded or initialised", where, key,
          weight ? pt_shape_print (&weight->shape, found) : "none",
          layer->name, wanted ?
          pt_shape_print (&layer->weights[j].shape, expected) : "none");
      return FALSE;
    }
  }
  return TRUE;
}

/* A size of 0 leaves it to the frames, which have said it by now. */
static gboolean
network_keep_size (PtSettings *now, const PtSettings *before)
{
  now->width = now->width > 0 ? now->width : before->width;
  now->height = now->height > 0 ? now->height : before->height;
  return TRUE;
}

static gboolean
network_set_setting (PtNetwork *self, const PtParam *table,
    const gchar *group, const gchar *key, const gchar *value, GError **error)
{
  g_autofree gchar *where = network_where (self, group);
  PtSettings old;

  pt_settings_copy (&self->settings, &old);
  if (pt_params_set (table, &self->settings, key, value, where, error) &&
      network_keep_size (&self->settings, &old) &&
      pt_config_check_settings (&self->settings, self->origin, error) &&
      network_check_choice (self, &old, where, error) &&
      pt_network_infer (self, error) &&
      network_check_weights (self, where, key, error) &&
      (self->imported || pt_network_choose_outputs (self, error))) {
    pt_settings_clear (&old);
    return TRUE;
  }
  pt_settings_clear (&self->settings);
  self->settings = old;
  pt_network_infer (self, NULL);
  return FALSE;
}

static gboolean
network_set_option (PtNetwork *self, PtLayer *layer, const gchar *key,
    const gchar *value, GError **error)
{
  const PtParam *table = layer->kind->params;
  g_autofree gchar *where = network_where (self, layer->name);
  gpointer spare;
  gboolean done;

  if (g_str_equal (key, "type") || g_str_equal (key, "inputs")) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: key %s: found a new "
        "value, expected it to stay as in the file", where, key);
    return FALSE;
  }
  spare = pt_params_copy (table, layer->options, layer->kind->options_size);
  done = pt_params_set (table, layer->options, key, value, where, error) &&
      pt_network_infer (self, error) &&
      network_check_weights (self, where, key, error);
  if (!done && spare != NULL) {
    gpointer refused = layer->options;

    layer->options = spare;
    spare = refused;
    pt_network_infer (self, NULL);
  }
  if (spare != NULL)
    pt_params_clear (table, spare);
  g_free (spare);
  return done;
}

/**
 * pt_network_set:
 * @self: a network
 * @group: a group of its file, such as "learning", or a layer's name
 * @key: a key of that group
 * @value: its new value, as it would stand in the file
 * @error: return location
 *
 * Overrides one value of the file and works out the shapes anew; a width or
 * height of 0 stays what it is. On failure
 * nothing has changed. Not thread-safe, and to be called before a pipeline is
 * made of @self.
 *
 * Returns: %TRUE, or %FALSE with %PT_ERROR_CONFIG for an unknown group or key
 *   or a bad value, %PT_ERROR_SHAPE if the layers no longer fit
 */
gboolean
pt_network_set (PtNetwork *self, const gchar *group, const gchar *key,
    const gchar *value, GError **error)
{
  const PtParam *table = pt_settings_get_params (group);
  g_autofree gchar *quoted = NULL;
  gint index;

  if (table != NULL)
    return network_set_setting (self, table, group, key, value, error);
  index = pt_network_find_layer (self, group);
  if (index >= 0)
    return network_set_option (self, self->nodes[index].layer, key, value,
        error);
  quoted = pt_params_quote (group);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: cannot set %s: found "
      "group %s, expected network, learning, pipeline, output or a layer",
      self->origin, key, quoted);
  return FALSE;
}

gchar *
pt_network_print_inputs (const PtNetwork *self, const PtNode *node)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < node->layer->n_inputs; i++)
    g_string_append_printf (text, "%s%s", i ? ";" : "",
        node->inputs[i] == PT_NETWORK_INPUT ? "input" :
        self->nodes[node->inputs[i]].layer->name);
  return g_string_free (text, FALSE);
}

/**
 * pt_network_get:
 * @self: a network
 * @group: a group of its file, or a layer's name
 * @key: a key of that group
 *
 * The value in effect, default or not.
 *
 * Returns: (transfer full) (nullable): the value as text, %NULL if there is no
 *   such group or key
 */
gchar *
pt_network_get (PtNetwork *self, const gchar *group, const gchar *key)
{
  const PtParam *table = pt_settings_get_params (group);
  const PtNode *node;
  gint index;

  if (table != NULL)
    return pt_params_get (table, &self->settings, key);
  index = pt_network_find_layer (self, group);
  if (index < 0)
    return NULL;
  node = &self->nodes[index];
  if (g_str_equal (key, "type"))
    return g_strdup (node->layer->kind->name);
  if (g_str_equal (key, "inputs"))
    return pt_network_print_inputs (self, node);
  return pt_params_get (node->layer->kind->params, node->layer->options, key);
}

/**
 * pt_network_get_input_shape:
 * @self: a network
 *
 * Returns: (transfer none): (1, channels x frames, height, width)
 */
const PtShape *
pt_network_get_input_shape (PtNetwork *self)
{
  return &self->input;
}

/**
 * pt_network_get_n_layers:
 * @self: a network
 *
 * Returns: how many layers the file has, at least 1
 */
guint
pt_network_get_n_layers (PtNetwork *self)
{
  return self->n_nodes;
}

/**
 * pt_network_get_layer_name:
 * @self: a network
 * @index: below pt_network_get_n_layers()
 *
 * Returns: (transfer none): the name of the layer's group
 */
const gchar *
pt_network_get_layer_name (PtNetwork *self, guint index)
{
  g_return_val_if_fail (index < self->n_nodes, NULL);
  return self->nodes[index].layer->name;
}

/**
 * pt_network_get_n_parameters:
 * @self: a network
 *
 * Returns: how many numbers are learned; running statistics do not count
 */
guint64
pt_network_get_n_parameters (PtNetwork *self)
{
  guint64 n = 0;

  for (guint i = 0; i < self->n_nodes; i++)
    n += pt_layer_count_parameters (self->nodes[i].layer);
  return n;
}

/**
 * pt_network_describe_layer_kinds:
 *
 * Returns: (transfer full): every layer type with its options, defaults and
 *   ranges, as text for a help page
 */
gchar *
pt_network_describe_layer_kinds (void)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; pt_layer_kinds[i] != NULL; i++) {
    g_string_append_printf (text, "%s: %s\n", pt_layer_kinds[i]->name,
        pt_layer_kinds[i]->summary);
    pt_params_describe (pt_layer_kinds[i]->params, text);
  }
  return g_string_free (text, FALSE);
}

/* Memory that is not there is refused here, not found out page by page. */
static gboolean
network_check_memory (const PtNetwork *self, GError **error)
{
  const gdouble memory =
      (gdouble) sysconf (_SC_PHYS_PAGES) * sysconf (_SC_PAGESIZE);
  gdouble bytes = 0;

  for (guint i = 0; i < self->n_nodes; i++)
    for (guint j = 0; j < self->nodes[i].layer->n_weights; j++)
      bytes += pt_shape_get_n_elements (&self->nodes[i].layer->
          weights[j].shape) * (gdouble) sizeof (gfloat);
  if (bytes <= memory)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY, "%s: cannot make the "
      "weights: found %.0f bytes of them, expected at most the %.0f of this "
      "machine", self->origin, bytes, memory);
  return FALSE;
}

static gboolean
network_allocate (PtNetwork *self, GError **error)
{
  if (!network_check_memory (self, error))
    return FALSE;
  for (guint i = 0; i < self->n_nodes; i++) {
    PtNode *node = &self->nodes[i];

    for (guint j = 0; j < node->layer->n_weights; j++) {
      if (node->weights[j] == NULL)
        node->weights[j] = pt_tensor_new_shaped (PT_F32,
            &node->layer->weights[j].shape, error);
      if (node->weights[j] == NULL) {
        g_prefix_error (error, "%s: group [%s]: %s: ", self->origin,
            node->layer->name, node->layer->weights[j].name);
        return FALSE;
      }
    }
  }
  return TRUE;
}

static gboolean
network_init_weights (PtNetwork *self, guint64 seed, GError **error)
{
  /* fewer weights may be wanted than the last time */
  if (!self->initialised)
    network_clear_weights (self);
  if (!network_allocate (self, error)) {
    network_clear_weights (self);
    return FALSE;
  }
  for (guint i = 0; i < self->n_nodes; i++)
    for (guint j = 0; j < self->nodes[i].layer->n_weights; j++)
      pt_layer_init_weight (self->nodes[i].layer, j,
          self->nodes[i].weights[j]->data, seed);
  self->initialised = TRUE;
  return TRUE;
}

/**
 * pt_network_init_weights:
 * @self: a network
 * @seed: any number
 *
 * Gives the weights PyTorch's first values, drawn from @seed and each layer's
 * name: the same on every machine and for every cut into stages. Without the
 * memory for them a warning is logged and there are no weights; what uses
 * them next reports it. Not thread-safe.
 */
void
pt_network_init_weights (PtNetwork *self, guint64 seed)
{
  g_autoptr (GError) error = NULL;

  if (!network_init_weights (self, seed, &error))
    g_warning ("%s", error->message);
}

gboolean
pt_network_need_weights (PtNetwork *self, GError **error)
{
  return self->initialised ||
      network_init_weights (self, self->settings.seed, error);
}

/**
 * pt_network_get_weight:
 * @self: a network
 * @name: layer and parameter, such as "conv1.weight"
 *
 * Initialises the weights if that was not done. Elements are row-major and
 * shapes PyTorch's. Not thread-safe.
 *
 * Returns: (transfer none) (nullable): the weight, %NULL if there is none of
 *   that name
 */
PtTensor *
pt_network_get_weight (PtNetwork *self, const gchar *name)
{
  const gchar *dot = strrchr (name, '.');
  g_autofree gchar *group = NULL;
  g_autoptr (GError) error = NULL;
  gint index;

  if (dot == NULL)
    return NULL;
  if (!pt_network_need_weights (self, &error)) {
    g_warning ("%s", error->message);
    return NULL;
  }
  group = g_strndup (name, dot - name);
  index = pt_network_find_layer (self, group);
  if (index < 0)
    return NULL;
  for (guint j = 0; j < self->nodes[index].layer->n_weights; j++)
    if (g_str_equal (self->nodes[index].layer->weights[j].name, dot + 1))
      return self->nodes[index].weights[j];
  return NULL;
}
