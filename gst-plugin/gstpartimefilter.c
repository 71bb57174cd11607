/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/**
 * SECTION:element-partimefilter
 * @title: partimefilter
 *
 * Runs a feed-forward network on every frame, and goes on learning from the
 * same stream while it runs. The layers are cut into stages, one per device,
 * that work on successive frames at the same time.
 *
 * What the network is, and what it learns, is in a network file. The result
 * travels on its frame as #GstCustomMeta "GstPartimeMeta", with the fields
 * frame, pts, age, loss, weights-version and tensors, and is drawn on it.
 *
 * ## Labels
 *
 * With target=labels a frame learns from the label it has, and one without
 * only passes. Labels come by the request pad "label", whose stream is
 * matched with the frames by running time, within
 * #GstPartimeFilter:label-tolerance:
 *
 * - loss=cross-entropy or nll, one score for each class: GRAY8 1x1, the class;
 *   or text/x-raw, its name in #GstPartimeFilter:labels-file or its number
 * - loss=cross-entropy or nll, scores for each pixel: GRAY8 of any size, a
 *   class for each pixel (the nearest counts)
 * - other losses, output of 1 or 3 channels: GRAY8 or RGB of any size, scaled
 *   and normalised as frames are; for bce and focal value / 255
 *
 * A frame waits until the label stream has passed it, so that what is learned
 * does not depend on threads; #GstPartimeFilter:label-wait bounds that (a live
 * stream does not wait). Where labels are rare, GAP events say so. Behind a tee
 * each branch needs a queue. A thread that brings both brings the label first.
 *
 * Applications may put a #GstCustomMeta "GstPartimeLabel" on a frame instead,
 * or send a serialized custom event (%GST_EVENT_CUSTOM_DOWNSTREAM) of that name
 * before it: with a field class (gint, or a name), sample (#GstSample of the
 * caps above) or tensor (#GstSample as in GstPartimeMeta: the output that would
 * be right, or scores); in an event also pts (guint64), if it is not about the
 * next frame.
 *
 * With target=teacher the output of the partimefilter upstream, on the frame
 * as GstPartimeMeta, is the label: its tensor, or its best class.
 *
 * ## Models that change
 *
 * With #GstPartimeFilter:is-updatable, #GstPartimeFilter:model and
 * #GstPartimeFilter:weights may be set while it plays. A thread of its own
 * loads, checks and plans the new network while the stream goes on; it takes
 * the place of the old one between two frames. The frames before still come
 * from the old one, and all updates of theirs are applied but those whose
 * gradients would have waited for frames to come, as at EOS. The message
 * partime-model-updated has the fields model, weights, ok, frame (the first of
 * the new one), weights-kept (they went on as they were learned, because the
 * new file brings none and has the same parameters), optimizer-kept (and so
 * did what it remembers, its schedule and the counters), and, where nothing
 * has changed, error.
 *
 * weights alone are put in place between two frames, the optimizer goes on;
 * gradients under way are dropped. A model that is set without weights forgets
 * the weights that were set before it: set both at once.
 *
 * ## Networks that are shared
 *
 * Elements of one process with the same #GstPartimeFilter:model-instance-id
 * share one network: its weights, and what it learns. The first that goes to
 * PAUSED says what it is; properties that make the network (model, weights,
 * devices, stages, learning-mode, loss, optimizer, learning-rate,
 * checkpoint-location and the like) may be left out in the others, or be the
 * same. Frames of all enter the one pipeline in turn; those that are stacked,
 * measures, labels, learn, learn-interval and statistics are each element's
 * own, and so is what goes wrong downstream, a flush, a seek or an end. The
 * first that has checkpoint-location writes it. Frames of several cameras are
 * no smooth stream: learning-mode=delayed is for them.
 *
 * Element messages: partime-learning (every #GstPartimeFilter:stats-interval,
 * with the fields of #GstPartimeFilter:stats, pts of the newest frame and time,
 * seconds since the start), partime-checkpoint (path, frame,
 * ok, error), partime-diverged (frame: the output or loss was not finite there,
 * or the mean loss too far above its best; loss and best, which are not numbers
 * if they were not the reason; rate-scale: the last good weights and optimizer
 * state were put back, and learning rates are multiplied by this from here on;
 * no longer, if the next ten losses are as high, as when the stream changed).
 *
 * Where there is a GPU, frames in CUDA memory pass without crossing to the
 * host: the GPU makes of each what the network sees, and draws the result on
 * it. The picture that the network sees stays there too, if the first stage is
 * on the same GPU and the network is not shared; else it alone is copied.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 -m v4l2src ! partimefilter model=pipelines/networks/flow.cfg \
 *     ! videoconvert ! autovideosink
 * ]| optical flow, learned from the camera from nothing
 * |[
 * gst-launch-1.0 filesrc location=street.mkv ! decodebin ! partimefilter \
 *     model=flow.cfg checkpoint-location=flow.safetensors output=network \
 *     ! videoconvert ! matroskamux ! filesink location=flow.mkv
 * ]| a film of the flow alone; what is learned is kept for the next run
 * |[
 * gst-launch-1.0 filesrc location=masks.mkv ! decodebin ! videoconvert \
 *     ! video/x-raw,format=GRAY8 ! queue ! p.label \
 *     filesrc location=street.mkv ! decodebin ! queue \
 *     ! partimefilter name=p model=segment.cfg ! videoconvert ! autovideosink
 * ]| learns from masks where there are any
 */

