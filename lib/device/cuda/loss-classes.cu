/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <float.h>

#include "device/cuda/loss.h"

namespace
{

/* What is known of a pixel once its scores have been looked at. */
struct Pixel
{
  gfloat value, w;              /* loss, and weight of the label */
  gfloat top;                   /* largest score */
  gfloat slope, shift;          /* dx_k = scale (slope e^(x_k - top)
                                 * - shift w_k), but ... */
  gfloat pull;                  /* ... this for the label */
};

struct Classes
{
  guint n, c;
  gint ignore;
  gfloat smooth, share;         /* label_smoothing, and that over C */
  gfloat gamma;
  gfloat weights;               /* sum of the classes' */
  const gfloat *weight;         /* of each class, or NULL: ones */
  const gfloat *x;
  const gint *label;
  gfloat *dx;
  Pixel *pixels;
  gfloat *scale;                /* 1 / sum of the labels' weights; 0: none */

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

  /* With e_k = e^(x_k - top), @others the sum of e_k without the label's,
   * @dot that of w_k (x_k - top), q = 1 - p_y, f = q^gamma, L the loss
   * without f, and m = -L df/dx_y / (1 - p_y): see PtCrossEntropyDesc. The
   * label's own derivative is minus the sum of the others'. */
  PT_HD Pixel finish (gfloat x_own, gfloat w, gfloat top, gfloat others,
      gfloat dot) const
  {
    gfloat gap = top - x_own, own = expf (-gap);
    gfloat all = others + own, q = others / all;
    gfloat norm = log1pf (others + (own - 1.f)), f = 1.f, m = 0.f;
    gfloat hard = 1.f - smooth, rise;
    gfloat value = hard * w * (norm + gap) + share * (weights * norm - dot);

    if (gamma > 0.f) {
      f = pt_loss_powf (q, gamma);
      m = value * gamma * f / (q < 1e-7f ? 1e-7f : q) * own / all;
      value *= f;
    }
    rise = f * (hard * w + share * weights) + m;
    return {
      value, w, top, rise / all, f * share,
      f * share * (weights - w) - rise * q
    };
  }
};

struct Look:Classes
{
  template < typename Team > PT_HD void
  operator() (guint p, const Team &team) const
  {
    const gfloat *row = x + (gsize) p * c;
    gint own = get_label (p);
    gfloat top = -FLT_MAX, others = 0, dot = 0; /* finite, whatever is in x */

    if (own < 0) {
      if (team.rank == 0)
        pixels[p] = { };
      return;
    }
    for (guint k = team.rank; k < c; k += team.size)
      top = row[k] > top ? row[k] : top;
    top = team.max (top);
    for (guint k = team.rank; k < c; k += team.size)
      others += k == (guint) own ? 0.f : expf (row[k] - top);
    others = team.sum (others);
    if (share > 0.f) {
      for (guint k = team.rank; k < c; k += team.size)
        dot += get_weight (k) * (row[k] - top);
      dot = team.sum (dot);
    }
    if (team.rank == 0)
      pixels[p] = finish (row[own], get_weight (own), top, others, dot);
  }
};

/* Of log-probabilities only the label's counts. */
struct Pick:Classes
{
  PT_HD void operator() (guint p) const
  {
    gint own = get_label (p);
    gfloat w;

    pixels[p] = { };
    if (own < 0)
      return;
    w = get_weight (own);
    pixels[p].value = -w * x[(gsize) p * c + own];
    pixels[p].w = w;
    pixels[p].pull = -w;
  }
};

/* The sums of the losses and of the weights that their mean is over. */
struct Sum:Classes
{
  PT_HD void operator() (guint o, guint p, gfloat *sums) const
  {
    sums[0] += pixels[p].value;
    sums[1] += pixels[p].w;
  }
};

struct Mean
{
  gfloat *loss, *scale;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    gdouble per = sums[1] > 0 ? 1 / sums[1] : 0;

    *scale = per;
    *loss = per > 0 ? sums[0] * per : 0;
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

    if (own < 0 || *scale == 0) {
      dx[i] = 0;
      return;
    }
    pixel = pixels[p];
    d = pixel.slope > 0.f ? pixel.slope * expf (x[i] - pixel.top) : 0.f;
    if (pixel.shift > 0.f)
      d -= pixel.shift * get_weight (k);
    dx[i] = (k == (guint) own ? pixel.pull : d) * *scale;
  }
};

/* What is planned, and where things lie in scratch. */
struct Plan
{
  Classes job;
  PtCudaTable weight;
  gsize sums_at, pixels_at;
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
  job->ignore = desc->ignore_index;
  job->smooth = desc->label_smoothing;
  job->share = desc->label_smoothing / job->c;
  job->gamma = desc->gamma;
  for (guint k = 0; k < job->c; k++)
    weights += weight != NULL ? weight[k] : 1;
  job->weights = weights;
  desc->weight = NULL;
  pt_cuda_carve (&op->scratch_size, sizeof *job->scale);
  plan->pixels_at = pt_cuda_carve (&op->scratch_size,
      job->n * sizeof (Pixel));
  plan->sums_at = pt_cuda_carve (&op->scratch_size,
      pt_cuda_sum_scratch (1, job->n, 2));
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
  gboolean looked;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  scratch = (guint8 *) launch.scratch;
  job.weight = plan->weight.values;
  job.x = pt_data (args->x);
  job.label = pt_data < gint > (args->target);
  job.dx = pt_data (args->dx);
  job.scale = (gfloat *) scratch;
  job.pixels = (Pixel *) (scratch + plan->pixels_at);
  looked = op->desc.cross_entropy.log_probabilities ?
      pt_cuda_each (&launch, job.n, Pick { job }, error) :
      pt_cuda_teams (&launch, job.n, job.c, Look { job }, error);
  return looked && pt_cuda_sum < gfloat, 2 > (&launch, 1, job.n,
      scratch + plan->sums_at, Sum { job },
      Mean { pt_data (args->loss), job.scale }, error)
      && pt_cuda_each (&launch, (gint64) job.n * job.c, Spread { job }, error);
}

const PtOpImpl pt_cuda_cross_entropy = {
  .plan = classes_plan,
  .run = classes_run,
  .clear = classes_clear,
};
