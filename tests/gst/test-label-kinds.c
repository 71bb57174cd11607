/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What labels may be: losses against sums in
 * double; and what is wrong with those that cannot be used. */

#include "label-test.h"

#define NET_MASK LABEL_HEAD "mean=0.5\nstd=0.25\n" \
  NET_PICTURE_LAYERS ("1") "[learning]\nloss=mse\ntarget=labels\n" LABEL_TAIL
#define NET_BCE LABEL_HEAD "mean=0.5\nstd=0.25\n" \
  NET_PICTURE_LAYERS ("1") "[learning]\nloss=bce\n" LABEL_TAIL
#define NET_BOXED LABEL_HEAD "resize=letterbox\n" \
  "[a]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n" \
  "[scores]\ntype=conv2d\nfilters=5\nkernel=3\npadding=1\n" \
  "[learning]\nloss=cross-entropy ignore_index=255\n" LABEL_TAIL

/* -- classes by name and number -- */

static void
test_text (void)
{
  static const struct
  {
    const gchar *text;
    gint class;
    const gchar *words;         /* of the warning */
  } cases[] = {
    {"cat", 1, NULL}, {"dog\n", 2, NULL}, {" three words here ", 4, NULL},
    {"3", 3, NULL}, {"horse", -1, "horse"}, {"donkey", -1, NULL},
    {"5", -1, "class 5, expected 0 to 4"}, {"-7", -1, NULL},
    {"-100", -2, NULL}, {"", -1, NULL}, {"0", 0, NULL},
  };
  g_autofree gchar *names = element_test_write ("names.txt",
      "ant\ncat\r\ndog\nox\nthree words here\n");
  g_autofree gchar *option = g_strdup_printf ("labels-file=%s", names);
  Rig rig = label_test_new (NET_CLASS, option, TRUE);
  g_autoptr (GstBus) bus = label_test_new_bus (rig.frames->element);

  gst_harness_set_src_caps_str (rig.labels, "text/x-raw,format=utf8");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    gst_harness_push (rig.labels, label_test_new_text (cases[i].text,
            i * FRAME_TIME));
    label_test_check_warning (bus, cases[i].words);
    label_test_push (&rig, i);
    /* ignored is labelled, and no loss */
    if (cases[i].class == -2)
      g_assert_cmpfloat (label_test_pull (&rig, i, NULL), ==, 0);
    else
      label_test_check_class (&rig, i, cases[i].class);
  }
  label_test_check_stats (rig.frames->element, 6, 5, 0, 5);
  label_test_free (&rig);
}

static void
test_no_names (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);
  g_autoptr (GstBus) bus = label_test_new_bus (rig.frames->element);

  gst_harness_set_src_caps_str (rig.labels, "text/x-raw,format=utf8");
  gst_harness_push (rig.labels, label_test_new_text ("cat", 0));
  label_test_check_warning (bus, "labels-file is not set");
  gst_harness_push (rig.labels, label_test_new_text ("4", FRAME_TIME));
  for (guint i = 0; i < 2; i++) {
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, i ? 4 : -1);
  }
  label_test_free (&rig);
}

static void
test_range (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);
  g_autoptr (GstBus) bus = label_test_new_bus (rig.frames->element);

  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  gst_harness_push (rig.labels, label_test_new_class (5, 0));
  label_test_check_warning (bus, "found class 5, expected 0 to 4");
  gst_harness_push (rig.labels, label_test_new_class (255, FRAME_TIME));
  label_test_check_warning (bus, NULL);
  gst_harness_push (rig.labels, label_test_new_class (0,
          GST_CLOCK_TIME_NONE));
  label_test_check_warning (bus, "without a timestamp");
  for (guint i = 0; i < 3; i++) {
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, -1);
  }
  label_test_check_stats (rig.frames->element, 0, 3, 0, 3);
  label_test_free (&rig);
}

/* -- a class for each pixel -- */

