/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

static const PtParam flatten_params[] = {
  {NULL}
};

static gboolean
flatten_infer (PtLayer *layer, GError **error)
{
  layer->output = PT_SHAPE (1, pt_shape_get_n_elements (&layer->inputs[0]));
  return TRUE;
}

static gboolean
flatten_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_FLATTEN);

  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_UNFLATTEN,
      error);
}

static const gchar *const flatten_samples[] = {
  "in=1x3x4x5",
  "in=1x16x1x1",
  "in=1x9",
  NULL,
};

const PtLayerKind pt_layer_flatten = {
  .name = "flatten",
  .summary = "channels, rows and columns as one row, torch.nn.Flatten",
  .params = flatten_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = flatten_samples,
  .infer = flatten_infer,
  .plan = flatten_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
};
