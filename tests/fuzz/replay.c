/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"

/* In place of libFuzzer: each file of a folder once, as TAP. Whoever comes to
 * the end has not crashed. */

/* for targets with a mutator of their own */
gsize
LLVMFuzzerMutate (guint8 *data, gsize size, gsize max)
{
  return size;
}

static gboolean
replay_file (const gchar *path, guint number)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *name = g_path_get_basename (path);
  g_autofree gchar *data = NULL;
  g_autofree guint8 *exact = NULL;
  gsize size;

  if (!g_file_get_contents (path, &data, &size, &error)) {
    g_print ("not ok %u - %s\n", number, error->message);
    return FALSE;
  }
  /* of just this size, so that a sanitizer sees what is read behind it */
  exact = g_memdup2 (data, size);
  LLVMFuzzerTestOneInput (exact, size);
  g_print ("ok %u - %s\n", number, name);
  return TRUE;
}

gint
main (gint argc, gchar **argv)
{
  GDir *dir = argc == 2 ? g_dir_open (argv[1], 0, NULL) : NULL;
  gboolean fine = TRUE;
  const gchar *name;
  guint n = 0;

  if (dir == NULL)
    g_error ("usage: %s FOLDER", argv[0]);
  LLVMFuzzerInitialize (&argc, &argv);
  while ((name = g_dir_read_name (dir)) != NULL) {
    g_autofree gchar *path = g_build_filename (argv[1], name, NULL);

    fine = replay_file (path, ++n) && fine;
  }
  g_dir_close (dir);
  g_print ("1..%u\n", n);
  return !fine;
}
