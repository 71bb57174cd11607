/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the network sees of a frame in CUDA memory, made on the GPU by the
 * library. */

#include "cuda/internal.h"

struct _GstPartimeCudaPicture
{
  GstPartimeCudaFrames frames;
  PtFrameView view;
  PtFrameReader *reader;
};

/* The colours of the bytes of @info; black and white of 10 to 16 bits are
 * where those of 8 are. */
static PtFrameRange
picture_get_range (const GstVideoInfo *info)
{
  if (info->colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255)
    return (PtFrameRange) {
    0, 255, 255};
  return (PtFrameRange) {
  16, 219, 224};
}

/* As GstVideoConverter has it, so that frames in CUDA memory look the same to
 * the network: between equal matrices it copies luma, whatever the range. */
static void
picture_describe_colours (GstPartimeCudaPicture *self)
{
  GstVideoColorMatrix matrix = self->frames.info.colorimetry.matrix;
  PtFrameView *view = &self->view;
  gboolean grey = view->channels == 1;
  gdouble kr, kb;

  pt_frame_matrix_copy (self->frames.frame.n_components, view->matrix);
  if (self->frames.frame.n_components == 1)
    return;
  if (GST_VIDEO_INFO_IS_YUV (&self->frames.info)) {
    if (grey && matrix == GST_VIDEO_COLOR_MATRIX_BT601)
      return;
    if (!gst_video_color_matrix_get_Kr_Kb (matrix, &kr, &kb))
      gst_video_color_matrix_get_Kr_Kb (GST_VIDEO_COLOR_MATRIX_BT709, &kr,
          &kb);
    pt_frame_matrix_yuv (kr, kb, picture_get_range (&self->frames.info),
        view->matrix);
  }
  gst_video_color_matrix_get_Kr_Kb (GST_VIDEO_COLOR_MATRIX_BT601, &kr, &kb);
  if (grey)
    pt_frame_matrix_grey (kr, kb, view->matrix);
}

static void
picture_describe_view (GstPartimeCudaPicture *self,
    const GstPartimeCudaView *from)
{
  const GstVideoFormatInfo *finfo = self->frames.info.finfo;
  gint shared_x = (1 << GST_VIDEO_FORMAT_INFO_W_SUB (finfo, 1)) - 1;
  gint shared_y = (1 << GST_VIDEO_FORMAT_INFO_H_SUB (finfo, 1)) - 1;

  /* the converter begins at a whole sample of chroma */
  self->view = (PtFrameView) {
    .x = from->part.x & ~shared_x,.y = from->part.y & ~shared_y,
    .width = from->part.w,.height = from->part.h,
    .to_x = from->box.x,.to_y = from->box.y,
    .to_width = from->box.w,.to_height = from->box.h,
    .out_width = from->input.width,.out_height = from->input.height,
    .channels = GST_VIDEO_INFO_N_COMPONENTS (&from->input),
    .std = 1,
  };
  picture_describe_colours (self);
}

GstPartimeCudaPicture *
gst_partime_cuda_picture_new (GstPartimeCuda *cuda,
    const GstPartimeCudaView *view, GError **error)
{
  g_autoptr (GstPartimeCudaPicture) self = g_new0 (GstPartimeCudaPicture, 1);

  if (!gst_partime_cuda_frames_init (&self->frames, cuda, &view->info, error)
      || !gst_partime_cuda_frames_enter (&self->frames, error))
    return NULL;
  picture_describe_view (self, view);
  self->reader = pt_frame_reader_new (self->frames.device,
      self->view.out_width, self->view.out_height, self->view.channels,
      error);
  gst_cuda_context_pop (NULL);
  return self->reader ? g_steal_pointer (&self) : NULL;
}

void
gst_partime_cuda_picture_free (GstPartimeCudaPicture *self)
{
  if (self->frames.primary
      && gst_partime_cuda_frames_enter (&self->frames, NULL)) {
    g_clear_pointer (&self->reader, pt_frame_reader_free);
    gst_partime_cuda_frames_clear (&self->frames);
    gst_cuda_context_pop (NULL);
  }
  g_clear_pointer (&self->frames.device, pt_device_unref);
  gst_clear_object (&self->frames.primary);
  g_free (self);
}

PtDevice *
gst_partime_cuda_picture_get_device (GstPartimeCudaPicture *self)
{
  return self->frames.device;
}

const guint8 *
gst_partime_cuda_picture_read (GstPartimeCudaPicture *self, GstBuffer *buffer,
    GError **error)
{
  GstPartimeCudaMapped mapped;
  const guint8 *pixels;

  if (!gst_partime_cuda_frames_map (&self->frames, buffer, GST_MAP_READ,
          &mapped, error))
    return NULL;
  pixels = pt_frame_reader_read (self->reader, &mapped.frame, &self->view,
      error);
  gst_partime_cuda_frames_unmap (&self->frames, &mapped, FALSE, NULL);
  return pixels;
}

/* What a frame of another context is copied to, the one before is still read
 * from, perhaps. */
PtFlow
gst_partime_cuda_picture_push (GstPartimeCudaPicture *self,
    PtPipeline *pipeline, GstBuffer *buffer, PtTensor *target,
    PtPushFlags flags, GError **error)
{
  GstPartimeCudaMapped mapped;
  PtFlow flow;

  if (self->frames.stream)
    pt_pipeline_wait_frames (pipeline);
  if (!gst_partime_cuda_frames_map (&self->frames, buffer, GST_MAP_READ,
          &mapped, error))
    return PT_FLOW_ERROR;
  flow = pt_pipeline_push_frame (pipeline, &mapped.frame, &self->view, target,
      flags, error);
  gst_partime_cuda_frames_unmap (&self->frames, &mapped, FALSE, NULL);
  return flow;
}
