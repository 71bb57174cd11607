/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/balance.h"
#include "engine/frame.h"
#include "engine/measure.h"
#include "engine/replay.h"
#include "engine/result.h"
#include "engine/stage.h"
#include "engine/stats.h"
#include "formats/safetensors.h"

G_BEGIN_DECLS

struct _PtPipeline
{
  gatomicrefcount refs;
  PtNetwork *network;
  PtEventFunc event_func;
  gpointer event_data;
  gdouble target_fps;
  PtDevice *frame_device;       /* where frames are; NULL: with the host */

  /* set between start and stop */
  gboolean running;
  gboolean stopping;            /* under push_lock: no more checkpoints */
  PtLearning learning;
  PtPlacement placement;
  PtWiring wiring;
  guint n_stages;
  PtStage **stages;
  PtQueue *in, *out;            /* of the first, of the last stage */
  PtQueue **between;            /* activations, n_stages - 1 */
  PtQueue **tokens;             /* n_stages - 1 */
  PtResultPool *results;
  PtFrameMaker maker;
  PtReplay replay;
  PtStats stats;
  PtMeasures measures;
  guint64 measured_sequence, measured_frame;    /* the last one looked at, on
                                                 * the last stage's thread */
  gboolean trial;               /* only to measure: layers are timed, weights
                                 * are not written back */
  const PtPlacement *given;     /* lent: use this instead of finding one */

  GMutex push_lock;             /* one frame or marker enters at a time */
  guint64 sequence;             /* of the next frame; only ever rises */
  guint64 frame;                /* since start, flush or drain */
  guint64 drained;              /* frames of the stream that ended last */
  guint64 n_learning;           /* frames pushed that learn, since start */
  gint n_pushed, n_finished;    /* atomic, wrap around alike */
  gint learn;                   /* atomic */
  gint interval, policy;        /* atomic */
  gint checkpoint_keep;         /* atomic */
  gdouble rate;                 /* under settings_lock */
  gdouble asked_rate;           /* set by the user; NaN: the settings' */
  GMutex settings_lock;

  GMutex error_lock;
  GError *error;                /* the first failure of a stage */
  gint failed, flushing;        /* atomic */

  GMutex marker_lock;           /* of markers and their finished flags */
  GCond marker_changed;
  GPtrArray *markers;           /* that may still be under way */
  GMutex weights_lock;          /* one load or reset at a time */
  GThread *writer;              /* of checkpoints; made when first needed */
  PtQueue *to_write;            /* markers with a snapshot; none: the end */
};

void pt_pipeline_emit (PtPipeline *self, const PtEvent *event);
void pt_pipeline_clear_stream (PtPipeline *self);
void pt_pipeline_set_queues_flushing (PtPipeline *self, gboolean flushing);
gboolean pt_pipeline_result (gpointer data, const PtMessage *message,
    PtTensor *output, gboolean valid, gdouble loss, guint64 version,
    GError **error);

PtMarker *pt_marker_new (PtPipeline *pipeline, PtMarkerFunc run,
    gpointer data, GDestroyNotify destroy);
void pt_marker_unref (PtMarker *marker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtMarker, pt_marker_unref)
void pt_marker_finish (PtMarker *marker);
void pt_pipeline_send_marker (PtPipeline *self, PtMarker *marker);
gboolean pt_pipeline_wait_marker (PtPipeline *self, PtMarker *marker,
    GError **error);
gboolean pt_pipeline_run_marker (PtPipeline *self, PtMarker *marker,
    GError **error);

gchar *pt_checkpoint_print_cut (const PtPipeline *self);
void pt_checkpoint_finish_writing (PtPipeline *self);

G_END_DECLS
