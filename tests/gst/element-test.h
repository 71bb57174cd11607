/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the tests of the element share: tiny networks, and pipelines run to
 * their end. */

#pragma once

#include <glib/gstdio.h>
#include <gst/check/gstharness.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <string.h>

/* Two frames of luma, 16x12, to a flow; does not learn. */
#define NET_FLOW \
  "[network]\nwidth=16\nheight=12\nchannels=1\nframes=2\n" \
  "[conv1]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\nactivation=relu\n" \
  "[flow]\ntype=conv2d\nfilters=2\nkernel=3\npadding=1\n" \
  "[output]\nkind=flow\n[pipeline]\nstages=2\n"
/* One colour frame to itself; learns. */
#define NET_IMAGE \
  "[network]\nwidth=16\nheight=12\nchannels=3\n" \
  "[conv1]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n" \
  "[image]\ntype=conv2d\nfilters=3\nkernel=3\npadding=1\n" \
  "[learning]\nloss=mse\ntarget=input\noptimizer=sgd lr=1e-3\n" \
  "[output]\nkind=image\n[pipeline]\nstages=2\n"
#define NET_HEAT \
  "[network]\nwidth=16\nheight=12\nchannels=1\nresize=letterbox\n" \
  "[heat]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[output]\nkind=heatmap\n[pipeline]\nstages=1\n"

#define NET_CLASSES \
  "[network]\nwidth=16\nheight=12\nchannels=1\n" \
  "[features]\ntype=conv2d\nfilters=4\nkernel=3\nactivation=relu\n" \
  "[pool]\ntype=global-avg-pool\n[flat]\ntype=flatten\n" \
  "[classes]\ntype=linear\nunits=3\n" \
  "[output]\nkind=classes\n[pipeline]\nstages=1\n"

#define WAIT (20 * GST_SECOND)

static gchar *folder;

/* Returns: (transfer full): path of a fresh file in the test's folder */
static inline gchar *
element_test_write (const gchar *name, const gchar *text)
{
  gchar *path = g_build_filename (folder, name, NULL);

  g_assert_true (g_file_set_contents (path, text, -1, NULL));
  return path;
}

static inline gchar *
element_test_path (const gchar *name)
{
  return g_build_filename (folder, name, NULL);
}

static inline void
element_test_init (int *argc, char ***argv)
{
  gst_init (argc, argv);
  g_test_init (argc, argv, NULL);
  folder = g_dir_make_tmp ("partimefilter-XXXXXX", NULL);
  g_assert_nonnull (folder);
}

static inline int
element_test_run (void)
{
  int failed = g_test_run ();
  GDir *dir = g_dir_open (folder, 0, NULL);
  const gchar *name;

  while ((name = g_dir_read_name (dir))) {
    g_autofree gchar *path = element_test_path (name);

    g_remove (path);
  }
  g_dir_close (dir);
  g_rmdir (folder);
  g_free (folder);
  return failed;
}

/* Returns: (transfer full): a pipeline from a description in which %s is the
 * path of a file with @network in it */
static inline GstElement *
element_test_launch (const gchar *description, const gchar *network)
{
  g_autofree gchar *path = element_test_write ("net.cfg", network);
  g_auto (GStrv) parts = g_strsplit (description, "%s", -1);
  g_autofree gchar *text = g_strjoinv (path, parts);
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch (text, &error);

  g_assert_no_error (error);
  return pipeline;
}

static inline GstMessage *
element_test_wait (GstElement *pipeline, GstMessageType types)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (bus, WAIT, types);

  g_assert_nonnull (message);
  return message;
}

/* Plays, and frees @pipeline. Returns: (transfer full) (nullable): why it
 * ended before its end */
static inline GError *
element_test_play_wrong (GstElement *pipeline)
{
  g_autoptr (GstMessage) message = NULL;
  GError *error = NULL;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = element_test_wait (pipeline, GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
    gst_message_parse_error (message, &error, NULL);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  return error;
}

/* Plays to the end, which must come without an error. Returns: (transfer full)
 * (nullable): the last element message called @name */
static inline GstMessage *
element_test_play_for (GstElement *pipeline, const gchar *name)
{
  GstMessage *last = NULL;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (;;) {
    g_autoptr (GstMessage) message = element_test_wait (pipeline,
        GST_MESSAGE_EOS | GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT);
    g_autoptr (GError) error = NULL;

    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS)
      return last;
    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
      gst_message_parse_error (message, &error, NULL);
      g_assert_no_error (error);
    }
    if (gst_message_has_name (message, name))
      gst_message_replace (&last, message);
  }
}

static inline void
element_test_play (GstElement *pipeline)
{
  g_autoptr (GstMessage) unused = element_test_play_for (pipeline, "");
}

/* Runs gst-launch-1.0 under the tracer that lists every object that outlives its
 * pipeline. Returns: FALSE if it cannot, with a sanitizer */
static inline gboolean
element_test_check_leaks (const gchar *description)
{
  g_autofree gchar *command = g_strdup_printf ("gst-launch-1.0 -q %s",
      description);
  g_auto (GStrv) argv = NULL;
  g_auto (GStrv) env = g_get_environ ();
  g_autofree gchar *out = NULL, *err = NULL;
  gint status = 0;

  g_assert_true (g_shell_parse_argv (command, NULL, &argv, NULL));
  env = g_environ_setenv (env, "GST_TRACERS", "leaks", TRUE);
  env = g_environ_setenv (env, "GST_DEBUG", "GST_TRACER:7", TRUE);
  g_assert_true (g_spawn_sync (NULL, argv, env, G_SPAWN_SEARCH_PATH, NULL,
          NULL, &out, &err, &status, NULL));
  if (status != 0 && (strstr (err, "ASan runtime")
          || strstr (err, "libtsan")))
    return FALSE;
  g_assert_cmpint (status, ==, 0);
  if (strstr (err, "object-alive, type-name=(string)Gst"))
    g_test_message ("%s", err);
  g_assert_null (strstr (err, "object-alive, type-name=(string)Gst"));
  return TRUE;
}

static inline void
element_test_free (GstElement *pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}
