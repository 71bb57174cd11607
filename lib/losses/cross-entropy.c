/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses/loss.h"

/* Two kinds over one operation: what the network gives are scores, or already
 * logarithms of probabilities. */

typedef struct
{
  gint ignore_index;
  PtDoubleList weight;
  gdouble label_smoothing, gamma;
} CrossEntropyOptions;

#define CLASSES_PARAMS \
  {"ignore_index", PT_PARAM_INT, \
        G_STRUCT_OFFSET (CrossEntropyOptions, ignore_index), "-100", 0, 0, \
      NULL, "label of what is not to be learned from"}, \
  {"weight", PT_PARAM_DOUBLE_LIST, \
        G_STRUCT_OFFSET (CrossEntropyOptions, weight), "", 0, 1e6, NULL, \
      "one for each class; none: all count the same"}

static const PtParam cross_entropy_params[] = {
  CLASSES_PARAMS,
  {"label_smoothing", PT_PARAM_DOUBLE,
        G_STRUCT_OFFSET (CrossEntropyOptions, label_smoothing), "0", 0, 1,
      NULL, "share of the target that is spread over all classes"},
  {"gamma", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (CrossEntropyOptions, gamma),
        "0", 0, 100, NULL,
      "above 0: focal loss, power of 1 - p_t, by which the easy count less"},
  {NULL}
};

static const PtParam nll_params[] = {
  CLASSES_PARAMS,
  {NULL}
};

#undef CLASSES_PARAMS

extern const PtLossKind pt_loss_cross_entropy, pt_loss_nll;

static gboolean
cross_entropy_check_weight (const PtDoubleList *weight, const PtShape *output,
    GError **error)
{
  gchar found[PT_SHAPE_TEXT_SIZE];

  if (weight->n == 0 || weight->n == pt_shape_c (output))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "key weight: found %u numbers, expected %" G_GINT64_FORMAT ", one for "
      "each class of the network's output %s", weight->n,
      pt_shape_c (output), pt_shape_print (output, found));
  return FALSE;
}

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
  if (!cross_entropy_check_weight (&options->weight, output, error))
    return FALSE;
  desc->type = PT_OP_CROSS_ENTROPY;
  desc->cross_entropy.ignore_index = options->ignore_index;
  desc->cross_entropy.weight = options->weight.values;
  desc->cross_entropy.label_smoothing = options->label_smoothing;
  desc->cross_entropy.gamma = options->gamma;
  desc->cross_entropy.log_probabilities = loss->kind == &pt_loss_nll;
  return TRUE;
}

/* Labels of classes there are not would be passed over in silence. */
static gboolean
cross_entropy_check_target (const PtLoss *loss, const PtShape *output,
    const PtTensor *target, GError **error)
{
  gint32 ignore = ((CrossEntropyOptions *) loss->options)->ignore_index;
  guint32 classes = pt_shape_c (output);
  gsize n = pt_tensor_get_n_elements (target), i = 0;
  const gint32 *label = target->data;
  gsize width = target->shape.n_dims > 1 ?
      target->shape.dims[target->shape.n_dims - 1] : 1;
  guint bad = 0;

#pragma omp simd reduction (|:bad)
  for (gsize k = 0; k < n; k++)
    bad |= ((guint32) label[k] >= classes) & (label[k] != ignore);
  if (!bad)
    return TRUE;
  while ((guint32) label[i] < classes || label[i] == ignore)
    i++;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "loss %s: found label %d at "
      "row %" G_GSIZE_FORMAT ", column %" G_GSIZE_FORMAT " of the target, but "
      "the network has %u classes: expected 0 to %u, or %d for what does not "
      "count (ignore_index)", loss->kind->name, label[i], i / width,
      i % width, classes, classes - 1, ignore);
  return FALSE;
}

#define CLASSES_KIND(symbol, word, text) \
const PtLossKind pt_loss_ ## symbol = { \
  .name = word, \
  .summary = text, \
  .options_size = sizeof (CrossEntropyOptions), \
  .params = symbol ## _params, \
  .target = PT_TARGET_LABELS, \
  .classes = TRUE, \
  .describe = cross_entropy_describe, \
  .check_target = cross_entropy_check_target, \
}

CLASSES_KIND (cross_entropy, "cross-entropy", "classes from scores, over "
    "pixels if there are several, torch.nn.CrossEntropyLoss; 0 where no "
    "label counts");
CLASSES_KIND (nll, "nll", "as cross-entropy, of log-probabilities such as "
    "log-softmax gives, torch.nn.NLLLoss");
