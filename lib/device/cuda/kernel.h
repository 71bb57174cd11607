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
#define PT_CUDA_CHUNK 4096      /* terms that a block adds in one go */
#define PT_CUDA_SUM_BLOCKS 2048 /* from here on, several chunks each */
#define PT_CUDA_COLUMNS 32      /* sums side by side that one block adds */

/* Values of one struct for each device: what each launcher needs. */
typedef struct
{
  PtDevice *device;
  cudaStream_t stream;
  gpointer scratch;             /* the workspace's, or NULL */
} PtCudaLaunch;

/* On the calling thread's stream, without scratch. */
static inline gboolean
pt_cuda_launch_on (PtCudaLaunch *launch, PtDevice *device, GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);

  if (lane == NULL)
    return FALSE;
  launch->device = device;
  launch->stream = lane->stream;
  launch->scratch = NULL;
  return TRUE;
}

static inline gboolean
pt_cuda_launch_init (PtCudaLaunch *launch, PtOp *op, GError **error)
{
  PtWorkspace *workspace = op->workspace;

  if (!pt_cuda_launch_on (launch, workspace->device, error))
    return FALSE;
  if (workspace->scratch != NULL)
    launch->scratch = workspace->scratch->data;
  return TRUE;
}

static inline gboolean
pt_cuda_launched (const PtCudaLaunch *launch, GError **error)
{
  return pt_cuda_check (launch->device, cudaGetLastError (), "a kernel",
      error);
}

/* The threads that share one item: each takes the terms number rank, rank +
 * size and so on. What each gives to sum(), product() or max(), all get back
 * as one. */
template < guint Size > struct PtTeam
{
  static constexpr guint size = Size;
  guint rank;

  PT_HD gdouble sum (gdouble value) const
  {
    return reduce (value,[](gdouble a, gdouble b) {
          return a + b;
        });
  }

  PT_HD gdouble product (gdouble value) const
  {
    return reduce (value,[](gdouble a, gdouble b) {
          return a * b;
        });
  }

  PT_HD gfloat max (gfloat value) const
  {
    return reduce (value,[](gfloat a, gfloat b) {
          return a > b ? a : b;
        });
  }

private:
  /* A butterfly: the same bits in each thread. */
  template < typename T, typename F > static PT_HD T
  reduce (T value, const F &f)
  {
#ifdef __CUDA_ARCH__
    const guint lanes = Size < 32 ? Size : 32;

    for (guint step = lanes / 2; step > 0; step /= 2)
      value = f (value, __shfl_xor_sync (~0u, value, step));
    if constexpr (Size > 32) {
      __shared__ T shared[Size / 32];

      if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = value;
      __syncthreads ();
      value = shared[threadIdx.x % (Size / 32)];
      for (guint step = Size / 64; step > 0; step /= 2)
        value = f (value, __shfl_xor_sync (~0u, value, step));
      __syncthreads ();
    }
#endif
    return value;
  }
};

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

template < guint Size, typename Job > __global__ void
pt_teams_kernel (guint n, Job job)
{
  const guint teams = PT_CUDA_THREADS / Size;
  PtTeam < Size > team = { threadIdx.x % Size };

  for (guint i = blockIdx.x * teams + threadIdx.x / Size; i < n;
      i += gridDim.x * teams)
    job (i, team);
}

template < guint Size, typename Job > gboolean
pt_teams_launch (const PtCudaLaunch *launch, gint64 n, const Job &job,
    GError **error)
{
  const gint64 teams = PT_CUDA_THREADS / Size;
  guint blocks = MIN ((n + teams - 1) / teams, PT_CUDA_MAX_BLOCKS);

  pt_teams_kernel < Size >
      <<< blocks, PT_CUDA_THREADS, 0, launch->stream >>> (n, job);
  return pt_cuda_launched (launch, error);
}

/* job (i, team) for each i below @n, whose @terms terms the threads of a team
 * share: more threads the more terms and the fewer items there are. */
template < typename Job > gboolean
pt_cuda_teams (const PtCudaLaunch *launch, gint64 n, guint terms,
    const Job &job, GError **error)
{
  if (n == 0)
    return TRUE;
  if (terms <= 32 && n >= PT_CUDA_THREADS)
    return pt_teams_launch < 1 > (launch, n, job, error);
  if (terms <= PT_CUDA_THREADS || n >= PT_CUDA_MAX_BLOCKS)
    return pt_teams_launch < 32 > (launch, n, job, error);
  return pt_teams_launch < PT_CUDA_THREADS > (launch, n, job, error);
}

/* A block of COLUMNS x (THREADS / COLUMNS) threads adds some chunks of the
 * terms of COLUMNS neighbouring sums; or, where there are few sums, all its
 * threads those of one. */
