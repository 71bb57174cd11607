/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/frame.h"
#include "engine/stage.h"
#include "formats/safetensors.h"

G_BEGIN_DECLS

/* What of a stream lies between frames, apart from weights and what the
 * optimizer remembers: gradients under way from stage to stage, with
 * mode=delayed also what they will need, and the frames that the network's
 * next input is made of. Put back, the stream goes on as if nothing had been.
 * @sequence is the number of the frame that comes next. */

gboolean pt_stream_state_save (PtStage *stage, guint64 sequence,
    PtTensorFile *file, GError **error);
/* Whether @file has all of it, with the shapes it has here. */
gboolean pt_stream_state_check (PtStage *stage, PtTensorFile *file,
    GError **error);
gboolean pt_stream_state_restore (PtStage *stage, guint64 sequence,
    PtTensorFile *file, GError **error);

gboolean pt_stream_state_save_frames (const PtFrameMaker *maker,
    guint64 frame, PtTensorFile *file, GError **error);
gboolean pt_stream_state_restore_frames (PtFrameMaker *maker, guint64 *frame,
    PtTensorFile *file, GError **error);

G_END_DECLS
