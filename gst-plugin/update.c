/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Models and weights that are set while the element plays. A thread of its own
 * makes the new model ready; the sink pad's thread puts it in place between
 * two frames; the source task, when the last frame of the old one has left,
 * hands that back to be stopped. Of several requests the last one wins. */

#include "gstpartimefilter-private.h"

void
gst_partime_update_init (GstPartimeUpdate *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->cond);
}

void
gst_partime_update_clear (GstPartimeUpdate *self)
{
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->cond);
}

/* -- what is told -- */

/* @what: (nullable): a model took over; @error: (nullable): nothing changed */
static void
update_post (GstPartimeFilter *self, const gchar *model, const gchar *weights,
    guint64 frame, const PtReplacement *what, const GError *error)
{
  GstStructure *structure = gst_structure_new ("partime-model-updated",
      "model", G_TYPE_STRING, model, "weights", G_TYPE_STRING, weights,
      "ok", G_TYPE_BOOLEAN, error == NULL, NULL);

  if (error)
    gst_structure_set (structure, "error", G_TYPE_STRING, error->message,
        NULL);
  else
    gst_structure_set (structure, "frame", G_TYPE_UINT64, frame,
        "weights-kept", G_TYPE_BOOLEAN, what && what->kept_weights,
        "optimizer-kept", G_TYPE_BOOLEAN, !what || what->kept_optimizer, NULL);
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_element (GST_OBJECT (self), structure));
}

/* The old model goes on; the properties say so again, unless they were set to
 * something else meanwhile. */
static void
update_refuse (GstPartimeFilter *self, const gchar *path,
    const gchar *weights, const GError *error)
{
  GstPartimeUpdate *u = &self->update;
  gboolean last;

  g_mutex_lock (&u->lock);
  last = u->asked == 0 && !u->quit;
  if (last)
    u->uncommitted = FALSE;
  g_mutex_unlock (&u->lock);
  GST_OBJECT_LOCK (self);
  if (last && self->update.setting == 0 && self->model) {
    g_free (self->settings.model);
    g_free (self->settings.weights);
    self->settings.model = g_strdup (self->model->path);
    self->settings.weights = g_strdup (self->model->weights);
  }
  GST_OBJECT_UNLOCK (self);
  update_post (self, path, weights, 0, NULL, error);
  GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s", error->message),
      ("the network stays as it was"));
}

static void
update_supersede (GstPartimeFilter *self, GstPartimeModel *model,
    const gchar *why)
{
  g_autoptr (GError) error = g_error_new (PT_ERROR, PT_ERROR_FAILED,
      "%s: not in place, %s before it was", model->path, why);

  update_post (self, model->path, model->weights, 0, NULL, error);
}

/* -- the updating thread -- */

/* What downstream would see instead. Returns: FALSE if it must not */
gboolean
gst_partime_update_check_caps (GstPartimeFilter *self, GstPartimeModel *model,
    const GstVideoInfo *info, GError **error)
{
  g_autoptr (GstCaps) picture = NULL;
  g_autofree gchar *text = NULL;

  if (self->output != GST_PARTIME_OUTPUT_NETWORK || !info)
    return TRUE;
  picture = gst_partime_source_make_caps (model, info);
  if (gst_pad_peer_query_accept_caps (self->srcpad, picture))
    return TRUE;
  text = gst_caps_to_string (picture);
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%s: its pictures (%s) are "
      "not what comes after this element takes", model->path, text);
  return FALSE;
}

/* Starts @model beside the one that runs, for frames of @info if they have
 * come. */
static gboolean
update_start (GstPartimeFilter *self, GstPartimeModel *model,
    GstPartimeModel *running, const GstVideoInfo *info, GError **error)
{
  gdouble fps;

  if (!gst_partime_labels_fit (self, model, error)
      || !gst_partime_update_check_caps (self, model, info, error))
    return FALSE;
  GST_OBJECT_LOCK (self);
  fps = self->target_fps;
  GST_OBJECT_UNLOCK (self);
  pt_pipeline_set_target_fps (model->pipeline, fps);
  return pt_pipeline_start_beside (model->pipeline, running->pipeline, error);
}

