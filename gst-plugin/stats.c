/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the element measures and says: statistics, latency, quality of
 * service. */

#include <math.h>

#include "gstpartimefilter-private.h"

#define SMOOTH (1.0 / 16)
#define HEADROOM 0.1            /* of the latency, above its spread */
#define MOVED 0.25              /* a change worth a new latency */
#define LATENCY_PAUSE (2 * G_USEC_PER_SEC)

static void
stats_append_stage (GValue *stages, PtPipeline *pipeline, guint index)
{
  PtStageStats stage;
  GValue value = G_VALUE_INIT;

  pt_pipeline_get_stage_stats (pipeline, index, &stage);
  g_value_init (&value, GST_TYPE_STRUCTURE);
  g_value_take_boxed (&value, gst_structure_new ("stage",
          "device", G_TYPE_STRING, stage.device,
          "first-layer", G_TYPE_UINT, stage.first_layer,
          "layers", G_TYPE_UINT, stage.n_layers,
          "threads", G_TYPE_UINT, stage.n_threads,
          "forward-ms", G_TYPE_DOUBLE, stage.forward / 1e6,
          "backward-ms", G_TYPE_DOUBLE, stage.backward / 1e6,
          "update-ms", G_TYPE_DOUBLE, stage.update / 1e6,
          "age", G_TYPE_UINT, stage.age,
          "updates", G_TYPE_UINT64, stage.updates,
          "dropped", G_TYPE_UINT64, stage.dropped,
          "learning-rate", G_TYPE_DOUBLE, stage.learning_rate,
          "memory", G_TYPE_UINT64, stage.memory, NULL));
  gst_value_array_append_and_take_value (stages, &value);
}

/* Each measure: a structure of its unit and its finite values. */
static void
stats_set_measures (GstStructure *structure, const PtPipelineStats *stats)
{
  GstStructure *all = gst_structure_new_empty ("measures");

  for (guint i = 0; i < stats->n_measures; i++) {
    const PtMeasure *m = &stats->measures[i];
    GstStructure *one = gst_structure_new ("measure",
        "unit", G_TYPE_STRING, m->unit,
        "higher-is-better", G_TYPE_BOOLEAN, m->higher_is_better, NULL);

    if (isfinite (m->newest))
      gst_structure_set (one, "newest", G_TYPE_DOUBLE, m->newest, NULL);
    if (isfinite (m->recent))
      gst_structure_set (one, "recent", G_TYPE_DOUBLE, m->recent, NULL);
    if (isfinite (m->total))
      gst_structure_set (one, "total", G_TYPE_DOUBLE, m->total, NULL);
    gst_structure_set (all, m->name, GST_TYPE_STRUCTURE, one, NULL);
    gst_structure_free (one);
  }
  gst_structure_set (structure, "measures", GST_TYPE_STRUCTURE, all, NULL);
  gst_structure_free (all);
}

/* The last stage's rate has no age in it. */
static void
stats_set_rate (GstStructure *structure, PtPipeline *pipeline, guint n_stages)
{
  PtStageStats last;

  if (n_stages == 0)
    return;
  pt_pipeline_get_stage_stats (pipeline, n_stages - 1, &last);
  gst_structure_set (structure, "learning-rate", G_TYPE_DOUBLE,
      last.learning_rate, NULL);
}

static void
stats_fill (GstStructure *structure, GstPartimeModel *model)
{
  PtPipeline *pipeline = model->pipeline;
  PtPipelineStats stats;
  GValue stages = G_VALUE_INIT;

  gst_partime_model_get_stats (model, &stats);
  gst_structure_set (structure, "frame", G_TYPE_UINT64, stats.frames,
      "frames", G_TYPE_UINT64, stats.frames,
      "fps", G_TYPE_DOUBLE, stats.fps,
      "learned", G_TYPE_UINT64, stats.learned,
      "updates", G_TYPE_UINT64, stats.updates,
      "skipped", G_TYPE_UINT64, stats.skipped,
      "rollbacks", G_TYPE_UINT64, stats.rollbacks,
      "in-flight", G_TYPE_UINT, stats.in_flight,
      "latency", G_TYPE_UINT64, stats.latency,
      "max-latency", G_TYPE_UINT64, stats.max_latency, NULL);
  if (isfinite (stats.loss))
    gst_structure_set (structure, "loss", G_TYPE_DOUBLE, stats.loss, NULL);
  if (isfinite (stats.mean_loss))
    gst_structure_set (structure, "mean-loss", G_TYPE_DOUBLE,
        stats.mean_loss, NULL);
  stats_set_rate (structure, pipeline, stats.n_stages);
  stats_set_measures (structure, &stats);
  gst_value_array_init (&stages, stats.n_stages);
  for (guint i = 0; i < stats.n_stages; i++)
    stats_append_stage (&stages, pipeline, i);
  gst_structure_take_value (structure, "stages", &stages);
}

