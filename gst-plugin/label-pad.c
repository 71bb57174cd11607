/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The request pad "label". Its stream may run ahead of the frames by as many
 * labels as fit a bound; then its thread waits. Frames wait until it has
 * passed them (data, GAP, EOS), so that what is learned does not depend on
 * the pace of threads.
 *
 * Where one thread brings both, nobody waits for anybody: a label that comes
 * before its frame is in time. */

#include "gstpartimefilter-private.h"

static GstStaticPadTemplate label_template =
GST_STATIC_PAD_TEMPLATE ("label", GST_PAD_SINK, GST_PAD_REQUEST,
    GST_STATIC_CAPS ("video/x-raw, format = (string) { GRAY8, RGB }, "
        "width = " GST_VIDEO_SIZE_RANGE ", height = " GST_VIDEO_SIZE_RANGE ", "
        "framerate = " GST_VIDEO_FPS_RANGE "; "
        "text/x-raw, format = (string) utf8"));

/* With the element's lock: whether a label nearer to @time than those that
 * wait, and at most @ahead later, may still come. */
gboolean
gst_partime_label_pad_must_wait (GstPartimeFilter *self, GstClockTime time,
    GstClockTime ahead)
{
  GstPartimeLabels *t = &self->targets;

  if (!t->pad || !t->active || t->eos || t->seeking
      || t->thread == g_thread_self () || !gst_pad_is_linked (t->pad))
    return FALSE;
  if (GST_CLOCK_TIME_IS_VALID (t->passed) && t->passed > time
      && t->passed - time > ahead)
    return FALSE;
  for (GList *link = t->waiting.tail; link; link = link->prev) {
    GstPartimeLabel *label = link->data;

    if (label->time < time)
      return TRUE;
    if (label->from_pad)
      return FALSE;
  }
  return TRUE;
}

/* With the lock: no label before @time will come. */
static void
label_pad_pass (GstPartimeFilter *self, GstClockTime time)
{
  GstPartimeLabels *t = &self->targets;

  if (!GST_CLOCK_TIME_IS_VALID (time))
    return;
  if (!GST_CLOCK_TIME_IS_VALID (t->passed) || time > t->passed)
    t->passed = time;
  g_cond_broadcast (&self->cond);
}

static GstClockTime
label_pad_get_time (GstPartimeFilter *self, GstClockTime pts)
{
  if (self->targets.segment.format != GST_FORMAT_TIME
      || !GST_CLOCK_TIME_IS_VALID (pts))
    return GST_CLOCK_TIME_NONE;
  return gst_segment_to_running_time (&self->targets.segment,
      GST_FORMAT_TIME, pts);
}

static void
label_pad_gap (GstPartimeFilter *self, GstClockTime pts,
    GstClockTime duration)
{
  if (GST_CLOCK_TIME_IS_VALID (pts) && GST_CLOCK_TIME_IS_VALID (duration))
    pts += duration;
  g_mutex_lock (&self->lock);
  label_pad_pass (self, label_pad_get_time (self, pts));
  g_mutex_unlock (&self->lock);
}

/* -- labels in -- */

/* Waits for room. Returns: whether the label may go in; *@flow says why not */
static gboolean
label_pad_wait_room (GstPartimeFilter *self, GstFlowReturn *flow)
{
  GstPartimeLabels *t = &self->targets;

  while (t->active && !t->flushing && !self->eos
      && t->n_waiting >= t->max_waiting && t->frame_thread != g_thread_self ())
    g_cond_wait (&self->cond, &self->lock);
  *flow = t->active && !t->flushing ? GST_FLOW_OK : GST_FLOW_FLUSHING;
  /* after the last frame there is nothing to label */
  return *flow == GST_FLOW_OK && !self->eos;
}