/* Returns: (nullable): a model whose stages run */
static GstPartimeModel *
update_prepare (GstPartimeFilter *self, GstPartimeModel *running,
    const gchar *path, const gchar *weights, GError **error)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (self->sinkpad);
  g_autoptr (GstPartimeModel) model = NULL;
  GstVideoInfo info;
  gboolean known = caps && gst_video_info_from_caps (&info, caps);
  GstPartimeSize size = { known ? info.width : 256, known ? info.height : 256,
    !known, FALSE
  };
  const gchar *culprit;

  model = gst_partime_model_new (self, NULL, path, weights, &size, &culprit,
      error);
  return model && update_start (self, model, running,
      known ? &info : NULL, error) ? g_steal_pointer (&model) : NULL;
}

/* @model, which runs, is for the next frame, unless something else is by now. */
static void
update_set_ready (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeUpdate *u = &self->update;
  gboolean last;

  g_mutex_lock (&u->lock);
  last = u->asked == 0 && !u->quit;
  if (last)
    g_atomic_pointer_set (&u->ready, gst_partime_model_ref (model));
  g_mutex_unlock (&u->lock);
  if (last)
    return;
  update_supersede (self, model, "another one was asked for, or the end came");
  gst_partime_model_stop (model);
}

static void
update_make_ready (GstPartimeFilter *self, const gchar *path,
    const gchar *weights)
{
  g_autoptr (GstPartimeModel) running = gst_partime_filter_ref_model (self);
  g_autoptr (GstPartimeModel) model = NULL;
  g_autoptr (GError) error = NULL;

  if (!running)
    return;
  if (!path)
    g_set_error (&error, PT_ERROR, PT_ERROR_CONFIG, "no model: the property "
        "model is to name a network file");
  else if (running->instance)
    gst_partime_instance_replace (self, running, path, weights, &error);
  else
    model = update_prepare (self, running, path, weights, &error);
  if (error)
    update_refuse (self, path, weights, error);
  else if (model)
    update_set_ready (self, model);
}

static void
update_load_weights (GstPartimeFilter *self, const gchar *weights)
{
  g_autoptr (GstPartimeModel) model = gst_partime_filter_ref_model (self);
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;
  guint64 frame = 0;

  if (!model)
    return;
  pipeline = gst_partime_model_ref_pipeline (model);
  if (!weights)
    g_set_error (&error, PT_ERROR, PT_ERROR_CONFIG, "weights: found nothing, "
        "expected the name of a safetensors file");
  if (error || !pt_pipeline_set_weights (pipeline, weights, &frame, &error)) {
    update_refuse (self, model->path, weights, error);
    return;
  }
  GST_OBJECT_LOCK (self);
  g_free (model->weights);
  model->weights = g_strdup (weights);
  GST_OBJECT_UNLOCK (self);
  update_post (self, model->path, weights, frame, NULL, NULL);
}

/* One that was ready is no longer wanted. */
static void
update_drop_ready (GstPartimeFilter *self, GstPartimeModel *ready,
    const gchar *why)
{
  update_supersede (self, ready, why);
  gst_partime_model_stop (ready);
  gst_partime_model_unref (ready);
}

static void
update_run (GstPartimeFilter *self, guint asked)
{
  g_autofree gchar *path = NULL, *weights = NULL;

  GST_OBJECT_LOCK (self);
  path = g_strdup (self->settings.model);
  weights = g_strdup (self->settings.weights);
  GST_OBJECT_UNLOCK (self);
  if (asked & GST_PARTIME_UPDATE_MODEL)
    update_make_ready (self, path, weights);
  else
    update_load_weights (self, weights);
}

