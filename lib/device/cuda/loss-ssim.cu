/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/loss.h"

/* Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error
 * visibility to structural similarity", 2004. With d = x - t, G the Gaussian
 * window, a = G x, b = G t, e = G (x^2 + t^2), g = G d^2:
 *   u = (a - b)^2 / (a^2 + b^2 + C1)                  = 1 - luminance
 *   v = (g - (a - b)^2) / (e - a^2 - b^2 + C2)        = 1 - structure
 *   1 - SSIM = u + v - u v
 * which has nothing to subtract where x is near t, so floats are enough. The
 * derivatives with respect to a, e and g go back through G. */

namespace
{

#define SSIM_MAPS 4             /* a b e g; on the way back three */

/* Rows are counted in floats: channels lie side by side. */
struct Ssim
{
  guint c, h, out_h;            /* out_: windows that lie inside */
  guint row, out_row;           /* w c and out_w c */
  guint window;
  gfloat c1, c2;
  gfloat scale, scale_l1;       /* of the derivatives */
  const gfloat *taps;
  const gfloat *x, *t;
  gfloat *dx;
  gfloat *lines[SSIM_MAPS];     /* out_h rows: filtered along columns only */
  gfloat *maps[SSIM_MAPS - 1];  /* out_h short rows: derivatives */
};

/* a b e g, along columns. */
struct Down:Ssim
{
  PT_HD void operator() (guint i) const
  {
    gfloat a = 0, b = 0, e = 0, g = 0;

    for (guint k = 0; k < window; k++) {
      gfloat p = x[i + k * row], q = t[i + k * row], d = p - q, tap = taps[k];

      a += tap * p;
      b += tap * q;
      e += tap * (p * p + q * q);
      g += tap * (d * d);
    }
    lines[0][i] = a;
    lines[1][i] = b;
    lines[2][i] = e;
    lines[3][i] = g;
  }
};

/* The rest of the filter, and the formula. */
struct Compare:Ssim
{
  PT_HD void operator() (guint o, guint i, gfloat *sums) const
  {
    guint at = i / out_row * row + i % out_row;
    gfloat a = 0, b = 0, e = 0, g = 0, shift, square, n1, n2, u, v;

    for (guint k = 0; k < window; k++) {
      a += taps[k] * lines[0][at + k * c];
      b += taps[k] * lines[1][at + k * c];
      e += taps[k] * lines[2][at + k * c];
      g += taps[k] * lines[3][at + k * c];
    }
    shift = a - b;
    square = a * a + b * b;
    /* variances: rounding may make them negative */
    e -= square;
    g -= shift * shift;
    n1 = 1.f / (square + c1);
    n2 = 1.f / ((e < 0.f ? 0.f : e) + c2);
    u = shift * shift * n1;
    v = (g < 0.f ? 0.f : g) * n2;
    sums[0] += u + v - u * v;
    maps[0][i] = (1.f - v) * 2.f * (shift - a * u) * n1
        + (1.f - u) * 2.f * (a * v - shift) * n2;
    maps[1][i] = (u - 1.f) * v * n2;
    maps[2][i] = (1.f - u) * n2;
  }
};

/* Back along rows: the window is the same both ways. What the lines held has
 * been used. */
struct BackAcross:Ssim
{
  PT_HD void operator() (guint i) const
  {
    guint at = i % row, first = i / row * out_row;
    gfloat sum[SSIM_MAPS - 1] = { };

    for (guint k = 0; k < window; k++) {
      guint from = at - k * c;  /* wraps: then it is not below out_row */

      if (from < out_row)
        for (guint m = 0; m < SSIM_MAPS - 1; m++)
          sum[m] += taps[k] * maps[m][first + from];
    }
    for (guint m = 0; m < SSIM_MAPS - 1; m++)
      lines[m][i] = sum[m];
  }
};

/* dx = da/dx Ga + 2 x Ge + 2 d Gg, and the l1 part; the sum of |d|. */
struct BackDown:Ssim
{
  PT_HD void operator() (guint o, guint i, gfloat *sums) const
  {
    guint y = i / row;
    gfloat d = x[i] - t[i], sum[SSIM_MAPS - 1] = { };

    for (guint k = 0; k < window; k++)
      if (y - k < out_h)
        for (guint m = 0; m < SSIM_MAPS - 1; m++)
          sum[m] += taps[k] * lines[m][i - k * row];
    dx[i] = scale * (sum[0] + 2.f * (x[i] * sum[1] + d * sum[2]))
        + scale_l1 * pt_loss_sign (d);
    sums[0] += fabsf (d);
  }
};

/* What the sum over the windows has to say to the loss. */
struct Similarity
{
  gdouble *to, factor;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    *to = sums[0] * factor;
  }
};

