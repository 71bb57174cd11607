/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

typedef struct
{
  gint dim;
} SoftmaxOptions;

static const PtParam softmax_params[] = {
  {"dim", PT_PARAM_INT, G_STRUCT_OFFSET (SoftmaxOptions, dim), "1",
      -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL, "axis; below 0 from the end"},
  {NULL}
};

extern const PtLayerKind pt_layer_log_softmax;

static gint
softmax_get_axis (const PtLayer *layer)
{
  const gint dim = ((SoftmaxOptions *) layer->options)->dim;

  return dim < 0 ? dim + (gint) layer->inputs[0].n_dims : dim;
}

static gboolean
softmax_infer (PtLayer *layer, GError **error)
{
  const gint rank = layer->inputs[0].n_dims, axis = softmax_get_axis (layer);
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (axis < 0 || axis >= rank) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "dim=%d for an input of "
        "shape %s, expected %d to %d",
        ((SoftmaxOptions *) layer->options)->dim,
        pt_shape_print (&layer->inputs[0], text), -rank, rank - 1);
    return FALSE;
  }
  layer->backward_uses_y = TRUE;
  return pt_layer_same_shape (layer, error);
}

static gboolean
softmax_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_SOFTMAX);

  desc.softmax.axis = softmax_get_axis (layer);
  desc.softmax.log = layer->kind == &pt_layer_log_softmax;
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_SOFTMAX_BACKWARD,
      error);
}

/* exp counts for about ten. */
static gdouble
softmax_flops (const PtLayer *layer)
{
  return 12.0 * pt_shape_get_n_elements (&layer->output);
}

static const gchar *const softmax_samples[] = {
  "in=1x10",
  "in=1x5x3x4",
  "in=1x5x3x4 dim=-1",
  "in=1x8x5x19 dim=3",
  "in=2x3x4x5x6 dim=2",
  "in=7x150",
  "in=3x5x70 dim=1",
  "in=4x3 dim=0",
  NULL,
};

#define SOFTMAX(symbol, text, about) \
  const PtLayerKind pt_layer_ ## symbol = { \
    .name = text, \
    .summary = about, \
    .options_size = sizeof (SoftmaxOptions), \
    .params = softmax_params, \
    .min_inputs = 1, \
    .max_inputs = 1, \
    .any_shape = TRUE, \
    .samples = softmax_samples, \
    .infer = softmax_infer, \
    .plan = softmax_plan, \
    .forward = pt_layer_forward_unary, \
    .backward = pt_layer_backward_unary, \
    .flops = softmax_flops, \
  }

SOFTMAX (softmax, "softmax", "an axis as probabilities, torch.nn.Softmax");
SOFTMAX (log_softmax, "log-softmax",
    "logarithm of an axis as probabilities, torch.nn.LogSoftmax");
