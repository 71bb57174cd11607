/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-structure.h"

#include <string.h>

/* Operators that move and select elements, none of which is computed. */

gchar *
pt_onnx_print_list (const gchar *key, const gint64 *values, guint n)
{
  GString *text = g_string_new (key);

  for (guint i = 0; i < n; i++)
    g_string_append_printf (text, "%c%" G_GINT64_FORMAT, i ? ';' : '=',
        values[i]);
  return g_string_free (text, FALSE);
}

const OnnxValue *
pt_onnx_need_exact (OnnxImport *self, guint i, guint low, gint *layer,
    gint64 dims[PT_MAX_DIMS], GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, i, low, PT_MAX_DIMS, error);

  if (x == NULL)
    return NULL;
  *layer = pt_onnx_exact (self, x, error);
  pt_onnx_get_dims (self, x, dims);
  return *layer == ONNX_NO_LAYER ? NULL : x;
}

gboolean
pt_onnx_add_reader (OnnxImport *self, const gchar *kind, gint input,
    const gchar *words, guint rank, GError **error)
{
  const gint layer = pt_onnx_add_layer (self, kind, &input, 1, words, error);

  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, rank,
      error);
}

/* -- shapes -- */

gboolean
pt_onnx_add_view (OnnxImport *self, const OnnxValue *x, gint layer,
    const gint64 *dims, guint n, GError **error)
{
  PtShape shape = {.n_dims = MAX (n, 1),.dims = {1} };
  OnnxValue same = *x;
  gint view;

  if (n > PT_MAX_DIMS)
    return pt_onnx_refuse (self, error, "found %u dimensions, expected at "
        "most %d", n, PT_MAX_DIMS);
  for (guint i = 0; i < n; i++)
    shape.dims[i] = dims[i];
  if (self->batch > 1 && (n == 0 || dims[0] != self->batch))
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " as the "
        "first dimension, expected the %" G_GINT64_FORMAT " frames of the "
        "batch", n ? dims[0] : 0, self->batch);
  if (self->batch > 1)
    shape.dims[0] = 1;
  view = pt_onnx_reshape (self, layer, &shape, error);
  if (view == ONNX_NO_LAYER)
    return FALSE;
  if (view != x->layer)
    return pt_onnx_set_output (self, view, n, error);
  same.rank = n;
  return pt_onnx_pass (self, &same, error);
}

static gboolean
structure_flatten (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  gint64 dims[PT_MAX_DIMS], target[] = { 1, 1 };
  gint64 axis;

  if (x == NULL)
    return FALSE;
  axis = pt_onnx_get_axis (x, pt_onnx_get_int (self, "axis", 1));
  if (axis < 0 || axis > x->rank)
    return pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT " of %u "
        "dimensions, expected one that is there", axis, x->rank);
  pt_onnx_get_dims (self, x, dims);
  for (guint i = 0; i < x->rank; i++)
    target[i < axis ? 0 : 1] *= dims[i];
  return pt_onnx_add_view (self, x, x->layer, target, 2, error);
}

/* 0 keeps a dimension, -1 is what is left. */
static gboolean
structure_resolve (OnnxImport *self, const gint64 dims[PT_MAX_DIMS],
    guint rank, gint64 *target, guint n, GError **error)
{
  const gboolean keeps = pt_onnx_get_int (self, "allowzero", 0) == 0;
  gint64 all = 1, known = 1;
  gint open = -1;

  for (guint i = 0; i < rank; i++)
    all *= dims[i];
  for (guint i = 0; i < n; i++) {
    if (target[i] == 0 && keeps && i < rank)
      target[i] = dims[i];
    if (target[i] == -1 && open < 0)
      open = i;
    else if (target[i] < 1 || target[i] > all / known)
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " as "
          "dimension %u, expected a part of the %" G_GINT64_FORMAT
          " elements, one -1 at most", target[i], i, all);
    else
      known *= target[i];
  }
  if (open >= 0)
    target[open] = all / known;
  if (known * (open >= 0 ? target[open] : 1) == all)
    return TRUE;
  return pt_onnx_refuse (self, error, "found another number of elements, "
      "expected the %" G_GINT64_FORMAT " of input 0", all);
}

