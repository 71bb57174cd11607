/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A picture of a run: frames in a row if there are some, what became of the
 * loss and of the measures in words, and how they and the machine went. */

#include "cli/cli.h"
#include "cli/panel.h"
#include "cli/plot-run.h"

#include <cairo-svg.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define PLOT_WIDTH 1200
#define PLOT_EDGE 24
#define PLOT_GAP 18
#define PLOT_LOSS 270
#define PLOT_MEASURE 220
#define PLOT_SMALL 190
#define PLOT_MAX_CURVES 32

typedef cairo_surface_t PlotSurface;
typedef cairo_t PlotPaper;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PlotSurface, cairo_surface_destroy)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PlotPaper, cairo_destroy)

static const PanelColour plot_ink = { 0.13, 0.15, 0.18 };
static const PanelColour plot_pale = { 0.42, 0.45, 0.50 };
static const PanelColour plot_good = { 0.10, 0.60, 0.30 };
static const PanelColour plot_bad = { 0.80, 0.20, 0.15 };

/* Frames side by side, each as wide as there is room; their height. */
static gboolean
plot_frames (cairo_t *cr, gchar **paths, guint n, gdouble *height,
    GError **error)
{
  gdouble width = (gdouble) PLOT_WIDTH / MAX (n, 1);

  *height = 0;
  for (guint i = 0; i < n; i++) {
    g_autoptr (PlotSurface) image =
        cairo_image_surface_create_from_png (paths[i]);
    cairo_status_t status = cairo_surface_status (image);
    gdouble scale;

    if (status != CAIRO_STATUS_SUCCESS) {
      g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: %s", paths[i],
          cairo_status_to_string (status));
      return FALSE;
    }
    scale = (width - 4) / cairo_image_surface_get_width (image);
    *height = MAX (*height, scale * cairo_image_surface_get_height (image));
    if (cr == NULL)
      continue;
    cairo_save (cr);
    cairo_translate (cr, i * width + 2, 2);
    cairo_scale (cr, scale, scale);
    cairo_set_source_surface (cr, image, 0, 0);
    cairo_paint (cr);
    cairo_restore (cr);
  }
  return TRUE;
}

/* -- in words -- */

/* A line such as "loss 0.41 -> 0.08, falling", with a sign before it: green if
 * that is good, red if it is bad. */
static void
plot_verdict (cairo_t *cr, gdouble *y, gdouble size, const gchar *name,
    const gchar *unit, gboolean higher_is_better, const PlotTrend *trend,
    const gchar *more)
{
  static const gchar *const words[] = { "falling", "steady", "rising" };
  gint good = higher_is_better ? trend->way : -trend->way;
  g_autofree gchar *text = g_strdup_printf ("%s %.3g \342\206\222 %.3g%s%s, "
      "%s%s", name, trend->first, trend->last, unit[0] != '\0' ? " " : "",
      unit, words[trend->way + 1], more);

  if (isnan (trend->last))
    return;
  *y += size * 1.45;
  panel_set_colour (cr, good > 0 ? plot_good : good < 0 ? plot_bad :
      plot_pale, 1);
  cairo_arc (cr, PLOT_EDGE + size * 0.36, *y - size * 0.35, size * 0.36, 0,
      2 * G_PI);
  cairo_fill (cr);
  panel_font (cr, size, TRUE);
  panel_set_colour (cr, plot_ink, 1);
  panel_text (cr, PLOT_EDGE + size * 1.2, *y, 0, text);
}

/* How a measure compares with the same of doing nothing. */
static gchar *
plot_compare (const PlotRun *run, const PlotMeasure *measure,
    const PlotTrend *trend)
{
  g_autofree gchar *name = g_strconcat (measure->name, "-repeat", NULL);
  const PlotMeasure *repeat = plot_run_find (run, name);
  PlotTrend other;

  if (repeat == NULL)
    return g_strdup ("");
  other = plot_run_find_trend (repeat->recent, run->n);
  return g_strdup_printf ("; at the end %.2g %s %s repeating the last frame",
      fabs (trend->last - other.last), measure->unit,
      trend->last >= other.last ? "above" : "below");
}

