/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include <math.h>
#include <string.h>

/* What happens for every frame: push, result, pull, and the flush. */

PtFlow
pt_pipeline_fail (PtPipeline *self, GError **error)
{
  if (g_atomic_int_get (&self->failed)) {
    g_mutex_lock (&self->error_lock);
    g_propagate_error (error, g_error_copy (self->error));
    g_mutex_unlock (&self->error_lock);
    return PT_FLOW_ERROR;
  }
  return PT_FLOW_FLUSHING;
}

/* Whether the stages keep up: nothing waits, and no more frames are inside
 * than there are stages. */
static gboolean
stream_is_idle (PtPipeline *self)
{
  guint inside = g_atomic_int_get (&self->n_pushed)
      - g_atomic_int_get (&self->n_finished);

  return pt_queue_get_level (self->in) == 0 && inside < self->n_stages;
}

/* Decides once, as the frame enters, whether it learns. */
static gboolean
stream_decide (PtPipeline *self, PtStream *stream, gboolean has_target,
    PtPushFlags flags)
{
  guint interval = g_atomic_int_get (&stream->interval);

  if (self->learning.mode == PT_MODE_OFF || !has_target
      || (flags & PT_PUSH_NO_LEARN) || !g_atomic_int_get (&stream->learn)
      || stream->frame % interval != 0)
    return FALSE;
  if (g_atomic_int_get (&stream->policy) == PT_LEARN_EVERY
      || stream_is_idle (self))
    return TRUE;
  pt_stats_add_skipped (&stream->stats);
  return FALSE;
}

/* What is in the slots goes to the first stage. */
static void
stream_send (PtPipeline *self, PtMessage *message)
{
  g_mutex_lock (&self->settings_lock);
  message->rate = self->rate;
  g_mutex_unlock (&self->settings_lock);
  self->sequence++;
  g_atomic_int_inc (&self->n_pushed);
  pt_queue_put (self->in, message);
}

/* Whether the next slots may be filled. A device that fails while this waits,
 * or while it is sent what was filled in, says so by its stage. */
static gboolean
stream_wait_slots (PtPipeline *self)
{
  return pt_wiring_wait_read (&self->wiring, PT_PRODUCER_PUSH, self->sequence,
      NULL);
}

/* Behind a frame that learns, one of those kept learns again; then this one
 * is kept too. It does not wait for room: who pulls may want push_lock. */
static void
stream_replay (PtPipeline *self, PtStream *stream)
{
  const PtWire *input = &self->wiring.wires[0];
  const PtWire *target =
      &self->wiring.wires[pt_wiring_get_target (&self->wiring)];
  PtMessage message = { .type = PT_MESSAGE_FRAME, .frame = stream->frame,
    .stream = stream, .learn = TRUE, .again = TRUE, .has_target = TRUE, .sequence = self->sequence,
    .entered = pt_clock_now () };
  guint64 newest = self->sequence - 1;

  if (self->replay.capacity == 0)
    return;
  if (++self->n_learning % self->learning.replay_interval == 0
      && stream_wait_slots (self)
      && pt_replay_draw (&self->replay, self->learning.seed,
          pt_wire_get (input, self->sequence),
          pt_wire_get (target, self->sequence), NULL)) {
    pt_wiring_upload (&self->wiring, self->sequence, NULL);
    stream_send (self, &message);
  }
  pt_replay_keep (&self->replay, pt_wire_get (input, newest),
      pt_wire_get (target, newest), NULL);
  /* it is read while the next one may come from another thread */
  pt_fences_signal (&self->wiring.entered, 0, NULL);
}

