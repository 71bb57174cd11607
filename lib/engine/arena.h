/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/fold.h"
#include "engine/learning.h"
#include "engine/wiring.h"

G_BEGIN_DECLS

/* The parameters of one stage in one piece of memory, so that an update, a
 * copy or a check is one pass: learned ones first, those with one learning
 * rate next to one another, then what does not learn: frozen ones and buffers
 * such as running statistics. Behind them lies what the optimizer remembers of
 * the learned ones, slot by slot: a copy of the whole is the state to come
 * back to. Each parameter lies in its device's own layout. */

typedef struct
{
  guint layer, weight;          /* in the span, in the layer */
  gboolean learned;
  gsize offset, bytes;
  PtOp *packer;                 /* lent; NULL: row-major */
  PtOp *project;                /* NULL: the gradient stays as it is */
  PtTensor *gradient, *mean;    /* views, for @project */
} PtParameter;

/* The optimizer's own, the running mean of the gradient, their sum. */
#define PT_ARENA_MAX_SLOTS (PT_UPDATE_MAX_SLOTS + 2)
#define PT_ARENA_NO_SLOT G_MAXUINT

/* Learned parameters next to one another that have the same rate. */
typedef struct
{
  gsize offset, bytes;
  gdouble scale;                /* of the rate */
  PtOp *update;
  PtTensor *w, *gradients, *sums, *slots[PT_UPDATE_MAX_SLOTS];  /* views */
} PtSegment;

/* What was there when a copy of the state was made. */
typedef struct
{
  PtTensor *state;
  guint64 updates;
  guint n_summed;
} PtArenaCopy;

typedef struct
{
  const PtSpan *span;           /* lent */
  PtNetwork *network;           /* lent */
  const PtLearning *learning;   /* lent */
  const PtFold *folds;          /* lent; NULL: weights are used as they are */
  guint n_parameters;
  PtParameter *parameters;
  gsize bytes, learned_bytes;
  PtTensor *state;              /* values, then slots */
  PtTensor *values;             /* views of it */
  PtTensor *learned;            /* the part of values that is learned */
  guint n_slots;
  const gchar *slot_names[PT_ARENA_MAX_SLOTS + 1];
  PtTensor *slots[PT_ARENA_MAX_SLOTS];
  guint mean_slot, sum_slot;    /* PT_ARENA_NO_SLOT if there is none */
  PtTensor *gradients;          /* learned part, then scratch for what is
                                 * frozen; NULL when nothing learns */
  guint n_segments;
  PtSegment *segments;
  PtArenaCopy good, candidate;  /* known, or hoped, to be sound */
  gboolean has_candidate;
  guint n_copies;               /* views: live, then one per stash */
  PtTensor **stash;             /* n_copies - 1, learned part */
  PtTensor **w;                 /* [(copy * n + layer) * MAX_WEIGHTS + i] */
  PtTensor **dw;                /* [layer * MAX_WEIGHTS + i] */
  /* Where products are of 16 bits, the same in those, cast when weights have
   * changed: all values, each stash, and views as in w; else NULL. */
  PtTensor *half_values, **half_stash, **half;
  PtOp *cast;
  PtOp *dot, *add;
  gdouble square;               /* of the gradient that was checked last */
  guint64 updates;              /* applied to these weights, ever */
  guint n_summed;               /* gradients in the sum */
} PtArena;

/* Names of slots that are not the optimizer's. */
#define PT_ARENA_MEAN "gradient_mean"
#define PT_ARENA_SUM "gradient_sum"

guint pt_arena_name_slots (const PtLearning *learning,
    const gchar *names[PT_ARENA_MAX_SLOTS + 1]);
gboolean pt_arena_init (PtArena *self, PtNetwork *network, const PtSpan *span,
    const PtLearning *learning, const PtFold *folds, guint n_stash,
    PtLayerPlan *plans, PtWorkspace *workspace, GError **error);
void pt_arena_clear (PtArena *self);
gsize pt_arena_get_memory (const PtArena *self);

gboolean pt_arena_import (PtArena *self, GError **error);
gboolean pt_arena_export (PtArena *self, GError **error);
gboolean pt_arena_import_slot (PtArena *self, guint parameter, guint slot,
    const PtTensor *host, GError **error);
gboolean pt_arena_export_slot (PtArena *self, guint parameter, guint slot,
    PtTensor *host, GError **error);
gboolean pt_arena_export_value (PtArena *self, guint parameter,
    PtTensor *host, GError **error);
/* Of the weights that frame @sequence was run with. */
gboolean pt_arena_import_kept (PtArena *self, guint parameter,
    guint64 sequence, const PtTensor *host, GError **error);
gboolean pt_arena_export_kept (PtArena *self, guint parameter,
    guint64 sequence, PtTensor *host, GError **error);
gboolean pt_arena_clear_slots (PtArena *self, GError **error);

gboolean pt_arena_keep (PtArena *self, guint64 sequence, GError **error);

/* arena-update.c */
gboolean pt_arena_cast (PtArena *self, GError **error);
gboolean pt_arena_check (PtArena *self, gboolean *sound, GError **error);
gboolean pt_arena_step (PtArena *self, gdouble rate, gboolean *applied,
    GError **error);
gboolean pt_arena_measure (PtArena *self, PtTensor *square, GError **error);
gboolean pt_arena_step_live (PtArena *self, const PtLive *lives,
    GError **error);
gboolean pt_arena_trust (PtArena *self, GError **error);
gboolean pt_arena_copy_aside (PtArena *self, GError **error);
gboolean pt_arena_roll_back (PtArena *self, GError **error);

static inline const PtLayer *
pt_arena_get_layer (const PtArena *self, const PtParameter *p)
{
  return self->network->nodes[self->span->first + p->layer].layer;
}

static inline gsize
pt_arena_get_state_bytes (const PtArena *self)
{
  return self->bytes + self->n_slots * self->learned_bytes;
}

static inline PtTensor **
pt_arena_get_w (const PtArena *self, guint copy, guint layer)
{
  return &self->w[(copy * self->span->n + layer) * PT_LAYER_MAX_WEIGHTS];
}

/* NULL if there are none. */
static inline PtTensor **
pt_arena_get_half (const PtArena *self, guint copy, guint layer)
{
  return self->half == NULL ? NULL :
      &self->half[(copy * self->span->n + layer) * PT_LAYER_MAX_WEIGHTS];
}

static inline PtTensor **
pt_arena_get_dw (const PtArena *self, guint layer)
{
  return &self->dw[layer * PT_LAYER_MAX_WEIGHTS];
}

/* The copy of the weights that frame @sequence was run with. */
static inline guint
pt_arena_get_copy (const PtArena *self, guint64 sequence)
{
  return self->n_copies == 1 ? 0 : 1 + sequence % (self->n_copies - 1);
}

G_END_DECLS