template < typename Acc, int K, typename Job, typename Finish >
__global__ void
pt_sum_kernel (guint outputs, guint terms, guint columns, guint stretch,
    gdouble *parts, Job job, Finish finish)
{
  __shared__ gdouble shared[PT_CUDA_THREADS];
  guint column = threadIdx.x % columns, row = threadIdx.x / columns;
  guint rows = PT_CUDA_THREADS / columns;
  guint o = blockIdx.x * columns + column;
  guint first = blockIdx.y * stretch, end = min (first + stretch, terms);
  gdouble sums[K] = { };

  for (guint t = first + row; o < outputs && t < end;) {
    guint stop = min (t + PT_CUDA_CHUNK / columns, end);
    PtSums < Acc, K > chunk = { };

    for (; t < stop; t += rows)
      job (o, t, chunk.v);
    for (int k = 0; k < K; k++)
      sums[k] += chunk.v[k];
  }
  for (int k = 0; k < K; k++) {
    shared[threadIdx.x] = sums[k];
    __syncthreads ();
    for (guint half = rows / 2; half > 0; half /= 2) {
      if (row < half)
        shared[threadIdx.x] += shared[threadIdx.x + half * columns];
      __syncthreads ();
    }
    sums[k] = shared[column];
    __syncthreads ();
  }
  if (row > 0 || o >= outputs)
    return;
  if (gridDim.y == 1)
    finish (o, sums);
  else
    for (int k = 0; k < K; k++)
      parts[((gsize) blockIdx.y * outputs + o) * K + k] = sums[k];
}

#endif

/* The next power of two, at most COLUMNS. */
static inline guint
pt_cuda_sum_columns (guint outputs)
{
  guint columns = 1;

  while (columns < outputs && columns < PT_CUDA_COLUMNS)
    columns *= 2;
  return columns;
}

/* Terms of one sum that one block adds: a chunk, or several where there are
 * many sums. */
static inline guint
pt_cuda_sum_stretch (guint outputs, guint terms)
{
  guint columns = pt_cuda_sum_columns (outputs);
  guint chunk = PT_CUDA_CHUNK / columns;
  guint64 blocks = (guint64) (terms / chunk + 1) * (outputs / columns + 1);

  return chunk * (guint) (blocks / PT_CUDA_SUM_BLOCKS + 1);
}

static inline guint
pt_cuda_sum_parts (guint outputs, guint terms)
{
  guint stretch = pt_cuda_sum_stretch (outputs, terms);

  return MAX ((terms + stretch - 1) / stretch, 1u);
}

/* Bytes of scratch that pt_cuda_sum() needs. */
static inline gsize
pt_cuda_sum_scratch (guint outputs, guint terms, guint k)
{
  guint parts = pt_cuda_sum_parts (outputs, terms);

  return parts == 1 ? 0 : (gsize) parts * outputs * k * sizeof (gdouble);
}

/* Adds the parts of each sum, in one order. */
template < int K, typename Finish > struct PtSumFinish
{
  guint outputs, n_parts;
  const gdouble *parts;
  Finish finish;

  template < typename Team > PT_HD void
  operator() (guint o, const Team &team) const
  {
    gdouble sums[K] = { };

    for (guint p = team.rank; p < n_parts; p += team.size)
      for (int k = 0; k < K; k++)
        sums[k] += parts[((gsize) p * outputs + o) * K + k];
    for (int k = 0; k < K; k++)
      sums[k] = team.sum (sums[k]);
    if (team.rank == 0)
      finish (o, sums);
  }
};

#ifdef PT_CUDA_EMULATED
#include <emulated-launch.h>
#endif

/* For each output o: job (o, t, sums) adds K numbers for each term t, in Acc
 * at first and in double from CHUNK terms on; then finish (o, sums), perhaps
 * before other outputs are summed. @parts are pt_cuda_sum_scratch() bytes of
 * scratch. Neighbouring outputs of one term should lie next to one another in
 * memory, or be few. */
template < typename Acc, int K, typename Job, typename Finish > gboolean
pt_cuda_sum (const PtCudaLaunch *launch, guint outputs, guint terms,
    gpointer parts, const Job &job, const Finish &finish, GError **error)
{
  guint columns = pt_cuda_sum_columns (outputs);
  guint stretch = pt_cuda_sum_stretch (outputs, terms);
  guint n_parts = pt_cuda_sum_parts (outputs, terms);
  PtSumFinish < K, Finish > last = { outputs, n_parts, (gdouble *) parts,
    finish };

  if (outputs == 0)
    return TRUE;
#ifdef PT_CUDA_EMULATED
  pt_emulated_sum < Acc, K > (launch, outputs, terms, columns, stretch,
      n_parts, (gdouble *) parts, job, finish);
#else
  dim3 grid ((outputs + columns - 1) / columns, n_parts);

  pt_sum_kernel < Acc, K > <<< grid, PT_CUDA_THREADS, 0, launch->stream >>>
      (outputs, terms, columns, stretch, (gdouble *) parts, job, finish);
#endif
  return pt_cuda_launched (launch, error) && (n_parts == 1 ||
      pt_cuda_teams (launch, outputs, n_parts, last, error));
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
