/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Networks whose files leave height and width open. */

#include "size-test.h"

/* Its weights depend on the size. */
#define FLAT \
  "[flat]\ntype=flatten\n[units]\ntype=linear\nunits=3\n" \
  "[output]\nkind=classes\n[pipeline]\nstages=1\n"
/* Nothing is half as large as itself. */
#define NOTHING \
  "[half]\ntype=conv2d\nfilters=1\nkernel=2\nstride=2\n" \
  "[sum]\ntype=add\ninputs=half;input\n[output]\nkind=heatmap\n"

static void
rig_expect_error (Rig *self, GQuark domain, gint code, const gchar *first,
    const gchar *second)
{
  g_autoptr (GstMessage) message = rig_wait (self, GST_MESSAGE_ERROR, NULL);
  g_autoptr (GError) error = NULL;

  gst_message_parse_error (message, &error, NULL);
  g_test_message ("%s", error->message);
  g_assert_error (error, domain, code);
  g_assert_nonnull (strstr (error->message, first));
  g_assert_nonnull (strstr (error->message, second));
}

/* The same, bit for bit, as where the file says that size. */
static void
test_first_caps (void)
{
  guint64 hash[2];

  for (guint closed = 0; closed < 2; closed++) {
    Rig *rig = rig_new (closed ? CLOSED ("22", "14") LAYERS : OPEN LAYERS, "");

    rig_set_size (rig, 22, 14);
    hash[closed] = rig_run (rig, 20, 22, 14);
    rig_free (rig);
  }
  g_assert_cmphex (hash[0], ==, hash[1]);
}

/* What the user or the file says of the size stays so. */
static void
test_half_open (void)
{
  static const struct
  {
    const gchar *network, *settings;
    gint width, height;
  } cases[] = {
    {OPEN LAYERS, "settings=\"settings,network.width=16\"", 16, 14},
    {OPEN LAYERS, "settings=\"settings,network.width=16,network.height=8\"",
        16, 8},
    {OPEN "height=10\n" LAYERS, "", 22, 10},
    {OPEN "height=0\nwidth=18\n" LAYERS, "", 18, 14},
    {CLOSED ("12", "10") LAYERS, "settings=\"settings,network.width=0\"", 22,
        10},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Rig *rig = rig_new (cases[i].network, cases[i].settings);

    rig_set_size (rig, 22, 14);
    rig_run (rig, 3, cases[i].width, cases[i].height);
    rig_free (rig);
  }
}

/* Frames that fit are taken as they are, others scaled as little as can be. */
static void
test_multiple (void)
{
  static const gint sizes[][4] = {
    {24, 16, 24, 16}, {70, 50, 64, 64}, {90, 32, 96, 32}, {9, 9, 32, 32},
  };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    Rig *rig = rig_new (OPEN UNET, "");
    g_autoptr (GstMessage) message = NULL;

    rig_set_size (rig, sizes[i][0], sizes[i][1]);
    rig_run (rig, 3, sizes[i][2], sizes[i][3]);
    message = gst_bus_pop_filtered (rig->bus, GST_MESSAGE_INFO);
    g_assert_cmpint (message != NULL, ==, sizes[i][0] != sizes[i][2]);
    rig_free (rig);
  }
}

/* No size will do, as is told with the first caps: layer, both shapes, and what
 * to set. */
static void
test_impossible (void)
{
  Rig *rig = rig_new (OPEN NOTHING, "");

  rig_set_size (rig, 22, 14);
  rig_expect_error (rig, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE,
      "22x14; set network.width and network.height", "[sum]");
  g_assert_cmpint (rig_push (rig), !=, GST_FLOW_OK);
  rig_free (rig);
}

