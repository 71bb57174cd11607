/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <math.h>
#include <string.h>

/* Operators over all of their input. */

/* Weight @i of 4, as many numbers as there are channels; NULL with an error. */
static gfloat *
ops_get_statistics (OnnxImport *self, guint i, gint64 channels,
    GError **error)
{
  const Onnx__TensorProto *tensor =
      pt_onnx_need_constant (self, i + 1, error);
  gint64 dims[ONNX_MAX_DIMS], n;
  guint rank;

  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &rank,
          &n, error))
    return NULL;
  if (n == channels)
    return pt_onnx_tensor_get_floats (self, tensor, error);
  pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " numbers in input %u,"
      " expected one for each of %" G_GINT64_FORMAT " channels", n, i + 1,
      channels);
  return NULL;
}

/* Of rows that are not frames, such as the tokens of a transformer: a factor
 * and a summand for each channel. */
static gboolean
ops_scale_rows (OnnxImport *self, const OnnxValue *x, GError **error)
{
  const gint64 channels = pt_onnx_get_shape (self, x->layer)->dims[1];
  const gdouble eps = pt_onnx_get_float (self, "epsilon", 1e-5);
  g_autofree gchar *words = g_strdup_printf ("learned=true other=%"
      G_GINT64_FORMAT "%s", channels, x->rank == 4 ? ";1;1" :
      x->rank == 3 ? ";1" : "");
  const guint rank = x->rank;
  gfloat *numbers[4] = { NULL };        /* scale, shift, mean, variance */
  gboolean done = TRUE;
  gint layer = pt_onnx_exact (self, x, error);

  for (guint i = 0; i < 4 && done; i++)
    done = (numbers[i] = ops_get_statistics (self, i, channels,
            error)) != NULL;
  for (gint64 c = 0; c < channels && done; c++) {
    numbers[0][c] /= sqrt (numbers[3][c] + eps);
    numbers[1][c] -= numbers[2][c] * numbers[0][c];
  }
  for (guint i = 0; i < 2 && done; i++) {
    if (layer != ONNX_NO_LAYER)
      layer = pt_onnx_add_layer (self, i == 0 ? "mul" : "add", &layer, 1,
          words, error);
    done = layer != ONNX_NO_LAYER && pt_onnx_set_weight (self, layer, 0,
        g_steal_pointer (&numbers[i]), error);
  }
  for (guint i = 0; i < 4; i++)
    g_free (numbers[i]);
  return done && pt_onnx_set_output (self, layer, rank, error);
}

static gboolean
ops_batch_norm (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 2, 4, error);
  gchar eps[G_ASCII_DTOSTR_BUF_SIZE];
  g_autofree gchar *words = NULL;
  const PtShape *shape;
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
  shape = pt_onnx_get_shape (self, x->layer);
  if (shape->dims[0] != 1 || shape->n_dims < 3)
    return ops_scale_rows (self, x, error);
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
  static const gchar *const whole[] = { "argmax", "argmin", "eq", "le", "lt",
    "trunc", NULL
  };
  const PtLayer *layer = x->layer == PT_NETWORK_INPUT ? NULL :
      self->network->nodes[x->layer].layer;

  if (layer != NULL && g_strv_contains (whole, layer->kind->name))
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
  if (like != NULL && like->whole)
    return pt_onnx_refuse (self, error, "found input 1, \"%.60s\", of integers "
        "or truth values of the picture's, expected floats or a Cast that names "
        "the type", self->node->input[1]);
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
