/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Elements that share one network. */

#include "instance-test.h"

#define FRAMES 60

/* What came out of one element. */
typedef struct
{
  GstClockTime next;            /* expected time */
  guint n, n_wrong;
  guint64 hash;                 /* of all results */
} Seen;

static GstPadProbeReturn
seen_note (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Seen *self = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "GstPartimeMeta");
  guint64 frame = 0;
  GstSample *sample;
  GstMapInfo map;

  if (!meta || GST_BUFFER_PTS (buffer) != self->next) {
    self->n_wrong++;
    return GST_PAD_PROBE_OK;
  }
  gst_structure_get_uint64 (gst_custom_meta_get_structure (meta), "frame",
      &frame);
  self->n_wrong += frame != self->n;
  self->n++;
  self->next = GST_BUFFER_PTS (buffer) + GST_BUFFER_DURATION (buffer);
  sample = g_value_get_boxed (gst_value_array_get_value
      (gst_structure_get_value (gst_custom_meta_get_structure (meta),
              "tensors"), 0));
  g_assert_true (gst_buffer_map (gst_sample_get_buffer (sample), &map,
          GST_MAP_READ));
  for (gsize i = 0; i < map.size; i++)
    self->hash = (self->hash ^ map.data[i]) * G_GUINT64_CONSTANT
        (0x100000001b3);
  gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
  return GST_PAD_PROBE_OK;
}

static void
seen_watch (Seen *self, GstElement *pipeline, const gchar *name)
{
  g_autoptr (GstElement) filter = gst_bin_get_by_name (GST_BIN (pipeline),
      name);
  g_autoptr (GstPad) pad = gst_element_get_static_pad (filter, "src");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, seen_note, self, NULL);
}

/* Camera @i, of a size and picture of its own, to filter f@i. */
static gchar *
new_branch (guint i, guint n, const gchar *path, const gchar *settings)
{
  static const gchar *const patterns[] = { "ball", "smpte", "pinwheel" };

  return g_strdup_printf ("videotestsrc num-buffers=%u pattern=%s ! "
      "video/x-raw,width=%u,height=%u,framerate=25/1 ! partimefilter name=f%u "
      "model=%s devices=cpu:0 stats-interval=0 %s ! fakesink sync=false ", n,
      patterns[i % 3], 20 + 12 * i, 14 + 4 * i, i, path, settings);
}

static GstElement *
new_cameras (guint n, const gchar *path, const gchar *settings)
{
  g_autoptr (GString) line = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  GstElement *pipeline;

  for (guint i = 0; i < n; i++) {
    g_autofree gchar *branch = new_branch (i, FRAMES + 10 * i, path, settings);

    g_string_append (line, branch);
  }
  pipeline = gst_parse_launch (line->str, &error);
  g_assert_no_error (error);
  return pipeline;
}

static guint64
get_stat (GstElement *pipeline, const gchar *filter, const gchar *name)
{
  g_autoptr (GstElement) element = gst_bin_get_by_name (GST_BIN (pipeline),
      filter);
  g_autoptr (GstStructure) stats = NULL;
  guint64 value = 0;

  g_object_get (element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get_uint64 (stats, name, &value));
  return value;
}

/* Cameras of three sizes get, bit for bit, what each gets alone, of a network
 * that sees two frames at once. */
static void
test_own_results (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_FLOW);
  guint64 hashes[2][3];

  for (guint shared = 0; shared < 2; shared++) {
    GstElement *pipeline = new_cameras (3, path, shared ?
        "model-instance-id=flow" : "");
    Seen seen[3] = { { 0 }, };

    for (guint i = 0; i < 3; i++) {
      g_autofree gchar *name = g_strdup_printf ("f%u", i);

      seen_watch (&seen[i], pipeline, name);
    }
    element_test_play (pipeline);
    for (guint i = 0; i < 3; i++) {
      g_assert_cmpuint (seen[i].n_wrong, ==, 0);
      g_assert_cmpuint (seen[i].n, ==, FRAMES + 10 * i);
      hashes[shared][i] = seen[i].hash;
    }
    element_test_free (pipeline);
  }
  for (guint i = 0; i < 3; i++)
    g_assert_cmphex (hashes[0][i], ==, hashes[1][i]);
  g_assert_cmphex (hashes[0][0], !=, hashes[0][1]);
}

