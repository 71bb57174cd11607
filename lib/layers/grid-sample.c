/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

enum
{
  IMAGE,
  GRID,
};

typedef struct
{
  gint height, width;
  gint mode, padding_mode;
  gboolean align_corners;
} GridSampleOptions;

static const gchar *const grid_sample_modes[] = {
  [PT_GRID_BILINEAR] = "bilinear",
  [PT_GRID_NEAREST] = "nearest",
  [PT_GRID_BICUBIC] = "bicubic",
  NULL
};

static const gchar *const grid_sample_paddings[] = {
  [PT_GRID_ZEROS] = "zeros",
  [PT_GRID_BORDER] = "border",
  [PT_GRID_REFLECTION] = "reflection",
  NULL
};

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (GridSampleOptions, key)

static const PtParam grid_sample_params[] = {
  {ROW (height, INT), "0", 0, 65536, NULL,
      "of a grid that is part of the weights, for want of a second input, px"},
  {ROW (width, INT), "0", 0, 65536, NULL, "the same"},
  {ROW (mode, ENUM), "bilinear", 0, 0, grid_sample_modes,
      "what lies between the pixels"},
  {ROW (padding_mode, ENUM), "zeros", 0, 0, grid_sample_paddings,
      "what lies outside the image"},
  {ROW (align_corners, BOOL), "false", 0, 0, NULL,
      "-1 and 1 are the middles of the outermost pixels, not their edges"},
  {NULL}
};

#undef ROW

/* The second input, or a buffer. */
static PtShape
grid_sample_get_grid (const PtLayer *layer)
{
  const GridSampleOptions *options = layer->options;

  return layer->n_inputs > GRID ? layer->inputs[GRID] :
      PT_SHAPE (1, options->height, options->width, 2);
}

static gboolean
grid_sample_check (const PtLayer *layer, GError **error)
{
  const GridSampleOptions *options = layer->options;
  gboolean given = options->height > 0 && options->width > 0;

  if (given == (layer->n_inputs == 1) &&
      (given || options->height + options->width == 0))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "height=%d and width=%d with "
      "%u inputs, expected both with one input, neither with two",
      options->height, options->width, layer->n_inputs);
  return FALSE;
}

static gboolean
grid_sample_infer (PtLayer *layer, GError **error)
{
  const PtShape *x = &layer->inputs[IMAGE];
  PtShape shape = grid_sample_get_grid (layer);
  const PtShape *grid = &shape;
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (!pt_layer_check_rank (layer, 4, error) ||
      !grid_sample_check (layer, error))
    return FALSE;
  if (pt_shape_w (grid) != 2 || MAX (pt_shape_h (x), pt_shape_w (x)) > G_MAXINT
      || pt_shape_get_n_elements (grid) > G_MAXINT) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "grid of shape %s, expected "
        "1xHxWx2 (x and y from -1 to 1)", pt_shape_print (grid, text));
    return FALSE;
  }
  layer->output = PT_SHAPE (1, pt_shape_c (x), pt_shape_c (grid),
      pt_shape_h (grid));
  if (layer->n_inputs == 1)
    layer->weights[layer->n_weights++] = (PtWeight) {
      "grid", PT_SHAPE (shape.dims[1], shape.dims[2], 2), FALSE};
  layer->backward_uses_x = layer->n_inputs > GRID;
  return TRUE;
}

/* Every pixel where it is. */
static void
grid_sample_init (const PtLayer *layer, guint i, gfloat *data, guint64 seed)
{
  const GridSampleOptions *o = layer->options;

  for (gint64 k = 0; k < (gint64) o->height * o->width; k++) {
    gint64 y = k / o->width, x = k % o->width;

    if (o->align_corners) {
      data[2 * k] = o->width > 1 ? 2.0 * x / (o->width - 1) - 1 : 0;
      data[2 * k + 1] = o->height > 1 ? 2.0 * y / (o->height - 1) - 1 : 0;
    } else {
      data[2 * k] = (2.0 * x + 1) / o->width - 1;
      data[2 * k + 1] = (2.0 * y + 1) / o->height - 1;
    }
  }
}

static gboolean
grid_sample_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const GridSampleOptions *options = layer->options;
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_GRID_SAMPLE);

  desc.grid_sample = (PtGridSampleDesc) { options->mode,
    options->padding_mode, options->align_corners,
    grid_sample_get_grid (layer), layer->n_inputs == 1
  };
  return pt_layer_plan_unary (plan, workspace, &desc,
      PT_OP_GRID_SAMPLE_BACKWARD, error);
}

static gboolean
grid_sample_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.x = args->x[IMAGE],.y = args->y,
    .w = layer->n_inputs > GRID ? args->x[GRID] : args->w[0]
  };

  return pt_op_run (plan->ops[0], &run, error);
}

static gboolean
grid_sample_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.x = args->x[IMAGE],.w = args->w[0],.dy = args->dy,
    .dx = args->dx[IMAGE]
  };

  if (layer->n_inputs > GRID) {
    run.w = args->x[GRID];
    run.dw = args->dx[GRID];
  }
  return (run.dx == NULL && run.dw == NULL) ||
      pt_op_run (plan->ops[1], &run, error);
}

/* Each output is a sum over 1, 4 or 16 pixels. */
static gdouble
grid_sample_flops (const PtLayer *layer)
{
  static const gdouble taps[] = { 4, 1, 16 };
  const GridSampleOptions *options = layer->options;

  return 2 * taps[options->mode] * pt_shape_get_n_elements (&layer->output);
}

static const gchar *const grid_sample_samples[] = {
  "in=1x3x5x6,1x4x7x2",
  "in=1x2x5x4,1x3x5x2 padding_mode=border align_corners=true",
  "in=1x2x4x5,1x5x3x2 padding_mode=reflection",
  "in=1x4x4x3,1x2x3x2 padding_mode=reflection align_corners=true",
  "in=1x2x5x6,1x4x3x2 mode=nearest",
  "in=1x3x4x4,1x3x3x2 mode=nearest padding_mode=reflection",
  "in=1x2x6x5,1x3x4x2 mode=bicubic",
  "in=1x3x5x5,1x2x3x2 mode=bicubic padding_mode=border",
  "in=1x2x4x6,1x4x2x2 mode=bicubic padding_mode=reflection "
      "align_corners=true",
  "in=1x2x4x6 height=3 width=5",
  NULL,
};

const PtLayerKind pt_layer_grid_sample = {
  .name = "grid-sample",
  .summary = "reads the first input where the second, 1xHxWx2, says, "
      "torch.nn.functional.grid_sample",
  .options_size = sizeof (GridSampleOptions),
  .params = grid_sample_params,
  .min_inputs = 1,
  .max_inputs = 2,
  .samples = grid_sample_samples,
  .infer = grid_sample_infer,
  .init = grid_sample_init,
  .plan = grid_sample_plan,
  .forward = grid_sample_forward,
  .backward = grid_sample_backward,
  .flops = grid_sample_flops,
};
