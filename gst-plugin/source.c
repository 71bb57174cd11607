/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The source pad has a task of its own, so that a result leaves as soon as it
 * is ready. Frames and serialized events wait for it in one queue and keep
 * their order; how many frames wait is bounded by the pipeline, which makes
 * the sink pad's thread wait. With timing=latest the task only collects
 * results, and frames do not wait at all. */

#include <math.h>

#include "gstpartimefilter-private.h"
#include "meta.h"

static void
source_clear_item (GstPartimeItem *item)
{
  if (item->kind != GST_PARTIME_QUERY && item->object)
    gst_mini_object_unref (item->object);
  g_clear_pointer (&item->format, gst_partime_format_unref);
  g_clear_pointer (&item->model, gst_partime_model_unref);
}

/* Puts @item, taking what it holds, in the queue. With @wait returns when it
 * has been dealt with. */
GstFlowReturn
gst_partime_source_queue (GstPartimeFilter *self, const GstPartimeItem *item,
    gboolean wait)
{
  GstPartimeItem copy = *item;
  GstFlowReturn flow = GST_FLOW_OK;
  guint64 ticket;

  g_mutex_lock (&self->lock);
  if (self->flushing) {
    g_mutex_unlock (&self->lock);
    source_clear_item (&copy);
    return GST_FLOW_FLUSHING;
  }
  gst_queue_array_push_tail_struct (self->queue, &copy);
  ticket = ++self->n_queued;
  g_cond_broadcast (&self->cond);
  /* what the task has in its hands cannot be taken from it */
  while (wait && self->n_done < ticket && (!self->flushing || self->in_hand))
    g_cond_wait (&self->cond, &self->lock);
  if (wait && self->n_done < ticket)
    flow = GST_FLOW_FLUSHING;
  g_mutex_unlock (&self->lock);
  return flow;
}

/* As @event, with caps, goes downstream. */
void
gst_partime_source_note_caps (GstPartimeFilter *self, GstEvent *event)
{
  gsize size = self->picture_info.size;
  GstCaps *caps;

  self->need_pool = TRUE;
  if (self->output != GST_PARTIME_OUTPUT_NETWORK)
    return;
  gst_event_parse_caps (event, &caps);
  gst_video_info_from_caps (&self->picture_info, caps);
  if (self->picture_info.size != size)
    gst_clear_buffer (&self->last_picture);
}

/* A sticky event that is flushed away still describes the stream. */
static void
source_keep_sticky (GstPartimeFilter *self, const GstPartimeItem *item)
{
  if (item->kind == GST_PARTIME_EVENT && GST_EVENT_IS_STICKY (item->object)
      && GST_EVENT_TYPE (item->object) != GST_EVENT_SEGMENT
      && GST_EVENT_TYPE (item->object) != GST_EVENT_EOS)
    gst_pad_store_sticky_event (self->srcpad, item->object);
  if (item->kind == GST_PARTIME_EVENT
      && GST_EVENT_TYPE (item->object) == GST_EVENT_CAPS)
    gst_partime_source_note_caps (self, item->object);
}

/* Leaves the first of the queue in *@item. */
static gboolean
source_take_item (GstPartimeFilter *self, GstPartimeItem *item)
{
  GstPartimeItem *first;

  g_mutex_lock (&self->lock);
  first = gst_queue_array_pop_head_struct (self->queue);
  if (first)
    *item = *first;
  g_mutex_unlock (&self->lock);
  return first != NULL;
}

/* A model ends here, if it is the last reference, so not under the lock. */
void
gst_partime_source_forget_newest (GstPartimeFilter *self)
{
  g_autoptr (GstPartimeModel) model = NULL;
  g_autoptr (PtResult) result = NULL;

  g_mutex_lock (&self->lock);
  result = g_steal_pointer (&self->newest);
  model = g_steal_pointer (&self->newest_model);
  g_mutex_unlock (&self->lock);
}

