/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <gst/video/video.h>

#include "device/cuda/frame.h"
#include "op-test.h"

/* Frames to pictures, against formulas in double and against what
 * GstVideoConverter makes of them with the options that the element gives it.
 *
 * The converter has fewer bits: it takes 255 / 219 (y - 128) + 128 for
 * 255 / 219 (y - 16), which is 2.4 less; it rounds products down, two for
 * green; chroma it rounds to whole levels twice, before it doubles it. */
#define LESS_LIMITED (255. / 219 * 112 - 128)
#define LESS_GREEN 1.7
#define LESS_GREY 1
#define MOST_LEVELS 2
#define MOST_LEVELS_CHROMA 5
#define MOST_LEVELS_RESIZED 8   /* its weights have six bits */
#define MOST_MEAN 1.5

typedef struct
{
  GstVideoFormat format;
  gint width, height;
  GstVideoColorMatrix matrix;
  GstVideoColorRange range;
  GstVideoFormat out;
} Case;

typedef struct
{
  GstVideoInfo info, out_info;
  GstVideoFrame in, out;
  PtFrame frame;
  PtFrameView view;
  gdouble less[3];              /* the converter gives */
} Rig;

static guint8
pattern (gint x, gint y, guint seed)
{
  return CLAMP (128 + 90 * sin (0.11 * x + seed) * cos (0.13 * y - seed)
      + (x * 7 + y * 13 + seed * 5) % 11, 0, 255);
}

static void
rig_map (GstVideoFrame *frame, GstVideoInfo *info)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, info->size, NULL);

  gst_buffer_memset (buffer, 0, 0, info->size);
  g_assert_true (gst_video_frame_map (frame, info, buffer,
          GST_MAP_READWRITE));
  gst_buffer_unref (buffer);
}

/* On its own way from I420 to RGB of the same size the converter does not
 * interpolate chroma. */
static gboolean
rig_is_flat (const Rig *rig)
{
  return GST_VIDEO_INFO_FORMAT (&rig->info) == GST_VIDEO_FORMAT_I420
      && GST_VIDEO_INFO_FORMAT (&rig->out_info) == GST_VIDEO_FORMAT_RGB;
}

static void
rig_fill (Rig *rig, gboolean flat)
{
  for (guint k = 0; k < GST_VIDEO_FRAME_N_COMPONENTS (&rig->in); k++)
    for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&rig->in, k); y++)
      for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&rig->in, k); x++)
        ((guint8 *) GST_VIDEO_FRAME_COMP_DATA (&rig->in, k))
            [y * GST_VIDEO_FRAME_COMP_STRIDE (&rig->in, k)
            + x * GST_VIDEO_FRAME_COMP_PSTRIDE (&rig->in, k)] =
            k > 0 && flat ? 100 + 50 * k : pattern (x, y, k);
}

/* As the element would say it of a GstVideoFrame. */
static PtFrame
describe_frame (GstVideoFrame *from)
{
  const GstVideoFormatInfo *finfo = from->info.finfo;
  GstVideoChromaSite site = from->info.chroma_site;
  PtFrame frame = {
    .n_components = MIN (GST_VIDEO_FRAME_N_COMPONENTS (from), 3),
    .width = from->info.width,.height = from->info.height,
    .cosited_x = (site & GST_VIDEO_CHROMA_SITE_H_COSITED) != 0,
    .cosited_y = (site & GST_VIDEO_CHROMA_SITE_V_COSITED) != 0,
  };

  for (gint k = 0; k < frame.n_components; k++) {
    frame.data[k] = GST_VIDEO_FRAME_COMP_DATA (from, k);
    frame.stride[k] = GST_VIDEO_FRAME_COMP_STRIDE (from, k);
    frame.step[k] = GST_VIDEO_FRAME_COMP_PSTRIDE (from, k);
    frame.shift_x[k] = GST_VIDEO_FORMAT_INFO_W_SUB (finfo, k);
    frame.shift_y[k] = GST_VIDEO_FORMAT_INFO_H_SUB (finfo, k);
  }
  return frame;
}

