/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"
#include "device/geometry.h"

/* Places side by side that have a maximum and a sum each. */
#define LANES 64

/* What is to be normalised lies in columns: neighbours in memory belong to
 * neighbouring columns, or, where there are few, to several rows of them. */
typedef struct
{
  PtSoftmaxGeometry g;
  gboolean log;
  gint64 columns, pieces;       /* in one block; blocks side by side */
  gint64 fold;                  /* rows of a block that lie in one row */
  const gfloat *y, *dy;
  gfloat *out;
} SoftmaxJob;

/* One block: rows of @width neighbours, @step apart, the last one shorter. */
typedef struct
{
  gint64 at, width, step, rows, last, columns;
} SoftmaxBlock;

static SoftmaxBlock
softmax_block (const SoftmaxJob *job, gint64 i)
{
  const PtSoftmaxGeometry *g = &job->g;
  const gint64 first = i % job->pieces * job->columns;
  const gint64 columns = MIN (job->columns, g->inner - first);
  const gint64 rows = (g->c + job->fold - 1) / job->fold;
  const gint64 width = columns * job->fold;

  return (SoftmaxBlock) {
    i / job->pieces * g->c * g->inner + first, width, job->fold * g->inner,
    rows, (g->c - (rows - 1) * job->fold) * columns, columns
  };
}

/* All rows of a column come to one, and that to all; their number is a power
 * of two. */
PT_INLINE void
softmax_fold (const SoftmaxBlock *block, gfloat *values, gboolean sum)
{
  gint64 n = block->width;

  while ((n /= 2) >= block->columns)
#pragma omp simd
    for (gint64 i = 0; i < n; i++)
      values[i] = sum ? values[i] + values[n + i] :
          values[n + i] > values[i] ? values[n + i] : values[i];
  for (n = block->columns; n < block->width; n *= 2)
    memcpy (values + n, values, n * sizeof *values);
}

PT_INLINE gint64
softmax_width (const SoftmaxBlock *block, gint64 row)
{
  return row + 1 < block->rows ? block->width : block->last;
}

static PT_CLONES void
softmax_top (const SoftmaxBlock *block, const gfloat *x, gfloat *top)
{
  for (gint64 i = 0; i < block->width; i++)
    top[i] = -INFINITY;
  for (gint64 r = 0; r < block->rows; r++, x += block->step) {
    const gint64 n = softmax_width (block, r);

#pragma omp simd
    for (gint64 i = 0; i < n; i++)
      top[i] = x[i] > top[i] ? x[i] : top[i];
  }
  softmax_fold (block, top, FALSE);
}

/* y = exp (x - max x) / sum, or its logarithm, x - max x - log (sum) */
static PT_CLONES void
softmax_range (gconstpointer data, gint64 begin, gint64 end)
{
  const SoftmaxJob *job = data;

  for (gint64 b = begin; b < end; b++) {
    const SoftmaxBlock block = softmax_block (job, b);
    const gfloat *x = job->y + block.at;
    gfloat *y = job->out + block.at, top[LANES], sum[LANES] = { 0 };

    softmax_top (&block, x, top);
    for (gint64 r = 0; r < block.rows; r++) {
      const gfloat *from = x + r * block.step;
      const gint64 n = softmax_width (&block, r);
      gfloat *to = y + r * block.step;

#pragma omp simd
      for (gint64 i = 0; i < n; i++) {
        gfloat d = from[i] - top[i], e = pt_expf (d);

        to[i] = job->log ? d : e;
        sum[i] += e;
      }
    }
    softmax_fold (&block, sum, TRUE);
    for (gint64 i = 0; i < block.width; i++)
      sum[i] = job->log ? logf (sum[i]) : 1 / sum[i];
    for (gint64 r = 0; r < block.rows; r++) {
      const gint64 n = softmax_width (&block, r);
      gfloat *to = y + r * block.step;

#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        to[i] = job->log ? to[i] - sum[i] : to[i] * sum[i];
    }
  }
}

/* dx = y (dy - sum y dy); of the logarithm, dy - exp (y) sum dy */
static PT_CLONES void
softmax_range_backward (gconstpointer data, gint64 begin, gint64 end)
{
  const SoftmaxJob *job = data;
  const gboolean log = job->log;

  for (gint64 b = begin; b < end; b++) {
    const SoftmaxBlock block = softmax_block (job, b);
    gfloat sum[LANES] = { 0 };

    for (gint64 r = 0; r < block.rows; r++) {
      const gint64 at = block.at + r * block.step;
      const gfloat *y = job->y + at, *dy = job->dy + at;
      const gint64 n = softmax_width (&block, r);

#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        sum[i] += log ? dy[i] : y[i] * dy[i];
    }
    softmax_fold (&block, sum, TRUE);
    for (gint64 r = 0; r < block.rows; r++) {
      const gint64 at = block.at + r * block.step;
      const gfloat *y = job->y + at, *dy = job->dy + at;
      const gint64 n = softmax_width (&block, r);
      gfloat *dx = job->out + at;

#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        dx[i] = log ? dy[i] - pt_expf (y[i]) * sum[i] :
            y[i] * (dy[i] - sum[i]);
    }
  }
}

static void
softmax_launch (const PtOp *op, const PtTensor *y, const PtTensor *dy,
    const PtTensor *out, PtRangeFunc func)
{
  const PtSoftmaxGeometry g = pt_softmax_geometry (&op->desc);
  SoftmaxJob job = { g, op->desc.softmax.log, MIN (g.inner, LANES) };

  job.pieces = (g.inner + job.columns - 1) / job.columns;
  for (job.fold = 1; 2 * job.fold * job.columns <= LANES && job.pieces == 1
      && job.fold < g.c; job.fold *= 2);
  job.y = y->data;
  job.dy = dy != NULL ? dy->data : NULL;
  job.out = out->data;
  pt_cpu_for (op, g.outer * job.pieces, 8 * g.c * job.columns, func, &job);
}

static gboolean
softmax_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  softmax_launch (op, args->x, NULL, args->y, softmax_range);
  return TRUE;
}

static gboolean
softmax_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  softmax_launch (op, args->y, args->dy, args->dx, softmax_range_backward);
  return TRUE;
}

const PtOpImpl pt_cpu_softmax = {
  .plan = pt_cpu_plan_nothing,
  .run = softmax_run,
};

const PtOpImpl pt_cpu_softmax_backward = {
  .plan = pt_cpu_plan_nothing,
  .run = softmax_run_backward,
};
