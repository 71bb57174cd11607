/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* Products of matrices, reductions, softmax. */

/* -- products -- */

/* A factor of the node at hand, a layer's output or a constant. */
typedef struct
{
  const OnnxValue *value;
  gint64 dims[ONNX_MAX_DIMS];   /* of a constant */
  guint rank;
} Factor;

static gboolean
products_get_factor (const OnnxImport *self, guint i, Factor *factor,
    GError **error)
{
  gint64 n;

  factor->value = pt_onnx_get_input (self, i);
  if (factor->value == NULL)
    return pt_onnx_refuse (self, error, "input %u is missing", i);
  factor->rank = factor->value->rank;
  if (factor->value->constant != NULL && !pt_onnx_tensor_get_dims (self,
          factor->value->constant, factor->dims, &factor->rank, &n, error))
    return FALSE;
  if (factor->rank >= 1 && factor->rank <= PT_MAX_DIMS)
    return TRUE;
  return pt_onnx_refuse (self, error, "found %u dimensions in input %u, "
      "expected 1 to %d", factor->rank, i, PT_MAX_DIMS);
}

/* Whether the frames, axis 0 of every layer, are axis 0 of the product. */
static gboolean
products_keep_frames (const OnnxImport *self, const Factor factors[2],
    const gboolean transposed[2], GError **error)
{
  const guint rank = MAX (factors[0].rank, factors[1].rank);
  gboolean kept = TRUE;

  for (guint i = 0; i < 2; i++) {
    const Factor *factor = &factors[i];

    if (factor->value->constant != NULL)
      kept &= factor->rank < rank || rank < 3 || factor->dims[0] == 1;
    else
      kept &= factor->rank == rank && (rank >= 3 || (rank == 2 && i == 0
              && !transposed[0]));
  }
  return kept || self->batch == 1 || pt_onnx_refuse (self, error, "found a "
      "product that mixes the %" G_GINT64_FORMAT " frames of the batch, "
      "expected one for each", self->batch);
}

static guint
products_get_rank (const Factor factors[2])
{
  const guint rank = MAX (2, MAX (factors[0].rank, factors[1].rank));

  return rank - (factors[0].rank == 1) - (factors[1].rank == 1);
}

/* A matmul layer of inputs 0 and 1, the constant one as its weight. */
static gint
products_add_matmul (OnnxImport *self, const Factor factors[2],
    const gboolean transposed[2], gdouble alpha, GError **error)
{
  g_autoptr (GString) words = g_string_new (NULL);
  gchar text[G_ASCII_DTOSTR_BUF_SIZE];
  gint inputs[2], layer, n = 0;
  gint constant = -1;
  gfloat *data;

  if (!products_keep_frames (self, factors, transposed, error))
    return ONNX_NO_LAYER;
  g_string_append_printf (words, "alpha=%s trans_a=%s trans_b=%s",
      g_ascii_dtostr (text, sizeof text, alpha),
      transposed[0] ? "true" : "false", transposed[1] ? "true" : "false");
  for (gint i = 0; i < 2; i++)
    if (factors[i].value->constant == NULL) {
      inputs[n] = pt_onnx_exact (self, factors[i].value, error);
      if (inputs[n++] == ONNX_NO_LAYER)
        return ONNX_NO_LAYER;
    } else
      constant = i;
  if (constant >= 0) {
    g_string_append (words, constant == 0 ? " reverse=true other=" :
        " other=");
    for (guint i = 0; i < factors[constant].rank; i++)
      g_string_append_printf (words, i ? ";%" G_GINT64_FORMAT :
          "%" G_GINT64_FORMAT, factors[constant].dims[i]);
  }
  if (n == 0)
    pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  layer = n == 0 ? ONNX_NO_LAYER :
      pt_onnx_add_layer (self, "matmul", inputs, n, words->str, error);
  if (layer == ONNX_NO_LAYER || constant < 0)
    return layer;
  data = pt_onnx_tensor_get_floats (self, factors[constant].value->constant,
      error);
  if (data == NULL || !pt_onnx_set_weight (self, layer, 0, data, error))
    return ONNX_NO_LAYER;
  return layer;
}

