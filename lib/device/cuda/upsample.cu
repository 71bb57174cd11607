/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/vec.h"

namespace
{

/* Of one direction: an output reads (1 - t) x[a] + t x[b]. */
struct Tap
{
  gint a, b;
  gfloat t;

  /* How much of the output comes from input @i. */
  PT_HD gfloat get_weight (gint i) const
  {
    return (a == i ? 1 - t : 0) + (b == i ? t : 0);
  }
};

struct Axis
{
  gint in, out;
  gboolean is_nearest;

  /* As F.interpolate with align_corners=False: from position (o + 1/2) / scale
   * - 1/2, at least 0. */
  PT_HD Tap get_tap (gint o) const
  {
    gfloat at;
    gint a;

    if (is_nearest) {
      a = (gint64) o * in / out;
      return { a, a, 0 };
    }
    at = MAX ((o + 0.5f) * in / out - 0.5f, 0.f);
    a = MIN ((gint) at, in - 1);
    return { a, MIN (a + 1, in - 1), at - a };
  }

  /* All outputs that read input @i lie in [first, end): their positions are
   * nearer than 1 to it. */
  PT_HD gint get_first (gint i) const
  {
    return MAX ((gint) ((2 * i - 1) * (gint64) out / (2 * in)) - 1, 0);
  }

  PT_HD gint get_end (gint i) const
  {
    return MIN ((gint) ((2 * i + 3) * (gint64) out / (2 * in)) + 1, out);
  }
};

template < int N > struct Forward
{
  guint c;                      /* in PtVecs */
  Axis y, x;
  const PtVec < N > *from;
  PtVec < N > *to;

  PT_HD const PtVec < N > &at (gint row, gint column, guint k) const
  {
    return from[(guint) (row * x.in + column) * c + k];
  }

  PT_HD void operator() (guint i) const
  {
    guint pixel = i / c, k = i % c;
    Tap v = y.get_tap (pixel / x.out), h = x.get_tap (pixel % x.out);
    PtVec < N > p = at (v.a, h.a, k), q, r, s;

    if (!x.is_nearest) {
      q = at (v.a, h.b, k);
      r = at (v.b, h.a, k);
      s = at (v.b, h.b, k);
      for (int j = 0; j < N; j++)
        p.v[j] = (1 - v.t) * ((1 - h.t) * p.v[j] + h.t * q.v[j])
            + v.t * ((1 - h.t) * r.v[j] + h.t * s.v[j]);
    }
    to[i] = p;
  }
};

/* Each input gathers from the outputs that read it, in order. */
template < int N > struct Backward
{
  guint c;
  Axis y, x;
  const PtVec < N > *dy;
  PtVec < N > *dx;

  PT_HD void add_row (guint row, gfloat weight, gint column, guint k,
      PtVec < N > *sum) const
  {
    gint end = x.get_end (column);

    for (gint o = x.get_first (column); o < end; o++) {
      gfloat w = weight * x.get_tap (o).get_weight (column);

      if (w == 0)
        continue;
      PtVec < N > v = dy[(row * x.out + o) * c + k];
      for (int j = 0; j < N; j++)
        sum->v[j] += w * v.v[j];
    }
  }

  PT_HD void operator() (guint i) const
  {
    guint pixel = i / c;
    gint row = pixel / x.in, end = y.get_end (row);
    PtVec < N > sum = { };

    for (gint o = y.get_first (row); o < end; o++) {
      gfloat w = y.get_tap (o).get_weight (row);

      if (w != 0)
        add_row (o, w, pixel % x.in, i % c, &sum);
    }
    dx[i] = sum;
  }
};

}                               // namespace

static Axis
upsample_get_axis (const PtOpDesc *desc, guint axis)
{
  return Axis { (gint) pt_shape_get_dim (&desc->x, axis),
    (gint) pt_shape_get_dim (&desc->y, axis),
    desc->upsample.mode == PT_UPSAMPLE_NEAREST };
}

/* Of the same shape for both ways: one thread for each element of @target. */
template < template < int N > class Job > static gboolean
upsample_launch (PtOp *op, const PtTensor *from, PtTensor *to,
    const PtShape *target, GError **error)
{
  const PtOpDesc *desc = &op->desc;
  guint c = pt_shape_c (&desc->x);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  return pt_cuda_vec (c,[&] < int N > () {
        Job < N > job = { c / N, upsample_get_axis (desc, 2),
          upsample_get_axis (desc, 3), pt_data < PtVec < N > > (from),
          pt_data < PtVec < N > > (to) };

        return pt_cuda_each (&launch, pt_shape_get_n_elements (target) / N,
            job, error);
      });
}

static gboolean
upsample_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  return upsample_launch < Forward > (op, args->x, args->y, &op->desc.y,
      error);
}

static gboolean
upsample_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  return upsample_launch < Backward > (op, args->dy, args->dx, &op->desc.x,
      error);
}

const PtOpImpl pt_cuda_upsample = {
  .plan = pt_cuda_plan_nothing,
  .run = upsample_run,
};

const PtOpImpl pt_cuda_upsample_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = upsample_run_backward,
};
