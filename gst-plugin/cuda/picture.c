/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the network sees of a frame in CUDA memory, made on the GPU by the
 * library. Its device works in the primary context: a frame from another one
 * is copied there first. */

#include "cuda/internal.h"

struct _GstPartimeCudaPicture
{
  GstVideoInfo info;
  PtFrame frame;                /* without its addresses */
  PtFrameView view;
  GstCudaContext *primary;
  PtDevice *device;
  PtFrameReader *reader;
  /* Where frames of another context are copied to, made when first needed. */
  CUstream stream;
  CUdeviceptr planes[GST_VIDEO_MAX_PLANES];
  gsize sizes[GST_VIDEO_MAX_PLANES];
};

/* Bytes as they are; of 16 bits the upper eight, where those are what counts
 * most. Of P010 and the like GStreamer counts the offset in words. */
static gboolean
picture_get_sample (const GstVideoFormatInfo *finfo, gint k, gint *first)
{
  *first = finfo->poffset[k];
  if (finfo->bits == 8 && finfo->depth[k] == 8)
    return finfo->shift[k] == 0;
  *first = 2 * finfo->poffset[k] + 1;
  return finfo->bits == 16 && finfo->depth[k] + finfo->shift[k] == 16
      && GST_VIDEO_FORMAT_INFO_IS_LE (finfo);
}

static gboolean
picture_describe_frame (GstPartimeCudaPicture *self)
{
  const GstVideoFormatInfo *finfo = self->info.finfo;
  GstVideoChromaSite site = self->info.chroma_site;
  PtFrame *frame = &self->frame;
  gint first;

  frame->n_components = MIN (GST_VIDEO_FORMAT_INFO_N_COMPONENTS (finfo), 3);
  frame->width = self->info.width;
  frame->height = self->info.height;
  frame->cosited_x = (site & GST_VIDEO_CHROMA_SITE_H_COSITED) != 0;
  frame->cosited_y = (site & GST_VIDEO_CHROMA_SITE_V_COSITED) != 0;
  for (gint k = 0; k < frame->n_components; k++) {
    if (!picture_get_sample (finfo, k, &first))
      return FALSE;
    frame->step[k] = GST_VIDEO_FORMAT_INFO_PSTRIDE (finfo, k);
    frame->shift_x[k] = GST_VIDEO_FORMAT_INFO_W_SUB (finfo, k);
    frame->shift_y[k] = GST_VIDEO_FORMAT_INFO_H_SUB (finfo, k);
  }
  return !GST_VIDEO_FORMAT_INFO_IS_TILED (finfo)
      && !GST_VIDEO_FORMAT_INFO_HAS_PALETTE (finfo);
}

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
  GstVideoColorMatrix matrix = self->info.colorimetry.matrix;
  PtFrameView *view = &self->view;
  gboolean grey = view->channels == 1;
  gdouble kr, kb;

  pt_frame_matrix_copy (self->frame.n_components, view->matrix);
  if (self->frame.n_components == 1)
    return;
  if (GST_VIDEO_INFO_IS_YUV (&self->info)) {
    if (grey && matrix == GST_VIDEO_COLOR_MATRIX_BT601)
      return;
    if (!gst_video_color_matrix_get_Kr_Kb (matrix, &kr, &kb))
      gst_video_color_matrix_get_Kr_Kb (GST_VIDEO_COLOR_MATRIX_BT709, &kr,
          &kb);
    pt_frame_matrix_yuv (kr, kb, picture_get_range (&self->info),
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
  const GstVideoFormatInfo *finfo = self->info.finfo;
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

/* The library's part works on the GPU that the neighbours have chosen. */
static gboolean
picture_open_device (GstPartimeCudaPicture *self, GstPartimeCuda *cuda,
    GError **error)
{
  g_autoptr (CudaContext) context = gst_partime_cuda_ref_context (cuda);
  g_autofree gchar *name = NULL;
  guint device_id = 0;

  if (context)
    g_object_get (context, "cuda-device-id", &device_id, NULL);
  name = g_strdup_printf ("cuda:%u", device_id);
  self->device = pt_device_open (name, error);
  if (!self->device)
    return FALSE;
  self->primary = gst_partime_cuda_new_primary (device_id, error);
  return self->primary != NULL;
}

/* The library makes the primary context the thread's current one and leaves
 * it so; what was below stays as it was. */
static gboolean
picture_enter (GstPartimeCudaPicture *self, GError **error)
{
  if (gst_cuda_context_push (self->primary))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
      "CUDA memory: the context of %s cannot be used",
      pt_device_get_name (self->device));
  return FALSE;
}

GstPartimeCudaPicture *
gst_partime_cuda_picture_new (GstPartimeCuda *cuda,
    const GstPartimeCudaView *view, GError **error)
{
  g_autoptr (GstPartimeCudaPicture) self = g_new0 (GstPartimeCudaPicture, 1);

  self->info = view->info;
  if (!picture_describe_frame (self)) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
        "CUDA memory: found frames of format %s, expected samples of 8 bits, "
        "or in the upper bits of 16", GST_VIDEO_INFO_NAME (&view->info));
    return NULL;
  }
  picture_describe_view (self, view);
  if (!picture_open_device (self, cuda, error)
      || !picture_enter (self, error))
    return NULL;
  self->reader = pt_frame_reader_new (self->device, self->view.out_width,
      self->view.out_height, self->view.channels, error);
  gst_cuda_context_pop (NULL);
  return self->reader ? g_steal_pointer (&self) : NULL;
}

