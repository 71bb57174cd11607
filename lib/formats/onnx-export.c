/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include "formats/file-replace.h"
#include "formats/onnx.h"

#include <string.h>

/* protobuf counts bytes in an int32. */
#define EXPORT_MAX_BYTES G_MAXINT32
/* That of opset 20. */
#define EXPORT_IR_VERSION 9

const gchar *const pt_onnx_layer_options[] = { "lr_scale", "learned", NULL };

OnnxExport *
pt_onnx_export_new (const gchar *path)
{
  OnnxExport *self = g_new0 (OnnxExport, 1);

  self->made = g_ptr_array_new_with_free_func (g_free);
  self->nodes = g_ptr_array_new ();
  self->initializers = g_ptr_array_new ();
  self->names = g_hash_table_new (g_str_hash, g_str_equal);
  self->path = pt_onnx_make_text (self, path);
  onnx__graph_proto__init (&self->graph);
  return self;
}

void
pt_onnx_export_free (OnnxExport *self)
{
  if (self == NULL)
    return;
  g_ptr_array_unref (self->nodes);
  g_ptr_array_unref (self->initializers);
  g_hash_table_unref (self->names);
  g_ptr_array_unref (self->made);
  g_free (self);
}

const OnnxWriter *
pt_onnx_find_writer (const gchar *kind)
{
  const OnnxWriter *const tables[] = {
    pt_onnx_writers, pt_onnx_writers_activation, pt_onnx_writers_shape,
    pt_onnx_writers_math, pt_onnx_writers_norm
  };

  for (guint i = 0; i < G_N_ELEMENTS (tables); i++)
    for (const OnnxWriter *at = tables[i]; at->kind != NULL; at++)
      if (strcmp (at->kind, kind) == 0)
        return at;
  return NULL;
}

/* -- inputs and outputs -- */

static Onnx__ValueInfoProto *
export_make_value (OnnxExport *self, const gchar *name, const PtShape *shape)
{
  Onnx__ValueInfoProto *value = pt_onnx_make (self, sizeof *value);
  Onnx__TypeProto *type = pt_onnx_make (self, sizeof *type);
  Onnx__TypeProto__Tensor *tensor = pt_onnx_make (self, sizeof *tensor);
  Onnx__TensorShapeProto *dims = pt_onnx_make (self, sizeof *dims);

  onnx__value_info_proto__init (value);
  onnx__type_proto__init (type);
  onnx__type_proto__tensor__init (tensor);
  onnx__tensor_shape_proto__init (dims);
  value->name = (gchar *) name;
  value->type = type;
  type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  type->tensor_type = tensor;
  tensor->has_elem_type = TRUE;
  tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->shape = dims;
  dims->n_dim = shape->n_dims;
  dims->dim = pt_onnx_make (self, shape->n_dims * sizeof *dims->dim);
  for (guint i = 0; i < shape->n_dims; i++) {
    dims->dim[i] = pt_onnx_make (self, sizeof **dims->dim);
    onnx__tensor_shape_proto__dimension__init (dims->dim[i]);
    dims->dim[i]->value_case =
        ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    dims->dim[i]->dim_value = shape->dims[i];
  }
  return value;
}

/* One more of the few that there are. */
static void
export_append (OnnxExport *self, Onnx__ValueInfoProto *value, gsize *n,
    Onnx__ValueInfoProto ***list)
{
  Onnx__ValueInfoProto **longer =
      pt_onnx_make (self, (*n + 1) * sizeof *longer);

  if (*n > 0)
    memcpy (longer, *list, *n * sizeof *longer);
  longer[(*n)++] = value;
  *list = longer;
}

const gchar *
pt_onnx_export_add_input (OnnxExport *self, const gchar *name,
    const PtShape *shape)
{
  const gchar *unique = pt_onnx_make_name (self, name);

  export_append (self, export_make_value (self, unique, shape),
      &self->graph.n_input, &self->graph.input);
  return unique;
}

void
pt_onnx_export_add_output (OnnxExport *self, const gchar *name,
    const PtShape *shape)
{
  export_append (self, export_make_value (self, name, shape),
      &self->graph.n_output, &self->graph.output);
}

/* -- layers -- */

static void
export_add_weight (OnnxExport *self, guint i, PtTensor *weight)
{
  Onnx__TensorProto *tensor = pt_onnx_make (self, sizeof *tensor);

  onnx__tensor_proto__init (tensor);
  tensor->name = (gchar *) self->weights[i];
  tensor->has_data_type = TRUE;
  tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor->n_dims = self->weight_shapes[i].n_dims;
  tensor->dims = pt_onnx_make (self, sizeof self->weight_shapes[i].dims);
  memcpy (tensor->dims, self->weight_shapes[i].dims,
      sizeof self->weight_shapes[i].dims);
  tensor->has_raw_data = TRUE;
  tensor->raw_data.len = weight->size;
  tensor->raw_data.data = weight->data;
  g_ptr_array_add (self->initializers, tensor);
}

