/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

static const PtParam softmax_params[] = {
  {NULL}
};

static gboolean
softmax_infer (PtLayer *layer, GError **error)
{
  layer->backward_uses_y = TRUE;
  return pt_layer_same_shape (layer, error);
}

static gboolean
softmax_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_SOFTMAX);

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
  NULL,
};

const PtLayerKind pt_layer_softmax = {
  .name = "softmax",
  .summary = "channels as probabilities, torch.nn.Softmax (dim=1)",
  .params = softmax_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = softmax_samples,
  .infer = softmax_infer,
  .plan = softmax_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
  .flops = softmax_flops,
};
