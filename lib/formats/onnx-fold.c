/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

#include <string.h>

/* Nodes that have a value before any frame comes. */

#define FOLD_MAX_INPUTS 64

/* Elements of one ConstantOfShape, which takes no memory by itself. */
#define FOLD_MAX_FILL (1 << 28)

gboolean
pt_onnx_fold_axis (const OnnxImport *self, guint rank, gint64 axis,
    guint *place, GError **error)
{
  if (axis < -(gint64) rank || axis >= rank)
    return pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT
        " of %u dimensions, expected one that is there", axis, rank);
  *place = axis < 0 ? axis + rank : axis;
  return TRUE;
}

gboolean
pt_onnx_fold_list (const OnnxImport *self, const OnnxArray *in, guint n_in,
    guint i, const gchar *name, gint64 since, gint64 *values, guint *n,
    GError **error)
{
  if (self->opset < since)
    return pt_onnx_get_list (self, i, name, since, values, n, error);
  *n = 0;
  if (i >= n_in || in[i].type == 0)
    return TRUE;
  if (in[i].rank > 1 || in[i].n > ONNX_MAX_DIMS ||
      pt_onnx_type_is_float (in[i].type))
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " numbers of"
        " data type %d in input %u, expected a list of at most %d integers",
        in[i].n, in[i].type, i, ONNX_MAX_DIMS);
  for (*n = 0; *n < in[i].n; (*n)++)
    values[*n] = in[i].cells[*n].i;
  return TRUE;
}

static const OnnxFold *
fold_find (const gchar *name)
{
  const OnnxFold *const tables[] = {
    pt_onnx_folds_math, pt_onnx_folds_move, pt_onnx_folds_reduce,
    pt_onnx_folds_scatter
  };

  for (guint i = 0; i < G_N_ELEMENTS (tables); i++)
    for (const OnnxFold *at = tables[i]; at->name != NULL; at++)
      if (strcmp (at->name, name) == 0)
        return at;
  return NULL;
}

static gboolean
fold_is_constant (const OnnxImport *self)
{
  gboolean any = FALSE;

  for (gsize i = 0; i < self->node->n_input; i++) {
    const OnnxValue *value = pt_onnx_get_input (self, i);

    if (value != NULL && value->constant == NULL)
      return FALSE;
    any |= value != NULL;
  }
  return any;
}

