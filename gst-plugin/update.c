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
void
gst_partime_update_post (GstPartimeFilter *self, const gchar *model,
    const gchar *weights, guint64 frame, const PtReplacement *what,
    const GError *error)
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

/* With its lock: whether another model is to come. One that is shared and is
 * ready has taken over elsewhere. */
static gboolean
update_is_due (GstPartimeUpdate *u)
{
  return (u->asked & GST_PARTIME_UPDATE_MODEL) || u->preparing
      || (u->ready && !u->ready->instance);
}

/* A model is in place; it need not be the one that was asked for. */
void
gst_partime_update_note_change (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  u->uncommitted = update_is_due (u);
  g_mutex_unlock (&u->lock);
}

/* The old model goes on; the properties say so again, unless they were set to
 * something else meanwhile, or another waits. */
void
gst_partime_update_refuse (GstPartimeFilter *self, const gchar *path,
    const gchar *weights, const GError *error)
{
  GstPartimeUpdate *u = &self->update;
  gboolean last;

  g_mutex_lock (&u->lock);
  last = u->asked == 0 && !u->quit && !u->ready && !u->preparing;
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
  gst_partime_update_post (self, path, weights, 0, NULL, error);
  GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s", error->message),
      ("the network stays as it was"));
}

static void
update_supersede (GstPartimeFilter *self, GstPartimeModel *model,
    const gchar *why)
{
  g_autoptr (GError) error = g_error_new (PT_ERROR, PT_ERROR_FAILED,
      "%s: not in place, %s before it was", model->path, why);

  gst_partime_update_post (self, model->path, model->weights, 0, NULL, error);
}

/* -- the updating thread -- */

/* What downstream would see instead. Returns: FALSE if it must not */
gboolean
gst_partime_update_check_caps (GstPartimeFilter *self, GstPartimeModel *model,
    const GstVideoInfo *info, GError **error)
{
  g_autoptr (GstCaps) picture = NULL;
  g_autofree gchar *text = NULL;

  if (self->output == GST_PARTIME_OUTPUT_FRAMES || !info)
    return TRUE;
  picture = gst_partime_source_make_caps (self, model, info);
  if (gst_pad_peer_query_accept_caps (self->srcpad, picture))
    return TRUE;
  text = gst_caps_to_string (picture);
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%s: what it makes (%s) is "
      "not what comes after this element takes", model->path, text);
  return FALSE;
}

/* Starts @model beside the one that runs, for frames of @info if they have
 * come. */
gboolean
gst_partime_update_start (GstPartimeFilter *self, GstPartimeModel *model,
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
  GstPartimeSize size = GST_PARTIME_NOMINAL_SIZE;
  const gchar *culprit;

  if (known)
    size = (GstPartimeSize) {
    info.width, info.height, FALSE, FALSE};
  model = gst_partime_model_new (self, NULL, path, weights, &size, &culprit,
      error);
  return model && gst_partime_update_start (self, model, running,
      known ? &info : NULL, error) ? g_steal_pointer (&model) : NULL;
}

/* @model, which runs, is for the next frame, unless something else is by now. */
static void
update_set_ready (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeUpdate *u = &self->update;
  gboolean last;

  g_mutex_lock (&u->lock);
  u->preparing = FALSE;
  last = u->asked == 0 && !u->quit;
  if (last)
    g_atomic_pointer_set (&u->ready, gst_partime_model_ref (model));
  g_mutex_unlock (&u->lock);
  if (last)
    return;
  update_supersede (self, model, "another one was asked for, or the end came");
  gst_partime_model_stop (model);
}

/* On the thread: there is no model to be put in place, as @error says or
 * because all who share it have it. */
static void
update_end_preparing (GstPartimeFilter *self, const GError *error)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  u->preparing = FALSE;
  if (!error)
    u->uncommitted = FALSE;
  g_mutex_unlock (&u->lock);
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
  if (model) {
    update_set_ready (self, model);
    return;
  }
  update_end_preparing (self, error);
  if (error)
    gst_partime_update_refuse (self, path, weights, error);
}

