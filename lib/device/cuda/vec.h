/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/kernel.h"

/* Neighbouring elements, read and written at once. */
template < int N, typename T = gfloat > struct alignas (N * sizeof (T)) PtVec
{
  T v[N];
};

/* The data of a tensor, or NULL. */
template < typename T = gfloat > static inline T *
pt_data (const PtTensor *tensor)
{
  return tensor != NULL ? (T *) tensor->data : NULL;
}

/* run.operator() < N > () with the N that divides @n; a tensor begins where a
 * PtVec may. */
template < typename Run > static inline gboolean
pt_cuda_vec (gint64 n, const Run &run)
{
  return n % 4 == 0 ? run.template operator() < 4 > () :
      run.template operator() < 1 > ();
}

template < int N, typename F > struct PtMap
{
  const PtVec < N > *a, *b;
  PtVec < N > *y;
  F f;

  PT_HD void operator() (guint i) const
  {
    PtVec < N > p = a[i], q = b[i];

    for (int k = 0; k < N; k++)
      p.v[k] = f (p.v[k], q.v[k]);
    y[i] = p;
  }
};

/* y[i] = f (a[i], b[i]) for each i below @n; y may be one of the others. */
template < typename F > gboolean
pt_cuda_map (const PtCudaLaunch *launch, gint64 n, const PtTensor *a,
    const PtTensor *b, PtTensor *y, const F &f, GError **error)
{
  return pt_cuda_vec (n,[&] < int N > () {
        PtMap < N, F > job = { pt_data < PtVec < N > > (a),
          pt_data < PtVec < N > > (b), pt_data < PtVec < N > > (y), f };

        return pt_cuda_each (launch, n / N, job, error);
      });
}
