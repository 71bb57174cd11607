/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <gst/video/video.h>

#include "device/cuda/overlay.h"
#include "op-test.h"

/* Outputs over frames, against formulas in double and against GStreamer's own
 * blending of the same colours. */

#define WIDTH 21
#define HEIGHT 15

typedef struct
{
  GstVideoInfo info;
  GstVideoFrame before, after;
  PtFrame frame;
  PtOverlay overlay;
  gdouble *values;
  gfloat *y;
  gfloat range;
  PtOverlayColour *table;
} Rig;

static void
rig_map (Rig *rig, GstVideoFrame *frame)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, rig->info.size, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = 16 + i * 37 % 220;
  gst_buffer_unmap (buffer, &map);
  g_assert_true (gst_video_frame_map (frame, &rig->info, buffer,
          GST_MAP_READWRITE));
  gst_buffer_unref (buffer);
}

static void
rig_init (Rig *rig, GstVideoFormat format, PtOverlayKind kind, gint width,
    gint height)
{
  static const gint channels[] = { 5, 1, 2, 3 };
  static const guint colours[] = { 5, PT_OVERLAY_HEATS,
    PT_OVERLAY_SIDE * PT_OVERLAY_SIDE, 0
  };
  gsize n = (gsize) width * height * channels[kind];

  gst_video_info_set_format (&rig->info, format, WIDTH, HEIGHT);
  rig_map (rig, &rig->before);
  rig_map (rig, &rig->after);
  rig->frame = (PtFrame) {
  .n_components = 3,.width = WIDTH,.height = HEIGHT};
  for (gint k = 0; k < 3; k++) {
    rig->frame.data[k] = GST_VIDEO_FRAME_COMP_DATA (&rig->after, k);
    rig->frame.stride[k] = GST_VIDEO_FRAME_COMP_STRIDE (&rig->after, k);
    rig->frame.step[k] = GST_VIDEO_FRAME_COMP_PSTRIDE (&rig->after, k);
    rig->frame.shift_x[k] =
        GST_VIDEO_FORMAT_INFO_W_SUB (rig->info.finfo, k);
    rig->frame.shift_y[k] =
        GST_VIDEO_FORMAT_INFO_H_SUB (rig->info.finfo, k);
  }
  rig->values = op_test_random (n, 1);
  rig->y = g_new (gfloat, n);
  for (gsize i = 0; i < n; i++)
    rig->y[i] = rig->values[i];
  rig->table = g_new (PtOverlayColour, colours[kind]);
  for (guint i = 0; i < colours[kind]; i++)
    rig->table[i] = (PtOverlayColour) {
      i * 11 % 256, {i * 3 % 256, 255 - i * 5 % 256, i * 7 % 256}
    };
  rig->range = 0.8;
  rig->overlay = (PtOverlay) {
    {kind, width, height, channels[kind], rig->table, colours[kind], 0.4, 0.3,
        {{0.2, 0.7, 0.1, 3}, {-0.1, -0.3, 0.4, 128}, {0.4, -0.3, -0.1, 128}}},
    rig->y, &rig->range, 0, 0, WIDTH, HEIGHT
  };
}

static void
rig_clear (Rig *rig)
{
  gst_video_frame_unmap (&rig->before);
  gst_video_frame_unmap (&rig->after);
  g_free (rig->values);
  g_free (rig->y);
  g_free (rig->table);
}

static void
rig_blend (Rig *rig)
{
  gint w = 1 << rig->frame.shift_x[2], h = 1 << rig->frame.shift_y[2];

  for (gint y = 0; y * h < HEIGHT; y++)
    for (gint x = 0; x * w < WIDTH; x++)
      pt_overlay_blend (&rig->frame, &rig->overlay, x, y);
}

static guint
rig_sample (GstVideoFrame *frame, gint k, gint x, gint y)
{
  const guint8 *data = GST_VIDEO_FRAME_COMP_DATA (frame, k);

  return data[y * GST_VIDEO_FRAME_COMP_STRIDE (frame, k)
      + x * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, k)];
}

/* The picture itself, in the frame's components. */
static PtOverlayColour
rig_expect_image (const Rig *rig, const gdouble *v)
{
  const PtOverlayStyle *style = &rig->overlay.style;
  PtOverlayColour colour = { 255 };

  for (gint k = 0; k < 3; k++) {
    gdouble sum = style->matrix[k][3];

    for (gint c = 0; c < 3; c++)
      sum += style->matrix[k][c] * CLAMP (255 * (v[c] * style->std
              + style->mean), 0, 255);
    colour.part[k] = CLAMP (sum, 0, 255) + 0.5;
  }
  return colour;
}

