/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* Normalisations, and GridSample. */

/* "key=number" with the attribute @name, for a layer's options. */
static gchar *
norm_print (const OnnxImport *self, const gchar *key, const gchar *name,
    gdouble missing)
{
  gchar number[G_ASCII_DTOSTR_BUF_SIZE];

  g_ascii_dtostr (number, sizeof number, pt_onnx_get_float (self, name,
          missing));
  return g_strdup_printf ("%s=%s", key, number);
}

/* Gives weight @i of @layer the numbers of @tensor, which are repeated where
 * that has ones or no dimension, aligned from the right; and each @times in a
 * row. */
static gboolean
norm_take_weight (OnnxImport *self, gint layer, guint i,
    const Onnx__TensorProto *tensor, gint64 times, GError **error)
{
  const PtShape *shape =
      &self->network->nodes[layer].layer->weights[i].shape;
  const gint64 count = pt_shape_get_n_elements (shape);
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gfloat *data = NULL;
  gfloat *weight;
  guint n_dims;

  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, error))
    return FALSE;
  for (guint k = 0; k < n_dims; k++) {
    const gint at = shape->n_dims - n_dims + k;
    const gint64 size = at < 0 ? 1 : shape->dims[at];

    if (dims[k] != 1 && dims[k] * times != size)
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " numbers "
          "in dimension %u of input %u, expected %" G_GINT64_FORMAT, dims[k],
          k, i + 1, size / times);
  }
  data = pt_onnx_tensor_get_floats (self, tensor, error);
  weight = data ? g_try_new (gfloat, count) : NULL;
  if (weight == NULL)
    return data != NULL && pt_onnx_refuse (self, error, "no memory");
  for (gint64 k = 0; k < count; k++) {
    gint64 from = 0, step = 1, rest = k;

    for (gint d = n_dims - 1, at = shape->n_dims - 1; d >= 0; d--, at--) {
      const gint64 size = at < 0 ? 1 : shape->dims[at];

      if (dims[d] > 1)
        from += rest % size / times * step;
      step *= dims[d];
      rest /= size;
    }
    weight[k] = data[from];
  }
  return pt_onnx_set_weight (self, layer, i, weight, error);
}

/* A layer after input 0, whose weights are inputs 1 and perhaps 2. */
static gboolean
norm_add (OnnxImport *self, const gchar *kind, gint input, guint rank,
    const gchar *words, gboolean bias, gint64 times, GError **error)
{
  const gint layer = pt_onnx_add_layer (self, kind, &input, 1, words, error);

  if (layer == ONNX_NO_LAYER)
    return FALSE;
  for (guint i = 0; i < (bias ? 2 : 1); i++) {
    const Onnx__TensorProto *tensor =
        pt_onnx_need_constant (self, i + 1, error);

    if (tensor == NULL ||
        !norm_take_weight (self, layer, i, tensor, times, error))
      return FALSE;
  }
  return pt_onnx_set_output (self, layer, rank, error);
}

static gboolean
norm_instance (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 3, PT_MAX_DIMS, error);
  g_autofree gchar *eps = norm_print (self, "affine=true eps", "epsilon",
      1e-5);

  return x != NULL && norm_add (self, "instance-norm", x->layer, x->rank, eps,
      TRUE, 1, error);
}

/* Before opset 21 the weights were one for each group. */
static gboolean
norm_group (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 2, PT_MAX_DIMS, error);
  const gint64 groups = pt_onnx_get_int (self, "num_groups", 0);
  g_autofree gchar *eps = norm_print (self, "eps", "epsilon", 1e-5);
  g_autofree gchar *words = g_strdup_printf ("%s num_groups=%" G_GINT64_FORMAT,
      eps, groups);
  gint64 dims[PT_MAX_DIMS];

  if (x == NULL)
    return FALSE;
  pt_onnx_get_dims (self, x, dims);
  if (groups < 1 || dims[1] % groups != 0)
    return pt_onnx_refuse (self, error, "attribute num_groups: found %"
        G_GINT64_FORMAT ", expected a divisor of the %" G_GINT64_FORMAT
        " channels", groups, dims[1]);
  return norm_add (self, "group-norm", x->layer, x->rank, words, TRUE,
      self->opset < 21 ? dims[1] / groups : 1, error);
}

