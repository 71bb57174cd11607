/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/binary.h"

#include "core/walk.h"

const gchar *const pt_binary_learned[] = { "auto", "true", "false", NULL };

enum
{
  LEARNED_AUTO,
  LEARNED_TRUE,
};

/* -- what they share -- */

static gboolean
binary_get_shape (const PtDoubleList *list, PtShape *shape, GError **error)
{
  *shape = (PtShape) { list->n };
  if (list->n == 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "has 1 input, expected 2, "
        "or other=SHAPE of a weight that is the other operand");
    return FALSE;
  }
  if (list->n > PT_MAX_DIMS) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "other has %u numbers, expected 1 to %d", list->n, PT_MAX_DIMS);
    return FALSE;
  }
  for (guint i = 0; i < list->n; i++) {
    shape->dims[i] = list->values[i];
    if (shape->dims[i] != list->values[i]) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
          "other has size %g, expected whole numbers", list->values[i]);
      return FALSE;
    }
  }
  return pt_shape_check (shape, error);
}

gboolean
pt_binary_get_pair (const PtLayer *layer, PtBinary kind,
    const PtBinaryOptions *options, PtBinaryPair *pair, GError **error)
{
  const gboolean alone = layer->n_inputs == 1;

  *pair = (PtBinaryPair) { kind, { layer->inputs[0], layer->inputs[1] },
    !alone ? -1 : options->reverse ? 0 : 1
  };
  if (!alone)
    return TRUE;
  pair->operands[1 - pair->weight] = layer->inputs[0];
  return binary_get_shape (&options->other, &pair->operands[pair->weight],
      error);
}

void
pt_binary_add_other (PtLayer *layer, const PtBinaryOptions *options,
    const PtBinaryPair *pair)
{
  const PtShape *shape = &pair->operands[pair->weight];
  gboolean learned = options->learned == LEARNED_TRUE;

  if (options->learned == LEARNED_AUTO)
    learned = pt_shape_get_n_elements (shape) > 1;
  layer->weights[0] = (PtWeight) { "other", *shape, learned };
  layer->n_weights = 1;
  layer->lr_scale = options->lr_scale;
}

#define FIRST 1
#define SECOND 2
#define BOTH (FIRST | SECOND)

/* What the gradient of either operand is worked out from. */
static const guint8 binary_reads[PT_N_BINARIES][2] = {
  [PT_BINARY_MUL] = { SECOND, FIRST },
  [PT_BINARY_DIV] = { SECOND, BOTH },
  [PT_BINARY_POW] = { BOTH, BOTH },
  [PT_BINARY_MIN] = { BOTH, BOTH },
  [PT_BINARY_MAX] = { BOTH, BOTH },
  [PT_BINARY_PRELU] = { BOTH, FIRST },
  [PT_BINARY_MASK] = { SECOND, 0 },
};

gboolean
pt_binary_infer (PtLayer *layer, const PtBinaryPair *pair, GError **error)
{
  const guint8 *reads = binary_reads[pair->kind];
  const gint x = 1 - pair->weight;
  guint read;

  if (pair->weight < 0)
    layer->backward_uses_x = (reads[0] | reads[1]) != 0;
  else {
    read = reads[x] | (layer->weights[0].learned ? reads[pair->weight] : 0);
    layer->backward_uses_x = (read & (x == 0 ? FIRST : SECOND)) != 0;
  }
  return pt_shape_broadcast (&pair->operands[0], &pair->operands[1],
      &layer->output, error);
}

gboolean
pt_binary_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, const PtBinaryPair *pair, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_BINARY);

  desc.elementwise.kind = pair->kind;
  for (guint i = 0; i < 2; i++)
    pt_shape_get_broadcast_strides (&pair->operands[i], &layer->output,
        desc.elementwise.strides[i]);
  if (!pt_layer_plan_op (plan, PT_BINARY_FORWARD, workspace, &desc, error))
    return FALSE;
  desc.type = PT_OP_BINARY_BACKWARD;
  for (guint i = 0; i < 2 && workspace->training; i++) {
    desc.elementwise.wanted = i;
    if ((pair->weight != (gint) i || layer->weights[0].learned) &&
        !pt_layer_plan_op (plan, PT_BINARY_BACKWARD + i, workspace, &desc,
            error))
      return FALSE;
  }
  return TRUE;
}

/* Operand @i among the layer's tensors @x and @w. */
static PtTensor *
binary_pick (PtTensor *const *x, PtTensor *const *w, gint weight, gint i)
{
  return i == weight ? w[0] : x[weight < 0 ? i : 0];
}

gboolean
pt_binary_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, gint weight, GError **error)
{
  return pt_op_run (plan->ops[PT_BINARY_FORWARD], &(PtOpArgs) {
        .x = binary_pick (args->x, args->w, weight, 0),
        .w = binary_pick (args->x, args->w, weight, 1),
        .y = args->y}, error);
}