/* A network that takes over meanwhile has not seen them: once more then. */
static void
update_load_weights (GstPartimeFilter *self, const gchar *weights)
{
  g_autoptr (GstPartimeModel) model = gst_partime_filter_ref_model (self);
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;
  guint64 frame = 0;
  gboolean done;

  if (!model)
    return;
  pipeline = gst_partime_model_ref_pipeline (model);
  if (!weights)
    g_set_error (&error, PT_ERROR, PT_ERROR_CONFIG, "weights: found nothing, "
        "expected the name of a safetensors file");
  done = !error && pt_pipeline_set_weights (pipeline, weights, &frame, &error);
  if (!gst_partime_filter_is_current (self, pipeline)) {
    update_load_weights (self, weights);
    return;
  }
  if (!done) {
    gst_partime_update_refuse (self, model->path, weights, error);
    return;
  }
  GST_OBJECT_LOCK (self);
  g_free (model->weights);
  model->weights = g_strdup (weights);
  GST_OBJECT_UNLOCK (self);
  gst_partime_update_post (self, model->path, weights, frame, NULL, NULL);
}

/* Takes @model. */
static void
update_free (GstPartimeModel *model)
{
  gst_partime_model_stop (model);
  gst_partime_model_unref (model);
}

/* Takes one that was ready and is no longer wanted. */
static void
update_drop (GstPartimeFilter *self, GstPartimeModel *ready,
    const gchar *why)
{
  update_supersede (self, ready, why);
  update_free (ready);
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
    GstPartimeModel *ready = g_queue_pop_head (&u->skipped);
    guint asked = 0;

    if (!retired && !ready && u->quit)
      break;
    if (!retired && !ready && (u->asked == 0 || u->held)) {
      g_cond_wait (&u->cond, &u->lock);
      continue;
    }
    if (!retired && !ready) {
      asked = u->asked;
      u->asked = 0;
      u->uncommitted |= (asked & GST_PARTIME_UPDATE_MODEL) != 0;
      /* weights that follow a model that waits are for that one */
      if (u->uncommitted)
        asked |= GST_PARTIME_UPDATE_MODEL;
      u->preparing = u->uncommitted;
      /* one that is shared has taken over elsewhere */
      if (u->ready && !u->ready->instance) {
        ready = u->ready;
        g_atomic_pointer_set (&u->ready, NULL);
      }
    }
    g_mutex_unlock (&u->lock);
    if (ready)
      update_drop (self, ready, "another one was asked for");
    if (retired)
      update_free (retired);
    if (asked)
      update_run (self, asked);
    g_mutex_lock (&u->lock);
  }
  g_mutex_unlock (&u->lock);
  return NULL;
}

/* With its lock: there is something to do. */
static void
update_wake (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;

  if (!u->thread && !u->quit)
    u->thread = g_thread_new ("partime-update", update_main, self);
  g_cond_signal (&u->cond);
}

/* Takes @model, whose frames are all out: to stop it takes time. */
void
gst_partime_update_retire (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  g_queue_push_tail (&u->retired, model);
  update_wake (self);
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
  update_wake (self);
  g_mutex_unlock (&u->lock);
}

/* What is asked for before the first caps waits for them: a model is about to
 * start then. */
void
gst_partime_update_hold (GstPartimeFilter *self, gboolean held)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  u->held = held;
  g_cond_signal (&u->cond);
  g_mutex_unlock (&u->lock);
}

gboolean
gst_partime_update_is_held (GstPartimeFilter *self)
{
  gboolean held;

  g_mutex_lock (&self->update.lock);
  held = self->update.held;
  g_mutex_unlock (&self->update.lock);
  return held;
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
  if (skipped) {
    g_queue_push_tail (&u->skipped, skipped);
    update_wake (self);
  }
  g_mutex_unlock (&u->lock);
}

/* From PAUSED to READY: no new ones. What waits for a marker ends as the
 * pipelines stop, which is between this and the next. */
void
gst_partime_update_quit (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;

  g_mutex_lock (&u->lock);
  u->quit = TRUE;
  u->held = FALSE;
  g_cond_signal (&u->cond);
  g_mutex_unlock (&u->lock);
}

void
gst_partime_update_join (GstPartimeFilter *self)
{
  GstPartimeUpdate *u = &self->update;
  GstPartimeModel *model;

  if (u->thread)
    g_thread_join (u->thread);
  /* those that came without a thread */
  while ((model = g_queue_pop_head (&u->retired)))
    update_free (model);
  if (u->ready)
    g_queue_push_tail (&u->skipped, u->ready);
  while ((model = g_queue_pop_head (&u->skipped)))
    update_drop (self, model, "the end came");
  u->ready = NULL;
  u->thread = NULL;
  u->asked = 0;
  u->quit = u->preparing = u->uncommitted = FALSE;
}
