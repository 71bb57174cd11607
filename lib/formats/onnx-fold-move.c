/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

#include <math.h>
#include <string.h>

/* Constants cut, joined and put into another shape. */

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__ ## name

/* A way through the cells of an array, one axis of the result each. */
typedef struct
{
  guint rank;
  gint64 dims[2 * ONNX_MAX_DIMS];
  gint64 strides[2 * ONNX_MAX_DIMS];
  gint64 start;
} View;

/* @out, whose elements are those of the view in order. */
static void
move_copy (const OnnxArray *in, const View *view, OnnxArray *out)
{
  gint64 place[2 * ONNX_MAX_DIMS] = { 0 }, at = view->start;

  for (gint64 i = 0; i < out->n; i++) {
    out->cells[i] = in->cells[at];
    for (guint axis = view->rank; axis-- > 0;) {
      at += view->strides[axis];
      if (++place[axis] < view->dims[axis])
        break;
      at -= place[axis] * view->strides[axis];
      place[axis] = 0;
    }
  }
}

static gboolean
move_take (OnnxImport *self, const OnnxArray *in, const View *view,
    OnnxArray *out, GError **error)
{
  if (!pt_onnx_array_init (self, out, in->type, view->dims, view->rank, error))
    return FALSE;
  move_copy (in, view, out);
  return TRUE;
}

/* -- one shape for another -- */

static gboolean
move_reshape_to (OnnxImport *self, const OnnxArray *in, const gint64 *dims,
    guint rank, OnnxArray *out, GError **error)
{
  if (!pt_onnx_array_init (self, out, in->type, dims, rank, error))
    return FALSE;
  if (out->n != in->n)
    return pt_onnx_refuse (self, error, "found a constant of %" G_GINT64_FORMAT
        " elements, expected %" G_GINT64_FORMAT, in->n, out->n);
  memcpy (out->cells, in->cells, in->n * sizeof *in->cells);
  return TRUE;
}

/* 0 keeps a dimension, -1 is what is left. */
static gboolean
move_reshape (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const gboolean zero = pt_onnx_get_int (self, "allowzero", 0) != 0;
  gint64 dims[ONNX_MAX_DIMS], known = 1;
  guint rank;
  gint open = -1;

  if (!pt_onnx_fold_list (self, in, n, 1, "shape", 5, dims, &rank, error))
    return FALSE;
  for (guint i = 0; i < rank; i++) {
    if (dims[i] == 0 && !zero && i < in->rank)
      dims[i] = in->dims[i];
    if (dims[i] == -1 && open < 0)
      open = i;
    else if (dims[i] < 0 || (dims[i] > 0 && known > PT_MAX_ELEMENTS / dims[i]))
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " as "
          "dimension %u, expected a part of the %" G_GINT64_FORMAT
          " elements, one -1 at most", dims[i], i, in->n);
    else
      known *= dims[i];
  }
  if (open >= 0)
    dims[open] = known ? in->n / known : 0;
  return move_reshape_to (self, in, dims, rank, out, error);
}

static gboolean
move_flatten (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const gint64 axis = pt_onnx_get_int (self, "axis", 1);
  const gint64 cut = axis < 0 ? axis + in->rank : axis;
  gint64 dims[2] = { 1, 1 };

  if (cut < 0 || cut > in->rank)
    return pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT
        " of %u dimensions, expected one that is there", axis, in->rank);
  for (guint i = 0; i < in->rank; i++)
    dims[i >= cut] *= in->dims[i];
  return move_reshape_to (self, in, dims, 2, out, error);
}

/* Which of the @rank axes the list names; each at most once. */
static gboolean
move_mark (const OnnxImport *self, const gint64 *axes, guint n, guint rank,
    gboolean *marks, GError **error)
{
  for (guint i = 0; i < n; i++) {
    guint place;

    if (!pt_onnx_fold_axis (self, rank, axes[i], &place, error))
      return FALSE;
    if (marks[place])
      return pt_onnx_refuse (self, error, "found axis %u twice, expected each "
          "once", place);
    marks[place] = TRUE;
  }
  return TRUE;
}

