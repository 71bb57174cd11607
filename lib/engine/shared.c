/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

/* Several streams through one pipeline: one network, one set of weights,
 * learned from all. What a camera has of its own (frames that are stacked,
 * measures, results) is in its PtStream; frames enter in the order in which
 * their pushers came, one each. A stream has a bounded number of frames inside,
 * so that the last stage never waits for one whose results nobody takes. */

static void
shared_destroy (PtStream *self)
{
  if (self->out != NULL)
    pt_queue_filter (self->out, pt_stream_keep_none);
  g_clear_pointer (&self->out, pt_queue_free);
  pt_frame_maker_clear (&self->maker);
  pt_stats_clear (&self->stats);
  pt_measures_clear (&self->measures);
  g_free (self);
}

/* One less of its frames and ends is inside; with shared_lock. */
static void
shared_leave (PtStream *self)
{
  self->inside--;
  if (self->left && self->inside == 0) {
    g_ptr_array_remove_fast (self->pipeline->streams, self);
    shared_destroy (self);
  }
}

/* Frames of a stream that may be pushed and not pulled: what fills all stages
 * and queues. */
static guint
shared_get_limit (const PtPipeline *pipeline)
{
  return pipeline->n_stages * (PT_QUEUE_FRAMES + 2) + 2;
}

/**
 * pt_stream_new:
 * @pipeline: a running pipeline, to be stopped after the stream is freed
 * @error: return location
 *
 * One of several streams that share a network: its weights, and what is
 * learned. Each has results of its own, in its own order; frames of one are
 * never stacked with, or measured against, those of another. Who uses streams
 * pushes nothing to the pipeline itself and does not flush it. Where gradients
 * are late, frames of several cameras are no smooth stream: %PT_MODE_DELAYED or
 * %PT_MODE_EXACT are for them.
 *
 * Returns: (transfer full): a stream, or %NULL with %PT_ERROR_NO_MEMORY
 */
PtStream *
pt_stream_new (PtPipeline *pipeline, GError **error)
{
  PtStream *self = g_new0 (PtStream, 1);

  self->pipeline = pipeline;
  pt_stats_init (&self->stats);
  pt_measures_init (&self->measures);
  if (!pt_frame_maker_init (&self->maker, pipeline->network,
          &pipeline->learning, pipeline->wiring.wires[0].pusher, error)) {
    shared_destroy (self);
    return NULL;
  }
  pt_measures_start_for (&self->measures, pipeline->network,
      &pipeline->learning);
  self->learn = TRUE;
  self->interval = pipeline->learning.interval;
  self->policy = pipeline->learning.policy;
  self->out = pt_queue_new (shared_get_limit (pipeline), 0);
  g_mutex_lock (&pipeline->shared_lock);
  g_ptr_array_add (pipeline->streams, self);
  g_mutex_unlock (&pipeline->shared_lock);
  return self;
}

/**
 * pt_stream_free:
 * @self: (transfer full): a stream
 *
 * Frames of it that are inside are learned from; their results go. Nobody may
 * be inside push or pull. Others are not disturbed.
 */
void
pt_stream_free (PtStream *self)
{
  PtPipeline *pipeline = self->pipeline;

  g_mutex_lock (&pipeline->shared_lock);
  self->left = TRUE;
  self->inside++;
  shared_leave (self);
  g_mutex_unlock (&pipeline->shared_lock);
}

static gboolean
shared_stops (PtStream *self)
{
  return g_atomic_int_get (&self->flushing)
      || g_atomic_int_get (&self->pipeline->failed);
}

/* With shared_lock, waits until it is @self's turn to push. */
static PtFlow
shared_queue_up (PtStream *self, PtPushFlags flags, GError **error)
{
  PtPipeline *pipeline = self->pipeline;
  guint limit = shared_get_limit (pipeline);

  if (g_atomic_int_get (&pipeline->replaced))
    return PT_FLOW_REPLACED;
  if ((flags & PT_PUSH_TRY) && !shared_stops (self)
      && (self->owed >= limit || !g_queue_is_empty (&pipeline->pushers)
          || !pt_queue_has_room (pipeline->in)))
    return PT_FLOW_FULL;
  while (self->owed >= limit && !shared_stops (self)
      && !g_atomic_int_get (&pipeline->replaced))
    g_cond_wait (&pipeline->shared_changed, &pipeline->shared_lock);
  g_queue_push_tail (&pipeline->pushers, self);
  while (g_queue_peek_head (&pipeline->pushers) != self
      && !shared_stops (self))
    g_cond_wait (&pipeline->shared_changed, &pipeline->shared_lock);
  return shared_stops (self) ? pt_pipeline_fail (pipeline, error) : PT_FLOW_OK;
}

