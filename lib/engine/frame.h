/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/learning.h"

G_BEGIN_DECLS

/* Makes the network's input and the target of its loss from the newest frame
 * and the few before it. Before the first frame there is nothing: where
 * earlier frames are missing, the oldest one stands in for them. */

typedef struct
{
  const PtSettings *settings;   /* lent */
  const PtLearning *learning;   /* lent */
  guint n_history;
  PtTensor **history;           /* ring, channels-last, normalised */
  guint64 n_frames;             /* since the start or the last reset */
} PtFrameMaker;

gboolean pt_frame_maker_init (PtFrameMaker *self, const PtNetwork *network,
    const PtLearning *learning, GError **error);
void pt_frame_maker_clear (PtFrameMaker *self);
/* Has what @before has of the frames so far, if it sees them the same way. */
void pt_frame_maker_follow (PtFrameMaker *self, const PtFrameMaker *before);
void pt_frame_maker_add_pixels (PtFrameMaker *self, const guint8 *pixels,
    gsize stride);
void pt_frame_maker_add_tensor (PtFrameMaker *self, const PtTensor *frame);
void pt_frame_maker_fill_input (PtFrameMaker *self, PtTensor *input);
gboolean pt_frame_maker_fill_target (PtFrameMaker *self,
    const PtTensor *label, PtTensor *target);

G_END_DECLS
