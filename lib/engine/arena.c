/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/arena.h"

#include <string.h>

static const PtWeight *
arena_get_weight (const PtArena *self, const PtParameter *p)
{
  return &pt_arena_get_layer (self, p)->weights[p->weight];
}

static PtTensor *
arena_get_host (const PtArena *self, const PtParameter *p)
{
  return self->network->nodes[self->span->first + p->layer].weights[p->weight];
}

static gsize
arena_align (gsize bytes)
{
  return (bytes + PT_ALIGNMENT - 1) / PT_ALIGNMENT * PT_ALIGNMENT;
}

static gdouble
arena_get_scale (const PtArena *self, guint layer)
{
  return self->learning->scales != NULL ?
      self->learning->scales[self->span->first + layer] : 0;
}

static void
arena_add (PtArena *self, guint layer, guint weight, gboolean learned,
    PtLayerPlan *plans)
{
  PtParameter *p = &self->parameters[self->n_parameters++];
  PtOp *packer = plans[layer].packers[weight];

  *p = (PtParameter) { .layer = layer, .weight = weight, .packer = packer,
    .learned = learned, .offset = self->bytes };
  p->bytes = packer != NULL && packer->weights_size > 0 ? packer->weights_size :
      (gsize) pt_shape_get_n_elements (&arena_get_weight (self, p)->shape) * 4;
  self->bytes += arena_align (p->bytes);
}

/* Adds every parameter whose rate has @scale; 0: those that do not learn. */
static void
arena_add_all (PtArena *self, gdouble scale, PtLayerPlan *plans)
{
  for (guint k = 0; k < self->span->n; k++) {
    PtLayer *layer = self->network->nodes[self->span->first + k].layer;

    for (guint i = 0; i < layer->n_weights; i++) {
      gdouble own = layer->weights[i].learned ? arena_get_scale (self, k) : 0;

      if (own == scale)
        arena_add (self, k, i, scale != 0, plans);
    }
  }
}

static gboolean
arena_has_segment (const PtArena *self, gdouble scale)
{
  for (guint i = 0; i < self->n_segments; i++)
    if (self->segments[i].scale == scale)
      return TRUE;
  return FALSE;
}

static void
arena_list (PtArena *self, PtLayerPlan *plans)
{
  self->parameters = g_new0 (PtParameter,
      self->span->n * PT_LAYER_MAX_WEIGHTS);
  self->segments = g_new0 (PtSegment, self->span->n);
  for (guint k = 0; k < self->span->n; k++) {
    gdouble scale = arena_get_scale (self, k);
    PtSegment *segment = &self->segments[self->n_segments];

    if (!pt_learning_learns (self->learning, self->network,
            self->span->first + k) || arena_has_segment (self, scale))
      continue;
    *segment = (PtSegment) { .offset = self->bytes, .scale = scale };
    arena_add_all (self, scale, plans);
    segment->bytes = self->bytes - segment->offset;
    self->n_segments++;
  }
  self->learned_bytes = self->bytes;
  arena_add_all (self, 0, plans);
}

static void
arena_name_slots (PtArena *self)
{
  self->mean_slot = self->sum_slot = PT_ARENA_NO_SLOT;
  if (self->learned_bytes == 0)
    return;
  self->n_slots = pt_arena_name_slots (self->learning, self->slot_names);
  for (guint i = 0; i < self->n_slots; i++) {
    if (g_str_equal (self->slot_names[i], PT_ARENA_MEAN))
      self->mean_slot = i;
    if (g_str_equal (self->slot_names[i], PT_ARENA_SUM))
      self->sum_slot = i;
  }
}

/* Fills @names, NULL-terminated, with what is remembered of each learned
 * parameter; returns how many there are. */
guint
pt_arena_name_slots (const PtLearning *learning,
    const gchar *names[PT_ARENA_MAX_SLOTS + 1])
{
  guint n = 0;

  memset (names, 0, (PT_ARENA_MAX_SLOTS + 1) * sizeof *names);
  if (learning->mode == PT_MODE_OFF)
    return 0;
  n = pt_optimizer_get_slots (learning->optimizer, names);
  if (learning->orthogonal > 0)
    names[n++] = PT_ARENA_MEAN;
  if (learning->accumulate > 1)
    names[n++] = PT_ARENA_SUM;
  return n;
}

static PtTensor *
arena_new (PtArena *self, gsize bytes, GError **error)
{
  return pt_device_bytes_new (self->span->device, MAX (bytes, PT_ALIGNMENT),
      error);
}

