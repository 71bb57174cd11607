/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/stage.h"

#include "core/rng.h"

#include <math.h>

/* Weight of the newest value in the running means of the statistics. */
#define STAGE_MEAN_WEIGHT 0.05

/* A stage of @wiring, on whose queues it will be joined by the caller. */
PtStage *
pt_stage_new (PtWiring *wiring, const PtLearning *learning, guint index,
    const PtStageHooks *hooks)
{
  PtStage *self = g_new0 (PtStage, 1);

  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  self->index = index;
  self->wiring = wiring;
  self->span = &wiring->spans[index];
  self->progress = &wiring->progress[index];
  self->learning = learning;
  self->hooks = *hooks;
  self->age = pt_learning_get_age (learning, index, wiring->n_stages);
  self->token_delay = pt_learning_get_token_delay (learning);
  self->n_initial_tokens = self->token_delay;
  self->was_valid = TRUE;
  pt_guard_init (&self->guard, learning->divergence_window,
      learning->divergence_factor, learning->divergence_rate,
      &learning->schedule);
  self->stats.device = pt_device_get_name (self->span->device);
  self->stats.first_layer = self->span->first;
  self->stats.n_layers = self->span->n;
  self->stats.n_threads = pt_device_get_n_threads (self->span->device);
  self->stats.age = self->age;
  return self;
}

/* The thread must have ended. */
void
pt_stage_free (PtStage *self)
{
  g_clear_error (&self->error);
  pt_guard_clear (&self->guard);
  g_free (self->layer_forward);
  g_free (self->layer_backward);
  g_cond_clear (&self->changed);
  g_mutex_clear (&self->lock);
  g_free (self);
}

/* Of what layer @k draws for the frame. */
guint64
pt_stage_get_seed (const PtStage *self, guint k, const PtMessage *message)
{
  return pt_rng_mix (self->learning->seed, self->span->first + k,
      message->frame);
}

static void
stage_fill (PtStage *self, guint k, guint64 sequence, PtLayerArgs *args)
{
  const PtWiring *wiring = self->wiring;
  const PtNode *node = &wiring->network->nodes[self->span->first + k];

  for (guint j = 0; j < node->layer->n_inputs; j++)
    args->x[j] = pt_wire_get_at (&wiring->wires[PT_WIRE_OF_INPUT
            (node->inputs[j])], self->index, sequence);
  args->y = pt_wire_get (&wiring->wires[1 + self->span->first + k
          + pt_stage_folds (self, k)], sequence);
  if (self->saved != NULL)
    for (guint i = 0; i < node->layer->n_saved; i++)
      args->saved[i] = pt_stage_get_saved (self, k, sequence)[i];
}

/* Until what the frame needs has been made, and what the stage is about to
 * overwrite has been read. */
gboolean
pt_stage_wait_turn (PtStage *self, guint64 sequence, GError **error)
{
  const PtWiring *wiring = self->wiring;

  return pt_wiring_wait_read (wiring, self->index, sequence, error)
      && pt_fences_wait (&self->progress->pushed, sequence,
      self->span->device, error)
      && (self->index == 0 || pt_fences_wait
      (&wiring->progress[self->index - 1].made, sequence, self->span->device,
          error));
}

/* Puts everything that the stages before have made where the device can use
 * it. */
static gboolean
stage_gather (PtStage *self, guint64 sequence, GError **error)
{
  const PtWiring *wiring = self->wiring;
  PtDevice *device = self->span->device;

  for (guint i = 0; i < wiring->n_wires; i++) {
    const PtWire *wire = &wiring->wires[i];

    if (wire->producer != PT_PRODUCER_PUSH && wire->arrives != NULL
        && wire->arrives[self->index] && !pt_device_transfer (device,
            pt_wire_get_at (wire, self->index, sequence),
            pt_wiring_get_maker (wiring, wire), pt_wire_get (wire, sequence),
            error))
      return FALSE;
  }
  return TRUE;
}

static gint64
stage_start_layer (PtStage *self, const gint64 *times)
{
  return times != NULL ? pt_clock_now () : 0;
}

/* The time of layer @k since @start, if it is the least so far. */
static gboolean
stage_note_least (PtStage *self, gint64 *times, guint k, gint64 start,
    GError **error)
{
  gint64 time;

  if (times == NULL)
    return TRUE;
  if (!pt_device_wait (self->span->device, error))
    return FALSE;
  time = pt_clock_now () - start;
  if (times[k] == 0 || time < times[k])
    times[k] = time;
  return TRUE;
}

