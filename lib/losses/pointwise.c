/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses/loss.h"

/* Three kinds over one operation. */

typedef struct
{
  gdouble eps;
} PointwiseOptions;

static const PtParam pointwise_params[] = {
  {NULL}
};

static const PtParam pointwise_charbonnier_params[] = {
  {"eps", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (PointwiseOptions, eps), "1e-3",
      1e-9, 1, NULL, "where it turns from square to absolute"},
  {NULL}
};

extern const PtLossKind pt_loss_mse, pt_loss_l1, pt_loss_charbonnier;

static gboolean
pointwise_describe (const PtLoss *loss, const PtShape *output,
    const PtShape *target, PtOpDesc *desc, GError **error)
{
  const PointwiseOptions *options = loss->options;
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  if (!pt_shape_equal (output, target)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the network's output has shape %s, expected %s, that of the target",
        pt_shape_print (output, found), pt_shape_print (target, expected));
    return FALSE;
  }
  desc->type = PT_OP_POINTWISE_LOSS;
  desc->pointwise.kind = loss->kind == &pt_loss_mse ? PT_POINTWISE_MSE :
      loss->kind == &pt_loss_l1 ? PT_POINTWISE_L1 : PT_POINTWISE_CHARBONNIER;
  desc->pointwise.eps = options->eps;
  return TRUE;
}

#define POINTWISE_KIND(symbol, word, text, table) \
const PtLossKind pt_loss_ ## symbol = { \
  .name = word, \
  .summary = text, \
  .options_size = sizeof (PointwiseOptions), \
  .params = table, \
  .target = PT_TARGET_INPUT, \
  .describe = pointwise_describe, \
}

POINTWISE_KIND (mse, "mse", "mean of the squared difference, "
    "torch.nn.MSELoss", pointwise_params);
POINTWISE_KIND (l1, "l1", "mean of the absolute difference, torch.nn.L1Loss",
    pointwise_params);
POINTWISE_KIND (charbonnier, "charbonnier", "mean of "
    "sqrt (difference^2 + eps^2), a smooth l1", pointwise_charbonnier_params);