static gboolean
norm_layer (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  const gboolean bias = self->node->n_input > 2 && *self->node->input[2];
  g_autofree gchar *eps = norm_print (self, "eps", "epsilon", 1e-5);
  g_autofree gchar *words = NULL;
  gint axis, layer;

  if (x == NULL)
    return FALSE;
  for (guint i = 1; i < self->node->n_output; i++)
    if (*self->node->output[i] != '\0' &&
        g_hash_table_contains (self->uses, self->node->output[i]))
      return pt_onnx_refuse (self, error, "found a use of its mean or "
          "deviation, expected one of output 0 alone");
  axis = pt_onnx_need_axis (self, x, pt_onnx_get_int (self, "axis", -1),
      error);
  layer = axis < 0 ? ONNX_NO_LAYER : pt_onnx_exact (self, x, error);
  words = g_strdup_printf ("%s axis=%d bias=%s", eps, axis,
      bias ? "true" : "false");
  return layer != ONNX_NO_LAYER && norm_add (self, "layer-norm", layer,
      x->rank, words, bias, 1, error);
}

/* PyTorch has the larger half of an even size before, ONNX after. */
static gboolean
norm_lrn (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 2, PT_MAX_DIMS, error);
  const gint64 size = pt_onnx_get_int (self, "size", 0);
  g_autofree gchar *alpha = norm_print (self, "alpha", "alpha", 1e-4);
  g_autofree gchar *beta = norm_print (self, "beta", "beta", 0.75);
  g_autofree gchar *k = norm_print (self, "k", "bias", 1);
  g_autofree gchar *words = g_strdup_printf ("size=%" G_GINT64_FORMAT
      " %s%s %s %s", size, size % 2 ? "" : "longer=after ", alpha, beta, k);

  return x != NULL && pt_onnx_add_unary (self, "lrn", x, words, error);
}

static gboolean
norm_lp (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  g_autofree gchar *words = NULL;
  gint axis, layer;

  if (x == NULL)
    return FALSE;
  axis = pt_onnx_need_axis (self, x, pt_onnx_get_int (self, "axis", -1),
      error);
  layer = axis < 0 ? ONNX_NO_LAYER : pt_onnx_exact (self, x, error);
  words = g_strdup_printf ("p=%" G_GINT64_FORMAT " dim=%d",
      pt_onnx_get_int (self, "p", 2), axis);
  if (layer == ONNX_NO_LAYER)
    return FALSE;
  layer = pt_onnx_add_layer (self, "normalize", &layer, 1, words, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, x->rank,
      error);
}

/* What ONNX adds to the deviation is added to the variance. */
static gboolean
norm_mean_variance (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  const Onnx__AttributeProto *given = pt_onnx_find (self, "axes");
  static gint64 usual[] = { 0, 2, 3 };
  const gint64 *axes = given ? given->ints : usual;
  const gsize n = given ? given->n_ints : G_N_ELEMENTS (usual);
  GString *words;
  gint layer, axis = 0;

  if (x == NULL)
    return FALSE;
  layer = pt_onnx_exact (self, x, error);
  if (layer == ONNX_NO_LAYER)
    return FALSE;
  words = g_string_new ("eps=1e-18 axes=");
  for (gsize i = 0; i < n && axis >= 0; i++) {
    axis = pt_onnx_need_axis (self, x, axes[i], error);
    g_string_append_printf (words, "%d;", axis);
  }
  if (axis >= 0)
    layer = pt_onnx_add_layer (self, "mean-variance-norm", &layer, 1,
        words->str, error);
  g_string_free (words, TRUE);
  return axis >= 0 && layer != ONNX_NO_LAYER &&
      pt_onnx_set_output (self, layer, x->rank, error);
}

/* -- GridSample -- */

