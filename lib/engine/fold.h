/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/wiring.h"

G_BEGIN_DECLS

/* When nothing learns, a convolution and what follows it to scale and shift its
 * channels, such as a batch-norm with running statistics, are one convolution:
 * w' = scale w, b' = scale b + shift; and so is an activation behind that. The
 * same holds of linear layers, transposed convolutions and batch-norms. Layers in
 * a row that only move elements are one, too. The network keeps the weights it
 * has; only what a stage computes with is folded. */

/* Of one layer of a span. */
typedef struct
{
  PtLayer *layer;               /* does its work and the next ones'; NULL */
  guint more, n_scales;         /* of those; and of these, first, that scale */
  guint bias_layer, bias_weight;        /* in whose place the bias lies, layers
                                         * counted from this one */
  gboolean absorbed;            /* one before does its work */
  gboolean hidden;              /* its output is not made */
} PtFold;

PtFold *pt_fold_new (const PtWiring *wiring, const PtSpan *span);
void pt_fold_free (PtFold *folds, guint n);
/* The same of a whole network: where to cut it would keep layers apart. */
PtFold *pt_fold_new_whole (PtNetwork *network, PtDevice *device);
/* What a stage computes with in the place of weight @weight of layer @k;
 * @nodes are those of the span, @folds may be NULL. */
PtTensor *pt_fold_new_value (const PtFold *folds, const PtNode *nodes, guint k,
    guint weight, GError **error);

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
