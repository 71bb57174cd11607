/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/params.h"
#include "partime/pipeline.h"

G_BEGIN_DECLS

/* How the learning rate changes as updates are applied:
 * torch.optim.lr_scheduler. */

typedef enum
{
  PT_SCHEDULE_CONSTANT,
  PT_SCHEDULE_STEP,             /* StepLR */
  PT_SCHEDULE_COSINE,           /* CosineAnnealingLR, with restarts
                                 * CosineAnnealingWarmRestarts */
  PT_SCHEDULE_PLATEAU,          /* ReduceLROnPlateau, of the mean loss of
                                 * windows of frames */
} PtScheduleKind;

typedef struct
{
  PtScheduleKind kind;
  gint step_size;               /* updates */
  gdouble gamma;
  gint t_max;
  gdouble eta_min;              /* a rate, not a factor */
  gboolean restarts;
  gdouble factor;
  gint patience;                /* windows */
  gint window;                  /* learned frames */
  gdouble threshold;
  gint cooldown;                /* windows */
  gdouble min_factor;
} PtSchedule;

gboolean pt_schedule_parse (PtSchedule *self, const gchar *text,
    const gchar *where, GError **error);
gdouble pt_schedule_get_rate (const PtSchedule *self, gdouble base,
    guint64 updates);
G_END_DECLS
