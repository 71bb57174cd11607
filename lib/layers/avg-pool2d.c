/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

typedef struct
{
  gint kernel[2], stride[2], padding[2];
  gboolean count_include_pad;
} AvgPool2dOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (AvgPool2dOptions, key)

static const PtParam avg_pool2d_params[] = {
  {ROW (kernel, INT_PAIR), NULL, 1, 1024, NULL, "size of the window, px"},
  {ROW (stride, INT_PAIR), "0", 0, 1024, NULL,
      "step of the window, px; 0: the kernel's size"},
  {ROW (padding, INT_PAIR), "0", 0, 512, NULL,
      "zeros put around the input, px"},
  {ROW (count_include_pad, BOOL), "true", 0, 0, NULL,
      "the zeros around count in the mean"},
  {NULL}
};

#undef ROW

static PtPoolDesc
avg_pool2d_describe (const PtLayer *layer)
{
  const AvgPool2dOptions *options = layer->options;
  PtPoolDesc desc = {
    .kind = PT_POOL_AVG,
    .count_include_pad = options->count_include_pad,
  };

  for (guint i = 0; i < 2; i++) {
    desc.kernel[i] = options->kernel[i];
    desc.stride[i] = options->stride[i] ? options->stride[i] :
        options->kernel[i];
    desc.padding[i] = options->padding[i];
  }
  return desc;
}

static gboolean
avg_pool2d_infer (PtLayer *layer, GError **error)
{
  PtPoolDesc desc = avg_pool2d_describe (layer);
  gint64 out[2];

  if (!pt_layer_check_rank (layer, 4, error) ||
      !pt_layer_check_pool_padding (desc.kernel, desc.padding, error) ||
      !pt_layer_infer_window (&layer->inputs[0], desc.kernel, desc.stride,
          desc.padding, NULL, out, error))
    return FALSE;
  layer->output = PT_SHAPE (1, pt_shape_c (&layer->inputs[0]), out[0], out[1]);
  return TRUE;
}

static gboolean
avg_pool2d_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_POOL);

  desc.pool = avg_pool2d_describe (layer);
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_POOL_BACKWARD,
      error);
}

static gdouble
avg_pool2d_flops (const PtLayer *layer)
{
  const AvgPool2dOptions *options = layer->options;

  return (gdouble) options->kernel[0] * options->kernel[1] *
      pt_shape_get_n_elements (&layer->output);
}

static const gchar *const avg_pool2d_samples[] = {
  "in=1x3x6x8 kernel=2",
  "in=1x2x7x9 kernel=3 stride=2 padding=1",
  "in=1x2x7x6 kernel=3;2 stride=1 padding=1 count_include_pad=false",
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
