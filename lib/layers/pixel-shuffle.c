/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

/* Channels become blocks of pixels, or blocks of pixels channels. */

typedef struct
{
  gint factor;
  gint order;
} ShuffleOptions;

/* How channels are numbered: PyTorch's c r r + i r + j for row i and column j
 * of a block, or ONNX's default (i r + j) C + c. */
typedef enum
{
  SHUFFLE_CRD,
  SHUFFLE_DCR,
} ShuffleOrder;

static const gchar *const shuffle_orders[] = { "crd", "dcr", NULL };

#define SHUFFLE_ORDER {"order", PT_PARAM_ENUM, \
    G_STRUCT_OFFSET (ShuffleOptions, order), "crd", 0, 0, shuffle_orders, \
    "how channels are numbered: crd as PyTorch, dcr the place in the block " \
    "first"}

static const PtParam shuffle_params[] = {
  {"upscale_factor", PT_PARAM_INT, G_STRUCT_OFFSET (ShuffleOptions, factor),
      NULL, 1, 1024, NULL, "how many times higher and wider"},
  SHUFFLE_ORDER,
  {NULL}
};

static const PtParam unshuffle_params[] = {
  {"downscale_factor", PT_PARAM_INT, G_STRUCT_OFFSET (ShuffleOptions, factor),
      NULL, 1, 1024, NULL, "how many times lower and narrower"},
  SHUFFLE_ORDER,
  {NULL}
};

static gboolean
shuffle_infer (PtLayer *layer, GError **error)
{
  const ShuffleOptions *options = layer->options;
  const gint64 r = options->factor;
  gint64 *dims = layer->output.dims;

  layer->output = layer->inputs[0];
  if (!pt_layer_check_rank (layer, 4, error))
    return FALSE;
  if (dims[1] % (r * r) != 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "upscale_factor=%"
        G_GINT64_FORMAT " with %" G_GINT64_FORMAT " channels, expected a "
        "multiple of %" G_GINT64_FORMAT, r, dims[1], r * r);
    return FALSE;
  }
  dims[1] /= r * r;
  dims[2] *= r;
  dims[3] *= r;
  return TRUE;
}

static gboolean
unshuffle_infer (PtLayer *layer, GError **error)
{
  const ShuffleOptions *options = layer->options;
  const gint64 r = options->factor;
  gint64 *dims = layer->output.dims;

  layer->output = layer->inputs[0];
  if (!pt_layer_check_rank (layer, 4, error))
    return FALSE;
  if (dims[2] % r != 0 || dims[3] % r != 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "downscale_factor=%"
        G_GINT64_FORMAT " of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
        " pixels, expected a part of both", r, dims[2], dims[3]);
    return FALSE;
  }
  dims[1] *= r * r;
  dims[2] /= r;
  dims[3] /= r;
  return TRUE;
}

/* From @few channels to @many pixels or, if @back, from there. */
static void
shuffle_map (PtMap *map, const PtLayer *layer, gboolean back)
{
  const ShuffleOptions *options = layer->options;
  const PtShape *many = back ? &layer->inputs[0] : &layer->output;
  const PtShape *few = back ? &layer->output : &layer->inputs[0];
  const gint64 r = options->factor, c = many->dims[1];
  const gboolean crd = options->order == SHUFFLE_CRD;
  gint64 f[PT_MAX_DIMS], m[PT_MAX_DIMS];

  pt_shape_get_strides (few, TRUE, f);
  pt_shape_get_strides (many, TRUE, m);
  const gint64 axes[][3] = {
    {few->dims[0], f[0], m[0]},
    {c, f[1] * (crd ? r * r : 1), m[1]},
    {few->dims[2], f[2], m[2] * r},
    {r, f[1] * (crd ? r : r * c), m[2]},
    {few->dims[3], f[3], m[3] * r},
    {r, f[1] * (crd ? 1 : c), m[3]},
  };

  for (guint i = 0; i < G_N_ELEMENTS (axes); i++)
    pt_map_add (map, axes[i][0], axes[i][back ? 2 : 1], axes[i][back ? 1 : 2]);
}

static gboolean
shuffle_get_map (const PtLayer *layer, PtMap *map, GError **error)
{
  shuffle_map (map, layer, FALSE);
  return TRUE;
}

static gboolean
unshuffle_get_map (const PtLayer *layer, PtMap *map, GError **error)
{
  shuffle_map (map, layer, TRUE);
  return TRUE;
}

static const gchar *const shuffle_samples[] = {
  "in=1x8x3x2 upscale_factor=2",
  "in=2x18x2x3 upscale_factor=3",
  "in=1x12x2x3 upscale_factor=2 order=dcr",
  NULL,
};

static const gchar *const unshuffle_samples[] = {
  "in=1x2x4x6 downscale_factor=2",
  "in=2x1x6x3 downscale_factor=3",
  "in=1x3x4x2 downscale_factor=2 order=dcr",
  NULL,
};

const PtLayerKind pt_layer_pixel_shuffle = {
  .name = "pixel-shuffle",
  .summary = "channels as blocks of pixels, torch.nn.PixelShuffle",
  .options_size = sizeof (ShuffleOptions),
  .params = shuffle_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = shuffle_samples,
  .infer = shuffle_infer,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .get_map = shuffle_get_map,
};

const PtLayerKind pt_layer_pixel_unshuffle = {
  .name = "pixel-unshuffle",
  .summary = "blocks of pixels as channels, torch.nn.PixelUnshuffle",
  .options_size = sizeof (ShuffleOptions),
  .params = unshuffle_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = unshuffle_samples,
  .infer = unshuffle_infer,
  .plan = pt_layer_plan_moves,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .get_map = unshuffle_get_map,
};
