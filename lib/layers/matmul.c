/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

enum
{
  FORWARD,
  BACKWARD,                     /* and one for the other input */
};

typedef struct
{
  gdouble alpha;
  gboolean trans_a, trans_b;
  PtDoubleList other;
  gboolean reverse;
  gdouble lr_scale;
} MatmulOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (MatmulOptions, key)

static const PtParam matmul_params[] = {
  {ROW (alpha, DOUBLE), "1", 0, 0, NULL, "factor of the product"},
  {ROW (trans_a, BOOL), "false", 0, 0, NULL,
      "transposes the last two axes of the first factor"},
  {ROW (trans_b, BOOL), "false", 0, 0, NULL,
      "transposes the last two axes of the second factor"},
  {ROW (other, DOUBLE_LIST), "", 1, 1 << 24, NULL,
      "with one input: shape of the other factor, which is learned"},
  {ROW (reverse, BOOL), "false", 0, 0, NULL, "that one is the first"},
  {ROW (lr_scale, DOUBLE), "1", 0, 1e6, NULL,
      "times the learning rate of other; 0: it stays"},
  {NULL}
};

#undef ROW

/* Which factor is a weight; -1: none. */
static gint
matmul_get_weight (const PtLayer *layer)
{
  const MatmulOptions *options = layer->options;

  return layer->n_inputs == 2 ? -1 : options->reverse ? 0 : 1;
}

static const PtShape *
matmul_get_factor (const PtLayer *layer, gint i)
{
  const gint weight = matmul_get_weight (layer);

  return i == weight ? &layer->weights[0].shape :
      &layer->inputs[weight < 0 ? i : 0];
}

/* The tensor of factor @i among those of the inputs and the weight. */
static PtTensor *
matmul_pick (const PtLayer *layer, gint i, PtTensor *const *x,
    PtTensor *const *w)
{
  const gint weight = matmul_get_weight (layer);

  return i == weight ? w[0] : x[weight < 0 ? i : 0];
}

static gboolean
matmul_is_transposed (const PtLayer *layer, gint i)
{
  const MatmulOptions *options = layer->options;

  return i ? options->trans_b : options->trans_a;
}

/* A single axis is a row on the left, a column on the right. */
static PtMatrixForm
matmul_get_form (const PtLayer *layer, gint i)
{
  const gboolean a = matmul_get_factor (layer, 0)->n_dims == 1;
  const gboolean b = matmul_get_factor (layer, 1)->n_dims == 1;

  if (i == 0)
    return a ? PT_MATRIX_ROW : PT_MATRIX;
  if (i == 1)
    return b ? PT_MATRIX_COLUMN : PT_MATRIX;
  return a ? PT_MATRIX_ROW : b ? PT_MATRIX_COLUMN : PT_MATRIX;
}

/* Rows and columns of a factor as it enters the product. */
static void
matmul_get_size (const PtLayer *layer, gint i, gint64 size[2])
{
  const PtShape *x = matmul_get_factor (layer, i);
  const gboolean transposed = matmul_is_transposed (layer, i);

  if (x->n_dims == 1) {
    size[i] = 1;
    size[1 - i] = x->dims[0];
    return;
  }
  size[transposed] = x->dims[x->n_dims - 2];
  size[!transposed] = x->dims[x->n_dims - 1];
}

/* What comes before the matrices, aligned at its end. */
static gboolean
matmul_broadcast (const PtLayer *layer, gint64 *dims, guint *n)
{
  *n = MAX (2, MAX (matmul_get_factor (layer, 0)->n_dims,
          matmul_get_factor (layer, 1)->n_dims)) - 2;
  for (guint k = 0; k < *n; k++)
    dims[k] = 1;
  for (guint i = 0; i < 2; i++) {
    const PtShape *x = matmul_get_factor (layer, i);

    for (guint k = 0; k + 2 < x->n_dims; k++) {
      gint64 *dim = &dims[*n + 2 - x->n_dims + k];

      if (*dim != 1 && x->dims[k] != 1 && x->dims[k] != *dim)
        return FALSE;
      *dim = MAX (*dim, x->dims[k]);
    }
  }
  return TRUE;
}

