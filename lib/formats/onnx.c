/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

/* The bound of protobuf itself; larger models keep their weights aside. */
#define MODEL_MAX_FILE G_MAXINT32
#define MODEL_MAX_BATCH 65536
#define MODEL_OLDEST 6
#define MODEL_NEWEST 22

typedef enum
{
  CHANNELS = 1,
  HEIGHT,
  WIDTH,
} Axis;

G_GNUC_PRINTF (3, 4)
static gboolean
model_fail (const OnnxImport *self, GError **error, const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
      "%s: cannot use the ONNX model: %s", self->path, message);
  return FALSE;
}

/* protobuf-c leaves NULL where a text is missing. */
static gboolean
model_check_texts (const OnnxImport *self, GError **error)
{
  for (gsize i = 0; i < self->graph->n_node; i++)
    if (self->graph->node[i]->op_type == NULL)
      return model_fail (self, error, "found no op_type in node %"
          G_GSIZE_FORMAT ", expected one", i);
  for (gsize i = 0; i < self->graph->n_initializer; i++)
    if (self->graph->initializer[i]->name == NULL)
      return model_fail (self, error, "found initializer %" G_GSIZE_FORMAT
          " without a name, expected one", i);
  for (gsize i = 0; i < self->graph->n_input; i++)
    if (self->graph->input[i]->name == NULL)
      return model_fail (self, error, "found input %" G_GSIZE_FORMAT
          " without a name, expected one", i);
  if (self->graph->n_output == 1 && self->graph->output[0]->name != NULL)
    return TRUE;
  return model_fail (self, error, "found %" G_GSIZE_FORMAT " outputs, "
      "expected one with a name: cut the model (onnx.utils.extract_model)",
      self->graph->n_output);
}

static gboolean
model_find_opset (OnnxImport *self, const Onnx__ModelProto *model,
    GError **error)
{
  for (gsize i = 0; i < model->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *set = model->opset_import[i];

    if (set->domain == NULL || *set->domain == '\0' ||
        strcmp (set->domain, "ai.onnx") == 0)
      self->opset = set->version;
  }
  if (self->opset >= MODEL_OLDEST && self->opset <= MODEL_NEWEST)
    return TRUE;
  return model_fail (self, error, "found opset %" G_GINT64_FORMAT ", expected "
      "%d to %d: convert it (onnx.version_converter)", self->opset,
      MODEL_OLDEST, MODEL_NEWEST);
}

/* -- input -- */

static gboolean
model_is_constant (const OnnxImport *self, const gchar *name)
{
  return g_hash_table_contains (self->values, name);
}

static const Onnx__ValueInfoProto *
model_find_input (const OnnxImport *self, GError **error)
{
  const Onnx__ValueInfoProto *found = NULL;

  for (gsize i = 0; i < self->graph->n_input; i++) {
    const Onnx__ValueInfoProto *input = self->graph->input[i];
    g_autofree gchar *quoted = NULL;

    if (model_is_constant (self, input->name))
      continue;
    if (found == NULL) {
      found = input;
      continue;
    }
    quoted = pt_params_quote (input->name);
    model_fail (self, error, "found a second input %s, expected one, the "
        "picture: make the others initializers", quoted);
    return NULL;
  }
  if (found == NULL)
    model_fail (self, error, "found no input, expected the picture");
  return found;
}

/* The settings that name this size; 0 where none does. */
static gint64
model_get_setting (const OnnxImport *self, Axis axis)
{
  const PtSettings *s = &self->network->settings;

  if (axis == CHANNELS)
    return (gint64) s->channels * s->frames;
  return axis == HEIGHT ? s->height : s->width;
}

/* Size of dimension @axis of the input, from the model or the settings. */
static gboolean
model_bind (const OnnxImport *self, const Onnx__TensorShapeProto *shape,
    guint axis, gint64 *size, GError **error)
{
  static const gchar *const keys[] = { "", "channels", "height", "width" };
  const Onnx__TensorShapeProto__Dimension *dim =
      axis < shape->n_dim ? shape->dim[axis] : NULL;

  *size = 1;
  if (dim != NULL &&
      dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE
      && dim->dim_value != 0) {
    *size = dim->dim_value;
    if (*size >= 1 && *size <= MODEL_MAX_BATCH)
      return TRUE;
    return model_fail (self, error, "found %" G_GINT64_FORMAT " as dimension "
        "%u of the input, expected 1 to %d", *size, axis, MODEL_MAX_BATCH);
  }
  if (dim == NULL || axis == 0)
    return TRUE;
  *size = model_get_setting (self, axis);
  if (*size > 0)
    return TRUE;
  return model_fail (self, error, "dimension %u of the input is open: set "
      "network.%s, as --set network.%s=N or in the key file %s.cfg", axis,
      keys[axis], keys[axis], self->path);
}

