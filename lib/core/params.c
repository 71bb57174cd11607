/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/params.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static inline gpointer
params_place (const PtParam *param, gconstpointer options)
{
  return (guint8 *) options + param->offset;
}

/* Finds the row of @key; %NULL if there is none. */
const PtParam *
pt_params_find (const PtParam *table, const gchar *key)
{
  for (; table != NULL && table->key != NULL; table++)
    if (strcmp (table->key, key) == 0)
      return table;
  return NULL;
}

/* What the struct owns of a key, and not just holds. */
static void
params_clear_place (const PtParam *param, gpointer place)
{
  if (param->type == PT_PARAM_STRING)
    g_clear_pointer ((gchar **) place, g_free);
  if (param->type == PT_PARAM_DOUBLE_LIST) {
    g_free (((PtDoubleList *) place)->values);
    *(PtDoubleList *) place = (PtDoubleList) { NULL, 0 };
  }
}

static gboolean
params_is_bounded (const PtParam *param)
{
  return param->min != 0 || param->max != 0;
}

static gboolean
params_in_range (const PtParam *param, gdouble number)
{
  return !params_is_bounded (param) ||
      (number >= param->min && number <= param->max);
}

/* " from 1 to 8", " of at least 1" or nothing. */
static gchar *
params_print_range (const PtParam *param)
{
  gchar low[G_ASCII_DTOSTR_BUF_SIZE], high[G_ASCII_DTOSTR_BUF_SIZE];
  const gdouble endless = param->type == PT_PARAM_DOUBLE ||
      param->type == PT_PARAM_DOUBLE_PAIR ||
      param->type == PT_PARAM_DOUBLE_LIST ?
      (gdouble) G_MAXFLOAT : (gdouble) G_MAXINT;
  const gboolean has_low = param->min > -endless;
  const gboolean has_high = param->max < endless;

  g_ascii_formatd (low, sizeof low, "%.10g", param->min);
  g_ascii_formatd (high, sizeof high, "%.10g", param->max);
  if (!params_is_bounded (param) || (!has_low && !has_high))
    return g_strdup ("");
  if (!has_high)
    return g_strdup_printf (" of at least %s", low);
  if (!has_low)
    return g_strdup_printf (" of at most %s", high);
  return g_strdup_printf (" from %s to %s", low, high);
}

static gchar *
params_print_expected (const PtParam *param)
{
  g_autofree gchar *range = params_print_range (param);

  switch (param->type) {
    case PT_PARAM_INT:
    case PT_PARAM_UINT64:
      return g_strdup_printf ("a whole number%s", range);
    case PT_PARAM_DOUBLE:
      return g_strdup_printf ("a finite number%s", range);
    case PT_PARAM_BOOL:
      return g_strdup ("true or false");
    case PT_PARAM_ENUM:
      break;
    case PT_PARAM_STRING:
      return g_strdup ("UTF-8 text");
    case PT_PARAM_INT_PAIR:
      return g_strdup_printf ("one or two whole numbers%s (height;width)",
          range);
    case PT_PARAM_INT_SIDES:
      return g_strdup_printf ("one, two or four whole numbers%s (height;width "
          "or top;left;bottom;right)", range);
    case PT_PARAM_DOUBLE_PAIR:
      return g_strdup_printf ("two finite numbers%s, such as 0.9;0.999",
          range);
    case PT_PARAM_DOUBLE_LIST:
      return g_strdup_printf ("finite numbers%s, such as 1;2;0.5", range);
  }
  return NULL;
}

/* The parsers take the whole text or nothing. */

static gboolean
params_read_int (const PtParam *param, const gchar *text, gint *number)
{
  gchar *end;
  gint64 n;

  errno = 0;
  n = g_ascii_strtoll (text, &end, 10);
  if (end == text || *end != '\0' || errno != 0 || n < G_MININT ||
      n > G_MAXINT || !params_in_range (param, n))
    return FALSE;
  *number = n;
  return TRUE;
}

static gboolean
params_read_uint64 (const PtParam *param, const gchar *text, guint64 *number)
{
  gchar *end;
  guint64 n;

  errno = 0;
  n = g_ascii_strtoull (text, &end, 10);
  /* strtoull() takes "-1" for 2^64 - 1 */
  if (end == text || *end != '\0' || errno != 0 || strchr (text, '-') != NULL
      || !params_in_range (param, n))
    return FALSE;
  *number = n;
  return TRUE;
}

