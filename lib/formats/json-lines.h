/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/error.h"

G_BEGIN_DECLS

/* A table out of a file of JSON objects, one in each line: numbers (and
 * booleans, as 0 and 1) are columns, called by their path, such as
 * "stages.0.forward-ms"; of a text the last one is kept. */
typedef struct
{
  guint n_rows;
  GHashTable *columns;          /* name -> GArray of gdouble, NaN: not there */
  GHashTable *texts;            /* name -> gchar * */
} PtJsonLines;

/* Every object must have the number @key, which grows from line to line; where
 * it does not, another run has begun, whose forerunner may have left part of a
 * line. So may the last. PT_ERROR_FILE names the line. */
PtJsonLines *pt_json_lines_load (const gchar *path, const gchar *key,
    GError **error);
void pt_json_lines_free (PtJsonLines *self);
/* n_rows numbers, or NULL if no line has that one. */
const gdouble *pt_json_lines_get (PtJsonLines *self, const gchar *name);
const gchar *pt_json_lines_get_text (PtJsonLines *self, const gchar *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtJsonLines, pt_json_lines_free)

G_END_DECLS
