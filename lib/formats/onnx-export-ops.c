/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <string.h>

/* Layers with a window or weights. To add a kind: a function that writes its
 * nodes, and a row at the end of one of these files. */

Onnx__NodeProto *
pt_onnx_write_all (OnnxExport *self, const gchar *operator)
{
  Onnx__NodeProto *node =
      pt_onnx_write (self, operator, self->inputs[0], NULL);

  for (guint i = 1; i < self->layer->n_inputs; i++)
    pt_onnx_write_input (self, node, self->inputs[i]);
  return node;
}

gboolean
pt_onnx_write_plain (OnnxExport *self, GError **error)
{
  pt_onnx_write_all (self, self->writer->operator);
  return TRUE;
}

/* The weights in the layer's order. */
static void
ops_read_weights (OnnxExport *self, Onnx__NodeProto *node)
{
  for (guint i = 0; i < self->layer->n_weights; i++)
    pt_onnx_write_input (self, node, self->weights[i]);
}

/* -- windows -- */

void
pt_onnx_get_pair (const OnnxExport *self, const gchar *key, gint64 missing,
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

  pt_onnx_get_pair (self, "kernel", 1, kernel);
  pt_onnx_get_pair (self, "stride", 1, stride);
  pt_onnx_get_pair (self, "dilation", 1, dilation);
  for (guint i = 0; i < 2; i++)
    /* torch.nn's default of pools */
    stride[i] = stride[i] ? stride[i] : kernel[i];
  /* begins, then ends: top, left, bottom, right */
  if (pt_onnx_option_list (self, "padding", pads, 4) < 4) {
    pt_onnx_get_pair (self, "padding", 0, pads);
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
  Onnx__NodeProto *node = pt_onnx_write_all (self, "Conv");

  ops_read_weights (self, node);
  ops_put_window (self, node);
  pt_onnx_put_int (self, node, "group", pt_onnx_option (self, "groups", 1));
  return pt_onnx_write_activation (self, error);
}

static gboolean
write_max_pool2d (OnnxExport *self, GError **error)
{
  ops_put_window (self, pt_onnx_write_all (self, "MaxPool"));
  return TRUE;
}

static gboolean
write_avg_pool2d (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write_all (self, "AveragePool");

  ops_put_window (self, node);
  pt_onnx_put_int (self, node, "count_include_pad",
      pt_onnx_option (self, "count_include_pad", TRUE));
  return TRUE;
}

/* -- with weights -- */

/* x W^T + b. */
static gboolean
write_linear (OnnxExport *self, GError **error)
{
  const gboolean flat = self->layer->inputs[0].n_dims == 2;
  const gchar *x = self->inputs[0], *w = self->weights[0];
  const gint64 perm[] = { 1, 0 };
  Onnx__NodeProto *node;

  if (flat) {
    node = pt_onnx_write (self, "Gemm", x, NULL);
    ops_read_weights (self, node);
    pt_onnx_put_int (self, node, "transB", 1);
    return pt_onnx_write_activation (self, error);
  }
  node = pt_onnx_write (self, "Transpose", w, NULL);
  pt_onnx_put_ints (self, node, "perm", perm, 2);
  self->main = pt_onnx_write (self, "MatMul", x, self->last, NULL);
  if (self->layer->n_weights > 1)
    pt_onnx_write (self, "Add", self->last, self->weights[1], NULL);
  return pt_onnx_write_activation (self, error);
}

/* Of one frame, the statistics of the batch are those of the instance. */
static gboolean
write_batch_norm (OnnxExport *self, GError **error)
{
  const gboolean running =
      pt_onnx_option_is (self, "statistics", "running");
  Onnx__NodeProto *node = pt_onnx_write_all (self,
      running ? "BatchNormalization" : "InstanceNormalization");

  for (guint i = 0; i < (running ? 4 : 2); i++)
    pt_onnx_write_input (self, node, self->weights[i]);
  pt_onnx_put_float (self, node, "epsilon",
      pt_onnx_option_double (self, "eps", 1e-5));
  return pt_onnx_write_activation (self, error);
}

/* Slopes of channels have the other axes, of size 1, behind them. */
static gboolean
write_prelu (OnnxExport *self, GError **error)
{
  PtShape *slopes = &self->weight_shapes[0];
  const guint rank = self->layer->inputs[0].n_dims;

  if (slopes->n_dims == 1 && slopes->dims[0] > 1 &&
      pt_onnx_option (self, "num_parameters", 1) > 1) {
    slopes->n_dims = MAX (rank, 2) - 1;
    for (guint i = 1; i < slopes->n_dims; i++)
      slopes->dims[i] = 1;
  }
  pt_onnx_write (self, "PRelu", self->inputs[0], self->weights[0], NULL);
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

const OnnxWriter pt_onnx_writers[] = {
  {"avg-pool2d", write_avg_pool2d},
  {"batch-norm", write_batch_norm},
  {"conv2d", write_conv2d},
  {"dropout", write_dropout},
  {"global-avg-pool", pt_onnx_write_plain, "GlobalAveragePool"},
  {"global-max-pool", pt_onnx_write_plain, "GlobalMaxPool"},
  {"linear", write_linear},
  {"max-pool2d", write_max_pool2d},
  {"prelu", write_prelu},
  {NULL}
};