gboolean
pt_binary_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, gint weight, GError **error)
{
  PtOpArgs run = {
    .x = binary_pick (args->x, args->w, weight, 0),
    .w = binary_pick (args->x, args->w, weight, 1),
    .dy = args->dy,
  };

  for (gint i = 0; i < 2; i++) {
    PtOp *op = plan->ops[PT_BINARY_BACKWARD + i];

    run.dx = binary_pick (args->dx, args->dw, weight, i);
    if (op != NULL && run.dx != NULL && !(i == weight && args->frozen) &&
        !pt_op_run (op, &run, error))
      return FALSE;
  }
  return TRUE;
}

/* Whether the weight has one number, or one for each index of @axis of x, and
 * the output x's shape. */
static gboolean
binary_is_per_channel (const PtBinaryPair *pair, const PtLayer *layer,
    guint axis)
{
  const PtShape *x = &layer->inputs[0], *w = &pair->operands[pair->weight];
  const guint before = x->n_dims - MIN (w->n_dims, x->n_dims);

  if (!pt_shape_equal (&layer->output, x) || w->n_dims > x->n_dims)
    return FALSE;
  for (guint i = 0; i < w->n_dims; i++)
    if (w->dims[i] != 1 && before + i != axis)
      return FALSE;
  return TRUE;
}

gboolean
pt_binary_get_scale (const PtLayer *layer, const PtBinaryPair *pair,
    guint axis, PtTensor *const *weights, gdouble *scale, gdouble *shift)
{
  const gboolean reverse = pair->weight == 0;
  const gfloat *w = scale ? weights[0]->data : NULL;
  gint64 step;

  if (pair->weight < 0 || !binary_is_per_channel (pair, layer, axis) ||
      (pair->kind == PT_BINARY_DIV && reverse) || pair->kind > PT_BINARY_DIV)
    return FALSE;
  step = pt_shape_get_n_elements (&layer->weights[0].shape) > 1;
  for (gint64 i = 0; scale && i < layer->output.dims[axis]; i++, w += step) {
    scale[i] = pair->kind == PT_BINARY_MUL ? *w :
        pair->kind == PT_BINARY_DIV ? 1.0 / *w :
        pair->kind == PT_BINARY_SUB && reverse ? -1 : 1;
    shift[i] = pair->kind == PT_BINARY_ADD ? *w :
        pair->kind == PT_BINARY_SUB ? reverse ? *w : -*w : 0;
  }
  return TRUE;
}

void
pt_binary_init (const PtLayer *layer, gdouble value, gfloat *data)
{
  const gint64 n = pt_shape_get_n_elements (&layer->weights[0].shape);

  for (gint64 i = 0; i < n; i++)
    data[i] = value;
}

/* -- the kinds that are nothing more -- */

extern const PtLayerKind pt_layer_sub, pt_layer_mul, pt_layer_div,
    pt_layer_pow, pt_layer_min, pt_layer_max, pt_layer_mask, pt_layer_eq,
    pt_layer_lt, pt_layer_le;

static PtBinary
binary_get (const PtLayer *layer)
{
  static const PtLayerKind *const kinds[PT_N_BINARIES] = {
    [PT_BINARY_SUB] = &pt_layer_sub,
    [PT_BINARY_MUL] = &pt_layer_mul,
    [PT_BINARY_DIV] = &pt_layer_div,
    [PT_BINARY_POW] = &pt_layer_pow,
    [PT_BINARY_MIN] = &pt_layer_min,
    [PT_BINARY_MAX] = &pt_layer_max,
    [PT_BINARY_MASK] = &pt_layer_mask,
    [PT_BINARY_EQ] = &pt_layer_eq,
    [PT_BINARY_LT] = &pt_layer_lt,
    [PT_BINARY_LE] = &pt_layer_le,
  };
  guint i = 0;

  while (kinds[i] != layer->kind)
    i++;
  return i;
}

static gboolean
binary_infer (PtLayer *layer, GError **error)
{
  PtBinaryPair pair;

  if (!pt_binary_get_pair (layer, binary_get (layer), layer->options, &pair,
          error))
    return FALSE;
  if (pair.weight >= 0)
    pt_binary_add_other (layer, layer->options, &pair);
  return pt_binary_infer (layer, &pair, error);
}

static void
binary_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  const PtBinaryOptions *options = layer->options;

  pt_binary_init (layer, options->value, data);
}

static gboolean
binary_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtBinaryPair pair;

  return pt_binary_get_pair (layer, binary_get (layer), layer->options, &pair,
      error) && pt_binary_plan (layer, workspace, plan, &pair, error);
}

static gint
binary_get_weight (const PtLayer *layer)
{
  const PtBinaryOptions *options = layer->options;

  return layer->n_inputs > 1 ? -1 : options->reverse ? 0 : 1;
}

