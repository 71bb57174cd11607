/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/error.h"

G_BEGIN_DECLS

/* Declarative options: a table of keys, each with its place in a struct, its
 * type, range, default and help. Parsing, range checks, error texts and the
 * help output all come from the table. */

typedef enum
{
  PT_PARAM_INT,                 /* gint */
  PT_PARAM_UINT64,              /* guint64 */
  PT_PARAM_DOUBLE,              /* gdouble */
  PT_PARAM_BOOL,                /* gboolean: true false yes no 1 0 */
  PT_PARAM_ENUM,                /* gint: index into words */
  PT_PARAM_STRING,              /* gchar *, owned by the struct */
  PT_PARAM_INT_PAIR,            /* gint[2]: "3" or "3;5", height then width */
  PT_PARAM_INT_SIDES,           /* gint[4]: "3", "3;5", or
                                 * "top;left;bottom;right" */
  PT_PARAM_DOUBLE_PAIR,         /* gdouble[2]: "0.9;0.999", or "0.9,0.999" */
  PT_PARAM_DOUBLE_LIST,         /* PtDoubleList: "1;2;0.5", any number; "" */
} PtParamType;

/* Owned by the struct. */
typedef struct
{
  gdouble *values;              /* NULL if there are none */
  guint n;
} PtDoubleList;

typedef struct
{
  const gchar *key;
  PtParamType type;
  gsize offset;                 /* into the struct, G_STRUCT_OFFSET */
  const gchar *value;           /* the default as text; NULL: required */
  gdouble min, max;             /* numbers only; both 0: any finite number */
  const gchar *const *words;    /* enums, and texts that must be one of them;
                                 * NULL-terminated */
  const gchar *help;            /* one phrase, with the unit */
} PtParam;

/* Tables end with a row whose key is NULL. "where" names the place in every
 * message, such as "net.cfg: group [conv1]". */
void pt_params_init (const PtParam *table, gpointer options);
gboolean pt_params_set (const PtParam *table, gpointer options,
    const gchar *key, const gchar *value, const gchar *where, GError **error);
gboolean pt_params_check (const PtParam *table, const gchar *const *given,
    const gchar *where, GError **error);
gchar *pt_params_get (const PtParam *table, gconstpointer options,
    const gchar *key);
gboolean pt_params_is_default (const PtParam *table, gconstpointer options,
    const gchar *key);
gpointer pt_params_copy (const PtParam *table, gconstpointer options,
    gsize size);
void pt_params_clear (const PtParam *table, gpointer options);
const PtParam *pt_params_find (const PtParam *table, const gchar *key);
void pt_params_describe (const PtParam *table, GString *text);

/* Reads "name key=value key=value": the rest after the name goes into
 * options, which must have been initialised. */
gboolean pt_params_parse_words (const PtParam *table, gpointer options,
    const gchar *rest, const gchar *where, GError **error);

/* For messages: "one of a, b; did you mean a?", and the user's text, quoted,
 * escaped and cut. Both are the caller's to free. */
gchar *pt_params_hint (const gchar *found, const gchar *const *words);
gchar *pt_params_quote (const gchar *value);

G_END_DECLS
