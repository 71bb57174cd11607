/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which label is which frame's. Both have running times. A label is for the
 * frame nearest to it, if that is within label-tolerance; a frame takes the
 * nearest of its labels. What a frame carries itself, or an event before it,
 * comes before what the pad and events with a pts say. */

#include "gstpartimefilter-private.h"
#include "meta.h"

#define LABELS_MEMORY (32 << 20)
#define LABELS_LEAST 8
#define LABELS_MOST 1024
#define LABELS_PATIENCE (5 * G_USEC_PER_SEC)

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

/* READY to PAUSED, once there is a pipeline. Returns: FALSE, with an error
 * posted, if there is a label pad that nobody needs. */
gboolean
gst_partime_labels_open (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;
  g_autofree gchar *loss = pt_network_get (self->network, "learning", "loss");
  gboolean off = pt_pipeline_get_mode (self->pipeline) == PT_MODE_OFF;
  gboolean has_loss = loss && *loss;
  gboolean wanted = gst_partime_target_init (&t->target, self->network,
      self->pipeline);
  gboolean requested;
  gsize size = 4;

  t->target.names = self->labels;
  t->target.n_names = self->n_labels;
  for (guint i = 0; i < t->target.info.shape.n_dims; i++)
    size *= t->target.info.shape.dims[i];
  t->max_waiting = CLAMP (LABELS_MEMORY / size, LABELS_LEAST, LABELS_MOST);
  g_mutex_lock (&self->lock);
  t->wanted = wanted;
  if (t->target.info.teacher || (!wanted && (!off || !has_loss)))
    t->refusal = labels_new_refusal (self->network);
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

/* PAUSED to READY, when no thread is at the pads. */
void
gst_partime_labels_close (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;
  GList *link;

  g_mutex_lock (&self->lock);
  while ((link = g_queue_pop_head_link (&t->waiting)))
    labels_free (link->data);
  while ((link = g_queue_pop_head_link (&t->spare)))
    labels_free (link->data);
  t->n_waiting = 0;
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
static void
labels_remove (GstPartimeLabels *t, GstPartimeLabel *label)
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
    labels_remove (t, label);
    g_queue_push_tail_link (&t->spare, link);
  }
}

/* At the flush of the sink pad. Labels of the pad stay: it has flushes of its
 * own. */
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

/* -- what a frame carries -- */

/* The output of the network before this one on the stream; one about an older
 * frame is none. */
static GstSample *
labels_find_teacher (GstBuffer *buffer)
{
  const GstMetaInfo *kind = gst_meta_get_info (GST_PARTIME_META_NAME);
  GstSample *sample = NULL;
  GstMeta *meta;
  gpointer state = NULL;

  while ((meta = gst_buffer_iterate_meta (buffer, &state))) {
    const GstStructure *fields;
    const GValue *tensors;
    guint64 age = 0;

    if (meta->info != kind)
      continue;
    fields = gst_custom_meta_get_structure ((GstCustomMeta *) meta);
    tensors = gst_structure_get_value (fields, "tensors");
    gst_structure_get_uint64 (fields, "age", &age);
    sample = age == 0 && tensors && GST_VALUE_HOLDS_ARRAY (tensors)
        && gst_value_array_get_size (tensors) > 0 ?
        g_value_get_boxed (gst_value_array_get_value (tensors, 0)) : NULL;
  }
  return sample;
}

/* Returns: whether @buffer carries a label; NULL in *@label if it is bad */
static gboolean
labels_read_own (GstPartimeFilter *self, GstBuffer *buffer,
    GstPartimeLabel **label)
{
  GstPartimeLabels *t = &self->targets;
  GstCustomMeta *meta = NULL;
  GstSample *sample = NULL;
  g_autoptr (GError) error = NULL;
  gboolean good;

  if (t->target.info.teacher)
    sample = labels_find_teacher (buffer);
  else
    meta = gst_buffer_get_custom_meta (buffer, GST_PARTIME_LABEL_NAME);
  if ((!sample && !meta) || !(*label = gst_partime_labels_new (self)))
    return FALSE;
  good = sample ? gst_partime_target_read_sample (&t->target, sample,
      (*label)->target, &error) :
      gst_partime_target_read_fields (&t->target, &t->own_format,
      gst_custom_meta_get_structure (meta), (*label)->target, &error);
  if (!good) {
    gst_partime_labels_give_back (self, g_steal_pointer (label));
    gst_partime_labels_note_bad (self, error);
  }
  return TRUE;
}

