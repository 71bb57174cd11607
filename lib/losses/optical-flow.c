/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses/loss.h"

typedef struct
{
  gdouble smoothness;
  gdouble eps;
} OpticalFlowOptions;

static const PtParam optical_flow_params[] = {
  {"smoothness", PT_PARAM_DOUBLE,
        G_STRUCT_OFFSET (OpticalFlowOptions, smoothness), "0.02", 0, 1e6, NULL,
      "weight of the difference between neighbouring flow vectors"},
  {"eps", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (OpticalFlowOptions, eps), "1e-3",
      1e-9, 1, NULL, "where both terms turn from square to absolute"},
  {NULL}
};

/* The target is two frames over each other, the older one first. */
static gboolean
optical_flow_describe (const PtLoss *loss, const PtShape *output,
    const PtShape *target, PtOpDesc *desc, GError **error)
{
  const OpticalFlowOptions *options = loss->options;
  gchar found[PT_SHAPE_TEXT_SIZE];

  if (output->n_dims != 4 || pt_shape_c (output) != 2) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the network's output has shape %s, expected 1x2xHxW: a horizontal "
        "and a vertical displacement", pt_shape_print (output, found));
    return FALSE;
  }
  if (target->n_dims != 4 || pt_shape_c (target) % 2 != 0 ||
      pt_shape_h (target) != pt_shape_h (output) ||
      pt_shape_w (target) != pt_shape_w (output)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the target has shape %s, expected two frames over each other of the "
        "flow's size, %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT " pixels",
        pt_shape_print (target, found), pt_shape_h (output),
        pt_shape_w (output));
    return FALSE;
  }
  desc->type = PT_OP_FLOW_LOSS;
  desc->flow.smoothness = options->smoothness;
  desc->flow.eps = options->eps;
  return TRUE;
}

const PtLossKind pt_loss_optical_flow = {
  .name = "optical-flow",
  .summary = "how well the flow takes each frame back to the one before, and "
      "how smooth it is",
  .options_size = sizeof (OpticalFlowOptions),
  .params = optical_flow_params,
  .target = PT_TARGET_PAIR,
  .describe = optical_flow_describe,
};
