/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Models and weights that are set while the element plays. */

#include "update-test.h"

/* As NET_IMAGE, but smaller and with another layer in it. */
#define NET_SMALL \
  "[network]\nwidth=8\nheight=6\nchannels=3\nframes=2\n" \
  "[image]\ntype=conv2d\nfilters=3\nkernel=1\n" \
  "[learning]\nloss=mse\ntarget=input\noptimizer=sgd lr=1e-3\n" \
  "[output]\nkind=image\n[pipeline]\nstages=1\n"
#define NET_LABELS(width, learning) \
  "[network]\nwidth=" width "\nheight=12\nchannels=1\n" \
  "[features]\ntype=conv2d\nfilters=4\nkernel=3\nactivation=relu\n" \
  "[pool]\ntype=global-avg-pool\n[flat]\ntype=flatten\n" \
  "[classes]\ntype=linear\nunits=20\n" \
  "[learning]\nloss=cross-entropy\n" learning "[output]\nkind=classes\n" \
  "[pipeline]\nstages=2\n"

static void
assert_updated (GstMessage *message, const gchar *model, gboolean weights,
    gboolean optimizer)
{
  const GstStructure *fields = gst_message_get_structure (message);
  gboolean ok, kept;

  g_assert_true (gst_structure_get_boolean (fields, "ok", &ok));
  g_assert_cmpstr (gst_structure_get_string (fields, "error"), ==, NULL);
  g_assert_true (ok);
  g_assert_cmpstr (gst_structure_get_string (fields, "model"), ==, model);
  gst_structure_get_boolean (fields, "weights-kept", &kept);
  g_assert_cmpint (kept, ==, weights);
  gst_structure_get_boolean (fields, "optimizer-kept", &kept);
  g_assert_cmpint (kept, ==, optimizer);
}

static guint64
get_frames (Rig *self)
{
  g_autoptr (GstStructure) stats = NULL;
  guint64 frames = 0;

  g_object_get (self->harness->element, "stats", &stats, NULL);
  gst_structure_get_uint64 (stats, "frames", &frames);
  return frames;
}

/* The same parameters: what was learned goes on, and so do the counts. */
static void
test_same (void)
{
  Rig *rig = rig_new (NET_IMAGE, "is-updatable=true");
  g_autofree gchar *path = element_test_write ("second.cfg", NET_IMAGE);
  g_autoptr (GstMessage) message = NULL;

  rig_run (rig, 10, 16);
  g_object_set (rig->harness->element, "model", path, NULL);
  message = rig_run_until_updated (rig, NULL);
  assert_updated (message, path, TRUE, TRUE);
  rig_run (rig, 10, 16);
  g_assert_cmpuint (get_frames (rig), ==, rig->n_out);
  rig_free (rig);
}

/* Another size, another number of frames: from the frame that is told on, and
 * not before. */
static void
test_other (void)
{
  Rig *rig = rig_new (NET_IMAGE, "is-updatable=true");
  g_autofree gchar *path = element_test_write ("second.cfg", NET_SMALL);
  g_autofree gchar *found = NULL;
  g_autoptr (GArray) widths = g_array_new (FALSE, FALSE, sizeof (gint));
  g_autoptr (GstMessage) message = NULL;
  guint64 frame;

  g_object_set (rig->harness->element, "model", path, NULL);
  message = rig_run_until_updated (rig, widths);
  assert_updated (message, path, FALSE, FALSE);
  gst_structure_get_uint64 (gst_message_get_structure (message), "frame",
      &frame);
  g_assert_cmpuint (frame, <, widths->len);
  for (guint i = 0; i < widths->len; i++)
    g_assert_cmpint (g_array_index (widths, gint, i), ==, i < frame ? 16 : 8);
  g_object_get (rig->harness->element, "model", &found, NULL);
  g_assert_cmpstr (found, ==, path);
  rig_run (rig, 20, 8);
  rig_free (rig);
}

