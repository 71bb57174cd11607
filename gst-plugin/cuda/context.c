/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A GstCudaContext is not the context that the CUDA runtime works in, and with
 * it the network: that is the primary one of each GPU, and GStreamer makes
 * its own beside it. So we look for one as all CUDA elements do, but where
 * there is none yet, what we offer is the primary one. */

#include "cuda/internal.h"

#include <gmodule.h>

GstPartimeCudaDriver gst_partime_cuda_driver;

/* libgstcuda has opened it already; it stays. */
static gboolean
context_load_driver (void)
{
  GstPartimeCudaDriver *driver = &gst_partime_cuda_driver;
  GModule *file = g_module_open ("libcuda.so.1",
      G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);

  if (!file)
    return FALSE;
  if (g_module_symbol (file, "cuDevicePrimaryCtxRetain",
          (gpointer *) &driver->retain_primary)
      && g_module_symbol (file, "cuDevicePrimaryCtxRelease_v2",
          (gpointer *) &driver->release_primary)
      && g_module_symbol (file, "cuMemcpyPeerAsync",
          (gpointer *) &driver->copy_peer)
      && g_module_symbol (file, "cuEventCreate",
          (gpointer *) &driver->event_create)
      && g_module_symbol (file, "cuEventRecord",
          (gpointer *) &driver->event_record)
      && g_module_symbol (file, "cuEventDestroy_v2",
          (gpointer *) &driver->event_destroy))
    return TRUE;
  g_module_close (file);
  return FALSE;
}

/* Without a driver the functions of libgstcuda abort: this is the one that may
 * be called first. */
gboolean
gst_partime_cuda_ready (void)
{
  gint n = 0;

  if (!gst_cuda_load_library () || CuInit (0) != CUDA_SUCCESS
      || CuDeviceGetCount (&n) != CUDA_SUCCESS || n == 0
      || !context_load_driver ())
    return FALSE;
  gst_cuda_memory_init_once ();
  return TRUE;
}

gboolean
gst_partime_cuda_check (CUresult status, const gchar *what, GError **error)
{
  const gchar *text = NULL;

  if (status == CUDA_SUCCESS)
    return TRUE;
  CuGetErrorString (status, &text);
  g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "CUDA memory: %s: %s", what,
      text ? text : "unknown error");
  return FALSE;
}

/* -- the primary context -- */

/* @data: the device and 1, since NULL is no data */
static void
context_release (gpointer data)
{
  gst_partime_cuda_driver.release_primary (GPOINTER_TO_INT (data) - 1);
}

/* Returns: (transfer full) (nullable): the context of the CUDA runtime, held
 * until it goes */
GstCudaContext *
gst_partime_cuda_new_primary (guint device_id, GError **error)
{
  GstCudaContext *context;
  CUcontext handle = NULL;
  CUdevice device = 0;

  if (!CHECK (CuDeviceGet (&device, device_id), error)
      || !gst_partime_cuda_check (gst_partime_cuda_driver.retain_primary
          (&handle, device), "cuDevicePrimaryCtxRetain", error))
    return NULL;
  context = gst_cuda_context_new_wrapped (handle, device);
  if (!context) {
    gst_partime_cuda_driver.release_primary (device);
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
        "CUDA memory: no context on GPU %u", device_id);
    return NULL;
  }
  g_object_set_data_full (G_OBJECT (context), "partime-primary",
      GINT_TO_POINTER (device + 1), context_release);
  return context;
}

/* -- one for all elements -- */

GstPartimeCuda *
gst_partime_cuda_open (GstElement *element)
{
  GstPartimeCuda *self = g_new0 (GstPartimeCuda, 1);

  self->element = element;
  g_mutex_init (&self->lock);
  return self;
}

void
gst_partime_cuda_close (GstPartimeCuda *self)
{
  gst_clear_object (&self->context);
  g_mutex_clear (&self->lock);
  g_free (self);
}

void
gst_partime_cuda_set_context (GstPartimeCuda *self, GstContext *context,
    gint device_id)
{
  g_mutex_lock (&self->lock);
  gst_cuda_handle_set_context (self->element, context, device_id,
      &self->context);
  g_mutex_unlock (&self->lock);
}

