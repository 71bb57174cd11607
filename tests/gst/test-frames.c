/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames and events through the element, one by one. */

#include <string.h>

#include "element-test.h"

static GstHarness *
frames_new_harness (const gchar *network, const gchar *properties)
{
  g_autofree gchar *path = element_test_write ("net.cfg", network);
  g_autofree gchar *launch = g_strdup_printf ("partimefilter model=%s %s",
      path, properties);
  g_autoptr (GError) error = NULL;
  g_autoptr (GstElement) element = gst_parse_launch (launch, &error);

  g_assert_no_error (error);
  return gst_harness_new_with_element (element, "sink", "src");
}

static void
frames_set_caps (GstHarness *h, const gchar *format, gint width, gint height)
{
  g_autofree gchar *caps = g_strdup_printf ("video/x-raw,format=%s,width=%d,"
      "height=%d,framerate=25/1", format, width, height);

  gst_harness_set_src_caps_str (h, caps);
}

static GstVideoInfo
frames_get_info (GstHarness *h)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (h->srcpad);
  GstVideoInfo info;

  g_assert_true (gst_video_info_from_caps (&info, caps));
  return info;
}

/* A frame of noise, with @padding bytes more in each row. */
static GstBuffer *
frames_new_buffer (GstHarness *h, guint number, guint padding)
{
  GstVideoInfo info = frames_get_info (h);
  gsize offsets[GST_VIDEO_MAX_PLANES] = { 0 };
  gint strides[GST_VIDEO_MAX_PLANES] = { 0 };
  gsize size = 0;
  GstBuffer *buffer;
  GstMapInfo map;

  for (guint p = 0; p < GST_VIDEO_INFO_N_PLANES (&info); p++) {
    gint comp[GST_VIDEO_MAX_COMPONENTS];

    gst_video_format_info_component (info.finfo, p, comp);
    offsets[p] = size;
    strides[p] = GST_VIDEO_INFO_PLANE_STRIDE (&info, p) + padding;
    size += strides[p] * GST_ROUND_UP_2 (GST_VIDEO_INFO_COMP_HEIGHT (&info,
            comp[0]));
  }
  buffer = gst_buffer_new_allocate (NULL, size, NULL);
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_INFO_FORMAT (&info), info.width, info.height,
      GST_VIDEO_INFO_N_PLANES (&info), offsets, strides);
  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = (i * 2654435761u + number * 40503u) >> 13;
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_PTS (buffer) = number * 40 * GST_MSECOND;
  GST_BUFFER_DTS (buffer) = GST_CLOCK_TIME_NONE;
  GST_BUFFER_DURATION (buffer) = 40 * GST_MSECOND;
  return buffer;
}

static gboolean
frames_equal (GstBuffer *a, GstBuffer *b)
{
  GstMapInfo map;
  gboolean equal;

  gst_buffer_map (a, &map, GST_MAP_READ);
  equal = gst_buffer_get_size (b) == map.size
      && gst_buffer_memcmp (b, 0, map.data, map.size) == 0;
  gst_buffer_unmap (a, &map);
  return equal;
}

static GstStructure *
frames_get_meta (GstBuffer *buffer)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "GstPartimeMeta");

  return meta ? gst_custom_meta_get_structure (meta) : NULL;
}

static void
frames_check_meta (GstBuffer *buffer, guint64 number)
{
  GstStructure *fields = frames_get_meta (buffer);
  guint64 frame, age, pts;

  g_assert_nonnull (fields);
  g_assert_true (gst_structure_get (fields, "frame", G_TYPE_UINT64, &frame,
          "age", G_TYPE_UINT64, &age, "pts", G_TYPE_UINT64, &pts, NULL));
  g_assert_cmpuint (frame, ==, number);
  g_assert_cmpuint (age, ==, 0);
  g_assert_cmpuint (pts, ==, GST_BUFFER_PTS (buffer));
}

/* Every format, even and odd sizes, rows with and without padding: as many
 * frames come out, in order, drawn on. */