/* -- what waits for it -- */

typedef struct
{
  GstClockTime time;            /* running time of the frame */
  GstClockTime tolerance;
  GstClockTime ahead;           /* labels later by more are for other frames */
} LabelsFrame;

static void
labels_describe_frame (GstPartimeFilter *self, GstBuffer *buffer,
    LabelsFrame *frame)
{
  GstClockTime duration = GST_BUFFER_DURATION (buffer);

  frame->time = GST_BUFFER_PTS_IS_VALID (buffer) ?
      gst_segment_to_running_time (&self->segment, GST_FORMAT_TIME,
      GST_BUFFER_PTS (buffer)) : GST_CLOCK_TIME_NONE;
  GST_OBJECT_LOCK (self);
  frame->tolerance = self->settings.label_tolerance;
  if (!GST_CLOCK_TIME_IS_VALID (duration) || duration == 0)
    duration = self->frame_duration;
  GST_OBJECT_UNLOCK (self);
  if (!GST_CLOCK_TIME_IS_VALID (frame->tolerance))
    frame->tolerance = duration / 2;
  frame->ahead = duration > 0 ? MIN (frame->tolerance, duration / 2)
      : frame->tolerance;
}

/* With the lock: whether @label is nearer to the frame before. */
static gboolean
labels_is_past (const GstPartimeLabels *t, const GstPartimeLabel *label,
    GstClockTime time)
{
  return GST_CLOCK_TIME_IS_VALID (t->last) && (label->time <= t->last
      || label->time - t->last < time - label->time);
}

/* With the lock: what no frame from here on can take goes. */
static void
labels_drop_late (GstPartimeLabels *t, const LabelsFrame *frame)
{
  GList *link;

  while ((link = t->waiting.head)) {
    GstPartimeLabel *label = link->data;

    if (label->time >= frame->time
        || (frame->time - label->time <= frame->tolerance
            && !labels_is_past (t, label, frame->time)))
      return;
    labels_remove (t, label);
    g_queue_push_tail_link (&t->spare, link);
    t->n_late++;
  }
}

/* With the lock. Returns: (nullable): the nearest of the frame's labels */
static GstPartimeLabel *
labels_match (GstPartimeLabels *t, const LabelsFrame *frame)
{
  GstPartimeLabel *best = NULL;
  GstClockTime least = GST_CLOCK_TIME_NONE;

  labels_drop_late (t, frame);
  for (GList *link = t->waiting.head; link; link = link->next) {
    GstPartimeLabel *label = link->data;
    GstClockTime far = label->time > frame->time ? label->time - frame->time
        : frame->time - label->time;

    if (label->time > frame->time && far > frame->ahead)
      break;
    if (far < least) {
      least = far;
      best = label;
    }
  }
  if (best)
    labels_remove (t, best);
  return best;
}

static void
labels_tell_waiting (GstPartimeFilter *self, GstClockTime time,
    GstClockTime passed)
{
  GST_ELEMENT_WARNING (self, STREAM, FAILED, ("the frame at running time %"
          GST_TIME_FORMAT " has waited 5 seconds for the label pad, where the "
          "labels have come to %" GST_TIME_FORMAT, GST_TIME_ARGS (time),
          GST_TIME_ARGS (passed)), ("where labels are rare their stream has to "
          "say so with GAP events; if both come from one tee, each branch "
          "needs a queue; label-wait bounds the wait"));
}

/* How long a frame may wait, us; below 0: as long as it takes. */
static gint64
labels_get_patience (GstPartimeFilter *self)
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

/* With the lock, which it may let go of: until the label stream has passed
 * @frame. */
