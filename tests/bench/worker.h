/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A benchmark program reads commands on stdin, one a line, and answers each
 * with one line: "ok ..." or "error ...". So several can live side by side
 * and take turns. */

/* Words of the line, the command first; returns the answer's rest. */
typedef gchar *(*WorkerFunc) (gchar **words, guint n_words, GError **error);

int worker_main (WorkerFunc func);
gdouble worker_seconds (void);
guint worker_count (const gchar *word);

G_END_DECLS
