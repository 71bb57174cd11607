/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

typedef struct
{
  gint scale[2];
  gint mode;
} UpsampleOptions;

/* In the order of PtUpsampleMode. */
static const gchar *const upsample_modes[] = { "nearest", "bilinear", NULL };

static const PtParam upsample_params[] = {
  {"scale", PT_PARAM_INT_PAIR, G_STRUCT_OFFSET (UpsampleOptions, scale), NULL,
      1, 1024, NULL, "how many times higher and wider"},
  {"mode", PT_PARAM_ENUM, G_STRUCT_OFFSET (UpsampleOptions, mode), "nearest",
        0, 0, upsample_modes,
      "how pixels are made; bilinear is with align_corners=False"},
  {NULL}
};

static gboolean
upsample_infer (PtLayer *layer, GError **error)
{
  const UpsampleOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];

  if (!pt_layer_check_rank (layer, 4, error))
    return FALSE;
  layer->output = PT_SHAPE (1, pt_shape_c (x),
      pt_shape_h (x) * options->scale[0], pt_shape_w (x) * options->scale[1]);
  return TRUE;
}

static gboolean
upsample_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const UpsampleOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_UPSAMPLE);

  desc.upsample.mode = options->mode;
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_UPSAMPLE_BACKWARD,
      error);
}

/* Bilinear weighs four neighbours. */
static gdouble
upsample_flops (const PtLayer *layer)
{
  const UpsampleOptions *options = layer->options;
  gdouble n = pt_shape_get_n_elements (&layer->output);

  return options->mode == PT_UPSAMPLE_BILINEAR ? 8 * n : n;
}

static const gchar *const upsample_samples[] = {
  "in=1x3x4x5 scale=2",
  "in=1x2x4x3 scale=2;3 mode=nearest",
  "in=1x3x4x5 scale=2 mode=bilinear",
  "in=1x2x3x1 scale=4;3 mode=bilinear",
  NULL,
};

const PtLayerKind pt_layer_upsample = {
  .name = "upsample",
  .summary = "a larger picture, torch.nn.Upsample",
  .options_size = sizeof (UpsampleOptions),
  .params = upsample_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = upsample_samples,
  .infer = upsample_infer,
  .plan = upsample_plan,
  .forward = pt_layer_forward_unary,
  .backward = pt_layer_backward_unary,
  .flops = upsample_flops,
};
