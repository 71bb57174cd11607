/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

/* Markers: what all stages do between the same two frames. The pipeline keeps
 * a reference until the marker is through, so that one that no stage will run
 * any more, because a stage failed, is still freed. */

/* @destroy is called with @data when the marker goes, run or not. */
PtMarker *
pt_marker_new (PtPipeline *pipeline, PtMarkerFunc run, gpointer data,
    GDestroyNotify destroy)
{
  PtMarker *marker = g_new0 (PtMarker, 1);

  g_atomic_ref_count_init (&marker->refs);
  marker->run = run;
  marker->done = pt_marker_finish;
  marker->pipeline = pipeline;
  marker->data = data;
  marker->destroy = destroy;
  return marker;
}

void
pt_marker_unref (PtMarker *marker)
{
  if (!g_atomic_ref_count_dec (&marker->refs))
    return;
  if (marker->destroy != NULL)
    marker->destroy (marker->data);
  g_free (marker);
}

/* Tells who waits for @marker; the last thing done with it by a stage. */
void
pt_marker_finish (PtMarker *marker)
{
  PtPipeline *pipeline = marker->pipeline;

  g_mutex_lock (&pipeline->marker_lock);
  marker->finished = TRUE;
  g_cond_broadcast (&pipeline->marker_changed);
  g_mutex_unlock (&pipeline->marker_lock);
}

static void
marker_prune (PtPipeline *self)
{
  for (guint i = self->markers->len; i-- > 0;)
    if (((PtMarker *) g_ptr_array_index (self->markers, i))->finished)
      g_ptr_array_remove_index (self->markers, i);
}

/* Puts @marker behind the frames pushed so far; the caller has push_lock. */
void
pt_pipeline_send_marker (PtPipeline *self, PtMarker *marker)
{
  marker->n_left = self->n_stages;
  marker->sequence = self->sequence;
  marker->frame = self->main.frame;
  g_atomic_ref_count_inc (&marker->refs);
  g_mutex_lock (&self->marker_lock);
  marker_prune (self);
  g_ptr_array_add (self->markers, marker);
  g_mutex_unlock (&self->marker_lock);
  pt_queue_put (self->in, &(PtMessage) { .type = PT_MESSAGE_MARKER,
      .marker = marker });
}

/* Waits until every stage has run @marker. Fails if a stage has failed; then
 * others may still be at it. */
gboolean
pt_pipeline_wait_marker (PtPipeline *self, PtMarker *marker, GError **error)
{
  gboolean finished;

  g_mutex_lock (&self->marker_lock);
  while (!marker->finished && !g_atomic_int_get (&self->failed))
    g_cond_wait (&self->marker_changed, &self->marker_lock);
  finished = marker->finished;
  g_mutex_unlock (&self->marker_lock);
  if (finished)
    return TRUE;
  g_mutex_lock (&self->error_lock);
  g_propagate_error (error, g_error_copy (self->error));
  g_mutex_unlock (&self->error_lock);
  return FALSE;
}

gboolean
pt_pipeline_run_marker (PtPipeline *self, PtMarker *marker, GError **error)
{
  g_mutex_lock (&self->push_lock);
  pt_pipeline_send_marker (self, marker);
  g_mutex_unlock (&self->push_lock);
  return pt_pipeline_wait_marker (self, marker, error);
}