static void
labels_wait (GstPartimeFilter *self, const LabelsFrame *frame)
{
  GstPartimeLabels *t = &self->targets;
  gint64 start = g_get_monotonic_time ();

  while (!self->flushing && gst_partime_label_pad_must_wait (self,
          frame->time, frame->ahead)) {
    gint64 now = g_get_monotonic_time (), patience = labels_get_patience (self);

    if (patience >= 0 && now - start >= patience)
      return;
    if (patience < 0 && now - start >= LABELS_PATIENCE && !t->told_waiting) {
      GstClockTime passed = t->passed;

      t->told_waiting = TRUE;
      g_mutex_unlock (&self->lock);
      labels_tell_waiting (self, frame->time, passed);
      g_mutex_lock (&self->lock);
      continue;
    }
    g_cond_wait_until (&self->cond, &self->lock, patience < 0
        ? now + LABELS_PATIENCE : MIN (start + patience,
            now + LABELS_PATIENCE));
  }
}

/* Returns: FLUSHING, or OK with the label of the frame, if it has one, in
 * *@label */
static GstFlowReturn
labels_take_waiting (GstPartimeFilter *self, GstBuffer *buffer,
    gboolean wait, GstPartimeLabel **label)
{
  GstPartimeLabels *t = &self->targets;
  GstFlowReturn flow = GST_FLOW_OK;
  GstPartimeLabel *found = NULL;
  LabelsFrame frame;

  labels_describe_frame (self, buffer, &frame);
  if (!GST_CLOCK_TIME_IS_VALID (frame.time))
    return GST_FLOW_OK;
  g_mutex_lock (&self->lock);
  if (!t->seeking) {
    if (wait)
      labels_wait (self, &frame);
    if (self->flushing)
      flow = GST_FLOW_FLUSHING;
    else
      found = labels_match (t, &frame);
    t->last = frame.time;
    /* there is room again */
    g_cond_broadcast (&self->cond);
  }
  g_mutex_unlock (&self->lock);
  if (!wait)
    gst_partime_labels_give_back (self, found);
  else
    *label = found;
  return flow;
}

/**
 * gst_partime_labels_take:
 * @self: the element
 * @buffer: a frame, on the sink pad's thread
 * @label: (out): its label, or %NULL; for gst_partime_labels_give_back()
 *
 * May wait for the label pad. Allocates only until as many labels exist as
 * wait at the same time.
 *
 * Returns: %GST_FLOW_OK or %GST_FLOW_FLUSHING
 */
GstFlowReturn
gst_partime_labels_take (GstPartimeFilter *self, GstBuffer *buffer,
    GstPartimeLabel **label)
{
  GstPartimeLabels *t = &self->targets;
  GstPartimeLabel *next = g_steal_pointer (&t->next);
  GstFlowReturn flow = GST_FLOW_OK;
  gboolean given;

  *label = NULL;
  if (!t->wanted)
    return GST_FLOW_OK;
  given = labels_read_own (self, buffer, label);
  if (!given && next) {
    *label = g_steal_pointer (&next);
    given = TRUE;
  }
  gst_partime_labels_give_back (self, next);
  if (!t->target.info.teacher)
    flow = labels_take_waiting (self, buffer, !given, label);
  if (flow != GST_FLOW_OK) {
    gst_partime_labels_give_back (self, g_steal_pointer (label));
    return flow;
  }
  g_mutex_lock (&self->lock);
  if (*label)
    t->n_labels++;
  else
    t->n_unlabelled++;
  g_mutex_unlock (&self->lock);
  return GST_FLOW_OK;
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

/* What frames of a live stream may wait for labels. */
GstClockTime
gst_partime_labels_get_latency (GstPartimeFilter *self)
{
  gboolean waits;
  gint64 patience = labels_get_patience (self);

  g_mutex_lock (&self->lock);
  waits = self->targets.wanted && self->targets.pad;
  g_mutex_unlock (&self->lock);
  return waits && patience > 0 ? patience * 1000 : 0;
}
