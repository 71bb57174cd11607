/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include "engine/stream-state.h"
#include "formats/weights.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

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
  GError *error;
  gboolean notify;              /* the event function is yet to be told; this
                                 * and the next under marker_lock */
  gboolean written;             /* or it failed, see error */
  PtTensorFile *copy;           /* what would be written, for who wants that */
} Snapshot;

static Snapshot *
snapshot_new (PtPipeline *pipeline, const gchar *path, gboolean notify)
{
  Snapshot *self = g_new0 (Snapshot, 1);

  self->pipeline = pipeline;
  self->path = g_strdup (path);
  /* after the end it is of the whole stream */
  self->frame = pipeline->main.frame > 0 ? pipeline->main.frame : pipeline->main.drained;
  self->notify = notify;
  self->n_parts = pipeline->n_stages + 1;
  self->parts = g_new0 (PtTensorFile *, self->n_parts);
  self->steps = g_new0 (GString *, self->n_parts);
  for (guint i = 0; i < self->n_parts; i++) {
    self->parts[i] = pt_tensor_file_new ();
    self->steps[i] = g_string_new (NULL);
  }
  pt_pipeline_wait_frames (pipeline);
  pt_stream_state_save_frames (&pipeline->main.maker, pipeline->main.frame,
      self->parts[pipeline->n_stages], &self->error);
  return self;
}

static void
snapshot_tell (Snapshot *self, const GError *error)
{
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
  g_clear_pointer (&self->copy, pt_tensor_file_free);
  g_clear_error (&self->error);
  g_free (self->guard);
  g_free (self->parts);
  g_free (self->steps);
  g_free (self->path);
  g_free (self);
}