static gboolean
structure_reshape (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  gint64 target[ONNX_MAX_DIMS], dims[PT_MAX_DIMS];
  guint n = 0;

  if (x == NULL || !pt_onnx_need_ints (self, 1, target, &n, error))
    return FALSE;
  pt_onnx_get_dims (self, x, dims);
  return structure_resolve (self, dims, x->rank, target, n, error) &&
      pt_onnx_add_view (self, x, x->layer, target, n, error);
}

gboolean
pt_onnx_mark_axes (OnnxImport *self, const gint64 *axes, guint n, guint rank,
    gboolean *marked, GError **error)
{
  memset (marked, 0, rank * sizeof *marked);
  for (guint i = 0; i < n; i++) {
    const gint64 axis = axes[i] < 0 ? axes[i] + rank : axes[i];

    if (axis < 0 || axis >= rank || marked[axis])
      return pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT
          ", expected axes of %u dimensions, each once", axes[i], rank);
    marked[axis] = TRUE;
  }
  return TRUE;
}

static gboolean
structure_squeeze (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  gboolean marked[PT_MAX_DIMS];
  gint64 axes[ONNX_MAX_DIMS], dims[PT_MAX_DIMS];
  guint n, left = 0;

  if (x == NULL || !pt_onnx_get_list (self, 1, "axes", 13, axes, &n, error) ||
      !pt_onnx_mark_axes (self, axes, n, x->rank, marked, error))
    return FALSE;
  pt_onnx_get_dims (self, x, dims);
  for (guint i = 0; i < x->rank; i++) {
    if (marked[i] && dims[i] != 1)
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " as "
          "dimension %u, expected 1 to leave out", dims[i], i);
    if (n > 0 ? !marked[i] : dims[i] != 1)
      dims[left++] = dims[i];
  }
  return pt_onnx_add_view (self, x, x->layer, dims, left, error);
}

static gboolean
structure_unsqueeze (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  gboolean marked[PT_MAX_DIMS + ONNX_MAX_DIMS];
  gint64 axes[ONNX_MAX_DIMS], dims[PT_MAX_DIMS];
  gint64 target[PT_MAX_DIMS + ONNX_MAX_DIMS];
  guint n, from = 0;

  if (x == NULL || !pt_onnx_get_list (self, 1, "axes", 13, axes, &n, error) ||
      !pt_onnx_mark_axes (self, axes, n, x->rank + n, marked, error))
    return FALSE;
  pt_onnx_get_dims (self, x, dims);
  for (guint i = 0; i < x->rank + n; i++)
    target[i] = marked[i] ? 1 : dims[from++];
  return pt_onnx_add_view (self, x, x->layer, target, x->rank + n, error);
}

static gboolean
structure_transpose (OnnxImport *self, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "perm");
  gint64 dims[PT_MAX_DIMS], perm[PT_MAX_DIMS];
  g_autofree gchar *words = NULL;
  gboolean same = TRUE;
  gint layer;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 1, &layer, dims, error);

  if (x == NULL)
    return FALSE;
  if (attribute != NULL && attribute->n_ints != x->rank)
    return pt_onnx_refuse (self, error, "attribute perm: found %"
        G_GSIZE_FORMAT " numbers, expected %u", attribute->n_ints, x->rank);
  for (guint i = 0; i < x->rank; i++) {
    perm[i] = attribute != NULL ? attribute->ints[i] : x->rank - 1 - i;
    same &= perm[i] == i;
  }
  if (same)
    return pt_onnx_pass (self, x, error);
  if (perm[0] != 0 && self->batch > 1)
    return pt_onnx_need_axis (self, x, 0, error) >= 0;
  words = pt_onnx_print_list ("perm", perm, x->rank);
  return pt_onnx_add_reader (self, "transpose", layer, words, x->rank, error);
}

