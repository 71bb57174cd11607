/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The network and its pipeline, from READY to PAUSED and back. Files and
 * settings are read at the change of state, so that it fails where they are
 * wrong; stages start with the first caps, which tell the frame rate, and the
 * size of a network that leaves it open. */

#include "gstpartimefilter-private.h"

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
void
gst_partime_filter_on_event (PtPipeline *pipeline, const PtEvent *event, gpointer data)
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

/* Posts what is wrong. */
static gboolean
session_check_model (GstPartimeFilter *self)
{
  const GstPartimeSettings *s = &self->settings;

  self->path = g_strdup (s->model);
  self->weights = g_strdup (s->weights);
  if (s->model_instance_id && s->resume_stream) {
    GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS, ("resume-stream=true: found "
            "with model-instance-id=%s, where several streams share the "
            "network, expected false", s->model_instance_id), (NULL));
    return FALSE;
  }
  if (!s->model_instance_id && !s->model) {
    GST_ELEMENT_ERROR (self, RESOURCE, NOT_FOUND,
        ("no model: the property model is to name a network file"), (NULL));
    return FALSE;
  }
  return TRUE;
}

/* Also checks that the checkpoint is one, before anything else has started. */
static GstPartimeModel *
session_new_model (GstPartimeFilter *self, GstPartimeSize *size,
    const gchar **culprit, GError **error)
{
  g_autoptr (GstPartimeModel) model = NULL;
  gboolean shared = self->settings.model_instance_id != NULL;

  model = shared ? gst_partime_instance_open (self, size, culprit, error) :
      gst_partime_model_new (self, NULL, self->path, self->weights, size,
      culprit, error);
  if (!model || shared || !self->resume)
    return g_steal_pointer (&model);
  *culprit = self->checkpoint;
  return pt_pipeline_load (model->pipeline, self->checkpoint, error) ?
      g_steal_pointer (&model) : NULL;
}

static void
session_take_model (GstPartimeFilter *self, GstPartimeModel *model)
{
  self->resume = self->resume && !model->instance;
  g_mutex_lock (&self->lock);
  g_queue_push_tail (&self->models, gst_partime_model_ref (model));
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  self->model = gst_partime_model_ref (model);
  GST_OBJECT_UNLOCK (self);
}

/* Whether @error is about @size: a network of another one has another, or
 * none. */
static gboolean
session_may_fit_other (GstPartimeFilter *self, const GstPartimeSize *size,
    const GError *error, const gchar *culprit)
{
  GstPartimeSize other = GST_PARTIME_OTHER_SIZE;
  g_autoptr (GstPartimeModel) model = NULL;
  g_autoptr (GError) second = NULL;
  const gchar *unused;

  if (!gst_partime_model_may_fit_other (size, error, culprit))
    return FALSE;
  model = session_new_model (self, &other, &unused, &second);
  return model || !g_str_equal (second->message, error->message);
}

/* One whose size is open follows with the first caps; what they cannot put
 * right is told now. Returns: FALSE, with an error posted, if there is such */
static gboolean
session_open_model (GstPartimeFilter *self)
{
  GstPartimeSize size = GST_PARTIME_NOMINAL_SIZE;
  g_autoptr (GstPartimeModel) model = NULL;
  g_autoptr (GError) error = NULL;
  const gchar *culprit = NULL;

  if (!session_check_model (self))
    return FALSE;
  model = session_new_model (self, &size, &culprit, &error);
  if (!model && !session_may_fit_other (self, &size, error, culprit)) {
    gst_partime_filter_post_error (self, error, culprit);
    return FALSE;
  }
  gst_partime_update_hold (self, TRUE);
  if (!size.is_open)
    session_take_model (self, model);
  return gst_partime_labels_open (self, model);
}

/* With the first caps, if there is no model yet. Returns: FALSE, with an error
 * posted, if there can be none for frames of @info */
