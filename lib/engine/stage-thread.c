/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/stage.h"

/* The thread of a stage: what it does besides steps, and its life. */

/* After the last frame: the tokens still to come wait for frames that never
 * come, and are dropped. But a rollback or an order to keep a copy among them
 * reaches every stage: what a stage takes here it passes on, so each takes as
 * many as all the stages after it have left over. */
static gboolean
stage_drain (PtStage *self, GError **error)
{
  guint n = MIN (self->n_frames, self->token_delay)
      * (self->wiring->n_stages - 1 - self->index);
  PtMessage token;

  if (self->learning->mode == PT_MODE_OFF)
    n = 0;
  self->n_initial_tokens = 0;
  while (n-- > 0 && pt_stage_take_token (self, &token)) {
    if (token.type != PT_MESSAGE_TOKEN_ROLLBACK)
      token.type = PT_MESSAGE_TOKEN_NONE;
    else if (!pt_arena_roll_back (&self->arena, error))
      return FALSE;
    if (token.keep && !pt_arena_copy_aside (&self->arena, error))
      return FALSE;
    pt_stage_send_token (self, &token, 0);
  }
  self->n_initial_tokens = self->token_delay;
  self->n_frames = 0;
  self->was_valid = TRUE;
  self->quiet_until = 0;
  return TRUE;
}

static gboolean
stage_run_marker (PtStage *self, const PtMessage *message, GError **error)
{
  PtMarker *marker = message->marker;

  if (self->out != NULL)
    pt_queue_put (self->out, message);
  if (!pt_stage_settle_async (self, error))
    return FALSE;
  if (marker->drains && !stage_drain (self, error))
    return FALSE;
  if (marker->run != NULL && !marker->run (self, marker, error))
    return FALSE;
  if (g_atomic_int_dec_and_test (&marker->n_left))
    marker->done (marker);
  return TRUE;
}

/* Room in the queue after comes first: see wiring.h. */
static gboolean
stage_take (PtStage *self, PtMessage *message)
{
  if (self->out != NULL && !pt_queue_wait_room (self->out))
    return FALSE;
  return pt_queue_take (self->in, message);
}

static void
stage_set_state (PtStage *self, PtStageState state)
{
  g_mutex_lock (&self->lock);
  self->state = state;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* Waits for an order. FALSE: to stop. */
static gboolean
stage_park (PtStage *self)
{
  gboolean stop;

  /* what is under way reads what others may now overwrite; where this fails,
   * so will the next step */
  pt_device_wait (self->span->device, NULL);
  stage_set_state (self, PT_STAGE_PARKED);
  g_mutex_lock (&self->lock);
  while (!self->resume && !self->stop)
    g_cond_wait (&self->changed, &self->lock);
  self->resume = FALSE;
  stop = self->stop;
  if (!stop)
    self->state = PT_STAGE_RUNNING;
  g_mutex_unlock (&self->lock);
  self->n_initial_tokens = self->token_delay;
  self->n_frames = 0;
  self->was_valid = TRUE;
  self->quiet_until = 0;
  return !stop;
}

static void
stage_run (PtStage *self, GError **error)
{
  PtMessage message;

  do {
    gboolean going = TRUE;

    while (going && *error == NULL && stage_take (self, &message))
      going = message.type == PT_MESSAGE_MARKER ?
          stage_run_marker (self, &message, error) :
          pt_stage_step (self, &message, error);
    if (*error != NULL)
      return;
  } while (stage_park (self));
}

static gpointer
stage_main (gpointer data)
{
  PtStage *self = data;
  g_autoptr (GError) error = NULL;

  pt_device_enter (self->span->device);
  if (pt_stage_plan (self, &error)) {
    g_mutex_lock (&self->lock);
    self->stats.memory = self->memory;
    g_mutex_unlock (&self->lock);
    stage_set_state (self, PT_STAGE_RUNNING);
    stage_run (self, &error);
    if (error != NULL) {
      g_prefix_error (&error, "stage %u on %s: ", self->index,
          pt_device_get_name (self->span->device));
      self->hooks.failed (self->hooks.data, error);
    } else if (!pt_stage_settle_async (self, &error)) {
      self->hooks.failed (self->hooks.data, error);
    } else if (!self->trial && !pt_arena_export (&self->arena, &error)) {
      self->hooks.failed (self->hooks.data, error);
    }
  } else {
    self->error = g_steal_pointer (&error);
    stage_set_state (self, PT_STAGE_FAILED);
  }
  pt_device_wait (self->span->device, NULL);
  pt_stage_clear_plan (self);
  pt_device_leave (self->span->device);
  stage_set_state (self, PT_STAGE_ENDED);
  return NULL;
}

/* Starts the thread, which plans first. */
void
pt_stage_start (PtStage *self)
{
  g_autofree gchar *name = g_strdup_printf ("pt-stage-%u", self->index);

  self->thread = g_thread_try_new (name, stage_main, self, &self->error);
  if (self->thread == NULL)
    self->state = PT_STAGE_FAILED;
}

/* Waits until the stage has planned; its error if it could not. */
gboolean
pt_stage_wait_started (PtStage *self, GError **error)
{
  g_mutex_lock (&self->lock);
  while (self->state == PT_STAGE_STARTING)
    g_cond_wait (&self->changed, &self->lock);
  g_mutex_unlock (&self->lock);
  if (self->error == NULL)
    return TRUE;
  g_propagate_error (error, g_error_copy (self->error));
  return FALSE;
}

/* Waits until the stage has noticed that its queues flush. */
void
pt_stage_wait_parked (PtStage *self)
{
  g_mutex_lock (&self->lock);
  while (self->state == PT_STAGE_RUNNING)
    g_cond_wait (&self->changed, &self->lock);
  g_mutex_unlock (&self->lock);
}

void
pt_stage_resume (PtStage *self)
{
  g_mutex_lock (&self->lock);
  self->resume = self->state == PT_STAGE_PARKED;
  if (self->resume)
    self->state = PT_STAGE_RUNNING;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* Ends the thread; its queues must be flushing. The weights are in the
 * network again. */
void
pt_stage_stop (PtStage *self)
{
  if (self->thread == NULL)
    return;
  g_mutex_lock (&self->lock);
  self->stop = TRUE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&self->thread, g_thread_join);
}

void
pt_stage_get_stats (PtStage *self, PtStageStats *stats)
{
  g_mutex_lock (&self->lock);
  *stats = self->stats;
  g_mutex_unlock (&self->lock);
}