static PtTensor *
arena_view_bytes (PtTensor *base, gsize offset, gsize bytes)
{
  return pt_tensor_view (base, offset,
      &PT_SHAPE (bytes / sizeof (gfloat)), bytes);
}

/* Gradients of frozen parameters go to one place, for nobody. */
static gsize
arena_get_frozen_bytes (const PtArena *self)
{
  gsize most = 0;

  for (guint i = 0; i < self->n_parameters; i++)
    if (!self->parameters[i].learned)
      most = MAX (most, arena_align (self->parameters[i].bytes));
  return most;
}

static gboolean
arena_allocate (PtArena *self, guint n_stash, gboolean learns, GError **error)
{
  gsize bytes = pt_arena_get_state_bytes (self);

  if (!(self->state = arena_new (self, bytes, error)))
    return FALSE;
  self->values = pt_tensor_view (self->state, 0,
      &PT_SHAPE (MAX (self->bytes, PT_ALIGNMENT) / sizeof (gfloat)),
      MAX (self->bytes, PT_ALIGNMENT));
  for (guint i = 0; i < self->n_slots; i++)
    self->slots[i] = arena_view_bytes (self->state,
        self->bytes + i * self->learned_bytes, self->learned_bytes);
  if (!learns)
    return TRUE;
  if (self->learned_bytes > 0)
    self->learned = arena_view_bytes (self->state, 0, self->learned_bytes);
  if (!(self->gradients = arena_new (self, self->learned_bytes
              + arena_get_frozen_bytes (self), error))
      || !(self->good.state = arena_new (self, bytes, error))
      || !(self->candidate.state = arena_new (self, bytes, error)))
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
    PtParameter *p = &self->parameters[i];
    const PtWeight *weight = arena_get_weight (self, p);

    for (guint copy = 0; copy < self->n_copies; copy++)
      pt_arena_get_w (self, copy, p->layer)[p->weight] = arena_view (self,
          copy == 0 || !p->learned ? self->values : self->stash[copy - 1], p);
    if (weight->learned && self->gradients != NULL)
      pt_arena_get_dw (self, p->layer)[p->weight] = pt_tensor_view
          (self->gradients, p->learned ? p->offset : self->learned_bytes,
          &weight->shape, p->bytes);
  }
}

/* Whether the device multiplies in 16 bits. */
static gboolean
arena_wants_half (const PtWorkspace *workspace)
{
  return (workspace->precision == PT_PRECISION_BF16
      || workspace->precision == PT_PRECISION_FP16)
      && workspace->device->backend->ops[PT_OP_CAST] != NULL;
}

static PtTensor *
arena_view_half (PtArena *self, guint copy, const PtParameter *p)
{
  PtTensor *base = copy == 0 || !p->learned ? self->half_values :
      self->half_stash[copy - 1];

  return pt_tensor_view (base, p->offset / 2,
      &arena_get_weight (self, p)->shape, p->bytes / 2);
}

static gboolean
arena_make_half (PtArena *self, PtWorkspace *workspace, GError **error)
{
  PtOpDesc cast = { .type = PT_OP_CAST, .x = self->values->shape };
  guint n_stash = self->n_copies - 1;

  if (!arena_wants_half (workspace))
    return TRUE;
  self->half_stash = g_new0 (PtTensor *, n_stash + 1);
  if (!(self->cast = pt_op_new (workspace, &cast, error))
      || !(self->half_values = arena_new (self, self->values->size / 2,
              error)))
    return FALSE;
  for (guint i = 0; i < n_stash; i++)
    if (!(self->half_stash[i] = arena_new (self, self->learned_bytes / 2,
                error)))
      return FALSE;
  self->half = g_new0 (PtTensor *,
      self->n_copies * self->span->n * PT_LAYER_MAX_WEIGHTS);
  for (guint i = 0; i < self->n_parameters; i++)
    for (guint copy = 0; copy < self->n_copies; copy++) {
      const PtParameter *p = &self->parameters[i];

      pt_arena_get_half (self, copy, p->layer)[p->weight] =
          arena_view_half (self, copy, p);
    }
  return TRUE;
}