/* What is wrong whatever the size is told before frames come. */
static void
test_early_errors (void)
{
  static const struct
  {
    const gchar *settings, *text;
    gint code;
    gboolean is_about_stream;
  } cases[] = {
    {"model=/nowhere/net.cfg", "/nowhere/net.cfg",
        GST_RESOURCE_ERROR_NOT_FOUND},
    {"loss=wrong", "wrong", GST_RESOURCE_ERROR_SETTINGS},
    {"weights=/nowhere/w.safetensors", "/nowhere/w.safetensors",
        GST_RESOURCE_ERROR_NOT_FOUND},
    {"settings=\"settings,network.width=-3\"", "-3",
        GST_RESOURCE_ERROR_SETTINGS},
    {"checkpoint-location=/nowhere/c.safetensors", "/nowhere",
        GST_RESOURCE_ERROR_NOT_FOUND},
    {"weights=/etc/passwd", "/etc/passwd: cannot read the safetensors file",
        GST_RESOURCE_ERROR_READ},
    {"settings=\"settings,output.kind=flow\"", "net.cfg: [output] kind=flow",
        GST_STREAM_ERROR_WRONG_TYPE, TRUE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *path = element_test_write ("net.cfg", OPEN LAYERS);
    g_autofree gchar *line = g_strdup_printf ("partimefilter model=%s %s",
        path, cases[i].settings);
    GstElement *element = gst_parse_launch (line, NULL);
    g_autoptr (GstBus) bus = gst_bus_new ();
    g_autoptr (GstMessage) message = NULL;
    g_autoptr (GError) error = NULL;

    gst_element_set_bus (element, bus);
    g_assert_cmpint (gst_element_set_state (element, GST_STATE_PAUSED), ==,
        GST_STATE_CHANGE_FAILURE);
    message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
    g_assert_nonnull (message);
    gst_message_parse_error (message, &error, NULL);
    g_test_message ("%s", error->message);
    if (cases[i].is_about_stream)
      g_assert_error (error, GST_STREAM_ERROR, cases[i].code);
    else
      g_assert_error (error, GST_RESOURCE_ERROR, cases[i].code);
    g_assert_nonnull (strstr (error->message, cases[i].text));
    g_assert_null (strstr (error->message, "set network.width"));
    gst_element_set_bus (element, NULL);
    gst_element_set_state (element, GST_STATE_NULL);
    gst_object_unref (element);
  }
}

/* -- other caps later -- */

/* From the first frame of another size on the network is of that size, and goes
 * on with weights, running statistics and optimizer: bit for bit what a run
 * that ends there, and one that begins from its checkpoint, give. */
static void
test_change (void)
{
  g_autofree gchar *path = element_test_path ("change.safetensors");
  Rig *rig = rig_new (OPEN LAYERS, "");
  g_autoptr (GstMessage) message = NULL;
  guint64 found[2], expected[2], frame;
  gboolean ok, weights, optimizer;

  rig_set_size (rig, 22, 14);
  found[0] = rig_run (rig, 15, 22, 14);
  rig_set_size (rig, 30, 18);
  found[1] = rig_run (rig, 15, 30, 18);
  message = rig_wait (rig, GST_MESSAGE_ELEMENT, "partime-model-updated");
  g_assert_true (gst_structure_get (gst_message_get_structure (message), "ok",
          G_TYPE_BOOLEAN, &ok, "weights-kept", G_TYPE_BOOLEAN, &weights,
          "optimizer-kept", G_TYPE_BOOLEAN, &optimizer, "frame", G_TYPE_UINT64,
          &frame, NULL));
  g_assert_true (ok && weights && optimizer);
  g_assert_cmpuint (frame, ==, 15);
  rig_free (rig);
  expected[0] = run_closed (CLOSED ("22", "14") LAYERS, path, 22, 14, 15, 0);
  expected[1] = run_closed (CLOSED ("30", "18") LAYERS, path, 30, 18, 15, 15);
  for (guint i = 0; i < 2; i++)
    g_assert_cmphex (found[i], ==, expected[i]);
}

/* To and fro, with frames inside. */
static void
test_change_often (gconstpointer settings)
{
  Rig *rig = rig_new (OPEN LAYERS, settings);
  gint sizes[12][2];

  for (guint i = 0; i < 12; i++) {
    sizes[i][0] = 20 + 4 * (i % 3);
    sizes[i][1] = 14 + 2 * (i % 2);
    rig_set_size (rig, sizes[i][0], sizes[i][1]);
    for (guint k = 0; k < i % 4; k++)
      g_assert_cmpint (rig_push (rig), ==, GST_FLOW_OK);
  }
  for (guint i = 0; i < 12; i++)
    for (guint k = 0; k < i % 4; k++)
      rig_pull (rig, sizes[i][0], sizes[i][1]);
  rig_free (rig);
}

/* What comes next is told the size of each picture before it. */
static void
test_change_picture (void)
{
  Rig *rig = rig_new (OPEN LAYERS, "output=network");

  for (guint i = 0; i < 4; i++) {
    gint width = i % 2 ? 36 : 24, height = i % 2 ? 18 : 12, found[2];
    g_autoptr (GstCaps) caps = NULL;

    rig_set_size (rig, width, height);
    g_assert_cmpint (rig_push (rig), ==, GST_FLOW_OK);
    rig_pull (rig, width, height);
    caps = gst_pad_get_current_caps (rig->harness->sinkpad);
    gst_structure_get (gst_caps_get_structure (caps, 0), "width", G_TYPE_INT,
        &found[0], "height", G_TYPE_INT, &found[1], NULL);
    g_assert_cmpint (found[0], ==, width);
    g_assert_cmpint (found[1], ==, height);
  }
  rig_free (rig);
}

/* Weights that are for one size stay, and frames are scaled to it. */
static void
test_change_refused (void)
{
  Rig *rig = rig_new (OPEN FLAT, "");
  g_autoptr (GstMessage) message = NULL, warning = NULL;
  g_autofree gchar *model = NULL;
  const GstStructure *fields;
  gboolean ok = TRUE;

  rig_set_size (rig, 22, 14);
  rig_run (rig, 3, 0, 0);
  rig_set_size (rig, 20, 14);
  rig_run (rig, 3, 0, 0);
  message = rig_wait (rig, GST_MESSAGE_ELEMENT, "partime-model-updated");
  fields = gst_message_get_structure (message);
  g_assert_true (gst_structure_get_boolean (fields, "ok", &ok));
  g_assert_false (ok);
  g_test_message ("%s", gst_structure_get_string (fields, "error"));
  g_assert_nonnull (strstr (gst_structure_get_string (fields, "error"),
          "[units]: found weight 3x280"));
  g_assert_nonnull (strstr (gst_structure_get_string (fields, "error"),
          "expected weight 3x308"));
  g_object_get (rig->harness->element, "model", &model, NULL);
  g_assert_true (g_str_has_suffix (model, "net.cfg"));
  /* the first size again: nothing to do */
  rig_set_size (rig, 22, 14);
  rig_run (rig, 3, 0, 0);
  g_assert_null (gst_bus_pop_filtered (rig->bus, GST_MESSAGE_ELEMENT));
  rig_free (rig);
}

/* A checkpoint of another size is as good where weights do not depend on it. */
static void
test_resume (void)
{
  g_autofree gchar *path = element_test_path ("resume.safetensors");
  g_autofree gchar *flat = element_test_path ("flat.safetensors");
  g_autofree gchar *settings = g_strdup_printf ("checkpoint-location=%s",
      flat);
  guint64 closed, open;
  Rig *rig;

  run_closed (CLOSED ("22", "14") LAYERS, path, 22, 14, 10, 0);
  {
    g_autofree gchar *copy = element_test_path ("copy.safetensors");
    g_autofree gchar *data = NULL;
    gsize size;

    g_assert_true (g_file_get_contents (path, &data, &size, NULL));
    g_assert_true (g_file_set_contents (copy, data, size, NULL));
    closed = run_closed (CLOSED ("30", "18") LAYERS, path, 30, 18, 5, 0);
    open = run_closed (OPEN LAYERS, copy, 30, 18, 5, 0);
  }
  g_assert_cmphex (closed, ==, open);
  rig = rig_new (OPEN FLAT, "");
  rig_set_size (rig, 22, 14);
  rig_run (rig, 1, 0, 0);
  g_signal_emit_by_name (rig->harness->element, "save-checkpoint", flat,
      &(gboolean) { FALSE });
  gst_message_unref (rig_wait (rig, GST_MESSAGE_ELEMENT,
          "partime-checkpoint"));
  rig_free (rig);
  rig = rig_new (OPEN FLAT, settings);
  rig_set_size (rig, 20, 14);
  rig_expect_error (rig, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE,
      "units.weight", "shape 3x308");
  rig_free (rig);
}

/* Each start takes the size anew. */
static void
test_again (void)
{
  Rig *rig = rig_new (OPEN LAYERS, "");

  for (guint i = 0; i < 3; i++) {
    rig_set_size (rig, 20 + 4 * i, 14);
    rig_run (rig, 3, 20 + 4 * i, 14);
    gst_element_set_state (rig->harness->element, GST_STATE_READY);
    gst_element_set_state (rig->harness->element, GST_STATE_PLAYING);
    rig->n_in = rig->n_out = 0;
    gst_harness_push_event (rig->harness,
        gst_event_new_stream_start ("again"));
  }
  /* and it may end without one */
  gst_harness_push_event (rig->harness, gst_event_new_eos ());
  gst_element_set_state (rig->harness->element, GST_STATE_READY);
  rig_free (rig);
}

/* -- beside other things -- */

/* Of several elements the first caps count; the other's frames are scaled. */
static void
test_shared (void)
{
  Rig *first = rig_new (OPEN LAYERS, "model-instance-id=open");
  Rig *second = rig_new (NULL, "model-instance-id=open");

  rig_set_size (first, 22, 14);
  rig_run (first, 3, 22, 14);
  rig_set_size (second, 30, 18);
  rig_run (second, 3, 22, 14);
  rig_set_size (first, 26, 18);
  rig_run (first, 3, 22, 14);
  rig_free (first);
  rig_run (second, 3, 22, 14);
  rig_free (second);
}

static GstBuffer *
new_class (guint f, guint size)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, size, NULL);

  gst_buffer_memset (buffer, 0, f % 3, size);
  GST_BUFFER_PTS (buffer) = f * DURATION;
  GST_BUFFER_DURATION (buffer) = DURATION;
  return buffer;
}

