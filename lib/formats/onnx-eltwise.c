/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

/* Operators on the elements of two tensors. */

/* -- two operands -- */

/* A constant's dimensions as an option, "3;1;1", behind which @behind ones
 * follow. */
static gchar *
eltwise_print_dims (const gint64 *dims, guint n, guint behind)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < n + behind; i++)
    g_string_append_printf (text, "%s%" G_GINT64_FORMAT, i ? ";" : "",
        i < n ? dims[i] : 1);
  return g_string_free (text->len > 0 ? text : g_string_append (text, "1"),
      FALSE);
}

/* Whether it is one of the model's parameters rather than a number of its
 * code. */
static gboolean
eltwise_is_initializer (const OnnxImport *self, const Onnx__TensorProto *tensor)
{
  for (gsize i = 0; i < self->graph->n_initializer; i++)
    if (self->graph->initializer[i] == tensor)
      return TRUE;
  return FALSE;
}

/* Frames of a batch stay apart: nothing may be aligned with them. */
static gboolean
eltwise_check_frames (const OnnxImport *self, const gint64 *dims, guint n,
    guint rank, GError **error)
{
  if (self->batch == 1 || n < rank || (n == rank && dims[0] == 1))
    return TRUE;
  return pt_onnx_refuse (self, error, "found %u dimensions beside %u, which "
      "mixes the %" G_GINT64_FORMAT " frames of the batch", n, rank,
      self->batch);
}

/* What is compared, chosen from or added may be infinite. Where the picture
 * has become whole numbers, so may the constant be: only what it is divided by
 * would be another operation. */
static gboolean
eltwise_take_constant (OnnxImport *self, gint layer,
    const Onnx__TensorProto *tensor, gboolean reverse, GError **error)
{
  const gchar *kind = self->network->nodes[layer].layer->kind->name;
  static const gchar *const bounds[] = { "add", "min", "max", "mask", "eq",
    "lt", "le", NULL
  };
  gfloat *data;

  if (!pt_onnx_type_is_float (tensor->data_type) &&
      (g_str_equal (kind, "div") || (g_str_equal (kind, "pow") && reverse)))
    return pt_onnx_refuse (self, error, "found whole numbers (data type %d) "
        "beside the picture, expected floats", tensor->data_type);
  data = (g_strv_contains (bounds, kind) ? pt_onnx_tensor_get_clamped : pt_onnx_tensor_get_floats)
      (self, tensor, error);
  return data != NULL && pt_onnx_set_weight (self, layer, 0, data, error);
}

/* Before opset 7, B is aligned at @axis of A: ones that follow. */
static guint
eltwise_count_behind (const OnnxImport *self, guint rank, guint n)
{
  const gint64 axis = pt_onnx_get_int (self, "axis", -1);

  if (self->opset >= 7 || axis < 0 || n > rank || axis > rank - n)
    return 0;
  return rank - n - axis;
}

/* @x and a constant, which is the first operand if @reverse. */
static gint
eltwise_join_constant (OnnxImport *self, const gchar *kind,
    const OnnxValue *x, const Onnx__TensorProto *tensor, gboolean reverse,
    guint *rank, GError **error)
{
  const gint exact = pt_onnx_exact (self, x, error);
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gchar *shape = NULL, *words = NULL;
  guint n_dims, behind;
  gint layer;

  if (exact == ONNX_NO_LAYER || !pt_onnx_tensor_get_dims (self, tensor, dims,
          &n_dims, &n, error))
    return ONNX_NO_LAYER;
  behind = eltwise_count_behind (self, x->rank, n_dims);
  if (n_dims + behind > PT_MAX_DIMS) {
    pt_onnx_refuse (self, error, "found a constant of %u dimensions, expected "
        "at most %d", n_dims, PT_MAX_DIMS);
    return ONNX_NO_LAYER;
  }
  if (!eltwise_check_frames (self, dims, n_dims + behind, x->rank, error))
    return ONNX_NO_LAYER;
  *rank = MAX (x->rank, n_dims + behind);
  shape = eltwise_print_dims (dims, n_dims, behind);
  words = g_strdup_printf ("other=%s learned=%s%s", shape,
      n > 1 && eltwise_is_initializer (self, tensor) ? "true" : "false",
      reverse ? " reverse=true" : "");
  layer = pt_onnx_add_layer (self, kind, &exact, 1, words, error);
  return layer != ONNX_NO_LAYER && eltwise_take_constant (self, layer, tensor,
      reverse, error) ? layer : ONNX_NO_LAYER;
}

