/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/reduce.h"

/* Numbers that lie next to one another are taken in rows: a row of some of the
 * terms of one result, or of one term of some results. Each place in a row has
 * its own sum, in double. */
#define LANES 64

typedef struct
{
  PtReduceGeometry g;
  PtReduceDesc desc;
  gboolean across;              /* a row is of one result */
  gint64 blocks, row, rows;     /* of results; longest row; rows of a block */
  gint64 lanes;                 /* places that one result has */
  const gfloat *x, *y, *dy;
  gfloat *out;
} ReduceJob;

/* What is added up for a block of results, and what it came to. */
typedef struct
{
  gdouble acc[LANES], other[LANES];
  gfloat y[LANES], dy[LANES], zero[LANES];
  gint64 at[LANES];             /* in y */
  gint64 n;                     /* results, or 1 */
} ReduceBlock;

/* A row of a block: @n places from @x on, from term @term on or all of it. */
typedef void (*ReduceRow) (const ReduceJob *job, ReduceBlock *block,
    const gfloat *x, gint64 n, gint64 term);

static ReduceJob
reduce_job (const PtReduceGeometry *g, const PtReduceDesc *desc)
{
  ReduceJob job = {.g = *g,.desc = *desc,.row = 1,.rows = g->terms,
    .lanes = 1
  };

  job.across = g->n_reduced > 0 && g->reduced[0].x == 1;
  job.blocks = g->outputs;
  if (job.across) {
    job.row = g->reduced[0].size;
    job.rows = g->terms / job.row;
    while (job.lanes < MIN (LANES, job.row))
      job.lanes *= 2;
  } else if (g->n_kept > 0 && g->kept[0].x == 1) {
    job.row = g->kept[0].size;
    job.blocks = g->outputs / job.row * ((job.row + LANES - 1) / LANES);
  }
  return job;
}

/* Elements that one block reads. */
static gint64
reduce_cost (const ReduceJob *job)
{
  return job->across ? job->g.terms : job->g.terms * MIN (job->row, LANES);
}

/* Where block @b begins. */
static gint64
reduce_begin (const ReduceJob *job, ReduceBlock *block, gint64 b)
{
  const PtReduceGeometry *g = &job->g;
  gint64 pieces, first, x, y;

  if (job->across || job->row == 1) {
    block->n = 1;
    return pt_reduce_locate (g->kept, g->n_kept, 0, b, block->at);
  }
  pieces = (job->row + LANES - 1) / LANES;
  first = b % pieces * LANES;
  block->n = MIN (LANES, job->row - first);
  x = pt_reduce_locate (g->kept, g->n_kept, 1, b / pieces, &y);
  for (gint64 i = 0; i < block->n; i++)
    block->at[i] = y + (first + i) * g->kept[0].y;
  return x + first;
}

/* Calls @func for all rows of a block. */
static void
reduce_walk (const ReduceJob *job, ReduceBlock *block, gint64 offset,
    ReduceRow func)
{
  const PtReduceGeometry *g = &job->g;
  gint64 unused;

  for (gint64 r = 0; r < job->rows; r++) {
    const gfloat *x = job->x + offset + pt_reduce_locate (g->reduced,
        g->n_reduced, job->across, r, &unused);

    if (job->across)
      for (gint64 i = 0; i < job->row; i += LANES)
        func (job, block, x + i, MIN (LANES, job->row - i), i);
    else
      func (job, block, x, block->n, r);
  }
}

/* How many places are in use; across, a power of two. */
static gint64
reduce_width (const ReduceJob *job, const ReduceBlock *block)
{
  return job->across ? job->lanes : block->n;
}

static void
reduce_clear (const ReduceJob *job, ReduceBlock *block, gdouble acc)
{
  const gint64 n = reduce_width (job, block);

#pragma omp simd
  for (gint64 i = 0; i < n; i++) {
    block->acc[i] = acc;
    block->other[i] = 0;
  }
}

/* Results that the rows across share are spread over all places. */
static void
reduce_spread (const ReduceJob *job, gdouble *values)
{
  for (gint64 i = 1; i < job->lanes; i++)
    values[i] = values[0];
}

