/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/affine.h"
#include "layers/window.h"

#include <string.h>

static const PtParam conv2d_params[] = {
  PT_CONV_PARAMS ("step of the kernel, px", "zeros put around the input, px"),
  PT_AFFINE_PARAMS ("filter"),
  {NULL}
};

static PtWindow
conv2d_get_window (const PtLayer *layer)
{
  const PtConvOptions *o = layer->options;
  PtWindow window = {
    .kernel = {o->kernel[0], o->kernel[1]},
    .stride = {o->stride[0], o->stride[1]},
    .dilation = {o->dilation[0], o->dilation[1]},
  };

  memcpy (window.padding, o->padding, sizeof window.padding);
  return window;
}

static gboolean
conv2d_check_add (const PtLayer *layer, GError **error)
{
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  if (layer->n_inputs == 1 ||
      pt_shape_equal (&layer->inputs[1], &layer->output))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "input 1, which is added, has "
      "shape %s, expected %s, that of the output",
      pt_shape_print (&layer->inputs[1], found),
      pt_shape_print (&layer->output, expected));
  return FALSE;
}

static gboolean
conv2d_infer (PtLayer *layer, GError **error)
{
  const PtConvOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  PtWindow window = conv2d_get_window (layer);
  PtShape weight;
  gint64 out[2];

  if (!pt_layer_check_rank (layer, 4, error) ||
      !pt_conv_check_groups (layer, error) ||
      !pt_window_count (&window, x, out, error))
    return FALSE;
  layer->output = PT_SHAPE (1, options->filters, out[0], out[1]);
  if (!conv2d_check_add (layer, error))
    return FALSE;
  weight = PT_SHAPE (options->filters, pt_shape_c (x) / options->groups,
      options->kernel[0], options->kernel[1]);
  pt_affine_infer (layer, &weight, options->filters);
  return TRUE;
}

static gboolean
conv2d_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  return pt_conv_plan (layer, PT_OP_CONV, workspace, plan, error);
}

/* A multiplication and an addition per weight and output pixel. */
static gdouble
conv2d_flops (const PtLayer *layer)
{
  return 2.0 * pt_shape_get_n_elements (&layer->weights[0].shape) *
      pt_shape_h (&layer->output) * pt_shape_w (&layer->output);
}

static const gchar *const conv2d_samples[] = {
  "in=1x3x7x6 filters=4 kernel=3",
  "in=1x4x8x7 filters=8 kernel=3 padding=1 activation=relu",
  "in=1x2x9x11 filters=5 kernel=5;3 stride=2;1 padding=2;1 bias=false",
  "in=1x6x9x9 filters=4 kernel=3 groups=2 dilation=2 padding=2",
  "in=1x4x6x5 filters=4 kernel=3 groups=4 padding=1 activation=leaky-relu "
      "negative_slope=0.1",
  "in=1x3x6x5 filters=4 kernel=1 activation=gelu",
  "in=1x3x6x5 filters=2 kernel=3 padding=1 activation=silu",
  "in=1x16x6x5 filters=16 kernel=3 padding=1 activation=tanh",
  "in=1x3x6x5 filters=2 kernel=3 activation=hard-swish",
  "in=1x16x6x5 filters=16 kernel=3 padding=1 activation=relu6",
  "in=1x8x6x5 filters=16 kernel=1 activation=mish",
  "in=1x5x7x9 filters=6 kernel=3;2 stride=2 padding=0;1;2;0 activation=relu",
  "in=1x9x5x6 filters=2 kernel=3 padding=2;0;1;3",
  "in=1x4x6x5 filters=4 kernel=3 stride=2 groups=4 padding=0;0;1;1",
  "in=1x4x8x7,1x8x8x7 filters=8 kernel=3 padding=1 activation=relu",
  "in=1x6x9x8,1x6x5x4 filters=6 kernel=3 stride=2 padding=1 groups=6",
  "in=1x5x6x4,1x16x6x4 filters=16 kernel=1 activation=silu bias=false",
  NULL,
};

const PtLayerKind pt_layer_conv2d = {
  .name = "conv2d",
  .summary = "convolution with learned kernels, torch.nn.Conv2d; a second input is "
      "added before the activation",
  .options_size = sizeof (PtConvOptions),
  .params = conv2d_params,
  .min_inputs = 1,
  .max_inputs = 2,              /* what is added before the activation */
  .samples = conv2d_samples,
  .infer = conv2d_infer,
  .init = pt_affine_init,
  .plan = conv2d_plan,
  .forward = pt_affine_forward,
  .backward = pt_affine_backward,
  .scale_weight = pt_affine_scale_rows,
  .channels_axis = 1,
  .flops = conv2d_flops,
};
