/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/tensor.h"
#include "device/cpu/kernel.h"

/* In memory a tensor is (outer, C, inner), inner being 1 in images. */

typedef struct
{
  const PtLrnDesc *desc;
  gint64 n, step;               /* elements of an outer one; from a channel to
                                 * the next */
  gint size;
  gfloat alpha;                 /* divided by size */
  const gfloat *x, *dy, *s;
  gfloat *to, *sums, *products;
} LrnJob;

static LrnJob
lrn_get_job (const PtOp *op, const PtOpArgs *args)
{
  const PtShape *x = &op->desc.x;
  gint64 n = pt_shape_get_n_elements (x), c = pt_shape_c (x);
  gboolean channels_last = x->n_dims > 3;
  const PtLrnDesc *desc = &op->desc.lrn;
  gint size = desc->before + 1 + desc->after;
  gint64 step = channels_last ? 1 : n / (pt_shape_get_dim (x, 0) * c);

  return (LrnJob) {.desc = desc,.n = c * step,.step = step,.size = size,
    .alpha = desc->alpha / size,.x = args->x->data
  };
}

/* s^-beta */
PT_INLINE void
lrn_power (const gfloat *s, gfloat *to, gint64 n, gfloat beta)
{
  if (beta == 0.75f)
#pragma omp simd
    for (gint64 i = 0; i < n; i++) {
      gfloat root = 1 / sqrtf (s[i]);

      to[i] = root * sqrtf (root);
    }
  else
    for (gint64 i = 0; i < n; i++)
      to[i] = powf (s[i], -beta);
}

/* to[i] += factor from[i + t step], of the channels that have both. */
PT_INLINE void
lrn_add (const LrnJob *job, const gfloat *from, gfloat *to, gint64 t,
    gfloat factor, const gboolean square)
{
  gint64 move = t * job->step;
  gint64 begin = MAX (-move, 0), end = MIN (job->n - move, job->n);

#pragma omp simd
  for (gint64 i = begin; i < end; i++)
    to[i] += factor * from[i + move] * (square ? from[i + move] : 1);
}

static PT_CLONES void
lrn_forward (gconstpointer data, gint64 begin, gint64 end)
{
  const LrnJob *job = data;
  const PtLrnDesc *desc = job->desc;

  for (gint64 o = begin; o < end; o++) {
    const gfloat *x = job->x + o * job->n;
    gfloat *s = job->sums + o * job->n, *y = job->to + o * job->n;

    for (gint64 i = 0; i < job->n; i++)
      s[i] = desc->k;
    for (gint64 t = -desc->before; t <= desc->after; t++)
      lrn_add (job, x, s, t, job->alpha, TRUE);
    lrn_power (s, y, job->n, desc->beta);
#pragma omp simd
    for (gint64 i = 0; i < job->n; i++)
      y[i] *= x[i];
  }
}

/* dx = dy s^-beta - 2 alpha beta x sum dy x s^(-beta - 1), alpha as in job */
static PT_CLONES void
lrn_backward (gconstpointer data, gint64 begin, gint64 end)
{
  const LrnJob *job = data;
  const PtLrnDesc *desc = job->desc;
  gfloat factor = -2 * job->alpha * desc->beta;

  for (gint64 o = begin; o < end; o++) {
    const gfloat *x = job->x + o * job->n, *dy = job->dy + o * job->n;
    const gfloat *s = job->s + o * job->n;
    gfloat *p = job->products + o * job->n, *sum = job->sums + o * job->n;
    gfloat *dx = job->to + o * job->n;

    lrn_power (s, dx, job->n, desc->beta);
#pragma omp simd
    for (gint64 i = 0; i < job->n; i++) {
      dx[i] *= dy[i];
      p[i] = dx[i] * x[i] / s[i];
      sum[i] = 0;
    }
    for (gint64 t = -desc->after; t <= desc->before; t++)
      lrn_add (job, p, sum, t, factor, FALSE);
#pragma omp simd
    for (gint64 i = 0; i < job->n; i++)
      dx[i] += x[i] * sum[i];
  }
}

static gsize
lrn_get_bytes (const PtOp *op)
{
  return pt_shape_get_n_elements (&op->desc.x) * sizeof (gfloat);
}

/* What is not kept for backward() lies in the scratch memory. */
static gboolean
lrn_plan (PtOp *op, GError **error)
{
  op->scratch_size = op->desc.type == PT_OP_LRN ? lrn_get_bytes (op) :
      2 * lrn_get_bytes (op);
  return TRUE;
}

static gboolean
lrn_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  LrnJob job = lrn_get_job (op, args);
  gboolean saves = op->desc.training && args->saved_variance != NULL;

  job.to = args->y->data;
  job.sums = saves ? args->saved_variance->data :
      op->workspace->scratch->data;
  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x) / job.n,
      job.n * job.size, lrn_forward, &job);
  return TRUE;
}

static gboolean
lrn_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  LrnJob job = lrn_get_job (op, args);

  job.dy = args->dy->data;
  job.s = args->saved_variance->data;
  job.to = args->dx->data;
  job.sums = op->workspace->scratch->data;
  job.products = job.sums + pt_shape_get_n_elements (&op->desc.x);
  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x) / job.n,
      job.n * job.size, lrn_backward, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_lrn = {
  .plan = lrn_plan,
  .run = lrn_run,
};

const PtOpImpl pt_cpu_lrn_backward = {
  .plan = lrn_plan,
  .run = lrn_run_backward,
};
