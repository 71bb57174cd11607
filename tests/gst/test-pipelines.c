/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whole pipelines: states, ends, seeks, live sources, checkpoints, and what
 * users get wrong. */

#include <math.h>
#include <string.h>

#include "element-test.h"

#define TEST_SOURCE "videotestsrc num-buffers=30 ! video/x-raw,format=I420," \
  "width=48,height=36,framerate=25/1 ! "

static GstPadProbeReturn
pipelines_count (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  g_atomic_int_inc ((gint *) data);
  return GST_PAD_PROBE_OK;
}

static void
pipelines_add_probe (GstElement *pipeline, const gchar *element,
    const gchar *name, GstPadProbeCallback callback, gpointer data)
{
  g_autoptr (GstElement) found = gst_bin_get_by_name (GST_BIN (pipeline),
      element);
  g_autoptr (GstPad) pad = gst_element_get_static_pad (found, name);

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, callback, data, NULL);
}

/* As many frames out as in, in each mode. */
static void
test_eos (void)
{
  static const gchar *const modes[] = { "off", "exact", "partime", "delayed" };

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    g_autofree gchar *text = g_strdup_printf (TEST_SOURCE "partimefilter "
        "name=p model=%%s learning-mode=%s ! fakesink", modes[i]);
    GstElement *pipeline = element_test_launch (text, NET_IMAGE);
    gint n = 0;

    pipelines_add_probe (pipeline, "p", "src", pipelines_count, &n);
    element_test_play (pipeline);
    g_assert_cmpint (n, ==, 30);
    element_test_free (pipeline);
  }
}

static void
test_states (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc ! video/x-raw,"
      "width=32,height=24 ! partimefilter model=%s ! fakesink", NET_IMAGE);
  static const GstState tops[] = { GST_STATE_PLAYING, GST_STATE_PAUSED,
    GST_STATE_READY
  };

  for (guint i = 0; i < 200; i++) {
    GstState top = tops[i % 3];

    g_assert_cmpint (gst_element_set_state (pipeline, top), !=,
        GST_STATE_CHANGE_FAILURE);
    /* every other time it is torn down while it starts */
    if (i % 2)
      g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, WAIT), ==,
          GST_STATE_CHANGE_SUCCESS);
    g_assert_cmpint (gst_element_set_state (pipeline, i % 7 ? GST_STATE_NULL
            : GST_STATE_READY), ==, GST_STATE_CHANGE_SUCCESS);
  }
  element_test_free (pipeline);
}

static void
test_seek (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc ! video/x-raw,"
      "width=32,height=24,framerate=25/1 ! partimefilter name=p model=%s "
      "! fakesink sync=true", NET_IMAGE);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (guint i = 0; i < 10; i++) {
    gint64 position;

    gst_element_get_state (pipeline, NULL, NULL, WAIT);
    g_assert_true (gst_element_seek_simple (pipeline, GST_FORMAT_TIME,
            GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE,
            i * 10 * GST_SECOND));
    g_assert_cmpint (gst_element_get_state (pipeline, NULL, NULL, WAIT), ==,
        GST_STATE_CHANGE_SUCCESS);
    g_assert_true (gst_element_query_position (pipeline, GST_FORMAT_TIME,
            &position));
    g_assert_cmpint (position, >=, i * 10 * GST_SECOND);
  }
  element_test_free (pipeline);
}

static void
test_two (void)
{
  GstElement *pipeline = element_test_launch (TEST_SOURCE "tee name=t "
      "t. ! queue ! partimefilter name=a model=%s ! fakesink "
      "t. ! queue ! partimefilter model=%s ! partimefilter name=b model=%s "
      "! fakesink", NET_IMAGE);
  gint a = 0, b = 0;

  pipelines_add_probe (pipeline, "a", "src", pipelines_count, &a);
  pipelines_add_probe (pipeline, "b", "src", pipelines_count, &b);
  element_test_play (pipeline);
  g_assert_cmpint (a, ==, 30);
  g_assert_cmpint (b, ==, 30);
  element_test_free (pipeline);
}

typedef struct
{
  gint n;
  gint64 times[64];
} Times;