#include "gstpartimefilter-private.h"

GST_DEBUG_CATEGORY (gst_partime_filter_debug);

G_DEFINE_TYPE_WITH_CODE (GstPartimeFilter, gst_partime_filter,
    GST_TYPE_ELEMENT,
    GST_DEBUG_CATEGORY_INIT (gst_partime_filter_debug, "partimefilter", 0,
        "network that learns from the stream it runs on"));
GST_ELEMENT_REGISTER_DEFINE (partimefilter, "partimefilter", GST_RANK_NONE,
    GST_TYPE_PARTIME_FILTER);

/* -- frames in -- */

static GstFlowReturn
filter_from_pipeline (GstPartimeFilter *self, PtFlow flow,
    const GError *error)
{
  if (flow == PT_FLOW_FLUSHING)
    return GST_FLOW_FLUSHING;
  if (flow != PT_FLOW_ERROR)
    return GST_FLOW_OK;
  gst_partime_filter_post_error (self, error, NULL);
  return GST_FLOW_ERROR;
}

/* @flow tells also if there was no room for it. */
static GstFlowReturn
filter_infer (GstPartimeFilter *self, GstBuffer *buffer, PtPushFlags flags,
    PtFlow *flow)
{
  g_autoptr (GError) error = NULL;
  GstPartimeLabel *label;
  GstFlowReturn labelled = gst_partime_labels_take (self, buffer, &label);
  gboolean read;

  if (labelled != GST_FLOW_OK)
    return labelled;
  read = gst_partime_filter_push (self, buffer, label ? label->target : NULL,
      flags, flow, &error);
  gst_partime_labels_give_back (self, label);
  if (!read) {
    if (error)
      return filter_from_pipeline (self, PT_FLOW_ERROR, error);
    if (g_atomic_int_compare_and_exchange (&self->failed, 0, 1))
      GST_ELEMENT_ERROR (self, STREAM, FORMAT,
          ("cannot read frame %" G_GUINT64_FORMAT, self->n_frames),
          ("the buffer of %" G_GSIZE_FORMAT " bytes is not a frame of the "
              "caps", gst_buffer_get_size (buffer)));
    return GST_FLOW_ERROR;
  }
  return filter_from_pipeline (self, *flow, error);
}

static GstFlowReturn
filter_chain_aligned (GstPartimeFilter *self, GstBuffer *buffer)
{
  GstPartimeItem item = {.kind = GST_PARTIME_FRAME };
  PtFlow pushed;
  GstFlowReturn flow = filter_infer (self, buffer, PT_PUSH_NONE, &pushed);

  if (flow != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return flow;
  }
  item.object = buffer;
  item.pts = GST_BUFFER_PTS (buffer);
  item.model = gst_partime_model_ref (self->model);
  item.format = gst_partime_format_ref (self->format);
  item.number = self->n_frames++;
  return gst_partime_source_queue (self, &item, FALSE);
}

