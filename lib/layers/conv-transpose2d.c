/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/affine.h"

typedef struct
{
  gint filters;
  gint kernel[2], stride[2], padding[4], output_padding[2], dilation[2];
  gint groups;
  gboolean bias;
  gint activation;
  gdouble negative_slope, lr_scale;
} ConvTranspose2dOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (ConvTranspose2dOptions, key)

static const PtParam conv_transpose2d_params[] = {
  {ROW (filters, INT), NULL, 1, 65536, NULL, "output channels"},
  {ROW (kernel, INT_PAIR), NULL, 1, 1024, NULL, "size of the kernel, px"},
  {ROW (stride, INT_PAIR), "1", 1, 1024, NULL,
      "distance in the output of what neighbours of the input make, px"},
  {ROW (padding, INT_SIDES), "0", 0, 4096, NULL,
      "taken off each side of the output, px"},
  {ROW (output_padding, INT_PAIR), "0", 0, 1024, NULL,
      "put below and to the right of the output, px"},
  {ROW (dilation, INT_PAIR), "1", 1, 1024, NULL,
      "distance of the kernel's elements, px"},
  {ROW (groups, INT), "1", 1, 65536, NULL,
      "parts into which the channels are cut, each with its own filters"},
  {ROW (bias, BOOL), "true", 0, 0, NULL, "adds a learned number per filter"},
  {ROW (activation, ENUM), "none", 0, 0, pt_activation_names,
      "applied to the output"},
  {ROW (negative_slope, DOUBLE), "0.01", 0, 100, NULL,
      "slope below zero of activation=leaky-relu"},
  {ROW (lr_scale, DOUBLE), "1", 0, 1e6, NULL,
      "times the learning rate of its weights; 0: they stay"},
  {NULL}
};

#undef ROW

/* An output_padding of less than a stride is what a convolution from the
 * output would leave over by itself. */
static gboolean
conv_transpose2d_check (const PtLayer *layer, GError **error)
{
  const ConvTranspose2dOptions *o = layer->options;

  if (!pt_affine_check_groups (layer, o->filters, o->groups, error))
    return FALSE;
  if (o->output_padding[0] < o->stride[0] &&
      o->output_padding[1] < o->stride[1])
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "output_padding=%d;%d, expected less than stride=%d;%d",
      o->output_padding[0], o->output_padding[1], o->stride[0], o->stride[1]);
  return FALSE;
}

/* (in - 1) stride - padding + dilation (kernel - 1) + 1 + output_padding */
static gboolean
conv_transpose2d_count (const PtLayer *layer, gint64 out[2], GError **error)
{
  const ConvTranspose2dOptions *o = layer->options;
  const gint *p = o->padding;

  for (guint i = 0; i < 2; i++)
    out[i] = (layer->inputs[0].dims[2 + i] - 1) * o->stride[i] - p[i] -
        p[2 + i] + o->dilation[i] * (gint64) (o->kernel[i] - 1) + 1 +
        o->output_padding[i];
  if (out[0] > 0 && out[1] > 0)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "padding=%d;%d;%d;%d leaves an output of %" G_GINT64_FORMAT "x%"
      G_GINT64_FORMAT " pixels, expected at least one", p[0], p[1], p[2],
      p[3], out[0], out[1]);
  return FALSE;
}

static gboolean
conv_transpose2d_infer (PtLayer *layer, GError **error)
{
  const ConvTranspose2dOptions *options = layer->options;
  PtShape weight;
  gint64 out[2];

  if (!pt_layer_check_rank (layer, 4, error) ||
      !conv_transpose2d_check (layer, error) ||
      !conv_transpose2d_count (layer, out, error))
    return FALSE;
  layer->output = PT_SHAPE (1, options->filters, out[0], out[1]);
  weight = PT_SHAPE (pt_shape_c (&layer->inputs[0]),
      options->filters / options->groups, options->kernel[0],
      options->kernel[1]);
  layer->lr_scale = options->lr_scale;
  pt_affine_infer (layer, &weight, options->filters, options->bias,
      options->activation);
  return TRUE;
}