static gboolean
model_set_size (OnnxImport *self, const gchar *key, gint64 size,
    GError **error)
{
  g_autofree gchar *text = g_strdup_printf ("%" G_GINT64_FORMAT, size);

  return pt_params_set (pt_settings_get_params ("network"),
      &self->network->settings, key, text, self->path, error);
}

static gboolean
model_set_input (OnnxImport *self, const Onnx__TensorShapeProto *shape,
    GError **error)
{
  const gint frames = self->network->settings.frames;
  gint64 sizes[4];

  for (guint i = 0; i < 4; i++)
    if (!model_bind (self, shape, i, &sizes[i], error))
      return FALSE;
  if (sizes[CHANNELS] % frames != 0)
    return model_fail (self, error, "found %" G_GINT64_FORMAT " channels, "
        "expected a multiple of network.frames=%d", sizes[CHANNELS], frames);
  self->batch = sizes[0];
  return model_set_size (self, "channels", sizes[CHANNELS] / frames, error) &&
      model_set_size (self, "height", sizes[HEIGHT], error) &&
      model_set_size (self, "width", sizes[WIDTH], error) &&
      pt_network_infer (self->network, error);
}

static gboolean
model_add_input (OnnxImport *self, GError **error)
{
  const Onnx__ValueInfoProto *input = model_find_input (self, error);
  const Onnx__TypeProto__Tensor *type = NULL;
  OnnxValue value = {.layer = PT_NETWORK_INPUT };
  g_autofree gchar *quoted = NULL;

  if (input == NULL)
    return FALSE;
  quoted = pt_params_quote (input->name);
  if (input->type != NULL &&
      input->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    type = input->type->tensor_type;
  if (type == NULL || type->shape == NULL || type->shape->n_dim < 1 ||
      type->shape->n_dim > 4)
    return model_fail (self, error, "found input %s without a shape of 1 to 4 "
        "dimensions, expected (N, C, H, W)", quoted);
  switch (type->elem_type) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
      break;
    default:
      return model_fail (self, error, "found input %s of data type %d, "
          "expected float", quoted, type->elem_type);
  }
  value.rank = type->shape->n_dim;
  return model_set_input (self, type->shape, error) &&
      pt_onnx_add_value (self, input->name, &value, error);
}

/* -- constants -- */

static gboolean
model_add_constants (OnnxImport *self, GError **error)
{
  OnnxValue value = { NULL };
  gpointer name, tensor;
  GHashTableIter iter;

  for (gsize i = 0; i < self->graph->n_initializer; i++) {
    value.constant = self->graph->initializer[i];
    value.rank = value.constant->n_dims;
    if (!pt_onnx_add_value (self, value.constant->name, &value, error))
      return FALSE;
  }
  if (self->constants == NULL)
    return TRUE;
  g_hash_table_iter_init (&iter, self->constants);
  while (g_hash_table_iter_next (&iter, &name, &tensor)) {
    value.constant = tensor;
    value.rank = value.constant->n_dims;
    if (!pt_onnx_add_value (self, name, &value, error))
      return FALSE;
  }
  return TRUE;
}

