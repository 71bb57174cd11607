/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/matmul.h"
#include "device/cuda/vec.h"

namespace
{

struct Axis
{
  guint size, x, y, o;          /* steps in x, in y, in results as counted */
};

/* Innermost first. */
struct Axes
{
  Axis axes[PT_MAX_DIMS];
  guint n;

  PT_HD Axis locate (guint i) const
  {
    Axis found = { };

    for (guint k = 0; k < n; k++) {
      guint at = i % axes[k].size;

      i /= axes[k].size;
      found.x += at * axes[k].x;
      found.y += at * axes[k].y;
      found.o += at * axes[k].o;
    }
    return found;
  }
};

struct Geometry
{
  PtReduceKind kind;
  gboolean last;
  guint terms;
  Axes kept, reduced;

  PT_HD gdouble add (gdouble x) const
  {
    return kind == PT_REDUCE_L1 ? fabs (x) :
        kind == PT_REDUCE_L2 || kind == PT_REDUCE_SUM_SQUARE ? x * x : x;
  }

  PT_HD gfloat finish (gdouble sum) const
  {
    return kind == PT_REDUCE_MEAN ? sum / terms :
        kind == PT_REDUCE_L2 ? sqrt (sum) :
        kind == PT_REDUCE_LOG_SUM ? log (sum) : sum;
  }
};

/* Where neighbouring results are neighbours in memory. */
struct Add
{
  Geometry g;
  const gfloat *x;

  PT_HD void operator() (guint o, guint t, gdouble *sums) const
  {
    sums[0] += g.add (x[g.kept.locate (o).x + g.reduced.locate (t).x]);
  }
};

struct Store
{
  Geometry g;
  gfloat *y;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    y[g.kept.locate (o).y] = g.finish (sums[0]);
  }
};

/* One result by a team. */
struct Reduce
{
  Geometry g;
  const gfloat *x;
  gfloat *y;

  template < typename Team > PT_HD gfloat
  sum (const gfloat *from, const Team &team) const
  {
    gdouble sum = 0;

    for (guint t = team.rank; t < g.terms; t += team.size)
      sum += g.add (from[g.reduced.locate (t).x]);
    return g.finish (team.sum (sum));
  }

  template < typename Team > PT_HD gfloat
  product (const gfloat *from, const Team &team) const
  {
    gdouble product = 1;

    for (guint t = team.rank; t < g.terms; t += team.size)
      product *= from[g.reduced.locate (t).x];
    return team.product (product);
  }

  /* Of sign x; *nan: whether one is NaN. */
  template < typename Team > PT_HD gfloat
  max (const gfloat *from, gfloat sign, gboolean *nan, const Team &team) const
  {
    gfloat top = -INFINITY, bad = 0;

    for (guint t = team.rank; t < g.terms; t += team.size) {
      gfloat v = sign * from[g.reduced.locate (t).x];

      top = v > top ? v : top;
      bad += v != v;
    }
    *nan = team.max (bad) > 0;
    return team.max (top);
  }

  template < typename Team > PT_HD gfloat
  extreme (const gfloat *from, gfloat sign, const Team &team) const
  {
    gboolean nan;
    gfloat top = max (from, sign, &nan, team);

    return nan ? NAN : sign * top;
  }

  template < typename Team > PT_HD gfloat
  arg (const gfloat *from, gfloat sign, const Team &team) const
  {
    gboolean nan;
    gfloat top = max (from, sign, &nan, team), best = -INFINITY;
    gfloat way = g.last && !nan ? 1 : -1;

    for (guint t = team.rank; t < g.terms; t += team.size) {
      gfloat v = sign * from[g.reduced.locate (t).x];

      if ((nan ? v != v : v == top) && way * t > best)
        best = way * t;
    }
    return way * team.max (best);
  }

  /* Of infinities alone, the difference to the largest would be NaN. */
  template < typename Team > PT_HD gfloat
  log_sum_exp (const gfloat *from, const Team &team) const
  {
    gboolean nan;
    gfloat top = max (from, 1, &nan, team);
    gdouble sum = 0;

    top = top > G_MAXFLOAT ? G_MAXFLOAT : top < -G_MAXFLOAT ? -G_MAXFLOAT :
        top;
    for (guint t = team.rank; t < g.terms; t += team.size)
      sum += expf (from[g.reduced.locate (t).x] - top);
    return top + log (team.sum (sum));
  }

