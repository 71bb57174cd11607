/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* Operators over all of their input. */

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

/* All that comes from the picture is float here, whatever the model calls it:
 * whole numbers are cut off, truth values are 0 and 1. */
static gboolean
ops_cast_whole (OnnxImport *self, const OnnxValue *x, GError **error)
{
  static const gchar whole[] = " argmax argmin eq le lt trunc ";
  const PtLayer *layer = x->layer == PT_NETWORK_INPUT ? NULL :
      self->network->nodes[x->layer].layer;

  if (layer != NULL && strstr (whole, layer->kind->name) != NULL)
    return ops_identity (self, error);
  return pt_onnx_add_unary (self, "trunc", x, "", error);
}

static gboolean
ops_cast (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  const OnnxValue *like = pt_onnx_get_input (self, 1);
  const gint64 to = like == NULL ? pt_onnx_get_int (self, "to", 0) :
      like->constant == NULL ? ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT :
      like->constant->data_type;

  if (x == NULL)
    return FALSE;
  switch (to) {
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT:
    case ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16:
    case ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
      return ops_identity (self, error);
    case ONNX__TENSOR_PROTO__DATA_TYPE__BOOL:
      return pt_onnx_add_truth (self, x, error);
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
    case ONNX__TENSOR_PROTO__DATA_TYPE__INT64:
      return ops_cast_whole (self, x, error);
    default:
      return pt_onnx_refuse (self, error, "found data type %" G_GINT64_FORMAT
          " for what comes from the picture, expected one of floats, int32, "
          "int64 or bool: choose an output before it (network.output)", to);
  }
}

const OnnxOperator pt_onnx_ops[] = {
  {"BatchNormalization", ops_batch_norm,
      " epsilon momentum spatial training_mode is_test consumed_inputs "},
  {"Cast", ops_cast, " to saturate "},
  {"CastLike", ops_cast, " saturate "},
  {"Dropout", ops_dropout, " ratio seed is_test "},
  {"Identity", ops_identity, " "},
  {NULL}
};