/* The colour of one pixel, of an output as large as the frame. */
static PtOverlayColour
rig_expect (const Rig *rig, gint x, gint y)
{
  const gdouble *v = rig->values + (y * WIDTH + x) * rig->overlay.style.channels;
  gdouble length;
  gint best = 0;

  for (gint c = 1; c < rig->overlay.style.channels; c++)
    best = v[c] > v[best] ? c : best;
  if (rig->overlay.style.kind == PT_OVERLAY_CLASSES)
    return rig->table[best];
  if (rig->overlay.style.kind == PT_OVERLAY_IMAGE)
    return rig_expect_image (rig, v);
  if (rig->overlay.style.kind == PT_OVERLAY_HEAT)
    return rig->table[(gint) (CLAMP (v[0] / rig->range, 0, 1) * 255)];
  length = MAX (hypot (v[0], v[1]) / rig->range, 1);
  return rig->table[(gint) (v[1] / rig->range / length * 64 + 64.5) * 129 +
      (gint) (v[0] / rig->range / length * 64 + 64.5)];
}

/* Every sample is the mean over its pixels of what each would be. */
static void
check_sample (Rig *rig, gint k, gint x, gint y)
{
  gint w = 1 << rig->frame.shift_x[k], h = 1 << rig->frame.shift_y[k];
  gdouble before = rig_sample (&rig->before, k, x, y), sum = 0;
  gint n = 0;

  for (gint j = y * h; j < MIN ((y + 1) * h, HEIGHT); j++)
    for (gint i = x * w; i < MIN ((x + 1) * w, WIDTH); i++) {
      PtOverlayColour colour = rig_expect (rig, i, j);

      sum += before + colour.alpha / 255. * (colour.part[k] - before);
      n++;
    }
  g_assert_cmpfloat_with_epsilon (rig_sample (&rig->after, k, x, y), sum / n,
      0.51);
}

static void
test_colours (gconstpointer data)
{
  static const GstVideoFormat formats[] = { GST_VIDEO_FORMAT_RGB,
    GST_VIDEO_FORMAT_RGBx, GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_YUY2
  };

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    Rig rig;

    rig_init (&rig, formats[i], GPOINTER_TO_INT (data), WIDTH, HEIGHT);
    rig_blend (&rig);
    for (gint k = 0; k < 3; k++)
      for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&rig.after, k); y++)
        for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&rig.after, k); x++)
          check_sample (&rig, k, x, y);
    rig_clear (&rig);
  }
}

/* GStreamer's composition of the same colours, as the element has it on the
 * CPU. */
static void
test_composition (void)
{
  GstBuffer *picture = gst_buffer_new_allocate (NULL, 4 * WIDTH * HEIGHT,
      NULL);
  GstVideoOverlayComposition *composition;
  GstVideoOverlayRectangle *rectangle;
  GstMapInfo map;
  Rig rig;

  rig_init (&rig, GST_VIDEO_FORMAT_RGB, PT_OVERLAY_FLOW, WIDTH, HEIGHT);
  gst_buffer_map (picture, &map, GST_MAP_WRITE);
  for (gint i = 0; i < WIDTH * HEIGHT; i++) {
    PtOverlayColour colour = pt_overlay_pick (&rig.overlay, i % WIDTH,
        i / WIDTH);

    for (gint k = 0; k < 3; k++)
      map.data[4 * i + 2 - k] = colour.part[k];
    map.data[4 * i + 3] = colour.alpha;
  }
  gst_buffer_unmap (picture, &map);
  gst_buffer_add_video_meta (picture, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_RGB, WIDTH, HEIGHT);
  rectangle = gst_video_overlay_rectangle_new_raw (picture, 0, 0, WIDTH,
      HEIGHT, GST_VIDEO_OVERLAY_FORMAT_FLAG_NONE);
  composition = gst_video_overlay_composition_new (rectangle);
  g_assert_true (gst_video_overlay_composition_blend (composition,
          &rig.before));
  rig_blend (&rig);
  for (gint i = 0; i < 3 * WIDTH * HEIGHT; i++)
    g_assert_cmpfloat_with_epsilon (rig_sample (&rig.after, i % 3,
            i / 3 % WIDTH, i / 3 / WIDTH), rig_sample (&rig.before, i % 3,
            i / 3 % WIDTH, i / 3 / WIDTH), 2);
  gst_video_overlay_composition_unref (composition);
  gst_video_overlay_rectangle_unref (rectangle);
  gst_buffer_unref (picture);
  rig_clear (&rig);
}

/* Values lie between those of the output; outside of its place the frame is
 * as it was, and a NaN has a colour. */