/* Takes @label. @again: (out): it was made for another model, meanwhile. */
static GstFlowReturn
label_pad_insert (GstPartimeFilter *self, GstPartimeLabel *label,
    gboolean *again)
{
  GstClockTime time = label->time;
  GstFlowReturn flow;
  gboolean room;

  g_mutex_lock (&self->lock);
  room = label_pad_wait_room (self, &flow);
  *again = room && label->era != self->targets.era;
  if (room && !*again)
    gst_partime_labels_insert (self, label);
  else
    gst_partime_labels_spare (&self->targets, label);
  if (flow == GST_FLOW_OK && !*again)
    label_pad_pass (self, time);
  g_mutex_unlock (&self->lock);
  return flow;
}

/* Frames need not wait for it any more. */
static void
label_pad_refuse (GstPartimeFilter *self, GstClockTime time,
    const GError *error)
{
  g_mutex_lock (&self->lock);
  label_pad_pass (self, time);
  g_mutex_unlock (&self->lock);
  gst_partime_labels_note_bad (self, error);
}

/* A copy: who made @buffer may have only a few. */
static GstSample *
label_pad_copy (GstPartimeFilter *self, GstBuffer *buffer)
{
  g_autoptr (GstBuffer) copy = gst_buffer_copy_deep (buffer);

  return gst_sample_new (copy, self->targets.format.caps, NULL, NULL);
}

static GstFlowReturn
label_pad_take (GstPartimeFilter *self, GstBuffer *buffer)
{
  GstPartimeLabels *t = &self->targets;
  GstClockTime time = label_pad_get_time (self, GST_BUFFER_PTS (buffer));
  g_autoptr (GError) error = NULL;
  GstPartimeLabel *label;
  GstFlowReturn flow;
  gboolean made, wanted, negotiated, updatable, again;

  if (!GST_BUFFER_PTS_IS_VALID (buffer)) {
    g_set_error (&error, PT_ERROR, PT_ERROR_UNSUPPORTED, "label: found a buffer "
        "without a timestamp, expected one: it says which frame it is for");
    label_pad_refuse (self, time, error);
    return GST_FLOW_OK;
  }
  /* outside its segment */
  if (!GST_CLOCK_TIME_IS_VALID (time))
    return GST_FLOW_OK;
  if (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_GAP)) {
    label_pad_gap (self, GST_BUFFER_PTS (buffer),
        GST_BUFFER_DURATION (buffer));
    return GST_FLOW_OK;
  }
  GST_OBJECT_LOCK (self);
  updatable = self->settings.is_updatable;
  GST_OBJECT_UNLOCK (self);
  g_mutex_lock (&t->making);
  /* without a model they are kept as they are until there is one */
  wanted = t->wanted || t->unbound;
  negotiated = t->unbound ? t->format.caps != NULL :
      t->format.kind != GST_PARTIME_LABEL_NONE;
  label = wanted && negotiated ? gst_partime_labels_new (self) : NULL;
  made = label && (t->unbound || gst_partime_target_read_buffer (&t->target,
          &t->format, buffer, label->target, &error));
  if (made && (updatable || t->unbound || t->is_open))
    label->origin = label_pad_copy (self, buffer);
  g_mutex_unlock (&t->making);
  if (!wanted)
    return GST_FLOW_OK;
  if (!label)
    return negotiated ? GST_FLOW_ERROR : GST_FLOW_NOT_NEGOTIATED;
  if (!made) {
    gst_partime_labels_give_back (self, label);
    if (error)
      label_pad_refuse (self, time, error);
    return GST_FLOW_OK;
  }
  label->time = time;
  label->from_pad = TRUE;
  flow = label_pad_insert (self, label, &again);
  return again ? label_pad_take (self, buffer) : flow;
}

static GstFlowReturn
label_pad_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);
  GstPartimeLabels *t = &self->targets;
  GstFlowReturn flow = GST_FLOW_OK;
  gboolean wanted;

  g_mutex_lock (&self->lock);
  wanted = t->wanted || t->unbound;
  t->thread = g_thread_self ();
  if (!t->active || t->flushing)
    flow = GST_FLOW_FLUSHING;
  g_mutex_unlock (&self->lock);
  if (flow == GST_FLOW_OK && wanted)
    flow = label_pad_take (self, buffer);
  gst_buffer_unref (buffer);
  return flow;
}