static void
plot_facts (cairo_t *cr, const PlotRun *run, const gchar *path, gdouble *y)
{
  g_autofree gchar *name = g_path_get_basename (path);
  g_autoptr (GString) text = g_string_new (NULL);

  g_string_append_printf (text, "%s: %.0f frames", name,
      run->at[run->n - 1]);
  if (run->updates != NULL && isfinite (run->updates[run->n - 1]))
    g_string_append_printf (text, ", %.0f updates", run->updates[run->n - 1]);
  if (run->stages->len > 0)
    g_string_append_printf (text, ", %u stage%s", run->stages->len,
        run->stages->len == 1 ? "" : "s");
  if (run->breaks->len > 0)
    g_string_append_printf (text, ", %u runs", run->breaks->len + 1);
  *y += 24;
  panel_font (cr, 13, FALSE);
  panel_set_colour (cr, plot_pale, 1);
  panel_text (cr, PLOT_EDGE, *y, 0, text->str);
}

static void
plot_words (cairo_t *cr, const PlotRun *run, const gchar *path, gdouble *y)
{
  if (run->mean_loss != NULL) {
    PlotTrend trend = plot_run_find_trend (run->mean_loss, run->n);

    plot_verdict (cr, y, 21, "loss", "", FALSE, &trend, "");
  } else {
    *y += 30;
    panel_font (cr, 21, TRUE);
    panel_set_colour (cr, plot_pale, 1);
    panel_text (cr, PLOT_EDGE, *y, 0, "no loss: nothing to learn from");
  }
  for (guint i = 0; i < run->measures->len; i++) {
    const PlotMeasure *measure = g_ptr_array_index (run->measures, i);
    PlotTrend trend = plot_run_find_trend (measure->recent, run->n);
    g_autofree gchar *more = plot_compare (run, measure, &trend);

    if (!g_str_has_suffix (measure->name, "-repeat"))
      plot_verdict (cr, y, 16, measure->name, measure->unit,
          measure->higher_is_better, &trend, more);
  }
  plot_facts (cr, run, path, y);
}

/* -- panels -- */

static Panel
plot_panel (const PlotRun *run, gdouble y, gdouble height, const gchar *title,
    const gchar *unit)
{
  return (Panel) { .x = PLOT_EDGE, .y = y, .width = PLOT_WIDTH
      - 2 * PLOT_EDGE, .height = height, .title = title, .unit = unit,
    .most = NAN, .at = run->at, .n = run->n,
    .breaks = (const gdouble *) run->breaks->data,
    .n_breaks = run->breaks->len };
}

static void
plot_loss (cairo_t *cr, const PlotRun *run, gdouble y)
{
  Panel panel = plot_panel (run, y, PLOT_LOSS, "loss", "");
  gboolean raw = run->loss != NULL;
  PanelCurve curves[] = {
    { run->loss, "one frame", panel_colours[0], 1.2, 0.35, TRUE },
    { run->mean_loss, raw ? "mean of 100 frames" : NULL, panel_colours[0], 2.6, 1,
          FALSE },
  };

  panel.may_be_log = TRUE;
  panel.curves = raw ? curves : curves + 1;
  panel.n_curves = raw ? 2 : 1;
  panel_draw (cr, &panel);
}

/* Whether a frame is right or wrong as a whole, which makes no curve. */
static gboolean
plot_is_yes_or_no (const gdouble *y, guint n)
{
  for (guint i = 0; i < n; i++)
    if (isfinite (y[i]) && y[i] != 0 && y[i] != 1)
      return FALSE;
  return TRUE;
}

