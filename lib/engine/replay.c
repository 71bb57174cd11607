/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/replay.h"

#include "core/rng.h"

#include <string.h>

/* Keeps the draws apart from first weights and dropout of the same seed. */
#define REPLAY_STREAM G_GUINT64_CONSTANT (0x7265706c6179)

static PtTensor *
replay_new_like (const PtTensor *like, GError **error)
{
  PtTensor *self = pt_tensor_new_shaped (like->dtype, &like->shape, error);

  if (self != NULL)
    self->layout = like->layout;
  return self;
}

/* Takes memory for @capacity frames. */
gboolean
pt_replay_init (PtReplay *self, guint capacity, const PtTensor *input,
    const PtTensor *target, GError **error)
{
  *self = (PtReplay) { .capacity = capacity };
  if (capacity == 0)
    return TRUE;
  self->inputs = g_new0 (PtTensor *, capacity);
  self->targets = g_new0 (PtTensor *, capacity);
  for (guint i = 0; i < capacity; i++)
    if (!(self->inputs[i] = replay_new_like (input, error))
        || !(self->targets[i] = replay_new_like (target, error)))
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
void
pt_replay_keep (PtReplay *self, const PtTensor *input, const PtTensor *target)
{
  guint at;

  if (self->capacity == 0)
    return;
  at = self->n_kept++ % self->capacity;
  memcpy (self->inputs[at]->data, input->data, input->size);
  memcpy (self->targets[at]->data, target->data, target->size);
}

/* One of those kept, each as likely as the others. FALSE if there is none. */
gboolean
pt_replay_draw (PtReplay *self, guint64 seed, PtTensor *input,
    PtTensor *target)
{
  guint64 n = MIN (self->n_kept, self->capacity);
  guint at;

  if (n == 0)
    return FALSE;
  at = pt_rng_mix (seed, REPLAY_STREAM, self->n_drawn++) % n;
  memcpy (input->data, self->inputs[at]->data, input->size);
  memcpy (target->data, self->targets[at]->data, target->size);
  return TRUE;
}
