/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The network and its pipeline, from READY to PAUSED and back. Files and
 * settings are read at the change of state, so that it fails where they are
 * wrong; stages start with the first caps, which tell the frame rate. */

#include "gstpartimefilter-private.h"
#include "meta.h"

/* The one place where the library's errors become the element's. */
static void
session_map_error (const GError *error, const gchar *path, gboolean running,
    GQuark *domain, gint *code)
{
  *domain = GST_RESOURCE_ERROR;
  *code = GST_RESOURCE_ERROR_SETTINGS;
  if (error->domain == PT_ERROR && error->code == PT_ERROR_CONFIG)
    return;
  if (error->domain == PT_ERROR && error->code == PT_ERROR_FILE) {
    *code = path && !g_file_test (path, G_FILE_TEST_EXISTS)
        ? GST_RESOURCE_ERROR_NOT_FOUND : GST_RESOURCE_ERROR_READ;
  } else if (error->domain == PT_ERROR && (error->code == PT_ERROR_SHAPE
          || error->code == PT_ERROR_UNSUPPORTED)) {
    *domain = GST_STREAM_ERROR;
    *code = GST_STREAM_ERROR_WRONG_TYPE;
  } else if (running) {
    *domain = GST_STREAM_ERROR;
    *code = GST_STREAM_ERROR_FAILED;
  } else {
    *domain = GST_LIBRARY_ERROR;
    *code = GST_LIBRARY_ERROR_INIT;
  }
}

/* Posts @error, unless one has been posted. @path: (nullable): the file that
 * was read. */
void
gst_partime_filter_post_error (GstPartimeFilter *self, const GError *error,
    const gchar *path)
{
  gboolean running;
  GQuark domain;
  gint code;

  if (!g_atomic_int_compare_and_exchange (&self->failed, 0, 1))
    return;
  g_mutex_lock (&self->running_lock);
  running = self->running;
  g_mutex_unlock (&self->running_lock);
  session_map_error (error, path, running, &domain, &code);
  gst_element_message_full (GST_ELEMENT (self), GST_MESSAGE_ERROR, domain,
      code, g_strdup (error->message), NULL, __FILE__, GST_FUNCTION,
      __LINE__);
}

/* Returns: (transfer full) (nullable): the pipeline, if there is one. @network:
 * (optional): its network. */
PtPipeline *
gst_partime_filter_ref_pipeline (GstPartimeFilter *self, PtNetwork **network)
{
  PtPipeline *pipeline = NULL;

  GST_OBJECT_LOCK (self);
  if (self->pipeline) {
    pipeline = pt_pipeline_ref (self->pipeline);
    if (network)
      *network = pt_network_ref (self->network);
  }
  GST_OBJECT_UNLOCK (self);
  return pipeline;
}

/* -- messages -- */

/* @error: (nullable): why it could not be written. */
static void
session_post_checkpoint (GstPartimeFilter *self, const gchar *path,
    guint64 frame, const GError *error)
{
  GstStructure *structure = gst_structure_new ("partime-checkpoint",
      "path", G_TYPE_STRING, path, "frame", G_TYPE_UINT64, frame,
      "ok", G_TYPE_BOOLEAN, error == NULL, NULL);

  if (error)
    gst_structure_set (structure, "error", G_TYPE_STRING, error->message,
        NULL);
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_element (GST_OBJECT (self), structure));
  if (error)
    GST_ELEMENT_WARNING (self, RESOURCE, WRITE, ("%s", error->message),
        ("no checkpoint of frame %" G_GUINT64_FORMAT, frame));
}

/* On threads of the library. A stage that failed is told of by what
 * pt_pipeline_pull() returns. */
static void
session_on_event (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  GstPartimeFilter *self = data;

  if (event->type == PT_EVENT_CHECKPOINT) {
    session_post_checkpoint (self, event->path, event->frame, event->error);
    g_atomic_int_add (&self->saving, -1);
  } else if (event->type == PT_EVENT_DIVERGED)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_element (GST_OBJECT (self),
            gst_structure_new ("partime-diverged", "frame", G_TYPE_UINT64,
                event->frame, "loss", G_TYPE_DOUBLE, event->loss, "best",
                G_TYPE_DOUBLE, event->best, "rate-scale", G_TYPE_DOUBLE,
                event->rate_scale, NULL)));
}

/* -- open -- */