/* The frame is in the maker's history: fill the slots, send it off. */
static void
stream_enter (PtPipeline *self, PtStream *stream, PtTensor *label,
    PtPushFlags flags)
{
  PtWiring *wiring = &self->wiring;
  PtWire *input = &wiring->wires[0];
  PtWire *target = &wiring->wires[pt_wiring_get_target (wiring)];
  PtMessage message = { .type = PT_MESSAGE_FRAME,
    .sequence = self->sequence, .frame = stream->frame,
    .stream = stream, .era = stream->era, .entered = pt_clock_now ()
  };

  if (stream_wait_slots (self)) {
    if (input->slots != NULL)
      pt_frame_maker_fill_input (&stream->maker, pt_wire_get (input,
              self->sequence), NULL);
    if (target->slots != NULL)
      message.has_target = pt_frame_maker_fill_target (&stream->maker, label,
          pt_wire_get (target, self->sequence), NULL);
    pt_wiring_upload (wiring, self->sequence, NULL);
  }
  message.learn = stream_decide (self, stream, message.has_target, flags);
  stream_send (self, &message);
  if (message.learn)
    stream_replay (self, stream);
  stream->frame++;
  /* of all, for checkpoints */
  if (stream != &self->main)
    self->main.frame++;
}

PtFlow
pt_pipeline_wait_room (PtPipeline *self, PtPushFlags flags, GError **error)
{
  g_return_val_if_fail (self->running, PT_FLOW_FLUSHING);
  if ((flags & PT_PUSH_TRY) && !g_atomic_int_get (&self->flushing)
      && !g_atomic_int_get (&self->failed) && !pt_queue_has_room (self->in))
    return PT_FLOW_FULL;
  if (!pt_queue_wait_room (self->in))
    return pt_pipeline_fail (self, error);
  return PT_FLOW_OK;
}

static PtFlow
stream_refuse (const gchar *what, const PtTensor *tensor, PtDType dtype,
    const PtShape *expected, GError **error)
{
  gchar found[PT_SHAPE_TEXT_SIZE], wanted[PT_SHAPE_TEXT_SIZE];

  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "pushing a %s: found %s of shape %s, expected %s of shape %s", what,
      pt_dtype_name (tensor->dtype), pt_shape_print (&tensor->shape, found),
      pt_dtype_name (dtype), pt_shape_print (expected, wanted));
  return PT_FLOW_ERROR;
}

static gboolean
stream_same_elements (const PtTensor *tensor, PtDType dtype,
    const PtShape *shape)
{
  PtShape found = tensor->shape, expected = *shape;

  while (found.n_dims > 0 && found.dims[0] == 1) {
    memmove (found.dims, found.dims + 1, sizeof found.dims
        - sizeof found.dims[0]);
    found.n_dims--;
  }
  while (expected.n_dims > 0 && expected.dims[0] == 1) {
    memmove (expected.dims, expected.dims + 1, sizeof expected.dims
        - sizeof expected.dims[0]);
    expected.n_dims--;
  }
  return tensor->dtype == dtype && pt_shape_equal (&found, &expected);
}

PtFlow
pt_pipeline_check_target (PtPipeline *self, const PtTensor *label, GError **error)
{
  const PtLearning *learning = &self->learning;

  if (label == NULL || learning->mode == PT_MODE_OFF
      || learning->target != PT_TARGET_LABELS)
    return PT_FLOW_OK;
  if (!stream_same_elements (label, learning->target_dtype,
          &learning->target_shape))
    return stream_refuse ("target", label, learning->target_dtype,
        &learning->target_shape, error);
  if (pt_loss_check_target (learning->loss,
          pt_network_get_output_shape (self->network), label, error))
    return PT_FLOW_OK;
  g_prefix_error (error, "pushing a target: ");
  return PT_FLOW_ERROR;
}

/* Before a frame is added: takes push_lock; what another thread pushed is
 * there. */
gboolean
pt_pipeline_begin_push (PtPipeline *self, GError **error)
{
  PtWiring *wiring = &self->wiring;

  g_mutex_lock (&self->push_lock);
  return wiring->frames == NULL
      || pt_fences_wait (&wiring->entered, 0, wiring->frames, error);
}

/* Unless it could not be @added, the frame goes in. */
PtFlow
pt_pipeline_end_push (PtPipeline *self, PtStream *stream, gboolean added,
    PtTensor *target, PtPushFlags flags)
{
  if (added)
    stream_enter (self, stream, target, flags);
  g_mutex_unlock (&self->push_lock);
  return added ? PT_FLOW_OK : PT_FLOW_ERROR;
}