/* What is wrong is told, nothing changes, and the properties say so. */
static void
test_refused (void)
{
  static const struct
  {
    const gchar *network, *text;
  } cases[] = {
    {NULL, "none.cfg"},
    {"[network]\nwidth=8\n", "expected"},
    {"[network]\nwidth=8\nheight=8\nchannels=2\n[a]\ntype=relu\n",
        "expected 1 (luma) or 3 (RGB)"},
    {"[network]\nwidth=8\nheight=8\nchannels=1\n[a]\ntype=relu\n"
          "[output]\nkind=raw\n", "expected error, flow"},
    {NET_IMAGE "precision=fp99\n", "fp99"},
    {NET_SMALL, "not what comes after"},
  };
  Rig *rig = rig_new (NET_IMAGE, "is-updatable=true output=network");
  GstBuffer *buffer;

  gst_harness_set_sink_caps_str (rig->harness,
      "video/x-raw,format=RGB,width=16,height=12");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *path = cases[i].network ? element_test_write ("bad.cfg",
        cases[i].network) : element_test_path ("none.cfg");
    g_autofree gchar *found = NULL;
    g_autoptr (GstMessage) message = NULL;
    const GstStructure *fields;
    gboolean ok;

    g_object_set (rig->harness->element, "model", path, NULL);
    message = rig_run_until_updated (rig, NULL);
    fields = gst_message_get_structure (message);
    g_assert_true (gst_structure_get_boolean (fields, "ok", &ok));
    g_assert_false (ok);
    g_test_message ("%s", gst_structure_get_string (fields, "error"));
    g_assert_nonnull (strstr (gst_structure_get_string (fields, "error"),
            cases[i].text));
    g_object_get (rig->harness->element, "model", &found, NULL);
    g_assert_true (g_str_has_suffix (found, "first.cfg"));
    rig_push (rig);
    buffer = rig_pull (rig);
    g_assert_cmpuint (gst_buffer_get_size (buffer), ==, 16 * 12 * 3);
    gst_buffer_unref (buffer);
  }
  rig_free (rig);
}

/* A picture of another size: downstream is told before the first of them. */
static void
test_renegotiate (gconstpointer timing)
{
  g_autofree gchar *settings = g_strdup_printf ("is-updatable=true "
      "output=network timing=%s", (const gchar *) timing);
  Rig *rig = rig_new (NET_IMAGE, settings);
  g_autofree gchar *path = element_test_write ("second.cfg", NET_SMALL);
  gsize seen = 16 * 12 * 3;
  guint n_new = 0;

  g_object_set (rig->harness->element, "model", path, NULL);
  for (guint i = 0; i < 20000 && n_new < 10; i++) {
    g_autoptr (GstBuffer) buffer = NULL;

    rig_push (rig);
    buffer = rig_pull (rig);
    if (gst_buffer_get_size (buffer) != seen) {
      g_autoptr (GstCaps) caps =
          gst_pad_get_current_caps (rig->harness->sinkpad);
      const GstStructure *s = gst_caps_get_structure (caps, 0);
      gint width;

      seen = gst_buffer_get_size (buffer);
      g_assert_cmpuint (seen, ==, 8 * 6 * 3);
      g_assert_true (gst_structure_get_int (s, "width", &width));
      g_assert_cmpint (width, ==, 8);
      n_new++;
    } else if (n_new > 0)
      n_new++;
    g_usleep (500);
  }
  g_assert_cmpuint (n_new, ==, 10);
  rig_free (rig);
}