static PtNetwork *
session_load_network (GstPartimeFilter *self)
{
  const gchar *path = self->settings.model;
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) settings = NULL;

  if (!path) {
    GST_ELEMENT_ERROR (self, RESOURCE, NOT_FOUND,
        ("no model: the property model is to name a network file"), (NULL));
    return NULL;
  }
  settings = gst_partime_filter_list_settings (self);
  network = pt_network_new_from_file_with (path,
      (const gchar * const *) settings, &error);
  if (network && gst_partime_filter_apply_settings (self, network, &error))
    return g_steal_pointer (&network);
  gst_partime_filter_post_error (self, error, path);
  return NULL;
}

static gboolean
session_load_weights (GstPartimeFilter *self, PtNetwork *network)
{
  const gchar *path = self->settings.weights;
  g_autoptr (GError) error = NULL;

  if (!path || pt_network_load_weights (network, path, &error))
    return TRUE;
  gst_partime_filter_post_error (self, error, path);
  return FALSE;
}

/* The values between have no meaning. */
static gboolean
session_check_rate (GstPartimeFilter *self)
{
  gdouble rate = self->settings.learning_rate;

  if (rate >= 0 || rate == FROM_FILE)
    return TRUE;
  GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS, ("learning-rate=%g: expected a "
          "number of at least 0, or -1 for the rate of %s", rate,
          self->settings.model), (NULL));
  return FALSE;
}

/* A folder that is not there would only be noticed after all the learning. */
static gboolean
session_check_checkpoint (GstPartimeFilter *self)
{
  g_autofree gchar *folder = NULL;

  self->checkpoint = g_strdup (self->settings.checkpoint_location);
  if (!self->checkpoint)
    return TRUE;
  folder = g_path_get_dirname (self->checkpoint);
  self->resume = g_file_test (self->checkpoint, G_FILE_TEST_EXISTS);
  if (g_file_test (folder, G_FILE_TEST_IS_DIR))
    return TRUE;
  GST_ELEMENT_ERROR (self, RESOURCE, NOT_FOUND,
      ("checkpoint-location=%s: there is no folder %s to write it to",
          self->checkpoint, folder), (NULL));
  return FALSE;
}

/* Frames of one or three channels only are video. */
static gboolean
session_check_input (GstPartimeFilter *self, PtNetwork *network)
{
  g_autofree gchar *text = pt_network_get (network, "network", "channels");
  guint64 channels = text ? g_ascii_strtoull (text, NULL, 10) : 0;

  if (channels == 1 || channels == 3)
    return TRUE;
  GST_ELEMENT_ERROR (self, STREAM, WRONG_TYPE,
      ("%s: group [network]: key channels: found %s, expected 1 (luma) or 3 "
          "(RGB) for video", self->settings.model, text), (NULL));
  return FALSE;
}

/* Only a frame's own result can be compared with it. */
static gboolean
session_check_timing (GstPartimeFilter *self)
{
  if (!self->drawing->annotator->compares
      || self->timing == GST_PARTIME_TIMING_ALIGNED)
    return TRUE;
  GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS, ("timing=latest: %s: group "
          "[output]: key kind: found error, which compares each frame with "
          "its own result: expected timing=aligned", self->settings.model),
      (NULL));
  return FALSE;
}

/* An output that nothing can draw passes as metadata; asked to be the
 * picture, it is an error. */
static gboolean
session_make_drawing (GstPartimeFilter *self, PtNetwork *network)
{
  g_autofree gchar *kind = pt_network_get (network, "output", "kind");
  g_autoptr (GError) error = NULL;

  if (!gst_partime_classes_open (self, network, &error)) {
    gst_partime_filter_post_error (self, error, self->settings.labels_file);
    return FALSE;
  }
  if (!gst_partime_annotator_known (kind)) {
    if (self->output == GST_PARTIME_OUTPUT_FRAMES) {
      GST_INFO_OBJECT (self, "output of kind %s is not drawn", kind);
      return TRUE;
    }
    GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS, ("output=network: %s: group "
            "[output]: key kind: found %s, expected error, flow, heatmap, image or segmentation",
            self->settings.model, kind), (NULL));
    return FALSE;
  }
  self->drawing = gst_partime_drawing_new (kind, network, &error);
  if (self->drawing)
    return session_check_timing (self);
  g_prefix_error (&error, "%s: ", self->settings.model);
  gst_partime_filter_post_error (self, error, NULL);
  return FALSE;
}

