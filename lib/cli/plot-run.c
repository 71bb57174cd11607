/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/plot-run.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A trend is more than this share of the first value, and more than so many
 * standard deviations of the last third. */
#define TREND_SHARE 0.02
#define TREND_DEVIATIONS 2

static void
plot_measure_free (PlotMeasure *self)
{
  g_free (self->name);
  g_free (self);
}

static void
plot_run_init (PlotRun *self)
{
  *self = (PlotRun) { NULL };
  self->breaks = g_array_new (FALSE, FALSE, sizeof (gdouble));
  self->stages = g_ptr_array_new_with_free_func (g_free);
  self->measures = g_ptr_array_new_with_free_func ((GDestroyNotify)
      plot_measure_free);
}

void
plot_run_clear (PlotRun *self)
{
  g_clear_pointer (&self->lines, pt_json_lines_free);
  g_clear_pointer (&self->at, g_free);
  g_clear_pointer (&self->updates, g_free);
  g_clear_pointer (&self->table_loss, g_free);
  g_clear_pointer (&self->breaks, g_array_unref);
  g_clear_pointer (&self->stages, g_ptr_array_unref);
  g_clear_pointer (&self->measures, g_ptr_array_unref);
}

const PlotMeasure *
plot_run_find (const PlotRun *self, const gchar *name)
{
  for (guint i = 0; i < self->measures->len; i++) {
    const PlotMeasure *measure = g_ptr_array_index (self->measures, i);

    if (g_str_equal (measure->name, name))
      return measure;
  }
  return NULL;
}

/* -- tables of losses -- */

static gboolean
plot_run_refuse (const gchar *path, guint line, const gchar *text,
    GError **error)
{
  g_autofree gchar *start = g_strndup (text, 40);
  g_autofree gchar *shown = g_strescape (start, NULL);

  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s, line %u: found \"%s%s\", "
      "expected JSON objects as stats-location= writes them, or lines of a "
      "frame, a tab and a loss", path, line, shown,
      strlen (text) > 40 ? "..." : "");
  return FALSE;
}

/* Lines of "frame<TAB>loss". */
static gboolean
plot_run_read_table (PlotRun *self, const gchar *path, const gchar *text,
    GError **error)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  guint n = g_strv_length (lines);

  self->at = g_new (gdouble, n + 1);
  self->table_loss = g_new (gdouble, n + 1);
  for (guint i = 0; i < n; i++) {
    gchar *end, *last;
    gdouble x = g_ascii_strtod (lines[i], &end), y;

    if (*lines[i] == '\0')
      continue;
    if (end == lines[i] || *end != '\t')
      return plot_run_refuse (path, i + 1, lines[i], error);
    y = g_ascii_strtod (end + 1, &last);
    if (last == end + 1)
      return plot_run_refuse (path, i + 1, lines[i], error);
    if (!isfinite (x) || !isfinite (y))
      continue;
    self->at[self->n] = x;
    self->table_loss[self->n++] = y;
  }
  self->mean_loss = self->table_loss;
  if (self->n > 0)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE,
      "%s: found no losses, expected lines of a frame, a tab and a loss",
      path);
  return FALSE;
}

/* -- statistics -- */

static void
plot_run_count_on (PlotRun *self)
{
  const gdouble *frame = pt_json_lines_get (self->lines, "frame");
  const gdouble *updates = pt_json_lines_get (self->lines, "updates");
  gdouble before = 0, updates_before = 0;

  self->at = g_new (gdouble, self->n);
  if (updates != NULL)
    self->updates = g_new (gdouble, self->n);
  for (guint i = 0; i < self->n; i++) {
    if (i > 0 && frame[i] < frame[i - 1]) {
      before = self->at[i - 1];
      if (updates != NULL && isfinite (self->updates[i - 1]))
        updates_before = self->updates[i - 1];
      g_array_append_val (self->breaks, before);
    }
    self->at[i] = before + frame[i];
    if (updates != NULL)
      self->updates[i] = updates_before + updates[i];
  }
}

static const gdouble *
plot_run_get (const PlotRun *self, const gchar *format, const gchar *name)
{
  g_autofree gchar *column = g_strdup_printf ("measures.%s.%s", name, format);

  return pt_json_lines_get (self->lines, column);
}

static gint
plot_measure_compare (gconstpointer a, gconstpointer b)
{
  return strcmp ((*(PlotMeasure * const *) a)->name,
      (*(PlotMeasure * const *) b)->name);
}

static void
plot_run_add_measure (PlotRun *self, const gchar *name)
{
  g_autofree gchar *unit = g_strdup_printf ("measures.%s.unit", name);
  const gdouble *better = plot_run_get (self, "higher-is-better", name);
  PlotMeasure *measure = g_new0 (PlotMeasure, 1);

  measure->name = g_strdup (name);
  measure->unit = pt_json_lines_get_text (self->lines, unit);
  if (measure->unit == NULL)
    measure->unit = "";
  measure->higher_is_better = better == NULL || better[self->n - 1] != 0;
  measure->newest = plot_run_get (self, "newest", name);
  measure->recent = plot_run_get (self, "recent", name);
  g_ptr_array_add (self->measures, measure);
}

