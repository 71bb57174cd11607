/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Labels that wait for their frames, by running time, and what is told of
 * them. */

#include "gstpartimefilter-private.h"

#define LABELS_MEMORY (32 << 20)
#define LABELS_LEAST 8
#define LABELS_MOST 1024

void
gst_partime_labels_register (void)
{
  static const gchar *tags[] = { NULL };

  if (!gst_meta_get_info (GST_PARTIME_LABEL_NAME))
    gst_meta_register_custom (GST_PARTIME_LABEL_NAME, tags, NULL, NULL, NULL);
}

void
gst_partime_labels_init (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;

  g_queue_init (&t->waiting);
  g_queue_init (&t->spare);
  gst_segment_init (&t->segment, GST_FORMAT_UNDEFINED);
}

/* -- open and close -- */

static gchar *
labels_new_refusal (PtNetwork *network)
{
  g_autofree gchar *target = pt_network_get (network, "learning", "target");
  g_autofree gchar *loss = pt_network_get (network, "learning", "loss");

  if (!loss || !*loss)
    return g_strdup ("the pad label is there, but the network does not learn: "
        "group [learning]: key loss: nothing is set, expected a loss");
  return g_strdup_printf ("the pad label is there, but the network does not "
      "learn from it: group [learning]: key target: found %s (with loss %s), "
      "expected labels", target && *target ? target : "auto", loss);
}

/* Takes what @model learns from. With the lock. */
static void
labels_set_model (GstPartimeFilter *self, GstPartimeModel *model,
    const GstPartimeTarget *target, gboolean wanted)
{
  GstPartimeLabels *t = &self->targets;
  g_autofree gchar *loss = pt_network_get (model->network, "learning", "loss");
  gboolean off = !model->learns;
  gsize size = 4;

  gst_partime_target_clear (&t->target);
  t->target = *target;
  t->target.names = self->labels;
  t->target.n_names = self->n_labels;
  for (guint i = 0; i < t->target.info.shape.n_dims; i++)
    size *= t->target.info.shape.dims[i];
  t->max_waiting = CLAMP (LABELS_MEMORY / size, LABELS_LEAST, LABELS_MOST);
  t->wanted = wanted;
  g_clear_pointer (&t->refusal, g_free);
  if (t->target.info.teacher || (!wanted && (!off || !loss || !*loss)))
    t->refusal = labels_new_refusal (model->network);
}

/* READY to PAUSED, once there is a model. Returns: FALSE, with an error
 * posted, if there is a label pad that nobody needs. */
gboolean
gst_partime_labels_open (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;
  GstPartimeTarget target;
  gboolean wanted = gst_partime_target_init (&target, self->model->network,
      self->model->pipeline);
  gboolean requested;

  g_mutex_lock (&self->lock);
  labels_set_model (self, self->model, &target, wanted);
  requested = t->pad != NULL;
  t->passed = t->last = GST_CLOCK_TIME_NONE;
  t->seeking = t->told_waiting = FALSE;
  t->told = 0;
  t->n_labels = t->n_unlabelled = t->n_late = t->n_bad = 0;
  g_mutex_unlock (&self->lock);
  if (!requested || !t->refusal)
    return TRUE;
  GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS, ("%s: %s",
          self->settings.model, t->refusal), (NULL));
  return FALSE;
}

static void
labels_free (GstPartimeLabel *label)
{
  pt_tensor_unref (label->target);
  g_free (label);
}

/* With the lock. */
static void
labels_free_all (GstPartimeLabels *t)
{
  GList *link;

  while ((link = g_queue_pop_head_link (&t->waiting)))
    labels_free (link->data);
  while ((link = g_queue_pop_head_link (&t->spare)))
    labels_free (link->data);
  t->n_waiting = 0;
}

/* Whether @model may take over: labels of the pad, of which some wait, are made
 * for the model before. */
gboolean
gst_partime_labels_fit (GstPartimeFilter *self, GstPartimeModel *model,
    GError **error)
{
  GstPartimeLabels *t = &self->targets;
  GstPartimeTarget target;
  gboolean wanted = gst_partime_target_init (&target, model->network,
      model->pipeline);
  gboolean fits;

  g_mutex_lock (&self->lock);
  fits = !t->pad || !t->target.network || (wanted == t->wanted
      && (!wanted || gst_partime_target_equal (&target, &t->target)));
  g_mutex_unlock (&self->lock);
  gst_partime_target_clear (&target);
  if (!fits)
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: takes other labels "
        "than the model that runs; with the pad label a model may only take "
        "over with the same input, output and loss", model->path);
  return fits;
}