/* Zeros as weights give zeros, from the frame that is told on. */
static void
test_weights (void)
{
  Rig *rig = rig_new (NET_HEAT, "is-updatable=true");
  g_autofree gchar *path = element_test_path ("zero.safetensors");
  g_autofree gchar *found = NULL;
  g_autoptr (GstMessage) message = NULL;
  guint64 told = G_MAXUINT64, frame;
  const gchar header[] = "{\"heat.weight\":{\"dtype\":\"F32\",\"shape\":"
      "[1,1,3,3],\"data_offsets\":[0,36]},\"heat.bias\":{\"dtype\":\"F32\","
      "\"shape\":[1],\"data_offsets\":[36,40]}}";
  guint64 size = GUINT64_TO_LE (sizeof header - 1);
  g_autoptr (GByteArray) file = g_byte_array_new ();
  gboolean zero = FALSE;

  g_byte_array_append (file, (const guint8 *) &size, 8);
  g_byte_array_append (file, (const guint8 *) header, sizeof header - 1);
  g_byte_array_set_size (file, file->len + 40);
  memset (file->data + file->len - 40, 0, 40);
  g_assert_true (g_file_set_contents (path, (gchar *) file->data, file->len,
          NULL));
  g_object_set (rig->harness->element, "weights", path, NULL);
  for (guint i = 0; i < 20000 && told == G_MAXUINT64; i++) {
    message = gst_bus_pop_filtered (rig->bus, GST_MESSAGE_ELEMENT);
    if (message && gst_message_has_name (message, "partime-model-updated")) {
      assert_updated (message, gst_structure_get_string
          (gst_message_get_structure (message), "model"), FALSE, TRUE);
      gst_structure_get_uint64 (gst_message_get_structure (message), "frame",
          &told);
    }
    gst_clear_message (&message);
    for (guint k = 0; k < 3; k++) {
      g_autoptr (GstBuffer) buffer = NULL;
      gint dims[4];
      const gfloat *y;

      rig_push (rig);
      buffer = rig_pull (rig);
      y = rig_read (buffer, dims, &frame);
      if (y[0] == 0 && y[17] == 0) {
        zero = TRUE;
        if (told != G_MAXUINT64)
          g_assert_cmpuint (frame, >=, told);
      } else {
        g_assert_false (zero);
        if (told != G_MAXUINT64)
          g_assert_cmpuint (frame, <, told);
      }
    }
    g_usleep (500);
  }
  g_assert_true (zero);
  g_object_get (rig->harness->element, "weights", &found, NULL);
  g_assert_cmpstr (found, ==, path);
  rig_free (rig);
}

/* Both at once are one request; weights of another network are refused; a
 * model alone has no weights from before. */
static void
test_both (void)
{
  Rig *rig = rig_new (NET_IMAGE, "is-updatable=true");
  g_autofree gchar *path = element_test_write ("second.cfg", NET_IMAGE);
  g_autofree gchar *heat = element_test_write ("third.cfg", NET_HEAT);
  g_autofree gchar *weights = element_test_path ("image.safetensors");
  g_autofree gchar *found = NULL;
  GstMessage *message;
  gboolean saved = FALSE, ok;

  rig_run (rig, 5, 16);
  g_signal_emit_by_name (rig->harness->element, "save-checkpoint", weights,
      &saved);
  g_assert_true (saved);
  while (!g_file_test (weights, G_FILE_TEST_EXISTS))
    g_usleep (1000);
  g_object_set (rig->harness->element, "model", path, "weights", weights, NULL);
  message = rig_run_until_updated (rig, NULL);
  assert_updated (message, path, FALSE, TRUE);
  gst_message_unref (message);
  g_object_set (rig->harness->element, "model", heat, "weights", weights, NULL);
  message = rig_run_until_updated (rig, NULL);
  gst_structure_get_boolean (gst_message_get_structure (message), "ok", &ok);
  g_assert_false (ok);
  gst_message_unref (message);
  g_object_get (rig->harness->element, "weights", &found, NULL);
  g_assert_cmpstr (found, ==, weights);
  g_object_set (rig->harness->element, "model", heat, NULL);
  message = rig_run_until_updated (rig, NULL);
  assert_updated (message, heat, FALSE, FALSE);
  gst_message_unref (message);
  g_free (found);
  g_object_get (rig->harness->element, "weights", &found, NULL);
  g_assert_cmpstr (found, ==, NULL);
  rig_free (rig);
}

/* Not asked for: told, and nothing happens until READY. */
static void
test_not_updatable (void)
{
  Rig *rig = rig_new (NET_IMAGE, "");
  g_autofree gchar *path = element_test_write ("second.cfg", NET_SMALL);
  g_autoptr (GstMessage) message = NULL;
  g_autoptr (GError) error = NULL;

  rig_run (rig, 3, 16);
  g_object_set (rig->harness->element, "model", path, NULL);
  message = gst_bus_timed_pop_filtered (rig->bus, WAIT, GST_MESSAGE_WARNING);
  gst_message_parse_warning (message, &error, NULL);
  g_assert_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  g_assert_nonnull (strstr (error->message, "is-updatable=true"));
  rig_run (rig, 30, 16);
  gst_element_set_state (rig->harness->element, GST_STATE_READY);
  rig_free (rig);
}

