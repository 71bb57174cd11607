/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/vec.h"

namespace
{

PT_HD gfloat
inverse_root (gfloat x)
{
#ifdef __CUDACC__
  return rsqrtf (x);
#else
  return 1 / sqrtf (x);
#endif
}

/* Sums of x - x0 and (x - x0)^2, x0 of the first pixel: without it the
 * variance of values far from zero would drown. */
struct SumStatistics
{
  guint c;
  const gfloat *x;

  PT_HD void operator() (guint o, guint t, gfloat *sums) const
  {
    gfloat d = x[(gsize) t * c + o] - x[o];

    sums[0] += d;
    sums[1] += d * d;
  }
};

/* Running statistics move as PyTorch's: running = (1 - momentum) running
 * + momentum batch, with the unbiased variance. */
struct StoreStatistics
{
  const gfloat *x;
  gfloat *mean, *variance;
  gfloat *running_mean, *running_variance;      /* NULL: they stay */
  gfloat n, momentum;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    gdouble d = sums[0] / n, v = sums[1] / n - d * d;
    gfloat m = x[o] + d;

    v = v < 0 ? 0 : v;
    mean[o] = m;
    variance[o] = v;
    if (running_mean == NULL)
      return;
    running_mean[o] += momentum * (m - running_mean[o]);
    running_variance[o] += momentum
        * ((gfloat) (v * n / (n - 1)) - running_variance[o]);
  }
};

/* y = w (x - mean) / sqrt (variance + eps) + b, then ReLU if wanted */
template < int N > struct Apply
{
  guint c;                      /* in PtVecs */
  const PtVec < N > *x, *w, *b, *mean, *variance;
  PtVec < N > *y;
  PtVec < N > *saved_mean, *saved_variance;     /* NULL: they are not kept */
  gfloat eps;
  gboolean relu;

  PT_HD void operator() (guint i) const
  {
    guint o = i % c;
    PtVec < N > v = x[i], scale = w[o], shift = b[o];
    PtVec < N > m = mean[o], s = variance[o];

    for (int k = 0; k < N; k++) {
      v.v[k] = (v.v[k] - m.v[k]) * (scale.v[k] * inverse_root (s.v[k] + eps))
          + shift.v[k];
      v.v[k] = relu && v.v[k] < 0 ? 0 : v.v[k];
    }
    y[i] = v;
    if (saved_mean != NULL && i < c) {
      saved_mean[i] = m;
      saved_variance[i] = s;
    }
  }
};

/* db = sum dy, dw = sum dy xhat, xhat = (x - mean) / sqrt (variance + eps) */
struct SumGradients
{
  guint c;
  const gfloat *x, *dy, *mean, *variance;
  gfloat eps;

  PT_HD void operator() (guint o, guint t, gfloat *sums) const
  {
    gsize i = (gsize) t * c + o;

    sums[0] += dy[i];
    sums[1] += dy[i] * (x[i] - mean[o]) * inverse_root (variance[o] + eps);
  }
};

struct StoreGradients
{
  gfloat *dw, *db;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    db[o] = sums[0];
    dw[o] = sums[1];
  }
};

/* dx = w / sqrt (variance + eps) (dy - (db + xhat dw) / n), without the last
 * term where the statistics were given: @share is 1 / n or 0. */
template < int N > struct Backward
{
  guint c;
  const PtVec < N > *x, *dy, *w, *mean, *variance, *dw, *db;
  PtVec < N > *dx;
  gfloat eps, share;

  PT_HD void operator() (guint i) const
  {
    guint o = i % c;
    PtVec < N > v = x[i], g = dy[i], scale = w[o], m = mean[o];
    PtVec < N > s = variance[o], a = dw[o], b = db[o];

    for (int k = 0; k < N; k++) {
      gfloat root = inverse_root (s.v[k] + eps);
      gfloat hat = (v.v[k] - m.v[k]) * root;

      g.v[k] = scale.v[k] * root
          * (g.v[k] - share * (b.v[k] + hat * a.v[k]));
    }
    dx[i] = g;
  }
};

}                               // namespace

static guint
batch_norm_get_pixels (const PtOp *op)
{
  return pt_shape_get_n_elements (&op->desc.x) / pt_shape_c (&op->desc.x);
}

static gboolean
batch_norm_check (const PtOp *op, GError **error)
{
  const PtBatchNormDesc *desc = &op->desc.batch_norm;
  guint n = batch_norm_get_pixels (op);

  if (desc->activation != PT_ACTIVATION_NONE
      && desc->activation != PT_ACTIVATION_RELU) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
        "activation %d inside batch-norm, expected none or relu",
        desc->activation);
    return FALSE;
  }
  if (desc->batch_statistics && n < 2) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "statistics of %u value per channel, expected at least 2", n);
    return FALSE;
  }
  return TRUE;
}

