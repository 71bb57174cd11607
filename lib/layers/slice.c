/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

enum
{
  FORWARD,
  BACKWARD,
};

typedef struct
{
  gint start;
  gint length;
} SliceOptions;

static const PtParam slice_params[] = {
  {"start", PT_PARAM_INT, G_STRUCT_OFFSET (SliceOptions, start), "0", -65536,
      65535, NULL, "first channel; below 0 from the end: -1 is the last"},
  {"length", PT_PARAM_INT, G_STRUCT_OFFSET (SliceOptions, length), NULL, 1,
      65536, NULL, "how many channels"},
  {NULL}
};

/* The first channel, from 0. */
static gint64
slice_get_start (const PtLayer *layer)
{
  const SliceOptions *options = layer->options;

  return options->start >= 0 ? options->start :
      pt_shape_c (&layer->inputs[0]) + options->start;
}

static gboolean
slice_infer (PtLayer *layer, GError **error)
{
  const SliceOptions *options = layer->options;
  const gint64 channels = pt_shape_c (&layer->inputs[0]);
  const gint64 start = slice_get_start (layer);

  layer->output = layer->inputs[0];
  layer->output.dims[1] = options->length;
  if (start >= 0 && start + options->length <= channels)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "start=%d length=%d, expected a part of the input's %" G_GINT64_FORMAT
      " channels", options->start, options->length, channels);
  return FALSE;
}

/* The input in up to three parts along its channels: before, the slice,
 * behind. */
static void
slice_cut (const PtLayer *layer, PtOpDesc *desc)
{
  const gint64 sizes[] = { slice_get_start (layer),
    pt_shape_c (&layer->output),
    pt_shape_c (&layer->inputs[0]) - slice_get_start (layer)
        - pt_shape_c (&layer->output)
  };

  desc->n_xs = 0;
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    if (sizes[i] > 0) {
      desc->xs[desc->n_xs] = layer->output;
      desc->xs[desc->n_xs++].dims[1] = sizes[i];
    }
}

static gboolean
slice_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_SPLIT);

  slice_cut (layer, &desc);
  desc.y = layer->inputs[0];
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_CONCAT, error);
}

static gboolean
slice_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtTensor *parts[3] = { NULL };

  parts[slice_get_start (layer) > 0 ? 1 : 0] = args->y;
  return pt_op_run (plan->ops[FORWARD],
      &(PtOpArgs) {.dy = args->x[0], .dxs = parts}, error);
}

/* Zeros around the gradient of the slice. */
static gboolean
slice_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtTensor *parts[3] = { NULL };

  parts[slice_get_start (layer) > 0 ? 1 : 0] = args->dy;
  return args->dx[0] == NULL || pt_op_run (plan->ops[BACKWARD],
      &(PtOpArgs) {.xs = parts, .y = args->dx[0]}, error);
}

static const gchar *const slice_samples[] = {
  "in=1x5x3x4 start=1 length=2",
  "in=1x3x4x5 length=2",
  "in=1x9x2x3 start=-3 length=3",
  "in=1x7 start=-2 length=1",
  "in=1x3x2x2 length=3",
  NULL,
};

const PtLayerKind pt_layer_slice = {
  .name = "slice",
  .summary = "some of the channels, torch.narrow (dim=1)",
  .options_size = sizeof (SliceOptions),
  .params = slice_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = slice_samples,
  .infer = slice_infer,
  .plan = slice_plan,
  .forward = slice_forward,
  .backward = slice_backward,
};
