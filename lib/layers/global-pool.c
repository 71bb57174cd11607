/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/pool.h"

/* Pools over one window, the whole input. */

static const PtParam global_pool_params[] = {
  {NULL}
};

static gboolean
global_avg_pool_infer (PtLayer *layer, GError **error)
{
  PtWindow window;

  return pt_layer_check_rank (layer, 4, error) &&
      pt_pool_window_whole (&layer->inputs[0], &window, error) &&
      pt_pool_infer (layer, &window, error);
}

static gboolean
global_max_pool_infer (PtLayer *layer, GError **error)
{
  PtWindow window;

  return pt_layer_check_rank (layer, 4, error) &&
      pt_pool_window_whole (&layer->inputs[0], &window, error) &&
      pt_pool_infer_max (layer, &window, error);
}

static gboolean
global_pool_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, PtPoolKind kind, GError **error)
{
  PtPoolDesc desc;
  PtWindow window;

  if (!pt_pool_window_whole (&layer->inputs[0], &window, error))
    return FALSE;
  desc = pt_pool_describe (kind, &window);
  desc.count_include_pad = TRUE;
  return pt_pool_plan (layer, workspace, plan, &desc, error);
}

static gboolean
global_avg_pool_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  return global_pool_plan (layer, workspace, plan, PT_POOL_AVG, error);
}

static gboolean
global_max_pool_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  return global_pool_plan (layer, workspace, plan, PT_POOL_MAX, error);
}

static gdouble
global_pool_flops (const PtLayer *layer)
{
  return pt_shape_get_n_elements (&layer->inputs[0]);
}

static const gchar *const global_pool_samples[] = {
  "in=1x5x4x7",
  "in=1x16x3x3",
  NULL,
};

const PtLayerKind pt_layer_global_avg_pool = {
  .name = "global-avg-pool",
  .summary = "mean of each channel, torch.nn.AdaptiveAvgPool2d (1)",
  .params = global_pool_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = global_pool_samples,
  .infer = global_avg_pool_infer,
  .plan = global_avg_pool_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
  .flops = global_pool_flops,
};

const PtLayerKind pt_layer_global_max_pool = {
  .name = "global-max-pool",
  .summary = "largest element of each channel, torch.nn.AdaptiveMaxPool2d (1)",
  .params = global_pool_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = global_pool_samples,
  .infer = global_max_pool_infer,
  .plan = global_max_pool_plan,
  .forward = pt_pool_forward_max,
  .backward = pt_pool_backward_max,
  .flops = global_pool_flops,
};