static GstPadProbeReturn
pipelines_stamp (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Times *times = data;

  if (times->n < 64)
    times->times[times->n++] = g_get_monotonic_time ();
  return GST_PAD_PROBE_OK;
}

/* At 5 frames a second each result is out before the next frame comes, and the
 * pipeline's latency is far below n frame periods. */
static void
test_live (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc is-live=true "
      "num-buffers=8 ! video/x-raw,width=32,height=24,framerate=5/1 ! "
      "partimefilter name=p model=%s ! fakesink sync=true", NET_IMAGE);
  Times in = { 0 }, out = { 0 };
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min = 0;
  gboolean live = FALSE;
  gint late = 0;

  pipelines_add_probe (pipeline, "p", "sink", pipelines_stamp, &in);
  pipelines_add_probe (pipeline, "p", "src", pipelines_stamp, &out);
  element_test_play (pipeline);
  g_assert_cmpint (in.n, ==, 8);
  g_assert_cmpint (out.n, ==, 8);
  for (gint i = 0; i + 1 < in.n; i++)
    late += out.times[i] >= in.times[i + 1];
  /* a loaded machine may be late once; who waits for the next frame always is */
  g_assert_cmpint (late, <=, 2);
  g_assert_true (gst_element_query (pipeline, query));
  gst_query_parse_latency (query, &live, &min, NULL);
  g_assert_true (live);
  /* the source's own is one frame */
  g_assert_cmpuint (min, >, 200 * GST_MSECOND);
  g_assert_cmpuint (min, <, 400 * GST_MSECOND);
  gst_query_unref (query);
  element_test_free (pipeline);
}

static void
test_properties (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc ! video/x-raw,"
      "width=32,height=24 ! partimefilter name=p model=%s ! fakesink",
      NET_IMAGE);
  g_autoptr (GstElement) p = gst_bin_get_by_name (GST_BIN (pipeline), "p");

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (guint i = 0; i < 200; i++) {
    GstStructure *stats = NULL;

    g_object_set (p, "learn", i % 2, "learning-rate", i * 1e-5,
        "learn-interval", i % 3, "learn-policy", (gint) (i % 3) - 1,
        "overlay", i % 2, "stats-interval", G_GUINT64_CONSTANT (1000000),
        NULL);
    g_object_get (p, "stats", &stats, NULL);
    g_assert_cmpstr (gst_structure_get_name (stats), ==,
        "application/x-partime-stats");
    gst_structure_free (stats);
    g_usleep (1000);
  }
  element_test_free (pipeline);
}

static const GstStructure *
pipelines_wait_element (GstElement *pipeline, const gchar *name,
    GstMessage **message)
{
  for (;;) {
    const GstStructure *structure;

    *message = element_test_wait (pipeline, GST_MESSAGE_ELEMENT
        | GST_MESSAGE_ERROR);
    g_assert_cmpint (GST_MESSAGE_TYPE (*message), ==, GST_MESSAGE_ELEMENT);
    structure = gst_message_get_structure (*message);
    if (gst_structure_has_name (structure, name))
      return structure;
    gst_message_unref (*message);
  }
}

static void
test_learning_message (void)
{
  GstElement *pipeline = element_test_launch (TEST_SOURCE
      "partimefilter model=%s stats-interval=1 ! fakesink", NET_IMAGE);
  g_autoptr (GstMessage) message = NULL;
  const GstStructure *fields;
  guint64 updates = 0;
  gdouble loss = -1;

  message = element_test_play_for (pipeline, "partime-learning");
  g_assert_nonnull (message);
  fields = gst_message_get_structure (message);
  gst_structure_get_uint64 (fields, "updates", &updates);
  /* the statistics are those of the last result, before its own update */
  g_assert_cmpuint (updates, >=, 29);
  g_assert_true (gst_structure_get_double (fields, "loss", &loss));
  g_assert_true (isfinite (loss) && loss >= 0);
  g_assert_cmpuint (gst_value_array_get_size (gst_structure_get_value (fields,
              "stages")), ==, 2);
  element_test_free (pipeline);
}