void
gst_partime_cuda_picture_free (GstPartimeCudaPicture *self)
{
  if (self->primary && picture_enter (self, NULL)) {
    g_clear_pointer (&self->reader, pt_frame_reader_free);
    for (guint i = 0; i < GST_VIDEO_MAX_PLANES; i++)
      if (self->planes[i])
        CuMemFree (self->planes[i]);
    if (self->stream)
      CuStreamDestroy (self->stream);
    gst_cuda_context_pop (NULL);
  }
  g_clear_pointer (&self->device, pt_device_unref);
  gst_clear_object (&self->primary);
  g_free (self);
}

/* -- frames of another context -- */

static gsize
picture_get_plane_size (const GstVideoFrame *frame, guint plane)
{
  gint k[GST_VIDEO_MAX_COMPONENTS];

  gst_video_format_info_component (frame->info.finfo, plane, k);
  /* the last row may end with its last sample */
  return (gsize) GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane)
      * (GST_VIDEO_FRAME_COMP_HEIGHT (frame, k[0]) - 1)
      + (gsize) GST_VIDEO_FRAME_COMP_WIDTH (frame, k[0])
      * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, k[0]);
}

static gboolean
picture_reserve (GstPartimeCudaPicture *self, guint plane, gsize size,
    GError **error)
{
  if (!self->stream && !CHECK (CuStreamCreate (&self->stream,
              CU_STREAM_NON_BLOCKING), error))
    return FALSE;
  if (size <= self->sizes[plane])
    return TRUE;
  if (self->planes[plane])
    CuMemFree (self->planes[plane]);
  self->planes[plane] = self->sizes[plane] = 0;
  if (!CHECK (CuMemAlloc (&self->planes[plane], size), error))
    return FALSE;
  self->sizes[plane] = size;
  return TRUE;
}

/* Copies the planes of @frame and makes it point there. */
static gboolean
picture_fetch (GstPartimeCudaPicture *self, CUcontext from,
    GstVideoFrame *frame, GError **error)
{
  CUcontext to = gst_cuda_context_get_handle (self->primary);

  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    gsize size = picture_get_plane_size (frame, i);

    if (!picture_reserve (self, i, size, error)
        || !gst_partime_cuda_check (gst_partime_cuda_driver.copy_peer
            (self->planes[i], to, (CUdeviceptr) frame->data[i], from, size,
                self->stream), "cuMemcpyPeerAsync", error))
      return FALSE;
    frame->data[i] = (gpointer) self->planes[i];
  }
  return CHECK (CuStreamSynchronize (self->stream), error);
}

/* -- frames -- */

static const guint8 *
picture_convert (GstPartimeCudaPicture *self, const GstVideoFrame *mapped,
    CUcontext context, GError **error)
{
  GstVideoFrame frame = *mapped;
  gint first;

  if (context != gst_cuda_context_get_handle (self->primary)
      && !picture_fetch (self, context, &frame, error))
    return NULL;
  for (gint k = 0; k < self->frame.n_components; k++) {
    guint plane = GST_VIDEO_FORMAT_INFO_PLANE (frame.info.finfo, k);

    picture_get_sample (frame.info.finfo, k, &first);
    self->frame.data[k] = (guint8 *) frame.data[plane] + first;
    self->frame.stride[k] = GST_VIDEO_FRAME_PLANE_STRIDE (&frame, plane);
  }
  return pt_frame_reader_read (self->reader, &self->frame, &self->view,
      error);
}

/* Mapping for CUDA brings a frame that the host wrote last to the GPU, and
 * leaves others where they are. */
const guint8 *
gst_partime_cuda_picture_read (GstPartimeCudaPicture *self, GstBuffer *buffer,
    GError **error)
{
  GstMemory *memory = gst_buffer_n_memory (buffer) > 0 ?
      gst_buffer_peek_memory (buffer, 0) : NULL;
  const guint8 *pixels = NULL;
  GstVideoFrame frame;

  if (!memory || !gst_is_cuda_memory (memory)
      || !gst_video_frame_map (&frame, &self->info, buffer,
          (GstMapFlags) (GST_MAP_READ | GST_MAP_CUDA))) {
    g_set_error (error, PT_ERROR, PT_ERROR_FAILED, "CUDA memory: found a "
        "buffer of %s, expected one of %s, as its caps say", memory ?
        memory->allocator->mem_type : "nothing", GST_CUDA_MEMORY_TYPE_NAME);
    return NULL;
  }
  /* up to 1.22 there are no streams: a frame is done when it comes */
#if GST_CHECK_VERSION (1, 24, 0)
  gst_cuda_memory_sync (GST_CUDA_MEMORY_CAST (memory));
#endif
  if (picture_enter (self, error)) {
    pixels = picture_convert (self, &frame, gst_cuda_context_get_handle
        (GST_CUDA_MEMORY_CAST (memory)->context), error);
    gst_cuda_context_pop (NULL);
  }
  gst_video_frame_unmap (&frame);
  return pixels;
}
