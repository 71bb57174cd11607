/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

/* Layers that are one normalisation. */

enum
{
  FORWARD,
  BACKWARD,
};

enum
{
  WEIGHT,
  BIAS,
};

enum
{
  SAVED_MEAN,
  SAVED_VARIANCE,
};

/* Each kind has some of these. */
typedef struct
{
  gint num_groups, axis, dim, p;
  PtDoubleList normalized_shape, axes;
  gdouble eps, lr_scale;
  gboolean affine, bias;
} NormOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (NormOptions, key)
#define EPS(value) {ROW (eps, DOUBLE), value, 0, 1, NULL, \
    "added to the variance under the root"}
#define LR_SCALE {ROW (lr_scale, DOUBLE), "1", 0, 1e6, NULL, \
    "times the learning rate of its weights; 0: they stay"}
#define AFFINE(value) {ROW (affine, BOOL), value, 0, 0, NULL, \
    "scales and moves each channel by learned numbers"}

static const PtParam instance_norm_params[] = {
  EPS ("1e-5"), AFFINE ("false"), LR_SCALE, {NULL}
};

static const PtParam group_norm_params[] = {
  {ROW (num_groups, INT), NULL, 1, 65536, NULL,
      "parts of the channels, each with its own mean and variance"},
  EPS ("1e-5"), AFFINE ("true"), LR_SCALE, {NULL}
};

static const PtParam layer_norm_params[] = {
  {ROW (axis, INT), "-1", -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL,
      "first of the axes that are normalised, up to the last"},
  {ROW (normalized_shape, DOUBLE_LIST), "", 1, G_MAXINT, NULL,
      "sizes of these axes, instead of axis"},
  EPS ("1e-5"),
  {"elementwise_affine", PT_PARAM_BOOL, G_STRUCT_OFFSET (NormOptions, affine),
      "true", 0, 0, NULL, "scales and moves each element by learned numbers"},
  {ROW (bias, BOOL), "true", 0, 0, NULL, "elementwise_affine moves, too"},
  LR_SCALE, {NULL}
};

static const PtParam mean_variance_norm_params[] = {
  {ROW (axes, DOUBLE_LIST), "0;2;3", -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL,
      "over which mean and variance are taken"},
  EPS ("1e-5"), {NULL}
};

static const PtParam normalize_params[] = {
  {ROW (p, INT), "2", 1, 2, NULL, "of the norm (sum |x|^p)^(1/p)"},
  {ROW (dim, INT), "1", -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL,
      "axis over which it is taken"},
  {ROW (eps, DOUBLE), "1e-12", 1e-30, 1, NULL,
      "what x is divided by at least"},
  {NULL}
};

#undef AFFINE
#undef LR_SCALE
#undef EPS
#undef ROW

/* -1 is the last. */
static gboolean
norm_get_axis (const PtLayer *layer, gint axis, gint *found, GError **error)
{
  gint rank = layer->inputs[0].n_dims;
  gchar text[PT_SHAPE_TEXT_SIZE];

  *found = axis < 0 ? axis + rank : axis;
  if (*found >= 0 && *found < rank)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "found axis %d of %s, expected "
      "%d to %d", axis, pt_shape_print (&layer->inputs[0], text), -rank,
      rank - 1);
  return FALSE;
}

/* All axes from @first on. */
static guint
norm_get_trailing (const PtLayer *layer, guint first)
{
  return (1u << layer->inputs[0].n_dims) - (1u << first);
}

static gboolean
norm_describe_channels (const PtLayer *layer, PtNormalizeDesc *desc,
    GError **error)
{
  const NormOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  gint groups = options->num_groups;
  gchar text[PT_SHAPE_TEXT_SIZE];

  desc->axes = norm_get_trailing (layer, 1);
  desc->groups = groups > 0 ? groups : pt_shape_c (x);
  desc->weights = options->affine ? PT_NORMALIZE_CHANNELS : PT_NORMALIZE_PLAIN;
  if (x->n_dims >= 2 && pt_shape_c (x) % desc->groups == 0)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "num_groups=%d for an input of "
      "shape %s, expected a divisor of its channels", groups,
      pt_shape_print (x, text));
  return FALSE;
}

static gboolean
norm_find_first (const PtLayer *layer, gint *first, GError **error)
{
  const NormOptions *options = layer->options;
  const PtDoubleList *sizes = &options->normalized_shape;
  const PtShape *x = &layer->inputs[0];
  gchar text[PT_SHAPE_TEXT_SIZE];
  gboolean fits = sizes->n <= x->n_dims;

  if (sizes->n == 0)
    return norm_get_axis (layer, options->axis, first, error);
  *first = x->n_dims - sizes->n;
  for (guint i = 0; fits && i < sizes->n; i++)
    fits = sizes->values[i] == x->dims[*first + i];
  if (fits)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "normalized_shape has %u sizes "
      "from %g on, expected the last ones of %s", sizes->n, sizes->values[0],
      pt_shape_print (x, text));
  return FALSE;
}

