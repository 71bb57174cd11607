/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/normalize.h"

#include "device/cuda/vec.h"

/* From so many runs of memory on, each has a team of threads. */
#define NORMALIZE_RUNS 64

namespace
{

struct View
{
  guint middle, groups, inner;
  guint n_weights, step;        /* 0: none */

  PT_HD guint get_group (guint i) const
  {
    guint columns = groups * inner;

    return i / columns / middle * groups + i % columns / inner;
  }

  /* Element @t of group @g. */
  PT_HD guint get_element (guint g, guint t) const
  {
    return ((g / groups * middle + t / inner) * groups + g % groups) * inner
        + t % inner;
  }

  PT_HD guint get_weight (guint i) const
  {
    return i / step % n_weights;
  }

  /* Element @t of those with weight @p. */
  PT_HD guint get_weighted (guint p, guint t) const
  {
    return (t / step * n_weights + p) * step + t % step;
  }
};

/* What every kernel reads. */
struct Input
{
  View view;
  PtNormalizeDesc desc;
  const gfloat *x, *w, *mean, *variance;

  PT_HD gfloat get_norm (guint g) const
  {
    return desc.kind == PT_NORMALIZE_L1 ? variance[g] : sqrtf (variance[g]);
  }

  /* In float what pt_normalize_scale() is. */
  PT_HD gfloat get_scale (guint g) const
  {
    if (desc.kind == PT_NORMALIZE_MEAN_VARIANCE)
      return 1 / sqrtf (variance[g] + desc.eps);
    return 1 / MAX (get_norm (g), desc.eps);
  }

  /* Whether the scale does not depend on x, its norm being too small. */
  PT_HD gboolean is_small (guint g) const
  {
    return desc.kind != PT_NORMALIZE_MEAN_VARIANCE && get_norm (g) < desc.eps;
  }

  PT_HD gfloat get_hat (guint i, guint g) const
  {
    return (x[i] - mean[g]) * get_scale (g);
  }

  PT_HD gfloat get_weight (guint i) const
  {
    return w != NULL ? w[view.get_weight (i)] : 1;
  }
};

/* Sums of x - x0 and (x - x0)^2, x0 the first of the group: without it the
 * variance of values far from zero would drown. Of norms, x0 is 0. */
struct SumStatistics
{
  Input in;

  PT_HD gfloat get_shift (guint g) const
  {
    return in.desc.kind == PT_NORMALIZE_MEAN_VARIANCE ?
        in.x[in.view.get_element (g, 0)] : 0;
  }

  PT_HD void operator() (guint g, guint t, gfloat *sums) const
  {
    gfloat d = in.x[in.view.get_element (g, t)] - get_shift (g);

    sums[0] += d;
    sums[1] += in.desc.kind == PT_NORMALIZE_L1 ? fabsf (d) : d * d;
  }
};

struct StoreStatistics
{
  SumStatistics sum;
  gfloat *mean, *variance;
  gdouble n;

  PT_HD void operator() (guint g, const gdouble *sums) const
  {
    gboolean is_norm = sum.in.desc.kind != PT_NORMALIZE_MEAN_VARIANCE;
    gdouble d = sums[0] / n, v = sums[1] / n - d * d;

    mean[g] = is_norm ? 0 : sum.get_shift (g) + d;
    variance[g] = is_norm ? sums[1] : v < 0 ? 0 : v;
  }
};

struct Apply
{
  Input in;
  const gfloat *b;              /* may be NULL */
  gfloat *y;

  PT_HD void operator() (guint i) const
  {
    gfloat v = in.get_hat (i, in.view.get_group (i)) * in.get_weight (i);

    y[i] = b != NULL ? v + b[in.view.get_weight (i)] : v;
  }
};

/* db = sum dy, dw = sum dy xhat */
struct SumWeights
{
  Input in;
  const gfloat *dy;

  PT_HD void operator() (guint p, guint t, gfloat *sums) const
  {
    guint i = in.view.get_weighted (p, t);

    sums[0] += dy[i];
    sums[1] += dy[i] * in.get_hat (i, in.view.get_group (i));
  }
};

struct StoreWeights
{
  gfloat *dw, *db;              /* db may be NULL */

  PT_HD void operator() (guint p, const gdouble *sums) const
  {
    dw[p] = sums[1];
    if (db != NULL)
      db[p] = sums[0];
  }
};

/* The same of w dy, over one group. */
struct SumGradients
{
  Input in;
  const gfloat *dy;

  PT_HD void operator() (guint g, guint t, gfloat *sums) const
  {
    guint i = in.view.get_element (g, t);
    gfloat v = dy[i] * in.get_weight (i);

    sums[0] += v;
    sums[1] += v * in.get_hat (i, g);
  }
};

/* What is taken off: a of the mean, c along xhat. */
struct StoreGradients
{
  Input in;
  gfloat *a, *c;
  gdouble n;

  PT_HD void operator() (guint g, const gdouble *sums) const
  {
    gboolean is_norm = in.desc.kind != PT_NORMALIZE_MEAN_VARIANCE;

    a[g] = is_norm ? 0 : sums[0] / n;
    c[g] = in.is_small (g) ? 0 :
        is_norm ? sums[1] : sums[1] / n;
  }
};

/* dx = scale (w dy - a - c xhat) */
struct Backward
{
  Input in;
  const gfloat *dy, *a, *c;
  gfloat *dx;