static gboolean
arena_plan_segment (PtArena *self, PtSegment *segment, PtWorkspace *workspace,
    GError **error)
{
  gsize at = segment->offset, bytes = segment->bytes;

  segment->w = arena_view_bytes (self->values, at, bytes);
  segment->gradients = arena_view_bytes (self->gradients, at, bytes);
  if (self->sum_slot != PT_ARENA_NO_SLOT)
    segment->sums = arena_view_bytes (self->slots[self->sum_slot], at, bytes);
  for (guint i = 0; i < MIN (self->n_slots, PT_UPDATE_MAX_SLOTS); i++)
    if (i != self->sum_slot && i != self->mean_slot)
      segment->slots[i] = arena_view_bytes (self->slots[i], at, bytes);
  segment->update = pt_optimizer_plan (self->learning->optimizer, workspace,
      bytes / sizeof (gfloat), error);
  return segment->update != NULL;
}

static gboolean
arena_plan_project (PtArena *self, PtParameter *p, PtWorkspace *workspace,
    GError **error)
{
  PtOpDesc project = { .type = PT_OP_PROJECT,
    .x = PT_SHAPE (p->bytes / sizeof (gfloat)),
    .project = { self->learning->orthogonal } };

  if (self->mean_slot == PT_ARENA_NO_SLOT || !p->learned)
    return TRUE;
  p->gradient = arena_view_bytes (self->sum_slot != PT_ARENA_NO_SLOT ?
      self->slots[self->sum_slot] : self->gradients, p->offset, p->bytes);
  p->mean = arena_view_bytes (self->slots[self->mean_slot], p->offset,
      p->bytes);
  p->project = pt_op_new (workspace, &project, error);
  return p->project != NULL;
}

static gboolean
arena_plan (PtArena *self, PtWorkspace *workspace, GError **error)
{
  PtShape n = PT_SHAPE (self->learned_bytes / sizeof (gfloat));
  PtOpDesc dot = { .type = PT_OP_DOT, .x = n };
  PtOpDesc add = { .type = PT_OP_ADD, .x = n, .y = n, .n_xs = 2,
    .xs = { n, n } };

  if (self->learned_bytes == 0)
    return TRUE;
  for (guint i = 0; i < self->n_segments; i++)
    if (!arena_plan_segment (self, &self->segments[i], workspace, error))
      return FALSE;
  for (guint i = 0; i < self->n_parameters; i++)
    if (!arena_plan_project (self, &self->parameters[i], workspace, error))
      return FALSE;
  if (self->sum_slot != PT_ARENA_NO_SLOT
      && !(self->add = pt_op_new (workspace, &add, error)))
    return FALSE;
  self->dot = pt_op_new (workspace, &dot, error);
  return self->dot != NULL;
}

/* Memory for the parameters of the layers in @span, in the layouts that
 * @plans ask for, with @n_stash further copies of the weights. */
gboolean
pt_arena_init (PtArena *self, PtNetwork *network, const PtSpan *span,
    const PtLearning *learning, const PtFold *folds, guint n_stash,
    PtLayerPlan *plans, PtWorkspace *workspace, GError **error)
{
  gboolean learns = learning->mode != PT_MODE_OFF;

  *self = (PtArena) { .span = span, .network = network, .learning = learning,
    .folds = folds, .n_copies = 1 + n_stash };
  arena_list (self, plans);
  arena_name_slots (self);
  if (!arena_allocate (self, n_stash, learns, error))
    return FALSE;
  arena_make_views (self);
  return arena_make_half (self, workspace, error)
      && (!learns || arena_plan (self, workspace, error));
}

static void
arena_free_list (PtTensor **tensors, guint n)
{
  for (guint i = 0; tensors != NULL && i < n; i++)
    g_clear_pointer (&tensors[i], pt_tensor_unref);
  g_free (tensors);
}

static void
arena_clear_parameter (PtParameter *p)
{
  g_clear_pointer (&p->project, pt_op_free);
  g_clear_pointer (&p->gradient, pt_tensor_unref);
  g_clear_pointer (&p->mean, pt_tensor_unref);
}

static void
arena_clear_segment (PtSegment *segment)
{
  for (guint i = 0; i < PT_UPDATE_MAX_SLOTS; i++)
    g_clear_pointer (&segment->slots[i], pt_tensor_unref);
  g_clear_pointer (&segment->w, pt_tensor_unref);
  g_clear_pointer (&segment->gradients, pt_tensor_unref);
  g_clear_pointer (&segment->sums, pt_tensor_unref);
  g_clear_pointer (&segment->update, pt_op_free);
}

