/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/backend.h"

G_BEGIN_DECLS

/* How far a stage has come on a device that computes later than it is asked
 * to: one fence for each of the last frames. Where a device is done when the
 * call returns there are none, and nothing to wait for. */
typedef struct
{
  PtDevice *device;             /* lent: who signals */
  guint n;                      /* 0: no fences */
  gpointer *fences;             /* frame s: s mod n */
} PtFences;

gboolean pt_fences_init (PtFences *self, PtDevice *device, guint n,
    GError **error);
void pt_fences_clear (PtFences *self);
gboolean pt_fences_signal (PtFences *self, guint64 sequence, GError **error);
gboolean pt_fences_wait (const PtFences *self, guint64 sequence,
    PtDevice *waiter, GError **error);

G_END_DECLS
