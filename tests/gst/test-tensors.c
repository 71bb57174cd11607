/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Several outputs of a network: as metadata, and as other/tensors. */

#include "element-test.h"

#define HEAD "[network]\nwidth=16\nheight=12\nchannels=1\n"
#define LAYERS \
  "[body]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\nactivation=relu\n" \
  "[flow]\ntype=conv2d\nfilters=2\nkernel=3\npadding=1\n" \
  "[pool]\ntype=global-avg-pool\ninputs=body\n[row]\ntype=flatten\n" \
  "[output]\nkind=flow\n[pipeline]\nstages=2\n"
#define NET HEAD "output=flow;row;body\n" LAYERS
#define N_OUTPUTS 3

static const gchar *const names[N_OUTPUTS] = { "flow", "row", "body" };
static const gint shapes[N_OUTPUTS][5] = {
  {4, 1, 2, 12, 16}, {2, 1, 4}, {4, 1, 4, 12, 16}
};
static const gsize sizes[N_OUTPUTS] = { 2 * 12 * 16 * 4, 16, 4 * 12 * 16 * 4 };

static GstHarness *
new_harness (const gchar *network, const gchar *properties)
{
  g_autofree gchar *path = element_test_write ("net.cfg", network);
  g_autofree gchar *launch = g_strdup_printf ("partimefilter model=%s %s",
      path, properties);
  g_autoptr (GError) error = NULL;
  g_autoptr (GstElement) element = gst_parse_launch (launch, &error);
  GstHarness *h;

  g_assert_no_error (error);
  h = gst_harness_new_with_element (element, "sink", "src");
  gst_harness_set_src_caps_str (h, "video/x-raw,format=GRAY8,width=16,height=12"
      ",framerate=25/1");
  return h;
}

/* A frame of grey @value. */
static GstBuffer *
pass (GstHarness *h, guint8 value)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 16 * 12, NULL);

  gst_buffer_memset (buffer, 0, value, 16 * 12);
  GST_BUFFER_PTS (buffer) = 77;
  GST_BUFFER_DURATION (buffer) = 40;
  g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  g_assert_nonnull (buffer);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, 77);
  g_assert_cmpuint (GST_BUFFER_DURATION (buffer), ==, 40);
  return buffer;
}

static GstSample *
get_sample (GstBuffer *buffer, guint index)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "GstPartimeMeta");
  const GValue *tensors;

  g_assert_nonnull (meta);
  tensors = gst_structure_get_value (gst_custom_meta_get_structure (meta),
      "tensors");
  g_assert_cmpuint (gst_value_array_get_size (tensors), ==, N_OUTPUTS);
  return g_value_get_boxed (gst_value_array_get_value (tensors, index));
}

static void
check_sample (GstSample *sample, guint index)
{
  const GstStructure *info = gst_sample_get_info (sample);
  const GValue *dims = gst_structure_get_value (info, "dims");

  g_assert_cmpstr (gst_structure_get_string (info, "name"), ==, names[index]);
  g_assert_cmpint (gst_value_array_get_size (dims), ==, shapes[index][0]);
  for (gint i = 0; i < shapes[index][0]; i++)
    g_assert_cmpint (g_value_get_int (gst_value_array_get_value (dims, i)), ==,
        shapes[index][1 + i]);
  g_assert_cmpuint (gst_buffer_get_size (gst_sample_get_buffer (sample)), ==,
      sizes[index]);
}

static void
test_meta (void)
{
  GstHarness *h = new_harness (NET, "");
  g_autoptr (GstBuffer) buffer = pass (h, 100);

  for (guint i = 0; i < N_OUTPUTS; i++)
    check_sample (get_sample (buffer, i), i);
  gst_harness_teardown (h);
}

static void
check_caps (GstHarness *h, const gchar *expected)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (h->sinkpad);
  g_autoptr (GstCaps) wanted = gst_caps_from_string (expected);

  if (!gst_caps_is_equal (caps, wanted))
    g_error ("found %s, expected %s", gst_caps_to_string (caps), expected);
}

#define CAPS "other/tensors,format=(string)static,num_tensors=(int)3," \
  "dimensions=(string)\"16:12:2:1,4:1:1:1,16:12:4:1\"," \
  "types=(string)\"float32,float32,float32\",framerate=(fraction)25/1"

/* One memory for each output, with the numbers that are in the metadata. */
static void
test_buffers (void)
{
  GstHarness *h = new_harness (NET, "output=tensors");

  for (guint f = 0; f < 20; f++) {
    g_autoptr (GstBuffer) buffer = pass (h, 10 * f);

    check_caps (h, CAPS);
    g_assert_cmpuint (gst_buffer_n_memory (buffer), ==, N_OUTPUTS);
    g_assert_false (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_GAP));
    for (guint i = 0; i < N_OUTPUTS; i++) {
      GstBuffer *same = gst_sample_get_buffer (get_sample (buffer, i));
      GstMemory *memory = gst_buffer_peek_memory (buffer, i);
      GstMapInfo map;

      g_assert_true (gst_memory_map (memory, &map, GST_MAP_READ));
      g_assert_cmpuint (map.size, ==, sizes[i]);
      g_assert_cmpint (gst_buffer_memcmp (same, 0, map.data, map.size), ==, 0);
      gst_memory_unmap (memory, &map);
    }
  }
  gst_harness_teardown (h);
}

