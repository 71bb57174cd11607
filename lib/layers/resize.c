/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/combine.h"

#include <math.h>

typedef struct
{
  PtDoubleList size, scale, roi;
  gint mode;
  gint coordinates;
  gint nearest_mode;
  gdouble cubic_coeff_a;
  gdouble extrapolation_value;
  gboolean exclude_outside;
  gboolean antialias;
} ResizeOptions;

typedef enum
{
  MODE_NEAREST,
  MODE_LINEAR,
  MODE_CUBIC,
} ResizeMode;

typedef enum
{
  AUTO,
  HALF_PIXEL,
  HALF_PIXEL_SYMMETRIC,
  PYTORCH_HALF_PIXEL,
  ALIGN_CORNERS,
  ASYMMETRIC,
  TF_HALF_PIXEL_FOR_NN,
  TF_CROP_AND_RESIZE,
} ResizeCoordinates;

typedef enum
{
  ROUND_PREFER_FLOOR,
  ROUND_PREFER_CEIL,
  FLOOR,
  CEIL,
} ResizeNearest;

static const gchar *const resize_modes[] = {
  "nearest", "linear", "cubic", NULL
};

static const gchar *const resize_coordinates[] = {
  "auto", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
  "align_corners", "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize",
  NULL
};

static const gchar *const resize_nearest_modes[] = {
  "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL
};

static const PtParam resize_params[] = {
  {"size", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (ResizeOptions, size), "", 1,
        PT_MAX_ELEMENTS, NULL, "of the last axes: height, width"},
  {"scale", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (ResizeOptions, scale), "",
        1e-6, 1e6, NULL, "of the last axes, if size is not given; else only "
        "where pixels are taken from"},
  {"mode", PT_PARAM_ENUM, G_STRUCT_OFFSET (ResizeOptions, mode), "nearest", 0,
      0, resize_modes, "how pixels are made"},
  {"coordinates", PT_PARAM_ENUM, G_STRUCT_OFFSET (ResizeOptions, coordinates),
        "auto", 0, 0, resize_coordinates,
      "where pixels are taken from, in ONNX's words; auto as PyTorch: "
        "asymmetric for nearest, else half_pixel"},
  {"nearest_mode", PT_PARAM_ENUM,
        G_STRUCT_OFFSET (ResizeOptions, nearest_mode), "floor", 0, 0,
      resize_nearest_modes, "which neighbour nearest takes"},
  {"cubic_coeff_a", PT_PARAM_DOUBLE,
        G_STRUCT_OFFSET (ResizeOptions, cubic_coeff_a), "-0.75", -10, 10, NULL,
      "a of cubic"},
  {"exclude_outside", PT_PARAM_BOOL,
        G_STRUCT_OFFSET (ResizeOptions, exclude_outside), "false", 0, 0, NULL,
      "pixels beyond the edge do not count; else they are as the edge"},
  {"antialias", PT_PARAM_BOOL, G_STRUCT_OFFSET (ResizeOptions, antialias),
        "false", 0, 0, NULL,
      "linear and cubic reach as far as a smaller picture needs"},
  {"roi", PT_PARAM_DOUBLE_LIST, G_STRUCT_OFFSET (ResizeOptions, roi), "", -1e6,
        1e6, NULL, "for tf_crop_and_resize: where the last axes begin, then "
        "where they end, 0 to 1"},
  {"extrapolation_value", PT_PARAM_DOUBLE,
        G_STRUCT_OFFSET (ResizeOptions, extrapolation_value), "0", 0, 0, NULL,
      "for tf_crop_and_resize: what is beyond the edge"},
  {NULL}
};

/* One axis. */
typedef struct
{
  gint64 n_in, n_out;
  gdouble scale;
  gdouble begin, end;           /* of the region */
} Resize;

