/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/conv.h"
#include "device/cuda/vec.h"

namespace
{

struct Pixel
{
  guint channels;
  const gfloat *dy;

  PT_HD void operator() (guint c, guint pixel, gfloat *sums) const
  {
    sums[0] += dy[(gsize) pixel * channels + c];
  }
};

struct Store
{
  gfloat *db;

  PT_HD void operator() (guint c, const gdouble *sums) const
  {
    db[c] = sums[0];
  }
};

}                               // namespace

gsize
pt_cuda_bias_scratch (gint64 channels, gint64 pixels)
{
  return pt_cuda_sum_scratch (channels, pixels, 1);
}

gboolean
pt_cuda_bias_gradient (PtOp *op, gint64 channels, gint64 pixels,
    const PtTensor *dy, PtTensor *db, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, channels, pixels, launch.scratch,
      Pixel { (guint) channels, pt_data (dy) }, Store { pt_data (db) }, error);
}