/* The frame does not wait, neither for room nor for its result. */
static GstFlowReturn
filter_chain_latest (GstPartimeFilter *self, GstBuffer *buffer)
{
  GstPartimeItem item = {.kind = GST_PARTIME_FRAME,.number = self->n_frames,
    .pts = GST_BUFFER_PTS (buffer)
  };
  g_autoptr (PtResult) newest = NULL;
  g_autoptr (GstPartimeModel) model = NULL;
  PtFlow pushed;
  GstFlowReturn flow = filter_infer (self, buffer, PT_PUSH_TRY, &pushed);
  guint64 number = 0;

  if (flow == GST_FLOW_OK && pushed == PT_FLOW_OK) {
    item.model = gst_partime_model_ref (self->model);
    flow = gst_partime_source_queue (self, &item, FALSE);
  }
  if (flow != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return flow;
  }
  /* it goes on before its result comes */
  gst_partime_model_wait_frames (self->model);
  g_mutex_lock (&self->lock);
  if (self->newest) {
    newest = pt_result_ref (self->newest);
    model = gst_partime_model_ref (self->newest_model);
    number = self->newest_number;
  }
  g_mutex_unlock (&self->lock);
  return gst_partime_source_deliver (self, model ? model : self->model,
      buffer, self->format, newest, self->n_frames++, number);
}

static GstFlowReturn
filter_get_flow (GstPartimeFilter *self)
{
  GstFlowReturn flow;

  g_mutex_lock (&self->lock);
  flow = self->flushing ? GST_FLOW_FLUSHING : self->flow;
  g_mutex_unlock (&self->lock);
  return flow;
}

static void
filter_sync_controlled (GstPartimeFilter *self, GstBuffer *buffer)
{
  GstClockTime time = gst_segment_to_stream_time (&self->segment,
      GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));

  if (GST_CLOCK_TIME_IS_VALID (time))
    gst_object_sync_values (GST_OBJECT (self), time);
}

static GstFlowReturn
filter_chain (GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);
  GstFlowReturn flow = filter_get_flow (self);

  if (flow == GST_FLOW_OK && !self->format)
    flow = GST_FLOW_NOT_NEGOTIATED;
  if (flow == GST_FLOW_OK && g_atomic_int_get (&self->failed))
    flow = GST_FLOW_ERROR;
  if (flow != GST_FLOW_OK) {
    gst_buffer_unref (buffer);
    return flow;
  }
  filter_sync_controlled (self, buffer);
  if (gst_partime_filter_is_late (self, buffer)) {
    self->discont = TRUE;
    gst_buffer_unref (buffer);
    return GST_FLOW_OK;
  }
  if (self->discont) {
    buffer = gst_buffer_make_writable (buffer);
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
    self->discont = FALSE;
  }
  gst_partime_update_commit (self);
  if (self->timing == GST_PARTIME_TIMING_LATEST)
    return filter_chain_latest (self, buffer);
  return filter_chain_aligned (self, buffer);
}

/* -- events from upstream -- */

static gboolean
filter_set_format (GstPartimeFilter *self, GstCaps *caps)
{
  g_autoptr (GError) error = NULL;
  GstPartimeFormat *format = NULL;
  GstVideoInfo info;

  if (gst_video_info_from_caps (&info, caps))
    format = gst_partime_filter_new_format (self, self->model, &info,
        gst_partime_cuda_in_caps (caps), &error);
  if (error)
    gst_partime_filter_post_error (self, error, NULL);
  if (!format) {
    if (g_atomic_int_compare_and_exchange (&self->failed, 0, 1))
      GST_ELEMENT_ERROR (self, STREAM, WRONG_TYPE,
          ("cannot convert these frames to what the network takes"),
          ("caps %" GST_PTR_FORMAT, caps));
    return FALSE;
  }
  g_clear_pointer (&self->format, gst_partime_format_unref);
  self->format = format;
  GST_OBJECT_LOCK (self);
  self->frame_duration = info.fps_n > 0 ? gst_util_uint64_scale (GST_SECOND,
      info.fps_d, info.fps_n) : 0;
  GST_OBJECT_UNLOCK (self);
  return self->started || gst_partime_filter_start (self);
}

/* Behind the frames before it; with timing=latest there are none. */
gboolean
gst_partime_filter_forward (GstPartimeFilter *self, GstEvent *event)
{
  GstPartimeItem item = {.kind = GST_PARTIME_EVENT,.object = event };
  gboolean latest = self->timing == GST_PARTIME_TIMING_LATEST;

  if (latest && GST_EVENT_TYPE (event) != GST_EVENT_EOS) {
    if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS)
      gst_partime_source_note_caps (self, event);
    return gst_pad_push_event (self->srcpad, event);
  }
  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS)
    item.model = gst_partime_model_ref (self->model);
  return gst_partime_source_queue (self, &item, latest) == GST_FLOW_OK;
}

