/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

/* Long vectors: sums in double, by blocks that are added in one order, so that
 * they are the same whatever the number of threads. */

#define VECTOR_BLOCK 16384

typedef struct
{
  const gfloat *x, *y;
  gint64 n;
  gdouble *sums;                /* one for each block */
} VectorJob;

static gint64
vector_count_blocks (gint64 n)
{
  return (n + VECTOR_BLOCK - 1) / VECTOR_BLOCK;
}

static PT_CLONES void
vector_dot_blocks (gconstpointer data, gint64 begin, gint64 end)
{
  const VectorJob j = *(const VectorJob *) data;

  for (gint64 block = begin; block < end; block++) {
    gint64 stop = MIN ((block + 1) * VECTOR_BLOCK, j.n);
    gdouble sum = 0;

#pragma omp simd reduction (+:sum)
    for (gint64 i = block * VECTOR_BLOCK; i < stop; i++)
      sum += (gdouble) j.x[i] * j.y[i];
    j.sums[block] = sum;
  }
}

static gdouble
vector_dot (PtOp *op, const gfloat *x, const gfloat *y, gint64 n)
{
  gint64 blocks = vector_count_blocks (n);
  VectorJob job = { x, y, n, op->workspace->scratch->data };
  gdouble sum = 0;

  pt_cpu_for (op, blocks, VECTOR_BLOCK, vector_dot_blocks, &job);
  for (gint64 i = 0; i < blocks; i++)
    sum += job.sums[i];
  return sum;
}

static gboolean
vector_plan (PtOp *op, GError **error)
{
  op->scratch_size = vector_count_blocks (pt_shape_get_n_elements
      (&op->desc.x)) * sizeof (gdouble);
  return TRUE;
}

static gboolean
vector_dot_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gdouble *sum = args->y != NULL ? args->y->data : args->sum;

  *sum = vector_dot (op, args->x->data, args->w->data,
      pt_shape_get_n_elements (&op->desc.x));
  return TRUE;
}

typedef struct
{
  gfloat *g, *c;
  gfloat along, keep, take;
} ProjectJob;

static PT_CLONES void
vector_project_range (gconstpointer data, gint64 begin, gint64 end)
{
  const ProjectJob j = *(const ProjectJob *) data;

#pragma omp simd
  for (gint64 i = begin; i < end; i++) {
    gfloat g = j.g[i], c = j.c[i];

    j.g[i] = g - j.along * c;
    j.c[i] = j.keep * c + j.take * g;
  }
}

/* g - (g.c / c.c) c; then c = momentum c + (1 - momentum) scale g. */
static gboolean
vector_project_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.x);
  ProjectJob job = { args->dw->data, args->mean->data };
  const PtLive now = pt_cpu_live (args);
  gdouble square;

  if (!now.go)
    return TRUE;
  square = vector_dot (op, job.c, job.c, n);
  job.along = square > 0 ? vector_dot (op, job.g, job.c, n) / square : 0;
  job.keep = op->desc.project.momentum;
  job.take = (1 - op->desc.project.momentum) * now.scale;
  pt_cpu_for (op, n, 2, vector_project_range, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_dot = {
  .plan = vector_plan,
  .run = vector_dot_run,
};

const PtOpImpl pt_cpu_project = {
  .plan = vector_plan,
  .run = vector_project_run,
};
