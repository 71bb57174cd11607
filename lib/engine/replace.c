/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include "formats/weights.h"

#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* One network takes the place of another between two frames: two pipelines
 * run side by side, frames go to the new one from some frame on, and what the
 * old one has learned by then goes over. */

/* -- planning aside -- */

static const PtLayer *
replace_find_layer (PtNetwork *network, const gchar *name)
{
  gint i = pt_network_find_layer (network, name);

  return i < 0 ? NULL : network->nodes[i].layer;
}

static guint
replace_count_weights (const PtNetwork *network)
{
  guint n = 0;

  for (guint i = 0; i < network->n_nodes; i++)
    n += network->nodes[i].layer->n_weights;
  return n;
}

/* Neither learned nor counted. */
static gboolean
replace_is_constant (const PtWeight *weight)
{
  return !weight->learned && !g_str_has_prefix (weight->name, "running_");
}

/* With @own the shapes of constants may differ. */
static gboolean
replace_same_weights (const PtLayer *a, const PtLayer *b, gboolean own)
{
  if (b == NULL || a->n_weights != b->n_weights)
    return FALSE;
  for (guint i = 0; i < a->n_weights; i++)
    if (!g_str_equal (a->weights[i].name, b->weights[i].name)
        || (!(own && replace_is_constant (&a->weights[i]))
            && !pt_shape_equal (&a->weights[i].shape, &b->weights[i].shape)))
      return FALSE;
  return TRUE;
}

/* The first layer of @a whose parameters are others in @b, by name and shape,
 * in whatever order. */
static const PtLayer *
replace_find_other (PtNetwork *a, PtNetwork *b, gboolean own)
{
  for (guint i = 0; i < a->n_nodes; i++) {
    const PtLayer *layer = a->nodes[i].layer;

    if (layer->n_weights > 0 && !replace_same_weights (layer,
            replace_find_layer (b, layer->name), own))
      return layer;
  }
  return NULL;
}

/* A network that takes its weights over from one of another size has constants
 * of its own, if it came with any: they may depend on the size. */
static gboolean
replace_keeps_constants (const PtPipeline *next)
{
  return next->keep_weights && !next->drew_weights;
}

static gboolean
replace_same_parameters (PtNetwork *a, PtNetwork *b, gboolean own)
{
  return replace_find_other (a, b, own) == NULL
      && replace_count_weights (a) == replace_count_weights (b);
}

/* Whether a cut that is good for one is for the other: as many layers, of the
 * same shapes, on the same devices. With @scaled of any size: then the costs
 * of all layers change alike. */
static gboolean
replace_same_costs (PtNetwork *a, PtNetwork *b, gboolean scaled)
{
  if (a->n_nodes != b->n_nodes
      || !g_str_equal (a->settings.devices, b->settings.devices)
      || !g_str_equal (a->settings.stages, b->settings.stages)
      || !(scaled || pt_shape_equal (&a->input, &b->input)))
    return FALSE;
  for (guint i = 0; i < a->n_nodes; i++)
    if (!g_str_equal (a->nodes[i].layer->name, b->nodes[i].layer->name)
        || !(scaled || pt_shape_equal (&a->nodes[i].layer->output,
                &b->nodes[i].layer->output)))
      return FALSE;
  return replace_same_parameters (a, b, scaled);
}

static void
replace_copy_placement (const PtPlacement *src, PtPlacement *dst)
{
  dst->n_stages = src->n_stages;
  dst->devices = g_ptr_array_ref (src->devices);
  dst->spans = g_memdup2 (src->spans, src->n_stages * sizeof *src->spans);
}

typedef struct
{
  PtPipeline *pipeline;
  GError **error;
} Plan;

/* On a thread of its own, and so are all it starts: what they measure must not
 * take the cores from the stages of the stream. */
static gpointer
replace_find_placement (gpointer data)
{
  Plan *plan = data;
  PtPipeline *self = plan->pipeline;

  setpriority (PRIO_PROCESS, gettid (), 19);
  return GINT_TO_POINTER (pt_placement_find (&self->placement, self->network,
          self->target_fps, plan->error));
}