/* @w x @h of bytes, rows as GStreamer pads them, from @value of (x, y). */
static GstBuffer *
kinds_new_picture (guint channels, gint w, gint h,
    guint8 (*value) (gint x, gint y, gint k), GstClockTime pts)
{
  gint stride = GST_ROUND_UP_4 (w * channels);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, stride * h, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  memset (map.data, 0xaa, map.size);
  for (gint y = 0; y < h; y++)
    for (gint x = 0; x < w; x++)
      for (guint k = 0; k < channels; k++)
        map.data[y * stride + x * channels + k] = value (x, y, k);
  gst_buffer_unmap (buffer, &map);
  return label_test_stamp (buffer, pts);
}

static guint8
kinds_map_value (gint x, gint y, gint k)
{
  guint value = (x * 3 + y * 5 + x * y) % 6;

  return value == 5 ? 255 : value;
}

static guint8
kinds_bad_map_value (gint x, gint y, gint k)
{
  return x == 3 && y == 2 ? 77 : 0;
}

/* The output is 8x6: the map as it is, larger, smaller, of odd sizes. */
static void
test_map (void)
{
  static const gint sizes[][2] = { {8, 6}, {16, 12}, {33, 17}, {3, 2}, {1, 1}
  };
  Rig rig = label_test_new (NET_MAP, "", TRUE);

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    gint w = sizes[i][0], h = sizes[i][1], classes[48];
    g_autoptr (GstBuffer) output = NULL;
    gdouble loss;

    label_test_set_caps (rig.labels, "GRAY8", w, h);
    gst_harness_push (rig.labels, kinds_new_picture (1, w, h,
            kinds_map_value, i * FRAME_TIME));
    label_test_push (&rig, i);
    loss = label_test_pull (&rig, i, &output);
    for (gint p = 0; p < 48; p++)
      classes[p] = kinds_map_value ((gint) ((p % 8 + 0.5) * w / 8),
          (gint) ((p / 8 + 0.5) * h / 6), 0);
    g_assert_cmpfloat_with_epsilon (loss, label_test_cross_entropy (output,
            classes, 48, 255), 1e-5);
  }
  label_test_free (&rig);
}

/* With letterbox the map lies where the frame does; the bars are ignored. */
static void
test_letterbox (void)
{
  Rig rig = label_test_new (NET_BOXED, "", TRUE);
  gint classes[16 * 12];
  g_autoptr (GstBuffer) output = NULL;
  gdouble loss;

  /* 16x6 in 16x12: three rows above and below */
  label_test_set_caps (rig.labels, "GRAY8", 16, 6);
  gst_harness_push (rig.labels, kinds_new_picture (1, 16, 6, kinds_map_value,
          0));
  label_test_push (&rig, 0);
  loss = label_test_pull (&rig, 0, &output);
  for (gint p = 0; p < 16 * 12; p++)
    classes[p] = p / 16 < 3 || p / 16 >= 9 ? 255
        : kinds_map_value (p % 16, p / 16 - 3, 0);
  g_assert_cmpfloat_with_epsilon (loss, label_test_cross_entropy (output,
          classes, 16 * 12, 255), 1e-5);
  label_test_free (&rig);
}

static void
test_bad_map (void)
{
  Rig rig = label_test_new (NET_MAP, "", TRUE);
  g_autoptr (GstBus) bus = label_test_new_bus (rig.frames->element);

  label_test_set_caps (rig.labels, "GRAY8", 8, 6);
  gst_harness_push (rig.labels, kinds_new_picture (1, 8, 6,
          kinds_bad_map_value, 0));
  label_test_check_warning (bus, "pixel (3, 2): label: found class 77");
  gst_harness_push (rig.labels, label_test_new_class (0, FRAME_TIME));
  label_test_check_warning (bus, "buffer of 1 bytes, expected 48");
  label_test_push (&rig, 0);
  g_assert_true (isnan (label_test_pull (&rig, 0, NULL)));
  label_test_check_stats (rig.frames->element, 0, 1, 0, 2);
  label_test_free (&rig);
}

/* -- pictures -- */

