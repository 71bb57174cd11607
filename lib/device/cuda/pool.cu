/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/vec.h"

/* Windows of more elements than this, and of means, are summed by several
 * threads each. */
#define POOL_LARGE 32

namespace
{

/* Rows first, first + step and so on before end, or columns. */
struct Span
{
  gint first, end, step;

  PT_HD gint count (void) const
  {
    return end > first ? (end - first - 1) / step + 1 : 0;
  }
};

/* One of the two directions. */
struct Axis
{
  gint in, out, kernel, stride, padding, dilation;
  gint padded;                  /* where the padding behind ends */

  PT_HD gint get_start (gint o) const
  {
    return o * stride - padding;
  }

  PT_HD gint get_reach (void) const
  {
    return (kernel - 1) * dilation + 1;
  }

  /* The inputs of output @o. */
  PT_HD Span get_inputs (gint o) const
  {
    gint start = get_start (o), end = MIN (start + get_reach (), in);

    if (start < 0)
      start += (dilation - 1 - start) / dilation * dilation;
    return { start, end, dilation };
  }

  /* With those in the padding, but not beyond. */
  PT_HD Span get_padded (gint o) const
  {
    gint start = get_start (o);

    return { start, MIN (start + get_reach (), padded), dilation };
  }

  /* The outputs that reach over input @i. */
  PT_HD Span get_outputs (gint i) const
  {
    gint past = i + padding - get_reach ();

    return { past < 0 ? 0 : past / stride + 1,
      MIN ((i + padding) / stride + 1, out), 1 };
  }

  /* Whether one of these, @o, sees it. */
  PT_HD gboolean sees (gint o, gint i) const
  {
    return dilation == 1 || (i - get_start (o)) % dilation == 0;
  }
};

struct Geometry
{
  guint c;                      /* in PtVecs */
  Axis y, x;
  gboolean inside;              /* the padding does not count */

  /* One over what the mean of output (@oy, @ox) is divided by. */
  PT_HD gfloat get_share (gint oy, gint ox) const
  {
    return inside ?
        1.f / (y.get_inputs (oy).count () * x.get_inputs (ox).count ()) :
        1.f / (y.get_padded (oy).count () * x.get_padded (ox).count ());
  }
};

/* As oneDNN: the first of equals wins, NaN does not. */
template < int N > struct Max
{
  Geometry g;
  const PtVec < N > *from;
  PtVec < N > *to;
  PtVec < N, gint32 > *places;  /* in the plane of the input; may be NULL */

  PT_HD void operator() (guint i) const
  {
    guint pixel = i / g.c, c = i % g.c;
    Span rows = g.y.get_inputs (pixel / g.x.out);
    Span columns = g.x.get_inputs (pixel % g.x.out);
    PtVec < N, gint32 > place;
    PtVec < N > top;

    for (int k = 0; k < N; k++) {
      top.v[k] = -G_MAXFLOAT;
      place.v[k] = rows.first * g.x.in + columns.first;
    }
    for (gint y = rows.first; y < rows.end; y += rows.step)
      for (gint x = columns.first; x < columns.end; x += columns.step) {
        PtVec < N > v = from[(guint) (y * g.x.in + x) * g.c + c];

        for (int k = 0; k < N; k++)
          if (v.v[k] > top.v[k]) {
            top.v[k] = v.v[k];
            place.v[k] = y * g.x.in + x;
          }
      }
    to[i] = top;
    if (places != NULL)
      places[i] = place;
  }
};

template < int N > struct Mean
{
  Geometry g;
  const PtVec < N > *from;
  PtVec < N > *to;

  PT_HD void operator() (guint i) const
  {
    guint pixel = i / g.c, c = i % g.c;
    gint oy = pixel / g.x.out, ox = pixel % g.x.out;
    Span rows = g.y.get_inputs (oy), columns = g.x.get_inputs (ox);
    gfloat share = g.get_share (oy, ox);
    PtVec < N > sum = { };

    for (gint y = rows.first; y < rows.end; y += rows.step)
      for (gint x = columns.first; x < columns.end; x += columns.step) {
        PtVec < N > v = from[(guint) (y * g.x.in + x) * g.c + c];

        for (int k = 0; k < N; k++)
          sum.v[k] += v.v[k];
      }
    for (int k = 0; k < N; k++)
      sum.v[k] *= share;
    to[i] = sum;
  }
};

/* Adds element @t of the window of output @o, or its power. */
struct SumWindow
{
  Geometry g;
  const gfloat *from;
  gint p;                       /* 0: of a mean */

