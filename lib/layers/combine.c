/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

#include <math.h>

enum
{
  FORWARD,
  BACKWARD,
};

/* Row i has rows[i] to rows[i + 1] - 1 of the others. */
struct _PtTaps
{
  GArray *rows;                 /* gint32, one more than there are rows */
  GArray *places;               /* gint32 */
  GArray *weights;              /* gfloat */
};

#define TAPS_ROW(self, i) g_array_index ((self)->rows, gint32, i)
#define TAPS_PLACE(self, k) g_array_index ((self)->places, gint32, k)
#define TAPS_WEIGHT(self, k) g_array_index ((self)->weights, gfloat, k)

PtTaps *
pt_taps_new (void)
{
  const gint32 zero = 0;
  PtTaps *self = g_new (PtTaps, 1);

  self->rows = g_array_new (FALSE, FALSE, sizeof (gint32));
  self->places = g_array_new (FALSE, FALSE, sizeof (gint32));
  self->weights = g_array_new (FALSE, FALSE, sizeof (gfloat));
  g_array_append_val (self->rows, zero);
  return self;
}

void
pt_taps_free (PtTaps *self)
{
  if (self == NULL)
    return;
  g_array_unref (self->rows);
  g_array_unref (self->places);
  g_array_unref (self->weights);
  g_free (self);
}

void
pt_taps_add (PtTaps *self, gint64 place, gdouble weight)
{
  const gint32 at = place;
  const gfloat w = weight;
  const guint n = self->places->len;

  if (w == 0)
    return;
  if (n > (guint) TAPS_ROW (self, self->rows->len - 1)
      && TAPS_PLACE (self, n - 1) == at) {
    TAPS_WEIGHT (self, n - 1) += w;
    return;
  }
  g_array_append_val (self->places, at);
  g_array_append_val (self->weights, w);
}

void
pt_taps_end (PtTaps *self)
{
  g_array_append_val (self->rows, self->places->len);
}

/* Which rows read each place: those of @axis, the other way round. */
static PtTaps *
taps_transpose (const PtMapAxis *axis)
{
  const PtTaps *from = axis->taps;
  PtTaps *to = pt_taps_new ();
  gint32 *rows;

  g_array_set_size (to->rows, axis->n_in + 1);
  g_array_set_size (to->places, from->places->len);
  g_array_set_size (to->weights, from->places->len);
  rows = &TAPS_ROW (to, 0);
  for (gint64 i = 0; i <= axis->n_in; i++)
    rows[i] = 0;
  for (guint k = 0; k < from->places->len; k++)
    rows[TAPS_PLACE (from, k) + 1]++;
  for (gint64 i = 0; i < axis->n_in; i++)
    rows[i + 1] += rows[i];
  for (gint32 row = 0; row < axis->n_out; row++)
    for (gint32 k = TAPS_ROW (from, row); k < TAPS_ROW (from, row + 1); k++) {
      const gint32 at = rows[TAPS_PLACE (from, k)]++;

      TAPS_PLACE (to, at) = row;
      TAPS_WEIGHT (to, at) = TAPS_WEIGHT (from, k);
    }
  for (gint64 i = axis->n_in; i > 0; i--)
    rows[i] = rows[i - 1];
  rows[0] = 0;
  return to;
}

/* Whether no row has more than one tap, of weight 1. */
static gboolean
taps_are_places (const PtTaps *self)
{
  for (guint k = 0; k < self->weights->len; k++)
    if (TAPS_WEIGHT (self, k) != 1)
      return FALSE;
  for (guint i = 0; i + 1 < self->rows->len; i++)
    if (TAPS_ROW (self, i + 1) > TAPS_ROW (self, i) + 1)
      return FALSE;
  return TRUE;
}

/* -- maps -- */

void
pt_map_clear (PtMap *self)
{
  for (guint i = 0; i < self->n; i++)
    g_clear_pointer (&self->axes[i].taps, pt_taps_free);
  self->n = 0;
}

PtMapAxis *
pt_map_add (PtMap *self, gint64 n, gint64 in_stride, gint64 out_stride)
{
  PtMapAxis *axis = &self->axes[self->n++];

  *axis = (PtMapAxis) { n, n, in_stride, out_stride, 0, 1, NULL };
  return axis;
}

