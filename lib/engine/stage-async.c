/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/stage.h"

#include <math.h>

#include "engine/recording.h"

/* The step of a stage whose device computes later than it is asked to: forward
 * pass, backward pass and update are handed to it as three recordings, and
 * nobody waits but the last stage, for its output. What is to become of a
 * gradient that is not finite is decided on the device; the host learns of it
 * some frames later, and always the same number of frames. */

enum
{
  ASYNC_FORWARD,                /* + 1: it learns, + 2: it has a target */
  ASYNC_BACKWARD = ASYNC_FORWARD + 4,
  ASYNC_UPDATE,
  ASYNC_N_KINDS,
};

/* What the device tells of a frame. */
typedef struct
{
  gfloat loss;
  gint32 valid, open;
} AsyncReport;

/* What the passes of a frame take is measured on the device, and read when
 * the frame's memory is used again: nobody waits for it. */
enum
{
  ASYNC_TIME_FORWARD,
  ASYNC_TIME_BACKWARD,
  ASYNC_TIME_UPDATE,
  ASYNC_N_TIMES,
};

#define ASYNC_TIMED 4           /* every so many frames */

typedef struct
{
  gpointer begin, end;          /* clocks */
  gboolean running;
} AsyncTimer;

struct _PtStageAsync
{
  PtRecordings recordings;
  guint n_phases;               /* frames until all addresses recur */
  guint n_seeds, n_rates;       /* PtLives of a frame: layers, segments */
  PtTensor *seeds, *seeds_host, *rates_host;    /* by phase */
  PtTensor **rates;             /* by phase */
  PtTensor *square, *steps, *valid, *open;
  PtTensor *reports;            /* by phase, the host's */
  gboolean *launched;           /* by phase: an update no report is read of */
  gboolean steps_stale;         /* arena.updates was set by the host */
  PtOp *gate, *go;
  PtFences ready;               /* the last stage's output is with the host */
  AsyncTimer *timers;           /* by phase: of each of the passes */
};

/* What a recording is made of. */
typedef struct
{
  PtStage *stage;
  const PtMessage *message;
} AsyncWork;

static guint
async_get_phase (const PtStage *self, guint64 sequence)
{
  return sequence % self->async->n_phases;
}

static AsyncReport *
async_get_report (const PtStage *self, guint phase)
{
  return (AsyncReport *) self->async->reports->data + phase;
}

static gboolean
async_copy (PtStage *self, gpointer dst, gconstpointer src, gsize bytes,
    GError **error)
{
  PtDevice *device = self->span->device;

  return device->backend->copy (device, dst, src, bytes, error);
}

/* The lengths of the rings are powers of two: the longest is a multiple of
 * each. Wires that only pass by do not count: that of the target is long. */
static guint
async_count_phases (const PtStage *self)
{
  const PtWiring *wiring = self->wiring;
  guint n = MAX (wiring->n_gradient_slots, self->n_saved_slots);

  for (guint i = 0; i < wiring->n_wires; i++)
    if (wiring->wires[i].producer == (gint) self->index
        || pt_wiring_reads (wiring, i, self->index))
      n = MAX (n, wiring->wires[i].n_slots);
  return MAX (n, self->arena.n_copies - 1);
}

static gboolean
async_make_timers (PtStage *self, GError **error)
{
  PtStageAsync *async = self->async;
  PtDevice *device = self->span->device;

  async->timers = g_new0 (AsyncTimer, async->n_phases * ASYNC_N_TIMES);
  for (guint i = 0; i < async->n_phases * ASYNC_N_TIMES; i++)
    if (!(async->timers[i].begin = device->backend->clock_new (device, error))
        || !(async->timers[i].end = device->backend->clock_new (device,
                error)))
      return FALSE;
  return TRUE;
}

static void
async_free_timers (PtStage *self)
{
  PtDevice *device = self->span->device;
  AsyncTimer *timers = self->async->timers;

  for (guint i = 0; timers != NULL
      && i < self->async->n_phases * ASYNC_N_TIMES; i++) {
    if (timers[i].begin != NULL)
      device->backend->fence_free (device, timers[i].begin);
    if (timers[i].end != NULL)
      device->backend->fence_free (device, timers[i].end);
  }
  g_free (timers);
}

