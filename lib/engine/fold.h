/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/wiring.h"

G_BEGIN_DECLS

/* When nothing learns, a convolution and what only scales and moves channels
 * behind it, such as a batch-norm with running statistics, are one
 * convolution: w' = scale w, b' = scale b + shift; an activation behind those
 * is its own. The same holds for a batch-norm. The network keeps the weights
 * it has; only what a stage computes with is folded. Layers in a row that only
 * move elements are one, too. */

/* Of one layer of a span. */
typedef struct
{
  PtLayer *layer;               /* does its work and the next ones'; NULL */
  guint more;                   /* of those */
  gboolean absorbed;            /* one before does its work */
  gboolean hidden;              /* its output is not made */
  guint bias;                   /* of what has weights: 0, they have room for
                                 * its bias, or 1, the next layer's have */
} PtFold;

PtFold *pt_fold_new (const PtWiring *wiring, const PtSpan *span);
void pt_fold_free (PtFold *folds, guint n);
/* The weight and the bias of @node, folded with the @n behind it. */
PtTensor *pt_fold_new_weight (const PtNode *node, guint n, GError **error);
PtTensor *pt_fold_new_bias (const PtNode *node, guint n, GError **error);

/* Whether a layer before does the work of layer @k. */
static inline gboolean
pt_fold_is_absorbed (const PtFold *folds, guint k)
{
  return folds != NULL && folds[k].absorbed;
}

/* Whether layer @k's output is not made. */
static inline gboolean
pt_fold_is_hidden (const PtFold *folds, guint k)
{
  return folds != NULL && folds[k].hidden;
}

G_END_DECLS