static guint8
kinds_picture_value (gint x, gint y, gint k)
{
  return x * 11 + y * 5 + k * 70;
}

static guint8
kinds_grey_value (gint x, gint y, gint k)
{
  return 133;
}

static guint8
kinds_colour_value (gint x, gint y, gint k)
{
  return 40 + 80 * k;
}

/* mean (x - (value / 255 - 0.5) / 0.25)^2 over planes of 16x12. */
static gdouble
kinds_square_error (GstBuffer *output, guint channels,
    guint8 (*value) (gint x, gint y, gint k))
{
  GstMapInfo map;
  const gfloat *x;
  gdouble sum = 0;
  gint n = channels * 16 * 12;

  gst_buffer_map (output, &map, GST_MAP_READ);
  x = (const gfloat *) map.data;
  g_assert_cmpuint (map.size, ==, n * sizeof (gfloat));
  for (gint i = 0; i < n; i++) {
    gdouble target = (value (i % 16, i / 16 % 12, i / (16 * 12)) / 255. - 0.5)
        / 0.25;

    sum += (x[i] - target) * (x[i] - target);
  }
  gst_buffer_unmap (output, &map);
  return sum / n;
}

/* Of the output's size every pixel counts; of others a flat colour, which
 * scaling leaves alone, shows what was taken; grey becomes colour. */
static void
test_picture (void)
{
  static const struct
  {
    const gchar *network, *format;
    gint w, h;
      guint8 (*value) (gint x, gint y, gint k);
  } cases[] = {
    {NET_PICTURE, "RGB", 16, 12, kinds_picture_value},
    {NET_MASK, "GRAY8", 16, 12, kinds_picture_value},
    {NET_PICTURE, "RGB", 33, 17, kinds_colour_value},
    {NET_PICTURE, "RGB", 5, 40, kinds_colour_value},
    {NET_MASK, "GRAY8", 99, 3, kinds_grey_value},
    {NET_PICTURE, "GRAY8", 16, 12, kinds_grey_value},
    {NET_MASK, "RGB", 16, 12, kinds_grey_value},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Rig rig = label_test_new (cases[i].network, "", TRUE);
    g_autoptr (GstBuffer) output = NULL;
    gdouble loss;

    label_test_set_caps (rig.labels, cases[i].format, cases[i].w, cases[i].h);
    gst_harness_push (rig.labels, kinds_new_picture (g_str_equal
            (cases[i].format, "RGB") ? 3 : 1, cases[i].w, cases[i].h,
            cases[i].value, 0));
    label_test_push (&rig, 0);
    loss = label_test_pull (&rig, 0, &output);
    g_assert_cmpfloat_with_epsilon (loss, kinds_square_error (output,
            g_str_equal (cases[i].network, NET_PICTURE) ? 3 : 1,
            cases[i].value), loss * (i < 5 ? 1e-5 : 1e-2));
    label_test_free (&rig);
  }
}

static guint8
kinds_mask_value (gint x, gint y, gint k)
{
  return (x + y) % 3 == 0 ? 255 : (x + y) % 3 == 1 ? 0 : 51;
}

/* Masks are 0 to 1, whatever mean and std of frames: mean of
 * log (1 + exp (x)) - x t. */
static void
test_mask (void)
{
  Rig rig = label_test_new (NET_BCE, "", TRUE);
  g_autoptr (GstBuffer) output = NULL;
  gdouble loss, sum = 0;
  GstMapInfo map;

  label_test_set_caps (rig.labels, "GRAY8", 16, 12);
  gst_harness_push (rig.labels, kinds_new_picture (1, 16, 12,
          kinds_mask_value, 0));
  label_test_push (&rig, 0);
  loss = label_test_pull (&rig, 0, &output);
  gst_buffer_map (output, &map, GST_MAP_READ);
  for (gint p = 0; p < 16 * 12; p++) {
    gdouble x = ((gfloat *) map.data)[p];

    sum += log1p (exp (x)) - x * kinds_mask_value (p % 16, p / 16, 0) / 255.;
  }
  gst_buffer_unmap (output, &map);
  g_assert_cmpfloat_with_epsilon (loss, sum / (16 * 12), 1e-5);
  label_test_free (&rig);
}