/* @seeds: a PtLive for each layer on the device; NULL: by value. */
gboolean
pt_stage_forward (PtStage *self, const PtMessage *message, const PtLive *seeds,
    GError **error)
{
  if (!stage_gather (self, message->sequence, error))
    return FALSE;
  if (message->learn && !pt_arena_keep (&self->arena, message->sequence,
          error))
    return FALSE;
  for (guint k = 0; k < self->span->n; k++) {
    const PtLayer *layer = pt_stage_get_layer (self, k);
    PtTensor **w = pt_arena_get_w (&self->arena, 0, k);
    PtTensor **half = pt_arena_get_half (&self->arena, 0, k);
    PtLayerArgs args = { .learning = message->learn };
    gint64 start = stage_start_layer (self, self->layer_forward);

    if (pt_fold_is_absorbed (self->folds, k))
      continue;
    stage_fill (self, k, message->sequence, &args);
    args.seed = pt_stage_get_seed (self, k, message);
    args.live = seeds != NULL ? &seeds[k] : NULL;
    for (guint i = 0; i < layer->n_weights; i++) {
      args.w[i] = w[i];
      args.half[i] = half != NULL ? half[i] : NULL;
    }
    if (self->folds != NULL && self->folds[k].n_scales > 0)
      args.w[1] = w[self->folds[k].bias_layer * PT_LAYER_MAX_WEIGHTS
          + self->folds[k].bias_weight];
    if (!pt_layer_forward (layer, &self->plans[k], &args, error)) {
      g_prefix_error (error, "layer [%s]: ", layer->name);
      return FALSE;
    }
    if (!stage_note_least (self, self->layer_forward, k, start, error))
      return FALSE;
  }
  return TRUE;
}

/* One layer backward through the tensors of frame @through, while the stage
 * works on frame @sequence. */
static gboolean
stage_backward_layer (PtStage *self, guint k, guint64 sequence,
    guint64 through, GError **error)
{
  const PtNode *node =
      &self->wiring->network->nodes[self->span->first + k];
  guint copy = pt_arena_get_copy (&self->arena, through);
  PtTensor **w = pt_arena_get_w (&self->arena, copy, k);
  PtTensor **half = pt_arena_get_half (&self->arena, copy, k);
  PtTensor **dw = pt_arena_get_dw (&self->arena, k);
  gboolean scratch[PT_OP_MAX_INPUTS];
  PtLayerArgs args = { .learning = TRUE };

  stage_fill (self, k, through, &args);
  args.dy = pt_gradients_get (&self->gradients, 1 + self->span->first + k,
      sequence);
  args.frozen = !pt_learning_learns (self->learning, self->wiring->network,
      self->span->first + k);
  for (guint i = 0; i < node->layer->n_weights; i++) {
    args.w[i] = w[i];
    args.half[i] = half != NULL ? half[i] : NULL;
    args.dw[i] = dw[i];
  }
  pt_gradients_open (&self->gradients, node, sequence, args.dx, scratch);
  if (!pt_layer_backward (node->layer, &self->plans[k], &args, error)) {
    g_prefix_error (error, "layer [%s]: ", node->layer->name);
    return FALSE;
  }
  return pt_gradients_close (&self->gradients, node, sequence, scratch, error);
}

gboolean
pt_stage_backward (PtStage *self, guint64 sequence, GError **error)
{
  guint64 through = self->learning->mode == PT_MODE_DELAYED ?
      sequence - self->age : sequence;

  if (!pt_gradients_begin (&self->gradients, sequence, error))
    return FALSE;
  for (guint k = self->span->n; k-- > 0;) {
    gint64 start = stage_start_layer (self, self->layer_backward);

    if (!self->wiring->wires[1 + self->span->first + k].wants_gradient)
      continue;
    if (!stage_backward_layer (self, k, sequence, through, error)
        || !stage_note_least (self, self->layer_backward, k, start, error))
      return FALSE;
  }
  return TRUE;
}

/* @token as it goes on to the stage before, for the frame it works on then. */
void
pt_stage_send_token (PtStage *self, const PtMessage *token, guint64 sequence)
{
  PtMessage message = *token;

  message.sequence = sequence;
  self->sent[sequence % PT_STAGE_MAX_DELAY] = message;
  if (self->tokens_out != NULL)
    pt_queue_put (self->tokens_out, &message);
}

void
pt_stage_note_time (PtStage *self, guint64 *mean, gint64 time)
{
  g_mutex_lock (&self->lock);
  *mean = *mean == 0 ? time :
      *mean + STAGE_MEAN_WEIGHT * (time - (gdouble) *mean);
  g_mutex_unlock (&self->lock);
}

