/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/stage.h"

#include "engine/reuse.h"

/* Everything a stage needs before its first frame: operations, parameters,
 * activations, gradients, scratch. Runs on the stage's own thread, for the
 * thread count of an operation is fixed when it is planned. */

static gboolean
plan_layers (PtStage *self, GError **error)
{
  self->plans = g_new0 (PtLayerPlan, self->span->n);
  if (self->learning->mode == PT_MODE_OFF)
    self->folds = pt_fold_new (self->wiring, self->span);
  for (guint k = 0; k < self->span->n; k++) {
    const PtLayer *layer = pt_stage_get_layer (self, k);

    if (!pt_fold_is_absorbed (self->folds, k) && !pt_layer_plan (layer,
            &self->workspace, &self->plans[k], error)) {
      g_prefix_error (error, "%s: group [%s]: ",
          self->wiring->network->origin, layer->name);
      return FALSE;
    }
  }
  return TRUE;
}

static gsize
plan_get_bytes (const PtWire *wire)
{
  return pt_shape_get_n_elements (&wire->shape) * sizeof (gfloat);
}

/* Memory for activations that nobody else sees. When nothing learns, an
 * activation's memory is used again once its last reader is done. */
static GArray *
plan_blocks (PtStage *self, guint *block_of)
{
  const PtWiring *wiring = self->wiring;
  gboolean reuse = self->learning->mode == PT_MODE_OFF;
  GArray *blocks = pt_reuse_new ();

  for (guint k = 0; k < self->span->n; k++) {
    guint node = self->span->first + k;
    guint made = k + pt_stage_folds (self, k);
    const PtWire *wire = &wiring->wires[1 + self->span->first + made];

    /* of several layers in one, the first makes the last one's output */
    if (pt_wiring_is_local (wiring, 1 + self->span->first + made)
        && !pt_fold_is_absorbed (self->folds, k))
      block_of[made] = pt_reuse_ask (blocks, plan_get_bytes (wire)
          * (reuse ? 1 : wire->n_slots));
    for (guint i = 0; reuse && i <= k; i++) {
      guint other = self->span->first + i;

      if (pt_wiring_is_local (wiring, 1 + other)
          && !pt_fold_is_hidden (self->folds, i)
          && wiring->wires[1 + other].last_node == (gint) node)
        pt_reuse_give_back (blocks, block_of[i]);
    }
  }
  return blocks;
}

static gboolean
plan_activations (PtStage *self, GError **error)
{
  g_autofree guint *block_of = g_new0 (guint, self->span->n);
  g_autoptr (GArray) blocks = plan_blocks (self, block_of);

  self->n_blocks = blocks->len;
  self->blocks = g_new0 (PtTensor *, blocks->len + 1);
  for (guint i = 0; i < blocks->len; i++) {
    gsize bytes = pt_reuse_get_bytes (blocks, i);

    self->memory += bytes;
    self->blocks[i] = pt_device_bytes_new (self->span->device, bytes, error);
    if (self->blocks[i] == NULL)
      return FALSE;
  }
  for (guint k = 0; k < self->span->n; k++) {
    PtWire *wire = &self->wiring->wires[1 + self->span->first + k];
    gsize bytes = plan_get_bytes (wire);

    if (!pt_wiring_is_local (self->wiring, 1 + self->span->first + k)
        || pt_fold_is_hidden (self->folds, k))
      continue;
    wire->slots = g_new0 (PtTensor *, wire->n_slots);
    for (guint i = 0; i < wire->n_slots; i++)
      wire->slots[i] = pt_tensor_view (self->blocks[block_of[k]], i * bytes,
          &wire->shape, bytes);
  }
  return TRUE;
}

static gboolean
plan_saved (PtStage *self, GError **error)
{
  guint n = self->span->n;

  self->n_saved_slots = self->learning->mode == PT_MODE_DELAYED ?
      pt_wiring_round (self->wiring, self->age + 1) : 1;
  self->saved = g_new0 (PtTensor *,
      self->n_saved_slots * n * PT_LAYER_MAX_SAVED);
  for (guint k = 0; k < n; k++) {
    PtLayer *layer =
        self->wiring->network->nodes[self->span->first + k].layer;

    for (guint slot = 0; slot < self->n_saved_slots; slot++) {
      for (guint i = 0; i < layer->n_saved; i++) {
        PtTensor *saved = pt_device_tensor_new (self->span->device,
            layer->saved[i].dtype, &layer->saved[i].shape, error);

        if (saved == NULL)
          return FALSE;
        self->memory += saved->size;
        pt_stage_get_saved (self, k, slot)[i] = saved;
      }
    }
  }
  return TRUE;
}

