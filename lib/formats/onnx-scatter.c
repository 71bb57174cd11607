/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"
#include "formats/onnx-structure.h"

#include <string.h>

/* Operators whose indices, constants, name single elements or slices. What
 * comes out is a choice among the elements of the data and, where there are
 * updates, of those behind them: a table of places says which. */

/* The shape of what is chosen from. */
typedef struct
{
  const gint64 *dims;
  guint rank;
} Data;

static gint64
scatter_count (const gint64 *dims, guint from, guint to)
{
  gint64 n = 1;

  for (guint i = from; i < to; i++)
    n *= dims[i];
  return n;
}

/* Goes on from place @at among those of the axes before to one of axis @axis;
 * -1 with an error if it is not there. */
static gint64
scatter_step (const OnnxImport *self, const Data *data, guint axis, gint64 at,
    gint64 given, GError **error)
{
  const gint64 size = data->dims[axis];
  const gint64 place = given < 0 ? given + size : given;

  if (place >= 0 && place < size)
    return at * size + place;
  pt_onnx_refuse (self, error, "found index %" G_GINT64_FORMAT " along axis %u,"
      " expected below its size of %" G_GINT64_FORMAT, given, axis, size);
  return -1;
}

/* -- tuples of indices, along the last axis of @index -- */

/* Where tuple @i begins to read or write: an element of the data in slices of
 * @slice; @batch axes are the data's own. */
static gint64
scatter_find_slice (const OnnxImport *self, const Data *data,
    const OnnxArray *index, guint batch, gint64 i, GError **error)
{
  const gint64 length = index->dims[index->rank - 1];
  const gint64 each = scatter_count (index->dims, batch, index->rank - 1);
  gint64 at = i / MAX (each, 1);

  for (guint k = 0; k < length && at >= 0; k++)
    at = scatter_step (self, data, batch + k, at,
        index->cells[i * length + k].i, error);
  return at;
}

static gboolean
scatter_check_tuples (const OnnxImport *self, const Data *data,
    const OnnxArray *index, gint64 batch, GError **error)
{
  gboolean fits = index->rank >= 1 && batch >= 0 && batch < index->rank &&
      batch + index->dims[index->rank - 1] <= data->rank;

  for (guint i = 0; i < batch && fits; i++)
    fits = index->dims[i] == data->dims[i];
  return fits || pt_onnx_refuse (self, error, "found indices of %u dimensions "
      "for data of %u, expected tuples no longer than those", index->rank,
      data->rank);
}

static gboolean
scatter_gather_nd (OnnxImport *self, const Data *data, const OnnxArray *index,
    OnnxArray *places, GError **error)
{
  const gint64 batch = pt_onnx_get_int (self, "batch_dims", 0);
  gint64 dims[2 * ONNX_MAX_DIMS], slice;
  guint rank, first;

  if (!scatter_check_tuples (self, data, index, batch, error))
    return FALSE;
  first = batch + index->dims[index->rank - 1];
  rank = index->rank - 1;
  memcpy (dims, index->dims, rank * sizeof *dims);
  for (guint i = first; i < data->rank; i++)
    dims[rank++] = data->dims[i];
  slice = scatter_count (data->dims, first, data->rank);
  if (!pt_onnx_array_init (self, places, ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
          dims, rank, error))
    return FALSE;
  for (gint64 i = 0; i < places->n; i += slice) {
    const gint64 at = scatter_find_slice (self, data, index, batch, i / slice,
        error);

    if (at < 0)
      return FALSE;
    for (gint64 k = 0; k < slice; k++)
      places->cells[i + k].i = at * slice + k;
  }
  return TRUE;
}

/* The data as it is, to be written over. */
static gboolean
scatter_begin (OnnxImport *self, const Data *data, OnnxArray *places,
    GError **error)
{
  if (!pt_onnx_is_text (self, "reduction", "none", "none"))
    return pt_onnx_refuse (self, error, "found updates that are added up, "
        "expected reduction=none");
  if (!pt_onnx_array_init (self, places, ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
          data->dims, data->rank, error))
    return FALSE;
  for (gint64 i = 0; i < places->n; i++)
    places->cells[i].i = i;
  return TRUE;
}

static gboolean
scatter_nd (OnnxImport *self, const Data *data, const OnnxArray *index,
    OnnxArray *places, GError **error)
{
  gint64 slice, n;

  if (!scatter_check_tuples (self, data, index, 0, error) ||
      !scatter_begin (self, data, places, error))
    return FALSE;
  slice = scatter_count (data->dims, index->dims[index->rank - 1], data->rank);
  n = scatter_count (index->dims, 0, index->rank - 1);
  for (gint64 i = 0; i < n; i++) {
    const gint64 at = scatter_find_slice (self, data, index, 0, i, error);

    if (at < 0)
      return FALSE;
    for (gint64 k = 0; k < slice; k++)
      places->cells[at * slice + k].i = places->n + i * slice + k;
  }
  return TRUE;
}