void
pt_map_init (PtMap *self, const PtLayer *layer)
{
  const PtShape *x = &layer->inputs[0], *y = &layer->output;
  gint64 in[PT_MAX_DIMS], out[PT_MAX_DIMS];

  pt_shape_get_strides (x, TRUE, in);
  pt_shape_get_strides (y, TRUE, out);
  for (guint i = 0; i < x->n_dims; i++)
    pt_map_add (self, x->dims[i], in[i], out[i])->n_out = y->dims[i];
}

gint64
pt_map_get_place (const PtMapAxis *axis, gint64 row)
{
  return axis->taps == NULL ? axis->first + row * axis->step :
      TAPS_PLACE (axis->taps, TAPS_ROW (axis->taps, row));
}

gboolean
pt_map_check (gint64 n, GError **error)
{
  if (n <= PT_MAP_MAX_TAPS)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "this takes a table of %"
      G_GINT64_FORMAT " places, expected at most %d", n, PT_MAP_MAX_TAPS);
  return FALSE;
}

/* What one row after the other reads, as a table. */
static gboolean
map_tabulate (PtMapAxis *axis, GError **error)
{
  if (axis->taps != NULL)
    return TRUE;
  if (!pt_map_check (MAX (axis->n_in, axis->n_out), error))
    return FALSE;
  axis->taps = pt_taps_new ();
  for (gint64 i = 0; i < axis->n_out; i++) {
    pt_taps_add (axis->taps, axis->first + i * axis->step, 1);
    pt_taps_end (axis->taps);
  }
  return TRUE;
}

/* The gradient's way: each axis the other way round. */
static gboolean
map_transpose (const PtMap *self, PtMap *to, GError **error)
{
  for (guint i = 0; i < self->n; i++) {
    PtMapAxis axis = self->axes[i];
    PtMapAxis *turned =
        pt_map_add (to, axis.n_in, axis.out_stride, axis.in_stride);

    turned->n_in = axis.n_out;
    if (axis.taps == NULL && axis.n_in == axis.n_out && ABS (axis.step) == 1) {
      turned->first = axis.step > 0 ? 0 : axis.n_in - 1;
      turned->step = axis.step;
      continue;
    }
    if (!map_tabulate (&axis, error))
      return FALSE;
    turned->taps = taps_transpose (&axis);
    if (axis.taps != self->axes[i].taps)
      pt_taps_free (axis.taps);
  }
  return TRUE;
}

/* -- descriptions of operations -- */

/* Places that lie evenly need no table. */
static gboolean
desc_is_even (const gint32 *offsets, gint64 n)
{
  for (gint64 i = 0; i < n; i++)
    if (offsets[i] < 0 || (i > 1 && (gint64) offsets[i] - offsets[i - 1] !=
            (gint64) offsets[1] - offsets[0]))
      return FALSE;
  return TRUE;
}

/* Tables made of @axis; @memory owns them. */
static void
desc_add_axis (PtCombineDesc *desc, const PtMapAxis *axis, GPtrArray *memory)
{
  PtCombineAxis *to = &desc->axes[desc->n_axes];
  const PtTaps *taps = axis->taps;
  const gboolean places = taps != NULL && taps_are_places (taps);
  gint64 n = axis->n_out;
  gint32 *offsets;

  *to = (PtCombineAxis) { n, axis->step * axis->in_stride };
  desc->n_axes++;
  if (taps == NULL) {
    desc->base += axis->first * axis->in_stride;
    return;
  }
  n = places ? n : taps->places->len;
  offsets = g_new (gint32, MAX (n, 1));
  g_ptr_array_add (memory, offsets);
  for (gint64 i = 0; i < n; i++) {
    const gint32 k = places ? TAPS_ROW (taps, i) : (gint32) i;
    const gboolean none = places && TAPS_ROW (taps, i + 1) == k;

    offsets[i] = none ? -1 : TAPS_PLACE (taps, k) * axis->in_stride;
  }
  to->offsets = offsets;
  if (!places) {
    to->rows = &TAPS_ROW (taps, 0);
    to->weights = (const gfloat *) taps->weights->data;
  } else if (desc_is_even (offsets, n)) {
    desc->base += offsets[0];
    to->stride = n > 1 ? (gint64) offsets[1] - offsets[0] : 0;
    to->offsets = NULL;
  }
}

/* Neighbouring axes that are one in memory become one, and the innermost, if
 * it is read without steps, the block. */