/**
 * pt_pipeline_start_beside:
 * @self: a pipeline that does not run
 * @running: another one
 * @error: return location
 *
 * As pt_pipeline_start(), while @running goes on at its pace: a cut that
 * devices=auto or stages=auto ask for is measured at the lowest priority, or
 * taken from @running if the layers are the same. Frames will be where those of
 * @running are.
 *
 * Returns: as pt_pipeline_start()
 */
gboolean
pt_pipeline_start_beside (PtPipeline *self, PtPipeline *running,
    GError **error)
{
  Plan plan = { self, error };
  /* to measure a cut takes weights */
  gboolean drew_weights = !self->network->initialised;
  GThread *thread;

  g_return_val_if_fail (!self->running, FALSE);
  pt_pipeline_set_frame_device (self, running->frame_device);
  g_mutex_lock (&running->weights_lock);
  if (running->running && running->given == NULL
      && replace_same_costs (self->network, running->network,
          self->keep_weights))
    replace_copy_placement (&running->placement, &self->placement);
  g_mutex_unlock (&running->weights_lock);
  if (self->placement.n_stages == 0) {
    thread = g_thread_try_new ("pt-plan", replace_find_placement, &plan,
        error);
    if (thread == NULL || !GPOINTER_TO_INT (g_thread_join (thread)))
      return FALSE;
  }
  if (!pt_pipeline_start (self, error))
    return FALSE;
  self->drew_weights = drew_weights;
  return TRUE;
}

/**
 * pt_pipeline_keep_weights:
 * @self: a pipeline that does not run
 *
 * When @self takes over from another one it goes on with the weights of that,
 * whatever its network came with: it is the same network for frames of another
 * size. If it is not, pt_pipeline_replace() fails. Constants of a model are
 * those of its own. Its cut is that of the one before.
 */
void
pt_pipeline_keep_weights (PtPipeline *self)
{
  g_return_if_fail (!self->running);
  self->keep_weights = TRUE;
}

/* -- handing over -- */

/* What the stages of the new pipeline wait for. */
typedef struct
{
  PtPipeline *old;
  PtMarker *copy;               /* what @old has learned */
  PtReplacement what;
  GMutex lock;                  /* the first stage does it for all */
  gboolean taken;
} Handover;

static void
handover_free (gpointer data)
{
  Handover *self = data;

  pt_marker_unref (self->copy);
  pt_pipeline_unref (self->old);
  g_mutex_clear (&self->lock);
  g_free (self);
}

/* All but the constants. */
static void
handover_take_learned (PtNetwork *network, PtTensorFile *file)
{
  for (guint i = 0; i < network->n_nodes; i++) {
    const PtNode *node = &network->nodes[i];

    for (guint j = 0; j < node->layer->n_weights; j++) {
      const PtWeight *weight = &node->layer->weights[j];
      g_autofree gchar *name = g_strconcat (node->layer->name, ".",
          weight->name, NULL);

      if (!replace_is_constant (weight))
        memcpy (node->weights[j]->data,
            pt_tensor_file_get (file, name)->data, node->weights[j]->size);
    }
  }
}

/* Weights into the network, counts into the statistics. */
static gboolean
handover_take (Handover *self, PtPipeline *next, PtTensorFile *file,
    GError **error)
{
  if (self->taken)
    return TRUE;
  self->taken = TRUE;
  pt_stats_follow (&next->main.stats, &self->old->main.stats,
      self->what.kept_optimizer);
  if (self->what.kept_optimizer)
    pt_measures_follow (&next->main.measures, &self->old->main.measures);
  if (replace_keeps_constants (next)) {
    handover_take_learned (next->network, file);
    return TRUE;
  }
  return !self->what.kept_weights || pt_weights_take (next->network, file,
      self->old->network->origin, error);
}

/* On each stage's thread of the new pipeline, before its first frame. A
 * pipeline that failed leaves nothing. */