/**
 * pt_pipeline_push_pixels:
 * @self: a running pipeline
 * @pixels: (array) (element-type guint8): height rows of width x channels
 *   bytes: gray, or red, green, blue
 * @stride: bytes from one row to the next
 * @target: (nullable): what the output is compared with if the file says
 *   target=labels: float32 of the output's shape, or for cross-entropy int32
 *   of shape (1) or (1, H, W)
 * @flags: see #PtPushFlags
 * @error: return location
 *
 * Hands one frame to the network: x = (value / 255 - mean) / std. Pixels are
 * copied before it returns; nothing is allocated. Waits while the first stage
 * has two frames waiting. One thread at a time may push.
 *
 * Returns: %PT_FLOW_OK; %PT_FLOW_FULL; %PT_FLOW_FLUSHING; %PT_FLOW_ERROR with
 *   the error of the stage that failed, or %PT_ERROR_SHAPE for a target that
 *   does not fit: its shape, a label that is no class, a probability outside
 *   0 to 1 (nothing is pushed then)
 */
PtFlow
pt_pipeline_push_pixels (PtPipeline *self, const guint8 *pixels, gsize stride,
    PtTensor *target, PtPushFlags flags, GError **error)
{
  PtFlow flow = pt_pipeline_check_target (self, target, error);

  if (flow != PT_FLOW_OK
      || (flow = pt_pipeline_wait_room (self, flags, error)) != PT_FLOW_OK)
    return flow;
  return pt_pipeline_end_push (self, &self->main,
      pt_pipeline_begin_push (self, error)
      && pt_frame_maker_add_pixels (&self->main.maker, pixels, stride, error),
      target, flags);
}

/**
 * pt_pipeline_push:
 * @self: a running pipeline
 * @frame: float32 (C, H, W) or (1, C, H, W), row-major, already normalised
 * @target: (nullable): as for pt_pipeline_push_pixels()
 * @flags: see #PtPushFlags
 * @error: return location
 *
 * As pt_pipeline_push_pixels(), for frames that are tensors already.
 *
 * Returns: as pt_pipeline_push_pixels(); also %PT_FLOW_ERROR with
 *   %PT_ERROR_SHAPE for a frame of another shape, and with %PT_ERROR_FAILED
 *   for one that holds NaN or Inf; nothing is pushed then
 */
PtFlow
pt_pipeline_push (PtPipeline *self, PtTensor *frame, PtTensor *target,
    PtPushFlags flags, GError **error)
{
  const PtSettings *s = &self->network->settings;
  PtShape shape = PT_SHAPE (s->channels, s->height, s->width);
  PtFlow flow = pt_pipeline_check_target (self, target, error);

  if (flow != PT_FLOW_OK)
    return flow;
  if (!stream_same_elements (frame, PT_F32, &shape))
    return stream_refuse ("frame", frame, PT_F32, &shape, error);
  if (!pt_tensor_is_finite (frame)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FAILED,
        "pushing frame %" G_GUINT64_FORMAT ": found NaN or Inf in it, "
        "expected finite numbers", self->main.frame);
    return PT_FLOW_ERROR;
  }
  if ((flow = pt_pipeline_wait_room (self, flags, error)) != PT_FLOW_OK)
    return flow;
  return pt_pipeline_end_push (self, &self->main,
      pt_pipeline_begin_push (self, error)
      && pt_frame_maker_add_tensor (&self->main.maker, frame, error), target,
      flags);
}

/* The slot of the frame before, which is kept if it is for this
 * (wiring.c); the last stage's thread remembers which one it is. */
static const PtTensor *
stream_get_before (PtPipeline *self, const PtMessage *message,
    const PtWire *target)
{
  PtStream *stream = message->stream;
  guint64 before = stream->measured_sequence;
  gboolean next = message->frame == stream->measured_frame + 1
      && message->sequence - before <= PT_WIRING_NEXT_REACH;

  stream->measured_sequence = message->sequence;
  stream->measured_frame = message->frame;
  return next && self->learning.target == PT_TARGET_NEXT ?
      pt_wire_get_seen (target, before) : NULL;
}

