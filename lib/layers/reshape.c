/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

/* Layers that give the same elements other dimensions. */

/* -- reshape -- */

typedef struct
{
  PtDoubleList shape;
} ReshapeOptions;

static const PtParam reshape_params[] = {
  {"shape", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (ReshapeOptions, shape),
        NULL, -1, PT_MAX_ELEMENTS, NULL,
      "all dimensions, the first too; 0 keeps one, -1 is what is left"},
  {NULL}
};

static gboolean
reshape_refuse (const PtLayer *layer, const gint64 *dims, guint n,
    GError **error)
{
  gchar x[PT_SHAPE_TEXT_SIZE], y[PT_SHAPE_TEXT_SIZE];
  PtShape wanted = {.n_dims = n };

  for (guint i = 0; i < n; i++)
    wanted.dims[i] = dims[i];
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "shape=%s, expected the %"
      G_GINT64_FORMAT " elements of %s in 1 to %d dimensions, at most one of "
      "them -1", pt_shape_print (&wanted, y),
      pt_shape_get_n_elements (&layer->inputs[0]),
      pt_shape_print (&layer->inputs[0], x), PT_MAX_DIMS);
  return FALSE;
}

static gboolean
reshape_infer (PtLayer *layer, GError **error)
{
  const ReshapeOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  const gint64 all = pt_shape_get_n_elements (x);
  gint64 dims[PT_MAX_DIMS], known = 1;
  const gint n = pt_layer_get_whole (&options->shape, "shape", dims,
      PT_MAX_DIMS, error);
  gint open = -1;

  layer->output.n_dims = n;
  for (gint i = 0; i < n; i++) {
    const gint64 dim =
        dims[i] == 0 && (guint) i < x->n_dims ? x->dims[i] : dims[i];

    layer->output.dims[i] = dim;
    if (dim == -1 && open < 0)
      open = i;
    else if (dim < 1 || dim > all / known)
      return reshape_refuse (layer, dims, n, error);
    else
      known *= dim;
  }
  if (open >= 0)
    layer->output.dims[open] = all / known;
  if (n < 0)
    return FALSE;
  return (n > 0 && known * (open < 0 ? 1 : layer->output.dims[open]) == all) ||
      reshape_refuse (layer, dims, n, error);
}

/* The dimensions in logical order; those that are neighbours in memory, too,
 * are one. */
typedef struct
{
  gint64 dims[PT_MAX_DIMS], strides[PT_MAX_DIMS];
  guint n;
} Places;

static void
reshape_list (const PtShape *shape, Places *places)
{
  gint64 strides[PT_MAX_DIMS];

  pt_shape_get_strides (shape, TRUE, strides);
  places->n = 0;
  for (guint i = 0; i < shape->n_dims; i++) {
    const guint n = places->n;

    if (shape->dims[i] == 1)
      continue;
    if (n > 0 && places->strides[n - 1] == shape->dims[i] * strides[i]) {
      places->dims[n - 1] *= shape->dims[i];
      places->strides[n - 1] = strides[i];
      continue;
    }
    places->dims[n] = shape->dims[i];
    places->strides[n] = strides[i];
    places->n++;
  }
}

/* Cuts the dimensions of both into common factors, from the last on. FALSE if
 * there are none: 2x3 as 3x2. */
static gboolean
reshape_factor (PtMap *map, Places x, Places y)
{
  while (x.n > 0 && y.n > 0) {
    gint64 *a = &x.dims[x.n - 1], *b = &y.dims[y.n - 1];
    const gint64 n = MIN (*a, *b);

    if (*a % n != 0 || *b % n != 0)
      return FALSE;
    pt_map_add (map, n, x.strides[x.n - 1], y.strides[y.n - 1]);
    x.strides[x.n - 1] *= n;
    y.strides[y.n - 1] *= n;
    *a /= n;
    *b /= n;
    x.n -= *a == 1;
    y.n -= *b == 1;
  }
  return TRUE;
}

/* Where element @i of the row-major order lies. */
static gint64
reshape_find (const Places *places, gint64 i)
{
  gint64 at = 0;

  for (guint k = places->n; k-- > 0; i /= places->dims[k])
    at += i % places->dims[k] * places->strides[k];
  return at;
}

/* Without common factors, element by element. */
static gboolean
reshape_tabulate (PtMap *map, const Places *x, const Places *y, gint64 n,
    GError **error)
{
  g_autofree gint32 *from = NULL;

  if (!pt_map_check (n, error))
    return FALSE;
  from = g_new (gint32, n);
  for (gint64 i = 0; i < n; i++)
    from[reshape_find (y, i)] = reshape_find (x, i);
  pt_map_add (map, n, 1, 1)->taps = pt_taps_new ();
  for (gint64 i = 0; i < n; i++) {
    pt_taps_add (map->axes[0].taps, from[i], 1);
    pt_taps_end (map->axes[0].taps);
  }
  return TRUE;
}