  template < typename Team > PT_HD void
  operator() (guint o, const Team &team) const
  {
    Axis at = g.kept.locate (o);
    const gfloat *from = x + at.x;
    gfloat result;

    switch (g.kind) {
      case PT_REDUCE_MAX:
      case PT_REDUCE_MIN:
        result = extreme (from, g.kind == PT_REDUCE_MIN ? -1 : 1, team);
        break;
      case PT_REDUCE_ARGMAX:
      case PT_REDUCE_ARGMIN:
        result = arg (from, g.kind == PT_REDUCE_ARGMIN ? -1 : 1, team);
        break;
      case PT_REDUCE_PROD:
        result = product (from, team);
        break;
      case PT_REDUCE_LOG_SUM_EXP:
        result = log_sum_exp (from, team);
        break;
      default:
        result = sum (from, team);
    }
    if (team.rank == 0)
      y[at.y] = result;
  }
};

/* For each result: how many terms are it; or for products, what a 0 gets: the
 * product of the others, if it is the only one. */
struct Prepare
{
  Geometry g;
  const gfloat *x, *y;
  gfloat *to;

  template < typename Team > PT_HD void
  operator() (guint o, const Team &team) const
  {
    Axis at = g.kept.locate (o);
    gdouble count = 0, product = 1;

    for (guint t = team.rank; t < g.terms; t += team.size) {
      gfloat v = x[at.x + g.reduced.locate (t).x];

      count += v == (g.kind == PT_REDUCE_PROD ? 0 : y[at.y]);
      product *= v == 0 ? 1 : v;
    }
    count = team.sum (count);
    product = team.product (product);
    if (team.rank == 0)
      to[o] = g.kind != PT_REDUCE_PROD ? count : count == 1 ? product : 0;
  }
};

struct Backward
{
  PtReduceKind kind;
  gfloat terms;
  Axes all;
  const gfloat *x, *y, *dy, *prepared;
  gfloat *dx;

  PT_HD void operator() (guint i) const
  {
    Axis at = all.locate (i);
    gfloat p = x != NULL ? x[i] : 0, q = y != NULL ? y[at.y] : 0;
    gfloat d = dy != NULL ? dy[at.y] : 0;

    switch (kind) {
      case PT_REDUCE_SUM:
        break;
      case PT_REDUCE_MEAN:
        d /= terms;
        break;
      case PT_REDUCE_MAX:
      case PT_REDUCE_MIN:
        d = p == q ? d / prepared[at.o] : 0;
        break;
      case PT_REDUCE_PROD:
        d *= p == 0 ? prepared[at.o] : q / p;
        break;
      case PT_REDUCE_L1:
        d = p > 0 ? d : p < 0 ? -d : 0;
        break;
      case PT_REDUCE_L2:
        d = q == 0 ? 0 : d / q * p;
        break;
      case PT_REDUCE_SUM_SQUARE:
        d *= 2 * p;
        break;
      case PT_REDUCE_LOG_SUM:
        d /= expf (q);
        break;
      case PT_REDUCE_LOG_SUM_EXP:
        d *= expf (p - q);
        break;
      default:
        d = 0;
    }
    dx[i] = d;
  }
};

}                               // namespace

static void
reduce_add_axis (Axes *axes, const PtReduceAxis *axis, guint o)
{
  axes->axes[axes->n++] = Axis { (guint) axis->size, (guint) axis->x,
    (guint) axis->y, o };
}