static gboolean
move_squeeze (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  gboolean marks[ONNX_MAX_DIMS] = { FALSE };
  gint64 axes[ONNX_MAX_DIMS], dims[ONNX_MAX_DIMS];
  guint n_axes, rank = 0;

  if (!pt_onnx_fold_list (self, in, n, 1, "axes", 13, axes, &n_axes, error) ||
      !move_mark (self, axes, n_axes, in->rank, marks, error))
    return FALSE;
  for (guint i = 0; i < in->rank; i++) {
    if (marks[i] && in->dims[i] != 1)
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT
          " elements along axis %u, expected 1", in->dims[i], i);
    if (n_axes > 0 ? !marks[i] : in->dims[i] != 1)
      dims[rank++] = in->dims[i];
  }
  return move_reshape_to (self, in, dims, rank, out, error);
}

static gboolean
move_unsqueeze (OnnxImport *self, const OnnxArray *in, guint n,
    OnnxArray *out, GError **error)
{
  gboolean marks[ONNX_MAX_DIMS] = { FALSE };
  gint64 axes[ONNX_MAX_DIMS], dims[ONNX_MAX_DIMS];
  guint n_axes, next = 0;

  if (!pt_onnx_fold_list (self, in, n, 1, "axes", 13, axes, &n_axes, error))
    return FALSE;
  if (in->rank + n_axes > ONNX_MAX_DIMS)
    return pt_onnx_refuse (self, error, "found %u dimensions, expected at most"
        " %d", in->rank + n_axes, ONNX_MAX_DIMS);
  if (!move_mark (self, axes, n_axes, in->rank + n_axes, marks, error))
    return FALSE;
  for (guint i = 0; i < in->rank + n_axes; i++)
    dims[i] = marks[i] ? 1 : in->dims[next++];
  return move_reshape_to (self, in, dims, in->rank + n_axes, out, error);
}

/* -- views -- */

static gboolean
move_transpose (OnnxImport *self, const OnnxArray *in, guint n,
    OnnxArray *out, GError **error)
{
  const Onnx__AttributeProto *perm = pt_onnx_find (self, "perm");
  gboolean marks[ONNX_MAX_DIMS] = { FALSE };
  gint64 strides[ONNX_MAX_DIMS];
  View view = {.rank = in->rank };

  if (perm != NULL && perm->n_ints != in->rank)
    return pt_onnx_refuse (self, error, "found %" G_GSIZE_FORMAT " axes in "
        "perm, expected %u", perm->n_ints, in->rank);
  if (perm != NULL && !move_mark (self, perm->ints, in->rank, in->rank, marks,
          error))
    return FALSE;
  pt_onnx_array_get_strides (in, strides);
  for (guint i = 0; i < in->rank; i++) {
    const gint64 given = perm ? perm->ints[i] : (gint64) in->rank - 1 - i;
    const guint axis = given < 0 ? given + in->rank : given;

    view.dims[i] = in->dims[axis];
    view.strides[i] = strides[axis];
  }
  return move_take (self, in, &view, out, error);
}

/* Aligned on the right; a size of 1 on either side repeats or stays. */
static gboolean
move_expand (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  gint64 dims[ONNX_MAX_DIMS], strides[ONNX_MAX_DIMS];
  View view = { 0 };
  guint rank;

  if (!pt_onnx_fold_list (self, in, n, 1, "shape", 0, dims, &rank, error))
    return FALSE;
  view.rank = MAX (rank, in->rank);
  pt_onnx_array_get_strides (in, strides);
  for (guint i = 0; i < view.rank; i++) {
    const gint here = (gint) (i + in->rank) - (gint) view.rank;
    const gint there = (gint) (i + rank) - (gint) view.rank;
    const gint64 size = here < 0 ? 1 : in->dims[here];
    const gint64 wanted = there < 0 ? 1 : dims[there];

    if (size != 1 && wanted != 1 && size != wanted)
      return pt_onnx_refuse (self, error, "found size %" G_GINT64_FORMAT
          " along axis %u to be made %" G_GINT64_FORMAT ", expected 1 or the "
          "same", size, i, wanted);
    view.dims[i] = size == 1 ? wanted : size;
    view.strides[i] = size == 1 ? 0 : strides[here];
  }
  return move_take (self, in, &view, out, error);
}

