/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "worker.h"

#include <stdio.h>
#include <string.h>

gdouble
worker_seconds (void)
{
  return g_get_monotonic_time () * 1e-6;
}

guint
worker_count (const gchar *word)
{
  guint64 n = g_ascii_strtoull (word, NULL, 10);

  return CLAMP (n, 1, G_MAXINT);
}

static void
worker_answer (WorkerFunc func, const gchar *line)
{
  g_auto (GStrv) words = g_strsplit_set (line, " ", -1);
  g_autofree gchar *answer = NULL;
  g_autoptr (GError) error = NULL;

  answer = func (words, g_strv_length (words), &error);
  if (answer)
    printf ("ok %s\n", answer);
  else
    printf ("error %s\n", error ? error->message : "unknown command");
  fflush (stdout);
}

int
worker_main (WorkerFunc func)
{
  gchar line[4096];

  while (fgets (line, sizeof line, stdin)) {
    g_strstrip (line);
    if (g_str_equal (line, "quit"))
      break;
    if (line[0])
      worker_answer (func, line);
  }
  return 0;
}