static gpointer
update_main (gpointer data)
{
  GstPartimeFilter *self = data;
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  for (;;) {
    GstPartimeModel *retired = g_queue_pop_head (&u->retired);
    GstPartimeModel *ready = NULL;
    guint asked = 0;

    if (!retired && u->quit)
      break;
    if (!retired && (u->asked == 0 || u->unbound)) {
      g_cond_wait (&u->cond, &u->lock);
      continue;
    }
    if (!retired) {
      asked = u->asked;
      u->asked = 0;
      u->uncommitted |= (asked & GST_PARTIME_UPDATE_MODEL) != 0;
      /* weights that follow a model that waits are for that one */
      if (u->uncommitted)
        asked |= GST_PARTIME_UPDATE_MODEL;
      /* one that is shared has taken over elsewhere */
      if (u->ready && !u->ready->instance) {
        ready = u->ready;
        g_atomic_pointer_set (&u->ready, NULL);
      }
    }
    g_mutex_unlock (&u->lock);
    if (ready)
      update_drop_ready (self, ready, "another one was asked for");
    if (retired) {
      gst_partime_model_stop (retired);
      gst_partime_model_unref (retired);
    } else {
      update_run (self, asked);
    }
    g_mutex_lock (&u->lock);
  }
  g_mutex_unlock (&u->lock);
  return NULL;
}

/* Takes @model, whose frames are all out: to stop it takes time. */
void
gst_partime_update_retire (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  g_queue_push_tail (&u->retired, model);
  g_cond_signal (&u->cond);
  g_mutex_unlock (&u->lock);
}

/* -- requests -- */

/* The property @name was set from PAUSED up. */
void
gst_partime_update_set (GstPartimeFilter *self, guint bit, const gchar *name)
{
  gboolean updatable;

  GST_OBJECT_LOCK (self);
  updatable = self->settings.is_updatable;
  if (updatable)
    self->update.setting |= bit;
  GST_OBJECT_UNLOCK (self);
  if (!updatable)
    GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s was set while the "
            "element plays, which needs is-updatable=true: the network stays as "
            "it is until the element has been in READY", name), (NULL));
}

/* All that is set together has been. The weights before were those of the
 * model before. */
void
gst_partime_update_ask (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;
  guint asked;

  GST_OBJECT_LOCK (self);
  asked = u->setting;
  u->setting = 0;
  if (asked == GST_PARTIME_UPDATE_MODEL)
    g_clear_pointer (&self->settings.weights, g_free);
  GST_OBJECT_UNLOCK (self);
  if (asked == 0)
    return;
  g_mutex_lock (&u->lock);
  u->asked |= asked;
  if (!u->thread && !u->quit)
    u->thread = g_thread_new ("partime-update", update_main, self);
  g_cond_signal (&u->cond);
  g_mutex_unlock (&u->lock);
}

/* What is asked for before there is a model waits for that. */
void
gst_partime_update_set_unbound (GstPartimeFilter *self, gboolean unbound)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  u->unbound = unbound;
  g_cond_signal (&u->cond);
  g_mutex_unlock (&u->lock);
}

gboolean
gst_partime_update_is_unbound (GstPartimeFilter *self)
{
  gboolean unbound;

  g_mutex_lock (&self->update.lock);
  unbound = self->update.unbound;
  g_mutex_unlock (&self->update.lock);
  return unbound;
}

/* From PAUSED to READY: no new ones. What waits for a marker ends as the
 * pipelines stop, which is between this and the next. */
void
gst_partime_update_quit (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  u->quit = TRUE;
  u->unbound = FALSE;
  g_cond_signal (&u->cond);
  g_mutex_unlock (&u->lock);
}

void
gst_partime_update_join (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;

  if (u->thread)
    g_thread_join (u->thread);
  if (u->ready)
    update_drop_ready (self, u->ready, "the end came");
  u->ready = NULL;
  u->thread = NULL;
  u->asked = 0;
  u->quit = u->uncommitted = FALSE;
}

/* -- between two frames -- */

