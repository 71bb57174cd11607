/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/reduce.h"

typedef struct
{
  const PtReduceGeometry *g;
  PtReduceKind kind;
  const gfloat *x;
  gfloat *y;
} LinesJob;

PT_INLINE gdouble
lines_sum (const PtReduceKind kind, const gfloat *x, gint64 n)
{
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < n; i++)
    sum += kind == PT_REDUCE_SUM_SQUARE ? (gdouble) x[i] * x[i] :
        kind == PT_REDUCE_L1 ? fabsf (x[i]) : x[i];
  return sum;
}

/* As whole numbers that have the order of the floats, NaN above all. */
PT_INLINE gdouble
lines_max (const gfloat *x, gint64 n, gfloat sign)
{
  union { gfloat f; gint32 i; } t;
  gint32 top = G_MININT32;

#pragma omp simd reduction (max:top) private (t)
  for (gint64 i = 0; i < n; i++) {
    gint32 key;

    t.f = sign * x[i];
    key = t.f != t.f ? 0x7fc00000 : t.i ^ (t.i >> 31 & G_MAXINT32);
    top = key > top ? key : top;
  }
  t.i = top ^ (top >> 31 & G_MAXINT32);
  return t.f;
}

PT_INLINE void
lines_reduce (const LinesJob *job, const PtReduceKind kind, gint64 begin,
    gint64 end)
{
  const PtReduceGeometry *g = job->g;
  const gboolean is_top = kind == PT_REDUCE_MAX || kind == PT_REDUCE_MIN;

  for (gint64 i = begin; i < end; i++) {
    gint64 at = g->n_kept == 1 ? i * g->kept[0].y : 0;
    const gfloat *x = job->x + (g->n_kept == 1 ? i * g->kept[0].x :
        pt_reduce_locate (g->kept, g->n_kept, 0, i, &at));

    job->y[at] = pt_reduce_finish (g, job->kind, is_top ?
        lines_max (x, g->terms, kind == PT_REDUCE_MIN ? -1 : 1) :
        lines_sum (kind, x, g->terms), 0);
  }
}

static PT_CLONES void
lines_range (gconstpointer data, gint64 begin, gint64 end)
{
  const LinesJob *job = data;

  switch (job->kind) {
    case PT_REDUCE_MAX:
      lines_reduce (job, PT_REDUCE_MAX, begin, end);
      break;
    case PT_REDUCE_MIN:
      lines_reduce (job, PT_REDUCE_MIN, begin, end);
      break;
    case PT_REDUCE_L1:
      lines_reduce (job, PT_REDUCE_L1, begin, end);
      break;
    case PT_REDUCE_L2:
    case PT_REDUCE_SUM_SQUARE:
      lines_reduce (job, PT_REDUCE_SUM_SQUARE, begin, end);
      break;
    default:
      lines_reduce (job, PT_REDUCE_SUM, begin, end);
  }
}

gboolean
pt_cpu_reduce_lines (const PtOp *op, const PtReduceGeometry *geometry,
    const PtReduceDesc *desc, const gfloat *x, gfloat *y)
{
  const LinesJob job = { geometry, desc->kind, x, y };

  if (geometry->n_reduced != 1 || geometry->reduced[0].x != 1 ||
      desc->kind == PT_REDUCE_PROD || desc->kind == PT_REDUCE_LOG_SUM_EXP ||
      pt_reduce_is_arg (desc->kind))
    return FALSE;
  pt_cpu_for (op, geometry->outputs, geometry->terms, lines_range, &job);
  return TRUE;
}
