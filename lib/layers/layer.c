/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

#include "core/rng.h"

#include <math.h>
#include <string.h>

const PtLayerKind *
pt_layer_kind_find (const gchar *name)
{
  for (guint i = 0; pt_layer_kinds[i] != NULL; i++)
    if (g_str_equal (pt_layer_kinds[i]->name, name))
      return pt_layer_kinds[i];
  return NULL;
}

/* A layer with the kind's default options; inputs are the caller's to set. */
PtLayer *
pt_layer_new (const PtLayerKind *kind, const gchar *name)
{
  PtLayer *self = g_new0 (PtLayer, 1);

  self->kind = kind;
  self->name = g_strdup (name);
  self->options = g_malloc0 (MAX (kind->options_size, 1));
  pt_params_init (kind->params, self->options);
  return self;
}

void
pt_layer_free (PtLayer *layer)
{
  if (layer == NULL)
    return;
  pt_params_clear (layer->kind->params, layer->options);
  g_free (layer->options);
  g_free (layer->name);
  g_free (layer);
}

static gboolean
layer_check_inputs (const PtLayer *layer, GError **error)
{
  const PtLayerKind *kind = layer->kind;
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (layer->n_inputs < kind->min_inputs ||
      layer->n_inputs > kind->max_inputs) {
    g_autofree gchar *most = kind->max_inputs == kind->min_inputs ?
        g_strdup ("") : g_strdup_printf (" to %u", kind->max_inputs);

    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "%s has %u input%s, expected %u%s", kind->name, layer->n_inputs,
        layer->n_inputs == 1 ? "" : "s", kind->min_inputs, most);
    return FALSE;
  }
  for (guint i = 0; i < layer->n_inputs; i++) {
    if (!pt_shape_check (&layer->inputs[i], error)) {
      g_prefix_error (error, "%s: input %u: ", kind->name, i);
      return FALSE;
    }
    if (!kind->any_shape &&
        (layer->inputs[i].n_dims < 2 || layer->inputs[i].dims[0] != 1)) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "%s: input %u has shape %s, expected 1xF or 1xCxHxW", kind->name, i,
          pt_shape_print (&layer->inputs[i], text));
      return FALSE;
    }
  }
  return TRUE;
}

/* Everything that infer() declared must be of a size that can be had. */
static gboolean
layer_check_sizes (const PtLayer *layer, GError **error)
{
  if (!pt_shape_check (&layer->output, error)) {
    g_prefix_error (error, "%s: output: ", layer->kind->name);
    return FALSE;
  }
  for (guint i = 0; i < layer->n_weights; i++)
    if (!pt_shape_check (&layer->weights[i].shape, error)) {
      g_prefix_error (error, "%s: %s: ", layer->kind->name,
          layer->weights[i].name);
      return FALSE;
    }
  for (guint i = 0; i < layer->n_saved; i++)
    if (!pt_shape_check (&layer->saved[i].shape, error)) {
      g_prefix_error (error, "%s: saved tensor: ", layer->kind->name);
      return FALSE;
    }
  return TRUE;
}

/* From inputs and options to output, weights and saved tensors. May be called
 * again after the options or inputs have changed. */
gboolean
pt_layer_infer (PtLayer *layer, GError **error)
{
  layer->lr_scale = 1;
  layer->n_weights = 0;
  layer->n_saved = 0;
  layer->backward_uses_x = FALSE;
  layer->backward_uses_y = FALSE;
  if (!layer_check_inputs (layer, error))
    return FALSE;
  if (!layer->kind->infer (layer, error)) {
    g_prefix_error (error, "%s: ", layer->kind->name);
    return FALSE;
  }
  return layer_check_sizes (layer, error);
}

/* Learned numbers; buffers do not count, as in PyTorch. */
guint64
pt_layer_count_parameters (const PtLayer *layer)
{
  guint64 n = 0;

  for (guint i = 0; i < layer->n_weights; i++)
    if (layer->weights[i].learned)
      n += pt_shape_get_n_elements (&layer->weights[i].shape);
  return n;
}

