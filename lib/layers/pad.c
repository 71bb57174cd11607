/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

/* Layers that make axes longer. */

/* -- pad -- */

typedef struct
{
  PtDoubleList pad;
  gint mode;
  gdouble value;
} PadOptions;

typedef enum
{
  PAD_CONSTANT,
  PAD_REFLECT,
  PAD_REPLICATE,
  PAD_CIRCULAR,
} PadMode;

static const gchar *const pad_modes[] = {
  [PAD_CONSTANT] = "constant",
  [PAD_REFLECT] = "reflect",
  [PAD_REPLICATE] = "replicate",
  [PAD_CIRCULAR] = "circular",
  NULL,
};

static const PtParam pad_params[] = {
  {"pad", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (PadOptions, pad), NULL,
        -PT_MAX_ELEMENTS, PT_MAX_ELEMENTS, NULL,
      "before and behind the last axis, then the one before it: left, right, "
        "top, bottom; below 0 cuts"},
  {"mode", PT_PARAM_ENUM, G_STRUCT_OFFSET (PadOptions, mode), "constant", 0,
      0, pad_modes, "what is put there"},
  {"value", PT_PARAM_DOUBLE, G_STRUCT_OFFSET (PadOptions, value), "0", 0, 0,
      NULL, "the constant"},
  {NULL}
};

/* What is put before and behind each axis. */
static gboolean
pad_get (const PtLayer *layer, gint64 sides[PT_MAX_DIMS][2], GError **error)
{
  const PadOptions *options = layer->options;
  const guint rank = layer->inputs[0].n_dims;
  gint64 pad[2 * PT_MAX_DIMS];
  const gint n = pt_layer_get_whole (&options->pad, "pad", pad,
      2 * PT_MAX_DIMS, error);

  if (n < 0)
    return FALSE;
  if (n % 2 != 0 || n > 2 * (gint) rank) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "pad has %d numbers, "
        "expected two for each axis from the last on, of %u axes", n, rank);
    return FALSE;
  }
  for (guint i = 0; i < rank; i++) {
    const gint at = 2 * (rank - 1 - i);

    sides[i][0] = at < n ? pad[at] : 0;
    sides[i][1] = at < n ? pad[at + 1] : 0;
  }
  return TRUE;
}

static gboolean
pad_infer (PtLayer *layer, GError **error)
{
  gint64 sides[PT_MAX_DIMS][2];

  layer->output = layer->inputs[0];
  if (!pad_get (layer, sides, error))
    return FALSE;
  for (guint i = 0; i < layer->output.n_dims; i++)
    layer->output.dims[i] += sides[i][0] + sides[i][1];
  return TRUE;
}

/* Which of @n places is at @i, of any whole numbers; below 0: none. */
static gint64
pad_find (PadMode mode, gint64 i, gint64 n)
{
  const gint64 period = mode == PAD_REFLECT ? MAX (2 * (n - 1), 1) : n;
  const gint64 at = (i % period + period) % period;

  if (i >= 0 && i < n)
    return i;
  switch (mode) {
    case PAD_REPLICATE:
      return i < 0 ? 0 : n - 1;
    case PAD_REFLECT:
      return at < n ? at : period - at;
    case PAD_CIRCULAR:
      return at;
    default:
      return -1;
  }
}

static gboolean
pad_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const PadOptions *options = layer->options;
  g_auto (PtMap) map = {.fill = options->value };
  gint64 sides[PT_MAX_DIMS][2];

  if (!pad_get (layer, sides, error))
    return FALSE;
  pt_map_init (&map, layer);
  for (guint a = 0; a < map.n; a++) {
    PtMapAxis *axis = &map.axes[a];

    axis->first = -sides[a][0];
    if (sides[a][0] <= 0 && sides[a][1] <= 0)
      continue;
    if (!pt_map_check (axis->n_out, error))
      return FALSE;
    axis->taps = pt_taps_new ();
    for (gint64 i = 0; i < axis->n_out; i++) {
      const gint64 at = pad_find (options->mode, i + axis->first, axis->n_in);

      if (at >= 0)
        pt_taps_add (axis->taps, at, 1);
      pt_taps_end (axis->taps);
    }
  }
  return pt_layer_plan_map (layer, workspace, plan, &map, error);
}

