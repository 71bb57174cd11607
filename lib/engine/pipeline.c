/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include <math.h>

/* How long a thread spins for the next message before it sleeps, where every
 * thread has a core of its own: a sleep and a wake-up cost about 20 us. */
#define PIPELINE_SPIN 50000

/* Number of the first frame: those before it, which a checkpoint brings back,
 * have numbers too. */
#define PIPELINE_FIRST 1048576

/* Results that may wait to be pulled, besides one for each stage. */
#define PIPELINE_RESULTS 2

G_DEFINE_BOXED_TYPE (PtPipeline, pt_pipeline, pt_pipeline_ref,
    pt_pipeline_unref)

/**
 * pt_pipeline_new:
 * @network: what to run; its settings say how, see pt_network_set()
 * @error: return location
 *
 * Returns: (transfer full): a pipeline, not running, or %NULL with
 *   %PT_ERROR_CONFIG if the group [learning] makes no sense
 */
PtPipeline *
pt_pipeline_new (PtNetwork *network, GError **error)
{
  PtPipeline *self = g_new0 (PtPipeline, 1);
  gboolean sound;

  g_atomic_ref_count_init (&self->refs);
  g_mutex_init (&self->push_lock);
  g_mutex_init (&self->settings_lock);
  g_mutex_init (&self->error_lock);
  g_mutex_init (&self->marker_lock);
  g_mutex_init (&self->weights_lock);
  g_mutex_init (&self->shared_lock);
  g_cond_init (&self->marker_changed);
  g_cond_init (&self->shared_changed);
  self->streams = g_ptr_array_new ();
  self->main.pipeline = self;
  pt_stats_init (&self->main.stats);
  pt_measures_init (&self->main.measures);
  self->network = pt_network_ref (network);
  self->asked_rate = NAN;
  self->checkpoint_keep = 1;
  self->main.learn = TRUE;
  self->markers = g_ptr_array_new_with_free_func ((GDestroyNotify)
      pt_marker_unref);
  sound = pt_learning_init (&self->learning, network, error);
  self->main.interval = self->learning.interval;
  self->main.policy = self->learning.policy;
  pt_learning_clear (&self->learning);
  if (!sound)
    g_clear_pointer (&self, pt_pipeline_unref);
  return self;
}

/**
 * pt_pipeline_ref:
 * @self: a pipeline
 *
 * Thread-safe.
 *
 * Returns: (transfer full): @self
 */