/* @model takes over, in the sink pad's thread. Labels that wait are kept where
 * they are the same for both. */
void
gst_partime_labels_change (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeLabels *t = &self->targets;
  GstPartimeTarget target;
  gboolean wanted = gst_partime_target_init (&target, model->network,
      model->pipeline);

  if (wanted && t->wanted && gst_partime_target_equal (&target, &t->target)) {
    gst_partime_target_clear (&target);
    return;
  }
  g_clear_pointer (&t->next, labels_free);
  gst_partime_label_format_clear (&t->own_format);
  g_mutex_lock (&self->lock);
  if (!t->pad)
    labels_free_all (t);
  labels_set_model (self, model, &target, wanted);
  g_mutex_unlock (&self->lock);
}

/* PAUSED to READY, when no thread is at the pads. */
void
gst_partime_labels_close (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;

  g_mutex_lock (&self->lock);
  labels_free_all (t);
  gst_partime_target_clear (&t->target);
  g_clear_pointer (&t->refusal, g_free);
  t->frame_thread = NULL;
  t->wanted = FALSE;
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&t->next, labels_free);
  gst_partime_label_format_clear (&t->own_format);
  gst_partime_label_format_clear (&t->format);
}

/* -- labels that wait -- */

/* Returns: (nullable): one with a tensor to be filled; %NULL with an error
 * posted */
GstPartimeLabel *
gst_partime_labels_new (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;
  g_autoptr (GError) error = NULL;
  GstPartimeLabel *label;
  GList *link;

  g_mutex_lock (&self->lock);
  link = g_queue_pop_head_link (&t->spare);
  g_mutex_unlock (&self->lock);
  if (link)
    return link->data;
  label = g_new0 (GstPartimeLabel, 1);
  label->link.data = label;
  label->target = gst_partime_target_new_tensor (&t->target, &error);
  if (label->target)
    return label;
  g_free (label);
  gst_partime_filter_post_error (self, error, NULL);
  return NULL;
}

void
gst_partime_labels_give_back (GstPartimeFilter *self, GstPartimeLabel *label)
{
  if (!label)
    return;
  g_mutex_lock (&self->lock);
  g_queue_push_tail_link (&self->targets.spare, &label->link);
  g_mutex_unlock (&self->lock);
}

/* With the lock. */
void
gst_partime_labels_remove (GstPartimeLabels *t, GstPartimeLabel *label)
{
  g_queue_unlink (&t->waiting, &label->link);
  if (label->from_pad)
    t->n_waiting--;
}

/* With the lock: takes @label, to its place by time; one that its frame has
 * left behind is late. */
void
gst_partime_labels_insert (GstPartimeFilter *self, GstPartimeLabel *label)
{
  GstPartimeLabels *t = &self->targets;
  GList *before = t->waiting.tail;

  if (GST_CLOCK_TIME_IS_VALID (t->last) && label->time <= t->last) {
    t->n_late++;
    g_queue_push_tail_link (&t->spare, &label->link);
    return;
  }
  while (before && ((GstPartimeLabel *) before->data)->time > label->time)
    before = before->prev;
  if (before)
    g_queue_insert_after_link (&t->waiting, before, &label->link);
  else
    g_queue_push_head_link (&t->waiting, &label->link);
  if (label->from_pad)
    t->n_waiting++;
}

/* With the lock: forgets what waits and came by the pad, or by events. */
void
gst_partime_labels_drop_waiting (GstPartimeFilter *self, gboolean from_pad)
{
  GstPartimeLabels *t = &self->targets;

  for (GList *link = t->waiting.head, *next; link; link = next) {
    GstPartimeLabel *label = link->data;

    next = link->next;
    if (label->from_pad != from_pad)
      continue;
    gst_partime_labels_remove (t, label);
    g_queue_push_tail_link (&t->spare, link);
  }
}

/* At the flush of the sink pad, or when another stream starts there. Labels of
 * the pad stay: it has flushes of its own. */
