/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/balance.h"

/* The contiguous cut of @n_layers into @n_stages parts, none empty, whose
 * slowest part is fastest. Exact, by dynamic programming over (stages used,
 * layers used); among equals the first stages are the shorter ones. Writes
 * @sizes, @n_stages of them, and returns the time of the slowest part. */
gdouble
pt_balance_cut (guint n_layers, guint n_stages, PtCostFunc cost,
    gpointer data, guint *sizes)
{
  guint width = n_layers + 1;
  g_autofree gdouble *best = g_new (gdouble, (n_stages + 1) * width);
  g_autofree guint *from = g_new0 (guint, (n_stages + 1) * width);

  g_return_val_if_fail (n_stages >= 1 && n_stages <= n_layers, G_MAXDOUBLE);
  for (guint i = 0; i < (n_stages + 1) * width; i++)
    best[i] = G_MAXDOUBLE;
  best[0] = 0;
  for (guint s = 1; s <= n_stages; s++) {
    for (guint end = s; end + (n_stages - s) <= n_layers; end++) {
      for (guint start = s - 1; start < end; start++) {
        gdouble before = best[(s - 1) * width + start], time;

        if (before >= best[s * width + end])
          continue;
        time = MAX (before, cost (data, s - 1, start, end - start));
        if (time < best[s * width + end]) {
          best[s * width + end] = time;
          from[s * width + end] = start;
        }
      }
    }
  }
  for (guint s = n_stages, end = n_layers; s > 0; s--) {
    guint start = from[s * width + end];

    sizes[s - 1] = end - start;
    end = start;
  }
  return best[n_stages * width + n_layers];
}

static gboolean
balance_parse_size (const gchar *word, gint64 *size)
{
  g_autofree gchar *text = g_strstrip (g_strdup (word));

  return g_ascii_string_to_signed (text, 10, -1, G_MAXINT, size, NULL)
      && *size != 0;
}

static gboolean
balance_check_sum (GArray *sizes, gint rest, gint64 sum, guint n_layers,
    const gchar *text, const gchar *where, GError **error)
{
  if (rest >= 0 && sum < n_layers) {
    g_array_index (sizes, guint, rest) = n_layers - sum;
    return TRUE;
  }
  if (rest < 0 && sum == n_layers)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "%s: the cut '%s' gives %" G_GINT64_FORMAT " layers%s, expected %s%u, "
      "the number of layers", where, text, sum,
      rest >= 0 ? " besides the rest" : "", rest >= 0 ? "fewer than " : "",
      n_layers);
  return FALSE;
}

/* Reads a cut such as "4,6,-1": layers of each stage, -1 for the rest, at most
 * once. Fills @sizes with guint. */
gboolean
pt_balance_parse (const gchar *text, guint n_layers, const gchar *where,
    GArray *sizes, GError **error)
{
  g_auto (GStrv) words = g_strsplit (text, ",", -1);
  gint rest = -1;
  gint64 sum = 0;

  for (guint i = 0; words[i] != NULL; i++) {
    gint64 size;
    guint value = 0;

    if (!balance_parse_size (words[i], &size) || (size < 0 && rest >= 0)) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
          "%s: found '%s' in the cut '%s', expected layers per stage such as "
          "4,6,-1, each at least 1, with -1 for the rest at most once",
          where, words[i], text);
      return FALSE;
    }
    if (size < 0) {
      rest = i;
    } else {
      value = size;
      sum += size;
    }
    g_array_append_val (sizes, value);
  }
  return balance_check_sum (sizes, rest, sum, n_layers, text, where, error);
}
