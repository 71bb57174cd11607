/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

/* Sums are in double and in one order, whatever the number of threads. */

static PT_CLONES gdouble
loss_pointwise (const PtPointwiseLossDesc *desc, const gfloat *x,
    const gfloat *t, gfloat *dx, gint64 n)
{
  PtPointwiseLoss kind = desc->kind;
  gfloat eps2 = desc->eps * desc->eps, scale = 1. / n;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < n; i++) {
    gfloat d = x[i] - t[i], value, slope;

    if (kind == PT_POINTWISE_MSE) {
      value = d * d;
      slope = 2.f * d;
    } else if (kind == PT_POINTWISE_L1) {
      value = fabsf (d);
      slope = d > 0.f ? 1.f : d < 0.f ? -1.f : d;
    } else {
      value = sqrtf (d * d + eps2);
      slope = value > 0.f ? d / value : 0.f;
    }
    sum += value;
    dx[i] = slope * scale;
  }
  return sum / n;
}

static gboolean
loss_pointwise_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  *(gfloat *) args->loss->data = loss_pointwise (&op->desc.pointwise,
      args->x->data, args->target->data, args->dx->data,
      pt_shape_get_n_elements (&op->desc.x));
  return TRUE;
}

/* -log softmax (x)[label]; dx = scale (softmax (x) - one hot). */
static PT_CLONES gdouble
loss_cross_entropy_pixel (const gfloat *x, gint32 label, gfloat *dx, gint64 c,
    gfloat scale)
{
  gfloat top = x[0], sum = 0;

  for (gint64 k = 1; k < c; k++)
    top = x[k] > top ? x[k] : top;
#pragma omp simd reduction (+:sum)
  for (gint64 k = 0; k < c; k++) {
    gfloat e = pt_expf (x[k] - top);

    dx[k] = e;
    sum += e;
  }
#pragma omp simd
  for (gint64 k = 0; k < c; k++)
    dx[k] *= scale / sum;
  dx[label] -= scale;
  return log (sum) - (x[label] - top);
}

static gboolean
loss_cross_entropy_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 c = pt_shape_c (&op->desc.x), valid = 0;
  gint64 n = pt_shape_h (&op->desc.x) * pt_shape_w (&op->desc.x);
  gint32 ignore = op->desc.cross_entropy.ignore_index;
  const gint32 *label = args->target->data;
  const gfloat *x = args->x->data;
  gfloat *dx = args->dx->data;
  gdouble sum = 0;

  for (gint64 p = 0; p < n; p++) {
    if (label[p] == ignore)
      continue;
    if (label[p] < 0 || label[p] >= c) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "cross entropy: label %d of pixel %" G_GINT64_FORMAT
          ", expected 0 to %" G_GINT64_FORMAT " or %d", label[p], p, c - 1,
          ignore);
      return FALSE;
    }
    valid++;
  }
  for (gint64 p = 0; p < n; p++)
    if (label[p] == ignore)
      memset (dx + p * c, 0, c * sizeof *dx);
    else
      sum += loss_cross_entropy_pixel (x + p * c, label[p], dx + p * c, c,
          1.f / valid);
  *(gfloat *) args->loss->data = valid ? sum / valid : 0;
  return TRUE;
}

/* sqrt (d^2 + eps^2), and its derivative. */
PT_INLINE gdouble
loss_charbonnier (gdouble d, gdouble eps, gdouble *slope)
{
  gdouble value = sqrt (d * d + eps * eps);

  *slope = value > 0 ? d / value : 0;
  return value;
}

/* Clamps a coordinate to [0, n - 1]; @slope is 0 where that bites. */
PT_INLINE void
loss_flow_tap (gfloat at, gint64 n, gint64 *a, gint64 *b, gfloat *t,
    gfloat *slope)
{
  *slope = at > 0.f && at < n - 1 ? 1.f : 0.f;
  at = at > 0.f ? at : 0.f;     /* NaN too: the sum is NaN by other means */
  at = at < n - 1 ? at : n - 1;
  *a = (gint64) at;
  *b = MIN (*a + 1, n - 1);
  *t = at - *a;
}

