/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include "engine/stream-state.h"
#include "formats/weights.h"

#include <string.h>

/* A checkpoint is a weights file with more in it: for each learned parameter
 * and each thing the optimizer remembers of it a tensor
 * optimizer.<layer>.<param>.<slot>; what lies between two frames, stream.*;
 * and in the metadata what says where the stream was. All stages copy theirs between the same two frames; the file is
 * written by a thread of its own. */

#define CHECKPOINT_FORMAT "partime-checkpoint-1"

typedef struct
{
  PtPipeline *pipeline;         /* lent */
  gchar *path;
  guint64 frame;
  PtTensorFile **parts;         /* one per stage, one of the frames */
  guint n_parts;
  GString **steps;              /* "layer=updates:summed;" per stage */
  gchar *guard;                 /* of the last stage */
  gboolean notify;              /* the event function is yet to be told */
  GError *error;
} Snapshot;

static Snapshot *
snapshot_new (PtPipeline *pipeline, const gchar *path, gboolean notify)
{
  Snapshot *self = g_new0 (Snapshot, 1);

  self->pipeline = pipeline;
  self->path = g_strdup (path);
  self->frame = pipeline->frame;
  self->notify = notify;
  self->n_parts = pipeline->n_stages + 1;
  self->parts = g_new0 (PtTensorFile *, self->n_parts);
  self->steps = g_new0 (GString *, self->n_parts);
  for (guint i = 0; i < self->n_parts; i++) {
    self->parts[i] = pt_tensor_file_new ();
    self->steps[i] = g_string_new (NULL);
  }
  pt_stream_state_save_frames (&pipeline->maker, pipeline->frame,
      self->parts[pipeline->n_stages], &self->error);
  return self;
}

static void
snapshot_tell (Snapshot *self, const GError *error)
{
  self->notify = FALSE;
  pt_pipeline_emit (self->pipeline, &(PtEvent) {
      .type = PT_EVENT_CHECKPOINT, .frame = self->frame,
      .path = self->path, .error = error });
}

static void
snapshot_free (gpointer data)
{
  Snapshot *self = data;

  if (self->notify) {
    g_autoptr (GError) error = g_error_new (PT_ERROR, PT_ERROR_FAILED,
        "%s: not written, the pipeline failed before", self->path);

    snapshot_tell (self, error);
  }
  for (guint i = 0; i < self->n_parts; i++) {
    pt_tensor_file_free (self->parts[i]);
    g_string_free (self->steps[i], TRUE);
  }
  g_clear_error (&self->error);
  g_free (self->guard);
  g_free (self->parts);
  g_free (self->steps);
  g_free (self->path);
  g_free (self);
}

static const PtLayer *
checkpoint_get_layer (const PtStage *stage, const PtParameter *p)
{
  return stage->wiring->network->nodes[stage->span->first + p->layer].layer;
}

static gboolean
snapshot_add (Snapshot *self, PtStage *stage, guint i, GError **error)
{
  PtArena *arena = &stage->arena;
  const PtParameter *p = &arena->parameters[i];
  const PtLayer *layer = checkpoint_get_layer (stage, p);
  const PtWeight *weight = &layer->weights[p->weight];
  PtTensorFile *part = self->parts[stage->index];
  g_autofree gchar *name = g_strdup_printf ("%s.%s", layer->name,
      weight->name);
  g_autoptr (PtTensor) value = pt_tensor_new_shaped (PT_F32, &weight->shape,
      error);

  if (value == NULL || !pt_arena_export_value (arena, i, value, error))
    return FALSE;
  pt_tensor_file_add (part, name, value);
  for (guint k = 0; p->learned && k < arena->n_slots; k++) {
    g_autofree gchar *slot = g_strdup_printf ("optimizer.%s.%s", name,
        arena->slot_names[k]);
    g_autoptr (PtTensor) state = pt_tensor_new_shaped (PT_F32, &weight->shape,
        error);

    if (state == NULL || !pt_arena_export_slot (arena, i, k, state, error))
      return FALSE;
    pt_tensor_file_add (part, slot, state);
  }
  return TRUE;
}

/* On each stage's thread. That there is no memory for a copy fails the
 * checkpoint, not the stage. */
