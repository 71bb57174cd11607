/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Between two frames, in the sink pad's thread: another model takes over, one
 * that update.c has made ready, or the same for frames of another size. */

#include "gstpartimefilter-private.h"

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
  if (self->output == GST_PARTIME_OUTPUT_FRAMES)
    return TRUE;
  before = gst_partime_source_make_caps (self, self->model, info);
  after = gst_partime_source_make_caps (self, change->model, info);
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
  gst_partime_filter_apply_live (self, change->model);
  gst_partime_labels_change (self, change->model);
  if (change->format) {
    gst_partime_format_unref (self->format);
    self->format = g_steal_pointer (&change->format);
  }
  if (change->caps) {
    /* of another size than what is sent from here on */
    gst_partime_source_forget_newest (self);
    gst_partime_filter_forward (self, g_steal_pointer (&change->caps));
  }
  gst_partime_update_note_change (self);
  gst_partime_update_post (self, change->model->path, change->model->weights,
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
  gst_partime_update_refuse (self, model->path, model->weights, error);
  gst_partime_update_retire (self, gst_partime_model_ref (model));
  return FALSE;
}

/* -- frames of another size -- */

/* The name may change at any time. */
static gchar *
update_dup_weights (GstPartimeFilter *self)
{
  gchar *weights;

  GST_OBJECT_LOCK (self);
  weights = g_strdup (self->model->weights);
  GST_OBJECT_UNLOCK (self);
  return weights;
}

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
  model->weights = update_dup_weights (self);
  pt_pipeline_keep_weights (model->pipeline);
  return gst_partime_update_start (self, model, self->model, info, error) ?
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
  g_autofree gchar *weights = NULL;
  g_autoptr (GError) error = NULL;

  if (!size->is_open || self->model->instance
      || (size->width == info->width && size->height == info->height))
    return;
  model = update_prepare_size (self, info, &error);
  if (model) {
    update_change (self, model);
    return;
  }
  weights = update_dup_weights (self);
  gst_partime_update_refuse (self, self->model->path, weights, error);
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

/* Before the first frame: there is nothing to go on with. Returns: (transfer
 * full) (nullable): the model before, for gst_partime_update_end_early() when
 * the locks of the instance are no longer held */
GstPartimeModel *
gst_partime_update_take_early (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = update_take_ready (self);
  GstPartimeModel *before = self->model;

  if (!model)
    return NULL;
  g_mutex_lock (&self->lock);
  g_queue_remove (&self->models, before);
  g_queue_push_tail (&self->models, gst_partime_model_ref (model));
  g_mutex_unlock (&self->lock);
  GST_OBJECT_LOCK (self);
  self->model = gst_partime_model_ref (model);
  GST_OBJECT_UNLOCK (self);
  /* the queue's */
  gst_partime_model_unref (before);
  return before;
}

/* Takes @before, (nullable), with which the instance and the old pipeline may
 * go. */
void
gst_partime_update_end_early (GstPartimeFilter *self, GstPartimeModel *before)
{
  GstPartimeModel *model = self->model;

  if (!before)
    return;
  gst_partime_model_unref (before);
  gst_partime_labels_change (self, model);
  gst_partime_update_post (self, model->path, model->weights, 0, &model->what,
      NULL);
}

/* As gst_partime_filter_push(), into a network that other elements may have
 * replaced meanwhile. */
gboolean
gst_partime_update_push (GstPartimeFilter *self, GstBuffer *buffer,
    PtTensor *target, PtPushFlags flags, PtFlow *flow, GError **error)
{
  while (gst_partime_filter_push (self, buffer, target, flags, flow, error)) {
    if (*flow != PT_FLOW_REPLACED)
      return TRUE;
    gst_partime_instance_wait (self->model->instance);
    if (!gst_partime_update_commit (self)) {
      g_set_error (error, PT_ERROR, PT_ERROR_FAILED, "%s: found no way to go "
          "on with the network that another element has put in place of it",
          self->model->path);
      return FALSE;
    }
  }
  return FALSE;
}
