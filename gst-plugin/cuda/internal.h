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

/* picture.c */
GstPartimeCudaPicture *gst_partime_cuda_picture_new (GstPartimeCuda *self,
    const GstPartimeCudaView *view, GError **error);
void gst_partime_cuda_picture_free (GstPartimeCudaPicture *self);
const guint8 *gst_partime_cuda_picture_read (GstPartimeCudaPicture *self,
    GstBuffer *buffer, GError **error);

#define CHECK(call, error) gst_partime_cuda_check ((call), #call, (error))

/* by another name, since only newer versions have it */
typedef GstCudaContext CudaContext;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (CudaContext, gst_object_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeCudaPicture,
    gst_partime_cuda_picture_free)

G_END_DECLS