static gboolean
handover_run (PtStage *stage, PtMarker *marker, GError **error)
{
  Handover *self = marker->data;
  PtTensorFile *file;
  gboolean done;

  if (!pt_pipeline_wait_marker (self->old, self->copy, NULL))
    return TRUE;
  file = pt_checkpoint_get_copy (self->copy, error);
  if (file == NULL)
    return FALSE;
  g_mutex_lock (&self->lock);
  done = handover_take (self, marker->pipeline, file, error);
  g_mutex_unlock (&self->lock);
  if (!done || !pt_resume_stage (stage, self->what.kept_optimizer ? file :
          NULL, error))
    return FALSE;
  /* with other weights a loss says nothing of these */
  if (!self->what.kept_weights)
    pt_guard_reset (&stage->guard);
  if (self->what.kept_optimizer)
    pt_stage_note_update (stage, stage->arena.updates,
        stage->stats.learning_rate);
  return TRUE;
}

/* Every stage has. */
static void
handover_done (PtMarker *marker)
{
  g_atomic_int_set (&marker->pipeline->handing_over, FALSE);
  pt_marker_finish (marker);
}

gboolean
pt_pipeline_wait_handover (PtPipeline *self, GError **error)
{
  g_autoptr (PtMarker) behind = NULL;

  if (!self->running || !g_atomic_int_get (&self->handing_over))
    return TRUE;
  behind = pt_marker_new (self, NULL, NULL, NULL);
  return pt_pipeline_run_marker (self, behind, error);
}

static void
replace_compare (PtPipeline *self, PtPipeline *next, PtReplacement *info)
{
  const PtLearning *a = &self->learning, *b = &next->learning;

  info->frame = self->main.frame;
  info->same_parameters = replace_same_parameters (self->network,
      next->network, replace_keeps_constants (next));
  info->kept_weights = info->same_parameters
      && (next->drew_weights || next->keep_weights);
  info->kept_optimizer = info->same_parameters && a->mode != PT_MODE_OFF
      && b->mode != PT_MODE_OFF
      && g_str_equal (pt_optimizer_get_name (a->optimizer),
      pt_optimizer_get_name (b->optimizer));
}

static gboolean
replace_same_replay (const PtReplay *a, const PtReplay *b)
{
  return a->capacity == b->capacity && a->capacity > 0
      && pt_device_shares_memory (a->input_device, b->input_device)
      && pt_device_shares_memory (a->target_device, b->target_device)
      && pt_shape_equal (&a->inputs[0]->shape, &b->inputs[0]->shape)
      && pt_shape_equal (&a->targets[0]->shape, &b->targets[0]->shape)
      && a->targets[0]->dtype == b->targets[0]->dtype;
}

/* Frames kept to be learned from again, where they are of the same kind and in
 * the same memory. Each keeps its own devices. */
static void
replace_swap_replay (PtPipeline *self, PtPipeline *next)
{
  PtReplay *a = &self->replay, *b = &next->replay, kept = *a;

  if (!replace_same_replay (a, b))
    return;
  *a = *b;
  a->input_device = kept.input_device;
  a->target_device = kept.target_device;
  kept.input_device = b->input_device;
  kept.target_device = b->target_device;
  *b = kept;
}

/* The stream goes on: frames count on, and are stacked with those before. The
 * caller has both locks. */
static gboolean
replace_continue (PtPipeline *self, PtPipeline *next, GError **error)
{
  if (!pt_fences_wait (&self->wiring.entered, 0, NULL, error)
      || !pt_frame_maker_follow (&next->main.maker, &self->main.maker, error)
      || !pt_fences_signal (&next->wiring.entered, 0, error))
    return FALSE;
  next->main.frame = self->main.frame;
  /* it has been counting time since it was planned */
  pt_stats_reset (&next->main.stats);
  if (self->learning.mode == PT_MODE_OFF || next->learning.mode == PT_MODE_OFF)
    return TRUE;
  next->n_learning = self->n_learning;
  replace_swap_replay (self, next);
  return TRUE;
}

static void
replace_hand_over (PtPipeline *self, PtPipeline *next,
    const PtReplacement *info)
{
  Handover *handover = g_new0 (Handover, 1);
  g_autoptr (PtMarker) marker = NULL;

  handover->old = pt_pipeline_ref (self);
  handover->copy = pt_checkpoint_new_copy (self);
  handover->what = *info;
  g_mutex_init (&handover->lock);
  pt_stats_follow (&next->main.stats, &self->main.stats,
      info->kept_optimizer);
  marker = pt_marker_new (next, handover_run, handover, handover_free);
  marker->done = handover_done;
  g_atomic_int_set (&next->handing_over, TRUE);
  pt_pipeline_send_marker (next, marker);
  pt_pipeline_end_stream (self, handover->copy);
}

