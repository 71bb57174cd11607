/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/learning.h"

G_BEGIN_DECLS

/* Makes the network's input and the target of its loss from the newest frame
 * and the few before it. Before the first frame there is nothing: where
 * earlier frames are missing, the oldest one stands in for them.
 *
 * All of them lie in the memory of one device. Where that is not the host's,
 * what is made is done in the order of the pushing thread's work for it. */

typedef struct
{
  const PtSettings *settings;   /* lent */
  const PtLearning *learning;   /* lent */
  PtDevice *device;             /* lent */
  PtTensor *staged;             /* of the host, on its way to the device; NULL:
                                 * it writes there itself */
  guint n_history;
  PtTensor **history;           /* ring, channels-last, normalised */
  guint64 n_frames;             /* since the start or the last reset */
} PtFrameMaker;

gboolean pt_frame_maker_init (PtFrameMaker *self, const PtNetwork *network,
    const PtLearning *learning, PtDevice *device, GError **error);
void pt_frame_maker_clear (PtFrameMaker *self);
/* Has what @before has of the frames so far, if it sees them the same way. */
gboolean pt_frame_maker_follow (PtFrameMaker *self, const PtFrameMaker *before,
    GError **error);
gboolean pt_frame_maker_add_pixels (PtFrameMaker *self, const guint8 *pixels,
    gsize stride, GError **error);
gboolean pt_frame_maker_add_tensor (PtFrameMaker *self, const PtTensor *frame,
    GError **error);
gboolean pt_frame_maker_add_frame (PtFrameMaker *self, const PtFrame *frame,
    const PtFrameView *view, GError **error);
gboolean pt_frame_maker_fill_input (PtFrameMaker *self, PtTensor *input,
    GError **error);
gboolean pt_frame_maker_fill_target (PtFrameMaker *self,
    const PtTensor *label, PtTensor *target, GError **error);

G_END_DECLS
