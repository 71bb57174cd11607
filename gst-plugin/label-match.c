/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which label is which frame's. Both have running times. A label is for the
 * frame nearest to it, if that is within label-tolerance; a frame takes the
 * nearest of its labels. What a frame carries itself, or an event before it,
 * comes before what the pad and events with a pts say. */

#include "gstpartimefilter-private.h"
#include "meta.h"

#define MATCH_PATIENCE (5 * G_USEC_PER_SEC)

/* -- what a frame carries -- */

/* The output of the network before this one on the stream; one about an older
 * frame is none. */
static GstSample *
match_find_teacher (GstBuffer *buffer)
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
match_read_own (GstPartimeFilter *self, GstBuffer *buffer,
    GstPartimeLabel **label)
{
  GstPartimeLabels *t = &self->targets;
  GstCustomMeta *meta = NULL;
  GstSample *sample = NULL;
  g_autoptr (GError) error = NULL;
  gboolean good;

  if (t->target.info.teacher)
    sample = match_find_teacher (buffer);
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
} MatchFrame;

static void
match_describe_frame (GstPartimeFilter *self, GstBuffer *buffer,
    MatchFrame *frame)
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
match_is_past (const GstPartimeLabels *t, const GstPartimeLabel *label,
    GstClockTime time)
{
  return GST_CLOCK_TIME_IS_VALID (t->last) && (label->time <= t->last
      || label->time - t->last < time - label->time);
}

/* With the lock: what no frame from here on can take goes. */
static void
match_drop_late (GstPartimeLabels *t, const MatchFrame *frame)
{
  GList *link;

  while ((link = t->waiting.head)) {
    GstPartimeLabel *label = link->data;

    if (label->time >= frame->time
        || (frame->time - label->time <= frame->tolerance
            && !match_is_past (t, label, frame->time)))
      return;
    gst_partime_labels_remove (t, label);
    g_queue_push_tail_link (&t->spare, link);
    t->n_late++;
  }
}

/* With the lock: of those up to @frame the last is the nearest, to it and to
 * all that follow; the others go, so that there is room for more. */
static void
match_drop_farther (GstPartimeFilter *self, const MatchFrame *frame)
{
  GstPartimeLabels *t = &self->targets;
  GList *link;

  if (t->n_waiting < t->max_waiting)
    return;
  while ((link = t->waiting.head) && link->next
      && ((GstPartimeLabel *) link->next->data)->time <= frame->time) {
    gst_partime_labels_remove (t, link->data);
    g_queue_push_tail_link (&t->spare, link);
    t->n_late++;
  }
  g_cond_broadcast (&self->cond);
}

/* With the lock. Returns: (nullable): the nearest of the frame's labels */
static GstPartimeLabel *
match_find (GstPartimeLabels *t, const MatchFrame *frame)
{
  GstPartimeLabel *best = NULL;
  GstClockTime least = GST_CLOCK_TIME_NONE;

  match_drop_late (t, frame);
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
    gst_partime_labels_remove (t, best);
  return best;
}

static void
match_tell_waiting (GstPartimeFilter *self, GstClockTime time,
    GstClockTime passed)
{
  GST_ELEMENT_WARNING (self, STREAM, FAILED, ("the frame at running time %"
          GST_TIME_FORMAT " has waited 5 seconds for the label pad, where the "
          "labels have come to %" GST_TIME_FORMAT, GST_TIME_ARGS (time),
          GST_TIME_ARGS (passed)), ("where labels are rare their stream has to "
          "say so with GAP events; if both come from one tee, each branch "
          "needs a queue; label-wait bounds the wait"));
}

/* With the lock, which it may let go of: until the label stream has passed
 * @frame. */
static void
match_wait (GstPartimeFilter *self, const MatchFrame *frame)
{
  GstPartimeLabels *t = &self->targets;
  gint64 start = g_get_monotonic_time ();

  while (!self->flushing && gst_partime_label_pad_must_wait (self,
          frame->time, frame->ahead)) {
    gint64 now = g_get_monotonic_time ();
    gint64 patience = gst_partime_labels_get_patience (self);

    if (patience >= 0 && now - start >= patience)
      return;
    match_drop_farther (self, frame);
    if (patience < 0 && now - start >= MATCH_PATIENCE && !t->told_waiting) {
      GstClockTime passed = t->passed;

      t->told_waiting = TRUE;
      g_mutex_unlock (&self->lock);
      match_tell_waiting (self, frame->time, passed);
      g_mutex_lock (&self->lock);
      continue;
    }
    g_cond_wait_until (&self->cond, &self->lock, patience < 0
        ? now + MATCH_PATIENCE : MIN (start + patience,
            now + MATCH_PATIENCE));
  }
}

/* Returns: FLUSHING, or OK with the label of the frame, if it has one, in
 * *@label */
static GstFlowReturn
match_take_waiting (GstPartimeFilter *self, GstBuffer *buffer,
    gboolean wait, GstPartimeLabel **label)
{
  GstPartimeLabels *t = &self->targets;
  GstFlowReturn flow = GST_FLOW_OK;
  GstPartimeLabel *found = NULL;
  MatchFrame frame;

  match_describe_frame (self, buffer, &frame);
  if (!GST_CLOCK_TIME_IS_VALID (frame.time))
    return GST_FLOW_OK;
  g_mutex_lock (&self->lock);
  if (wait)
    match_wait (self, &frame);
  if (self->flushing)
    flow = GST_FLOW_FLUSHING;
  else if (!t->seeking) {
    found = match_find (t, &frame);
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
  given = match_read_own (self, buffer, label);
  if (!given && next) {
    *label = g_steal_pointer (&next);
    given = TRUE;
  }
  gst_partime_labels_give_back (self, next);
  if (!t->target.info.teacher)
    flow = match_take_waiting (self, buffer, !given, label);
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
