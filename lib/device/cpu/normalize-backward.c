/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/normalize.h"

/* w dy of element @k, and what it is multiplied by. */
PT_INLINE gfloat
normalize_get_gradient (const PtCpuNormalizeJob *job, const Run *run, gint64 k,
    const gint mode)
{
  gfloat dy = job->dy[run->at + k];

  return mode == NO_WEIGHT ? dy :
      dy * job->w[run->p + (mode == ONE_BY_ONE ? k : 0)];
}

PT_INLINE gfloat
normalize_get_hat (const PtCpuNormalizeJob *job, const Run *run, gint64 k,
    const gboolean is_long)
{
  gint64 c = run->column + (is_long ? 0 : k);

  return (job->x[run->at + k] - job->mean[c]) * job->scale[c];
}

/* Sums of w dy and w dy xhat. */
PT_INLINE void
normalize_sum_back_run (const Run *run, const gboolean is_long,
    const gint mode, const PtCpuNormalizeJob *job, gdouble *sum,
    gdouble *product)
{
  gdouble s = 0, q = 0;

  if (is_long) {
#pragma omp simd reduction (+: s, q)
    for (gint64 k = 0; k < run->n; k++) {
      gfloat g = normalize_get_gradient (job, run, k, mode);

      s += g;
      q += g * normalize_get_hat (job, run, k, TRUE);
    }
    *sum += s;
    *product += q;
    return;
  }
#pragma omp simd
  for (gint64 k = 0; k < run->n; k++) {
    gfloat g = normalize_get_gradient (job, run, k, mode);

    sum[k] += g;
    product[k] += g * normalize_get_hat (job, run, k, FALSE);
  }
}

static PT_CLONES void
normalize_sum_back (gconstpointer data, gint64 begin, gint64 end)
{
  const PtCpuNormalizeJob *job = data;
  gint64 n = job->self->columns;

  for (gint64 i = begin; i < end; i++) {
    gdouble *sum = job->sums + 2 * i * n;

    memset (sum, 0, 2 * n * sizeof *sum);
    NORMALIZE_VISIT (job->self, i, normalize_sum_back_run, job, sum, sum + n);
  }
}

/* What each column takes off: of the mean, and along xhat. */
static void
normalize_finish_back (const PtCpuNormalizeJob *job,
    const gfloat *saved_variance)
{
  const PtCpuNormalize *self = job->self;
  const PtNormalizeView *view = &self->view;
  const PtNormalizeDesc *desc = job->desc;
  gboolean is_norm = desc->kind != PT_NORMALIZE_MEAN_VARIANCE;
  gdouble n = pt_normalize_count (view), sums[2];

  for (gint64 i = 0; i < view->outer * view->groups; i++) {
    gint64 first = i * self->width;
    gboolean is_small = pt_normalize_is_small (desc, saved_variance[i]);

    normalize_gather (job, i / view->groups, i % view->groups, sums);
    for (gint64 k = first; k < first + self->width; k++) {
      job->a[k] = is_norm ? 0 : sums[0] / n;
      job->c[k] = is_small ? 0 : is_norm ? sums[1] : sums[1] / n;
    }
  }
}

/* dx = scale (w dy - a - c xhat), or in the L1 norm c sign (x). */
PT_INLINE void
normalize_apply_back_run (const Run *run, const gboolean is_long,
    const gint mode, const PtCpuNormalizeJob *job, const gboolean is_sign)
{
  const gfloat *scale = job->scale + run->column, *a = job->a + run->column;
  const gfloat *c = job->c + run->column;
  gfloat *dx = job->dx + run->at;

#pragma omp simd
  for (gint64 k = 0; k < run->n; k++) {
    gint64 at = is_long ? 0 : k;
    gfloat hat = normalize_get_hat (job, run, k, is_long);

    if (is_sign)
      hat = (hat > 0) - (hat < 0);
    dx[k] = scale[at] * (normalize_get_gradient (job, run, k, mode) - a[at]
        - c[at] * hat);
  }
}

static PT_CLONES void
normalize_apply_back (gconstpointer data, gint64 begin, gint64 end)
{
  const PtCpuNormalizeJob *job = data;

  for (gint64 i = begin; i < end; i++)
    if (job->desc->kind == PT_NORMALIZE_L1)
      NORMALIZE_VISIT (job->self, i, normalize_apply_back_run, job, TRUE);
    else
      NORMALIZE_VISIT (job->self, i, normalize_apply_back_run, job, FALSE);
}

