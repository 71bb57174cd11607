/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/loss.h"

#define CLASSES_PIXELS 64       /* of a block */

typedef struct
{
  gint64 n, c;
  gint32 ignore;
  gfloat smooth, share;         /* label_smoothing, and that over C */
  gfloat gamma;
  gfloat *weight, weights;      /* of each class, and their sum */
  gfloat scale;                 /* 1 over the sum of the labels' weights */
  const gfloat *x;
  const gint32 *label;
  gfloat *dx;
  gdouble *sums;
} Classes;

/* What is known of each pixel of a block. */
typedef struct
{
  gint32 label[CLASSES_PIXELS]; /* -1: does not count */
  gfloat gap[CLASSES_PIXELS];   /* largest score - label's */
  gfloat dot[CLASSES_PIXELS];   /* sum_k w_k (x_k - largest) */
  gfloat own[CLASSES_PIXELS];   /* e^(x_k - largest) of the label ... */
  gfloat others[CLASSES_PIXELS];        /* ... and the sum of the others' */
  gfloat w[CLASSES_PIXELS];
  gfloat slope[CLASSES_PIXELS]; /* dx_k = slope e_k - shift w_k, but ... */
  gfloat shift[CLASSES_PIXELS];
  gfloat pull[CLASSES_PIXELS];  /* ... this for the label */
} ClassesBlock;

static inline gboolean
classes_counts (const Classes *self, gint32 label)
{
  return label >= 0 && label < self->c && label != self->ignore;
}

/* The sum of the labels' weights, which the mean is over. */
static void
classes_weigh_range (gconstpointer data, gint64 begin, gint64 end)
{
  const Classes *self = data;

  for (gint64 b = begin; b < end; b++) {
    gint64 last = MIN ((b + 1) * CLASSES_PIXELS, self->n);
    gdouble sum = 0;

    for (gint64 p = b * CLASSES_PIXELS; p < last; p++)
      if (classes_counts (self, self->label[p]))
        sum += self->weight[self->label[p]];
    self->sums[b] = sum;
  }
}

/* Vectors along a pixel's few classes would be slower, and do not matter where
 * there is one pixel of many. dx = x - the largest score of each pixel. */
PT_INLINE void
classes_shift (const Classes *self, ClassesBlock *block, gint64 first,
    gint64 n)
{
  gint64 c = self->c;

  for (gint64 p = 0; p < n; p++) {
    const gfloat *x = self->x + (first + p) * c;
    gfloat *dx = self->dx + (first + p) * c, top = x[0], dot = 0;
    gint32 label = self->label[first + p];

    if (!classes_counts (self, label))
      label = -1;
    for (gint64 k = 1; k < c; k++)
      top = x[k] > top ? x[k] : top;
    for (gint64 k = 0; k < c; k++)
      dx[k] = x[k] - top;
    if (self->share > 0.f)
      for (gint64 k = 0; k < c; k++)
        dot += self->weight[k] * dx[k];
    block->label[p] = label;
    block->gap[p] = -dx[MAX (label, 0)];
    block->dot[p] = dot;
    block->w[p] = self->weight[MAX (label, 0)];
  }
}

/* Apart, so that nothing is lost where the label is nearly certain. */
PT_INLINE void
classes_sum (const Classes *self, ClassesBlock *block, gint64 first, gint64 n)
{
  for (gint64 p = 0; p < n; p++) {
    const gfloat *e = self->dx + (first + p) * self->c;
    gint64 label = MAX (block->label[p], 0);
    gfloat others = 0;

    for (gint64 k = 0; k < label; k++)
      others += e[k];
    for (gint64 k = label + 1; k < self->c; k++)
      others += e[k];
    block->own[p] = e[label];
    block->others[p] = others;
  }
}

/* With q = 1 - p_y, f = q^gamma, L the loss without f, and
 * m = -L df/dx_y / (1 - p_y): see PtCrossEntropyDesc. The label's own
 * derivative is minus the sum of the others'. */
PT_INLINE gdouble
classes_finish (const Classes *self, ClassesBlock *block, gint64 n)
{
  gfloat hard = 1.f - self->smooth, share = self->share, scale = self->scale;
  gfloat weights = self->weights, gamma = self->gamma;
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 p = 0; p < n; p++) {
    gfloat w = block->w[p], own = block->own[p], others = block->others[p];
    gfloat all = others + own, q = others / all;
    gfloat norm = pt_log1pf (others + (own - 1.f)), f = 1.f, m = 0.f, rise;
    gfloat value = hard * w * (norm + block->gap[p])
        + share * (weights * norm - block->dot[p]);

    if (gamma > 0.f) {
      f = pt_loss_powf (q, gamma);
      m = value * gamma * f / (q < 1e-7f ? 1e-7f : q) * own / all;
      value *= f;
    }
    rise = f * (hard * w + share * weights) + m;
    block->slope[p] = scale * rise / all;
    block->shift[p] = scale * f * share;
    block->pull[p] = scale * (f * share * (weights - w) - rise * q);
    sum += block->label[p] < 0 ? 0.f : value;
  }
  return sum;
}

