/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/binary.h"

/* Several layers of one shape, or two operands that are broadcast. */

enum
{
  FORWARD,
  COPY,
  ACTIVATION = PT_BINARY_N_OPS,
  ACTIVATION_BACKWARD,
};

typedef struct
{
  PtBinaryOptions binary;
  gint activation;
} AddOptions;

static const gchar *const add_activations[] = { "none", "relu", NULL };

static const PtParam add_params[] = {
  {"activation", PT_PARAM_ENUM, G_STRUCT_OFFSET (AddOptions, activation),
        "none", 0, 0, add_activations,
      "applied to the sum"},
  PT_BINARY_PARAMS ("0"),
  {NULL}
};

static gboolean
add_is_binary (const PtLayer *layer)
{
  return layer->n_inputs == 1 || (layer->n_inputs == 2 &&
      !pt_shape_equal (&layer->inputs[0], &layer->inputs[1]));
}

static gboolean
add_infer_binary (PtLayer *layer, GError **error)
{
  const AddOptions *options = layer->options;
  PtBinaryPair pair;

  if (!pt_binary_get_pair (layer, PT_BINARY_ADD, &options->binary, &pair,
          error))
    return FALSE;
  if (pair.weight >= 0)
    pt_binary_add_other (layer, &options->binary, &pair);
  return pt_binary_infer (layer, &pair, error);
}

static gboolean
add_infer (PtLayer *layer, GError **error)
{
  const AddOptions *options = layer->options;
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  layer->backward_uses_y = options->activation != 0;
  if (add_is_binary (layer))
    return add_infer_binary (layer, error);
  for (guint i = 1; i < layer->n_inputs; i++)
    if (!pt_shape_equal (&layer->inputs[0], &layer->inputs[i])) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "input %u has shape %s, expected %s, that of input 0 (two inputs may "
          "differ, more may not)", i,
          pt_shape_print (&layer->inputs[i], found),
          pt_shape_print (&layer->inputs[0], expected));
      return FALSE;
    }
  return pt_layer_same_shape (layer, error);
}

static void
add_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  const AddOptions *options = layer->options;

  pt_binary_init (layer, options->binary.value, data);
}

static gboolean
add_plan_activation (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_ACTIVATION);

  desc.x = layer->output;
  desc.activation.kind = PT_ACTIVATION_RELU;
  if (!pt_layer_plan_op (plan, ACTIVATION, workspace, &desc, error))
    return FALSE;
  desc.type = PT_OP_ACTIVATION_BACKWARD;
  return !workspace->training ||
      pt_layer_plan_op (plan, ACTIVATION_BACKWARD, workspace, &desc, error);
}

static gboolean
add_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const AddOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_ADD);
  PtBinaryPair pair;

  if (options->activation != 0 &&
      !add_plan_activation (layer, workspace, plan, error))
    return FALSE;
  if (add_is_binary (layer))
    return pt_binary_get_pair (layer, PT_BINARY_ADD, &options->binary, &pair,
        error) && pt_binary_plan (layer, workspace, plan, &pair, error);
  if (!pt_layer_plan_op (plan, FORWARD, workspace, &desc, error))
    return FALSE;
  /* A sum of one is a copy. */
  desc.n_xs = 1;
  return !workspace->training ||
      pt_layer_plan_op (plan, COPY, workspace, &desc, error);
}

static gint
add_get_weight (const PtLayer *layer)
{
  const AddOptions *options = layer->options;

  return layer->n_inputs > 1 ? -1 : options->binary.reverse ? 0 : 1;
}

static gboolean
add_forward (const PtLayer *layer, PtLayerPlan *plan, const PtLayerArgs *args,
    GError **error)
{
  if (add_is_binary (layer) ? !pt_binary_forward (layer, plan, args,
          add_get_weight (layer), error) : !pt_op_run (plan->ops[FORWARD],
          &(PtOpArgs) {.xs = args->x, .y = args->y}, error))
    return FALSE;
  return plan->ops[ACTIVATION] == NULL || pt_op_run (plan->ops[ACTIVATION],
      &(PtOpArgs) {.x = args->y, .y = args->y}, error);
}

/* Each input's gradient is that of the sum. */
static gboolean
add_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  if (plan->ops[ACTIVATION_BACKWARD] != NULL &&
      !pt_op_run (plan->ops[ACTIVATION_BACKWARD],
          &(PtOpArgs) {.y = args->y, .dy = args->dy, .dx = args->dy}, error))
    return FALSE;
  if (add_is_binary (layer))
    return pt_binary_backward (layer, plan, args, add_get_weight (layer),
        error);
  for (guint i = 0; i < layer->n_inputs; i++)
    if (args->dx[i] != NULL && !pt_op_run (plan->ops[COPY],
            &(PtOpArgs) {.xs = &args->dy, .y = args->dx[i]}, error))
      return FALSE;
  return TRUE;
}

static gboolean
add_get_scale (const PtLayer *layer, guint axis, PtTensor *const *weights,
    gdouble *scale, gdouble *shift)
{
  const AddOptions *options = layer->options;
  PtBinaryPair pair;

  return layer->n_inputs == 1 && pt_binary_get_pair (layer, PT_BINARY_ADD,
      &options->binary, &pair, NULL) && pt_binary_get_scale (layer, &pair,
      axis, weights, scale, shift);
}

static gdouble
add_flops (const PtLayer *layer)
{
  return (gdouble) MAX (layer->n_inputs - 1, 1) *
      pt_shape_get_n_elements (&layer->output);
}

static const gchar *const add_samples[] = {
  "in=1x3x4x5,1x3x4x5",
  "in=1x2x3x3,1x2x3x3,1x2x3x3 activation=relu",
  "in=1x6,1x6",
  "in=2x3x1,2x3x1,2x3x1",
  "in=1x3x4x5,1x1x4x1",
  "in=1x3x4x5 other=3;1;1 activation=relu",
  "in=1x3x4x5 other=1 value=0.5",
  NULL,
};

const PtLayerKind pt_layer_add = {
  .name = "add",
  .summary = "sum of several layers, or of one and a weight, torch.add",
  .options_size = sizeof (AddOptions),
  .params = add_params,
  .min_inputs = 1,
  .max_inputs = PT_OP_MAX_INPUTS,
  .any_shape = TRUE,
  .samples = add_samples,
  .infer = add_infer,
  .init = add_init,
  .plan = add_plan,
  .forward = add_forward,
  .backward = add_backward,
  .get_scale = add_get_scale,
  .flops = add_flops,
};
