/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Colours against published ones. */

#include <math.h>

#include "annotators/annotator.h"

static GstPartimeDrawing *
annotators_new (const gchar *kind, gint channels, const gchar *options)
{
  g_autofree gchar *text = g_strdup_printf ("[network]\nwidth=4\nheight=1\n"
      "mean=0.5\nstd=0.25\n[out]\ntype=conv2d\nfilters=%d\nkernel=1\n"
      "[output]\nkind=%s\n%s", channels, kind, options);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network =
      pt_network_new_from_data (text, -1, "test.cfg", &error);
  GstPartimeDrawing *drawing;

  g_assert_no_error (error);
  drawing = gst_partime_drawing_new (kind, network, &error);
  g_assert_no_error (error);
  return drawing;
}

static void
annotators_check (const guint8 *bgra, gint r, gint g, gint b, gint a,
    gint within)
{
  g_assert_cmpint (ABS (bgra[0] - b), <=, within);
  g_assert_cmpint (ABS (bgra[1] - g), <=, within);
  g_assert_cmpint (ABS (bgra[2] - r), <=, within);
  g_assert_cmpint (ABS (bgra[3] - a), <=, within);
}

/* Right is the wheel's first colour, left its 28th: colorcode.cpp of
 * vision.middlebury.edu/flow, computeColor (1, 0) and (-1, 0). Too fast is as
 * fast as can be. At half speed the wheel's colour is half white alone; over a
 * frame it is itself, 27/32 as opaque. A level per channel for rounding. */
static void
test_flow (void)
{
  g_autoptr (GstPartimeDrawing) drawing =
      annotators_new ("flow", 2, "scale=2\nopacity=0.5\n");
  const gfloat y[8] = { 2, -2, 0, 7, 0, 0, 0, 0 };
  const gfloat half[8] = { 1, 1, 1, 1, 0, 0, 0, 0 };
  guint8 pixels[16];

  drawing->annotator->draw (drawing, y, GST_PARTIME_PAINT_OPAQUE,
      pixels);
  annotators_check (pixels, 255, 0, 0, 255, 1);
  annotators_check (pixels + 4, 0, 255 - 255 * 2 / 11, 255, 255, 1);
  annotators_check (pixels + 8, 255, 255, 255, 255, 1);
  annotators_check (pixels + 12, 255, 0, 0, 255, 1);
  drawing->annotator->draw (drawing, y, GST_PARTIME_PAINT_RGB, pixels);
  annotators_check (pixels, 255, 0, 0, 128, 1);
  g_assert_cmpint (pixels[11], ==, 0);
  drawing->annotator->draw (drawing, half, GST_PARTIME_PAINT_OPAQUE, pixels);
  annotators_check (pixels, 255, 128, 128, 255, 1);
  drawing->annotator->draw (drawing, half, GST_PARTIME_PAINT_RGB, pixels);
  annotators_check (pixels, 255, 0, 0, 108, 1);
}

/* Values of matplotlib's inferno at 0, 0.5 and 1; its fit by polynomials is
 * within four levels. */
static void
test_heatmap (void)
{
  g_autoptr (GstPartimeDrawing) drawing =
      annotators_new ("heatmap", 1, "scale=1\nopacity=1\n");
  const gfloat y[4] = { 0, 0.5, 1, -3 };
  guint8 pixels[16];

  drawing->annotator->draw (drawing, y, GST_PARTIME_PAINT_OPAQUE,
      pixels);
  annotators_check (pixels, 0, 0, 4, 255, 5);
  annotators_check (pixels + 4, 188, 55, 84, 255, 5);
  annotators_check (pixels + 8, 252, 255, 164, 255, 5);
  annotators_check (pixels + 12, 0, 0, 4, 255, 5);
  drawing->annotator->draw (drawing, y, GST_PARTIME_PAINT_RGB, pixels);
  g_assert_cmpint (pixels[3], ==, 0);
}

/* 255 (y std + mean) */
static void
test_image (void)
{
  g_autoptr (GstPartimeDrawing) drawing = annotators_new ("image", 3, "");
  const gfloat y[12] = { -2, 0, 2, 9, -2, 1, 2, 9, -2, -1, 2, 9 };
  guint8 pixels[16];

  drawing->annotator->draw (drawing, y, GST_PARTIME_PAINT_OPAQUE,
      pixels);
  annotators_check (pixels, 0, 0, 0, 255, 0);
  annotators_check (pixels + 4, 128, 191, 64, 255, 0);
  annotators_check (pixels + 8, 255, 255, 255, 255, 0);
  annotators_check (pixels + 12, 255, 255, 255, 255, 0);
}

/* Published colours of PASCAL VOC's classes 1 (aeroplane), 2 and 3; class 0
 * is transparent. */
static void
test_segmentation (void)
{
  g_autoptr (GstPartimeDrawing) drawing =
      annotators_new ("segmentation", 4, "opacity=1\n");
  const gfloat y[16] = { 1, 0, 0, 0, 0, 2, 0, 0, 0, 1, 3, 0, -9, 0, 0, 5 };
  guint8 pixels[16];

  drawing->annotator->draw (drawing, y, GST_PARTIME_PAINT_OPAQUE, pixels);
  annotators_check (pixels, 0, 0, 0, 255, 0);
  annotators_check (pixels + 4, 128, 0, 0, 255, 0);
  annotators_check (pixels + 8, 0, 128, 0, 255, 0);
  annotators_check (pixels + 12, 128, 128, 0, 255, 0);
  drawing->annotator->draw (drawing, y, GST_PARTIME_PAINT_RGB, pixels);
  annotators_check (pixels, 0, 0, 0, 0, 0);
}

