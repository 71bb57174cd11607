/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include "engine/stream-state.h"
#include "formats/weights.h"

#include <string.h>

/* What checkpoint.c wrote, into a pipeline again; and the way back to the
 * first weights. */

static gchar *
resume_get_slot_name (const PtLayer *layer, guint weight,
    const gchar *slot)
{
  return g_strdup_printf ("optimizer.%s.%s.%s", layer->name,
      layer->weights[weight].name, slot);
}

/* How many updates the weights of @stage have had, by the file, and how many
 * gradients are in the sum: those of its first layer that learns. */
static void
resume_get_steps (PtTensorFile *file, PtStage *stage)
{
  const gchar *text = pt_tensor_file_get_metadata (file, "steps");
  g_auto (GStrv) words = g_strsplit (text != NULL ? text : "", ";", -1);
  const PtLearning *learning = stage->learning;
  const gchar *name;
  gsize n;

  if (stage->arena.learned_bytes == 0)
    return;
  name = pt_arena_get_layer (&stage->arena, &stage->arena.parameters[0])->name;
  n = strlen (name);
  for (guint i = 0; words[i] != NULL; i++) {
    gchar *end;

    if (strncmp (words[i], name, n) != 0 || words[i][n] != '=')
      continue;
    stage->arena.updates = g_ascii_strtoull (words[i] + n + 1, &end, 10);
    if (*end == ':' && stage->arena.sum_slot != PT_ARENA_NO_SLOT)
      stage->arena.n_summed = MIN (g_ascii_strtoull (end + 1, NULL, 10),
          learning->accumulate - 1);
  }
}

/* Plain gradient descent remembers nothing, but a checkpoint says how many
 * steps it has done. */
static gboolean
resume_has_optimizer (PtTensorFile *file)
{
  if (pt_tensor_file_get_metadata (file, "optimizer") != NULL)
    return TRUE;
  for (guint i = 0; i < pt_tensor_file_get_n_tensors (file); i++)
    if (g_str_has_prefix (pt_tensor_file_get_name (file, i), "optimizer."))
      return TRUE;
  return FALSE;
}

static gboolean
resume_check_slot (PtTensorFile *file, const gchar *path,
    const gchar *name, const PtShape *shape, GError **error)
{
  PtTensor *tensor = pt_tensor_file_get (file, name);
  gchar found[PT_SHAPE_TEXT_SIZE], wanted[PT_SHAPE_TEXT_SIZE];

  if (tensor == NULL) {
    const gchar *optimizer = pt_tensor_file_get_metadata (file, "optimizer");

    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: tensor %s is missing; "
        "the file is of optimizer %s (given as weights, it brings only those)",
        path, name, optimizer != NULL ? optimizer : "unknown");
    return FALSE;
  }
  if (!pt_shape_equal (&tensor->shape, shape)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: tensor %s has shape %s, "
        "expected %s", path, name, pt_shape_print (&tensor->shape, found),
        pt_shape_print (shape, wanted));
    return FALSE;
  }
  if (!pt_tensor_is_finite (tensor)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE,
        "%s: tensor %s holds NaN or Inf", path, name);
    return FALSE;
  }
  return TRUE;
}

/* Layers that were frozen, or sums that were not kept, when the file was
 * written begin anew; another optimizer's state is refused. */
static gboolean
resume_may_lack (PtPipeline *self, PtTensorFile *file)
{
  return g_strcmp0 (pt_tensor_file_get_metadata (file, "optimizer"),
      pt_optimizer_get_name (self->learning.optimizer)) == 0;
}

/* Whether @file has the optimizer's state for all parameters, before anything
 * is changed. */
static gboolean
resume_check_slots (PtPipeline *self, PtTensorFile *file,
    const gchar *path, GError **error)
{
  const gchar *slots[PT_ARENA_MAX_SLOTS + 1];
  guint n_slots = pt_arena_name_slots (&self->learning, slots);

  for (guint k = 0; k < self->network->n_nodes; k++) {
    const PtLayer *layer = self->network->nodes[k].layer;

    for (guint i = 0; i < layer->n_weights; i++) {
      for (guint j = 0; layer->weights[i].learned && j < n_slots; j++) {
        g_autofree gchar *name = resume_get_slot_name (layer, i, slots[j]);

        if (pt_tensor_file_get (file, name) == NULL
            && (self->learning.scales[k] == 0
                || resume_may_lack (self, file)))
          continue;
        if (!resume_check_slot (file, path, name,
                &layer->weights[i].shape, error))
          return FALSE;
      }
    }
  }
  return TRUE;
}

typedef enum
{
  RESTORE_ANEW,                 /* the optimizer remembers nothing */
  RESTORE_KEPT,                 /* it goes on as it is */
  RESTORE_OPTIMIZER,            /* as the file has it ... */
  RESTORE_STREAM,               /* ... and what lies between frames too */
} RestoreWhat;

/* What a marker brings to the stages: weights, and perhaps more. */
typedef struct
{
  PtTensorFile *file;
  RestoreWhat what;
} Restore;