/* How each axis changes, as it is for those the options do not name. */
static gboolean
resize_get (const PtLayer *layer, Resize *axes, GError **error)
{
  const ResizeOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];
  const guint n = MAX (options->size.n, options->scale.n);
  const PtDoubleList *size = &options->size, *scale = &options->scale;
  const PtDoubleList *roi = &options->roi;

  if (n == 0 || n > x->n_dims || (size->n && scale->n && size->n != scale->n)
      || (roi->n && roi->n != 2 * n) ||
      (!roi->n && options->coordinates == TF_CROP_AND_RESIZE)) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "size has %u numbers, scale "
        "%u and roi %u, expected one for each of the last axes of %u, and two "
        "in roi", size->n, scale->n, roi->n, x->n_dims);
    return FALSE;
  }
  for (guint i = 0; i < x->n_dims; i++) {
    const gint at = (gint) (i + n) - (gint) x->n_dims;
    const gint64 dim = x->dims[i];
    Resize *axis = &axes[i];

    *axis = (Resize) { dim, dim, 1, 0, 1 };
    if (at < 0)
      continue;
    axis->n_out = size->n ? size->values[at] : floor (dim * scale->values[at]);
    axis->scale = scale->n ? scale->values[at] : (gdouble) axis->n_out / dim;
    axis->begin = roi->n ? roi->values[at] : 0;
    axis->end = roi->n ? roi->values[at + n] : 1;
  }
  return TRUE;
}

static gboolean
resize_infer (PtLayer *layer, GError **error)
{
  Resize axes[PT_MAX_DIMS];

  layer->output = layer->inputs[0];
  if (!resize_get (layer, axes, error))
    return FALSE;
  for (guint i = 0; i < layer->output.n_dims; i++)
    layer->output.dims[i] = axes[i].n_out;
  return TRUE;
}

static ResizeCoordinates
resize_get_coordinates (const ResizeOptions *options)
{
  if (options->coordinates != AUTO)
    return options->coordinates;
  return options->mode == MODE_NEAREST ? ASYMMETRIC : HALF_PIXEL;
}

/* The place of output @i in the input, ONNX's formulas. */
static gdouble
resize_find (const ResizeOptions *options, const Resize *axis, gint64 i)
{
  const gdouble n_out = axis->scale * axis->n_in, last = axis->n_in - 1;
  const gdouble half = (i + 0.5) / axis->scale - 0.5;

  switch (resize_get_coordinates (options)) {
    case HALF_PIXEL_SYMMETRIC:
      return axis->n_in / 2. * (1 - axis->n_out / n_out) + half;
    case PYTORCH_HALF_PIXEL:
      return n_out == 1 ? 0 : half;
    case ALIGN_CORNERS:
      return n_out == 1 ? 0 : i * last / (n_out - 1);
    case ASYMMETRIC:
      return i / axis->scale;
    case TF_HALF_PIXEL_FOR_NN:
      return (i + 0.5) / axis->scale;
    case TF_CROP_AND_RESIZE:
      if (n_out == 1)
        return (axis->begin + axis->end) / 2 * last;
      return axis->begin * last + i * (axis->end - axis->begin) * last /
          (n_out - 1);
    default:
      return half;
  }
}

