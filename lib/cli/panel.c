/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/panel.h"

#include <math.h>
#include <stdlib.h>

#define PANEL_LEFT 58           /* for the numbers */
#define PANEL_TOP 30            /* for the title */
#define PANEL_BOTTOM 24
#define PANEL_RIGHT 14
#define PANEL_LOG_SPAN 10       /* largest over smallest value */

/* Told apart also by those who see colours differently (Okabe and Ito). */
const PanelColour panel_colours[PANEL_N_COLOURS] = {
  {0.00, 0.45, 0.70}, {0.84, 0.37, 0.00}, {0.00, 0.62, 0.45},
  {0.80, 0.47, 0.65}, {0.90, 0.62, 0.00}, {0.34, 0.71, 0.91},
  {0.45, 0.45, 0.50}, {0.70, 0.65, 0.10},
};

static const PanelColour panel_ink = { 0.13, 0.15, 0.18 };
static const PanelColour panel_pale = { 0.42, 0.45, 0.50 };
static const PanelColour panel_grid = { 0.90, 0.91, 0.93 };

/* Where values lie on the paper. */
typedef struct
{
  const Panel *panel;
  gdouble left, top, right, bottom;
  gdouble x_min, x_max, y_min, y_max;
  gboolean log;
} PanelAxes;