/* @scale times the matrix, as (units, features). */
static gboolean
products_take_matrix (OnnxImport *self, gint layer,
    const Onnx__TensorProto *tensor, gboolean transposed, gdouble scale,
    GError **error)
{
  const PtShape *shape = &self->network->nodes[layer].layer->weights[0].shape;
  const gint64 units = shape->dims[0], features = shape->dims[1];
  g_autofree gfloat *data = pt_onnx_tensor_get_floats (self, tensor, error);
  gfloat *weight = data ? g_try_new (gfloat, units * features) : NULL;

  if (data == NULL || weight == NULL)
    return data != NULL && pt_onnx_refuse (self, error, "no memory");
  for (gint64 i = 0; i < units; i++)
    for (gint64 j = 0; j < features; j++)
      weight[i * features + j] = scale *
          data[transposed ? i * features + j : j * units + i];
  return pt_onnx_set_weight (self, layer, 0, weight, error);
}

/* A linear layer after layer @x with the matrix of input 1. */
static gint
products_add_linear (OnnxImport *self, gint x, const Factor *matrix,
    gboolean transposed, gboolean bias, gdouble scale, GError **error)
{
  const PtShape *shape = pt_onnx_get_shape (self, x);
  const gint64 features = shape->dims[shape->n_dims - 1];
  g_autofree gchar *words = NULL;
  gint layer;

  if (matrix->dims[transposed ? 1 : 0] != features) {
    pt_onnx_refuse (self, error, "found a constant of %" G_GINT64_FORMAT "x%"
        G_GINT64_FORMAT ", expected a matrix for the %" G_GINT64_FORMAT
        " features of input 0", matrix->dims[0], matrix->dims[1], features);
    return ONNX_NO_LAYER;
  }
  words = g_strdup_printf ("units=%" G_GINT64_FORMAT " bias=%s",
      matrix->dims[transposed ? 0 : 1], bias ? "true" : "false");
  layer = pt_onnx_add_layer (self, "linear", &x, 1, words, error);
  if (layer == ONNX_NO_LAYER || !products_take_matrix (self, layer,
          matrix->value->constant, transposed, scale, error))
    return ONNX_NO_LAYER;
  return layer;
}

/* Whether input 1 is a matrix of weights. */
static gboolean
products_is_linear (const Factor factors[2])
{
  return factors[0].value->constant == NULL && factors[0].rank >= 2
      && factors[1].value->constant != NULL && factors[1].rank == 2;
}

static gboolean
products_mat_mul (OnnxImport *self, GError **error)
{
  static const gboolean neither[] = { FALSE, FALSE };
  Factor factors[2];
  gint layer;

  if (!pt_onnx_count_inputs (self, 2, 2, error) ||
      !products_get_factor (self, 0, &factors[0], error) ||
      !products_get_factor (self, 1, &factors[1], error))
    return FALSE;
  if (products_is_linear (factors)) {
    layer = pt_onnx_exact (self, factors[0].value, error);
    if (layer != ONNX_NO_LAYER)
      layer = products_add_linear (self, layer, &factors[1], FALSE, FALSE, 1,
          error);
  } else
    layer = products_add_matmul (self, factors, neither, 1, error);
  return layer != ONNX_NO_LAYER &&
      pt_onnx_set_output (self, layer, products_get_rank (factors), error);
}

/* Whether @c is a constant of one number for all, one per unit, or a row of
 * those. */
static gboolean
products_is_bias (const OnnxImport *self, const OnnxValue *c, gint64 units)
{
  gint64 dims[ONNX_MAX_DIMS], n;
  guint n_dims;

  return c != NULL && c->constant != NULL &&
      pt_onnx_tensor_get_dims (self, c->constant, dims, &n_dims, &n, NULL) &&
      n_dims <= 2 && (n == 1 || (n == units && dims[n_dims - 1] == units));
}

