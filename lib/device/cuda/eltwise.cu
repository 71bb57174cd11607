/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/vec.h"

namespace
{

/* y = xs[0] + xs[1] + ..., in this order */
template < int N > struct Add
{
  const PtVec < N > *xs[PT_OP_MAX_INPUTS];
  guint n_xs;
  PtVec < N > *y;

  PT_HD void operator() (guint i) const
  {
    PtVec < N > sum = xs[0][i];

    for (guint k = 1; k < PT_OP_MAX_INPUTS; k++)
      if (k < n_xs) {
        PtVec < N > x = xs[k][i];

        for (int j = 0; j < N; j++)
          sum.v[j] += x.v[j];
      }
    y[i] = sum;
  }
};

struct Multiply
{
  PT_HD gfloat operator() (gfloat a, gfloat b) const
  {
    return a * b;
  }
};

/* A whole of @total channels and its parts, all counted in PtVecs. */
template < int N > struct Parts
{
  PtVec < N > *parts[PT_OP_MAX_INPUTS];
  guint starts[PT_OP_MAX_INPUTS + 1];
  guint n_parts, total;
  PtVec < N > *whole;

  /* Where in its part element @i of the whole is; NULL: there is none. */
  PT_HD PtVec < N > *find (guint i) const
  {
    guint pixel = i / total, c = i % total, start = 0, end = total;
    PtVec < N > *part = NULL;

    for (guint k = 0; k < PT_OP_MAX_INPUTS; k++)
      if (k < n_parts && c >= starts[k]) {
        part = parts[k];
        start = starts[k];
        end = starts[k + 1];
      }
    return part != NULL ? part + pixel * (end - start) + c - start : NULL;
  }
};

template < int N > struct Concat
{
  Parts < N > parts;

  PT_HD void operator() (guint i) const
  {
    const PtVec < N > *x = parts.find (i);

    parts.whole[i] = x != NULL ? *x : PtVec < N > { };
  }
};

template < int N > struct Split
{
  Parts < N > parts;

  PT_HD void operator() (guint i) const
  {
    PtVec < N > *dx = parts.find (i);

    if (dx != NULL)
      *dx = parts.whole[i];
  }
};

struct CountBad
{
  const guint32 *x;

  PT_HD void operator() (guint, guint t, gfloat *sums) const
  {
    sums[0] += (x[t] & 0x7f800000u) == 0x7f800000u;
  }
};

struct StoreFinite
{
  gint32 *finite;

  PT_HD void operator() (guint, const gdouble *sums) const
  {
    *finite = sums[0] == 0;
  }
};

}                               // namespace

/* As on the CPU, where y is one of xs, that one comes first. */
static gboolean
eltwise_run_add (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.y);
  guint n_xs = op->desc.n_xs, first = 0;
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  for (guint i = 0; i < n_xs; i++)
    if (args->xs[i]->data == args->y->data)
      first = i;
  return pt_cuda_vec (n,[&] < int N > () {
        Add < N > job = { { }, n_xs, pt_data < PtVec < N > > (args->y) };

        job.xs[0] = pt_data < PtVec < N > > (args->xs[first]);
        for (guint i = 0, k = 1; i < n_xs; i++)
          if (i != first)
            job.xs[k++] = pt_data < PtVec < N > > (args->xs[i]);
        return pt_cuda_each (&launch, n / N, job, error);
      });
}

static gboolean
eltwise_run_multiply (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_map (&launch, pt_shape_get_n_elements (&op->desc.x), args->x,
      args->dy, args->dx, Multiply { }, error);
}

template < int N > static Parts < N >
eltwise_get_parts (const PtOpDesc *desc, PtTensor *const *tensors,
    const PtTensor *whole)
{
  Parts < N > self = { };

  self.n_parts = desc->n_xs;
  for (guint i = 0; i < desc->n_xs; i++) {
    self.parts[i] = pt_data < PtVec < N > > (tensors[i]);
    self.starts[i + 1] = self.starts[i] + pt_shape_c (&desc->xs[i]) / N;
  }
  self.total = pt_shape_c (&desc->y) / N;
  self.whole = pt_data < PtVec < N > > (whole);
  return self;
}

/* 4 if it divides the channels of each part. */
static gint64
eltwise_get_unit (const PtOpDesc *desc)
{
  gint64 all = pt_shape_c (&desc->y);

  for (guint i = 0; i < desc->n_xs; i++)
    all |= pt_shape_c (&desc->xs[i]);
  return all;
}

static gboolean
eltwise_run_concat (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.y);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  return pt_cuda_vec (eltwise_get_unit (&op->desc),[&] < int N > () {
        Concat < N > job = { eltwise_get_parts < N > (&op->desc, args->xs,
              args->y) };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

static gboolean
eltwise_run_split (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.y);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  return pt_cuda_vec (eltwise_get_unit (&op->desc),[&] < int N > () {
        Split < N > job = { eltwise_get_parts < N > (&op->desc, args->dxs,
              args->dy) };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

/* The answer for the host comes first in the scratch memory. */
static gboolean
eltwise_plan_check (PtOp *op, GError **error)
{
  op->scratch_size = PT_ALIGNMENT
      + pt_cuda_sum_scratch (1, pt_shape_get_n_elements (&op->desc.x), 1);
  return TRUE;
}

static gboolean
eltwise_run_check (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtCudaLaunch launch;
  gint32 *on_device, finite;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  on_device = args->y != NULL ? pt_data < gint32 > (args->y) :
      (gint32 *) launch.scratch;
  if (!pt_cuda_sum < gfloat, 1 > (&launch, 1,
          pt_shape_get_n_elements (&op->desc.x),
          (gchar *) launch.scratch + PT_ALIGNMENT,
          CountBad { pt_data < guint32 > (args->x) },
          StoreFinite { on_device }, error))
    return FALSE;
  if (args->y != NULL)
    return TRUE;
  if (!PT_CUDA (launch.device, cudaMemcpyAsync (&finite, on_device,
              sizeof finite, cudaMemcpyDeviceToHost, launch.stream), error)
      || !PT_CUDA (launch.device, cudaStreamSynchronize (launch.stream),
          error))
    return FALSE;
  *args->finite = finite;
  return TRUE;
}

const PtOpImpl pt_cuda_add = {
  .plan = pt_cuda_plan_nothing,
  .run = eltwise_run_add,
};

const PtOpImpl pt_cuda_multiply = {
  .plan = pt_cuda_plan_nothing,
  .run = eltwise_run_multiply,
};

const PtOpImpl pt_cuda_concat = {
  .plan = pt_cuda_plan_nothing,
  .run = eltwise_run_concat,
};

const PtOpImpl pt_cuda_split = {
  .plan = pt_cuda_plan_nothing,
  .run = eltwise_run_split,
};

const PtOpImpl pt_cuda_check_finite = {
  .plan = eltwise_plan_check,
  .run = eltwise_run_check,
};