/* Between equal matrices the converter copies luma, whatever the range. */
static void
describe_matrix (Rig *rig, gfloat m[3][4])
{
  const GstVideoInfo *info = &rig->info;
  gboolean grey = rig->view.channels == 1;
  gint offset[4], scale[4];
  gdouble kr, kb;

  pt_frame_matrix_copy (rig->frame.n_components, m);
  if (GST_VIDEO_INFO_IS_YUV (info)) {
    if (grey && info->colorimetry.matrix == GST_VIDEO_COLOR_MATRIX_BT601)
      return;
    gst_video_color_range_offsets (info->colorimetry.range, info->finfo,
        offset, scale);
    gst_video_color_matrix_get_Kr_Kb (info->colorimetry.matrix, &kr, &kb);
    pt_frame_matrix_yuv (kr, kb, (PtFrameRange) {
          offset[0], scale[0], scale[1]}, m);
    for (gint c = 0; c < 3; c++)
      rig->less[c] = (offset[0] > 0 ? LESS_LIMITED : 0)
          + (grey ? LESS_GREY : c == 1 ? LESS_GREEN : 0);
  }
  gst_video_color_matrix_get_Kr_Kb (GST_VIDEO_COLOR_MATRIX_BT601, &kr, &kb);
  if (grey && rig->frame.n_components == 3)
    pt_frame_matrix_grey (kr, kb, m);
}

static void
rig_init (Rig *rig, const Case *item, gint out_width, gint out_height)
{
  GstVideoAlignment padding;

  gst_video_info_set_format (&rig->info, item->format, item->width,
      item->height);
  rig->info.colorimetry.matrix = item->matrix;
  rig->info.colorimetry.range = item->range;
  gst_video_alignment_reset (&padding);
  padding.padding_right = 13;   /* rows are longer than they need be */
  g_assert_true (gst_video_info_align (&rig->info, &padding));
  gst_video_info_set_format (&rig->out_info, item->out, out_width,
      out_height);
  rig_map (&rig->in, &rig->info);
  rig_map (&rig->out, &rig->out_info);
  rig_fill (rig, rig_is_flat (rig));
  rig->frame = describe_frame (&rig->in);
  rig->view = (PtFrameView) {
    0, 0, item->width, item->height, 0, 0, out_width, out_height, out_width,
    out_height, GST_VIDEO_INFO_N_COMPONENTS (&rig->out_info),
    .mean = 0.4,.std = 0.2,
  };
  describe_matrix (rig, rig->view.matrix);
}

static void
rig_clear (Rig *rig)
{
  gst_video_frame_unmap (&rig->in);
  gst_video_frame_unmap (&rig->out);
}

/* With what the element says of a part of the frame, or of the picture. */
static void
rig_convert (Rig *rig)
{
  const PtFrameView *v = &rig->view;
  GstVideoConverter *converter = gst_video_converter_new (&rig->info,
      &rig->out_info, gst_structure_new ("options",
          GST_VIDEO_CONVERTER_OPT_SRC_X, G_TYPE_INT, v->x,
          GST_VIDEO_CONVERTER_OPT_SRC_Y, G_TYPE_INT, v->y,
          GST_VIDEO_CONVERTER_OPT_SRC_WIDTH, G_TYPE_INT, v->width,
          GST_VIDEO_CONVERTER_OPT_SRC_HEIGHT, G_TYPE_INT, v->height,
          GST_VIDEO_CONVERTER_OPT_DEST_X, G_TYPE_INT, v->to_x,
          GST_VIDEO_CONVERTER_OPT_DEST_Y, G_TYPE_INT, v->to_y,
          GST_VIDEO_CONVERTER_OPT_DEST_WIDTH, G_TYPE_INT, v->to_width,
          GST_VIDEO_CONVERTER_OPT_DEST_HEIGHT, G_TYPE_INT, v->to_height,
          GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
          GST_TYPE_VIDEO_RESAMPLER_METHOD,
          GST_VIDEO_RESAMPLER_METHOD_LINEAR,
          GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
          GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE, NULL));

  gst_video_converter_frame (converter, &rig->in, &rig->out);
  gst_video_converter_free (converter);
}