/* All the measures that share the unit of the @first. */
static void
plot_measures (cairo_t *cr, const PlotRun *run, guint first, gdouble y)
{
  const PlotMeasure *leader = g_ptr_array_index (run->measures, first);
  PanelCurve curves[PLOT_MAX_CURVES];
  g_autoptr (GString) title = g_string_new (NULL);
  Panel panel = plot_panel (run, y, PLOT_MEASURE, NULL, leader->unit);
  guint n = 0, colour = 1;

  for (guint i = first; i < run->measures->len && n + 2 <= PLOT_MAX_CURVES;
      i++) {
    const PlotMeasure *m = g_ptr_array_index (run->measures, i);
    gboolean repeat = g_str_has_suffix (m->name, "-repeat");
    PanelColour own = repeat ? panel_colours[6] :
        panel_colours[colour++ % PANEL_N_COLOURS];

    if (!g_str_equal (m->unit, leader->unit))
      continue;
    if (m->newest != NULL && !repeat && !plot_is_yes_or_no (m->newest, run->n))
      curves[n++] = (PanelCurve) { m->newest, NULL, own, 1.2, 0.3, TRUE };
    curves[n++] = (PanelCurve) { m->recent, m->name, own, repeat ? 1.8 : 2.6,
      1, FALSE };
    g_string_append_printf (title, "%s%s", title->len > 0 ? " and " : "",
        m->name);
  }
  panel.title = title->str;
  panel.curves = curves;
  panel.n_curves = n;
  panel.from_zero = leader->unit[0] == '\0' || !leader->higher_is_better;
  panel.most = leader->unit[0] == '\0' ? 1.02 : NAN;
  panel_draw (cr, &panel);
}

/* Whether a measure before has that unit, and so its panel. */
static gboolean
plot_measure_is_drawn (const PlotRun *run, guint index)
{
  const PlotMeasure *measure = g_ptr_array_index (run->measures, index);

  for (guint i = 0; i < index; i++)
    if (g_str_equal (measure->unit,
            ((PlotMeasure *) g_ptr_array_index (run->measures, i))->unit))
      return TRUE;
  return FALSE;
}

static void
plot_stages (cairo_t *cr, const PlotRun *run, Panel *panel)
{
  guint n = MIN (run->stages->len, PLOT_MAX_CURVES);
  gchar labels[PLOT_MAX_CURVES][8];
  PanelCurve curves[PLOT_MAX_CURVES];

  for (guint i = 0; i < n; i++) {
    g_snprintf (labels[i], sizeof labels[i], "%u", i);
    curves[i] = (PanelCurve) { g_ptr_array_index (run->stages, i),
      n <= 8 ? labels[i] : NULL, panel_colours[i % PANEL_N_COLOURS], 1,
      i / PANEL_N_COLOURS % 2 ? 0.55 : 0.85, FALSE };
  }
  panel->title = "time of each stage";
  panel->unit = "ms";
  panel->stacked = TRUE;
  panel->curves = curves;
  panel->n_curves = n;
  panel_draw (cr, panel);
}

/* Frame rate, times and updates side by side. */
static void
plot_machine (cairo_t *cr, const PlotRun *run, gdouble y)
{
  Panel panel = plot_panel (run, y, PLOT_SMALL, "frames per second", "");
  PanelCurve fps = { run->fps, NULL, panel_colours[2], 2, 1, FALSE };
  PanelCurve updates = { run->updates, NULL, panel_colours[3], 2, 1, FALSE };

  panel.width = (panel.width - 2 * PLOT_GAP) / 3;
  panel.from_zero = TRUE;
  panel.curves = &fps;
  panel.n_curves = 1;
  if (run->fps != NULL)
    panel_draw (cr, &panel);
  panel.x += 2 * (panel.width + PLOT_GAP);
  panel.title = "updates";
  panel.curves = &updates;
  if (run->updates != NULL)
    panel_draw (cr, &panel);
  panel.x -= panel.width + PLOT_GAP;
  if (run->stages->len > 0)
    plot_stages (cr, run, &panel);
}

