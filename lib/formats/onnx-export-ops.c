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

typedef struct
{
  gint64 kernel[2], stride[2], dilation[2];
  gint64 pads[4];               /* top, left, bottom, right */
} Window;

static void
ops_get_window (const OnnxExport *self, Window *window)
{
  pt_onnx_get_pair (self, "kernel", 1, window->kernel);
  pt_onnx_get_pair (self, "stride", 1, window->stride);
  pt_onnx_get_pair (self, "dilation", 1, window->dilation);
  for (guint i = 0; i < 2; i++)
    /* torch.nn's default of pools */
    window->stride[i] =
        window->stride[i] ? window->stride[i] : window->kernel[i];
  if (pt_onnx_option_list (self, "padding", window->pads, 4) < 4) {
    pt_onnx_get_pair (self, "padding", 0, window->pads);
    memcpy (window->pads + 2, window->pads, 2 * sizeof *window->pads);
  }
}

static void
ops_put_window (OnnxExport *self, Onnx__NodeProto *node,
    const Window *window)
{
  pt_onnx_put_ints (self, node, "kernel_shape", window->kernel, 2);
  pt_onnx_put_ints (self, node, "strides", window->stride, 2);
  pt_onnx_put_ints (self, node, "pads", window->pads, 4);
  if (window->dilation[0] != 1 || window->dilation[1] != 1)
    pt_onnx_put_ints (self, node, "dilations", window->dilation, 2);
}

static gboolean
write_conv2d (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node =
      pt_onnx_write (self, "Conv", self->inputs[0], NULL);
  Window window;

  ops_read_weights (self, node);
  ops_get_window (self, &window);
  ops_put_window (self, node, &window);
  pt_onnx_put_int (self, node, "group", pt_onnx_option (self, "groups", 1));
  if (self->layer->n_inputs > 1)
    pt_onnx_write (self, "Add", self->last, self->inputs[1], NULL);
  return pt_onnx_write_activation (self, error);
}

static gboolean
write_conv_transpose2d (OnnxExport *self, GError **error)
{
  Onnx__NodeProto *node = pt_onnx_write_all (self, "ConvTranspose");
  gint64 pair[2];
  Window window;

  ops_read_weights (self, node);
  ops_get_window (self, &window);
  ops_put_window (self, node, &window);
  pt_onnx_put_int (self, node, "group", pt_onnx_option (self, "groups", 1));
  pt_onnx_get_pair (self, "output_padding", 0, pair);
  pt_onnx_put_ints (self, node, "output_padding", pair, 2);
  return pt_onnx_write_activation (self, error);
}

/* -- pools -- */

/* By how much the last windows reach beyond the padding: what ceil_mode lets
 * them, which ONNX counts otherwise than PyTorch. */
static void
ops_get_reach (const OnnxExport *self, const Window *window, gint64 more[2])
{
  const gint64 *x = self->layer->inputs[0].dims + 2;
  const gint64 *y = self->layer->output.dims + 2;

  for (guint i = 0; i < 2; i++) {
    const gint64 span = window->dilation[i] * (window->kernel[i] - 1) + 1;

    more[i] = MAX ((y[i] - 1) * window->stride[i] + span - x[i] -
        window->pads[i] - window->pads[i + 2], 0);
  }
}

/* Pads by a node of its own, filled with @value. */
static const gchar *
ops_pad (OnnxExport *self, Window *window, gdouble value)
{
  const gint64 pads[] = { 0, 0, window->pads[0], window->pads[1], 0, 0,
    window->pads[2], window->pads[3]
  };

  memset (window->pads, 0, sizeof window->pads);
  pt_onnx_write (self, "Pad", self->inputs[0], pt_onnx_make_ints (self, "pads",
          pads, G_N_ELEMENTS (pads)), pt_onnx_make_number (self, "border",
          value), NULL);
  return self->last;
}

/* A pool whose border is @value. With @counts it counts, but not what windows
 * reach beyond it. */
static Onnx__NodeProto *
ops_write_pool (OnnxExport *self, const gchar *operator, gdouble value,
    gboolean counts)
{
  const gchar *x = self->inputs[0];
  gint64 more[2];
  Window window;
  Onnx__NodeProto *node;

  ops_get_window (self, &window);
  ops_get_reach (self, &window, more);
  if (counts && more[0] + more[1] > 0)
    x = ops_pad (self, &window, value);
  window.pads[2] += more[0];
  window.pads[3] += more[1];
  self->main = node = pt_onnx_write (self, operator, x, NULL);
  ops_put_window (self, node, &window);
  /* not after a Pad, which ONNX Runtime would fuse back */
  if (counts && x == self->inputs[0])
    pt_onnx_put_int (self, node, "count_include_pad", 1);
  return node;
}

static gboolean
write_max_pool2d (OnnxExport *self, GError **error)
{
  ops_write_pool (self, "MaxPool", -G_MAXFLOAT, FALSE);
  return TRUE;
}

/* The mean as a convolution of each channel by itself: for borders that ONNX
 * Runtime finds too wide for a pool. */
static void
ops_write_mean (OnnxExport *self, const Window *window)
{
  const gint64 channels = self->layer->inputs[0].dims[1];
  const gint64 n = window->kernel[0] * window->kernel[1];
  g_autofree gfloat *values = g_new (gfloat, channels * n);
  const gint64 dims[] = { channels, 1, window->kernel[0], window->kernel[1] };
  const gchar *kernels;
  Onnx__NodeProto *node;

  for (gint64 i = 0; i < channels * n; i++)
    values[i] = 1.0 / n;
  kernels = pt_onnx_make_floats (self, "mean", values, dims, 4);
  node = pt_onnx_write (self, "Conv", self->inputs[0], kernels, NULL);
  ops_put_window (self, node, window);
  pt_onnx_put_int (self, node, "group", channels);
}

static gboolean
write_avg_pool2d (OnnxExport *self, GError **error)
{
  const gboolean counts = pt_onnx_option (self, "count_include_pad", TRUE);
  gboolean wide = FALSE;
  gint64 more[2];
  Window window;

  ops_get_window (self, &window);
  ops_get_reach (self, &window, more);
  for (guint i = 0; i < 4; i++)
    wide |= window.pads[i] >= window.kernel[i % 2];
  if (wide && (!counts || more[0] + more[1] > 0))
    return pt_onnx_export_fail (self, error, "found a border as wide as the "
        "kernel that does not count, expected a thinner one");
  if (wide)
    ops_write_mean (self, &window);
  else
    ops_write_pool (self, "AveragePool", 0, counts);
  return TRUE;
}

static gboolean
write_lp_pool2d (OnnxExport *self, GError **error)
{
  pt_onnx_put_int (self, ops_write_pool (self, "LpPool", 0, FALSE), "p",
      pt_onnx_option (self, "norm_type", 2));
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

/* It does not read its input. */
static gboolean
write_parameter (OnnxExport *self, GError **error)
{
  pt_onnx_write (self, "Identity", self->weights[0], NULL);
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
  {"conv-transpose2d", write_conv_transpose2d},
  {"conv2d", write_conv2d},
  {"dropout", write_dropout},
  {"global-avg-pool", pt_onnx_write_plain, "GlobalAveragePool"},
  {"global-max-pool", pt_onnx_write_plain, "GlobalMaxPool"},
  {"linear", write_linear},
  {"lp-pool2d", write_lp_pool2d},
  {"max-pool2d", write_max_pool2d},
  {"parameter", write_parameter},
  {"prelu", write_prelu},
  {NULL}
};
