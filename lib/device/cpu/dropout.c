/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/rng.h"
#include "device/cpu/kernel.h"

typedef struct
{
  const PtOp *op;
  const PtOpArgs *args;
  guint64 seed;
} DropoutJob;

/* An element's number is counted in PyTorch's order (C, H, W), so that it
 * does not depend on how a device lays out memory. */
static void
dropout_range (gconstpointer data, gint64 begin, gint64 end)
{
  const DropoutJob *job = data;
  const PtShape *shape = &job->op->desc.x;
  gint64 c = pt_shape_c (shape), hw = pt_shape_h (shape) * pt_shape_w (shape);
  gdouble p = job->op->desc.dropout.p;
  gfloat keep = p < 1 ? 1. / (1. - p) : 0;
  const gfloat *x = job->args->x->data;
  gfloat *y = job->args->y->data, *mask = job->args->mask->data;

  for (gint64 i = begin; i < end; i++) {
    guint64 bits = pt_rng_mix (job->seed, 0, i % c * hw + i / c);
    gfloat m = (bits >> 40) * 0x1p-24 < p ? 0 : keep;

    mask[i] = m;
    y[i] = m == 0 ? 0 : x[i] * m;
  }
}

static gboolean
dropout_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  DropoutJob job = { op, args, pt_cpu_live (args).seed };

  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x), 8, dropout_range,
      &job);
  return TRUE;
}

const PtOpImpl pt_cpu_dropout = {
  .plan = pt_cpu_plan_nothing,
  .run = dropout_run,
};
