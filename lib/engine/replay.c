/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/replay.h"

#include "core/rng.h"

/* Keeps the draws apart from first weights and dropout of the same seed. */
#define REPLAY_STREAM G_GUINT64_CONSTANT (0x7265706c6179)

/* Takes memory for @capacity frames, where @input and @target are. */
gboolean
pt_replay_init (PtReplay *self, guint capacity, const PtWire *input,
    const PtWire *target, GError **error)
{
  *self = (PtReplay) { .capacity = capacity, .input_device = input->pusher,
    .target_device = target->pusher };
  if (capacity == 0)
    return TRUE;
  self->inputs = g_new0 (PtTensor *, capacity);
  self->targets = g_new0 (PtTensor *, capacity);
  for (guint i = 0; i < capacity; i++)
    if (!(self->inputs[i] = pt_device_tensor_new (input->pusher,
                input->dtype, &input->shape, error))
        || !(self->targets[i] = pt_device_tensor_new (target->pusher,
                target->dtype, &target->shape, error)))
      return FALSE;
  return TRUE;
}

void
pt_replay_clear (PtReplay *self)
{
  for (guint i = 0; self->inputs != NULL && i < self->capacity; i++) {
    g_clear_pointer (&self->inputs[i], pt_tensor_unref);
    g_clear_pointer (&self->targets[i], pt_tensor_unref);
  }
  g_clear_pointer (&self->inputs, g_free);
  g_clear_pointer (&self->targets, g_free);
  *self = (PtReplay) { 0 };
}

/* In place of the oldest. */
gboolean
pt_replay_keep (PtReplay *self, const PtTensor *input, const PtTensor *target,
    GError **error)
{
  guint at;

  if (self->capacity == 0)
    return TRUE;
  at = self->n_kept++ % self->capacity;
  return pt_device_copy (self->input_device, self->inputs[at], input, error)
      && pt_device_copy (self->target_device, self->targets[at], target,
      error);
}

/* One of those kept, each as likely as the others. FALSE without an error if
 * there is none. */
gboolean
pt_replay_draw (PtReplay *self, guint64 seed, PtTensor *input,
    PtTensor *target, GError **error)
{
  guint64 n = MIN (self->n_kept, self->capacity);
  guint at;

  if (n == 0)
    return FALSE;
  at = pt_rng_mix (seed, REPLAY_STREAM, self->n_drawn++) % n;
  return pt_device_copy (self->input_device, input, self->inputs[at], error)
      && pt_device_copy (self->target_device, target, self->targets[at],
      error);
}
