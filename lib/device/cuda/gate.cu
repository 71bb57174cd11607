/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "device/cuda/kernel.h"

/* What becomes of a gradient is decided where it is: the host need not wait. */

namespace
{

struct Gate
{
  const gdouble *square;
  const gint32 *before;
  gint32 *open;

  PT_HD void operator() (guint i) const
  {
    *open = isfinite (*square) && (before == NULL || *before != 0);
  }
};

struct Go
{
  const gdouble *square;
  const gint32 *open;
  guint64 *steps;
  PtLive *lives;
  PtGoDesc desc;

  PT_HD void operator() (guint i) const
  {
    *steps += *open != 0;
    for (guint k = 0; k < desc.n; k++) {
      PtLive *live = &lives[k];

      live->go = *open != 0;
      live->step = *steps;
      if (desc.clip_norm > 0) {
        gdouble norm = live->scale * sqrt (*square);
        gdouble most = desc.clip_norm / (norm + 1e-6);

        live->scale *= most < 1 ? most : 1;
      }
    }
  }
};

}                               // namespace

static gboolean
gate_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const gint32 *before = args->target != NULL ?
      (const gint32 *) args->target->data : NULL;
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_each (&launch, 1, Gate { (const gdouble *) args->x->data,
          before, (gint32 *) args->y->data }, error);
}

static gboolean
go_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_each (&launch, 1, Go { (const gdouble *) args->x->data,
          (const gint32 *) args->target->data,
          (guint64 *) args->slots[0]->data, (PtLive *) args->y->data,
          op->desc.go }, error);
}

const PtOpImpl pt_cuda_gate = {
  .plan = pt_cuda_plan_nothing,
  .run = gate_run,
};

const PtOpImpl pt_cuda_go = {
  .plan = pt_cuda_plan_nothing,
  .run = go_run,
};