/* Of the next update. */
gdouble
pt_stage_get_rate (const PtStage *self, const PtMessage *message,
    const PtMessage *token)
{
  return token->rate * pt_learning_get_rate (self->learning, message->rate,
      self->age, self->arena.updates);
}

void
pt_stage_note_update (PtStage *self, gint change, gdouble rate)
{
  g_mutex_lock (&self->lock);
  self->stats.updates += change;
  self->stats.learning_rate = rate;
  g_mutex_unlock (&self->lock);
}

static gboolean
stage_update (PtStage *self, const PtMessage *message, const PtMessage *token,
    GError **error)
{
  gint64 start = pt_clock_now ();
  gdouble rate = pt_stage_get_rate (self, message, token);
  gboolean applied;

  if (!pt_arena_step (&self->arena, rate, &applied, error))
    return FALSE;
  if (!applied)
    return TRUE;
  pt_stage_note_time (self, &self->stats.update, pt_clock_now () - start);
  pt_stage_note_update (self, 1, rate);
  return TRUE;
}

void
pt_stage_note_dropped (PtStage *self)
{
  g_mutex_lock (&self->lock);
  self->stats.dropped++;
  g_mutex_unlock (&self->lock);
}

/* A device that computes later sends gradients before it knows whether they
 * are finite, with a gate that says so. */
static gboolean
stage_read_gate (PtStage *self, guint64 sequence, gboolean *open,
    GError **error)
{
  PtTensor *gate = pt_gradients_get_gate (&self->gradients, sequence);
  gint32 value = 1;

  if (gate != NULL && !self->span->device->backend->download
      (self->span->device, &value, gate->data, sizeof value, error))
    return FALSE;
  *open = value != 0;
  return TRUE;
}

/* Backward, token on, update. A gradient that is not finite goes no further. */
static gboolean
stage_use_gradient (PtStage *self, const PtMessage *message,
    const PtMessage *token, GError **error)
{
  gint64 start = pt_clock_now ();
  PtMessage on = *token;
  gboolean sound, open;

  if (!pt_gradients_wait (&self->gradients, message->sequence, error)
      || !pt_stage_backward (self, message->sequence, error)
      || !stage_read_gate (self, message->sequence, &open, error)
      || !pt_arena_check (&self->arena, &sound, error))
    return FALSE;
  sound = sound && open;
  if (!sound)
    on.type = PT_MESSAGE_TOKEN_NONE;
  if (!pt_fences_signal (&self->progress->sent, message->sequence, error))
    return FALSE;
  pt_stage_send_token (self, &on, message->sequence);
  pt_stage_note_time (self, &self->stats.backward, pt_clock_now () - start);
  if (sound)
    return stage_update (self, message, token, error);
  pt_stage_note_dropped (self);
  return TRUE;
}

/* What the stage does with the token that is due on @message's frame. */
static gboolean
stage_learn (PtStage *self, const PtMessage *message, const PtMessage *token,
    GError **error)
{
  if (token->type == PT_MESSAGE_TOKEN_GRADIENT) {
    if (!stage_use_gradient (self, message, token, error))
      return FALSE;
  } else {
    if (token->type == PT_MESSAGE_TOKEN_ROLLBACK
        && !pt_arena_roll_back (&self->arena, error))
      return FALSE;
    pt_stage_send_token (self, token, message->sequence);
  }
  return !token->keep || pt_arena_copy_aside (&self->arena, error);
}

PtTensor *
pt_stage_get_output (const PtStage *self, guint64 sequence)
{
  return pt_wire_get (&self->wiring->wires[pt_wiring_get_output
          (self->wiring)], sequence);
}

/* The loss of the frame, into loss_value, and its gradient with respect to the
 * output. */
gboolean
pt_stage_compare (PtStage *self, guint64 sequence, GError **error)
{
  const PtWiring *wiring = self->wiring;
  const PtWire *target = &wiring->wires[pt_wiring_get_target (wiring)];

  return pt_op_run (self->loss, &(PtOpArgs) {
        .x = pt_stage_get_output (self, sequence),
        .target = pt_wire_get_at (target, self->index, sequence),
        .loss = self->loss_value,
        .dx = pt_gradients_get (&self->gradients,
            pt_wiring_get_output (wiring), sequence) }, error);
}

