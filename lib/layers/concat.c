/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

enum
{
  FORWARD,
  BACKWARD,
};

static const PtParam concat_params[] = {
  {NULL}
};

/* Whether inputs 0 and @i differ in nothing but their channels. */
static gboolean
concat_fits (const PtLayer *layer, guint i)
{
  const PtShape *a = &layer->inputs[0], *b = &layer->inputs[i];

  return a->n_dims == b->n_dims && pt_shape_h (a) == pt_shape_h (b) &&
      pt_shape_w (a) == pt_shape_w (b);
}

static gboolean
concat_infer (PtLayer *layer, GError **error)
{
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  layer->output = layer->inputs[0];
  for (guint i = 1; i < layer->n_inputs; i++) {
    if (!concat_fits (layer, i)) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "input %u has shape %s, expected %s but for the channels, as "
          "input 0", i, pt_shape_print (&layer->inputs[i], found),
          pt_shape_print (&layer->inputs[0], expected));
      return FALSE;
    }
    layer->output.dims[1] += layer->inputs[i].dims[1];
  }
  return TRUE;
}

static gboolean
concat_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_CONCAT);

  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_SPLIT, error);
}

static gboolean
concat_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_op_run (plan->ops[FORWARD],
      &(PtOpArgs) {.xs = args->x, .y = args->y}, error);
}

static gboolean
concat_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_op_run (plan->ops[BACKWARD],
      &(PtOpArgs) {.dy = args->dy, .dxs = args->dx}, error);
}

static const gchar *const concat_samples[] = {
  "in=1x3x4x5,1x2x4x5",
  "in=1x1x3x4,1x16x3x4,1x5x3x4",
  "in=1x3,1x4",
  NULL,
};

const PtLayerKind pt_layer_concat = {
  .name = "concat",
  .summary = "channels of several layers in a row, torch.cat (dim=1)",
  .params = concat_params,
  .min_inputs = 2,
  .max_inputs = PT_OP_MAX_INPUTS,
  .samples = concat_samples,
  .infer = concat_infer,
  .plan = concat_plan,
  .forward = concat_forward,
  .backward = concat_backward,
};
