/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Results drawn on frames in CUDA memory, where they are. */

#include "cuda/internal.h"

struct _GstPartimeCudaPainter
{
  GstPartimeCudaFrames frames;
  PtFramePainter *painter;
};

GstPartimeCudaPainter *
gst_partime_cuda_painter_new (GstPartimeCuda *cuda, const GstVideoInfo *info,
    const PtOverlayStyle *style, GError **error)
{
  g_autoptr (GstPartimeCudaPainter) self = g_new0 (GstPartimeCudaPainter, 1);

  if (!gst_partime_cuda_frames_init (&self->frames, cuda, info, error)
      || !gst_partime_cuda_frames_enter (&self->frames, error))
    return NULL;
  self->painter = pt_frame_painter_new (self->frames.device, style, error);
  gst_cuda_context_pop (NULL);
  return self->painter ? g_steal_pointer (&self) : NULL;
}

void
gst_partime_cuda_painter_free (GstPartimeCudaPainter *self)
{
  if (self->frames.primary
      && gst_partime_cuda_frames_enter (&self->frames, NULL)) {
    g_clear_pointer (&self->painter, pt_frame_painter_free);
    gst_partime_cuda_frames_clear (&self->frames);
    gst_cuda_context_pop (NULL);
  }
  g_clear_pointer (&self->frames.device, pt_device_unref);
  gst_clear_object (&self->frames.primary);
  g_free (self);
}

gboolean
gst_partime_cuda_painter_draw (GstPartimeCudaPainter *self, const gfloat *y,
    gfloat range, GstBuffer *buffer, const GstVideoRectangle *place,
    GError **error)
{
  GstPartimeCudaMapped mapped;
  gboolean drawn;

  if (!gst_partime_cuda_frames_map (&self->frames, buffer, GST_MAP_READWRITE,
          &mapped, error))
    return FALSE;
  drawn = pt_frame_painter_draw (self->painter, y, range, &mapped.frame,
      place->x, place->y, place->w, place->h, error);
  return gst_partime_cuda_frames_unmap (&self->frames, &mapped, drawn,
      drawn ? error : NULL) && drawn;
}
