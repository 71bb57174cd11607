/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/normalize.h"

#include "device/cpu/kernel.h"

/* Sums are in double, of differences from the first element of each group, so
 * that one pass gives the variance of values far from zero. They are taken in
 * columns: one for each place in (groups, inner), over the rows of the middle;
 * or a single one, over all, where there are no groups. */

typedef struct
{
  PtNormalizeView view;
  gint64 columns, rows;
  gint64 width;                 /* columns of one group */
  gint64 parts;                 /* of the rows */
  gint64 n_sums, n_columns;     /* doubles and floats of scratch, of each */
} Normalize;

typedef struct
{
  const Normalize *self;
  const PtNormalizeDesc *desc;
  const gfloat *x, *w, *b, *dy;
  gfloat *y, *dx, *dw, *db;
  gdouble *sums;                /* two of each column and part */
  gfloat *mean, *scale;         /* of each column */
  gfloat *a, *c;                /* what backward takes off: a + c xhat */
} Job;

static gint64
normalize_get_items (const Normalize *self)
{
  return self->view.outer * self->parts;
}

static gboolean
normalize_plan (PtOp *op, GError **error)
{
  Normalize *self = op->priv = g_new0 (Normalize, 1);
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

static void
normalize_clear (PtOp *op)
{
  g_free (op->priv);
}

static Job
normalize_get_job (const PtOp *op, const PtOpArgs *args)
{
  const Normalize *self = op->priv;
  gdouble *scratch = op->workspace->scratch->data;
  gfloat *columns = (gfloat *) (scratch + 2 * self->n_sums);
  Job job = { self, &op->desc.normalize, args->x->data };

  if (self->view.n_weights > 0)
    job.w = args->w->data;
  job.sums = scratch;
  job.mean = columns;
  job.scale = columns + self->n_columns;
  job.a = columns + 2 * self->n_columns;
  job.c = columns + 3 * self->n_columns;
  return job;
}

/* The rows of an item, and where its first element is. */
typedef struct
{
  gint64 outer, begin, end, at;
} Item;

PT_INLINE Item
normalize_get_item (const Normalize *self, gint64 i)
{
  gint64 part = i % self->parts, outer = i / self->parts;
  Item item = { outer, self->rows * part / self->parts,
    self->rows * (part + 1) / self->parts, 0
  };

  item.at = (outer * self->rows + item.begin) * self->columns;
  return item;
}

/* Elements from @i on, before @end, that have one group and, where there is
 * more than one column or the weights lie one by one, weights in a row; else
 * one weight, number *@p. */
PT_INLINE gint64
normalize_get_run (const Normalize *self, gint64 i, gint64 end, gint64 *p)
{
  const PtNormalizeView *view = &self->view;
  gint64 n = end - i;

  *p = 0;
  if (self->columns == 1)
    n = MIN (n, self->rows - i % self->rows);
  else
    n = MIN (n, self->columns - i % self->columns);
  if (view->n_weights == 0)
    return n;
  *p = i / view->step % view->n_weights;
  return MIN (n, view->step == 1 ? view->n_weights - *p :
      view->step - i % view->step);
}

/* -- statistics -- */

PT_INLINE void
normalize_add (PtNormalizeKind kind, gdouble d, gdouble *sum, gdouble *square)
{
  *sum += d;
  *square += kind == PT_NORMALIZE_L1 ? fabs (d) : d * d;
}

PT_INLINE void
normalize_sum_item (const Job *job, gint64 i, const PtNormalizeKind kind)
{
  const Normalize *self = job->self;
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
  const Job *job = data;

  for (gint64 i = begin; i < end; i++)
    if (job->desc->kind == PT_NORMALIZE_L1)
      normalize_sum_item (job, i, PT_NORMALIZE_L1);
    else
      normalize_sum_item (job, i, PT_NORMALIZE_L2);
}

/* From the columns and parts of group @g of @outer, first those of @sum, then
 * those behind them. */
static void
normalize_gather (const Job *job, gint64 outer, gint64 g, gdouble sums[2])
{
  const Normalize *self = job->self;

  sums[0] = sums[1] = 0;
  for (gint64 part = 0; part < self->parts; part++) {
    const gdouble *from = job->sums +
        2 * (outer * self->parts + part) * self->columns + g * self->width;

    for (gint64 k = 0; k < self->width; k++) {
      sums[0] += from[k];
      sums[1] += from[k + self->columns];
    }
  }
}

/* Mean and variance of each group; each column gets them. */
static void
normalize_finish (const Job *job, gfloat *saved_mean, gfloat *saved_variance)
{
  const Normalize *self = job->self;
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

/* y = (x - mean) scale w + b over one run, of one group if the columns are
 * one. */
PT_INLINE void
normalize_apply_run (const Job *job, gint64 i, gint64 n, gint64 p,
    gint64 column, const gboolean is_long, const gboolean one_by_one)
{
  const gfloat *x = job->x + i, *mean = job->mean + column;
  const gfloat *scale = job->scale + column;
  const gfloat *w = job->w != NULL ? job->w + p : NULL;
  const gfloat *b = job->b != NULL ? job->b + p : NULL;
  gfloat *y = job->y + i;

#pragma omp simd
  for (gint64 k = 0; k < n; k++)
    y[k] = (x[k] - mean[is_long ? 0 : k]) * scale[is_long ? 0 : k];
  if (w != NULL)
#pragma omp simd
    for (gint64 k = 0; k < n; k++)
      y[k] *= w[one_by_one ? k : 0];
  if (b != NULL)
#pragma omp simd
    for (gint64 k = 0; k < n; k++)
      y[k] += b[one_by_one ? k : 0];
}

static PT_CLONES void
normalize_apply (gconstpointer data, gint64 begin, gint64 end)
{
  const Job *job = data;
  const Normalize *self = job->self;
  gboolean is_long = self->columns == 1, row = self->view.step == 1;

  for (gint64 i = begin; i < end; i++) {
    Item item = normalize_get_item (self, i);
    gint64 at = item.at, n, p;
    gint64 stop = at + (item.end - item.begin) * self->columns;

    for (; at < stop; at += n) {
      gint64 column = item.outer * self->columns +
          (is_long ? 0 : at % self->columns);

      n = normalize_get_run (self, at, stop, &p);
      if (is_long && row)
        normalize_apply_run (job, at, n, p, column, TRUE, TRUE);
      else if (is_long)
        normalize_apply_run (job, at, n, p, column, TRUE, FALSE);
      else if (row)
        normalize_apply_run (job, at, n, p, column, FALSE, TRUE);
      else
        normalize_apply_run (job, at, n, p, column, FALSE, FALSE);
    }
  }
}

/* Where the differences are taken from: each group's first element. */
static void
normalize_shift (const Job *job)
{
  const Normalize *self = job->self;
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
  const Normalize *self = op->priv;
  Job job = normalize_get_job (op, args);
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
  .plan = normalize_plan,
  .run = normalize_run,
  .clear = normalize_clear,
  .pack = pt_normalize_pack,
  .unpack = pt_normalize_unpack,
};

/* -- backward -- */

/* The weight of element @k of a run whose first has number @p. */
PT_INLINE gfloat
normalize_get_weight (const Job *job, gint64 p, gint64 k)
{
  if (job->w == NULL)
    return 1;
  return job->w[job->self->view.step == 1 ? p + k : p];
}

/* xhat, or in the L1 norm the sign, which has its place there. */
PT_INLINE gfloat
normalize_get_hat (const Job *job, gint64 i, gint64 column)
{
  return (job->x[i] - job->mean[column]) * job->scale[column];
}

/* Sums of w dy and w dy xhat. */
PT_INLINE void
normalize_sum_back_run (const Job *job, gint64 i, gint64 n, gint64 p,
    gint64 column, const gboolean is_long, gdouble *sum, gdouble *product)
{
  gdouble s = 0, q = 0;

  if (is_long) {
#pragma omp simd reduction (+: s, q)
    for (gint64 k = 0; k < n; k++) {
      gdouble g = job->dy[i + k] * normalize_get_weight (job, p, k);

      s += g;
      q += g * normalize_get_hat (job, i + k, column);
    }
    *sum += s;
    *product += q;
    return;
  }
#pragma omp simd
  for (gint64 k = 0; k < n; k++) {
    gdouble g = job->dy[i + k] * normalize_get_weight (job, p, k);

    sum[k] += g;
    product[k] += g * normalize_get_hat (job, i + k, column + k);
  }
}

static PT_CLONES void
normalize_sum_back (gconstpointer data, gint64 begin, gint64 end)
{
  const Job *job = data;
  const Normalize *self = job->self;
  gboolean is_long = self->columns == 1;

  for (gint64 i = begin; i < end; i++) {
    Item item = normalize_get_item (self, i);
    gdouble *sum = job->sums + 2 * i * self->columns;
    gint64 at = item.at, n, p;
    gint64 stop = at + (item.end - item.begin) * self->columns;

    memset (sum, 0, 2 * self->columns * sizeof *sum);
    for (; at < stop; at += n) {
      gint64 k = is_long ? 0 : at % self->columns;

      n = normalize_get_run (self, at, stop, &p);
      normalize_sum_back_run (job, at, n, p, item.outer * self->columns + k,
          is_long, sum + k, sum + self->columns + k);
    }
  }
}

/* What each column takes off: of the mean, and along xhat. */
static void
normalize_finish_back (const Job *job, const gfloat *saved_variance)
{
  const Normalize *self = job->self;
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

/* dx = scale (w dy - a - c xhat) */
PT_INLINE void
normalize_apply_back_run (const Job *job, gint64 i, gint64 n, gint64 p,
    gint64 column, const gint step, const gboolean is_sign)
{
#pragma omp simd
  for (gint64 k = 0; k < n; k++) {
    gint64 c = column + k * step;
    gfloat hat = normalize_get_hat (job, i + k, c);

    if (is_sign)
      hat = (hat > 0) - (hat < 0);
    job->dx[i + k] = job->scale[c] * (job->dy[i + k]
        * normalize_get_weight (job, p, k) - job->a[c] - job->c[c] * hat);
  }
}

static PT_CLONES void
normalize_apply_back (gconstpointer data, gint64 begin, gint64 end)
{
  const Job *job = data;
  const Normalize *self = job->self;
  gboolean is_long = self->columns == 1;

  for (gint64 i = begin; i < end; i++) {
    Item item = normalize_get_item (self, i);
    gint64 at = item.at, n, p;
    gint64 stop = at + (item.end - item.begin) * self->columns;

    for (; at < stop; at += n) {
      gint64 column = item.outer * self->columns +
          (is_long ? 0 : at % self->columns);

      n = normalize_get_run (self, at, stop, &p);
      if (job->desc->kind == PT_NORMALIZE_L1)
        normalize_apply_back_run (job, at, n, p, column, !is_long, TRUE);
      else if (is_long)
        normalize_apply_back_run (job, at, n, p, column, 0, FALSE);
      else
        normalize_apply_back_run (job, at, n, p, column, 1, FALSE);
    }
  }
}

#define WEIGHTS 256             /* whose gradients are summed at once */

/* Adds the elements from @at to @stop, which have weights from @first on. */
PT_INLINE void
normalize_add_weights (const Job *job, gint64 at, gint64 stop, gint64 first,
    gdouble *sum, gdouble *product)
{
  const Normalize *self = job->self;
  gint64 size = self->rows * self->columns, n, p;
  const gint move = self->columns > 1, one = self->view.step == 1;

  for (; at < stop; at += n) {
    gint64 column = at / size * self->columns + at % self->columns;
    gdouble *s = sum, *q = product;

    n = normalize_get_run (self, at, stop, &p);
    s += p - first;
    q += p - first;
    for (gint64 k = 0; k < n; k++) {
      gdouble g = job->dy[at + k];

      s[one ? k : 0] += g;
      q[one ? k : 0] += g * normalize_get_hat (job, at + k, column + k * move);
    }
  }
}

/* db = sum dy, dw = sum dy xhat, of weights @begin to @end. */
static PT_CLONES void
normalize_weights (gconstpointer data, gint64 begin, gint64 end)
{
  const Job *job = data;
  const PtNormalizeView *view = &job->self->view;
  gint64 n = view->n_weights, step = view->step;
  gint64 times = job->self->rows * job->self->columns * view->outer /
      (n * step);

  for (gint64 first = begin; first < end; first += WEIGHTS) {
    gint64 last = MIN (first + WEIGHTS, end);
    gdouble sum[WEIGHTS] = { 0, }, product[WEIGHTS] = { 0, };

    for (gint64 i = 0; i < times; i++)
      normalize_add_weights (job, (i * n + first) * step,
          (i * n + last) * step, first, sum, product);
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
  const Normalize *self = op->priv;
  Job job = normalize_get_job (op, args);
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
  .plan = normalize_plan,
  .run = normalize_run_backward,
  .clear = normalize_clear,
};
