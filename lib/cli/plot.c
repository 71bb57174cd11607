/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A picture of a run: frames in a row, and how its loss went. */

#include "cli/cli.h"

#include <cairo.h>
#include <math.h>
#include <string.h>

#define PLOT_WIDTH 1200
#define PLOT_CURVE 260
#define PLOT_LEFT 90
#define PLOT_EDGE 30

typedef struct
{
  GArray *x, *y;                /* gdouble: frames and losses */
  gdouble x_max, y_min, y_max;
} PlotCurve;

static void
plot_curve_clear (PlotCurve *self)
{
  g_clear_pointer (&self->x, g_array_unref);
  g_clear_pointer (&self->y, g_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PlotCurve, plot_curve_clear)

typedef cairo_surface_t PlotSurface;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PlotSurface, cairo_surface_destroy)

/* Lines of "frame<TAB>loss". */
static gboolean
plot_read (const gchar *path, PlotCurve *curve, GError **error)
{
  g_autofree gchar *text = NULL;
  g_auto (GStrv) lines = NULL;

  if (!g_file_get_contents (path, &text, NULL, error))
    return FALSE;
  lines = g_strsplit (text, "\n", -1);
  for (gchar **line = lines; *line != NULL; line++) {
    gchar *end;
    gdouble x = g_ascii_strtod (*line, &end), y;

    if (*end != '\t')
      continue;
    y = g_ascii_strtod (end + 1, NULL);
    if (!isfinite (x) || !isfinite (y))
      continue;
    curve->x_max = MAX (curve->x_max, x);
    curve->y_min = curve->x->len > 0 ? MIN (curve->y_min, y) : y;
    curve->y_max = curve->x->len > 0 ? MAX (curve->y_max, y) : y;
    g_array_append_val (curve->x, x);
    g_array_append_val (curve->y, y);
  }
  if (curve->x->len > 0)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE,
      "%s: found no losses, expected lines of a frame, a tab and a loss",
      path);
  return FALSE;
}

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

static void
plot_text (cairo_t *cr, gdouble x, gdouble y, gdouble anchor,
    const gchar *text)
{
  cairo_text_extents_t size;

  cairo_text_extents (cr, text, &size);
  cairo_move_to (cr, x - anchor * size.x_advance, y);
  cairo_show_text (cr, text);
}

static void
plot_axes (cairo_t *cr, const PlotCurve *curve, gdouble top, gdouble bottom)
{
  g_autofree gchar *most = g_strdup_printf ("%.4g", curve->y_max);
  g_autofree gchar *least = g_strdup_printf ("%.4g", curve->y_min);
  g_autofree gchar *frames = g_strdup_printf ("frame %.0f", curve->x_max);

  cairo_set_source_rgb (cr, 0.35, 0.35, 0.35);
  cairo_set_line_width (cr, 1);
  cairo_move_to (cr, PLOT_LEFT, top);
  cairo_line_to (cr, PLOT_LEFT, bottom);
  cairo_line_to (cr, PLOT_WIDTH - PLOT_EDGE, bottom);
  cairo_stroke (cr);
  cairo_set_font_size (cr, 14);
  plot_text (cr, PLOT_LEFT - 6, top + 10, 1, most);
  plot_text (cr, PLOT_LEFT - 6, bottom, 1, least);
  plot_text (cr, PLOT_LEFT, bottom + 18, 0, "0");
  plot_text (cr, PLOT_WIDTH - PLOT_EDGE, bottom + 18, 1, frames);
  plot_text (cr, PLOT_WIDTH - 40, top + 10, 0, "loss");
}

static void
plot_line (cairo_t *cr, const PlotCurve *curve, gdouble top, gdouble bottom)
{
  gdouble width = PLOT_WIDTH - PLOT_LEFT - PLOT_EDGE;
  gdouble range = MAX (curve->y_max - curve->y_min, 1e-12);

  cairo_new_path (cr);          /* text leaves a point behind */
  for (guint i = 0; i < curve->x->len; i++) {
    gdouble x = g_array_index (curve->x, gdouble, i);
    gdouble y = g_array_index (curve->y, gdouble, i);

    cairo_line_to (cr, PLOT_LEFT + width * x / MAX (curve->x_max, 1),
        bottom - (bottom - top) * (y - curve->y_min) / range);
  }
  cairo_set_source_rgb (cr, 0.1, 0.35, 0.75);
  cairo_set_line_width (cr, 2);
  cairo_stroke (cr);
}

static gboolean
plot_draw (const PlotCurve *curve, gchar **frames, const gchar *out,
    GError **error)
{
  g_autoptr (PlotSurface) surface = NULL;
  cairo_status_t status;
  cairo_t *cr;
  gdouble height;
  gboolean drawn;

  if (!plot_frames (NULL, frames, g_strv_length (frames), &height, error))
    return FALSE;
  surface = cairo_image_surface_create (CAIRO_FORMAT_RGB24, PLOT_WIDTH,
      ceil (height) + PLOT_CURVE);
  cr = cairo_create (surface);
  cairo_set_source_rgb (cr, 1, 1, 1);
  cairo_paint (cr);
  drawn = plot_frames (cr, frames, g_strv_length (frames), &height, error);
  if (drawn) {
    plot_axes (cr, curve, height + PLOT_EDGE, height + PLOT_CURVE - 40);
    plot_line (cr, curve, height + PLOT_EDGE, height + PLOT_CURVE - 40);
  }
  cairo_destroy (cr);
  if (!drawn)
    return FALSE;
  status = cairo_surface_write_to_png (surface, out);
  if (status == CAIRO_STATUS_SUCCESS)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: %s", out,
      cairo_status_to_string (status));
  return FALSE;
}

gboolean
cli_plot (gint argc, gchar **argv, GError **error)
{
  g_autofree gchar *out = NULL;
  g_auto (GStrv) frames = NULL;
  const GOptionEntry entries[] = {
    {"frame", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &frames,
        "a picture to put above the curve, may be given again", "FILE.png"},
    {"out", 'o', 0, G_OPTION_ARG_FILENAME, &out,
        "instead of plot.png", "FILE.png"},
    {NULL}
  };
  g_auto (PlotCurve) curve = { NULL };
  gchar *none[] = { NULL };

  if (!cli_parse (argc, &argv, entries, "LOSS.tsv",
          "Draws frames and a loss curve.", 1, error))
    return FALSE;
  curve.x = g_array_new (FALSE, FALSE, sizeof (gdouble));
  curve.y = g_array_new (FALSE, FALSE, sizeof (gdouble));
  return plot_read (argv[1], &curve, error) &&
      plot_draw (&curve, frames ? frames : none, out ? out : "plot.png",
      error);
}
