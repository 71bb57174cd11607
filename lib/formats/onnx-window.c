/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

#include <string.h>

/* Convolutions and pools. Those over one axis are taken as 2d over columns of
 * width one. */

typedef struct
{
  guint n;                      /* axes: 1 or 2 */
  gint64 kernel[2], stride[2], dilation[2];
  gint64 padding[2];
} Window;

/* SAME keeps ceil (size / stride) pixels; what does not part evenly goes to
 * one side. */
static gint64
window_get_same (const Window *self, guint i, gint64 size)
{
  const gint64 span = self->dilation[i] * (self->kernel[i] - 1) + 1;
  const gint64 out = (size + self->stride[i] - 1) / self->stride[i];

  return MAX ((out - 1) * self->stride[i] + span - size, 0);
}

static gboolean
window_refuse_pads (const OnnxImport *self, gint64 begin, gint64 end,
    GError **error)
{
  return pt_onnx_refuse (self, error, "found a padding of %" G_GINT64_FORMAT
      " before and %" G_GINT64_FORMAT " after, expected as much on both "
      "sides: export the model with symmetric padding", begin, end);
}

static gboolean
window_read_pads (const OnnxImport *self, Window *window, const gint64 *dims,
    GError **error)
{
  gint64 pads[4] = { 0 };

  if (pt_onnx_is_text (self, "auto_pad", "VALID", "NOTSET"))
    return TRUE;
  if (pt_onnx_is_text (self, "auto_pad", "NOTSET", "NOTSET")) {
    if (!pt_onnx_get_sizes (self, "pads", pads, 2 * window->n, error))
      return FALSE;
  } else if (!pt_onnx_is_text (self, "auto_pad", "SAME_UPPER", "NOTSET") &&
      !pt_onnx_is_text (self, "auto_pad", "SAME_LOWER", "NOTSET"))
    return pt_onnx_refuse (self, error, "attribute auto_pad: found another "
        "word, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER");
  else
    for (guint i = 0; i < window->n; i++) {
      const gint64 all = window_get_same (window, i, dims[2 + i]);

      pads[i] = all / 2;
      pads[i + window->n] = all - all / 2;
    }
  for (guint i = 0; i < window->n; i++) {
    if (pads[i] != pads[i + window->n])
      return window_refuse_pads (self, pads[i], pads[i + window->n], error);
    window->padding[i] = pads[i];
  }
  return TRUE;
}

/* The attributes of a window over @x; the kernel is @kernel or the attribute's,
 * which must agree. */
static gboolean
window_read (const OnnxImport *self, const OnnxValue *x, const gint64 *kernel,
    Window *window, GError **error)
{
  gint64 dims[PT_MAX_DIMS];

  *window = (Window) {
    .n = x->rank - 2,.kernel = {1, 1},.stride = {1, 1},.dilation = {1, 1}
  };
  if (kernel != NULL)
    memcpy (window->kernel, kernel, window->n * sizeof *kernel);
  else if (pt_onnx_find (self, "kernel_shape") == NULL)
    return pt_onnx_refuse (self, error, "attribute kernel_shape is missing");
  pt_onnx_get_dims (self, x, dims);
  if (!pt_onnx_get_sizes (self, "kernel_shape", window->kernel, window->n,
          error) ||
      !pt_onnx_get_sizes (self, "strides", window->stride, window->n, error) ||
      !pt_onnx_get_sizes (self, "dilations", window->dilation, window->n,
          error))
    return FALSE;
  for (guint i = 0; i < window->n; i++)
    if ((kernel != NULL && kernel[i] != window->kernel[i]) ||
        window->kernel[i] < 1 || window->stride[i] < 1 ||
        window->dilation[i] < 1)
      return pt_onnx_refuse (self, error, "found a kernel of %" G_GINT64_FORMAT
          ", stride %" G_GINT64_FORMAT " and dilation %" G_GINT64_FORMAT
          " along axis %u, expected at least 1 and the weight's size",
          window->kernel[i], window->stride[i], window->dilation[i], i + 2);
  return window_read_pads (self, window, dims, error);
}

static gchar *
window_print (const Window *window)
{
  return g_strdup_printf ("kernel=%" G_GINT64_FORMAT ";%" G_GINT64_FORMAT
      " stride=%" G_GINT64_FORMAT ";%" G_GINT64_FORMAT " padding=%"
      G_GINT64_FORMAT ";%" G_GINT64_FORMAT, window->kernel[0],
      window->kernel[1], window->stride[0], window->stride[1],
      window->padding[0], window->padding[1]);
}

