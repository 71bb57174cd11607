/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/cuda.h"

/* How kernels are written: as formulas of one element, handed to one of the
 * launchers below. A formula is a struct of plain values with operator();
 * it is compiled for the GPU by nvcc and, in the tests, for the CPU, where
 * the same launchers are loops. Nothing uses atomics: results repeat. */

#ifdef __CUDACC__
#define PT_HD __host__ __device__ __forceinline__
#else
#define PT_HD inline __attribute__ ((always_inline))
#endif

#define PT_CUDA_THREADS 256
#define PT_CUDA_MAX_BLOCKS 8192
#define PT_CUDA_CHUNK 4096      /* terms of a sum that one block adds */
#define PT_CUDA_COLUMNS 32      /* sums side by side that one block adds */

/* Values of one struct for each device: what each launcher needs. */
typedef struct
{
  PtDevice *device;
  cudaStream_t stream;
  gpointer scratch;             /* the workspace's, or NULL */
} PtCudaLaunch;

static inline gboolean
pt_cuda_launch_init (PtCudaLaunch *launch, PtOp *op, GError **error)
{
  PtWorkspace *workspace = op->workspace;
  PtCudaLane *lane = pt_cuda_lane (workspace->device, error);

  if (lane == NULL)
    return FALSE;
  launch->device = workspace->device;
  launch->stream = lane->stream;
  launch->scratch = workspace->scratch != NULL ?
      workspace->scratch->data : NULL;
  return TRUE;
}

static inline gboolean
pt_cuda_launched (const PtCudaLaunch *launch, GError **error)
{
  return pt_cuda_check (launch->device, cudaGetLastError (), "a kernel",
      error);
}

/* Sums of @K numbers; @Acc is what one thread adds in. */
template < typename Acc, int K > struct PtSums
{
  Acc v[K];
};

#ifdef __CUDACC__

template < typename Job > __global__ void
pt_each_kernel (guint n, Job job)
{
  guint step = gridDim.x * blockDim.x;

  for (guint i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step)
    job (i);
}

/* job (i) for each i below @n, in any order. */
template < typename Job > gboolean
pt_cuda_each (const PtCudaLaunch *launch, gint64 n, const Job &job,
    GError **error)
{
  guint blocks = MIN ((n + PT_CUDA_THREADS - 1) / PT_CUDA_THREADS,
      PT_CUDA_MAX_BLOCKS);

  if (n == 0)
    return TRUE;
  pt_each_kernel <<< blocks, PT_CUDA_THREADS, 0, launch->stream >>> (n, job);
  return pt_cuda_launched (launch, error);
}

/* A block of COLUMNS x (THREADS / COLUMNS) threads adds up to CHUNK terms of
 * COLUMNS neighbouring sums; or, where there are few sums, all its threads
 * those of one. */
template < typename Acc, int K, typename Job > __global__ void
pt_sum_kernel (guint outputs, guint terms, guint columns, gdouble *parts,
    Job job)
{
  __shared__ gdouble shared[PT_CUDA_THREADS];
  guint column = threadIdx.x % columns, row = threadIdx.x / columns;
  guint rows = PT_CUDA_THREADS / columns;
  guint chunk = PT_CUDA_CHUNK / columns;
  guint o = blockIdx.y * columns + column;
  guint first = blockIdx.x * chunk, end = min (first + chunk, terms);
  PtSums < Acc, K > sums = { };

  if (o < outputs)
    for (guint t = first + row; t < end; t += rows)
      job (o, t, sums.v);
  for (int k = 0; k < K; k++) {
    shared[threadIdx.x] = sums.v[k];
    __syncthreads ();
    for (guint half = rows / 2; half > 0; half /= 2) {
      if (row < half)
        shared[threadIdx.x] += shared[threadIdx.x + half * columns];
      __syncthreads ();
    }
    if (row == 0 && o < outputs)
      parts[((gsize) blockIdx.x * outputs + o) * K + k] = shared[column];
    __syncthreads ();
  }
}

#endif

static inline guint
pt_cuda_sum_columns (guint outputs)
{
  return outputs >= PT_CUDA_COLUMNS ? PT_CUDA_COLUMNS : 1;
}

static inline guint
pt_cuda_sum_chunks (guint outputs, guint terms)
{
  guint chunk = PT_CUDA_CHUNK / pt_cuda_sum_columns (outputs);

  return MAX ((terms + chunk - 1) / chunk, 1u);
}

/* Bytes of scratch that pt_cuda_sum() needs. */
static inline gsize
pt_cuda_sum_scratch (guint outputs, guint terms, guint k)
{
  return (gsize) pt_cuda_sum_chunks (outputs, terms) * outputs * k
      * sizeof (gdouble);
}

/* Adds the parts of each sum, in one order. */
template < int K, typename Finish > struct PtSumFinish
{
  guint outputs, chunks;
  const gdouble *parts;
  Finish finish;

  PT_HD void operator() (guint o) const
  {
    gdouble sums[K] = { };

    for (guint c = 0; c < chunks; c++)
      for (int k = 0; k < K; k++)
        sums[k] += parts[((gsize) c * outputs + o) * K + k];
    finish (o, sums);
  }
};

#ifdef PT_CUDA_EMULATED
#include <emulated-launch.h>
#endif

/* For each output o: job (o, t, sums) adds K numbers for each term t, in Acc
 * at first and in double from CHUNK terms on; then finish (o, sums). @parts
 * are pt_cuda_sum_scratch() bytes of scratch. Neighbouring outputs of one
 * term should lie next to one another in memory, or be few. */
template < typename Acc, int K, typename Job, typename Finish > gboolean
pt_cuda_sum (const PtCudaLaunch *launch, guint outputs, guint terms,
    gpointer parts, const Job &job, const Finish &finish, GError **error)
{
  guint columns = pt_cuda_sum_columns (outputs);
  guint chunks = pt_cuda_sum_chunks (outputs, terms);
  PtSumFinish < K, Finish > last = { outputs, chunks, (gdouble *) parts,
    finish };

#ifdef PT_CUDA_EMULATED
  pt_emulated_sum < Acc, K > (launch, outputs, terms, columns,
      (gdouble *) parts, job);
#else
  dim3 grid (chunks, (outputs + columns - 1) / columns);

  pt_sum_kernel < Acc, K > <<< grid, PT_CUDA_THREADS, 0, launch->stream >>>
      (outputs, terms, columns, (gdouble *) parts, job);
#endif
  return pt_cuda_launched (launch, error)
      && pt_cuda_each (launch, outputs, last, error);
}

/* What differs from frame to frame: @live's, or the caller's. */
static inline PtLive
pt_cuda_live (const PtOpArgs *args)
{
  PtLive live = { };

  live.scale = args->scale;
  live.rate = args->rate;
  live.step = args->step;
  live.seed = args->seed;
  live.go = 1;
  return live;
}

/* For operations that need nothing while planning. */
static inline gboolean
pt_cuda_plan_nothing (PtOp *op, GError **error)
{
  return TRUE;
}