static gboolean
binary_get_scale (const PtLayer *layer, guint axis, PtTensor *const *weights,
    gdouble *scale, gdouble *shift)
{
  PtBinaryPair pair;

  return pt_binary_get_pair (layer, binary_get (layer), layer->options, &pair,
      NULL) && pt_binary_get_scale (layer, &pair, axis, weights, scale, shift);
}

static gboolean
binary_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_binary_forward (layer, plan, args, binary_get_weight (layer),
      error);
}

static gboolean
binary_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_binary_backward (layer, plan, args, binary_get_weight (layer),
      error);
}

static const PtParam binary_params[] = {
  PT_BINARY_PARAMS ("0"),
  {NULL}
};

/* Of those that 1 leaves as it is. */
static const PtParam binary_factor_params[] = {
  PT_BINARY_PARAMS ("1"),
  {NULL}
};

#define SAMPLES(symbol, ...) \
static const gchar *const binary_ ## symbol ## _samples[] = { \
  __VA_ARGS__, \
  NULL, \
};

SAMPLES (sub, "in=1x3x4x5,1x3x4x5", "in=2x3x4,4",
    "in=1x3x4x5 other=3;1;1 reverse=true", "in=1x3x4x5 other=1 value=0.5")
SAMPLES (mul, "in=1x3x4x5,1x3x4x5", "in=1x3x4x5,1x3x1x1",
    "in=1x3x4x5,1x1x4x5", "in=2x3x4x5,4x5", "in=1x6,2x3x1",
    "in=1x3x4x5 other=3;1;1", "in=1x3x4x5 other=1 value=0.5",
    "in=2x3x4x5x2 other=2;1;4;5;1", "in=1x70x3x2 other=70;1;1")
SAMPLES (div, "in=1x3x4x5,1x3x4x5", "in=1x3x4x5,1x3x1x5",
    "in=2x5 other=5 reverse=true", "in=2x5 other=1 reverse=true learned=true")
SAMPLES (pow, "in=1x3x4x5,1x3x4x5", "in=1x3x4x5 other=1 value=2", "in=3x4,3x1",
    "in=1x6 other=6", "in=3x4 other=1 reverse=true learned=true")
SAMPLES (min, "in=1x3x4x5,1x3x4x5", "in=1x3x4x5,1x3x1x1",
    "in=1x6 other=1 learned=true")
SAMPLES (max, "in=1x3x4x5,1x3x4x5", "in=1x3x4x5,4x1",
    "in=1x3x4x5 other=3;1;1")
SAMPLES (mask, "in=1x3x4x5,1x3x4x5", "in=1x3x4x5,4x5", "in=2x5 other=5 "
    "learned=false")
SAMPLES (eq, "in=1x3x4x5,1x3x4x5", "in=2x5 other=1")
SAMPLES (lt, "in=1x3x4x5,1x3x4x5", "in=1x3x4x5 other=1 value=0.2",
    "in=2x5 other=5 value=-0.2 learned=false reverse=true")
SAMPLES (le, "in=1x3x4x5,4x1", "in=2x3x4 other=1 value=0.2")

#define BINARY_KIND(symbol, text, table) \
const PtLayerKind pt_layer_ ## symbol = { \
  .name = #symbol, \
  .summary = text, \
  .options_size = sizeof (PtBinaryOptions), \
  .params = table, \
  .min_inputs = 1, \
  .max_inputs = 2, \
  .any_shape = TRUE, \
  .samples = binary_ ## symbol ## _samples, \
  .infer = binary_infer, \
  .init = binary_init, \
  .plan = binary_plan, \
  .forward = binary_forward, \
  .backward = binary_backward, \
  .get_scale = binary_get_scale, \
}

BINARY_KIND (sub, "difference of two layers, or of one and a weight, "
    "torch.sub", binary_params);
BINARY_KIND (mul, "product of two layers, or of one and a weight, torch.mul",
    binary_factor_params);
BINARY_KIND (div, "quotient of two layers, or of one and a weight, torch.div",
    binary_factor_params);
BINARY_KIND (pow, "a layer to the power of another, or of a weight, "
    "torch.pow", binary_factor_params);
BINARY_KIND (min, "the smaller of two layers, or of one and a weight, "
    "torch.minimum", binary_params);
BINARY_KIND (max, "the larger of two layers, or of one and a weight, "
    "torch.maximum", binary_params);
BINARY_KIND (mask, "a layer, and 0 where another or a weight is 0, "
    "torch.where", binary_factor_params);
BINARY_KIND (eq, "1 where two layers, or one and a weight, are equal, or 0, "
    "torch.eq", binary_params);
BINARY_KIND (lt, "1 where a layer is less than another or a weight, or 0, "
    "torch.lt", binary_params);
BINARY_KIND (le, "1 where a layer is at most another or a weight, or 0, "
    "torch.le", binary_params);