static gboolean
session_make_pipeline (GstPartimeFilter *self, PtNetwork *network)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);

  if (!pipeline) {
    gst_partime_filter_post_error (self, error, NULL);
    return FALSE;
  }
  /* also checks that the file is one, before anything else has started */
  if (self->resume && !pt_pipeline_load (pipeline, self->checkpoint, &error)) {
    gst_partime_filter_post_error (self, error, self->checkpoint);
    return FALSE;
  }
  pt_pipeline_set_event_func (pipeline, session_on_event, self);
  pt_pipeline_set_checkpoint_keep (pipeline, self->settings.checkpoint_keep);
  gst_partime_filter_apply_live (self, network, pipeline);
  GST_OBJECT_LOCK (self);
  self->network = pt_network_ref (network);
  self->pipeline = g_steal_pointer (&pipeline);
  GST_OBJECT_UNLOCK (self);
  return TRUE;
}

/* READY to PAUSED. Returns: FALSE, with an error posted, if anything that the
 * user gave does not hold. */
gboolean
gst_partime_filter_open (GstPartimeFilter *self)
{
  g_autoptr (PtNetwork) network = NULL;

  g_atomic_int_set (&self->failed, 0);
  g_atomic_int_set (&self->saving, 0);
  self->output = self->settings.output;
  self->timing = self->settings.timing;
  self->latency_mean = -1;
  self->dropped = 0;
  if (!(network = session_load_network (self))
      || !session_check_input (self, network)
      || !session_check_rate (self)
      || !session_load_weights (self, network)
      || !session_check_checkpoint (self)
      || !gst_partime_filter_open_stats (self)
      || !session_make_drawing (self, network)
      || !session_make_pipeline (self, network)
      || !gst_partime_labels_open (self)) {
    gst_partime_filter_close (self);
    return FALSE;
  }
  self->tensor_caps = gst_caps_new_empty_simple ("other/tensors");
  gst_caps_set_simple (self->tensor_caps, "format", G_TYPE_STRING, "static",
      "types", G_TYPE_STRING, "float32", NULL);
  self->tensor_info = gst_partime_meta_new_info ("output",
      pt_network_get_output_shape (network));
  return TRUE;
}

/* -- start -- */

/* Whether frames come at a pace of their own, and at which. */
static gdouble
session_find_rate (GstPartimeFilter *self)
{
  const GstVideoInfo *info = &self->format->info;
  GstQuery *query = gst_query_new_latency ();
  gboolean live = FALSE;

  if (gst_pad_peer_query (self->sinkpad, query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);
  GST_OBJECT_LOCK (self);
  self->live = live;
  GST_OBJECT_UNLOCK (self);
  return live && info->fps_n > 0 ? (gdouble) info->fps_n / info->fps_d : 0;
}

static gboolean
session_resume (GstPartimeFilter *self, GError **error)
{
  gboolean whole;

  if (!self->settings.resume_stream)
    return pt_pipeline_load (self->pipeline, self->checkpoint, error);
  if (!pt_pipeline_resume (self->pipeline, self->checkpoint, &whole, error))
    return FALSE;
  if (!whole)
    GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s: has no stream to "
            "resume in this mode and cut; weights and optimizer go on",
            self->checkpoint), (NULL));
  return TRUE;
}

/* With the first caps, in the sink pad's thread. Returns: FALSE, with an error
 * posted, if the stages cannot run. */
