/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames in CUDA memory as the library's kernels see them. These work in the
 * primary context: a frame of another one is copied there first, and back if
 * it was drawn on. */

#include "cuda/internal.h"

#if GST_CHECK_VERSION (1, 24, 0)
#include <gst/cuda/gstcudastream.h>
#endif

/* Bytes as they are; of 16 bits the upper eight, where those are what counts
 * most. Of P010 and the like GStreamer counts the offset in words. */
static gboolean
frames_get_sample (const GstVideoFormatInfo *finfo, gint k, gint *first)
{
  *first = finfo->poffset[k];
  if (finfo->bits == 8 && finfo->depth[k] == 8)
    return finfo->shift[k] == 0;
  *first = 2 * finfo->poffset[k] + 1;
  return finfo->bits == 16 && finfo->depth[k] + finfo->shift[k] == 16
      && GST_VIDEO_FORMAT_INFO_IS_LE (finfo);
}

static gboolean
frames_describe (GstPartimeCudaFrames *self)
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
    if (!frames_get_sample (finfo, k, &first))
      return FALSE;
    frame->step[k] = GST_VIDEO_FORMAT_INFO_PSTRIDE (finfo, k);
    frame->shift_x[k] = GST_VIDEO_FORMAT_INFO_W_SUB (finfo, k);
    frame->shift_y[k] = GST_VIDEO_FORMAT_INFO_H_SUB (finfo, k);
  }
  return !GST_VIDEO_FORMAT_INFO_IS_TILED (finfo)
      && !GST_VIDEO_FORMAT_INFO_HAS_PALETTE (finfo);
}

/* The library's part works on the GPU that the neighbours have chosen. */
static gboolean
frames_open_device (GstPartimeCudaFrames *self, GstPartimeCuda *cuda,
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
gboolean
gst_partime_cuda_frames_enter (GstPartimeCudaFrames *self, GError **error)
{
  if (gst_cuda_context_push (self->primary))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
      "CUDA memory: the context of %s cannot be used",
      pt_device_get_name (self->device));
  return FALSE;
}

/* @self: zeros. Returns: FALSE, and there is to be cleared what there is, if
 * such frames cannot be used. */
gboolean
gst_partime_cuda_frames_init (GstPartimeCudaFrames *self,
    GstPartimeCuda *cuda, const GstVideoInfo *info, GError **error)
{
  self->info = *info;
  if (!frames_describe (self)) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
        "CUDA memory: found frames of format %s, expected samples of 8 bits, "
        "or in the upper bits of 16", GST_VIDEO_INFO_NAME (info));
    return FALSE;
  }
  return frames_open_device (self, cuda, error);
}

/* In the context. */
void
gst_partime_cuda_frames_clear (GstPartimeCudaFrames *self)
{
  for (guint i = 0; i < GST_VIDEO_MAX_PLANES; i++)
    if (self->planes[i])
      CuMemFree (self->planes[i]);
  if (self->event)
    gst_partime_cuda_driver.event_destroy (self->event);
  if (self->stream)
    CuStreamDestroy (self->stream);
}

/* -- frames of another context -- */

static gsize
frames_get_plane_size (const GstVideoFrame *frame, guint plane)
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
frames_reserve (GstPartimeCudaFrames *self, guint plane, gsize size,
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
frames_fetch (GstPartimeCudaFrames *self, CUcontext from,
    GstVideoFrame *frame, GError **error)
{
  CUcontext to = gst_cuda_context_get_handle (self->primary);

  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    gsize size = frames_get_plane_size (frame, i);

    if (!frames_reserve (self, i, size, error)
        || !gst_partime_cuda_check (gst_partime_cuda_driver.copy_peer
            (self->planes[i], to, (CUdeviceptr) frame->data[i], from, size,
                self->stream), "cuMemcpyPeerAsync", error))
      return FALSE;
    frame->data[i] = (gpointer) self->planes[i];
  }
  return CHECK (CuStreamSynchronize (self->stream), error);
}

/* And back. */
static gboolean
frames_return (GstPartimeCudaFrames *self, CUcontext to,
    const GstVideoFrame *frame, GError **error)
{
  CUcontext from = gst_cuda_context_get_handle (self->primary);

  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++)
    if (!gst_partime_cuda_check (gst_partime_cuda_driver.copy_peer
            ((CUdeviceptr) frame->data[i], to, self->planes[i], from,
                frames_get_plane_size (frame, i), self->stream),
            "cuMemcpyPeerAsync", error))
      return FALSE;
  return CHECK (CuStreamSynchronize (self->stream), error);
}