/* -- more -- */

static gboolean
structure_expand (OnnxImport *self, GError **error)
{
  gint64 dims[PT_MAX_DIMS], shape[ONNX_MAX_DIMS], target[PT_MAX_DIMS];
  g_autofree gchar *words = NULL;
  gboolean same = TRUE;
  guint n = 0, rank;
  gint layer;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 0, &layer, dims, error);

  if (x == NULL || !pt_onnx_need_ints (self, 1, shape, &n, error))
    return FALSE;
  rank = MAX (MAX (n, x->rank), 1);
  if (rank > PT_MAX_DIMS)
    return pt_onnx_refuse (self, error, "found %u dimensions, expected at "
        "most %d", rank, PT_MAX_DIMS);
  for (guint i = 0; i < rank; i++) {
    const guint from = rank - x->rank, more = rank - n;
    const gint64 have = i < from ? 1 : dims[i - from];
    const gint64 want = i < more ? 1 : shape[i - more];

    if (want < 1 || (have != want && have != 1 && want != 1))
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " for "
          "dimension %u of %" G_GINT64_FORMAT ", expected the same or a 1",
          want, i, have);
    target[i] = MAX (have, want);
    same &= target[i] == have;
  }
  if (same && MAX (n, x->rank) == x->rank)
    return pt_onnx_pass (self, x, error);
  if (self->batch > 1 && (rank != x->rank || target[0] != self->batch))
    return pt_onnx_need_axis (self, x, 0, error) >= 0;
  if (self->batch > 1)
    target[0] = 1;
  words = pt_onnx_print_list ("shape", target, rank);
  return pt_onnx_add_reader (self, "expand", layer, words, rank, error);
}

static gboolean
structure_depth_to_space (OnnxImport *self, GError **error)
{
  const gboolean crd = pt_onnx_is_text (self, "mode", "CRD", "DCR");
  g_autofree gchar *words =
      g_strdup_printf ("upscale_factor=%" G_GINT64_FORMAT " order=%s",
      pt_onnx_get_int (self, "blocksize", 0), crd ? "crd" : "dcr");
  gint64 dims[PT_MAX_DIMS];
  gint layer;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 4, &layer, dims, error);

  if (x == NULL)
    return FALSE;
  if (!crd && !pt_onnx_is_text (self, "mode", "DCR", "DCR"))
    return pt_onnx_refuse (self, error, "attribute mode: found another word, "
        "expected DCR or CRD");
  return pt_onnx_add_reader (self, "pixel-shuffle", layer, words, x->rank,
      error);
}

static gboolean
structure_space_to_depth (OnnxImport *self, GError **error)
{
  g_autofree gchar *words = g_strdup_printf ("downscale_factor=%"
      G_GINT64_FORMAT " order=dcr", pt_onnx_get_int (self, "blocksize", 0));
  gint64 dims[PT_MAX_DIMS];
  gint layer;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 4, &layer, dims, error);

  return x != NULL && pt_onnx_add_reader (self, "pixel-unshuffle", layer, words,
      x->rank, error);
}

const OnnxOperator pt_onnx_ops_structure[] = {
  {"DepthToSpace", structure_depth_to_space, " blocksize mode "},
  {"Expand", structure_expand, ""},
  {"Flatten", structure_flatten, " axis "},
  {"Reshape", structure_reshape, " allowzero "},
  {"SpaceToDepth", structure_space_to_depth, " blocksize "},
  {"Squeeze", structure_squeeze, " axes "},
  {"Transpose", structure_transpose, " perm "},
  {"Unsqueeze", structure_unsqueeze, " axes "},
  {NULL}
};
