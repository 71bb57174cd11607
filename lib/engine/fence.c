/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/fence.h"

/* Fences of @device for the last @n frames. */
gboolean
pt_fences_init (PtFences *self, PtDevice *device, guint n, GError **error)
{
  *self = (PtFences) { .device = device };
  if (device->backend->fence_new == NULL)
    return TRUE;
  self->fences = g_new0 (gpointer, n);
  while (self->n < n) {
    gpointer fence = device->backend->fence_new (device, error);

    if (fence == NULL)
      return FALSE;
    self->fences[self->n++] = fence;
  }
  return TRUE;
}

void
pt_fences_clear (PtFences *self)
{
  for (guint i = 0; i < self->n; i++)
    self->device->backend->fence_free (self->device, self->fences[i]);
  g_free (self->fences);
  *self = (PtFences) { 0, };
}

/* What the calling thread has handed to the device so far is what frame
 * @sequence needs of it. */
gboolean
pt_fences_signal (PtFences *self, guint64 sequence, GError **error)
{
  return self->n == 0 || self->device->backend->fence_signal (self->device,
      self->fences[sequence % self->n], error);
}

/* What the calling thread hands to @waiter from now on, or does itself where
 * that is done at once, comes after the signal for @sequence. */
gboolean
pt_fences_wait (const PtFences *self, guint64 sequence, PtDevice *waiter,
    GError **error)
{
  gboolean alike = waiter != NULL
      && waiter->backend == self->device->backend;

  return self->n == 0 || self->device->backend->fence_wait (self->device,
      self->fences[sequence % self->n], alike ? waiter : NULL, error);
}
