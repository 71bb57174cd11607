/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/arena.h"

#include <math.h>

/* What becomes of a gradient. */

/* Whether every gradient is finite: a sum of squares in double is, if and only
 * if each of the numbers is. */
gboolean
pt_arena_check (PtArena *self, gboolean *sound, GError **error)
{
  PtOpArgs dot = { .x = self->gradients, .w = self->gradients,
    .sum = &self->square };

  *sound = TRUE;
  if (self->learned_bytes == 0)
    return TRUE;
  if (!pt_op_run (self->dot, &dot, error))
    return FALSE;
  *sound = isfinite (self->square);
  return TRUE;
}

/* Adds the gradients to the sum of those before. */
static gboolean
update_sum (PtArena *self, GError **error)
{
  PtTensor *sum = self->slots[self->sum_slot];
  PtTensor *xs[] = { sum, self->gradients };

  if (self->n_summed++ > 0)
    return pt_op_run (self->add, &(PtOpArgs) { .xs = xs, .y = sum }, error);
  for (guint i = 0; i < self->n_segments; i++)
    if (!pt_device_copy (self->span->device, self->segments[i].sums,
            self->segments[i].gradients, error))
      return FALSE;
  return TRUE;
}

/* Takes out of each parameter's gradient what is along its running mean. */
static gboolean
update_project (PtArena *self, gdouble scale, GError **error)
{
  for (guint i = 0; i < self->n_parameters; i++) {
    const PtParameter *p = &self->parameters[i];

    if (p->project != NULL && !pt_op_run (p->project, &(PtOpArgs) {
            .dw = p->gradient, .mean = p->mean, .scale = scale }, error))
      return FALSE;
  }
  return TRUE;
}

/* torch.nn.utils.clip_grad_norm_, of this stage's gradients: @scale is what
 * they are to be multiplied by. */
static gboolean
update_clip (PtArena *self, PtTensor *gradients, gdouble *scale,
    GError **error)
{
  gdouble square = 0, norm;
  PtOpArgs dot = { .x = gradients, .w = gradients, .sum = &square };

  if (!pt_op_run (self->dot, &dot, error))
    return FALSE;
  norm = *scale * sqrt (square);
  *scale *= MIN (1, self->learning->clip_norm / (norm + 1e-6));
  return TRUE;
}

static gboolean
update_segments (PtArena *self, gboolean sums, gdouble scale, gdouble rate,
    GError **error)
{
  for (guint i = 0; i < self->n_segments; i++) {
    PtSegment *segment = &self->segments[i];
    PtOpArgs args = { .dw = sums ? segment->sums : segment->gradients,
      .update_w = segment->w, .scale = scale, .rate = rate * segment->scale,
      .step = self->updates + 1 };

    for (guint k = 0; k < PT_UPDATE_MAX_SLOTS; k++)
      args.slots[k] = segment->slots[k];
    if (!pt_op_run (segment->update, &args, error))
      return FALSE;
  }
  return TRUE;
}

/* One step of the optimizer with the gradients that are there, which have
 * been checked. @applied: FALSE if they only joined the sum. */
gboolean
pt_arena_step (PtArena *self, gdouble rate, gboolean *applied, GError **error)
{
  const PtLearning *learning = self->learning;
  gboolean sums = self->sum_slot != PT_ARENA_NO_SLOT;
  PtTensor *gradients = self->gradients;
  gdouble scale = 1.0 / learning->accumulate;

  *applied = TRUE;
  if (self->learned_bytes == 0) {
    self->updates++;            /* nothing to learn here: counted all the same */
    return TRUE;
  }
  if (sums) {
    if (!update_sum (self, error))
      return FALSE;
    *applied = self->n_summed == learning->accumulate;
    if (!*applied)
      return TRUE;
    self->n_summed = 0;
    gradients = self->slots[self->sum_slot];
  }
  if (!update_project (self, scale, error))
    return FALSE;
  if (learning->clip_norm > 0
      && !update_clip (self, gradients, &scale, error))
    return FALSE;
  if (!update_segments (self, sums, scale, rate, error))
    return FALSE;
  self->updates++;
  return pt_arena_cast (self, error);
}

/* The square of the gradient's norm into @square, a double's bytes. */
gboolean
pt_arena_measure (PtArena *self, PtTensor *square, GError **error)
{
  return self->learned_bytes == 0 || pt_op_run (self->dot, &(PtOpArgs) {
        .x = self->gradients, .w = self->gradients, .y = square }, error);
}

/* As pt_arena_step() of every gradient, with numbers of this step in the
 * device's memory, a PtLive for each segment. The caller counts. */
gboolean
pt_arena_step_live (PtArena *self, const PtLive *lives, GError **error)
{
  for (guint i = 0; i < self->n_parameters; i++) {
    const PtParameter *p = &self->parameters[i];

    if (p->project != NULL && !pt_op_run (p->project, &(PtOpArgs) {
            .dw = p->gradient, .mean = p->mean, .live = lives }, error))
      return FALSE;
  }
  for (guint i = 0; i < self->n_segments; i++) {
    PtSegment *segment = &self->segments[i];
    PtOpArgs args = { .dw = segment->gradients, .update_w = segment->w,
      .live = &lives[i] };

    for (guint k = 0; k < PT_UPDATE_MAX_SLOTS; k++)
      args.slots[k] = segment->slots[k];
    if (!pt_op_run (segment->update, &args, error))
      return FALSE;
  }
  return pt_arena_cast (self, error);
}

/* The weights have changed, or may have. */
gboolean
pt_arena_cast (PtArena *self, GError **error)
{
  return self->cast == NULL || pt_op_run (self->cast, &(PtOpArgs) {
        .x = self->values, .y = self->half_values }, error);
}

static gboolean
arena_copy_to (PtArena *self, PtArenaCopy *copy, GError **error)
{
  copy->updates = self->updates;
  copy->n_summed = self->n_summed;
  return pt_device_copy (self->span->device, copy->state, self->state, error);
}

/* The state as it is, is one to come back to. */
gboolean
pt_arena_trust (PtArena *self, GError **error)
{
  self->has_candidate = FALSE;
  return self->good.state == NULL
      || arena_copy_to (self, &self->good, error);
}

/* Puts a copy of the state to the proof; the one before has stood it. No
 * output need show that weights are not finite, since a ReLU may take NaN for
 * 0: they are looked at, and the last good state comes back then. */
gboolean
pt_arena_copy_aside (PtArena *self, GError **error)
{
  PtArenaCopy good = self->good;
  gdouble square = 0;

  if (self->learned_bytes > 0 && !pt_op_run (self->dot, &(PtOpArgs) {
          .x = self->learned, .w = self->learned, .sum = &square }, error))
    return FALSE;
  if (!isfinite (square))
    return pt_arena_roll_back (self, error);
  if (self->has_candidate) {
    self->good = self->candidate;
    self->candidate = good;
  }
  self->has_candidate = TRUE;
  return arena_copy_to (self, &self->candidate, error);
}

/* Puts the last good state back. */
gboolean
pt_arena_roll_back (PtArena *self, GError **error)
{
  self->has_candidate = FALSE;
  self->updates = self->good.updates;
  self->n_summed = self->good.n_summed;
  return pt_device_copy (self->span->device, self->state, self->good.state,
      error) && pt_arena_cast (self, error);
}