static gboolean
export_is_read (const OnnxExport *self, guint first_node, const gchar *name)
{
  for (guint i = first_node; i < self->nodes->len; i++) {
    const Onnx__NodeProto *node = g_ptr_array_index (self->nodes, i);

    for (gsize j = 0; j < node->n_input; j++)
      if (node->input[j] == name)
        return TRUE;
  }
  return FALSE;
}

const gchar *
pt_onnx_export_layer (OnnxExport *self, const PtLayer *layer,
    const gchar *const *inputs, PtTensor *const *weights, const gchar *output,
    GError **error)
{
  const OnnxWriter *writer = pt_onnx_find_writer (layer->kind->name);
  const guint first = self->nodes->len;
  Onnx__NodeProto *last;

  self->layer = layer;
  self->writer = writer;
  self->main = NULL;
  self->last = inputs[0];
  if (writer == NULL || writer->func == NULL) {
    pt_onnx_export_fail (self, error, "found a kind that %s",
        writer ? writer->reason : "has no writer");
    return NULL;
  }
  memcpy (self->inputs, inputs, layer->n_inputs * sizeof *inputs);
  for (guint i = 0; i < layer->n_weights; i++) {
    g_autofree gchar *name =
        g_strdup_printf ("%s.%s", layer->name, layer->weights[i].name);

    self->weights[i] = pt_onnx_make_name (self, name);
    self->weight_shapes[i] = layer->weights[i].shape;
  }
  if (!writer->func (self, error))
    return NULL;
  for (guint i = 0; i < layer->n_weights; i++)
    if (export_is_read (self, first, self->weights[i]))
      export_add_weight (self, i, weights[i]);
  self->main->name = pt_onnx_make_text (self, layer->name);
  last = g_ptr_array_index (self->nodes, self->nodes->len - 1);
  last->output[0] = (gchar *) (output ? output :
      pt_onnx_make_name (self, layer->name));
  return last->output[0];
}

/* -- settings -- */

/* What differs from the default, as "partime.GROUP.KEY". */
static void
export_add_settings (OnnxExport *self, GPtrArray *props, const gchar *group,
    const PtParam *params, gconstpointer options, const gchar *const *keys)
{
  for (const PtParam *p = params; p->key != NULL; p++) {
    g_autofree gchar *value = pt_params_get (params, options, p->key);
    g_autofree gchar *key =
        g_strconcat (ONNX_EXPORT_PREFIX, group, ".", p->key, NULL);
    Onnx__StringStringEntryProto *entry;

    if ((keys != NULL && !g_strv_contains (keys, p->key)) ||
        pt_params_is_default (params, options, p->key))
      continue;
    entry = pt_onnx_make (self, sizeof *entry);
    onnx__string_string_entry_proto__init (entry);
    entry->key = pt_onnx_make_text (self, key);
    entry->value = pt_onnx_make_text (self, value);
    g_ptr_array_add (props, entry);
  }
}

/* The shape has the sizes, and devices are those of this machine. */
static void
export_add_all_settings (OnnxExport *self, GPtrArray *props,
    PtNetwork *network)
{
  static const gchar *const input[] =
      { "frames", "mean", "std", "resize", NULL };

  export_add_settings (self, props, "network",
      pt_settings_get_params ("network"), &network->settings, input);
  export_add_settings (self, props, "learning",
      pt_settings_get_params ("learning"), &network->settings, NULL);
  export_add_settings (self, props, "output",
      pt_settings_get_params ("output"), &network->settings, NULL);
  for (guint i = 0; i < network->n_nodes; i++)
    export_add_settings (self, props, network->nodes[i].layer->name,
        network->nodes[i].layer->kind->params,
        network->nodes[i].layer->options, pt_onnx_layer_options);
}

static gchar *
export_describe (OnnxExport *self, PtNetwork *network)
{
  const PtSettings *s = &network->settings;
  gchar mean[G_ASCII_DTOSTR_BUF_SIZE], std[G_ASCII_DTOSTR_BUF_SIZE];
  g_autofree gchar *text = g_strdup_printf ("input: %d frame%s of %d channel%s"
      " (%s) along axis 1, newest last, values (pixel / 255 - mean) / std with "
      "mean=%s std=%s; output: %s", s->frames, s->frames == 1 ? "" : "s",
      s->channels, s->channels == 1 ? "" : "s", s->channels == 3 ? "R, G, B" :
      s->channels == 1 ? "luma" : "tensors", g_ascii_formatd (mean,
          sizeof mean, "%.10g", s->mean), g_ascii_formatd (std, sizeof std,
          "%.10g", s->std), s->kind);

  return pt_onnx_make_text (self, text);
}

/* -- the model -- */