/* -- events -- */

static gboolean
label_pad_set_caps (GstPartimeFilter *self, GstEvent *event)
{
  GstPartimeLabels *t = &self->targets;
  g_autoptr (GError) error = NULL;
  GstCaps *caps;
  gboolean fits;

  gst_event_parse_caps (event, &caps);
  g_mutex_lock (&t->making);
  if (t->unbound)
    gst_caps_replace (&t->format.caps, caps);
  fits = !t->wanted || gst_partime_label_format_set (&t->format, &t->target,
      caps, &error);
  g_mutex_unlock (&t->making);
  if (fits)
    return TRUE;
  g_prefix_error (&error, "pad label: ");
  gst_partime_filter_post_error (self, error, NULL);
  return FALSE;
}

static gboolean
label_pad_set_segment (GstPartimeFilter *self, GstEvent *event)
{
  GstPartimeLabels *t = &self->targets;

  gst_event_copy_segment (event, &t->segment);
  if (t->segment.format == GST_FORMAT_TIME) {
    g_mutex_lock (&self->lock);
    label_pad_pass (self, label_pad_get_time (self, t->segment.start));
    g_mutex_unlock (&self->lock);
    return TRUE;
  }
  if (g_atomic_int_compare_and_exchange (&self->failed, 0, 1))
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("pad label: found a segment in "
            "%s, expected time, by which labels find their frames",
            gst_format_get_name (t->segment.format)),
        ("appsrc needs format=time"));
  return FALSE;
}

/* The end, or the start of another stream, whose time may be anything. */
static void
label_pad_set_eos (GstPartimeFilter *self, gboolean eos)
{
  g_mutex_lock (&self->lock);
  self->targets.eos = eos;
  if (!eos)
    self->targets.passed = GST_CLOCK_TIME_NONE;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* With the lock: the stream starts anew. */
static void
label_pad_reset (GstPartimeFilter *self)
{
  GstPartimeLabels *t = &self->targets;

  gst_partime_labels_drop_waiting (self, TRUE);
  t->eos = FALSE;
  t->thread = NULL;
  t->passed = GST_CLOCK_TIME_NONE;
  gst_segment_init (&t->segment, GST_FORMAT_UNDEFINED);
}

static void
label_pad_set_flushing (GstPartimeFilter *self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  self->targets.flushing = flushing;
  if (!flushing)
    label_pad_reset (self);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* Nothing of the label stream goes on downstream. */
static gboolean
label_pad_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);
  GstClockTime pts, duration;
  gboolean done = TRUE;

  /* an application may start a stream here and leave it to a thread */
  if (GST_EVENT_IS_SERIALIZED (event)
      && GST_EVENT_TYPE (event) != GST_EVENT_STREAM_START) {
    g_mutex_lock (&self->lock);
    self->targets.thread = g_thread_self ();
    g_mutex_unlock (&self->lock);
  }
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_FLUSH_START:
    case GST_EVENT_FLUSH_STOP:
      label_pad_set_flushing (self,
          GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START);
      break;
    case GST_EVENT_STREAM_START:
    case GST_EVENT_EOS:
      label_pad_set_eos (self, GST_EVENT_TYPE (event) == GST_EVENT_EOS);
      break;
    case GST_EVENT_CAPS:
      done = label_pad_set_caps (self, event);
      break;
    case GST_EVENT_SEGMENT:
      done = label_pad_set_segment (self, event);
      break;
    case GST_EVENT_GAP:
      gst_event_parse_gap (event, &pts, &duration);
      label_pad_gap (self, pts, duration);
      break;
    default:
      break;
  }
  gst_event_unref (event);
  return done;
}