void
pt_arena_clear (PtArena *self)
{
  guint n = self->span != NULL ? self->span->n * PT_LAYER_MAX_WEIGHTS : 0;

  arena_free_list (self->w, n * self->n_copies);
  arena_free_list (self->dw, n);
  arena_free_list (self->stash, self->n_copies - 1);
  arena_free_list (self->half, n * self->n_copies);
  arena_free_list (self->half_stash, self->n_copies - 1);
  g_clear_pointer (&self->half_values, pt_tensor_unref);
  g_clear_pointer (&self->cast, pt_op_free);
  for (guint i = 0; i < self->n_segments; i++)
    arena_clear_segment (&self->segments[i]);
  for (guint i = 0; i < self->n_parameters; i++)
    arena_clear_parameter (&self->parameters[i]);
  for (guint i = 0; i < PT_ARENA_MAX_SLOTS; i++)
    g_clear_pointer (&self->slots[i], pt_tensor_unref);
  g_clear_pointer (&self->learned, pt_tensor_unref);
  g_clear_pointer (&self->values, pt_tensor_unref);
  g_clear_pointer (&self->state, pt_tensor_unref);
  g_clear_pointer (&self->gradients, pt_tensor_unref);
  g_clear_pointer (&self->good.state, pt_tensor_unref);
  g_clear_pointer (&self->candidate.state, pt_tensor_unref);
  g_clear_pointer (&self->dot, pt_op_free);
  g_clear_pointer (&self->add, pt_op_free);
  g_free (self->segments);
  g_free (self->parameters);
  *self = (PtArena) { .n_copies = 1 };
}

/* Bytes it holds on the device. */
gsize
pt_arena_get_memory (const PtArena *self)
{
  gsize bytes = pt_arena_get_state_bytes (self);

  if (self->gradients != NULL)
    bytes = 3 * bytes + self->gradients->size
        + (self->n_copies - 1) * self->learned_bytes;
  if (self->half_values != NULL)
    bytes += self->half_values->size
        + (self->n_copies - 1) * self->learned_bytes / 2;
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

/* The network's weights into the arena, folded if that is asked for. */
gboolean
pt_arena_import (PtArena *self, GError **error)
{
  for (guint i = 0; i < self->n_parameters; i++) {
    const PtParameter *p = &self->parameters[i];
    g_autoptr (PtTensor) value = pt_fold_new_value (self->folds,
        &self->network->nodes[self->span->first], p->layer, p->weight, error);

    if (value == NULL || !arena_pack (self, p, self->values, value, error))
      return FALSE;
  }
  return pt_arena_cast (self, error) && pt_arena_trust (self, error);
}

/* The arena's weights into the network, which still has those that were
 * folded. */
gboolean
pt_arena_export (PtArena *self, GError **error)
{
  for (guint i = 0; i < self->n_parameters; i++)
    if (self->folds == NULL && !pt_arena_export_value (self, i,
            arena_get_host (self, &self->parameters[i]), error))
      return FALSE;
  return TRUE;
}

gboolean
pt_arena_export_value (PtArena *self, guint parameter, PtTensor *host,
    GError **error)
{
  const PtParameter *p = &self->parameters[parameter];

  if (self->folds == NULL)
    return arena_unpack (self, p, self->values, host, error);
  memcpy (host->data, arena_get_host (self, p)->data, host->size);
  return TRUE;
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

gboolean
pt_arena_import_kept (PtArena *self, guint parameter, guint64 sequence,
    const PtTensor *host, GError **error)
{
  guint copy = pt_arena_get_copy (self, sequence);

  return copy == 0 || (arena_pack (self, &self->parameters[parameter],
          self->stash[copy - 1], host, error)
      && (self->cast == NULL || pt_op_run (self->cast, &(PtOpArgs) {
            .x = self->stash[copy - 1], .y = self->half_stash[copy - 1] },
          error)));
}

gboolean
pt_arena_export_kept (PtArena *self, guint parameter, guint64 sequence,
    PtTensor *host, GError **error)
{
  guint copy = pt_arena_get_copy (self, sequence);

  return arena_unpack (self, &self->parameters[parameter], copy == 0 ?
      self->values : self->stash[copy - 1], host, error);
}

/* Forgets what the optimizer remembers: its next step is its first. */
gboolean
pt_arena_clear_slots (PtArena *self, GError **error)
{
  g_autoptr (PtTensor) zeros = NULL;

  self->updates = 0;
  self->n_summed = 0;
  if (self->n_slots == 0)
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
  return pt_device_copy (self->span->device, stash, self->learned, error)
      && (self->half == NULL || self->span->device->backend->copy
      (self->span->device, self->half_stash[copy - 1]->data,
          self->half_values->data, self->learned_bytes / 2, error));
}
