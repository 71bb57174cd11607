/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <math.h>
#include <string.h>

/* Operators that join, cut and reshape. */

/* -- sums -- */

/* Whether @tensor is a number per channel of @layer's output: its last
 * dimension for 1xF, and (C, 1, 1) for 1xCxHxW. */
static gboolean
join_is_bias (const OnnxImport *self, const OnnxValue *x,
    const Onnx__TensorProto *tensor)
{
  const PtShape *shape = pt_onnx_get_shape (self, x->layer);
  const guint behind = x->rank - 2;
  gint64 dims[ONNX_MAX_DIMS], n;
  guint n_dims;

  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, NULL) ||
      n_dims <= behind || n_dims > x->rank || n != shape->dims[1])
    return FALSE;
  return dims[n_dims - 1 - behind] == n;
}

/* A constant added to a product nobody else reads is its bias. */
static gboolean
join_add_bias (OnnxImport *self, const OnnxValue *x,
    const Onnx__TensorProto *tensor, GError **error)
{
  const PtLayer *layer = x->layer == PT_NETWORK_INPUT ? NULL :
      self->network->nodes[x->layer].layer;
  g_autofree gchar *bias = NULL, *activation = NULL;
  gfloat *data;

  if (layer != NULL && x->alone && x->rank >= 2) {
    bias = pt_params_get (layer->kind->params, layer->options, "bias");
    activation =
        pt_params_get (layer->kind->params, layer->options, "activation");
  }
  if (bias == NULL || !g_str_equal (bias, "false") || activation == NULL ||
      !g_str_equal (activation, "none") || !join_is_bias (self, x, tensor))
    return pt_onnx_refuse (self, error, "found a constant to add that is not "
        "the bias of a Conv or MatMul before it, expected two tensors of one "
        "shape");
  data = pt_onnx_tensor_get_floats (self, tensor, error);
  if (data == NULL)
    return FALSE;
  if (!pt_onnx_set_option (self, x->layer, "bias", "true", error)) {
    g_free (data);
    return FALSE;
  }
  return pt_onnx_set_weight (self, x->layer, 1, data, error) &&
      pt_onnx_pass (self, x, error);
}

/* Layers of the node's inputs, all as rows if one is. */
static gboolean
join_collect (OnnxImport *self, gint *layers, guint n, guint *rank,
    GError **error)
{
  gboolean rows = FALSE;

  for (guint i = 0; i < n; i++) {
    const OnnxValue *x = pt_onnx_need_layer (self, i, 1, 4, error);

    if (x == NULL)
      return FALSE;
    if (i > 0 && x->rank != *rank)
      return pt_onnx_refuse (self, error, "found inputs of %u and %u "
          "dimensions, expected as many in all", *rank, x->rank);
    *rank = x->rank;
    layers[i] = x->layer;
    rows |= pt_onnx_get_shape (self, x->layer)->n_dims == 2;
  }
  for (guint i = 0; i < n && rows; i++) {
    layers[i] = pt_onnx_as_row (self, pt_onnx_get_input (self, i), error);
    if (layers[i] == ONNX_NO_LAYER)
      return FALSE;
  }
  return TRUE;
}

/* A convolution that nobody else reads adds what was there before it itself:
 * the end of ResNet's blocks. */
static gboolean
join_takes (const OnnxImport *self, const OnnxValue *x, const OnnxValue *other)
{
  const PtLayer *layer = x->layer == PT_NETWORK_INPUT ? NULL :
      self->network->nodes[x->layer].layer;
  g_autofree gchar *activation = NULL;

  if (layer == NULL || !x->alone || layer->n_inputs != 1 ||
      !g_str_equal (layer->kind->name, "conv2d") || other->layer >= x->layer ||
      x->rank != other->rank || !pt_shape_equal (&layer->output,
          pt_onnx_get_shape (self, other->layer)))
    return FALSE;
  activation =
      pt_params_get (layer->kind->params, layer->options, "activation");
  return g_str_equal (activation, "none");
}

static gboolean
join_into (OnnxImport *self, const OnnxValue *x, const OnnxValue *other,
    GError **error)
{
  PtNode *node = &self->network->nodes[x->layer];

  node->inputs[1] = other->layer;
  node->layer->inputs[1] = *pt_onnx_get_shape (self, other->layer);
  node->layer->n_inputs = 2;
  return pt_layer_infer (node->layer, error) && pt_onnx_pass (self, x, error);
}

