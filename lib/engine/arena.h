/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/learning.h"
#include "engine/wiring.h"

G_BEGIN_DECLS

/* The parameters of one stage in one piece of memory, so that an update, a
 * copy or a check is one pass: learned ones first, then buffers such as
 * running statistics. Each parameter lies in its device's own layout. */

typedef struct
{
  guint layer, weight;          /* in the span, in the layer */
  gboolean learned;
  gsize offset, bytes;
  PtOp *packer;                 /* lent; NULL: row-major */
} PtParameter;

typedef struct
{
  const PtSpan *span;           /* lent */
  PtNetwork *network;           /* lent */
  guint n_parameters;
  PtParameter *parameters;
  gsize bytes, learned_bytes;
  PtTensor *values;
  PtTensor *gradients;          /* learned part; NULL when nothing learns */
  guint n_slots;
  const gchar *slot_names[PT_UPDATE_MAX_SLOTS + 1];
  PtTensor *slots[PT_UPDATE_MAX_SLOTS];
  PtTensor *good, *candidate;   /* values known, or hoped, to be sound */
  guint64 candidate_sequence;
  gboolean has_candidate;
  guint n_copies;               /* views: live, then one per stash */
  PtTensor **stash;             /* n_copies - 1, learned part */
  PtTensor **w;                 /* [(copy * n + layer) * MAX_WEIGHTS + i] */
  PtTensor **dw;                /* [layer * MAX_WEIGHTS + i] */
  PtOp *update;
  PtOp *check;
  guint64 updates;              /* applied to these weights, ever */
} PtArena;

gboolean pt_arena_init (PtArena *self, PtNetwork *network, const PtSpan *span,
    const PtLearning *learning, guint n_stash, PtLayerPlan *plans,
    PtWorkspace *workspace, GError **error);
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
gboolean pt_arena_clear_slots (PtArena *self, GError **error);

gboolean pt_arena_keep (PtArena *self, guint64 sequence, GError **error);
gboolean pt_arena_step (PtArena *self, gdouble rate, gboolean *applied,
    GError **error);
gboolean pt_arena_watch (PtArena *self, guint64 sequence, guint64 about,
    GError **error);
gboolean pt_arena_roll_back (PtArena *self, GError **error);

static inline PtTensor **
pt_arena_get_w (const PtArena *self, guint copy, guint layer)
{
  return &self->w[(copy * self->span->n + layer) * PT_LAYER_MAX_WEIGHTS];
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