gboolean
gst_partime_filter_bind (GstPartimeFilter *self, const GstVideoInfo *info)
{
  GstPartimeSize size = { info->width, info->height, FALSE, FALSE };
  g_autoptr (GstPartimeModel) model = NULL;
  g_autoptr (GError) error = NULL;
  const gchar *culprit = NULL;

  if (self->model || g_atomic_int_get (&self->failed))
    return self->model != NULL;
  model = session_new_model (self, &size, &culprit, &error);
  if (model)
    session_take_model (self, model);
  if (!model || !gst_partime_labels_fit (self, model, &error)) {
    gst_partime_filter_post_error (self, error, culprit);
    return FALSE;
  }
  gst_partime_labels_change (self, model);
  return TRUE;
}

static gboolean
session_read_labels (GstPartimeFilter *self)
{
  g_autoptr (GError) error = NULL;

  if (gst_partime_classes_open (self, &error))
    return TRUE;
  gst_partime_filter_post_error (self, error, self->settings.labels_file);
  return FALSE;
}

/* READY to PAUSED. Returns: FALSE, with an error posted, if anything that the
 * user gave does not hold. */
gboolean
gst_partime_filter_open (GstPartimeFilter *self)
{
  g_atomic_int_set (&self->failed, 0);
  g_atomic_int_set (&self->saving, 0);
  self->output = self->settings.output;
  self->timing = self->settings.timing;
  self->latency_mean = -1;
  self->dropped = 0;
  if (!session_check_rate (self)
      || !session_check_checkpoint (self)
      || !gst_partime_filter_open_stats (self)
      || !session_read_labels (self)
      || !session_open_model (self)) {
    gst_partime_filter_close (self);
    return FALSE;
  }
  self->tensor_caps = gst_caps_new_empty_simple ("other/tensors");
  gst_caps_set_simple (self->tensor_caps, "format", G_TYPE_STRING, "static",
      "types", G_TYPE_STRING, "float32", NULL);
  return TRUE;
}

/* -- start -- */

/* Whether frames come at a pace of their own, and at which. */
static gdouble
session_find_rate (GstPartimeFilter *self)
{
  gdouble fps;

  const GstVideoInfo *info = &self->format->info;
  GstQuery *query = gst_query_new_latency ();
  gboolean live = FALSE;

  if (gst_pad_peer_query (self->sinkpad, query))
    gst_query_parse_latency (query, &live, NULL, NULL);
  gst_query_unref (query);
  fps = live && info->fps_n > 0 ? (gdouble) info->fps_n / info->fps_d : 0;
  GST_OBJECT_LOCK (self);
  self->live = live;
  self->target_fps = fps;
  GST_OBJECT_UNLOCK (self);
  return fps;
}

static gboolean
session_resume (GstPartimeFilter *self, GError **error)
{
  GstPartimeInstance *instance = self->model->instance;
  const gchar *path = instance ? gst_partime_instance_get_resume (instance) :
      self->resume ? self->checkpoint : NULL;
  gboolean whole;

  if (!path)
    return TRUE;
  if (instance || !self->settings.resume_stream)
    return pt_pipeline_load (self->model->pipeline, path, error);
  if (!pt_pipeline_resume (self->model->pipeline, self->checkpoint, &whole,
          error))
    return FALSE;
  if (!whole)
    GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s: has no stream to "
            "resume in this mode and cut; weights and optimizer go on",
            self->checkpoint), (NULL));
  return TRUE;
}

/* Whose memory frames lie in that are pushed where they are, if any. */
static PtDevice *
session_find_frames (GstPartimeFilter *self)
{
  return self->format->cuda && !self->model->instance ?
      gst_partime_cuda_get_module ()->picture_get_device (self->format->cuda)
      : NULL;
}

/* Returns: FALSE, with an error posted, if the stages cannot run */
static gboolean
session_start_stages (GstPartimeFilter *self)
{
  PtPipeline *pipeline = self->model->pipeline;
  g_autoptr (GError) error = NULL;

  pt_pipeline_set_target_fps (pipeline, session_find_rate (self));
  pt_pipeline_set_frame_device (pipeline, session_find_frames (self));
  if (!pt_pipeline_start (pipeline, &error)) {
    gst_partime_filter_post_error (self, error, NULL);
    return FALSE;
  }
  if (!session_resume (self, &error)) {
    gst_partime_filter_post_error (self, error, self->checkpoint);
    return FALSE;
  }
  return TRUE;
}

