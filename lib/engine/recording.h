/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/backend.h"

G_BEGIN_DECLS

/* Work that is the same every @n_phases frames, but for numbers in memory: it
 * is recorded once for each phase and handed to the device as a whole from
 * then on; never with PARTIME_RECORD=0 in the environment, to find out whether
 * it is recording that goes wrong. */

/* Hands work to the device, and neither waits nor allocates. */
typedef gboolean (*PtRecordedFunc) (gpointer data, GError **error);

typedef struct
{
  PtDevice *device;             /* lent */
  guint n_kinds, n_phases;
  guint warm_up;                /* runs of a kind before the first recording */
  guint n_spoilt;               /* recordings that came to nothing */
  guint *n_runs;                /* by kind */
  gpointer *recordings;         /* [kind * n_phases + phase] */
} PtRecordings;

void pt_recordings_init (PtRecordings *self, PtDevice *device, guint n_kinds,
    guint n_phases);
void pt_recordings_clear (PtRecordings *self);
gboolean pt_recordings_run (PtRecordings *self, guint kind, guint phase,
    PtRecordedFunc func, gpointer data, GError **error);

G_END_DECLS