/* -- what does not fit -- */

/* Caps that do not fit the loss: one error, which says what would. */
static void
test_caps (void)
{
  static const struct
  {
    const gchar *network, *caps, *words;
  } cases[] = {
    {NET_CLASS, "video/x-raw,format=GRAY8,width=28,height=28,framerate=0/1",
        "found GRAY8 28x28, expected GRAY8 1x1"},
    {NET_CLASS, "video/x-raw,format=RGB,width=1,height=1,framerate=0/1",
        "found RGB 1x1, expected GRAY8 1x1"},
    {NET_MAP, "text/x-raw,format=utf8", "found text, expected GRAY8"},
    {NET_MAP, "video/x-raw,format=RGB,width=8,height=6,framerate=0/1",
        "found RGB 8x6, expected GRAY8"},
    {NET_PICTURE, "text/x-raw,format=utf8",
        "found text, expected GRAY8 or RGB"},
    {LABEL_HEAD NET_SCORES "[learning]\nloss=mse\ntarget=labels\n" LABEL_TAIL,
          "video/x-raw,format=RGB,width=8,height=6,framerate=0/1",
        "found pictures"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Rig rig = label_test_new (cases[i].network, "", TRUE);
    g_autoptr (GstBus) bus = label_test_new_bus (rig.frames->element);
    g_autoptr (GstMessage) message = NULL;
    g_autoptr (GError) error = NULL;

    gst_harness_set_src_caps_str (rig.labels, cases[i].caps);
    message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
    g_assert_nonnull (message);
    gst_message_parse_error (message, &error, NULL);
    g_test_message ("%s", error->message);
    g_assert_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_WRONG_TYPE);
    g_assert_nonnull (strstr (error->message, cases[i].words));
    g_assert_null (gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR));
    label_test_free (&rig);
  }
}

static void
test_segment (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);
  g_autoptr (GstBus) bus = label_test_new_bus (rig.frames->element);
  g_autoptr (GstMessage) message = NULL;
  GstSegment segment;

  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  gst_segment_init (&segment, GST_FORMAT_BYTES);
  gst_harness_push_event (rig.labels, gst_event_new_segment (&segment));
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  g_assert_nonnull (message);
  label_test_free (&rig);
}

/* A pad that serves nothing is refused. */
static void
test_request (void)
{
  Rig rig = label_test_new (NET_IMAGE, "", FALSE);
  GstElement *element = rig.frames->element;
  g_autoptr (GstBus) bus = label_test_new_bus (element);

  g_assert_null (gst_element_request_pad_simple (element, "label"));
  label_test_check_warning (bus, "target: found input (with loss mse), expected "
      "labels");
  label_test_free (&rig);
  /* without learning there is nothing to say against labels */
  rig = label_test_new (NET_CLASS, "learning-mode=off", TRUE);
  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  gst_harness_push (rig.labels, label_test_new_class (1, 0));
  label_test_push (&rig, 0);
  label_test_check_class (&rig, 0, -1);
  label_test_check_stats (rig.frames->element, 0, 0, 0, 0);
  label_test_free (&rig);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/label-kinds/text", test_text);
  g_test_add_func ("/label-kinds/no-names", test_no_names);
  g_test_add_func ("/label-kinds/range", test_range);
  g_test_add_func ("/label-kinds/map", test_map);
  g_test_add_func ("/label-kinds/letterbox", test_letterbox);
  g_test_add_func ("/label-kinds/bad-map", test_bad_map);
  g_test_add_func ("/label-kinds/picture", test_picture);
  g_test_add_func ("/label-kinds/mask", test_mask);
  g_test_add_func ("/label-kinds/caps", test_caps);
  g_test_add_func ("/label-kinds/segment", test_segment);
  g_test_add_func ("/label-kinds/request", test_request);
  return element_test_run ();
}
