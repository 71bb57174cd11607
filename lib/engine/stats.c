/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/stats.h"

#include "engine/queue.h"

#include <math.h>

#define STATS_SECOND G_GINT64_CONSTANT (1000000000)
#define STATS_LOSS_WEIGHT 0.01
#define STATS_LATENCY_WEIGHT 0.05

void
pt_stats_init (PtStats *self)
{
  g_mutex_init (&self->lock);
  pt_stats_reset (self);
}

void
pt_stats_clear (PtStats *self)
{
  g_mutex_clear (&self->lock);
}

void
pt_stats_reset (PtStats *self)
{
  g_mutex_lock (&self->lock);
  self->now = (PtPipelineStats) { .loss = NAN, .mean_loss = NAN };
  self->window_start = pt_clock_now ();
  self->window_frames = 0;
  g_mutex_unlock (&self->lock);
}

/* Frames per second over the second that just ended. */
static void
stats_count_rate (PtStats *self)
{
  gint64 now = pt_clock_now (), time = now - self->window_start;

  self->window_frames++;
  if (time < STATS_SECOND)
    return;
  self->now.fps = self->window_frames * (gdouble) STATS_SECOND / time;
  self->window_start = now;
  self->window_frames = 0;
}

void
pt_stats_add_result (PtStats *self, const PtResult *result)
{
  PtPipelineStats *now = &self->now;

  g_mutex_lock (&self->lock);
  now->frames++;
  now->learned += result->learned;
  if (isfinite (result->loss)) {
    now->loss = result->loss;
    now->mean_loss = isnan (now->mean_loss) ? result->loss :
        now->mean_loss + STATS_LOSS_WEIGHT * (result->loss - now->mean_loss);
  }
  now->latency = now->latency == 0 ? result->latency : now->latency
      + STATS_LATENCY_WEIGHT * (result->latency - (gdouble) now->latency);
  now->max_latency = MAX (now->max_latency, result->latency);
  stats_count_rate (self);
  g_mutex_unlock (&self->lock);
}

/* A frame that the policy kept from learning. */
void
pt_stats_add_skipped (PtStats *self)
{
  g_mutex_lock (&self->lock);
  self->now.skipped++;
  g_mutex_unlock (&self->lock);
}

void
pt_stats_add_rollback (PtStats *self)
{
  g_mutex_lock (&self->lock);
  self->now.rollbacks++;
  g_mutex_unlock (&self->lock);
}

void
pt_stats_follow (PtStats *self, PtStats *before, gboolean losses)
{
  guint64 skipped;

  g_mutex_lock (&before->lock);
  g_mutex_lock (&self->lock);
  skipped = MAX (self->now.skipped, before->now.skipped);
  self->now = before->now;
  self->now.skipped = skipped;
  if (!losses)
    self->now.loss = self->now.mean_loss = NAN;
  self->window_start = before->window_start;
  self->window_frames = before->window_frames;
  g_mutex_unlock (&self->lock);
  g_mutex_unlock (&before->lock);
}

/* All but updates, in_flight and n_stages, which the pipeline knows. Before the first
 * full second the rate is that of the time there has been. */
void
pt_stats_get (PtStats *self, PtPipelineStats *stats)
{
  gint64 time;

  g_mutex_lock (&self->lock);
  *stats = self->now;
  time = pt_clock_now () - self->window_start;
  if ((stats->fps == 0 || time > 2 * STATS_SECOND) && time > 0)
    stats->fps = self->window_frames * (gdouble) STATS_SECOND / time;
  g_mutex_unlock (&self->lock);
}