/* Whatever was set last is what runs in the end. */
static void
test_last_wins (void)
{
  for (guint round = 0; round < 5; round++) {
    Rig *rig = rig_new (NET_IMAGE, "is-updatable=true");
    g_autofree gchar *image = element_test_write ("a.cfg", NET_IMAGE);
    g_autofree gchar *small = element_test_write ("b.cfg", NET_SMALL);
    g_autofree gchar *heat = element_test_write ("c.cfg", NET_HEAT);
    const gchar *const all[] = { image, heat, image, heat, small };
    gboolean ok = FALSE;

    for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
      g_object_set (rig->harness->element, "model", all[i], NULL);
      rig_push (rig);
      gst_buffer_unref (rig_pull (rig));
      g_usleep (round * 1000);
    }
    while (!ok) {
      g_autoptr (GstMessage) message = rig_run_until_updated (rig, NULL);
      const GstStructure *fields = gst_message_get_structure (message);

      gst_structure_get_boolean (fields, "ok", &ok);
      ok = ok && g_strcmp0 (gst_structure_get_string (fields, "model"),
          small) == 0;
    }
    rig_run (rig, 20, 8);
    rig_free (rig);
  }
}

/* -- in the way of other things -- */

static void
test_eos_and_flush (gconstpointer settings)
{
  Rig *rig = rig_new (NET_IMAGE, settings);
  g_autofree gchar *a = element_test_write ("a.cfg", NET_IMAGE);
  g_autofree gchar *b = element_test_write ("b.cfg", NET_SMALL);
  GstHarness *h = rig->harness;
  GstSegment segment;

  for (guint i = 0; i < 40; i++) {
    g_object_set (h->element, "model", i % 3 ? a : b, NULL);
    for (guint k = 0; k < i % 7; k++)
      rig_push (rig);
    g_usleep (i % 5 * 2000);
    if (i % 7 > 2 && i % 2)
      rig_push (rig);
    if (i % 4 == 1) {
      g_assert_true (gst_harness_push_event (h, gst_event_new_eos ()));
    } else if (i % 4 == 2) {
      gst_harness_set_src_caps_str (h, i % 8 == 2 ? "video/x-raw,format=RGB,"
          "width=20,height=14,framerate=30/1" : "video/x-raw,format=RGB,"
          "width=20,height=14,framerate=25/1");
    }
    if (i % 4 == 0 || i % 4 == 1) {
      g_assert_true (gst_harness_push_event (h, gst_event_new_flush_start ()));
      g_assert_true (gst_harness_push_event (h,
              gst_event_new_flush_stop (TRUE)));
      gst_segment_init (&segment, GST_FORMAT_TIME);
      g_assert_true (gst_harness_push_event (h,
              gst_event_new_segment (&segment)));
      for (GstBuffer *left; (left = gst_harness_try_pull (h));)
        gst_buffer_unref (left);
      rig->n_in = rig->n_out = 0;
    } else
      while (rig->n_out < rig->n_in)
        gst_buffer_unref (rig_pull (rig));
  }
  rig_push (rig);
  gst_buffer_unref (rig_pull (rig));
  rig_free (rig);
}

/* A class for each pixel. */
#define NET_MAPS(width) \
  "[network]\nwidth=" width "\nheight=12\nchannels=1\n" \
  "[classes]\ntype=conv2d\nfilters=20\nkernel=3\npadding=1\n" \
  "[learning]\nloss=cross-entropy\n[output]\nkind=segmentation\n" \
  "[pipeline]\nstages=1\n"

typedef struct
{
  GstElement *element;
  gchar *models[3], *weights, *checkpoint;
  gint done;                    /* atomic */
} Churn;

