/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/affine.h"

typedef struct
{
  PtConvOptions conv;
  gint output_padding[2];
} ConvTranspose2dOptions;

static const PtParam conv_transpose2d_params[] = {
  PT_CONV_PARAMS ("distance in the output of what neighbours of the input "
      "make, px", "taken off each side of the output, px"),
  {"output_padding", PT_PARAM_INT_PAIR,
        G_STRUCT_OFFSET (ConvTranspose2dOptions, output_padding), "0", 0, 1024,
      NULL, "put below and to the right of the output, px"},
  PT_AFFINE_PARAMS ("filter"),
  {NULL}
};

/* An output_padding of less than a stride is what a convolution from the
 * output would leave over by itself. */
static gboolean
conv_transpose2d_check (const PtLayer *layer, GError **error)
{
  const ConvTranspose2dOptions *o = layer->options;
  const gint *stride = o->conv.stride;

  if (!pt_conv_check_groups (layer, error))
    return FALSE;
  if (o->output_padding[0] < stride[0] && o->output_padding[1] < stride[1])
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "output_padding=%d;%d, expected less than stride=%d;%d",
      o->output_padding[0], o->output_padding[1], stride[0], stride[1]);
  return FALSE;
}

/* (in - 1) stride - padding + dilation (kernel - 1) + 1 + output_padding */
static gboolean
conv_transpose2d_count (const PtLayer *layer, gint64 out[2], GError **error)
{
  const ConvTranspose2dOptions *options = layer->options;
  const PtConvOptions *o = &options->conv;
  const gint *p = o->padding;

  for (guint i = 0; i < 2; i++)
    out[i] = (layer->inputs[0].dims[2 + i] - 1) * o->stride[i] - p[i] -
        p[2 + i] + o->dilation[i] * (gint64) (o->kernel[i] - 1) + 1 +
        options->output_padding[i];
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
  const PtConvOptions *options = layer->options;
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
  pt_affine_infer (layer, &weight, options->filters);
  return TRUE;
}

static gboolean
conv_transpose2d_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  return pt_conv_plan (layer, PT_OP_CONV_TRANSPOSE, workspace, plan, error);
}

/* The weight has a row for each channel of the input, and in that a plane for
 * each channel of the output's part that belongs to it. */
static void
conv_transpose2d_scale_weight (const PtLayer *layer, const gdouble *scale,
    gfloat *weight)
{
  const PtConvOptions *o = layer->options;
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
