/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* What the node at hand says. */

gboolean
pt_onnx_refuse (const OnnxImport *self, GError **error, const gchar *format,
    ...)
{
  const Onnx__NodeProto *node = self->node;
  const gchar *name = node->name && *node->name ? node->name :
      node->n_output && *node->output[0] ? node->output[0] : "without a name";
  g_autofree gchar *quoted = pt_params_quote (name);
  g_autofree gchar *type = pt_params_quote (node->op_type);
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "%s: node %u %s of "
      "operator %s: %s", self->path, self->number, quoted, type, message);
  return FALSE;
}

const Onnx__AttributeProto *
pt_onnx_find (const OnnxImport *self, const gchar *name)
{
  for (gsize i = 0; i < self->node->n_attribute; i++) {
    const Onnx__AttributeProto *attribute = self->node->attribute[i];

    if (attribute->name != NULL && strcmp (attribute->name, name) == 0)
      return attribute;
  }
  return NULL;
}

gint64
pt_onnx_get_int (const OnnxImport *self, const gchar *name, gint64 missing)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, name);

  return attribute != NULL && attribute->has_i ? attribute->i : missing;
}

/* The shortest decimal that is the float: 0.1, not 0.10000000149. */
static gdouble
node_widen (gfloat x)
{
  gchar text[G_ASCII_DTOSTR_BUF_SIZE];

  for (guint digits = 6; digits <= 9; digits++) {
    gchar format[8];

    g_snprintf (format, sizeof format, "%%.%ug", digits);
    g_ascii_formatd (text, sizeof text, format, x);
    if ((gfloat) g_ascii_strtod (text, NULL) == x)
      break;
  }
  return g_ascii_strtod (text, NULL);
}

gdouble
pt_onnx_get_float (const OnnxImport *self, const gchar *name, gdouble missing)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, name);

  return attribute != NULL && attribute->has_f ?
      node_widen (attribute->f) : missing;
}

gboolean
pt_onnx_is_text (const OnnxImport *self, const gchar *name, const gchar *text,
    const gchar *missing)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, name);

  if (attribute == NULL || !attribute->has_s)
    return g_str_equal (text, missing);
  return attribute->s.len == strlen (text) &&
      memcmp (attribute->s.data, text, attribute->s.len) == 0;
}

gboolean
pt_onnx_get_sizes (const OnnxImport *self, const gchar *name, gint64 *values,
    guint n, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, name);

  if (attribute == NULL)
    return TRUE;
  if (attribute->n_ints != n)
    return pt_onnx_refuse (self, error, "attribute %s: found %" G_GSIZE_FORMAT
        " numbers, expected %u", name, attribute->n_ints, n);
  for (guint i = 0; i < n; i++) {
    if (attribute->ints[i] < 0 || attribute->ints[i] > 1000000)
      return pt_onnx_refuse (self, error, "attribute %s: found %"
          G_GINT64_FORMAT ", expected 0 to 1000000", name, attribute->ints[i]);
    values[i] = attribute->ints[i];
  }
  return TRUE;
}

const gchar *
pt_onnx_find_tensor (const OnnxImport *self, const gchar *name)
{
  for (gsize i = 0; i < self->graph->n_output; i++)
    if (g_str_equal (self->graph->output[i]->name, name))
      return self->graph->output[i]->name;
  for (gsize i = 0; i < self->graph->n_node; i++)
    for (gsize j = 0; j < self->graph->node[i]->n_output; j++)
      if (*name != '\0' && g_str_equal (self->graph->node[i]->output[j], name))
        return self->graph->node[i]->output[j];
  return NULL;
}

const OnnxValue *
pt_onnx_get_input (const OnnxImport *self, guint i)
{
  if (i >= self->node->n_input || *self->node->input[i] == '\0')
    return NULL;
  return g_hash_table_lookup (self->values, self->node->input[i]);
}

const OnnxValue *
pt_onnx_need_layer (const OnnxImport *self, guint i, guint low, guint high,
    GError **error)
{
  const OnnxValue *value = pt_onnx_get_input (self, i);

  if (value == NULL)
    pt_onnx_refuse (self, error, "input %u is missing", i);
  else if (value->constant != NULL)
    pt_onnx_refuse (self, error, "found constant input %u, expected what "
        "comes from the picture: simplify the model (onnxsim)", i);
  else if (value->rank < low || value->rank > high)
    pt_onnx_refuse (self, error, "found %u dimensions in input %u, expected "
        "%u to %u", value->rank, i, low, high);
  else
    return value;
  return NULL;
}