/* The output lies where the target does. */
static void
stream_measure (PtPipeline *self, const PtMessage *message,
    const PtTensor *output, PtResult *result)
{
  const PtWiring *wiring = &self->wiring;
  const PtWire *target = &wiring->wires[pt_wiring_get_target (wiring)];
  PtMeasureFrame frame = { .output = output, .loss = result->loss };

  for (guint i = 0; i < PT_MAX_MEASURES; i++)
    result->measures[i] = NAN;
  if (self->learning.mode == PT_MODE_OFF)
    return;
  frame.before = stream_get_before (self, message, target);
  if (!result->valid || !message->has_target)
    return;
  frame.target = pt_wire_get_seen (target, message->sequence);
  pt_measures_add (&message->stream->measures, &frame, result->measures);
}

/* On the last stage's thread: copies the outputs out and sends them off. */
gboolean
pt_pipeline_result (gpointer data, const PtMessage *message,
    PtTensor *const *outputs, gboolean valid, gdouble loss, guint64 version,
    GError **error)
{
  PtPipeline *self = data;
  PtMessage out = *message;
  PtResult *result;

  if (message->again || !pt_stream_wants (message))
    return TRUE;
  result = pt_result_pool_get (self->results, error);
  if (result == NULL)
    return FALSE;
  for (guint i = 0; i < result->n_outputs; i++)
    if (valid)
      pt_tensor_to_row_major (outputs[i], result->outputs[i]);
    else
      memset (result->outputs[i]->data, 0, result->outputs[i]->size);
  result->frame = message->frame;
  result->valid = valid;
  result->learned = message->learn;
  result->loss = loss;
  result->weights_version = version;
  stream_measure (self, message, outputs[0], result);
  result->latency = pt_clock_now () - message->entered;
  pt_stats_add_result (&self->main.stats, result);
  out.result = result;
  if (message->stream != &self->main) {
    pt_stats_add_result (&message->stream->stats, result);
    pt_stream_deliver (&out);
  } else if (pt_queue_wait_room (self->main.out))
    pt_queue_put (self->main.out, &out);
  else
    pt_result_unref (result);
  return TRUE;
}

/**
 * pt_pipeline_pull:
 * @self: a running pipeline
 * @result: (out) (transfer full): the next result
 * @error: return location
 *
 * Waits for the next result; they come in the order of the frames, one for
 * each. One thread at a time may pull, another than the one that pushes or the
 * same. If nobody pulls, the stages fill up and wait.
 *
 * Returns: %PT_FLOW_OK; %PT_FLOW_DRAINED after the last frame before a
 *   pt_pipeline_drain(); %PT_FLOW_FLUSHING; %PT_FLOW_ERROR
 */
PtFlow
pt_pipeline_pull (PtPipeline *self, PtResult **result, GError **error)
{
  PtMessage message;

  g_return_val_if_fail (self->running, PT_FLOW_FLUSHING);
  if (!pt_queue_take (self->main.out, &message))
    return pt_pipeline_fail (self, error);
  *result = message.result;
  return message.type == PT_MESSAGE_MARKER ? PT_FLOW_DRAINED : PT_FLOW_OK;
}

/* Runs once every stage has drained, all results are in the queue before. */
void
pt_pipeline_drained (PtMarker *marker)
{
  pt_queue_put (marker->pipeline->main.out, &(PtMessage) {
      .type = PT_MESSAGE_MARKER });
  pt_marker_finish (marker);
}

/* Sends @marker, which drains, behind the last frame of a stream; the caller
 * has push_lock. */
void
pt_pipeline_end_stream (PtPipeline *self, PtMarker *marker)
{
  pt_pipeline_send_marker (self, marker);
  if (self->main.frame > 0)
    self->main.drained = self->main.frame;
  self->main.frame = 0;
  self->main.maker.n_frames = 0;
}

/**
 * pt_pipeline_drain:
 * @self: a running pipeline
 * @error: return location
 *
 * Marks the end of the stream: every frame pushed so far comes out and every
 * update of theirs is applied; then pt_pipeline_pull() says
 * %PT_FLOW_DRAINED. Does not wait. Frames pushed later start a new stream with
 * the same weights.
 *
 * Returns: %PT_FLOW_OK, or %PT_FLOW_ERROR if a stage has failed
 */