/* mean over p, c of charbonnier (frame_{t-1}(p) - frame_t (p + flow (p))) */
static gdouble
loss_flow_photometric (const PtOp *op, const PtOpArgs *job)
{
  const gfloat *flow = job->x->data, *t = job->target->data;
  gfloat *dx = job->dx->data;
  gint64 h = pt_shape_h (&op->desc.x), w = pt_shape_w (&op->desc.x);
  gint64 c = pt_shape_c (&job->target->shape) / 2;
  gdouble sum = 0, scale = 1. / (h * w * c), slope;

  for (gint64 p = 0; p < h * w; p++) {
    gint64 l, r, a, b;
    gfloat tx, ty, sx, sy;
    gdouble du = 0, dv = 0;

    loss_flow_tap (p % w + flow[2 * p], w, &l, &r, &tx, &sx);
    loss_flow_tap (p / w + flow[2 * p + 1], h, &a, &b, &ty, &sy);
    for (gint64 k = 0; k < c; k++) {
      const gfloat *f = t + c + k;
      gfloat p0 = f[(a * w + l) * 2 * c], p1 = f[(a * w + r) * 2 * c];
      gfloat p2 = f[(b * w + l) * 2 * c], p3 = f[(b * w + r) * 2 * c];
      gfloat top = p0 + tx * (p1 - p0), low = p2 + tx * (p3 - p2);

      sum += loss_charbonnier (t[p * 2 * c + k] - (top + ty * (low - top)),
          op->desc.flow.eps, &slope);
      du -= slope * ((1 - ty) * (p1 - p0) + ty * (p3 - p2));
      dv -= slope * (low - top);
    }
    sum += 0 * (flow[2 * p] + flow[2 * p + 1]);
    dx[2 * p] = du * scale * sx;
    dx[2 * p + 1] = dv * scale * sy;
  }
  return sum * scale;
}

/* The mean of charbonnier (flow (p + 1) - flow (p)) along one axis, over
 * both channels; pairs lie @step floats apart. */
static gdouble
loss_flow_smooth (const PtOp *op, const gfloat *flow, gfloat *dx,
    gint64 rows, gint64 columns, gint64 step)
{
  gint64 w = pt_shape_w (&op->desc.x);
  gdouble scale, sum = 0, slope;

  if (rows < 1 || columns < 1)
    return 0;
  scale = 1. / (2 * rows * columns);
  for (gint64 i = 0; i < rows; i++)
    for (gint64 j = 2 * i * w; j < 2 * (i * w + columns); j++) {
      sum += loss_charbonnier (flow[j + step] - flow[j], op->desc.flow.eps,
          &slope);
      slope *= scale * op->desc.flow.smoothness / 2;
      dx[j + step] += slope;
      dx[j] -= slope;
    }
  return sum * scale;
}

/* photometric + smoothness (mean along x + mean along y) / 2 */
static gboolean
loss_flow_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 h = pt_shape_h (&op->desc.x), w = pt_shape_w (&op->desc.x);
  const gfloat *flow = args->x->data;
  gfloat *dx = args->dx->data;
  gdouble loss, smooth;

  loss = loss_flow_photometric (op, args);
  smooth = loss_flow_smooth (op, flow, dx, h, w - 1, 2);
  smooth += loss_flow_smooth (op, flow, dx, h - 1, w, 2 * w);
  *(gfloat *) args->loss->data = loss + op->desc.flow.smoothness * smooth / 2;
  return TRUE;
}

const PtOpImpl pt_cpu_pointwise_loss = {
  .plan = pt_cpu_plan_nothing,
  .run = loss_pointwise_run,
};

const PtOpImpl pt_cpu_cross_entropy = {
  .plan = pt_cpu_plan_nothing,
  .run = loss_cross_entropy_run,
};

const PtOpImpl pt_cpu_flow_loss = {
  .plan = pt_cpu_plan_nothing,
  .run = loss_flow_run,
};
