/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include <string.h>

/* A checkpoint is a weights file with more in it: for each learned parameter
 * and each thing the optimizer remembers of it a tensor
 * optimizer.<layer>.<param>.<slot>, and in the metadata what says where the
 * stream was. All stages copy theirs between the same two frames; the file is
 * written by a thread of its own. */

#define CHECKPOINT_FORMAT "partime-checkpoint-1"

typedef struct
{
  PtPipeline *pipeline;         /* lent */
  gchar *path;
  guint64 frame;
  PtTensorFile **parts;         /* one per stage */
  guint n_parts;
  GString **steps;              /* "layer=updates;" per stage */
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
  self->n_parts = pipeline->n_stages;
  self->parts = g_new0 (PtTensorFile *, self->n_parts);
  self->steps = g_new0 (GString *, self->n_parts);
  for (guint i = 0; i < self->n_parts; i++) {
    self->parts[i] = pt_tensor_file_new ();
    self->steps[i] = g_string_new (NULL);
  }
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
  for (guint k = 0; k < stage->span->n; k++)
    g_string_append_printf (self->steps[stage->index], "%s=%" G_GUINT64_FORMAT
        ";", stage->wiring->network->nodes[stage->span->first + k].layer->name,
        stage->arena.updates);
  if (problem != NULL) {
    PtPipeline *pipeline = self->pipeline;

    g_mutex_lock (&pipeline->marker_lock);
    if (self->error == NULL)
      self->error = g_steal_pointer (&problem);
    g_mutex_unlock (&pipeline->marker_lock);
  }
  return TRUE;
}

static void
snapshot_describe (const Snapshot *self, PtTensorFile *file)
{
  PtPipeline *p = self->pipeline;
  g_autofree gchar *frame = g_strdup_printf ("%" G_GUINT64_FORMAT,
      self->frame);
  g_autoptr (GString) cut = g_string_new (NULL);
  g_autoptr (GString) steps = g_string_new (NULL);

  for (guint i = 0; i < self->n_parts; i++) {
    g_string_append_printf (cut, i ? ",%u" : "%u", p->wiring.spans[i].n);
    g_string_append (steps, self->steps[i]->str);
  }
  pt_tensor_file_set_metadata (file, "format", CHECKPOINT_FORMAT);
  pt_tensor_file_set_metadata (file, "frame", frame);
  pt_tensor_file_set_metadata (file, "mode",
      pt_mode_get_name (p->learning.mode));
  pt_tensor_file_set_metadata (file, "cut", cut->str);
  pt_tensor_file_set_metadata (file, "steps", steps->str);
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
  for (guint i = 0; i < self->n_parts; i++) {
    for (guint k = 0; k < pt_tensor_file_get_n_tensors (self->parts[i]); k++) {
      const gchar *name = pt_tensor_file_get_name (self->parts[i], k);

      pt_tensor_file_add (file, name,
          pt_tensor_file_get (self->parts[i], name));
    }
  }
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

/* How many updates the weights of @stage have had, by the file: those of its
 * first layer that learns. */
static guint64
checkpoint_get_steps (PtTensorFile *file, const PtStage *stage)
{
  const gchar *text = pt_tensor_file_get_metadata (file, "steps");
  g_auto (GStrv) words = g_strsplit (text != NULL ? text : "", ";", -1);
  const gchar *name;
  gsize n;

  if (stage->arena.learned_bytes == 0)
    return 0;
  name = checkpoint_get_layer (stage, &stage->arena.parameters[0])->name;
  n = strlen (name);
  for (guint i = 0; words[i] != NULL; i++)
    if (strncmp (words[i], name, n) == 0 && words[i][n] == '=')
      return g_ascii_strtoull (words[i] + n + 1, NULL, 10);
  return 0;
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

        if (!checkpoint_check_slot (file, path, name,
                &layer->weights[i].shape, error))
          return FALSE;
      }
    }
  }
  return TRUE;
}

/* On each stage's thread: weights from the network, the rest from the file if
 * there is one, else anew. */
static gboolean
checkpoint_restore (PtStage *stage, PtMarker *marker, GError **error)
{
  PtTensorFile *file = marker->data;
  PtArena *arena = &stage->arena;

  pt_guard_reset (&stage->guard);
  if (!pt_arena_import (arena, error) || !pt_arena_clear_slots (arena, error))
    return FALSE;
  if (file == NULL)
    return pt_arena_trust (arena, error);
  for (guint i = 0; i < arena->n_parameters; i++) {
    const PtParameter *p = &arena->parameters[i];

    for (guint k = 0; p->learned && k < arena->n_slots; k++) {
      g_autofree gchar *name =
          checkpoint_get_slot_name (checkpoint_get_layer (stage, p),
          p->weight, arena->slot_names[k]);

      if (!pt_arena_import_slot (arena, i, k, pt_tensor_file_get (file, name),
              error))
        return FALSE;
    }
  }
  arena->updates = checkpoint_get_steps (file, stage);
  return pt_arena_trust (arena, error);
}

static void
checkpoint_free_file (gpointer data)
{
  g_clear_pointer ((PtTensorFile **) &data, pt_tensor_file_free);
}

/**
 * pt_pipeline_load:
 * @self: a pipeline
 * @path: a checkpoint, or a file of weights alone
 * @error: return location
 *
 * Replaces the weights, between two frames if it runs, and waits for that. A
 * checkpoint brings the optimizer's state back; with weights alone the
 * optimizer starts anew. The file is checked whole before anything changes. A
 * checkpoint of another cut fits.
 *
 * Returns: whether it is loaded; else %PT_ERROR_FILE, and nothing has changed
 */
gboolean
pt_pipeline_load (PtPipeline *self, const gchar *path, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_load (path, error);
  g_autoptr (GMutexLocker) locker = NULL;
  g_autoptr (PtMarker) marker = NULL;
  gboolean resume;

  if (file == NULL)
    return FALSE;
  locker = g_mutex_locker_new (&self->weights_lock);
  resume = self->running && self->learning.mode != PT_MODE_OFF
      && checkpoint_has_optimizer (file);
  if (resume && !checkpoint_check_slots (self, file, path, error))
    return FALSE;
  if (!pt_network_load_weights (self->network, path, error))
    return FALSE;
  if (!self->running)
    return TRUE;
  marker = pt_marker_new (self, checkpoint_restore,
      resume ? g_steal_pointer (&file) : NULL, checkpoint_free_file);
  marker->drains = TRUE;        /* old gradients are not for new weights */
  return pt_pipeline_run_marker (self, marker, error);
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
  g_autoptr (PtMarker) marker = NULL;

  pt_network_init_weights (self->network, self->network->settings.seed);
  if (!self->running)
    return TRUE;
  marker = pt_marker_new (self, checkpoint_restore, NULL, NULL);
  marker->drains = TRUE;
  return pt_pipeline_run_marker (self, marker, error);
}