static void
desc_merge (PtCombineDesc *desc)
{
  guint n = 0;

  for (guint i = 0; i < desc->n_axes; i++) {
    const PtCombineAxis axis = desc->axes[i];
    PtCombineAxis *last = n > 0 ? &desc->axes[n - 1] : NULL;

    if (axis.offsets == NULL && axis.n == 1)
      continue;
    if (last != NULL && last->offsets == NULL && axis.offsets == NULL &&
        last->stride == axis.stride * axis.n) {
      last->n *= axis.n;
      last->stride = axis.stride;
    } else
      desc->axes[n++] = axis;
  }
  desc->block = 1;
  if (n > 0 && desc->axes[n - 1].offsets == NULL &&
      desc->axes[n - 1].stride == 1)
    desc->block = desc->axes[--n].n;
  desc->n_axes = n;
}

/* An axis with one row only may be anywhere; its stride says nothing. */
static gint64
desc_get_order (const PtMapAxis *axis)
{
  return axis->n_out == 1 ? G_MAXINT64 : axis->out_stride;
}

static void
desc_init (PtCombineDesc *desc, const PtMap *map, GPtrArray *memory)
{
  guint order[PT_COMBINE_MAX_AXES];

  for (guint i = 0; i < map->n; i++) {
    guint at = i;

    for (; at > 0 && desc_get_order (&map->axes[order[at - 1]]) <
        desc_get_order (&map->axes[i]); at--)
      order[at] = order[at - 1];
    order[at] = i;
  }
  *desc = (PtCombineDesc) {.fill = map->fill };
  for (guint i = 0; i < map->n; i++)
    desc_add_axis (desc, &map->axes[order[i]], memory);
  desc_merge (desc);
}

/* -- layers -- */

gboolean
pt_map_plan (PtLayerPlan *plan, guint slot, PtWorkspace *workspace,
    const PtMap *map, const PtShape *x, const PtShape *y, GError **error)
{
  g_autoptr (GPtrArray) memory = g_ptr_array_new_with_free_func (g_free);
  PtOpDesc desc = {.type = PT_OP_COMBINE,.x = *x,.y = *y };

  desc_init (&desc.combine, map, memory);
  return pt_layer_plan_op (plan, slot, workspace, &desc, error);
}

gboolean
pt_layer_plan_map (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, const PtMap *map, GError **error)
{
  const PtShape *x = &layer->inputs[0], *y = &layer->output;
  g_auto (PtMap) back = {.n = 0 };

  if (!pt_map_plan (plan, FORWARD, workspace, map, x, y, error))
    return FALSE;
  return !workspace->training || (map_transpose (map, &back, error) &&
      pt_map_plan (plan, BACKWARD, workspace, &back, y, x, error));
}

gboolean
pt_layer_plan_moves (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  g_auto (PtMap) map = {.n = 0 };

  return layer->kind->get_map (layer, &map, error) &&
      pt_layer_plan_map (layer, workspace, plan, &map, error);
}

gboolean
pt_layer_forward_map (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return pt_op_run (plan->ops[FORWARD],
      &(PtOpArgs) {.x = args->x[0],.y = args->y}, error);
}

gboolean
pt_layer_backward_map (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  return args->dx[0] == NULL || pt_op_run (plan->ops[BACKWARD],
      &(PtOpArgs) {.x = args->dy,.y = args->dx[0]}, error);
}

gint
pt_layer_get_whole (const PtDoubleList *list, const gchar *key,
    gint64 *values, guint most, GError **error)
{
  if (list->n > most) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s has %u numbers, "
        "expected at most %u", key, list->n, most);
    return -1;
  }
  for (guint i = 0; i < list->n; i++) {
    if (list->values[i] != floor (list->values[i]) ||
        fabs (list->values[i]) > PT_MAX_ELEMENTS) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s has %g, expected "
          "whole numbers", key, list->values[i]);
      return -1;
    }
    values[i] = list->values[i];
  }
  return list->n;
}

gint
pt_layer_get_axis (const PtShape *shape, gint64 axis, GError **error)
{
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (axis >= -(gint64) shape->n_dims && axis < shape->n_dims)
    return axis < 0 ? axis + shape->n_dims : axis;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "axis=%" G_GINT64_FORMAT
      ", expected one of shape %s, %d to %u", axis,
      pt_shape_print (shape, text), -(gint) shape->n_dims, shape->n_dims - 1);
  return -1;
}