static void
restore_free (gpointer data)
{
  Restore *self = data;

  pt_tensor_file_free (self->file);
  g_free (self);
}

static gboolean
restore_slots (PtStage *stage, PtTensorFile *file, GError **error)
{
  PtArena *arena = &stage->arena;

  for (guint i = 0; i < arena->n_parameters; i++) {
    const PtParameter *p = &arena->parameters[i];

    for (guint k = 0; p->learned && k < arena->n_slots; k++) {
      g_autofree gchar *name =
          resume_get_slot_name (pt_arena_get_layer (arena, p),
          p->weight, arena->slot_names[k]);
      PtTensor *slot = pt_tensor_file_get (file, name);

      if (slot != NULL && !pt_arena_import_slot (arena, i, k, slot, error))
        return FALSE;
    }
  }
  return TRUE;
}

gboolean
pt_resume_stage (PtStage *stage, PtTensorFile *file, GError **error)
{
  PtArena *arena = &stage->arena;
  const gchar *guard;

  pt_guard_reset (&stage->guard);
  if (!pt_arena_import (arena, error) || !pt_arena_clear_slots (arena, error))
    return FALSE;
  if (file != NULL) {
    if (!restore_slots (stage, file, error))
      return FALSE;
    resume_get_steps (file, stage);
    guard = pt_tensor_file_get_metadata (file, "guard");
    if (guard != NULL)
      pt_guard_scan (&stage->guard, guard);
  }
  return pt_arena_trust (arena, error);
}

/* On each stage's thread. Those of the network that are its own change only
 * here: a checkpoint asked for before, which has not been taken yet, must find
 * the old ones, for where nothing learns it is made of these. */
static gboolean
restore_run (PtStage *stage, PtMarker *marker, GError **error)
{
  const Restore *self = marker->data;

  pt_weights_copy (stage->wiring->network, stage->span->first, stage->span->n,
      self->file);
  if (self->what == RESTORE_KEPT) {
    pt_guard_reset (&stage->guard);
    return pt_arena_import (&stage->arena, error)
        && pt_arena_trust (&stage->arena, error);
  }
  return pt_resume_stage (stage, self->what == RESTORE_ANEW ? NULL :
      self->file, error) && (self->what != RESTORE_STREAM
      || pt_stream_state_restore (stage, marker->sequence, self->file, error));
}

/* Sends @file, transfer full, to the stages, which drop the gradients that old
 * weights left under way. @frame: (optional): the first one after it. */
static gboolean
resume_hand_out (PtPipeline *self, PtTensorFile *file, RestoreWhat what,
    guint64 *frame, GError **error)
{
  Restore *restore = g_new0 (Restore, 1);
  g_autoptr (PtMarker) marker = pt_marker_new (self, restore_run, restore,
      restore_free);

  *restore = (Restore) { file, what };
  marker->drains = TRUE;
  if (!pt_pipeline_run_marker (self, marker, error))
    return FALSE;
  if (frame != NULL)
    *frame = marker->frame;
  return TRUE;
}

/* Whether the stages are those of @file. */
static gboolean
resume_fits_stream (PtPipeline *self, PtTensorFile *file)
{
  g_autofree gchar *cut = pt_checkpoint_print_cut (self);
  const gchar *mode = pt_mode_get_name (self->learning.mode);

  if (g_strcmp0 (pt_tensor_file_get_metadata (file, "mode"), mode) != 0)
    return FALSE;
  /* without gradients under way any cut will do */
  if (self->learning.mode == PT_MODE_EXACT)
    return TRUE;
  if (g_strcmp0 (pt_tensor_file_get_metadata (file, "cut"), cut) != 0)
    return FALSE;
  for (guint i = 0; i < self->n_stages; i++)
    if (!pt_stream_state_check (self->stages[i], file, NULL))
      return FALSE;
  return TRUE;
}

/* The frames that the next input is made of, and their count. */
static gboolean
resume_restore_frames (PtPipeline *self, PtTensorFile *file)
{
  gboolean done;

  g_mutex_lock (&self->push_lock);
  done = pt_stream_state_restore_frames (&self->main.maker,
      &self->main.frame, file, NULL)
      && pt_fences_signal (&self->wiring.entered, 0, NULL);
  g_mutex_unlock (&self->push_lock);
  return done;
}

/* @whole: (optional): asks for the stream too; says whether it was there. */
static gboolean
resume_load (PtPipeline *self, const gchar *path, gboolean *whole,
    GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_load (path, error);
  g_autoptr (GMutexLocker) locker = NULL;
  gboolean resume, stream;

  if (file == NULL)
    return FALSE;
  locker = g_mutex_locker_new (&self->weights_lock);
  if (!pt_pipeline_wait_handover (self, error))
    return FALSE;
  resume = self->running && self->learning.mode != PT_MODE_OFF
      && resume_has_optimizer (file);
  if (resume && !resume_check_slots (self, file, path, error))
    return FALSE;
  if (!self->running)
    return pt_weights_take (self->network, file, path, error);
  if (!pt_weights_check (self->network, file, path, error))
    return FALSE;
  stream = resume && whole != NULL && resume_fits_stream (self, file)
      && resume_restore_frames (self, file);
  if (whole != NULL)
    *whole = stream;
  return resume_hand_out (self, g_steal_pointer (&file),
      stream && self->learning.mode != PT_MODE_EXACT ? RESTORE_STREAM :
      resume ? RESTORE_OPTIMIZER : RESTORE_ANEW, NULL, error);
}

