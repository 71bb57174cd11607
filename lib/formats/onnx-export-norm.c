/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <string.h>

/* Normalisations, and what is rare with a window. */

/* A tensor of @value. */
static const gchar *
norm_make_filled (OnnxExport *self, const gchar *name, gfloat value,
    const gint64 *dims, guint n_dims)
{
  g_autofree gfloat *values = NULL;
  gint64 n = 1;

  for (guint i = 0; i < n_dims; i++)
    n *= dims[i];
  values = g_new (gfloat, n);
  for (gint64 i = 0; i < n; i++)
    values[i] = value;
  return pt_onnx_make_floats (self, name, values, dims, n_dims);
}

/* Operators that must have scales and biases get ones and zeros. */
static void
norm_write_instance (OnnxExport *self, gint64 channels, const gchar *scale,
    const gchar *bias)
{
  Onnx__NodeProto *node = pt_onnx_write (self, "InstanceNormalization",
      self->last, scale ? scale : norm_make_filled (self, "ones", 1, &channels,
          1), bias ? bias : norm_make_filled (self, "zeros", 0, &channels, 1),
      NULL);

  pt_onnx_put_float (self, node, "epsilon",
      pt_onnx_option_double (self, "eps", 1e-5));
}

static gboolean
write_instance_norm (OnnxExport *self, GError **error)
{
  const gboolean affine = self->layer->n_weights > 0;

  norm_write_instance (self, self->layer->inputs[0].dims[1],
      affine ? self->weights[0] : NULL, affine ? self->weights[1] : NULL);
  return TRUE;
}

/* Weight @i, one number for each channel, as it broadcasts to the output. */
static const gchar *
norm_get_channels (OnnxExport *self, guint i)
{
  PtShape *shape = &self->weight_shapes[i];

  for (shape->n_dims = 1; shape->n_dims + 1 < self->layer->output.n_dims;)
    shape->dims[shape->n_dims++] = 1;
  return self->weights[i];
}

/* The groups as channels: GroupNormalization scales channels only from opset
 * 21 on. */
static gboolean
write_group_norm (OnnxExport *self, GError **error)
{
  const gint64 groups = pt_onnx_option (self, "num_groups", 1);
  const gint64 dims[] = { self->layer->inputs[0].dims[0], groups, -1 };

  pt_onnx_write_reshape (self, dims, 3);
  norm_write_instance (self, groups, NULL, NULL);
  pt_onnx_write_output_shape (self);
  if (self->layer->n_weights == 0)
    return TRUE;
  pt_onnx_write (self, "Mul", self->last, norm_get_channels (self, 0), NULL);
  pt_onnx_write (self, "Add", self->last, norm_get_channels (self, 1), NULL);
  return TRUE;
}

static gboolean
write_layer_norm (OnnxExport *self, GError **error)
{
  const PtShape *x = &self->layer->inputs[0];
  const guint n_weights = self->layer->n_weights;
  gint64 shape[PT_MAX_DIMS], axis;
  const guint n_shape =
      pt_onnx_option_list (self, "normalized_shape", shape, PT_MAX_DIMS);
  Onnx__NodeProto *node;

  axis = n_shape > 0 ? x->n_dims - n_shape :
      pt_onnx_option_axis (self, "axis", -1);
  node = pt_onnx_write (self, "LayerNormalization", self->last, n_weights > 0 ?
      self->weights[0] : norm_make_filled (self, "ones", 1, x->dims + axis,
          x->n_dims - axis), n_weights > 1 ? self->weights[1] : NULL, NULL);
  pt_onnx_put_int (self, node, "axis", axis);
  pt_onnx_put_float (self, node, "epsilon",
      pt_onnx_option_double (self, "eps", 1e-5));
  return TRUE;
}

/* Operator @operator of @x over @axes, which stay. */
static const gchar *
norm_reduce (OnnxExport *self, const gchar *operator, const gchar *x,
    const gchar *axes)
{
  pt_onnx_put_int (self, pt_onnx_write (self, operator, x, axes, NULL),
      "keepdims", 1);
  return self->last;
}

/* (x - mean) / sqrt (variance + eps): MeanVarianceNormalization has no eps. */
static gboolean
write_mean_variance_norm (OnnxExport *self, GError **error)
{
  gint64 list[PT_MAX_DIMS];
  const guint n = pt_onnx_option_list (self, "axes", list, PT_MAX_DIMS);
  const gchar *axes, *centred;

  for (guint i = 0; i < n; i++)
    list[i] = pt_onnx_get_positive (self, list[i]);
  axes = pt_onnx_make_ints (self, "axes", list, n);
  pt_onnx_write (self, "Sub", self->inputs[0], norm_reduce (self,
          "ReduceMean", self->inputs[0], axes), NULL);
  centred = self->last;
  pt_onnx_write (self, "Mul", centred, centred, NULL);
  norm_reduce (self, "ReduceMean", self->last, axes);
  pt_onnx_write (self, "Add", self->last, pt_onnx_make_number (self, "eps",
          pt_onnx_option_double (self, "eps", 1e-5)), NULL);
  pt_onnx_write (self, "Sqrt", self->last, NULL);
  pt_onnx_write (self, "Div", centred, self->last, NULL);
  return TRUE;
}