static gboolean
products_take_bias (OnnxImport *self, gint layer, const OnnxValue *c,
    gdouble scale, GError **error)
{
  const gint64 units =
      self->network->nodes[layer].layer->weights[1].shape.dims[0];
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gfloat *data = NULL;
  gfloat *bias;
  guint n_dims;

  if (!pt_onnx_tensor_get_dims (self, c->constant, dims, &n_dims, &n, error) ||
      (data = pt_onnx_tensor_get_floats (self, c->constant, error)) == NULL)
    return FALSE;
  bias = g_new (gfloat, units);
  for (gint64 i = 0; i < units; i++)
    bias[i] = scale * data[n == 1 ? 0 : i];
  return pt_onnx_set_weight (self, layer, 1, bias, error);
}

/* alpha A B with B constant; beta C if that is a bias, *c is NULL then. */
static gint
products_gemm_linear (OnnxImport *self, const Factor factors[2],
    const gboolean transposed[2], gdouble alpha, const OnnxValue **c,
    GError **error)
{
  const gboolean bias = products_is_bias (self, *c,
      factors[1].dims[transposed[1] ? 0 : 1]);
  gint layer = pt_onnx_exact (self, factors[0].value, error);

  if (layer == ONNX_NO_LAYER)
    return ONNX_NO_LAYER;
  if (transposed[0] && self->batch > 1) {
    pt_onnx_refuse (self, error, "found transA=1, expected 0: frames cannot be "
        "mixed");
    return ONNX_NO_LAYER;
  }
  if (transposed[0])
    layer = pt_onnx_add_layer (self, "transpose", &layer, 1, "perm=1;0",
        error);
  if (layer != ONNX_NO_LAYER)
    layer = products_add_linear (self, layer, &factors[1], transposed[1], bias,
        alpha, error);
  if (layer == ONNX_NO_LAYER || !bias)
    return layer;
  if (!products_take_bias (self, layer, *c, pt_onnx_get_float (self, "beta",
              1), error))
    return ONNX_NO_LAYER;
  *c = NULL;
  return layer;
}

/* beta C after the product, C a constant. */
static gint
products_add_constant (OnnxImport *self, gint layer,
    const Onnx__TensorProto *tensor, gdouble beta, GError **error)
{
  g_autoptr (GString) words = g_string_new ("other=");
  gint64 dims[ONNX_MAX_DIMS], n;
  gfloat *data;
  guint n_dims;

  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, error))
    return ONNX_NO_LAYER;
  if (n_dims > 2 || (self->batch > 1 && n_dims == 2 && dims[0] > 1)) {
    pt_onnx_refuse (self, error, "found input 2 of %u dimensions, expected at "
        "most 2, and the same for each frame", n_dims);
    return ONNX_NO_LAYER;
  }
  for (guint i = 0; i < n_dims; i++)
    g_string_append_printf (words, "%s%" G_GINT64_FORMAT, i ? ";" : "",
        dims[i]);
  layer = pt_onnx_add_layer (self, "add", &layer, 1,
      n_dims > 0 ? words->str : "", error);
  data = layer == ONNX_NO_LAYER ? NULL :
      pt_onnx_tensor_get_floats (self, tensor, error);
  for (gint64 i = 0; data != NULL && i < n; i++)
    data[i] *= beta;
  return data != NULL && pt_onnx_set_weight (self, layer, 0, data, error) ?
      layer : ONNX_NO_LAYER;
}