/* Forgets all that waits; nobody else may be at the queue. */
void
gst_partime_source_clear (GstPartimeFilter *self)
{
  GstPartimeItem item;

  g_mutex_lock (&self->lock);
  for (GList *link = self->models.head; link; link = link->next)
    gst_partime_model_wait_frames (link->data);
  g_mutex_unlock (&self->lock);
  while (source_take_item (self, &item)) {
    source_keep_sticky (self, &item);
    source_clear_item (&item);
  }
  g_mutex_lock (&self->lock);
  self->n_done = self->n_queued;
  self->eos = FALSE;
  self->flow = GST_FLOW_OK;
  g_mutex_unlock (&self->lock);
  gst_partime_source_forget_newest (self);
  gst_clear_buffer (&self->last_picture);
}

/* A newer model may wait for what an older one has learned: oldest first.
 * After a flush nothing is inside the older ones. */
void
gst_partime_source_set_flushing (GstPartimeFilter *self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  self->flushing = flushing;
  for (GList *link = self->models.head; self->started && link;
      link = link->next)
    gst_partime_model_set_flushing (link->data, flushing);
  while (!flushing && g_queue_get_length (&self->models) > 1)
    gst_partime_update_retire (self, g_queue_pop_head (&self->models));
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

/* -- pictures instead of frames (output=network) -- */

/* The same picture shape whatever the network's grid, where it sees all. */
static void
source_set_par (GstVideoInfo *picture, const GstVideoInfo *info,
    PtNetwork *network)
{
  g_autofree gchar *resize = pt_network_get (network, "network", "resize");
  guint n, d;

  if (resize && *resize && g_strcmp0 (resize, "stretch") != 0)
    return;
  if (gst_video_calculate_display_ratio (&n, &d, info->width, info->height,
          info->par_n, info->par_d, 1, 1)
      && gst_video_calculate_display_ratio (&n, &d, picture->height,
          picture->width, n, d, 1, 1)) {
    picture->par_n = n;
    picture->par_d = d;
  }
}

static GstCaps *
source_make_picture_caps (GstPartimeModel *model, const GstVideoInfo *info)
{
  const GstPartimeDrawing *drawing = model->drawing;
  gboolean grey = drawing->channels == 1
      && g_str_equal (drawing->annotator->name, "image");
  GstVideoInfo picture;

  gst_video_info_set_format (&picture,
      grey ? GST_VIDEO_FORMAT_GRAY8 : GST_VIDEO_FORMAT_RGB, drawing->width,
      drawing->height);
  picture.fps_n = info->fps_n;
  picture.fps_d = info->fps_d;
  source_set_par (&picture, info, model->network);
  return gst_video_info_to_caps (&picture);
}

/* Returns: (transfer full): the caps of what replaces frames of @info */
GstCaps *
gst_partime_source_make_caps (GstPartimeFilter *self, GstPartimeModel *model,
    const GstVideoInfo *info)
{
  return self->output == GST_PARTIME_OUTPUT_TENSORS ?
      gst_partime_tensors_make_caps (model->network, info) :
      source_make_picture_caps (model, info);
}

/* Downstream's pool, or one of our own. */
static gboolean
source_make_pool (GstPartimeFilter *self)
{
  g_autoptr (GstCaps) caps = gst_pad_get_current_caps (self->srcpad);
  GstQuery *query;
  GstStructure *config;
  guint size = self->picture_info.size, min = 2, max = 0;

  if (!caps)
    return FALSE;
  query = gst_query_new_allocation (caps, TRUE);
  gst_clear_object (&self->pool);
  if (gst_pad_peer_query (self->srcpad, query)
      && gst_query_get_n_allocation_pools (query) > 0)
    gst_query_parse_nth_allocation_pool (query, 0, &self->pool, &size, &min,
        &max);
  if (!self->pool)
    self->pool = gst_video_buffer_pool_new ();
  gst_query_unref (query);
  config = gst_buffer_pool_get_config (self->pool);
  gst_buffer_pool_config_set_params (config, caps,
      MAX (size, self->picture_info.size), min, max);
  if (!gst_buffer_pool_set_config (self->pool, config))
    return FALSE;
  self->need_pool = !gst_buffer_pool_set_active (self->pool, TRUE);
  return !self->need_pool;
}

static GstFlowReturn
source_paint_picture (GstPartimeFilter *self, GstPartimeModel *model,
    PtResult *result, GstBuffer **picture)
{
  GstFlowReturn flow =
      gst_buffer_pool_acquire_buffer (self->pool, picture, NULL);
  GstVideoFrame frame;
  gboolean painted;

  if (flow != GST_FLOW_OK)
    return flow;
  if (!gst_video_frame_map (&frame, &self->picture_info, *picture,
          GST_MAP_WRITE))
    return GST_FLOW_ERROR;
  painted = gst_partime_drawing_picture (model->drawing,
      pt_tensor_get_data (result->output), &frame);
  gst_video_frame_unmap (&frame);
  return painted ? GST_FLOW_OK : GST_FLOW_ERROR;
}

/* Black, for want of a good picture. */
static GstBuffer *
source_new_black (GstPartimeFilter *self)
{
  GstBuffer *picture =
      gst_buffer_new_allocate (NULL, self->picture_info.size, NULL);

  gst_buffer_memset (picture, 0, 0, self->picture_info.size);
  return picture;
}

/* Takes @buffer, gives the picture that replaces it. Where the result is not
 * valid that is the last good one. */
static GstFlowReturn
source_replace (GstPartimeFilter *self, GstPartimeModel *model,
    PtResult *result, GstBuffer **buffer)
{
  g_autoptr (GstBuffer) original = g_steal_pointer (buffer);
  g_autoptr (GstBuffer) picture = NULL;
  GstFlowReturn flow;

  if (self->need_pool && !source_make_pool (self))
    return GST_FLOW_NOT_NEGOTIATED;
  if (result && result->valid) {
    flow = source_paint_picture (self, model, result, &picture);
    if (flow != GST_FLOW_OK)
      return flow;
    gst_buffer_replace (&self->last_picture, picture);
  } else {
    if (!self->last_picture)
      self->last_picture = source_new_black (self);
    picture = gst_buffer_ref (self->last_picture);
  }
  /* last_picture holds it too: this makes a light copy of the same memory */
  picture = gst_buffer_make_writable (picture);
  gst_buffer_copy_into (picture, original,
      GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  *buffer = g_steal_pointer (&picture);
  return GST_FLOW_OK;
}

/* -- frames -- */

/* Draws @result on *@buffer, which may become another. */
static gboolean
source_annotate (GstPartimeFilter *self, GstPartimeModel *model,
    GstPartimeFormat *format, PtResult *result, GstBuffer **buffer)
{
  GstVideoFrame frame;
  gboolean overlay, drawn;

  GST_OBJECT_LOCK (self);
  overlay = self->settings.overlay;
  GST_OBJECT_UNLOCK (self);
  if (!overlay || !model->drawing)
    return TRUE;
  if (format->cuda)
    return gst_partime_filter_draw_cuda (self, model, format, result, *buffer);
  if (!gst_video_frame_map (&frame, &format->info, *buffer,
          GST_MAP_READWRITE))
    return FALSE;
  drawn = gst_partime_drawing_over (model->drawing,
      pt_tensor_get_data (result->output), &format->view, &frame);
  gst_video_frame_unmap (&frame);
  return drawn;
}

/**
 * gst_partime_source_deliver:
 * @self: the element
 * @model: what @result is of
 * @buffer: (transfer full): the frame
 * @format: of @buffer
 * @result: (nullable): what to put on it
 * @number: of the frame
 * @result_number: of the frame @result is about
 *
 * Sends @buffer, annotated or replaced, downstream.
 */
GstFlowReturn
gst_partime_source_deliver (GstPartimeFilter *self, GstPartimeModel *model,
    GstBuffer *buffer, GstPartimeFormat *format, PtResult *result,
    guint64 number, guint64 result_number)
{
  GstFlowReturn flow = GST_FLOW_OK;
  gboolean valid = result && result->valid;
  gdouble score;

  if (!gst_partime_score_frame (self, model, buffer, format, result, number,
          &score))
    flow = GST_FLOW_ERROR;
  else if (self->output == GST_PARTIME_OUTPUT_NETWORK)
    flow = source_replace (self, model, result, &buffer);
  else if (self->output == GST_PARTIME_OUTPUT_TENSORS)
    buffer = gst_partime_tensors_replace (model, result, buffer);
  else if (valid) {
    buffer = gst_buffer_make_writable (buffer);
    if (!source_annotate (self, model, format, result, &buffer))
      flow = GST_FLOW_ERROR;
  }
  if (flow == GST_FLOW_OK && valid) {
    gst_partime_meta_attach (buffer, result, number, number - result_number,
        GST_BUFFER_PTS (buffer), self->tensor_caps, model->tensor_infos);
    if (!isnan (score))
      gst_partime_meta_set_score (buffer, score);
    gst_partime_classes_attach (self, model, buffer, &format->info, result);
  }
  if (flow == GST_FLOW_OK)
    return gst_pad_push (self->srcpad, buffer);
  gst_clear_buffer (&buffer);
  if (flow == GST_FLOW_ERROR
      && g_atomic_int_compare_and_exchange (&self->failed, 0, 1))
    GST_ELEMENT_ERROR (self, STREAM, FAILED,
        ("cannot draw the result of frame %" G_GUINT64_FORMAT, number),
        ("the buffer could not be mapped for writing"));
  return flow;
}

/* -- the task -- */

/* A result came: everything that happens at the pace of results. */
static void
source_note_result (GstPartimeFilter *self, PtResult *result)
{
  gint64 now = g_get_monotonic_time ();
  guint64 interval;

  gst_partime_filter_measure (self, result);
  gst_partime_filter_post_stats (self, FALSE);
  GST_OBJECT_LOCK (self);
  interval = self->settings.checkpoint_interval;
  GST_OBJECT_UNLOCK (self);
  /* a disk that is slower than the interval is not asked for more: what waits
   * for it is a copy of all there is */
  if (interval > 0 && gst_partime_filter_saves (self)
      && now - self->last_save >= (gint64) (interval / 1000)
      && g_atomic_int_get (&self->saving) == 0) {
    g_autoptr (GstPartimeModel) model = gst_partime_filter_ref_model (self);

    self->last_save = now;
    gst_partime_filter_save_async (self, model, self->checkpoint);
  }
}

static GstFlowReturn
source_get_flow (GstPartimeFilter *self)
{
  GstFlowReturn flow;

  g_mutex_lock (&self->lock);
  flow = self->flushing ? GST_FLOW_FLUSHING : self->flow;
  g_mutex_unlock (&self->lock);
  return flow;
}

/* Once downstream wants no more, frames are learned from but not sent. The
 * sink pad returns @flow at the next frame; if none will come, whoever fed us
 * cannot report it, so we do. */
static void
source_set_flow (GstPartimeFilter *self, GstFlowReturn flow)
{
  gboolean report;

  g_mutex_lock (&self->lock);
  report = self->eos && self->flow == GST_FLOW_OK
      && (flow == GST_FLOW_NOT_LINKED || flow < GST_FLOW_EOS);
  if (self->flow == GST_FLOW_OK)
    self->flow = flow;
  g_mutex_unlock (&self->lock);
  if (report && g_atomic_int_compare_and_exchange (&self->failed, 0, 1))
    GST_ELEMENT_FLOW_ERROR (self, flow);
}

static void
source_keep_newest (GstPartimeFilter *self, GstPartimeModel *model,
    PtResult *result, guint64 number)
{
  g_autoptr (GstPartimeModel) model_before = NULL;
  g_autoptr (PtResult) before = NULL;

  g_mutex_lock (&self->lock);
  /* what a model before gives may have another size */
  if (result->valid && (model == self->model
          || self->output == GST_PARTIME_OUTPUT_FRAMES)) {
    before = g_steal_pointer (&self->newest);
    self->newest = pt_result_ref (result);
    model_before = g_steal_pointer (&self->newest_model);
    self->newest_model = gst_partime_model_ref (model);
    self->newest_number = number;
  }
  g_mutex_unlock (&self->lock);
}

static void
source_handle_frame (GstPartimeFilter *self, GstPartimeItem *item)
{
  g_autoptr (PtResult) result = NULL;
  g_autoptr (GError) error = NULL;
  GstFlowReturn flow;

  switch (gst_partime_model_pull (item->model, &result, &error)) {
    case PT_FLOW_OK:
      break;
    case PT_FLOW_FLUSHING:
      return;
    default:
      if (error)
        gst_partime_filter_post_error (self, error, NULL);
      source_set_flow (self, GST_FLOW_ERROR);
      return;
  }
  self->result_pts = item->pts;
  source_note_result (self, result);
  if (!item->object) {
    source_keep_newest (self, item->model, result, item->number);
    return;
  }
  if (source_get_flow (self) != GST_FLOW_OK)
    return;
  flow = gst_partime_source_deliver (self, item->model,
      g_steal_pointer (&item->object), item->format, result, item->number,
      item->number);
  if (flow != GST_FLOW_OK && flow != GST_FLOW_FLUSHING)
    source_set_flow (self, flow);
}

/* The sink pad has put a drain behind the last frame: takes it out. Returns:
 * whether it has come, and with it every update of the stream */
static gboolean
source_take_drain (GstPartimeFilter *self, GstPartimeModel *model)
{
  PtFlow flow;
  gboolean started;

  g_mutex_lock (&self->lock);
  started = self->started && !self->flushing;
  g_mutex_unlock (&self->lock);
  if (!started || g_atomic_int_get (&self->failed))
    return FALSE;
  do {
    g_autoptr (PtResult) result = NULL;
    g_autoptr (GError) error = NULL;

    flow = gst_partime_model_pull (model, &result, &error);
    if (error)
      gst_partime_filter_post_error (self, error, NULL);
  } while (flow == PT_FLOW_OK);
  return flow == PT_FLOW_DRAINED;
}

/* Another model has taken over from @item's. */
static void
source_retire (GstPartimeFilter *self, GstPartimeItem *item)
{
  gboolean mine;

  if (!source_take_drain (self, item->model))
    return;
  g_mutex_lock (&self->lock);
  mine = g_queue_remove (&self->models, item->model);
  g_mutex_unlock (&self->lock);
  if (mine)
    gst_partime_update_retire (self, item->model);
}

static void
source_handle_event (GstPartimeFilter *self, GstPartimeItem *item)
{
  GstEvent *event = g_steal_pointer (&item->object);

  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS) {
    if (source_take_drain (self, item->model)) {
      gst_partime_filter_post_stats (self, TRUE);
      gst_partime_filter_save_now (self, item->model);
    }
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS)
    gst_partime_source_note_caps (self, event);
  gst_pad_push_event (self->srcpad, event);
}

/* Leaves the item in *@item; FALSE when flushing. */
static gboolean
source_pop (GstPartimeFilter *self, GstPartimeItem *item)
{
  gboolean found;

  g_mutex_lock (&self->lock);
  while (!self->flushing && gst_queue_array_is_empty (self->queue))
    g_cond_wait (&self->cond, &self->lock);
  found = !self->flushing;
  if (found)
    *item = *(GstPartimeItem *) gst_queue_array_pop_head_struct (self->queue);
  self->in_hand = found;
  g_mutex_unlock (&self->lock);
  return found;
}

static void
source_loop (gpointer data)
{
  GstPartimeFilter *self = data;
  GstPartimeItem item;
  gboolean answer = FALSE;

  if (!source_pop (self, &item)) {
    gst_pad_pause_task (self->srcpad);
    return;
  }
  switch (item.kind) {
    case GST_PARTIME_FRAME:
      source_handle_frame (self, &item);
      break;
    case GST_PARTIME_LAST:
      source_retire (self, &item);
      break;
    case GST_PARTIME_EVENT:
      source_handle_event (self, &item);
      break;
    case GST_PARTIME_QUERY:
      answer = gst_pad_peer_query (self->srcpad, item.object);
      break;
  }
  source_clear_item (&item);
  g_mutex_lock (&self->lock);
  self->n_done++;
  self->in_hand = FALSE;
  self->query_result = answer;
  g_cond_broadcast (&self->cond);
  g_mutex_unlock (&self->lock);
}

gboolean
gst_partime_source_activate (GstPad *pad, GstObject *parent, GstPadMode mode,
    gboolean active)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (parent);

  if (mode != GST_PAD_MODE_PUSH)
    return FALSE;
  if (active) {
    gst_partime_source_set_flushing (self, FALSE);
    return gst_pad_start_task (pad, source_loop, self, NULL);
  }
  gst_partime_source_set_flushing (self, TRUE);
  return gst_pad_stop_task (pad);
}