/* @all: both, in the order of memory. */
static Geometry
reduce_geometry (const PtOpDesc *desc, PtReduceGeometry *found, Axes *all)
{
  Geometry g = { desc->reduce.kind, desc->reduce.last };
  guint i = 0, k = 0, o = 1;

  pt_reduce_geometry_init (found, &desc->x, &desc->y, desc->reduce.axes);
  g.terms = found->terms;
  while (i < found->n_kept || k < found->n_reduced)
    if (k == found->n_reduced || (i < found->n_kept
            && found->kept[i].x < found->reduced[k].x)) {
      reduce_add_axis (&g.kept, &found->kept[i], o);
      reduce_add_axis (all, &found->kept[i], o);
      o *= found->kept[i++].size;
    } else {
      reduce_add_axis (&g.reduced, &found->reduced[k], 0);
      reduce_add_axis (all, &found->reduced[k++], 0);
    }
  return g;
}

/* Whether it is a sum whose neighbours are other results. */
static gboolean
reduce_is_beside (const PtOpDesc *desc, const PtReduceGeometry *found)
{
  switch (desc->reduce.kind) {
    case PT_REDUCE_MAX:
    case PT_REDUCE_MIN:
    case PT_REDUCE_ARGMAX:
    case PT_REDUCE_ARGMIN:
    case PT_REDUCE_PROD:
    case PT_REDUCE_LOG_SUM_EXP:
      return FALSE;
    default:
      return found->n_reduced == 0 || found->reduced[0].x > 1
          || found->outputs == 1;
  }
}

gsize
pt_cuda_reduce_scratch (const PtOpDesc *desc)
{
  PtReduceGeometry found;
  Axes all = { };

  reduce_geometry (desc, &found, &all);
  return reduce_is_beside (desc, &found) ?
      pt_cuda_sum_scratch (found.outputs, found.terms, 1) : 0;
}

gboolean
pt_cuda_reduce_run (PtOp *op, const PtOpDesc *desc, const PtTensor *x,
    PtTensor *y, GError **error)
{
  PtReduceGeometry found;
  Axes all = { };
  Geometry g = reduce_geometry (desc, &found, &all);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (reduce_is_beside (desc, &found))
    return pt_cuda_sum < gdouble, 1 > (&launch, found.outputs, found.terms,
        launch.scratch, Add { g, pt_data (x) }, Store { g, pt_data (y) },
        error);
  return pt_cuda_teams (&launch, found.outputs, found.terms,
      Reduce { g, pt_data (x), pt_data (y) }, error);
}

static gboolean
reduce_plan (PtOp *op, GError **error)
{
  op->scratch_size = pt_cuda_reduce_scratch (&op->desc);
  return TRUE;
}

static gboolean
reduce_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  return pt_cuda_reduce_run (op, &op->desc, args->x, args->y, error);
}

static gboolean
reduce_is_prepared (PtReduceKind kind)
{
  return kind == PT_REDUCE_MAX || kind == PT_REDUCE_MIN
      || kind == PT_REDUCE_PROD;
}

static gboolean
reduce_plan_backward (PtOp *op, GError **error)
{
  if (reduce_is_prepared (op->desc.reduce.kind))
    op->scratch_size = pt_shape_get_n_elements (&op->desc.y)
        * sizeof (gfloat);
  return TRUE;
}

static gboolean
reduce_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtReduceKind kind = op->desc.reduce.kind;
  PtReduceGeometry found;
  Axes all = { };
  Geometry g = reduce_geometry (&op->desc, &found, &all);
  const gfloat *x = pt_reduce_uses_x (kind) ? pt_data (args->x) : NULL;
  const gfloat *y = pt_reduce_uses_y (kind) ? pt_data (args->y) : NULL;
  PtCudaLaunch launch;
  gfloat *prepared;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  prepared = (gfloat *) launch.scratch;
  if (reduce_is_prepared (kind) && !pt_cuda_teams (&launch, found.outputs,
          found.terms, Prepare { g, x, y, prepared }, error))
    return FALSE;
  return pt_cuda_each (&launch, found.outputs * found.terms, Backward { kind,
        (gfloat) found.terms, all, x, y,
        pt_reduce_is_arg (kind) ? NULL : pt_data (args->dy), prepared,
        pt_data (args->dx) }, error);
}

const PtOpImpl pt_cuda_reduce = {
  .plan = reduce_plan,
  .run = reduce_run,
};

const PtOpImpl pt_cuda_reduce_backward = {
  .plan = reduce_plan_backward,
  .run = reduce_run_backward,
};