static gboolean
norm_describe_layer (const PtLayer *layer, PtNormalizeDesc *desc,
    GError **error)
{
  const NormOptions *options = layer->options;
  gint first;

  if (!norm_find_first (layer, &first, error))
    return FALSE;
  desc->axes = norm_get_trailing (layer, first);
  desc->weights = options->affine ? PT_NORMALIZE_ELEMENTS : PT_NORMALIZE_PLAIN;
  return TRUE;
}

static gboolean
norm_describe_axes (const PtLayer *layer, PtNormalizeDesc *desc,
    GError **error)
{
  const NormOptions *options = layer->options;
  gint axis;

  for (guint i = 0; i < options->axes.n; i++) {
    if (!norm_get_axis (layer, options->axes.values[i], &axis, error))
      return FALSE;
    desc->axes |= 1u << axis;
  }
  return TRUE;
}

static gboolean
norm_describe_norm (const PtLayer *layer, PtNormalizeDesc *desc,
    GError **error)
{
  const NormOptions *options = layer->options;
  gint axis;

  if (!norm_get_axis (layer, options->dim, &axis, error))
    return FALSE;
  desc->kind = options->p == 1 ? PT_NORMALIZE_L1 : PT_NORMALIZE_L2;
  desc->axes = 1u << axis;
  return TRUE;
}

typedef gboolean (*NormDescribe) (const PtLayer *layer, PtNormalizeDesc *desc,
    GError **error);

static gboolean
norm_describe (const PtLayer *layer, NormDescribe func, PtOpDesc *desc,
    GError **error)
{
  const NormOptions *options = layer->options;

  desc->normalize = (PtNormalizeDesc) {.eps = options->eps };
  return func (layer, &desc->normalize, error);
}

/* One number for each group: all axes but those, and the groups of axis 1. */
static gint64
norm_count_groups (const PtShape *x, const PtNormalizeDesc *desc)
{
  gint64 n = MAX (desc->groups, 1);

  for (guint i = 0; i < x->n_dims; i++)
    if ((desc->axes >> i & 1) == 0)
      n *= x->dims[i];
  return n;
}

static PtShape
norm_get_weight_shape (const PtShape *x, const PtNormalizeDesc *desc)
{
  PtShape shape = PT_SHAPE (pt_shape_c (x));

  if (desc->weights == PT_NORMALIZE_CHANNELS)
    return shape;
  shape.n_dims = 0;
  for (guint i = 0; i < x->n_dims; i++)
    if (desc->axes >> i & 1)
      shape.dims[shape.n_dims++] = x->dims[i];
  return shape;
}

static gboolean
norm_infer (PtLayer *layer, NormDescribe func, gboolean bias, GError **error)
{
  const NormOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  PtOpDesc desc;
  PtShape groups, weight;

  if (!norm_describe (layer, func, &desc, error))
    return FALSE;
  groups = PT_SHAPE (norm_count_groups (x, &desc.normalize));
  layer->saved[SAVED_MEAN] = (PtSaved) { PT_F32, groups };
  layer->saved[SAVED_VARIANCE] = (PtSaved) { PT_F32, groups };
  layer->n_saved = 2;
  layer->backward_uses_x = TRUE;
  if (desc.normalize.weights != PT_NORMALIZE_PLAIN) {
    weight = norm_get_weight_shape (x, &desc.normalize);
    layer->weights[WEIGHT] = (PtWeight) { "weight", weight, TRUE };
    layer->weights[BIAS] = (PtWeight) { "bias", weight, TRUE };
    layer->n_weights = bias ? 2 : 1;
    layer->lr_scale = options->lr_scale;
  }
  return pt_layer_same_shape (layer, error);
}

static void
norm_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  gint64 n = pt_shape_get_n_elements (&layer->weights[i].shape);

  for (gint64 k = 0; k < n; k++)
    data[k] = i == WEIGHT ? 1 : 0;
}

static gboolean
norm_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    NormDescribe func, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_NORMALIZE);

  if (!norm_describe (layer, func, &desc, error) ||
      !pt_layer_plan_unary (plan, workspace, &desc, PT_OP_NORMALIZE_BACKWARD,
          error))
    return FALSE;
  /* weights of an image lie as that does */
  for (guint i = 0; i < layer->n_weights; i++)
    if (layer->weights[i].shape.n_dims > 1)
      plan->packers[i] = plan->ops[FORWARD];
  return TRUE;
}