static PT_CLONES void
reduce_row_sum (const ReduceJob *job, ReduceBlock *block, const gfloat *x,
    gint64 n, gint64 term)
{
  gdouble *acc = block->acc;

  switch (job->desc.kind) {
    case PT_REDUCE_L1:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        acc[i] += fabsf (x[i]);
      break;
    case PT_REDUCE_L2:
    case PT_REDUCE_SUM_SQUARE:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        acc[i] += (gdouble) x[i] * x[i];
      break;
    case PT_REDUCE_PROD:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        acc[i] *= x[i];
      break;
    default:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        acc[i] += x[i];
  }
}

/* NaN stays. */
static PT_CLONES void
reduce_row_max (const ReduceJob *job, ReduceBlock *block, const gfloat *x,
    gint64 n, gint64 term)
{
  const gdouble sign = job->desc.kind == PT_REDUCE_MIN ? -1 : 1;
  gdouble *acc = block->acc;

#pragma omp simd
  for (gint64 i = 0; i < n; i++) {
    gdouble v = sign * x[i];

    acc[i] = v > acc[i] || v != v ? v : acc[i];
  }
}

/* The index is in other. */
static void
reduce_row_arg (const ReduceJob *job, ReduceBlock *block, const gfloat *x,
    gint64 n, gint64 term)
{
  const gdouble sign = job->desc.kind == PT_REDUCE_ARGMIN ? -1 : 1;

  for (gint64 i = 0; i < n; i++) {
    gdouble v = sign * x[i];

    if (v > block->acc[i] || (job->desc.last && v == block->acc[i]) ||
        (v != v && block->acc[i] == block->acc[i])) {
      block->acc[i] = v;
      block->other[i] = job->across ? term + i : term;
    }
  }
}

/* acc is the maximum. */
static PT_CLONES void
reduce_row_exp (const ReduceJob *job, ReduceBlock *block, const gfloat *x,
    gint64 n, gint64 term)
{
  gdouble *sum = block->other;
  const gdouble *top = block->acc;

#pragma omp simd
  for (gint64 i = 0; i < n; i++)
    sum[i] += pt_expf (x[i] - (gfloat) top[i]);
}

/* How many are the result. */
static PT_CLONES void
reduce_row_ties (const ReduceJob *job, ReduceBlock *block, const gfloat *x,
    gint64 n, gint64 term)
{
  gdouble *acc = block->acc;
  const gfloat *y = block->y;

#pragma omp simd
  for (gint64 i = 0; i < n; i++)
    acc[i] += x[i] == y[i] ? 1 : 0;
}

/* The product of what is not 0, and how often 0 was found. */
static PT_CLONES void
reduce_row_zeros (const ReduceJob *job, ReduceBlock *block, const gfloat *x,
    gint64 n, gint64 term)
{
  gdouble *acc = block->acc, *zeros = block->other;

#pragma omp simd
  for (gint64 i = 0; i < n; i++) {
    acc[i] *= x[i] == 0 ? 1 : x[i];
    zeros[i] += x[i] == 0 ? 1 : 0;
  }
}

static PT_CLONES void
reduce_fold_sum (const ReduceJob *job, gdouble *acc)
{
  for (gint64 half = job->lanes / 2; half > 0; half /= 2)
#pragma omp simd
    for (gint64 i = 0; i < half; i++)
      acc[i] += acc[i + half];
}

static PT_CLONES void
reduce_fold_prod (const ReduceJob *job, gdouble *acc)
{
  for (gint64 half = job->lanes / 2; half > 0; half /= 2)
#pragma omp simd
    for (gint64 i = 0; i < half; i++)
      acc[i] *= acc[i + half];
}

static PT_CLONES void
reduce_fold_max (const ReduceJob *job, gdouble *acc)
{
  for (gint64 half = job->lanes / 2; half > 0; half /= 2)
#pragma omp simd
    for (gint64 i = 0; i < half; i++)
      acc[i] = acc[half + i] > acc[i] || acc[half + i] != acc[half + i] ?
          acc[half + i] : acc[i];
}

