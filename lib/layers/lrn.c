/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

enum
{
  FORWARD,
  BACKWARD,
};

enum
{
  BEFORE,
  AFTER,
};

typedef struct
{
  gint size, longer;
  gdouble alpha, beta, k;
} LrnOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (LrnOptions, key)

static const gchar *const lrn_sides[] = { "before", "after", NULL };

static const PtParam lrn_params[] = {
  {ROW (size, INT), NULL, 1, 4096, NULL, "neighbouring channels that count"},
  {ROW (longer, ENUM), "before", 0, 0, lrn_sides,
      "which side has more of them if size is even; in ONNX after"},
  {ROW (alpha, DOUBLE), "1e-4", 0, 1e6, NULL, "weight of their mean square"},
  {ROW (beta, DOUBLE), "0.75", 0, 100, NULL, "exponent of the divisor"},
  {ROW (k, DOUBLE), "1", 1e-6, 1e6, NULL, "added to the mean square"},
  {NULL}
};

#undef ROW

static gboolean
lrn_infer (PtLayer *layer, GError **error)
{
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (layer->inputs[0].n_dims < 2) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "input of shape %s, "
        "expected NxC or NxCx...", pt_shape_print (&layer->inputs[0], text));
    return FALSE;
  }
  layer->saved[layer->n_saved++] = (PtSaved) { PT_F32, layer->inputs[0] };
  layer->backward_uses_x = TRUE;
  return pt_layer_same_shape (layer, error);
}

static gboolean
lrn_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const LrnOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_LRN);

  desc.lrn = (PtLrnDesc) { options->size / 2, (options->size - 1) / 2,
    options->alpha, options->beta, options->k
  };
  if (options->longer == AFTER) {
    desc.lrn.before = (options->size - 1) / 2;
    desc.lrn.after = options->size / 2;
  }
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_LRN_BACKWARD,
      error);
}

static gboolean
lrn_forward (const PtLayer *layer, PtLayerPlan *plan, const PtLayerArgs *args,
    GError **error)
{
  PtOpArgs run = {.x = args->x[0],.y = args->y,
    .saved_variance = args->saved[0]
  };

  return pt_op_run (plan->ops[FORWARD], &run, error);
}

static gboolean
lrn_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.x = args->x[0],.dy = args->dy,.dx = args->dx[0],
    .saved_variance = args->saved[0]
  };

  return run.dx == NULL || pt_op_run (plan->ops[BACKWARD], &run, error);
}

/* A root takes some ten operations. */
static gdouble
lrn_flops (const PtLayer *layer)
{
  const LrnOptions *options = layer->options;

  return (2.0 * options->size + 10) *
      pt_shape_get_n_elements (&layer->output);
}

static const gchar *const lrn_samples[] = {
  "in=1x7x3x4 size=5 alpha=0.5",
  "in=1x4x3x3 size=4 alpha=1 beta=0.5 k=2",
  "in=2x5x6 size=3 alpha=2",
  "in=2x3x2x2 size=9 alpha=1",
  "in=3x6 size=2 alpha=1 beta=1",
  "in=1x9x3x2 size=4 longer=after alpha=1",
  NULL,
};

const PtLayerKind pt_layer_lrn = {
  .name = "lrn",
  .summary = "divides by what neighbouring channels have, "
      "torch.nn.LocalResponseNorm",
  .options_size = sizeof (LrnOptions),
  .params = lrn_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = lrn_samples,
  .infer = lrn_infer,
  .plan = lrn_plan,
  .forward = lrn_forward,
  .backward = lrn_backward,
  .flops = lrn_flops,
};