/* A node Constant: a tensor, or numbers that become one. */
static gboolean
model_add_constant (OnnxImport *self, GError **error)
{
  Onnx__AttributeProto *attribute =
      self->node->n_attribute == 1 ? self->node->attribute[0] : NULL;
  OnnxValue value = { NULL };
  Onnx__TensorProto *made;

  if (attribute == NULL || self->node->n_output != 1)
    return pt_onnx_refuse (self, error, "found %" G_GSIZE_FORMAT " attributes "
        "and %" G_GSIZE_FORMAT " outputs, expected one of each",
        self->node->n_attribute, self->node->n_output);
  value.constant = attribute->t;
  if (attribute->t == NULL) {
    made = g_new (Onnx__TensorProto, 1);
    onnx__tensor_proto__init (made);
    g_ptr_array_add (self->made, made);
    made->has_data_type = TRUE;
    made->data_type = attribute->n_ints || attribute->has_i ?
        ONNX__TENSOR_PROTO__DATA_TYPE__INT64 :
        ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    made->n_int64_data = attribute->has_i ? 1 : attribute->n_ints;
    made->int64_data = attribute->has_i ? &attribute->i : attribute->ints;
    made->n_float_data = attribute->has_f ? 1 : attribute->n_floats;
    made->float_data = attribute->has_f ? &attribute->f : attribute->floats;
    if (made->n_int64_data + made->n_float_data == 0)
      return pt_onnx_refuse (self, error, "found another kind of value, "
          "expected numbers");
    value.constant = made;
  }
  value.rank = value.constant->n_dims;
  return pt_onnx_add_value (self, self->node->output[0], &value, error);
}

/* -- nodes -- */

static void
model_count (OnnxImport *self, const gchar *name)
{
  const guint n = GPOINTER_TO_UINT (g_hash_table_lookup (self->uses, name));

  g_hash_table_insert (self->uses, (gpointer) name, GUINT_TO_POINTER (n + 1));
}

/* Only nodes that the output needs, counting readers on the way: a graph is
 * sorted, so that one pass from the end finds them. */
static gboolean *
model_mark (OnnxImport *self)
{
  const Onnx__GraphProto *graph = self->graph;
  gboolean *needed = g_new0 (gboolean, graph->n_node + 1);

  model_count (self, graph->output[0]->name);
  for (gsize i = graph->n_node; i-- > 0;) {
    const Onnx__NodeProto *node = graph->node[i];

    for (gsize j = 0; j < node->n_output; j++)
      needed[i] |= g_hash_table_contains (self->uses, node->output[j]);
    for (gsize j = 0; j < node->n_input && needed[i]; j++)
      model_count (self, node->input[j]);
  }
  return needed;
}

static const OnnxOperator *
model_find_operator (const gchar *name)
{
  const OnnxOperator *const tables[] = {
    pt_onnx_ops, pt_onnx_ops_window, pt_onnx_ops_join
  };

  for (guint i = 0; i < G_N_ELEMENTS (tables); i++)
    for (const OnnxOperator *at = tables[i]; at->name != NULL; at++)
      if (strcmp (at->name, name) == 0)
        return at;
  return NULL;
}

/* An attribute that is not known could change what the node means. */
static gboolean
model_check_attributes (const OnnxImport *self, const OnnxOperator *operator,
    GError **error)
{
  for (gsize i = 0; i < self->node->n_attribute; i++) {
    const Onnx__AttributeProto *attribute = self->node->attribute[i];
    const gchar *name = attribute->name ? attribute->name : "";
    g_autofree gchar *word = g_strconcat (" ", name, " ", NULL);
    g_autofree gchar *quoted = pt_params_quote (name);

    if (*name == '\0' || strchr (name, ' ') != NULL ||
        strstr (operator->attributes, word) == NULL)
      return pt_onnx_refuse (self, error, "found attribute %s, expected of"
          "%s", quoted, operator->attributes);
    if (attribute->ref_attr_name != NULL && *attribute->ref_attr_name != '\0')
      return pt_onnx_refuse (self, error, "found attribute %s of a function, "
          "expected a value", quoted);
  }
  return TRUE;
}

static gboolean
model_check_inputs (const OnnxImport *self, GError **error)
{
  for (gsize i = 0; i < self->node->n_input; i++) {
    const gchar *name = self->node->input[i];
    g_autofree gchar *quoted = pt_params_quote (name);

    if (*name != '\0' && !g_hash_table_contains (self->values, name))
      return pt_onnx_refuse (self, error, "found input %s, which nothing above "
          "makes, expected nodes in order, without cycles", quoted);
  }
  return TRUE;
}