static gboolean
conv_transpose2d_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const ConvTranspose2dOptions *o = layer->options;
  PtActivationDesc activation = { o->activation, o->negative_slope };
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_CONV_TRANSPOSE);

  desc.conv = (PtConvDesc) {.groups = o->groups,.bias = o->bias,
    .alpha = o->negative_slope
  };
  for (guint i = 0; i < 2; i++) {
    desc.conv.kernel[i] = o->kernel[i];
    desc.conv.stride[i] = o->stride[i];
    desc.conv.padding[i] = o->padding[i];
    desc.conv.dilation[i] = o->dilation[i];
    desc.conv.more_padding[i] = o->padding[2 + i] - o->padding[i];
  }
  return pt_affine_plan (layer, workspace, plan, &desc, &desc.conv.activation,
      &activation, error);
}

/* The weight has a row for each channel of the input, and in that a plane for
 * each channel of the output's part that belongs to it. */
static void
conv_transpose2d_scale_weight (const PtLayer *layer, const gfloat *scale,
    gfloat *weight)
{
  const ConvTranspose2dOptions *o = layer->options;
  const PtShape *shape = &layer->weights[0].shape;
  const gint64 rows = shape->dims[0] / o->groups, filters = shape->dims[1];
  const gint64 plane = shape->dims[2] * shape->dims[3];

  for (gint64 i = 0; i < shape->dims[0]; i++)
    for (gint64 j = 0; j < filters; j++, weight += plane)
      for (gint64 k = 0; k < plane; k++)
        weight[k] *= scale[i / rows * filters + j];
}

/* A multiplication and an addition per weight and input pixel. */
static gdouble
conv_transpose2d_flops (const PtLayer *layer)
{
  const PtShape *x = &layer->inputs[0];

  return 2.0 * pt_shape_get_n_elements (&layer->weights[0].shape) *
      pt_shape_h (x) * pt_shape_w (x);
}

static const gchar *const conv_transpose2d_samples[] = {
  "in=1x3x5x4 filters=4 kernel=3",
  "in=1x4x5x6 filters=6 kernel=4 stride=2 padding=1 activation=relu",
  "in=1x2x4x5 filters=3 kernel=3;2 stride=3;2 padding=1;0 "
      "output_padding=2;1 bias=false",
  "in=1x6x5x4 filters=4 kernel=3 groups=2 dilation=2 padding=1 stride=2 "
      "output_padding=1 activation=gelu",
  "in=1x4x5x5 filters=4 kernel=4 stride=2 padding=1 groups=4 "
      "activation=leaky-relu",
  "in=1x4x4x5 filters=8 kernel=3 groups=4 padding=1",
  "in=1x16x4x5 filters=1 kernel=2 stride=2 activation=sigmoid",
  "in=1x8x4x5 filters=8 kernel=3 stride=2 padding=0;1;2;0 activation=silu",
  "in=1x3x4x4 filters=2 kernel=3 dilation=2 stride=2;1 output_padding=1;0",
  NULL,
};

const PtLayerKind pt_layer_conv_transpose2d = {
  .name = "conv-transpose2d",
  .summary = "transposed convolution with learned kernels, "
      "torch.nn.ConvTranspose2d",
  .options_size = sizeof (ConvTranspose2dOptions),
  .params = conv_transpose2d_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = conv_transpose2d_samples,
  .infer = conv_transpose2d_infer,
  .init = pt_affine_init,
  .plan = conv_transpose2d_plan,
  .forward = pt_affine_forward,
  .backward = pt_affine_backward,
  .scale_weight = conv_transpose2d_scale_weight,
  .channels_axis = 1,
  .flops = conv_transpose2d_flops,
};