static gboolean
params_read_double (const PtParam *param, const gchar *text, gdouble *number)
{
  gchar *end;
  gdouble x;

  x = g_ascii_strtod (text, &end);
  if (end == text || *end != '\0' || !isfinite (x) ||
      !params_in_range (param, x))
    return FALSE;
  *number = x;
  return TRUE;
}

static gboolean
params_read_bool (const gchar *text, gboolean *value)
{
  static const gchar *const yes[] = { "true", "yes", "1", NULL };
  static const gchar *const no[] = { "false", "no", "0", NULL };

  if (!g_strv_contains (yes, text) && !g_strv_contains (no, text))
    return FALSE;
  *value = g_strv_contains (yes, text);
  return TRUE;
}

static gboolean
params_read_word (const PtParam *param, const gchar *text, gint *index)
{
  for (gint i = 0; param->words[i] != NULL; i++) {
    if (strcmp (param->words[i], text) == 0) {
      *index = i;
      return TRUE;
    }
  }
  return FALSE;
}

/* Numbers between ";" or ","; a separator at the end is allowed, as in any
 * list of a key file. One number stands for both. */
static gboolean
params_read_pair (const PtParam *param, const gchar *text, gpointer pair)
{
  g_auto (GStrv) parts = g_strsplit_set (text, ";,", 4);
  guint n = g_strv_length (parts);
  gint ints[2];
  gdouble doubles[2];

  if (n > 1 && *g_strstrip (parts[n - 1]) == '\0')
    n--;
  if (n < 1 || n > 2 || (n == 1 && param->type == PT_PARAM_DOUBLE_PAIR))
    return FALSE;
  for (guint i = 0; i < 2; i++) {
    const gchar *part = g_strstrip (parts[MIN (i, n - 1)]);

    if (param->type == PT_PARAM_INT_PAIR ?
        !params_read_int (param, part, &ints[i]) :
        !params_read_double (param, part, &doubles[i]))
      return FALSE;
  }
  if (param->type == PT_PARAM_INT_PAIR)
    memcpy (pair, ints, sizeof ints);
  else
    memcpy (pair, doubles, sizeof doubles);
  return TRUE;
}

/* One number for all sides, two for those of an axis each, or one for each. */
static gboolean
params_read_sides (const PtParam *param, const gchar *text, gint *sides)
{
  g_auto (GStrv) parts = g_strsplit_set (text, ";,", 6);
  guint n = g_strv_length (parts);
  gint ints[4];

  if (n > 1 && *g_strstrip (parts[n - 1]) == '\0')
    n--;
  if (n != 1 && n != 2 && n != 4)
    return FALSE;
  for (guint i = 0; i < 4; i++)
    if (!params_read_int (param, g_strstrip (parts[i % n]), &ints[i]))
      return FALSE;
  memcpy (sides, ints, sizeof ints);
  return TRUE;
}

/* As a pair, but as many as there are; nothing is a list of none. */
static gboolean
params_read_list (const PtParam *param, const gchar *text, PtDoubleList *list)
{
  g_auto (GStrv) parts = g_strsplit_set (text, ";,", -1);
  guint n = g_strv_length (parts);
  g_autofree gdouble *values = g_new0 (gdouble, n);

  if (n > 0 && *g_strstrip (parts[n - 1]) == '\0' && --n == 0)
    return FALSE;
  for (guint i = 0; i < n; i++)
    if (!params_read_double (param, g_strstrip (parts[i]), &values[i]))
      return FALSE;
  params_clear_place (param, list);
  if (n > 0)
    *list = (PtDoubleList) { g_steal_pointer (&values), n };
  return TRUE;
}

/* A text with words is one of them, or its own default. */
static gboolean
params_accepts_text (const PtParam *param, const gchar *text)
{
  if (param->words != NULL)
    return g_strv_contains (param->words, text) ||
        g_strcmp0 (text, param->value) == 0;
  return g_utf8_validate (text, -1, NULL);
}

