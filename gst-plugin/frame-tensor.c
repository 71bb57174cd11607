/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A video frame of any format and size becomes the packed GRAY8 or RGB picture
 * that the network takes. */

#include "frame-tensor.h"

static gint
format_get_int (PtNetwork *network, const gchar *key, gint otherwise)
{
  g_autofree gchar *text = pt_network_get (network, "network", key);

  return text && *text ? (gint) g_ascii_strtoll (text, NULL, 10) : otherwise;
}

/* The largest rectangle of the shape of @inner that fits @outer, in its
 * middle; shapes as shown, with frame pixels that are @par_n to @par_d. */
static GstVideoRectangle
format_centre (gdouble inner_w, gdouble inner_h, gint outer_w, gint outer_h)
{
  GstVideoRectangle src = { 0, 0, 0, 0 };
  gdouble scale = MIN (outer_w / inner_w, outer_h / inner_h);

  src.w = CLAMP ((gint) (inner_w * scale + 0.5), 1, outer_w);
  src.h = CLAMP ((gint) (inner_h * scale + 0.5), 1, outer_h);
  src.x = (outer_w - src.w) / 2;
  src.y = (outer_h - src.h) / 2;
  return src;
}

/* Part of the frame is seen: the middle, of the network's shape. */
static void
format_crop (GstPartimeFormat *self, GstStructure *options)
{
  gdouble par = (gdouble) self->info.par_n / self->info.par_d;

  self->view = format_centre (self->input.width / par, self->input.height,
      self->info.width, self->info.height);
  gst_structure_set (options,
      GST_VIDEO_CONVERTER_OPT_SRC_X, G_TYPE_INT, self->view.x,
      GST_VIDEO_CONVERTER_OPT_SRC_Y, G_TYPE_INT, self->view.y,
      GST_VIDEO_CONVERTER_OPT_SRC_WIDTH, G_TYPE_INT, self->view.w,
      GST_VIDEO_CONVERTER_OPT_SRC_HEIGHT, G_TYPE_INT, self->view.h, NULL);
}

/* All of the frame is seen, between black bars. */
static void
format_letterbox (GstPartimeFormat *self, GstStructure *options)
{
  gdouble par = (gdouble) self->info.par_n / self->info.par_d;
  GstVideoRectangle box = format_centre (self->info.width * par,
      self->info.height, self->input.width, self->input.height);
  gdouble x = (gdouble) self->info.width / box.w;
  gdouble y = (gdouble) self->info.height / box.h;

  self->view.x = -(gint) (box.x * x + 0.5);
  self->view.y = -(gint) (box.y * y + 0.5);
  self->view.w = self->input.width * x + 0.5;
  self->view.h = self->input.height * y + 0.5;
  gst_structure_set (options,
      GST_VIDEO_CONVERTER_OPT_DEST_X, G_TYPE_INT, box.x,
      GST_VIDEO_CONVERTER_OPT_DEST_Y, G_TYPE_INT, box.y,
      GST_VIDEO_CONVERTER_OPT_DEST_WIDTH, G_TYPE_INT, box.w,
      GST_VIDEO_CONVERTER_OPT_DEST_HEIGHT, G_TYPE_INT, box.h, NULL);
}

static gboolean
format_fits (const GstPartimeFormat *self)
{
  return GST_VIDEO_INFO_FORMAT (&self->info) ==
      GST_VIDEO_INFO_FORMAT (&self->input)
      && self->info.width == self->input.width
      && self->info.height == self->input.height;
}

static gboolean
format_plan (GstPartimeFormat *self, const gchar *resize)
{
  g_autoptr (GstBuffer) buffer = NULL;
  GstStructure *options = gst_structure_new ("options",
      GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
      GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
      GST_VIDEO_CONVERTER_OPT_DITHER_METHOD, GST_TYPE_VIDEO_DITHER_METHOD,
      GST_VIDEO_DITHER_NONE, NULL);

  if (g_strcmp0 (resize, "crop") == 0)
    format_crop (self, options);
  else if (g_strcmp0 (resize, "letterbox") == 0)
    format_letterbox (self, options);
  if (format_fits (self)) {
    gst_structure_free (options);
    return TRUE;
  }
  self->converter = gst_video_converter_new (&self->info, &self->input,
      options);
  if (!self->converter)
    return FALSE;
  buffer = gst_buffer_new_allocate (NULL, self->input.size, NULL);
  return gst_video_frame_map (&self->scratch, &self->input, buffer,
      GST_MAP_READWRITE);
}

/* Frames of @info as pictures of @width x @height, placed as the network file
 * says. Returns: (nullable): %NULL if they cannot be converted */
GstPartimeFormat *
gst_partime_format_new_sized (const GstVideoInfo *info, PtNetwork *network,
    GstVideoFormat packed, gint width, gint height)
{
  g_autoptr (GstPartimeFormat) self =
      g_atomic_rc_box_new0 (GstPartimeFormat);
  g_autofree gchar *resize = pt_network_get (network, "network", "resize");

  self->info = *info;
  self->view = (GstVideoRectangle) {
  0, 0, info->width, info->height};
  gst_video_info_set_format (&self->input, packed, width, height);
  /* the converter changes neither of these */
  self->input.fps_n = info->fps_n;
  self->input.fps_d = info->fps_d;
  self->input.interlace_mode = info->interlace_mode;
  if (!format_plan (self, resize))
    return NULL;
  return g_steal_pointer (&self);
}

/* Returns: (nullable): %NULL if frames of @info cannot be converted */
GstPartimeFormat *
gst_partime_format_new (const GstVideoInfo *info, PtNetwork *network)
{
  const PtShape *shape = pt_network_get_input_shape (network);
  gint channels = format_get_int (network, "channels", 3);

  return gst_partime_format_new_sized (info, network,
      channels == 1 ? GST_VIDEO_FORMAT_GRAY8 : GST_VIDEO_FORMAT_RGB,
      shape->dims[3], shape->dims[2]);
}

GstPartimeFormat *
gst_partime_format_ref (GstPartimeFormat *self)
{
  return g_atomic_rc_box_acquire (self);
}

static void
format_clear (gpointer data)
{
  GstPartimeFormat *self = data;

  g_clear_pointer (&self->converter, gst_video_converter_free);
  if (self->scratch.buffer)
    gst_video_frame_unmap (&self->scratch);
}

void
gst_partime_format_unref (GstPartimeFormat *self)
{
  g_atomic_rc_box_release_full (self, format_clear);
}

/* Returns: (transfer none): @frame converted; it holds until the next */
const GstVideoFrame *
gst_partime_format_convert (GstPartimeFormat *self, GstVideoFrame *frame)
{
  if (!self->converter)
    return frame;
  gst_video_converter_frame (self->converter, frame, &self->scratch);
  return &self->scratch;
}

/* Converts @frame and gives it, with the @target it is to learn from if there
 * is one, to @pipeline, which keeps nothing of them. */
PtFlow
gst_partime_format_push (GstPartimeFormat *self, GstVideoFrame *frame,
    PtTensor *target, PtPipeline *pipeline, PtPushFlags flags, GError **error)
{
  const GstVideoFrame *from = gst_partime_format_convert (self, frame);

  return pt_pipeline_push_pixels (pipeline,
      GST_VIDEO_FRAME_PLANE_DATA (from, 0),
      GST_VIDEO_FRAME_PLANE_STRIDE (from, 0), target, flags, error);
}
