/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <math.h>
#include <string.h>

/* Layers that move elements, or make more or fewer of them. */

#define MAX_SIDES (2 * PT_MAX_DIMS)

void
pt_onnx_write_reshape (OnnxExport *self, const gint64 *dims, guint n)
{
  pt_onnx_write (self, "Reshape", self->last, pt_onnx_make_ints (self,
          "shape", dims, n), NULL);
}

void
pt_onnx_write_output_shape (OnnxExport *self)
{
  pt_onnx_write_reshape (self, self->layer->output.dims,
      self->layer->output.n_dims);
}

static gboolean
write_reshape (OnnxExport *self, GError **error)
{
  pt_onnx_write_output_shape (self);
  return TRUE;
}

static gboolean
write_flatten (OnnxExport *self, GError **error)
{
  if (self->layer->inputs[0].n_dims < 2 || self->layer->inputs[0].dims[0] != 1)
    return write_reshape (self, error);
  pt_onnx_put_int (self, pt_onnx_write_all (self, "Flatten"), "axis", 1);
  return TRUE;
}

static void
shape_write_transpose (OnnxExport *self, const gint64 *perm, guint n)
{
  pt_onnx_put_ints (self, pt_onnx_write (self, "Transpose", self->last, NULL),
      "perm", perm, n);
}

static gboolean
write_transpose (OnnxExport *self, GError **error)
{
  gint64 perm[PT_MAX_DIMS];
  const guint n = pt_onnx_option_list (self, "perm", perm, PT_MAX_DIMS);

  for (guint i = 0; i < n; i++)
    perm[i] = pt_onnx_get_positive (self, perm[i]);
  shape_write_transpose (self, perm, n);
  return TRUE;
}

static gboolean
write_expand (OnnxExport *self, GError **error)
{
  pt_onnx_write (self, "Expand", self->inputs[0], pt_onnx_make_ints (self,
          "shape", self->layer->output.dims, self->layer->output.n_dims), NULL);
  return TRUE;
}

static gboolean
write_concat (OnnxExport *self, GError **error)
{
  pt_onnx_put_int (self, pt_onnx_write_all (self, "Concat"), "axis",
      pt_onnx_option_axis (self, "axis", 1));
  return TRUE;
}

/* Lists of one item each, or of as many as there are axes. */
static gboolean
write_slice (OnnxExport *self, GError **error)
{
  gint64 starts[PT_MAX_DIMS], ends[PT_MAX_DIMS], axes[PT_MAX_DIMS],
      steps[PT_MAX_DIMS] = { 1 };
  const guint n = pt_onnx_option_list (self, "start", starts, PT_MAX_DIMS);
  const guint n_steps = pt_onnx_option_list (self, "step", steps, PT_MAX_DIMS);
  gint64 step;

  if (pt_onnx_option_list (self, "axis", axes, PT_MAX_DIMS) == 0)
    axes[0] = 1;
  for (guint i = 0; i < n; i++) {
    const gint64 axis = pt_onnx_get_positive (self, axes[i]);
    const gint64 size = self->layer->inputs[0].dims[axis];

    axes[i] = axis;
    step = steps[i] = i < n_steps ? steps[i] : 1;
    starts[i] += starts[i] < 0 ? size : 0;
    ends[i] = starts[i] + (self->layer->output.dims[axis] - 1) * step +
        (step < 0 ? -1 : 1);
    /* before the first: below 0 would count from the end */
    if (ends[i] < 0)
      ends[i] = -size - 1;
  }
  pt_onnx_write (self, "Slice", self->inputs[0],
      pt_onnx_make_ints (self, "starts", starts, n),
      pt_onnx_make_ints (self, "ends", ends, n),
      pt_onnx_make_ints (self, "axes", axes, n),
      pt_onnx_make_ints (self, "steps", steps, n), NULL);
  return TRUE;
}

