/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

#include <math.h>
#include <string.h>

/* The kinds differ in their name, and argmax and argmin in their options. */

typedef struct
{
  PtDoubleList dim;
  gboolean keepdim;
} ReduceOptions;

typedef struct
{
  gint dim;
  gboolean keepdim, select_last_index;
} ArgOptions;

static const PtParam reduce_params[] = {
  {"dim", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (ReduceOptions, dim), "",
        -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL,
      "axes; below 0 from the end; none: all"},
  {"keepdim", PT_PARAM_BOOL, G_STRUCT_OFFSET (ReduceOptions, keepdim), "false",
      0, 0, NULL, "the axes stay, of size 1"},
  {NULL}
};

static const PtParam arg_params[] = {
  {"dim", PT_PARAM_INT, G_STRUCT_OFFSET (ArgOptions, dim), "1", -PT_MAX_DIMS,
      PT_MAX_DIMS - 1, NULL, "axis; below 0 from the end"},
  {"keepdim", PT_PARAM_BOOL, G_STRUCT_OFFSET (ArgOptions, keepdim), "false", 0,
      0, NULL, "the axis stays, of size 1"},
  {"select_last_index", PT_PARAM_BOOL, G_STRUCT_OFFSET (ArgOptions,
          select_last_index), "false", 0, 0, NULL,
      "of several, the last and not the first"},
  {NULL}
};

static PtReduceKind
reduce_get_kind (const PtLayer *layer)
{
  static const gchar *const names[] = { "reduce-sum", "reduce-mean",
    "reduce-max", "reduce-min", "reduce-prod", "reduce-l1", "reduce-l2",
    "reduce-sum-square", "reduce-log-sum", "reduce-log-sum-exp", "argmax",
    "argmin"
  };
  PtReduceKind kind = 0;

  while (!g_str_equal (names[kind], layer->kind->name))
    kind++;
  return kind;
}

static gboolean
reduce_add_dim (const PtLayer *layer, gdouble dim, guint *axes,
    GError **error)
{
  const gint rank = layer->inputs[0].n_dims;
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (dim != floor (dim) || dim < -rank || dim >= rank) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "dim=%g for an input of "
        "shape %s, expected integers from %d to %d", dim,
        pt_shape_print (&layer->inputs[0], text), -rank, rank - 1);
    return FALSE;
  }
  *axes |= 1u << (gint) (dim < 0 ? dim + rank : dim);
  return TRUE;
}

static gboolean
reduce_get_axes (const PtLayer *layer, guint *axes, GError **error)
{
  const ReduceOptions *options = layer->options;

  *axes = 0;
  if (pt_reduce_is_arg (reduce_get_kind (layer)))
    return reduce_add_dim (layer, ((ArgOptions *) layer->options)->dim, axes,
        error);
  for (guint i = 0; i < options->dim.n; i++)
    if (!reduce_add_dim (layer, options->dim.values[i], axes, error))
      return FALSE;
  if (options->dim.n == 0)
    *axes = (1u << layer->inputs[0].n_dims) - 1;
  return TRUE;
}

static gboolean
reduce_get_keepdim (const PtLayer *layer)
{
  if (pt_reduce_is_arg (reduce_get_kind (layer)))
    return ((ArgOptions *) layer->options)->keepdim;
  return ((ReduceOptions *) layer->options)->keepdim;
}

static gboolean
reduce_infer (PtLayer *layer, GError **error)
{
  const PtShape *x = &layer->inputs[0];
  const PtReduceKind kind = reduce_get_kind (layer);
  PtShape y = { 0 };
  guint axes;

  if (!reduce_get_axes (layer, &axes, error))
    return FALSE;
  for (guint i = 0; i < x->n_dims; i++) {
    gboolean reduced = axes >> i & 1;

    if (!reduced || reduce_get_keepdim (layer))
      y.dims[y.n_dims++] = reduced ? 1 : x->dims[i];
  }
  layer->output = y.n_dims > 0 ? y : PT_SHAPE (1);
  layer->backward_uses_x = pt_reduce_uses_x (kind);
  layer->backward_uses_y = pt_reduce_uses_y (kind);
  return TRUE;
}

static gboolean
reduce_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_REDUCE);

  desc.reduce.kind = reduce_get_kind (layer);
  if (pt_reduce_is_arg (desc.reduce.kind))
    desc.reduce.last = ((ArgOptions *) layer->options)->select_last_index;
  return reduce_get_axes (layer, &desc.reduce.axes, error) &&
      pt_layer_plan_unary (plan, workspace, &desc, PT_OP_REDUCE_BACKWARD,
      error);
}

static gdouble
reduce_flops (const PtLayer *layer)
{
  return pt_shape_get_n_elements (&layer->inputs[0]);
}

static const gchar *const reduce_samples[] = {
  "in=1x5x3x4 dim=2;3",
  "in=1x5x3x4 dim=1 keepdim=true",
  "in=1x5x3x4 dim=-1",
  "in=2x3x4x5 dim=0;2",
  "in=2x3x4x5x3 dim=1;3 keepdim=true",
  "in=3x70 dim=1",
  "in=70x3 dim=0",
  "in=2x3x4",
  NULL,
};

static const gchar *const arg_samples[] = {
  "in=1x5x3x4",
  "in=1x5x3x4 dim=-1 keepdim=true",
  "in=3x70 dim=1",
  "in=70x3 dim=0 keepdim=true",
  "in=2x3x4x5 dim=2 select_last_index=true",
  NULL,
};

#define REDUCE_KIND(symbol, text, about, Options, table, lines) \
  const PtLayerKind pt_layer_ ## symbol = { \
    .name = text, \
    .summary = about, \
    .options_size = sizeof (Options), \
    .params = table, \
    .min_inputs = 1, \
    .max_inputs = 1, \
    .any_shape = TRUE, \
    .samples = lines, \
    .infer = reduce_infer, \
    .plan = reduce_plan, \
    .forward = pt_layer_forward_unary, \
    .backward = pt_layer_backward_unary, \
    .flops = reduce_flops, \
  }

#define REDUCE(symbol, text, about) \
  REDUCE_KIND (symbol, text, about, ReduceOptions, reduce_params, \
      reduce_samples)
#define ARG(symbol, text, about) \
  REDUCE_KIND (symbol, text, about, ArgOptions, arg_params, arg_samples)

REDUCE (reduce_sum, "reduce-sum", "sum over axes, torch.sum");
REDUCE (reduce_mean, "reduce-mean", "mean over axes, torch.mean");
REDUCE (reduce_max, "reduce-max", "largest over axes, torch.amax");
REDUCE (reduce_min, "reduce-min", "smallest over axes, torch.amin");
REDUCE (reduce_prod, "reduce-prod", "product over axes, torch.prod");
REDUCE (reduce_l1, "reduce-l1",
    "sum |x| over axes, torch.linalg.vector_norm (ord=1)");
REDUCE (reduce_l2, "reduce-l2",
    "sqrt (sum x^2) over axes, torch.linalg.vector_norm");
REDUCE (reduce_sum_square, "reduce-sum-square",
    "sum x^2 over axes, torch.sum (torch.square (x))");
REDUCE (reduce_log_sum, "reduce-log-sum",
    "log (sum x) over axes, torch.log (torch.sum (x))");
REDUCE (reduce_log_sum_exp, "reduce-log-sum-exp",
    "log (sum exp (x)) over axes, torch.logsumexp");
ARG (argmax, "argmax", "index of the largest along an axis, torch.argmax");
ARG (argmin, "argmin", "index of the smallest along an axis, torch.argmin");
