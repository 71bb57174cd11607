/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses/loss.h"

/* Two kinds over one operation. */

typedef struct
{
  PtDoubleList pos_weight;
  gdouble alpha, gamma;
} BinaryOptions;

static const PtParam binary_bce_params[] = {
  {"pos_weight", PT_PARAM_DOUBLE_LIST,
        G_STRUCT_OFFSET (BinaryOptions, pos_weight), "1", 0, 1e6, NULL,
      "weight of what is there: one for all, or one for each channel"},
  {NULL}
};

static const PtParam binary_focal_params[] = {
  {"alpha", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (BinaryOptions, alpha), "0.25",
        -1, 1, NULL,
      "weight of what is there, 1 - alpha of what is not; below 0: none"},
  {"gamma", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (BinaryOptions, gamma), "2", 0,
      100, NULL, "power of 1 - p_t, by which the easy ones count less"},
  {NULL}
};

extern const PtLossKind pt_loss_bce, pt_loss_focal;

static gboolean
binary_describe (const PtLoss *loss, const PtShape *output,
    const PtShape *target, PtOpDesc *desc, GError **error)
{
  const BinaryOptions *options = loss->options;
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  if (!pt_shape_equal (output, target)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the network's output has shape %s, expected %s, that of the target",
        pt_shape_print (output, found), pt_shape_print (target, expected));
    return FALSE;
  }
  if (options->pos_weight.n > 1 &&
      options->pos_weight.n != pt_shape_c (output)) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "key pos_weight: found %u numbers, expected 1 or %" G_GINT64_FORMAT
        ", one for each channel of the network's output %s",
        options->pos_weight.n, pt_shape_c (output),
        pt_shape_print (output, found));
    return FALSE;
  }
  desc->type = PT_OP_BINARY_CROSS_ENTROPY;
  desc->binary.pos_weight = options->pos_weight.values;
  desc->binary.n_pos_weight = options->pos_weight.n;
  desc->binary.alpha = loss->kind == &pt_loss_focal ? options->alpha : -1;
  desc->binary.gamma = options->gamma;
  return TRUE;
}

/* Outside of 0..1 a target is no probability, and the loss has no bottom. */
static gboolean
binary_check_target (const PtLoss *loss, const PtShape *output,
    const PtTensor *target, GError **error)
{
  gsize n = pt_tensor_get_n_elements (target), i = 0;
  const gfloat *t = target->data;
  gchar shape[PT_SHAPE_TEXT_SIZE];
  gint bad = 0;

#pragma omp simd reduction (|:bad)
  for (gsize k = 0; k < n; k++)
    bad |= !(t[k] >= 0.f && t[k] <= 1.f);
  if (!bad)
    return TRUE;
  while (t[i] >= 0 && t[i] <= 1)
    i++;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "loss %s: found %g at element %" G_GSIZE_FORMAT " of a target of shape "
      "%s, expected probabilities from 0 to 1", loss->kind->name, t[i], i,
      pt_shape_print (&target->shape, shape));
  return FALSE;
}

#define BINARY_KIND(symbol, text) \
const PtLossKind pt_loss_ ## symbol = { \
  .name = #symbol, \
  .summary = text, \
  .options_size = sizeof (BinaryOptions), \
  .params = binary_ ## symbol ## _params, \
  .target = PT_TARGET_LABELS, \
  .describe = binary_describe, \
  .check_target = binary_check_target, \
}

BINARY_KIND (bce, "yes or no from scores (logits) against targets from 0 to "
    "1, torch.nn.BCEWithLogitsLoss");
BINARY_KIND (focal, "as bce, counting easy ones less, "
    "torchvision.ops.sigmoid_focal_loss with reduction=mean");
