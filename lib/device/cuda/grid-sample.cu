/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/grid-sample.h"

#include "device/cuda/vec.h"

namespace
{

struct Grid
{
  PtGridSampleDesc desc;
  guint c;
  gint h, w, out_w;
  const gfloat *grid;

  /* Calls @add (row, column, y, x) with each tap of output @o. */
  template < typename F > PT_HD void visit (guint o, const F &add) const
  {
    gint oy = o / out_w, ox = o % out_w;
    PtGridTaps x = pt_grid_get_taps (&desc,
        grid[pt_grid_place (&desc, oy, ox, 0)], w);
    PtGridTaps y = pt_grid_get_taps (&desc,
        grid[pt_grid_place (&desc, oy, ox, 1)], h);

    for (gint i = 0; i < y.n; i++)
      for (gint j = 0; j < x.n; j++)
        if (y.at[i] >= 0 && x.at[j] >= 0)
          add (y, i, x, j);
  }

  PT_HD gsize get_place (gint row, gint column, guint k) const
  {
    return ((gsize) row * w + column) * c + k;
  }
};

struct Forward
{
  Grid g;
  const gfloat *from;
  gfloat *to;

  PT_HD void operator() (guint i) const
  {
    guint k = i % g.c;
    gfloat sum = 0;

    g.visit (i / g.c,[&](const PtGridTaps &y, gint p, const PtGridTaps &x,
            gint q) {
          sum += y.w[p] * x.w[q] * from[g.get_place (y.at[p], x.at[q], k)];
        });
    to[i] = sum;
  }
};

/* One channel of one input row gathers from all outputs, in order: nobody else
 * writes there. */
struct Backward
{
  Grid g;
  guint outputs;
  const gfloat *dy;
  gfloat *dx;

  PT_HD void operator() (guint i) const
  {
    guint k = i % g.c;
    gint row = i / g.c;

    for (gint column = 0; column < g.w; column++)
      dx[g.get_place (row, column, k)] = 0;
    for (guint o = 0; o < outputs; o++)
      g.visit (o,[&](const PtGridTaps &y, gint p, const PtGridTaps &x,
              gint q) {
            if (y.at[p] == row)
              dx[g.get_place (row, x.at[q], k)]
                  += y.w[p] * x.w[q] * dy[o * g.c + k];
          });
  }
};

/* A team adds the channels of one output. */
struct BackwardGrid
{
  Grid g;
  const gfloat *from, *dy;
  gfloat *dgrid;

  template < typename Team > PT_HD void
  operator() (guint o, const Team &team) const
  {
    gint oy = o / g.out_w, ox = o % g.out_w;
    gdouble gx = 0, gy = 0;

    g.visit (o,[&](const PtGridTaps &y, gint p, const PtGridTaps &x, gint q) {
          gfloat dot = 0;

          for (guint k = team.rank; k < g.c; k += team.size)
            dot += from[g.get_place (y.at[p], x.at[q], k)] * dy[o * g.c + k];
          gx += dot * y.w[p] * x.d[q];
          gy += dot * y.d[p] * x.w[q];
        });
    gx = team.sum (gx);
    gy = team.sum (gy);
    if (team.rank > 0)
      return;
    dgrid[pt_grid_place (&g.desc, oy, ox, 0)] = gx;
    dgrid[pt_grid_place (&g.desc, oy, ox, 1)] = gy;
  }
};

}                               // namespace

static Grid
grid_get (const PtOp *op, const PtOpArgs *args)
{
  const PtShape *x = &op->desc.x;

  return Grid { op->desc.grid_sample, (guint) pt_shape_c (x),
    (gint) pt_shape_h (x), (gint) pt_shape_w (x),
    (gint) pt_shape_w (&op->desc.y), pt_data (args->w) };
}

static gboolean
grid_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_each (&launch, pt_shape_get_n_elements (&op->desc.y),
      Forward { grid_get (op, args), pt_data (args->x), pt_data (args->y) },
      error);
}

static gboolean
grid_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  Grid g = grid_get (op, args);
  guint outputs = pt_shape_get_n_elements (&op->desc.y) / g.c;
  const gfloat *dy = pt_data (args->dy);
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && (args->dx == NULL || pt_cuda_each (&launch, (gint64) g.h * g.c,
          Backward { g, outputs, dy, pt_data (args->dx) }, error))
      && (args->dw == NULL || pt_cuda_teams (&launch, outputs, g.c,
          BackwardGrid { g, pt_data (args->x), dy, pt_data (args->dw) },
          error));
}

const PtOpImpl pt_cuda_grid_sample = {
  .plan = pt_cuda_plan_nothing,
  .run = grid_run,
};

const PtOpImpl pt_cuda_grid_sample_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = grid_run_backward,
};
