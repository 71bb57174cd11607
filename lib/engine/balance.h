/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/learning.h"
#include "engine/wiring.h"

G_BEGIN_DECLS

/* Where to cut: the best contiguous cut for given costs, exactly, and the
 * measurement of the costs. */

/* cost (stage, first, n): the time stage takes for these layers; lower is
 * better, any unit. */
typedef gdouble (*PtCostFunc) (gpointer data, guint stage, guint first,
    guint n);

gdouble pt_balance_cut (guint n_layers, guint n_stages, PtCostFunc cost,
    gpointer data, guint *sizes);
gboolean pt_balance_parse (const gchar *text, guint n_layers,
    const gchar *where, GArray *sizes, GError **error);

/* The outcome: which layers on which devices. */
typedef struct
{
  guint n_stages;
  PtSpan *spans;
  GPtrArray *devices;           /* owns what the spans lend */
} PtPlacement;

/* Reads [pipeline]; measures where it says auto. @fps > 0: a live stream of
 * that rate, for which the lowest latency that keeps up is chosen. */
gboolean pt_placement_find (PtPlacement *self, PtNetwork *network, gdouble fps,
    GError **error);
void pt_placement_clear (PtPlacement *self);

G_END_DECLS
