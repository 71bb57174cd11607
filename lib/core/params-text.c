/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/params.h"

#include <string.h>

/* Longer texts are cut in messages. */
#define PARAMS_MAX_QUOTE 80

/* Texts of users: what they might have meant, how they are shown, and options
 * on one line. */

/* Levenshtein's distance, with "-" and "_" and upper and lower case taken as
 * the same; capped at words of 31 characters. */
static guint
params_distance (const gchar *a, const gchar *b)
{
  guint row[33];
  const gsize n = strlen (a), m = strlen (b);

  if (n > 31 || m > 31)
    return G_MAXUINT;
  for (gsize j = 0; j <= m; j++)
    row[j] = j;
  for (gsize i = 1; i <= n; i++) {
    guint corner = row[0];

    row[0] = i;
    for (gsize j = 1; j <= m; j++) {
      const gchar p = a[i - 1] == '_' ? '-' : g_ascii_tolower (a[i - 1]);
      const gchar q = b[j - 1] == '_' ? '-' : g_ascii_tolower (b[j - 1]);
      const guint change = corner + (p != q);

      corner = row[j];
      row[j] = MIN (change, MIN (row[j], row[j - 1]) + 1);
    }
  }
  return row[m];
}

/* "a, b, c", and which of them was probably meant by @found. */
gchar *
pt_params_hint (const gchar *found, const gchar *const *words)
{
  g_autofree gchar *all = g_strjoinv (", ", (gchar **) words);
  const gchar *best = NULL;
  guint least = MIN (2, strlen (found) / 2) + 1;

  for (guint i = 0; words[i] != NULL; i++) {
    const guint distance = params_distance (found, words[i]);

    if (distance < least) {
      least = distance;
      best = words[i];
    }
  }
  if (words[0] == NULL)
    return g_strdup ("nothing");
  if (best == NULL)
    return g_strdup_printf ("one of %s", all);
  return g_strdup_printf ("one of %s; did you mean %s?", all, best);
}

/* A printable, bounded copy of what the user wrote. */
gchar *
pt_params_quote (const gchar *value)
{
  g_autofree gchar *valid = g_utf8_make_valid (value, -1);
  g_autofree gchar *flat = NULL;
  gchar beyond_ascii[129] = { 0 };

  for (guint i = 0; i < 128; i++)
    beyond_ascii[i] = (gchar) (128 + i);
  flat = g_strescape (valid, beyond_ascii);
  if (g_utf8_strlen (flat, -1) > PARAMS_MAX_QUOTE) {
    g_autofree gchar *head = g_utf8_substring (flat, 0, PARAMS_MAX_QUOTE);
    return g_strdup_printf ("\"%s...\"", head);
  }
  return g_strdup_printf ("\"%s\"", flat);
}

static gboolean
params_parse_word (const PtParam *table, gpointer options, gchar *word,
    GPtrArray *given, const gchar *where, GError **error)
{
  gchar *equals = strchr (word, '=');
  g_autofree gchar *quoted = pt_params_quote (word);

  if (equals == NULL || equals == word) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "%s: found %s, expected key=value", where, quoted);
    return FALSE;
  }
  *equals = '\0';
  for (guint i = 0; i < given->len; i++) {
    if (strcmp (given->pdata[i], word) == 0) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
          "%s: found key %s twice, expected it once", where, word);
      return FALSE;
    }
  }
  g_ptr_array_add (given, word);
  return pt_params_set (table, options, word, equals + 1, where, error);
}

gboolean
pt_params_parse_words (const PtParam *table, gpointer options,
    const gchar *rest, const gchar *where, GError **error)
{
  g_auto (GStrv) words = g_strsplit_set (rest, " \t\r\n", -1);
  g_autoptr (GPtrArray) given = g_ptr_array_new ();

  for (guint i = 0; words[i] != NULL; i++)
    if (*words[i] != '\0' &&
        !params_parse_word (table, options, words[i], given, where, error))
      return FALSE;
  g_ptr_array_add (given, NULL);
  return pt_params_check (table, (const gchar * const *) given->pdata, where,
      error);
}