/* Everything that is measured and has been found at least once. */
static void
plot_run_find_measures (PlotRun *self)
{
  GHashTableIter iter;
  gpointer key;

  g_hash_table_iter_init (&iter, self->lines->columns);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    g_auto (GStrv) path = g_strsplit (key, ".", -1);

    if (g_strv_length (path) == 3 && g_str_equal (path[0], "measures")
        && g_str_equal (path[2], "recent") && !g_str_equal (path[1], "loss"))
      plot_run_add_measure (self, path[1]);
  }
  g_ptr_array_sort (self->measures, plot_measure_compare);
}

/* What a stage needs for a frame, in ms; NULL if there is no such stage. */
static gdouble *
plot_run_sum_stage (PlotRun *self, guint stage)
{
  static const gchar *const parts[] = { "forward-ms", "backward-ms",
    "update-ms" };
  gdouble *sum = NULL;

  for (guint k = 0; k < G_N_ELEMENTS (parts); k++) {
    g_autofree gchar *name = g_strdup_printf ("stages.%u.%s", stage,
        parts[k]);
    const gdouble *part = pt_json_lines_get (self->lines, name);

    if (part == NULL)
      continue;
    if (sum == NULL)
      sum = g_new0 (gdouble, self->n);
    for (guint i = 0; i < self->n; i++)
      sum[i] += isfinite (part[i]) ? part[i] : 0;
  }
  return sum;
}

static gboolean
plot_run_read_lines (PlotRun *self, const gchar *path, GError **error)
{
  gdouble *stage;

  self->lines = pt_json_lines_load (path, "frame", error);
  if (self->lines == NULL)
    return FALSE;
  self->n = self->lines->n_rows;
  plot_run_count_on (self);
  self->loss = plot_run_get (self, "newest", "loss");
  self->mean_loss = plot_run_get (self, "recent", "loss");
  if (self->mean_loss == NULL) {
    self->loss = pt_json_lines_get (self->lines, "loss");
    self->mean_loss = pt_json_lines_get (self->lines, "mean-loss");
  }
  self->fps = pt_json_lines_get (self->lines, "fps");
  plot_run_find_measures (self);
  while ((stage = plot_run_sum_stage (self, self->stages->len)) != NULL)
    g_ptr_array_add (self->stages, stage);
  return TRUE;
}

/* The first bytes of a file, as a text. */
static gboolean
plot_run_peek (const gchar *path, gchar *start, gsize size, GError **error)
{
  FILE *file = fopen (path, "re");
  gsize n = 0;
  gint code = errno;

  if (file != NULL) {
    n = fread (start, 1, size - 1, file);
    code = ferror (file) ? errno : 0;
    fclose (file);
  }
  start[n] = '\0';
  if (file != NULL && code == 0)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: %s", path,
      g_strerror (code));
  return FALSE;
}

/* Reads @path into @self, which the caller clears in any case. */
gboolean
plot_run_load (PlotRun *self, const gchar *path, GError **error)
{
  g_autofree gchar *text = NULL;
  gchar start[128], *first = start;

  plot_run_init (self);
  if (!plot_run_peek (path, start, sizeof start, error))
    return FALSE;
  while (g_ascii_isspace (*first))
    first++;
  if (*first == '{' || *first == '\0')
    return plot_run_read_lines (self, path, error);
  if (!g_ascii_isdigit (*first))
    return plot_run_refuse (path, 1, start, error);
  return g_file_get_contents (path, &text, NULL, error)
      && plot_run_read_table (self, path, text, error);
}

/* -- trends -- */

static gdouble
plot_run_mean (const gdouble *y, guint n, gdouble *deviation)
{
  gdouble sum = 0, squares = 0, mean;
  guint found = 0;

  for (guint i = 0; i < n; i++)
    if (isfinite (y[i])) {
      sum += y[i];
      found++;
    }
  mean = found > 0 ? sum / found : NAN;
  for (guint i = 0; i < n; i++)
    if (isfinite (y[i]))
      squares += (y[i] - mean) * (y[i] - mean);
  *deviation = found > 0 ? sqrt (squares / found) : 0;
  return mean;
}

PlotTrend
plot_run_find_trend (const gdouble *y, guint n)
{
  PlotTrend trend = { NAN, NAN, 0 };
  gdouble deviation, least;
  guint tenth, third;

  while (n > 0 && !isfinite (*y)) {     /* before the first target */
    y++;
    n--;
  }
  if (n == 0)
    return trend;
  tenth = MAX (n / 10, 1);
  third = MAX (n / 3, 1);
  trend.first = plot_run_mean (y, tenth, &deviation);
  trend.last = plot_run_mean (y + n - third, third, &deviation);
  least = MAX (TREND_SHARE * fabs (trend.first), TREND_DEVIATIONS * deviation);
  if (fabs (trend.last - trend.first) > least)
    trend.way = trend.last > trend.first ? 1 : -1;
  return trend;
}
