/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/kernel.h"

G_BEGIN_DECLS

/* PT_OP_COMBINE has three kinds of kernels: copies of runs of elements; single
 * elements from here and there; and sums. */

#define PT_COMBINE_TAPS 16      /* that a sum takes at a time */
#define PT_COMBINE_TILE 16      /* elements of a line of the cache */
#define PT_COMBINE_WEAVE 8     /* rows that are woven, at most */
#define PT_COMBINE_MAX_RUN 16384  /* a longer one is cut, for the threads */
#define PT_COMBINE_MIN_RUN 16   /* shorter on the average: single elements */
#define PT_COMBINE_FOLD 4096    /* single elements of a line, if it can be */

/* Elements of one line of y, which is all that the innermost axis and the
 * block span. */
typedef struct
{
  gint32 at;                    /* in the line */
  gint32 n;
  gint64 offset;                /* in x, or NOTHING */
} PtCombineRun;

typedef struct
{
  PtCombineDesc desc;           /* with tables of its own */
  gint32 *tables[PT_COMBINE_MAX_AXES];
  gint64 lines;                 /* rows of all axes but the innermost */
  gint64 taps;                  /* of a row, on the average, rounded up */
  gint64 low, extent;           /* of sums: from where in x a line reads how
                                 * many elements; 0: too many */
  gint64 room;                  /* not less, for each thread */
  gint64 even;                  /* taps of each element of a line, whose tables
                                 * are one after the other; 0: rows differ, or
                                 * have large blocks */
  gint32 *even_offsets;
  gfloat *even_weights;
  GArray *runs;                 /* NULL: single elements or sums */
  guint across;                 /* an axis + 1: combine_find_across() */
  guint weave;                  /* combine_find_weave() */
} PtCombinePlan;

static inline const PtCombineAxis *
pt_combine_inner (const PtCombinePlan *plan)
{
  return &plan->desc.axes[plan->desc.n_axes - 1];
}

/* What one row of an axis reads. */
typedef struct
{
  gint64 begin, end;            /* into the tables; one without them */
} PtCombineSpan;

PT_INLINE PtCombineSpan
pt_combine_span (const PtCombineAxis *axis, gint64 row)
{
  if (axis->rows != NULL)
    return (PtCombineSpan) { axis->rows[row], axis->rows[row + 1] };
  if (axis->offsets == NULL)
    return (PtCombineSpan) { row, row + 1 };
  return (PtCombineSpan) { row, row + (axis->offsets[row] >= 0) };
}

PT_INLINE gint64
pt_combine_offset (const PtCombineAxis *axis, gint64 tap)
{
  return axis->offsets != NULL ? axis->offsets[tap] : tap * axis->stride;
}

PT_INLINE gfloat
pt_combine_weight (const PtCombineAxis *axis, gint64 tap)
{
  return axis->weights != NULL ? axis->weights[tap] : 1;
}

/* Where row @row of an axis with one place for each reads; NOTHING: it does
 * not. */
#define PT_COMBINE_NOTHING G_MININT64

PT_INLINE gint64
pt_combine_place (const PtCombineAxis *axis, gint64 row)
{
  const gint64 offset = pt_combine_offset (axis, row);

  return axis->offsets != NULL && offset < 0 ? PT_COMBINE_NOTHING : offset;
}

/* combine-plan.c: chooses among them, with tables of its own in op->priv. */
gboolean pt_cpu_combine_plan (PtOp *op, GError **error);
void pt_cpu_combine_clear (PtOp *op);

G_END_DECLS