/* A 3-channel picture of 4x1 and its frame: the score is the root of the mean
 * squared difference; the map is the mean absolute difference over what there
 * is within two pixels. Outputs are kept to black and white. */
static void
test_error (void)
{
  g_autoptr (GstPartimeDrawing) drawing =
      annotators_new ("error", 3, "scale=1\nopacity=1\n");
  /* 0.5 + 0.25 y: 0.5 0.5 1 1 for each channel, the last is above white */
  const gfloat y[12] = { 0, 0, 2, 9, 0, 0, 2, 9, 0, 0, 2, 9 };
  const guint8 frame[12] = { 51, 51, 51, 51, 51, 51, 255, 255, 255, 255, 255,
    255 };
  const gdouble map[] = { 0.2, 0.15, 0.15, 0.1 };
  gdouble score = gst_partime_drawing_compare (drawing, y, frame, 12);

  g_assert_cmpfloat_with_epsilon (score, sqrt (0.09 / 2), 1e-6);
  for (guint i = 0; i < 4; i++)
    g_assert_cmpfloat_with_epsilon (drawing->errors[i], map[i], 1e-6);
}

/* The range follows: a picture of one speed is at full colour. */
static void
test_range (void)
{
  g_autoptr (GstPartimeDrawing) drawing = annotators_new ("flow", 2, "");
  const gfloat y[8] = { 5, 5, 5, 5, 0, 0, 0, 0 };

  g_assert_cmpfloat_with_epsilon (gst_partime_drawing_follow (drawing, y), 5,
      0.05);
}

/* A grey frame of @format with @drawing's picture over it, as RGB. */
static void
annotators_draw_over (GstPartimeDrawing *drawing, const gfloat *y,
    GstVideoFormat format, guint8 *rgb)
{
  const GstVideoRectangle view = { 0, 0, 64, 48 };
  GstVideoInfo info, out_info;
  g_autoptr (GstBuffer) buffer = NULL, out = NULL;
  GstVideoFrame frame, out_frame;
  GstVideoConverter *converter;

  gst_video_info_set_format (&info, format, view.w, view.h);
  gst_video_info_set_format (&out_info, GST_VIDEO_FORMAT_RGB, view.w, view.h);
  buffer = gst_buffer_new_allocate (NULL, info.size, NULL);
  out = gst_buffer_new_allocate (NULL, out_info.size, NULL);
  gst_buffer_memset (buffer, 0, 128, info.size);
  g_assert_true (gst_video_frame_map (&frame, &info, buffer,
          GST_MAP_READWRITE));
  g_assert_true (gst_video_frame_map (&out_frame, &out_info, out,
          GST_MAP_WRITE));
  g_assert_true (gst_partime_drawing_over (drawing, y, &view, &frame));
  converter = gst_video_converter_new (&info, &out_info, NULL);
  gst_video_converter_frame (converter, &frame, &out_frame);
  memcpy (rgb, GST_VIDEO_FRAME_PLANE_DATA (&out_frame, 0), 64 * 48 * 3);
  gst_video_converter_free (converter);
  gst_video_frame_unmap (&frame);
  gst_video_frame_unmap (&out_frame);
}

/* One motion everywhere looks alike over every kind of frame: colours are
 * 8 bit, YUV's of video range, and its grey of 128 is RGB's 130. */
static void
test_over (void)
{
  static const GstVideoFormat formats[] = { GST_VIDEO_FORMAT_I420,
    GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_YUY2, GST_VIDEO_FORMAT_BGR };
  static const gfloat motions[][2] = { {2, 0}, {-2, 0}, {0, 2}, {-1, -1} };
  g_autoptr (GstPartimeDrawing) drawing =
      annotators_new ("flow", 2, "scale=2\nopacity=0.6\n");
  guint8 expected[64 * 48 * 3], found[64 * 48 * 3];

  for (guint m = 0; m < G_N_ELEMENTS (motions); m++) {
    const gfloat u = motions[m][0], v = motions[m][1];
    const gfloat y[8] = { u, u, u, u, v, v, v, v };

    annotators_draw_over (drawing, y, GST_VIDEO_FORMAT_RGB, expected);
    for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
      annotators_draw_over (drawing, y, formats[i], found);
      for (guint at = 0; at < sizeof found; at++)
        g_assert_cmpint (ABS (found[at] - expected[at]), <=, 5);
    }
    if (m == 0) {
      /* red at full speed: 0.6 of it over grey */
      g_assert_cmpint (ABS (expected[0] - 204), <=, 2);
      g_assert_cmpint (ABS (expected[1] - 51), <=, 2);
    }
  }
}

int
main (int argc, char **argv)
{
  gst_init (&argc, &argv);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/annotators/flow", test_flow);
  g_test_add_func ("/annotators/heatmap", test_heatmap);
  g_test_add_func ("/annotators/image", test_image);
  g_test_add_func ("/annotators/over", test_over);
  g_test_add_func ("/annotators/segmentation", test_segmentation);
  g_test_add_func ("/annotators/error", test_error);
  g_test_add_func ("/annotators/range", test_range);
  return g_test_run ();
}
