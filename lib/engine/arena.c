/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/arena.h"

#include <string.h>

/* Updates between two copies of weights that may be wanted back. */
#define ARENA_WATCH_PERIOD 100

static const PtWeight *
arena_get_weight (const PtArena *self, const PtParameter *p)
{
  const PtNode *node = &self->network->nodes[self->span->first + p->layer];

  return &node->layer->weights[p->weight];
}

static PtTensor *
arena_get_host (const PtArena *self, const PtParameter *p)
{
  return self->network->nodes[self->span->first + p->layer].weights[p->weight];
}

static void
arena_add (PtArena *self, guint layer, guint weight, PtLayerPlan *plans)
{
  PtParameter *p = &self->parameters[self->n_parameters++];
  PtOp *packer = plans[layer].packers[weight];
  gsize bytes;

  *p = (PtParameter) { .layer = layer, .weight = weight, .packer = packer };
  p->learned = arena_get_weight (self, p)->learned;
  bytes = packer != NULL && packer->weights_size > 0 ? packer->weights_size :
      (gsize) pt_shape_get_n_elements (&arena_get_weight (self, p)->shape) * 4;
  p->offset = self->bytes;
  p->bytes = bytes;
  self->bytes += (bytes + PT_ALIGNMENT - 1) / PT_ALIGNMENT * PT_ALIGNMENT;
}

static void
arena_list (PtArena *self, PtLayerPlan *plans)
{
  self->parameters = g_new0 (PtParameter,
      self->span->n * PT_LAYER_MAX_WEIGHTS);
  for (guint learned = 2; learned-- > 0;) {
    for (guint k = 0; k < self->span->n; k++) {
      PtLayer *layer = self->network->nodes[self->span->first + k].layer;

      for (guint i = 0; i < layer->n_weights; i++)
        if (layer->weights[i].learned == (gboolean) learned)
          arena_add (self, k, i, plans);
    }
    if (learned)
      self->learned_bytes = self->bytes;
  }
}

static PtTensor *
arena_new (PtArena *self, gsize bytes, GError **error)
{
  return pt_device_bytes_new (self->span->device, MAX (bytes, PT_ALIGNMENT),
      error);
}

static gboolean
arena_allocate (PtArena *self, guint n_stash, gboolean learns, GError **error)
{
  if (!(self->values = arena_new (self, self->bytes, error)))
    return FALSE;
  if (!learns)
    return TRUE;
  self->learned = pt_tensor_view (self->values, 0,
      &PT_SHAPE (MAX (self->learned_bytes, PT_ALIGNMENT) / sizeof (gfloat)),
      MAX (self->learned_bytes, PT_ALIGNMENT));
  if (!(self->gradients = arena_new (self, self->learned_bytes, error))
      || !(self->good = arena_new (self, self->bytes, error))
      || !(self->candidate = arena_new (self, self->bytes, error)))
    return FALSE;
  for (guint i = 0; i < self->n_slots; i++)
    if (!(self->slots[i] = arena_new (self, self->learned_bytes, error)))
      return FALSE;
  self->stash = g_new0 (PtTensor *, n_stash + 1);
  for (guint i = 0; i < n_stash; i++)
    if (!(self->stash[i] = arena_new (self, self->learned_bytes, error)))
      return FALSE;
  return TRUE;
}

static PtTensor *
arena_view (PtArena *self, PtTensor *base, const PtParameter *p)
{
  return pt_tensor_view (base, p->offset, &arena_get_weight (self, p)->shape,
      p->bytes);
}

static void
arena_make_views (PtArena *self)
{
  self->w = g_new0 (PtTensor *,
      self->n_copies * self->span->n * PT_LAYER_MAX_WEIGHTS);
  self->dw = g_new0 (PtTensor *, self->span->n * PT_LAYER_MAX_WEIGHTS);
  for (guint i = 0; i < self->n_parameters; i++) {
    const PtParameter *p = &self->parameters[i];

    for (guint copy = 0; copy < self->n_copies; copy++)
      pt_arena_get_w (self, copy, p->layer)[p->weight] = arena_view (self,
          copy == 0 || !p->learned ? self->values : self->stash[copy - 1], p);
    if (p->learned && self->gradients != NULL)
      pt_arena_get_dw (self, p->layer)[p->weight] =
          arena_view (self, self->gradients, p);
  }
}

