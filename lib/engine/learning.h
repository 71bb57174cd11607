/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/schedule.h"
#include "losses/loss.h"
#include "network/network.h"
#include "optimizers/optimizer.h"
#include "partime/pipeline.h"

G_BEGIN_DECLS

typedef enum
{
  PT_STALENESS_AUTO,
  PT_STALENESS_NONE,
  PT_STALENESS_SQRT,
  PT_STALENESS_INVERSE,
} PtStaleness;

/* The [learning] group, understood. */
typedef struct
{
  PtMode mode;
  PtLoss *loss;                 /* NULL when mode is off */
  PtOptimizer *optimizer;       /* NULL when mode is off */
  PtTarget target;              /* never PT_TARGET_TEACHER: that is labels */
  gboolean teacher;             /* the file says so */
  PtDType target_dtype;
  PtShape target_shape;         /* (1, C, H, W), or as the loss wants labels */
  PtStaleness staleness;
  guint warmup;                 /* learned frames over which the rate rises */
  gdouble rate;                 /* before staleness and warm-up */
  guint interval;
  PtLearnPolicy policy;
  guint64 seed;
  gdouble *scales;              /* of each node's rate; 0: it does not learn */
  guint accumulate;             /* gradients per update */
  gdouble clip_norm;            /* 0: never */
  gdouble orthogonal;           /* momentum of the mean gradient; 0: off */
  PtSchedule schedule;
  gint divergence_window;
  gdouble divergence_factor, divergence_rate;
  guint replay, replay_interval;
} PtLearning;

gboolean pt_learning_init (PtLearning *self, PtNetwork *network,
    GError **error);
void pt_learning_clear (PtLearning *self);
void pt_learning_settle (PtLearning *self, guint n_stages, gint warmup);
/* How many frames earlier the next stage worked for the token of a frame. */
guint pt_learning_get_token_delay (const PtLearning *self);
/* Whether any weight of @node does. */
gboolean pt_learning_learns (const PtLearning *self, const PtNetwork *network,
    guint node);
guint pt_learning_get_age (const PtLearning *self, guint stage,
    guint n_stages);
gdouble pt_learning_get_rate (const PtLearning *self, gdouble base, guint age,
    guint64 updates);
void pt_learning_get_target_info (const PtLearning *self,
    const PtShape *output, PtTargetInfo *info);
const gchar *pt_mode_get_name (PtMode mode);

G_END_DECLS