static void
check_gap (GstBuffer *buffer, guint n)
{
  g_autofree gchar *zeros = g_malloc0 (gst_buffer_get_size (buffer));

  g_assert_cmpuint (gst_buffer_n_memory (buffer), ==, n);
  g_assert_true (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_GAP));
  g_assert_null (gst_buffer_get_custom_meta (buffer, "GstPartimeMeta"));
  g_assert_cmpint (gst_buffer_memcmp (buffer, 0, zeros,
          gst_buffer_get_size (buffer)), ==, 0);
}

/* Without a result, or with one that is not finite. */
static void
test_gaps (void)
{
  GstHarness *early = new_harness (NET, "output=tensors timing=latest");
  GstHarness *bad = new_harness (HEAD "output=l;r\n[r]\ntype=relu\n"
      "[l]\ntype=log\n", "output=tensors");
  g_autoptr (GstBuffer) first = pass (early, 1), white = pass (bad, 255);
  g_autoptr (GstBuffer) black = pass (bad, 0);

  check_gap (first, N_OUTPUTS);
  check_gap (black, 2);
  g_assert_false (GST_BUFFER_FLAG_IS_SET (white, GST_BUFFER_FLAG_GAP));
  g_assert_cmpuint (gst_buffer_get_size (white), ==, 2 * 16 * 12 * 4);
  gst_harness_teardown (early);
  gst_harness_teardown (bad);
}

/* Returns: (transfer full) (nullable): why it did not play */
static GError *
play (const gchar *text, const gchar *network)
{
  return element_test_play_wrong (element_test_launch (text, network));
}

#define SOURCE "videotestsrc num-buffers=100 ! video/x-raw,width=32,height=24 ! " \
  "partimefilter name=p model=%s output=tensors ! "

static void
test_negotiation (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (play (SOURCE "fakesink", NET));
  g_assert_null (play (SOURCE "other/tensors,format=static,num_tensors=3 ! "
          "fakesink", NET));
  error = play (SOURCE "other/tensors,num_tensors=2 ! fakesink", NET);
  g_assert_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED);
}

/* More than the caps can say. */
static void
test_too_many (void)
{
  GString *network = g_string_new (HEAD "output=");
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < 17; i++)
    g_string_append_printf (network, "r%u;", i);
  for (guint i = 0; i < 17; i++)
    g_string_append_printf (network, "\n[r%u]\ntype=relu", i);
  error = play (SOURCE "fakesink", network->str);
  g_assert_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  g_assert_nonnull (strstr (error->message, "17 outputs"));
  g_string_free (network, TRUE);
}

/* A model with other outputs, while it plays: its frames have its caps. */
static void
test_update (void)
{
  GstHarness *h = new_harness (NET, "output=tensors is-updatable=true");
  g_autofree gchar *path = element_test_write ("other.cfg", HEAD
      "output=flow;row\n" LAYERS);
  g_autoptr (GstBus) bus = gst_bus_new ();
  g_autoptr (GstBuffer) before = pass (h, 3), after = NULL;
  g_autoptr (GstMessage) message = NULL;
  gboolean ok;

  gst_element_set_bus (h->element, bus);
  g_object_set (h->element, "model", path, NULL);
  while (!message) {
    gst_buffer_unref (pass (h, 4));
    message = gst_bus_pop_filtered (bus, GST_MESSAGE_ELEMENT);
    if (message && !gst_message_has_name (message, "partime-model-updated"))
      gst_clear_message (&message);
    g_usleep (1000);
  }
  g_assert_true (gst_structure_get_boolean (gst_message_get_structure
          (message), "ok", &ok));
  if (!ok)
    g_error ("%s", gst_structure_get_string (gst_message_get_structure
            (message), "error"));
  after = pass (h, 5);
  g_assert_cmpuint (gst_buffer_n_memory (before), ==, N_OUTPUTS);
  g_assert_cmpuint (gst_buffer_n_memory (after), ==, 2);
  check_caps (h, "other/tensors,format=static,num_tensors=2,dimensions=(string)"
      "\"16:12:2:1,4:1:1:1\",types=(string)\"float32,float32\","
      "framerate=25/1");
  gst_element_set_bus (h->element, NULL);
  gst_harness_teardown (h);
}

gint
main (gint argc, gchar **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/tensors/meta", test_meta);
  g_test_add_func ("/tensors/buffers", test_buffers);
  g_test_add_func ("/tensors/gaps", test_gaps);
  g_test_add_func ("/tensors/negotiation", test_negotiation);
  g_test_add_func ("/tensors/too-many", test_too_many);
  g_test_add_func ("/tensors/update", test_update);
  return element_test_run ();
}
