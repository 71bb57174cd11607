/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/json-lines.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_SHOWN 40          /* bytes of a line that is quoted */

typedef FILE LinesFile;

G_DEFINE_AUTOPTR_CLEANUP_FUNC (LinesFile, fclose)

/* Where reading stands. */
typedef struct
{
  PtJsonLines *table;
  const gchar *path, *key;
  guint line;
  gdouble newest;               /* of the key */
  GError *broken;               /* a line that may have been cut off */
} LinesReader;

static PtJsonLines *
lines_new (void)
{
  PtJsonLines *self = g_new0 (PtJsonLines, 1);

  self->columns = g_hash_table_new_full (g_str_hash, g_str_equal, g_free,
      (GDestroyNotify) g_array_unref);
  self->texts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free,
      g_free);
  return self;
}

void
pt_json_lines_free (PtJsonLines *self)
{
  g_hash_table_unref (self->columns);
  g_hash_table_unref (self->texts);
  g_free (self);
}

const gdouble *
pt_json_lines_get (PtJsonLines *self, const gchar *name)
{
  const GArray *column = g_hash_table_lookup (self->columns, name);

  return column != NULL ? (const gdouble *) column->data : NULL;
}

const gchar *
pt_json_lines_get_text (PtJsonLines *self, const gchar *name)
{
  return g_hash_table_lookup (self->texts, name);
}

/* Numbers there are none of, up to row @end. */
static void
lines_pad (GArray *column, guint end)
{
  const gdouble none = NAN;

  while (column->len < end)
    g_array_append_val (column, none);
}

static void
lines_add_number (PtJsonLines *self, const gchar *name, gdouble value)
{
  GArray *column = g_hash_table_lookup (self->columns, name);

  if (column == NULL) {
    column = g_array_new (FALSE, FALSE, sizeof (gdouble));
    g_hash_table_insert (self->columns, g_strdup (name), column);
  }
  lines_pad (column, self->n_rows);
  if (column->len == self->n_rows)
    g_array_append_val (column, value);
}

static void
lines_add_scalar (PtJsonLines *self, const gchar *name, JsonNode *node)
{
  GType type = json_node_get_value_type (node);

  if (type == G_TYPE_STRING)
    g_hash_table_insert (self->texts, g_strdup (name),
        json_node_dup_string (node));
  else if (type == G_TYPE_BOOLEAN)
    lines_add_number (self, name, json_node_get_boolean (node));
  else
    lines_add_number (self, name, json_node_get_double (node));
}

static void lines_add_object (PtJsonLines *self, const gchar *prefix,
    JsonObject *object);

static void
lines_add_value (PtJsonLines *self, const gchar *name, JsonNode *node)
{
  JsonArray *array;

  if (JSON_NODE_HOLDS_OBJECT (node)) {
    g_autofree gchar *prefix = g_strconcat (name, ".", NULL);

    lines_add_object (self, prefix, json_node_get_object (node));
  } else if (JSON_NODE_HOLDS_ARRAY (node)) {
    array = json_node_get_array (node);
    for (guint i = 0; i < json_array_get_length (array); i++) {
      g_autofree gchar *element = g_strdup_printf ("%s.%u", name, i);

      lines_add_value (self, element, json_array_get_element (array, i));
    }
  } else if (JSON_NODE_HOLDS_VALUE (node)) {
    lines_add_scalar (self, name, node);
  }
}

static void
lines_add_object (PtJsonLines *self, const gchar *prefix, JsonObject *object)
{
  JsonObjectIter iter;
  const gchar *key;
  JsonNode *node;

  json_object_iter_init (&iter, object);
  while (json_object_iter_next (&iter, &key, &node)) {
    g_autofree gchar *name = g_strconcat (prefix, key, NULL);

    lines_add_value (self, name, node);
  }
}

