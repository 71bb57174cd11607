/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/arena.h"
#include "engine/gradients.h"
#include "engine/guard.h"
#include "engine/queue.h"
#include "engine/wiring.h"

G_BEGIN_DECLS

#define PT_STAGE_MAX_DELAY 2    /* pt_learning_get_token_delay() */

/* One slice of the network on one device, in a thread of its own. Its step on
 * a frame: wait for the activation; forward; send the activation on at once;
 * then, if a token is due, wait for it, go backward, send its token on,
 * update its weights. It is data flow: queues join the stages, there is no
 * common clock. */

typedef struct _PtStage PtStage;
typedef struct _PtStageAsync PtStageAsync;      /* stage-async.c */

/* On each stage's thread, between the same two frames. */
typedef gboolean (*PtMarkerFunc) (PtStage *stage, PtMarker *marker,
    GError **error);

/* What every stage does once, at the same place in the stream. */
struct _PtMarker
{
  gatomicrefcount refs;
  PtMarkerFunc run;             /* may be NULL */
  /* On the thread of the stage that finishes last. */
  void (*done) (PtMarker *marker);
  gint n_left;                  /* atomic: stages that have not run it yet */
  gboolean drains;              /* the frames before it are the last ones */
  guint64 sequence;             /* of the frame after it */
  guint64 frame;                /* the same, since start or flush */
  PtPipeline *pipeline;         /* lent */
  gpointer data;
  GDestroyNotify destroy;       /* of data */
  gboolean finished;            /* under the pipeline's marker_lock */
};

typedef struct
{
  /* On the last stage's thread, the first two. @outputs are lent, in the host's
   * memory, the main one first; @valid is about that one; @loss is NaN if there
   * is none. */
  gboolean (*result) (gpointer data, const PtMessage *message,
      PtTensor *const *outputs, gboolean valid, gdouble loss, guint64 version,
      GError **error);
  /* The last stage is through with a frame, backward pass and all. */
  void (*finished) (gpointer data);
  void (*diverged) (gpointer data, guint64 frame, gdouble loss,
      gdouble best, gdouble scale);
  /* @error is lent; the stage computes no more. */
  void (*failed) (gpointer data, const GError *error);
  gpointer data;
} PtStageHooks;

typedef enum
{
  PT_STAGE_STARTING,
  PT_STAGE_RUNNING,
  PT_STAGE_PARKED,              /* flushing: waits for the next order */
  PT_STAGE_FAILED,
  PT_STAGE_ENDED,
} PtStageState;

struct _PtStage
{
  guint index;
  const PtSpan *span;           /* lent */
  PtWiring *wiring;             /* lent */
  PtProgress *progress;         /* lent: its own */
  const PtLearning *learning;   /* lent */
  PtStageHooks hooks;
  PtQueue *in, *out;            /* lent: activations; out may be NULL */
  PtQueue *tokens_in, *tokens_out;      /* lent: NULL at the ends */

  guint age, token_delay;
  guint n_initial_tokens;       /* still due before real ones */
  PtMessage sent[PT_STAGE_MAX_DELAY];   /* the last tokens, by sequence */
  guint64 n_frames;             /* since start, flush or drain */
  gboolean was_valid;           /* the last stage's, as the next three */
  PtGuard guard;
  guint64 quiet_until;          /* frames before ran through bad weights */

  PtWorkspace workspace;
  PtLayerPlan *plans;           /* span->n */
  PtFold *folds;                /* pt_fold_new(); NULL while it learns */
  PtArena arena;
  PtGradients gradients;
  PtTensor **blocks;            /* of activations only this stage sees */
  guint n_blocks;
  PtTensor **saved;             /* [(slot * n + layer) * MAX_SAVED + i] */
  guint n_saved_slots;
  gsize memory;
  PtOp *loss;                   /* last stage, as the next three */
  PtOp *check;                  /* of the main output */
  PtTensor *loss_value, *loss_host;
  PtTensor **outputs;           /* of the frame at hand, where the host can read
                                 * them */
  gboolean copies_outputs;      /* so they are the stage's own */

  PtStageAsync *async;          /* NULL: each step is done when it returns */

  gboolean trial;               /* weights are not written back */
  gint64 *layer_forward, *layer_backward;       /* ns, smallest seen; NULL */

  GThread *thread;
  GMutex lock;                  /* of what follows */
  GCond changed;
  PtStageState state;
  gboolean stop, resume;
  GError *error;
  PtStageStats stats;
};

PtStage *pt_stage_new (PtWiring *wiring, const PtLearning *learning,
    guint index, const PtStageHooks *hooks);
void pt_stage_free (PtStage *self);
void pt_stage_start (PtStage *self);
gboolean pt_stage_wait_started (PtStage *self, GError **error);
void pt_stage_wait_parked (PtStage *self);
void pt_stage_resume (PtStage *self);
void pt_stage_stop (PtStage *self);
void pt_stage_get_stats (PtStage *self, PtStageStats *stats);

/* For the stage's own thread. */
gboolean pt_stage_wait_turn (PtStage *self, guint64 sequence, GError **error);
gboolean pt_stage_forward (PtStage *self, const PtMessage *message,
    const PtLive *seeds, GError **error);
guint64 pt_stage_get_seed (const PtStage *self, guint k,
    const PtMessage *message);
PtTensor *pt_stage_get_output (const PtStage *self, guint index,
    guint64 sequence);
gboolean pt_stage_compare (PtStage *self, guint64 sequence, GError **error);
void pt_stage_judge (PtStage *self, const PtMessage *message, gboolean valid,
    gdouble loss, PtMessage *token);
gboolean pt_stage_backward (PtStage *self, guint64 sequence, GError **error);
gdouble pt_stage_get_rate (const PtStage *self, const PtMessage *message,
    const PtMessage *token);
void pt_stage_note_update (PtStage *self, gint change, gdouble rate);
void pt_stage_note_dropped (PtStage *self);
void pt_stage_note_time (PtStage *self, guint64 *mean, gint64 time);
gboolean pt_stage_step (PtStage *self, const PtMessage *message,
    GError **error);
gboolean pt_stage_take_token (PtStage *self, PtMessage *token);
void pt_stage_send_token (PtStage *self, const PtMessage *token,
    guint64 sequence);
gboolean pt_stage_plan (PtStage *self, GError **error);
void pt_stage_clear_plan (PtStage *self);
gboolean pt_stage_plan_async (PtStage *self, GError **error);
void pt_stage_clear_async (PtStage *self);
gboolean pt_stage_step_async (PtStage *self, const PtMessage *message,
    GError **error);
gboolean pt_stage_settle_async (PtStage *self, GError **error);

/* How many of the next ones' work layer @k of the span does too. */
static inline guint
pt_stage_folds (const PtStage *self, guint k)
{
  return self->folds != NULL ? self->folds[k].more : 0;
}

/* What stands at @k of the span. */
static inline const PtLayer *
pt_stage_get_layer (const PtStage *self, guint k)
{
  return pt_stage_folds (self, k) > 0 ? self->folds[k].layer :
      self->wiring->network->nodes[self->span->first + k].layer;
}

/* The saved tensors of @layer for frame @sequence. */
static inline PtTensor **
pt_stage_get_saved (const PtStage *self, guint layer, guint64 sequence)
{
  guint slot = sequence % self->n_saved_slots;

  return &self->saved[(slot * self->span->n + layer) * PT_LAYER_MAX_SAVED];
}

G_END_DECLS
