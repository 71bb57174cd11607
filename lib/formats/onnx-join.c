/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* Sums. */

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
  }
  if (!join_collect (self, layers, n, &rank, error))
    return FALSE;
  layer = pt_onnx_add_layer (self, "add", layers, n, "", error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, rank,
      error);
}

const OnnxOperator pt_onnx_ops_join[] = {
  {"Add", join_add, " axis broadcast consumed_inputs "},
  {"Sum", join_add, " consumed_inputs "},
  {NULL}
};
