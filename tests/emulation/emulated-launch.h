/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <functional>
#include <string.h>

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

/* A team of one does all terms. */
template < typename Job > gboolean
pt_cuda_teams (const PtCudaLaunch *launch, gint64 n, guint terms,
    const Job &job, GError **error)
{
  if (n == 0)
    return TRUE;
  pt_emulated_launch (launch->stream,[n, job] {
        for (gint64 i = n - 1; i >= 0; i--)
          job (i, PtTeam < 1 > { });
      });
  return pt_cuda_launched (launch, error);
}

/* What one block of pt_sum_kernel adds for one output, in its order. */
template < typename Acc, int K, typename Job > void
pt_emulated_sum_part (guint o, guint first, guint end, guint columns,
    gdouble *part, const Job &job)
{
  const guint rows = PT_CUDA_THREADS / columns;
  gdouble sums[PT_CUDA_THREADS][K] = { };

  for (guint row = 0; row < rows; row++)
    for (guint t = first + row; t < end;) {
      guint stop = MIN (t + PT_CUDA_CHUNK / columns, end);
      PtSums < Acc, K > chunk = { };

      for (; t < stop; t += rows)
        job (o, t, chunk.v);
      for (int k = 0; k < K; k++)
        sums[row][k] += chunk.v[k];
    }
  for (guint half = rows / 2; half > 0; half /= 2)
    for (guint row = 0; row < half; row++)
      for (int k = 0; k < K; k++)
        sums[row][k] += sums[row + half][k];
  for (int k = 0; k < K; k++)
    part[k] = sums[0][k];
}

template < typename Acc, int K, typename Job, typename Finish > void
pt_emulated_sum (const PtCudaLaunch *launch, guint outputs, guint terms,
    guint columns, guint stretch, guint n_parts, gdouble *parts,
    const Job &job, const Finish &finish)
{
  pt_emulated_launch (launch->stream,[=] {
        for (guint p = n_parts; p-- > 0;)
          for (guint o = outputs; o-- > 0;) {
            gdouble sums[K];

            pt_emulated_sum_part < Acc, K > (o, p * stretch,
                MIN ((p + 1) * stretch, terms), columns, sums, job);
            if (n_parts == 1)
              finish (o, sums);
            else
              memcpy (parts + ((gsize) p * outputs + o) * K, sums,
                  sizeof sums);
          }
      });
}
