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

/* Frames that are pushed one after the other, and their results: all that a
 * camera has of its own. */
struct _PtStream
{
  PtPipeline *pipeline;         /* lent */
  PtFrameMaker maker;           /* this and the frame numbers: under push_lock */
  guint64 frame;                /* since start, flush or drain */
  guint64 drained;              /* frames of the stream that ended last */
  PtQueue *out;                 /* of the last stage */
  PtStats stats;
  PtMeasures measures;
  guint64 measured_sequence, measured_frame;    /* the last one looked at, on
                                                 * the last stage's thread */
  gint learn;                   /* atomic */
  gint interval, policy;        /* atomic */

  /* Of several, see shared.c; under shared_lock. */
  guint inside;                 /* frames and ends that stages are at */
  guint owed;                   /* frames pushed and not pulled */
  guint era;                    /* results of another one are dropped */
  gint flushing;                /* atomic reads */
  gboolean open;                /* frames came since the last end */
  gboolean left;                /* freed, once nothing is inside */
};

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
  PtQueue *in;                  /* of the first stage */
  PtQueue **between;            /* activations, n_stages - 1 */
  PtQueue **tokens;             /* n_stages - 1 */
  PtResultPool *results;
  PtStream main;                /* of who pushes to the pipeline itself */
  PtReplay replay;
  gboolean trial;               /* only to measure: layers are timed, weights
                                 * are not written back */
  const PtPlacement *given;     /* lent: use this instead of finding one */
  gboolean drew_weights;        /* the network came without */
  gboolean keep_weights;        /* of the one it takes over from */
  gint handing_over;            /* atomic: those are on their way */

  GMutex push_lock;             /* one frame or marker enters at a time */
  guint64 sequence;             /* of the next frame; only ever rises */
  guint64 n_learning;           /* frames pushed that learn, since start */
  gint n_pushed, n_finished;    /* atomic, wrap around alike */
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
  GMutex shared_lock;           /* of the streams, and who is next to push */
  GCond shared_changed;
  GPtrArray *streams;           /* besides the main one */
  gint replaced;                /* atomic; set under push_lock: streams go on
                                 * in another one */
  GQueue pushers;               /* of PtStream, first come first served */

  GMutex weights_lock;          /* one load or reset at a time */
  GThread *writer;              /* of checkpoints; made when first needed */
  PtQueue *to_write;            /* markers with a snapshot; none: the end */
};

void pt_pipeline_emit (PtPipeline *self, const PtEvent *event);
void pt_pipeline_clear_stream (PtPipeline *self);
void pt_pipeline_set_queues_flushing (PtPipeline *self, gboolean flushing);
PtFlow pt_pipeline_fail (PtPipeline *self, GError **error);
PtFlow pt_pipeline_check_target (PtPipeline *self, const PtTensor *label,
    GError **error);
/* Waits for room, or not. */
PtFlow pt_pipeline_wait_room (PtPipeline *self, PtPushFlags flags,
    GError **error);
gboolean pt_pipeline_begin_push (PtPipeline *self, GError **error);
PtFlow pt_pipeline_end_push (PtPipeline *self, PtStream *stream,
    gboolean added, PtTensor *target, PtPushFlags flags);
gboolean pt_stream_keep_none (const PtMessage *message);
/* shared.c: whether anybody waits for the result; takes that to who does. */
gboolean pt_stream_wants (const PtMessage *message);
void pt_stream_deliver (const PtMessage *message);
/* Nothing enters any more by the streams; the caller has push_lock. */
void pt_stream_close_all (PtPipeline *self);
/* A stage failed: nobody waits any more. */
void pt_stream_fail_all (PtPipeline *self);
void pt_stream_clear_all (PtPipeline *self);
gboolean pt_pipeline_result (gpointer data, const PtMessage *message,
    PtTensor *const *outputs, gboolean valid, gdouble loss, guint64 version,
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
void pt_pipeline_drained (PtMarker *marker);
void pt_pipeline_end_stream (PtPipeline *self, PtMarker *marker);

gchar *pt_checkpoint_print_cut (const PtPipeline *self);
void pt_checkpoint_finish_writing (PtPipeline *self);
PtMarker *pt_checkpoint_new_copy (PtPipeline *self);
PtTensorFile *pt_checkpoint_get_copy (PtMarker *marker, GError **error);

/* Until what another pipeline has learned is in the network: nobody else may
 * write there before. */
gboolean pt_pipeline_wait_handover (PtPipeline *self, GError **error);

/* What the stage forgets first; @file: (nullable): the optimizer's state. */
gboolean pt_resume_stage (PtStage *stage, PtTensorFile *file, GError **error);

G_END_DECLS