static void
test_formats (void)
{
  static const gchar *const formats[] = { "RGB", "BGR", "RGBx", "BGRx",
    "RGBA", "BGRA", "GRAY8", "I420", "NV12", "YUY2"
  };
  static const gchar *const networks[] = { NET_FLOW, NET_IMAGE, NET_HEAT };
  static const gint sizes[][3] = { {16, 12, 0}, {64, 48, 0}, {65, 49, 0},
  {33, 17, 24}, {1, 1, 8}
  };

  for (guint n = 0; n < G_N_ELEMENTS (networks); n++)
    for (guint f = 0; f < G_N_ELEMENTS (formats); f++)
      for (guint s = 0; s < G_N_ELEMENTS (sizes); s++) {
        GstHarness *h = frames_new_harness (networks[n], "");

        frames_set_caps (h, formats[f], sizes[s][0], sizes[s][1]);
        for (guint i = 0; i < 3; i++)
          g_assert_cmpint (gst_harness_push (h, frames_new_buffer (h, i,
                      sizes[s][2])), ==, GST_FLOW_OK);
        for (guint i = 0; i < 3; i++) {
          g_autoptr (GstBuffer) buffer = gst_harness_pull (h);

          g_assert_nonnull (buffer);
          g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * 40 * GST_MSECOND);
          g_assert_cmpuint (GST_BUFFER_DURATION (buffer), ==,
              40 * GST_MSECOND);
          frames_check_meta (buffer, i);
        }
        gst_harness_teardown (h);
      }
}

/* Without overlay not a byte changes; with it some do, but not those of the
 * buffer we still hold. */
static void
test_overlay (void)
{
  GstHarness *h = frames_new_harness (NET_IMAGE, "overlay=false");
  g_autoptr (GstBuffer) before = NULL, same = NULL, drawn = NULL;
  g_autoptr (GstBuffer) copy = NULL;

  frames_set_caps (h, "I420", 65, 49);
  before = frames_new_buffer (h, 0, 0);
  copy = gst_buffer_copy_deep (before);
  gst_harness_push (h, gst_buffer_ref (before));
  same = gst_harness_pull (h);
  g_assert_true (frames_equal (same, copy));
  g_object_set (h->element, "overlay", TRUE, NULL);
  gst_harness_push (h, gst_buffer_ref (before));
  drawn = gst_harness_pull (h);
  g_assert_false (frames_equal (drawn, copy));
  g_assert_true (frames_equal (before, copy));
  gst_harness_teardown (h);
}

/* The tensor in the metadata is what the network's shape says. */
static void
test_tensor (void)
{
  GstHarness *h = frames_new_harness (NET_FLOW, "");
  g_autoptr (GstBuffer) buffer = NULL;
  const GValue *tensors, *dims;
  GstSample *sample;
  static const gint expected[] = { 1, 2, 12, 16 };

  frames_set_caps (h, "RGB", 64, 48);
  gst_harness_push (h, frames_new_buffer (h, 0, 0));
  buffer = gst_harness_pull (h);
  tensors = gst_structure_get_value (frames_get_meta (buffer), "tensors");
  g_assert_cmpuint (gst_value_array_get_size (tensors), ==, 1);
  sample = g_value_get_boxed (gst_value_array_get_value (tensors, 0));
  g_assert_cmpuint (gst_buffer_get_size (gst_sample_get_buffer (sample)), ==,
      2 * 12 * 16 * 4);
  dims = gst_structure_get_value (gst_sample_get_info (sample), "dims");
  g_assert_cmpuint (gst_value_array_get_size (dims), ==, 4);
  for (guint i = 0; i < 4; i++)
    g_assert_cmpint (g_value_get_int (gst_value_array_get_value (dims, i)),
        ==, expected[i]);
  gst_harness_teardown (h);
}

/* Frames under way keep the format they came with. */
static void
test_caps_change (void)
{
  static const struct
  {
    const gchar *format;
    gint width, height;
  } kinds[] = {
    {"RGB", 64, 48}, {"I420", 32, 24}, {"GRAY8", 99, 7}, {"NV12", 640, 480}
  };
  GstHarness *h = frames_new_harness (NET_FLOW, "");
  guint n = G_N_ELEMENTS (kinds);

  for (guint i = 0; i < 3 * n; i++) {
    if (i % 3 == 0)
      frames_set_caps (h, kinds[i / 3].format, kinds[i / 3].width,
          kinds[i / 3].height);
    g_assert_cmpint (gst_harness_push (h, frames_new_buffer (h, i, 0)), ==,
        GST_FLOW_OK);
  }
  for (guint i = 0; i < 3 * n; i++) {
    g_autoptr (GstBuffer) buffer = gst_harness_pull (h);
    GstVideoMeta *meta = gst_buffer_get_video_meta (buffer);

    frames_check_meta (buffer, i);
    g_assert_cmpint (meta->width, ==, kinds[i / 3].width);
    g_assert_cmpstr (gst_video_format_to_string (meta->format), ==,
        kinds[i / 3].format);
  }
  gst_harness_teardown (h);
}