/* What is saved at the end is there at the next start. */
static void
test_checkpoint (void)
{
  g_autofree gchar *location = element_test_path ("kept.safetensors");
  g_autofree gchar *text = g_strdup_printf (TEST_SOURCE "partimefilter "
      "name=p model=%%s checkpoint-location=%s ! fakesink", location);
  GStatBuf about;

  for (guint i = 0; i < 2; i++) {
    GstElement *pipeline = element_test_launch (text, NET_IMAGE);
    g_autoptr (GstMessage) message = NULL;
    const GstStructure *fields;
    gboolean ok = FALSE;

    message = element_test_play_for (pipeline, "partime-checkpoint");
    g_assert_nonnull (message);
    fields = gst_message_get_structure (message);
    g_assert_true (gst_structure_get_boolean (fields, "ok", &ok) && ok);
    g_assert_cmpstr (gst_structure_get_string (fields, "path"), ==, location);
    element_test_free (pipeline);
    g_assert_cmpint (g_stat (location, &about), ==, 0);
    g_assert_cmpint (about.st_size, >, 0);
  }
}

/* Plays NET_IMAGE with a checkpoint. Returns: (transfer full) (nullable): why
 * it failed */
static GError *
pipelines_play_checkpoint (const gchar *location, const gchar *properties)
{
  g_autofree gchar *text = g_strdup_printf (TEST_SOURCE "partimefilter "
      "name=p model=%%s checkpoint-location=%s %s ! fakesink", location,
      properties);

  return element_test_play_wrong (element_test_launch (text, NET_IMAGE));
}

/* A run that does not learn leaves the file alone, and so does one that
 * refuses it. */
static void
test_checkpoint_left_alone (void)
{
  g_autofree gchar *location = element_test_path ("left.safetensors");
  g_autofree gchar *before = NULL, *after = NULL;
  g_autoptr (GError) error = NULL;
  gsize n_before, n_after;

  g_assert_null (pipelines_play_checkpoint (location, ""));
  g_assert_true (g_file_get_contents (location, &before, &n_before, NULL));
  g_assert_null (pipelines_play_checkpoint (location, "learning-mode=off"));
  error = pipelines_play_checkpoint (location, "optimizer=adam");
  g_assert_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_READ);
  g_assert_nonnull (strstr (error->message, "optimizer sgd"));
  g_assert_true (g_file_get_contents (location, &after, &n_after, NULL));
  g_assert_cmpmem (before, n_before, after, n_after);
}

/* On the thread that writes. */
static GstBusSyncReply
pipelines_be_slow (GstBus *bus, GstMessage *message, gpointer data)
{
  if (!gst_message_has_name (message, "partime-checkpoint"))
    return GST_BUS_PASS;
  g_atomic_int_inc ((gint *) data);
  g_usleep (50000);
  return GST_BUS_PASS;
}

/* An interval shorter than the disk takes, as where it was meant in seconds,
 * does not pile checkpoints up. */
static void
test_checkpoint_interval (void)
{
  g_autofree gchar *location = element_test_path ("often.safetensors");
  g_autofree gchar *text = g_strdup_printf ("videotestsrc num-buffers=200 ! "
      "video/x-raw,width=32,height=24 ! identity sleep-time=1000 ! "
      "partimefilter name=p model=%%s checkpoint-location=%s "
      "checkpoint-interval=60 ! fakesink", location);
  GstElement *pipeline = element_test_launch (text, NET_IMAGE);
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  gint saved = 0;

  gst_bus_set_sync_handler (bus, pipelines_be_slow, &saved, NULL);
  element_test_play (pipeline);
  element_test_free (pipeline);
  g_assert_cmpint (saved, >=, 2);
  g_assert_cmpint (saved, <, 100);
}