void
panel_font (cairo_t *cr, gdouble size, gboolean bold)
{
  cairo_select_font_face (cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
      bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size (cr, size);
}

void
panel_set_colour (cairo_t *cr, PanelColour colour, gdouble alpha)
{
  cairo_set_source_rgba (cr, colour.r, colour.g, colour.b, alpha);
}

void
panel_text (cairo_t *cr, gdouble x, gdouble y, gdouble anchor,
    const gchar *text)
{
  cairo_text_extents_t size;

  cairo_text_extents (cr, text, &size);
  cairo_move_to (cr, x - anchor * size.x_advance, y);
  cairo_show_text (cr, text);
  cairo_new_path (cr);          /* text leaves a point behind */
}

void
panel_print (gchar *text, gsize size, gdouble value)
{
  gdouble magnitude = fabs (value);

  if (magnitude >= 1e6)
    g_snprintf (text, size, "%gM", (gdouble) (gfloat) (value / 1e6));
  else if (magnitude >= 1e4)
    g_snprintf (text, size, "%gk", (gdouble) (gfloat) (value / 1e3));
  else
    g_snprintf (text, size, "%g", (gdouble) (gfloat) value);
}

/* -- axes -- */

static gint
panel_compare (gconstpointer a, gconstpointer b)
{
  gdouble x = *(const gdouble *) a, y = *(const gdouble *) b;

  return (x > y) - (x < y);
}

/* The values of @curve that the axis is to hold: of a faint one all but a
 * twentieth at each end. */
static gboolean
panel_find_range (const PanelCurve *curve, guint n, gdouble *least,
    gdouble *most)
{
  g_autofree gdouble *sorted = g_new (gdouble, MAX (n, 1));
  guint m = 0, cut;

  for (guint i = 0; i < n; i++)
    if (isfinite (curve->y[i]))
      sorted[m++] = curve->y[i];
  if (m == 0)
    return FALSE;
  qsort (sorted, m, sizeof *sorted, panel_compare);
  cut = curve->faint ? m / 20 : 0;
  *least = sorted[cut];
  *most = sorted[m - 1 - cut];
  return TRUE;
}

static void
panel_stretch_stack (PanelAxes *self)
{
  const Panel *panel = self->panel;

  self->y_min = self->y_max = 0;
  for (guint i = 0; i < panel->n; i++) {
    gdouble sum = 0;

    for (guint c = 0; c < panel->n_curves; c++)
      if (isfinite (panel->curves[c].y[i]))
        sum += panel->curves[c].y[i];
    self->y_max = MAX (self->y_max, sum);
  }
}

/* Of the curves that are @faint or not; nothing if there are none. */
static void
panel_stretch (const Panel *panel, gboolean faint, gdouble *least,
    gdouble *most)
{
  gdouble low, high;

  for (guint c = 0; c < panel->n_curves; c++)
    if (panel->curves[c].faint == faint
        && panel_find_range (&panel->curves[c], panel->n, &low, &high)) {
      *least = MIN (*least, low);
      *most = MAX (*most, high);
    }
}

/* The range of all curves, or where the others span decades, of logarithms. */
static void
panel_find_extremes (PanelAxes *self, gdouble *least, gdouble *most)
{
  gdouble main_least;

  panel_stretch (self->panel, FALSE, least, most);
  self->log = self->panel->may_be_log && *least > 0
      && *most / *least > PANEL_LOG_SPAN;
  main_least = *least;
  panel_stretch (self->panel, TRUE, least, most);
  if (*most < *least)
    *least = *most = 0;
  if (self->log) {
    *most = log10 (*most);
    *least = log10 (*least > 0 ? *least : main_least);
  }
}

/* With some air, or from zero. */
static void
panel_find_axes (PanelAxes *self)
{
  const Panel *panel = self->panel;
  gdouble least = INFINITY, most = -INFINITY, range;
  gboolean from_zero;

  if (panel->stacked) {
    panel_stretch_stack (self);
    least = 0;
    most = self->y_max;
  } else {
    panel_find_extremes (self, &least, &most);
  }
  from_zero = panel->from_zero && !self->log && least >= 0;
  if (from_zero)
    least = 0;
  range = most - least;
  if (range <= 1e-9 * fabs (most)) {
    range = MAX (fabs (most), 1);
    most += range / 2;
    least -= range / 2;
  }
  self->y_max = most + 0.08 * range;
  self->y_min = from_zero ? 0 : least - 0.08 * range;
  if (isfinite (panel->most))
    self->y_max = MIN (self->y_max, panel->most);
}

static gdouble
panel_x (const PanelAxes *self, gdouble x)
{
  return self->left + (self->right - self->left) * (x - self->x_min)
      / MAX (self->x_max - self->x_min, 1);
}

static gdouble
panel_y (const PanelAxes *self, gdouble y)
{
  if (self->log)
    y = log10 (MAX (y, G_MINDOUBLE));
  return self->bottom - (self->bottom - self->top) * (y - self->y_min)
      / (self->y_max - self->y_min);
}

/* 1, 2 or 5 times a power of ten, so that about @n steps make @range. */
static gdouble
panel_find_step (gdouble range, guint n)
{
  gdouble step = pow (10, floor (log10 (range / n)));

  if (range / step > 5 * n)
    return 10 * step;
  if (range / step > 2 * n)
    return 5 * step;
  return range / step > n ? 2 * step : step;
}

static void
panel_draw_tick (cairo_t *cr, const PanelAxes *self, gdouble value)
{
  gdouble y = round (panel_y (self, value)) + 0.5;
  gchar text[32];

  panel_print (text, sizeof text, value);
  panel_set_colour (cr, panel_grid, 1);
  cairo_move_to (cr, self->left, y);
  cairo_line_to (cr, self->right, y);
  cairo_stroke (cr);
  panel_set_colour (cr, panel_pale, 1);
  panel_text (cr, self->left - 7, y + 4, 1, text);
}

/* Powers of ten, and with few of them twice and five times those. */
static void
panel_draw_log_ticks (cairo_t *cr, const PanelAxes *self)
{
  static const gdouble parts[] = { 1, 2, 5 };
  gdouble decades = self->y_max - self->y_min;
  gint every = MAX (1, (gint) (decades / 6));

  for (gint e = floor (self->y_min); e <= self->y_max; e++)
    for (guint i = 0; i < (decades < 2.5 ? 3 : 1); i++) {
      gdouble value = parts[i] * pow (10, e);

      if (log10 (value) >= self->y_min && log10 (value) <= self->y_max
          && e % every == 0)
        panel_draw_tick (cr, self, value);
    }
}

static void
panel_draw_ticks (cairo_t *cr, const PanelAxes *self)
{
  gdouble range = self->y_max - self->y_min;
  guint n = MAX (3, (self->bottom - self->top) / 30);
  gdouble step = panel_find_step (range, n);
  gint64 last = floor (self->y_max / step + 1e-9);

  cairo_set_line_width (cr, 1);
  panel_font (cr, 11.5, FALSE);
  if (self->log) {
    panel_draw_log_ticks (cr, self);
    return;
  }
  for (gint64 i = ceil (self->y_min / step - 1e-9); i <= last; i++)
    panel_draw_tick (cr, self, i * step);
}

static void
panel_draw_frames (cairo_t *cr, const PanelAxes *self)
{
  gdouble range = MAX (self->x_max - self->x_min, 1);
  gdouble step = MAX (panel_find_step (range,
          MAX (3, (self->right - self->left) / 90)), 1);
  gchar text[32];

  panel_set_colour (cr, panel_pale, 1);
  panel_font (cr, 11.5, FALSE);
  for (gint64 i = ceil (self->x_min / step); i * step <= self->x_max; i++) {
    gdouble x = panel_x (self, i * step);

    panel_print (text, sizeof text, i * step);
    cairo_move_to (cr, round (x) + 0.5, self->bottom);
    cairo_line_to (cr, round (x) + 0.5, self->bottom + 4);
    cairo_stroke (cr);
    panel_text (cr, x, self->bottom + 17, 0.5, text);
  }
  panel_text (cr, self->left - 7, self->bottom + 17, 1, "frame");
  cairo_move_to (cr, self->left, self->bottom + 0.5);
  cairo_line_to (cr, self->right, self->bottom + 0.5);
  cairo_stroke (cr);
}

static void
panel_draw_breaks (cairo_t *cr, const PanelAxes *self)
{
  const gdouble dashes[] = { 3, 4 };

  cairo_set_line_width (cr, 1);
  cairo_set_dash (cr, dashes, G_N_ELEMENTS (dashes), 0);
  panel_set_colour (cr, panel_pale, 0.6);
  for (guint i = 0; i < self->panel->n_breaks; i++) {
    gdouble x = round (panel_x (self, self->panel->breaks[i])) + 0.5;

    cairo_move_to (cr, x, self->top);
    cairo_line_to (cr, x, self->bottom);
    cairo_stroke (cr);
  }
  cairo_set_dash (cr, NULL, 0, 0);
}

/* -- curves -- */

/* Of all the points that fall on one column of the paper, the least and the
 * most: a long run is drawn in the time and space of a short one. */
static void
panel_trace (cairo_t *cr, const PanelAxes *self, const gdouble *y)
{
  const Panel *panel = self->panel;
  gboolean down = FALSE;

  for (guint i = 0; i < panel->n;) {
    gdouble x = panel_x (self, panel->at[i]);
    gdouble column = floor (x * 2), low = y[i], high = y[i];

    for (i++; i < panel->n
        && floor (panel_x (self, panel->at[i]) * 2) == column; i++) {
      low = fmin (low, y[i]);
      high = fmax (high, y[i]);
    }
    if (!isfinite (low)) {
      down = FALSE;
      continue;
    }
    if (down)
      cairo_line_to (cr, x, panel_y (self, low));
    else
      cairo_move_to (cr, x, panel_y (self, low));
    if (high > low || !down)
      cairo_line_to (cr, x, panel_y (self, high));
    down = TRUE;
  }
}

static void
panel_draw_curves (cairo_t *cr, const PanelAxes *self)
{
  for (guint c = 0; c < self->panel->n_curves; c++) {
    const PanelCurve *curve = &self->panel->curves[c];

    cairo_new_path (cr);
    panel_trace (cr, self, curve->y);
    panel_set_colour (cr, curve->colour, curve->alpha);
    cairo_set_line_width (cr, curve->width);
    cairo_stroke (cr);
  }
}

/* The area between the curves below and the curve. */
static void
panel_draw_stack (cairo_t *cr, const PanelAxes *self)
{
  const Panel *panel = self->panel;
  g_autofree gdouble *below = g_new0 (gdouble, MAX (panel->n, 1));

  for (guint c = 0; c < panel->n_curves; c++) {
    const PanelCurve *curve = &panel->curves[c];

    cairo_new_path (cr);
    for (guint i = panel->n; i-- > 0;)
      cairo_line_to (cr, panel_x (self, panel->at[i]),
          panel_y (self, below[i]));
    for (guint i = 0; i < panel->n; i++) {
      below[i] += isfinite (curve->y[i]) ? curve->y[i] : 0;
      cairo_line_to (cr, panel_x (self, panel->at[i]),
          panel_y (self, below[i]));
    }
    cairo_close_path (cr);
    panel_set_colour (cr, curve->colour, curve->alpha);
    cairo_fill (cr);
  }
}

/* -- words -- */

/* From the right end of the title's line to the left. */
static void
panel_draw_legend (cairo_t *cr, const PanelAxes *self)
{
  gdouble x = self->right, y = self->top - 12;

  panel_font (cr, 12, FALSE);
  for (guint c = self->panel->n_curves; c-- > 0;) {
    const PanelCurve *curve = &self->panel->curves[c];
    cairo_text_extents_t size;

    if (curve->label == NULL)
      continue;
    cairo_text_extents (cr, curve->label, &size);
    x -= size.x_advance;
    panel_set_colour (cr, panel_ink, 0.85);
    panel_text (cr, x, y, 0, curve->label);
    panel_set_colour (cr, curve->colour, MAX (curve->alpha, 0.4));
    cairo_rectangle (cr, x - 22, y - 5 - (self->panel->stacked ? 3 : 0), 16,
        self->panel->stacked ? 9 : 3);
    cairo_fill (cr);
    x -= 38;
  }
}

static void
panel_draw_title (cairo_t *cr, const PanelAxes *self)
{
  const Panel *panel = self->panel;
  g_autofree gchar *title = g_strconcat (panel->title,
      panel->unit[0] != '\0' ? ", in " : "", panel->unit,
      self->log ? ", logarithmic" : "", NULL);

  panel_font (cr, 13.5, TRUE);
  panel_set_colour (cr, panel_ink, 1);
  panel_text (cr, panel->x, self->top - 12, 0, title);
}

void
panel_draw (cairo_t *cr, const Panel *panel)
{
  PanelAxes axes = { panel, panel->x + PANEL_LEFT, panel->y + PANEL_TOP,
    panel->x + panel->width - PANEL_RIGHT,
    panel->y + panel->height - PANEL_BOTTOM, 0, 1, 0, 1, FALSE };

  if (panel->n > 0)
    axes.x_max = panel->at[panel->n - 1];
  panel_find_axes (&axes);
  panel_draw_title (cr, &axes);
  panel_draw_ticks (cr, &axes);
  cairo_save (cr);
  cairo_rectangle (cr, axes.left, axes.top - 1, axes.right - axes.left + 1,
      axes.bottom - axes.top + 2);
  cairo_clip (cr);
  cairo_set_line_join (cr, CAIRO_LINE_JOIN_ROUND);
  cairo_set_line_cap (cr, CAIRO_LINE_CAP_ROUND);        /* a dot alone */
  if (panel->stacked)
    panel_draw_stack (cr, &axes);
  else
    panel_draw_curves (cr, &axes);
  panel_draw_breaks (cr, &axes);
  cairo_restore (cr);
  panel_draw_frames (cr, &axes);
  panel_draw_legend (cr, &axes);
}
