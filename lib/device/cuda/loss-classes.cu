/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <float.h>

#include "device/cuda/loss.h"

/* A thread looks at so many classes of a pixel; where there are more, several
 * do, and another one puts together what they saw. */
#define CLASSES_PART 64

namespace
{

/* Of some of a pixel's classes, with e_k = e^(x_k - top): */
struct Part
{
  gfloat top;                   /* largest score */
  gfloat others;                /* sum of e_k, without the label's */
  gfloat dot;                   /* sum_k w_k (x_k - top) ... */
  gfloat weights;               /* ... and of w_k, if labels are smoothed */
};

/* dx_k = (slope e_k - shift w_k) / total, but pull / total for the label. */
struct Pixel
{
  gfloat top, slope, shift, pull;
};

struct Classes
{
  guint n, c, n_parts;          /* n_parts: of each pixel */
  gint ignore;
  gfloat smooth, share;         /* label_smoothing, and that over C */
  gfloat gamma;
  gfloat weights;               /* sum of the classes' */
  const gfloat *weight;         /* of each class, or NULL: ones */
  const gfloat *x;
  const gint *label;
  gfloat *dx;
  Part *parts;
  Pixel *pixels;
  gdouble *total;               /* sum of the labels' weights */

  /* -1: does not count */
  PT_HD gint get_label (guint p) const
  {
    gint k = label[p];

    return k >= 0 && k < (gint) c && k != ignore ? k : -1;
  }

  PT_HD gfloat get_weight (guint k) const
  {
    return weight != NULL ? weight[k] : 1.f;
  }

  PT_HD Part look (guint p, guint part) const
  {
    const gfloat *row = x + (gsize) p * c;
    guint first = part * CLASSES_PART;
    guint end = first + CLASSES_PART < c ? first + CLASSES_PART : c;
    guint own = get_label (p);
    Part seen = { -FLT_MAX, 0, 0, 0 };  /* finite, whatever the scores */

    for (guint k = first; k < end; k++)
      seen.top = row[k] > seen.top ? row[k] : seen.top;
    for (guint k = first; k < end; k++)
      seen.others += k == own ? 0.f : expf (row[k] - seen.top);
    if (share > 0.f)
      for (guint k = first; k < end; k++) {
        seen.dot += get_weight (k) * (row[k] - seen.top);
        seen.weights += get_weight (k);
      }
    return seen;
  }

  PT_HD Part look_at_all (guint p) const
  {
    const Part *part = parts + (gsize) p * n_parts;
    Part all;

    if (n_parts == 1)
      return look (p, 0);
    all = part[0];
    for (guint i = 1; i < n_parts; i++)
      all.top = part[i].top > all.top ? part[i].top : all.top;
    all.others = all.dot = 0;
    for (guint i = 0; i < n_parts; i++) {
      gfloat below = part[i].top - all.top;

      all.others += part[i].others * expf (below);
      all.dot += part[i].dot + part[i].weights * below;
    }
    return all;
  }

  /* With q = 1 - p_y, f = q^gamma, L the loss without f, and
   * m = -L df/dx_y / (1 - p_y): see PtCrossEntropyDesc. The label's own
   * derivative is minus the sum of the others'. */
  PT_HD gfloat finish (guint p, guint own, gfloat w) const
  {
    Part seen = look_at_all (p);
    gfloat gap = seen.top - x[(gsize) p * c + own], mine = expf (-gap);
    gfloat all = seen.others + mine, q = seen.others / all;
    gfloat norm = log1pf (seen.others + (mine - 1.f)), f = 1.f, m = 0.f;
    gfloat hard = 1.f - smooth, rise;
    gfloat value = hard * w * (norm + gap)
        + share * (weights * norm - seen.dot);

    if (gamma > 0.f) {
      f = pt_loss_powf (q, gamma);
      m = value * gamma * f / (q < 1e-7f ? 1e-7f : q) * mine / all;
      value *= f;
    }
    rise = f * (hard * w + share * weights) + m;
    pixels[p] = {
      seen.top, rise / all, f * share,
      f * share * (weights - w) - rise * q
    };
    return value;
  }
};

/* Element (pixel, part). */
struct Look:Classes
{
  PT_HD void operator() (guint i) const
  {
    parts[i] = look (i / n_parts, i % n_parts);
  }
};

/* The sums of the losses and of the weights that their mean is over. */
struct Sum:Classes
{
  PT_HD void operator() (guint o, guint p, gfloat *sums) const
  {
    gint own = get_label (p);
    gfloat w;

    if (own < 0)
      return;
    w = get_weight (own);
    sums[0] += finish (p, own, w);
    sums[1] += w;
  }
};

struct Mean
{
  gfloat *loss;
  gdouble *total;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    *total = sums[1];
    *loss = sums[1] > 0 ? sums[0] / sums[1] : 0;
  }
};