/* What a model brings with it into the stream. */
typedef struct
{
  GstPartimeModel *model;       /* lent */
  GstPartimeFormat *format;     /* NULL: the one that is there will do */
  GstEvent *caps;               /* NULL: they stay */
  PtStream *stream;             /* of a network that is shared */
  PtReplacement what;
} Change;

static gboolean
change_prepare (Change *change, GstPartimeFilter *self, GError **error)
{
  const GstVideoInfo *info = &self->format->info;
  g_autoptr (GstCaps) before = NULL, after = NULL;

  if (!gst_partime_model_same_input (self->model, change->model)) {
    change->format = gst_partime_filter_new_format (self, change->model, info,
        self->format->cuda != NULL, error);
    if (!change->format && error && !*error)
      g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "%s: cannot convert "
          "these frames to what the network takes", change->model->path);
    if (!change->format)
      return FALSE;
  }
  if (self->output != GST_PARTIME_OUTPUT_NETWORK)
    return TRUE;
  before = gst_partime_source_make_caps (self->model, info);
  after = gst_partime_source_make_caps (change->model, info);
  if (!gst_caps_is_equal (before, after))
    change->caps = gst_event_new_caps (after);
  return TRUE;
}

/* Of a network that is shared, which has taken over by now. Waits for frames
 * inside, so no locks are held. */
static gboolean
change_follow (Change *change, GstPartimeFilter *self, GError **error)
{
  if (!change->model->instance)
    return TRUE;
  change->what = change->model->what;
  change->stream = pt_stream_replace (self->model->stream,
      change->model->pipeline, &change->what, error);
  return change->stream != NULL;
}

/* With running_lock and the lock. */
static gboolean
change_take_over (Change *change, GstPartimeFilter *self, GError **error)
{
  GstPartimeItem last = {.kind = GST_PARTIME_LAST,.model = self->model };

  if (!change->stream && !pt_pipeline_replace (self->model->pipeline,
          change->model->pipeline, &change->what, error))
    return FALSE;
  /* the element's own reference goes with it */
  gst_queue_array_push_tail_struct (self->queue, &last);
  self->n_queued++;
  g_queue_push_tail (&self->models, gst_partime_model_ref (change->model));
  GST_OBJECT_LOCK (self);
  self->model = gst_partime_model_ref (change->model);
  self->model->stream = change->stream;
  GST_OBJECT_UNLOCK (self);
  if (self->flushing)
    gst_partime_model_set_flushing (self->model, TRUE);
  g_cond_broadcast (&self->cond);
  return TRUE;
}

static void
change_finish (Change *change, GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;

  gst_partime_filter_apply_live (self, change->model);
  gst_partime_labels_change (self, change->model);
  if (change->format) {
    gst_partime_format_unref (self->format);
    self->format = g_steal_pointer (&change->format);
  }
  if (change->caps) {
    g_mutex_lock (&self->lock);
    /* of another size than what is sent from here on */
    g_clear_pointer (&self->newest, pt_result_unref);
    g_clear_pointer (&self->newest_model, gst_partime_model_unref);
    g_mutex_unlock (&self->lock);
    gst_partime_filter_forward (self, g_steal_pointer (&change->caps));
  }
  g_mutex_lock (&u->lock);
  u->uncommitted = u->asked & GST_PARTIME_UPDATE_MODEL;
  g_mutex_unlock (&u->lock);
  update_post (self, change->model->path, change->model->weights,
      self->n_frames, &change->what, NULL);
}

static gboolean
update_change (GstPartimeFilter *self, GstPartimeModel *model)
{
  Change change = { .model = model };
  g_autoptr (GError) error = NULL;
  gboolean done = change_prepare (&change, self, &error)
      && gst_partime_labels_fit (self, model, &error)
      && change_follow (&change, self, &error);

  if (done) {
    g_mutex_lock (&self->running_lock);
    g_mutex_lock (&self->lock);
    done = change_take_over (&change, self, &error);
    g_mutex_unlock (&self->lock);
    g_mutex_unlock (&self->running_lock);
  }
  if (done) {
    change_finish (&change, self);
    return TRUE;
  }
  g_clear_pointer (&change.format, gst_partime_format_unref);
  g_clear_pointer (&change.caps, gst_event_unref);
  update_refuse (self, model->path, model->weights, error);
  gst_partime_update_retire (self, gst_partime_model_ref (model));
  return FALSE;
}

