/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <string.h>

/* Zeroed, and freed with the model. */
gpointer
pt_onnx_make (OnnxExport *self, gsize size)
{
  gpointer memory = g_malloc0 (MAX (size, 1));

  g_ptr_array_add (self->made, memory);
  return memory;
}

gchar *
pt_onnx_make_text (OnnxExport *self, const gchar *text)
{
  gchar *copy = g_strdup (text);

  g_ptr_array_add (self->made, copy);
  return copy;
}

gchar *
pt_onnx_make_name (OnnxExport *self, const gchar *name)
{
  g_autofree gchar *unique = g_strdup (name);
  gchar *made;

  for (guint i = 2; g_hash_table_contains (self->names, unique); i++) {
    g_free (unique);
    unique = g_strdup_printf ("%s_%u", name, i);
  }
  made = pt_onnx_make_text (self, unique);
  g_hash_table_add (self->names, made);
  return made;
}

/* "LAYER<mark>WORD", as no other tensor is called. */
static gchar *
node_make_name (OnnxExport *self, const gchar *mark, const gchar *word)
{
  g_autofree gchar *name = g_strconcat (self->layer->name, mark, word, NULL);

  return pt_onnx_make_name (self, name);
}

void
pt_onnx_write_input (OnnxExport *self, Onnx__NodeProto *node,
    const gchar *name)
{
  gchar **inputs =
      pt_onnx_make (self, (node->n_input + 1) * sizeof *node->input);

  if (node->n_input > 0)
    memcpy (inputs, node->input, node->n_input * sizeof *inputs);
  inputs[node->n_input++] = (gchar *) name;
  node->input = inputs;
}

Onnx__NodeProto *
pt_onnx_write (OnnxExport *self, const gchar *operator, ...)
{
  Onnx__NodeProto *node = pt_onnx_make (self, sizeof *node);
  const gchar *input;
  va_list inputs;

  onnx__node_proto__init (node);
  node->op_type = pt_onnx_make_text (self, operator);
  va_start (inputs, operator);
  while ((input = va_arg (inputs, const gchar *)) != NULL)
    pt_onnx_write_input (self, node, input);
  va_end (inputs);
  node->output = pt_onnx_make (self, sizeof *node->output);
  node->output[0] = node_make_name (self, "/", operator);
  node->n_output = 1;
  node->name = node->output[0];
  if (self->main == NULL)
    self->main = node;
  g_ptr_array_add (self->nodes, node);
  self->last = node->output[0];
  return node;
}

static Onnx__AttributeProto *
node_add_attribute (OnnxExport *self, Onnx__NodeProto *node,
    const gchar *name, Onnx__AttributeProto__AttributeType type)
{
  Onnx__AttributeProto *attribute = pt_onnx_make (self, sizeof *attribute);
  Onnx__AttributeProto **list =
      pt_onnx_make (self, (node->n_attribute + 1) * sizeof *list);

  onnx__attribute_proto__init (attribute);
  attribute->name = pt_onnx_make_text (self, name);
  attribute->has_type = TRUE;
  attribute->type = type;
  if (node->n_attribute > 0)
    memcpy (list, node->attribute, node->n_attribute * sizeof *list);
  list[node->n_attribute++] = attribute;
  node->attribute = list;
  return attribute;
}