static gboolean
params_read (const PtParam *param, const gchar *text, gpointer place)
{
  switch (param->type) {
    case PT_PARAM_INT:
      return params_read_int (param, text, place);
    case PT_PARAM_UINT64:
      return params_read_uint64 (param, text, place);
    case PT_PARAM_DOUBLE:
      return params_read_double (param, text, place);
    case PT_PARAM_BOOL:
      return params_read_bool (text, place);
    case PT_PARAM_ENUM:
      return params_read_word (param, text, place);
    case PT_PARAM_STRING:
      if (!params_accepts_text (param, text))
        return FALSE;
      g_free (*(gchar **) place);
      *(gchar **) place = g_strdup (text);
      return TRUE;
    case PT_PARAM_INT_PAIR:
    case PT_PARAM_DOUBLE_PAIR:
      return params_read_pair (param, text, place);
    case PT_PARAM_INT_SIDES:
      return params_read_sides (param, text, place);
    case PT_PARAM_DOUBLE_LIST:
      return params_read_list (param, text, place);
  }
  return FALSE;
}

static gboolean
params_refuse_key (const PtParam *table, const gchar *key, const gchar *where,
    GError **error)
{
  g_autoptr (GPtrArray) words = g_ptr_array_new ();
  g_autofree gchar *quoted = pt_params_quote (key);
  g_autofree gchar *hint = NULL;

  for (; table != NULL && table->key != NULL; table++)
    g_ptr_array_add (words, (gpointer) table->key);
  g_ptr_array_add (words, NULL);
  hint = pt_params_hint (key, (const gchar * const *) words->pdata);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "%s: found unknown key %s, expected %s", where, quoted, hint);
  return FALSE;
}

/* Fills @options with the defaults. What was there is not freed. */
void
pt_params_init (const PtParam *table, gpointer options)
{
  for (; table != NULL && table->key != NULL; table++) {
    if (table->type == PT_PARAM_STRING)
      *(gchar **) params_place (table, options) = NULL;
    if (table->type == PT_PARAM_DOUBLE_LIST)
      *(PtDoubleList *) params_place (table, options) =
          (PtDoubleList) { NULL, 0 };
    if (table->value != NULL &&
        !params_read (table, table->value, params_place (table, options)))
      g_critical ("default %s of key %s does not fit its own table",
          table->value, table->key);
  }
}

/* Sets one key from text. On failure nothing has changed. */
gboolean
pt_params_set (const PtParam *table, gpointer options, const gchar *key,
    const gchar *value, const gchar *where, GError **error)
{
  const PtParam *param = pt_params_find (table, key);
  g_autofree gchar *text = NULL;
  g_autofree gchar *quoted = NULL;
  g_autofree gchar *expected = NULL;

  if (param == NULL)
    return params_refuse_key (table, key, where, error);
  text = g_strstrip (g_strdup (value));
  if (params_read (param, text, params_place (param, options)))
    return TRUE;
  quoted = pt_params_quote (value);
  expected = param->words != NULL ?
      pt_params_hint (text, param->words) : params_print_expected (param);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "%s: key %s: found %s, expected %s", where, key, quoted, expected);
  return FALSE;
}

/* Whether every key of @given is known and every required one is there. */
gboolean
pt_params_check (const PtParam *table, const gchar *const *given,
    const gchar *where, GError **error)
{
  for (guint i = 0; given[i] != NULL; i++)
    if (pt_params_find (table, given[i]) == NULL)
      return params_refuse_key (table, given[i], where, error);
  for (; table != NULL && table->key != NULL; table++) {
    if (table->value == NULL && !g_strv_contains (given, table->key)) {
      g_autofree gchar *expected = table->words != NULL ?
          pt_params_hint ("", table->words) : params_print_expected (table);

      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
          "%s: key %s is missing, expected %s (%s)", where, table->key,
          expected, table->help ? table->help : "required");
      return FALSE;
    }
  }
  return TRUE;
}

/* The shortest text that reads back as the same number. */
static gchar *
params_print_double (gdouble x)
{
  gchar text[G_ASCII_DTOSTR_BUF_SIZE];

  for (guint digits = 6; digits <= 17; digits++) {
    gchar format[8];

    g_snprintf (format, sizeof format, "%%.%ug", digits);
    g_ascii_formatd (text, sizeof text, format, x);
    if (g_ascii_strtod (text, NULL) == x)
      break;
  }
  return g_strdup (text);
}

static gchar *
params_print_list (const PtDoubleList *list)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < list->n; i++) {
    g_autofree gchar *number = params_print_double (list->values[i]);

    g_string_append_printf (text, i ? ";%s" : "%s", number);
  }
  return g_string_free (text, FALSE);
}