PtPipeline *
pt_pipeline_ref (PtPipeline *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

/**
 * pt_pipeline_unref:
 * @self: (transfer full): a pipeline
 *
 * With the last reference it stops, which waits for its threads.
 */
void
pt_pipeline_unref (PtPipeline *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  pt_pipeline_stop (self);
  g_ptr_array_unref (self->markers);
  g_ptr_array_unref (self->streams);
  pt_network_unref (self->network);
  g_clear_pointer (&self->frame_device, pt_device_unref);
  g_clear_error (&self->error);
  pt_stats_clear (&self->main.stats);
  pt_measures_clear (&self->main.measures);
  g_cond_clear (&self->marker_changed);
  g_cond_clear (&self->shared_changed);
  g_mutex_clear (&self->shared_lock);
  g_mutex_clear (&self->push_lock);
  g_mutex_clear (&self->settings_lock);
  g_mutex_clear (&self->error_lock);
  g_mutex_clear (&self->marker_lock);
  g_mutex_clear (&self->weights_lock);
  g_free (self);
}

/**
 * pt_pipeline_set_event_func: (skip)
 * @self: a pipeline that does not run
 * @func: (nullable): called from the library's threads
 * @data: passed to @func
 */
void
pt_pipeline_set_event_func (PtPipeline *self, PtEventFunc func, gpointer data)
{
  self->event_func = func;
  self->event_data = data;
}

/**
 * pt_pipeline_set_target_fps:
 * @self: a pipeline that does not run
 * @fps: frames per second of a live stream, or 0: as many as possible
 *
 * What stages=auto aims at: the lowest latency that keeps up with @fps, or the
 * best rate.
 */
void
pt_pipeline_set_target_fps (PtPipeline *self, gdouble fps)
{
  self->target_fps = fps;
}

void
pt_pipeline_emit (PtPipeline *self, const PtEvent *event)
{
  if (self->event_func != NULL)
    self->event_func (self, event, self->event_data);
}

static void
pipeline_finished (gpointer data)
{
  g_atomic_int_inc (&((PtPipeline *) data)->n_finished);
}

static void
pipeline_diverged (gpointer data, guint64 frame, gdouble loss, gdouble best,
    gdouble scale)
{
  PtPipeline *self = data;

  pt_stats_add_rollback (&self->main.stats);
  pt_pipeline_emit (self, &(PtEvent) { .type = PT_EVENT_DIVERGED,
      .frame = frame, .loss = loss, .best = best, .rate_scale = scale });
}

/* On the thread of the stage that failed: everybody else is let go. */
static void
pipeline_failed (gpointer data, const GError *error)
{
  PtPipeline *self = data;
  gboolean first;

  g_mutex_lock (&self->error_lock);
  first = self->error == NULL;
  if (first)
    self->error = g_error_copy (error);
  g_mutex_unlock (&self->error_lock);
  g_mutex_lock (&self->marker_lock);
  g_atomic_int_set (&self->failed, TRUE);
  g_cond_broadcast (&self->marker_changed);
  g_mutex_unlock (&self->marker_lock);
  pt_pipeline_set_queues_flushing (self, TRUE);
  pt_stream_fail_all (self);
  if (first)
    pt_pipeline_emit (self, &(PtEvent) { .type = PT_EVENT_ERROR,
        .error = error });
}

/* Spinning pays only where nobody waits for the core. */
static gint64
pipeline_get_spin (PtPipeline *self)
{
  guint n_threads = 0;

  for (guint i = 0; i < self->n_stages; i++) {
    PtDevice *device = self->wiring.spans[i].device;

    if (!g_str_equal (device->backend->name, "cpu"))
      return 0;
    n_threads += pt_device_get_n_threads (device);
  }
  return n_threads <= pt_device_count_cores () ? PIPELINE_SPIN : 0;
}

static void
pipeline_make_queues (PtPipeline *self)
{
  gint64 spin = pipeline_get_spin (self);
  guint n = self->n_stages;

  /* a replayed frame goes in behind another without asking for room */
  self->in = pt_queue_new (PT_QUEUE_FRAMES, spin);
  self->main.out = pt_queue_new (n + PIPELINE_RESULTS, 0);
  self->between = g_new0 (PtQueue *, n);
  self->tokens = g_new0 (PtQueue *, n);
  for (guint i = 0; i + 1 < n; i++) {
    self->between[i] = pt_queue_new (PT_QUEUE_FRAMES, spin);
    self->tokens[i] = pt_queue_new (PT_QUEUE_FRAMES + 2, spin);
  }
}

static void
pipeline_make_stages (PtPipeline *self)
{
  PtStageHooks hooks = { .result = pt_pipeline_result,
    .finished = pipeline_finished, .diverged = pipeline_diverged,
    .failed = pipeline_failed, .data = self };
  guint n = self->n_stages;

  self->stages = g_new0 (PtStage *, n);
  for (guint i = 0; i < n; i++) {
    PtStage *stage = pt_stage_new (&self->wiring, &self->learning, i, &hooks);

    stage->in = i == 0 ? self->in : self->between[i - 1];
    stage->out = i == n - 1 ? NULL : self->between[i];
    stage->tokens_in = i == n - 1 ? NULL : self->tokens[i];
    stage->tokens_out = i == 0 ? NULL : self->tokens[i - 1];
    stage->trial = self->trial;
    if (self->trial) {
      stage->layer_forward = g_new0 (gint64, stage->span->n);
      stage->layer_backward = g_new0 (gint64, stage->span->n);
    }
    self->stages[i] = stage;
  }
}

static gboolean
pipeline_start_stages (PtPipeline *self, GError **error)
{
  gboolean started = TRUE;

  for (guint i = 0; i < self->n_stages; i++)
    pt_stage_start (self->stages[i]);
  for (guint i = 0; i < self->n_stages; i++)
    started = pt_stage_wait_started (self->stages[i],
        started ? error : NULL) && started;
  return started;
}

/* The first stage's device, if frames are in its memory. */
static PtDevice *
pipeline_find_frames (const PtPipeline *self)
{
  PtDevice *first = self->wiring.spans[0].device;

  return self->frame_device != NULL && first->backend->normalise_frame != NULL
      && pt_device_shares_memory (first, self->frame_device) ? first : NULL;
}

static gboolean
pipeline_place (PtPipeline *self, GError **error)
{
  const PtPlacement *placement = self->given;

  if (placement == NULL) {
    if (self->placement.n_stages == 0
        && !pt_placement_find (&self->placement, self->network, self->target_fps,
            error))
      return FALSE;
    placement = &self->placement;
  }
  self->n_stages = placement->n_stages;
  pt_learning_settle (&self->learning, self->n_stages,
      self->network->settings.warmup);
  pt_wiring_init (&self->wiring, self->network, &self->learning,
      placement->spans, placement->n_stages);
  self->wiring.host_looks = self->main.measures.task != PT_TASK_NONE;
  self->wiring.frames = pipeline_find_frames (self);
  return pt_wiring_allocate (&self->wiring, error);
}

static gboolean
pipeline_make_replay (PtPipeline *self, GError **error)
{
  const PtWire *input = &self->wiring.wires[0];
  const PtWire *target =
      &self->wiring.wires[pt_wiring_get_target (&self->wiring)];

  if (self->learning.mode == PT_MODE_OFF || input->slots == NULL)
    return TRUE;
  return pt_replay_init (&self->replay, self->learning.replay, input, target,
      error);
}

static gboolean
pipeline_prepare (PtPipeline *self, GError **error)
{
  if (!pt_learning_init (&self->learning, self->network, error))
    return FALSE;
  self->drew_weights = !self->network->initialised;
  if (!pt_network_need_weights (self->network, error))
    return FALSE;
  pt_measures_start_for (&self->main.measures, self->network, &self->learning);
  if (!pipeline_place (self, error)
      || !pt_frame_maker_init (&self->main.maker, self->network,
          &self->learning, self->wiring.wires[0].pusher, error))
    return FALSE;
  g_mutex_lock (&self->settings_lock);
  self->rate = isnan (self->asked_rate) ? self->learning.rate :
      self->asked_rate;
  g_mutex_unlock (&self->settings_lock);
  self->results = pt_result_pool_new (self->network,
      self->n_stages + PIPELINE_RESULTS + 2, error);
  if (self->results == NULL)
    return FALSE;
  if (!pipeline_make_replay (self, error))
    return FALSE;
  pipeline_make_queues (self);
  pipeline_make_stages (self);
  return pipeline_start_stages (self, error);
}

/* Frees what pipeline_prepare() made, also half of it. */
static void
pipeline_unprepare (PtPipeline *self)
{
  for (guint i = 0; self->stages != NULL && i < self->n_stages; i++)
    pt_stage_stop (self->stages[i]);
  if (self->stages != NULL)
    pt_pipeline_clear_stream (self);
  for (guint i = 0; self->stages != NULL && i < self->n_stages; i++) {
    pt_stage_free (self->stages[i]);
    g_clear_pointer (&self->between[i], pt_queue_free);
    g_clear_pointer (&self->tokens[i], pt_queue_free);
  }
  pt_stream_clear_all (self);
  g_clear_pointer (&self->stages, g_free);
  g_clear_pointer (&self->between, g_free);
  g_clear_pointer (&self->tokens, g_free);
  g_clear_pointer (&self->in, pt_queue_free);
  g_clear_pointer (&self->main.out, pt_queue_free);
  g_clear_pointer (&self->results, pt_result_pool_unref);
  pt_frame_maker_clear (&self->main.maker);
  pt_replay_clear (&self->replay);
  pt_wiring_clear (&self->wiring);
  pt_placement_clear (&self->placement);
  pt_learning_clear (&self->learning);
  self->n_stages = 0;
}

/**
 * pt_pipeline_start:
 * @self: a pipeline that does not run
 * @error: return location
 *
 * Finds the cut (which measures for up to a few seconds where the settings say
 * auto), takes all memory, and starts a thread for each stage. Weights that
 * the network does not have yet are drawn from the seed.
 *
 * Returns: whether it runs; else %PT_ERROR_CONFIG for settings that do not fit
 *   the network, %PT_ERROR_DEVICE for a device that is not there,
 *   %PT_ERROR_UNSUPPORTED for an operation a device lacks, %PT_ERROR_NO_MEMORY
 */
gboolean
pt_pipeline_start (PtPipeline *self, GError **error)
{
  g_autoptr (GMutexLocker) locker = NULL;

  g_return_val_if_fail (!self->running, FALSE);
  locker = g_mutex_locker_new (&self->weights_lock);
  g_clear_error (&self->error);
  g_atomic_int_set (&self->failed, FALSE);
  g_atomic_int_set (&self->flushing, FALSE);
  g_atomic_int_set (&self->replaced, FALSE);
  g_atomic_int_set (&self->handing_over, FALSE);
  pt_stats_reset (&self->main.stats);
  self->sequence = PIPELINE_FIRST;
  self->main.frame = self->main.drained = self->n_learning = 0;
  self->n_pushed = self->n_finished = 0;
  if (!pipeline_prepare (self, error)) {
    if (self->in != NULL)
      pt_pipeline_set_queues_flushing (self, TRUE);
    pipeline_unprepare (self);
    return FALSE;
  }
  self->running = TRUE;
  return TRUE;
}

/* Lets the stages run the markers that are under way, without frames. */
static void
pipeline_finish_markers (PtPipeline *self)
{
  g_autoptr (PtMarker) last = pt_marker_new (self, NULL, NULL, NULL);

  pt_pipeline_set_flushing (self, TRUE);
  if (g_atomic_int_get (&self->failed))
    return;
  pt_pipeline_set_flushing (self, FALSE);
  pt_pipeline_run_marker (self, last, NULL);
}

/**
 * pt_pipeline_stop:
 * @self: a pipeline
 *
 * Drops the frames inside, waits for checkpoints under way, ends the threads.
 * The network then has the weights as they are; after a failure, those of the
 * stages that did not fail. Nobody may be inside push or pull: flush and wait
 * for them first.
 */
void
pt_pipeline_stop (PtPipeline *self)
{
  if (!self->running)
    return;
  g_mutex_lock (&self->push_lock);
  self->stopping = TRUE;
  g_mutex_unlock (&self->push_lock);
  pipeline_finish_markers (self);
  pt_checkpoint_finish_writing (self);
  /* a load under way has its marker run before anything goes */
  g_mutex_lock (&self->weights_lock);
  g_mutex_lock (&self->push_lock);
  self->running = self->stopping = FALSE;
  g_mutex_unlock (&self->push_lock);
  pt_pipeline_set_queues_flushing (self, TRUE);
  pipeline_unprepare (self);
  g_ptr_array_set_size (self->markers, 0);
  g_mutex_unlock (&self->weights_lock);
}

/**
 * pt_pipeline_set_learn:
 * @self: a pipeline
 * @learn: %FALSE: frames pushed from now on infer only
 *
 * Thread-safe.
 */
void
pt_pipeline_set_learn (PtPipeline *self, gboolean learn)
{
  g_atomic_int_set (&self->main.learn, learn);
}

/**
 * pt_pipeline_set_learning_rate:
 * @self: a pipeline
 * @rate: learning rate before staleness and warm-up, at least 0; NaN: the one
 *   of the settings
 *
 * Every stage uses it from the next frame pushed on. Thread-safe.
 */
void
pt_pipeline_set_learning_rate (PtPipeline *self, gdouble rate)
{
  g_mutex_lock (&self->settings_lock);
  self->asked_rate = rate;
  self->rate = isnan (rate) ? self->learning.rate : rate;
  g_mutex_unlock (&self->settings_lock);
}

/**
 * pt_pipeline_set_learn_interval:
 * @self: a pipeline
 * @interval: every how many frames one learns, at least 1
 *
 * Thread-safe.
 */
void
pt_pipeline_set_learn_interval (PtPipeline *self, guint interval)
{
  g_atomic_int_set (&self->main.interval, MAX (interval, 1));
}

/**
 * pt_pipeline_set_learn_policy:
 * @self: a pipeline
 * @policy: which of the frames that may learn do
 *
 * Thread-safe.
 */
void
pt_pipeline_set_learn_policy (PtPipeline *self, PtLearnPolicy policy)
{
  g_atomic_int_set (&self->main.policy, policy);
}

/**
 * pt_pipeline_set_checkpoint_keep:
 * @self: a pipeline
 * @keep: how many checkpoints of one name there are, at least 1
 *
 * Before a checkpoint out.safetensors takes the place of another, that becomes
 * out.1.safetensors, what was that out.2.safetensors, and so on; the file
 * system must have links. 1 at first. Thread-safe.
 */
void
pt_pipeline_set_checkpoint_keep (PtPipeline *self, guint keep)
{
  g_atomic_int_set (&self->checkpoint_keep, MAX (keep, 1));
}

/**
 * pt_pipeline_get_mode:
 * @self: a pipeline
 *
 * Returns: the mode of the settings
 */
PtMode
pt_pipeline_get_mode (PtPipeline *self)
{
  PtLearning learning;
  PtMode mode;

  if (self->running)
    return self->learning.mode;
  mode = pt_learning_init (&learning, self->network, NULL) ?
      learning.mode : PT_MODE_OFF;
  pt_learning_clear (&learning);
  return mode;
}

/**
 * pt_pipeline_get_target_info:
 * @self: a pipeline
 * @info: (out caller-allocates): what it takes as target
 *
 * Returns: whether it learns from targets that are pushed: target=labels or
 *   target=teacher, and a mode other than off; if not, @info is all zeros
 */
gboolean
pt_pipeline_get_target_info (PtPipeline *self, PtTargetInfo *info)
{
  PtLearning learning;
  gboolean takes = pt_learning_init (&learning, self->network, NULL)
      && learning.mode != PT_MODE_OFF && learning.target == PT_TARGET_LABELS;

  *info = (PtTargetInfo) { NULL };
  if (takes)
    pt_learning_get_target_info (&learning,
        pt_network_get_output_shape (self->network), info);
  pt_learning_clear (&learning);
  return takes;
}

/**
 * pt_pipeline_get_stats:
 * @self: a pipeline
 * @stats: (out caller-allocates): filled in
 *
 * Thread-safe while the pipeline runs.
 */
void
pt_pipeline_get_stats (PtPipeline *self, PtPipelineStats *stats)
{
  pt_stats_get (&self->main.stats, stats);
  stats->n_stages = self->n_stages;
  stats->n_measures = pt_measures_get (&self->main.measures, stats->measures);
  if (self->n_stages > 0) {
    PtStageStats last;

    pt_stage_get_stats (self->stages[self->n_stages - 1], &last);
    stats->updates = last.updates;
  }
  stats->in_flight = g_atomic_int_get (&self->n_pushed)
      - g_atomic_int_get (&self->n_finished);
}

/**
 * pt_pipeline_get_stage_stats:
 * @self: a running pipeline
 * @stage: below the n_stages of pt_pipeline_get_stats()
 * @stats: (out caller-allocates): filled in
 *
 * Thread-safe while the pipeline runs.
 */
void
pt_pipeline_get_stage_stats (PtPipeline *self, guint stage,
    PtStageStats *stats)
{
  g_return_if_fail (stage < self->n_stages);
  pt_stage_get_stats (self->stages[stage], stats);
}
