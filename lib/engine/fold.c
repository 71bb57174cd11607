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

static gboolean
fold_is_activated (const PtLayer *layer)
{
  g_autofree gchar *activation = fold_get_option (layer, "activation");

  return activation != NULL && !g_str_equal (activation, "none");
}

/* Whether nobody but the next layer, on the same stage, reads layer @node. */
static gboolean
fold_is_alone (const PtWiring *wiring, const PtSpan *span, guint node)
{
  return node + 1 < span->first + span->n &&
      wiring->network->nodes[node + 1].inputs[0] == (gint) node &&
      wiring->wires[1 + node].last_node == (gint) node + 1;
}

static guint
fold_get_axis (const PtLayer *layer)
{
  const gint axis = layer->kind->channels_axis;

  return axis < 0 ? (gint) layer->output.n_dims + axis : axis;
}

static const gchar *
fold_get_activation (const PtLayer *layer)
{
  return layer->kind->get_activation != NULL ?
      layer->kind->get_activation (layer) : NULL;
}

/* Whether @layer can take @next in as something that scales. Of a second input,
 * which is added, only the product would be scaled. */
static gboolean
fold_is_scale (const PtLayer *layer, const PtLayer *next)
{
  return layer->n_inputs == 1 && next->kind->get_scale != NULL &&
      next->kind->get_scale (next, fold_get_axis (layer), NULL, NULL, NULL);
}

/* How many layers behind @node it can take in. */
static void
fold_count (PtFold *self, const PtWiring *wiring, const PtSpan *span,
    guint node)
{
  const PtNode *nodes = &wiring->network->nodes[node];

  for (; nodes->layer->kind->scale_weight != NULL; self->more++) {
    const PtLayer *next;

    if (fold_is_activated (nodes[self->more].layer) ||
        !fold_is_alone (wiring, span, node + self->more))
      return;
    next = nodes[self->more + 1].layer;
    if (fold_get_activation (next) != NULL) {
      self->more++;
      return;
    }
    if (!fold_is_scale (nodes->layer, next))
      return;
    self->n_scales++;
  }
}

static gboolean
fold_set (PtLayer *copy, const gchar *key, const gchar *value)
{
  return pt_params_set (copy->kind->params, copy->options, key, value, "",
      NULL);
}

/* Gives @copy the options that @layer has, of those named or of all. */
static gboolean
fold_copy_options (PtLayer *copy, const PtLayer *layer,
    const gchar *const *keys)
{
  for (const PtParam *p = layer->kind->params; p->key != NULL; p++) {
    g_autofree gchar *value = fold_get_option (layer, p->key);

    if ((keys == NULL || g_strv_contains (keys, p->key)) &&
        !fold_set (copy, p->key, value))
      return FALSE;
  }
  return TRUE;
}

/* The first of @nodes with what it needs to do the work of all. */
static PtLayer *
fold_copy (const PtFold *self, const PtNode *nodes)
{
  const PtLayer *layer = nodes->layer, *last = nodes[self->more].layer;
  const gchar *activation = fold_get_activation (last);
  g_autofree gchar *bias = fold_get_option (layer, "bias");
  static const gchar *const behind[] = {
    "activation", "negative_slope", NULL
  };
  g_autoptr (PtLayer) copy = pt_layer_new (layer->kind, layer->name);

  copy->n_inputs = layer->n_inputs;
  memcpy (copy->inputs, layer->inputs, sizeof copy->inputs);
  if (!fold_copy_options (copy, layer, NULL) ||
      !fold_copy_options (copy, last, behind) ||
      (activation != NULL && !fold_set (copy, "activation", activation)) ||
      (self->n_scales > 0 && bias && !fold_set (copy, "bias", "true")) ||
      !pt_layer_infer (copy, NULL))
    return NULL;
  return g_steal_pointer (&copy);
}

/* A weight of these layers with as many numbers as there are channels, whose
 * memory the bias can have; its own if nothing is scaled. */
static gboolean
fold_find_bias (PtFold *self, const PtNode *nodes)
{
  const gint64 channels =
      nodes->layer->output.dims[fold_get_axis (nodes->layer)];

  self->bias_weight = BIAS;
  for (guint k = 0; k <= self->n_scales; k++)
    for (guint i = k == 0 ? BIAS : 0; i < nodes[k].layer->n_weights; i++)
      if (pt_shape_get_n_elements (&nodes[k].layer->weights[i].shape) ==
          channels) {
        self->bias_layer = k;
        self->bias_weight = i;
        return TRUE;
      }
  return self->n_scales == 0;
}