/* Before opset 7: @layer with ones that follow its @rank dimensions. */
static gint
eltwise_align (OnnxImport *self, gint layer, guint rank, guint behind,
    GError **error)
{
  PtShape shape = *pt_onnx_get_shape (self, layer);

  if (behind == 0 || rank + behind > PT_MAX_DIMS)
    return layer;
  shape.n_dims = rank + behind;
  for (guint i = rank; i < shape.n_dims; i++)
    shape.dims[i] = 1;
  return pt_onnx_reshape (self, layer, &shape, error);
}

static gint
eltwise_join_layers (OnnxImport *self, const gchar *kind, const OnnxValue *a,
    const OnnxValue *b, guint *rank, GError **error)
{
  const gint64 frames[] = { 0 };
  gint layers[2];

  if (self->batch > 1 && a->rank != b->rank && !eltwise_check_frames (self,
          frames, MAX (a->rank, b->rank), MAX (a->rank, b->rank), error))
    return ONNX_NO_LAYER;
  if ((layers[0] = pt_onnx_exact (self, a, error)) == ONNX_NO_LAYER ||
      (layers[1] = pt_onnx_exact (self, b, error)) == ONNX_NO_LAYER ||
      (layers[1] = eltwise_align (self, layers[1], b->rank,
              eltwise_count_behind (self, a->rank, b->rank),
              error)) == ONNX_NO_LAYER)
    return ONNX_NO_LAYER;
  *rank = MAX (a->rank, b->rank);
  return pt_onnx_add_layer (self, kind, layers, 2, "", error);
}

gboolean
pt_onnx_join (OnnxImport *self, const gchar *kind, const OnnxValue *a,
    const OnnxValue *b, OnnxValue *joined, GError **error)
{
  guint rank = 0;
  gint layer;

  if (a == NULL || b == NULL)
    return pt_onnx_refuse (self, error, "input %d is missing", a ? 1 : 0);
  if (a->constant != NULL && b->constant != NULL)
    return pt_onnx_refuse (self, error, "found two constants that cannot be "
        "worked out, expected something from the picture");
  if (a->constant == NULL && b->constant == NULL)
    layer = eltwise_join_layers (self, kind, a, b, &rank, error);
  else if (b->constant != NULL)
    layer = eltwise_join_constant (self, kind, a, b->constant, FALSE, &rank,
        error);
  else
    layer = eltwise_join_constant (self, kind, b, a->constant, TRUE, &rank,
        error);
  *joined = (OnnxValue) {.layer = layer,.rank = rank,.alone = TRUE };
  return layer != ONNX_NO_LAYER;
}

static gboolean
eltwise_binary (OnnxImport *self, GError **error)
{
  const gboolean sums = g_str_equal (self->node->op_type, "Sum");
  g_autofree gchar *kind =
      sums ? g_strdup ("add") : g_ascii_strdown (self->node->op_type, -1);
  const OnnxValue *a = pt_onnx_get_input (self, 0);
  const OnnxValue *b = pt_onnx_get_input (self, 1);
  OnnxValue y;

  if (!pt_onnx_count_inputs (self, 2, 2, error) ||
      !pt_onnx_join (self, kind, a, b, &y, error))
    return FALSE;
  if (g_str_equal (kind, "div") && a->whole && b->whole)
    return pt_onnx_add_unary (self, "trunc", &y, "", error);
  y.layer = pt_onnx_fuse (self, y.layer, error);
  return y.layer != ONNX_NO_LAYER && pt_onnx_set_output (self, y.layer,
      y.rank, error);
}

gint
pt_onnx_multiply (OnnxImport *self, gint layer, gdouble factor,
    GError **error)
{
  gfloat *data;

  layer = pt_onnx_add_layer (self, "mul", &layer, 1, "other=1", error);
  if (layer == ONNX_NO_LAYER)
    return ONNX_NO_LAYER;
  data = g_new (gfloat, 1);
  *data = factor;
  return pt_onnx_set_weight (self, layer, 0, data, error) ? layer :
      ONNX_NO_LAYER;
}

/* -- sums -- */

/* Whether @tensor is a number per channel of @x: the last dimension of a
 * linear layer's, and (C, 1, 1) for 1xCxHxW. */
