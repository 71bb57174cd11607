/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses/loss.h"

typedef struct
{
  gint ignore_index;
} CrossEntropyOptions;

static const PtParam cross_entropy_params[] = {
  {"ignore_index", PT_PARAM_INT,
        G_STRUCT_OFFSET (CrossEntropyOptions, ignore_index), "-100", 0, 0,
      NULL, "label of what is not to be learned from"},
  {NULL}
};

/* Labels have the output's shape without channels: (1), or (1,H,W). */
static gboolean
cross_entropy_describe (const PtLoss *loss, const PtShape *output,
    const PtShape *target, PtOpDesc *desc, GError **error)
{
  const CrossEntropyOptions *options = loss->options;
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];
  PtShape labels = output->n_dims == 4 ?
      PT_SHAPE (1, pt_shape_h (output), pt_shape_w (output)) : PT_SHAPE (1);

  if (output->n_dims != 2 && output->n_dims != 4) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the network's output has shape %s, expected scores per class, 1xC "
        "or 1xCxHxW", pt_shape_print (output, found));
    return FALSE;
  }
  if (!pt_shape_equal (target, &labels)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "the target has shape %s, expected labels of shape %s",
        pt_shape_print (target, found), pt_shape_print (&labels, expected));
    return FALSE;
  }
  desc->type = PT_OP_CROSS_ENTROPY;
  desc->cross_entropy.ignore_index = options->ignore_index;
  return TRUE;
}

const PtLossKind pt_loss_cross_entropy = {
  .name = "cross-entropy",
  .summary = "classes from scores, over pixels if there are several, "
      "torch.nn.CrossEntropyLoss",
  .options_size = sizeof (CrossEntropyOptions),
  .params = cross_entropy_params,
  .target = PT_TARGET_LABELS,
  .describe = cross_entropy_describe,
};