const Onnx__TensorProto *
pt_onnx_need_constant (const OnnxImport *self, guint i, GError **error)
{
  const OnnxValue *value = pt_onnx_get_input (self, i);

  if (value != NULL && value->constant != NULL)
    return value->constant;
  pt_onnx_refuse (self, error, value == NULL ? "input %u is missing" :
      "found input %u worked out from the picture, expected a constant: "
      "simplify the model (onnxsim)", i);
  return NULL;
}

gboolean
pt_onnx_need_ints (const OnnxImport *self, guint i, gint64 *values, guint *n,
    GError **error)
{
  const Onnx__TensorProto *tensor = pt_onnx_need_constant (self, i, error);
  gint64 dims[ONNX_MAX_DIMS], count;
  g_autofree gint64 *data = NULL;
  guint n_dims;

  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims,
          &count, error))
    return FALSE;
  if (n_dims > 1 || count > ONNX_MAX_DIMS)
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT
        " numbers in input %u, expected a list of at most %d", count, i,
        ONNX_MAX_DIMS);
  data = pt_onnx_tensor_get_ints (self, tensor, error);
  if (data == NULL)
    return FALSE;
  memcpy (values, data, count * sizeof *data);
  *n = count;
  return TRUE;
}

gboolean
pt_onnx_get_list (const OnnxImport *self, guint i, const gchar *name,
    gint64 since, gint64 *values, guint *n, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, name);

  *n = 0;
  if (self->opset >= since)
    return i >= self->node->n_input || *self->node->input[i] == '\0' ||
        pt_onnx_need_ints (self, i, values, n, error);
  if (attribute == NULL)
    return TRUE;
  if (attribute->n_ints > ONNX_MAX_DIMS)
    return pt_onnx_refuse (self, error, "attribute %s: found %" G_GSIZE_FORMAT
        " numbers, expected at most %d", name, attribute->n_ints,
        ONNX_MAX_DIMS);
  *n = attribute->n_ints;
  if (*n > 0)
    memcpy (values, attribute->ints, *n * sizeof *values);
  return TRUE;
}

gboolean
pt_onnx_check_attributes (const OnnxImport *self, const gchar *names,
    GError **error)
{
  for (gsize i = 0; i < self->node->n_attribute; i++) {
    const Onnx__AttributeProto *attribute = self->node->attribute[i];
    const gchar *name = attribute->name ? attribute->name : "";
    g_autofree gchar *word = g_strconcat (" ", name, " ", NULL);
    g_autofree gchar *quoted = pt_params_quote (name);

    if (*name == '\0' || strchr (name, ' ') != NULL ||
        strstr (names, word) == NULL)
      return pt_onnx_refuse (self, error, "found attribute %s, expected of"
          "%s", quoted, names);
    if (attribute->ref_attr_name != NULL && *attribute->ref_attr_name != '\0')
      return pt_onnx_refuse (self, error, "found attribute %s of a function, "
          "expected a value", quoted);
  }
  return TRUE;
}

gboolean
pt_onnx_count_inputs (const OnnxImport *self, guint low, guint high,
    GError **error)
{
  const gsize n = self->node->n_input;

  if (n >= low && n <= high)
    return TRUE;
  return pt_onnx_refuse (self, error, "found %" G_GSIZE_FORMAT " inputs, "
      "expected %u to %u", n, low, high);
}

gint64
pt_onnx_get_axis (const OnnxValue *value, gint64 axis)
{
  return axis < 0 ? axis + value->rank : axis;
}

gint
pt_onnx_need_axis (const OnnxImport *self, const OnnxValue *value, gint64 axis,
    GError **error)
{
  const gint64 place = pt_onnx_get_axis (value, axis);

  if (place < 0 || place >= value->rank)
    pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT " of %u "
        "dimensions, expected one that is there", axis, value->rank);
  else if (place == 0 && self->batch > 1)
    pt_onnx_refuse (self, error, "found axis 0, expected one that does not "
        "mix the %" G_GINT64_FORMAT " frames of the batch", self->batch);
  else
    return place;
  return -1;
}