static gboolean
model_add_node (OnnxImport *self, GError **error)
{
  const gchar *domain = self->node->domain;
  const OnnxOperator *operator = NULL;
  GString *names;

  if (domain == NULL || *domain == '\0' || strcmp (domain, "ai.onnx") == 0) {
    if (strcmp (self->node->op_type, "Constant") == 0)
      return model_add_constant (self, error);
    operator = model_find_operator (self->node->op_type);
  }
  if (operator != NULL)
    return model_check_attributes (self, operator, error) &&
        model_check_inputs (self, error) && operator->func (self, error);
  names = g_string_new (NULL);
  for (const OnnxOperator *at = pt_onnx_ops; at->name; at++)
    g_string_append_printf (names, " %s", at->name);
  for (const OnnxOperator *at = pt_onnx_ops_window; at->name; at++)
    g_string_append_printf (names, " %s", at->name);
  for (const OnnxOperator *at = pt_onnx_ops_join; at->name; at++)
    g_string_append_printf (names, " %s", at->name);
  pt_onnx_refuse (self, error, "found an operator that is not taken, expected "
      "of Constant%s: simplify the model (onnxsim), or write the layers as a "
      "network file", names->str);
  g_string_free (names, TRUE);
  return FALSE;
}

static gboolean
model_add_nodes (OnnxImport *self, GError **error)
{
  g_autofree gboolean *needed = model_mark (self);

  for (gsize i = 0; i < self->graph->n_node; i++) {
    self->node = self->graph->node[i];
    self->number = i;
    if (needed[i] && !model_add_node (self, error))
      return FALSE;
  }
  return TRUE;
}

/* -- output -- */

static gboolean
model_find_output (OnnxImport *self, GError **error)
{
  const gchar *name = self->graph->output[0]->name;
  const OnnxValue *value = g_hash_table_lookup (self->values, name);
  g_autofree gchar *quoted = pt_params_quote (name);

  /* every layer was needed by a later one: the output is the last */
  if (value != NULL && value->constant == NULL &&
      value->layer == (gint) self->network->n_nodes - 1 && value->layer >= 0)
    return TRUE;
  return model_fail (self, error, "found output %s that is %s, expected the "
      "result of the last layer", quoted, value == NULL ? "made by no node" :
      value->constant != NULL ? "constant" : "the input or an earlier layer");
}

/* An input that an operator does not have: its layer would be idle. */
static gboolean
model_check_readers (const OnnxImport *self, GError **error)
{
  const PtNetwork *network = self->network;
  g_autofree gboolean *is_read = g_new0 (gboolean, network->n_nodes);

  for (guint i = 0; i < network->n_nodes; i++)
    for (guint j = 0; j < network->nodes[i].layer->n_inputs; j++)
      if (network->nodes[i].inputs[j] >= 0)
        is_read[network->nodes[i].inputs[j]] = TRUE;
  for (guint i = 0; i + 1 < network->n_nodes; i++)
    if (!is_read[i])
      return model_fail (self, error, "found layer %s, which nothing reads, "
          "expected its operator's reader to take it",
          network->nodes[i].layer->name);
  return TRUE;
}

static gboolean
model_build (OnnxImport *self, GError **error)
{
  if (!model_check_texts (self, error) ||
      !model_add_constants (self, error) || !model_add_input (self, error) ||
      !model_add_nodes (self, error) || !model_find_output (self, error) ||
      !model_check_readers (self, error) ||
      !pt_network_infer (self->network, error))
    return FALSE;
  self->network->initialised = TRUE;
  return TRUE;
}

/* -- a file -- */

/* Those that bind dimensions; all are applied once the layers are there. */
static gboolean
model_apply (OnnxImport *self, const gchar *const *settings, GError **error)
{
  const PtParam *params = pt_settings_get_params ("network");

  for (guint i = 0; settings != NULL && settings[i] != NULL; i++) {
    g_autofree gchar *group = NULL;
    g_autofree gchar *key = NULL;
    const gchar *value;

    if (!pt_setting_cut (settings[i], &group, &key, &value, error))
      return FALSE;
    if (g_str_equal (group, "network") && !pt_params_set (params,
            &self->network->settings, key, value, self->path, error))
      return FALSE;
  }
  return TRUE;
}

/* The key file's sizes, where the model has others of its own. */
static gboolean
model_resize (PtNetwork *network, const gint *given, GError **error)
{
  static const gchar *const keys[] = { "width", "height", "channels" };
  const gint *now[] = { &network->settings.width, &network->settings.height,
    &network->settings.channels
  };

  for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
    if (given[i] != 0 && given[i] != *now[i]) {
      g_autofree gchar *text = g_strdup_printf ("%d", given[i]);

      if (!pt_network_set (network, "network", keys[i], text, error))
        return FALSE;
    }
  return TRUE;
}