#define WEIGHTS 256             /* whose gradients are summed at once */

/* Of weights in a row, from @first on, all of whose elements are in one outer
 * part. */
PT_INLINE void
normalize_add_row (const PtCpuNormalizeJob *job, const Run *run,
    const gboolean is_long, gdouble *sum, gdouble *product)
{
#pragma omp simd
  for (gint64 k = 0; k < run->n; k++) {
    gfloat g = job->dy[run->at + k];

    sum[k] += g;
    product[k] += g * normalize_get_hat (job, run, k, is_long);
  }
}

static PT_CLONES void
normalize_add_rows (const PtCpuNormalizeJob *job, gint64 first, gint64 last,
    gdouble *sum, gdouble *product)
{
  const PtCpuNormalize *self = job->self;
  gint64 n = self->view.n_weights, times = self->rows * self->columns / n;
  gboolean is_long = self->columns == 1;

  for (gint64 outer = 0; outer < self->view.outer; outer++)
    for (gint64 i = outer * times; i < (outer + 1) * times; i++) {
      Run run = { i * n + first, 0, last - first, 0,
        outer * self->columns + (is_long ? 0 : first)
      };

      if (is_long)
        normalize_add_row (job, &run, TRUE, sum, product);
      else
        normalize_add_row (job, &run, FALSE, sum, product);
    }
}

/* Of weights that lie otherwise: element by element. */
static PT_CLONES void
normalize_add_spread (const PtCpuNormalizeJob *job, gint64 first, gint64 last,
    gdouble *sum, gdouble *product)
{
  const PtCpuNormalize *self = job->self;
  gint64 n = self->view.n_weights, step = self->view.step;
  gint64 size = self->rows * self->columns;
  gint64 times = self->view.outer * size / (n * step);

  for (gint64 i = 0; i < times; i++)
    for (gint64 p = first; p < last; p++)
      for (gint64 at = (i * n + p) * step; at < (i * n + p + 1) * step; at++) {
        Run run = { at, 0, 1, 0,
          at / size * self->columns + at % self->columns
        };

        sum[p - first] += job->dy[at];
        product[p - first] +=
            job->dy[at] * normalize_get_hat (job, &run, 0, TRUE);
      }
}

/* db = sum dy, dw = sum dy xhat, of weights @begin to @end. */
static void
normalize_weights (gconstpointer data, gint64 begin, gint64 end)
{
  const PtCpuNormalizeJob *job = data;
  const PtCpuNormalize *self = job->self;
  const PtNormalizeView *view = &self->view;
  gboolean in_rows = view->step == 1 &&
      self->rows * self->columns % view->n_weights == 0;

  for (gint64 first = begin; first < end; first += WEIGHTS) {
    gint64 last = MIN (first + WEIGHTS, end);
    gdouble sum[WEIGHTS] = { 0, }, product[WEIGHTS] = { 0, };

    if (in_rows)
      normalize_add_rows (job, first, last, sum, product);
    else
      normalize_add_spread (job, first, last, sum, product);
    for (gint64 k = first; k < last; k++) {
      job->dw[k] = product[k - first];
      if (job->db != NULL)
        job->db[k] = sum[k - first];
    }
  }
}

static gboolean
normalize_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtCpuNormalize *self = op->priv;
  PtCpuNormalizeJob job = pt_cpu_normalize_get_job (op, args);
  const gfloat *mean = args->saved_mean->data;
  const gfloat *variance = args->saved_variance->data;
  gint64 items = normalize_get_items (self);
  gint64 size = self->rows * self->columns, cost = size / self->parts + 1;

  job.dy = args->dy->data;
  for (gint64 k = 0; k < self->n_columns; k++) {
    job.mean[k] = mean[k / self->width];
    job.scale[k] = pt_normalize_scale (job.desc, variance[k / self->width]);
  }
  if (args->dw != NULL) {
    job.dw = args->dw->data;
    job.db = args->db != NULL ? args->db->data : NULL;
    pt_cpu_for (op, self->view.n_weights,
        self->view.outer * size / self->view.n_weights, normalize_weights,
        &job);
  }
  if (args->dx == NULL)
    return TRUE;
  job.dx = args->dx->data;
  pt_cpu_for (op, items, cost, normalize_sum_back, &job);
  normalize_finish_back (&job, variance);
  pt_cpu_for (op, items, cost, normalize_apply_back, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_normalize_backward = {
  .plan = pt_cpu_normalize_plan,
  .run = normalize_run_backward,
  .clear = pt_cpu_normalize_clear,
};