PT_INLINE void
classes_spread (const Classes *self, const ClassesBlock *block, gint64 first,
    gint64 n)
{
  gint64 c = self->c;

  for (gint64 p = 0; p < n; p++) {
    gfloat *dx = self->dx + (first + p) * c;
    gfloat slope = block->slope[p], shift = block->shift[p];

    if (block->label[p] < 0) {
      memset (dx, 0, c * sizeof *dx);
      continue;
    }
    for (gint64 k = 0; k < c; k++)
      dx[k] = slope * dx[k];
    if (shift > 0.f)
      for (gint64 k = 0; k < c; k++)
        dx[k] -= shift * self->weight[k];
    dx[block->label[p]] = block->pull[p];
  }
}

static PT_CLONES void
classes_range (gconstpointer data, gint64 begin, gint64 end)
{
  const Classes *self = data;
  ClassesBlock block;

  for (gint64 b = begin; b < end; b++) {
    gint64 first = b * CLASSES_PIXELS;
    gint64 n = MIN (CLASSES_PIXELS, self->n - first);
    gfloat *e = self->dx + first * self->c;

    classes_shift (self, &block, first, n);
#pragma omp simd
    for (gint64 i = 0; i < n * self->c; i++)
      e[i] = pt_expf (e[i]);
    classes_sum (self, &block, first, n);
    self->sums[b] = classes_finish (self, &block, n);
    classes_spread (self, &block, first, n);
  }
}

/* Of log-probabilities only the label's counts. */
static PT_CLONES void
classes_pick_range (gconstpointer data, gint64 begin, gint64 end)
{
  const Classes *self = data;

  for (gint64 b = begin; b < end; b++) {
    gint64 first = b * CLASSES_PIXELS;
    gint64 last = MIN (first + CLASSES_PIXELS, self->n);
    gdouble sum = 0;

    memset (self->dx + first * self->c, 0,
        (last - first) * self->c * sizeof *self->dx);
    for (gint64 p = first; p < last; p++) {
      gint32 label = self->label[p];

      if (!classes_counts (self, label))
        continue;
      sum -= self->weight[label] * self->x[p * self->c + label];
      self->dx[p * self->c + label] = -self->scale * self->weight[label];
    }
    self->sums[b] = sum;
  }
}

static void
classes_clear (PtOp *op)
{
  Classes *self = op->priv;

  if (self != NULL)
    g_free (self->weight);
  g_free (self);
}

static gint64
classes_count_blocks (const Classes *self)
{
  return (self->n + CLASSES_PIXELS - 1) / CLASSES_PIXELS;
}

static gboolean
classes_plan (PtOp *op, GError **error)
{
  PtCrossEntropyDesc *desc = &op->desc.cross_entropy;
  Classes *self = op->priv = g_new0 (Classes, 1);
  gdouble weights = 0;

  self->c = pt_shape_c (&op->desc.x);
  self->n = pt_shape_h (&op->desc.x) * pt_shape_w (&op->desc.x);
  self->ignore = desc->ignore_index;
  self->smooth = desc->label_smoothing;
  self->share = desc->label_smoothing / self->c;
  self->gamma = desc->gamma;
  self->weight = g_new (gfloat, self->c);
  for (gint64 k = 0; k < self->c; k++) {
    self->weight[k] = desc->weight != NULL ? desc->weight[k] : 1;
    weights += self->weight[k];
  }
  self->weights = weights;
  desc->weight = NULL;
  op->scratch_size = classes_count_blocks (self) * sizeof (gdouble);
  return TRUE;
}

static gboolean
classes_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Classes *self = op->priv;
  gint64 blocks = classes_count_blocks (self);
  gdouble total;

  self->x = args->x->data;
  self->label = args->target->data;
  self->dx = args->dx->data;
  self->sums = pt_loss_get_sums (op);
  pt_cpu_for (op, blocks, 2 * CLASSES_PIXELS, classes_weigh_range, self);
  total = pt_loss_add_up (self->sums, blocks);
  if (!(total > 0)) {
    memset (self->dx, 0, self->n * self->c * sizeof *self->dx);
    *(gfloat *) args->loss->data = 0;
    return TRUE;
  }
  self->scale = 1 / total;
  if (op->desc.cross_entropy.log_probabilities)
    pt_cpu_for (op, blocks, self->c * CLASSES_PIXELS, classes_pick_range,
        self);
  else
    pt_cpu_for (op, blocks, 8 * self->c * CLASSES_PIXELS, classes_range,
        self);
  *(gfloat *) args->loss->data = pt_loss_add_up (self->sums, blocks) / total;
  return TRUE;
}

const PtOpImpl pt_cpu_cross_entropy = {
  .plan = classes_plan,
  .run = classes_run,
  .clear = classes_clear,
};