static void
test_signals (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc ! video/x-raw,"
      "width=32,height=24 ! partimefilter name=p model=%s ! fakesink",
      NET_IMAGE);
  g_autoptr (GstElement) p = gst_bin_get_by_name (GST_BIN (pipeline), "p");
  g_autofree gchar *location = element_test_path ("signal.safetensors");
  g_autoptr (GstMessage) message = NULL, warning = NULL;
  gboolean done = TRUE;

  g_signal_emit_by_name (p, "save-checkpoint", location, &done);
  g_assert_false (done);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  gst_element_get_state (pipeline, NULL, NULL, WAIT);
  g_signal_emit_by_name (p, "save-checkpoint", NULL, &done);
  g_assert_false (done);
  g_signal_emit_by_name (p, "save-checkpoint", location, &done);
  g_assert_true (done);
  pipelines_wait_element (pipeline, "partime-checkpoint", &message);
  g_signal_emit_by_name (p, "load-checkpoint", location, &done);
  g_assert_true (done);
  g_signal_emit_by_name (p, "reset", &done);
  g_assert_true (done);
  g_signal_emit_by_name (p, "load-checkpoint", "/nowhere", &done);
  g_assert_false (done);
  warning = element_test_wait (pipeline, GST_MESSAGE_WARNING);
  element_test_free (pipeline);
}

/* A rate that throws the weights out of all range: every number that leaves
 * is finite, and it is said on the bus. */
static GstPadProbeReturn
pipelines_check_finite (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (info->data,
      "GstPartimeMeta");
  GstSample *sample;
  GstMapInfo map;

  g_atomic_int_inc ((gint *) data);
  if (!meta)
    return GST_PAD_PROBE_OK;
  sample = g_value_get_boxed (gst_value_array_get_value
      (gst_structure_get_value (gst_custom_meta_get_structure (meta),
              "tensors"), 0));
  gst_buffer_map (gst_sample_get_buffer (sample), &map, GST_MAP_READ);
  for (gsize i = 0; i < map.size / sizeof (gfloat); i++)
    g_assert_true (isfinite (((gfloat *) map.data)[i]));
  gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
  return GST_PAD_PROBE_OK;
}

static void
test_diverged (void)
{
  GstElement *pipeline = element_test_launch (TEST_SOURCE "partimefilter "
      "name=p model=%s learning-rate=1e9 ! fakesink", NET_IMAGE);
  g_autoptr (GstMessage) message = NULL;
  gint n = 0;

  pipelines_add_probe (pipeline, "p", "src", pipelines_check_finite, &n);
  message = element_test_play_for (pipeline, "partime-diverged");
  g_assert_nonnull (message);
  g_assert_cmpint (n, ==, 30);
  element_test_free (pipeline);
}

/* Each is one error, of this domain and code, with these words in it. */
static void
test_errors (void)
{
  const struct
  {
    const gchar *properties, *network;
    GQuark domain;
    gint code;
    const gchar *words;
  } cases[] = {
    {"", NET_FLOW, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND, "model"},
    {"model=/nowhere.cfg", NET_FLOW, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_NOT_FOUND, "/nowhere.cfg"},
    {"model=%s", "", GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "net.cfg"},
    {"model=%s", "[network]\nwidth=16\nheight=12\n[a]\ntype=nonsense\n",
          GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "nonsense"},
    {"model=%s loss=nonsense", NET_IMAGE, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, "nonsense"},
    {"model=%s optimizer=nonsense", NET_IMAGE, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, "nonsense"},
    {"model=%s stages=99", NET_IMAGE, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, "99"},
    {"model=%s weights=/nowhere.safetensors", NET_IMAGE, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_NOT_FOUND, "/nowhere.safetensors"},
    {"model=%s weights=%s", NET_IMAGE, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_READ, "net.cfg"},
    {"model=%s checkpoint-location=%s", NET_IMAGE, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_READ, "net.cfg"},
    {"model=%s checkpoint-location=/nowhere/at/all.safetensors", NET_IMAGE,
        GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND, "/nowhere/at"},
    {"model=%s output=network", "[network]\nwidth=16\nheight=12\n"
          "[a]\ntype=conv2d\nfilters=5\nkernel=1\n[output]\nkind=image\n",
        GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE, "5 channels"},
    {"model=%s devices=nonsense:7", NET_IMAGE, 0, 0, "nonsense"},
    {"model=%s learning-rate=-0.5", NET_IMAGE, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, "-0.5"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *text = g_strdup_printf (TEST_SOURCE
        "partimefilter name=p %s ! fakesink", cases[i].properties);
    GstElement *pipeline = element_test_launch (text, cases[i].network);
    g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
    g_autoptr (GstMessage) message = NULL;
    g_autoptr (GError) error = NULL;

    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    message = element_test_wait (pipeline, GST_MESSAGE_ERROR
        | GST_MESSAGE_EOS);
    g_assert_cmpint (GST_MESSAGE_TYPE (message), ==, GST_MESSAGE_ERROR);
    g_assert_cmpstr (GST_MESSAGE_SRC_NAME (message), ==, "p");
    gst_message_parse_error (message, &error, NULL);
    g_test_message ("%s: %s", cases[i].properties, error->message);
    if (cases[i].domain)
      g_assert_error (error, cases[i].domain, cases[i].code);
    g_assert_nonnull (strstr (error->message, cases[i].words));
    gst_element_set_state (pipeline, GST_STATE_NULL);
    /* ours was the only one of ours */
    g_clear_pointer (&message, gst_message_unref);
    while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR))) {
      g_assert_cmpstr (GST_MESSAGE_SRC_NAME (message), !=, "p");
      g_clear_pointer (&message, gst_message_unref);
    }
    element_test_free (pipeline);
  }
}