/* Of a frame that is through. */
static void
async_read_timers (PtStage *self, guint phase)
{
  PtDevice *device = self->span->device;
  guint64 *means[] = { &self->stats.forward, &self->stats.backward,
    &self->stats.update };

  for (guint i = 0; i < ASYNC_N_TIMES; i++) {
    AsyncTimer *timer = &self->async->timers[phase * ASYNC_N_TIMES + i];
    gint64 time;

    if (!timer->running)
      continue;
    timer->running = FALSE;
    time = device->backend->clock_between (device, timer->begin, timer->end);
    if (time >= 0)
      pt_stage_note_time (self, means[i], time);
  }
}

static PtTensor *
async_new_lives (PtStage *self, guint n, gboolean host, GError **error)
{
  gsize bytes = MAX (n, 1) * self->async->n_phases * sizeof (PtLive);

  return host ? pt_device_host_tensor_new (self->span->device, PT_F32,
      &PT_SHAPE (bytes / sizeof (gfloat)), error)
      : pt_device_bytes_new (self->span->device, bytes, error);
}

static gboolean
async_allocate (PtStage *self, GError **error)
{
  PtStageAsync *async = self->async;
  PtDevice *device = self->span->device;
  gsize bytes = MAX (async->n_rates, 1) * sizeof (PtLive);
  g_autoptr (PtTensor) rates = async_new_lives (self, async->n_rates, FALSE,
      error);

  if (rates == NULL
      || !(async->rates_host = async_new_lives (self, async->n_rates, TRUE,
              error))
      || !(async->seeds = async_new_lives (self, async->n_seeds, FALSE,
              error))
      || !(async->seeds_host = async_new_lives (self, async->n_seeds, TRUE,
              error))
      || !(async->square = pt_device_bytes_new (device, 8, error))
      || !(async->steps = pt_device_bytes_new (device, 8, error))
      || !(async->valid = pt_device_bytes_new (device, 4, error))
      || !(async->open = pt_device_bytes_new (device, 4, error))
      || !(async->reports = pt_device_host_tensor_new (device, PT_F32,
              &PT_SHAPE (async->n_phases * sizeof (AsyncReport) / 4), error)))
    return FALSE;
  for (guint i = 0; i < async->n_phases; i++)
    async->rates[i] = pt_tensor_view (rates, i * bytes,
        &PT_SHAPE (bytes / sizeof (gfloat)), bytes);
  return pt_fences_init (&async->ready, device, 1, error)
      && async_make_timers (self, error);
}

static gboolean
async_plan_ops (PtStage *self, GError **error)
{
  PtShape one = PT_SHAPE (1);
  PtOpDesc gate = { .type = PT_OP_GATE, .x = one };
  PtOpDesc go = { .type = PT_OP_GO, .x = one,
    .go = { self->async->n_rates, self->learning->clip_norm } };

  return self->learning->mode == PT_MODE_OFF
      || ((self->async->gate = pt_op_new (&self->workspace, &gate, error))
      && (self->async->go = pt_op_new (&self->workspace, &go, error)));
}

/* Whether the host is needed in the middle of a step: to time layers, to count
 * gradients that are summed up, to clip what was projected before. */
static gboolean
async_is_possible (const PtStage *self)
{
  const PtLearning *learning = self->learning;

  return self->span->device->backend->record != NULL
      && self->layer_forward == NULL
      && (learning->mode == PT_MODE_OFF || (learning->accumulate == 1
          && (learning->orthogonal == 0 || learning->clip_norm == 0)));
}