/* In the scratch memory: two numbers for each channel, which others may want
 * too, then what the sums need. */
static gsize
batch_norm_get_first (const PtOp *op)
{
  gsize bytes = pt_shape_c (&op->desc.x) * sizeof (gfloat);

  return (bytes + PT_ALIGNMENT - 1) / PT_ALIGNMENT * PT_ALIGNMENT;
}

static gboolean
batch_norm_plan (PtOp *op, GError **error)
{
  op->scratch_size = 2 * batch_norm_get_first (op)
      + pt_cuda_sum_scratch (pt_shape_c (&op->desc.x),
      batch_norm_get_pixels (op), 2);
  return batch_norm_check (op, error);
}

/* Where the two numbers are kept: @a and @b, or the scratch memory. */
typedef struct
{
  gfloat *a, *b;
  gpointer parts;
} BatchNormPair;

static BatchNormPair
batch_norm_get_pair (const PtOp *op, const PtCudaLaunch *launch,
    const PtTensor *a, const PtTensor *b)
{
  gchar *scratch = (gchar *) launch->scratch;
  gsize first = batch_norm_get_first (op);

  return BatchNormPair { a != NULL ? pt_data (a) : (gfloat *) scratch,
    b != NULL ? pt_data (b) : (gfloat *) (scratch + first),
    scratch + 2 * first };
}

static gboolean
batch_norm_find_statistics (PtOp *op, const PtOpArgs *args,
    const PtCudaLaunch *launch, const BatchNormPair *to, GError **error)
{
  guint c = pt_shape_c (&op->desc.x), n = batch_norm_get_pixels (op);
  gboolean moves = op->desc.training && args->update_running;
  const gfloat *x = pt_data (args->x);
  StoreStatistics store = { x, to->a, to->b,
    moves ? pt_data (args->mean) : NULL,
    moves ? pt_data (args->variance) : NULL, (gfloat) n,
    op->desc.batch_norm.momentum };

  return pt_cuda_sum < gfloat, 2 > (launch, c, n, to->parts,
      SumStatistics { c, x }, store, error);
}

static gboolean
batch_norm_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtBatchNormDesc *desc = &op->desc.batch_norm;
  guint c = pt_shape_c (&op->desc.x);
  gboolean batch = desc->batch_statistics;
  BatchNormPair from = { };
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (batch)
    from = batch_norm_get_pair (op, &launch, args->saved_mean,
        args->saved_variance);
  else
    from = { pt_data (args->mean), pt_data (args->variance) };
  if (batch && !batch_norm_find_statistics (op, args, &launch, &from, error))
    return FALSE;
  return pt_cuda_vec (c,[&] < int N > () {
        typedef PtVec < N > Vec;
        Apply < N > job = { c / N, pt_data < Vec > (args->x),
          pt_data < Vec > (args->w), pt_data < Vec > (args->b),
          (const Vec *) from.a, (const Vec *) from.b,
          pt_data < Vec > (args->y),
          batch ? NULL : pt_data < Vec > (args->saved_mean),
          batch ? NULL : pt_data < Vec > (args->saved_variance), desc->eps,
          desc->activation == PT_ACTIVATION_RELU };

        return pt_cuda_each (&launch, (gint64) job.c
            * batch_norm_get_pixels (op), job, error);
      });
}

static gboolean
batch_norm_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtBatchNormDesc *desc = &op->desc.batch_norm;
  guint c = pt_shape_c (&op->desc.x), n = batch_norm_get_pixels (op);
  BatchNormPair to;
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  to = batch_norm_get_pair (op, &launch, args->dw, args->db);
  if (!pt_cuda_sum < gfloat, 2 > (&launch, c, n, to.parts,
          SumGradients { c, pt_data (args->x), pt_data (args->dy),
            pt_data (args->saved_mean), pt_data (args->saved_variance),
            desc->eps }, StoreGradients { to.a, to.b }, error))
    return FALSE;
  return pt_cuda_vec (c,[&] < int N > () {
        typedef PtVec < N > Vec;
        Backward < N > job = { c / N, pt_data < Vec > (args->x),
          pt_data < Vec > (args->dy), pt_data < Vec > (args->w),
          pt_data < Vec > (args->saved_mean),
          pt_data < Vec > (args->saved_variance), (const Vec *) to.a,
          (const Vec *) to.b, pt_data < Vec > (args->dx), desc->eps,
          desc->batch_statistics ? 1.f / n : 0 };

        return pt_cuda_each (&launch, (gint64) job.c * n, job, error);
      });
}

const PtOpImpl pt_cuda_batch_norm = {
  .plan = batch_norm_plan,
  .run = batch_norm_run,
};

const PtOpImpl pt_cuda_batch_norm_backward = {
  .plan = batch_norm_plan,
  .run = batch_norm_run_backward,
};