PtFlow
pt_pipeline_drain (PtPipeline *self, GError **error)
{
  PtMarker *marker;

  g_return_val_if_fail (self->running, PT_FLOW_FLUSHING);
  if (g_atomic_int_get (&self->failed))
    return pt_pipeline_fail (self, error);
  marker = pt_marker_new (self, NULL, NULL, NULL);
  marker->drains = TRUE;
  marker->done = pt_pipeline_drained;
  g_mutex_lock (&self->push_lock);
  pt_pipeline_end_stream (self, marker);
  g_mutex_unlock (&self->push_lock);
  pt_marker_unref (marker);
  return PT_FLOW_OK;
}

void
pt_pipeline_set_queues_flushing (PtPipeline *self, gboolean flushing)
{
  for (guint i = 0; i + 1 < self->n_stages; i++) {
    pt_queue_set_flushing (self->between[i], flushing);
    pt_queue_set_flushing (self->tokens[i], flushing);
  }
  pt_queue_set_flushing (self->in, flushing);
  pt_queue_set_flushing (self->main.out, flushing);
}

/* Frames go, and so does the end of their stream; other markers stay: new
 * weights that some stages have already are for the others too. */
static gboolean
stream_keep (const PtMessage *message)
{
  if (message->type != PT_MESSAGE_MARKER)
    return FALSE;
  if (!message->marker->drains || message->marker->run != NULL)
    return TRUE;
  pt_marker_finish (message->marker);
  return FALSE;
}

gboolean
pt_stream_keep_none (const PtMessage *message)
{
  if (message->result != NULL)
    pt_result_unref (message->result);
  return FALSE;
}

/* Empties the queues; all stages are parked. */
void
pt_pipeline_clear_stream (PtPipeline *self)
{
  for (guint i = 0; i + 1 < self->n_stages; i++) {
    pt_queue_filter (self->between[i], stream_keep);
    pt_queue_filter (self->tokens[i], pt_stream_keep_none);
  }
  pt_queue_filter (self->in, stream_keep);
  pt_queue_filter (self->main.out, pt_stream_keep_none);
  self->main.frame = 0;
  self->main.maker.n_frames = 0;
  g_atomic_int_set (&self->n_finished, g_atomic_int_get (&self->n_pushed));
}

/**
 * pt_pipeline_set_flushing:
 * @self: a running pipeline
 * @flushing: %TRUE to drop everything, %FALSE to go on
 *
 * While flushing, waiting calls end at once with %PT_FLOW_FLUSHING. Going on
 * waits until every stage has left the step it was in (an update may have been
 * applied on some stages and not on others), drops frames and gradients, and
 * keeps weights and optimizer state. Nobody may be inside push or pull when
 * it goes on.
 */
void
pt_pipeline_set_flushing (PtPipeline *self, gboolean flushing)
{
  g_return_if_fail (self->running);
  if (g_atomic_int_get (&self->flushing) == flushing)
    return;
  g_atomic_int_set (&self->flushing, flushing);
  if (flushing) {
    pt_pipeline_set_queues_flushing (self, TRUE);
    g_mutex_lock (&self->marker_lock);
    g_cond_broadcast (&self->marker_changed);
    g_mutex_unlock (&self->marker_lock);
    return;
  }
  for (guint i = 0; i < self->n_stages; i++)
    pt_stage_wait_parked (self->stages[i]);
  if (g_atomic_int_get (&self->failed))
    return;
  g_mutex_lock (&self->push_lock);
  /* who fails here has failed before */
  pt_wiring_wait_uploads (&self->wiring, self->sequence - 1, NULL);
  pt_pipeline_clear_stream (self);
  pt_pipeline_set_queues_flushing (self, FALSE);
  g_mutex_unlock (&self->push_lock);
  for (guint i = 0; i < self->n_stages; i++)
    pt_stage_resume (self->stages[i]);
}
