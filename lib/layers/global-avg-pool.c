/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

static const PtParam global_avg_pool_params[] = {
  {NULL}
};

static gboolean
global_avg_pool_infer (PtLayer *layer, GError **error)
{
  const PtShape *x = &layer->inputs[0];

  if (!pt_layer_check_rank (layer, 4, error))
    return FALSE;
  if (MAX (pt_shape_h (x), pt_shape_w (x)) > G_MAXINT) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "input of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
        " pixels, expected at most %d either way", pt_shape_h (x),
        pt_shape_w (x), G_MAXINT);
    return FALSE;
  }
  layer->output = PT_SHAPE (1, pt_shape_c (x), 1, 1);
  return TRUE;
}

/* A mean over one window, the whole input. */
static gboolean
global_avg_pool_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_POOL);
  gint h = pt_shape_h (&desc.x), w = pt_shape_w (&desc.x);

  desc.pool = (PtPoolDesc) {
    .kind = PT_POOL_AVG,
    .kernel = {h, w},
    .stride = {h, w},
    .count_include_pad = TRUE,
  };
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_POOL_BACKWARD,
      error);
}

static gdouble
global_avg_pool_flops (const PtLayer *layer)
{
  return pt_shape_get_n_elements (&layer->inputs[0]);
}

static const gchar *const global_avg_pool_samples[] = {
  "in=1x5x4x7",
  "in=1x16x3x3",
  NULL,
};

const PtLayerKind pt_layer_global_avg_pool = {
  .name = "global-avg-pool",
  .summary = "mean of each channel, torch.nn.AdaptiveAvgPool2d (1)",
  .params = global_avg_pool_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = global_avg_pool_samples,
  .infer = global_avg_pool_infer,
  .plan = global_avg_pool_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
  .flops = global_avg_pool_flops,
};