static void
reduce_fold_arg (const ReduceJob *job, ReduceBlock *block)
{
  const gdouble *v = block->acc, *index = block->other;

  for (gint64 i = 1; i < MIN (job->lanes, job->row); i++) {
    gboolean nan = v[i] != v[i], had = v[0] != v[0];
    gboolean before = job->desc.last && !nan ? index[i] > index[0] :
        index[i] < index[0];

    if ((nan && !had) || (nan == had && (v[i] > v[0] ||
                ((nan || v[i] == v[0]) && before)))) {
      block->acc[0] = v[i];
      block->other[0] = index[i];
    }
  }
}

/* Leaves the results of a block in acc. */
static void
reduce_block (const ReduceJob *job, ReduceBlock *block, gint64 offset)
{
  switch (job->desc.kind) {
    case PT_REDUCE_MAX:
    case PT_REDUCE_MIN:
    case PT_REDUCE_LOG_SUM_EXP:
      reduce_clear (job, block, -INFINITY);
      reduce_walk (job, block, offset, reduce_row_max);
      reduce_fold_max (job, block->acc);
      break;
    case PT_REDUCE_ARGMAX:
    case PT_REDUCE_ARGMIN:
      reduce_clear (job, block, -INFINITY);
      reduce_walk (job, block, offset, reduce_row_arg);
      reduce_fold_arg (job, block);
      break;
    case PT_REDUCE_PROD:
      reduce_clear (job, block, 1);
      reduce_walk (job, block, offset, reduce_row_sum);
      reduce_fold_prod (job, block->acc);
      break;
    default:
      reduce_clear (job, block, 0);
      reduce_walk (job, block, offset, reduce_row_sum);
      reduce_fold_sum (job, block->acc);
  }
  if (job->desc.kind == PT_REDUCE_LOG_SUM_EXP) {
    /* of infinities alone, the difference to the largest would be NaN */
    for (gint64 i = 0; i < block->n; i++)
      if (isinf (block->acc[i]))
        block->acc[i] = block->acc[i] > 0 ? G_MAXFLOAT : -G_MAXFLOAT;
    reduce_spread (job, block->acc);
    reduce_walk (job, block, offset, reduce_row_exp);
    reduce_fold_sum (job, block->other);
  }
}

static void
reduce_range (gconstpointer data, gint64 begin, gint64 end)
{
  const ReduceJob *job = data;
  ReduceBlock block;

  for (gint64 b = begin; b < end; b++) {
    reduce_block (job, &block, reduce_begin (job, &block, b));
    for (gint64 i = 0; i < block.n; i++)
      job->out[block.at[i]] =
          pt_reduce_finish (&job->g, job->desc.kind, block.acc[i],
          block.other[i]);
  }
}

void
pt_cpu_reduce_run (const PtOp *op, const PtReduceGeometry *geometry,
    const PtReduceDesc *desc, const gfloat *x, gfloat *y)
{
  ReduceJob job = reduce_job (geometry, desc);

  job.x = x;
  job.out = y;
  if (!pt_cpu_reduce_lines (op, geometry, desc, x, y))
    pt_cpu_for (op, job.blocks, reduce_cost (&job), reduce_range, &job);
}

/* -- backward -- */

/* dx of a row. */
static PT_CLONES void
reduce_row_backward (const ReduceJob *job, ReduceBlock *block,
    const gfloat *x, gint64 n, gint64 term)
{
  gfloat *dx = job->out + (x - job->x);
  const gfloat *y = block->y, *dy = block->dy, *zero = block->zero;

  switch (job->desc.kind) {
    case PT_REDUCE_MAX:
    case PT_REDUCE_MIN:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        dx[i] = x[i] == y[i] ? dy[i] : 0;
      break;
    case PT_REDUCE_PROD:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        dx[i] = x[i] == 0 ? zero[i] : dy[i] * (y[i] / x[i]);
      break;
    case PT_REDUCE_L1:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        dx[i] = x[i] > 0 ? dy[i] : x[i] < 0 ? -dy[i] : 0;
      break;
    case PT_REDUCE_L2:
    case PT_REDUCE_SUM_SQUARE:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        dx[i] = x[i] * dy[i];
      break;
    case PT_REDUCE_LOG_SUM_EXP:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        dx[i] = dy[i] * pt_expf (x[i] - y[i]);
      break;
    default:
#pragma omp simd
      for (gint64 i = 0; i < n; i++)
        dx[i] = dy[i];
  }
}