/* -- convolution -- */

/* A weight of one axis has its dimensions in the right order already. */
static gboolean
window_conv_weights (OnnxImport *self, gint layer,
    const Onnx__TensorProto *weight, const Onnx__TensorProto *bias,
    GError **error)
{
  return pt_onnx_take_weight (self, layer, 0, weight, error) &&
      (bias == NULL || pt_onnx_take_weight (self, layer, 1, bias, error));
}

static gboolean
window_conv (OnnxImport *self, GError **error)
{
  const gboolean biased = self->node->n_input > 2 && *self->node->input[2];
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 3, 4, error);
  const Onnx__TensorProto *weight =
      x ? pt_onnx_need_constant (self, 1, error) : NULL;
  const Onnx__TensorProto *bias = NULL;
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gchar *text = NULL, *words = NULL;
  Window window;
  guint n_dims;
  gint layer;

  if (weight == NULL || (biased &&
          (bias = pt_onnx_need_constant (self, 2, error)) == NULL) ||
      !pt_onnx_tensor_get_dims (self, weight, dims, &n_dims, &n, error))
    return FALSE;
  if (n_dims != x->rank)
    return pt_onnx_refuse (self, error, "found a weight of %u dimensions, "
        "expected %u", n_dims, x->rank);
  if (!window_read (self, x, dims + 2, &window, error))
    return FALSE;
  text = window_print (&window);
  words = g_strdup_printf ("%s filters=%" G_GINT64_FORMAT " dilation=%"
      G_GINT64_FORMAT ";%" G_GINT64_FORMAT " groups=%" G_GINT64_FORMAT
      " bias=%s", text, dims[0], window.dilation[0], window.dilation[1],
      pt_onnx_get_int (self, "group", 1), bias ? "true" : "false");
  layer = pt_onnx_add_layer (self, "conv2d", &x->layer, 1, words, error);
  return layer != ONNX_NO_LAYER &&
      window_conv_weights (self, layer, weight, bias, error) &&
      pt_onnx_set_output (self, layer, x->rank, error);
}

/* -- pools -- */

/* ceil_mode matters only where a last window would be incomplete. */
static gboolean
window_check_ceil (const OnnxImport *self, const OnnxValue *x,
    const Window *window, GError **error)
{
  gint64 dims[PT_MAX_DIMS];

  pt_onnx_get_dims (self, x, dims);
  for (guint i = 0; i < window->n; i++) {
    const gint64 padded = dims[2 + i] + 2 * window->padding[i];

    if (window->dilation[i] != 1)
      return pt_onnx_refuse (self, error, "found a pool with dilations, "
          "expected one without");
    if (pt_onnx_get_int (self, "ceil_mode", 0) != 0 &&
        (padded - window->kernel[i]) % window->stride[i] != 0)
      return pt_onnx_refuse (self, error, "found ceil_mode=1 where the last "
          "window is incomplete, expected ceil_mode=0 or a size that fits");
  }
  return TRUE;
}

static gboolean
window_pool (OnnxImport *self, const gchar *kind, const gchar *more,
    GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 3, 4, error);
  g_autofree gchar *text = NULL, *words = NULL;
  Window window;

  if (x == NULL || !window_read (self, x, NULL, &window, error) ||
      !window_check_ceil (self, x, &window, error))
    return FALSE;
  text = window_print (&window);
  words = g_strconcat (text, more, NULL);
  return pt_onnx_add_unary (self, kind, x, words, error);
}

static gboolean
window_max_pool (OnnxImport *self, GError **error)
{
  return window_pool (self, "max-pool2d", "", error);
}

static gboolean
window_average_pool (OnnxImport *self, GError **error)
{
  return window_pool (self, "avg-pool2d",
      pt_onnx_get_int (self, "count_include_pad", 0) ?
      " count_include_pad=true" : " count_include_pad=false", error);
}

const OnnxOperator pt_onnx_ops_window[] = {
  {"AveragePool", window_average_pool, " auto_pad ceil_mode count_include_pad "
        "dilations kernel_shape pads strides "},
  {"Conv", window_conv,
      " auto_pad dilations group kernel_shape pads strides "},
  {"MaxPool", window_max_pool, " auto_pad ceil_mode dilations kernel_shape "
        "pads storage_order strides "},
  {NULL}
};