/* The weight of a pixel at distance @x. */
static gdouble
resize_weigh (const ResizeOptions *options, gdouble x)
{
  const gdouble a = options->cubic_coeff_a;

  x = fabs (x);
  if (options->mode == MODE_LINEAR)
    return MAX (1 - x, 0);
  if (x <= 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static gint64
resize_round (const ResizeOptions *options, gdouble at)
{
  switch ((ResizeNearest) options->nearest_mode) {
    case ROUND_PREFER_FLOOR:
      return ceil (at - 0.5);
    case ROUND_PREFER_CEIL:
      return floor (at + 0.5);
    case CEIL:
      return ceil (at);
    default:
      return floor (at);
  }
}

/* How far pixels are apart, in units of the function that weighs them. */
static gdouble
resize_get_density (const ResizeOptions *options, const Resize *axis)
{
  return options->antialias ? MIN (axis->scale, 1) : 1;
}

/* Pixels on one side. */
static gint64
resize_get_reach (const ResizeOptions *options, const Resize *axis)
{
  const gdouble reach = options->mode == MODE_CUBIC ? 2 : 1;

  if (options->mode == MODE_NEAREST)
    return 1;
  return ceil (reach / resize_get_density (options, axis));
}

/* What one output at place @at reads. */
static void
resize_add (const ResizeOptions *options, const Resize *axis, gdouble at,
    PtTaps *taps)
{
  const gdouble density = resize_get_density (options, axis);
  const gint64 reach = resize_get_reach (options, axis), last = axis->n_in - 1;
  const gint64 first = (gint64) ceil (at) - reach;
  gdouble sum = 0;

  if (options->mode == MODE_NEAREST) {
    pt_taps_add (taps, CLAMP (resize_round (options, at), 0, last), 1);
    return;
  }
  for (guint pass = 0; pass < 2; pass++)
    for (gint64 i = first; i < first + 2 * reach; i++) {
      const gdouble weight = resize_weigh (options, (i - at) * density);

      if (options->exclude_outside && (i < 0 || i > last))
        continue;
      if (pass == 0)
        sum += weight;
      else if (sum != 0)
        pt_taps_add (taps, CLAMP (i, 0, last), weight / sum);
    }
}

static gboolean
resize_plan_axis (const ResizeOptions *options, const Resize *axis,
    PtMapAxis *to, GError **error)
{
  const ResizeCoordinates coordinates = resize_get_coordinates (options);
  const gboolean crops = coordinates == TF_CROP_AND_RESIZE;

  if (axis->n_in == axis->n_out && axis->scale == 1 && axis->begin == 0 &&
      axis->end == 1 && coordinates != TF_HALF_PIXEL_FOR_NN)
    return TRUE;
  if (!pt_map_check (MAX (axis->n_out, axis->n_in), error) ||
      !pt_map_check (axis->n_out * 2 * resize_get_reach (options, axis),
          error))
    return FALSE;
  to->taps = pt_taps_new ();
  for (gint64 i = 0; i < axis->n_out; i++) {
    const gdouble at = resize_find (options, axis, i);

    if (!crops || (at >= 0 && at <= axis->n_in - 1))
      resize_add (options, axis, at, to->taps);
    pt_taps_end (to->taps);
  }
  return TRUE;
}

static gboolean
resize_plan_axes (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, const ResizeOptions *options, const Resize *axes,
    GError **error)
{
  g_auto (PtMap) map = {.fill = options->extrapolation_value };

  pt_map_init (&map, layer);
  for (guint i = 0; i < map.n; i++)
    if (!resize_plan_axis (options, &axes[i], &map.axes[i], error))
      return FALSE;
  return pt_layer_plan_map (layer, workspace, plan, &map, error);
}

static gboolean
resize_plan (const PtLayer *layer, PtWorkspace *workspace, PtLayerPlan *plan,
    GError **error)
{
  Resize axes[PT_MAX_DIMS];

  return resize_get (layer, axes, error) && resize_plan_axes (layer, workspace,
      plan, layer->options, axes, error);
}

/* A product and a sum for each pixel that is read. */
static gdouble
resize_flops (const PtLayer *layer)
{
  const ResizeOptions *options = layer->options;
  gdouble n = pt_shape_get_n_elements (&layer->output);
  Resize axes[PT_MAX_DIMS];

  if (options->mode == MODE_NEAREST || !resize_get (layer, axes, NULL))
    return n;
  for (guint i = 0; i < layer->output.n_dims; i++)
    if (axes[i].n_in != axes[i].n_out)
      n *= 2 * resize_get_reach (options, &axes[i]);
  return 2 * n;
}

static const gchar *const resize_samples[] = {
  "in=1x3x4x5 size=9;3",
  "in=1x3x4x5 scale=2.3;0.7 mode=linear",
  "in=1x2x4x5 size=7;3 mode=linear coordinates=align_corners",
  "in=1x4x6x5 scale=1.7;0.6 mode=cubic",
  "in=1x2x4x5 size=3;8 mode=cubic coordinates=align_corners",
  "in=1x3x9x8 size=4;3 mode=linear antialias=true exclude_outside=true",
  "in=1x3x9x8 size=4;11 mode=cubic cubic_coeff_a=-0.5 antialias=true "
      "exclude_outside=true",
  "in=1x3x4x5 size=6;11 coordinates=half_pixel "
      "nearest_mode=round_prefer_ceil",
  "in=2x3x7 size=11 mode=linear",
  "in=1x2x3x4x3 size=5;3;7 mode=linear",
  NULL,
};

const PtLayerKind pt_layer_resize = {
  .name = "resize",
  .summary = "another size, torch.nn.functional.interpolate",
  .options_size = sizeof (ResizeOptions),
  .params = resize_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .any_shape = TRUE,
  .samples = resize_samples,
  .infer = resize_infer,
  .plan = resize_plan,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .flops = resize_flops,
};

/* -- upsample: the same for whole numbers -- */

typedef struct
{
  gint scale[2];
  gint mode;
} UpsampleOptions;

static const gchar *const upsample_modes[] = { "nearest", "bilinear", NULL };

static const PtParam upsample_params[] = {
  {"scale", PT_PARAM_INT_PAIR, G_STRUCT_OFFSET (UpsampleOptions, scale), NULL,
      1, 1024, NULL, "how many times higher and wider"},
  {"mode", PT_PARAM_ENUM, G_STRUCT_OFFSET (UpsampleOptions, mode), "nearest",
        0, 0, upsample_modes,
      "how pixels are made; bilinear is with align_corners=False"},
  {NULL}
};

static gboolean
upsample_infer (PtLayer *layer, GError **error)
{
  const UpsampleOptions *options = layer->options;
  const PtShape *x = &layer->inputs[0];

  if (!pt_layer_check_rank (layer, 4, error))
    return FALSE;
  layer->output = PT_SHAPE (1, pt_shape_c (x),
      pt_shape_h (x) * options->scale[0], pt_shape_w (x) * options->scale[1]);
  return TRUE;
}

static gboolean
upsample_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  const UpsampleOptions *options = layer->options;
  const ResizeOptions resize = {
    .mode = options->mode ? MODE_LINEAR : MODE_NEAREST,
    .coordinates = AUTO,
    .nearest_mode = FLOOR,
  };
  Resize axes[PT_MAX_DIMS];

  for (guint i = 0; i < 4; i++) {
    const gint64 n = layer->inputs[0].dims[i];
    const gint64 scale = i < 2 ? 1 : options->scale[i - 2];

    axes[i] = (Resize) { n, n * scale, scale, 0, 1 };
  }
  return resize_plan_axes (layer, workspace, plan, &resize, axes, error);
}

/* Bilinear weighs four neighbours. */
static gdouble
upsample_flops (const PtLayer *layer)
{
  const UpsampleOptions *options = layer->options;
  gdouble n = pt_shape_get_n_elements (&layer->output);

  return options->mode ? 8 * n : n;
}

static const gchar *const upsample_samples[] = {
  "in=1x3x4x5 scale=2",
  "in=1x2x4x3 scale=2;3 mode=nearest",
  "in=1x3x4x5 scale=2 mode=bilinear",
  "in=1x2x3x1 scale=4;3 mode=bilinear",
  NULL,
};

const PtLayerKind pt_layer_upsample = {
  .name = "upsample",
  .summary = "a larger picture, torch.nn.Upsample",
  .options_size = sizeof (UpsampleOptions),
  .params = upsample_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = upsample_samples,
  .infer = upsample_infer,
  .plan = upsample_plan,
  .forward = pt_layer_forward_map,
  .backward = pt_layer_backward_map,
  .flops = upsample_flops,
};
