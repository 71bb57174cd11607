/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <string.h>

/* Layers as nodes. To add a kind: a function that writes its nodes, and a row
 * at the end. */

static Onnx__NodeProto *
ops_write (OnnxExport *self, const gchar *operator)
{
  Onnx__NodeProto *node =
      pt_onnx_write (self, operator, self->inputs[0], NULL);

  for (guint i = 1; i < self->layer->n_inputs; i++)
    pt_onnx_write_input (self, node, self->inputs[i]);
  return node;
}

/* The weights in the layer's order. */
static void
ops_read_weights (OnnxExport *self, Onnx__NodeProto *node)
{
  for (guint i = 0; i < self->layer->n_weights; i++)
    pt_onnx_write_input (self, node, self->weights[i]);
}

/* -- windows -- */

/* Two numbers for height and width, from the one or two that are given. */
static void
ops_get_pair (const OnnxExport *self, const gchar *key, gint64 missing,
    gint64 pair[2])
{
  const guint n = pt_onnx_option_list (self, key, pair, 2);

  if (n == 0)
    pair[0] = missing;
  if (n < 2)
    pair[1] = pair[0];
}

static void
ops_put_window (OnnxExport *self, Onnx__NodeProto *node)
{
  gint64 kernel[2], stride[2], dilation[2], pads[4];

  ops_get_pair (self, "kernel", 1, kernel);
  ops_get_pair (self, "stride", 1, stride);
  ops_get_pair (self, "dilation", 1, dilation);
  for (guint i = 0; i < 2; i++)
    /* torch.nn's default of pools */
    stride[i] = stride[i] ? stride[i] : kernel[i];
  /* begins, then ends: top, left, bottom, right */
  if (pt_onnx_option_list (self, "padding", pads, 4) < 4) {
    ops_get_pair (self, "padding", 0, pads);
    memcpy (pads + 2, pads, 2 * sizeof *pads);
  }
  pt_onnx_put_ints (self, node, "kernel_shape", kernel, 2);
  pt_onnx_put_ints (self, node, "strides", stride, 2);
  pt_onnx_put_ints (self, node, "pads", pads, 4);
  if (pt_onnx_has_option (self, "dilation"))
    pt_onnx_put_ints (self, node, "dilations", dilation, 2);
  if (pt_onnx_option (self, "ceil_mode", FALSE))
    pt_onnx_put_int (self, node, "ceil_mode", 1);
}

static gboolean
write_conv2d (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = ops_write (self, "Conv");

  ops_read_weights (self, node);
  ops_put_window (self, node);
  pt_onnx_put_int (self, node, "group", pt_onnx_option (self, "groups", 1));
  return pt_onnx_write_activation (self, error);
}

static gboolean
write_max_pool2d (OnnxExport *self, GError **error)
{
  ops_put_window (self, ops_write (self, "MaxPool"));
  return TRUE;
}

static gboolean
write_avg_pool2d (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = ops_write (self, "AveragePool");

  ops_put_window (self, node);
  pt_onnx_put_int (self, node, "count_include_pad",
      pt_onnx_option (self, "count_include_pad", TRUE));
  return TRUE;
}

static gboolean
write_global_avg_pool (OnnxExport *self, GError **error)
{
  ops_write (self, "GlobalAveragePool");
  return TRUE;
}

/* -- with weights -- */

/* x W^T + b. */
static gboolean
write_linear (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = ops_write (self, "Gemm");

  ops_read_weights (self, node);
  pt_onnx_put_int (self, node, "transB", 1);
  return pt_onnx_write_activation (self, error);
}

/* Of one frame, the statistics of the batch are those of the instance. */
static gboolean
write_batch_norm (OnnxExport *self, GError **error)
{
  const gboolean running =
      pt_onnx_option_is (self, "statistics", "running");
  Onnx__NodeProto *node = ops_write (self,
      running ? "BatchNormalization" : "InstanceNormalization");

  for (guint i = 0; i < (running ? 4 : 2); i++)
    pt_onnx_write_input (self, node, self->weights[i]);
  pt_onnx_put_float (self, node, "epsilon",
      pt_onnx_option_double (self, "eps", 1e-5));
  return pt_onnx_write_activation (self, error);
}

/* -- over all of the input -- */

static gboolean
write_softmax (OnnxExport *self, GError **error)
{
  pt_onnx_put_int (self, ops_write (self, "Softmax"), "axis",
      pt_onnx_option_axis (self, "dim", 1));
  return TRUE;
}

/* Without the input that says training, it passes everything. */
static gboolean
write_dropout (OnnxExport *self, GError **error)
{
  pt_onnx_write (self, "Dropout", self->inputs[0], pt_onnx_make_number (self,
          "ratio", pt_onnx_option_double (self, "p", 0.5)), NULL);
  return TRUE;
}

/* -- which elements -- */

static gboolean
write_add (OnnxExport *self, GError **error)
{
  ops_write (self, self->layer->n_inputs == 2 ? "Add" : "Sum");
  return pt_onnx_write_activation (self, error);
}

static gboolean
write_concat (OnnxExport *self, GError **error)
{
  pt_onnx_put_int (self, ops_write (self, "Concat"), "axis",
      pt_onnx_option_axis (self, "dim", 1));
  return TRUE;
}

static gboolean
write_flatten (OnnxExport *self, GError **error)
{
  pt_onnx_put_int (self, ops_write (self, "Flatten"), "axis", 1);
  return TRUE;
}

static gboolean
write_slice (OnnxExport *self, GError **error)
{
  const gint64 axis = 1, size = self->layer->inputs[0].dims[axis];
  gint64 start = pt_onnx_option (self, "start", 0);
  gint64 end = start + self->layer->output.dims[axis];

  if (start < 0) {
    start += size;
    end += size;
  }
  pt_onnx_write (self, "Slice", self->inputs[0],
      pt_onnx_make_ints (self, "starts", &start, 1),
      pt_onnx_make_ints (self, "ends", &end, 1),
      pt_onnx_make_ints (self, "axes", &axis, 1), NULL);
  return TRUE;
}

/* torch.nn.Upsample: nearest from the pixel at floor (place / scale). */
static gboolean
write_upsample (OnnxExport *self, GError **error)
{
  const gboolean nearest = pt_onnx_option_is (self, "mode", "nearest");
  gfloat scales[] = { 1, 1, 1, 1 };
  Onnx__NodeProto *node;
  gint64 pair[2];

  ops_get_pair (self, "scale", 1, pair);
  scales[2] = pair[0];
  scales[3] = pair[1];
  node = pt_onnx_write (self, "Resize", self->inputs[0], "",
      pt_onnx_make_floats (self, "scales", scales, 4), NULL);
  pt_onnx_put_text (self, node, "mode", nearest ? "nearest" : "linear");
  pt_onnx_put_text (self, node, "coordinate_transformation_mode",
      nearest ? "asymmetric" : "half_pixel");
  if (nearest)
    pt_onnx_put_text (self, node, "nearest_mode", "floor");
  return TRUE;
}

const OnnxWriter pt_onnx_writers[] = {
  {"add", write_add},
  {"avg-pool2d", write_avg_pool2d},
  {"batch-norm", write_batch_norm},
  {"concat", write_concat},
  {"conv2d", write_conv2d},
  {"dropout", write_dropout},
  {"flatten", write_flatten},
  {"global-avg-pool", write_global_avg_pool},
  {"linear", write_linear},
  {"max-pool2d", write_max_pool2d},
  {"slice", write_slice},
  {"softmax", write_softmax},
  {"upsample", write_upsample},
  {NULL}
};