static gint
products_add_layer (OnnxImport *self, gint layer, const OnnxValue *c,
    gdouble beta, GError **error)
{
  gint layers[] = { layer, ONNX_NO_LAYER };

  if (self->batch > 1 && c->rank != 2)
    pt_onnx_refuse (self, error, "found %u dimensions in input 2, expected 2, "
        "the frames of the batch first", c->rank);
  else
    layers[1] = pt_onnx_exact (self, c, error);
  if (layers[1] != ONNX_NO_LAYER && beta != 1)
    layers[1] = pt_onnx_multiply (self, layers[1], beta, error);
  return layers[1] == ONNX_NO_LAYER ? ONNX_NO_LAYER :
      pt_onnx_add_layer (self, "add", layers, 2, "", error);
}

/* alpha A B + beta C */
static gboolean
products_gemm (OnnxImport *self, GError **error)
{
  const gdouble alpha = pt_onnx_get_float (self, "alpha", 1);
  const gdouble beta = pt_onnx_get_float (self, "beta", 1);
  const gboolean transposed[] = { pt_onnx_get_int (self, "transA", 0) != 0,
    pt_onnx_get_int (self, "transB", 0) != 0
  };
  const OnnxValue *c = pt_onnx_get_input (self, 2);
  Factor factors[2];
  gint layer;

  if (!pt_onnx_count_inputs (self, 2, 3, error))
    return FALSE;
  for (guint i = 0; i < 2; i++) {
    if (!products_get_factor (self, i, &factors[i], error))
      return FALSE;
    if (factors[i].rank != 2)
      return pt_onnx_refuse (self, error, "found %u dimensions in input %u, "
          "expected a matrix", factors[i].rank, i);
  }
  layer = products_is_linear (factors) ? products_gemm_linear (self, factors,
      transposed, alpha, &c, error) :
      products_add_matmul (self, factors, transposed, alpha, error);
  if (layer != ONNX_NO_LAYER && c != NULL)
    layer = c->constant != NULL ?
        products_add_constant (self, layer, c->constant, beta, error) :
        products_add_layer (self, layer, c, beta, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, 2, error);
}

/* -- einsum -- */

/* Whether @labels are @batch and then two more, which are @first and @second
 * or, if that may be, the other way round. */
static gboolean
einsum_ends (const gchar *labels, const gchar *batch, gchar first,
    gchar second, gboolean *swapped)
{
  const gsize n = strlen (batch);

  if (strlen (labels) != n + 2 || strncmp (labels, batch, n) != 0)
    return FALSE;
  *swapped = labels[n] == second;
  return (labels[n] == first && labels[n + 1] == second) ||
      (labels[n] == second && labels[n + 1] == first);
}

/* "bhid,bhjd->bhij" is a product of matrices: the output ends in a row of the
 * first and a column of the second; the rest is in all three. */
static gboolean
einsum_parse (const gchar *equation, gboolean transposed[2])
{
  g_auto (GStrv) sides = g_strsplit (equation, "->", -1);
  g_auto (GStrv) in = g_strsplit (sides[0] ? sides[0] : "", ",", -1);
  g_autofree gchar *batch = NULL;
  const gchar *out = sides[0] ? sides[1] : NULL;
  gsize n;
  gchar sum = '\0';

  if (out == NULL || sides[2] != NULL || g_strv_length (in) != 2
      || (n = strlen (out)) < 2)
    return FALSE;
  batch = g_strndup (out, n - 2);
  for (const gchar *at = in[0]; *at != '\0'; at++)
    if (strchr (out, *at) == NULL)
      sum = *at;
  return sum != '\0' && out[n - 2] != out[n - 1] &&
      einsum_ends (in[0], batch, out[n - 2], sum, &transposed[0]) &&
      einsum_ends (in[1], batch, sum, out[n - 1], &transposed[1]);
}