/* The weight has the shape in other. */
static gboolean
matmul_add_weight (PtLayer *layer, GError **error)
{
  const MatmulOptions *options = layer->options;
  const PtDoubleList *other = &options->other;
  PtWeight *weight = &layer->weights[0];

  if (other->n < 1 || other->n > PT_MAX_DIMS) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "one input and other of %u "
        "numbers, expected two inputs, or 1 to %d numbers", other->n,
        PT_MAX_DIMS);
    return FALSE;
  }
  *weight = (PtWeight) { "other", {other->n}, TRUE };
  for (guint i = 0; i < other->n; i++) {
    weight->shape.dims[i] = other->values[i];
    if (weight->shape.dims[i] != other->values[i]) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
          "other has size %g, expected whole numbers", other->values[i]);
      return FALSE;
    }
  }
  layer->n_weights = 1;
  layer->lr_scale = options->lr_scale;
  return TRUE;
}

static gboolean
matmul_infer (PtLayer *layer, GError **error)
{
  gchar texts[2][PT_SHAPE_TEXT_SIZE];
  PtShape *y = &layer->output;
  gint64 sizes[2][2];

  if (layer->n_inputs == 1 && !matmul_add_weight (layer, error))
    return FALSE;
  for (gint i = 0; i < 2; i++) {
    const PtShape *x = matmul_get_factor (layer, i);
    const gboolean transposed = matmul_is_transposed (layer, i);

    pt_shape_print (x, texts[i]);
    if (x->n_dims < (transposed ? 2 : 1)) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "trans_%c=%s, factor %d "
          "has shape %s, expected %s", "ab"[i], transposed ? "true" : "false",
          i, texts[i], transposed ? "a matrix" : "one");
      return FALSE;
    }
    matmul_get_size (layer, i, sizes[i]);
  }
  if (sizes[0][1] != sizes[1][0] ||
      !matmul_broadcast (layer, y->dims, &y->n_dims)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "factors of shapes %s%s and "
        "%s%s, expected as many columns in the first as rows in the second, "
        "and before those the same sizes or 1", texts[0],
        matmul_is_transposed (layer, 0) ? " (transposed)" : "", texts[1],
        matmul_is_transposed (layer, 1) ? " (transposed)" : "");
    return FALSE;
  }
  if (matmul_get_factor (layer, 0)->n_dims > 1)
    y->dims[y->n_dims++] = sizes[0][0];
  if (matmul_get_factor (layer, 1)->n_dims > 1)
    y->dims[y->n_dims++] = sizes[1][1];
  if (y->n_dims == 0)
    *y = PT_SHAPE (1);
  layer->backward_uses_x = TRUE;
  return TRUE;
}

static void
matmul_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  const PtShape *shape = &layer->weights[i].shape;

  pt_layer_init_fan_in (layer, i, pt_shape_get_n_elements (shape) /
      shape->dims[0], data, seed);
}

/* Operand @to of @desc is factor @i, or with 2 the output. */
static void
matmul_describe (const PtLayer *layer, PtOpDesc *desc, guint to, gint i)
{
  *(to == 2 ? &desc->y : &desc->xs[to]) =
      i == 2 ? layer->output : *matmul_get_factor (layer, i);
  desc->matmul.forms[to] = matmul_get_form (layer, i);
}

/* The gradients are products as well:
 * da = dy b^T, or b dy^T if a is transposed; db = a^T dy, or dy^T a. */
static void
matmul_describe_backward (const PtLayer *layer, gint i, PtOpDesc *desc)
{
  const gboolean this = matmul_is_transposed (layer, i);
  const gboolean that = matmul_is_transposed (layer, 1 - i);
  const guint dy = this ? 1 - i : i;    /* its place */

  matmul_describe (layer, desc, dy, 2);
  matmul_describe (layer, desc, 1 - dy, 1 - i);
  matmul_describe (layer, desc, 2, i);
  *(dy == 0 ? &desc->matmul.trans_a : &desc->matmul.trans_b) = this;
  *(dy == 1 ? &desc->matmul.trans_a : &desc->matmul.trans_b) =
      this ? that : !that;
}

