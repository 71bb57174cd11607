/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/kernel.h"
#include "device/geometry.h"

G_BEGIN_DECLS

/* Element @i of the loops, from number @first on. */
static inline gint64
pt_reduce_locate (const PtReduceAxis *axes, guint n, guint first, gint64 i,
    gint64 *y)
{
  gint64 x = 0;

  *y = 0;
  for (guint k = first; k < n; k++) {
    gint64 at = i % axes[k].size;

    i /= axes[k].size;
    x += at * axes[k].x;
    *y += at * axes[k].y;
  }
  return x;
}

/* The result from what was added up, or the largest; and from what the kernels
 * call other. */
static inline gfloat
pt_reduce_finish (const PtReduceGeometry *g, PtReduceKind kind, gdouble acc,
    gdouble other)
{
  switch (kind) {
    case PT_REDUCE_MEAN:
      return acc / g->terms;
    case PT_REDUCE_MIN:
      return -acc;
    case PT_REDUCE_L2:
      return sqrt (acc);
    case PT_REDUCE_LOG_SUM:
      return log (acc);
    case PT_REDUCE_LOG_SUM_EXP:
      return acc + log (other);
    case PT_REDUCE_ARGMAX:
    case PT_REDUCE_ARGMIN:
      return other;
    default:
      return acc;
  }
}

/* y of x. */
void pt_cpu_reduce_run (const PtOp *op, const PtReduceGeometry *geometry,
    const PtReduceDesc *desc, const gfloat *x, gfloat *y);

/* The same if all terms of a result lie side by side, for the kinds that have
 * a short way; else FALSE. */
gboolean pt_cpu_reduce_lines (const PtOp *op, const PtReduceGeometry *geometry,
    const PtReduceDesc *desc, const gfloat *x, gfloat *y);

G_END_DECLS