static void
rig_compare (Rig *rig, gdouble most)
{
  gint n = rig->view.channels;
  gdouble worst = 0, sum = 0;

  for (gint y = 0; y < rig->view.out_height; y++)
    for (gint x = 0; x < rig->view.out_width; x++) {
      const guint8 *expected = GST_VIDEO_FRAME_PLANE_DATA (&rig->out, 0);
      gfloat out[3];

      expected += y * GST_VIDEO_FRAME_PLANE_STRIDE (&rig->out, 0) + x * n;
      pt_frame_pixel (&rig->frame, &rig->view, x, y, out);
      for (gint c = 0; c < n; c++) {
        gdouble wanted = CLAMP (out[c] - rig->less[c], 0, 255);

        worst = MAX (worst, fabs (rint (wanted) - expected[c]));
        sum += fabs (wanted - expected[c]);
      }
    }
  sum /= rig->view.out_width * rig->view.out_height * n;
  g_test_message ("worst %g, mean %.3g levels", worst, sum);
  g_assert_cmpfloat (worst, <=, most);
  g_assert_cmpfloat (sum, <=, MOST_MEAN);
}

static void
test_same_size (gconstpointer data)
{
  const Case *item = data;
  Rig rig = { 0 };

  rig_init (&rig, item, item->width, item->height);
  rig_convert (&rig);
  rig_compare (&rig, GST_VIDEO_INFO_IS_YUV (&rig.info)
      && rig.view.channels == 3 ? MOST_LEVELS_CHROMA : MOST_LEVELS);
  rig_clear (&rig);
}

static const Case nv12 = { GST_VIDEO_FORMAT_NV12, 53, 47,
  GST_VIDEO_COLOR_MATRIX_BT709, GST_VIDEO_COLOR_RANGE_16_235,
  GST_VIDEO_FORMAT_RGB
};

static const Case rgb = { GST_VIDEO_FORMAT_RGB, 90, 70,
  GST_VIDEO_COLOR_MATRIX_RGB, GST_VIDEO_COLOR_RANGE_0_255,
  GST_VIDEO_FORMAT_RGB
};

/* Chroma between its samples, which lie in the middle of four pixels. */
static gdouble
expect_chroma (const Rig *rig, guint k, gint x, gint y)
{
  const guint8 *data = rig->frame.data[k];
  gint last_x = (rig->frame.width - 1) / 2, last_y =
      (rig->frame.height - 1) / 2;
  gdouble sum = 0;

  /* from where the pixel is, so far over as it is not */
  for (gint j = -1; j <= 1; j += 2)
    for (gint i = -1; i <= 1; i += 2) {
      gint near_x = CLAMP (x / 2 + (i > 0 ? 0 : x % 2 ? 1 : -1), 0, last_x);
      gint near_y = CLAMP (y / 2 + (j > 0 ? 0 : y % 2 ? 1 : -1), 0, last_y);

      sum += (i > 0 ? 0.75 : 0.25) * (j > 0 ? 0.75 : 0.25) *
          data[near_y * rig->frame.stride[k] + near_x * rig->frame.step[k]];
    }
  return sum;
}

/* BT.709 with the range of video, in double. */
static void
test_formula (void)
{
  Rig rig = { 0 };

  rig_init (&rig, &nv12, nv12.width, nv12.height);
  for (gint y = 0; y < nv12.height; y++)
    for (gint x = 0; x < nv12.width; x++) {
      gdouble luma = (rig.frame.data[0][y * rig.frame.stride[0] + x] - 16.)
          * 255 / 219;
      gdouble u = (expect_chroma (&rig, 1, x, y) - 128) * 255 / 224;
      gdouble v = (expect_chroma (&rig, 2, x, y) - 128) * 255 / 224;
      const gdouble expected[] = { luma + 1.5748 * v,
        luma - 0.18732 * u - 0.46812 * v, luma + 1.8556 * u
      };
      gfloat out[3];

      pt_frame_pixel (&rig.frame, &rig.view, x, y, out);
      for (gint c = 0; c < 3; c++)
        g_assert_cmpfloat_with_epsilon (out[c], CLAMP (expected[c], 0, 255),
            1e-2);
    }
  rig_clear (&rig);
}