static void
test_place (void)
{
  Rig rig;

  rig_init (&rig, GST_VIDEO_FORMAT_RGB, PT_OVERLAY_HEAT, 2, 1);
  rig.y[0] = 0;
  rig.y[1] = 0.8;
  rig.overlay.to_x = 4;
  rig.overlay.to_y = 2;
  rig.overlay.to_width = 8;
  rig.overlay.to_height = 40;
  g_assert_cmpint (pt_overlay_heat (&rig.overlay, 0.25, 0), ==, 63);
  rig.table[0].alpha = rig.table[255].alpha = 255;
  rig_blend (&rig);
  for (gint i = 0; i < WIDTH * HEIGHT; i++) {
    gint x = i % WIDTH, y = i / WIDTH;

    if (x < 4 || x >= 12 || y < 2)
      g_assert_cmpuint (rig_sample (&rig.after, 1, x, y), ==,
          rig_sample (&rig.before, 1, x, y));
  }
  g_assert_cmpuint (rig_sample (&rig.after, 1, 4, 5), ==,
      rig.table[0].part[1]);
  g_assert_cmpuint (rig_sample (&rig.after, 1, 11, 5), ==,
      rig.table[255].part[1]);
  rig.y[0] = NAN;
  g_assert_cmpint (pt_overlay_heat (&rig.overlay, 0, 0), ==, 0);
  rig_clear (&rig);
}

#ifdef PT_CUDA_EMULATED

static PtTensor *
to_device (PtDevice *device, gconstpointer data, gsize size)
{
  g_autoptr (GError) error = NULL;
  PtTensor *tensor = pt_device_bytes_new (device, size, &error);

  g_assert_no_error (error);
  device->backend->upload (device, tensor->data, data, size, &error);
  g_assert_no_error (error);
  return tensor;
}

/* What the painter leaves on the GPU is what the formulas say. */
static void
test_painter (gconstpointer data)
{
  const gint n = 8 * 6;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device ("cuda:0");
  g_autoptr (PtTensor) bytes = NULL;
  g_autoptr (PtFramePainter) painter = NULL;
  g_autofree guint8 *found = NULL;
  g_autofree gfloat *rows = NULL;
  const guint8 *expected;
  gint channels;
  PtFrame frame;
  Rig rig;

  rig_init (&rig, GST_VIDEO_FORMAT_NV12, GPOINTER_TO_INT (data), 8, 6);
  channels = rig.overlay.style.channels;
  rows = g_new (gfloat, n * channels);
  for (gint i = 0; i < n * channels; i++)
    rows[i] = rig.y[i % n * channels + i / n];
  frame = rig.frame;
  expected = GST_VIDEO_FRAME_PLANE_DATA (&rig.after, 0);
  bytes = to_device (device, expected, rig.info.size);
  for (gint k = 0; k < 3; k++)
    frame.data[k] = (guint8 *) bytes->data + (frame.data[k] - expected);
  painter = pt_frame_painter_new (device, &rig.overlay.style, &error);
  g_assert_no_error (error);
  rig.overlay.to_x = 3;
  rig.overlay.to_width = 12;
  pt_frame_painter_draw (painter, rows, rig.range, &frame, 3, 0, 12, HEIGHT,
      &error);
  g_assert_no_error (error);
  rig_blend (&rig);
  found = op_test_read_bytes (device, bytes);
  g_assert_cmpmem (found, rig.info.size, expected, rig.info.size);
  rig_clear (&rig);
}

#endif

int
main (int argc, char **argv)
{
  g_setenv ("GST_REGISTRY_DISABLE", "yes", TRUE);
  gst_init (&argc, &argv);
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/cuda-overlay/classes",
      GINT_TO_POINTER (PT_OVERLAY_CLASSES), test_colours);
  g_test_add_data_func ("/cuda-overlay/heat",
      GINT_TO_POINTER (PT_OVERLAY_HEAT), test_colours);
  g_test_add_data_func ("/cuda-overlay/flow",
      GINT_TO_POINTER (PT_OVERLAY_FLOW), test_colours);
  g_test_add_data_func ("/cuda-overlay/image",
      GINT_TO_POINTER (PT_OVERLAY_IMAGE), test_colours);
  g_test_add_func ("/cuda-overlay/composition", test_composition);
  g_test_add_func ("/cuda-overlay/place", test_place);
#ifdef PT_CUDA_EMULATED
  g_test_add_data_func ("/cuda-overlay/painter/heat",
      GINT_TO_POINTER (PT_OVERLAY_HEAT), test_painter);
  g_test_add_data_func ("/cuda-overlay/painter/flow",
      GINT_TO_POINTER (PT_OVERLAY_FLOW), test_painter);
  g_test_add_data_func ("/cuda-overlay/painter/image",
      GINT_TO_POINTER (PT_OVERLAY_IMAGE), test_painter);
#endif
  return g_test_run ();
}
