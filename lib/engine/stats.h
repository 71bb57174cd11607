/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/pipeline.h"

G_BEGIN_DECLS

/* The pipeline's counters. Thread-safe. */
typedef struct
{
  GMutex lock;
  PtPipelineStats now;
  gint64 window_start;          /* ns; frames per second are counted in it */
  guint64 window_frames;
} PtStats;

void pt_stats_init (PtStats *self);
void pt_stats_clear (PtStats *self);
void pt_stats_reset (PtStats *self);
void pt_stats_add_result (PtStats *self, const PtResult *result);
void pt_stats_add_skipped (PtStats *self);
void pt_stats_add_rollback (PtStats *self);
/* Goes on from @before, except for the frames skipped since it did so first, and
 * unless @losses for what was measured of the loss. */
void pt_stats_follow (PtStats *self, PtStats *before, gboolean losses);
void pt_stats_get (PtStats *self, PtPipelineStats *stats);

G_END_DECLS