/* -- frames of another size -- */

/* The same network for frames of @info, with what was learned. */
static GstPartimeModel *
update_prepare_size (GstPartimeFilter *self, const GstVideoInfo *info,
    GError **error)
{
  GstPartimeSize size = { info->width, info->height, FALSE, FALSE };
  const gchar *culprit;
  g_autoptr (GstPartimeModel) model = gst_partime_model_new (self, NULL,
      self->model->path, NULL, &size, &culprit, error);

  if (!model)
    return NULL;
  model->weights = g_strdup (self->model->weights);
  pt_pipeline_keep_weights (model->pipeline);
  return update_start (self, model, self->model, info, error) ?
      g_steal_pointer (&model) : NULL;
}

/* In the sink pad's thread, between two frames: a network that leaves its size
 * open is made for that of the frames to come. Where that cannot be, they are
 * scaled to the size it has. */
void
gst_partime_update_resize (GstPartimeFilter *self)
{
  const GstVideoInfo *info = &self->format->info;
  const GstPartimeSize *size = &self->model->size;
  g_autoptr (GstPartimeModel) model = NULL;
  g_autoptr (GError) error = NULL;

  if (!size->is_open || self->model->instance
      || (size->width == info->width && size->height == info->height))
    return;
  model = update_prepare_size (self, info, &error);
  if (model)
    update_change (self, model);
  else
    update_refuse (self, self->model->path, self->model->weights, error);
}

/* Returns: (transfer full) (nullable) */
static GstPartimeModel *
update_take_ready (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;
  GstPartimeModel *model;

  if (!g_atomic_pointer_get (&u->ready))
    return NULL;
  g_mutex_lock (&u->lock);
  model = u->ready;
  g_atomic_pointer_set (&u->ready, NULL);
  g_mutex_unlock (&u->lock);
  return model;
}

/* In the sink pad's thread, before a frame: a model that is ready takes over.
 * Returns: whether one has */
gboolean
gst_partime_update_commit (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = update_take_ready (self);

  if (!model || !update_change (self, model))
    return FALSE;
  gst_partime_update_resize (self);
  return TRUE;
}

/* -- a network that is shared -- */

static void
update_tell_skipped (GstElement *element, gpointer model)
{
  update_supersede (GST_PARTIME_FILTER (element), model,
      "another one was asked for");
}

/* Takes @model, in whose pipeline @self is to go on. The caller has locks, so
 * that nothing can be posted here. */
void
gst_partime_update_give (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeUpdate *u = &self->update;
  GstPartimeModel *skipped;

  g_mutex_lock (&u->lock);
  skipped = u->ready;
  if (skipped) {
    model->what.kept_weights &= skipped->what.kept_weights;
    model->what.kept_optimizer &= skipped->what.kept_optimizer;
  }
  g_atomic_pointer_set (&u->ready, model);
  g_mutex_unlock (&u->lock);
  if (skipped)
    gst_element_call_async (GST_ELEMENT (self), update_tell_skipped, skipped,
        (GDestroyNotify) gst_partime_model_unref);
}

/* Before the first frame: there is nothing to go on with. */
void
gst_partime_update_take_early (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = update_take_ready (self);
  GstPartimeModel *before = self->model;

  if (!model)
    return;
  g_mutex_lock (&self->lock);
  g_queue_remove (&self->models, before);
  g_queue_push_tail (&self->models, gst_partime_model_ref (model));
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  self->model = gst_partime_model_ref (model);
  GST_OBJECT_UNLOCK (self);
  gst_partime_model_unref (before);
  gst_partime_model_unref (before);
  gst_partime_labels_change (self, model);
  update_post (self, model->path, model->weights, 0, &model->what, NULL);
}
