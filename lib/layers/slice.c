/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

/* Layers that choose among the places of an axis. */

/* -- slice -- */

typedef struct
{
  PtDoubleList start, length, axis, step;
} SliceOptions;

static const PtParam slice_params[] = {
  {"start", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (SliceOptions, start), "0",
        -PT_MAX_ELEMENTS, PT_MAX_ELEMENTS, NULL,
      "first place; below 0 from the end: -1 is the last"},
  {"length", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (SliceOptions, length),
        NULL, 1, PT_MAX_ELEMENTS, NULL, "how many places"},
  {"axis", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (SliceOptions, axis), "1",
        -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL,
      "which axis, 1 the channels; or several, as many as of the others"},
  {"step", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (SliceOptions, step), "1",
        -PT_MAX_ELEMENTS, PT_MAX_ELEMENTS, NULL,
      "from one place to the next; below 0 backwards"},
  {NULL}
};

/* Of one axis of the input. */
typedef struct
{
  gint64 first, length, step;
} Slice;

/* One number of each list for each axis; one number alone is for all. */
static gboolean
slice_get_list (const PtDoubleList *list, const gchar *key, gint n,
    gint64 *values, GError **error)
{
  const gint found = pt_layer_get_whole (list, key, values, PT_MAX_DIMS,
      error);

  if (found < 0)
    return FALSE;
  if (found != n && found != 1) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s has %d numbers, "
        "expected one, or %d as axis has", key, found, n);
    return FALSE;
  }
  for (gint i = 1; found == 1 && i < n; i++)
    values[i] = values[0];
  return TRUE;
}

/* A part of each axis, as it is for those that the options do not name. */
static gboolean
slice_get (const PtLayer *layer, Slice *slices, GError **error)
{
  const SliceOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  gint64 start[PT_MAX_DIMS], length[PT_MAX_DIMS], step[PT_MAX_DIMS],
      axes[PT_MAX_DIMS];
  const gint n = pt_layer_get_whole (&options->axis, "axis", axes,
      PT_MAX_DIMS, error);

  if (n < 0 || !slice_get_list (&options->start, "start", n, start, error) ||
      !slice_get_list (&options->length, "length", n, length, error) ||
      !slice_get_list (&options->step, "step", n, step, error))
    return FALSE;
  for (guint i = 0; i < x->n_dims; i++)
    slices[i] = (Slice) { 0, x->dims[i], 1 };
  for (gint i = 0; i < n; i++) {
    const gint axis = pt_layer_get_axis (x, axes[i], error);
    const gint64 size = axis < 0 ? 0 : x->dims[axis];
    const gint64 first = start[i] < 0 ? start[i] + size : start[i];
    const gint64 room = step[i] > 0 ? size - 1 - first : first;

    if (axis < 0)
      return FALSE;
    if (first < 0 || first >= size || step[i] == 0 ||
        length[i] - 1 > room / ABS (step[i])) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "start=%" G_GINT64_FORMAT
          " length=%" G_GINT64_FORMAT " step=%" G_GINT64_FORMAT ", expected a "
          "part of the %" G_GINT64_FORMAT " of axis %d", start[i], length[i],
          step[i], size, axis);
      return FALSE;
    }
    slices[axis] = (Slice) { first, length[i], step[i] };
  }
  return TRUE;
}

static gboolean
slice_infer (PtLayer *layer, GError **error)
{
  Slice slices[PT_MAX_DIMS];

  layer->output = layer->inputs[0];
  if (!slice_get (layer, slices, error))
    return FALSE;
  for (guint i = 0; i < layer->output.n_dims; i++)
    layer->output.dims[i] = slices[i].length;
  return TRUE;
}

static gboolean
slice_get_map (const PtLayer *layer, PtMap *map, GError **error)
{
  Slice slices[PT_MAX_DIMS];

  if (!slice_get (layer, slices, error))
    return FALSE;
  pt_map_init (map, layer);
  for (guint i = 0; i < map->n; i++) {
    map->axes[i].first = slices[i].first;
    map->axes[i].step = slices[i].step;
  }
  return TRUE;
}

static const gchar *const slice_samples[] = {
  "in=1x5x3x4 start=1 length=2",
  "in=1x3x4x5 length=2",
  "in=1x9x2x3 start=-3 length=3",
  "in=1x7 start=-2 length=1",
  "in=1x3x2x2 length=3",
  "in=1x3x4x7 axis=-1 start=1 length=3 step=2",
  "in=2x3x5x4 axis=0;2;3 start=1;4;-1 length=1;3;4 step=1;-2;-1",
  "in=3x8 axis=0 start=2 length=2 step=-2",
  NULL,
};

const PtLayerKind pt_layer_slice = {
  .name = "slice",
  .summary = "a part of some axes, torch.narrow, also in steps or backwards",
  .options_size = sizeof (SliceOptions),
  .params = slice_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = slice_samples,
  .infer = slice_infer,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .get_map = slice_get_map,
};

/* -- index-select -- */

typedef struct
{
  gint axis;
  PtDoubleList index;
} IndexSelectOptions;

static const PtParam index_select_params[] = {
  {"axis", PT_PARAM_INT, G_STRUCT_OFFSET (IndexSelectOptions, axis), "1",
      -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL, "along which axis, 1 the channels"},
  {"index", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (IndexSelectOptions, index),
        NULL, -PT_MAX_ELEMENTS, PT_MAX_ELEMENTS, NULL,
      "which places; below 0 from the end, any of them any number of times"},
  {NULL}
};

static gboolean
index_select_infer (PtLayer *layer, GError **error)
{
  const IndexSelectOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  const gint axis = pt_layer_get_axis (x, options->axis, error);

  layer->output = *x;
  if (axis < 0)
    return FALSE;
  layer->output.dims[axis] = options->index.n;
  for (guint i = 0; i < options->index.n; i++) {
    const gdouble at = options->index.values[i];

    if (at < -x->dims[axis] || at >= x->dims[axis] || at != (gint64) at) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "index has %g, expected "
          "whole numbers below the %" G_GINT64_FORMAT " of axis %d", at,
          x->dims[axis], axis);
      return FALSE;
    }
  }
  if (options->index.n > 0)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "index is empty, expected a place");
  return FALSE;
}

static gboolean
index_select_get_map (const PtLayer *layer, PtMap *map, GError **error)
{
  const IndexSelectOptions *options = layer->options;
  PtMapAxis *axis;

  pt_map_init (map, layer);
  axis = &map->axes[pt_layer_get_axis (&layer->inputs[0], options->axis, NULL)];
  axis->taps = pt_taps_new ();
  for (guint i = 0; i < options->index.n; i++) {
    const gint64 at = options->index.values[i];

    pt_taps_add (axis->taps, at < 0 ? at + axis->n_in : at, 1);
    pt_taps_end (axis->taps);
  }
  return TRUE;
}

static const gchar *const index_select_samples[] = {
  "in=1x5x3x4 index=4;0;0;2",
  "in=1x3x4x5 axis=3 index=0;1;2;4;-2;0",
  "in=3x4x2 axis=0 index=1;1",
  "in=1x17x3 axis=1 index=16;3;4;5;6;7;8",
  NULL,
};

const PtLayerKind pt_layer_index_select = {
  .name = "index-select",
  .summary = "these places of an axis, torch.index_select",
  .options_size = sizeof (IndexSelectOptions),
  .params = index_select_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = index_select_samples,
  .infer = index_select_infer,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .get_map = index_select_get_map,
};