/**
 * pt_pipeline_load:
 * @self: a pipeline
 * @path: a checkpoint, or a file of weights alone
 * @error: return location
 *
 * Replaces the weights, between two frames if it runs, and waits for that. A
 * checkpoint brings the optimizer's state back; with weights alone the
 * optimizer starts anew. Gradients under way between the stages are dropped.
 * The file is checked whole before anything changes. A checkpoint of another
 * cut fits.
 *
 * Returns: whether it is loaded; else %PT_ERROR_FILE, and nothing has changed
 */
gboolean
pt_pipeline_load (PtPipeline *self, const gchar *path, GError **error)
{
  return resume_load (self, path, NULL, error);
}

/**
 * pt_pipeline_resume:
 * @self: a running pipeline that no frame has been pushed to yet
 * @path: a checkpoint
 * @whole: (out): whether the stream goes on where it was
 * @error: return location
 *
 * As pt_pipeline_load(), and puts back what lay between two frames: the last
 * frames, the gradients under way between the stages and, with mode delayed,
 * what they need. If the next frame pushed is the one that came next then,
 * everything goes on bit for bit as it would have. A checkpoint of another
 * mode, or unless that is exact of another cut, brings weights and optimizer
 * back but not the stream; one taken after a drain has none. What was kept
 * for replay is not in it.
 *
 * Returns: whether it is loaded; else %PT_ERROR_FILE, and nothing has changed
 */
gboolean
pt_pipeline_resume (PtPipeline *self, const gchar *path, gboolean *whole,
    GError **error)
{
  g_return_val_if_fail (self->running, FALSE);
  *whole = FALSE;
  return resume_load (self, path, whole, error);
}

/**
 * pt_pipeline_set_weights:
 * @self: a pipeline
 * @path: a checkpoint, or a file of weights alone
 * @frame: (out) (optional): the first frame with the new weights, since start
 *   or flush
 * @error: return location
 *
 * As pt_pipeline_load(), but takes the weights alone: what the optimizer
 * remembers, its schedule and counters go on. The network may be one that has
 * been replaced and stops while this waits; then nothing happens to a frame.
 *
 * Returns: whether they are in place; else %PT_ERROR_FILE or %PT_ERROR_SHAPE,
 *   and nothing has changed
 */
gboolean
pt_pipeline_set_weights (PtPipeline *self, const gchar *path, guint64 *frame,
    GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_load (path, error);
  g_autoptr (GMutexLocker) locker = NULL;

  if (file == NULL)
    return FALSE;
  locker = g_mutex_locker_new (&self->weights_lock);
  if (frame != NULL)
    *frame = 0;
  if (!pt_pipeline_wait_handover (self, error))
    return FALSE;
  if (!self->running)
    return pt_weights_take (self->network, file, path, error);
  return pt_weights_check (self->network, file, path, error)
      && resume_hand_out (self, g_steal_pointer (&file), RESTORE_KEPT, frame,
      error);
}

/* First weights, beside those there are. */
static PtTensorFile *
resume_new_weights (const PtNetwork *network, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_new ();

  for (guint k = 0; k < network->n_nodes; k++) {
    const PtLayer *layer = network->nodes[k].layer;

    for (guint i = 0; i < layer->n_weights; i++) {
      g_autofree gchar *name = g_strdup_printf ("%s.%s", layer->name,
          layer->weights[i].name);
      g_autoptr (PtTensor) tensor = pt_tensor_new_shaped (PT_F32,
          &layer->weights[i].shape, error);

      if (tensor == NULL)
        return NULL;
      pt_layer_init_weight (layer, i, tensor->data, network->settings.seed);
      pt_tensor_file_add (file, name, tensor);
    }
  }
  return g_steal_pointer (&file);
}

/**
 * pt_pipeline_reset:
 * @self: a pipeline
 * @error: return location
 *
 * First weights again, drawn from the seed, and an optimizer that remembers
 * nothing; between two frames if it runs, and waits for that.
 *
 * Returns: whether it is done; else the error of a stage
 */
gboolean
pt_pipeline_reset (PtPipeline *self, GError **error)
{
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->weights_lock);
  PtTensorFile *file;

  if (!pt_pipeline_wait_handover (self, error))
    return FALSE;
  if (!self->running) {
    pt_network_init_weights (self->network, self->network->settings.seed);
    return TRUE;
  }
  file = resume_new_weights (self->network, error);
  return file != NULL
      && resume_hand_out (self, file, RESTORE_ANEW, NULL, error);
}