/* x / max (norm, eps). */
static gboolean
write_normalize (OnnxExport *self, GError **error)
{
  const gint64 axis = pt_onnx_option_axis (self, "dim", 1);

  norm_reduce (self, pt_onnx_option (self, "p", 2) == 1 ? "ReduceL1" :
      "ReduceL2", self->inputs[0], pt_onnx_make_ints (self, "axes", &axis, 1));
  pt_onnx_write (self, "Max", self->last, pt_onnx_make_number (self, "eps",
          pt_onnx_option_double (self, "eps", 1e-12)), NULL);
  pt_onnx_write (self, "Div", self->inputs[0], self->last, NULL);
  return TRUE;
}

/* As PyTorch does it: x / (k + alpha mean (x^2))^beta, the mean over a window
 * of channels in a picture of one channel. */
static void
norm_write_lrn_parts (OnnxExport *self, gint64 size)
{
  const PtShape *x = &self->layer->inputs[0];
  const gint64 picture[] = { x->dims[0], 1, x->dims[1], -1 };
  const gint64 kernel[] = { size, 1 };
  const gint64 begin =
      (size - pt_onnx_option_is (self, "longer", "after")) / 2;
  const gint64 pads[] = { begin, 0, size - 1 - begin, 0 };
  Onnx__NodeProto *node;

  pt_onnx_write (self, "Mul", self->inputs[0], self->inputs[0], NULL);
  pt_onnx_write_reshape (self, picture, 4);
  node = pt_onnx_write (self, "AveragePool", self->last, NULL);
  pt_onnx_put_ints (self, node, "kernel_shape", kernel, 2);
  pt_onnx_put_ints (self, node, "pads", pads, 4);
  pt_onnx_put_int (self, node, "count_include_pad", 1);
  pt_onnx_write_output_shape (self);
  pt_onnx_write (self, "Mul", self->last, pt_onnx_make_number (self, "alpha",
          pt_onnx_option_double (self, "alpha", 1e-4)), NULL);
  pt_onnx_write (self, "Add", self->last, pt_onnx_make_number (self, "k",
          pt_onnx_option_double (self, "k", 1)), NULL);
  pt_onnx_write (self, "Pow", self->last, pt_onnx_make_number (self, "beta",
          pt_onnx_option_double (self, "beta", 0.75)), NULL);
  pt_onnx_write (self, "Div", self->inputs[0], self->last, NULL);
}

/* LRN is for pictures only, and ONNX Runtime knows no even windows. */
static gboolean
write_lrn (OnnxExport *self, GError **error)
{
  const gint64 size = pt_onnx_option (self, "size", 1);
  Onnx__NodeProto *node;

  if (size % 2 == 0 || self->layer->inputs[0].n_dims != 4) {
    norm_write_lrn_parts (self, size);
    return TRUE;
  }
  node = pt_onnx_write_all (self, "LRN");
  pt_onnx_put_int (self, node, "size", size);
  pt_onnx_put_float (self, node, "alpha",
      pt_onnx_option_double (self, "alpha", 1e-4));
  pt_onnx_put_float (self, node, "beta",
      pt_onnx_option_double (self, "beta", 0.75));
  pt_onnx_put_float (self, node, "bias",
      pt_onnx_option_double (self, "k", 1));
  return TRUE;
}

/* The grid is an input or a weight, (H, W, 2) of one picture. */
static gboolean
write_grid_sample (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write_all (self, "GridSample");
  PtShape *grid = &self->weight_shapes[0];

  if (self->layer->n_inputs == 1) {
    *grid = PT_SHAPE (1, grid->dims[0], grid->dims[1], 2);
    pt_onnx_write_input (self, node, self->weights[0]);
  }
  pt_onnx_put_text (self, node, "mode",
      pt_onnx_option_is (self, "mode", "bilinear") ? "linear" :
      pt_onnx_option_is (self, "mode", "bicubic") ? "cubic" : "nearest");
  pt_onnx_put_text (self, node, "padding_mode",
      pt_onnx_option_word (self, "padding_mode", "zeros"));
  pt_onnx_put_int (self, node, "align_corners",
      pt_onnx_option (self, "align_corners", FALSE));
  return TRUE;
}

static gboolean
write_global_lp_pool (OnnxExport *self, GError **error)
{
  pt_onnx_put_int (self, pt_onnx_write_all (self, "GlobalLpPool"), "p",
      pt_onnx_option (self, "norm_type", 2));
  return TRUE;
}

const OnnxWriter pt_onnx_writers_norm[] = {
  {"global-lp-pool", write_global_lp_pool},
  {"grid-sample", write_grid_sample},
  {"group-norm", write_group_norm},
  {"instance-norm", write_instance_norm},
  {"layer-norm", write_layer_norm},
  {"lrn", write_lrn},
  {"mean-variance-norm", write_mean_variance_norm},
  {"normalize", write_normalize},
  {NULL}
};
