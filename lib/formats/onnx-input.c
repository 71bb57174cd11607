/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* The one input that changes from frame to frame, and its dimensions. */

#define INPUT_MAX_SIZE 65536

enum
{
  CHANNELS = 1,
  HEIGHT,
  WIDTH,
};

typedef Onnx__TensorShapeProto Shape;

static const Onnx__ValueInfoProto *
input_find (const OnnxImport *self, GError **error)
{
  const Onnx__ValueInfoProto *found = NULL;

  for (gsize i = 0; i < self->graph->n_input; i++) {
    const Onnx__ValueInfoProto *input = self->graph->input[i];
    g_autofree gchar *quoted = NULL;

    if (g_hash_table_contains (self->values, input->name))
      continue;
    if (found == NULL) {
      found = input;
      continue;
    }
    quoted = pt_params_quote (input->name);
    pt_onnx_fail (self, error, "found a second input %s, expected one, the "
        "picture: make the others initializers", quoted);
    return NULL;
  }
  if (found == NULL)
    pt_onnx_fail (self, error, "found no input, expected the picture");
  return found;
}

static const Shape *
input_get_shape (const OnnxImport *self, const Onnx__ValueInfoProto *input,
    GError **error)
{
  g_autofree gchar *quoted = pt_params_quote (input->name);
  const Onnx__TypeProto__Tensor *type = NULL;

  if (input->type != NULL &&
      input->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    type = input->type->tensor_type;
  if (type == NULL || type->shape == NULL || type->shape->n_dim > PT_MAX_DIMS)
    pt_onnx_fail (self, error, "found input %s without a shape of at most %d "
        "dimensions, expected (N, C, H, W)", quoted, PT_MAX_DIMS);
  else
    switch (type->elem_type) {
      case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
      case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
      case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
      case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
        return type->shape;
      default:
        pt_onnx_fail (self, error, "found input %s of data type %d, expected "
            "float", quoted, type->elem_type);
    }
  return NULL;
}

/* -- dimensions -- */

/* network.input-shape, such as 1;3;224;224; 0 where nothing is set. */
static gboolean
input_read_setting (const OnnxImport *self, guint rank, gint64 *sizes,
    GError **error)
{
  const gchar *text = self->network->settings.input_shape;
  g_autofree gchar *quoted = pt_params_quote (text);
  g_auto (GStrv) words = g_strsplit (text, ";", -1);

  memset (sizes, 0, PT_MAX_DIMS * sizeof *sizes);
  if (*text == '\0')
    return TRUE;
  if (g_strv_length (words) != rank)
    return pt_onnx_fail (self, error, "found network.input-shape=%s, expected "
        "the %u sizes of the model's input, separated by ;", quoted, rank);
  for (guint i = 0; i < rank; i++)
    if (!g_ascii_string_to_signed (g_strstrip (words[i]), 10, 1,
            INPUT_MAX_SIZE, &sizes[i], NULL))
      return pt_onnx_fail (self, error, "found network.input-shape=%s, "
          "expected whole numbers of 1 to %d, separated by ;", quoted,
          INPUT_MAX_SIZE);
  return TRUE;
}

/* The setting of an image's dimension; 0 where there is none. */
static gint64
input_get_setting (const OnnxImport *self, guint axis)
{
  const PtSettings *s = &self->network->settings;

  switch (axis) {
    case CHANNELS:
      return (gint64) s->channels * s->frames;
    case HEIGHT:
      return s->height;
    case WIDTH:
      return s->width;
    default:
      return 0;
  }
}

/* Height and width of the frames, for a picture whose own are open; 0 where
 * they are not known. */
static gint64
input_get_open (const OnnxImport *self, guint rank, guint axis)
{
  if (self->open == NULL || rank != 4 || axis < HEIGHT)
    return 0;
  self->open->used = TRUE;
  return axis == HEIGHT ? self->open->height : self->open->width;
}

/* Grey or colour behind what is open. */
static gboolean
input_has_channels_last (const Shape *shape)
{
  const gint64 last = shape->n_dim == 4 ? shape->dim[WIDTH]->dim_value : 0;

  return last == 1 || last == 3;
}

/* What the user says, or the model, or 1 for the batch, or the frames. */
static gboolean
input_bind (const OnnxImport *self, const Shape *shape, guint axis,
    gint64 *size, GError **error)
{
  static const gchar *const keys[] = { "", "channels", "height", "width" };
  const Onnx__TensorShapeProto__Dimension *dim = shape->dim[axis];
  const gint64 given = *size > 0 || shape->n_dim > 4 ? *size :
      input_get_setting (self, axis);

  *size = given;
  if (given > 0)
    return TRUE;
  /* what is below 1 some exporters mean to be open */
  if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE
      && dim->dim_value > 0) {
    *size = dim->dim_value;
    if (*size <= INPUT_MAX_SIZE)
      return TRUE;
    return pt_onnx_fail (self, error, "found %" G_GINT64_FORMAT " as dimension "
        "%u of the input, expected 1 to %d", *size, axis, INPUT_MAX_SIZE);
  }
  *size = axis == 0 ? 1 : input_get_open (self, shape->n_dim, axis);
  if (*size > 0)
    return TRUE;
  if (shape->n_dim > 4)
    return pt_onnx_fail (self, error, "dimension %u of the input is open: set "
        "network.input-shape, in the key file %s.cfg, with --set or with the "
        "element's property settings", axis, self->path);
  if (axis == CHANNELS && input_has_channels_last (shape))
    return pt_onnx_fail (self, error, "found channels last, (N, H, W, %"
        G_GINT64_FORMAT "), expected (N, C, H, W): convert it (tf2onnx "
        "--inputs-as-nchw)", shape->dim[WIDTH]->dim_value);
  return pt_onnx_fail (self, error, "dimension %u of the input is open: set "
      "network.%s, in the key file %s.cfg, with --set or with the element's "
      "property settings", axis, keys[axis], self->path);
}