static void
shared_end_turn (PtStream *self)
{
  PtPipeline *pipeline = self->pipeline;

  g_mutex_lock (&pipeline->shared_lock);
  g_queue_remove (&pipeline->pushers, self);
  g_cond_broadcast (&pipeline->shared_changed);
  g_mutex_unlock (&pipeline->shared_lock);
}

/* With %PT_FLOW_OK one frame is @self's to push. */
static PtFlow
shared_take_turn (PtStream *self, PtPushFlags flags, GError **error)
{
  PtPipeline *pipeline = self->pipeline;
  PtFlow flow;

  g_mutex_lock (&pipeline->shared_lock);
  flow = shared_queue_up (self, flags, error);
  g_mutex_unlock (&pipeline->shared_lock);
  if (flow == PT_FLOW_OK
      && !pt_queue_wait_room_unless (pipeline->in, &self->flushing))
    flow = pt_pipeline_fail (pipeline, error);
  if (flow != PT_FLOW_OK) {
    shared_end_turn (self);
    return flow;
  }
  g_mutex_lock (&pipeline->shared_lock);
  self->owed++;
  self->inside++;
  self->open = TRUE;
  g_mutex_unlock (&pipeline->shared_lock);
  return PT_FLOW_OK;
}

/* It could not be pushed. */
static void
shared_forget_frame (PtStream *self)
{
  g_mutex_lock (&self->pipeline->shared_lock);
  self->owed--;
  shared_leave (self);
  g_mutex_unlock (&self->pipeline->shared_lock);
}

/* Has its turn: push_lock is taken first, under which another pipeline may have
 * taken over. */
static PtFlow
shared_enter (PtStream *self, const guint8 *pixels, gsize stride,
    PtTensor *target, PtPushFlags flags, GError **error)
{
  PtPipeline *pipeline = self->pipeline;
  gboolean begun = pt_pipeline_begin_push (pipeline, error);

  if (g_atomic_int_get (&pipeline->replaced)) {
    g_mutex_unlock (&pipeline->push_lock);
    return PT_FLOW_REPLACED;
  }
  return pt_pipeline_end_push (pipeline, self, begun
      && pt_frame_maker_add_pixels (&self->maker, pixels, stride, error),
      target, flags);
}

/**
 * pt_stream_push_pixels:
 * @self: a stream
 * @pixels: (array) (element-type guint8): as for pt_pipeline_push_pixels(), as
 *   are the others
 * @stride: bytes from one row to the next
 * @target: (nullable): what the output is compared with
 * @flags: see #PtPushFlags
 * @error: return location
 *
 * As pt_pipeline_push_pixels(). Waits for its turn among the streams, and
 * while nobody pulls what has come out of this one.
 *
 * Returns: as pt_pipeline_push_pixels(); %PT_FLOW_REPLACED
 */
PtFlow
pt_stream_push_pixels (PtStream *self, const guint8 *pixels, gsize stride,
    PtTensor *target, PtPushFlags flags, GError **error)
{
  PtPipeline *pipeline = self->pipeline;
  PtFlow flow = pt_pipeline_check_target (pipeline, target, error);

  if (flow != PT_FLOW_OK
      || (flow = shared_take_turn (self, flags, error)) != PT_FLOW_OK)
    return flow;
  flow = shared_enter (self, pixels, stride, target, flags, error);
  if (flow != PT_FLOW_OK)
    shared_forget_frame (self);
  shared_end_turn (self);
  return flow;
}

static gboolean
shared_is_new (const PtMessage *message)
{
  PtStream *stream = message->stream;

  return !stream->left && stream->era == message->era;
}

gboolean
pt_stream_wants (const PtMessage *message)
{
  PtPipeline *pipeline = message->stream->pipeline;
  gboolean wanted;

  if (message->stream == &pipeline->main)
    return TRUE;
  g_mutex_lock (&pipeline->shared_lock);
  wanted = shared_is_new (message);
  if (!wanted)
    shared_leave (message->stream);
  g_mutex_unlock (&pipeline->shared_lock);
  return wanted;
}

void
pt_stream_deliver (const PtMessage *message)
{
  PtPipeline *pipeline = message->stream->pipeline;

  g_mutex_lock (&pipeline->shared_lock);
  if (shared_is_new (message))
    pt_queue_put (message->stream->out, message);
  else
    pt_result_unref (message->result);
  shared_leave (message->stream);
  g_mutex_unlock (&pipeline->shared_lock);
}

/**
 * pt_stream_pull:
 * @self: a stream
 * @result: (out) (transfer full): the next result of this stream
 * @error: return location
 *
 * As pt_pipeline_pull().
 *
 * Returns: as pt_pipeline_pull()
 */
