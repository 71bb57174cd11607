/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "stats-file.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct _GstPartimeStatsFile
{
  gchar *path;
  gint fd;
  gboolean torn;                /* part of a line may be at the end */
};

static gboolean
stats_file_fail (const gchar *path, const gchar *what, gint code,
    GError **error)
{
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code),
      "stats-location=%s: cannot %s it: %s", path, what, g_strerror (code));
  return FALSE;
}

/**
 * gst_partime_stats_file_open:
 * @path: the file; what is in it already stays
 * @error: return location
 *
 * Returns: (transfer full): the file, or %NULL with %G_IO_ERROR if it cannot be
 *   written
 */
GstPartimeStatsFile *
gst_partime_stats_file_open (const gchar *path, GError **error)
{
  g_autoptr (GstPartimeStatsFile) self = g_new0 (GstPartimeStatsFile, 1);
  struct stat about;
  gchar last;

  self->path = g_strdup (path);
  /* not to wait for somebody who reads a pipe */
  self->fd = open (path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK,
      0666);
  if (self->fd < 0) {
    stats_file_fail (path, "open", errno, error);
    return NULL;
  }
  self->torn = fstat (self->fd, &about) == 0 && about.st_size > 0
      && pread (self->fd, &last, 1, about.st_size - 1) == 1 && last != '\n';
  return g_steal_pointer (&self);
}

void
gst_partime_stats_file_close (GstPartimeStatsFile *self)
{
  if (self->fd >= 0)
    close (self->fd);
  g_free (self->path);
  g_free (self);
}

static void stats_file_add_structure (JsonBuilder *builder,
    const GstStructure *structure);

/* What is no number is left out by the caller. */
static void
stats_file_add_value (JsonBuilder *builder, const GValue *value)
{
  if (G_VALUE_HOLDS_UINT64 (value))
    json_builder_add_int_value (builder, g_value_get_uint64 (value));
  else if (G_VALUE_HOLDS_UINT (value))
    json_builder_add_int_value (builder, g_value_get_uint (value));
  else if (G_VALUE_HOLDS_INT (value))
    json_builder_add_int_value (builder, g_value_get_int (value));
  else if (G_VALUE_HOLDS_INT64 (value))
    json_builder_add_int_value (builder, g_value_get_int64 (value));
  else if (G_VALUE_HOLDS_DOUBLE (value))
    json_builder_add_double_value (builder, g_value_get_double (value));
  else if (G_VALUE_HOLDS_BOOLEAN (value))
    json_builder_add_boolean_value (builder, g_value_get_boolean (value));
  else if (G_VALUE_HOLDS_STRING (value))
    json_builder_add_string_value (builder, g_value_get_string (value));
  else if (GST_VALUE_HOLDS_STRUCTURE (value))
    stats_file_add_structure (builder, gst_value_get_structure (value));
  else
    json_builder_add_null_value (builder);
}

static void
stats_file_add_array (JsonBuilder *builder, const GValue *array)
{
  json_builder_begin_array (builder);
  for (guint i = 0; i < gst_value_array_get_size (array); i++)
    stats_file_add_value (builder, gst_value_array_get_value (array, i));
  json_builder_end_array (builder);
}

static void
stats_file_add_structure (JsonBuilder *builder, const GstStructure *structure)
{
  json_builder_begin_object (builder);
  for (gint i = 0; i < gst_structure_n_fields (structure); i++) {
    const gchar *name = gst_structure_nth_field_name (structure, i);
    const GValue *value = gst_structure_get_value (structure, name);

    if (G_VALUE_HOLDS_DOUBLE (value)
        && !isfinite (g_value_get_double (value)))
      continue;
    json_builder_set_member_name (builder, name);
    if (GST_VALUE_HOLDS_ARRAY (value))
      stats_file_add_array (builder, value);
    else
      stats_file_add_value (builder, value);
  }
  json_builder_end_object (builder);
}

/**
 * gst_partime_stats_file_print:
 * @stats: fields of numbers, booleans, strings, structures and arrays
 *
 * Numbers that are not finite are left out, which JSON cannot say.
 *
 * Returns: (transfer full): @stats as an object in one line, without its end
 */
gchar *
gst_partime_stats_file_print (const GstStructure *stats)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonNode) root = NULL;

  stats_file_add_structure (builder, stats);
  root = json_builder_get_root (builder);
  return json_to_string (root, FALSE);
}

/* All of @line or, as far as that can be undone, nothing of it. */
static gboolean
stats_file_append (GstPartimeStatsFile *self, const gchar *line, gsize length,
    GError **error)
{
  gssize written;
  gint code;

  do
    written = write (self->fd, line, length);
  while (written < 0 && errno == EINTR);
  if (written == (gssize) length)
    return TRUE;
  /* a disk takes what fits, and says why at the next try */
  code = written < 0 ? errno : ENOSPC;
  if (written > 0) {
    off_t end = lseek (self->fd, 0, SEEK_END);

    self->torn = end < written || ftruncate (self->fd, end - written) != 0;
  }
  return stats_file_fail (self->path, "write to", code, error);
}

/**
 * gst_partime_stats_file_write:
 * @self: a file
 * @stats: as for gst_partime_stats_file_print()
 * @error: return location
 *
 * Adds a line. A line that does not fit is not left there in part.
 *
 * Returns: whether it is written; else %G_IO_ERROR, and the next one may be
 */
gboolean
gst_partime_stats_file_write (GstPartimeStatsFile *self,
    const GstStructure *stats, GError **error)
{
  g_autofree gchar *object = gst_partime_stats_file_print (stats);
  g_autofree gchar *line = g_strconcat (self->torn ? "\n" : "", object, "\n",
      NULL);

  if (!stats_file_append (self, line, strlen (line), error))
    return FALSE;
  self->torn = FALSE;
  return TRUE;
}
