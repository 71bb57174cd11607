/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/normalize.h"

gboolean
pt_cpu_normalize_plan (PtOp *op, GError **error)
{
  PtCpuNormalize *self = op->priv = g_new0 (PtCpuNormalize, 1);
  PtNormalizeView *view = &self->view;
  gint64 threads = op->workspace->device->n_threads;
  gboolean is_long;

  if (!pt_normalize_view (view, &op->desc, error))
    return FALSE;
  is_long = view->groups == 1;
  self->columns = is_long ? 1 : view->groups * view->inner;
  self->rows = is_long ? pt_normalize_count (view) : view->middle;
  self->width = is_long ? 1 : view->inner;
  self->parts = view->outer >= threads ? 1 : MIN (threads, self->rows);
  self->n_sums = normalize_get_items (self) * self->columns;
  self->n_columns = view->outer * self->columns;
  op->scratch_size = 2 * self->n_sums * sizeof (gdouble) +
      4 * self->n_columns * sizeof (gfloat);
  op->weights_size = view->n_weights * sizeof (gfloat);
  return TRUE;
}

void
pt_cpu_normalize_clear (PtOp *op)
{
  g_free (op->priv);
}

PtCpuNormalizeJob
pt_cpu_normalize_get_job (const PtOp *op, const PtOpArgs *args)
{
  const PtCpuNormalize *self = op->priv;
  gdouble *scratch = op->workspace->scratch->data;
  gfloat *columns = (gfloat *) (scratch + 2 * self->n_sums);
  PtCpuNormalizeJob job = { self, &op->desc.normalize, args->x->data };

  if (self->view.n_weights > 0)
    job.w = args->w->data;
  job.sums = scratch;
  job.mean = columns;
  job.scale = columns + self->n_columns;
  job.a = columns + 2 * self->n_columns;
  job.c = columns + 3 * self->n_columns;
  return job;
}

/* -- statistics -- */

PT_INLINE void
normalize_add (PtNormalizeKind kind, gdouble d, gdouble *sum, gdouble *square)
{
  *sum += d;
  *square += kind == PT_NORMALIZE_L1 ? fabs (d) : d * d;
}

PT_INLINE void
normalize_sum_item (const PtCpuNormalizeJob *job, gint64 i,
    const PtNormalizeKind kind)
{
  const PtCpuNormalize *self = job->self;
  Item item = normalize_get_item (self, i);
  const gfloat *x = job->x + item.at;
  const gfloat *shift = job->mean + item.outer * self->columns;
  gdouble *sum = job->sums + 2 * i * self->columns;
  gdouble *square = sum + self->columns;

  memset (sum, 0, 2 * self->columns * sizeof *sum);
  if (self->columns == 1) {
    gdouble s = 0, q = 0, first = *shift;

#pragma omp simd reduction (+: s, q)
    for (gint64 k = 0; k < item.end - item.begin; k++)
      normalize_add (kind, x[k] - first, &s, &q);
    *sum = s;
    *square = q;
    return;
  }
  for (gint64 r = item.begin; r < item.end; r++, x += self->columns)
#pragma omp simd
    for (gint64 k = 0; k < self->columns; k++)
      normalize_add (kind, (gdouble) x[k] - shift[k], &sum[k], &square[k]);
}

static PT_CLONES void
normalize_sum (gconstpointer data, gint64 begin, gint64 end)
{
  const PtCpuNormalizeJob *job = data;

  for (gint64 i = begin; i < end; i++)
    if (job->desc->kind == PT_NORMALIZE_L1)
      normalize_sum_item (job, i, PT_NORMALIZE_L1);
    else
      normalize_sum_item (job, i, PT_NORMALIZE_L2);
}

/* Mean and variance of each group; each column gets them. */
static void
normalize_finish (const PtCpuNormalizeJob *job, gfloat *saved_mean,
    gfloat *saved_variance)
{
  const PtCpuNormalize *self = job->self;
  const PtNormalizeView *view = &self->view;
  gdouble n = pt_normalize_count (view), sums[2];

  for (gint64 i = 0; i < view->outer * view->groups; i++) {
    gint64 first = i * self->width;
    gdouble mean = 0, variance;

    normalize_gather (job, i / view->groups, i % view->groups, sums);
    variance = sums[1];
    if (job->desc->kind == PT_NORMALIZE_MEAN_VARIANCE) {
      mean = sums[0] / n;
      variance = MAX (sums[1] / n - mean * mean, 0);
      mean += job->mean[first];
    }
    for (gint64 k = first; k < first + self->width; k++) {
      job->mean[k] = mean;
      job->scale[k] = pt_normalize_scale (job->desc, variance);
    }
    if (saved_mean != NULL) {
      saved_mean[i] = mean;
      saved_variance[i] = variance;
    }
  }
}

/* -- forward -- */

/* y = (x - mean) scale w + b */
PT_INLINE void
normalize_apply_run (const Run *run, const gboolean is_long, const gint mode,
    const PtCpuNormalizeJob *job)
{
  const gfloat *x = job->x + run->at, *mean = job->mean + run->column;
  const gfloat *scale = job->scale + run->column;
  const gfloat *w = mode != NO_WEIGHT ? job->w + run->p : NULL;
  const gfloat *b = job->b != NULL ? job->b + run->p : NULL;
  gfloat *y = job->y + run->at;

#pragma omp simd
  for (gint64 k = 0; k < run->n; k++) {
    gint64 c = is_long ? 0 : k;

    y[k] = (x[k] - mean[c]) * scale[c];
    if (mode != NO_WEIGHT)
      y[k] *= w[mode == ONE_BY_ONE ? k : 0];
  }
  if (mode != NO_WEIGHT && b != NULL)
#pragma omp simd
    for (gint64 k = 0; k < run->n; k++)
      y[k] += b[mode == ONE_BY_ONE ? k : 0];
}

static PT_CLONES void
normalize_apply (gconstpointer data, gint64 begin, gint64 end)
{
  const PtCpuNormalizeJob *job = data;

  for (gint64 i = begin; i < end; i++)
    NORMALIZE_VISIT (job->self, i, normalize_apply_run, job);
}

/* Where the differences are taken from: each group's first element. */
static void
normalize_shift (const PtCpuNormalizeJob *job)
{
  const PtCpuNormalize *self = job->self;
  gint64 size = self->rows * self->columns;

  for (gint64 outer = 0; outer < self->view.outer; outer++)
    for (gint64 k = 0; k < self->columns; k++)
      job->mean[outer * self->columns + k] =
          job->desc->kind != PT_NORMALIZE_MEAN_VARIANCE ? 0 :
          job->x[outer * size + k / self->width * self->width];
}

static gboolean
normalize_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtCpuNormalize *self = op->priv;
  PtCpuNormalizeJob job = pt_cpu_normalize_get_job (op, args);
  gint64 items = normalize_get_items (self);
  gint64 cost = self->rows * self->columns / self->parts + 1;
  gboolean saves = args->saved_mean != NULL && op->desc.training;

  job.y = args->y->data;
  if (self->view.n_weights > 0 && args->b != NULL)
    job.b = args->b->data;
  normalize_shift (&job);
  pt_cpu_for (op, items, cost, normalize_sum, &job);
  normalize_finish (&job, saves ? args->saved_mean->data : NULL,
      saves ? args->saved_variance->data : NULL);
  pt_cpu_for (op, items, cost, normalize_apply, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_normalize = {
  .plan = pt_cpu_normalize_plan,
  .run = normalize_run,
  .clear = pt_cpu_normalize_clear,
  .pack = pt_normalize_pack,
  .unpack = pt_normalize_unpack,
};
