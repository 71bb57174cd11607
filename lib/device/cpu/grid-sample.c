/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/grid-sample.h"

#include "core/tensor.h"
#include "device/cpu/kernel.h"

typedef struct
{
  const PtGridSampleDesc *desc;
  gint64 c;
  gint h, w, out_h, out_w;
  const gfloat *x, *grid, *dy;
  gfloat *y, *dx, *dgrid;
} GridJob;

static GridJob
grid_get_job (const PtOp *op, const PtOpArgs *args)
{
  const PtShape *x = &op->desc.x, *y = &op->desc.y;

  return (GridJob) {.desc = &op->desc.grid_sample,.c = pt_shape_c (x),
    .h = pt_shape_h (x),.w = pt_shape_w (x),.out_h = pt_shape_h (y),
    .out_w = pt_shape_w (y),.x = args->x->data,.grid = args->w->data
  };
}

PT_INLINE void
grid_get_taps (const GridJob *job, gint64 o, PtGridTaps *y, PtGridTaps *x)
{
  gint h = o / job->out_w, w = o % job->out_w;

  *x = pt_grid_get_taps (job->desc,
      job->grid[pt_grid_place (job->desc, h, w, 0)], job->w);
  *y = pt_grid_get_taps (job->desc,
      job->grid[pt_grid_place (job->desc, h, w, 1)], job->h);
}

static PT_CLONES void
grid_forward (gconstpointer data, gint64 begin, gint64 end)
{
  const GridJob *job = data;
  gint64 c = job->c;

  for (gint64 o = begin; o < end; o++) {
    gfloat *to = job->y + o * c;
    PtGridTaps y, x;

    grid_get_taps (job, o, &y, &x);
    memset (to, 0, c * sizeof *to);
    for (gint i = 0; i < y.n; i++)
      for (gint j = 0; y.at[i] >= 0 && j < x.n; j++) {
        const gfloat *from = job->x + ((gint64) y.at[i] * job->w + x.at[j]) * c;
        gfloat weight = y.w[i] * x.w[j];

        if (x.at[j] < 0)
          continue;
#pragma omp simd
        for (gint64 k = 0; k < c; k++)
          to[k] += weight * from[k];
      }
  }
}

/* Rows @begin to @end of the input gather from all outputs, in order. */
static PT_CLONES void
grid_backward (gconstpointer data, gint64 begin, gint64 end)
{
  const GridJob *job = data;
  gint64 c = job->c;

  memset (job->dx + begin * job->w * c, 0,
      (end - begin) * job->w * c * sizeof (gfloat));
  for (gint64 o = 0; o < (gint64) job->out_h * job->out_w; o++) {
    const gfloat *dy = job->dy + o * c;
    PtGridTaps y, x;

    grid_get_taps (job, o, &y, &x);
    for (gint i = 0; i < y.n; i++)
      for (gint j = 0; y.at[i] >= begin && y.at[i] < end && j < x.n; j++) {
        gfloat *to = job->dx + ((gint64) y.at[i] * job->w + x.at[j]) * c;
        gfloat weight = y.w[i] * x.w[j];

        if (x.at[j] < 0)
          continue;
#pragma omp simd
        for (gint64 k = 0; k < c; k++)
          to[k] += weight * dy[k];
      }
  }
}

static PT_CLONES void
grid_backward_grid (gconstpointer data, gint64 begin, gint64 end)
{
  const GridJob *job = data;
  gint64 c = job->c;

  for (gint64 o = begin; o < end; o++) {
    const gfloat *dy = job->dy + o * c;
    gint h = o / job->out_w, w = o % job->out_w;
    gfloat gx = 0, gy = 0;
    PtGridTaps y, x;

    grid_get_taps (job, o, &y, &x);
    for (gint i = 0; i < y.n; i++)
      for (gint j = 0; y.at[i] >= 0 && j < x.n; j++) {
        const gfloat *from = job->x + ((gint64) y.at[i] * job->w + x.at[j]) * c;
        gfloat dot = 0;

        if (x.at[j] < 0)
          continue;
#pragma omp simd reduction (+: dot)
        for (gint64 k = 0; k < c; k++)
          dot += from[k] * dy[k];
        gx += dot * y.w[i] * x.d[j];
        gy += dot * y.d[i] * x.w[j];
      }
    job->dgrid[pt_grid_place (job->desc, h, w, 0)] = gx;
    job->dgrid[pt_grid_place (job->desc, h, w, 1)] = gy;
  }
}

static gboolean
grid_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  GridJob job = grid_get_job (op, args);

  job.y = args->y->data;
  pt_cpu_for (op, (gint64) job.out_h * job.out_w, 4 * job.c + 32,
      grid_forward, &job);
  return TRUE;
}

static gboolean
grid_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  GridJob job = grid_get_job (op, args);
  gint64 outputs = (gint64) job.out_h * job.out_w;

  job.dy = args->dy->data;
  if (args->dx != NULL) {
    job.dx = args->dx->data;
    pt_cpu_for (op, job.h, outputs * job.c / job.h + 1, grid_backward, &job);
  }
  if (args->dw != NULL) {
    job.dgrid = args->dw->data;
    pt_cpu_for (op, outputs, 4 * job.c + 32, grid_backward_grid, &job);
  }
  return TRUE;
}

const PtOpImpl pt_cpu_grid_sample = {
  .plan = pt_cpu_plan_nothing,
  .run = grid_run,
};

const PtOpImpl pt_cpu_grid_sample_backward = {
  .plan = pt_cpu_plan_nothing,
  .run = grid_run_backward,
};