/* Returns: a structure called @name; empty until the network runs. The
 * losses are missing until there is one. */
GstStructure *
gst_partime_filter_new_stats (GstPartimeFilter *self, const gchar *name)
{
  GstStructure *structure = gst_structure_new_empty (name);

  g_mutex_lock (&self->running_lock);
  if (self->running)
    stats_fill (structure, self->model);
  g_mutex_unlock (&self->running_lock);
  gst_partime_labels_fill_stats (self, structure);
  GST_OBJECT_LOCK (self);
  gst_structure_set (structure, "dropped", G_TYPE_UINT64, self->dropped,
      NULL);
  GST_OBJECT_UNLOCK (self);
  return structure;
}

/* A disk that is full is told once, until it no longer is. */
static void
stats_write (GstPartimeFilter *self, const GstStructure *stats)
{
  g_autoptr (GError) error = NULL;
  gboolean written = gst_partime_stats_file_write (self->stats_file, stats,
      &error);

  if (!written && !self->stats_file_failed)
    GST_ELEMENT_WARNING (self, RESOURCE, WRITE, ("%s", error->message),
        ("lines of statistics are left out; the stream goes on"));
  self->stats_file_failed = !written;
}

/* Posts partime-learning and writes it down. */
static void
stats_tell (GstPartimeFilter *self, gint64 now, gboolean post)
{
  GstStructure *stats = gst_partime_filter_new_stats (self,
      "partime-learning");

  self->last_stats = now;
  gst_structure_set (stats, "time", G_TYPE_DOUBLE,
      (now - self->first_stats) / 1e6, NULL);
  if (GST_CLOCK_TIME_IS_VALID (self->result_pts))
    gst_structure_set (stats, "pts", G_TYPE_UINT64, self->result_pts, NULL);
  if (self->stats_file)
    stats_write (self, stats);
  if (post)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_element (GST_OBJECT (self), stats));
  else
    gst_structure_free (stats);
}

/* Tells how it goes, if it is time or the @end. */
void
gst_partime_filter_post_stats (GstPartimeFilter *self, gboolean end)
{
  gint64 now = g_get_monotonic_time ();
  guint64 interval;

  GST_OBJECT_LOCK (self);
  interval = self->settings.stats_interval;
  GST_OBJECT_UNLOCK (self);
  if (interval == 0 ? end && self->stats_file != NULL :
      end || now - self->last_stats >= (gint64) (interval / 1000))
    stats_tell (self, now, interval > 0);
}

/* From READY to PAUSED. Returns: FALSE, with an error posted, if the file of
 * statistics cannot be written. */
gboolean
gst_partime_filter_open_stats (GstPartimeFilter *self)
{
  g_autoptr (GError) error = NULL;

  self->stats_file_failed = FALSE;
  self->result_pts = GST_CLOCK_TIME_NONE;
  if (!self->settings.stats_location)
    return TRUE;
  self->stats_file =
      gst_partime_stats_file_open (self->settings.stats_location, &error);
  if (!self->stats_file)
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_WRITE, ("%s", error->message),
        (NULL));
  return self->stats_file != NULL;
}

/* What a sink should wait for: the mean, and room for what is usual. */
static GstClockTime
latency_estimate (const GstPartimeFilter *self)
{
  if (self->latency_mean < 0)
    return self->frame_duration;
  return self->latency_mean * (1 + HEADROOM) + 3 * self->latency_spread;
}

/* Takes the latency of @result in, and says so where it has moved. A sink
 * that waits too short drops frames, so growth is told at once. */
