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

/* @layer with a bias, and the activation of @next. */
static PtLayer *
fold_copy (const PtLayer *layer, const PtLayer *next)
{
  static const gchar *const behind[] = {
    "activation", "negative_slope", NULL
  };
  g_autoptr (PtLayer) copy = pt_layer_new (layer->kind, layer->name);

  copy->n_inputs = layer->n_inputs;
  memcpy (copy->inputs, layer->inputs, sizeof copy->inputs);
  if (!fold_copy_options (copy, layer, NULL) ||
      !fold_copy_options (copy, next, behind) ||
      !pt_params_set (copy->kind->params, copy->options, "bias", "true", "",
          NULL) || !pt_layer_infer (copy, NULL) ||
      copy->n_weights != BIAS + 1)
    return NULL;
  return g_steal_pointer (&copy);
}

static PtLayer *
fold_make (const PtWiring *wiring, const PtSpan *span, guint node)
{
  const PtLayer *layer = wiring->network->nodes[node].layer, *next;
  g_autofree gchar *activation = NULL;

  /* of a second input, which is added, only the product would be scaled */
  if (!layer->kind->rows_are_channels || layer->n_inputs > 1 ||
      !fold_is_alone (wiring, span, node))
    return NULL;
  next = wiring->network->nodes[node + 1].layer;
  if (next->kind->get_scale == NULL ||
      !next->kind->get_scale (next, NULL, NULL, NULL))
    return NULL;
  activation = fold_get_option (layer, "activation");
  if (g_strcmp0 (activation, "none") != 0)
    return NULL;
  return fold_copy (layer, next);
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
    folds[k].layer = fold_make (wiring, span, span->first + k);
    folds[k].more = folds[k].layer != NULL;
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

/* Two numbers for each channel of @next, scales first. */
static gfloat *
fold_get_scale (const PtNode *next)
{
  const gint64 n =
      pt_shape_get_n_elements (&next->layer->weights[WEIGHT].shape);
  gfloat *scale = g_new (gfloat, 2 * n);

  next->layer->kind->get_scale (next->layer, next->weights, scale, scale + n);
  return scale;
}

PtTensor *
pt_fold_new_weight (const PtNode *node, const PtNode *next, GError **error)
{
  const PtTensor *weight = node->weights[WEIGHT];
  const gint64 rows = weight->shape.dims[0];
  const gint64 columns = pt_shape_get_n_elements (&weight->shape) / rows;
  PtTensor *folded = pt_tensor_new_shaped (PT_F32, &weight->shape, error);
  g_autofree gfloat *scale = fold_get_scale (next);
  const gfloat *from = weight->data;
  gfloat *to = folded ? folded->data : NULL;

  for (gint64 i = 0; i < rows && to != NULL; i++)
    for (gint64 j = 0; j < columns; j++)
      to[i * columns + j] = scale[i] * from[i * columns + j];
  return folded;
}

PtTensor *
pt_fold_new_bias (const PtNode *node, const PtNode *next, GError **error)
{
  const gfloat *bias =
      node->layer->n_weights > BIAS ? node->weights[BIAS]->data : NULL;
  const PtShape *shape = &next->layer->weights[BIAS].shape;
  const gint64 n = pt_shape_get_n_elements (shape);
  PtTensor *folded = pt_tensor_new_shaped (PT_F32, shape, error);
  g_autofree gfloat *scale = fold_get_scale (next);
  gfloat *to = folded ? folded->data : NULL;

  for (gint64 i = 0; i < n && to != NULL; i++)
    to[i] = scale[n + i] + (bias ? scale[i] * bias[i] : 0);
  return folded;
}