/* The weights of GStreamer's resampler. */
static void
test_taps (void)
{
  static const gint sizes[][2] = { {1920, 224}, {640, 213}, {100, 100},
  {64, 224}, {3, 2}, {2, 1}, {1, 7}, {5, 1}, {7000, 50}
  };

  for (guint n = 0; n < G_N_ELEMENTS (sizes); n++) {
    gint from = sizes[n][0], to = sizes[n][1];
    GstVideoResampler gst;

    gst_video_resampler_init (&gst, GST_VIDEO_RESAMPLER_METHOD_LINEAR, 0, to,
        0, 0, from, to, NULL);
    for (gint i = 0; i < to; i++) {
      PtFrameTaps taps = pt_frame_taps (i, from, to);
      g_autofree gdouble *difference = g_new0 (gdouble, from);

      for (guint k = 0; k < gst.max_taps; k++)
        difference[gst.offset[i] + k] += gst.taps[i * gst.max_taps + k];
      for (gint k = 0; k < taps.n; k++)
        difference[pt_frame_clamp (taps.first + k, from)] -=
            pt_frame_weight (&taps, taps.first + k) * taps.scale;
      for (gint k = 0; k < from; k++)
        g_assert_cmpfloat_with_epsilon (difference[k], 0, 1e-4);
    }
    gst_video_resampler_clear (&gst);
  }
}

/* The same samples, otherwise arranged. */
static void
test_planar (void)
{
  Rig a = { 0 }, b = { 0 };
  Case i420 = nv12;

  i420.format = GST_VIDEO_FORMAT_I420;
  rig_init (&a, &nv12, 20, 15);
  rig_init (&b, &i420, 20, 15);
  rig_fill (&b, FALSE);
  for (gint i = 0; i < 20 * 15; i++) {
    gfloat p[3], q[3];

    pt_frame_pixel (&a.frame, &a.view, i % 20, i / 20, p);
    pt_frame_pixel (&b.frame, &b.view, i % 20, i / 20, q);
    g_assert_cmpmem (p, sizeof p, q, sizeof q);
  }
  rig_clear (&a);
  rig_clear (&b);
}

static void
test_smaller (gconstpointer data)
{
  Rig rig = { 0 };

  rig_init (&rig, data, 31, 22);
  rig_convert (&rig);
  rig_compare (&rig, MOST_LEVELS_RESIZED);
  rig_clear (&rig);
}

/* Part of the frame, and part of the picture: what is left is black. */
static void
test_parts (void)
{
  Rig crop = { 0 }, letterbox = { 0 };

  rig_init (&crop, &rgb, 31, 22);
  crop.view.x = 10;
  crop.view.y = 3;
  crop.view.width = 71;
  crop.view.height = 60;
  rig_convert (&crop);
  rig_compare (&crop, MOST_LEVELS);
  rig_clear (&crop);
  rig_init (&letterbox, &rgb, 40, 40);
  letterbox.view.to_y = 7;
  letterbox.view.to_height = 25;
  rig_convert (&letterbox);
  rig_compare (&letterbox, MOST_LEVELS);
  rig_clear (&letterbox);
}

#ifdef PT_CUDA_EMULATED

static PtTensor *
to_device (PtDevice *device, GstVideoFrame *from, PtFrame *frame)
{
  g_autoptr (GError) error = NULL;
  const guint8 *data = GST_VIDEO_FRAME_PLANE_DATA (from, 0);
  PtTensor *bytes = pt_device_bytes_new (device, from->info.size, &error);

  g_assert_no_error (error);
  device->backend->upload (device, bytes->data, data, from->info.size,
      &error);
  g_assert_no_error (error);
  for (gint k = 0; k < frame->n_components; k++)
    frame->data[k] = (guint8 *) bytes->data + (frame->data[k] - data);
  return bytes;
}