/* -- an index for each element, along one axis -- */

/* The element that number @i of @index names; its other coordinates are those
 * it has there. */
static gint64
scatter_find_element (const OnnxImport *self, const Data *data,
    const OnnxArray *index, guint axis, gint64 i, GError **error)
{
  gint64 coordinates[ONNX_MAX_DIMS], rest = i, at = 0;

  for (guint d = index->rank; d-- > 0; rest /= index->dims[d])
    coordinates[d] = rest % index->dims[d];
  coordinates[axis] = index->cells[i].i;
  for (guint d = 0; d < data->rank && at >= 0; d++)
    at = scatter_step (self, data, d, at, coordinates[d], error);
  return at;
}

static gboolean
scatter_get_axis (const OnnxImport *self, const Data *data,
    const OnnxArray *index, guint *axis, GError **error)
{
  if (index->rank != data->rank)
    return pt_onnx_refuse (self, error, "found indices of %u dimensions for "
        "data of %u, expected as many", index->rank, data->rank);
  return pt_onnx_fold_axis (self, data->rank, pt_onnx_get_int (self, "axis",
          0), axis, error);
}

static gboolean
scatter_gather_elements (OnnxImport *self, const Data *data,
    const OnnxArray *index, OnnxArray *places, GError **error)
{
  guint axis;

  if (!scatter_get_axis (self, data, index, &axis, error) ||
      !pt_onnx_array_init (self, places, ONNX__TENSOR_PROTO__DATA_TYPE__INT64,
          index->dims, index->rank, error))
    return FALSE;
  for (gint64 i = 0; i < index->n; i++) {
    places->cells[i].i = scatter_find_element (self, data, index, axis, i,
        error);
    if (places->cells[i].i < 0)
      return FALSE;
  }
  return TRUE;
}

static gboolean
scatter_elements (OnnxImport *self, const Data *data, const OnnxArray *index,
    OnnxArray *places, GError **error)
{
  guint axis;

  if (!scatter_get_axis (self, data, index, &axis, error) ||
      !scatter_begin (self, data, places, error))
    return FALSE;
  for (gint64 i = 0; i < index->n; i++) {
    const gint64 at = scatter_find_element (self, data, index, axis, i, error);

    if (at < 0)
      return FALSE;
    places->cells[at].i = places->n + i;
  }
  return TRUE;
}

static const struct
{
  const gchar *name;
  gboolean (*func) (OnnxImport *self, const Data *data,
      const OnnxArray *index, OnnxArray *places, GError **error);
  gboolean updates;
} scatter_kinds[] = {
  {"GatherElements", scatter_gather_elements, FALSE},
  {"GatherND", scatter_gather_nd, FALSE},
  {"Scatter", scatter_elements, TRUE},
  {"ScatterElements", scatter_elements, TRUE},
  {"ScatterND", scatter_nd, TRUE},
};

/* The table of the node at hand. */
static gboolean
scatter_find (OnnxImport *self, const Data *data, const OnnxArray *index,
    gint64 n_updates, OnnxArray *places, GError **error)
{
  gint64 most = scatter_count (data->dims, 0, data->rank) + n_updates;
  guint i = 0;

  if (pt_onnx_type_is_float (index->type))
    return pt_onnx_refuse (self, error, "found indices that are floats, "
        "expected integers");
  while (!g_str_equal (scatter_kinds[i].name, self->node->op_type))
    i++;
  if (!scatter_kinds[i].func (self, data, index, places, error))
    return FALSE;
  for (gint64 k = 0; k < places->n; k++)
    if (places->cells[k].i >= most)
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " updates, "
          "expected as many as the indices name", n_updates);
  return TRUE;
}

/* -- of constants alone -- */

static gboolean
scatter_fold (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const Data data = { in[0].dims, in[0].rank };
  const gint64 n_updates = n > 2 ? in[2].n : 0;
  OnnxArray places = { 0 };
  gboolean done = scatter_find (self, &data, &in[1], n_updates, &places,
      error) && pt_onnx_array_init (self, out, in[0].type, places.dims,
      places.rank, error);

  for (gint64 i = 0; done && i < places.n; i++) {
    const gint64 at = places.cells[i].i;

    out->cells[i] = at < in[0].n ? in[0].cells[at] : in[2].cells[at - in[0].n];
  }
  pt_onnx_array_clear (&places);
  return done;
}

