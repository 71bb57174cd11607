/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/kernel.h"
#include "device/normalize.h"

G_BEGIN_DECLS

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
} PtCpuNormalize;

typedef struct
{
  const PtCpuNormalize *self;
  const PtNormalizeDesc *desc;
  const gfloat *x, *w, *b, *dy;
  gfloat *y, *dx, *dw, *db;
  gdouble *sums;                /* two of each column and part */
  gfloat *mean, *scale;         /* of each column */
  gfloat *a, *c;                /* what backward takes off: a + c xhat */
} PtCpuNormalizeJob;

gboolean pt_cpu_normalize_plan (PtOp *op, GError **error);
void pt_cpu_normalize_clear (PtOp *op);
PtCpuNormalizeJob pt_cpu_normalize_get_job (const PtOp *op,
    const PtOpArgs *args);

static inline gint64
normalize_get_items (const PtCpuNormalize *self)
{
  return self->view.outer * self->parts;
}

/* The rows of an item, and where its first element is. */
typedef struct
{
  gint64 outer, begin, end, at;
} Item;

PT_INLINE Item
normalize_get_item (const PtCpuNormalize *self, gint64 i)
{
  gint64 part = i % self->parts, outer = i / self->parts;
  Item item = { outer, self->rows * part / self->parts,
    self->rows * (part + 1) / self->parts, 0
  };

  item.at = (outer * self->rows + item.begin) * self->columns;
  return item;
}

/* How the weights of a run lie. */
enum
{
  NO_WEIGHT,
  ONE_BY_ONE,
  ONE_FOR_ALL,
};

/* Elements @at to @at + @n of one item, whose first weight is number @p: a row
 * of columns or, of a single column, as many as have weights in a row, or one
 * weight. */
typedef struct
{
  gint64 at, stop, n, p;
  gint64 column;
} Run;

PT_INLINE gint
normalize_get_mode (const PtCpuNormalize *self)
{
  return self->view.n_weights == 0 ? NO_WEIGHT : self->view.step == 1 ?
      ONE_BY_ONE : ONE_FOR_ALL;
}

/* The length of a run that begins with weight @p. */
PT_INLINE gint64
normalize_get_length (const PtCpuNormalize *self, const Run *run)
{
  const PtNormalizeView *view = &self->view;
  gint64 n = run->stop - run->at;

  if (self->columns > 1)
    return self->columns;
  if (view->n_weights == 0)
    return n;
  return MIN (n, view->step == 1 ? view->n_weights - run->p :
      view->step - run->at % view->step);
}

PT_INLINE Run
normalize_get_first (const PtCpuNormalize *self, gint64 i)
{
  const PtNormalizeView *view = &self->view;
  Item item = normalize_get_item (self, i);
  Run run = { item.at,
    item.at + (item.end - item.begin) * self->columns, 0, 0,
    item.outer * self->columns
  };

  if (view->n_weights > 0)
    run.p = run.at / view->step % view->n_weights;
  run.n = normalize_get_length (self, &run);
  return run;
}

PT_INLINE void
normalize_get_next (const PtCpuNormalize *self, Run *run)
{
  run->p += self->view.step == 1 ? run->n : 1;
  if (run->p >= self->view.n_weights)
    run->p = 0;
  run->at += run->n;
  run->n = normalize_get_length (self, run);
}

/* Calls @func with each run of item @i, what it works with being known when it
 * is compiled. */
#define NORMALIZE_VISIT(self, i, func, ...) G_STMT_START { \
  gint mode = normalize_get_mode (self); \
\
  for (Run run = normalize_get_first (self, i); run.at < run.stop; \
      normalize_get_next (self, &run)) \
    if ((self)->columns == 1 && mode == ONE_BY_ONE) \
      func (&run, TRUE, ONE_BY_ONE, __VA_ARGS__); \
    else if ((self)->columns == 1 && mode == ONE_FOR_ALL) \
      func (&run, TRUE, ONE_FOR_ALL, __VA_ARGS__); \
    else if ((self)->columns == 1) \
      func (&run, TRUE, NO_WEIGHT, __VA_ARGS__); \
    else if (mode == ONE_BY_ONE) \
      func (&run, FALSE, ONE_BY_ONE, __VA_ARGS__); \
    else if (mode == ONE_FOR_ALL) \
      func (&run, FALSE, ONE_FOR_ALL, __VA_ARGS__); \
    else \
      func (&run, FALSE, NO_WEIGHT, __VA_ARGS__); \
} G_STMT_END

/* From the columns and parts of group @g of @outer, first those of @sum, then
 * those behind them. */
static inline void
normalize_gather (const PtCpuNormalizeJob *job, gint64 outer, gint64 g,
    gdouble sums[2])
{
  const PtCpuNormalize *self = job->self;

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

G_END_DECLS
