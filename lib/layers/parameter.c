/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

enum
{
  COPY,
  ZEROS,
};

typedef struct
{
  PtDoubleList shape;
  gboolean learned;
} ParameterOptions;

static const PtParam parameter_params[] = {
  {"shape", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (ParameterOptions, shape),
        NULL, 1, PT_MAX_ELEMENTS, NULL, "all dimensions, the first too"},
  {"learned", PT_PARAM_BOOL, G_STRUCT_OFFSET (ParameterOptions, learned),
        "true", 0, 0, NULL, "false: it stays as it is"},
  {NULL}
};

static gboolean
parameter_infer (PtLayer *layer, GError **error)
{
  const ParameterOptions *options = layer->options;
  const gint n = pt_layer_get_whole (&options->shape, "shape",
      layer->output.dims, PT_MAX_DIMS, error);

  if (n == 0)
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "shape is empty, expected 1 to %d numbers", PT_MAX_DIMS);
  if (n < 1)
    return FALSE;
  layer->output.n_dims = n;
  layer->n_weights = 1;
  layer->weights[0] = (PtWeight) { "weight", layer->output, options->learned };
  return TRUE;
}

static void
parameter_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  const PtShape *shape = &layer->weights[i].shape;

  pt_layer_init_fan_in (layer, i, pt_shape_get_n_elements (shape) /
      shape->dims[0], data, seed);
}

/* The weight lies on the device as the output does. */
static gboolean
parameter_plan_copy (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const PtShape *shape = &layer->output;
  g_auto (PtMap) map = {.n = 0 };

  pt_map_add (&map, pt_shape_get_n_elements (shape), 1, 1);
  return pt_map_plan (plan, COPY, workspace, &map, shape, shape, error);
}

/* The gradient of an input that is not read. */
static gboolean
parameter_plan_zeros (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const PtShape *x = &layer->inputs[0];
  g_auto (PtMap) map = {.n = 0 };
  PtTaps *nothing = pt_taps_new ();

  pt_taps_end (nothing);
  pt_map_add (&map, 1, 0, 0)->taps = nothing;
  pt_map_add (&map, pt_shape_get_n_elements (x), 0, 1);
  return pt_map_plan (plan, ZEROS, workspace, &map, &layer->output, x, error);
}

static gboolean
parameter_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  return parameter_plan_copy (layer, workspace, plan, error) &&
      (!workspace->training ||
      parameter_plan_zeros (layer, workspace, plan, error));
}

static gboolean
parameter_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_op_run (plan->ops[COPY],
      &(PtOpArgs) {.x = args->w[0],.y = args->y}, error);
}

static gboolean
parameter_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  if (args->dw[0] != NULL && !args->frozen &&
      !pt_op_run (plan->ops[COPY],
          &(PtOpArgs) {.x = args->dy,.y = args->dw[0]}, error))
    return FALSE;
  return args->dx[0] == NULL || pt_op_run (plan->ops[ZEROS],
      &(PtOpArgs) {.x = args->dy,.y = args->dx[0]}, error);
}

static const gchar *const parameter_samples[] = {
  "in=1x3x4x5 shape=1;2;3;4",
  "in=1x7 shape=3;5",
  "in=1x7 shape=2;3;2 learned=false",
  NULL,
};

const PtLayerKind pt_layer_parameter = {
  .name = "parameter",
  .summary = "a tensor that is not made of the input, torch.nn.Parameter",
  .options_size = sizeof (ParameterOptions),
  .params = parameter_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = parameter_samples,
  .infer = parameter_infer,
  .init = parameter_init,
  .plan = parameter_plan,
  .forward = parameter_forward,
  .backward = parameter_backward,
};
