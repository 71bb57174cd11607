/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/plan-cache.h"

#include <string.h>

/* A file is the checksum of all that follows the first line, the key in a
 * line, and the plan. */

gchar *
pt_plan_cache_folder (gsize version, const gchar *gpu)
{
  g_autofree gchar *name = g_strdup_printf ("cudnn-%" G_GSIZE_FORMAT "-%s",
      version, gpu);

  g_strcanon (name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "-.", '-');
  return g_build_filename (g_get_user_cache_dir (), "partimefilter", name,
      NULL);
}

static gchar *
plan_cache_path (const gchar *folder, const gchar *key)
{
  g_autofree gchar *sum = g_compute_checksum_for_string (G_CHECKSUM_SHA256,
      key, -1);

  return g_strdup_printf ("%s/%.32s.plan", folder, sum);
}

/* The rest of @text behind its first line if that is @line, else NULL. */
static const gchar *
plan_cache_skip (const gchar *text, const gchar *line)
{
  gsize n = strlen (line);

  return strncmp (text, line, n) == 0 && text[n] == '\n' ? text + n + 1 : NULL;
}

gchar *
pt_plan_cache_load (const gchar *folder, const gchar *key)
{
  g_autofree gchar *path = plan_cache_path (folder, key);
  g_autofree gchar *text = NULL;
  g_autofree gchar *sum = NULL;
  const gchar *rest;

  if (!g_file_get_contents (path, &text, NULL, NULL) ||
      (rest = strchr (text, '\n')) == NULL)
    return NULL;
  sum = g_compute_checksum_for_string (G_CHECKSUM_SHA256, rest + 1, -1);
  rest = plan_cache_skip (text, sum);
  if (rest != NULL)
    rest = plan_cache_skip (rest, key);
  return g_strdup (rest);
}

void
pt_plan_cache_store (const gchar *folder, const gchar *key, const gchar *plan)
{
  g_autofree gchar *path = plan_cache_path (folder, key);
  g_autofree gchar *rest = g_strconcat (key, "\n", plan, NULL);
  g_autofree gchar *sum = g_compute_checksum_for_string (G_CHECKSUM_SHA256,
      rest, -1);
  g_autofree gchar *text = g_strconcat (sum, "\n", rest, NULL);

  if (g_mkdir_with_parents (folder, 0700) == 0)
    g_file_set_contents (path, text, -1, NULL);
}
