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
 * - if upstream's CUDA context is not the primary one of the GPU, which the
 *   CUDA runtime has: once from memory of the one to memory of the other, on
 *   the GPU, because a kernel sees memory of its own context only
 * - the picture that the network takes, width x height x channels bytes, made
 *   on the GPU: to the host, and, if the first stage is on a GPU, from there
 *   back as float32
 * - with kind=error, the same picture to the host once more
 * - the drawing, if downstream blends one that it is given as metadata: it is
 *   painted in host memory, of the output's size. Nobody else draws it. */

#pragma once

#include <gst/video/video.h>
#include <partime/partime.h>

G_BEGIN_DECLS

typedef struct _GstPartimeCuda GstPartimeCuda;
typedef struct _GstPartimeCudaPicture GstPartimeCudaPicture;

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
} GstPartimeCudaModule;

#define GST_PARTIME_CUDA_ENTRY "gst_partime_cuda_module"
#define GST_PARTIME_CUDA_FEATURE "memory:CUDAMemory"

/* loader.c */
const GstPartimeCudaModule *gst_partime_cuda_get_module (void);
GstCaps *gst_partime_cuda_add_caps (GstCaps *caps);
gboolean gst_partime_cuda_in_caps (const GstCaps *caps);
gboolean gst_partime_cuda_offered (GstPad *pad);

G_END_DECLS