struct Finish
{
  gfloat *loss;
  const gdouble *similarity;
  gdouble factor;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    *loss = *similarity + sums[0] * factor;
  }
};

struct Plan
{
  Ssim job;
  PtCudaTable taps;
  gsize sums_at, lines_at, maps_at;
};

}                               // namespace

static void
ssim_clear (PtOp *op)
{
  Plan *plan = (Plan *) op->priv;

  if (plan != NULL)
    pt_cuda_table_clear (&plan->taps);
  g_free (plan);
}

static gboolean
ssim_plan_taps (PtOp *op, Plan *plan, GError **error)
{
  gint window = op->desc.ssim.window;
  g_autofree gdouble *taps = g_new (gdouble, window);
  gdouble sum = 0;

  for (gint k = 0; k < window; k++) {
    gdouble from_middle = (k - (window - 1) / 2.) / op->desc.ssim.sigma;

    sum += taps[k] = exp (-from_middle * from_middle / 2);
  }
  for (gint k = 0; k < window; k++)
    taps[k] /= sum;
  return pt_cuda_table_init (&plan->taps, op->workspace->device, taps, window,
      error);
}

static void
ssim_plan_scratch (PtOp *op, Plan *plan)
{
  const Ssim *job = &plan->job;

  pt_cuda_carve (&op->scratch_size, sizeof (gdouble));
  plan->sums_at = pt_cuda_carve (&op->scratch_size,
      pt_cuda_sum_scratch (1, job->h * job->row, 1));
  plan->lines_at = op->scratch_size;
  for (guint k = 0; k < SSIM_MAPS; k++)
    pt_cuda_carve (&op->scratch_size,
        (gsize) job->out_h * job->row * sizeof (gfloat));
  plan->maps_at = op->scratch_size;
  for (guint k = 0; k < SSIM_MAPS - 1; k++)
    pt_cuda_carve (&op->scratch_size,
        (gsize) job->out_h * job->out_row * sizeof (gfloat));
}

static gboolean
ssim_plan (PtOp *op, GError **error)
{
  const PtSsimDesc *desc = &op->desc.ssim;
  Plan *plan = g_new0 (Plan, 1);
  Ssim *job = &plan->job;
  guint w = pt_shape_w (&op->desc.x);

  op->priv = plan;
  job->c = pt_shape_c (&op->desc.x);
  job->h = pt_shape_h (&op->desc.x);
  job->window = desc->window;
  job->out_h = job->h - desc->window + 1;
  job->row = w * job->c;
  job->out_row = (w - desc->window + 1) * job->c;
  job->c1 = 1e-4 * desc->data_range * desc->data_range;
  job->c2 = 9e-4 * desc->data_range * desc->data_range;
  job->scale = desc->alpha / (job->out_h * job->out_row);
  job->scale_l1 = (1 - desc->alpha) / (job->h * job->row);
  ssim_plan_scratch (op, plan);
  return ssim_plan_taps (op, plan, error);
}

static void
ssim_place (const Plan *plan, Ssim *job, guint8 *scratch)
{
  gsize line = 0, map = 0;

  for (guint k = 0; k < SSIM_MAPS; k++)
    job->lines[k] = (gfloat *) (scratch + plan->lines_at
        + pt_cuda_carve (&line, job->out_h * job->row * sizeof (gfloat)));
  for (guint k = 0; k < SSIM_MAPS - 1; k++)
    job->maps[k] = (gfloat *) (scratch + plan->maps_at
        + pt_cuda_carve (&map, job->out_h * job->out_row * sizeof (gfloat)));
}

static gboolean
ssim_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const Plan *plan = (const Plan *) op->priv;
  Ssim job = plan->job;
  guint n = job.h * job.row, windows = job.out_h * job.out_row;
  gdouble alpha = op->desc.ssim.alpha, *similarity;
  PtCudaLaunch launch;
  guint8 *sums;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  similarity = (gdouble *) launch.scratch;
  sums = (guint8 *) launch.scratch + plan->sums_at;
  job.taps = plan->taps.values;
  job.x = pt_data (args->x);
  job.t = pt_data (args->target);
  job.dx = pt_data (args->dx);
  ssim_place (plan, &job, (guint8 *) launch.scratch);
  return pt_cuda_each (&launch, job.out_h * job.row, Down { job }, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, 1, windows, sums, Compare { job },
      Similarity { similarity, alpha / windows }, error)
      && pt_cuda_each (&launch, job.out_h * job.row, BackAcross { job }, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, 1, n, sums, BackDown { job },
      Finish { pt_data (args->loss), similarity, (1 - alpha) / n },
      error);
}

const PtOpImpl pt_cuda_ssim = {
  .plan = ssim_plan,
  .run = ssim_run,
  .clear = ssim_clear,
};
