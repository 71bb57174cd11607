/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/vec.h"

/* Windows of more elements than this, and of means, are summed by several
 * threads each. */
#define POOL_LARGE 32

namespace
{

/* Rows first .. end - 1, or columns. */
struct Span
{
  gint first, end;
};

/* One of the two directions. */
struct Axis
{
  gint in, out, kernel, stride, padding;

  PT_HD gint get_start (gint o) const
  {
    return o * stride - padding;
  }

  /* The inputs of output @o. */
  PT_HD Span get_inputs (gint o) const
  {
    gint start = get_start (o);

    return { MAX (start, 0), MIN (start + kernel, in) };
  }

  /* The outputs that see input @i. */
  PT_HD Span get_outputs (gint i) const
  {
    gint past = i + padding - kernel;

    return { past < 0 ? 0 : past / stride + 1,
      MIN ((i + padding) / stride + 1, out) };
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
    Span rows = y.get_inputs (oy), columns = x.get_inputs (ox);

    return inside ?
        1.f / ((rows.end - rows.first) * (columns.end - columns.first)) :
        1.f / (y.kernel * x.kernel);
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
    for (gint y = rows.first; y < rows.end; y++)
      for (gint x = columns.first; x < columns.end; x++) {
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

    for (gint y = rows.first; y < rows.end; y++)
      for (gint x = columns.first; x < columns.end; x++) {
        PtVec < N > v = from[(guint) (y * g.x.in + x) * g.c + c];

        for (int k = 0; k < N; k++)
          sum.v[k] += v.v[k];
      }
    for (int k = 0; k < N; k++)
      sum.v[k] *= share;
    to[i] = sum;
  }
};

/* Adds element @t of the window of output @o. */
struct SumWindow
{
  Geometry g;
  const gfloat *from;

  PT_HD void operator() (guint o, guint t, gfloat *sums) const
  {
    guint pixel = o / g.c;
    gint y = g.y.get_start (pixel / g.x.out) + (gint) t / g.x.kernel;
    gint x = g.x.get_start (pixel % g.x.out) + (gint) t % g.x.kernel;

    if (y >= 0 && y < g.y.in && x >= 0 && x < g.x.in)
      sums[0] += from[(guint) (y * g.x.in + x) * g.c + o % g.c];
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

/* Each input gathers from the windows that it lies in, in order. */
template < int N, gboolean is_max > struct Backward
{
  Geometry g;
  const PtVec < N > *dy;
  const PtVec < N, gint32 > *places;
  PtVec < N > *dx;

  PT_HD void operator() (guint i) const
  {
    guint pixel = i / g.c, c = i % g.c;
    Span rows = g.y.get_outputs (pixel / g.x.in);
    Span columns = g.x.get_outputs (pixel % g.x.in);
    PtVec < N > sum = { };

    for (gint y = rows.first; y < rows.end; y++)
      for (gint x = columns.first; x < columns.end; x++) {
        guint o = (guint) (y * g.x.out + x) * g.c + c;
        PtVec < N > v = dy[o];

        if constexpr (is_max) {
          PtVec < N, gint32 > place = places[o];

          for (int k = 0; k < N; k++)
            sum.v[k] += place.v[k] == (gint) pixel ? v.v[k] : 0;
        } else {
          gfloat share = g.get_share (y, x);

          for (int k = 0; k < N; k++)
            sum.v[k] += v.v[k] * share;
        }
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
      pool->stride[k], pool->padding[k] };
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
  return desc->pool.kind == PT_POOL_AVG
      && pool_get_window (desc) > POOL_LARGE;
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
pool_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtOpDesc *desc = &op->desc;
  gint64 n = pt_shape_get_n_elements (&desc->y);
  Geometry plain = pool_get_geometry (desc, 1);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (pool_is_summed (desc))
    return pt_cuda_sum < gfloat, 1 > (&launch, n, pool_get_window (desc),
        launch.scratch, SumWindow { plain, pt_data (args->x) },
        StoreMean { plain, pt_data (args->y) }, error);
  return pt_cuda_vec (plain.c,[&] < int N > () {
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
        Geometry g = pool_get_geometry (desc, N);
        PtVec < N > *dy = pt_data < PtVec < N > > (args->dy);
        PtVec < N > *dx = pt_data < PtVec < N > > (args->dx);
        Backward < N, TRUE > max = { g, dy,
          pt_data < PtVec < N, gint32 > > (args->indices), dx };
        Backward < N, FALSE > mean = { g, dy, NULL, dx };

        return desc->pool.kind == PT_POOL_MAX ?
            pt_cuda_each (&launch, n / N, max, error) :
            pt_cuda_each (&launch, n / N, mean, error);
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
