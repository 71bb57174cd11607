/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <functional>

/* What kernel.h launches, as loops. */

/* Hands @work to @stream; what is wrong shows in cudaGetLastError(). */
void pt_emulated_launch (cudaStream_t stream, std::function < void () > work);

/* From the last to the first: whose result hangs on the order is wrong. */
template < typename Job > gboolean
pt_cuda_each (const PtCudaLaunch *launch, gint64 n, const Job &job,
    GError **error)
{
  if (n == 0)
    return TRUE;
  pt_emulated_launch (launch->stream,[n, job] {
        for (gint64 i = n - 1; i >= 0; i--)
          job (i);
      });
  return pt_cuda_launched (launch, error);
}

/* What one block of pt_sum_kernel adds for one output, in its order. */
template < typename Acc, int K, typename Job > void
pt_emulated_sum_part (guint o, guint first, guint end, guint rows,
    gdouble *part, const Job &job)
{
  PtSums < Acc, K > sums[PT_CUDA_THREADS] = { };
  gdouble shared[PT_CUDA_THREADS];

  for (guint row = 0; row < rows; row++)
    for (guint t = first + row; t < end; t += rows)
      job (o, t, sums[row].v);
  for (int k = 0; k < K; k++) {
    for (guint row = 0; row < rows; row++)
      shared[row] = sums[row].v[k];
    for (guint half = rows / 2; half > 0; half /= 2)
      for (guint row = 0; row < half; row++)
        shared[row] += shared[row + half];
    part[k] = shared[0];
  }
}

template < typename Acc, int K, typename Job > void
pt_emulated_sum (const PtCudaLaunch *launch, guint outputs, guint terms,
    guint columns, gdouble *parts, const Job &job)
{
  pt_emulated_launch (launch->stream,[=] {
        guint chunk = PT_CUDA_CHUNK / columns;
        guint rows = PT_CUDA_THREADS / columns;

        for (guint c = pt_cuda_sum_chunks (outputs, terms); c-- > 0;)
          for (guint o = outputs; o-- > 0;)
            pt_emulated_sum_part < Acc, K > (o, c * chunk,
                MIN ((c + 1) * chunk, terms), rows,
                parts + ((gsize) c * outputs + o) * K, job);
      });
}