static gboolean
filter_handle_caps (GstPartimeFilter *self, GstEvent *event)
{
  g_autoptr (GstCaps) picture = NULL;
  GstCaps *caps;

  gst_event_parse_caps (event, &caps);
  if (!filter_set_format (self, caps)) {
    gst_event_unref (event);
    return FALSE;
  }
  if (self->output == GST_PARTIME_OUTPUT_NETWORK) {
    picture = gst_partime_source_make_caps (self->model, &self->format->info);
    gst_event_unref (event);
    event = gst_event_new_caps (picture);
  }
  return gst_partime_filter_forward (self, event);
}

static gboolean
filter_handle_eos (GstPartimeFilter *self, GstEvent *event)
{
  gboolean started;

  g_mutex_lock (&self->lock);
  self->eos = TRUE;
  g_cond_broadcast (&self->cond);
  started = self->started && !self->flushing;
  g_mutex_unlock (&self->lock);
  if (started) {
    g_autoptr (GError) error = NULL;

    if (gst_partime_model_drain (self->model, &error) == PT_FLOW_ERROR)
      gst_partime_filter_post_error (self, error, NULL);
  }
  return gst_partime_filter_forward (self, event);
}

static gboolean
filter_flush_start (GstPartimeFilter *self, GstEvent *event)
{
  gboolean done;

  gst_partime_source_set_flushing (self, TRUE);
  done = gst_pad_push_event (self->srcpad, event);
  gst_pad_pause_task (self->srcpad);
  return done;
}

/* The sink pad's thread is out, and so is the task. */
static gboolean
filter_flush_stop (GstPartimeFilter *self, GstEvent *event)
{
  gboolean done;

  GST_PAD_STREAM_LOCK (self->srcpad);
  gst_partime_source_clear (self);
  GST_PAD_STREAM_UNLOCK (self->srcpad);
  gst_segment_init (&self->segment, GST_FORMAT_TIME);
  gst_partime_filter_reset_qos (self);
  gst_partime_labels_flush (self);
  self->n_frames = 0;
  self->discont = FALSE;
  done = gst_pad_push_event (self->srcpad, event);
  gst_partime_source_activate (self->srcpad, GST_OBJECT (self),
      GST_PAD_MODE_PUSH, TRUE);
  return done;
}

static gboolean
filter_sink_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);

  if (GST_EVENT_IS_SERIALIZED (event))
    gst_partime_labels_note_thread (self);
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_FLUSH_START:
      return filter_flush_start (self, event);
    case GST_EVENT_FLUSH_STOP:
      return filter_flush_stop (self, event);
    case GST_EVENT_CAPS:
      return filter_handle_caps (self, event);
    case GST_EVENT_EOS:
      return filter_handle_eos (self, event);
    case GST_EVENT_STREAM_START:
      g_mutex_lock (&self->lock);
      self->eos = FALSE;
      g_mutex_unlock (&self->lock);
      gst_partime_labels_flush (self);
      break;
    case GST_EVENT_SEGMENT:
      gst_event_copy_segment (event, &self->segment);
      gst_partime_filter_reset_qos (self);
      gst_partime_label_pad_stop_seek (self);
      break;
    case GST_EVENT_CUSTOM_DOWNSTREAM:
      gst_partime_labels_note_event (self, event);
      break;
    default:
      break;
  }
  if (GST_EVENT_IS_SERIALIZED (event))
    return gst_partime_filter_forward (self, event);
  return gst_pad_event_default (pad, parent, event);
}

/* -- from downstream -- */

/* Frames alone go from pad to pad, labels do not. */
static GstIterator *
filter_iterate_links (GstPad *pad, GstObject *parent)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);
  GValue value = G_VALUE_INIT;
  GstIterator *links;

  g_value_init (&value, GST_TYPE_PAD);
  g_value_set_object (&value, pad == self->sinkpad ? self->srcpad
      : self->sinkpad);
  links = gst_iterator_new_single (GST_TYPE_PAD, &value);
  g_value_unset (&value);
  return links;
}

static gboolean
filter_seek (GstPartimeFilter *self, GstEvent *event)
{
  gboolean labels = gst_partime_label_pad_seek (self, event);
  gboolean frames = gst_pad_push_event (self->sinkpad, event);

  if (!frames)
    gst_partime_label_pad_stop_seek (self);
  return frames || labels;
}

static gboolean
filter_src_event (GstPad *pad, GstObject *parent, GstEvent *event)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);

  if (GST_EVENT_TYPE (event) == GST_EVENT_QOS)
    gst_partime_filter_note_qos (self, event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_RECONFIGURE) {
    /* linked again, perhaps */
    g_mutex_lock (&self->lock);
    if (self->flow == GST_FLOW_NOT_LINKED)
      self->flow = GST_FLOW_OK;
    g_mutex_unlock (&self->lock);
  }
  if (GST_EVENT_TYPE (event) == GST_EVENT_SEEK)
    return filter_seek (self, event);
  return gst_pad_event_default (pad, parent, event);
}