static gboolean
products_einsum (OnnxImport *self, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "equation");
  g_autofree gchar *equation = attribute == NULL || !attribute->has_s ? NULL :
      g_strndup ((const gchar *) attribute->s.data, attribute->s.len);
  g_autoptr (GString) plain = g_string_new (equation);
  g_autofree gchar *quoted = pt_params_quote (plain->str);
  gboolean transposed[2];
  Factor factors[2];
  gint layer;

  g_string_replace (plain, " ", "", 0);
  if (self->node->n_input != 2 || !einsum_parse (plain->str, transposed))
    return pt_onnx_refuse (self, error, "found equation %s of %"
        G_GSIZE_FORMAT " inputs, expected a product of matrices, such as "
        "bij,bjk->bik", quoted, self->node->n_input);
  if (!products_get_factor (self, 0, &factors[0], error) ||
      !products_get_factor (self, 1, &factors[1], error))
    return FALSE;
  if (strstr (plain->str, "...") == NULL &&
      (factors[0].rank != factors[1].rank
          || factors[0].rank != strcspn (plain->str, ",")))
    return pt_onnx_refuse (self, error, "found inputs of %u and %u dimensions "
        "for equation %s, expected one for each letter", factors[0].rank,
        factors[1].rank, quoted);
  layer = products_add_matmul (self, factors, transposed, 1, error);
  return layer != ONNX_NO_LAYER &&
      pt_onnx_set_output (self, layer, products_get_rank (factors), error);
}

/* -- reductions -- */

typedef struct
{
  const gchar *op_type, *layer;
  gint64 since;                 /* opset from which on axes are an input */
  gboolean noop;                /* of no axes it is the input */
} Reduction;

static const Reduction reductions[] = {
  {"ReduceSum", "reduce-sum", 13, TRUE},
  {"ReduceMean", "reduce-mean", 18, TRUE},
  {"ReduceMax", "reduce-max", 18, TRUE},
  {"ReduceMin", "reduce-min", 18, TRUE},
  {"ReduceProd", "reduce-prod", 18, TRUE},
  {"ReduceL1", "reduce-l1", 18, FALSE},
  {"ReduceL2", "reduce-l2", 18, FALSE},
  {"ReduceSumSquare", "reduce-sum-square", 18, FALSE},
  {"ReduceLogSum", "reduce-log-sum", 18, FALSE},
  {"ReduceLogSumExp", "reduce-log-sum-exp", 18, FALSE},
};

/* The node's axes as places, all if it names none; "2;3" in @words. */
static gboolean
products_get_axes (OnnxImport *self, const OnnxValue *x, gint64 *axes,
    guint n, GString *words, guint *places, GError **error)
{
  *places = 0;
  for (guint i = 0; i < (n > 0 ? n : x->rank); i++) {
    const gint place =
        pt_onnx_need_axis (self, x, n > 0 ? axes[i] : i, error);

    if (place < 0)
      return FALSE;
    g_string_append_printf (words, "%s%d", *places ? ";" : "", place);
    *places |= 1u << place;
  }
  return TRUE;
}

static gboolean
products_reduce (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  const gboolean keep = pt_onnx_get_int (self, "keepdims", 1) != 0;
  const Reduction *reduction = reductions;
  g_autoptr (GString) words = g_string_new ("dim=");
  gint64 axes[ONNX_MAX_DIMS];
  guint n, places;
  gint layer;

  while (strcmp (reduction->op_type, self->node->op_type) != 0)
    reduction++;
  if (x == NULL || !pt_onnx_get_list (self, 1, "axes", reduction->since, axes,
          &n, error))
    return FALSE;
  if (n == 0 && pt_onnx_get_int (self, "noop_with_empty_axes", 0) != 0)
    return reduction->noop ? pt_onnx_pass (self, x, error) :
        pt_onnx_refuse (self, error, "found no axes and "
        "noop_with_empty_axes=1, expected axes");
  if (!products_get_axes (self, x, axes, n, words, &places, error))
    return FALSE;
  g_string_append (words, keep ? " keepdim=true" : " keepdim=false");
  layer = pt_onnx_add_layer (self, reduction->layer, &x->layer, 1, words->str,
      error);
  n = 0;
  for (guint i = 0; i < x->rank && !keep; i++)
    n += places >> i & 1;
  return layer != ONNX_NO_LAYER &&
      pt_onnx_set_output (self, layer, x->rank - n, error);
}