  PT_HD void operator() (guint i) const
  {
    guint g = in.view.get_group (i);
    gfloat hat = in.get_hat (i, g);

    if (in.desc.kind == PT_NORMALIZE_L1)
      hat = (hat > 0) - (hat < 0);
    dx[i] = in.get_scale (g) * (dy[i] * in.get_weight (i) - a[g]
        - c[g] * hat);
  }
};

/* Both sums of one group, whose elements lie in a row, by a team. */
template < typename Term, typename Store > struct SumRun
{
  guint n;
  Term term;
  Store store;

  template < typename Team > PT_HD void
  operator() (guint g, const Team &team) const
  {
    gdouble sums[2] = { };

    for (guint t = team.rank; t < n; t += team.size) {
      gfloat v[2] = { };

      term (g, t, v);
      sums[0] += v[0];
      sums[1] += v[1];
    }
    sums[0] = team.sum (sums[0]);
    sums[1] = team.sum (sums[1]);
    if (team.rank == 0)
      store (g, sums);
  }
};

}                               // namespace

typedef struct
{
  PtNormalizeView view;
  gint64 n;                     /* elements */
  gint64 n_groups;
  gsize first;                  /* bytes of one number for each group */
} Normalize;

static gboolean
normalize_plan (PtOp *op, GError **error)
{
  Normalize *self = g_new0 (Normalize, 1);
  const PtNormalizeView *view = &self->view;
  gint64 count;
  gsize sums;

  op->priv = self;
  if (!pt_normalize_view (&self->view, &op->desc, error))
    return FALSE;
  count = pt_normalize_count (view);
  self->n = pt_shape_get_n_elements (&op->desc.x);
  self->n_groups = view->outer * view->groups;
  self->first = (self->n_groups * sizeof (gfloat) + PT_ALIGNMENT - 1)
      / PT_ALIGNMENT * PT_ALIGNMENT;
  sums = pt_cuda_sum_scratch (self->n_groups, count, 2);
  if (view->n_weights > 0)
    sums = MAX (sums, pt_cuda_sum_scratch (view->n_weights,
            self->n / view->n_weights, 2));
  op->scratch_size = 2 * self->first + sums;
  op->weights_size = view->n_weights * sizeof (gfloat);
  return TRUE;
}

static void
normalize_clear (PtOp *op)
{
  g_free (op->priv);
}

/* Two numbers for each group, and what the sums need behind them. */
typedef struct
{
  gfloat *a, *b;
  gpointer parts;
} Scratch;

static Scratch
normalize_get_scratch (const Normalize *self, const PtCudaLaunch *launch)
{
  gchar *scratch = (gchar *) launch->scratch;

  return Scratch { (gfloat *) scratch, (gfloat *) (scratch + self->first),
    scratch + 2 * self->first };
}

static Input
normalize_get_input (const PtOp *op, const PtOpArgs *args)
{
  const PtNormalizeView *view = &((const Normalize *) op->priv)->view;

  return Input { { (guint) view->middle, (guint) view->groups,
      (guint) view->inner, (guint) view->n_weights, (guint) view->step },
    op->desc.normalize, pt_data (args->x),
    view->n_weights > 0 ? pt_data (args->w) : NULL, NULL, NULL };
}

template < typename Term, typename Store > static gboolean
normalize_sum (const Normalize *self, const PtCudaLaunch *launch,
    const Term &term, const Store &store, gpointer parts, GError **error)
{
  guint n = pt_normalize_count (&self->view);
  SumRun < Term, Store > run = { n, term, store };

  if (self->view.groups == 1 && self->n_groups >= NORMALIZE_RUNS)
    return pt_cuda_teams (launch, self->n_groups, n, run, error);
  return pt_cuda_sum < gfloat, 2 > (launch, self->n_groups, n, parts, term,
      store, error);
}

static gboolean
normalize_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const Normalize *self = (const Normalize *) op->priv;
  Input in = normalize_get_input (op, args);
  PtCudaLaunch launch;
  Scratch to;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  to = normalize_get_scratch (self, &launch);
  if (op->desc.training && args->saved_mean != NULL) {
    to.a = pt_data (args->saved_mean);
    to.b = pt_data (args->saved_variance);
  }
  in.mean = to.a;
  in.variance = to.b;
  return normalize_sum (self, &launch, SumStatistics { in }, StoreStatistics {
        { in }, to.a, to.b, (gdouble) pt_normalize_count (&self->view) },
        to.parts, error)
      && pt_cuda_each (&launch, self->n, Apply { in,
        in.w != NULL ? pt_data (args->b) : NULL, pt_data (args->y) }, error);
}

static gboolean
normalize_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  const Normalize *self = (const Normalize *) op->priv;
  guint n_weights = self->view.n_weights;
  const gfloat *dy = pt_data (args->dy);
  Input in = normalize_get_input (op, args);
  PtCudaLaunch launch;
  Scratch to;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  to = normalize_get_scratch (self, &launch);
  in.mean = pt_data (args->saved_mean);
  in.variance = pt_data (args->saved_variance);
  if (args->dw != NULL && !pt_cuda_sum < gfloat, 2 > (&launch, n_weights,
          self->n / n_weights, to.parts, SumWeights { in, dy },
          StoreWeights { pt_data (args->dw), pt_data (args->db) }, error))
    return FALSE;
  if (args->dx == NULL)
    return TRUE;
  return normalize_sum (self, &launch, SumGradients { in, dy },
      StoreGradients { in, to.a, to.b,
        (gdouble) pt_normalize_count (&self->view) }, to.parts, error)
      && pt_cuda_each (&launch, self->n, Backward { in, dy, to.a, to.b,
        pt_data (args->dx) }, error);
}

const PtOpImpl pt_cuda_normalize = {
  .plan = normalize_plan,
  .run = normalize_run,
  .clear = normalize_clear,
  .pack = pt_normalize_pack,
  .unpack = pt_normalize_unpack,
};

const PtOpImpl pt_cuda_normalize_backward = {
  .plan = normalize_plan,
  .run = normalize_run_backward,
  .clear = normalize_clear,
};