/* What one learns is the other's too; each says which frames learn. */
static void
test_learning (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  GstElement *pipeline = new_cameras (2, path, "model-instance-id=learn "
      "learning-mode=delayed");
  g_autoptr (GstElement) quiet = gst_bin_get_by_name (GST_BIN (pipeline),
      "f1");

  g_object_set (quiet, "learn", FALSE, NULL);
  element_test_play (pipeline);
  g_assert_cmpuint (get_stat (pipeline, "f0", "learned"), ==, FRAMES);
  g_assert_cmpuint (get_stat (pipeline, "f0", "frames"), ==, FRAMES);
  g_assert_cmpuint (get_stat (pipeline, "f1", "learned"), ==, 0);
  g_assert_cmpuint (get_stat (pipeline, "f1", "frames"), ==, FRAMES + 10);
  g_assert_cmpuint (get_stat (pipeline, "f1", "updates"), ==, FRAMES);
  g_assert_cmpuint (get_stat (pipeline, "f0", "updates"), ==, FRAMES);
  element_test_free (pipeline);
}

static void
check_refused (const gchar *first, const gchar *second, const gchar *text)
{
  g_autofree gchar *line = g_strdup_printf ("videotestsrc ! partimefilter "
      "name=one %s ! fakesink", first);
  g_autofree gchar *other = g_strdup_printf ("videotestsrc ! partimefilter "
      "name=two %s ! fakesink", second);
  GstElement *a = gst_parse_launch (line, NULL);
  GstElement *b = gst_parse_launch (other, NULL);
  g_autoptr (GstMessage) message = NULL;
  g_autoptr (GError) error = NULL;

  gst_element_set_state (a, GST_STATE_PLAYING);
  g_assert_cmpint (gst_element_get_state (a, NULL, NULL, WAIT), ==,
      GST_STATE_CHANGE_SUCCESS);
  gst_element_set_state (b, GST_STATE_PAUSED);
  message = element_test_wait (b, GST_MESSAGE_ERROR);
  gst_message_parse_error (message, &error, NULL);
  g_test_message ("%s", error->message);
  g_assert_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  g_assert_nonnull (strstr (error->message, text));
  element_test_free (b);
  element_test_free (a);
}

static void
test_conflicts (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *other = element_test_write ("other.cfg", NET_FLOW);
  g_autofree gchar *first = g_strdup_printf ("model=%s stages=2 "
      "model-instance-id=x", path);
  g_autofree gchar *model = g_strdup_printf ("model=%s model-instance-id=x",
      other);

  check_refused (first, "model-instance-id=x stages=1",
      "stages=1 in element two, expected 2 as in element one");
  check_refused (first, model, "element two, expected");
  check_refused (first, "model-instance-id=x optimizer=sgd",
      "optimizer=sgd in element two, expected none set as in element one");
  check_refused (first, "model-instance-id=y", "no model");
  check_refused (first, "model-instance-id=x resume-stream=true",
      "resume-stream");
  check_refused (first, "model-instance-id=x checkpoint-location=/tmp/a.st",
      "expected none set");
}

/* Only one says what the network is, wherever it is in the pipeline. */
static void
test_model_once (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);

  for (guint k = 0; k < 2; k++) {
    g_autofree gchar *line = g_strdup_printf ("videotestsrc num-buffers=20 ! "
        "partimefilter name=f0 model-instance-id=once %s%s ! fakesink "
        "videotestsrc num-buffers=30 ! partimefilter name=f1 "
        "model-instance-id=once %s%s ! fakesink", k ? "model=" : "",
        k ? path : "", k ? "" : "model=", k ? "" : path);
    GstElement *pipeline = gst_parse_launch (line, NULL);

    element_test_play (pipeline);
    g_assert_cmpuint (get_stat (pipeline, "f0", "frames"), ==, 20);
    g_assert_cmpuint (get_stat (pipeline, "f1", "frames"), ==, 30);
    element_test_free (pipeline);
  }
}

/* -- one after the other -- */

/* One stands still, flushes, ends, stops, starts again: the other goes on. */
static void
test_independent (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *settings = g_strdup_printf ("model=%s "
      "model-instance-id=two", path);
  GstHarness *good = new_harness (settings), *bad = new_harness (settings);
  guint n = 0;

  for (guint round = 0; round < 30; round++) {
    guint left = round % 6;
    GstSegment segment;

    for (guint i = 0; i < left; i++)
      push (bad, i);
    for (guint i = 0; i < 10; i++, n++) {
      push (good, n);
      pull (good, n);
    }
    switch (round % 3) {
      case 0:
        g_assert_true (gst_harness_push_event (bad,
                gst_event_new_flush_start ()));
        g_assert_true (gst_harness_push_event (bad,
                gst_event_new_flush_stop (TRUE)));
        gst_segment_init (&segment, GST_FORMAT_TIME);
        g_assert_true (gst_harness_push_event (bad,
                gst_event_new_segment (&segment)));
        for (GstBuffer *old; (old = gst_harness_try_pull (bad));)
          gst_buffer_unref (old);
        break;
      case 1:
        for (guint i = 0; i < left; i++)
          pull (bad, i);
        g_assert_true (gst_harness_push_event (bad, gst_event_new_eos ()));
        gst_harness_teardown (bad);
        bad = new_harness (settings);
        break;
      default:
        gst_harness_teardown (bad);
        bad = new_harness (settings);
        break;
    }
  }
  gst_harness_teardown (bad);
  for (guint i = 0; i < 10; i++, n++) {
    push (good, n);
    pull (good, n);
  }
  gst_harness_teardown (good);
}

