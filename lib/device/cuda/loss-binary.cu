/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/loss.h"

namespace
{

typedef enum
{
  BINARY_PLAIN,                 /* gamma 0, no alpha */
  BINARY_SQUARE,                /* gamma 2 */
  BINARY_POWER,
} BinaryKind;

/* With softplus (x) = log (1 + e^x) = -log (1 - p):
 * ce = w t softplus (-x) + (1 - t) softplus (x), q = 1 - p_t. */
template < BinaryKind kind > struct Binary
{
  const gfloat *x, *t, *pos_weight;     /* the last of each channel, or NULL */
  gfloat *dx;
  guint c;
  gfloat alpha, gamma, scale;

  PT_HD void operator() (guint o, guint i, gfloat *sums) const
  {
    gfloat v = x[i], yes = t[i], no = 1.f - yes;
    gfloat w = pos_weight != NULL ? pos_weight[i % c] : 1.f;
    gfloat e = expf (-fabsf (v)), r = 1.f / (1.f + e), er = e * r;
    gfloat tail = log1pf (e);
    gfloat p = v > 0.f ? r : er, not_p = v > 0.f ? er : r;
    gfloat plus = (v > 0.f ? v : 0.f) + tail;
    gfloat minus = (v < 0.f ? -v : 0.f) + tail;
    gfloat value = w * yes * minus + no * plus;
    gfloat slope = no * p - w * yes * not_p;

    if (kind != BINARY_PLAIN) {
      gfloat q = p * no + not_p * yes, f;

      f = kind == BINARY_SQUARE ? q * q : pt_loss_powf (q, gamma);
      f *= alpha < 0.f ? 1.f : alpha * yes + (1.f - alpha) * no;
      q = q < 1e-30f ? 1e-30f : q;
      slope = f * (slope + gamma * value * (no - yes) * p * not_p / q);
      value = f * value;
    }
    sums[0] += value;
    dx[i] = slope * scale;
  }
};

template < BinaryKind kind > gboolean
binary_launch (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtBinaryCrossEntropyDesc *desc = &op->desc.binary;
  const PtCudaTable *pos_weight = (const PtCudaTable *) op->priv;
  gint64 n = pt_shape_get_n_elements (&op->desc.x);
  Binary < kind > job = { pt_data (args->x),
    pt_data (args->target), pos_weight->values,
    pt_data (args->dx), (guint) pt_shape_c (&op->desc.x), desc->alpha,
    desc->gamma, (gfloat) (1. / n) };
  PtLossMean mean = { pt_data (args->loss), (gdouble) n };
  PtCudaLaunch launch;

  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_sum < gfloat, 1 > (&launch, 1, n, launch.scratch, job, mean,
      error);
}

}                               // namespace

static void
binary_clear (PtOp *op)
{
  PtCudaTable *pos_weight = (PtCudaTable *) op->priv;

  if (pos_weight != NULL)
    pt_cuda_table_clear (pos_weight);
  g_free (pos_weight);
}

static gboolean
binary_plan_weights (PtOp *op, PtCudaTable *table, GError **error)
{
  PtBinaryCrossEntropyDesc *desc = &op->desc.binary;
  guint c = pt_shape_c (&op->desc.x);
  g_autofree gdouble *weights = g_new (gdouble, c);

  if (desc->n_pos_weight == 0)
    return TRUE;
  for (guint i = 0; i < c; i++)
    weights[i] = desc->pos_weight[desc->n_pos_weight == 1 ? 0 : i];
  desc->pos_weight = NULL;
  return pt_cuda_table_init (table, op->workspace->device, weights, c, error);
}

static gboolean
binary_plan (PtOp *op, GError **error)
{
  PtCudaTable *table = g_new0 (PtCudaTable, 1);

  op->priv = table;
  op->scratch_size = pt_cuda_sum_scratch (1,
      pt_shape_get_n_elements (&op->desc.x), 1);
  return binary_plan_weights (op, table, error);
}

static gboolean
binary_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtBinaryCrossEntropyDesc *desc = &op->desc.binary;

  if (desc->gamma == 0.f && desc->alpha < 0.f)
    return binary_launch < BINARY_PLAIN > (op, args, error);
  if (desc->gamma == 2.f)
    return binary_launch < BINARY_SQUARE > (op, args, error);
  return binary_launch < BINARY_POWER > (op, args, error);
}

const PtOpImpl pt_cuda_binary_cross_entropy = {
  .plan = binary_plan,
  .run = binary_run,
  .clear = binary_clear,
};
