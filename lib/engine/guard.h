/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/schedule.h"

G_BEGIN_DECLS

/* What the last stage makes of a frame: it sees every loss, and its word
 * travels to the other stages with the gradient. */
typedef enum
{
  PT_GUARD_LEARN,
  PT_GUARD_KEEP,                /* learn, and put a copy of the state aside */
  PT_GUARD_SKIP,                /* no gradient of this frame */
  PT_GUARD_ROLL_BACK,           /* the last good state, a smaller rate */
} PtGuardVerdict;

typedef struct
{
  gint window;                  /* learned frames in an average */
  gdouble factor;               /* average over best that is too much; 0: any
                                 * is borne */
  gdouble shrink;               /* of the rate when that happens */
  const PtSchedule *schedule;   /* lent */

  gdouble *losses;              /* ring of window */
  guint64 n_losses;             /* since start or the last rollback */
  gdouble first, best;          /* averages over a window; NaN: none yet */
  gdouble why[2];               /* average and best at the last rollback; NaN:
                                 * those were not the reason */
  guint n_bad;                  /* frames in a row without a sound loss */
  gboolean was_invalid;         /* the output of the frame before */
  gint n_trial;                 /* losses still to be seen of the weights that
                                 * came back */
  gdouble trial_sum, bar;       /* over the bar they are as bad */
  gdouble bearable;             /* average that was the stream's, not ours */
  guint64 n_learned;
  gdouble scale;                /* of every stage's rate */

  gdouble plateau_sum, plateau_best;
  gint plateau_n, plateau_bad, plateau_rest;
} PtGuard;

void pt_guard_init (PtGuard *self, gint window, gdouble factor,
    gdouble shrink, const PtSchedule *schedule);
void pt_guard_clear (PtGuard *self);
void pt_guard_reset (PtGuard *self);
PtGuardVerdict pt_guard_look (PtGuard *self, gboolean valid, gboolean learns,
    gdouble loss);
gdouble pt_guard_get_average (const PtGuard *self);

/* As text, for a checkpoint. */
gchar *pt_guard_print (const PtGuard *self);
void pt_guard_scan (PtGuard *self, const gchar *text);

G_END_DECLS