static gboolean
eltwise_is_bias (const OnnxImport *self, const OnnxValue *x,
    const Onnx__TensorProto *tensor)
{
  const PtLayer *layer = self->network->nodes[x->layer].layer;
  const gboolean linear = g_str_equal (layer->kind->name, "linear");
  const guint behind = linear ? 0 : x->rank - 2;
  gint64 dims[ONNX_MAX_DIMS], n;
  guint n_dims;

  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, NULL))
    return FALSE;
  n_dims += eltwise_count_behind (self, x->rank, n_dims);
  if (n_dims <= behind || n_dims > x->rank ||
      n != layer->output.dims[linear ? layer->output.n_dims - 1 : 1])
    return FALSE;
  return n == 1 || dims[n_dims - 1 - behind] == n;
}

/* A constant added to a product nobody else reads is its bias. */
static gboolean
eltwise_takes_bias (const OnnxImport *self, const OnnxValue *x,
    const Onnx__TensorProto *tensor)
{
  const PtLayer *layer = x->layer == PT_NETWORK_INPUT ? NULL :
      self->network->nodes[x->layer].layer;
  g_autofree gchar *bias = NULL, *activation = NULL;

  if (layer == NULL || !x->alone || x->rank < 2)
    return FALSE;
  bias = pt_params_get (layer->kind->params, layer->options, "bias");
  activation =
      pt_params_get (layer->kind->params, layer->options, "activation");
  return bias != NULL && g_str_equal (bias, "false") && activation != NULL &&
      g_str_equal (activation, "none") && eltwise_is_bias (self, x, tensor);
}

static gboolean
eltwise_add_bias (OnnxImport *self, const OnnxValue *x,
    const Onnx__TensorProto *tensor, GError **error)
{
  gfloat *data = pt_onnx_tensor_get_floats (self, tensor, error);

  if (data == NULL)
    return FALSE;
  if (!pt_onnx_set_option (self, x->layer, "bias", "true", error)) {
    g_free (data);
    return FALSE;
  }
  return pt_onnx_set_weight (self, x->layer, 1, data, error) &&
      pt_onnx_pass (self, x, error);
}

/* A convolution that nobody else reads adds what was there before it itself:
 * the end of ResNet's blocks. */
static gboolean
eltwise_takes_layer (const OnnxImport *self, const OnnxValue *x,
    const OnnxValue *other)
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
eltwise_add_layer (OnnxImport *self, const OnnxValue *x,
    const OnnxValue *other, GError **error)
{
  PtNode *node = &self->network->nodes[x->layer];

  node->inputs[1] = other->layer;
  node->layer->inputs[1] = *pt_onnx_get_shape (self, other->layer);
  node->layer->n_inputs = 2;
  return pt_layer_infer (node->layer, error) && pt_onnx_pass (self, x, error);
}

static gboolean
eltwise_add (OnnxImport *self, GError **error)
{
  for (guint i = 0; i < 2 && self->node->n_input == 2; i++) {
    const OnnxValue *x = pt_onnx_get_input (self, i);
    const OnnxValue *other = pt_onnx_get_input (self, 1 - i);

    if (!x || !other || x->constant != NULL)
      continue;
    if (other->constant == NULL && eltwise_takes_layer (self, x, other))
      return eltwise_add_layer (self, x, other, error);
    if (other->constant != NULL &&
        eltwise_takes_bias (self, x, other->constant))
      return eltwise_add_bias (self, x, other->constant, error);
  }
  return eltwise_binary (self, error);
}

/* One layer of all inputs, if they are of one shape: ONNX_NO_LAYER without an
 * error if not. */
static gint
eltwise_sum_at_once (OnnxImport *self, guint n)
{
  const OnnxValue *first = pt_onnx_get_input (self, 0);
  gint layers[PT_OP_MAX_INPUTS];

  for (guint i = 0; i < n; i++) {
    const OnnxValue *x = pt_onnx_get_input (self, i);

    if (n > PT_OP_MAX_INPUTS || x == NULL || x->constant != NULL ||
        x->rank != first->rank ||
        (layers[i] = pt_onnx_exact (self, x, NULL)) == ONNX_NO_LAYER ||
        !pt_shape_equal (pt_onnx_get_shape (self, layers[0]),
            pt_onnx_get_shape (self, layers[i])))
      return ONNX_NO_LAYER;
  }
  return pt_onnx_add_layer (self, "add", layers, n, "", NULL);
}

