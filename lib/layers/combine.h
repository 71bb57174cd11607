/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/layer.h"

G_BEGIN_DECLS

/* What layers that move, choose or resample elements share: each axis of the
 * output is made of one axis of the input. From that come the tables of
 * PT_OP_COMBINE, forward and, transposed, backward. */

/* Which places of an axis the rows of another read, and how much each counts.
 * Rows are given one after the other. */
typedef struct _PtTaps PtTaps;

PtTaps *pt_taps_new (void);
void pt_taps_free (PtTaps *self);
/* One more tap of the row at hand, unless @weight is 0; added to the last one
 * if that is of the same place. */
void pt_taps_add (PtTaps *self, gint64 place, gdouble weight);
/* The row at hand, which may have no taps, is done. */
void pt_taps_end (PtTaps *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtTaps, pt_taps_free)

/* An axis of the input and what becomes of it; strides are in elements, as the
 * axes lie in memory. Output row i reads place first + i step, or what @taps
 * say. */
typedef struct
{
  gint64 n_in, n_out;
  gint64 in_stride, out_stride;
  gint64 first, step;
  PtTaps *taps;                 /* owned; NULL */
} PtMapAxis;

struct _PtMap
{
  PtMapAxis axes[PT_COMBINE_MAX_AXES];  /* in any order */
  guint n;
  gfloat fill;                  /* where there are no taps */
};

void pt_map_clear (PtMap *self);
/* Which place of the input row @row of an axis reads: its only tap. */
gint64 pt_map_get_place (const PtMapAxis *axis, gint64 row);
/* One more axis: @n_in elements as they are. */
PtMapAxis *pt_map_add (PtMap *self, gint64 n, gint64 in_stride,
    gint64 out_stride);
/* The axes of a layer with one input, which has as many dimensions as its
 * output: as they are but for n_out. */
void pt_map_init (PtMap *self, const PtLayer *layer);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PtMap, pt_map_clear)

/* More taps in one table are refused: 256 MiB of offsets. */
#define PT_MAP_MAX_TAPS (1 << 26)
/* Whether a table for @n rows is within this. */
gboolean pt_map_check (gint64 n, GError **error);

/* One operation, plan->ops[@slot], x -> y. */
gboolean pt_map_plan (PtLayerPlan *plan, guint slot, PtWorkspace *workspace,
    const PtMap *map, const PtShape *x, const PtShape *y, GError **error);

/* plan(), forward() and backward() of such layers; of those with get_map(). */
gboolean pt_layer_plan_map (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, const PtMap *map, GError **error);
gboolean pt_layer_plan_moves (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error);
gboolean pt_layer_forward_map (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
gboolean pt_layer_backward_map (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);

/* A list of whole numbers, at most @most, into @values; @key is for messages.
 * Returns how many, or -1. */
gint pt_layer_get_whole (const PtDoubleList *list, const gchar *key,
    gint64 *values, guint most, GError **error);
/* From 0 on; -1 with an error if @shape has no such axis. */
gint pt_layer_get_axis (const PtShape *shape, gint64 axis, GError **error);

G_END_DECLS
