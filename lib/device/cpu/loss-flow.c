/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/loss.h"

/* The sums of one row. */
typedef struct
{
  gdouble photometric, right, down;
} FlowSums;

typedef struct
{
  gint32 h, w, c;               /* c: of one frame */
  gfloat eps2;
  gfloat scale, scale_right, scale_down;        /* of the derivatives */
  const gfloat *flow, *t;
  gfloat *dx;
  FlowSums *sums;
} FlowJob;

/* sqrt (d^2 + eps^2), and its derivative. */
PT_INLINE gfloat
flow_charbonnier (gfloat d, gfloat eps2, gfloat *slope)
{
  gfloat value = sqrtf (d * d + eps2);

  *slope = value > 0.f ? d / value : 0.f;
  return value;
}

/* Clamps a coordinate to [0, n - 1]; @slope is 0 where that bites, the ends
 * included, as in grid_sample with padding_mode=border. */
PT_INLINE void
flow_tap (gfloat at, gint32 n, gint32 *a, gint32 *b, gfloat *t,
    gfloat *slope)
{
  gfloat last = n - 1;

  *slope = at > 0.f && at < last ? 1.f : 0.f;
  at = at > 0.f ? at : 0.f;     /* NaN too: the sum is NaN by other means */
  at = at < last ? at : last;
  *a = (gint32) at;
  *b = *a + 1 < n ? *a + 1 : n - 1;
  *t = at - *a;
}

/* charbonnier (frame_{t-1}(p) - frame_t (p + flow (p))), summed over a row
 * and its channels */
PT_INLINE gdouble
flow_photometric (const FlowJob *job, gint32 y, gint32 c)
{
  const gfloat *flow = job->flow + 2 * y * job->w;
  const gfloat *old = job->t + 2 * c * y * job->w, *new = job->t + c;
  gfloat *dx = job->dx + 2 * y * job->w;
  gfloat scale = job->scale, eps2 = job->eps2;
  gint32 h = job->h, w = job->w;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint32 x = 0; x < w; x++) {
    gfloat u = flow[2 * x], v = flow[2 * x + 1], du = 0, dv = 0, cost;
    gfloat tx, ty, sx, sy, slope;
    gint32 l, r, a, b;

    flow_tap (x + u, w, &l, &r, &tx, &sx);
    flow_tap (y + v, h, &a, &b, &ty, &sy);
    cost = 0 * (u + v);
    for (gint32 k = 0; k < c; k++) {
      gfloat p0 = new[(a * w + l) * 2 * c + k];
      gfloat p1 = new[(a * w + r) * 2 * c + k];
      gfloat p2 = new[(b * w + l) * 2 * c + k];
      gfloat p3 = new[(b * w + r) * 2 * c + k];
      gfloat top = p0 + tx * (p1 - p0), low = p2 + tx * (p3 - p2);

      cost += flow_charbonnier (old[x * 2 * c + k] -
          (top + ty * (low - top)), eps2, &slope);
      du -= slope * ((1 - ty) * (p1 - p0) + ty * (p3 - p2));
      dv -= slope * (low - top);
    }
    sum += cost;
    dx[2 * x] = du * scale * sx;
    dx[2 * x + 1] = dv * scale * sy;
  }
  return sum;
}

/* The sum of charbonnier (f[i + step] - f[i]); the derivative's share of
 * f[i]. */
PT_INLINE gdouble
flow_next (const FlowJob *job, const gfloat *f, gfloat *dx, gint32 n,
    gint32 step, gfloat scale)
{
  gfloat eps2 = job->eps2, slope;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum) private (slope)
  for (gint32 i = 0; i < n; i++) {
    sum += flow_charbonnier (f[i + step] - f[i], eps2, &slope);
    dx[i] -= slope * scale;
  }
  return sum;
}

/* The share of f[i] in charbonnier (f[i] - f[i - step]), which was summed
 * with its other end. */
PT_INLINE void
flow_previous (const FlowJob *job, const gfloat *f, gfloat *dx, gint32 n,
    gint32 step, gfloat scale)
{
  gfloat eps2 = job->eps2, slope;

#pragma omp simd private (slope)
  for (gint32 i = 0; i < n; i++) {
    flow_charbonnier (f[i] - f[i - step], eps2, &slope);
    dx[i] += slope * scale;
  }
}

static PT_CLONES void
flow_range (gconstpointer data, gint64 begin, gint64 end)
{
  const FlowJob *job = data;
  gint32 n = 2 * job->w;

  for (gint32 y = begin; y < end; y++) {
    FlowSums *sums = &job->sums[y];
    const gfloat *f = job->flow + (gint64) y * n;
    gfloat *dx = job->dx + (gint64) y * n;

    *sums = (FlowSums) { 0 };
    if (job->c == 1)
      sums->photometric = flow_photometric (job, y, 1);
    else if (job->c == 3)
      sums->photometric = flow_photometric (job, y, 3);
    else
      sums->photometric = flow_photometric (job, y, job->c);
    sums->right = flow_next (job, f, dx, n - 2, 2, job->scale_right);
    flow_previous (job, f + 2, dx + 2, n - 2, 2, job->scale_right);
    if (y + 1 < job->h)
      sums->down = flow_next (job, f, dx, n, n, job->scale_down);
    if (y > 0)
      flow_previous (job, f, dx, n, n, job->scale_down);
  }
}

static gboolean
flow_plan (PtOp *op, GError **error)
{
  op->scratch_size = pt_shape_h (&op->desc.x) * sizeof (FlowSums);
  return TRUE;
}

/* photometric + smoothness (mean along x + mean along y) / 2 */
static gboolean
flow_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 h = pt_shape_h (&op->desc.x), w = pt_shape_w (&op->desc.x);
  gint64 c = pt_shape_c (&args->target->shape) / 2;
  gdouble mean = 1. / (h * w * c), smooth = op->desc.flow.smoothness / 2;
  gdouble right = w > 1 ? smooth / (2 * h * (w - 1)) : 0;
  gdouble down = h > 1 ? smooth / (2 * (h - 1) * w) : 0;
  FlowJob job = { h, w, c, op->desc.flow.eps * op->desc.flow.eps,
    mean, right, down, args->x->data, args->target->data, args->dx->data,
    op->workspace->scratch->data
  };
  gdouble loss = 0;

  pt_cpu_for (op, h, 16 * w * c, flow_range, &job);
  for (gint64 y = 0; y < h; y++)
    loss += job.sums[y].photometric * mean + job.sums[y].right * right +
        job.sums[y].down * down;
  *(gfloat *) args->loss->data = loss;
  return TRUE;
}

const PtOpImpl pt_cpu_flow_loss = {
  .plan = flow_plan,
  .run = flow_run,
};