/* Sum, Max, Min and Mean of any number: one after another, those that are
 * constants last, so that one operand always comes from the picture. */
static gboolean
eltwise_fold (OnnxImport *self, const gchar *kind, OnnxValue *y,
    GError **error)
{
  const guint n = self->node->n_input;
  gboolean begun = FALSE;
  gint layer;

  for (guint pass = 0; pass < 2; pass++)
    for (guint i = 0; i < n; i++) {
      const OnnxValue *x = pt_onnx_get_input (self, i);
      const OnnxValue now = *y;

      if (x == NULL)
        return pt_onnx_refuse (self, error, "input %u is missing", i);
      if ((x->constant != NULL) != (pass == 1))
        continue;
      if (begun && !pt_onnx_join (self, kind, &now, x, y, error))
        return FALSE;
      if (!begun && pass == 0 && g_str_equal (kind, "add") && n > 1 &&
          (layer = eltwise_sum_at_once (self, n)) != ONNX_NO_LAYER) {
        *y = (OnnxValue) {.layer = layer,.rank = x->rank,.alone = TRUE };
        return TRUE;
      }
      if (!begun)
        *y = *x;
      begun = TRUE;
    }
  return TRUE;
}

static gboolean
eltwise_several (OnnxImport *self, GError **error)
{
  const gboolean is_mean = g_str_equal (self->node->op_type, "Mean");
  g_autofree gchar *kind = g_ascii_strdown (self->node->op_type, -1);
  OnnxValue y = { NULL };

  if (!pt_onnx_count_inputs (self, 1, 4096, error) || !eltwise_fold (self,
          is_mean || g_str_equal (kind, "sum") ? "add" : kind, &y, error))
    return FALSE;
  if (self->node->n_input == 1)
    return pt_onnx_pass (self, &y, error);
  if (is_mean)
    y.layer = pt_onnx_multiply (self, y.layer, 1. / self->node->n_input,
        error);
  return y.layer != ONNX_NO_LAYER && pt_onnx_set_output (self, y.layer,
      y.rank, error);
}

static gboolean
eltwise_sum (OnnxImport *self, GError **error)
{
  return self->node->n_input == 2 ? eltwise_add (self, error) :
      eltwise_several (self, error);
}

/* -- slopes -- */

/* One for all, one for each channel, or others of some shape. */
static gboolean
eltwise_prelu (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  const Onnx__TensorProto *tensor =
      x ? pt_onnx_need_constant (self, 1, error) : NULL;
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gchar *shape = NULL, *words = NULL;
  guint n_dims, rank;
  gint layer;

  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims,
          &n, error) || !eltwise_check_frames (self, dims, n_dims, x->rank,
          error))
    return FALSE;
  rank = x->rank;
  if ((layer = pt_onnx_exact (self, x, error)) == ONNX_NO_LAYER)
    return FALSE;
  shape = eltwise_print_dims (dims, n_dims, 0);
  if (n == 1 || (n == pt_shape_c (pt_onnx_get_shape (self, layer)) &&
          ((n_dims + 1 == rank && dims[0] == n) ||
              (n_dims == 1 && self->opset < 7))))
    words = g_strdup_printf ("num_parameters=%" G_GINT64_FORMAT, n);
  else
    words = g_strconcat ("shape=", shape, NULL);
  layer = pt_onnx_add_layer (self, "prelu", &layer, 1, words, error);
  return layer != ONNX_NO_LAYER && eltwise_take_constant (self, layer, tensor,
      FALSE, error) && pt_onnx_set_output (self, layer, rank, error);
}

#define OLD " consumed_inputs "
#define OLD_PAIR " axis broadcast consumed_inputs "

const OnnxOperator pt_onnx_ops_eltwise[] = {
  {"Add", eltwise_add, OLD_PAIR},
  {"Div", eltwise_binary, OLD_PAIR},
  {"Max", eltwise_several, OLD},
  {"Mean", eltwise_several, OLD},
  {"Min", eltwise_several, OLD},
  {"Mul", eltwise_binary, OLD_PAIR},
  {"PRelu", eltwise_prelu, OLD},
  {"Pow", eltwise_binary, " axis broadcast "},
  {"Sub", eltwise_binary, OLD_PAIR},
  {"Sum", eltwise_sum, OLD},
  {NULL}
};
