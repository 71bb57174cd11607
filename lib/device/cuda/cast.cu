/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/activation.h"
#include "device/cuda/conv.h"
#include "device/cuda/half.h"
#include "device/cuda/vec.h"

namespace
{

template < int N > struct alignas (N * sizeof (guint16)) Halves
{
  guint16 v[N];
};

template < int N > struct Narrow
{
  gboolean bf16;
  gfloat scale;
  const PtVec < N > *from;
  Halves < N > *to;

  PT_HD void operator() (guint i) const
  {
    PtVec < N > x = from[i];
    Halves < N > h;

    for (int k = 0; k < N; k++)
      h.v[k] = bf16 ? pt_bf16 (scale * x.v[k]) : pt_fp16 (scale * x.v[k]);
    to[i] = h;
  }
};

template < int N > struct Widen
{
  gboolean bf16;
  gfloat scale;
  const Halves < N > *from;
  const gfloat *b;
  guint channels;
  const PtVec < N > *add;
  PtVec < N > *to;
  PtActivation activation;
  gfloat alpha;

  PT_HD void operator() (guint i) const
  {
    Halves < N > h = from[i];
    PtVec < N > x;

    for (int k = 0; k < N; k++) {
      gfloat v = bf16 ? pt_of_bf16 (h.v[k]) : pt_of_fp16 (h.v[k]);

      v *= scale;
      if (b != NULL)
        v += b[(i * N + k) % channels];
      if (add != NULL)
        v += add[i].v[k];
      x.v[k] = pt_activate_as (activation, v, alpha);
    }
    to[i] = x;
  }
};

template < int N > struct Join
{
  const PtVec < N > *add;
  PtVec < N > *to;
  PtActivation activation;
  gfloat alpha;

  PT_HD void operator() (guint i) const
  {
    PtVec < N > x = to[i];

    for (int k = 0; k < N; k++)
      x.v[k] = pt_activate_as (activation, x.v[k] + add[i].v[k], alpha);
    to[i] = x;
  }
};

}                               // namespace

gboolean
pt_cuda_narrow (PtOp *op, PtPrecision precision, gfloat scale, gint64 n,
    gconstpointer from, gpointer to, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_vec (n,[&] < int N > () {
        Narrow < N > job = { precision == PT_PRECISION_BF16, scale,
          (const PtVec < N > *) from, (Halves < N > *) to };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

gboolean
pt_cuda_widen (PtOp *op, const PtCudaProduct *product, gfloat scale, gint64 n,
    gconstpointer from, const PtTensor *b, const PtTensor *add, gpointer to,
    GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_vec (n,[&] < int N > () {
        Widen < N > job = { product->graph.precision == PT_PRECISION_BF16, scale,
          (const Halves < N > *) from, pt_data (b),
          (guint) product->graph.y[1], pt_data < PtVec < N > > (add),
          (PtVec < N > *) to,
          product->activation, product->alpha };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

gboolean
pt_cuda_join (PtOp *op, const PtCudaProduct *product, gint64 n,
    const PtTensor *add, PtTensor *to, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_vec (n,[&] < int N > () {
        typedef PtVec < N > Vec;
        Join < N > job = { pt_data < Vec > (add), pt_data < Vec > (to),
          product->activation, product->alpha };

        return pt_cuda_each (&launch, n / N, job, error);
      });
}

static gboolean
cast_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  return pt_cuda_narrow (op, op->workspace->precision, 1,
      args->x->size / sizeof (gfloat), args->x->data, args->y->data, error);
}

const PtOpImpl pt_cuda_cast = {
  .plan = pt_cuda_plan_nothing,
  .run = cast_run,
};