static gboolean
snapshot_run (PtStage *stage, PtMarker *marker, GError **error)
{
  Snapshot *self = marker->data;
  g_autoptr (GError) problem = NULL;

  for (guint i = 0; i < stage->arena.n_parameters && problem == NULL; i++)
    snapshot_add (self, stage, i, &problem);
  if (problem == NULL)
    pt_stream_state_save (stage, marker->sequence,
        self->parts[stage->index], &problem);
  for (guint k = 0; k < stage->span->n; k++)
    g_string_append_printf (self->steps[stage->index], "%s=%" G_GUINT64_FORMAT
        ":%u;",
        stage->wiring->network->nodes[stage->span->first + k].layer->name,
        stage->arena.updates, stage->arena.n_summed);
  if (stage->out == NULL)
    self->guard = pt_guard_print (&stage->guard);
  if (problem != NULL) {
    PtPipeline *pipeline = self->pipeline;

    g_mutex_lock (&pipeline->marker_lock);
    if (self->error == NULL)
      self->error = g_steal_pointer (&problem);
    g_mutex_unlock (&pipeline->marker_lock);
  }
  return TRUE;
}

static gchar *
checkpoint_print_cut (const PtPipeline *pipeline)
{
  GString *cut = g_string_new (NULL);

  for (guint i = 0; i < pipeline->n_stages; i++)
    g_string_append_printf (cut, i ? ",%u" : "%u",
        pipeline->wiring.spans[i].n);
  return g_string_free (cut, FALSE);
}

static void
snapshot_describe (const Snapshot *self, PtTensorFile *file)
{
  PtPipeline *p = self->pipeline;
  g_autofree gchar *frame = g_strdup_printf ("%" G_GUINT64_FORMAT,
      self->frame);
  g_autofree gchar *cut = checkpoint_print_cut (p);
  g_autoptr (GString) steps = g_string_new (NULL);

  for (guint i = 0; i < self->n_parts; i++)
    g_string_append (steps, self->steps[i]->str);
  pt_tensor_file_set_metadata (file, "format", CHECKPOINT_FORMAT);
  pt_tensor_file_set_metadata (file, "frame", frame);
  pt_tensor_file_set_metadata (file, "mode",
      pt_mode_get_name (p->learning.mode));
  pt_tensor_file_set_metadata (file, "cut", cut);
  pt_tensor_file_set_metadata (file, "steps", steps->str);
  pt_tensor_file_set_metadata (file, "guard", self->guard);
  if (p->learning.optimizer != NULL)
    pt_tensor_file_set_metadata (file, "optimizer",
        pt_optimizer_get_name (p->learning.optimizer));
}

static gboolean
snapshot_write (Snapshot *self, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_new ();

  if (self->error != NULL) {
    g_propagate_error (error, g_error_copy (self->error));
    return FALSE;
  }
  for (guint i = 0; i < self->n_parts; i++)
    pt_tensor_file_add_all (file, self->parts[i]);
  snapshot_describe (self, file);
  return pt_tensor_file_save (file, self->path, error);
}

/* The writer's thread; each message has a reference on its marker. */
static gpointer
checkpoint_write_all (gpointer data)
{
  PtPipeline *pipeline = data;
  PtMessage message;

  while (pt_queue_take (pipeline->to_write, &message)
      && message.marker != NULL) {
    Snapshot *snapshot = message.marker->data;
    g_autoptr (GError) error = NULL;

    snapshot_write (snapshot, &error);
    snapshot_tell (snapshot, error);
    pt_marker_unref (message.marker);
  }
  return NULL;
}

static gboolean
checkpoint_start_writing (PtPipeline *self, GError **error)
{
  if (self->writer != NULL)
    return TRUE;
  self->to_write = pt_queue_new (1, 0);
  self->writer = g_thread_try_new ("pt-checkpoint", checkpoint_write_all,
      self, error);
  if (self->writer == NULL)
    g_clear_pointer (&self->to_write, pt_queue_free);
  return self->writer != NULL;
}

/* Waits until what is under way is written. */
void
pt_checkpoint_finish_writing (PtPipeline *self)
{
  if (self->writer == NULL)
    return;
  pt_queue_put (self->to_write, &(PtMessage) { .type = PT_MESSAGE_MARKER });
  g_clear_pointer (&self->writer, g_thread_join);
  g_clear_pointer (&self->to_write, pt_queue_free);
}

static void
snapshot_done (PtMarker *marker)
{
  g_atomic_ref_count_inc (&marker->refs);
  pt_queue_put (marker->pipeline->to_write, &(PtMessage) {
      .type = PT_MESSAGE_MARKER, .marker = marker });
  pt_marker_finish (marker);
}

/**
 * pt_pipeline_save_async:
 * @self: a running pipeline
 * @path: the file; what was there is replaced in one step
 *
 * Takes a checkpoint behind the frames pushed so far: weights, optimizer state
 * and counters of all stages between the same two frames. The stream does not
 * stop: stages copy, another thread writes. %PT_EVENT_CHECKPOINT tells the
 * outcome. Does not wait. Thread-safe.
 */