static gboolean
products_arg (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  const gboolean keep = pt_onnx_get_int (self, "keepdims", 1) != 0;
  const gboolean last = pt_onnx_get_int (self, "select_last_index", 0) != 0;
  g_autofree gchar *words = NULL;
  gint place, layer;

  if (x == NULL)
    return FALSE;
  place = pt_onnx_need_axis (self, x, pt_onnx_get_int (self, "axis", 0),
      error);
  if (place < 0)
    return FALSE;
  words = g_strdup_printf ("dim=%d keepdim=%s select_last_index=%s", place,
      keep ? "true" : "false", last ? "true" : "false");
  layer = pt_onnx_add_layer (self,
      strcmp (self->node->op_type, "ArgMax") == 0 ? "argmax" : "argmin",
      &x->layer, 1, words, error);
  return layer != ONNX_NO_LAYER &&
      pt_onnx_set_output (self, layer, x->rank - !keep, error);
}

/* -- softmax -- */

/* Before opset 13 all axes from the given one on were one. */
static gboolean
products_softmax_flat (OnnxImport *self, const gchar *kind,
    const OnnxValue *x, gint place, GError **error)
{
  const PtShape *shape = pt_onnx_get_shape (self, x->layer);
  const PtShape whole = *shape;
  PtShape flat = {.n_dims = place + 1 };
  g_autofree gchar *words = g_strdup_printf ("dim=%d", place);
  gint layer;

  flat.dims[place] = 1;
  for (guint i = 0; i < whole.n_dims; i++)
    if (i < (guint) place)
      flat.dims[i] = whole.dims[i];
    else
      flat.dims[place] *= whole.dims[i];
  layer = pt_onnx_reshape (self, x->layer, &flat, error);
  if (layer != ONNX_NO_LAYER)
    layer = pt_onnx_add_layer (self, kind, &layer, 1, words, error);
  if (layer != ONNX_NO_LAYER)
    layer = pt_onnx_reshape (self, layer, &whole, error);
  return layer != ONNX_NO_LAYER &&
      pt_onnx_set_output (self, layer, x->rank, error);
}

static gboolean
products_softmax (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error);
  const gchar *kind = strcmp (self->node->op_type, "Softmax") == 0 ?
      "softmax" : "log-softmax";
  g_autofree gchar *words = NULL;
  const PtShape *shape;
  gint place;

  if (x == NULL)
    return FALSE;
  place = pt_onnx_need_axis (self, x, pt_onnx_get_int (self, "axis",
          self->opset < 13 ? 1 : -1), error);
  if (place < 0)
    return FALSE;
  shape = pt_onnx_get_shape (self, x->layer);
  for (guint i = place + 1; i < shape->n_dims && self->opset < 13; i++)
    if (shape->dims[i] != 1)
      return products_softmax_flat (self, kind, x, place, error);
  words = g_strdup_printf ("dim=%d", place);
  return pt_onnx_add_unary (self, kind, x, words, error);
}

#define REDUCE_ATTRIBUTES " axes keepdims noop_with_empty_axes "

const OnnxOperator pt_onnx_ops_products[] = {
  {"ArgMax", products_arg, " axis keepdims select_last_index "},
  {"ArgMin", products_arg, " axis keepdims select_last_index "},
  {"Einsum", products_einsum, " equation "},
  {"Gemm", products_gemm, " alpha beta transA transB broadcast "},
  {"LogSoftmax", products_softmax, " axis "},
  {"MatMul", products_mat_mul, " "},
  {"ReduceL1", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceL2", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceLogSum", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceLogSumExp", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceMax", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceMean", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceMin", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceProd", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceSum", products_reduce, REDUCE_ATTRIBUTES},
  {"ReduceSumSquare", products_reduce, REDUCE_ATTRIBUTES},
  {"Softmax", products_softmax, " axis "},
  {NULL}
};