static gboolean
fold_read (OnnxImport *self, OnnxArray *in, guint n, GError **error)
{
  for (guint i = 0; i < n; i++) {
    const OnnxValue *value = pt_onnx_get_input (self, i);

    if (value != NULL &&
        !pt_onnx_array_read (self, value->constant, &in[i], error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
fold_run (OnnxImport *self, const OnnxFold *fold, GError **error)
{
  const guint n = self->node->n_input;
  g_autofree OnnxArray *in = NULL;
  OnnxArray out = { 0 };
  gboolean done;

  if (!pt_onnx_check_attributes (self, fold->attributes, error) ||
      !pt_onnx_count_inputs (self, fold->low, MIN (fold->high,
              FOLD_MAX_INPUTS), error))
    return FALSE;
  in = g_new0 (OnnxArray, n);
  done = fold_read (self, in, n, error);
  for (guint i = 0; i < fold->low && done; i++)
    if (in[i].type == 0)
      done = pt_onnx_refuse (self, error, "input %u is missing", i);
  done = done && fold->func (self, in, n, &out, error) &&
      pt_onnx_array_name (self, 0, &out, error);
  pt_onnx_array_clear (&out);
  for (guint i = 0; i < n; i++)
    pt_onnx_array_clear (&in[i]);
  return done;
}

/* -- shapes of what comes from the picture -- */

static gboolean
fold_name_ints (OnnxImport *self, const gint64 *values, gint64 n, guint rank,
    GError **error)
{
  OnnxArray out = { 0 };
  gboolean done = pt_onnx_array_init (self, &out,
      ONNX__TENSOR_PROTO__DATA_TYPE__INT64, &n, rank, error);

  for (gint64 i = 0; i < n && done; i++)
    out.cells[i].i = values[i];
  done = done && pt_onnx_array_name (self, 0, &out, error);
  pt_onnx_array_clear (&out);
  return done;
}

static gint64
fold_clamp (gint64 place, guint rank)
{
  return CLAMP (place < 0 ? place + rank : place, 0, (gint64) rank);
}

static gboolean
fold_shape (OnnxImport *self, const gint64 *dims, guint rank, GError **error)
{
  const gint64 start = fold_clamp (pt_onnx_get_int (self, "start", 0), rank);
  const gint64 end = fold_clamp (pt_onnx_get_int (self, "end", rank), rank);

  return pt_onnx_check_attributes (self, " start end ", error) &&
      fold_name_ints (self, dims + start, MAX (end - start, 0), 1, error);
}

static gboolean
fold_size (OnnxImport *self, const gint64 *dims, guint rank, GError **error)
{
  gint64 n = 1;

  for (guint i = 0; i < rank; i++)
    n *= dims[i];
  return fold_name_ints (self, &n, 1, 0, error);
}

static gboolean
fold_measure (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_get_input (self, 0);
  gint64 dims[ONNX_MAX_DIMS], n;
  guint rank;

  if (x == NULL)
    return pt_onnx_refuse (self, error, "input 0 is missing");
  rank = x->rank;
  if (x->constant == NULL)
    pt_onnx_get_dims (self, x, dims);
  else if (!pt_onnx_tensor_get_dims (self, x->constant, dims, &rank, &n,
          error))
    return FALSE;
  return (g_str_equal (self->node->op_type, "Shape") ? fold_shape :
      fold_size) (self, dims, rank, error);
}

/* -- Constant: a tensor, or numbers that become one -- */

static gboolean
fold_constant (OnnxImport *self, GError **error)
{
  const Onnx__AttributeProto *attribute =
      self->node->n_attribute == 1 ? self->node->attribute[0] : NULL;
  Onnx__TensorProto tensor;
  gint64 n;
  guint rank;

  if (attribute == NULL || self->node->n_output != 1)
    return pt_onnx_refuse (self, error, "found %" G_GSIZE_FORMAT " attributes "
        "and %" G_GSIZE_FORMAT " outputs, expected one of each",
        self->node->n_attribute, self->node->n_output);
  if (attribute->t != NULL)
    return pt_onnx_tensor_name (self, 0, attribute->t, attribute->t->dims,
        attribute->t->n_dims, error);
  onnx__tensor_proto__init (&tensor);
  tensor.has_data_type = TRUE;
  /* of several kinds of value the whole numbers count */
  if (attribute->n_ints || attribute->has_i) {
    tensor.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    rank = attribute->n_ints > 0;
    n = tensor.n_int64_data = attribute->n_ints ? attribute->n_ints : 1;
    tensor.int64_data = attribute->n_ints ? attribute->ints :
        (gint64 *) &attribute->i;
  } else {
    tensor.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    rank = attribute->n_floats > 0;
    n = tensor.n_float_data = attribute->n_floats ? attribute->n_floats :
        (gsize) attribute->has_f;
    tensor.float_data = attribute->n_floats ? attribute->floats :
        (gfloat *) &attribute->f;
  }
  if (n == 0)
    return pt_onnx_refuse (self, error, "found another kind of value, "
        "expected numbers");
  return pt_onnx_tensor_name (self, 0, &tensor, &n, rank, error);
}

/* -- ConstantOfShape: one number, again and again -- */

static gboolean
fold_fill (OnnxImport *self, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "value");
  gint64 dims[ONNX_MAX_DIMS], value_dims[ONNX_MAX_DIMS], n = 1, n_values;
  static gfloat zero = 0;
  Onnx__TensorProto tensor;
  guint rank, value_rank;

  onnx__tensor_proto__init (&tensor);
  tensor.has_data_type = TRUE;
  tensor.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
  tensor.n_float_data = 1;
  tensor.float_data = &zero;
  if (attribute != NULL && attribute->t != NULL)
    tensor = *attribute->t;
  if (!pt_onnx_need_ints (self, 0, dims, &rank, error) || (tensor.n_dims > 0 &&
          !pt_onnx_tensor_get_dims (self, &tensor, value_dims, &value_rank,
              &n_values, error)))
    return FALSE;
  if (tensor.n_dims > 0 && n_values != 1)
    return pt_onnx_refuse (self, error, "found a value of %" G_GINT64_FORMAT
        " elements, expected one", n_values);
  for (guint i = 0; i < rank; i++) {
    if (dims[i] < 0 || (dims[i] > 0 && n > FOLD_MAX_FILL / dims[i]))
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " as "
          "dimension %u, expected at least 0 and at most %d elements in all",
          dims[i], i, FOLD_MAX_FILL);
    n *= dims[i];
  }
  tensor.doc_string = (gchar *) pt_onnx_splat;
  return pt_onnx_tensor_name (self, 0, &tensor, dims, rank, error);
}

gboolean
pt_onnx_fold (OnnxImport *self, gboolean *done, GError **error)
{
  const gchar *type = self->node->op_type;
  const OnnxFold *fold;

  *done = TRUE;
  if (g_str_equal (type, "Constant"))
    return fold_constant (self, error);
  if (g_str_equal (type, "Shape") || g_str_equal (type, "Size"))
    return fold_measure (self, error);
  if (g_str_equal (type, "ConstantOfShape") && fold_is_constant (self))
    return pt_onnx_check_attributes (self, " value ", error) &&
        fold_fill (self, error);
  fold = fold_is_constant (self) ? fold_find (type) : NULL;
  *done = fold != NULL;
  return fold == NULL || fold_run (self, fold, error);
}