/* As a view of twice the axes: each repeated, then as it is. */
static gboolean
move_tile (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  gint64 repeats[ONNX_MAX_DIMS], dims[ONNX_MAX_DIMS];
  gint64 strides[ONNX_MAX_DIMS];
  View view = {.rank = 2 * in->rank };
  guint rank;

  if (!pt_onnx_fold_list (self, in, n, 1, "repeats", 6, repeats, &rank, error))
    return FALSE;
  if (rank != in->rank)
    return pt_onnx_refuse (self, error, "found %u repeats, expected %u", rank,
        in->rank);
  pt_onnx_array_get_strides (in, strides);
  for (guint i = 0; i < rank; i++) {
    if (repeats[i] < 0 || repeats[i] > PT_MAX_ELEMENTS)
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " repeats "
          "along axis %u, expected at least 0 and a size that can be had",
          repeats[i], i);
    dims[i] = in->dims[i] > 0 && repeats[i] > PT_MAX_ELEMENTS / in->dims[i] ?
        PT_MAX_ELEMENTS + 1 : repeats[i] * in->dims[i];
    view.dims[2 * i] = repeats[i];
    view.dims[2 * i + 1] = in->dims[i];
    view.strides[2 * i + 1] = strides[i];
  }
  if (!pt_onnx_array_init (self, out, in->type, dims, rank, error))
    return FALSE;
  move_copy (in, &view, out);
  return TRUE;
}

/* Cuts axis @axis of the view as Python's [start:end:step]. */
static gboolean
move_cut (const OnnxImport *self, View *view, guint axis, gint64 start,
    gint64 end, gint64 step, GError **error)
{
  const gint64 size = view->dims[axis];
  const gint64 low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;

  if (step == 0 || step < -G_MAXINT32 || step > G_MAXINT32)
    return pt_onnx_refuse (self, error, "found a step of %" G_GINT64_FORMAT
        " along axis %u, expected another", step, axis);
  start = CLAMP (start < 0 ? start + size : start, MAX (low, 0), high);
  end = CLAMP (end < 0 ? end + size : end, low, high);
  view->dims[axis] = step > 0 ? (end - start + step - 1) / step :
      (start - end - step - 1) / -step;
  view->dims[axis] = size == 0 ? 0 : MAX (view->dims[axis], 0);
  view->start += start * view->strides[axis];
  view->strides[axis] *= step;
  return TRUE;
}

static gboolean
move_slice (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  gint64 starts[ONNX_MAX_DIMS], ends[ONNX_MAX_DIMS], axes[ONNX_MAX_DIMS],
      steps[ONNX_MAX_DIMS];
  guint n_starts, n_ends, n_axes, n_steps, axis;
  gboolean marks[ONNX_MAX_DIMS] = { FALSE };
  View view = {.rank = in->rank };

  if (!pt_onnx_fold_list (self, in, n, 1, "starts", 10, starts, &n_starts,
          error) ||
      !pt_onnx_fold_list (self, in, n, 2, "ends", 10, ends, &n_ends, error) ||
      !pt_onnx_fold_list (self, in, n, 3, "axes", 10, axes, &n_axes, error) ||
      !pt_onnx_fold_list (self, in, n, 4, "steps", 10, steps, &n_steps, error))
    return FALSE;
  if (n_ends != n_starts || (n_axes && n_axes != n_starts) ||
      (n_steps && n_steps != n_starts))
    return pt_onnx_refuse (self, error, "found %u starts, %u ends, %u axes and"
        " %u steps, expected as many of each", n_starts, n_ends, n_axes,
        n_steps);
  for (guint i = 0; i < n_starts && n_axes == 0; i++)
    axes[i] = i;
  if (!move_mark (self, axes, n_starts, in->rank, marks, error))
    return FALSE;
  memcpy (view.dims, in->dims, sizeof in->dims);
  pt_onnx_array_get_strides (in, view.strides);
  for (guint i = 0; i < n_starts; i++)
    if (!pt_onnx_fold_axis (self, in->rank, axes[i], &axis, error) ||
        !move_cut (self, &view, axis, starts[i], ends[i],
            n_steps ? steps[i] : 1, error))
      return FALSE;
  return move_take (self, in, &view, out, error);
}

/* -- parts -- */

static gboolean
move_gather (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const OnnxArray *data = &in[0], *indices = &in[1];
  gint64 dims[2 * ONNX_MAX_DIMS], outer = 1, inner = 1;
  guint axis, rank = 0;

  if (pt_onnx_type_is_float (indices->type))
    return pt_onnx_refuse (self, error, "found indices that are floats, "
        "expected integers");
  if (!pt_onnx_fold_axis (self, data->rank, pt_onnx_get_int (self, "axis", 0),
          &axis, error))
    return FALSE;
  for (guint i = 0; i < axis; i++)
    outer *= dims[rank++] = data->dims[i];
  for (guint i = 0; i < indices->rank; i++)
    dims[rank++] = indices->dims[i];
  for (guint i = axis + 1; i < data->rank; i++)
    inner *= dims[rank++] = data->dims[i];
  if (!pt_onnx_array_init (self, out, data->type, dims, rank, error))
    return FALSE;
  for (gint64 j = 0; j < indices->n; j++) {
    const gint64 size = data->dims[axis], given = indices->cells[j].i;
    const gint64 index = given < 0 ? given + size : given;

    if (index < 0 || index >= size)
      return pt_onnx_refuse (self, error, "found index %" G_GINT64_FORMAT
          " along axis %u, expected below its size of %" G_GINT64_FORMAT,
          given, axis, size);
    for (gint64 i = 0; i < outer; i++)
      memcpy (out->cells + (i * indices->n + j) * inner,
          data->cells + (i * size + index) * inner, inner * sizeof *in->cells);
  }
  return TRUE;
}