/* Returns: (transfer full) (nullable) */
GstCudaContext *
gst_partime_cuda_ref_context (GstPartimeCuda *self)
{
  GstCudaContext *context = NULL;

  g_mutex_lock (&self->lock);
  if (self->context)
    context = gst_object_ref (self->context);
  g_mutex_unlock (&self->lock);
  return context;
}

gboolean
gst_partime_cuda_query_context (GstPartimeCuda *self, GstQuery *query)
{
  g_autoptr (CudaContext) context = gst_partime_cuda_ref_context (self);

  return context
      && gst_cuda_handle_context_query (self->element, query, context);
}

/* The answer comes by way of #GstElementClass.set_context(), which knows
 * which GPU is wanted. */
static gboolean
context_ask_peer (GstPartimeCuda *self, const gchar *name)
{
  g_autoptr (GstQuery) query = gst_query_new_context (GST_CUDA_CONTEXT_TYPE);
  g_autoptr (GstPad) pad = gst_element_get_static_pad (self->element, name);
  g_autoptr (CudaContext) found = NULL;
  GstContext *context = NULL;

  if (gst_pad_peer_query (pad, query))
    gst_query_parse_context (query, &context);
  if (context)
    gst_element_set_context (self->element, context);
  found = gst_partime_cuda_ref_context (self);
  return found != NULL;
}

static gboolean
context_ask_pipeline (GstPartimeCuda *self)
{
  g_autoptr (CudaContext) found = NULL;

  gst_element_post_message (self->element,
      gst_message_new_need_context (GST_OBJECT (self->element),
          GST_CUDA_CONTEXT_TYPE));
  found = gst_partime_cuda_ref_context (self);
  return found != NULL;
}

static gboolean
context_offer (GstPartimeCuda *self, gint device_id, GError **error)
{
  g_autoptr (CudaContext) primary =
      gst_partime_cuda_new_primary (MAX (device_id, 0), error);
  GstContext *context;

  if (!primary)
    return FALSE;
  context = gst_context_new_cuda_context (primary);
  gst_element_set_context (self->element, context);
  gst_element_post_message (self->element,
      gst_message_new_have_context (GST_OBJECT (self->element), context));
  return TRUE;
}

gboolean
gst_partime_cuda_share (GstPartimeCuda *self, gint device_id, GError **error)
{
  g_autoptr (CudaContext) context = gst_partime_cuda_ref_context (self);

  return context || context_ask_peer (self, "src")
      || context_ask_peer (self, "sink") || context_ask_pipeline (self)
      || context_offer (self, device_id, error);
}

void
gst_partime_cuda_unshare (GstPartimeCuda *self)
{
  g_mutex_lock (&self->lock);
  gst_clear_object (&self->context);
  g_mutex_unlock (&self->lock);
}

/* -- what the element sees of all this -- */

extern const GstPartimeCudaModule gst_partime_cuda_module;

__attribute__ ((visibility ("default")))
const GstPartimeCudaModule gst_partime_cuda_module = {
  .version = VERSION,
  .formats = "{ NV12, NV21, I420, YV12, Y42B, Y444, P010_10LE, P012_LE, "
      "P016_LE, RGBA, BGRA, ARGB, ABGR, RGBx, BGRx, xRGB, xBGR, RGB, BGR, "
      "RGBP, BGRP, GBR, GRAY8 }",
  .ready = gst_partime_cuda_ready,
  .open = gst_partime_cuda_open,
  .close = gst_partime_cuda_close,
  .share = gst_partime_cuda_share,
  .unshare = gst_partime_cuda_unshare,
  .set_context = gst_partime_cuda_set_context,
  .query_context = gst_partime_cuda_query_context,
  .picture_new = gst_partime_cuda_picture_new,
  .picture_free = gst_partime_cuda_picture_free,
  .picture_read = gst_partime_cuda_picture_read,
  .picture_get_device = gst_partime_cuda_picture_get_device,
  .picture_push = gst_partime_cuda_picture_push,
  .painter_new = gst_partime_cuda_painter_new,
  .painter_free = gst_partime_cuda_painter_free,
  .painter_draw = gst_partime_cuda_painter_draw,
};