static gpointer
churn_run (gpointer data)
{
  Churn *self = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (3);

  while (!g_atomic_int_get (&self->done)) {
    g_autoptr (GstStructure) stats = NULL;
    gboolean done;

    switch (g_rand_int_range (rand, 0, 9)) {
      case 0:
      case 1:
      case 2:
        g_object_set (self->element, "model",
            self->models[g_rand_int_range (rand, 0, 3)], NULL);
        break;
      case 3:
        g_object_set (self->element, "weights", self->weights, NULL);
        break;
      case 4:
        g_signal_emit_by_name (self->element, "save-checkpoint",
            self->checkpoint, &done);
        break;
      case 5:
        if (g_file_test (self->checkpoint, G_FILE_TEST_EXISTS))
          g_signal_emit_by_name (self->element, "load-checkpoint",
              self->checkpoint, &done);
        break;
      case 6:
        g_signal_emit_by_name (self->element, "reset", &done);
        break;
      case 7:
        g_object_get (self->element, "stats", &stats, NULL);
        break;
      default:
        g_object_set (self->element, "learning-rate",
            g_rand_double_range (rand, 0, 1e-3), "learn-interval",
            g_rand_int_range (rand, 0, 3), NULL);
        break;
    }
    g_usleep (g_rand_int_range (rand, 100, 20000));
  }
  return NULL;
}

/* Every knob while models change: each frame comes out once, in order. */
static void
test_churn (void)
{
  Rig *rig = rig_new (NET_IMAGE, "is-updatable=true "
      "settings=\"settings,learning.replay=(string)4\" "
      "checkpoint-interval=20000000");
  Churn churn = { rig->harness->element };
  GThread *thread;
  guint n = g_getenv ("SOAK_FRAMES") ? 300 : 1500;

  churn.models[0] = element_test_write ("a.cfg", NET_IMAGE);
  churn.models[1] = element_test_write ("b.cfg", NET_SMALL);
  churn.models[2] = element_test_write ("c.cfg", NET_FLOW);
  churn.weights = element_test_path ("image.safetensors");
  churn.checkpoint = element_test_path ("churn.safetensors");
  thread = g_thread_new ("churn", churn_run, &churn);
  for (guint i = 0; i < n; i++) {
    rig_push (rig);
    if (i % 3 == 2)
      while (rig->n_out + 2 < rig->n_in)
        gst_buffer_unref (rig_pull (rig));
    g_usleep (300);
  }
  g_atomic_int_set (&churn.done, TRUE);
  g_thread_join (thread);
  while (rig->n_out < rig->n_in)
    gst_buffer_unref (rig_pull (rig));
  for (guint i = 0; i < 3; i++)
    g_free (churn.models[i]);
  g_free (churn.weights);
  g_free (churn.checkpoint);
  rig_free (rig);
}

/* Stopped at any moment of it. */
static void
test_stop (void)
{
  for (guint i = 0; i < 30; i++) {
    Rig *rig = rig_new (NET_IMAGE, "is-updatable=true");
    g_autofree gchar *path = element_test_write ("second.cfg", i % 2
        ? NET_IMAGE : NET_SMALL);

    if (i % 5 != 0)
      rig_push (rig);
    g_object_set (rig->harness->element, "model", path, NULL);
    g_usleep (i * 500);
    if (i % 3 != 0)
      rig_push (rig);
    if (i % 4 == 0)
      gst_element_set_state (rig->harness->element, GST_STATE_READY);
    rig_free (rig);
  }
}

typedef struct
{
  const gchar *name, *first, *other;
  guint64 least;                /* labels that find their frames, of 400 */
} LabelCase;

static const LabelCase label_cases[] = {
  {"same", NET_LABELS ("16", "optimizer=adam\n"),
        NET_LABELS ("16", "optimizer=sgd lr=1e-3\n"), 400},
  {"same-class", NET_LABELS ("16", ""), NET_LABELS ("24", ""), 400},
  {"same-map", NET_MAPS ("16"), NET_MAPS ("16"), 400},
  {"other-map", NET_MAPS ("16"), NET_MAPS ("24"), 400},
};

/* Labels that wait are for the frame they were for, whichever model it meets;
 * those made for another size are made again. A model that needs none is
 * refused. */
