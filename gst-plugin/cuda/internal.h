/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>

#include "cuda/module.h"

G_BEGIN_DECLS

/* What libgstcuda does not pass on of the driver. */
typedef struct
{
  CUresult (*retain_primary) (CUcontext *context, CUdevice device);
  CUresult (*release_primary) (CUdevice device);
  CUresult (*copy_peer) (CUdeviceptr to, CUcontext to_context,
      CUdeviceptr from, CUcontext from_context, size_t bytes,
      CUstream stream);
  CUresult (*event_create) (CUevent *event, unsigned int flags);
  CUresult (*event_record) (CUevent event, CUstream stream);
  CUresult (*event_destroy) (CUevent event);
} GstPartimeCudaDriver;

struct _GstPartimeCuda
{
  GstElement *element;          /* lent */
  GMutex lock;                  /* not held while neighbours are asked */
  GstCudaContext *context;      /* under the lock; NULL: none found yet */
};

extern GstPartimeCudaDriver gst_partime_cuda_driver;

/* context.c */
gboolean gst_partime_cuda_ready (void);
GstPartimeCuda *gst_partime_cuda_open (GstElement *element);
void gst_partime_cuda_close (GstPartimeCuda *self);
gboolean gst_partime_cuda_share (GstPartimeCuda *self, gint device_id,
    GError **error);
void gst_partime_cuda_unshare (GstPartimeCuda *self);
void gst_partime_cuda_set_context (GstPartimeCuda *self, GstContext *context,
    gint device_id);
gboolean gst_partime_cuda_query_context (GstPartimeCuda *self,
    GstQuery *query);
GstCudaContext *gst_partime_cuda_ref_context (GstPartimeCuda *self);
GstCudaContext *gst_partime_cuda_new_primary (guint device_id,
    GError **error);
gboolean gst_partime_cuda_check (CUresult status, const gchar *what,
    GError **error);

/* One kind of frames, thread for thread one. */
typedef struct
{
  GstVideoInfo info;
  PtFrame frame;                /* without its addresses */
  GstCudaContext *primary;
  PtDevice *device;
  /* Where frames of another context are copied to, made when first needed. */
  CUstream stream;
  CUdeviceptr planes[GST_VIDEO_MAX_PLANES];
  gsize sizes[GST_VIDEO_MAX_PLANES];
  CUevent event;                /* a frame is there; made when first needed */
} GstPartimeCudaFrames;

typedef struct
{
  GstVideoFrame video;
  GstCudaMemory *memory;        /* lent */
  CUcontext context;            /* its own */
  gboolean copied;              /* @frame is, from there */
  PtFrame frame;
} GstPartimeCudaMapped;

/* frames.c */
gboolean gst_partime_cuda_frames_init (GstPartimeCudaFrames *self,
    GstPartimeCuda *cuda, const GstVideoInfo *info, GError **error);
void gst_partime_cuda_frames_clear (GstPartimeCudaFrames *self);
gboolean gst_partime_cuda_frames_enter (GstPartimeCudaFrames *self,
    GError **error);
gboolean gst_partime_cuda_frames_map (GstPartimeCudaFrames *self,
    GstBuffer *buffer, GstMapFlags flags, GstPartimeCudaMapped *mapped,
    GError **error);
gboolean gst_partime_cuda_frames_unmap (GstPartimeCudaFrames *self,
    GstPartimeCudaMapped *mapped, gboolean written, GError **error);

/* painter.c */
GstPartimeCudaPainter *gst_partime_cuda_painter_new (GstPartimeCuda *self,
    const GstVideoInfo *info, const PtOverlayStyle *style, GError **error);
void gst_partime_cuda_painter_free (GstPartimeCudaPainter *self);
gboolean gst_partime_cuda_painter_draw (GstPartimeCudaPainter *self,
    const gfloat *y, gfloat range, GstBuffer *buffer,
    const GstVideoRectangle *place, GError **error);

/* picture.c */
GstPartimeCudaPicture *gst_partime_cuda_picture_new (GstPartimeCuda *self,
    const GstPartimeCudaView *view, GError **error);
void gst_partime_cuda_picture_free (GstPartimeCudaPicture *self);
const guint8 *gst_partime_cuda_picture_read (GstPartimeCudaPicture *self,
    GstBuffer *buffer, GError **error);
PtDevice *gst_partime_cuda_picture_get_device (GstPartimeCudaPicture *self);
PtFlow gst_partime_cuda_picture_push (GstPartimeCudaPicture *self,
    PtPipeline *pipeline, GstBuffer *buffer, PtTensor *target,
    PtPushFlags flags, GError **error);

#define CHECK(call, error) gst_partime_cuda_check ((call), #call, (error))

/* by another name, since only newer versions have it */
typedef GstCudaContext CudaContext;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CudaContext, gst_object_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeCudaPicture,
    gst_partime_cuda_picture_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeCudaPainter,
    gst_partime_cuda_painter_free)

G_END_DECLS