/* dy with all that a result's terms have in common. */
static gfloat
reduce_common (const ReduceJob *job, gfloat y, gfloat dy, gdouble ties)
{
  switch (job->desc.kind) {
    case PT_REDUCE_MAX:
    case PT_REDUCE_MIN:
      return dy / ties;
    case PT_REDUCE_MEAN:
      return dy / job->g.terms;
    case PT_REDUCE_L2:
      return y == 0 ? 0 : dy / y;
    case PT_REDUCE_SUM_SQUARE:
      return 2 * dy;
    case PT_REDUCE_LOG_SUM:
      return dy / expf (y);
    default:
      return dy;
  }
}

/* For products zero is what a 0 gets: the product of the others, if it is the
 * only one. */
static void
reduce_prepare (const ReduceJob *job, ReduceBlock *block, gint64 offset)
{
  const PtReduceKind kind = job->desc.kind;

  reduce_clear (job, block, kind == PT_REDUCE_PROD);
  if (kind == PT_REDUCE_MAX || kind == PT_REDUCE_MIN) {
    reduce_walk (job, block, offset, reduce_row_ties);
    reduce_fold_sum (job, block->acc);
  } else if (kind == PT_REDUCE_PROD) {
    reduce_walk (job, block, offset, reduce_row_zeros);
    reduce_fold_prod (job, block->acc);
    reduce_fold_sum (job, block->other);
  }
  for (gint64 i = 0; i < reduce_width (job, block); i++) {
    gint64 from = job->across ? 0 : i;

    block->zero[i] = block->other[from] == 1 ?
        block->dy[i] * block->acc[from] : 0;
    block->dy[i] = reduce_common (job, block->y[i], block->dy[i],
        block->acc[from]);
  }
}

static void
reduce_range_backward (gconstpointer data, gint64 begin, gint64 end)
{
  const ReduceJob *job = data;
  ReduceBlock block = { };

  for (gint64 b = begin; b < end; b++) {
    gint64 offset = reduce_begin (job, &block, b);

    for (gint64 i = 0; i < reduce_width (job, &block); i++) {
      gint64 at = block.at[job->across ? 0 : i];

      block.y[i] = job->y != NULL ? job->y[at] : 0;
      block.dy[i] = job->dy[at];
    }
    reduce_prepare (job, &block, offset);
    reduce_walk (job, &block, offset, reduce_row_backward);
  }
}

/* -- operations -- */

static gboolean
reduce_plan (PtOp *op, GError **error)
{
  op->priv = g_new (PtReduceGeometry, 1);
  pt_reduce_geometry_init (op->priv, &op->desc.x, &op->desc.y,
      op->desc.reduce.axes);
  return TRUE;
}

static void
reduce_clear_op (PtOp *op)
{
  g_free (op->priv);
}

static gboolean
reduce_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  pt_cpu_reduce_run (op, op->priv, &op->desc.reduce, args->x->data,
      args->y->data);
  return TRUE;
}

static gboolean
reduce_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtReduceKind kind = op->desc.reduce.kind;
  ReduceJob job = reduce_job (op->priv, &op->desc.reduce);

  job.out = args->dx->data;
  if (pt_reduce_is_arg (kind)) {
    memset (job.out, 0, args->dx->size);
    return TRUE;
  }
  job.dy = args->dy->data;
  job.x = pt_reduce_uses_x (kind) ? args->x->data : job.out;
  job.y = pt_reduce_uses_y (kind) ? args->y->data : NULL;
  pt_cpu_for (op, job.blocks, reduce_cost (&job), reduce_range_backward, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_reduce = {
  .plan = reduce_plan,
  .run = reduce_run,
  .clear = reduce_clear_op,
};

const PtOpImpl pt_cpu_reduce_backward = {
  .plan = reduce_plan,
  .run = reduce_run_backward,
  .clear = reduce_clear_op,
};