  PT_HD void operator() (guint o, guint t, gfloat *sums) const
  {
    guint pixel = o / g.c;
    gint y = g.y.get_start (pixel / g.x.out)
        + (gint) t / g.x.kernel * g.y.dilation;
    gint x = g.x.get_start (pixel % g.x.out)
        + (gint) t % g.x.kernel * g.x.dilation;
    gfloat v;

    if (y < 0 || y >= g.y.in || x < 0 || x >= g.x.in)
      return;
    v = from[(guint) (y * g.x.in + x) * g.c + o % g.c];
    sums[0] += p == 0 ? v : p == 2 ? v * v : powf (fabsf (v), p);
  }
};

struct StoreMean
{
  Geometry g;
  gfloat *to;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    guint pixel = o / g.c;

    to[o] = sums[0] * g.get_share (pixel / g.x.out, pixel % g.x.out);
  }
};

struct StoreNorm
{
  gint p;
  gfloat *to;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    to[o] = p == 2 ? sqrt (sums[0]) : pow (sums[0], 1. / p);
  }
};

/* What input @pixel gets of dy at output @o: of a maximum, all or nothing. */
template < int N > struct ShareMax
{
  const PtVec < N, gint32 > *places;

  PT_HD void add (guint o, guint, guint pixel, gfloat, const PtVec < N > &dy,
      PtVec < N > *sum) const
  {
    PtVec < N, gint32 > place = places[o];

    for (int k = 0; k < N; k++)
      sum->v[k] += place.v[k] == (gint) pixel ? dy.v[k] : 0;
  }
};

template < int N > struct ShareMean
{
  PT_HD void add (guint, guint, guint, gfloat share, const PtVec < N > &dy,
      PtVec < N > *sum) const
  {
    for (int k = 0; k < N; k++)
      sum->v[k] += dy.v[k] * share;
  }
};

/* sign (x) (|x| / y)^(p - 1) of it */
template < int N > struct ShareNorm
{
  const PtVec < N > *x, *y;
  gint p;

  PT_HD void add (guint o, guint i, guint, gfloat, const PtVec < N > &dy,
      PtVec < N > *sum) const
  {
    PtVec < N > v = x[i], norm = y[o];

    for (int k = 0; k < N; k++)
      if (norm.v[k] > 0 && v.v[k] != 0)
        sum->v[k] += dy.v[k] * (p == 2 ? v.v[k] / norm.v[k] :
            copysignf (powf (fabsf (v.v[k]) / norm.v[k], p - 1), v.v[k]));
  }
};

/* Each input gathers from the windows that it lies in, in order. */
template < int N, typename Share > struct Backward
{
  Geometry g;
  const PtVec < N > *dy;
  PtVec < N > *dx;
  Share share;

  PT_HD void operator() (guint i) const
  {
    guint pixel = i / g.c, c = i % g.c;
    gint iy = pixel / g.x.in, ix = pixel % g.x.in;
    Span rows = g.y.get_outputs (iy), columns = g.x.get_outputs (ix);
    PtVec < N > sum = { };

    for (gint y = rows.first; y < rows.end; y++)
      for (gint x = columns.first; x < columns.end; x++) {
        guint o = (guint) (y * g.x.out + x) * g.c + c;

        if (g.y.sees (y, iy) && g.x.sees (x, ix))
          share.add (o, i, pixel, g.get_share (y, x), dy[o], &sum);
      }
    dx[i] = sum;
  }
};

}                               // namespace

/* With channels counted in @n. */
static Geometry
pool_get_geometry (const PtOpDesc *desc, gint n)
{
  const PtPoolDesc *pool = &desc->pool;
  Axis axes[2];

  for (guint k = 0; k < 2; k++)
    axes[k] = Axis { (gint) pt_shape_get_dim (&desc->x, 2 + k),
      (gint) pt_shape_get_dim (&desc->y, 2 + k), pool->kernel[k],
      pool->stride[k], pool->padding[k], MAX (pool->dilation[k], 1),
      (gint) pt_shape_get_dim (&desc->x, 2 + k) + pool->padding[k]
          + pool->more_padding[k] };
  return Geometry { (guint) pt_shape_c (&desc->x) / n, axes[0], axes[1],
    !pool->count_include_pad };
}

