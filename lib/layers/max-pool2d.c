/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/pool.h"

#include <string.h>

typedef struct
{
  gint kernel[2], stride[2], padding[4], dilation[2];
  gboolean ceil_mode;
} MaxPool2dOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (MaxPool2dOptions, key)

static const PtParam max_pool2d_params[] = {
  {ROW (kernel, INT_PAIR), NULL, 1, 1024, NULL, "size of the window, px"},
  {ROW (stride, INT_PAIR), "0", 0, 1024, NULL,
      "step of the window, px; 0: the kernel's size"},
  {ROW (padding, INT_SIDES), "0", 0, 512, NULL,
      "border that never is the maximum, px"},
  {ROW (dilation, INT_PAIR), "1", 1, 1024, NULL,
      "distance of the window's elements, px"},
  {ROW (ceil_mode, BOOL), "false", 0, 0, NULL,
      "a last window may reach over the border"},
  {NULL}
};

#undef ROW

static PtWindow
max_pool2d_get_window (const PtLayer *layer)
{
  const MaxPool2dOptions *o = layer->options;
  PtWindow window = pt_pool_window (o->kernel, o->stride);

  memcpy (window.padding, o->padding, sizeof window.padding);
  memcpy (window.dilation, o->dilation, sizeof window.dilation);
  window.ceil_mode = o->ceil_mode;
  return window;
}

static gboolean
max_pool2d_infer (PtLayer *layer, GError **error)
{
  PtWindow window = max_pool2d_get_window (layer);

  return pt_layer_check_rank (layer, 4, error) &&
      pt_pool_infer_max (layer, &window, error);
}

static gboolean
max_pool2d_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  PtWindow window = max_pool2d_get_window (layer);
  PtPoolDesc desc = pt_pool_describe (PT_POOL_MAX, &window);

  return pt_pool_plan (layer, workspace, plan, &desc, error);
}

static gdouble
max_pool2d_flops (const PtLayer *layer)
{
  PtWindow window = max_pool2d_get_window (layer);

  return pt_pool_flops (layer, &window);
}

static const gchar *const max_pool2d_samples[] = {
  "in=1x3x6x8 kernel=2",
  "in=1x2x7x9 kernel=3 stride=2 padding=1",
  "in=1x2x7x6 kernel=3;2 stride=1",
  "in=1x3x8x7 kernel=3 stride=2 padding=1 ceil_mode=true",
  "in=1x2x9x10 kernel=3;2 stride=2;1 dilation=2;3 padding=1",
  "in=1x4x6x7 kernel=3 stride=2 padding=0;1;2;0",
  "in=1x2x5x5 kernel=3 stride=1 padding=2",
  NULL,
};

const PtLayerKind pt_layer_max_pool2d = {
  .name = "max-pool2d",
  .summary = "largest element of each window, torch.nn.MaxPool2d",
  .options_size = sizeof (MaxPool2dOptions),
  .params = max_pool2d_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = max_pool2d_samples,
  .infer = max_pool2d_infer,
  .plan = max_pool2d_plan,
  .forward = pt_pool_forward_max,
  .backward = pt_pool_backward_max,
  .flops = max_pool2d_flops,
};
