/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/binary.h"

typedef struct
{
  gint num_parameters;
  PtDoubleList shape;
  gdouble init, lr_scale;
} PreluOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (PreluOptions, key)

static const PtParam prelu_params[] = {
  {ROW (num_parameters, INT), "1", 1, 1 << 20, NULL,
      "slopes: one for all, or one for each channel"},
  {ROW (shape, DOUBLE_LIST), "", 1, 1e9, NULL,
      "of the slopes instead, aligned at the last dimension"},
  {ROW (init, DOUBLE), "0.25", 0, 0, NULL, "what the slopes are at first"},
  {ROW (lr_scale, DOUBLE), "1", 0, 1e6, NULL,
      "times the learning rate of its weights; 0: they stay"},
  {NULL}
};

#undef ROW

/* One slope for each channel is (C, 1, ..., 1). */
static gboolean
prelu_get_pair (const PtLayer *layer, PtBinaryPair *pair, GError **error)
{
  const PreluOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  PtShape *slopes = &pair->operands[1];

  if (options->shape.n > 0)
    return pt_binary_get_pair (layer, PT_BINARY_PRELU,
        &(PtBinaryOptions) {.other = options->shape}, pair, error);
  *pair = (PtBinaryPair) { PT_BINARY_PRELU, { *x, PT_SHAPE (1) }, 1 };
  if (options->num_parameters == 1)
    return TRUE;
  if (options->num_parameters != pt_shape_c (x)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "num_parameters=%d, "
        "expected 1 or the %" G_GINT64_FORMAT " channels of the input",
        options->num_parameters, pt_shape_c (x));
    return FALSE;
  }
  slopes->n_dims = MAX (x->n_dims, 2) - 1;
  for (guint i = 0; i < slopes->n_dims; i++)
    slopes->dims[i] = i == 0 ? options->num_parameters : 1;
  return TRUE;
}

static gboolean
prelu_infer (PtLayer *layer, GError **error)
{
  const PreluOptions *options = layer->options;
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];
  PtBinaryPair pair;

  if (!prelu_get_pair (layer, &pair, error))
    return FALSE;
  layer->weights[0] = (PtWeight) { "weight", options->shape.n > 0 ?
      pair.operands[1] : PT_SHAPE (options->num_parameters), TRUE };
  layer->n_weights = 1;
  layer->lr_scale = options->lr_scale;
  if (!pt_binary_infer (layer, &pair, error))
    return FALSE;
  if (pt_shape_equal (&layer->output, &layer->inputs[0]))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "the slopes have shape %s, "
      "expected one that fits into the input's, %s",
      pt_shape_print (&pair.operands[1], found),
      pt_shape_print (&layer->inputs[0], expected));
  return FALSE;
}

static void
prelu_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  const PreluOptions *options = layer->options;

  pt_binary_init (layer, options->init, data);
}

static gboolean
prelu_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtBinaryPair pair;

  return prelu_get_pair (layer, &pair, error)
      && pt_binary_plan (layer, workspace, plan, &pair, error);
}

static gboolean
prelu_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_binary_forward (layer, plan, args, 1, error);
}

static gboolean
prelu_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_binary_backward (layer, plan, args, 1, error);
}

static const gchar *const prelu_samples[] = {
  "in=1x3x4x5",
  "in=1x3x4x5 num_parameters=3",
  "in=2x4 num_parameters=4",
  "in=2x3x4 shape=3;1",
  NULL,
};

const PtLayerKind pt_layer_prelu = {
  .name = "prelu",
  .summary = "x, or below zero a learned fraction of it, torch.nn.PReLU",
  .options_size = sizeof (PreluOptions),
  .params = prelu_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = prelu_samples,
  .infer = prelu_infer,
  .init = prelu_init,
  .plan = prelu_plan,
  .forward = prelu_forward,
  .backward = prelu_backward,
};
