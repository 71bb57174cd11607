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

  if (direction == GST_PAD_SRC)
    gst_caps_append (caps, gst_caps_from_string ("other/tensors, "
            "format = static, num_tensors = [ 1, 16 ], framerate = "
            GST_VIDEO_FPS_RANGE));
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

/* Whether frames of the format go into the network where they are. Those of
 * several elements enter one network by way of the host. */
static gboolean
filter_takes_cuda (GstPartimeFilter *self)
{
  return self->format->cuda && !self->model->instance
      && pt_pipeline_takes_frames (self->model->pipeline,
      gst_partime_cuda_get_module ()->picture_get_device (self->format->cuda));
}

/* Converts and pushes. Returns: FALSE if @buffer could not be read; then
 * @error is set, or it is no frame. */
gboolean
gst_partime_filter_push (GstPartimeFilter *self, GstBuffer *buffer,
    PtTensor *target, PtPushFlags flags, PtFlow *flow, GError **error)
{
  GstPartimeSight sight = { NULL };

  if (filter_takes_cuda (self)) {
    *flow = gst_partime_cuda_get_module ()->picture_push (self->format->cuda,
        self->model->pipeline, buffer, target, flags, error);
    return TRUE;
  }
  if (!gst_partime_format_see (self->format, buffer, &sight, error))
    return FALSE;
  *flow = gst_partime_model_push (self->model, &sight, target, flags, error);
  gst_partime_sight_clear (&sight);
  return TRUE;
}

static gboolean
filter_paint (GstPartimeModel *model, GstPartimeCuda *cuda,
    GstPartimeFormat *format, PtResult *result, GstBuffer *buffer,
    GError **error)
{
  const GstPartimeCudaModule *module = gst_partime_cuda_get_module ();
  GstVideoRectangle place = gst_partime_drawing_place (model->drawing,
      &format->view, &format->info);
  g_autofree PtOverlayColour *colours = NULL;
  PtOverlayStyle style;
  const gfloat *y;
  gfloat range;

  if (!model->painter || !gst_video_info_is_equal (&model->painted,
          &format->info)) {
    gst_partime_model_clear_painter (model);
    colours = gst_partime_drawing_style (model->drawing, &format->info,
        &style);
    model->painter = module->painter_new (cuda, &format->info, &style, error);
    model->painted = format->info;
  }
  y = gst_partime_drawing_values (model->drawing,
      pt_tensor_get_data (result->output), &range);
  return model->painter && module->painter_draw (model->painter, y, range,
      buffer, &place, error);
}

/* Draws @result on @buffer, writable, on the GPU. */
gboolean
gst_partime_filter_draw_cuda (GstPartimeFilter *self, GstPartimeModel *model,
    GstPartimeFormat *format, PtResult *result, GstBuffer *buffer)
{
  g_autoptr (GError) error = NULL;

  if (filter_paint (model, self->cuda, format, result, buffer, &error))
    return TRUE;
  gst_partime_filter_post_error (self, error, NULL);
  return FALSE;
}