/* With the first caps, in the sink pad's thread. Returns: FALSE, with an error
 * posted, if the stages cannot run. */
gboolean
gst_partime_filter_start (GstPartimeFilter *self)
{
  GstPartimeModel *model;

  /* caps come again where the first ones were refused */
  if (g_atomic_int_get (&self->failed))
    return FALSE;
  if (self->model->instance ? !gst_partime_instance_start (self,
          session_start_stages) : !session_start_stages (self))
    return FALSE;
  model = self->model;
  gst_partime_filter_apply_live (self, model);
  g_mutex_lock (&self->running_lock);
  self->running = TRUE;
  g_mutex_unlock (&self->running_lock);
  self->last_save = self->last_stats = self->first_stats =
      g_get_monotonic_time ();
  self->resume = FALSE;
  g_mutex_lock (&self->lock);
  self->started = TRUE;
  if (self->flushing)
    gst_partime_model_set_flushing (model, TRUE);
  g_mutex_unlock (&self->lock);
  gst_partime_update_hold (self, FALSE);
  return TRUE;
}

/* PAUSED to READY, when no thread is at the pads; also after half an open. */
void
gst_partime_filter_close (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = NULL;
  GstPartimeModel *inside;

  g_mutex_lock (&self->running_lock);
  self->running = FALSE;
  g_mutex_unlock (&self->running_lock);
  g_mutex_lock (&self->lock);
  self->started = FALSE;
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  model = g_steal_pointer (&self->model);
  GST_OBJECT_UNLOCK (self);
  gst_partime_update_quit (self);
  /* first of all, so that nothing is posted from here on */
  while ((inside = g_queue_pop_head (&self->models))) {
    gst_partime_model_wait_frames (inside);
    if (inside->instance)
      gst_partime_instance_leave (inside->instance, self);
    else
      pt_pipeline_stop (inside->pipeline);
    gst_partime_model_unref (inside);
  }
  gst_partime_update_join (self);
  gst_partime_source_clear (self);
  if (self->pool)
    gst_buffer_pool_set_active (self->pool, FALSE);
  gst_clear_object (&self->pool);
  g_clear_pointer (&self->format, gst_partime_format_unref);
  g_clear_pointer (&self->checkpoint, g_free);
  g_clear_pointer (&self->path, g_free);
  g_clear_pointer (&self->weights, g_free);
  gst_partime_labels_close (self);
  g_clear_pointer (&self->stats_file, gst_partime_stats_file_close);
  gst_partime_classes_close (self);
  self->resume = FALSE;
  gst_clear_caps (&self->tensor_caps);
}

/* -- checkpoints by hand -- */

/* Returns: (transfer full) (nullable): the model, if it runs */
static GstPartimeModel *
session_ref_running (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = NULL;

  g_mutex_lock (&self->lock);
  if (self->started && !self->flushing)
    model = gst_partime_filter_ref_model (self);
  g_mutex_unlock (&self->lock);
  return g_steal_pointer (&model);
}

void
gst_partime_filter_save_async (GstPartimeFilter *self, GstPartimeModel *model,
    const gchar *location)
{
  g_atomic_int_inc (&self->saving);
  if (model->instance)
    gst_partime_instance_save (model->instance, self, location);
  else
    pt_pipeline_save_async (model->pipeline, location);
}

/* The default handler of "save-checkpoint". */
gboolean
gst_partime_filter_save (GstPartimeFilter *self, const gchar *location)
{
  g_autoptr (GstPartimeModel) model = session_ref_running (self);
  g_autofree gchar *path = NULL;

  GST_OBJECT_LOCK (self);
  path = g_strdup (location ? location : self->settings.checkpoint_location);
  GST_OBJECT_UNLOCK (self);
  if (!model || !path)
    return FALSE;
  gst_partime_filter_save_async (self, model, path);
  return TRUE;
}

