/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/file-replace.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

static gboolean
file_fail (GError **error, const gchar *path, const gchar *what, gint number)
{
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot write: %s: %s",
      path, what, g_strerror (number));
  return FALSE;
}

static gboolean
file_write (gint fd, const PtFilePart *part, const gchar *path, GError **error)
{
  const guint8 *data = part->data;
  gsize left = part->size;

  while (left > 0) {
    const gssize n = write (fd, data, MIN (left, 1 << 30));

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return file_fail (error, path, "writing it aside", n < 0 ? errno : EIO);
    data += n;
    left -= n;
  }
  return TRUE;
}

/* Takes @fd. */
static gboolean
file_fill (gint fd, const PtFilePart *parts, guint n_parts, const gchar *path,
    GError **error)
{
  gboolean done = TRUE;

  for (guint i = 0; i < n_parts && done; i++)
    done = file_write (fd, &parts[i], path, error);
  if (done && fsync (fd) != 0)
    done = file_fail (error, path, "syncing it", errno);
  if (close (fd) != 0 && done)
    done = file_fail (error, path, "closing it", errno);
  return done;
}

/* The rename itself is on the disk only when the folder is. Some file systems
 * cannot sync a folder and say EINVAL. */
static gboolean
file_sync_folder (const gchar *folder, const gchar *path, GError **error)
{
  const gint fd = g_open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  gboolean done = TRUE;

  if (fd < 0)
    return file_fail (error, path, "opening its folder", errno);
  if (fsync (fd) != 0 && errno != EINVAL)
    done = file_fail (error, path, "syncing its folder", errno);
  close (fd);
  return done;
}

gboolean
pt_file_replace (const gchar *path, const PtFilePart *parts, guint n_parts,
    PtFileReadyFunc ready, gpointer data, GError **error)
{
  g_autofree gchar *folder = g_path_get_dirname (path);
  g_autofree gchar *base = g_path_get_basename (path);
  g_autofree gchar *aside = g_strdup_printf ("%s/.%s.XXXXXX", folder, base);
  const gint fd = g_mkstemp_full (aside, O_WRONLY | O_CLOEXEC, 0666);

  if (fd < 0)
    return file_fail (error, path, "creating a file beside it", errno);
  if (!file_fill (fd, parts, n_parts, path, error)) {
    g_unlink (aside);
    return FALSE;
  }
  if (ready != NULL)
    ready (path, data);
  if (g_rename (aside, path) != 0) {
    const gint number = errno;

    g_unlink (aside);
    return file_fail (error, path, "renaming what was written", number);
  }
  return file_sync_folder (folder, path, error);
}