/* -- the pad comes and goes -- */

static gboolean
label_pad_activate (GstPad *pad, GstObject *parent, GstPadMode mode,
    gboolean active)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);

  if (mode != GST_PAD_MODE_PUSH)
    return FALSE;
  g_mutex_lock (&self->lock);
  self->targets.active = active;
  self->targets.flushing = FALSE;
  if (active)
    label_pad_reset (self);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

/* Frames stop to wait for what is not linked. */
static void
label_pad_unlinked (GstPad *pad, GstPad *peer, GstPartimeFilter *self)
{
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

static GstPad *
label_pad_new (GstPartimeFilter *self, GstPadTemplate *template)
{
  GstPad *pad = gst_pad_new_from_template (template, "label");

  gst_pad_set_chain_function (pad, label_pad_chain);
  gst_pad_set_event_function (pad, label_pad_event);
  gst_pad_set_activatemode_function (pad, label_pad_activate);
  /* caps, latency and quality of service are the frames' alone */
  gst_pad_set_iterate_internal_links_function (pad, NULL);
  g_signal_connect_object (pad, "unlinked", G_CALLBACK (label_pad_unlinked),
      self, 0);
  return pad;
}

static GstPad *
label_pad_request (GstElement *element, GstPadTemplate *template,
    const gchar *name, const GstCaps *caps)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (element);
  g_autofree gchar *refusal = NULL;
  gboolean taken;
  GstPad *pad = NULL;

  g_mutex_lock (&self->lock);
  taken = self->targets.pad != NULL;
  refusal = g_strdup (self->targets.refusal);
  if (!taken && !refusal)
    self->targets.pad = pad = label_pad_new (self, template);
  g_mutex_unlock (&self->lock);
  if (taken) {
    GST_WARNING_OBJECT (self, "there is one label pad already");
    return NULL;
  }
  if (refusal) {
    GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("%s", refusal),
        ("the pad is not given"));
    return NULL;
  }
  gst_element_add_pad (element, pad);
  return pad;
}

static void
label_pad_release (GstElement *element, GstPad *pad)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (element);

  /* wakes its thread and waits until it is out */
  gst_pad_set_active (pad, FALSE);
  g_mutex_lock (&self->lock);
  if (self->targets.pad == pad) {
    self->targets.pad = NULL;
    gst_partime_labels_drop_waiting (self, TRUE);
  }
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
  gst_element_remove_pad (element, pad);
}

/* A seek of the frames is one of the labels too, and of them first: frames
 * that still come from before it leave the new labels alone. Takes no hold of
 * @event. */
gboolean
gst_partime_label_pad_seek (GstPartimeFilter *self, GstEvent *event)
{
  g_autoptr (GstPad) pad = NULL;
  GstSeekFlags flags;

  gst_event_parse_seek (event, NULL, NULL, &flags, NULL, NULL, NULL, NULL);
  g_mutex_lock (&self->lock);
  if (self->targets.pad) {
    pad = gst_object_ref (self->targets.pad);
    self->targets.seeking = (flags & GST_SEEK_FLAG_FLUSH) != 0;
    /* nor are new labels late for old frames */
    if (self->targets.seeking)
      self->targets.last = GST_CLOCK_TIME_NONE;
    g_cond_broadcast (&self->cond);
  }
  g_mutex_unlock (&self->lock);
  return pad && gst_pad_push_event (pad, gst_event_ref (event));
}

/* It has been done, or cannot be. */
void
gst_partime_label_pad_stop_seek (GstPartimeFilter *self)
{
  g_mutex_lock (&self->lock);
  self->targets.seeking = FALSE;
  g_mutex_unlock (&self->lock);
}

void
gst_partime_label_pad_install (GstElementClass *klass)
{
  gst_element_class_add_static_pad_template (klass, &label_template);
  klass->request_new_pad = label_pad_request;
  klass->release_pad = label_pad_release;
}