/* The default handler of "load-checkpoint". */
gboolean
gst_partime_filter_load (GstPartimeFilter *self, const gchar *location)
{
  g_autoptr (GstPartimeModel) model = session_ref_running (self);
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autofree gchar *path = NULL;
  g_autoptr (GError) error = NULL;

  GST_OBJECT_LOCK (self);
  path = g_strdup (location ? location : self->settings.checkpoint_location);
  GST_OBJECT_UNLOCK (self);
  if (!model || !path)
    return FALSE;
  pipeline = gst_partime_model_ref_pipeline (model);
  if (pt_pipeline_load (pipeline, path, &error))
    return gst_partime_filter_is_current (self, pipeline)
        || gst_partime_filter_load (self, path);
  GST_ELEMENT_WARNING (self, RESOURCE, READ, ("%s", error->message),
      ("the weights stay as they were"));
  return FALSE;
}

/* The default handler of "reset". */
gboolean
gst_partime_filter_reset (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = session_ref_running (self);
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;

  if (!model)
    return FALSE;
  pipeline = gst_partime_model_ref_pipeline (model);
  if (pt_pipeline_reset (pipeline, &error))
    return gst_partime_filter_is_current (self, pipeline)
        || gst_partime_filter_reset (self);
  GST_ELEMENT_WARNING (self, LIBRARY, FAILED, ("%s", error->message),
      ("the network may be half reset"));
  return FALSE;
}

/* Whether there is a file to be written by itself. Where nothing is learned
 * it would only lose what a former run's optimizer remembers. */
gboolean
gst_partime_filter_saves (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = gst_partime_filter_ref_model (self);

  return self->checkpoint && model->learns && (!model->instance
      || gst_partime_instance_is_writer (model->instance, self));
}

/* At the end of the stream: waits until the checkpoint is on disk. */
void
gst_partime_filter_save_now (GstPartimeFilter *self, GstPartimeModel *model)
{
  g_autoptr (PtPipeline) pipeline = gst_partime_model_ref_pipeline (model);
  g_autoptr (GError) error = NULL;
  PtPipelineStats stats;
  gboolean put_off;

  if (!gst_partime_filter_saves (self))
    return;
  gst_partime_model_get_stats (model, &stats);
  g_atomic_int_inc (&self->saving);
  pt_pipeline_save (pipeline, self->checkpoint, &error);
  g_mutex_lock (&self->lock);
  put_off = error && self->flushing;
  g_mutex_unlock (&self->lock);
  /* then the library tells when it is written */
  if (put_off)
    return;
  g_atomic_int_add (&self->saving, -1);
  session_post_checkpoint (self, self->checkpoint, stats.frames, error);
}

/* -- signals -- */

static void
session_install_signal (const gchar *name, GCallback handler, guint n_params)
{
  g_signal_new_class_handler (name, GST_TYPE_PARTIME_FILTER,
      G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION, handler, NULL, NULL, NULL,
      G_TYPE_BOOLEAN, n_params, G_TYPE_STRING);
}

/* What the application may ask for by name. */
void
gst_partime_filter_install_signals (void)
{
  /**
   * GstPartimeFilter::save-checkpoint:
   * @self: the element
   * @location: (nullable): the file; %NULL: checkpoint-location
   *
   * Takes a checkpoint between two frames without stopping the stream; the
   * message partime-checkpoint tells the outcome.
   *
   * Returns: whether it has begun: the network runs and there is a location
   */
  session_install_signal ("save-checkpoint",
      G_CALLBACK (gst_partime_filter_save), 1);
  /**
   * GstPartimeFilter::load-checkpoint:
   * @self: the element
   * @location: (nullable): the file; %NULL: checkpoint-location
   *
   * Puts the weights of a checkpoint in place between two frames. Waits for the
   * frames before, so the element must be PLAYING.
   *
   * Returns: whether it did; if not, a warning says why and nothing changed
   */
  session_install_signal ("load-checkpoint",
      G_CALLBACK (gst_partime_filter_load), 1);
  /**
   * GstPartimeFilter::reset:
   * @self: the element
   *
   * Forgets what was learned: first weights again, drawn from the seed. Waits
   * for the frames before, so the element must be PLAYING.
   *
   * Returns: whether it did
   */
  session_install_signal ("reset",
      G_CALLBACK (gst_partime_filter_reset), 0);
}
