/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* Operators over all of their input. */

/* Before opset 13 all axes from the given one on were one. */
static gboolean
ops_softmax (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 1, 4, error);
  gint64 dims[PT_MAX_DIMS], axis;

  if (x == NULL)
    return FALSE;
  pt_onnx_get_dims (self, x, dims);
  axis = pt_onnx_get_axis (x, pt_onnx_get_int (self, "axis",
          self->opset < 13 ? 1 : -1));
  if (axis != 1 || x->rank < 2 ||
      (self->opset < 13 && dims[2] * dims[3] != 1))
    return pt_onnx_refuse (self, error, "found axis %" G_GINT64_FORMAT " of %u"
        " dimensions, expected axis 1, over channels alone", axis, x->rank);
  return pt_onnx_add_unary (self, "softmax", x, "", error);
}

static gboolean
ops_batch_norm (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 2, 4, error);
  gchar eps[G_ASCII_DTOSTR_BUF_SIZE];
  g_autofree gchar *words = NULL;
  guint rank;
  gint layer;

  if (x == NULL)
    return FALSE;
  rank = x->rank;
  if (pt_onnx_get_int (self, "training_mode", 0) != 0 ||
      (self->opset < 7 && pt_onnx_get_int (self, "is_test", 0) == 0) ||
      pt_onnx_get_int (self, "spatial", 1) != 1)
    return pt_onnx_refuse (self, error, "found it in training, or per pixel, "
        "expected it in inference: export after model.eval()");
  g_ascii_dtostr (eps, sizeof eps, pt_onnx_get_float (self, "epsilon", 1e-5));
  words = g_strconcat ("statistics=running eps=", eps, NULL);
  layer = pt_onnx_add_layer (self, "batch-norm", &x->layer, 1, words, error);
  if (layer == ONNX_NO_LAYER)
    return FALSE;
  for (guint i = 0; i < 4; i++) {
    const Onnx__TensorProto *tensor =
        pt_onnx_need_constant (self, i + 1, error);

    if (tensor == NULL ||
        !pt_onnx_take_weight (self, layer, i, tensor, error))
      return FALSE;
  }
  return pt_onnx_set_output (self, layer, rank, error);
}

/* -- products -- */

/* @scale times the matrix, as (units, features). */
static gboolean
ops_take_matrix (OnnxImport *self, gint layer, const Onnx__TensorProto *tensor,
    gboolean transposed, gdouble scale, GError **error)
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

/* A linear layer after input 0 with the matrix of input 1. */
static gint
ops_add_linear (OnnxImport *self, gboolean transposed, gboolean bias,
    gdouble scale, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 2, 2, error);
  const Onnx__TensorProto *tensor =
      x ? pt_onnx_need_constant (self, 1, error) : NULL;
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gchar *words = NULL;
  gint row, layer;
  guint n_dims;

  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims,
          &n, error))
    return ONNX_NO_LAYER;
  row = pt_onnx_as_row (self, x, error);
  if (row == ONNX_NO_LAYER)
    return ONNX_NO_LAYER;
  if (n_dims != 2 || dims[transposed ? 1 : 0] !=
      pt_onnx_get_shape (self, row)->dims[1]) {
    pt_onnx_refuse (self, error, "found a constant of %u dimensions with %"
        G_GINT64_FORMAT " elements, expected a matrix for the %"
        G_GINT64_FORMAT " features of input 0", n_dims, n,
        pt_onnx_get_shape (self, row)->dims[1]);
    return ONNX_NO_LAYER;
  }
  words = g_strdup_printf ("units=%" G_GINT64_FORMAT " bias=%s",
      dims[transposed ? 0 : 1], bias ? "true" : "false");
  layer = pt_onnx_add_layer (self, "linear", &row, 1, words, error);
  if (layer == ONNX_NO_LAYER ||
      !ops_take_matrix (self, layer, tensor, transposed, scale, error))
    return ONNX_NO_LAYER;
  return layer;
}