/* The shapes of all weights of @layer. */
static gchar *
replace_print_weights (const PtLayer *layer)
{
  GString *text = g_string_new (NULL);
  gchar shape[PT_SHAPE_TEXT_SIZE];

  for (guint i = 0; layer != NULL && i < layer->n_weights; i++)
    g_string_append_printf (text, "%s%s %s", i ? ", " : "",
        layer->weights[i].name, pt_shape_print (&layer->weights[i].shape,
            shape));
  return g_string_free (text, text->len == 0) ? : g_strdup ("no weights");
}

static gboolean
replace_check_kept (PtPipeline *self, PtPipeline *next, GError **error)
{
  gboolean own = replace_keeps_constants (next);
  PtNetwork *a = self->network, *b = next->network;
  const PtLayer *before = replace_find_other (a, b, own);
  const PtLayer *after = before == NULL ? replace_find_other (b, a, own) :
      replace_find_layer (b, before->name);
  g_autofree gchar *found = replace_print_weights (after);
  g_autofree gchar *expected = replace_print_weights (before);

  if (before == NULL && after == NULL)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%s: cannot go on with what "
      "was learned: group [%s]: found %s, expected %s as before", b->origin,
      (before != NULL ? before : after)->name, found, expected);
  return FALSE;
}

/**
 * pt_pipeline_replace:
 * @self: a running pipeline
 * @next: another one that runs, see pt_pipeline_start_beside(), and that
 *   nothing has been pushed to
 * @info: (out): what @next goes on with
 * @error: return location
 *
 * Lets @next go on where @self is: from here on frames are pushed to @next.
 * @self drains as after pt_pipeline_drain(): frames pushed to it come out, all
 * updates of theirs are applied except those whose gradients would have waited
 * for frames to come, and pt_pipeline_pull() says %PT_FLOW_DRAINED; then it is
 * to be stopped. So the frame at which networks change settles what either of
 * them learns.
 *
 * If the parameters are the same (names and shapes) and both learn by the same
 * optimizer, @next goes on with what that remembers, its schedule, and all
 * counters; if @next's network had no weights of its own before it was
 * started, also, whether or not they learn, with the weights and the counts of
 * frames. Its first frame waits until @self has
 * drained then. Frames count on, and with as many pixels and channels and the
 * same normalisation those that are stacked or kept for replay are still
 * there. Otherwise @next starts from its own weights and a new optimizer.
 *
 * Streams of @self do not come along by themselves: what is pushed to them is
 * %PT_FLOW_REPLACED from here on, and each goes on by pt_stream_replace().
 *
 * If @self flushes later, end that before a flush of @next; stop it before
 * @next. Does not wait. One thread at a time may push, or call this.
 *
 * Returns: %TRUE; %FALSE with the error if a stage of either has failed, or
 *   with %PT_ERROR_SHAPE if @next is to keep weights and has other parameters
 */
gboolean
pt_pipeline_replace (PtPipeline *self, PtPipeline *next, PtReplacement *info,
    GError **error)
{
  PtPipeline *failed = g_atomic_int_get (&self->failed) ? self :
      g_atomic_int_get (&next->failed) ? next : NULL;
  gboolean done, hands_over;

  g_return_val_if_fail (self->running && next->running, FALSE);
  if (failed != NULL) {
    g_mutex_lock (&failed->error_lock);
    g_propagate_error (error, g_error_copy (failed->error));
    g_mutex_unlock (&failed->error_lock);
    return FALSE;
  }
  if (next->keep_weights && !replace_check_kept (self, next, error))
    return FALSE;
  g_mutex_lock (&self->push_lock);
  g_mutex_lock (&next->push_lock);
  replace_compare (self, next, info);
  done = replace_continue (self, next, error);
  hands_over = info->kept_weights || info->kept_optimizer;
  if (done)
    pt_stream_close_all (self);
  if (done && hands_over)
    replace_hand_over (self, next, info);
  g_mutex_unlock (&next->push_lock);
  g_mutex_unlock (&self->push_lock);
  return done && (hands_over || pt_pipeline_drain (self, error) == PT_FLOW_OK);
}