/* Those in the model, those in the key file, those given. */
static gboolean
model_take_settings (OnnxImport *self, const Onnx__ModelProto *model,
    const gchar *keys, gsize n_keys, const gchar *const *settings,
    GError **error)
{
  PtNetwork *network = self->network;
  gboolean read;

  if (!pt_onnx_take_settings (network, model, error))
    return FALSE;
  g_free (network->origin);
  network->origin = g_strconcat (self->path, ".cfg", NULL);
  read = keys == NULL ||
      pt_config_parse_settings (network, keys, n_keys, error);
  g_free (network->origin);
  network->origin = g_strdup (self->path);
  return read && model_apply (self, settings, error);
}

static PtNetwork *
model_read (const guint8 *data, gsize size, const gchar *path,
    const gchar *keys, gsize n_keys, const gchar *const *settings,
    GHashTable *constants, GError **error)
{
  g_autoptr (PtNetwork) network = pt_network_new_empty (path);
  OnnxImport self = {.network = network,.path = path,.constants = constants };
  PtSettings *s = &network->settings;
  Onnx__ModelProto *model = NULL;
  gboolean done = FALSE;
  gint given[3];

  s->channels = 0;
  if (!pt_onnx_guard (data, size, path, error))
    return NULL;
  model = onnx__model_proto__unpack (NULL, size, data);
  if (model == NULL || model->graph == NULL)
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read the ONNX "
        "model: found %s, expected a model as onnx.save() writes it", path,
        model ? "no graph" : "other bytes");
  else if (model_take_settings (&self, model, keys, n_keys, settings, error)
      && model_find_opset (&self, model, error)) {
    memcpy (given, (gint[]) { s->width, s->height, s->channels },
        sizeof given);
    self.graph = model->graph;
    self.values = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);
    self.uses = g_hash_table_new (g_str_hash, g_str_equal);
    self.names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
    self.made = g_ptr_array_new_with_free_func (g_free);
    done = model_build (&self, error) &&
        pt_onnx_take_options (network, model, error);
    g_hash_table_unref (self.values);
    g_hash_table_unref (self.uses);
    g_hash_table_unref (self.names);
    g_ptr_array_unref (self.made);
  }
  if (model != NULL)
    onnx__model_proto__free_unpacked (model, NULL);
  return done && model_resize (network, given, error) ?
      g_steal_pointer (&network) : NULL;
}

PtNetwork *
pt_onnx_parse (const guint8 *data, gsize size, const gchar *path,
    const gchar *const *settings, GHashTable *constants, GError **error)
{
  return model_read (data, size, path, NULL, 0, settings, constants, error);
}

static gboolean
model_get_contents (const gchar *path, gint64 most, gchar **data, gsize *size,
    GError **error)
{
  g_autoptr (GError) reason = NULL;
  GStatBuf about;

  if (g_stat (path, &about) != 0)
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: %s",
        path, g_strerror (errno));
  else if (!S_ISREG (about.st_mode) || about.st_size > most)
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: found "
        "%s, expected a regular file of at most %" G_GINT64_FORMAT " bytes",
        path, S_ISREG (about.st_mode) ? "a larger file" : "no regular file",
        most);
  else if (g_file_get_contents (path, data, size, &reason))
    return TRUE;
  else
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: %s",
        path, reason->message);
  return FALSE;
}

PtNetwork *
pt_onnx_load (const gchar *path, const gchar *const *settings, GError **error)
{
  g_autofree gchar *beside = g_strconcat (path, ".cfg", NULL);
  g_autofree gchar *keys = NULL;
  g_autofree gchar *data = NULL;
  gsize n_keys = 0, size;

  if (!model_get_contents (path, MODEL_MAX_FILE, &data, &size, error) ||
      (g_file_test (beside, G_FILE_TEST_EXISTS) &&
          !model_get_contents (beside, 1 << 20, &keys, &n_keys, error)))
    return NULL;
  return model_read ((const guint8 *) data, size, path, keys, n_keys, settings,
      NULL, error);
}