/* A frame leaves without the next one coming, and events keep their places. */
static void
test_order (void)
{
  GstHarness *h = frames_new_harness (NET_FLOW, "");
  static const GstEventType expected[] = { GST_EVENT_STREAM_START,
    GST_EVENT_CAPS, GST_EVENT_SEGMENT, GST_EVENT_TAG, GST_EVENT_GAP,
    GST_EVENT_EOS
  };

  frames_set_caps (h, "RGB", 64, 48);
  for (guint i = 0; i < 5; i++) {
    g_autoptr (GstBuffer) buffer = NULL;

    gst_harness_push (h, frames_new_buffer (h, i, 0));
    buffer = gst_harness_pull (h);
    frames_check_meta (buffer, i);
  }
  gst_harness_push_event (h, gst_event_new_tag (gst_tag_list_new
          (GST_TAG_TITLE, "x", NULL)));
  gst_harness_push_event (h, gst_event_new_gap (GST_SECOND, GST_SECOND));
  gst_harness_push_event (h, gst_event_new_eos ());
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++) {
    g_autoptr (GstEvent) event = gst_harness_pull_event (h);

    g_assert_nonnull (event);
    g_assert_cmpint (GST_EVENT_TYPE (event), ==, expected[i]);
  }
  gst_harness_teardown (h);
}

static void
test_flush (void)
{
  GstHarness *h = frames_new_harness (NET_IMAGE, "");
  GstSegment segment;

  frames_set_caps (h, "RGB", 64, 48);
  for (guint round = 0; round < 20; round++) {
    g_autoptr (GstBuffer) buffer = NULL;

    for (guint i = 0; i < 1 + round % 5; i++)
      gst_harness_push (h, frames_new_buffer (h, i, 0));
    gst_harness_push_event (h, gst_event_new_flush_start ());
    gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
    while ((buffer = gst_harness_try_pull (h)))
      g_clear_pointer (&buffer, gst_buffer_unref);
    gst_segment_init (&segment, GST_FORMAT_TIME);
    gst_harness_push_event (h, gst_event_new_segment (&segment));
    gst_harness_push (h, frames_new_buffer (h, 7, 0));
    buffer = gst_harness_pull (h);
    g_assert_nonnull (buffer);
    g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, 280 * GST_MSECOND);
    frames_check_meta (buffer, 0);
  }
  gst_harness_teardown (h);
}

/* output=network: pictures of the network's size, one for each frame. */
static void
test_network (void)
{
  static const struct
  {
    const gchar *network, *format, *timing;
  } cases[] = {
    {NET_FLOW, "RGB", "aligned"}, {NET_IMAGE, "RGB", "aligned"},
    {NET_HEAT, "RGB", "aligned"}, {NET_IMAGE, "RGB", "latest"},
  };

  for (guint c = 0; c < G_N_ELEMENTS (cases); c++) {
    g_autofree gchar *options = g_strdup_printf ("output=network timing=%s",
        cases[c].timing);
    GstHarness *h = frames_new_harness (cases[c].network, options);
    g_autoptr (GstCaps) caps = NULL;
    GstVideoInfo info;

    frames_set_caps (h, "I420", 64, 48);
    for (guint i = 0; i < 5; i++) {
      g_autoptr (GstBuffer) buffer = NULL;

      gst_harness_push (h, frames_new_buffer (h, i, 0));
      buffer = gst_harness_pull (h);
      g_assert_nonnull (buffer);
      g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * 40 * GST_MSECOND);
      g_clear_pointer (&caps, gst_caps_unref);
      caps = gst_pad_get_current_caps (h->sinkpad);
      g_assert_true (gst_video_info_from_caps (&info, caps));
      g_assert_cmpuint (gst_buffer_get_size (buffer), >=, info.size);
    }
    g_assert_cmpint (info.width, ==, 16);
    g_assert_cmpint (info.height, ==, 12);
    g_assert_cmpstr (gst_video_format_to_string (GST_VIDEO_INFO_FORMAT
            (&info)), ==, cases[c].format);
    gst_harness_teardown (h);
  }
}

