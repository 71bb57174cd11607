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

  g_mutex_init (&t->making);
  g_queue_init (&t->waiting);
  g_queue_init (&t->spare);
  gst_segment_init (&t->segment, GST_FORMAT_UNDEFINED);
}

void
gst_partime_labels_clear (GstPartimeFilter *self)
{
  g_mutex_clear (&self->targets.making);
}

/* -- open and close -- */

/* Returns: (nullable): why @model needs no label pad */
static gchar *
labels_new_refusal (GstPartimeModel *model, const GstPartimeTarget *info,
    gboolean wanted)
{
  PtNetwork *network = model->network;
  g_autofree gchar *target = pt_network_get (network, "learning", "target");
  g_autofree gchar *loss = pt_network_get (network, "learning", "loss");
  gboolean has_loss = loss && *loss;

  if (!info->info.teacher && (wanted || (!model->learns && has_loss)))
    return NULL;
  if (!has_loss)
    return g_strdup ("the pad label is there, but the network does not learn: "
        "group [learning]: key loss: nothing is set, expected a loss");
  return g_strdup_printf ("the pad label is there, but the network does not "
      "learn from it: group [learning]: key target: found %s (with loss %s), "
      "expected labels", target && *target ? target : "auto", loss);
}

/* Takes what @model learns from. With the locks. */
static void
labels_set_model (GstPartimeFilter *self, GstPartimeModel *model,
    const GstPartimeTarget *target, gboolean wanted)
{
  GstPartimeLabels *t = &self->targets;
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
  t->refusal = labels_new_refusal (model, target, wanted);
}

/* READY to PAUSED. @model: (nullable): the element's, or if that has none yet,
 * one like what it will be. Returns: FALSE, with an error posted, if there is a
 * label pad that nobody needs. */
gboolean
gst_partime_labels_open (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeLabels *t = &self->targets;
  GstPartimeTarget target;
  gboolean wanted = model && gst_partime_target_init (&target, model->network,
      model->pipeline);
  gboolean requested;

  g_mutex_lock (&t->making);
  g_mutex_lock (&self->lock);
  if (model)
    labels_set_model (self, model, &target, wanted);
  t->unbound = !self->model;
  t->is_open = FALSE;
  if (t->unbound) {
    t->wanted = FALSE;
    t->max_waiting = LABELS_LEAST;
  }
  requested = t->pad != NULL;
  t->passed = t->last = GST_CLOCK_TIME_NONE;
  t->seeking = t->told_waiting = FALSE;
  t->told = 0;
  t->n_labels = t->n_unlabelled = t->n_late = t->n_bad = 0;
  g_mutex_unlock (&self->lock);
  g_mutex_unlock (&t->making);
  if (!requested || !t->refusal)
    return TRUE;
  GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS, ("%s: %s",
          self->settings.model, t->refusal), (NULL));
  return FALSE;
}

static void
labels_free (GstPartimeLabel *label)
{
  g_clear_pointer (&label->origin, gst_sample_unref);
  g_clear_pointer (&label->target, pt_tensor_unref);
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

/* Returns: (transfer full) (nullable): of the labels that come by the pad */
static GstCaps *
labels_get_caps (GstPartimeFilter *self, gboolean *has_pad)
{
  g_autoptr (GstPad) pad = NULL;

  g_mutex_lock (&self->lock);
  if (self->targets.pad)
    pad = gst_object_ref (self->targets.pad);
  g_mutex_unlock (&self->lock);
  *has_pad = pad != NULL;
  return pad ? gst_pad_get_current_caps (pad) : NULL;
}

/* Whether @model may take over: that labels of the pad, if there is one, are of
 * use for it. */
gboolean
gst_partime_labels_fit (GstPartimeFilter *self, GstPartimeModel *model,
    GError **error)
{
  GstPartimeTarget target;
  GstPartimeLabelFormat format = { NULL };
  gboolean wanted = gst_partime_target_init (&target, model->network,
      model->pipeline);
  gboolean has_pad, fits = TRUE;
  g_autoptr (GstCaps) caps = labels_get_caps (self, &has_pad);
  g_autofree gchar *refusal = labels_new_refusal (model, &target, wanted);

  if (has_pad && refusal) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: %s", model->path,
        refusal);
    fits = FALSE;
  } else if (caps && wanted
      && !gst_partime_label_format_set (&format, &target, caps, error)) {
    g_prefix_error (error, "%s: ", model->path);
    fits = FALSE;
  }
  gst_partime_label_format_clear (&format);
  gst_partime_target_clear (&target);
  return fits;
}