const OnnxFold pt_onnx_folds_scatter[] = {
  {"GatherElements", 2, 2, scatter_fold, " axis "},
  {"GatherND", 2, 2, scatter_fold, " batch_dims "},
  {"Scatter", 3, 3, scatter_fold, " axis "},
  {"ScatterElements", 3, 3, scatter_fold, " axis reduction "},
  {"ScatterND", 3, 3, scatter_fold, " reduction "},
  {NULL}
};

/* -- of what comes from the picture -- */

/* Input @i, a layer's output or a constant, as a layer of one row. */
static gint
scatter_get_row (OnnxImport *self, guint i, gint reads, GError **error)
{
  const OnnxValue *x = pt_onnx_get_input (self, i);
  gint layer = x->layer;
  PtShape row = PT_SHAPE (1, 1);
  guint rank;

  if (x->constant != NULL)
    layer = pt_onnx_add_constant (self, x->constant, reads, &rank, error);
  else
    layer = pt_onnx_exact (self, x, error);
  if (layer == ONNX_NO_LAYER)
    return ONNX_NO_LAYER;
  row.dims[1] = pt_shape_get_n_elements (pt_onnx_get_shape (self, layer));
  return pt_onnx_reshape (self, layer, &row, error);
}

/* The data, with the updates behind them, and of that row the @places. */
static gboolean
scatter_add_layers (OnnxImport *self, const OnnxArray *places, gint reads,
    gboolean updates, GError **error)
{
  const OnnxValue none = {.layer = ONNX_NO_LAYER };
  g_autofree gint64 *index = g_new (gint64, MAX (places->n, 1));
  g_autofree gchar *list = NULL, *words = NULL;
  gint rows[2], layer;

  for (guint i = 0; i < (updates ? 2 : 1); i++)
    if ((rows[i] = scatter_get_row (self, 2 * i, reads,
                error)) == ONNX_NO_LAYER)
      return FALSE;
  layer = !updates ? rows[0] :
      pt_onnx_add_layer (self, "concat", rows, 2, "axis=1", error);
  for (gint64 i = 0; i < places->n; i++)
    index[i] = places->cells[i].i;
  list = pt_onnx_print_list ("index", index, places->n);
  words = g_strconcat ("axis=1 ", list, NULL);
  if (layer != ONNX_NO_LAYER)
    layer = pt_onnx_add_layer (self, "index-select", &layer, 1, words, error);
  return layer != ONNX_NO_LAYER && pt_onnx_add_view (self, &none, layer,
      places->dims, places->rank, error);
}

/* The dimensions of input @i, and how many elements that are. */
static gboolean
scatter_get_dims (OnnxImport *self, guint i, gint64 *dims, guint *rank,
    gint64 *n, GError **error)
{
  const OnnxValue *x = pt_onnx_get_input (self, i);

  if (x->constant != NULL)
    return pt_onnx_tensor_get_dims (self, x->constant, dims, rank, n, error);
  pt_onnx_get_dims (self, x, dims);
  *rank = x->rank;
  *n = scatter_count (dims, 0, x->rank);
  return TRUE;
}

static gboolean
scatter_run (OnnxImport *self, GError **error)
{
  const gboolean updates = g_str_has_prefix (self->node->op_type, "Scatter");
  const Onnx__TensorProto *tensor = pt_onnx_need_constant (self, 1, error);
  gint64 dims[ONNX_MAX_DIMS], others[ONNX_MAX_DIMS], n, n_updates = 0;
  OnnxArray index = { 0 }, places = { 0 };
  Data data = { dims };
  gint reads = PT_NETWORK_INPUT;
  gboolean done;
  guint rank;

  if (tensor == NULL ||
      !pt_onnx_count_inputs (self, 2 + updates, 2 + updates, error))
    return FALSE;
  for (guint i = 0; i < self->node->n_input; i++) {
    const OnnxValue *x = pt_onnx_get_input (self, i);

    if (x == NULL)
      return pt_onnx_refuse (self, error, "input %u is missing", i);
    if (x->constant == NULL)
      reads = x->layer;
  }
  done = pt_onnx_array_read (self, tensor, &index, error) &&
      scatter_get_dims (self, 0, dims, &data.rank, &n, error) && (!updates ||
      scatter_get_dims (self, 2, others, &rank, &n_updates, error)) &&
      scatter_find (self, &data, &index, n_updates, &places, error) &&
      scatter_add_layers (self, &places, reads, updates, error);
  pt_onnx_array_clear (&index);
  pt_onnx_array_clear (&places);
  return done;
}

const OnnxOperator pt_onnx_ops_scatter[] = {
  {"GatherElements", scatter_run, " axis "},
  {"GatherND", scatter_run, " batch_dims "},
  {"Scatter", scatter_run, " axis "},
  {"ScatterElements", scatter_run, " axis reduction "},
  {"ScatterND", scatter_run, " reduction "},
  {NULL}
};