gdouble
pt_layer_get_flops (const PtLayer *layer)
{
  if (layer->kind->flops != NULL)
    return layer->kind->flops (layer);
  return pt_shape_get_n_elements (&layer->output);
}

void
pt_layer_init_weight (const PtLayer *layer, guint i, gfloat *data,
    guint64 seed)
{
  layer->kind->init (layer, i, data, seed);
}

gboolean
pt_layer_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  memset (plan, 0, sizeof *plan);
  if (layer->kind->plan (layer, workspace, plan, error))
    return TRUE;
  pt_layer_plan_clear (plan);
  g_prefix_error (error, "%s: ", layer->kind->name);
  return FALSE;
}

void
pt_layer_plan_clear (PtLayerPlan *plan)
{
  for (guint i = 0; i < PT_LAYER_MAX_OPS; i++)
    g_clear_pointer (&plan->ops[i], pt_op_free);
  memset (plan, 0, sizeof *plan);
}

gboolean
pt_layer_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return layer->kind->forward (layer, plan, args, error);
}

/* Only for a plan made with workspace->training. */
gboolean
pt_layer_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return layer->kind->backward (layer, plan, args, error);
}

void
pt_layer_init_fan_in (const PtLayer *layer, guint i, gint64 fan_in,
    gfloat *data, guint64 seed)
{
  g_autofree gchar *name =
      g_strdup_printf ("%s.%s", layer->name, layer->weights[i].name);
  gfloat bound = 1 / sqrt (fan_in);

  pt_rng_fill_uniform (data, pt_shape_get_n_elements (&layer->
          weights[i].shape), -bound, bound, seed, pt_rng_stream (name));
}

PtOpDesc
pt_layer_op_desc (const PtLayer *layer, const PtWorkspace *workspace,
    PtOpType type)
{
  PtOpDesc desc = {
    .type = type,
    .x = layer->inputs[0],
    .y = layer->output,
    .n_xs = layer->n_inputs,
    .training = workspace->training,
  };

  memcpy (desc.xs, layer->inputs, layer->n_inputs * sizeof *desc.xs);
  return desc;
}

gboolean
pt_layer_plan_op (PtLayerPlan *plan, guint slot, PtWorkspace *workspace,
    const PtOpDesc *desc, GError **error)
{
  plan->ops[slot] = pt_op_new (workspace, desc, error);
  return plan->ops[slot] != NULL;
}

gboolean
pt_layer_plan_unary (PtLayerPlan *plan, PtWorkspace *workspace,
    const PtOpDesc *desc, PtOpType backward, GError **error)
{
  PtOpDesc other = *desc;

  other.type = backward;
  if (!pt_layer_plan_op (plan, 0, workspace, desc, error))
    return FALSE;
  return !workspace->training ||
      pt_layer_plan_op (plan, 1, workspace, &other, error);
}

gboolean
pt_layer_forward_unary (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_op_run (plan->ops[0],
      &(PtOpArgs) {.x = args->x[0], .y = args->y}, error);
}

gboolean
pt_layer_backward_unary (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.dy = args->dy, .dx = args->dx[0] };

  if (args->dx[0] == NULL)
    return TRUE;
  if (layer->backward_uses_x)
    run.x = args->x[0];
  if (layer->backward_uses_y)
    run.y = args->y;
  return pt_op_run (plan->ops[1], &run, error);
}

/* Whether every input has @rank dimensions. */
gboolean
pt_layer_check_rank (const PtLayer *layer, guint rank, GError **error)
{
  gchar text[PT_SHAPE_TEXT_SIZE];

  for (guint i = 0; i < layer->n_inputs; i++)
    if (layer->inputs[i].n_dims != rank) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "input %u has shape %s, expected %s", i,
          pt_shape_print (&layer->inputs[i], text),
          rank == 2 ? "1xF (put a flatten layer before it)" : "1xCxHxW");
      return FALSE;
    }
  return TRUE;
}

/* infer() of layers that keep the shape of their only input. */
gboolean
pt_layer_same_shape (PtLayer *layer, GError **error)
{
  layer->output = layer->inputs[0];
  return TRUE;
}
