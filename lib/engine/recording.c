/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/recording.h"

/* Libraries allocate and load kernels when they are first used. */
#define RECORDING_WARM_UP 2

/* So many may be spoilt before no more are tried. */
#define RECORDING_MAX_SPOILT 16

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

/* Anyone else in the process who waits for the whole device may have spoilt a
 * recording: the work is done by itself then, and if that fails, too, tells
 * why. */
static gboolean
recording_do_without (PtRecordings *self, PtRecordedFunc func, gpointer data,
    const GError *cause, GError **error)
{
  if (++self->n_spoilt == RECORDING_MAX_SPOILT)
    self->warm_up = G_MAXUINT;
  g_info ("recording: %s; done by itself%s", cause->message,
      self->n_spoilt >= RECORDING_MAX_SPOILT ? " from now on" : "");
  return func (data, error);
}

/* Does what @func does, by itself or as it was recorded. */
gboolean
pt_recordings_run (PtRecordings *self, guint kind, guint phase,
    PtRecordedFunc func, gpointer data, GError **error)
{
  gpointer *recording = &self->recordings[kind * self->n_phases + phase];
  g_autoptr (GError) cause = NULL;

  if (*recording == NULL && self->n_runs[kind]++ < self->warm_up)
    return func (data, error);
  if (*recording == NULL
      && !(*recording = recording_make (self->device, func, data, &cause)))
    return recording_do_without (self, func, data, cause, error);
  return self->device->backend->replay (self->device, *recording, error);
}