/* The last part of pt_stage_plan(). */
gboolean
pt_stage_plan_async (PtStage *self, GError **error)
{
  PtStageAsync *async;

  if (!async_is_possible (self))
    return TRUE;
  async = self->async = g_new0 (PtStageAsync, 1);
  async->n_phases = async_count_phases (self);
  async->n_seeds = self->span->n;
  async->n_rates = self->arena.n_segments;
  async->steps_stale = TRUE;
  async->launched = g_new0 (gboolean, async->n_phases);
  async->rates = g_new0 (PtTensor *, async->n_phases);
  pt_recordings_init (&async->recordings, self->span->device, ASYNC_N_KINDS,
      async->n_phases);
  return async_allocate (self, error) && async_plan_ops (self, error);
}

void
pt_stage_clear_async (PtStage *self)
{
  PtStageAsync *async = self->async;

  if (async == NULL)
    return;
  pt_recordings_clear (&async->recordings);
  pt_fences_clear (&async->ready);
  async_free_timers (self);
  for (guint i = 0; i < async->n_phases; i++)
    g_clear_pointer (&async->rates[i], pt_tensor_unref);
  g_clear_pointer (&async->rates_host, pt_tensor_unref);
  g_clear_pointer (&async->seeds, pt_tensor_unref);
  g_clear_pointer (&async->seeds_host, pt_tensor_unref);
  g_clear_pointer (&async->square, pt_tensor_unref);
  g_clear_pointer (&async->steps, pt_tensor_unref);
  g_clear_pointer (&async->valid, pt_tensor_unref);
  g_clear_pointer (&async->open, pt_tensor_unref);
  g_clear_pointer (&async->reports, pt_tensor_unref);
  g_clear_pointer (&async->gate, pt_op_free);
  g_clear_pointer (&async->go, pt_op_free);
  g_free (async->rates);
  g_free (async->launched);
  g_clear_pointer (&self->async, g_free);
}

/* An update that was counted when it was handed over may not have been. */
static void
async_read_report (PtStage *self, guint phase)
{
  if (!self->async->launched[phase])
    return;
  self->async->launched[phase] = FALSE;
  if (async_get_report (self, phase)->open)
    return;
  self->arena.updates--;
  pt_stage_note_update (self, -1, self->stats.learning_rate);
  pt_stage_note_dropped (self);
}

/* Waits for all that was handed over: then what is on the device is as the
 * host believes, and may be changed by it. */
gboolean
pt_stage_settle_async (PtStage *self, GError **error)
{
  if (self->async == NULL)
    return TRUE;
  if (!pt_device_wait (self->span->device, error))
    return FALSE;
  for (guint i = 0; i < self->async->n_phases; i++)
    async_read_report (self, i);
  self->async->steps_stale = TRUE;
  return TRUE;
}

/* The frame whose memory of the host is used again is through. */
static gboolean
async_begin (PtStage *self, const PtMessage *message, GError **error)
{
  PtStageAsync *async = self->async;
  guint phase = async_get_phase (self, message->sequence);
  PtLive *seeds = (PtLive *) async->seeds_host->data
      + phase * (gsize) async->n_seeds;

  if (message->sequence >= async->n_phases
      && !pt_fences_wait (&self->progress->done,
          message->sequence - async->n_phases, NULL, error))
    return FALSE;
  async_read_report (self, phase);
  async_read_timers (self, phase);
  for (guint k = 0; message->learn && k < async->n_seeds; k++)
    seeds[k].seed = pt_stage_get_seed (self, k, message);
  return TRUE;
}