static gboolean
arena_plan (PtArena *self, const PtLearning *learning, PtWorkspace *workspace,
    GError **error)
{
  gsize n = self->learned_bytes / sizeof (gfloat);
  PtOpDesc check = { .type = PT_OP_CHECK_FINITE, .x = PT_SHAPE (n) };

  if (n == 0)
    return TRUE;
  self->update = pt_optimizer_plan (learning->optimizer, workspace, n, error);
  if (self->update == NULL)
    return FALSE;
  self->check = pt_op_new (workspace, &check, error);
  return self->check != NULL;
}

/* Memory for the parameters of the layers in @span, in the layouts that
 * @plans ask for, with @n_stash further copies of the weights. */
gboolean
pt_arena_init (PtArena *self, PtNetwork *network, const PtSpan *span,
    const PtLearning *learning, guint n_stash, PtLayerPlan *plans,
    PtWorkspace *workspace, GError **error)
{
  gboolean learns = learning->mode != PT_MODE_OFF;

  *self = (PtArena) { .span = span, .network = network,
    .n_copies = 1 + n_stash };
  arena_list (self, plans);
  if (learns) {
    self->n_slots = pt_optimizer_get_slots (learning->optimizer,
        self->slot_names);
    if (!arena_plan (self, learning, workspace, error))
      return FALSE;
  }
  if (!arena_allocate (self, n_stash, learns, error))
    return FALSE;
  arena_make_views (self);
  return TRUE;
}

static void
arena_free_list (PtTensor **tensors, guint n)
{
  for (guint i = 0; tensors != NULL && i < n; i++)
    g_clear_pointer (&tensors[i], pt_tensor_unref);
  g_free (tensors);
}

void
pt_arena_clear (PtArena *self)
{
  guint n = self->span != NULL ? self->span->n * PT_LAYER_MAX_WEIGHTS : 0;

  arena_free_list (self->w, n * self->n_copies);
  arena_free_list (self->dw, n);
  arena_free_list (self->stash, self->n_copies - 1);
  for (guint i = 0; i < PT_UPDATE_MAX_SLOTS; i++)
    g_clear_pointer (&self->slots[i], pt_tensor_unref);
  g_clear_pointer (&self->learned, pt_tensor_unref);
  g_clear_pointer (&self->values, pt_tensor_unref);
  g_clear_pointer (&self->gradients, pt_tensor_unref);
  g_clear_pointer (&self->good, pt_tensor_unref);
  g_clear_pointer (&self->candidate, pt_tensor_unref);
  g_clear_pointer (&self->update, pt_op_free);
  g_clear_pointer (&self->check, pt_op_free);
  g_free (self->parameters);
  *self = (PtArena) { .n_copies = 1 };
}

/* Bytes it holds on the device. */
gsize
pt_arena_get_memory (const PtArena *self)
{
  gsize bytes = self->bytes;

  if (self->gradients != NULL)
    bytes += 2 * self->bytes + self->learned_bytes * (self->n_slots
        + self->n_copies);
  return bytes;
}

static gboolean
arena_pack (PtArena *self, const PtParameter *p, PtTensor *base,
    const PtTensor *host, GError **error)
{
  g_autoptr (PtTensor) view = arena_view (self, base, p);

  if (p->packer != NULL)
    return pt_op_pack (p->packer, host, view, error);
  return pt_device_upload (self->span->device, view, host, error);
}

static gboolean
arena_unpack (PtArena *self, const PtParameter *p, PtTensor *base,
    PtTensor *host, GError **error)
{
  g_autoptr (PtTensor) view = arena_view (self, base, p);

  if (p->packer != NULL)
    return pt_op_unpack (p->packer, view, host, error);
  return pt_device_download (self->span->device, host, view, error);
}

/* The network's weights into the arena. */
gboolean
pt_arena_import (PtArena *self, GError **error)
{
  for (guint i = 0; i < self->n_parameters; i++)
    if (!arena_pack (self, &self->parameters[i], self->values,
            arena_get_host (self, &self->parameters[i]), error))
      return FALSE;
  self->has_candidate = FALSE;
  return self->good == NULL
      || pt_device_copy (self->span->device, self->good, self->values, error);
}

