/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/darknet.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

/* The text: "[section]", "key=value", "# comment" and "; comment". It is no
 * key file: sections of one name follow one another. */

#define DARKNET_MAX_FILE (1 << 20)
#define DARKNET_MAX_SECTIONS 4096

static void
darknet_key_clear (gpointer key)
{
  g_free (((DarknetKey *) key)->key);
  g_free (((DarknetKey *) key)->value);
}

static DarknetSection *
darknet_section_new (const gchar *name, gsize length, guint line)
{
  DarknetSection *self = g_new0 (DarknetSection, 1);

  self->name = g_strndup (name, length);
  self->line = line;
  self->keys = g_array_new (FALSE, FALSE, sizeof (DarknetKey));
  g_array_set_clear_func (self->keys, darknet_key_clear);
  return self;
}

static void
darknet_section_free (gpointer data)
{
  DarknetSection *self = data;

  g_free (self->name);
  g_array_unref (self->keys);
  g_free (self);
}

gboolean
pt_darknet_fail (const gchar *path, const DarknetSection *section, guint line,
    GError **error, const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  g_autofree gchar *quoted = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  quoted = section ? pt_params_quote (section->name) : NULL;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: line %u: %s%s%s%s", path,
      line, section ? "section " : "", section ? quoted : "",
      section ? ": " : "", message);
  return FALSE;
}

const DarknetKey *
pt_darknet_find (const DarknetSection *section, const gchar *key)
{
  for (guint i = 0; i < section->keys->len; i++) {
    const DarknetKey *at = &g_array_index (section->keys, DarknetKey, i);

    if (strcmp (at->key, key) == 0)
      return at;
  }
  return NULL;
}

/* Blanks count nowhere, not even within words. */
static void
darknet_strip (gchar *line)
{
  gchar *to = line;

  for (const gchar *from = line; *from != '\0'; from++)
    if (!g_ascii_isspace (*from))
      *to++ = *from;
  *to = '\0';
}

static gboolean
darknet_add_line (GPtrArray *sections, const gchar *path, gchar *line,
    guint number, GError **error)
{
  DarknetSection *section = sections->len == 0 ? NULL :
      g_ptr_array_index (sections, sections->len - 1);
  g_autofree gchar *quoted = NULL;
  gchar *mark = strchr (line, '=');
  DarknetKey key;

  if (*line == '\0' || *line == '#' || *line == ';')
    return TRUE;
  if (*line == '[' && line[strlen (line) - 1] == ']') {
    if (sections->len == DARKNET_MAX_SECTIONS)
      return pt_darknet_fail (path, NULL, number, error, "found too many "
          "sections, expected at most %d", DARKNET_MAX_SECTIONS);
    g_ptr_array_add (sections, darknet_section_new (line + 1,
            strlen (line) - 2, number));
    return TRUE;
  }
  quoted = pt_params_quote (line);
  if (mark == NULL || mark == line || section == NULL)
    return pt_darknet_fail (path, NULL, number, error, "found %s, expected "
        "[section]%s", quoted, section ? " or key=value" : " first");
  key = (DarknetKey) { g_strndup (line, mark - line), g_strdup (mark + 1),
    number
  };
  g_array_append_val (section->keys, key);
  return TRUE;
}

static gchar *
darknet_get_contents (const gchar *path, gsize *length, GError **error)
{
  g_autoptr (GError) reason = NULL;
  gchar *text = NULL;
  GStatBuf about;

  if (g_stat (path, &about) != 0)
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read the darknet "
        "network: %s", path, g_strerror (errno));
  else if (!S_ISREG (about.st_mode) || about.st_size > DARKNET_MAX_FILE)
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read the darknet "
        "network: found %s, expected a text file of at most %d bytes", path,
        S_ISREG (about.st_mode) ? "a larger file" : "no regular file",
        DARKNET_MAX_FILE);
  else if (!g_file_get_contents (path, &text, length, &reason))
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read the darknet "
        "network: %s", path, reason->message);
  return text;
}

GPtrArray *
pt_darknet_read (const gchar *path, GError **error)
{
  g_autoptr (GPtrArray) sections =
      g_ptr_array_new_with_free_func (darknet_section_free);
  gsize length = 0;
  g_autofree gchar *text = darknet_get_contents (path, &length, error);
  const gchar *at = text, *end = text + length;

  if (text == NULL)
    return NULL;
  for (guint number = 1; at < end; number++) {
    const gchar *stop = memchr (at, '\n', end - at);
    g_autofree gchar *line = NULL;

    stop = stop != NULL ? stop : end;
    line = g_strndup (at, stop - at);
    at = stop + 1;
    darknet_strip (line);
    if (!darknet_add_line (sections, path, line, number, error))
      return NULL;
  }
  if (sections->len >= 2)
    return g_steal_pointer (&sections);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found %u sections, "
      "expected [net] and layers", path, sections->len);
  return NULL;
}