/* What came by the pad becomes what the network wants now. */
static gboolean
labels_make_again (GstPartimeLabels *t, GstPartimeLabel *label)
{
  GstCaps *caps = label->origin ? gst_sample_get_caps (label->origin) : NULL;
  g_autoptr (PtTensor) target = NULL;

  if (!caps || (!(t->format.caps && gst_caps_is_equal (t->format.caps, caps))
          && !gst_partime_label_format_set (&t->format, &t->target, caps,
              NULL)))
    return FALSE;
  target = gst_partime_target_new_tensor (&t->target, NULL);
  if (!target || !gst_partime_target_read_buffer (&t->target, &t->format,
          gst_sample_get_buffer (label->origin), target, NULL))
    return FALSE;
  g_clear_pointer (&label->target, pt_tensor_unref);
  label->target = g_steal_pointer (&target);
  label->era = t->era;
  return TRUE;
}

/* With the lock: labels that wait were made for another model. */
static void
labels_make_all_again (GstPartimeLabels *t)
{
  GList *link;

  while ((link = g_queue_pop_head_link (&t->spare)))
    labels_free (link->data);
  for (link = t->waiting.head; link;) {
    GstPartimeLabel *label = link->data;

    link = link->next;
    if (t->wanted && labels_make_again (t, label))
      continue;
    gst_partime_labels_remove (t, label);
    labels_free (label);
  }
}

/* With the pad's labels held up. */
static void
labels_begin_era (GstPartimeFilter *self, GstPartimeModel *model,
    const GstPartimeTarget *target, gboolean wanted)
{
  GstPartimeLabels *t = &self->targets;
  gboolean has_pad;
  g_autoptr (GstCaps) caps = t->format.caps ? gst_caps_ref (t->format.caps) :
      labels_get_caps (self, &has_pad);
  g_autoptr (GError) error = NULL;

  gst_partime_label_format_clear (&t->format);
  g_mutex_lock (&self->lock);
  t->era++;
  t->unbound = FALSE;
  labels_set_model (self, model, target, wanted);
  labels_make_all_again (t);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  if (caps && wanted && !gst_partime_label_format_set (&t->format, &t->target,
          caps, &error))
    gst_partime_labels_note_bad (self, error);
}

/* @model takes over, in the sink pad's thread. Labels that wait are kept where
 * they are the same for both, and made again otherwise. */
void
gst_partime_labels_change (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeLabels *t = &self->targets;
  GstPartimeTarget target;
  gboolean wanted = gst_partime_target_init (&target, model->network,
      model->pipeline);

  g_mutex_lock (&t->making);
  t->is_open = model->size.is_open;
  g_mutex_unlock (&t->making);
  if (wanted && t->wanted && gst_partime_target_equal (&target, &t->target)) {
    gst_partime_target_clear (&target);
    return;
  }
  g_clear_pointer (&t->next, labels_free);
  gst_partime_label_format_clear (&t->own_format);
  g_mutex_lock (&t->making);
  labels_begin_era (self, model, &target, wanted);
  g_mutex_unlock (&t->making);
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
  t->wanted = t->unbound = FALSE;
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&t->next, labels_free);
  gst_partime_label_format_clear (&t->own_format);
  gst_partime_label_format_clear (&t->format);
}

/* -- labels that wait -- */

/* Returns: (nullable): one with a tensor to be filled, if it is known what for;
 * %NULL with an error posted */
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
  label->era = t->era;
  if (!t->unbound)
    label->target = gst_partime_target_new_tensor (&t->target, &error);
  if (label->target || t->unbound)
    return label;
  g_free (label);
  gst_partime_filter_post_error (self, error, NULL);
  return NULL;
}

/* With the lock: takes @label, for another one to come. */
void
gst_partime_labels_spare (GstPartimeLabels *t, GstPartimeLabel *label)
{
  g_clear_pointer (&label->origin, gst_sample_unref);
  if (label->era == t->era)
    g_queue_push_tail_link (&t->spare, &label->link);
  else
    labels_free (label);
}

void
gst_partime_labels_give_back (GstPartimeFilter *self, GstPartimeLabel *label)
{
  if (!label)
    return;
  g_mutex_lock (&self->lock);
  gst_partime_labels_spare (&self->targets, label);
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
    gst_partime_labels_spare (t, label);
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
    gst_partime_labels_spare (t, label);
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