static void
test_labels (gconstpointer data)
{
  const LabelCase *test = data;
  g_autofree gchar *a = element_test_write ("a.cfg", test->first);
  g_autofree gchar *b = element_test_write ("b.cfg", test->other);
  g_autofree gchar *c = element_test_write ("c.cfg", NET_IMAGE);
  g_autofree gchar *line = g_strdup_printf ("videotestsrc num-buffers=400 ! "
      "video/x-raw,format=GRAY8,width=16,height=12,framerate=100/1 ! "
      "identity sleep-time=2000 ! partimefilter name=f is-updatable=true "
      "devices=cpu:0 model=%s ! fakesink sync=false videotestsrc "
      "num-buffers=400 pattern=black ! video/x-raw,format=GRAY8,width=1,"
      "height=1,framerate=100/1 ! queue ! f.label", a);
  GstElement *pipeline = gst_parse_launch (line, NULL);
  g_autoptr (GstElement) filter = gst_bin_get_by_name (GST_BIN (pipeline),
      "f");
  g_autoptr (GstStructure) stats = NULL;
  guint n_ok = 0, n_refused = 0;
  guint64 labels, learned, unlabelled, late;
  gboolean end = FALSE, ok;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (!end) {
    g_autoptr (GstMessage) message = element_test_wait (pipeline,
        GST_MESSAGE_EOS | GST_MESSAGE_ERROR | GST_MESSAGE_ELEMENT
        | GST_MESSAGE_STREAM_START);

    g_assert_cmpint (GST_MESSAGE_TYPE (message), !=, GST_MESSAGE_ERROR);
    end = GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_STREAM_START)
      g_object_set (filter, "model", b, NULL);
    if (!gst_message_has_name (message, "partime-model-updated"))
      continue;
    gst_structure_get_boolean (gst_message_get_structure (message), "ok", &ok);
    n_ok += ok;
    n_refused += !ok;
    if (n_ok + n_refused < 3)
      g_object_set (filter, "model", n_ok == 1 ? c : a, NULL);
  }
  g_assert_cmpuint (n_ok, >=, 1);
  g_assert_cmpuint (n_refused, >=, 1);
  g_object_get (filter, "stats", &stats, NULL);
  gst_structure_get (stats, "labels", G_TYPE_UINT64, &labels, "unlabelled",
      G_TYPE_UINT64, &unlabelled, "late-labels", G_TYPE_UINT64, &late,
      "learned", G_TYPE_UINT64, &learned, NULL);
  g_test_message ("%u models, %" G_GUINT64_FORMAT " labels", n_ok, labels);
  g_assert_cmpuint (labels + unlabelled, ==, 400);
  g_assert_cmpuint (labels, >=, test->least);
  g_assert_cmpuint (late, ==, 0);
  element_test_free (pipeline);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/update/same", test_same);
  g_test_add_func ("/update/other", test_other);
  g_test_add_func ("/update/refused", test_refused);
  g_test_add_data_func ("/update/renegotiate", "aligned", test_renegotiate);
  g_test_add_data_func ("/update/renegotiate-latest", "latest",
      test_renegotiate);
  g_test_add_func ("/update/weights", test_weights);
  g_test_add_func ("/update/both", test_both);
  g_test_add_func ("/update/not-updatable", test_not_updatable);
  g_test_add_func ("/update/last-wins", test_last_wins);
  g_test_add_data_func ("/update/eos-and-flush/frames", "is-updatable=true",
      test_eos_and_flush);
  g_test_add_data_func ("/update/eos-and-flush/network",
      "is-updatable=true output=network", test_eos_and_flush);
  g_test_add_data_func ("/update/eos-and-flush/latest",
      "is-updatable=true output=network timing=latest", test_eos_and_flush);
  g_test_add_func ("/update/churn", test_churn);
  g_test_add_func ("/update/stop", test_stop);
  for (guint i = 0; i < G_N_ELEMENTS (label_cases); i++) {
    g_autofree gchar *name = g_strdup_printf ("/update/labels/%s",
        label_cases[i].name);

    g_test_add_data_func (name, &label_cases[i], test_labels);
  }
  return element_test_run ();
}
