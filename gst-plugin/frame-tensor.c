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
format_crop (GstPartimeFormat *self)
{
  gdouble par = (gdouble) self->info.par_n / self->info.par_d;

  self->view = format_centre (self->input.width / par, self->input.height,
      self->info.width, self->info.height);
  self->part = self->view;
}

/* All of the frame is seen, between black bars. */
static void
format_letterbox (GstPartimeFormat *self)
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
  self->box = box;
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
format_plan (GstPartimeFormat *self)
{
  g_autoptr (GstBuffer) buffer = NULL;
  GstStructure *options;

  if (format_fits (self))
    return TRUE;
  options = gst_structure_new ("options",
      GST_VIDEO_CONVERTER_OPT_SRC_X, G_TYPE_INT, self->part.x,
      GST_VIDEO_CONVERTER_OPT_SRC_Y, G_TYPE_INT, self->part.y,
      GST_VIDEO_CONVERTER_OPT_SRC_WIDTH, G_TYPE_INT, self->part.w,
      GST_VIDEO_CONVERTER_OPT_SRC_HEIGHT, G_TYPE_INT, self->part.h,
      GST_VIDEO_CONVERTER_OPT_DEST_X, G_TYPE_INT, self->box.x,
      GST_VIDEO_CONVERTER_OPT_DEST_Y, G_TYPE_INT, self->box.y,
      GST_VIDEO_CONVERTER_OPT_DEST_WIDTH, G_TYPE_INT, self->box.w,
      GST_VIDEO_CONVERTER_OPT_DEST_HEIGHT, G_TYPE_INT, self->box.h,
      GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
      GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
      GST_VIDEO_CONVERTER_OPT_DITHER_METHOD, GST_TYPE_VIDEO_DITHER_METHOD,
      GST_VIDEO_DITHER_NONE, NULL);
  self->converter = gst_video_converter_new (&self->info, &self->input,
      options);
  if (!self->converter)
    return FALSE;
  buffer = gst_buffer_new_allocate (NULL, self->input.size, NULL);
  return gst_video_frame_map (&self->scratch, &self->input, buffer,
      GST_MAP_READWRITE);
}

/* Frames of @info as pictures of @width x @height, placed as the network file
 * says. */
static GstPartimeFormat *
format_new (const GstVideoInfo *info, PtNetwork *network,
    GstVideoFormat packed, gint width, gint height)
{
  g_autoptr (GstPartimeFormat) self =
      g_atomic_rc_box_new0 (GstPartimeFormat);
  g_autofree gchar *resize = pt_network_get (network, "network", "resize");

  self->info = *info;
  self->view = self->part = (GstVideoRectangle) {
  0, 0, info->width, info->height};
  self->box = (GstVideoRectangle) {
  0, 0, width, height};
  gst_video_info_set_format (&self->input, packed, width, height);
  /* the converter changes neither of these */
  self->input.fps_n = info->fps_n;
  self->input.fps_d = info->fps_d;
  self->input.interlace_mode = info->interlace_mode;
  if (g_strcmp0 (resize, "crop") == 0)
    format_crop (self);
  else if (g_strcmp0 (resize, "letterbox") == 0)
    format_letterbox (self);
  return g_steal_pointer (&self);
}

/* Returns: (nullable): %NULL if they cannot be converted */
GstPartimeFormat *
gst_partime_format_new_sized (const GstVideoInfo *info, PtNetwork *network,
    GstVideoFormat packed, gint width, gint height)
{
  g_autoptr (GstPartimeFormat) self =
      format_new (info, network, packed, width, height);

  return format_plan (self) ? g_steal_pointer (&self) : NULL;
}

static GstVideoFormat
format_get_packed (PtNetwork *network)
{
  return format_get_int (network, "channels", 3) == 1
      ? GST_VIDEO_FORMAT_GRAY8 : GST_VIDEO_FORMAT_RGB;
}

/* Returns: (nullable): %NULL if frames of @info cannot be converted */
GstPartimeFormat *
gst_partime_format_new (const GstVideoInfo *info, PtNetwork *network)
{
  const PtShape *shape = pt_network_get_input_shape (network);

  return gst_partime_format_new_sized (info, network,
      format_get_packed (network), shape->dims[3], shape->dims[2]);
}

/* For frames in CUDA memory, which gst_partime_cuda_get_module() is there
 * for. */
GstPartimeFormat *
gst_partime_format_new_cuda (const GstVideoInfo *info, PtNetwork *network,
    GstPartimeCuda *cuda, GError **error)
{
  const PtShape *shape = pt_network_get_input_shape (network);
  g_autoptr (GstPartimeFormat) self = format_new (info, network,
      format_get_packed (network), shape->dims[3], shape->dims[2]);
  GstPartimeCudaView view = { *info, self->part, self->input, self->box };

  self->cuda = gst_partime_cuda_get_module ()->picture_new (cuda, &view,
      error);
  return self->cuda ? g_steal_pointer (&self) : NULL;
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

  if (self->cuda)
    gst_partime_cuda_get_module ()->picture_free (self->cuda);
  g_clear_pointer (&self->converter, gst_video_converter_free);
  if (self->scratch.buffer)
    gst_video_frame_unmap (&self->scratch);
}

void
gst_partime_format_unref (GstPartimeFormat *self)
{
  g_atomic_rc_box_release_full (self, format_clear);
}

/* Returns: (transfer none): @frame as the network sees it; itself if it fits,
 * else good until the next call */
const GstVideoFrame *
gst_partime_format_convert (GstPartimeFormat *self, GstVideoFrame *frame)
{
  if (!self->converter)
    return frame;
  gst_video_converter_frame (self->converter, frame, &self->scratch);
  return &self->scratch;
}

/**
 * gst_partime_format_see:
 * @self: of the frame
 * @buffer: the frame, wherever it lies
 * @sight: (out): what the network sees of it, good until it is cleared or this
 *   is called again
 * @error: return location; not set if @buffer is no frame of the format
 *
 * Returns: whether the frame could be read
 */
gboolean
gst_partime_format_see (GstPartimeFormat *self, GstBuffer *buffer,
    GstPartimeSight *sight, GError **error)
{
  const GstVideoFrame *seen;

  if (self->cuda) {
    sight->pixels = gst_partime_cuda_get_module ()->picture_read (self->cuda,
        buffer, error);
    sight->stride = (gsize) self->input.width
        * GST_VIDEO_INFO_N_COMPONENTS (&self->input);
    return sight->pixels != NULL;
  }
  if (!gst_video_frame_map (&sight->frame, &self->info, buffer, GST_MAP_READ))
    return FALSE;
  seen = gst_partime_format_convert (self, &sight->frame);
  sight->pixels = GST_VIDEO_FRAME_PLANE_DATA (seen, 0);
  sight->stride = GST_VIDEO_FRAME_PLANE_STRIDE (seen, 0);
  return TRUE;
}

void
gst_partime_sight_clear (GstPartimeSight *self)
{
  if (self->frame.buffer)
    gst_video_frame_unmap (&self->frame);
  *self = (GstPartimeSight) {
  NULL};
}
