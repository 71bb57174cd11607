/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/fold.h"

#include <string.h>

#include "layers/chain.h"

enum
{
  WEIGHT,
  BIAS,
};

static gchar *
fold_get_option (const PtLayer *layer, const gchar *key)
{
  return pt_params_get (layer->kind->params, layer->options, key);
}

/* Whether nobody but the next layer, on the same stage, reads layer @node. */
static gboolean
fold_is_alone (const PtWiring *wiring, const PtSpan *span, guint node)
{
  return node + 1 < span->first + span->n &&
      wiring->network->nodes[node + 1].inputs[0] == (gint) node &&
      wiring->wires[1 + node].last_node == (gint) node + 1;
}

/* Gives @copy the options that @layer has, of those named or of all. */
static gboolean
fold_copy_options (PtLayer *copy, const PtLayer *layer,
    const gchar *const *keys)
{
  for (const PtParam *p = layer->kind->params; p->key != NULL; p++) {
    g_autofree gchar *value = fold_get_option (layer, p->key);

    if ((keys == NULL || g_strv_contains (keys, p->key)) &&
        !pt_params_set (copy->kind->params, copy->options, p->key, value, "",
            NULL))
      return FALSE;
  }
  return TRUE;
}

static gboolean
fold_has_option (const PtLayer *layer, const gchar *key)
{
  for (const PtParam *p = layer->kind->params; p->key != NULL; p++)
    if (g_str_equal (p->key, key))
      return TRUE;
  return FALSE;
}

static gboolean
fold_is_scale (const PtLayer *layer)
{
  return layer->kind->get_scale != NULL &&
      layer->kind->get_scale (layer, NULL, NULL, NULL);
}

/* Whether @layer is one of the activations that may end others, with no more
 * than a slope to choose. */
static gboolean
fold_is_activation (const PtLayer *layer)
{
  const PtParam *p = layer->kind->params;

  return g_strv_contains (pt_activation_names, layer->kind->name) &&
      (p->key == NULL || (g_str_equal (p->key, "negative_slope")
          && p[1].key == NULL));
}

/* Whether what is behind @layer would come before its activation. */
static gboolean
fold_is_open (const PtLayer *layer)
{
  g_autofree gchar *activation = NULL;

  if (fold_is_activation (layer))
    return FALSE;
  if (!fold_has_option (layer, "activation"))
    return TRUE;
  activation = fold_get_option (layer, "activation");
  return g_str_equal (activation, "none");
}

/* @layer with a bias, and the activation of @last. */
static PtLayer *
fold_copy (const PtLayer *layer, const PtLayer *last)
{
  static const gchar *const behind[] = {
    "activation", "negative_slope", NULL
  };
  g_autoptr (PtLayer) copy = pt_layer_new (layer->kind, layer->name);

  copy->n_inputs = layer->n_inputs;
  memcpy (copy->inputs, layer->inputs, sizeof copy->inputs);
  if (!fold_copy_options (copy, layer, NULL) ||
      !fold_copy_options (copy, last, behind) ||
      (fold_is_activation (last) && !pt_params_set (copy->kind->params,
              copy->options, "activation", last->kind->name, "", NULL)) ||
      (fold_has_option (copy, "bias") && !pt_params_set (copy->kind->params,
              copy->options, "bias", "true", "", NULL)) ||
      !pt_layer_infer (copy, NULL) || copy->n_weights < BIAS + 1)
    return NULL;
  return g_steal_pointer (&copy);
}

/* The layer whose weight 1 can hold a bias: @layer itself or, better, since it
 * may have none, @next. -1: neither. */
static gint
fold_find_bias (const PtLayer *layer, const PtLayer *next)
{
  const gint64 rows = layer->weights[WEIGHT].shape.dims[0];

  if (next->n_weights > BIAS &&
      pt_shape_get_n_elements (&next->weights[BIAS].shape) == rows)
    return 1;
  return layer->n_weights > BIAS ? 0 : -1;
}

/* A layer that takes in the scales behind it and an activation behind those:
 * as many as it can. */