static gboolean
snapshot_add (Snapshot *self, PtStage *stage, guint i, GError **error)
{
  PtArena *arena = &stage->arena;
  const PtParameter *p = &arena->parameters[i];
  const PtLayer *layer = pt_arena_get_layer (arena, p);
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

/* The caller's to free. */
gchar *
pt_checkpoint_print_cut (const PtPipeline *pipeline)
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
  g_autofree gchar *cut = pt_checkpoint_print_cut (p);
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

/* The name of the checkpoint that is @age older than @path: name.2.ext. */
static gchar *
checkpoint_get_older (const gchar *path, guint age)
{
  const gchar *base = strrchr (path, '/'), *dot = NULL;

  base = base != NULL ? base + 1 : path;
  dot = strrchr (base, '.');
  if (dot == NULL || dot == base)
    return g_strdup_printf ("%s.%u", path, age);
  return g_strdup_printf ("%.*s.%u%s", (gint) (dot - path), path, age, dot);
}

/* Gives the files that are there names one older, and the newest a second
 * name: it keeps its first until a new one takes it, so that at any moment
 * there is a whole one. A file system without links keeps none. */
static void
checkpoint_make_older (const gchar *path, gpointer data)
{
  PtPipeline *pipeline = data;
  guint keep = g_atomic_int_get (&pipeline->checkpoint_keep);
  g_autofree gchar *first = checkpoint_get_older (path, 1);

  if (keep <= 1)
    return;
  for (guint age = keep - 1; age >= 2; age--) {
    g_autofree gchar *newer = checkpoint_get_older (path, age - 1);
    g_autofree gchar *older = checkpoint_get_older (path, age);

    g_rename (newer, older);
  }
  g_unlink (first);
  if (link (path, first) != 0 && errno != ENOENT)
    g_debug ("%s: not kept as %s: %s", path, first, g_strerror (errno));
}

static PtTensorFile *
snapshot_merge (const Snapshot *self, GError **error)
{
  PtTensorFile *file;

  if (self->error != NULL) {
    g_propagate_error (error, g_error_copy (self->error));
    return NULL;
  }
  file = pt_tensor_file_new ();
  for (guint i = 0; i < self->n_parts; i++)
    pt_tensor_file_add_all (file, self->parts[i]);
  snapshot_describe (self, file);
  return file;
}

static gboolean
snapshot_write (Snapshot *self, GError **error)
{
  g_autoptr (PtTensorFile) file = snapshot_merge (self, error);

  return file != NULL && pt_tensor_file_save_with (file, self->path,
      checkpoint_make_older, self->pipeline, error);
}

/* Tells whoever is to know. */
static void
snapshot_finish (Snapshot *self, GError *error)
{
  GMutex *lock = &self->pipeline->marker_lock;
  gboolean notify;

  g_mutex_lock (lock);
  g_clear_error (&self->error);
  if (error != NULL)
    self->error = g_error_copy (error);
  self->written = TRUE;
  notify = self->notify;
  self->notify = FALSE;
  g_cond_broadcast (&self->pipeline->marker_changed);
  g_mutex_unlock (lock);
  if (notify)
    snapshot_tell (self, error);
}

/* The writer's thread; each message has a reference on its marker. All files
 * are written here, so that an older one never takes the place of a newer. */
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
    snapshot_finish (snapshot, error);
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

/* On the last stage's thread: later the pipeline may be gone. */
static void
snapshot_keep (PtMarker *marker)
{
  Snapshot *self = marker->data;
  g_autoptr (GError) unused = NULL;

  self->copy = snapshot_merge (self, &unused);
  pt_pipeline_drained (marker);
}

/* What a checkpoint holds, without a file: a marker that ends the stream and
 * brings it together. The caller has push_lock. */
PtMarker *
pt_checkpoint_new_copy (PtPipeline *self)
{
  PtMarker *marker = pt_marker_new (self, snapshot_run,
      snapshot_new (self, self->network->origin, FALSE), snapshot_free);

  marker->drains = TRUE;
  marker->done = snapshot_keep;
  return marker;
}

/* Lent, of a marker that is through. */
PtTensorFile *
pt_checkpoint_get_copy (PtMarker *marker, GError **error)
{
  Snapshot *self = marker->data;

  if (self->copy == NULL)
    g_propagate_error (error, g_error_copy (self->error));
  return self->copy;
}

/* It has been replaced, or stops, while it was asked. */
static void
checkpoint_refuse (PtPipeline *self, const gchar *path)
{
  g_autoptr (GError) error = g_error_new (PT_ERROR, PT_ERROR_FAILED,
      "%s: not written, the pipeline has stopped", path);

  pt_pipeline_emit (self, &(PtEvent) { .type = PT_EVENT_CHECKPOINT,
      .frame = self->main.frame, .path = path, .error = error });
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
  if (!self->running || self->stopping) {
    checkpoint_refuse (self, path);
    return;
  }
  snapshot = snapshot_new (self, path, TRUE);
  marker = pt_marker_new (self, snapshot_run, snapshot, snapshot_free);
  if (!checkpoint_start_writing (self, &error)) {
    snapshot_finish (snapshot, error);
    return;
  }
  marker->done = snapshot_done;
  pt_pipeline_send_marker (self, marker);
}

/* Waits for the file, or a flush: frames that stand still may keep it back
 * until then, and who flushes may wait for us. */
static gboolean
checkpoint_wait (PtPipeline *self, Snapshot *snapshot, GError **error)
{
  g_mutex_lock (&self->marker_lock);
  while (!snapshot->written && !g_atomic_int_get (&self->failed)
      && !g_atomic_int_get (&self->flushing))
    g_cond_wait (&self->marker_changed, &self->marker_lock);
  if (snapshot->error != NULL)
    g_propagate_error (error, g_error_copy (snapshot->error));
  else if (!snapshot->written && g_atomic_int_get (&self->failed))
    g_set_error (error, PT_ERROR, PT_ERROR_FAILED,
        "%s: not written, the pipeline failed before", snapshot->path);
  else if (!snapshot->written) {
    snapshot->notify = TRUE;
    g_set_error (error, PT_ERROR, PT_ERROR_FAILED,
        "%s: not written yet, a flush came before", snapshot->path);
  } else {
    g_mutex_unlock (&self->marker_lock);
    return TRUE;
  }
  g_mutex_unlock (&self->marker_lock);
  return FALSE;
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
 * Returns: whether it is written; else %PT_ERROR_FILE, or %PT_ERROR_FAILED if
 *   a stage failed before, or a flush came before: then %PT_EVENT_CHECKPOINT
 *   tells the outcome
 */
gboolean
pt_pipeline_save (PtPipeline *self, const gchar *path, GError **error)
{
  g_autoptr (PtMarker) marker = NULL;
  gboolean sent;

  if (!self->running)
    return pt_network_save_weights (self->network, path, error);
  g_mutex_lock (&self->push_lock);
  marker = pt_marker_new (self, snapshot_run,
      snapshot_new (self, path, FALSE), snapshot_free);
  sent = checkpoint_start_writing (self, error);
  if (sent) {
    marker->done = snapshot_done;
    pt_pipeline_send_marker (self, marker);
  }
  g_mutex_unlock (&self->push_lock);
  return sent && checkpoint_wait (self, marker->data, error);
}