void
pt_pipeline_save_async (PtPipeline *self, const gchar *path)
{
  g_autoptr (GMutexLocker) locker = NULL;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtMarker) marker = NULL;
  Snapshot *snapshot;

  locker = g_mutex_locker_new (&self->push_lock);
  g_return_if_fail (self->running);
  if (self->stopping)
    return;
  snapshot = snapshot_new (self, path, TRUE);
  marker = pt_marker_new (self, snapshot_run, snapshot, snapshot_free);
  if (!checkpoint_start_writing (self, &error)) {
    snapshot_tell (snapshot, error);
    return;
  }
  marker->done = snapshot_done;
  pt_pipeline_send_marker (self, marker);
}

/**
 * pt_pipeline_save:
 * @self: a pipeline
 * @path: the file; what was there is replaced in one step
 * @error: return location
 *
 * As pt_pipeline_save_async(), but waits until the file is written. The frames
 * pushed before must be able to come out: somebody pulls, or there is room. A
 * pipeline that does not run saves its network's weights alone.
 *
 * Returns: whether it is written; else %PT_ERROR_FILE, or the error of a stage
 */
gboolean
pt_pipeline_save (PtPipeline *self, const gchar *path, GError **error)
{
  g_autoptr (PtMarker) marker = NULL;

  if (!self->running)
    return pt_network_save_weights (self->network, path, error);
  g_mutex_lock (&self->push_lock);
  marker = pt_marker_new (self, snapshot_run,
      snapshot_new (self, path, FALSE), snapshot_free);
  pt_pipeline_send_marker (self, marker);
  g_mutex_unlock (&self->push_lock);
  return pt_pipeline_wait_marker (self, marker, error)
      && snapshot_write (marker->data, error);
}

/* How many updates the weights of @stage have had, by the file, and how many
 * gradients are in the sum: those of its first layer that learns. */
static void
checkpoint_get_steps (PtTensorFile *file, PtStage *stage)
{
  const gchar *text = pt_tensor_file_get_metadata (file, "steps");
  g_auto (GStrv) words = g_strsplit (text != NULL ? text : "", ";", -1);
  const PtLearning *learning = stage->learning;
  const gchar *name;
  gsize n;

  if (stage->arena.learned_bytes == 0)
    return;
  name = checkpoint_get_layer (stage, &stage->arena.parameters[0])->name;
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

static gboolean
checkpoint_has_optimizer (PtTensorFile *file)
{
  for (guint i = 0; i < pt_tensor_file_get_n_tensors (file); i++)
    if (g_str_has_prefix (pt_tensor_file_get_name (file, i), "optimizer."))
      return TRUE;
  return FALSE;
}

static gchar *
checkpoint_get_slot_name (const PtLayer *layer, guint weight,
    const gchar *slot)
{
  return g_strdup_printf ("optimizer.%s.%s.%s", layer->name,
      layer->weights[weight].name, slot);
}

static gboolean
checkpoint_check_slot (PtTensorFile *file, const gchar *path,
    const gchar *name, const PtShape *shape, GError **error)
{
  PtTensor *tensor = pt_tensor_file_get (file, name);
  gchar found[PT_SHAPE_TEXT_SIZE], wanted[PT_SHAPE_TEXT_SIZE];

  if (tensor == NULL) {
    const gchar *optimizer = pt_tensor_file_get_metadata (file, "optimizer");

    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: tensor %s is missing; "
        "the file is of optimizer %s", path, name,
        optimizer != NULL ? optimizer : "unknown");
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
checkpoint_may_lack (PtPipeline *self, PtTensorFile *file)
{
  return g_strcmp0 (pt_tensor_file_get_metadata (file, "optimizer"),
      pt_optimizer_get_name (self->learning.optimizer)) == 0;
}

/* Whether @file has the optimizer's state for all parameters, before anything
 * is changed. */
static gboolean
checkpoint_check_slots (PtPipeline *self, PtTensorFile *file,
    const gchar *path, GError **error)
{
  const gchar *slots[PT_ARENA_MAX_SLOTS + 1];
  guint n_slots = pt_arena_name_slots (&self->learning, slots);

  for (guint k = 0; k < self->network->n_nodes; k++) {
    const PtLayer *layer = self->network->nodes[k].layer;

    for (guint i = 0; i < layer->n_weights; i++) {
      for (guint j = 0; layer->weights[i].learned && j < n_slots; j++) {
        g_autofree gchar *name = checkpoint_get_slot_name (layer, i, slots[j]);

        if (pt_tensor_file_get (file, name) == NULL
            && (self->learning.scales[k] == 0
                || checkpoint_may_lack (self, file)))
          continue;
        if (!checkpoint_check_slot (file, path, name,
                &layer->weights[i].shape, error))
          return FALSE;
      }
    }
  }
  return TRUE;
}

/* What a marker brings to the stages. */
typedef struct
{
  PtTensorFile *file;           /* NULL: the optimizer starts anew */
  gboolean stream;              /* also what lies between frames */
} Restore;

static Restore *
restore_new (PtTensorFile *file, gboolean stream)
{
  Restore *self = g_new0 (Restore, 1);

  self->file = file;
  self->stream = stream;
  return self;
}

static void
restore_free (gpointer data)
{
  Restore *self = data;

  g_clear_pointer (&self->file, pt_tensor_file_free);
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
          checkpoint_get_slot_name (checkpoint_get_layer (stage, p),
          p->weight, arena->slot_names[k]);
      PtTensor *slot = pt_tensor_file_get (file, name);

      if (slot != NULL && !pt_arena_import_slot (arena, i, k, slot, error))
        return FALSE;
    }
  }
  return TRUE;
}