/* A video without frames is no error. */
static void
test_no_frames (void)
{
  g_autofree gchar *location = element_test_path ("none.safetensors");
  g_autofree gchar *text = g_strdup_printf ("videotestsrc num-buffers=0 ! "
      "partimefilter model=%%s checkpoint-location=%s ! fakesink", location);
  GstElement *pipeline = element_test_launch (text, NET_IMAGE);

  element_test_play (pipeline);
  element_test_free (pipeline);
}

static void
test_latest (void)
{
  GstElement *pipeline = element_test_launch (TEST_SOURCE "partimefilter "
      "name=p model=%s timing=latest ! fakesink", NET_IMAGE);
  gint n = 0;

  pipelines_add_probe (pipeline, "p", "src", pipelines_count, &n);
  element_test_play (pipeline);
  g_assert_cmpint (n, ==, 30);
  element_test_free (pipeline);
}

/* Downstream that wants no more: the stream ends, nothing hangs. */
static void
test_not_linked (void)
{
  GstElement *pipeline = element_test_launch (TEST_SOURCE
      "partimefilter name=p model=%s", NET_IMAGE);
  g_autoptr (GstMessage) message = NULL;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = element_test_wait (pipeline, GST_MESSAGE_ERROR);
  element_test_free (pipeline);
}

static void
test_leaks (void)
{
  static const gchar *const options[] = { "", "output=network",
    "timing=latest", "learning-mode=off"
  };
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);

  for (guint i = 0; i < G_N_ELEMENTS (options); i++) {
    g_autofree gchar *text = g_strdup_printf (TEST_SOURCE
        "partimefilter model=%s %s ! fakesink", path, options[i]);

    if (!element_test_check_leaks (text)) {
      g_test_skip ("gst-launch-1.0 cannot load a plugin with a sanitizer");
      return;
    }
  }
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/pipelines/eos", test_eos);
  g_test_add_func ("/pipelines/states", test_states);
  g_test_add_func ("/pipelines/seek", test_seek);
  g_test_add_func ("/pipelines/two", test_two);
  g_test_add_func ("/pipelines/live", test_live);
  g_test_add_func ("/pipelines/properties", test_properties);
  g_test_add_func ("/pipelines/learning-message", test_learning_message);
  g_test_add_func ("/pipelines/checkpoint", test_checkpoint);
  g_test_add_func ("/pipelines/checkpoint-left-alone",
      test_checkpoint_left_alone);
  g_test_add_func ("/pipelines/checkpoint-interval",
      test_checkpoint_interval);
  g_test_add_func ("/pipelines/signals", test_signals);
  g_test_add_func ("/pipelines/diverged", test_diverged);
  g_test_add_func ("/pipelines/errors", test_errors);
  g_test_add_func ("/pipelines/no-frames", test_no_frames);
  g_test_add_func ("/pipelines/latest", test_latest);
  g_test_add_func ("/pipelines/not-linked", test_not_linked);
  g_test_add_func ("/pipelines/leaks", test_leaks);
  return element_test_run ();
}