/* The word of attribute @name that PyTorch has for one of ONNX's. */
static const gchar *
norm_find_word (const OnnxImport *self, const gchar *name,
    const gchar *const words[][2], GError **error)
{
  for (guint i = 0; words[i][0] != NULL; i++)
    if (pt_onnx_is_text (self, name, words[i][0], words[0][0]))
      return words[i][1];
  pt_onnx_refuse (self, error, "attribute %s: found another word, expected "
      "%s", name, words[0][0]);
  return NULL;
}

/* A grid that is a constant is a buffer of the layer. */
static gboolean
norm_grid_constant (OnnxImport *self, const OnnxValue *x, const gchar *words,
    GError **error)
{
  const Onnx__TensorProto *grid = pt_onnx_need_constant (self, 1, error);
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gchar *text = NULL;
  guint n_dims;
  gfloat *data;
  gint layer;

  if (grid == NULL || !pt_onnx_tensor_get_dims (self, grid, dims, &n_dims, &n,
          error))
    return FALSE;
  if (n_dims != 4 || dims[0] != 1 || dims[3] != 2)
    return pt_onnx_refuse (self, error, "found a grid of %u dimensions for %"
        G_GINT64_FORMAT " frames, expected (1, H, W, 2)", n_dims,
        n_dims ? dims[0] : 0);
  text = g_strdup_printf ("%s height=%" G_GINT64_FORMAT " width=%"
      G_GINT64_FORMAT, words, dims[1], dims[2]);
  layer = pt_onnx_add_layer (self, "grid-sample", &x->layer, 1, text, error);
  if (layer == ONNX_NO_LAYER ||
      (data = pt_onnx_tensor_get_floats (self, grid, error)) == NULL)
    return FALSE;
  return pt_onnx_set_weight (self, layer, 0, data, error) &&
      pt_onnx_set_output (self, layer, 4, error);
}

static gboolean
norm_grid_sample (OnnxImport *self, GError **error)
{
  static const gchar *const modes[][2] = {
    {"bilinear", "bilinear"}, {"linear", "bilinear"}, {"nearest", "nearest"},
    {"bicubic", "bicubic"}, {"cubic", "bicubic"}, {NULL}
  };
  static const gchar *const paddings[][2] = {
    {"zeros", "zeros"}, {"border", "border"}, {"reflection", "reflection"},
    {NULL}
  };
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 4, 4, error), *grid;
  const gchar *mode = x ? norm_find_word (self, "mode", modes, error) : NULL;
  const gchar *padding =
      mode ? norm_find_word (self, "padding_mode", paddings, error) : NULL;
  g_autofree gchar *words = NULL;
  gint inputs[2], layer;

  if (padding == NULL)
    return FALSE;
  words = g_strdup_printf ("mode=%s padding_mode=%s align_corners=%s", mode,
      padding, pt_onnx_get_int (self, "align_corners", 0) ? "true" : "false");
  grid = pt_onnx_get_input (self, 1);
  if (grid != NULL && grid->constant != NULL)
    return norm_grid_constant (self, x, words, error);
  grid = pt_onnx_need_layer (self, 1, 4, 4, error);
  if (grid == NULL)
    return FALSE;
  inputs[0] = pt_onnx_as_image (self, x, error);
  inputs[1] = pt_onnx_as_image (self, grid, error);
  if (inputs[0] == ONNX_NO_LAYER || inputs[1] == ONNX_NO_LAYER)
    return FALSE;
  layer = pt_onnx_add_layer (self, "grid-sample", inputs, 2, words, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, 4, error);
}

const OnnxOperator pt_onnx_ops_norm[] = {
  {"GridSample", norm_grid_sample, " align_corners mode padding_mode "},
  {"GroupNormalization", norm_group, " epsilon num_groups stash_type "},
  {"InstanceNormalization", norm_instance, " epsilon consumed_inputs "},
  {"LRN", norm_lrn, " alpha beta bias size "},
  {"LayerNormalization", norm_layer, " axis epsilon stash_type "},
  {"LpNormalization", norm_lp, " axis p "},
  {"MeanVarianceNormalization", norm_mean_variance, " axes "},
  {NULL}
};