/* The arena's weights into the network. */
gboolean
pt_arena_export (PtArena *self, GError **error)
{
  for (guint i = 0; i < self->n_parameters; i++)
    if (!pt_arena_export_value (self, i,
            arena_get_host (self, &self->parameters[i]), error))
      return FALSE;
  return TRUE;
}

gboolean
pt_arena_export_value (PtArena *self, guint parameter, PtTensor *host,
    GError **error)
{
  return arena_unpack (self, &self->parameters[parameter], self->values, host,
      error);
}

gboolean
pt_arena_import_slot (PtArena *self, guint parameter, guint slot,
    const PtTensor *host, GError **error)
{
  return arena_pack (self, &self->parameters[parameter], self->slots[slot],
      host, error);
}

gboolean
pt_arena_export_slot (PtArena *self, guint parameter, guint slot,
    PtTensor *host, GError **error)
{
  return arena_unpack (self, &self->parameters[parameter], self->slots[slot],
      host, error);
}

/* Forgets what the optimizer remembers: its next step is its first. */
gboolean
pt_arena_clear_slots (PtArena *self, GError **error)
{
  g_autoptr (PtTensor) zeros = NULL;

  self->updates = 0;
  if (self->n_slots == 0 || self->gradients == NULL)
    return TRUE;
  zeros = arena_new (self, self->learned_bytes, error);
  if (zeros == NULL)
    return FALSE;
  for (guint i = 0; i < self->n_slots; i++)
    if (!pt_device_copy (self->span->device, self->slots[i], zeros, error))
      return FALSE;
  return TRUE;
}

/* Remembers the weights that frame @sequence is run with. */
gboolean
pt_arena_keep (PtArena *self, guint64 sequence, GError **error)
{
  guint copy = pt_arena_get_copy (self, sequence);
  PtTensor *stash;

  if (copy == 0 || self->learned_bytes == 0)
    return TRUE;
  stash = self->stash[copy - 1];
  return pt_device_copy (self->span->device, stash, self->learned, error);
}

/* One step of the optimizer with the gradients that are there. Gradients that
 * are not finite are left out: @applied is FALSE. */
gboolean
pt_arena_step (PtArena *self, gdouble rate, gboolean *applied, GError **error)
{
  PtOpArgs update = { .dw = self->gradients, .update_w = self->learned,
    .rate = rate, .step = self->updates + 1 };

  *applied = TRUE;
  if (self->update == NULL) {
    self->updates++;            /* nothing to learn here: counted all the same */
    return TRUE;
  }
  if (!pt_op_run (self->check, &(PtOpArgs) { .x = self->gradients,
          .finite = applied }, error))
    return FALSE;
  if (!*applied)
    return TRUE;
  memcpy (update.slots, self->slots, sizeof update.slots);
  if (!pt_op_run (self->update, &update, error))
    return FALSE;
  self->updates++;
  return TRUE;
}

/* Called after the step on frame @sequence, whose gradient was finite and is
 * about frame @about: weights copied before @about was run have proved sound;
 * from time to time new ones are put to the proof. */
gboolean
pt_arena_watch (PtArena *self, guint64 sequence, guint64 about, GError **error)
{
  PtDevice *device = self->span->device;

  if (self->learned_bytes == 0)
    return TRUE;
  if (self->has_candidate && about > self->candidate_sequence) {
    PtTensor *good = self->good;

    self->good = self->candidate;
    self->candidate = good;
    self->has_candidate = FALSE;
  }
  if (self->updates % ARENA_WATCH_PERIOD != 0)
    return TRUE;
  self->has_candidate = TRUE;
  self->candidate_sequence = sequence;
  return pt_device_copy (device, self->candidate, self->values, error);
}

/* Puts the last good weights back; the optimizer starts anew. */
gboolean
pt_arena_roll_back (PtArena *self, GError **error)
{
  self->has_candidate = FALSE;
  return pt_device_copy (self->span->device, self->values, self->good, error)
      && pt_arena_clear_slots (self, error);
}