/* Element (pixel, class). */
struct Spread:Classes
{
  PT_HD void operator() (guint i) const
  {
    guint p = i / c, k = i % c;
    gint own = get_label (p);
    Pixel pixel;
    gfloat d;

    if (own < 0 || !(*total > 0)) {
      dx[i] = 0;
      return;
    }
    pixel = pixels[p];
    d = pixel.slope * expf (x[i] - pixel.top);
    if (pixel.shift > 0.f)
      d -= pixel.shift * get_weight (k);
    dx[i] = (k == (guint) own ? pixel.pull : d) * (gfloat) (1 / *total);
  }
};

/* What is planned, and where things lie in scratch. */
struct Plan
{
  Classes job;
  PtCudaTable weight;
  gsize sums_at, parts_at, pixels_at;
};

}                               // namespace

static void
classes_clear (PtOp *op)
{
  Plan *plan = (Plan *) op->priv;

  if (plan != NULL)
    pt_cuda_table_clear (&plan->weight);
  g_free (plan);
}

static void
classes_plan_scratch (PtOp *op, Plan *plan)
{
  const Classes *job = &plan->job;

  pt_cuda_carve (&op->scratch_size, sizeof *job->total);
  plan->sums_at = pt_cuda_carve (&op->scratch_size,
      pt_cuda_sum_scratch (1, job->n, 2));
  plan->pixels_at = pt_cuda_carve (&op->scratch_size,
      job->n * sizeof (Pixel));
  plan->parts_at = op->scratch_size;
  if (job->n_parts > 1)
    pt_cuda_carve (&op->scratch_size,
        (gsize) job->n * job->n_parts * sizeof (Part));
}

static gboolean
classes_plan (PtOp *op, GError **error)
{
  PtCrossEntropyDesc *desc = &op->desc.cross_entropy;
  Plan *plan = g_new0 (Plan, 1);
  Classes *job = &plan->job;
  const gdouble *weight = desc->weight;
  gdouble weights = 0;

  op->priv = plan;
  job->c = pt_shape_c (&op->desc.x);
  job->n = pt_shape_h (&op->desc.x) * pt_shape_w (&op->desc.x);
  job->n_parts = (job->c + CLASSES_PART - 1) / CLASSES_PART;
  job->ignore = desc->ignore_index;
  job->smooth = desc->label_smoothing;
  job->share = desc->label_smoothing / job->c;
  job->gamma = desc->gamma;
  for (guint k = 0; k < job->c; k++)
    weights += weight != NULL ? weight[k] : 1;
  job->weights = weights;
  desc->weight = NULL;
  classes_plan_scratch (op, plan);
  return weight == NULL || pt_cuda_table_init (&plan->weight,
      op->workspace->device, weight, job->c, error);
}

static gboolean
classes_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Plan *plan = (Plan *) op->priv;
  Classes job = plan->job;
  PtCudaLaunch launch;
  guint8 *scratch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  scratch = (guint8 *) launch.scratch;
  job.weight = plan->weight.values;
  job.x = (const gfloat *) args->x->data;
  job.label = (const gint *) args->target->data;
  job.dx = (gfloat *) args->dx->data;
  job.total = (gdouble *) scratch;
  job.pixels = (Pixel *) (scratch + plan->pixels_at);
  job.parts = (Part *) (scratch + plan->parts_at);
  if (job.n_parts > 1 && !pt_cuda_each (&launch,
          (gint64) job.n * job.n_parts, Look { job }, error))
    return FALSE;
  return pt_cuda_sum < gfloat, 2 > (&launch, 1, job.n,
      scratch + plan->sums_at, Sum { job },
      Mean { (gfloat *) args->loss->data, job.total }, error)
      && pt_cuda_each (&launch, (gint64) job.n * job.c, Spread { job }, error);
}

const PtOpImpl pt_cuda_cross_entropy = {
  .plan = classes_plan,
  .run = classes_run,
  .clear = classes_clear,
};