/* timing=latest: a frame is out when push returns; results come with an age. */
static void
test_latest (void)
{
  GstHarness *h = frames_new_harness (NET_FLOW, "timing=latest");
  guint with_result = 0;

  frames_set_caps (h, "RGB", 64, 48);
  for (guint i = 0; i < 100; i++) {
    g_autoptr (GstBuffer) buffer = NULL;
    GstStructure *fields;
    guint64 age = 0;

    gst_harness_push (h, frames_new_buffer (h, i, 0));
    buffer = gst_harness_try_pull (h);
    g_assert_nonnull (buffer);
    g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * 40 * GST_MSECOND);
    if ((fields = frames_get_meta (buffer))) {
      g_assert_true (gst_structure_get_uint64 (fields, "age", &age));
      g_assert_cmpuint (age, <=, i);
      with_result++;
    }
    g_usleep (1000);
  }
  g_assert_cmpuint (with_result, >, 10);
  gst_harness_push_event (h, gst_event_new_eos ());
  gst_harness_teardown (h);
}

/* qos=true: what downstream would drop is not worked on. */
static void
test_qos (void)
{
  GstHarness *h = frames_new_harness (NET_FLOW, "qos=true");
  g_autoptr (GstBuffer) buffer = NULL;

  frames_set_caps (h, "RGB", 64, 48);
  gst_harness_push (h, frames_new_buffer (h, 0, 0));
  buffer = gst_harness_pull (h);
  gst_harness_push_upstream_event (h, gst_event_new_qos
      (GST_QOS_TYPE_UNDERFLOW, 2.0, 100 * GST_MSECOND, 0));
  gst_harness_push (h, frames_new_buffer (h, 1, 0));
  gst_harness_push (h, frames_new_buffer (h, 20, 0));
  g_clear_pointer (&buffer, gst_buffer_unref);
  buffer = gst_harness_pull (h);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, 800 * GST_MSECOND);
  g_assert_true (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT));
  gst_harness_teardown (h);
}

/* A buffer too small for its caps is an error, not a crash. */
static void
test_short_buffer (void)
{
  GstHarness *h = frames_new_harness (NET_FLOW, "");

  frames_set_caps (h, "RGB", 64, 48);
  g_assert_cmpint (gst_harness_push (h, gst_buffer_new_allocate (NULL, 100,
              NULL)), ==, GST_FLOW_ERROR);
  gst_harness_teardown (h);
}

/* After the end another stream may come. */
static void
test_again (void)
{
  GstHarness *h = frames_new_harness (NET_IMAGE, "");

  for (guint round = 0; round < 3; round++) {
    g_autoptr (GstBuffer) buffer = NULL;
    GstSegment segment;
    GstEventType type;

    gst_segment_init (&segment, GST_FORMAT_TIME);
    if (round > 0)
      gst_harness_push_event (h, gst_event_new_stream_start ("again"));
    frames_set_caps (h, "RGB", 64, 48 + round);
    gst_harness_push_event (h, gst_event_new_segment (&segment));
    gst_harness_push (h, frames_new_buffer (h, 0, 0));
    buffer = gst_harness_pull (h);
    g_assert_nonnull (buffer);
    gst_harness_push_event (h, gst_event_new_eos ());
    do {
      g_autoptr (GstEvent) event = gst_harness_pull_event (h);

      g_assert_nonnull (event);
      type = GST_EVENT_TYPE (event);
    } while (type != GST_EVENT_EOS);
  }
  gst_harness_teardown (h);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/frames/formats", test_formats);
  g_test_add_func ("/frames/overlay", test_overlay);
  g_test_add_func ("/frames/tensor", test_tensor);
  g_test_add_func ("/frames/caps-change", test_caps_change);
  g_test_add_func ("/frames/order", test_order);
  g_test_add_func ("/frames/flush", test_flush);
  g_test_add_func ("/frames/network", test_network);
  g_test_add_func ("/frames/latest", test_latest);
  g_test_add_func ("/frames/qos", test_qos);
  g_test_add_func ("/frames/short-buffer", test_short_buffer);
  g_test_add_func ("/frames/again", test_again);
  return element_test_run ();
}
