/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/affine.h"

typedef struct
{
  PtAffineOptions affine;
  gint units;
} LinearOptions;

static const PtParam linear_params[] = {
  {"units", PT_PARAM_INT, G_STRUCT_OFFSET (LinearOptions, units), NULL, 1,
      1 << 24, NULL, "output features"},
  PT_AFFINE_PARAMS ("unit"),
  {NULL}
};

static gboolean
linear_infer (PtLayer *layer, GError **error)
{
  const LinearOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  PtShape weight;

  if (x->n_dims < 2) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "input of %u dimensions, "
        "expected 2 or more, the last of them features", x->n_dims);
    return FALSE;
  }
  layer->output = *x;
  layer->output.dims[x->n_dims - 1] = options->units;
  weight = PT_SHAPE (options->units, x->dims[x->n_dims - 1]);
  pt_affine_infer (layer, &weight, options->units);
  return TRUE;
}

static gboolean
linear_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const PtAffineOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_LINEAR);

  desc.linear.bias = options->bias;
  desc.linear.alpha = options->negative_slope;
  return pt_affine_plan (layer, workspace, plan, &desc,
      &desc.linear.activation, error);
}

static gdouble
linear_flops (const PtLayer *layer)
{
  const PtShape *x = &layer->inputs[0];

  return 2.0 * x->dims[x->n_dims - 1] *
      pt_shape_get_n_elements (&layer->output);
}

static const gchar *const linear_samples[] = {
  "in=1x13 units=7",
  "in=1x8 units=5 bias=false activation=sigmoid",
  "in=1x6 units=9 activation=gelu-tanh",
  "in=7x6 units=5",
  "in=1x7x6 units=5 activation=relu",
  "in=3x4x6 units=5 activation=gelu",
  "in=1x3x4x6 units=5 activation=tanh",
  "in=2x3x2x4x6 units=3 bias=false",
  "in=1x6 units=9 activation=relu6",
  "in=1x6 units=9 activation=hard-swish",
  "in=1x6 units=9 activation=mish",
  NULL,
};

const PtLayerKind pt_layer_linear = {
  .name = "linear",
  .summary = "every unit from every feature, the last axis, torch.nn.Linear",
  .options_size = sizeof (LinearOptions),
  .params = linear_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = linear_samples,
  .infer = linear_infer,
  .init = pt_affine_init,
  .plan = linear_plan,
  .forward = pt_affine_forward,
  .backward = pt_affine_backward,
  .scale_weight = pt_affine_scale_rows,
  .channels_axis = -1,
  .flops = linear_flops,
};