/* What the kernels write is what the formulas say. */
static void
test_kernels (void)
{
  enum
  { W = 20, H = 15, STRIDE = 64 };
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device ("cuda:0");
  g_autoptr (PtTensor) to = op_test_unset (device, &PT_SHAPE (1, 3, H, W));
  g_autoptr (PtTensor) packed = op_test_unset (device,
      &PT_SHAPE (H * STRIDE / 4));
  g_autoptr (PtTensor) bytes = NULL;
  g_autofree gfloat *pixel = NULL;
  g_autofree guint8 *byte = NULL;
  Rig rig = { 0 };
  PtFrame frame;

  rig_init (&rig, &nv12, W, H);
  frame = rig.frame;
  bytes = to_device (device, &rig.in, &frame);
  pt_cuda_frame_normalise (device, &frame, &rig.view, to->data, &error);
  g_assert_no_error (error);
  pt_cuda_frame_pack (device, &frame, &rig.view, packed->data, STRIDE,
      &error);
  g_assert_no_error (error);
  pixel = op_test_read_bytes (device, to);
  byte = op_test_read_bytes (device, packed);
  for (gint i = 0; i < 3 * W * H; i++) {
    gint x = i / 3 % W, y = i / 3 / W, c = i % 3;
    gfloat out[3];

    pt_frame_pixel (&rig.frame, &rig.view, x, y, out);
    g_assert_cmpfloat_with_epsilon (pixel[i], (out[c] / 255 - 0.4) / 0.2,
        1e-5);
    g_assert_cmpuint (byte[y * STRIDE + 3 * x + c], ==, out[c] + 0.5f);
  }
  g_assert_cmpuint (byte[3 * W], ==, 0xff);
  rig_clear (&rig);
}

#endif

static const GstVideoFormat formats[] = {
  GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_RGB,
  GST_VIDEO_FORMAT_BGR, GST_VIDEO_FORMAT_RGBx, GST_VIDEO_FORMAT_BGRx,
  GST_VIDEO_FORMAT_RGBA, GST_VIDEO_FORMAT_BGRA, GST_VIDEO_FORMAT_GRAY8,
  GST_VIDEO_FORMAT_YUY2,
};

static void
add_case (GstVideoFormat format, gint width, gint height,
    GstVideoColorMatrix matrix, GstVideoColorRange range, GstVideoFormat out)
{
  Case item = { format, width, height, matrix, range, out };
  g_autofree gchar *path = g_strdup_printf
      ("/cuda-frame/same-size/%s-%dx%d-%s-%s-%s",
      gst_video_format_to_string (format), width, height,
      matrix == GST_VIDEO_COLOR_MATRIX_BT709 ? "bt709" : "bt601",
      range == GST_VIDEO_COLOR_RANGE_0_255 ? "full" : "limited",
      gst_video_format_to_string (out));

  g_test_add_data_func_full (path, g_memdup2 (&item, sizeof item),
      test_same_size, g_free);
}

static void
add_format (GstVideoFormat format, GstVideoFormat out)
{
  static const gint sizes[][2] = { {64, 48}, {37, 29} };
  const GstVideoFormatInfo *info = gst_video_format_get_info (format);

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    gint w = sizes[i][0], h = sizes[i][1];

    if (!GST_VIDEO_FORMAT_INFO_IS_YUV (info)) {
      add_case (format, w, h, GST_VIDEO_FORMAT_INFO_IS_RGB (info) ?
          GST_VIDEO_COLOR_MATRIX_RGB : GST_VIDEO_COLOR_MATRIX_BT601,
          GST_VIDEO_COLOR_RANGE_0_255, out);
      continue;
    }
    for (guint k = 0; k < 4; k++)
      add_case (format, w, h, k % 2 ? GST_VIDEO_COLOR_MATRIX_BT709 :
          GST_VIDEO_COLOR_MATRIX_BT601, k / 2 ? GST_VIDEO_COLOR_RANGE_0_255 :
          GST_VIDEO_COLOR_RANGE_16_235, out);
  }
}

int
main (int argc, char **argv)
{
  g_setenv ("GST_REGISTRY_DISABLE", "yes", TRUE);
  gst_init (&argc, &argv);
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    add_format (formats[i], GST_VIDEO_FORMAT_RGB);
    add_format (formats[i], GST_VIDEO_FORMAT_GRAY8);
  }
  g_test_add_func ("/cuda-frame/formula", test_formula);
  g_test_add_func ("/cuda-frame/taps", test_taps);
  g_test_add_func ("/cuda-frame/planar", test_planar);
  g_test_add_data_func ("/cuda-frame/smaller/RGB", &rgb, test_smaller);
  g_test_add_data_func ("/cuda-frame/smaller/NV12", &nv12, test_smaller);
  g_test_add_func ("/cuda-frame/parts", test_parts);
#ifdef PT_CUDA_EMULATED
  g_test_add_func ("/cuda-frame/kernels", test_kernels);
#endif
  return g_test_run ();
}
