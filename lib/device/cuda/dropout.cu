/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/vec.h"

namespace
{

/* core/rng.c, for the GPU */
PT_HD guint64
scramble (guint64 z)
{
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return z ^ (z >> 31);
}

PT_HD guint64
mix (guint64 seed, guint64 stream, guint64 counter)
{
  const guint64 golden = G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  guint64 key = scramble (seed + golden) ^ scramble (stream - golden);

  return scramble (key + (counter + 1) * golden);
}

/* An element's number is counted in PyTorch's order (C, H, W). */
struct Dropout
{
  const gfloat *x;
  gfloat *y, *mask;
  guint c, pixels;
  gfloat p, keep;
  guint64 seed;
  const PtLive *live;           /* its seed holds, unless NULL */

  PT_HD void operator() (guint i) const
  {
    guint64 bits = mix (live != NULL ? live->seed : seed, 0,
        i % c * pixels + i / c);
    gfloat m = (bits >> 40) * 0x1p-24f < p ? 0 : keep;

    mask[i] = m;
    y[i] = m == 0 ? 0 : x[i] * m;
  }
};

}                               // namespace

static gboolean
dropout_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtShape *shape = &op->desc.x;
  gdouble p = op->desc.dropout.p;
  Dropout job = { pt_data (args->x), pt_data (args->y), pt_data (args->mask),
    (guint) pt_shape_c (shape),
    (guint) (pt_shape_h (shape) * pt_shape_w (shape)), (gfloat) p,
    (gfloat) (p < 1 ? 1. / (1. - p) : 0), args->seed, args->live };
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_each (&launch, pt_shape_get_n_elements (shape), job, error);
}

const PtOpImpl pt_cuda_dropout = {
  .plan = pt_cuda_plan_nothing,
  .run = dropout_run,
};