void
gst_partime_labels_flush (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;

  gst_partime_labels_give_back (self, g_steal_pointer (&t->next));
  g_mutex_lock (&self->lock);
  gst_partime_labels_drop_waiting (self, FALSE);
  t->last = GST_CLOCK_TIME_NONE;
  t->seeking = FALSE;
  g_mutex_unlock (&self->lock);
}

/* Counts it, and tells the first of each cause. */
void
gst_partime_labels_note_bad (GstPartimeFilter *self, const GError *error)
{
  GstPartimeLabels *t = &self->targets;
  guint bit = 1u << (error->code & 31);
  gboolean first;

  g_mutex_lock (&self->lock);
  t->n_bad++;
  first = !(t->told & bit);
  t->told |= bit;
  g_mutex_unlock (&self->lock);
  if (first)
    GST_ELEMENT_WARNING (self, STREAM, DECODE, ("%s", error->message),
        ("its frame is not learned from; more labels of this kind are "
            "counted as bad-labels, but not told"));
}

/* -- events of the application -- */

/* The same thread at both pads has to be known before it brings the first
 * frame or label. */
void
gst_partime_labels_note_thread (GstPartimeFilter *self)
{
  g_mutex_lock (&self->lock);
  self->targets.frame_thread = g_thread_self ();
  g_mutex_unlock (&self->lock);
}

/* GstPartimeLabel, in the sink pad's thread: for the frame at its pts, or else
 * for the next one. */
void
gst_partime_labels_note_event (GstPartimeFilter *self, GstEvent *event)
{
  GstPartimeLabels *t = &self->targets;
  const GstStructure *fields = gst_event_get_structure (event);
  g_autoptr (GError) error = NULL;
  GstPartimeLabel *label;
  guint64 pts;

  if (!t->wanted || t->target.info.teacher || !fields
      || !gst_structure_has_name (fields, GST_PARTIME_LABEL_NAME)
      || !(label = gst_partime_labels_new (self)))
    return;
  if (!gst_partime_target_read_fields (&t->target, &t->own_format, fields,
          label->target, &error)) {
    gst_partime_labels_give_back (self, label);
    gst_partime_labels_note_bad (self, error);
    return;
  }
  if (!gst_structure_get_uint64 (fields, "pts", &pts)) {
    gst_partime_labels_give_back (self, t->next);
    t->next = label;
    return;
  }
  label->from_pad = FALSE;
  label->time = gst_segment_to_running_time (&self->segment, GST_FORMAT_TIME,
      pts);
  if (!GST_CLOCK_TIME_IS_VALID (label->time)) {
    gst_partime_labels_give_back (self, label);
    return;
  }
  g_mutex_lock (&self->lock);
  gst_partime_labels_insert (self, label);
  g_mutex_unlock (&self->lock);
}

/* -- what is told -- */

void
gst_partime_labels_fill_stats (GstPartimeFilter *self,
    GstStructure *structure)
{
  GstPartimeLabels *t = &self->targets;

  g_mutex_lock (&self->lock);
  gst_structure_set (structure, "labels", G_TYPE_UINT64, t->n_labels,
      "unlabelled", G_TYPE_UINT64, t->n_unlabelled,
      "late-labels", G_TYPE_UINT64, t->n_late,
      "bad-labels", G_TYPE_UINT64, t->n_bad, NULL);
  g_mutex_unlock (&self->lock);
}

/* How long a frame may wait, us; below 0: as long as it takes. */
gint64
gst_partime_labels_get_patience (GstPartimeFilter *self)
{
  guint64 wait;
  gboolean free;

  GST_OBJECT_LOCK (self);
  wait = self->settings.label_wait;
  free = self->live || self->timing == GST_PARTIME_TIMING_LATEST;
  GST_OBJECT_UNLOCK (self);
  if (!GST_CLOCK_TIME_IS_VALID (wait))
    return free ? 0 : -1;
  return MIN (wait / 1000, G_MAXINT64 / 4);
}

/* What frames of a live stream may wait for labels. */
GstClockTime
gst_partime_labels_get_latency (GstPartimeFilter *self)
{
  gboolean waits;
  gint64 patience = gst_partime_labels_get_patience (self);

  g_mutex_lock (&self->lock);
  waits = self->targets.wanted && self->targets.pad;
  g_mutex_unlock (&self->lock);
  return waits && patience > 0 ? patience * 1000 : 0;
}
