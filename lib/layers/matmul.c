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
} MatmulOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (MatmulOptions, key)

static const PtParam matmul_params[] = {
  {ROW (alpha, DOUBLE), "1", 0, 0, NULL, "factor of the product"},
  {ROW (trans_a, BOOL), "false", 0, 0, NULL,
      "transposes the last two axes of the first input"},
  {ROW (trans_b, BOOL), "false", 0, 0, NULL,
      "transposes the last two axes of the second input"},
  {NULL}
};

#undef ROW

/* A single axis is a row on the left, a column on the right. */
static void
matmul_get_forms (const PtLayer *layer, PtMatrixForm forms[3])
{
  const gboolean a = layer->inputs[0].n_dims == 1;
  const gboolean b = layer->inputs[1].n_dims == 1;

  forms[0] = a ? PT_MATRIX_ROW : PT_MATRIX;
  forms[1] = b ? PT_MATRIX_COLUMN : PT_MATRIX;
  forms[2] = a ? PT_MATRIX_ROW : b ? PT_MATRIX_COLUMN : PT_MATRIX;
}

/* Rows and columns of an input as it enters the product. */
static void
matmul_get_size (const PtLayer *layer, guint i, gint64 size[2])
{
  const MatmulOptions *options = layer->options;
  const PtShape *x = &layer->inputs[i];
  const gboolean transposed = i ? options->trans_b : options->trans_a;

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
  const PtShape *xs = layer->inputs;

  *n = MAX (2, MAX (xs[0].n_dims, xs[1].n_dims)) - 2;
  for (guint k = 0; k < *n; k++)
    dims[k] = 1;
  for (guint i = 0; i < 2; i++)
    for (guint k = 0; k + 2 < xs[i].n_dims; k++) {
      gint64 *dim = &dims[*n + 2 - xs[i].n_dims + k];

      if (*dim != 1 && xs[i].dims[k] != 1 && xs[i].dims[k] != *dim)
        return FALSE;
      *dim = MAX (*dim, xs[i].dims[k]);
    }
  return TRUE;
}

static gboolean
matmul_infer (PtLayer *layer, GError **error)
{
  const MatmulOptions *options = layer->options;
  gchar a[PT_SHAPE_TEXT_SIZE], b[PT_SHAPE_TEXT_SIZE];
  const PtShape *xs = layer->inputs;
  PtShape *y = &layer->output;
  gint64 sizes[2][2];

  for (guint i = 0; i < 2; i++) {
    const gboolean transposed = i ? options->trans_b : options->trans_a;

    if (xs[i].n_dims < (transposed ? 2 : 1)) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "trans_%c=%s, input %u has "
          "shape %s, expected %s", "ab"[i], transposed ? "true" : "false", i,
          pt_shape_print (&xs[i], a), transposed ? "a matrix" : "one");
      return FALSE;
    }
    matmul_get_size (layer, i, sizes[i]);
  }
  if (sizes[0][1] != sizes[1][0] ||
      !matmul_broadcast (layer, y->dims, &y->n_dims)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "inputs of shapes %s%s and "
        "%s%s, expected as many columns in the first as rows in the second, "
        "and before those the same sizes or 1", pt_shape_print (&xs[0], a),
        options->trans_a ? " (transposed)" : "", pt_shape_print (&xs[1], b),
        options->trans_b ? " (transposed)" : "");
    return FALSE;
  }
  if (xs[0].n_dims > 1)
    y->dims[y->n_dims++] = sizes[0][0];
  if (xs[1].n_dims > 1)
    y->dims[y->n_dims++] = sizes[1][1];
  if (y->n_dims == 0)
    *y = PT_SHAPE (1);
  layer->backward_uses_x = TRUE;
  return TRUE;
}

/* The gradients are products as well:
 * da = dy b^T, or b dy^T if a is transposed; db = a^T dy, or dy^T a. */
static void
matmul_describe_backward (const PtLayer *layer, guint i, PtOpDesc *desc)
{
  const MatmulOptions *options = layer->options;
  const gboolean trans[] = { options->trans_a, options->trans_b };
  const guint dy = trans[i] ? 1 - i : i;        /* its place */
  PtMatrixForm forms[3];
  gboolean flags[2];

  matmul_get_forms (layer, forms);
  flags[dy] = trans[i];
  flags[1 - dy] = trans[i] ? trans[1 - i] : !trans[1 - i];
  desc->xs[dy] = layer->output;
  desc->xs[1 - dy] = layer->inputs[1 - i];
  desc->y = layer->inputs[i];
  desc->matmul = (PtMatmulDesc) { flags[0], flags[1], {0}, options->alpha };
  desc->matmul.forms[dy] = forms[2];
  desc->matmul.forms[1 - dy] = forms[1 - i];
  desc->matmul.forms[2] = forms[i];
}

static gboolean
matmul_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const MatmulOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_MATMUL);

  desc.matmul = (PtMatmulDesc) { options->trans_a, options->trans_b, {0},
    options->alpha
  };
  matmul_get_forms (layer, desc.matmul.forms);
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
  return pt_op_run (plan->ops[FORWARD],
      &(PtOpArgs) {.xs = args->x, .y = args->y}, error);
}

static gboolean
matmul_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  const MatmulOptions *options = layer->options;

  for (guint i = 0; i < 2; i++) {
    gboolean transposed = i ? options->trans_b : options->trans_a;
    PtTensor *xs[2];

    if (args->dx[i] == NULL)
      continue;
    xs[transposed ? 1 - i : i] = args->dy;
    xs[transposed ? i : 1 - i] = args->x[1 - i];
    if (!pt_op_run (plan->ops[BACKWARD + i],
            &(PtOpArgs) {.xs = xs, .y = args->dx[i]}, error))
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
  NULL,
};

const PtLayerKind pt_layer_matmul = {
  .name = "matmul",
  .summary = "product of two layers' matrices, torch.matmul",
  .options_size = sizeof (MatmulOptions),
  .params = matmul_params,
  .min_inputs = 2,
  .max_inputs = 2,
  .any_shape = TRUE,
  .samples = matmul_samples,
  .infer = matmul_infer,
  .plan = matmul_plan,
  .forward = matmul_forward,
  .backward = matmul_backward,
  .flops = matmul_flops,
};