static gboolean
join_add (OnnxImport *self, GError **error)
{
  gint layers[PT_OP_MAX_INPUTS], layer;
  const guint n = self->node->n_input;
  guint rank = 0;

  if (!pt_onnx_count_inputs (self, 2, PT_OP_MAX_INPUTS, error))
    return FALSE;
  for (guint i = 0; i < 2 && n == 2; i++) {
    const OnnxValue *a = pt_onnx_get_input (self, i);
    const OnnxValue *b = pt_onnx_get_input (self, 1 - i);

    if (a && b && a->constant != NULL && b->constant == NULL)
      return join_add_bias (self, b, a->constant, error);
    if (a && b && a->constant == NULL && b->constant == NULL &&
        join_takes (self, a, b))
      return join_into (self, a, b, error);
  }
  if (!join_collect (self, layers, n, &rank, error))
    return FALSE;
  layer = pt_onnx_add_layer (self, "add", layers, n, "", error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, rank,
      error);
}

/* A layer takes eight inputs: more are joined in turn. */
static gboolean
join_concat (OnnxImport *self, GError **error)
{
  const guint n = self->node->n_input;
  g_autofree gint *layers = NULL;
  const OnnxValue *x;
  guint rank = 0, done;
  gint layer;

  if (!pt_onnx_count_inputs (self, 1, 4096, error))
    return FALSE;
  x = pt_onnx_need_layer (self, 0, 2, 4, error);
  if (x == NULL)
    return FALSE;
  if (pt_onnx_get_axis (x, pt_onnx_get_int (self, "axis", 1)) != 1)
    return pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT
        ", expected 1", pt_onnx_get_int (self, "axis", 1));
  layers = g_new (gint, n);
  if (!join_collect (self, layers, n, &rank, error))
    return FALSE;
  layer = layers[0];
  for (done = 1; done < n && layer != ONNX_NO_LAYER;) {
    gint group[PT_OP_MAX_INPUTS] = { layer };
    const guint more = MIN (n - done, PT_OP_MAX_INPUTS - 1);

    memcpy (group + 1, layers + done, more * sizeof *layers);
    layer = pt_onnx_add_layer (self, "concat", group, more + 1, "", error);
    done += more;
  }
  if (n == 1)
    return pt_onnx_pass (self, x, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, rank,
      error);
}

/* -- shapes -- */

/* @x as (N, all the rest). */
static gboolean
join_flatten_value (OnnxImport *self, const OnnxValue *x, GError **error)
{
  const gint layer = pt_onnx_as_row (self, x, error);

  if (layer == x->layer)
    return pt_onnx_pass (self, x, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, 2, error);
}

static gboolean
join_flatten (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 2, 4, error);

  if (x == NULL)
    return FALSE;
  if (pt_onnx_get_axis (x, pt_onnx_get_int (self, "axis", 1)) != 1)
    return pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT
        ", expected 1", pt_onnx_get_int (self, "axis", 1));
  return join_flatten_value (self, x, error);
}

/* 0 keeps a dimension, -1 is what is left. */
static gboolean
join_resolve (OnnxImport *self, const gint64 dims[4], guint rank,
    gint64 *target, guint n, GError **error)
{
  gint64 all = 1, known = 1;
  gint open = -1;

  for (guint i = 0; i < rank; i++)
    all *= dims[i];
  for (guint i = 0; i < n; i++) {
    if (target[i] == 0 && i < rank)
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
  if (n > 0 && known * (open >= 0 ? target[open] : 1) == all)
    return TRUE;
  return pt_onnx_refuse (self, error, "found another number of elements, "
      "expected the %" G_GINT64_FORMAT " of input 0", all);
}

static gboolean
join_reshape (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, 4, error);
  gint64 target[ONNX_MAX_DIMS], dims[4];
  guint n = 0, same = 0;

  if (x == NULL || !pt_onnx_need_ints (self, 1, target, &n, error))
    return FALSE;
  if (pt_onnx_get_int (self, "allowzero", 0) != 0)
    return pt_onnx_refuse (self, error, "found allowzero=1, expected 0");
  pt_onnx_get_dims (self, x, dims);
  if (!join_resolve (self, dims, x->rank, target, n, error))
    return FALSE;
  while (same < n && same < x->rank && target[same] == dims[same])
    same++;
  if (same == n && n == x->rank)
    return pt_onnx_pass (self, x, error);
  if (n == 2 && x->rank > 2 && target[0] == self->batch)
    return join_flatten_value (self, x, error);
  return pt_onnx_refuse (self, error, "found %u dimensions, %" G_GINT64_FORMAT
      " first, expected (%" G_GINT64_FORMAT ", -1), which flattens", n,
      target[0], self->batch);
}

