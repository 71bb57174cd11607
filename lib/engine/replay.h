/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/wiring.h"

G_BEGIN_DECLS

/* The last learned frames, input and target, to be learned from again. */
typedef struct
{
  guint capacity;               /* 0: nothing is kept */
  guint64 n_kept, n_drawn;      /* ever */
  PtDevice *input_device, *target_device;       /* lent: where they are */
  PtTensor **inputs, **targets; /* capacity of each */
} PtReplay;

gboolean pt_replay_init (PtReplay *self, guint capacity,
    const PtWire *input, const PtWire *target, GError **error);
void pt_replay_clear (PtReplay *self);
gboolean pt_replay_keep (PtReplay *self, const PtTensor *input,
    const PtTensor *target, GError **error);
gboolean pt_replay_draw (PtReplay *self, guint64 seed, PtTensor *input,
    PtTensor *target, GError **error);

G_END_DECLS