/* Where the host reads outputs, if it cannot where they are. */
static gboolean
plan_copies (PtStage *self, GError **error)
{
  PtNetwork *network = self->wiring->network;

  self->outputs = g_new0 (PtTensor *, network->n_outputs);
  self->copies_outputs = !self->span->device->backend->host_memory;
  for (guint i = 0; self->copies_outputs && i < network->n_outputs; i++)
    if (!(self->outputs[i] = pt_device_host_tensor_new (self->span->device,
                PT_F32, pt_network_get_output_shape_at (network, i), error)))
      return FALSE;
  return TRUE;
}

/* The last stage looks at the main output and compares it with the target. */
static gboolean
plan_output (PtStage *self, GError **error)
{
  const PtWiring *wiring = self->wiring;
  const PtShape *output =
      &wiring->wires[pt_wiring_get_output (wiring, 0)].shape;
  PtOpDesc check = { .type = PT_OP_CHECK_FINITE, .x = *output };
  PtShape one = PT_SHAPE (1);

  self->check = pt_op_new (&self->workspace, &check, error);
  if (self->check == NULL)
    return FALSE;
  if (!plan_copies (self, error))
    return FALSE;
  if (self->learning->mode == PT_MODE_OFF)
    return TRUE;
  self->loss = pt_loss_plan (self->learning->loss, &self->workspace, output,
      &self->learning->target_shape, error);
  if (self->loss == NULL) {
    g_prefix_error (error, "%s: group [learning], key loss: ",
        wiring->network->origin);
    return FALSE;
  }
  self->loss_value = pt_device_tensor_new (self->span->device, PT_F32, &one,
      error);
  self->loss_host = pt_tensor_new_shaped (PT_F32, &one, error);
  return self->loss_value != NULL && self->loss_host != NULL;
}

static gboolean
plan_precision (PtStage *self, GError **error)
{
  const PtSettings *settings = &self->wiring->network->settings;
  guint known = 1 << PT_PRECISION_FP32
      | self->span->device->backend->precisions;

  self->workspace.precision = settings->precision;
  self->workspace.deterministic = settings->deterministic;
  if (known & 1u << settings->precision)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "%s: group [pipeline], "
      "key precision: device %s computes in fp32 only",
      self->wiring->network->origin,
      pt_device_get_name (self->span->device));
  return FALSE;
}

/* Plans operations and takes all the memory the stage will ever use. */
gboolean
pt_stage_plan (PtStage *self, GError **error)
{
  gboolean learns = self->learning->mode != PT_MODE_OFF;
  guint n_stash = self->learning->mode == PT_MODE_DELAYED && self->age > 0 ?
      pt_wiring_round (self->wiring, self->age + 1) : 0;

  pt_workspace_init (&self->workspace, self->span->device, learns);
  if (!plan_precision (self, error))
    return FALSE;
  if (!plan_layers (self, error)
      || !pt_arena_init (&self->arena, self->wiring->network, self->span,
          self->learning, self->folds, n_stash, self->plans,
          &self->workspace, error)
      || !plan_activations (self, error))
    return FALSE;
  if (learns && (!plan_saved (self, error)
          || !pt_gradients_init (&self->gradients, self->wiring, self->index,
              &self->workspace, error)))
    return FALSE;
  if (self->out == NULL && !plan_output (self, error))
    return FALSE;
  if (!pt_stage_plan_async (self, error)
      || !pt_workspace_ready (&self->workspace, error))
    return FALSE;
  self->memory += self->workspace.scratch_size + self->gradients.bytes
      + pt_arena_get_memory (&self->arena);
  return pt_arena_import (&self->arena, error);
}

void
pt_stage_clear_plan (PtStage *self)
{
  guint n_saved = self->n_saved_slots * self->span->n * PT_LAYER_MAX_SAVED;

  pt_stage_clear_async (self);
  for (guint i = 0; self->saved != NULL && i < n_saved; i++)
    g_clear_pointer (&self->saved[i], pt_tensor_unref);
  g_clear_pointer (&self->saved, g_free);
  for (guint i = 0; i < self->n_blocks; i++)
    g_clear_pointer (&self->blocks[i], pt_tensor_unref);
  g_clear_pointer (&self->blocks, g_free);
  g_clear_pointer (&self->loss, pt_op_free);
  g_clear_pointer (&self->check, pt_op_free);
  g_clear_pointer (&self->loss_value, pt_tensor_unref);
  g_clear_pointer (&self->loss_host, pt_tensor_unref);
  for (guint i = 0; self->outputs != NULL && self->copies_outputs
      && i < self->wiring->network->n_outputs; i++)
    g_clear_pointer (&self->outputs[i], pt_tensor_unref);
  g_clear_pointer (&self->outputs, g_free);
  pt_gradients_clear (&self->gradients);
  pt_arena_clear (&self->arena);
  for (guint k = 0; self->plans != NULL && k < self->span->n; k++)
    pt_layer_plan_clear (&self->plans[k]);
  g_clear_pointer (&self->plans, g_free);
  pt_fold_free (g_steal_pointer (&self->folds), self->span->n);
  pt_workspace_clear (&self->workspace);
}
