/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lines of statistics, read again by json-glib. */

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#include "element-test.h"
#include "stats-file.h"

static GstStructure *
new_stats (guint64 frame)
{
  GstStructure *stage = gst_structure_new ("stage", "device", G_TYPE_STRING,
      "cpu:0 \"first\"\n", "age", G_TYPE_UINT, 4, NULL);
  GstStructure *stats = gst_structure_new ("partime-learning",
      "frame", G_TYPE_UINT64, frame, "fps", G_TYPE_DOUBLE, 1 / 3.0,
      "loss", G_TYPE_DOUBLE, NAN, "least", G_TYPE_DOUBLE, -INFINITY,
      "better", G_TYPE_BOOLEAN, TRUE, "below", G_TYPE_INT, -7,
      "far", G_TYPE_INT64, G_MININT64, "other", G_TYPE_FLOAT, 1.f, NULL);
  GValue stages = G_VALUE_INIT, value = G_VALUE_INIT;

  g_value_init (&value, GST_TYPE_STRUCTURE);
  g_value_take_boxed (&value, stage);
  gst_value_array_init (&stages, 1);
  gst_value_array_append_and_take_value (&stages, &value);
  gst_structure_take_value (stats, "stages", &stages);
  return stats;
}

static void
test_print (void)
{
  g_autoptr (GstStructure) stats = new_stats (G_MAXUINT32 + 5ull);
  g_autofree gchar *text = gst_partime_stats_file_print (stats);
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *object, *stage;

  g_assert_null (strchr (text, '\n'));
  g_assert_true (json_parser_load_from_data (parser, text, -1, NULL));
  object = json_node_get_object (json_parser_get_root (parser));
  g_assert_cmpint (json_object_get_int_member (object, "frame"), ==,
      G_MAXUINT32 + 5ll);
  g_assert_cmpfloat (json_object_get_double_member (object, "fps"), ==,
      1 / 3.0);
  g_assert_false (json_object_has_member (object, "loss"));
  g_assert_false (json_object_has_member (object, "least"));
  g_assert_true (json_object_get_boolean_member (object, "better"));
  g_assert_cmpint (json_object_get_int_member (object, "below"), ==, -7);
  g_assert_cmpint (json_object_get_int_member (object, "far"), ==,
      G_MININT64);
  g_assert_true (json_object_get_null_member (object, "other"));
  stage = json_array_get_object_element (json_object_get_array_member (object,
          "stages"), 0);
  g_assert_cmpstr (json_object_get_string_member (stage, "device"), ==,
      "cpu:0 \"first\"\n");
  g_assert_cmpint (json_object_get_int_member (stage, "age"), ==, 4);
}

static void
write_lines (const gchar *path, guint n)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GstPartimeStatsFile) file = gst_partime_stats_file_open (path,
      &error);

  g_assert_no_error (error);
  for (guint i = 0; i < n; i++) {
    g_autoptr (GstStructure) stats = new_stats (i);

    g_assert_true (gst_partime_stats_file_write (file, stats, &error));
  }
}

/* Lines are added to those there are, and to no part of one. */
static void
test_append (void)
{
  g_autofree gchar *path = element_test_path ("lines");
  g_autofree gchar *text = NULL, *torn = NULL;
  g_auto (GStrv) lines = NULL;

  write_lines (path, 2);
  write_lines (path, 1);
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  torn = g_strconcat (text, "{\"fra", NULL);
  g_assert_true (g_file_set_contents (path, torn, -1, NULL));
  write_lines (path, 1);
  g_clear_pointer (&text, g_free);
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  lines = g_strsplit (text, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, 6);
  g_assert_cmpstr (lines[0], ==, lines[2]);
  g_assert_cmpstr (lines[3], ==, "{\"fra");
  g_assert_cmpstr (lines[4], ==, lines[0]);
  g_assert_cmpstr (lines[5], ==, "");
}

static void
test_refused (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GstPartimeStatsFile) full = NULL;
  g_autoptr (GstStructure) stats = new_stats (0);

  g_assert_null (gst_partime_stats_file_open (folder, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_IS_DIRECTORY);
  g_assert_true (strstr (error->message, folder) != NULL);
  g_clear_error (&error);
  full = gst_partime_stats_file_open ("/dev/full", &error);
  g_assert_no_error (error);
  for (guint i = 0; i < 2; i++) {
    g_assert_false (gst_partime_stats_file_write (full, stats, &error));
    g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
    g_clear_error (&error);
  }
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/stats-file/print", test_print);
  g_test_add_func ("/stats-file/append", test_append);
  g_test_add_func ("/stats-file/refused", test_refused);
  return element_test_run ();
}