static guint
pool_get_window (const PtOpDesc *desc)
{
  return (guint) desc->pool.kernel[0] * desc->pool.kernel[1];
}

static gboolean
pool_is_summed (const PtOpDesc *desc)
{
  return desc->pool.kind == PT_POOL_LP || (desc->pool.kind == PT_POOL_AVG
      && pool_get_window (desc) > POOL_LARGE);
}

static gboolean
pool_plan (PtOp *op, GError **error)
{
  if (pool_is_summed (&op->desc))
    op->scratch_size = pt_cuda_sum_scratch (pt_shape_get_n_elements
        (&op->desc.y), pool_get_window (&op->desc), 1);
  return TRUE;
}

static gboolean
pool_run_sums (PtOp *op, const PtOpArgs *args, const PtCudaLaunch *launch,
    GError **error)
{
  const PtOpDesc *desc = &op->desc;
  gint64 n = pt_shape_get_n_elements (&desc->y);
  guint window = pool_get_window (desc);
  Geometry g = pool_get_geometry (desc, 1);
  gint p = desc->pool.kind == PT_POOL_LP ? desc->pool.p : 0;
  SumWindow sum = { g, pt_data (args->x), p };

  return p == 0 ?
      pt_cuda_sum < gfloat, 1 > (launch, n, window, launch->scratch, sum,
      StoreMean { g, pt_data (args->y) }, error) :
      pt_cuda_sum < gfloat, 1 > (launch, n, window, launch->scratch, sum,
      StoreNorm { p, pt_data (args->y) }, error);
}

static gboolean
pool_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtOpDesc *desc = &op->desc;
  gint64 n = pt_shape_get_n_elements (&desc->y);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (pool_is_summed (desc))
    return pool_run_sums (op, args, &launch, error);
  return pt_cuda_vec (pt_shape_c (&desc->x),[&] < int N > () {
        Geometry g = pool_get_geometry (desc, N);
        PtVec < N > *x = pt_data < PtVec < N > > (args->x);
        PtVec < N > *y = pt_data < PtVec < N > > (args->y);
        Max < N > max = { g, x, y,
          pt_data < PtVec < N, gint32 > > (args->indices) };
        Mean < N > mean = { g, x, y };

        return desc->pool.kind == PT_POOL_MAX ?
            pt_cuda_each (&launch, n / N, max, error) :
            pt_cuda_each (&launch, n / N, mean, error);
      });
}

static gboolean
pool_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtOpDesc *desc = &op->desc;
  gint64 n = pt_shape_get_n_elements (&desc->x);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  return pt_cuda_vec (pt_shape_c (&desc->x),[&] < int N > () {
        typedef PtVec < N > Vec;
        Geometry g = pool_get_geometry (desc, N);
        Vec *dy = pt_data < Vec > (args->dy), *dx = pt_data < Vec > (args->dx);
        Backward < N, ShareMax < N > > max = { g, dy, dx, {
            pt_data < PtVec < N, gint32 > > (args->indices) } };
        Backward < N, ShareMean < N > > mean = { g, dy, dx, { } };
        Backward < N, ShareNorm < N > > norm = { g, dy, dx, {
            pt_data < Vec > (args->x), pt_data < Vec > (args->y),
            desc->pool.p } };

        return desc->pool.kind == PT_POOL_MAX ?
            pt_cuda_each (&launch, n / N, max, error) :
            desc->pool.kind == PT_POOL_AVG ?
            pt_cuda_each (&launch, n / N, mean, error) :
            pt_cuda_each (&launch, n / N, norm, error);
      });
}

const PtOpImpl pt_cuda_pool = {
  .plan = pool_plan,
  .run = pool_run,
};

const PtOpImpl pt_cuda_pool_backward = {
  .plan = pt_cuda_plan_nothing,
  .run = pool_run_backward,
};