/* -- the element -- */

static GstStateChangeReturn
filter_change_state (GstElement *element, GstStateChange transition)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (element);
  GstStateChangeReturn done;

  if (transition == GST_STATE_CHANGE_NULL_TO_READY) {
    gst_partime_filter_share_cuda (self);
    gst_partime_instance_know (self, TRUE);
  } else if (transition == GST_STATE_CHANGE_READY_TO_PAUSED) {
    gst_segment_init (&self->segment, GST_FORMAT_TIME);
    gst_partime_filter_reset_qos (self);
    self->n_frames = 0;
    self->discont = FALSE;
    if (!gst_partime_filter_open (self))
      return GST_STATE_CHANGE_FAILURE;
  } else if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    gst_partime_source_set_flushing (self, TRUE);
  }
  done = GST_ELEMENT_CLASS (gst_partime_filter_parent_class)->change_state
      (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED
          && done == GST_STATE_CHANGE_FAILURE))
    gst_partime_filter_close (self);
  if (transition == GST_STATE_CHANGE_READY_TO_NULL) {
    gst_partime_instance_know (self, FALSE);
    gst_partime_filter_unshare_cuda (self);
  }
  return done;
}

static void
filter_finalize (GObject *object)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (object);

  gst_partime_instance_know (self, FALSE);
  gst_partime_filter_close_cuda (self);
  gst_partime_settings_clear (&self->settings);
  gst_queue_array_free (self->queue);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->running_lock);
  gst_partime_update_clear (&self->update);
  gst_partime_labels_clear (self);
  g_cond_clear (&self->cond);
  G_OBJECT_CLASS (gst_partime_filter_parent_class)->finalize (object);
}

static void
gst_partime_filter_class_init (GstPartimeFilterClass *klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = filter_finalize;
  gst_partime_filter_install_properties (G_OBJECT_CLASS (klass));
  gst_partime_filter_install_signals ();
  gst_partime_label_pad_install (element_class);
  element_class->change_state = filter_change_state;
  gst_partime_filter_install_cuda (element_class);
  gst_element_class_set_static_metadata (element_class,
      "Network that learns from the video it runs on",
      "Filter/Effect/Video",
      "Runs a feed-forward network (model=network.cfg) on every frame and goes "
      "on learning from the same stream, its layers pipelined over cores and GPUs. "
      "Results are drawn on the frames and travel with them as GstPartimeMeta",
      "partimefilter contributors");
}

static GstPad *
filter_add_pad (GstPartimeFilter *self, const gchar *name)
{
  GstPad *pad = gst_pad_new_from_template (gst_element_get_pad_template
      (GST_ELEMENT (self), name), name);

  gst_element_add_pad (GST_ELEMENT (self), pad);
  return pad;
}

static void
gst_partime_filter_init (GstPartimeFilter *self)
{
  gst_partime_settings_init (&self->settings);
  g_mutex_init (&self->lock);
  g_mutex_init (&self->running_lock);
  gst_partime_update_init (&self->update);
  g_cond_init (&self->cond);
  self->queue = gst_queue_array_new_for_struct (sizeof (GstPartimeItem), 32);
  gst_partime_labels_init (self);
  gst_partime_filter_open_cuda (self);
  self->latency_mean = -1;
  self->flushing = TRUE;

  self->sinkpad = filter_add_pad (self, "sink");
  gst_pad_set_chain_function (self->sinkpad, filter_chain);
  gst_pad_set_event_function (self->sinkpad, filter_sink_event);
  gst_pad_set_query_function (self->sinkpad, gst_partime_filter_sink_query);
  gst_pad_set_iterate_internal_links_function (self->sinkpad,
      filter_iterate_links);
  GST_PAD_SET_PROXY_ALLOCATION (self->sinkpad);

  self->srcpad = filter_add_pad (self, "src");
  gst_pad_set_activatemode_function (self->srcpad,
      gst_partime_source_activate);
  gst_pad_set_event_function (self->srcpad, filter_src_event);
  gst_pad_set_query_function (self->srcpad, gst_partime_filter_src_query);
  gst_pad_set_iterate_internal_links_function (self->srcpad,
      filter_iterate_links);
}
