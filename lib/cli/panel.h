/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <cairo.h>
#include <glib.h>

G_BEGIN_DECLS

/* One diagram of a plot: curves over frames, in a frame with ticks. */

typedef struct
{
  gdouble r, g, b;
} PanelColour;

extern const PanelColour panel_colours[];
#define PANEL_N_COLOURS 8

/* Everything is lent. NaN in @y is a gap. */
typedef struct
{
  const gdouble *y;             /* one for each x */
  const gchar *label;           /* in the legend; NULL: not there */
  PanelColour colour;
  gdouble width;
  gdouble alpha;
  gboolean faint;               /* does not stretch the axis by its extremes */
} PanelCurve;

typedef struct
{
  gdouble x, y, width, height;  /* of all, in points */
  const gchar *title;
  const gchar *unit;            /* of the axis, may be "" */
  gboolean from_zero;
  gboolean may_be_log;          /* where values span decades */
  gboolean stacked;             /* areas, each curve upon the one before */
  gdouble most;                 /* the axis ends there at the latest; NaN */
  const gdouble *at;            /* n frames, ascending */
  guint n;
  const gdouble *breaks;        /* frames at which a run began */
  guint n_breaks;
  const PanelCurve *curves;
  guint n_curves;
} Panel;

void panel_draw (cairo_t *cr, const Panel *panel);
/* @anchor: 0 for the left end at @x, 1 for the right end. */
void panel_text (cairo_t *cr, gdouble x, gdouble y, gdouble anchor,
    const gchar *text);
void panel_font (cairo_t *cr, gdouble size, gboolean bold);
void panel_set_colour (cairo_t *cr, PanelColour colour, gdouble alpha);
/* As short as it may be: "12k", "0.034". */
void panel_print (gchar *text, gsize size, gdouble value);

G_END_DECLS