/* On each stage's thread: weights from the network, the rest from the file if
 * there is one, else anew. */
static gboolean
restore_run (PtStage *stage, PtMarker *marker, GError **error)
{
  const Restore *self = marker->data;
  PtArena *arena = &stage->arena;
  const gchar *guard;

  pt_guard_reset (&stage->guard);
  if (!pt_arena_import (arena, error) || !pt_arena_clear_slots (arena, error))
    return FALSE;
  if (self->file != NULL) {
    if (!restore_slots (stage, self->file, error))
      return FALSE;
    checkpoint_get_steps (self->file, stage);
    guard = pt_tensor_file_get_metadata (self->file, "guard");
    if (guard != NULL)
      pt_guard_scan (&stage->guard, guard);
  }
  return pt_arena_trust (arena, error) && (!self->stream
      || pt_stream_state_restore (stage, marker->sequence, self->file, error));
}

/* Sends the weights of the network, and what else there is, to the stages,
 * which drop the gradients that old weights left under way. */
static gboolean
checkpoint_hand_out (PtPipeline *self, PtTensorFile *file, gboolean stream,
    GError **error)
{
  g_autoptr (PtMarker) marker = pt_marker_new (self, restore_run,
      restore_new (file, stream), restore_free);

  marker->drains = TRUE;
  return pt_pipeline_run_marker (self, marker, error);
}

/* Whether the stages are those of @file. */
static gboolean
checkpoint_fits_stream (PtPipeline *self, PtTensorFile *file)
{
  g_autofree gchar *cut = checkpoint_print_cut (self);
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
checkpoint_restore_frames (PtPipeline *self, PtTensorFile *file)
{
  gboolean done;

  g_mutex_lock (&self->push_lock);
  done = pt_stream_state_restore_frames (&self->maker, &self->frame, file,
      NULL);
  g_mutex_unlock (&self->push_lock);
  return done;
}

/* @whole: (optional): asks for the stream too; says whether it was there. */
static gboolean
checkpoint_load (PtPipeline *self, const gchar *path, gboolean *whole,
    GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_load (path, error);
  g_autoptr (GMutexLocker) locker = NULL;
  gboolean resume, stream;

  if (file == NULL)
    return FALSE;
  locker = g_mutex_locker_new (&self->weights_lock);
  resume = self->running && self->learning.mode != PT_MODE_OFF
      && checkpoint_has_optimizer (file);
  if (resume && !checkpoint_check_slots (self, file, path, error))
    return FALSE;
  if (!pt_weights_take (self->network, file, path, error))
    return FALSE;
  if (!self->running)
    return TRUE;
  stream = resume && whole != NULL && checkpoint_fits_stream (self, file)
      && checkpoint_restore_frames (self, file);
  if (whole != NULL)
    *whole = stream;
  return checkpoint_hand_out (self, resume ? g_steal_pointer (&file) : NULL,
      stream && self->learning.mode != PT_MODE_EXACT, error);
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
  return checkpoint_load (self, path, NULL, error);
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
  return checkpoint_load (self, path, whole, error);
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

  pt_network_init_weights (self->network, self->network->settings.seed);
  if (!self->running)
    return TRUE;
  return checkpoint_hand_out (self, NULL, FALSE, error);
}