static gboolean
stage_read_loss (PtStage *self, guint64 sequence, gdouble *loss,
    GError **error)
{
  if (!pt_stage_compare (self, sequence, error)
      || !pt_device_download (self->span->device, self->loss_host,
          self->loss_value, error))
    return FALSE;
  *loss = *(gfloat *) self->loss_host->data;
  return TRUE;
}

/* Everybody goes back to the last good state. Until the stages before have
 * heard of it, frames still run through the weights that went wrong. */
static void
stage_roll_back (PtStage *self, const PtMessage *message)
{
  const PtGuard *guard = &self->guard;

  self->quiet_until = message->sequence + 1 + self->token_delay * self->index;
  if (self->was_valid)
    self->hooks.diverged (self->hooks.data, message->frame, guard->why[0],
        guard->why[1], guard->scale);
}

/* What is to be sent back of a frame with that @loss. */
void
pt_stage_judge (PtStage *self, const PtMessage *message, gboolean valid,
    gdouble loss, PtMessage *token)
{
  gboolean learns = message->learn && self->learning->mode != PT_MODE_OFF;
  PtGuardVerdict verdict;

  if (message->sequence < self->quiet_until)
    verdict = PT_GUARD_SKIP;
  else if (message->again)      /* no measure of how the stream goes */
    verdict = valid && isfinite (loss) ? PT_GUARD_LEARN : PT_GUARD_SKIP;
  else
    verdict = pt_guard_look (&self->guard, valid, learns, loss);
  if (verdict == PT_GUARD_ROLL_BACK) {
    stage_roll_back (self, message);
    token->type = PT_MESSAGE_TOKEN_ROLLBACK;
  } else if (verdict != PT_GUARD_SKIP) {
    token->type = PT_MESSAGE_TOKEN_GRADIENT;
  } else if (learns) {
    pt_stage_note_dropped (self);
  }
  token->rate = self->guard.scale;
  token->keep = verdict == PT_GUARD_KEEP;
  if (!message->again)
    self->was_valid = valid;
}

/* The last stage: looks at the output, sends the result out, and finds the
 * token that it would have got from a stage after it. */
static gboolean
stage_finish (PtStage *self, const PtMessage *message, PtMessage *token,
    GError **error)
{
  PtTensor *output = pt_stage_get_output (self, message->sequence);
  gboolean learns = self->learning->mode != PT_MODE_OFF;
  gboolean valid = TRUE;
  gdouble loss = NAN;

  if (!pt_op_run (self->check, &(PtOpArgs) { .x = output, .finite = &valid },
          error))
    return FALSE;
  if (valid && message->has_target && learns
      && !stage_read_loss (self, message->sequence, &loss, error))
    return FALSE;
  if (learns)
    pt_stage_judge (self, message, valid, loss, token);
  if (self->output_host != NULL && !pt_device_transfer (NULL,
          self->output_host, self->span->device, output, error))
    return FALSE;
  return self->hooks.result (self->hooks.data, message,
      self->output_host != NULL ? self->output_host : output, valid, loss,
      self->arena.updates, error);
}

gboolean
pt_stage_take_token (PtStage *self, PtMessage *token)
{
  if (self->n_initial_tokens == 0)
    return pt_queue_take (self->tokens_in, token);
  self->n_initial_tokens--;
  *token = (PtMessage) { .type = PT_MESSAGE_TOKEN_NONE };
  return TRUE;
}

/* The step on one frame. FALSE without an error when flushing. */
gboolean
pt_stage_step (PtStage *self, const PtMessage *message, GError **error)
{
  PtMessage token = { .type = PT_MESSAGE_TOKEN_NONE };
  gint64 start = pt_clock_now ();

  if (self->async != NULL)
    return pt_stage_step_async (self, message, error);
  if (!pt_stage_wait_turn (self, message->sequence, error)
      || !pt_stage_forward (self, message, NULL, error)
      || !pt_fences_signal (&self->progress->made, message->sequence, error))
    return FALSE;
  pt_stage_note_time (self, &self->stats.forward, pt_clock_now () - start);
  self->n_frames++;
  if (self->out != NULL)
    pt_queue_put (self->out, message);
  else if (!stage_finish (self, message, &token, error))
    return FALSE;
  if (self->learning->mode != PT_MODE_OFF) {
    if (self->tokens_in != NULL && !pt_stage_take_token (self, &token))
      return FALSE;
    if (!stage_learn (self, message, &token, error))
      return FALSE;
  }
  if (!pt_fences_signal (&self->progress->done, message->sequence, error))
    return FALSE;
  if (self->out == NULL)
    self->hooks.finished (self->hooks.data);
  return TRUE;
}