/* -- frames -- */

#if GST_CHECK_VERSION (1, 24, 0)
/* What is under way on the frame's own stream, the library's kernels come
 * after; nobody waits. */
static gboolean
frames_mark (GstPartimeCudaFrames *self, CUstream stream,
    GstPartimeCudaMapped *mapped, GError **error)
{
  GstPartimeCudaDriver *driver = &gst_partime_cuda_driver;

  if (!self->event && !gst_partime_cuda_check (driver->event_create
          (&self->event, CU_EVENT_DISABLE_TIMING), "cuEventCreate", error))
    return FALSE;
  mapped->frame.fence = self->event;
  return gst_partime_cuda_check (driver->event_record (self->event, stream),
      "cuEventRecord", error);
}
#endif

/* Up to 1.22 there are no streams: a frame is done when it comes. */
static gboolean
frames_order (GstPartimeCudaFrames *self, GstPartimeCudaMapped *mapped,
    GError **error)
{
#if GST_CHECK_VERSION (1, 24, 0)
  GstCudaStream *stream = gst_cuda_memory_get_stream (mapped->memory);

  if (stream && mapped->context == gst_cuda_context_get_handle
      (self->primary))
    return frames_mark (self, gst_cuda_stream_get_handle (stream), mapped,
        error);
  gst_cuda_memory_sync (mapped->memory);
#endif
  return TRUE;
}

static void
frames_point (const GstPartimeCudaFrames *self, const GstVideoFrame *video,
    PtFrame *frame)
{
  gint first;

  for (gint k = 0; k < frame->n_components; k++) {
    guint plane = GST_VIDEO_FORMAT_INFO_PLANE (self->info.finfo, k);

    frames_get_sample (self->info.finfo, k, &first);
    frame->data[k] = (guint8 *) video->data[plane] + first;
    frame->stride[k] = GST_VIDEO_FRAME_PLANE_STRIDE (video, plane);
  }
}

static gboolean
frames_bring (GstPartimeCudaFrames *self, GstPartimeCudaMapped *mapped,
    GError **error)
{
  GstVideoFrame seen = mapped->video;

  mapped->context = gst_cuda_context_get_handle (mapped->memory->context);
  mapped->copied = mapped->context !=
      gst_cuda_context_get_handle (self->primary);
  mapped->frame = self->frame;
  if (!frames_order (self, mapped, error)
      || (mapped->copied && !frames_fetch (self, mapped->context, &seen,
              error)))
    return FALSE;
  frames_point (self, &seen, &mapped->frame);
  return TRUE;
}

/* Maps @buffer and enters the context. Mapping for CUDA brings a frame that
 * the host wrote last to the GPU, and leaves others where they are; for
 * writing, memory that others see as well is copied there. */
gboolean
gst_partime_cuda_frames_map (GstPartimeCudaFrames *self, GstBuffer *buffer,
    GstMapFlags flags, GstPartimeCudaMapped *mapped, GError **error)
{
  GstMemory *memory = gst_buffer_n_memory (buffer) > 0 ?
      gst_buffer_peek_memory (buffer, 0) : NULL;

  if (!memory || !gst_is_cuda_memory (memory)
      || !gst_video_frame_map (&mapped->video, &self->info, buffer,
          flags | (GstMapFlags) GST_MAP_CUDA)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FAILED, "CUDA memory: found a "
        "buffer of %s, expected one of %s, as its caps say", memory ?
        memory->allocator->mem_type : "nothing", GST_CUDA_MEMORY_TYPE_NAME);
    return FALSE;
  }
  mapped->memory = GST_CUDA_MEMORY_CAST (gst_buffer_peek_memory (buffer, 0));
  if (gst_partime_cuda_frames_enter (self, error)) {
    if (frames_bring (self, mapped, error))
      return TRUE;
    gst_cuda_context_pop (NULL);
  }
  gst_video_frame_unmap (&mapped->video);
  return FALSE;
}

/* @written: what was drawn goes back. */
gboolean
gst_partime_cuda_frames_unmap (GstPartimeCudaFrames *self,
    GstPartimeCudaMapped *mapped, gboolean written, GError **error)
{
  gboolean done = !written || !mapped->copied
      || frames_return (self, mapped->context, &mapped->video, error);

  gst_cuda_context_pop (NULL);
  gst_video_frame_unmap (&mapped->video);
  return done;
}