static const gchar *const pad_samples[] = {
  "in=1x3x4x5 pad=1;2;0;1",
  "in=1x3x4x5 pad=1;2;0;1 value=-1.5",
  "in=1x3x4x5 pad=2;-1;-1;3;1;0;0;0",
  "in=1x3x4x5 pad=4;2;1;3 mode=reflect",
  "in=1x3x4x5 pad=4;9;1;3 mode=replicate",
  "in=1x3x4x5 pad=4;5;1;3 mode=circular",
  "in=2x3x6 pad=5;4 mode=reflect",
  "in=2x7 pad=0;0;1;2 value=0.5",
  NULL,
};

const PtLayerKind pt_layer_pad = {
  .name = "pad",
  .summary = "a border around, torch.nn.functional.pad",
  .options_size = sizeof (PadOptions),
  .params = pad_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = pad_samples,
  .infer = pad_infer,
  .plan = pad_plan,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
};

/* -- expand -- */

typedef struct
{
  PtDoubleList shape;
} ExpandOptions;

static const PtParam expand_params[] = {
  {"shape", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (ExpandOptions, shape), NULL,
        -1, PT_MAX_ELEMENTS, NULL,
      "all dimensions, perhaps more in front; -1 keeps one that is there"},
  {NULL}
};

static gboolean
expand_infer (PtLayer *layer, GError **error)
{
  const ExpandOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  gint64 dims[PT_MAX_DIMS];
  const gint n = pt_layer_get_whole (&options->shape, "shape", dims,
      PT_MAX_DIMS, error);
  const gint more = n - (gint) x->n_dims;
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (n < 0)
    return FALSE;
  layer->output.n_dims = n;
  for (gint i = 0; i < n; i++) {
    const gint64 from = i < more ? 1 : x->dims[i - more];

    layer->output.dims[i] = dims[i] == -1 && i >= more ? from : dims[i];
    if (more < 0 || (from != 1 && from != layer->output.dims[i]))
      break;
    if (i == n - 1)
      return TRUE;
  }
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "shape has %d dimensions, "
      "expected those of %s, where 1 may become more, and perhaps others in "
      "front", n, pt_shape_print (x, text));
  return FALSE;
}

static gboolean
expand_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  const PtShape *x = &layer->inputs[0], *y = &layer->output;
  const guint more = y->n_dims - x->n_dims;
  g_auto (PtMap) map = {.n = 0 };
  gint64 in[PT_MAX_DIMS], out[PT_MAX_DIMS];

  pt_shape_get_strides (x, TRUE, in);
  pt_shape_get_strides (y, TRUE, out);
  for (guint i = 0; i < y->n_dims; i++) {
    PtMapAxis *axis =
        pt_map_add (&map, y->dims[i], i < more ? 0 : in[i - more], out[i]);

    axis->n_in = i < more ? 1 : x->dims[i - more];
    axis->step = axis->n_in == 1 ? 0 : 1;
  }
  return pt_layer_plan_map (layer, workspace, plan, &map, error);
}

static const gchar *const expand_samples[] = {
  "in=1x3x1x5 shape=-1;3;4;5",
  "in=1x1x4x5 shape=2;3;-1;-1",
  "in=3x1 shape=2;2;3;4",
  "in=1x6 shape=40;6",
  "in=1x2x1x1 shape=1;2;30;17",
  NULL,
};

const PtLayerKind pt_layer_expand = {
  .name = "expand",
  .summary = "axes of size 1 repeated, torch.Tensor.expand",
  .options_size = sizeof (ExpandOptions),
  .params = expand_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = expand_samples,
  .infer = expand_infer,
  .plan = expand_plan,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
};
