/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/pool.h"

#include <string.h>

typedef struct
{
  gint kernel[2], stride[2], padding[4], dilation[2];
  gboolean ceil_mode, count_include_pad;
} AvgPool2dOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (AvgPool2dOptions, key)

static const PtParam avg_pool2d_params[] = {
  {ROW (kernel, INT_PAIR), NULL, 1, 1024, NULL, "size of the window, px"},
  {ROW (stride, INT_PAIR), "0", 0, 1024, NULL,
      "step of the window, px; 0: the kernel's size"},
  {ROW (padding, INT_SIDES), "0", 0, 512, NULL,
      "zeros put around the input, px"},
  {ROW (dilation, INT_PAIR), "1", 1, 1024, NULL,
      "distance of the window's elements, px"},
  {ROW (ceil_mode, BOOL), "false", 0, 0, NULL,
      "a last window may reach over the zeros around; what it has there does "
      "not count"},
  {ROW (count_include_pad, BOOL), "true", 0, 0, NULL,
      "the zeros around count in the mean"},
  {NULL}
};

#undef ROW

static PtWindow
avg_pool2d_get_window (const PtLayer *layer)
{
  const AvgPool2dOptions *o = layer->options;
  PtWindow window = pt_pool_window (o->kernel, o->stride);

  memcpy (window.padding, o->padding, sizeof window.padding);
  memcpy (window.dilation, o->dilation, sizeof window.dilation);
  window.ceil_mode = o->ceil_mode;
  return window;
}

static gboolean
avg_pool2d_infer (PtLayer *layer, GError **error)
{
  PtWindow window = avg_pool2d_get_window (layer);

  return pt_layer_check_rank (layer, 4, error) &&
      pt_pool_infer (layer, &window, error);
}

static gboolean
avg_pool2d_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const AvgPool2dOptions *options = layer->options;
  PtWindow window = avg_pool2d_get_window (layer);
  PtPoolDesc desc = pt_pool_describe (PT_POOL_AVG, &window);

  desc.count_include_pad = options->count_include_pad;
  return pt_pool_plan (layer, workspace, plan, &desc, error);
}

static gdouble
avg_pool2d_flops (const PtLayer *layer)
{
  PtWindow window = avg_pool2d_get_window (layer);

  return pt_pool_flops (layer, &window);
}

static const gchar *const avg_pool2d_samples[] = {
  "in=1x3x6x8 kernel=2",
  "in=1x2x7x9 kernel=3 stride=2 padding=1",
  "in=1x2x7x6 kernel=3;2 stride=1 padding=1 count_include_pad=false",
  "in=1x3x8x7 kernel=3 stride=2 padding=1 ceil_mode=true",
  "in=1x5x8x7 kernel=3;4 stride=3 padding=1 ceil_mode=true "
      "count_include_pad=false",
  "in=1x4x6x7 kernel=3 stride=2 padding=0;1;2;0 ceil_mode=true",
  "in=1x4x6x7 kernel=3 stride=1 padding=2;0;1;1 count_include_pad=false",
  "in=1x3x9x8 kernel=2;3 stride=2 dilation=3;2 padding=1;1;2;0",
  NULL,
};

const PtLayerKind pt_layer_avg_pool2d = {
  .name = "avg-pool2d",
  .summary = "mean of each window, torch.nn.AvgPool2d",
  .options_size = sizeof (AvgPool2dOptions),
  .params = avg_pool2d_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = avg_pool2d_samples,
  .infer = avg_pool2d_infer,
  .plan = avg_pool2d_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
  .flops = avg_pool2d_flops,
};