/* -- the network's input -- */

static gboolean
input_set_size (OnnxImport *self, const gchar *key, gint64 size,
    GError **error)
{
  g_autofree gchar *text = g_strdup_printf ("%" G_GINT64_FORMAT, size);

  return pt_params_set (pt_settings_get_params ("network"),
      &self->network->settings, key, text, self->path, error);
}

static gboolean
input_set_sizes (OnnxImport *self, gint64 channels, gint64 height,
    gint64 width, GError **error)
{
  const gint frames = self->network->settings.frames;

  if (channels % frames != 0)
    return pt_onnx_fail (self, error, "found %" G_GINT64_FORMAT " channels, "
        "expected a multiple of network.frames=%d", channels, frames);
  return input_set_size (self, "channels", channels / frames, error) &&
      input_set_size (self, "height", height, error) &&
      input_set_size (self, "width", width, error) &&
      pt_network_infer (self->network, error);
}

/* All of the batch as one frame: the last two dimensions are rows and columns,
 * those before are channels, until a layer tells them apart. */
static gboolean
input_set_whole (OnnxImport *self, const gint64 *dims, guint rank,
    OnnxValue *value, GError **error)
{
  PtShape shape = {.n_dims = MAX (rank, 1),.dims = {1} };
  gint64 channels = 1;

  self->batch = 1;
  for (guint i = 0; i < rank; i++) {
    shape.dims[i] = dims[i];
    if (i + 2 < rank)
      channels = MIN (channels * dims[i], G_MAXINT32);
  }
  if (!pt_shape_check (&shape, error) || !input_set_sizes (self, channels,
          rank > 1 ? dims[rank - 2] : 1, rank > 0 ? dims[rank - 1] : 1, error))
    return FALSE;
  value->layer = pt_onnx_reshape (self, PT_NETWORK_INPUT, &shape, error);
  return value->layer != ONNX_NO_LAYER;
}

static gboolean
input_set (OnnxImport *self, const Shape *shape, OnnxValue *value,
    GError **error)
{
  const guint rank = shape->n_dim;
  gint64 dims[PT_MAX_DIMS];

  value->rank = rank;
  if (!input_read_setting (self, rank, dims, error))
    return FALSE;
  for (guint i = 0; i < rank; i++)
    if (!input_bind (self, shape, i, &dims[i], error))
      return FALSE;
  if (self->whole || rank == 0 || rank > 4)
    return input_set_whole (self, dims, rank, value, error);
  self->batch = dims[0];
  return input_set_sizes (self, rank > 1 ? dims[1] : 1,
      rank > 2 ? dims[2] : 1, rank > 3 ? dims[3] : 1, error);
}

gboolean
pt_onnx_add_input (OnnxImport *self, GError **error)
{
  const Onnx__ValueInfoProto *input = input_find (self, error);
  const Shape *shape = input ? input_get_shape (self, input, error) : NULL;
  OnnxValue value = {.layer = PT_NETWORK_INPUT };
  Onnx__NodeProto node;
  gboolean done;

  if (shape == NULL)
    return FALSE;
  /* a layer may follow, which is named after it */
  onnx__node_proto__init (&node);
  node.name = input->name;
  node.op_type = "Input";
  self->node = &node;
  done = input_set (self, shape, &value, error) &&
      pt_onnx_add_value (self, input->name, &value, error);
  self->node = NULL;
  return done;
}
