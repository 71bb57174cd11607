/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/recording.h"

/* Libraries allocate and load kernels when they are first used. */
#define RECORDING_WARM_UP 2

void
pt_recordings_init (PtRecordings *self, PtDevice *device, guint n_kinds,
    guint n_phases)
{
  gboolean never = g_strcmp0 (g_getenv ("PARTIME_RECORD"), "0") == 0;

  *self = (PtRecordings) { .device = device, .n_kinds = n_kinds,
    .n_phases = n_phases, .warm_up = never ? G_MAXUINT : RECORDING_WARM_UP,
    .n_runs = g_new0 (guint, n_kinds),
    .recordings = g_new0 (gpointer, n_kinds * n_phases) };
}

void
pt_recordings_clear (PtRecordings *self)
{
  for (guint i = 0; i < self->n_kinds * self->n_phases; i++)
    if (self->recordings[i] != NULL)
      self->device->backend->recording_free (self->device,
          self->recordings[i]);
  g_free (self->recordings);
  g_free (self->n_runs);
  *self = (PtRecordings) { 0, };
}

/* Ends the recording also where @func failed; its error counts then. */
static gpointer
recording_make (PtDevice *device, PtRecordedFunc func, gpointer data,
    GError **error)
{
  gpointer recording;
  gboolean done;

  if (!device->backend->record (device, error))
    return NULL;
  done = func (data, error);
  recording = device->backend->recorded (device, done ? error : NULL);
  if (done || recording == NULL)
    return recording;
  device->backend->recording_free (device, recording);
  return NULL;
}

/* Does what @func does, by itself or as it was recorded. */
gboolean
pt_recordings_run (PtRecordings *self, guint kind, guint phase,
    PtRecordedFunc func, gpointer data, GError **error)
{
  gpointer *recording = &self->recordings[kind * self->n_phases + phase];

  if (*recording == NULL && self->n_runs[kind]++ < self->warm_up)
    return func (data, error);
  if (*recording == NULL
      && !(*recording = recording_make (self->device, func, data, error)))
    return FALSE;
  return self->device->backend->replay (self->device, *recording, error);
}