gboolean
gst_partime_filter_start (GstPartimeFilter *self)
{
  g_autoptr (GError) error = NULL;

  /* caps come again where the first ones were refused */
  if (g_atomic_int_get (&self->failed))
    return FALSE;
  pt_pipeline_set_target_fps (self->pipeline, session_find_rate (self));
  pt_pipeline_set_frame_device (self->pipeline, self->format->cuda ?
      gst_partime_cuda_get_module ()->picture_get_device (self->format->cuda)
      : NULL);
  if (!pt_pipeline_start (self->pipeline, &error)) {
    gst_partime_filter_post_error (self, error, NULL);
    return FALSE;
  }
  g_mutex_lock (&self->running_lock);
  self->running = TRUE;
  g_mutex_unlock (&self->running_lock);
  self->last_save = self->last_stats = self->first_stats =
      g_get_monotonic_time ();
  if (self->resume && !session_resume (self, &error)) {
    gst_partime_filter_post_error (self, error, self->checkpoint);
    return FALSE;
  }
  self->resume = FALSE;
  g_mutex_lock (&self->lock);
  self->started = TRUE;
  if (self->flushing)
    pt_pipeline_set_flushing (self->pipeline, TRUE);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

/* PAUSED to READY, when no thread is at the pads; also after half an open. */
void
gst_partime_filter_close (GstPartimeFilter *self)
{
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (PtNetwork) network = NULL;

  g_mutex_lock (&self->running_lock);
  self->running = FALSE;
  g_mutex_unlock (&self->running_lock);
  g_mutex_lock (&self->lock);
  self->started = FALSE;
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  pipeline = g_steal_pointer (&self->pipeline);
  network = g_steal_pointer (&self->network);
  GST_OBJECT_UNLOCK (self);
  /* first of all, so that nothing is posted from here on */
  if (pipeline)
    pt_pipeline_stop (pipeline);
  gst_partime_source_clear (self);
  if (self->pool)
    gst_buffer_pool_set_active (self->pool, FALSE);
  gst_clear_object (&self->pool);
  g_clear_pointer (&self->format, gst_partime_format_unref);
  g_clear_pointer (&self->drawing, gst_partime_drawing_free);
  g_clear_pointer (&self->checkpoint, g_free);
  g_clear_pointer (&self->score_format, gst_partime_format_unref);
  gst_partime_filter_clear_painter (self);
  gst_partime_labels_close (self);
  g_clear_pointer (&self->stats_file, gst_partime_stats_file_close);
  gst_partime_classes_close (self);
  self->resume = FALSE;
  gst_clear_caps (&self->tensor_caps);
  gst_clear_structure (&self->tensor_info);
}

/* -- checkpoints by hand -- */

/* Returns: (transfer full) (nullable): the pipeline, if it runs */
static PtPipeline *
session_ref_running (GstPartimeFilter *self)
{
  PtPipeline *pipeline = NULL;

  g_mutex_lock (&self->lock);
  if (self->started && !self->flushing)
    pipeline = gst_partime_filter_ref_pipeline (self, NULL);
  g_mutex_unlock (&self->lock);
  return pipeline;
}

/* The default handler of "save-checkpoint". */
gboolean
gst_partime_filter_save (GstPartimeFilter *self, const gchar *location)
{
  g_autoptr (PtPipeline) pipeline = session_ref_running (self);
  g_autofree gchar *path = NULL;

  GST_OBJECT_LOCK (self);
  path = g_strdup (location ? location : self->settings.checkpoint_location);
  GST_OBJECT_UNLOCK (self);
  if (!pipeline || !path)
    return FALSE;
  g_atomic_int_inc (&self->saving);
  pt_pipeline_save_async (pipeline, path);
  return TRUE;
}

/* The default handler of "load-checkpoint". */
gboolean
gst_partime_filter_load (GstPartimeFilter *self, const gchar *location)
{
  g_autoptr (PtPipeline) pipeline = session_ref_running (self);
  g_autofree gchar *path = NULL;
  g_autoptr (GError) error = NULL;

  GST_OBJECT_LOCK (self);
  path = g_strdup (location ? location : self->settings.checkpoint_location);
  GST_OBJECT_UNLOCK (self);
  if (!pipeline || !path)
    return FALSE;
  if (pt_pipeline_load (pipeline, path, &error))
    return TRUE;
  GST_ELEMENT_WARNING (self, RESOURCE, READ, ("%s", error->message),
      ("the weights stay as they were"));
  return FALSE;
}

/* The default handler of "reset". */
gboolean
gst_partime_filter_reset (GstPartimeFilter *self)
{
  g_autoptr (PtPipeline) pipeline = session_ref_running (self);
  g_autoptr (GError) error = NULL;

  if (!pipeline)
    return FALSE;
  if (pt_pipeline_reset (pipeline, &error))
    return TRUE;
  GST_ELEMENT_WARNING (self, LIBRARY, FAILED, ("%s", error->message),
      ("the network may be half reset"));
  return FALSE;
}

/* Whether there is a file to be written by itself. Where nothing is learned
 * it would only lose what a former run's optimizer remembers. */
gboolean
gst_partime_filter_saves (GstPartimeFilter *self)
{
  return self->checkpoint
      && pt_pipeline_get_mode (self->pipeline) != PT_MODE_OFF;
}

/* At the end of the stream: waits until the checkpoint is on disk. */
void
gst_partime_filter_save_now (GstPartimeFilter *self)
{
  g_autoptr (GError) error = NULL;
  PtPipelineStats stats;
  gboolean put_off;

  if (!gst_partime_filter_saves (self))
    return;
  pt_pipeline_get_stats (self->pipeline, &stats);
  g_atomic_int_inc (&self->saving);
  pt_pipeline_save (self->pipeline, self->checkpoint, &error);
  g_mutex_lock (&self->lock);
  put_off = error && self->flushing;
  g_mutex_unlock (&self->lock);
  /* then the library tells when it is written */
  if (put_off)
    return;
  g_atomic_int_add (&self->saving, -1);
  session_post_checkpoint (self, self->checkpoint, stats.frames, error);
}