static gboolean
write_index_select (OnnxExport *self, GError **error)
{
  const gint64 axis = pt_onnx_option_axis (self, "axis", 1);
  const guint n = self->layer->output.dims[axis];
  g_autofree gint64 *places = g_new0 (gint64, n);

  pt_onnx_option_list (self, "index", places, n);
  pt_onnx_put_int (self, pt_onnx_write (self, "Gather", self->inputs[0],
          pt_onnx_make_ints (self, "index", places, n), NULL), "axis", axis);
  return TRUE;
}

/* Pairs from the last axis on become begins, then ends. */
static gboolean
write_pad (OnnxExport *self, GError **error)
{
  static const gchar *const modes[][2] = { {"constant", "constant"},
    {"reflect", "reflect"}, {"replicate", "edge"}, {"circular", "wrap"}
  };
  const guint rank = self->layer->inputs[0].n_dims;
  const gchar *mode = pt_onnx_option_word (self, "mode", "constant");
  gint64 given[MAX_SIDES], pads[MAX_SIDES] = { 0 };
  const guint n = pt_onnx_option_list (self, "pad", given, MAX_SIDES);
  const gchar *sides;
  Onnx__NodeProto *node;

  for (guint i = 0; i < n; i++)
    pads[rank - 1 - i / 2 + (i % 2 ? rank : 0)] = given[i];
  sides = pt_onnx_make_ints (self, "pads", pads, 2 * rank);
  node = pt_onnx_write (self, "Pad", self->inputs[0], sides,
      g_str_equal (mode, "constant") ? pt_onnx_make_number (self, "value",
          pt_onnx_option_double (self, "value", 0)) : NULL, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    if (g_str_equal (modes[i][0], mode))
      pt_onnx_put_text (self, node, "mode", modes[i][1]);
  return TRUE;
}

static gboolean
write_pixel_shuffle (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write_all (self, "DepthToSpace");

  pt_onnx_put_int (self, node, "blocksize",
      pt_onnx_option (self, "upscale_factor", 1));
  pt_onnx_put_text (self, node, "mode",
      pt_onnx_option_is (self, "order", "dcr") ? "DCR" : "CRD");
  return TRUE;
}

/* SpaceToDepth numbers channels one way only. */
static gboolean
write_pixel_unshuffle (OnnxExport *self, GError **error)
{
  static const gint64 perm[] = { 0, 1, 3, 5, 2, 4 };
  const gint64 r = pt_onnx_option (self, "downscale_factor", 1);
  const gint64 *x = self->layer->inputs[0].dims;
  const gint64 blocks[] = { x[0], x[1], x[2] / r, r, x[3] / r, r };

  if (pt_onnx_option_is (self, "order", "dcr")) {
    pt_onnx_put_int (self, pt_onnx_write_all (self, "SpaceToDepth"),
        "blocksize", r);
    return TRUE;
  }
  pt_onnx_write_reshape (self, blocks, 6);
  shape_write_transpose (self, perm, 6);
  pt_onnx_write_output_shape (self);
  return TRUE;
}

/* -- resize -- */

/* torch.nn.Upsample: nearest from the pixel at floor (place / scale). */
static gboolean
write_upsample (OnnxExport *self, GError **error)
{
  const gboolean nearest = pt_onnx_option_is (self, "mode", "nearest");
  gfloat scales[] = { 1, 1, 1, 1 };
  Onnx__NodeProto *node;
  gint64 pair[2];

  pt_onnx_get_pair (self, "scale", 1, pair);
  scales[2] = pair[0];
  scales[3] = pair[1];
  node = pt_onnx_write (self, "Resize", self->inputs[0], "",
      pt_onnx_make_floats (self, "scales", scales, &(gint64) { 4 }, 1), NULL);
  pt_onnx_put_text (self, node, "mode", nearest ? "nearest" : "linear");
  pt_onnx_put_text (self, node, "coordinate_transformation_mode",
      nearest ? "asymmetric" : "half_pixel");
  if (nearest)
    pt_onnx_put_text (self, node, "nearest_mode", "floor");
  return TRUE;
}

/* Scales of all axes, if they give the output's sizes; NULL: sizes do. */
static const gchar *
shape_make_scales (OnnxExport *self)
{
  const PtShape *x = &self->layer->inputs[0], *y = &self->layer->output;
  gdouble given[PT_MAX_DIMS];
  const guint n = pt_onnx_option_doubles (self, "scale", given, PT_MAX_DIMS);
  gfloat scales[PT_MAX_DIMS];

  for (guint i = 0; i < x->n_dims; i++)
    scales[i] = i + n < x->n_dims ? 1 : given[i + n - x->n_dims];
  for (guint i = 0; i < x->n_dims && n > 0; i++)
    if (floor (x->dims[i] * (gdouble) scales[i]) != y->dims[i])
      return NULL;
  return n == 0 ? NULL : pt_onnx_make_floats (self, "scales", scales,
      &(gint64) { x->n_dims }, 1);
}

/* Where each axis begins, then where it ends. */
static const gchar *
shape_make_region (OnnxExport *self)
{
  const guint rank = self->layer->inputs[0].n_dims;
  gdouble given[MAX_SIDES];
  const guint n = pt_onnx_option_doubles (self, "roi", given, MAX_SIDES) / 2;
  gfloat region[MAX_SIDES];

  if (n == 0)
    return "";
  for (guint i = 0; i < rank; i++) {
    region[i] = i + n < rank ? 0 : given[i + n - rank];
    region[rank + i] = i + n < rank ? 1 : given[n + i + n - rank];
  }
  return pt_onnx_make_floats (self, "roi", region, &(gint64) { 2 * rank },
      1);
}

static gboolean
write_resize (OnnxExport *self, GError **error)
{
  const PtShape *y = &self->layer->output;
  const gchar *mode = pt_onnx_option_word (self, "mode", "nearest");
  const gchar *from = pt_onnx_option_word (self, "coordinates", "auto");
  const gchar *scales = shape_make_scales (self);
  const gboolean nearest = g_str_equal (mode, "nearest");
  Onnx__NodeProto *node;

  if (g_str_equal (from, "auto"))
    from = nearest ? "asymmetric" : "half_pixel";
  node = pt_onnx_write (self, "Resize", self->inputs[0],
      shape_make_region (self), scales ? scales : "", scales ? NULL :
      pt_onnx_make_ints (self, "sizes", y->dims, y->n_dims), NULL);
  pt_onnx_put_text (self, node, "mode", mode);
  pt_onnx_put_text (self, node, "coordinate_transformation_mode", from);
  if (nearest)
    pt_onnx_put_text (self, node, "nearest_mode",
        pt_onnx_option_word (self, "nearest_mode", "floor"));
  pt_onnx_put_float (self, node, "cubic_coeff_a",
      pt_onnx_option_double (self, "cubic_coeff_a", -0.75));
  pt_onnx_put_int (self, node, "exclude_outside",
      pt_onnx_option (self, "exclude_outside", FALSE));
  pt_onnx_put_int (self, node, "antialias",
      pt_onnx_option (self, "antialias", FALSE));
  pt_onnx_put_float (self, node, "extrapolation_value",
      pt_onnx_option_double (self, "extrapolation_value", 0));
  return TRUE;
}

const OnnxWriter pt_onnx_writers_shape[] = {
  {"concat", write_concat},
  {"expand", write_expand},
  {"flatten", write_flatten},
  {"index-select", write_index_select},
  {"pad", write_pad},
  {"pixel-shuffle", write_pixel_shuffle},
  {"pixel-unshuffle", write_pixel_unshuffle},
  {"reshape", write_reshape},
  {"resize", write_resize},
  {"slice", write_slice},
  {"transpose", write_transpose},
  {"upsample", write_upsample},
  {NULL}
};