/* The one that came first, and said what the network is, goes first. */
static void
test_first_leaves (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *settings = g_strdup_printf ("model=%s "
      "model-instance-id=three", path);
  g_autofree gchar *where = element_test_path ("left.safetensors");
  GstHarness *first = new_harness (settings);
  GstHarness *second = new_harness ("model-instance-id=three");
  g_autoptr (GstBus) bus = gst_bus_new ();
  g_autoptr (GstMessage) message = NULL;
  gboolean saved;

  push (first, 0);
  gst_element_set_bus (second->element, bus);
  gst_harness_teardown (first);
  for (guint i = 0; i < 20; i++) {
    push (second, i);
    pull (second, i);
  }
  g_signal_emit_by_name (second->element, "save-checkpoint", where, &saved);
  g_assert_true (saved);
  do {
    gst_clear_message (&message);
    message = gst_bus_timed_pop_filtered (bus, WAIT, GST_MESSAGE_ELEMENT);
    g_assert_nonnull (message);
  } while (!gst_message_has_name (message, "partime-checkpoint"));
  g_assert_true (g_file_test (where, G_FILE_TEST_EXISTS));
  gst_element_set_bus (second->element, NULL);
  gst_harness_teardown (second);
}

/* One writes the file, and the next run goes on from it; whoever has weights
 * set gives them to all. */
static void
test_checkpoint (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *file = element_test_path ("shared.safetensors");
  g_autofree gchar *settings = g_strdup_printf ("model-instance-id=save "
      "learning-mode=delayed checkpoint-location=%s", file);
  guint64 before = 0;

  for (guint run = 0; run < 2; run++) {
    GstElement *pipeline = new_cameras (2, path, settings);
    g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
    guint n_saved = 0;
    gboolean end = FALSE;

    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    while (!end) {
      g_autoptr (GstMessage) message = element_test_wait (pipeline,
          GST_MESSAGE_EOS | GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT);

      g_assert_cmpint (GST_MESSAGE_TYPE (message), !=, GST_MESSAGE_ERROR);
      end = GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
      n_saved += gst_message_has_name (message, "partime-checkpoint");
    }
    g_assert_cmpuint (n_saved, ==, 1);
    g_assert_true (g_file_test (file, G_FILE_TEST_EXISTS));
    g_assert_cmpuint (get_stat (pipeline, "f0", "updates"), >, before);
    element_test_free (pipeline);
  }
}

static gpointer
come_and_go (gpointer data)
{
  for (guint i = 0; i < 25; i++) {
    GstHarness *h = new_harness (data);

    for (guint k = 0; k < i % 7; k++)
      push (h, k);
    if (i % 2)
      for (guint k = 0; k < i % 7; k++)
        pull (h, k);
    gst_harness_teardown (h);
  }
  return NULL;
}

/* From several threads, so that the last goes as the next comes. */
static void
test_come_and_go (void)
{
  g_autofree gchar *path = element_test_write ("net.cfg", NET_IMAGE);
  g_autofree gchar *settings = g_strdup_printf ("model=%s "
      "model-instance-id=many", path);
  GThread *threads[4];

  for (guint i = 0; i < 4; i++)
    threads[i] = g_thread_new ("camera", come_and_go, settings);
  for (guint i = 0; i < 4; i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/instance/own-results", test_own_results);
  g_test_add_func ("/instance/learning", test_learning);
  g_test_add_func ("/instance/conflicts", test_conflicts);
  g_test_add_func ("/instance/model-once", test_model_once);
  g_test_add_func ("/instance/independent", test_independent);
  g_test_add_func ("/instance/first-leaves", test_first_leaves);
  g_test_add_func ("/instance/checkpoint", test_checkpoint);
  g_test_add_func ("/instance/come-and-go", test_come_and_go);
  return element_test_run ();
}