/* Everything below the frames; with no @cr only its height. */
static gdouble
plot_run (cairo_t *cr, const PlotRun *run, const gchar *path, gdouble y)
{
  if (cr != NULL) {
    plot_words (cr, run, path, &y);
  } else {
    g_autoptr (PlotSurface) nothing =
        cairo_recording_surface_create (CAIRO_CONTENT_COLOR, NULL);
    g_autoptr (PlotPaper) unseen = cairo_create (nothing);

    plot_words (unseen, run, path, &y);
  }
  y += PLOT_GAP;
  if (run->mean_loss != NULL) {
    if (cr != NULL)
      plot_loss (cr, run, y);
    y += PLOT_LOSS + PLOT_GAP;
  }
  for (guint i = 0; i < run->measures->len; i++) {
    if (plot_measure_is_drawn (run, i))
      continue;
    if (cr != NULL)
      plot_measures (cr, run, i, y);
    y += PLOT_MEASURE + PLOT_GAP;
  }
  if (run->lines != NULL) {
    if (cr != NULL)
      plot_machine (cr, run, y);
    y += PLOT_SMALL + PLOT_GAP;
  }
  return y;
}

/* -- files -- */

static gboolean
plot_check (cairo_status_t status, const gchar *out, GError **error)
{
  gint code = errno;

  if (status == CAIRO_STATUS_SUCCESS)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot write it: %s", out,
      status == CAIRO_STATUS_WRITE_ERROR && code != 0 ? g_strerror (code) :
      cairo_status_to_string (status));
  return FALSE;
}

static gboolean
plot_paint (PlotSurface *surface, const PlotRun *run, gchar **frames,
    const gchar *path, GError **error)
{
  g_autoptr (PlotPaper) cr = cairo_create (surface);
  gdouble height;

  cairo_set_source_rgb (cr, 1, 1, 1);
  cairo_paint (cr);
  if (!plot_frames (cr, frames, g_strv_length (frames), &height, error))
    return FALSE;
  plot_run (cr, run, path, height);
  return TRUE;
}

static gboolean
plot_draw (const PlotRun *run, gchar **frames, const gchar *path,
    const gchar *out, GError **error)
{
  g_autoptr (PlotSurface) surface = NULL;
  gboolean svg = g_str_has_suffix (out, ".svg");
  gdouble height;

  if (!plot_frames (NULL, frames, g_strv_length (frames), &height, error))
    return FALSE;
  height = ceil (plot_run (NULL, run, path, height));
  surface = svg ? cairo_svg_surface_create (out, PLOT_WIDTH, height) :
      cairo_image_surface_create (CAIRO_FORMAT_RGB24, PLOT_WIDTH, height);
  if (!plot_check (cairo_surface_status (surface), out, error)
      || !plot_paint (surface, run, frames, path, error))
    return FALSE;
  if (!svg)
    return plot_check (cairo_surface_write_to_png (surface, out), out, error);
  cairo_surface_finish (surface);
  return plot_check (cairo_surface_status (surface), out, error);
}

gboolean
cli_plot (gint argc, gchar **argv, GError **error)
{
  g_autofree gchar *out = NULL;
  g_auto (GStrv) frames = NULL;
  const GOptionEntry entries[] = {
    {"frame", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &frames,
        "a picture to put above, may be given again", "FILE.png"},
    {"out", 'o', 0, G_OPTION_ARG_FILENAME, &out,
        "instead of plot.png", "FILE.png|FILE.svg"},
    {NULL}
  };
  g_auto (PlotRun) run = { NULL };
  gchar *none[] = { NULL };

  if (!cli_parse (argc, &argv, entries, "FILE", "Draws what a file of "
          "statistics tells (stats-location= of the element), or lines of\n"
          "a frame, a tab and a loss: whether it learns, and how fast it is.",
          1, error))
    return FALSE;
  if (out == NULL)
    out = g_strdup ("plot.png");
  if (!g_str_has_suffix (out, ".png") && !g_str_has_suffix (out, ".svg")) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "--out: found \"%s\", expected a name that ends in .png or .svg", out);
    return FALSE;
  }
  return plot_run_load (&run, argv[1], error)
      && plot_draw (&run, frames != NULL ? frames : none, argv[1], out, error);
}