void
pt_onnx_put_int (OnnxExport *self, Onnx__NodeProto *node, const gchar *name,
    gint64 value)
{
  Onnx__AttributeProto *attribute = node_add_attribute (self, node, name,
      ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

  attribute->has_i = TRUE;
  attribute->i = value;
}

void
pt_onnx_put_ints (OnnxExport *self, Onnx__NodeProto *node, const gchar *name,
    const gint64 *values, guint n)
{
  Onnx__AttributeProto *attribute = node_add_attribute (self, node, name,
      ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);

  attribute->n_ints = n;
  attribute->ints = pt_onnx_make (self, n * sizeof *values);
  memcpy (attribute->ints, values, n * sizeof *values);
}

void
pt_onnx_put_float (OnnxExport *self, Onnx__NodeProto *node, const gchar *name,
    gdouble value)
{
  Onnx__AttributeProto *attribute = node_add_attribute (self, node, name,
      ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

  attribute->has_f = TRUE;
  attribute->f = value;
}

void
pt_onnx_put_text (OnnxExport *self, Onnx__NodeProto *node, const gchar *name,
    const gchar *value)
{
  Onnx__AttributeProto *attribute = node_add_attribute (self, node, name,
      ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);

  attribute->has_s = TRUE;
  attribute->s.data = (guint8 *) pt_onnx_make_text (self, value);
  attribute->s.len = strlen (value);
}

/* -- constants -- */

static const gchar *
node_make_constant (OnnxExport *self, const gchar *name, gint32 type,
    gconstpointer values, gsize size, const gint64 *dims, guint n_dims)
{
  Onnx__TensorProto *tensor = pt_onnx_make (self, sizeof *tensor);

  for (guint i = 0; i < n_dims; i++)
    size *= dims[i];

  onnx__tensor_proto__init (tensor);
  tensor->name = node_make_name (self, ".", name);
  tensor->has_data_type = TRUE;
  tensor->data_type = type;
  tensor->n_dims = n_dims;
  tensor->dims = pt_onnx_make (self, n_dims * sizeof *dims);
  if (n_dims > 0)
    memcpy (tensor->dims, dims, n_dims * sizeof *dims);
  tensor->has_raw_data = TRUE;
  tensor->raw_data.len = size;
  tensor->raw_data.data = pt_onnx_make (self, size);
  if (size > 0)
    memcpy (tensor->raw_data.data, values, size);
  g_ptr_array_add (self->initializers, tensor);
  return tensor->name;
}

const gchar *
pt_onnx_make_ints (OnnxExport *self, const gchar *name, const gint64 *values,
    gint64 n)
{
  return node_make_constant (self, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
      values, sizeof *values, &n, 1);
}

const gchar *
pt_onnx_make_floats (OnnxExport *self, const gchar *name,
    const gfloat *values, const gint64 *dims, guint n_dims)
{
  return node_make_constant (self, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
      values, sizeof *values, dims, n_dims);
}

const gchar *
pt_onnx_make_number (OnnxExport *self, const gchar *name, gdouble value)
{
  return pt_onnx_make_floats (self, name, &(gfloat) { value }, NULL, 0);
}

/* -- options -- */

static gconstpointer
node_find_option (const OnnxExport *self, const gchar *key,
    const PtParam **param)
{
  *param = pt_params_find (self->layer->kind->params, key);
  return *param == NULL ? NULL :
      (const guint8 *) self->layer->options + (*param)->offset;
}

gboolean
pt_onnx_has_option (const OnnxExport *self, const gchar *key)
{
  return pt_params_find (self->layer->kind->params, key) != NULL;
}

guint
pt_onnx_option_doubles (const OnnxExport *self, const gchar *key,
    gdouble *values, guint most)
{
  g_autofree gchar *text = pt_params_get (self->layer->kind->params,
      self->layer->options, key);
  g_auto (GStrv) words = g_strsplit (text != NULL ? text : "", ";", -1);
  guint n = 0;

  for (; words[n] != NULL && n < most; n++)
    values[n] = g_ascii_strtod (words[n], NULL);
  return n;
}

guint
pt_onnx_option_list (const OnnxExport *self, const gchar *key, gint64 *values,
    guint most)
{
  g_autofree gdouble *numbers = g_new (gdouble, most);
  const guint n = pt_onnx_option_doubles (self, key, numbers, most);

  for (guint i = 0; i < n; i++)
    values[i] = numbers[i];
  return n;
}

gint64
pt_onnx_option (const OnnxExport *self, const gchar *key, gint64 missing)
{
  const PtParam *param;
  const gint *place = node_find_option (self, key, &param);

  return place != NULL ? *place : missing;
}

gdouble
pt_onnx_option_double (const OnnxExport *self, const gchar *key,
    gdouble missing)
{
  const PtParam *param;
  const gdouble *place = node_find_option (self, key, &param);

  return place != NULL ? *place : missing;
}

const gchar *
pt_onnx_option_word (const OnnxExport *self, const gchar *key,
    const gchar *missing)
{
  const PtParam *param;
  gconstpointer place = node_find_option (self, key, &param);

  if (place == NULL)
    return missing;
  return param->type == PT_PARAM_ENUM ? param->words[*(const gint *) place] :
      *(gchar * const *) place;
}

gboolean
pt_onnx_option_is (const OnnxExport *self, const gchar *key,
    const gchar *word)
{
  return g_strcmp0 (pt_onnx_option_word (self, key, NULL), word) == 0;
}

gint64
pt_onnx_get_positive (const OnnxExport *self, gint64 axis)
{
  return axis < 0 ? axis + self->layer->inputs[0].n_dims : axis;
}

gint64
pt_onnx_option_axis (const OnnxExport *self, const gchar *key, gint64 missing)
{
  return pt_onnx_get_positive (self, pt_onnx_option (self, key, missing));
}

gboolean
pt_onnx_export_fail (const OnnxExport *self, GError **error,
    const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
      "%s: cannot write layer [%s] (%s) as ONNX: %s", self->path,
      self->layer->name, self->layer->kind->name, message);
  return FALSE;
}