static PtFold
fold_make (const PtWiring *wiring, const PtSpan *span, guint node)
{
  const PtNode *nodes = &wiring->network->nodes[node];
  const PtLayer *layer = nodes[0].layer;
  guint n = 0;

  /* of a second input, which is added, only the product would be scaled */
  if (!layer->kind->rows_are_channels || layer->n_inputs > 1)
    return (PtFold) { NULL };
  while (fold_is_alone (wiring, span, node + n) && fold_is_open (nodes[n].layer)
      && (fold_is_scale (nodes[n + 1].layer) || (n > 0
              && fold_is_activation (nodes[n + 1].layer))))
    n++;
  for (; n > 0; n--) {
    const gint bias = fold_find_bias (layer, nodes[1].layer);
    PtLayer *copy = bias < 0 ? NULL : fold_copy (layer, nodes[n].layer);

    if (copy != NULL)
      return (PtFold) { copy, n,.bias = bias };
  }
  return (PtFold) { NULL };
}

/* The layers from @node on that only move elements, if there are several. */
static PtFold
fold_make_chain (const PtWiring *wiring, const PtSpan *span, guint node)
{
  const PtLayer *layers[PT_CHAIN_MAX];
  guint n = 0;

  do
    layers[n] = wiring->network->nodes[node + n].layer;
  while (pt_chain_takes (layers[n]) && ++n < PT_CHAIN_MAX
      && fold_is_alone (wiring, span, node + n - 1));
  if (n < 2)
    return (PtFold) { NULL };
  return (PtFold) { pt_chain_new (layers, n), n - 1 };
}

PtFold *
pt_fold_new (const PtWiring *wiring, const PtSpan *span)
{
  PtFold *folds = g_new0 (PtFold, span->n);

  for (guint k = 0; k < span->n; k += 1 + folds[k].more) {
    folds[k] = fold_make (wiring, span, span->first + k);
    if (folds[k].layer == NULL)
      folds[k] = fold_make_chain (wiring, span, span->first + k);
    for (guint i = 0; i < folds[k].more; i++) {
      folds[k + i].hidden = TRUE;
      folds[k + i + 1].absorbed = TRUE;
    }
  }
  return folds;
}

void
pt_fold_free (PtFold *folds, guint n)
{
  for (guint k = 0; folds != NULL && k < n; k++)
    pt_layer_free (folds[k].layer);
  g_free (folds);
}

/* -- weights -- */

/* What the @n layers behind @node make of each of its channels: as many
 * scales, then what is added. */
static gfloat *
fold_get_scale (const PtNode *node, guint n)
{
  const gint64 rows = node->weights[WEIGHT]->shape.dims[0];
  gfloat *all = g_new (gfloat, 2 * rows);
  g_autofree gfloat *one = g_new (gfloat, 2 * rows);

  for (gint64 i = 0; i < rows; i++) {
    all[i] = 1;
    all[rows + i] = 0;
  }
  for (const PtNode *next = node + 1; next <= node + n; next++) {
    if (!fold_is_scale (next->layer))
      continue;
    next->layer->kind->get_scale (next->layer, next->weights, one, one + rows);
    for (gint64 i = 0; i < rows; i++) {
      all[i] *= one[i];
      all[rows + i] = one[i] * all[rows + i] + one[rows + i];
    }
  }
  return all;
}

PtTensor *
pt_fold_new_weight (const PtNode *node, guint n, GError **error)
{
  const PtTensor *weight = node->weights[WEIGHT];
  const gint64 rows = weight->shape.dims[0];
  const gint64 columns = pt_shape_get_n_elements (&weight->shape) / rows;
  PtTensor *folded = pt_tensor_new_shaped (PT_F32, &weight->shape, error);
  g_autofree gfloat *scale = fold_get_scale (node, n);
  const gfloat *from = weight->data;
  gfloat *to = folded ? folded->data : NULL;

  for (gint64 i = 0; i < rows && to != NULL; i++)
    for (gint64 j = 0; j < columns; j++)
      to[i * columns + j] = scale[i] * from[i * columns + j];
  return folded;
}

PtTensor *
pt_fold_new_bias (const PtNode *node, guint n, GError **error)
{
  const gfloat *bias =
      node->layer->n_weights > BIAS ? node->weights[BIAS]->data : NULL;
  const gint64 rows = node->weights[WEIGHT]->shape.dims[0];
  PtTensor *folded = pt_tensor_new_shaped (PT_F32, &PT_SHAPE (rows), error);
  g_autofree gfloat *scale = fold_get_scale (node, n);
  gfloat *to = folded ? folded->data : NULL;

  for (gint64 i = 0; i < rows && to != NULL; i++)
    to[i] = scale[rows + i] + (bias ? scale[i] * bias[i] : 0);
  return folded;
}