PtFlow
pt_stream_pull (PtStream *self, PtResult **result, GError **error)
{
  PtPipeline *pipeline = self->pipeline;
  PtMessage message;

  if (!pt_queue_take (self->out, &message))
    return pt_pipeline_fail (pipeline, error);
  *result = message.result;
  if (message.type == PT_MESSAGE_MARKER)
    return PT_FLOW_DRAINED;
  g_mutex_lock (&pipeline->shared_lock);
  self->owed--;
  g_cond_broadcast (&pipeline->shared_changed);
  g_mutex_unlock (&pipeline->shared_lock);
  return PT_FLOW_OK;
}

/* The last stage is through with the last frame of a stream. */
static void
shared_ended (PtMarker *marker)
{
  const PtMessage *end = marker->data;
  PtPipeline *pipeline = marker->pipeline;

  g_mutex_lock (&pipeline->shared_lock);
  if (shared_is_new (end))
    pt_queue_put (end->stream->out, end);
  shared_leave (end->stream);
  g_mutex_unlock (&pipeline->shared_lock);
  pt_marker_finish (marker);
}

/* With shared_lock. */
static gboolean
shared_is_last (PtStream *self)
{
  const GPtrArray *streams = self->pipeline->streams;

  for (guint i = 0; i < streams->len; i++) {
    const PtStream *other = g_ptr_array_index (streams, i);

    if (other != self && other->open && !other->left)
      return FALSE;
  }
  return TRUE;
}

/* Behind the last frame of a stream; with push_lock. Returns: the marker, which
 * is finished once the last stage is through */
static PtMarker *
shared_send_end (PtStream *self)
{
  PtPipeline *pipeline = self->pipeline;
  PtMessage end = { .type = PT_MESSAGE_MARKER, .stream = self };
  PtMarker *marker;

  g_mutex_lock (&pipeline->shared_lock);
  end.era = self->era;
  marker = pt_marker_new (pipeline, NULL, g_memdup2 (&end, sizeof end),
      g_free);
  marker->done = shared_ended;
  marker->drains = shared_is_last (self);
  self->inside++;
  self->open = FALSE;
  g_mutex_unlock (&pipeline->shared_lock);
  pt_pipeline_send_marker (pipeline, marker);
  self->frame = 0;
  self->maker.n_frames = 0;
  return marker;
}

/**
 * pt_stream_drain:
 * @self: a stream
 * @error: return location
 *
 * As pt_pipeline_drain(), for this stream alone. Gradients of its frames that
 * wait for frames to come meet those of the others; if there are no others, it
 * is as for the pipeline.
 *
 * Returns: %PT_FLOW_OK, or %PT_FLOW_ERROR if a stage has failed
 */
PtFlow
pt_stream_drain (PtStream *self, GError **error)
{
  PtPipeline *pipeline = self->pipeline;

  if (g_atomic_int_get (&pipeline->failed))
    return pt_pipeline_fail (pipeline, error);
  g_mutex_lock (&pipeline->push_lock);
  pt_marker_unref (shared_send_end (self));
  g_mutex_unlock (&pipeline->push_lock);
  return PT_FLOW_OK;
}

/* -- another network -- */

void
pt_stream_close_all (PtPipeline *self)
{
  g_mutex_lock (&self->shared_lock);
  g_atomic_int_set (&self->replaced, TRUE);
  g_cond_broadcast (&self->shared_changed);
  g_mutex_unlock (&self->shared_lock);
}

/* Frames count on, and are stacked with those before; with both locks. */
static gboolean
shared_continue (PtStream *self, PtStream *before, GError **error)
{
  self->frame = before->frame;
  self->learn = g_atomic_int_get (&before->learn);
  self->interval = g_atomic_int_get (&before->interval);
  self->policy = g_atomic_int_get (&before->policy);
  return pt_fences_wait (&before->pipeline->wiring.entered, 0, NULL, error)
      && pt_frame_maker_follow (&self->maker, &before->maker, error)
      && pt_fences_signal (&self->pipeline->wiring.entered, 0, error);
}

/**
 * pt_stream_replace:
 * @self: a stream of a pipeline that @next has taken over from
 * @next: a running pipeline
 * @info: what pt_pipeline_replace() said
 * @error: return location
 *
 * Goes on where @self is, in @next: frames count on and are stacked with those
 * before as far as pt_pipeline_replace() says, and statistics and measures go
 * on if the optimizer does. @self drains, see pt_stream_drain(); then it is to
 * be freed. Waits until its frames that are inside are through. Nobody may
 * push to @self any more; others may still go on by themselves later.
 *
 * Returns: (transfer full): a stream of @next, or %NULL with the error of a
 *   stage or %PT_ERROR_NO_MEMORY
 */
