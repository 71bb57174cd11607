/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/walk.h"

#include "partime/error.h"

/* Dimensions are aligned at the last; those that differ must be 1 in one. */
gboolean
pt_shape_broadcast (const PtShape *a, const PtShape *b, PtShape *to,
    GError **error)
{
  const PtShape *longer = a->n_dims >= b->n_dims ? a : b;
  const PtShape *other = longer == a ? b : a;
  const guint lead = longer->n_dims - other->n_dims;
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  *to = *longer;
  for (guint i = 0; i < other->n_dims; i++) {
    gint64 *dim = &to->dims[lead + i];

    if (*dim == 1)
      *dim = other->dims[i];
    else if (other->dims[i] != 1 && other->dims[i] != *dim) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "found shapes %s and %s, "
          "expected the same dimensions from the last one on, or 1",
          pt_shape_print (a, found), pt_shape_print (b, expected));
      return FALSE;
    }
  }
  return TRUE;
}

void
pt_shape_get_broadcast_strides (const PtShape *of, const PtShape *to,
    gint64 strides[PT_MAX_DIMS])
{
  const guint lead = to->n_dims - of->n_dims;
  gint64 own[PT_MAX_DIMS];

  pt_shape_get_strides (of, TRUE, own);
  for (guint i = 0; i < to->n_dims; i++)
    strides[i] = i >= lead && of->dims[i - lead] > 1 ? own[i - lead] : 0;
}

/* Dimension @d goes behind those that are there, or into the last of them if
 * both are one in every memory. */
static void
walk_add (PtWalk *self, gint64 size, const gint64 strides[PT_WALK_N])
{
  const guint n = self->n_dims;
  gboolean joins = n > 0;

  for (guint k = 0; k < PT_WALK_N && joins; k++)
    joins = self->strides[k][n - 1] == strides[k] * size;
  self->n_dims += !joins;
  self->dims[self->n_dims - 1] = (joins ? self->dims[n - 1] : 1) * size;
  for (guint k = 0; k < PT_WALK_N; k++)
    self->strides[k][self->n_dims - 1] = strides[k];
}

/* @target is the one that is written: what it repeats is summed over. */
void
pt_walk_init (PtWalk *self, const PtShape *y,
    const gint64 strides[2][PT_MAX_DIMS], guint target)
{
  const gboolean swap = y->n_dims >= 4;
  gint64 own[PT_MAX_DIMS];

  *self = (PtWalk) { 0 };
  pt_shape_get_strides (y, TRUE, own);
  for (guint pass = 0; pass < 2; pass++) {
    for (guint i = 0; i < y->n_dims; i++) {
      /* in the order of the result's memory: 0, 2, 3, ..., 1 */
      const guint last = y->n_dims - 1;
      const guint d = !swap || i == 0 ? i : i == last ? 1 : i + 1;
      const gint64 all[PT_WALK_N] = { strides[0][d], strides[1][d], own[d] };

      if (y->dims[d] > 1 && (all[target] == 0) == pass)
        walk_add (self, y->dims[d], all);
    }
    if (pass == 0)
      self->n_kept = self->n_dims;
  }
  if (self->n_dims > 0)
    return;
  walk_add (self, 1, (gint64[PT_WALK_N]) { 1, 1, 1 });
  self->n_kept = 1;
}

gint64
pt_walk_count (const PtWalk *self, guint from, guint end)
{
  gint64 n = 1;

  for (guint i = from; i < end; i++)
    n *= self->dims[i];
  return n;
}