static void
lines_refuse (const LinesReader *self, const gchar *text, const gchar *why,
    GError **error)
{
  g_autofree gchar *start = g_strndup (text, LINES_SHOWN);
  g_autofree gchar *shown = g_strescape (start, NULL);

  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s, line %u: found \"%s%s\""
      "%s%s, expected a JSON object with a number \"%s\"", self->path,
      self->line, shown, strlen (text) > LINES_SHOWN ? "..." : "",
      why != NULL ? ": " : "", why != NULL ? why : "", self->key);
}

/* Returns: (transfer full): the line's object, or %NULL */
static JsonNode *
lines_parse (const LinesReader *self, const gchar *text, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) why = NULL;
  JsonNode *root, *key = NULL;

  if (!json_parser_load_from_data (parser, text, -1, &why)) {
    lines_refuse (self, text, "not JSON", error);
    return NULL;
  }
  root = json_parser_get_root (parser);
  if (root != NULL && JSON_NODE_HOLDS_OBJECT (root))
    key = json_object_get_member (json_node_get_object (root), self->key);
  if (key == NULL || !JSON_NODE_HOLDS_VALUE (key)
      || json_node_get_value_type (key) == G_TYPE_STRING) {
    lines_refuse (self, text, NULL, error);
    return NULL;
  }
  return json_parser_steal_root (parser);
}

/* @whole: the line has an end. */
static gboolean
lines_take (LinesReader *self, const gchar *text, gboolean whole,
    GError **error)
{
  g_autoptr (GError) broken = NULL;
  g_autoptr (JsonNode) node = lines_parse (self, text, &broken);
  gdouble key;

  if (node == NULL) {
    if (self->broken == NULL && (!whole || self->table->n_rows > 0)) {
      self->broken = g_steal_pointer (&broken);
      return TRUE;
    }
    g_propagate_error (error, self->broken != NULL ?
        g_steal_pointer (&self->broken) : g_steal_pointer (&broken));
    return FALSE;
  }
  key = json_object_get_double_member (json_node_get_object (node),
      self->key);
  if (self->broken != NULL && key >= self->newest) {
    g_propagate_error (error, g_steal_pointer (&self->broken));
    return FALSE;
  }
  g_clear_error (&self->broken);
  self->newest = key;
  lines_add_object (self->table, "", json_node_get_object (node));
  self->table->n_rows++;
  return TRUE;
}

static gboolean
lines_read (LinesReader *self, LinesFile *file, GError **error)
{
  g_autofree gchar *text = NULL;
  gsize size = 0;
  gssize length;
  gboolean whole = TRUE;

  while ((length = getline (&text, &size, file)) > 0) {
    self->line++;
    whole = text[length - 1] == '\n';
    if (*g_strstrip (text) != '\0' && !lines_take (self, text, whole, error))
      return FALSE;
  }
  if (ferror (file)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: %s",
        self->path, g_strerror (errno));
    return FALSE;
  }
  if (self->broken != NULL && whole) {
    g_propagate_error (error, g_steal_pointer (&self->broken));
    return FALSE;
  }
  return TRUE;
}

static gboolean
lines_finish (LinesReader *self, GError **error)
{
  GHashTableIter iter;
  gpointer column;

  if (self->table->n_rows == 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: found no whole line, "
        "expected JSON objects with a number \"%s\", one in each line",
        self->path, self->key);
    return FALSE;
  }
  g_hash_table_iter_init (&iter, self->table->columns);
  while (g_hash_table_iter_next (&iter, NULL, &column))
    lines_pad (column, self->table->n_rows);
  return TRUE;
}

PtJsonLines *
pt_json_lines_load (const gchar *path, const gchar *key, GError **error)
{
  g_autoptr (LinesFile) file = fopen (path, "re");
  g_autoptr (PtJsonLines) table = lines_new ();
  LinesReader reader = { table, path, key };
  gboolean done;

  if (file == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot open it: %s",
        path, g_strerror (errno));
    return NULL;
  }
  done = lines_read (&reader, file, error) && lines_finish (&reader, error);
  g_clear_error (&reader.broken);
  return done ? g_steal_pointer (&table) : NULL;
}