void
gst_partime_filter_measure (GstPartimeFilter *self, const PtResult *result)
{
  gint64 now = g_get_monotonic_time ();
  gdouble found = result->latency;
  GstClockTime estimate;
  gboolean post;

  GST_OBJECT_LOCK (self);
  if (self->latency_mean < 0) {
    self->latency_mean = found;
    self->latency_spread = found / 4;
  } else {
    self->latency_spread += SMOOTH * (fabs (found - self->latency_mean)
        - self->latency_spread);
    self->latency_mean += SMOOTH * (found - self->latency_mean);
  }
  estimate = latency_estimate (self);
  post = self->live && self->settings.latency_report
      && self->timing == GST_PARTIME_TIMING_ALIGNED
      && fabs ((gdouble) estimate - self->latency) > MOVED * self->latency
      && (estimate > self->latency
      || now - self->latency_changed > LATENCY_PAUSE);
  if (post) {
    self->latency = estimate;
    self->latency_changed = now;
  }
  GST_OBJECT_UNLOCK (self);
  if (post)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_latency (GST_OBJECT (self)));
}

gboolean
gst_partime_filter_query_latency (GstPartimeFilter *self, GstQuery *query)
{
  GstClockTime min, max, own = 0, wait;
  gboolean live;

  if (!gst_pad_peer_query (self->sinkpad, query))
    return FALSE;
  gst_query_parse_latency (query, &live, &min, &max);
  wait = gst_partime_labels_get_latency (self);
  GST_OBJECT_LOCK (self);
  self->live = live;
  if (self->settings.latency_report
      && self->timing == GST_PARTIME_TIMING_ALIGNED)
    own = self->latency = latency_estimate (self);
  GST_OBJECT_UNLOCK (self);
  own += wait;
  min += own;
  if (max != GST_CLOCK_TIME_NONE)
    max += own;
  gst_query_set_latency (query, live, min, max);
  return TRUE;
}

/* As GstBaseTransform does: what is late now makes what comes soon late. */
void
gst_partime_filter_note_qos (GstPartimeFilter *self, GstEvent *event)
{
  GstQOSType type;
  gdouble proportion;
  GstClockTimeDiff diff;
  GstClockTime timestamp;

  gst_event_parse_qos (event, &type, &proportion, &diff, &timestamp);
  GST_OBJECT_LOCK (self);
  self->proportion = proportion;
  if (!GST_CLOCK_TIME_IS_VALID (timestamp))
    self->earliest = GST_CLOCK_TIME_NONE;
  else if (diff > 0)
    self->earliest = timestamp + 2 * diff + self->frame_duration;
  else
    self->earliest = (GstClockTimeDiff) timestamp + diff < 0 ? 0
        : timestamp + diff;
  GST_OBJECT_UNLOCK (self);
}

void
gst_partime_filter_reset_qos (GstPartimeFilter *self)
{
  GST_OBJECT_LOCK (self);
  self->earliest = GST_CLOCK_TIME_NONE;
  self->proportion = 1.0;
  GST_OBJECT_UNLOCK (self);
}

/* With qos, whether @buffer would come too late anyway; if so it is
 * counted and told. */
gboolean
gst_partime_filter_is_late (GstPartimeFilter *self, GstBuffer *buffer)
{
  GstClockTime running = gst_segment_to_running_time (&self->segment,
      GST_FORMAT_TIME, GST_BUFFER_PTS (buffer));
  GstClockTime earliest;
  gdouble proportion;
  guint64 dropped;
  gboolean late;
  GstMessage *message;

  GST_OBJECT_LOCK (self);
  earliest = self->earliest;
  proportion = self->proportion;
  late = self->settings.qos && GST_CLOCK_TIME_IS_VALID (earliest)
      && GST_CLOCK_TIME_IS_VALID (running) && running <= earliest;
  if (late)
    self->dropped++;
  dropped = self->dropped;
  GST_OBJECT_UNLOCK (self);
  if (!late)
    return FALSE;
  message = gst_message_new_qos (GST_OBJECT (self), self->live, running,
      gst_segment_to_stream_time (&self->segment, GST_FORMAT_TIME,
          GST_BUFFER_PTS (buffer)), GST_BUFFER_PTS (buffer),
      GST_BUFFER_DURATION (buffer));
  gst_message_set_qos_values (message, earliest - running, proportion,
      1000000);
  gst_message_set_qos_stats (message, GST_FORMAT_BUFFERS, self->n_frames,
      dropped);
  gst_element_post_message (GST_ELEMENT (self), message);
  return TRUE;
}