static gboolean
matmul_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const MatmulOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_MATMUL);

  desc.n_xs = 2;
  desc.matmul.alpha = options->alpha;
  desc.matmul.trans_a = options->trans_a;
  desc.matmul.trans_b = options->trans_b;
  for (guint i = 0; i < 3; i++)
    matmul_describe (layer, &desc, i, i);
  if (!pt_layer_plan_op (plan, FORWARD, workspace, &desc, error))
    return FALSE;
  for (guint i = 0; i < 2 && workspace->training; i++) {
    matmul_describe_backward (layer, i, &desc);
    if (!pt_layer_plan_op (plan, BACKWARD + i, workspace, &desc, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
matmul_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtTensor *xs[] = { matmul_pick (layer, 0, args->x, args->w),
    matmul_pick (layer, 1, args->x, args->w)
  };

  return pt_op_run (plan->ops[FORWARD],
      &(PtOpArgs) {.xs = xs, .y = args->y}, error);
}

static gboolean
matmul_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  const gint weight = matmul_get_weight (layer);

  for (gint i = 0; i < 2; i++) {
    const gint dy = matmul_is_transposed (layer, i) ? 1 - i : i;
    PtTensor *to = matmul_pick (layer, i, args->dx, args->dw), *xs[2];

    if (to == NULL || (i == weight && args->frozen))
      continue;
    xs[dy] = args->dy;
    xs[1 - dy] = matmul_pick (layer, 1 - i, args->x, args->w);
    if (!pt_op_run (plan->ops[BACKWARD + i],
            &(PtOpArgs) {.xs = xs, .y = to}, error))
      return FALSE;
  }
  return TRUE;
}

static gdouble
matmul_flops (const PtLayer *layer)
{
  gint64 size[2];

  matmul_get_size (layer, 0, size);
  return 2.0 * size[1] * pt_shape_get_n_elements (&layer->output);
}

static const gchar *const matmul_samples[] = {
  "in=4x5,5x3",
  "in=5x4,5x3 trans_a=true alpha=0.5",
  "in=4x5,3x5 trans_b=true",
  "in=5x4,3x5 trans_a=true trans_b=true alpha=-2",
  "in=7,7x3",
  "in=2x4x7,7",
  "in=6,6",
  "in=3x4x5,3x5x2",
  "in=3x4x5,5x2",
  "in=4x5,3x5x2",
  "in=1x3x4x5,1x3x6x5 trans_b=true alpha=0.447",
  "in=2x3x5x4,2x1x5x6 trans_a=true",
  "in=2x3x4x5,5x6",
  "in=2x3x4x5,5",
  "in=5,2x3x5x4",
  "in=3x1x4x5,2x5x3",
  "in=2x1x3x4x5,2x3x1x6x5 trans_b=true",
  "in=2x1x3x2x4x5,1x3x1x2x5x4",
  "in=1x8x17x16,1x8x16x17",
  "in=2x3x4 other=2;4;3",
  "in=1x3x4x5 other=1;3;6;5 trans_b=true",
  "in=1x3x4x5 other=7;4 reverse=true",
  "in=2x3x4x5 other=2;1;3;4 reverse=true",
  "in=4x5 other=5",
  NULL,
};

const PtLayerKind pt_layer_matmul = {
  .name = "matmul",
  .summary = "product of two layers' matrices, or with a learned one, torch.matmul",
  .options_size = sizeof (MatmulOptions),
  .params = matmul_params,
  .min_inputs = 1,
  .max_inputs = 2,
  .any_shape = TRUE,
  .samples = matmul_samples,
  .infer = matmul_infer,
  .init = matmul_init,
  .plan = matmul_plan,
  .forward = matmul_forward,
  .backward = matmul_backward,
  .flops = matmul_flops,
};