static gboolean
reshape_get_map (const PtLayer *layer, PtMap *map, GError **error)
{
  Places x, y;

  reshape_list (&layer->inputs[0], &x);
  reshape_list (&layer->output, &y);
  if (reshape_factor (map, x, y))
    return TRUE;
  pt_map_clear (map);
  return reshape_tabulate (map, &x, &y,
      pt_shape_get_n_elements (&layer->output), error);
}

static const gchar *const reshape_samples[] = {
  "in=1x3x4x5 shape=1;60",
  "in=1x6x5x2 shape=0;-1;3;5",
  "in=2x3x4 shape=1;6;2;2",
  "in=1x6x5x7 shape=1;5;6;7",
  "in=2x6 shape=3;4",
  "in=1x12x2x2 shape=1;2;6;2;2",
  "in=1x2x3x2x2 shape=-1;2;2",
  "in=1x8 shape=1;2;1;2;1;2",
  NULL,
};

const PtLayerKind pt_layer_reshape = {
  .name = "reshape",
  .summary = "the same elements in another shape, torch.reshape",
  .options_size = sizeof (ReshapeOptions),
  .params = reshape_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = reshape_samples,
  .infer = reshape_infer,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .get_map = reshape_get_map,
};

/* -- flatten -- */

static const PtParam flatten_params[] = {
  {NULL}
};

static gboolean
flatten_infer (PtLayer *layer, GError **error)
{
  layer->output = PT_SHAPE (1, pt_shape_get_n_elements (&layer->inputs[0]));
  return TRUE;
}

static const gchar *const flatten_samples[] = {
  "in=1x3x4x5",
  "in=1x16x1x1",
  "in=1x9",
  NULL,
};

const PtLayerKind pt_layer_flatten = {
  .name = "flatten",
  .summary = "channels, rows and columns as one row, torch.nn.Flatten",
  .params = flatten_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = flatten_samples,
  .infer = flatten_infer,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .get_map = reshape_get_map,
};

/* -- transpose -- */

typedef struct
{
  PtDoubleList perm;
} TransposeOptions;

static const PtParam transpose_params[] = {
  {"perm", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (TransposeOptions, perm),
        NULL, -PT_MAX_DIMS, PT_MAX_DIMS - 1, NULL,
      "the input's axis for each of the output's"},
  {NULL}
};

/* The input's axis for each of the output's, from 0 on. */
static gboolean
transpose_get_perm (const PtLayer *layer, gint *perm, GError **error)
{
  const TransposeOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  gint64 axes[PT_MAX_DIMS];
  const gint n = pt_layer_get_whole (&options->perm, "perm", axes,
      PT_MAX_DIMS, error);
  guint seen = 0;

  if (n < 0)
    return FALSE;
  for (gint i = 0; i < n; i++) {
    perm[i] = pt_layer_get_axis (x, axes[i], error);
    if (perm[i] < 0)
      return FALSE;
    seen |= 1u << perm[i];
  }
  if ((guint) n == x->n_dims && seen == (1u << n) - 1)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "perm has %d axes, expected "
      "each of the input's %u once", n, x->n_dims);
  return FALSE;
}

static gboolean
transpose_infer (PtLayer *layer, GError **error)
{
  const PtShape *x = &layer->inputs[0];
  gint perm[PT_MAX_DIMS];

  if (!transpose_get_perm (layer, perm, error))
    return FALSE;
  layer->output.n_dims = x->n_dims;
  for (guint i = 0; i < x->n_dims; i++)
    layer->output.dims[i] = x->dims[perm[i]];
  return TRUE;
}

static gboolean
transpose_get_map (const PtLayer *layer, PtMap *map, GError **error)
{
  gint64 in[PT_MAX_DIMS], out[PT_MAX_DIMS];
  gint perm[PT_MAX_DIMS];

  if (!transpose_get_perm (layer, perm, error))
    return FALSE;
  pt_shape_get_strides (&layer->inputs[0], TRUE, in);
  pt_shape_get_strides (&layer->output, TRUE, out);
  for (guint i = 0; i < layer->output.n_dims; i++)
    pt_map_add (map, layer->output.dims[i], in[perm[i]], out[i]);
  return TRUE;
}

static const gchar *const transpose_samples[] = {
  "in=1x3x4x5 perm=0;2;3;1",
  "in=1x3x4x5 perm=0;1;-1;-2",
  "in=2x3x4 perm=2;0;1",
  "in=5x4 perm=1;0",
  "in=2x3x4x2x3 perm=4;0;3;1;2",
  "in=2x2x3x2x2x3 perm=0;3;1;4;2;5",
  "in=1x17x19 perm=0;2;1",
  NULL,
};

const PtLayerKind pt_layer_transpose = {
  .name = "transpose",
  .summary = "the axes in another order, torch.permute",
  .options_size = sizeof (TransposeOptions),
  .params = transpose_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = transpose_samples,
  .infer = transpose_infer,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .get_map = transpose_get_map,
};
