/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

enum
{
  DROP,
  KEEP,                         /* p = 0: all pass, all gradients too */
  BACKWARD,
};

typedef struct
{
  gdouble p;
} DropoutOptions;

static const PtParam dropout_params[] = {
  {"p", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (DropoutOptions, p), "0.5", 0, 1,
      NULL, "probability that an element is zeroed while learning"},
  {NULL}
};

static gboolean
dropout_infer (PtLayer *layer, GError **error)
{
  layer->saved[layer->n_saved++] = (PtSaved) { PT_F32, layer->inputs[0] };
  return pt_layer_same_shape (layer, error);
}

/* Without learning it is a copy, which is a sum of one. With it, a frame that
 * does not learn still fills the mask: a late gradient may go through it. */
static gboolean
dropout_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const DropoutOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_ADD);

  if (!workspace->training)
    return pt_layer_plan_op (plan, KEEP, workspace, &desc, error);
  desc.type = PT_OP_DROPOUT;
  if (!pt_layer_plan_op (plan, KEEP, workspace, &desc, error))
    return FALSE;
  desc.dropout.p = options->p;
  if (!pt_layer_plan_op (plan, DROP, workspace, &desc, error))
    return FALSE;
  desc.type = PT_OP_MULTIPLY;
  return pt_layer_plan_op (plan, BACKWARD, workspace, &desc, error);
}

static gboolean
dropout_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.x = args->x[0], .xs = args->x, .y = args->y,
    .seed = args->seed,.live = args->live
  };

  if (plan->ops[BACKWARD] == NULL)
    return pt_op_run (plan->ops[KEEP], &run, error);
  run.mask = args->saved[0];
  return pt_op_run (plan->ops[args->learning ? DROP : KEEP], &run, error);
}

static gboolean
dropout_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return args->dx[0] == NULL || pt_op_run (plan->ops[BACKWARD],
      &(PtOpArgs) {.x = args->saved[0], .dy = args->dy, .dx = args->dx[0]},
      error);
}

static const gchar *const dropout_samples[] = {
  "in=1x3x5x4",
  "in=1x50 p=0.2",
  "in=1x4x3x3 p=0",
  NULL,
};

const PtLayerKind pt_layer_dropout = {
  .name = "dropout",
  .summary = "zeroes some elements while learning, torch.nn.Dropout",
  .options_size = sizeof (DropoutOptions),
  .params = dropout_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = dropout_samples,
  .infer = dropout_infer,
  .plan = dropout_plan,
  .forward = dropout_forward,
  .backward = dropout_backward,
};