/* Whether all of @in are of one type and shape, but for axis @axis, whose
 * sizes are added up. */
static gboolean
move_add_up (const OnnxImport *self, const OnnxArray *in, guint n, guint axis,
    gint64 *sum, GError **error)
{
  *sum = 0;
  for (guint i = 0; i < n; i++) {
    gboolean same = in[i].rank == in[0].rank && in[i].type == in[0].type;

    for (guint j = 0; j < in[0].rank && same; j++)
      same = j == axis || in[i].dims[j] == in[0].dims[j];
    if (!same)
      return pt_onnx_refuse (self, error, "found another shape or type in "
          "input %u, expected that of input 0 but for axis %u", i, axis);
    *sum += in[i].dims[axis];
  }
  return TRUE;
}

static gboolean
move_concat (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  gint64 dims[ONNX_MAX_DIMS], outer = 1, row = 0;
  guint axis;

  if (!pt_onnx_fold_axis (self, in->rank, pt_onnx_get_int (self, "axis", 1),
          &axis, error))
    return FALSE;
  memcpy (dims, in->dims, sizeof dims);
  if (!move_add_up (self, in, n, axis, &dims[axis], error) ||
      !pt_onnx_array_init (self, out, in->type, dims, in->rank, error))
    return FALSE;
  for (guint i = 0; i < axis; i++)
    outer *= dims[i];
  for (guint i = 0; i < n; i++) {
    const gint64 part = outer ? in[i].n / outer : 0;

    for (gint64 j = 0; j < outer && part > 0; j++)
      memcpy (out->cells + j * (out->n / outer) + row,
          in[i].cells + j * part, part * sizeof *out->cells);
    row += part;
  }
  return TRUE;
}

/* -- from numbers -- */

static gboolean
move_range (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const gboolean is_float = pt_onnx_type_is_float (in->type);
  gdouble values[3], count;
  gint64 size;

  for (guint i = 0; i < 3; i++) {
    if (in[i].n != 1 || in[i].type != in[0].type)
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT
          " elements of data type %d in input %u, expected one of type %d",
          in[i].n, in[i].type, i, in[0].type);
    values[i] = is_float ? in[i].cells->f : in[i].cells->i;
  }
  count = ceil ((values[1] - values[0]) / values[2]);
  if (!(count < PT_MAX_ELEMENTS))
    return pt_onnx_refuse (self, error, "found a range from %g to %g in steps "
        "of %g, expected an end", values[0], values[1], values[2]);
  size = count > 0 ? count : 0;
  if (!pt_onnx_array_init (self, out, in->type, &size, 1, error))
    return FALSE;
  for (gint64 i = 0; i < size; i++)
    if (is_float)
      out->cells[i].f = pt_onnx_type_round (in->type,
          values[0] + i * values[2]);
    else
      out->cells[i].i = (guint64) in[0].cells->i + (guint64) i *
          in[2].cells->i;
  return TRUE;
}

const OnnxFold pt_onnx_folds_move[] = {
  {"Concat", 1, G_MAXUINT, move_concat, " axis "},
  {"Expand", 2, 2, move_expand, " "},
  {"Flatten", 1, 1, move_flatten, " axis "},
  {"Gather", 2, 2, move_gather, " axis "},
  {"Range", 3, 3, move_range, " "},
  {"Reshape", 2, 2, move_reshape, " allowzero "},
  {"Slice", 1, 5, move_slice, " axes ends starts "},
  {"Squeeze", 1, 2, move_squeeze, " axes "},
  {"Tile", 2, 2, move_tile, " "},
  {"Transpose", 1, 1, move_transpose, " perm "},
  {"Unsqueeze", 1, 2, move_unsqueeze, " axes "},
  {NULL}
};
