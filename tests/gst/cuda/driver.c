/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A libcuda.so.1 without a GPU, for what libgstcuda needs: device memory is
 * the host's. It counts what crosses from one side to the other. */

#include "driver.h"

#include <cudaGL.h>
#include <glib.h>
#include <string.h>

#define EXPORT __attribute__ ((visibility ("default")))
#define PITCH 512
#define MAX_DEPTH 16

static int primary;             /* its address is the primary context */
static gint n_retained;         /* atomic, as are these */
static gint n_peer_copies, n_downloaded;

/* The thread's stack of contexts. */
static __thread CUcontext stack[MAX_DEPTH];
static __thread guint depth;

EXPORT void
fake_cuda_get_counts (FakeCudaCounts *counts)
{
  counts->retained = g_atomic_int_get (&n_retained);
  counts->peer_copies = g_atomic_int_get (&n_peer_copies);
  counts->downloaded = g_atomic_int_get (&n_downloaded);
}

/* -- contexts -- */

EXPORT CUresult
cuInit (unsigned int flags)
{
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuCtxPushCurrent (CUcontext context)
{
  g_assert_cmpuint (depth, <, MAX_DEPTH);
  stack[depth++] = context;
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuCtxPopCurrent (CUcontext *context)
{
  g_assert_cmpuint (depth, >, 0);
  depth--;
  if (context)
    *context = stack[depth];
  return CUDA_SUCCESS;
}

/* what the header calls cuCtxCreate has more arguments */
EXPORT CUresult cuCtxCreate_v2 (CUcontext *context, unsigned int flags,
    CUdevice device);

EXPORT CUresult
cuCtxCreate_v2 (CUcontext *context, unsigned int flags, CUdevice device)
{
  *context = g_malloc0 (1);
  return cuCtxPushCurrent (*context);
}

EXPORT CUresult
cuCtxDestroy (CUcontext context)
{
  g_free (context);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuDevicePrimaryCtxRetain (CUcontext *context, CUdevice device)
{
  *context = (gpointer) &primary;
  g_atomic_int_inc (&n_retained);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuDevicePrimaryCtxRelease (CUdevice device)
{
  g_atomic_int_add (&n_retained, -1);
  return CUDA_SUCCESS;
}

/* -- the device -- */

EXPORT CUresult
cuDeviceGet (CUdevice *device, int ordinal)
{
  *device = ordinal;
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuDeviceGetCount (int *count)
{
  *count = 1;
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuDeviceGetName (char *name, int size, CUdevice device)
{
  g_strlcpy (name, "none", size);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuDeviceGetAttribute (int *value, CUdevice_attribute attribute,
    CUdevice device)
{
  *value = attribute == CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT ? PITCH : 9;
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuDeviceCanAccessPeer (int *can, CUdevice device, CUdevice peer)
{
  *can = 0;                     /* as a GPU says of itself */
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuDriverGetVersion (int *version)
{
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuGetErrorName (CUresult error, const char **text)
{
  *text = "CUDA_ERROR";
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuGetErrorString (CUresult error, const char **text)
{
  *text = "this is no GPU";
  return CUDA_SUCCESS;
}

/* -- memory: in some context -- */

EXPORT CUresult
cuMemAlloc (CUdeviceptr *data, size_t bytes)
{
  g_assert_cmpuint (depth, >, 0);
  *data = (CUdeviceptr) g_malloc0 (bytes);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuMemAllocPitch (CUdeviceptr *data, size_t *pitch, size_t width,
    size_t height, unsigned int element)
{
  *pitch = (width + PITCH - 1) / PITCH * PITCH;
  return cuMemAlloc (data, *pitch * height);
}

EXPORT CUresult
cuMemAllocHost (void **data, size_t bytes)
{
  *data = g_malloc0 (bytes);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuMemFree (CUdeviceptr data)
{
  g_assert_cmpuint (depth, >, 0);
  g_free ((gpointer) data);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuMemFreeHost (void *data)
{
  g_free (data);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuMemcpy2D (const CUDA_MEMCPY2D *c)
{
  const guint8 *from = c->srcMemoryType == CU_MEMORYTYPE_HOST ?
      c->srcHost : (gconstpointer) c->srcDevice;
  guint8 *to = c->dstMemoryType == CU_MEMORYTYPE_HOST ?
      c->dstHost : (gpointer) c->dstDevice;

  g_assert_cmpuint (depth, >, 0);
  for (gsize y = 0; y < c->Height; y++)
    memcpy (to + (y + c->dstY) * c->dstPitch + c->dstXInBytes,
        from + (y + c->srcY) * c->srcPitch + c->srcXInBytes,
        c->WidthInBytes);
  if (c->srcMemoryType != CU_MEMORYTYPE_HOST
      && c->dstMemoryType == CU_MEMORYTYPE_HOST)
    g_atomic_int_inc (&n_downloaded);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuMemcpy2DAsync (const CUDA_MEMCPY2D *copy, CUstream stream)
{
  return cuMemcpy2D (copy);
}

EXPORT CUresult
cuMemcpyPeerAsync (CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
    CUcontext from_context, size_t bytes, CUstream stream)
{
  g_assert_true (to_context == (gpointer) &primary
      || from_context == (gpointer) &primary);
  g_assert_true (from_context != to_context);
  memcpy ((gpointer) to, (gconstpointer) from, bytes);
  g_atomic_int_inc (&n_peer_copies);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuStreamCreate (CUstream *stream, unsigned int flags)
{
  *stream = g_malloc0 (1);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuStreamDestroy (CUstream stream)
{
  g_free (stream);
  return CUDA_SUCCESS;
}

/* libgstcuda takes the older name */
#undef cuStreamDestroy
EXPORT CUresult cuStreamDestroy (CUstream stream)
    __attribute__ ((alias ("cuStreamDestroy_v2")));

EXPORT CUresult
cuStreamSynchronize (CUstream stream)
{
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuEventCreate (CUevent *event, unsigned int flags)
{
  *event = g_malloc0 (1);
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuEventRecord (CUevent event, CUstream stream)
{
  return CUDA_SUCCESS;
}

EXPORT CUresult
cuEventDestroy_v2 (CUevent event)
{
  g_free (event);
  return CUDA_SUCCESS;
}

/* -- the rest -- */

/* libgstcuda looks up more than it calls here. */
EXPORT int fake_cuda_missing (void);

EXPORT int
fake_cuda_missing (void)
{
  return CUDA_ERROR_NOT_SUPPORTED;
}

#pragma GCC diagnostic ignored "-Wattribute-alias"
#define MISSING(name)                                                        \
  EXPORT extern __typeof__ (name) name                                       \
      __attribute__ ((alias ("fake_cuda_missing")))
MISSING (cuCtxEnablePeerAccess);
MISSING (cuCtxDisablePeerAccess);
MISSING (cuGraphicsMapResources);
MISSING (cuGraphicsUnmapResources);
MISSING (cuGraphicsSubResourceGetMappedArray);
MISSING (cuGraphicsResourceGetMappedPointer);
MISSING (cuGraphicsResourceSetMapFlags);
MISSING (cuGraphicsUnregisterResource);
MISSING (cuGLGetDevices);
MISSING (cuGraphicsGLRegisterImage);
MISSING (cuGraphicsGLRegisterBuffer);
MISSING (cuModuleLoadData);
MISSING (cuModuleUnload);
MISSING (cuModuleGetFunction);
MISSING (cuTexObjectCreate);
MISSING (cuTexObjectDestroy);
MISSING (cuLaunchKernel);
