/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/shape.h"

G_BEGIN_DECLS

/* NumPy's broadcasting. Operands have the strides of their own memory along
 * the dimensions of the result, 0 where one element serves all. */
gboolean pt_shape_broadcast (const PtShape *a, const PtShape *b, PtShape *to,
    GError **error);
void pt_shape_get_broadcast_strides (const PtShape *of, const PtShape *to,
    gint64 strides[PT_MAX_DIMS]);

enum
{
  PT_WALK_A,
  PT_WALK_B,
  PT_WALK_Y,
  PT_WALK_N,
};

/* A way through two operands and their result on a device: at least one
 * dimension, as few as will do, none of one element but where that is all. The
 * first @n_kept make up the target, the others are summed over; the innermost
 * of the result's memory comes last among either. */
typedef struct
{
  guint n_dims, n_kept;
  gint64 dims[PT_MAX_DIMS];
  gint64 strides[PT_WALK_N][PT_MAX_DIMS];
} PtWalk;

void pt_walk_init (PtWalk *self, const PtShape *y,
    const gint64 strides[2][PT_MAX_DIMS], guint target);
gint64 pt_walk_count (const PtWalk *self, guint from, guint end);

G_END_DECLS
