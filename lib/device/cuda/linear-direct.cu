/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/activation.h"
#include "device/cuda/conv-direct.h"
#include "device/cuda/vec.h"

/* One row times a matrix is bound by reading the matrix once; it lies as
 * PyTorch's, row-major (out, in): nothing to pack. */

namespace
{

/* An output by a team, which shares a row of the matrix; @in counts
 * PtVecs. */
template < int N > struct Forward
{
  guint in;
  const PtVec < N > *x, *w;
  const gfloat *b;
  gfloat *y;
  PtActivation activation;
  gfloat alpha;

  template < typename Team > PT_HD void
  operator() (guint o, const Team &team) const
  {
    gfloat sum = 0;

    for (guint i = team.rank; i < in; i += team.size) {
      PtVec < N > p = x[i], q = w[(gsize) o * in + i];

      for (int k = 0; k < N; k++)
        sum += p.v[k] * q.v[k];
    }
    sum = team.sum (sum);
    if (team.rank == 0)
      y[o] = pt_activate_as (activation, sum + (b != NULL ? b[o] : 0), alpha);
  }
};

/* dx = w^T dy */
struct Data
{
  guint in;
  const gfloat *dy, *w;

  PT_HD void operator() (guint i, guint o, gfloat *sums) const
  {
    sums[0] += dy[o] * w[(gsize) o * in + i];
  }
};

struct StoreData
{
  gfloat *dx;

  PT_HD void operator() (guint i, const gdouble *sums) const
  {
    dx[i] = sums[0];
  }
};

/* dw = dy x^T, n elements, and behind them db = dy; @in and @n count
 * PtVecs. */
template < int N > struct Weights
{
  guint in, n;
  const PtVec < N > *x;
  const gfloat *dy;
  PtVec < N > *dw;
  gfloat *db;

  PT_HD void operator() (guint i) const
  {
    if (i >= n) {
      db[i - n] = dy[i - n];
      return;
    }
    PtVec < N > v = x[i % in];

    for (int k = 0; k < N; k++)
      v.v[k] *= dy[i / in];
    dw[i] = v;
  }
};

}                               // namespace

static guint
linear_get_in (const PtOp *op)
{
  return pt_shape_get_n_elements (&op->desc.x);
}

static guint
linear_get_out (const PtOp *op)
{
  return pt_shape_get_n_elements (&op->desc.y);
}

static gboolean
linear_plan (PtOp *op, GError **error)
{
  gint64 batch = pt_shape_get_dim (&op->desc.x, 0);

  op->weights_size = (gsize) linear_get_in (op) * linear_get_out (op)
      * sizeof (gfloat);
  if (batch == 1)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "a batch of %"
      G_GINT64_FORMAT ", expected 1", batch);
  return FALSE;
}

static gboolean
linear_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtLinearDesc *desc = &op->desc.linear;
  guint in = linear_get_in (op);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  return pt_cuda_vec (in,[&] < int N > () {
        typedef PtVec < N > Vec;
        Forward < N > job = { in / N, pt_data < Vec > (args->x),
          pt_data < Vec > (args->w), desc->bias ? pt_data (args->b) : NULL,
          pt_data (args->y), desc->activation, desc->alpha };

        return pt_cuda_teams (&launch, linear_get_out (op), job.in, job,
            error);
      });
}

static gboolean
linear_plan_data (PtOp *op, GError **error)
{
  op->scratch_size = pt_cuda_sum_scratch (linear_get_in (op),
      linear_get_out (op), 1);
  return linear_plan (op, error);
}

static gboolean
linear_run_data (PtOp *op, const PtOpArgs *args, GError **error)
{
  guint in = linear_get_in (op);
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, in, linear_get_out (op),
      launch.scratch, Data { in, pt_data (args->dy), pt_data (args->w) },
      StoreData { pt_data (args->dx) }, error);
}

static gboolean
linear_run_weights (PtOp *op, const PtOpArgs *args, GError **error)
{
  guint in = linear_get_in (op), out = linear_get_out (op);
  guint biases = op->desc.linear.bias ? out : 0;
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  return pt_cuda_vec (in,[&] < int N > () {
        typedef PtVec < N > Vec;
        Weights < N > job = { in / N, in / N * out, pt_data < Vec > (args->x),
          pt_data (args->dy), pt_data < Vec > (args->dw),
          pt_data (args->db) };

        return pt_cuda_each (&launch, (gint64) job.n + biases, job, error);
      });
}

const PtOpImpl pt_cuda_linear_direct = {
  .plan = linear_plan,
  .run = linear_run,
};

const PtOpImpl pt_cuda_linear_direct_data = {
  .plan = linear_plan_data,
  .run = linear_run_data,
};

const PtOpImpl pt_cuda_linear_direct_weights = {
  .plan = linear_plan,
  .run = linear_run_weights,
};

PT_CUDA_EMULATE (linear, pt_cuda_linear_direct);
PT_CUDA_EMULATE (linear_data, pt_cuda_linear_direct_data);
PT_CUDA_EMULATE (linear_weights, pt_cuda_linear_direct_weights);