static gboolean
norm_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {
    .x = args->x[0],
    .w = args->w[WEIGHT],
    .b = args->w[BIAS],
    .y = args->y,
    .saved_mean = args->saved[SAVED_MEAN],
    .saved_variance = args->saved[SAVED_VARIANCE],
  };

  return pt_op_run (plan->ops[FORWARD], &run, error);
}

static gboolean
norm_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {
    .x = args->x[0],
    .w = args->w[WEIGHT],
    .dy = args->dy,
    .saved_mean = args->saved[SAVED_MEAN],
    .saved_variance = args->saved[SAVED_VARIANCE],
    .dx = args->dx[0],
  };

  if (!args->frozen) {
    run.dw = args->dw[WEIGHT];
    run.db = args->dw[BIAS];
  }
  return (run.dx == NULL && run.dw == NULL) ||
      pt_op_run (plan->ops[BACKWARD], &run, error);
}

/* A pass for the statistics, one to apply them. */
static gdouble
norm_flops (const PtLayer *layer)
{
  return 5.0 * pt_shape_get_n_elements (&layer->output);
}

/* What differs between the kinds: how they describe themselves. */
#define KIND(symbol, describe, biased, about, ...) \
static gboolean \
symbol##_infer (PtLayer *layer, GError **error) \
{ \
  return norm_infer (layer, describe, biased, error); \
} \
\
static gboolean \
symbol##_plan (const PtLayer *layer, PtWorkspace *workspace, \
    PtLayerPlan *plan, GError **error) \
{ \
  return norm_plan (layer, workspace, plan, describe, error); \
} \
\
static const gchar *const symbol##_samples[] = { __VA_ARGS__, NULL }; \
\
const PtLayerKind pt_layer_##symbol = { \
  about, \
  .options_size = sizeof (NormOptions), \
  .params = symbol##_params, \
  .min_inputs = 1, \
  .max_inputs = 1, \
  .any_shape = TRUE, \
  .samples = symbol##_samples, \
  .infer = symbol##_infer, \
  .init = norm_init, \
  .plan = symbol##_plan, \
  .forward = norm_forward, \
  .backward = norm_backward, \
  .flops = norm_flops, \
}

#define ABOUT(kind, text) .name = kind, .summary = text

KIND (instance_norm, norm_describe_channels, TRUE,
    ABOUT ("instance-norm", "each channel to mean 0 and variance 1 over its "
        "own elements, torch.nn.InstanceNorm2d"),
    "in=1x3x5x4", "in=1x16x3x4 affine=true eps=1e-3", "in=2x3x7 affine=true",
    "in=2x3x2x3x4 affine=true");

KIND (group_norm, norm_describe_channels, TRUE,
    ABOUT ("group-norm", "groups of channels to mean 0 and variance 1, "
        "torch.nn.GroupNorm"),
    "in=1x6x5x4 num_groups=3", "in=1x8x3x4 num_groups=1 eps=1e-3",
    "in=2x12x3x3 num_groups=2 affine=false", "in=2x6x7 num_groups=2",
    "in=3x8 num_groups=2", "in=1x4x3x3 num_groups=4");

KIND (layer_norm, norm_describe_layer,
    ((const NormOptions *) layer->options)->bias,
    ABOUT ("layer-norm", "the last axes to mean 0 and variance 1, "
        "torch.nn.LayerNorm"),
    "in=2x7x12", "in=1x10 eps=1e-3", "in=2x5x6 normalized_shape=5;6",
    "in=1x3x4x5 axis=1", "in=1x3x4x5 axis=2 bias=false", "in=2x3x4x5",
    "in=5x3x2 elementwise_affine=false axis=0", "in=2x3x2x3x4 axis=-3",
    "in=2x2x3x4 axis=0", "in=9");

KIND (mean_variance_norm, norm_describe_axes, FALSE,
    ABOUT ("mean-variance-norm", "all that differs in the given axes to mean 0 "
        "and variance 1, torch.var_mean"),
    "in=2x3x5x4", "in=2x6x5x4 axes=1", "in=2x3x4 axes=1 eps=1e-3");

KIND (normalize, norm_describe_norm, FALSE,
    ABOUT ("normalize", "divides by the norm along an axis, "
        "torch.nn.functional.normalize"),
    "in=1x6x3x4", "in=2x3x4 p=1", "in=1x3x4x5 dim=2", "in=2x7 dim=-1",
    "in=1x3x4x5 dim=3 p=1", "in=1x5x2x2 eps=1");
