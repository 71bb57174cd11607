/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/pool.h"

#include <string.h>

typedef struct
{
  gint norm_type;
  gint kernel[2], stride[2], padding[4], dilation[2];
  gboolean ceil_mode;
} LpPoolOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (LpPoolOptions, key)
#define NORM_TYPE {ROW (norm_type, INT), "2", 1, 64, NULL, \
    "p of (sum |x|^p)^(1/p)"}

static const PtParam lp_pool2d_params[] = {
  NORM_TYPE,
  {ROW (kernel, INT_PAIR), NULL, 1, 1024, NULL, "size of the window, px"},
  {ROW (stride, INT_PAIR), "0", 0, 1024, NULL,
      "step of the window, px; 0: the kernel's size"},
  {ROW (padding, INT_SIDES), "0", 0, 512, NULL,
      "zeros put around the input, px"},
  {ROW (dilation, INT_PAIR), "1", 1, 1024, NULL,
      "distance of the window's elements, px"},
  {ROW (ceil_mode, BOOL), "false", 0, 0, NULL,
      "a last window may reach over the zeros around"},
  {NULL}
};

static const PtParam global_lp_pool_params[] = {
  NORM_TYPE,
  {NULL}
};

#undef NORM_TYPE
#undef ROW

/* A kernel of 0 is the whole input. */
static gboolean
lp_pool_get_window (const PtLayer *layer, PtWindow *window, GError **error)
{
  const LpPoolOptions *o = layer->options;

  if (o->kernel[0] == 0)
    return pt_pool_window_whole (&layer->inputs[0], window, error);
  *window = pt_pool_window (o->kernel, o->stride);
  memcpy (window->padding, o->padding, sizeof window->padding);
  memcpy (window->dilation, o->dilation, sizeof window->dilation);
  window->ceil_mode = o->ceil_mode;
  return TRUE;
}

static gboolean
lp_pool_infer (PtLayer *layer, GError **error)
{
  PtWindow window;

  layer->backward_uses_x = TRUE;
  layer->backward_uses_y = TRUE;
  return pt_layer_check_rank (layer, 4, error) &&
      lp_pool_get_window (layer, &window, error) &&
      pt_pool_infer (layer, &window, error);
}

static gboolean
lp_pool_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const LpPoolOptions *options = layer->options;
  PtPoolDesc desc;
  PtWindow window;

  if (!lp_pool_get_window (layer, &window, error))
    return FALSE;
  desc = pt_pool_describe (PT_POOL_LP, &window);
  desc.p = options->norm_type;
  return pt_pool_plan (layer, workspace, plan, &desc, error);
}

static gdouble
lp_pool_flops (const PtLayer *layer)
{
  PtWindow window;

  return lp_pool_get_window (layer, &window, NULL) ?
      2 * pt_pool_flops (layer, &window) : 0;
}

static const gchar *const lp_pool2d_samples[] = {
  "in=1x3x6x8 kernel=2",
  "in=1x2x7x9 kernel=3;2 stride=2 ceil_mode=true norm_type=4",
  "in=1x4x5x6 kernel=3 stride=1 padding=1;0;2;1",
  "in=1x2x7x6 kernel=2 dilation=2;3 stride=1 norm_type=3",
  NULL,
};

const PtLayerKind pt_layer_lp_pool2d = {
  .name = "lp-pool2d",
  .summary = "p-norm of each window, torch.nn.LPPool2d of |x|",
  .options_size = sizeof (LpPoolOptions),
  .params = lp_pool2d_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = lp_pool2d_samples,
  .infer = lp_pool_infer,
  .plan = lp_pool_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
  .flops = lp_pool_flops,
};

static const gchar *const global_lp_pool_samples[] = {
  "in=1x5x4x7",
  "in=1x8x3x3 norm_type=3",
  "in=1x3x4x3 norm_type=1",
  NULL,
};

const PtLayerKind pt_layer_global_lp_pool = {
  .name = "global-lp-pool",
  .summary = "p-norm of each channel, torch.linalg.vector_norm over its "
      "pixels",
  .options_size = sizeof (LpPoolOptions),
  .params = global_lp_pool_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = global_lp_pool_samples,
  .infer = lp_pool_infer,
  .plan = lp_pool_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
  .flops = lp_pool_flops,
};
