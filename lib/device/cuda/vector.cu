/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/tensor.h"
#include "device/cuda/vec.h"

/* Long vectors: sums in double. */

namespace
{

struct Dot
{
  const gfloat *x, *y;

  PT_HD void operator() (guint o, guint i, gdouble *sums) const
  {
    sums[0] += (gdouble) x[i] * y[i];
  }
};

struct Store
{
  gdouble *to;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    *to = sums[0];
  }
};

/* g.c and c.c */
struct Along
{
  const gfloat *g, *c;

  PT_HD void operator() (guint o, guint i, gdouble *sums) const
  {
    sums[0] += (gdouble) g[i] * c[i];
    sums[1] += (gdouble) c[i] * c[i];
  }
};

struct Divide
{
  gfloat *along;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    *along = sums[1] > 0 ? sums[0] / sums[1] : 0;
  }
};

/* g - along c; then c = momentum c + (1 - momentum) scale g. */
struct Project
{
  gfloat *g, *c;
  const gfloat *along;
  gfloat momentum;
  const PtLive *live;
  PtLive own;

  PT_HD void operator() (guint i) const
  {
    gfloat old = g[i], mean = c[i];
    gdouble scale = live != NULL ? live->scale : own.scale;
    gfloat take = (1 - momentum) * scale;

    if (live != NULL && live->go == 0)
      return;
    g[i] = old - *along * mean;
    c[i] = momentum * mean + take * old;
  }
};

/* The result, as wide as its alignment needs, comes before the sums. */
#define VECTOR_RESULT PT_ALIGNMENT

}                               // namespace

static gboolean
vector_plan (PtOp *op, guint k)
{
  op->scratch_size = VECTOR_RESULT + pt_cuda_sum_scratch (1,
      pt_shape_get_n_elements (&op->desc.x), k);
  return TRUE;
}

static gboolean
dot_plan (PtOp *op, GError **error)
{
  return vector_plan (op, 1);
}

static gboolean
project_plan (PtOp *op, GError **error)
{
  return vector_plan (op, 2);
}

/* Only a result for the host is waited for. */
static gboolean
dot_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtDevice *device = op->workspace->device;
  PtCudaLaunch launch;
  gdouble *to;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  to = (gdouble *) (args->y != NULL ? args->y->data : launch.scratch);
  if (!pt_cuda_sum < gdouble, 1 > (&launch, 1,
          pt_shape_get_n_elements (&op->desc.x),
          (guint8 *) launch.scratch + VECTOR_RESULT,
          Dot { pt_data (args->x), pt_data (args->w) }, Store { to }, error))
    return FALSE;
  return args->y != NULL || pt_backend_cuda.download (device, args->sum, to,
      sizeof *to, error);
}

static gboolean
project_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.x);
  PtCudaLaunch launch;
  gfloat *g = pt_data (args->dw), *c = pt_data (args->mean), *along;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  along = (gfloat *) launch.scratch;
  return pt_cuda_sum < gdouble, 2 > (&launch, 1, n,
      (guint8 *) launch.scratch + VECTOR_RESULT, Along { g, c },
      Divide { along }, error)
      && pt_cuda_each (&launch, n, Project { g, c, along,
          op->desc.project.momentum, args->live, pt_cuda_live (args) }, error);
}

const PtOpImpl pt_cuda_dot = {
  .plan = dot_plan,
  .run = dot_run,
};

const PtOpImpl pt_cuda_project = {
  .plan = project_plan,
  .run = project_run,
};