/* Layer @node, that does the work of those behind it that it can take in; it
 * may not have the last one's activation. */
static PtFold
fold_make (const PtWiring *wiring, const PtSpan *span, guint node)
{
  const PtNode *nodes = &wiring->network->nodes[node];
  PtFold fold = { NULL };

  fold_count (&fold, wiring, span, node);
  for (; fold.more > 0; fold.more--) {
    fold.n_scales = MIN (fold.n_scales, fold.more);
    if (fold_find_bias (&fold, nodes)
        && (fold.layer = fold_copy (&fold, nodes)) != NULL)
      return fold;
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

PtFold *
pt_fold_new_whole (PtNetwork *network, PtDevice *device)
{
  const PtSpan span = { 0, network->n_nodes, device };
  const PtLearning off = { .mode = PT_MODE_OFF };
  PtWiring wiring;
  PtFold *folds;

  pt_wiring_init (&wiring, network, &off, &span, 1);
  folds = pt_fold_new (&wiring, &span);
  pt_wiring_clear (&wiring);
  return folds;
}

/* -- weights -- */

/* What the layers behind @nodes do to its channels, one after the other: y =
 * scale x + shift, and so s' scale, s' shift + t'. */
static gdouble *
fold_get_scale (const PtFold *self, const PtNode *nodes)
{
  const guint axis = fold_get_axis (nodes->layer);
  const gint64 n = nodes->layer->output.dims[axis];
  g_autofree gdouble *next = g_new (gdouble, 2 * n);
  gdouble *scale = g_new0 (gdouble, 2 * n);

  for (gint64 i = 0; i < n; i++)
    scale[i] = 1;
  for (guint k = 1; k <= self->n_scales; k++) {
    nodes[k].layer->kind->get_scale (nodes[k].layer, axis, nodes[k].weights,
        next, next + n);
    for (gint64 i = 0; i < n; i++) {
      scale[i] *= next[i];
      scale[n + i] = next[i] * scale[n + i] + next[n + i];
    }
  }
  return scale;
}

static PtTensor *
fold_new_weight (const PtFold *self, const PtNode *nodes, GError **error)
{
  const PtTensor *weight = nodes->weights[WEIGHT];
  PtTensor *folded = pt_tensor_new_shaped (PT_F32, &weight->shape, error);
  g_autofree gdouble *scale = fold_get_scale (self, nodes);

  if (folded == NULL)
    return NULL;
  memcpy (folded->data, weight->data, weight->size);
  nodes->layer->kind->scale_weight (nodes->layer, scale, folded->data);
  return folded;
}

static PtTensor *
fold_new_bias (const PtFold *self, const PtNode *nodes, GError **error)
{
  const gfloat *bias =
      nodes->layer->n_weights > BIAS ? nodes->weights[BIAS]->data : NULL;
  const PtShape *shape =
      &nodes[self->bias_layer].layer->weights[self->bias_weight].shape;
  const gint64 n = pt_shape_get_n_elements (shape);
  PtTensor *folded = pt_tensor_new_shaped (PT_F32, shape, error);
  g_autofree gdouble *scale = fold_get_scale (self, nodes);
  gfloat *to = folded ? folded->data : NULL;

  for (gint64 i = 0; i < n && to != NULL; i++)
    to[i] = scale[n + i] + (bias ? scale[i] * bias[i] : 0);
  return folded;
}

PtTensor *
pt_fold_new_value (const PtFold *folds, const PtNode *nodes, guint k,
    guint weight, GError **error)
{
  guint first = k;

  while (pt_fold_is_absorbed (folds, first))
    first--;
  if (folds != NULL && folds[first].n_scales > 0) {
    const PtFold *fold = &folds[first];

    if (k == first && weight == WEIGHT)
      return fold_new_weight (fold, &nodes[first], error);
    if (k == first + fold->bias_layer && weight == fold->bias_weight)
      return fold_new_bias (fold, &nodes[first], error);
  }
  return pt_tensor_ref (nodes[k].weights[weight]);
}
