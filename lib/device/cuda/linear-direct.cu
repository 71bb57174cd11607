/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/activation.h"
#include "device/cuda/conv-direct.h"
#include "device/cuda/matmul.h"
#include "device/cuda/vec.h"

/* One row times a matrix is bound by reading the matrix once; it lies as
 * PyTorch's, row-major (out, in): nothing to pack. Several rows are a product
 * of matrices. */

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
  return op->desc.x.dims[op->desc.x.n_dims - 1];
}

static guint
linear_get_out (const PtOp *op)
{
  return op->desc.y.dims[op->desc.y.n_dims - 1];
}

static gboolean
linear_has_rows (const PtOp *op)
{
  return pt_shape_get_n_elements (&op->desc.x) > linear_get_in (op);
}

/* The sum of dy over its rows. */
static PtOpDesc
linear_describe_bias (const PtOp *op)
{
  PtOpDesc desc = { PT_OP_REDUCE, op->desc.y };

  desc.y.n_dims = 1;
  desc.y.dims[0] = linear_get_out (op);
  desc.reduce.axes = (1u << (op->desc.y.n_dims - 1)) - 1;
  return desc;
}

static gboolean
linear_plan (PtOp *op, GError **error)
{
  PtOpDesc product, bias = linear_describe_bias (op);

  op->weights_size = (gsize) linear_get_in (op) * linear_get_out (op)
      * sizeof (gfloat);
  if (!linear_has_rows (op))
    return TRUE;
  pt_linear_as_matmul (&op->desc, &product);
  op->scratch_size = MAX (pt_cuda_matmul_scratch (&product),
      pt_cuda_reduce_scratch (&bias));
  return TRUE;
}

static gboolean
linear_run_rows (PtOp *op, const PtTensor *a, const PtTensor *b,
    const PtCudaEpilogue *epilogue, PtTensor *y, GError **error)
{
  PtOpDesc product;

  pt_linear_as_matmul (&op->desc, &product);
  return pt_cuda_matmul_run (op, &product, a, b, epilogue, y, error);
}

static gboolean
linear_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtLinearDesc *desc = &op->desc.linear;
  const PtTensor *bias = desc->bias ? args->b : NULL;
  PtCudaEpilogue epilogue = { bias, desc->activation, desc->alpha };
  guint in = linear_get_in (op);
  PtCudaLaunch launch;

  if (linear_has_rows (op))
    return linear_run_rows (op, args->x, args->w, &epilogue, args->y, error);
  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  return pt_cuda_vec (in,[&] < int N > () {
        typedef PtVec < N > Vec;
        Forward < N > job = { in / N, pt_data < Vec > (args->x),
          pt_data < Vec > (args->w), pt_data (bias),
          pt_data (args->y), desc->activation, desc->alpha };

        return pt_cuda_teams (&launch, linear_get_out (op), job.in, job,
            error);
      });
}

static gboolean
linear_plan_data (PtOp *op, GError **error)
{
  if (!linear_plan (op, error))
    return FALSE;
  if (!linear_has_rows (op))
    op->scratch_size = pt_cuda_sum_scratch (linear_get_in (op),
        linear_get_out (op), 1);
  return TRUE;
}

static gboolean
linear_run_data (PtOp *op, const PtOpArgs *args, GError **error)
{
  static const PtCudaEpilogue nothing = { };
  guint in = linear_get_in (op);
  PtCudaLaunch launch;

  if (linear_has_rows (op))
    return linear_run_rows (op, args->dy, args->w, &nothing, args->dx, error);
  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, in, linear_get_out (op),
      launch.scratch, Data { in, pt_data (args->dy), pt_data (args->w) },
      StoreData { pt_data (args->dx) }, error);
}

static gboolean
linear_run_weights_rows (PtOp *op, const PtOpArgs *args, GError **error)
{
  static const PtCudaEpilogue nothing = { };
  PtOpDesc bias = linear_describe_bias (op);

  return linear_run_rows (op, args->dy, args->x, &nothing, args->dw, error)
      && (!op->desc.linear.bias
      || pt_cuda_reduce_run (op, &bias, args->dy, args->db, error));
}

static gboolean
linear_run_weights (PtOp *op, const PtOpArgs *args, GError **error)
{
  guint in = linear_get_in (op), out = linear_get_out (op);
  guint biases = op->desc.linear.bias ? out : 0;
  PtCudaLaunch launch;

  if (linear_has_rows (op))
    return linear_run_weights_rows (op, args, error);
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