/* Labels that come before any frame, or before another size, are for them all
 * the same: maps of classes, whose size is the frames'. */
static void
test_labels (void)
{
  Rig *rig = rig_new (OPEN
      "[classes]\ntype=conv2d\nfilters=3\nkernel=3\npadding=1\n"
      "[learning]\nloss=cross-entropy\noptimizer=sgd lr=0\n"
      "[output]\nkind=segmentation\n[pipeline]\nstages=1\n", "");
  GstHarness *labels = gst_harness_new_with_element (rig->harness->element,
      "label", NULL);
  g_autoptr (GstStructure) stats = NULL;
  guint64 learned, n_labels, bad;

  gst_harness_set_src_caps_str (labels, "video/x-raw,format=GRAY8,width=8,"
      "height=4,framerate=25/1");
  for (guint f = 0; f < 5; f++)
    g_assert_cmpint (gst_harness_push (labels, new_class (f, 32)), ==,
        GST_FLOW_OK);
  for (guint f = 0; f < 10; f++) {
    gint width = f < 3 || f > 6 ? 22 : 30;

    if (f >= 5)
      gst_harness_push (labels, new_class (f, 32));
    rig_set_size (rig, width, 14);
    g_assert_cmpint (rig_push (rig), ==, GST_FLOW_OK);
    rig_pull (rig, width, 14);
  }
  g_object_get (rig->harness->element, "stats", &stats, NULL);
  g_assert_true (gst_structure_get (stats, "labels", G_TYPE_UINT64, &n_labels,
          "learned", G_TYPE_UINT64, &learned, "bad-labels", G_TYPE_UINT64,
          &bad, NULL));
  g_assert_cmpuint (bad, ==, 0);
  g_assert_cmpuint (n_labels, ==, 10);
  g_assert_cmpuint (learned, ==, 10);
  gst_harness_teardown (labels);
  rig_free (rig);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/size/first-caps", test_first_caps);
  g_test_add_func ("/size/half-open", test_half_open);
  g_test_add_func ("/size/multiple", test_multiple);
  g_test_add_func ("/size/impossible", test_impossible);
  g_test_add_func ("/size/early-errors", test_early_errors);
  g_test_add_func ("/size/change", test_change);
  g_test_add_data_func ("/size/change-often/frames", "", test_change_often);
  g_test_add_data_func ("/size/change-often/picture", "output=network",
      test_change_often);
  g_test_add_func ("/size/change-picture", test_change_picture);
  g_test_add_func ("/size/change-refused", test_change_refused);
  g_test_add_func ("/size/resume", test_resume);
  g_test_add_func ("/size/again", test_again);
  g_test_add_func ("/size/shared", test_shared);
  g_test_add_func ("/size/labels", test_labels);
  return element_test_run ();
}
