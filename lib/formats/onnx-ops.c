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

static gboolean
ops_global_average (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 3, 4, error);

  return x != NULL && pt_onnx_add_unary (self, "global-avg-pool", x, "",
      error);
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

  if (training != NULL && (training->constant == NULL ||
          training->constant->has_raw_data == FALSE ||
          training->constant->raw_data.len != 1 ||
          training->constant->raw_data.data[0] != 0) &&
      (training->constant == NULL || training->constant->n_int32_data != 1 ||
          training->constant->int32_data[0] != 0))
    return pt_onnx_refuse (self, error, "found it in training, expected it in "
        "inference: export after model.eval()");
  return ops_identity (self, error);
}

const OnnxOperator pt_onnx_ops[] = {
  {"BatchNormalization", ops_batch_norm,
      " epsilon momentum spatial training_mode is_test consumed_inputs "},
  {"Dropout", ops_dropout, " ratio seed is_test "},
  {"GlobalAveragePool", ops_global_average, " "},
  {"Identity", ops_identity, " "},
  {NULL}
};
