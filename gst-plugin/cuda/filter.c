/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The element's side of frames in CUDA memory. */

#include "gstpartimefilter-private.h"

static gint
filter_get_device_id (GstPartimeFilter *self)
{
  gint id;

  GST_OBJECT_LOCK (self);
  id = self->settings.cuda_device_id;
  GST_OBJECT_UNLOCK (self);
  return id;
}

void
gst_partime_filter_open_cuda (GstPartimeFilter *self)
{
  const GstPartimeCudaModule *module = gst_partime_cuda_get_module ();

  if (module)
    self->cuda = module->open (GST_ELEMENT (self));
}

void
gst_partime_filter_close_cuda (GstPartimeFilter *self)
{
  if (self->cuda)
    gst_partime_cuda_get_module ()->close (self->cuda);
}

/* On the way to READY, before upstream makes a context of its own; but only if
 * somebody has to do with CUDA memory: a context costs memory and time. What
 * fails here is told when frames come. */
void
gst_partime_filter_share_cuda (GstPartimeFilter *self)
{
  g_autoptr (GError) error = NULL;

  if (self->cuda && gst_partime_cuda_offered (self->sinkpad)
      && !gst_partime_cuda_get_module ()->share (self->cuda,
          filter_get_device_id (self), &error))
    GST_WARNING_OBJECT (self, "%s", error->message);
}

void
gst_partime_filter_unshare_cuda (GstPartimeFilter *self)
{
  if (self->cuda)
    gst_partime_cuda_get_module ()->unshare (self->cuda);
}

static void
filter_set_context (GstElement *element, GstContext *context)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (element);
  GstElementClass *parent = g_type_class_peek (GST_TYPE_ELEMENT);

  if (self->cuda)
    gst_partime_cuda_get_module ()->set_context (self->cuda, context,
        filter_get_device_id (self));
  parent->set_context (element, context);
}

static void
filter_add_template (GstElementClass *klass, const gchar *name,
    GstPadDirection direction)
{
  g_autoptr (GstCaps) caps = gst_partime_cuda_add_caps (gst_caps_from_string
      (GST_VIDEO_CAPS_MAKE (GST_VIDEO_FORMATS_ALL)));

  gst_element_class_add_pad_template (klass, gst_pad_template_new (name,
          direction, GST_PAD_ALWAYS, caps));
}

/* The pads of frames: in the host's memory; or, where there is a GPU, in CUDA
 * memory. */
void
gst_partime_filter_install_cuda (GstElementClass *klass)
{
  klass->set_context = filter_set_context;
  filter_add_template (klass, "sink", GST_PAD_SINK);
  filter_add_template (klass, "src", GST_PAD_SRC);
}

/* Answers a query for a context, if it is for ours. */
gboolean
gst_partime_filter_query_cuda (GstPartimeFilter *self, GstQuery *query)
{
  return self->cuda
      && gst_partime_cuda_get_module ()->query_context (self->cuda, query);
}

/* Returns: (nullable): how frames of @info, in CUDA memory if @cuda, become
 * the network's input; %NULL if they cannot, and for CUDA memory @error is
 * set */
GstPartimeFormat *
gst_partime_filter_new_format (GstPartimeFilter *self, GstPartimeModel *model,
    const GstVideoInfo *info, gboolean cuda, GError **error)
{
  if (!cuda)
    return gst_partime_format_new (info, model->network);
  if (!self->cuda) {
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
        "frames in CUDA memory: there is no GPU, or no module for it");
    return NULL;
  }
  if (!gst_partime_cuda_get_module ()->share (self->cuda,
          filter_get_device_id (self), error))
    return NULL;
  return gst_partime_format_new_cuda (info, model->network, self->cuda, error);
}

/* Whether drawings that are metadata get drawn. */
static gboolean
filter_ask_blends (GstPartimeFilter *self)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (self->srcpad);
  g_autoptr (GstQuery) query = gst_query_new_allocation (caps, FALSE);

  return gst_pad_peer_query (self->srcpad, query)
      && gst_query_find_allocation_meta (query,
      GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
}

/* Puts the drawing of @result on @buffer, writable, as metadata: the frame is
 * not touched. Where downstream does not draw it, nobody does. */
gboolean
gst_partime_filter_compose_cuda (GstPartimeFilter *self,
    GstPartimeModel *model, GstPartimeFormat *format, PtResult *result,
    GstBuffer *buffer)
{
  GstVideoOverlayComposition *composition;

  if (self->need_pool) {
    self->blends = filter_ask_blends (self);
    self->need_pool = FALSE;
    if (!self->blends)
      GST_ELEMENT_WARNING (self, STREAM, NOT_IMPLEMENTED,
          ("results are not drawn: frames are in CUDA memory, and nothing "
              "behind says that it blends pictures; cudadownload before this "
              "element has them drawn, overlay=false is without"), (NULL));
  }
  if (!self->blends)
    return TRUE;
  composition = gst_partime_drawing_compose (model->drawing,
      pt_tensor_get_data (result->output), &format->view, &format->info);
  if (!composition)
    return FALSE;
  gst_buffer_add_video_overlay_composition_meta (buffer, composition);
  gst_video_overlay_composition_unref (composition);
  return TRUE;
}
