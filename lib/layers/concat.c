/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

enum
{
  FORWARD,
  BACKWARD,
};

typedef struct
{
  gint axis;
} ConcatOptions;

static const PtParam concat_params[] = {
  {"axis", PT_PARAM_INT, G_STRUCT_OFFSET (ConcatOptions, axis), "1",
      -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL, "along which axis, 1 the channels"},
  {NULL}
};

/* Whether inputs 0 and @i differ in nothing but @axis. */
static gboolean
concat_fits (const PtLayer *layer, guint i, gint axis)
{
  PtShape a = layer->inputs[0];

  a.dims[axis] = pt_shape_get_dim (&layer->inputs[i], axis);
  return pt_shape_equal (&a, &layer->inputs[i]);
}

static gboolean
concat_infer (PtLayer *layer, GError **error)
{
  const ConcatOptions *options = layer->options;
  const gint axis = pt_layer_get_axis (&layer->inputs[0], options->axis,
      error);
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  layer->output = layer->inputs[0];
  if (axis < 0)
    return FALSE;
  for (guint i = 1; i < layer->n_inputs; i++) {
    if (!concat_fits (layer, i, axis)) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "input %u has shape %s, expected %s but for axis %d, as input 0", i,
          pt_shape_print (&layer->inputs[i], found),
          pt_shape_print (&layer->inputs[0], expected), axis);
      return FALSE;
    }
    layer->output.dims[axis] += layer->inputs[i].dims[axis];
  }
  return TRUE;
}

/* As the operation sees it, which knows channels and pixels: channels are what
 * a step along the axis and all that lies inside it in memory span. */
static PtShape
concat_view (const PtShape *shape, gint axis)
{
  gint64 strides[PT_MAX_DIMS], channels;

  pt_shape_get_strides (shape, TRUE, strides);
  channels = strides[axis] * shape->dims[axis];
  return PT_SHAPE (1, channels, pt_shape_get_n_elements (shape) / channels, 1);
}

static gboolean
concat_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const ConcatOptions *options = layer->options;
  const gint axis = pt_layer_get_axis (&layer->output, options->axis, error);
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_CONCAT);

  desc.y = concat_view (&layer->output, axis);
  for (guint i = 0; i < layer->n_inputs; i++)
    desc.xs[i] = concat_view (&layer->inputs[i], axis);
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
  "in=1x3x2x5,1x3x4x5 axis=2",
  "in=1x3x4x2,1x3x4x5,1x3x4x1 axis=-1",
  "in=2x3x2x2,1x3x2x2 axis=0",
  "in=2x3x4,2x3x1 axis=2",
  NULL,
};

const PtLayerKind pt_layer_concat = {
  .name = "concat",
  .summary = "several layers in a row along an axis, torch.cat",
  .options_size = sizeof (ConcatOptions),
  .params = concat_params,
  .min_inputs = 2,
  .max_inputs = PT_OP_MAX_INPUTS,
  .any_shape = TRUE,
  .samples = concat_samples,
  .infer = concat_infer,
  .plan = concat_plan,
  .forward = concat_forward,
  .backward = concat_backward,
};
