/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames in CUDA memory. What needs libgstcuda, and with it GL and X, is in a
 * module, libpartime-gstcuda.so, which loader.c opens where there is a driver:
 * context.c says which CUDA context is whose, picture.c makes of a frame what
 * the network sees of it.
 *
 * What is copied of a frame:
 * - the frame itself goes on as it is, with metadata; a buffer that is not
 *   writable becomes another one around the same memory
 * - where results are drawn on it and others see its memory too: once, on the
 *   GPU
 * - if upstream's CUDA context is not the primary one of the GPU, which the
 *   CUDA runtime has: once from memory of the one to memory of the other, on
 *   the GPU, because a kernel sees memory of its own context only; and there
 *   and back once more where it is drawn on
 * - the picture that the network takes, made on the GPU: if the first stage is
 *   on the same one, nothing, and nobody waits; else, as bytes, to the host
 * - with kind=error, the same picture to the host once more
 * Output and result go to the host in any case; to be drawn, back. */

#pragma once

#include <gst/video/video.h>
#include <partime/partime.h>

G_BEGIN_DECLS

typedef struct _GstPartimeCuda GstPartimeCuda;
typedef struct _GstPartimeCudaPicture GstPartimeCudaPicture;
typedef struct _GstPartimeCudaPainter GstPartimeCudaPainter;

/**
 * GstPartimeCudaView:
 * @info: of the frames
 * @part: of the frame that is seen
 * @input: of the picture: GRAY8 or RGB
 * @box: where in the picture it goes; the rest is black
 */
typedef struct
{
  GstVideoInfo info;
  GstVideoRectangle part;
  GstVideoInfo input;
  GstVideoRectangle box;
} GstPartimeCudaView;

/**
 * GstPartimeCudaModule:
 * @version: of the plugin that it is a part of
 * @formats: of frames, as in caps
 * @ready: whether there are a driver and a GPU; nothing else may be called
 *   before it said yes
 * @open: what one element has of CUDA
 * @share: looks for a context among the neighbours of the element and in the
 *   pipeline; if there is none, makes and offers the primary one of GPU
 *   @device_id, or of the first if that is -1
 * @set_context: as #GstElementClass.set_context()
 * @query_context: answers a query for the context, if it is for this kind
 * @picture_new: thread for thread one
 * @picture_read: rows of width x channels bytes, good until the next call
 * @picture_get_device: whose memory frames are in, lent
 * @picture_push: as pt_pipeline_push_frame(), for pipelines that take frames
 *   of that device
 * @painter_new: thread for thread one; draws as #PtFramePainter
 * @painter_draw: on @buffer, writable, where it lies; memory of it that others
 *   see as well is copied first. Waits until it is done
 *
 * What the module gives.
 */
typedef struct
{
  const gchar *version;
  const gchar *formats;
    gboolean (*ready) (void);
  GstPartimeCuda *(*open) (GstElement *element);
  void (*close) (GstPartimeCuda *self);
    gboolean (*share) (GstPartimeCuda *self, gint device_id, GError **error);
  void (*unshare) (GstPartimeCuda *self);
  void (*set_context) (GstPartimeCuda *self, GstContext *context,
      gint device_id);
    gboolean (*query_context) (GstPartimeCuda *self, GstQuery *query);
  GstPartimeCudaPicture *(*picture_new) (GstPartimeCuda *self,
      const GstPartimeCudaView *view, GError **error);
  void (*picture_free) (GstPartimeCudaPicture *self);
  const guint8 *(*picture_read) (GstPartimeCudaPicture *self,
      GstBuffer *buffer, GError **error);
  PtDevice *(*picture_get_device) (GstPartimeCudaPicture *self);
    PtFlow (*picture_push) (GstPartimeCudaPicture *self,
      PtPipeline *pipeline, GstBuffer *buffer, PtTensor *target,
      PtPushFlags flags, GError **error);
  GstPartimeCudaPainter *(*painter_new) (GstPartimeCuda *self,
      const GstVideoInfo *info, const PtOverlayStyle *style, GError **error);
  void (*painter_free) (GstPartimeCudaPainter *self);
    gboolean (*painter_draw) (GstPartimeCudaPainter *self, const gfloat *y,
      gfloat range, GstBuffer *buffer, const GstVideoRectangle *place,
      GError **error);
} GstPartimeCudaModule;

#define GST_PARTIME_CUDA_ENTRY "gst_partime_cuda_module"
#define GST_PARTIME_CUDA_FEATURE "memory:CUDAMemory"

/* loader.c */
const GstPartimeCudaModule *gst_partime_cuda_get_module (void);
GstCaps *gst_partime_cuda_add_caps (GstCaps *caps);
gboolean gst_partime_cuda_in_caps (const GstCaps *caps);
gboolean gst_partime_cuda_offered (GstPad *pad);

G_END_DECLS
