/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/wiring.h"

G_BEGIN_DECLS

/* When nothing learns, a convolution and the batch-norm with running
 * statistics behind it are one convolution: w' = scale w, b' = scale b +
 * shift. The network keeps the weights it has; only what a stage computes
 * with is folded. */

/* For each layer of @span, one that does its work and the next one's, or
 * NULL. */
PtLayer **pt_fold_new (const PtWiring *wiring, const PtSpan *span);
void pt_fold_free (PtLayer **folds, guint n);
/* The weight of @node, folded with @next. */
PtTensor *pt_fold_new_weight (const PtNode *node, const PtNode *next,
    GError **error);
/* What takes the place of the bias, of as many elements as @next's. */
PtTensor *pt_fold_new_bias (const PtNode *node, const PtNode *next,
    GError **error);

/* Whether the layer before does the work of layer @k. */
static inline gboolean
pt_fold_is_absorbed (PtLayer *const *folds, guint k)
{
  return folds != NULL && k > 0 && folds[k - 1] != NULL;
}

G_END_DECLS
