/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "formats/json-lines.h"

G_BEGIN_DECLS

/* What a file of statistics tells of a run, ready to be drawn: columns of n
 * numbers, NaN where there is none; NULL: the file has no such column. */

typedef struct
{
  gchar *name;
  const gchar *unit;
  gboolean higher_is_better;
  const gdouble *newest, *recent;
} PlotMeasure;

typedef struct
{
  PtJsonLines *lines;           /* NULL: the file is a table of losses */
  guint n;
  gdouble *at;                  /* frames, counted on from run to run */
  gdouble *updates;             /* as well */
  GArray *breaks;               /* gdouble: where a run began, but the first */
  gdouble *table_loss;
  const gdouble *loss, *mean_loss, *fps;
  GPtrArray *stages;            /* gdouble *: ms of a frame, of each stage */
  GPtrArray *measures;          /* PlotMeasure, but the loss; by name */
} PlotRun;

/* How a curve went, from its first tenth to its last third. */
typedef struct
{
  gdouble first, last;          /* means; NaN: there is no curve */
  gint way;                     /* -1 falling, 0 neither, 1 rising */
} PlotTrend;

gboolean plot_run_load (PlotRun *self, const gchar *path, GError **error);
void plot_run_clear (PlotRun *self);
PlotTrend plot_run_find_trend (const gdouble *y, guint n);
/* Returns: (nullable): the measure called @name */
const PlotMeasure *plot_run_find (const PlotRun *self, const gchar *name);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PlotRun, plot_run_clear)

G_END_DECLS