static gboolean
async_record_copies (PtStage *self, guint64 sequence, GError **error)
{
  for (guint i = 0; i < self->wiring->network->n_outputs; i++) {
    const PtTensor *output = pt_stage_get_output (self, i, sequence);

    if (!async_copy (self, self->outputs[i]->data, output->data, output->size,
            error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
async_record_output (PtStage *self, const PtMessage *message, GError **error)
{
  PtStageAsync *async = self->async;
  PtTensor *output = pt_stage_get_output (self, 0, message->sequence);
  AsyncReport *report = async_get_report (self,
      async_get_phase (self, message->sequence));

  if (!pt_op_run (self->check, &(PtOpArgs) { .x = output,
          .y = async->valid }, error)
      || !async_record_copies (self, message->sequence, error)
      || !async_copy (self, &report->valid, async->valid->data, 4, error))
    return FALSE;
  if (!message->has_target || self->learning->mode == PT_MODE_OFF)
    return TRUE;
  return pt_stage_compare (self, message->sequence, error)
      && async_copy (self, &report->loss, self->loss_value->data, 4, error);
}

static gboolean
async_record_forward (gpointer data, GError **error)
{
  const AsyncWork *work = data;
  PtStage *self = work->stage;
  gsize at = async_get_phase (self, work->message->sequence)
      * (gsize) self->async->n_seeds;
  PtLive *seeds = (PtLive *) self->async->seeds->data + at;
  const PtLive *host = (PtLive *) self->async->seeds_host->data + at;

  if (work->message->learn && !async_copy (self, seeds, host,
          self->async->n_seeds * sizeof (PtLive), error))
    return FALSE;
  return pt_stage_forward (self, work->message, seeds, error)
      && (self->out != NULL
      || async_record_output (self, work->message, error));
}

static gboolean
async_record_backward (gpointer data, GError **error)
{
  const AsyncWork *work = data;
  PtStage *self = work->stage;
  guint64 sequence = work->message->sequence;
  PtTensor *open = pt_gradients_get_gate_out (&self->gradients, sequence);
  AsyncReport *report = async_get_report (self,
      async_get_phase (self, sequence));

  if (open == NULL)
    open = self->async->open;
  return pt_stage_backward (self, sequence, error)
      && pt_arena_measure (&self->arena, self->async->square, error)
      && pt_op_run (self->async->gate, &(PtOpArgs) {
        .x = self->async->square,
        .target = pt_gradients_get_gate (&self->gradients, sequence),
        .y = open }, error)
      && (open == self->async->open || async_copy (self,
          self->async->open->data, open->data, 4, error))
      && async_copy (self, &report->open, open->data, 4, error);
}

static gboolean
async_record_update (gpointer data, GError **error)
{
  const AsyncWork *work = data;
  PtStage *self = work->stage;
  PtStageAsync *async = self->async;
  guint phase = async_get_phase (self, work->message->sequence);
  PtTensor *rates = async->rates[phase];
  const PtLive *host = (PtLive *) async->rates_host->data
      + phase * (gsize) MAX (async->n_rates, 1);

  return async_copy (self, rates->data, host, rates->size, error)
      && pt_op_run (async->go, &(PtOpArgs) { .x = async->square,
        .target = async->open, .slots = { async->steps }, .y = rates }, error)
      && pt_arena_step_live (&self->arena, rates->data, error);
}

static gboolean
async_run (PtStage *self, guint kind, const PtMessage *message,
    PtRecordedFunc func, GError **error)
{
  PtDevice *device = self->span->device;
  guint phase = async_get_phase (self, message->sequence);
  guint time = kind < ASYNC_BACKWARD ? ASYNC_TIME_FORWARD :
      kind == ASYNC_BACKWARD ? ASYNC_TIME_BACKWARD : ASYNC_TIME_UPDATE;
  AsyncTimer *timer = &self->async->timers[phase * ASYNC_N_TIMES + time];
  AsyncWork work = { self, message };

  /* not the first ones, which load what they need */
  timer->running = self->n_frames > ASYNC_TIMED
      && message->sequence % ASYNC_TIMED == 0;
  return (!timer->running
      || device->backend->fence_signal (device, timer->begin, error))
      && pt_recordings_run (&self->async->recordings, kind, phase, func,
      &work, error)
      && (!timer->running
      || device->backend->fence_signal (device, timer->end, error));
}

static gboolean
async_update (PtStage *self, const PtMessage *message, const PtMessage *token,
    GError **error)
{
  PtStageAsync *async = self->async;
  guint phase = async_get_phase (self, message->sequence);
  PtLive *rates = (PtLive *) async->rates_host->data
      + phase * (gsize) MAX (async->n_rates, 1);
  gdouble rate = pt_stage_get_rate (self, message, token);
  PtDevice *device = self->span->device;

  if (async->steps_stale && !device->backend->upload (device,
          async->steps->data, &self->arena.updates, 8, error))
    return FALSE;
  async->steps_stale = FALSE;
  for (guint i = 0; i < async->n_rates; i++) {
    rates[i].scale = 1;
    rates[i].rate = rate * self->arena.segments[i].scale;
  }
  if (!async_run (self, ASYNC_UPDATE, message, async_record_update, error))
    return FALSE;
  async->launched[phase] = TRUE;
  self->arena.updates++;
  pt_stage_note_update (self, 1, rate);
  return TRUE;
}

static gboolean
async_backward (PtStage *self, const PtMessage *message, GError **error)
{
  return pt_gradients_wait (&self->gradients, message->sequence, error)
      && async_run (self, ASYNC_BACKWARD, message, async_record_backward,
      error);
}

/* Sends the token on, whose gradients, if it has any, are under way. */
static gboolean
async_learn (PtStage *self, const PtMessage *message, const PtMessage *token,
    GError **error)
{
  gboolean learns = token->type == PT_MESSAGE_TOKEN_GRADIENT;

  if (learns && !pt_fences_signal (&self->progress->sent, message->sequence,
          error))
    return FALSE;
  if (token->type == PT_MESSAGE_TOKEN_ROLLBACK
      && (!pt_stage_settle_async (self, error)
          || !pt_arena_roll_back (&self->arena, error)))
    return FALSE;
  pt_stage_send_token (self, token, message->sequence);
  if (learns && !async_update (self, message, token, error))
    return FALSE;
  return !token->keep || (pt_stage_settle_async (self, error)
      && pt_arena_copy_aside (&self->arena, error));
}

/* Its backward pass is under way while the host looks at the output. */
static gboolean
async_finish (PtStage *self, const PtMessage *message, GError **error)
{
  gboolean learns = self->learning->mode != PT_MODE_OFF;
  gboolean goes_back = learns && message->learn && message->has_target
      && message->sequence >= self->quiet_until;
  PtMessage token = { .type = PT_MESSAGE_TOKEN_NONE };
  const AsyncReport *report = async_get_report (self,
      async_get_phase (self, message->sequence));
  gdouble loss = NAN;

  if (!pt_fences_signal (&self->async->ready, 0, error)
      || (goes_back && !async_backward (self, message, error))
      || !pt_fences_wait (&self->async->ready, 0, NULL, error))
    return FALSE;
  if (report->valid && message->has_target && learns)
    loss = report->loss;
  if (learns)
    pt_stage_judge (self, message, report->valid, loss, &token);
  return self->hooks.result (self->hooks.data, message, self->outputs,
      report->valid, loss, self->arena.updates, error)
      && (!learns || async_learn (self, message, &token, error));
}

/* A stage before the last. */
static gboolean
async_use_token (PtStage *self, const PtMessage *message, GError **error)
{
  PtMessage token;

  if (self->learning->mode == PT_MODE_OFF)
    return TRUE;
  if (!pt_stage_take_token (self, &token))
    return FALSE;
  if (token.type == PT_MESSAGE_TOKEN_GRADIENT
      && !async_backward (self, message, error))
    return FALSE;
  return async_learn (self, message, &token, error);
}

/* pt_stage_step() for a stage that has been planned so. */
gboolean
pt_stage_step_async (PtStage *self, const PtMessage *message, GError **error)
{
  guint kind = ASYNC_FORWARD + (message->learn ? 1 : 0)
      + (message->has_target ? 2 : 0);

  if (!async_begin (self, message, error)
      || !pt_stage_wait_turn (self, message->sequence, error)
      || !async_run (self, kind, message, async_record_forward, error)
      || !pt_fences_signal (&self->progress->made, message->sequence, error))
    return FALSE;
  self->n_frames++;
  if (self->out != NULL)
    pt_queue_put (self->out, message);
  if (!(self->out != NULL ? async_use_token (self, message, error) :
          async_finish (self, message, error))
      || !pt_fences_signal (&self->progress->done, message->sequence, error))
    return FALSE;
  if (self->out == NULL)
    self->hooks.finished (self->hooks.data);
  return TRUE;
}