/* -- slice -- */

/* A list from input @i, or before opset 10 from the attribute @name; FALSE
 * with *@n = 0 if there is none. */
static gboolean
join_get_list (OnnxImport *self, guint i, const gchar *name, gint64 *values,
    guint *n, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, name);

  *n = 0;
  if (self->opset >= 10)
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

/* From any number to a place in 0 to @size. */
static gint64
join_clamp (gint64 place, gint64 size)
{
  if (place < 0)
    place = place < -size ? 0 : place + size;
  return MIN (place, size);
}

static gboolean
join_slice (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 2, 4, error);
  gint64 starts[ONNX_MAX_DIMS], ends[ONNX_MAX_DIMS], axes[ONNX_MAX_DIMS],
      steps[ONNX_MAX_DIMS], dims[4], start = 0, end;
  guint n, n_ends, n_axes, n_steps;
  g_autofree gchar *words = NULL;

  if (x == NULL || !join_get_list (self, 1, "starts", starts, &n, error) ||
      !join_get_list (self, 2, "ends", ends, &n_ends, error) ||
      !join_get_list (self, 3, "axes", axes, &n_axes, error) ||
      !join_get_list (self, 4, "steps", steps, &n_steps, error))
    return FALSE;
  if (n == 0 || n_ends != n || (n_axes && n_axes != n) ||
      (n_steps && n_steps != n))
    return pt_onnx_refuse (self, error, "found %u starts, %u ends, %u axes and"
        " %u steps, expected as many of each", n, n_ends, n_axes, n_steps);
  pt_onnx_get_dims (self, x, dims);
  end = dims[1];
  for (guint i = 0; i < n; i++) {
    const gint64 axis = n_axes ? pt_onnx_get_axis (x, axes[i]) : i;
    const gint64 size = axis >= 0 && axis < x->rank ? dims[axis] : 0;
    const gint64 from = join_clamp (starts[i], size);
    const gint64 to = join_clamp (ends[i], size);

    if (size == 0 || (n_steps && steps[i] != 1) || from >= to ||
        (axis != 1 && (from != 0 || to != size)))
      return pt_onnx_refuse (self, error, "found a slice of axis %"
          G_GINT64_FORMAT " from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
          ", expected one of axis 1 in steps of 1", axis, from, to);
    if (axis == 1) {
      start = from;
      end = to;
    }
  }
  if (end - start == dims[1])
    return pt_onnx_pass (self, x, error);
  words = g_strdup_printf ("start=%" G_GINT64_FORMAT " length=%"
      G_GINT64_FORMAT, start, end - start);
  return pt_onnx_add_unary (self, "slice", x, words, error);
}

/* -- resize -- */

/* Which pixels a row of the output is made of must be what the layer does. */
static gboolean
join_check_mode (OnnxImport *self, gboolean *linear, GError **error)
{
  const gboolean modern =
      self->opset >= 11 && g_str_equal (self->node->op_type, "Resize");
  const gchar *missing = modern ? "half_pixel" : "asymmetric";
  const gboolean half =
      pt_onnx_is_text (self, "coordinate_transformation_mode", "half_pixel",
      missing) || pt_onnx_is_text (self, "coordinate_transformation_mode",
      "pytorch_half_pixel", missing);
  const gboolean corner = pt_onnx_is_text (self,
      "coordinate_transformation_mode", "asymmetric", missing);
  const gchar *nearest = modern ? "round_prefer_floor" : "floor";
  const gboolean floors =
      pt_onnx_is_text (self, "nearest_mode", "floor", nearest);
  const gboolean rounds =
      pt_onnx_is_text (self, "nearest_mode", "round_prefer_floor", nearest) ||
      pt_onnx_is_text (self, "nearest_mode", "round_prefer_ceil", nearest);

  *linear = pt_onnx_is_text (self, "mode", "linear", "nearest") ||
      pt_onnx_is_text (self, "mode", "bilinear", "nearest");
  if (*linear ? half : pt_onnx_is_text (self, "mode", "nearest", "nearest") &&
      ((half && rounds) || (corner && floors)))
    return TRUE;
  return pt_onnx_refuse (self, error, "found another way to place pixels, "
      "expected mode=linear with half_pixel, or nearest with half_pixel and "
      "rounding, or asymmetric and floor: torch.nn.Upsample without "
      "align_corners");
}