PtStream *
pt_stream_replace (PtStream *self, PtPipeline *next,
    const PtReplacement *info, GError **error)
{
  PtPipeline *pipeline = self->pipeline;
  PtStream *stream = pt_stream_new (next, error);
  g_autoptr (PtMarker) end = NULL;

  if (stream == NULL)
    return NULL;
  g_mutex_lock (&pipeline->push_lock);
  g_mutex_lock (&next->push_lock);
  if (shared_continue (stream, self, error))
    end = shared_send_end (self);
  g_mutex_unlock (&next->push_lock);
  g_mutex_unlock (&pipeline->push_lock);
  if (end == NULL || !pt_pipeline_wait_marker (pipeline, end, error)) {
    pt_stream_free (stream);
    return NULL;
  }
  if (info->kept_weights || info->kept_optimizer)
    pt_stats_follow (&stream->stats, &self->stats, info->kept_optimizer);
  if (info->kept_optimizer)
    pt_measures_follow (&stream->measures, &self->measures);
  return stream;
}

/**
 * pt_stream_set_flushing:
 * @self: a stream
 * @flushing: %TRUE to drop everything, %FALSE to go on
 *
 * As pt_pipeline_set_flushing(), for this stream alone: others go on. Frames
 * inside are learned from, their results are dropped.
 */
void
pt_stream_set_flushing (PtStream *self, gboolean flushing)
{
  PtPipeline *pipeline = self->pipeline;

  if (g_atomic_int_get (&self->flushing) == flushing)
    return;
  if (!flushing) {
    g_mutex_lock (&pipeline->push_lock);
    self->frame = 0;
    self->maker.n_frames = 0;
    g_mutex_unlock (&pipeline->push_lock);
  }
  g_mutex_lock (&pipeline->shared_lock);
  g_atomic_int_set (&self->flushing, flushing);
  if (!flushing) {
    self->era++;
    self->owed = 0;
    self->open = FALSE;
    pt_queue_filter (self->out, pt_stream_keep_none);
  }
  g_cond_broadcast (&pipeline->shared_changed);
  g_mutex_unlock (&pipeline->shared_lock);
  pt_queue_set_flushing (self->out, flushing
      || g_atomic_int_get (&pipeline->failed));
  if (flushing)
    pt_queue_wake (pipeline->in);
}

/**
 * pt_stream_set_learn:
 * @self: a stream
 * @learn: %FALSE: frames pushed from now on infer only
 *
 * As pt_pipeline_set_learn(), for this stream alone, as are the next two.
 */
void
pt_stream_set_learn (PtStream *self, gboolean learn)
{
  g_atomic_int_set (&self->learn, learn);
}

/**
 * pt_stream_set_learn_interval:
 * @self: a stream
 * @interval: every how many frames one learns, at least 1
 */
void
pt_stream_set_learn_interval (PtStream *self, guint interval)
{
  g_atomic_int_set (&self->interval, MAX (interval, 1));
}

/**
 * pt_stream_set_learn_policy:
 * @self: a stream
 * @policy: which of the frames that may learn do
 */
void
pt_stream_set_learn_policy (PtStream *self, PtLearnPolicy policy)
{
  g_atomic_int_set (&self->policy, policy);
}

/**
 * pt_stream_get_stats:
 * @self: a stream
 * @stats: (out caller-allocates): filled in
 *
 * As pt_pipeline_get_stats(), of the frames of this stream; updates and
 * rollbacks are the network's.
 */
void
pt_stream_get_stats (PtStream *self, PtPipelineStats *stats)
{
  PtPipeline *pipeline = self->pipeline;
  PtPipelineStats all;

  pt_pipeline_get_stats (pipeline, &all);
  pt_stats_get (&self->stats, stats);
  stats->updates = all.updates;
  stats->rollbacks = all.rollbacks;
  stats->n_stages = all.n_stages;
  stats->n_measures = pt_measures_get (&self->measures, stats->measures);
  g_mutex_lock (&pipeline->shared_lock);
  stats->in_flight = self->owed;
  g_mutex_unlock (&pipeline->shared_lock);
}

void
pt_stream_fail_all (PtPipeline *self)
{
  g_mutex_lock (&self->shared_lock);
  for (guint i = 0; i < self->streams->len; i++)
    pt_queue_set_flushing (((PtStream *) g_ptr_array_index (self->streams,
                i))->out, TRUE);
  g_cond_broadcast (&self->shared_changed);
  g_mutex_unlock (&self->shared_lock);
}

/* No stage runs any more. */
void
pt_stream_clear_all (PtPipeline *self)
{
  g_mutex_lock (&self->shared_lock);
  for (guint i = self->streams->len; i-- > 0;) {
    PtStream *stream = g_ptr_array_index (self->streams, i);

    stream->inside = 1;
    shared_leave (stream);
  }
  g_mutex_unlock (&self->shared_lock);
}