/* A bias of one number for all, one per unit, or a row of those. */
static gboolean
ops_take_bias (OnnxImport *self, gint layer, const Onnx__TensorProto *tensor,
    gdouble scale, GError **error)
{
  const gint64 units =
      self->network->nodes[layer].layer->weights[1].shape.dims[0];
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gfloat *data = NULL;
  gfloat *bias;
  guint n_dims;

  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, error))
    return FALSE;
  if (n_dims > 2 || (n != 1 && (n != units || dims[n_dims - 1] != units)))
    return pt_onnx_refuse (self, error, "found a bias of %" G_GINT64_FORMAT
        " elements, expected %" G_GINT64_FORMAT " or one", n, units);
  data = pt_onnx_tensor_get_floats (self, tensor, error);
  if (data == NULL)
    return FALSE;
  bias = g_new (gfloat, units);
  for (gint64 i = 0; i < units; i++)
    bias[i] = scale * data[n == 1 ? 0 : i];
  return pt_onnx_set_weight (self, layer, 1, bias, error);
}

/* alpha x B + beta C. */
static gboolean
ops_gemm (OnnxImport *self, GError **error)
{
  const gboolean bias = self->node->n_input > 2 && *self->node->input[2];
  const Onnx__TensorProto *tensor = NULL;
  gint layer;

  if (pt_onnx_get_int (self, "transA", 0) != 0)
    return pt_onnx_refuse (self, error, "found transA=1, expected 0: frames "
        "cannot be mixed");
  if (bias && (tensor = pt_onnx_need_constant (self, 2, error)) == NULL)
    return FALSE;
  layer = ops_add_linear (self, pt_onnx_get_int (self, "transB", 0) != 0, bias,
      pt_onnx_get_float (self, "alpha", 1), error);
  return layer != ONNX_NO_LAYER && (!bias || ops_take_bias (self, layer,
          tensor, pt_onnx_get_float (self, "beta", 1), error)) &&
      pt_onnx_set_output (self, layer, 2, error);
}

static gboolean
ops_mat_mul (OnnxImport *self, GError **error)
{
  const gint layer = ops_add_linear (self, FALSE, FALSE, 1, error);

  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, 2, error);
}

/* -- what does nothing in inference -- */

static gboolean
ops_identity (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_get_input (self, 0);

  if (x == NULL)
    return pt_onnx_refuse (self, error, "input 0 is missing");
  return pt_onnx_pass (self, x, error);
}

static gboolean
ops_dropout (OnnxImport *self, GError **error)
{
  const OnnxValue *training = pt_onnx_get_input (self, 2);
  g_autofree gfloat *trains = NULL;

  if (training != NULL && training->constant != NULL &&
      (trains = pt_onnx_tensor_get_floats (self, training->constant,
              error)) == NULL)
    return FALSE;
  if (training != NULL && (trains == NULL || trains[0] != 0))
    return pt_onnx_refuse (self, error, "found it in training, expected it in "
        "inference: export after model.eval()");
  return ops_identity (self, error);
}

/* All that comes from the picture is float here, whatever the model calls it;
 * no layer has integers. */
static gboolean
ops_cast (OnnxImport *self, GError **error)
{
  const OnnxValue *like = pt_onnx_get_input (self, 1);
  const gint64 to = like == NULL ? pt_onnx_get_int (self, "to", 0) :
      like->constant == NULL ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT :
      like->constant->data_type;

  switch (to) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
      return ops_identity (self, error);
    default:
      return pt_onnx_refuse (self, error, "found data type %" G_GINT64_FORMAT
          " for what comes from the picture, expected one of floats: choose an "
          "output before it (network.output)", to);
  }
}

const OnnxOperator pt_onnx_ops[] = {
  {"BatchNormalization", ops_batch_norm,
      " epsilon momentum spatial training_mode is_test consumed_inputs "},
  {"Cast", ops_cast, " to saturate "},
  {"CastLike", ops_cast, " saturate "},
  {"Dropout", ops_dropout, " ratio seed is_test "},
  {"Gemm", ops_gemm, " alpha beta transA transB broadcast "},
  {"Identity", ops_identity, " "},
  {"MatMul", ops_mat_mul, " "},
  {"Softmax", ops_softmax, " axis "},
  {NULL}
};