static gfloat *
join_get_scales (OnnxImport *self, guint input, guint rank, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "scales");
  const Onnx__TensorProto *tensor;
  gint64 dims[ONNX_MAX_DIMS], n;
  guint n_dims;

  if (attribute != NULL && attribute->n_floats == rank)
    return g_memdup2 (attribute->floats, rank * sizeof (gfloat));
  tensor = pt_onnx_need_constant (self, input, error);
  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims,
          &n, error))
    return NULL;
  if (n == rank)
    return pt_onnx_tensor_get_floats (self, tensor, error);
  pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " scales, expected "
      "%u", n, rank);
  return NULL;
}

/* Scales of rows and columns. */
static gboolean
join_get_factors (OnnxImport *self, const OnnxValue *x, gdouble *factors,
    GError **error)
{
  const gboolean modern =
      self->opset >= 11 && g_str_equal (self->node->op_type, "Resize");
  g_autofree gfloat *scales = NULL;
  gint64 sizes[ONNX_MAX_DIMS], dims[4];
  guint n;

  pt_onnx_get_dims (self, x, dims);
  if (modern && self->node->n_input > 3 && *self->node->input[3]) {
    if (!pt_onnx_need_ints (self, 3, sizes, &n, error))
      return FALSE;
    if (n != x->rank)
      return pt_onnx_refuse (self, error, "found %u sizes, expected %u", n,
          x->rank);
    for (guint i = 0; i < x->rank; i++)
      factors[i] = (gdouble) sizes[i] / dims[i];
    return TRUE;
  }
  scales = join_get_scales (self, modern ? 2 : 1, x->rank, error);
  for (guint i = 0; i < x->rank && scales != NULL; i++)
    factors[i] = scales[i];
  return scales != NULL;
}

static gboolean
join_resize (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 4, 4, error);
  g_autofree gchar *words = NULL;
  gdouble factors[4];
  gboolean linear;

  if (x == NULL || !join_check_mode (self, &linear, error) ||
      !join_get_factors (self, x, factors, error))
    return FALSE;
  for (guint i = 0; i < 4; i++)
    if (factors[i] != floor (factors[i]) || factors[i] < 1 ||
        factors[i] > (i < 2 ? 1 : 1024))
      return pt_onnx_refuse (self, error, "found a scale of %g along axis %u, "
          "expected a whole number for rows and columns, 1 else", factors[i],
          i);
  if (factors[2] == 1 && factors[3] == 1)
    return pt_onnx_pass (self, x, error);
  words = g_strdup_printf ("scale=%.0f;%.0f mode=%s", factors[2], factors[3],
      linear ? "bilinear" : "nearest");
  return pt_onnx_add_unary (self, "upsample", x, words, error);
}

const OnnxOperator pt_onnx_ops_join[] = {
  {"Add", join_add, " axis broadcast consumed_inputs "},
  {"Concat", join_concat, " axis "},
  {"Flatten", join_flatten, " axis "},
  {"Reshape", join_reshape, " allowzero "},
  {"Resize", join_resize, " coordinate_transformation_mode cubic_coeff_a mode "
        "exclude_outside extrapolation_value nearest_mode antialias "
        "keep_aspect_ratio_policy "},
  {"Slice", join_slice, " axes ends starts "},
  {"Sum", join_add, " consumed_inputs "},
  {"Upsample", join_resize, " mode scales "},
  {NULL}
};
