/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/loss.h"

namespace
{

/* A coordinate between two pixels, @t of the way from @a to @b. */
struct Tap
{
  gint a, b;
  gfloat t;
  gfloat slope;                 /* 0 where it was clamped to [0, n - 1], the
                                 * ends included, as in grid_sample with
                                 * padding_mode=border */
};

PT_HD Tap
flow_tap (gfloat at, gint n)
{
  gfloat last = n - 1;
  Tap tap;

  tap.slope = at > 0.f && at < last ? 1.f : 0.f;
  at = at > 0.f ? at : 0.f;     /* NaN too: the sum is NaN by other means */
  at = at < last ? at : last;
  tap.a = (gint) at;
  tap.b = tap.a + 1 < n ? tap.a + 1 : n - 1;
  tap.t = at - tap.a;
  return tap;
}

/* One term is one pixel; its derivative gathers what its neighbours' terms
 * owe it, so that no two terms write to one place. */
struct Flow
{
  gint h, w, c;                 /* c: of one frame */
  gfloat eps2;
  gfloat scale, scale_right, scale_down;        /* of the derivatives */
  const gfloat *flow, *t;
  gfloat *dx;

  /* charbonnier (frame_{t-1}(p) - frame_t (p + flow (p))) over the channels;
   * @d: its derivatives */
  PT_HD gfloat photometric (guint i, gfloat d[2]) const
  {
    gfloat u = flow[2 * i], v = flow[2 * i + 1];
    gfloat cost = 0 * (u + v), du = 0, dv = 0, slope;
    Tap x = flow_tap (i % w + u, w), y = flow_tap (i / w + v, h);
    const gfloat *old = t + 2 * c * i;
    const gfloat *p0 = t + c + 2 * c * (y.a * w + x.a);
    const gfloat *p1 = t + c + 2 * c * (y.a * w + x.b);
    const gfloat *p2 = t + c + 2 * c * (y.b * w + x.a);
    const gfloat *p3 = t + c + 2 * c * (y.b * w + x.b);

    for (gint k = 0; k < c; k++) {
      gfloat above = p1[k] - p0[k], below = p3[k] - p2[k];
      gfloat top = p0[k] + x.t * above, low = p2[k] + x.t * below;

      cost += pt_loss_charbonnier (old[k] - (top + y.t * (low - top)), eps2,
          &slope);
      du -= slope * ((1 - y.t) * above + y.t * below);
      dv -= slope * (low - top);
    }
    d[0] = du * scale * x.slope;
    d[1] = dv * scale * y.slope;
    return cost;
  }

  /* The two terms of smoothness along one axis that flow[j] is part of, its
   * neighbours being @step away: the one that begins with it. */
  PT_HD gfloat smooth (guint j, guint step, bool before, bool after,
      gfloat share, gfloat *d) const
  {
    gfloat value = 0, slope;

    if (after) {
      value = pt_loss_charbonnier (flow[j + step] - flow[j], eps2, &slope);
      *d -= slope * share;
    }
    if (before) {
      pt_loss_charbonnier (flow[j] - flow[j - step], eps2, &slope);
      *d += slope * share;
    }
    return value;
  }

  PT_HD void operator() (guint o, guint i, gfloat *sums) const
  {
    gint x = i % w, y = i / w;
    gfloat d[2];

    sums[0] += photometric (i, d);
    for (guint k = 0; k < 2; k++) {
      guint j = 2 * i + k;

      sums[1] += smooth (j, 2, x > 0, x + 1 < w, scale_right, &d[k]);
      sums[2] += smooth (j, 2 * w, y > 0, y + 1 < h, scale_down, &d[k]);
      dx[j] = d[k];
    }
  }
};

/* photometric + smoothness (mean along x + mean along y) / 2 */
struct Finish
{
  gfloat *loss;
  gdouble mean, right, down;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    *loss = sums[0] * mean + sums[1] * right + sums[2] * down;
  }
};

}                               // namespace

static gboolean
flow_plan (PtOp *op, GError **error)
{
  op->scratch_size = pt_cuda_sum_scratch (1,
      pt_shape_h (&op->desc.x) * pt_shape_w (&op->desc.x), 3);
  return TRUE;
}

static gboolean
flow_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 h = pt_shape_h (&op->desc.x), w = pt_shape_w (&op->desc.x);
  gint64 c = pt_shape_c (&args->target->shape) / 2;
  gdouble mean = 1. / (h * w * c), smooth = op->desc.flow.smoothness / 2;
  gdouble right = w > 1 ? smooth / (2 * h * (w - 1)) : 0;
  gdouble down = h > 1 ? smooth / (2 * (h - 1) * w) : 0;
  gfloat eps = op->desc.flow.eps;
  Flow job = { (gint) h, (gint) w, (gint) c, eps * eps, (gfloat) mean,
    (gfloat) right, (gfloat) down, pt_data (args->x),
    pt_data (args->target), pt_data (args->dx) };
  Finish finish = { pt_data (args->loss), mean, right, down };
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_sum < gfloat, 3 > (&launch, 1, h * w, launch.scratch, job,
      finish, error);
}

const PtOpImpl pt_cuda_flow_loss = {
  .plan = flow_plan,
  .run = flow_run,
};
