/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

#include <math.h>
#include <string.h>

/* Constants while they are worked out. */

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__ ## name

/* A tensor that no model holds. */
typedef struct
{
  Onnx__TensorProto tensor;
  gint64 dims[ONNX_MAX_DIMS];
  gpointer data;
} Made;

const gchar pt_onnx_splat[] = "splat";

gboolean
pt_onnx_type_is_float (gint type)
{
  return type == TYPE (FLOAT) || type == TYPE (DOUBLE) ||
      type == TYPE (FLOAT16) || type == TYPE (BFLOAT16);
}

gboolean
pt_onnx_type_holds (gint type, gint64 value)
{
  switch (type) {
    case TYPE (BOOL):
      return value == 0 || value == 1;
    case TYPE (INT8):
      return value == (gint8) value;
    case TYPE (UINT8):
      return value == (guint8) value;
    case TYPE (INT16):
      return value == (gint16) value;
    case TYPE (UINT16):
      return value == (guint16) value;
    case TYPE (INT32):
      return value == (gint32) value;
    case TYPE (UINT32):
      return value == (guint32) value;
    case TYPE (UINT64):
      return value >= 0;
    default:
      return TRUE;
  }
}

/* To @digits binary places, ties to even; none below 2^@least. */
static gdouble
type_round_to (gdouble value, gint digits, gint least, gdouble most)
{
  gdouble step, rounded;
  gint exponent;

  if (value == 0 || !isfinite (value))
    return value;
  frexp (value, &exponent);
  step = ldexp (1, MAX (exponent - digits, least));
  rounded = rint (value / step) * step;
  return fabs (rounded) > most ? copysign (INFINITY, value) : rounded;
}

gdouble
pt_onnx_type_round (gint type, gdouble value)
{
  switch (type) {
    case TYPE (DOUBLE):
      return value;
    case TYPE (FLOAT16):
      return type_round_to (value, 11, -24, 65504);
    case TYPE (BFLOAT16):
      return type_round_to (value, 8, -133, G_MAXFLOAT);
    default:
      return (gfloat) value;
  }
}

gboolean
pt_onnx_array_init (OnnxImport *self, OnnxArray *array, gint type,
    const gint64 *dims, guint rank, GError **error)
{
  const gint64 most = self->fold_left;
  gint64 n = 1;

  if (rank > ONNX_MAX_DIMS)
    return pt_onnx_refuse (self, error, "found a constant of %u dimensions, "
        "expected at most %d", rank, ONNX_MAX_DIMS);
  for (guint i = 0; i < rank; i++) {
    if (dims[i] < 0 || (dims[i] > 0 && n > most / dims[i]))
      return pt_onnx_refuse (self, error, "found a constant whose dimension %u"
          " is %" G_GINT64_FORMAT ", expected at least 0 and at most %"
          G_GINT64_FORMAT " elements in all", i, dims[i], most);
    n *= dims[i];
  }
  array->cells = n > most ? NULL : g_try_new0 (OnnxCell, MAX (n, 1));
  if (array->cells == NULL)
    return pt_onnx_refuse (self, error, "no memory for %" G_GINT64_FORMAT
        " elements of a constant", n);
  self->fold_left -= n;
  array->type = type;
  array->rank = rank;
  array->n = n;
  memcpy (array->dims, dims, rank * sizeof *dims);
  return TRUE;
}

void
pt_onnx_array_clear (OnnxArray *array)
{
  g_clear_pointer (&array->cells, g_free);
}

void
pt_onnx_array_get_strides (const OnnxArray *array, gint64 *strides)
{
  gint64 stride = 1;

  for (guint i = array->rank; i-- > 0;) {
    strides[i] = stride;
    stride *= array->dims[i];
  }
}

/* -- as tensors -- */

static void
made_free (gpointer data)
{
  Made *made = data;

  g_free (made->data);
  g_free (made);
}

/* @made becomes a value, owned by the import. */
static gboolean
made_name (OnnxImport *self, guint i, Made *made, const gint64 *dims,
    guint rank, GError **error)
{
  const OnnxValue value = {.constant = &made->tensor,.rank = rank };

  if (self->made == NULL)
    self->made = g_ptr_array_new_with_free_func (made_free);
  g_ptr_array_add (self->made, made);
  if (rank > ONNX_MAX_DIMS)
    return pt_onnx_refuse (self, error, "found a tensor of %u dimensions, "
        "expected at most %d", rank, ONNX_MAX_DIMS);
  if (rank > 0)
    memcpy (made->dims, dims, rank * sizeof *dims);
  made->tensor.dims = made->dims;
  made->tensor.n_dims = rank;
  if (self->node->n_output <= i)
    return pt_onnx_refuse (self, error, "found no output, expected one");
  return pt_onnx_add_value (self, self->node->output[i], &value, error);
}

gboolean
pt_onnx_tensor_name (OnnxImport *self, guint i,
    const Onnx__TensorProto *tensor, const gint64 *dims, guint rank,
    GError **error)
{
  Made *made = g_new0 (Made, 1);

  made->tensor = *tensor;
  return made_name (self, i, made, dims, rank, error);
}

/* Floats as float; what int32_data holds as its own type, all else as int64. */
static gint
made_pick_type (gint type)
{
  if (pt_onnx_type_is_float (type))
    return TYPE (FLOAT);
  return type == TYPE (UINT32) || type == TYPE (UINT64) ? TYPE (INT64) : type;
}

static gboolean
made_fill (Made *made, const OnnxArray *array)
{
  const gint type = made_pick_type (array->type);
  const gsize n = MAX (array->n, 1);
  Onnx__TensorProto *tensor = &made->tensor;

  onnx__tensor_proto__init (tensor);
  tensor->has_data_type = TRUE;
  tensor->data_type = type;
  if (type == TYPE (FLOAT)) {
    tensor->n_float_data = array->n;
    made->data = tensor->float_data = g_try_new (gfloat, n);
    for (gint64 i = 0; made->data != NULL && i < array->n; i++)
      tensor->float_data[i] = array->cells[i].f;
  } else if (type == TYPE (INT64)) {
    tensor->n_int64_data = array->n;
    made->data = tensor->int64_data = g_try_new (gint64, n);
    for (gint64 i = 0; made->data != NULL && i < array->n; i++)
      tensor->int64_data[i] = array->cells[i].i;
  } else {
    tensor->n_int32_data = array->n;
    made->data = tensor->int32_data = g_try_new (gint32, n);
    for (gint64 i = 0; made->data != NULL && i < array->n; i++)
      tensor->int32_data[i] = array->cells[i].i;
  }
  return made->data != NULL;
}

gboolean
pt_onnx_array_name (OnnxImport *self, guint i, const OnnxArray *array,
    GError **error)
{
  Made *made = g_new0 (Made, 1);

  if (made_fill (made, array))
    return made_name (self, i, made, array->dims, array->rank, error);
  g_free (made);
  return pt_onnx_refuse (self, error, "no memory for %" G_GINT64_FORMAT
      " elements of a constant", array->n);
}