GBytes *
pt_onnx_export_pack (OnnxExport *self, PtNetwork *network, GError **error)
{
  g_autoptr (GPtrArray) props = g_ptr_array_new ();
  Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT;
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  guint8 *data;
  gsize size;

  opset.domain = (gchar *) "";
  opset.has_version = TRUE;
  opset.version = ONNX_EXPORT_OPSET;
  model.has_ir_version = TRUE;
  model.ir_version = EXPORT_IR_VERSION;
  model.producer_name = (gchar *) "partimefilter";
  model.producer_version = (gchar *) PT_VERSION;
  model.n_opset_import = 1;
  model.opset_import = &(Onnx__OperatorSetIdProto *) { &opset };
  model.graph = &self->graph;
  self->graph.name = (gchar *) "network";
  self->graph.n_node = self->nodes->len;
  self->graph.node = (gpointer) self->nodes->pdata;
  self->graph.n_initializer = self->initializers->len;
  self->graph.initializer = (gpointer) self->initializers->pdata;
  if (network != NULL) {
    export_add_all_settings (self, props, network);
    model.doc_string = export_describe (self, network);
    model.n_metadata_props = props->len;
    model.metadata_props = (gpointer) props->pdata;
  }
  size = onnx__model_proto__get_packed_size (&model);
  data = g_try_malloc (size);
  if (data == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY, "%s: cannot write the "
        "ONNX model: found no memory for its %" G_GSIZE_FORMAT " bytes",
        self->path, size);
    return NULL;
  }
  onnx__model_proto__pack (&model, data);
  return g_bytes_new_take (data, size);
}

/* Before there is memory for them. */
static gboolean
export_check_size (PtNetwork *network, const gchar *path, GError **error)
{
  gdouble bytes = 0;

  for (guint i = 0; i < network->n_nodes; i++) {
    const PtLayer *layer = network->nodes[i].layer;

    /* besides its weights a layer has names and numbers */
    bytes += 4096;
    for (guint j = 0; j < layer->n_weights; j++)
      bytes += pt_shape_get_n_elements (&layer->weights[j].shape) *
          (gdouble) sizeof (gfloat);
  }
  if (bytes <= EXPORT_MAX_BYTES)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "%s: cannot write the "
      "ONNX model: found %.0f bytes of weights, expected at most the %d that "
      "a protobuf file may have: write them as OUT.safetensors", path, bytes,
      EXPORT_MAX_BYTES);
  return FALSE;
}

/* What @node is called as output, if it is one. */
static const gchar *
export_find_output (const PtNetwork *network, guint node,
    const gchar *const *outputs)
{
  for (guint i = 0; i < network->n_outputs; i++)
    if (network->outputs[i].node == node)
      return outputs[i];
  return NULL;
}

/* @value as output @name; one with a second name is copied. */
static void
export_add_named (OnnxExport *self, const gchar *name, const gchar *value,
    const PtShape *shape)
{
  Onnx__NodeProto *copy;

  if (name != value) {
    copy = pt_onnx_write (self, "Identity", value, NULL);
    copy->name = copy->output[0] = (gchar *) name;
  }
  pt_onnx_export_add_output (self, name, shape);
}

GBytes *
pt_onnx_export_network (PtNetwork *network, const gchar *path, GError **error)
{
  g_autoptr (OnnxExport) self = pt_onnx_export_new (path);
  g_autofree const gchar **values = g_new0 (const gchar *, network->n_nodes);
  g_autofree const gchar **outputs =
      g_new0 (const gchar *, network->n_outputs);
  const gchar *inputs[PT_OP_MAX_INPUTS];
  const gchar *input;

  if (!export_check_size (network, path, error) ||
      !pt_network_need_weights (network, error))
    return NULL;
  input = pt_onnx_export_add_input (self, "input", &network->input);
  for (guint i = 0; i < network->n_outputs; i++)
    outputs[i] = pt_onnx_make_name (self, network->outputs[i].name);
  for (guint i = 0; i < network->n_nodes; i++) {
    const PtNode *node = &network->nodes[i];

    for (guint j = 0; j < node->layer->n_inputs; j++)
      inputs[j] = node->inputs[j] == PT_NETWORK_INPUT ? input :
          values[node->inputs[j]];
    values[i] = pt_onnx_export_layer (self, node->layer, inputs,
        node->weights, export_find_output (network, i, outputs), error);
    if (values[i] == NULL)
      return NULL;
  }
  for (guint i = 0; i < network->n_outputs; i++)
    export_add_named (self, outputs[i], values[network->outputs[i].node],
        pt_network_get_output_shape_at (network, i));
  return pt_onnx_export_pack (self, network, error);
}

gboolean
pt_onnx_save (PtNetwork *network, const gchar *path, GError **error)
{
  g_autoptr (GBytes) bytes = pt_onnx_export_network (network, path, error);
  PtFilePart part;

  if (bytes == NULL)
    return FALSE;
  part.data = g_bytes_get_data (bytes, &part.size);
  return pt_file_replace (path, &part, 1, NULL, NULL, error);
}
