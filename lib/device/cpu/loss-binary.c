/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/loss.h"

/* Blocks are whole pixels, so that one table of weights, as long as a block,
 * serves each. */
typedef struct
{
  gint64 n, block;
  gfloat alpha, gamma, scale;
  gfloat *pos_weight;
  const gfloat *x, *t;
  gfloat *dx;
  gdouble *sums;
} Binary;

typedef enum
{
  BINARY_PLAIN,                 /* gamma 0, no alpha */
  BINARY_SQUARE,                /* gamma 2 */
  BINARY_POWER,
} BinaryKind;

/* With softplus (x) = log (1 + e^x) = -log (1 - p):
 * ce = w t softplus (-x) + (1 - t) softplus (x), q = 1 - p_t. */
PT_INLINE gdouble
binary_block (const Binary *self, gint64 begin, gint64 n, BinaryKind kind)
{
  const gfloat *x = self->x + begin, *t = self->t + begin;
  const gfloat *w = self->pos_weight;
  gfloat *dx = self->dx + begin;
  gfloat alpha = self->alpha, gamma = self->gamma, scale = self->scale;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < n; i++) {
    gfloat e = pt_expf (-fabsf (x[i])), r = 1.f / (1.f + e), er = e * r;
    gfloat tail = pt_log1pf (e), yes = t[i], no = 1.f - yes;
    gfloat p = x[i] > 0.f ? r : er, not_p = x[i] > 0.f ? er : r;
    gfloat plus = (x[i] > 0.f ? x[i] : 0.f) + tail;
    gfloat minus = (x[i] < 0.f ? -x[i] : 0.f) + tail;
    gfloat value = w[i] * yes * minus + no * plus;
    gfloat slope = no * p - w[i] * yes * not_p;

    if (kind != BINARY_PLAIN) {
      gfloat q = p * no + not_p * yes, a, f;

      a = alpha < 0.f ? 1.f : alpha * yes + (1.f - alpha) * no;
      f = kind == BINARY_SQUARE ? q * q : pt_loss_powf (q, gamma);
      q = q < 1e-30f ? 1e-30f : q;
      slope = a * f * (slope + gamma * value * (no - yes) * p * not_p / q);
      value = a * f * value;
    }
    sum += value;
    dx[i] = slope * scale;
  }
  return sum;
}

static PT_CLONES void
binary_range (gconstpointer data, gint64 begin, gint64 end)
{
  const Binary *self = data;

  for (gint64 b = begin; b < end; b++) {
    gint64 first = b * self->block, n = MIN (self->block, self->n - first);

    if (self->gamma == 0.f && self->alpha < 0.f)
      self->sums[b] = binary_block (self, first, n, BINARY_PLAIN);
    else if (self->gamma == 2.f)
      self->sums[b] = binary_block (self, first, n, BINARY_SQUARE);
    else
      self->sums[b] = binary_block (self, first, n, BINARY_POWER);
  }
}

static gint64
binary_count_blocks (const Binary *self)
{
  return (self->n + self->block - 1) / self->block;
}

static void
binary_clear (PtOp *op)
{
  Binary *self = op->priv;

  if (self != NULL)
    g_free (self->pos_weight);
  g_free (self);
}

static gboolean
binary_plan (PtOp *op, GError **error)
{
  PtBinaryCrossEntropyDesc *desc = &op->desc.binary;
  gint64 c = pt_shape_c (&op->desc.x);
  Binary *self = op->priv = g_new0 (Binary, 1);

  self->n = pt_shape_get_n_elements (&op->desc.x);
  self->block = c * MAX (PT_LOSS_BLOCK / c, 1);
  self->alpha = desc->alpha;
  self->gamma = desc->gamma;
  self->scale = 1. / self->n;
  self->pos_weight = g_new (gfloat, self->block);
  for (gint64 i = 0; i < self->block; i++)
    self->pos_weight[i] = desc->n_pos_weight == 0 ? 1 :
        desc->pos_weight[desc->n_pos_weight == 1 ? 0 : i % c];
  desc->pos_weight = NULL;
  op->scratch_size = binary_count_blocks (self) * sizeof (gdouble);
  return TRUE;
}

static gboolean
binary_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Binary *self = op->priv;
  gint64 blocks = binary_count_blocks (self);

  self->x = args->x->data;
  self->t = args->target->data;
  self->dx = args->dx->data;
  self->sums = pt_loss_get_sums (op);
  /* an exponential and a logarithm: some eight times a copy */
  pt_cpu_for (op, blocks, 8 * self->block, binary_range, self);
  *(gfloat *) args->loss->data =
      pt_loss_add_up (self->sums, blocks) / self->n;
  return TRUE;
}

const PtOpImpl pt_cpu_binary_cross_entropy = {
  .plan = binary_plan,
  .run = binary_run,
  .clear = binary_clear,
};