/* The last two only where they differ from the first. */
static gchar *
params_print_sides (const gint *sides)
{
  if (sides[0] == sides[2] && sides[1] == sides[3])
    return g_strdup_printf ("%d;%d", sides[0], sides[1]);
  return g_strdup_printf ("%d;%d;%d;%d", sides[0], sides[1], sides[2],
      sides[3]);
}

/* The value of @key as text that pt_params_set() reads; %NULL if there is no
 * such key. */
gchar *
pt_params_get (const PtParam *table, gconstpointer options, const gchar *key)
{
  const PtParam *param = pt_params_find (table, key);
  gconstpointer place;

  if (param == NULL)
    return NULL;
  place = params_place (param, options);
  switch (param->type) {
    case PT_PARAM_INT:
      return g_strdup_printf ("%d", *(const gint *) place);
    case PT_PARAM_UINT64:
      return g_strdup_printf ("%" G_GUINT64_FORMAT, *(const guint64 *) place);
    case PT_PARAM_DOUBLE:
      return params_print_double (*(const gdouble *) place);
    case PT_PARAM_BOOL:
      return g_strdup (*(const gboolean *) place ? "true" : "false");
    case PT_PARAM_ENUM:
      return g_strdup (param->words[*(const gint *) place]);
    case PT_PARAM_STRING:
      return g_strdup (*(gchar *const *) place);
    case PT_PARAM_INT_PAIR:
      return g_strdup_printf ("%d;%d", ((const gint *) place)[0],
          ((const gint *) place)[1]);
    case PT_PARAM_INT_SIDES:
      return params_print_sides (place);
    case PT_PARAM_DOUBLE_PAIR:{
      g_autofree gchar *a = params_print_double (((const gdouble *) place)[0]);
      g_autofree gchar *b = params_print_double (((const gdouble *) place)[1]);

      return g_strdup_printf ("%s;%s", a, b);
    }
    case PT_PARAM_DOUBLE_LIST:
      return params_print_list (place);
  }
  return NULL;
}

/* Whether @key has its default; not if it is required. */
gboolean
pt_params_is_default (const PtParam *table, gconstpointer options,
    const gchar *key)
{
  const PtParam *param = pt_params_find (table, key);
  g_autofree gchar *value = pt_params_get (table, options, key);
  g_autofree gchar *usual = NULL;
  PtParam alone[2] = { {NULL}, {NULL} };
  gdouble place[2] = { 0, 0 };  /* room for any type */

  G_STATIC_ASSERT (sizeof place >= sizeof (PtDoubleList));
  if (param == NULL || param->value == NULL)
    return FALSE;
  alone[0] = *param;
  alone[0].offset = 0;
  pt_params_init (alone, place);
  usual = pt_params_get (alone, place, key);
  pt_params_clear (alone, place);
  return g_strcmp0 (value, usual) == 0;
}

/* A copy of a struct of @size bytes that owns its strings and lists. */
gpointer
pt_params_copy (const PtParam *table, gconstpointer options, gsize size)
{
  gpointer copy = g_memdup2 (options, size);

  for (; table != NULL && table->key != NULL; table++) {
    if (table->type == PT_PARAM_STRING) {
      gchar **place = params_place (table, copy);

      *place = g_strdup (*place);
    }
    if (table->type == PT_PARAM_DOUBLE_LIST) {
      PtDoubleList *list = params_place (table, copy);

      list->values = g_memdup2 (list->values, list->n * sizeof *list->values);
    }
  }
  return copy;
}

/* Frees the strings and lists in @options, not @options itself. */
void
pt_params_clear (const PtParam *table, gpointer options)
{
  for (; table != NULL && table->key != NULL; table++)
    params_clear_place (table, params_place (table, options));
}

/* Appends one line per key: name, default, what it takes, help. */
void
pt_params_describe (const PtParam *table, GString *text)
{
  for (; table != NULL && table->key != NULL; table++) {
    g_autofree gchar *takes = table->words != NULL ?
        g_strjoinv ("|", (gchar **) table->words) :
        params_print_expected (table);
    g_autofree gchar *value = table->value == NULL ? g_strdup ("required") :
        g_strdup_printf ("default %s", *table->value ? table->value : "none");

    g_string_append_printf (text, "    %-16s %s (%s; %s)\n", table->key,
        table->help ? table->help : "", takes, value);
  }
}
