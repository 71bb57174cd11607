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
  gint64 padding[4];            /* before, then after */
} Window;

/* What is cut into two: SAME_LOWER has the larger half before. */
static void
window_share_padding (Window *self, guint i, gint64 all, gboolean lower)
{
  self->padding[i] = lower ? all - all / 2 : all / 2;
  self->padding[2 + i] = all - self->padding[i];
}

static gint64
window_get_span (const Window *self, guint i)
{
  return self->dilation[i] * (self->kernel[i] - 1) + 1;
}

/* SAME keeps ceil (size / stride) pixels. */
static gint64
window_get_same (const Window *self, guint i, gint64 size)
{
  const gint64 out = (size + self->stride[i] - 1) / self->stride[i];

  return MAX ((out - 1) * self->stride[i] + window_get_span (self, i) - size,
      0);
}

static gboolean
window_is_auto (const OnnxImport *self, const gchar *word)
{
  return pt_onnx_is_text (self, "auto_pad", word, "NOTSET");
}

static gboolean
window_is_same (const OnnxImport *self)
{
  return window_is_auto (self, "SAME_UPPER")
      || window_is_auto (self, "SAME_LOWER");
}

/* Those that are given; SAME depends on what is slid over. */
static gboolean
window_read_pads (const OnnxImport *self, Window *window, GError **error)
{
  gint64 pads[4] = { 0 };

  if (window_is_auto (self, "VALID") || window_is_same (self))
    return TRUE;
  if (!window_is_auto (self, "NOTSET"))
    return pt_onnx_refuse (self, error, "attribute auto_pad: found another "
        "word, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER");
  if (!pt_onnx_get_sizes (self, "pads", pads, 2 * window->n, error))
    return FALSE;
  for (guint i = 0; i < window->n; i++) {
    window->padding[i] = pads[i];
    window->padding[2 + i] = pads[i + window->n];
  }
  return TRUE;
}

/* The attributes of a window over @x; the kernel is @kernel or the attribute's,
 * which must agree. */
static gboolean
window_read (const OnnxImport *self, const OnnxValue *x, const gint64 *kernel,
    Window *window, GError **error)
{
  *window = (Window) {
    .n = x->rank - 2,.kernel = {1, 1},.stride = {1, 1},.dilation = {1, 1}
  };
  if (kernel != NULL)
    memcpy (window->kernel, kernel, window->n * sizeof *kernel);
  else if (pt_onnx_find (self, "kernel_shape") == NULL)
    return pt_onnx_refuse (self, error, "attribute kernel_shape is missing");
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
  return window_read_pads (self, window, error);
}

/* The same of one that slides over @x. */
static gboolean
window_read_over (const OnnxImport *self, const OnnxValue *x,
    const gint64 *kernel, Window *window, GError **error)
{
  gint64 dims[PT_MAX_DIMS];

  if (!window_read (self, x, kernel, window, error))
    return FALSE;
  pt_onnx_get_dims (self, x, dims);
  for (guint i = 0; window_is_same (self) && i < window->n; i++)
    window_share_padding (window, i, window_get_same (window, i, dims[2 + i]),
        window_is_auto (self, "SAME_LOWER"));
  return TRUE;
}

static gchar *
window_print (const Window *window)
{
#define D "%" G_GINT64_FORMAT
  return g_strdup_printf ("kernel=" D ";" D " stride=" D ";" D " padding=" D
      ";" D ";" D ";" D " dilation=" D ";" D, window->kernel[0],
      window->kernel[1], window->stride[0], window->stride[1],
      window->padding[0], window->padding[1], window->padding[2],
      window->padding[3], window->dilation[0], window->dilation[1]);
#undef D
}

/* -- convolutions -- */

/* What Conv and ConvTranspose read. */
typedef struct
{
  const OnnxValue *x;
  const Onnx__TensorProto *weight, *bias;       /* bias may be NULL */
  gint64 dims[ONNX_MAX_DIMS];   /* of the weight */
} Conv;

static gboolean
window_read_conv (OnnxImport *self, Conv *conv, GError **error)
{
  const gboolean biased = self->node->n_input > 2 && *self->node->input[2];
  guint n_dims;
  gint64 n;

  conv->x = pt_onnx_need_layer (self, 0, 3, 4, error);
  conv->weight = conv->x ? pt_onnx_need_constant (self, 1, error) : NULL;
  conv->bias = NULL;
  if (conv->weight == NULL || (biased &&
          (conv->bias = pt_onnx_need_constant (self, 2, error)) == NULL) ||
      !pt_onnx_tensor_get_dims (self, conv->weight, conv->dims, &n_dims, &n,
          error))
    return FALSE;
  return n_dims == conv->x->rank || pt_onnx_refuse (self, error, "found a "
      "weight of %u dimensions, expected %u", n_dims, conv->x->rank);
}

/* A weight of one axis has its dimensions in the right order already. */
static gboolean
window_add_conv (OnnxImport *self, const gchar *kind, const Conv *conv,
    const Window *window, gint64 filters, const gchar *more, GError **error)
{
  g_autofree gchar *text = window_print (window);
  g_autofree gchar *words = g_strdup_printf ("%s filters=%" G_GINT64_FORMAT
      " groups=%" G_GINT64_FORMAT " bias=%s%s", text, filters,
      pt_onnx_get_int (self, "group", 1), conv->bias ? "true" : "false", more);
  const guint rank = conv->x->rank;
  gint image = pt_onnx_as_image (self, conv->x, error), layer;

  if (image == ONNX_NO_LAYER)
    return FALSE;
  layer = pt_onnx_add_layer (self, kind, &image, 1, words, error);
  return layer != ONNX_NO_LAYER &&
      pt_onnx_take_weight (self, layer, 0, conv->weight, error) &&
      (conv->bias == NULL ||
      pt_onnx_take_weight (self, layer, 1, conv->bias, error)) &&
      pt_onnx_set_output (self, layer, rank, error);
}

static gboolean
window_conv (OnnxImport *self, GError **error)
{
  Window window;
  Conv conv;

  return window_read_conv (self, &conv, error) &&
      window_read_over (self, conv.x, conv.dims + 2, &window, error) &&
      window_add_conv (self, "conv2d", &conv, &window, conv.dims[0], "", error);
}

/* What is cut off the output so that it gets the size asked for; or, where it
 * is too small for that, is put behind it. */
static gboolean
window_fit_output (const OnnxImport *self, const OnnxValue *x, Window *window,
    gint64 more[2], GError **error)
{
  const gboolean given = pt_onnx_find (self, "output_shape") != NULL;
  gint64 dims[PT_MAX_DIMS], sizes[2] = { 0 };

  if (given && !pt_onnx_get_sizes (self, "output_shape", sizes, window->n,
          error))
    return FALSE;
  pt_onnx_get_dims (self, x, dims);
  for (guint i = 0; i < window->n && (given || window_is_same (self)); i++) {
    const gint64 size = given ? sizes[i] : dims[2 + i] * window->stride[i];
    const gint64 all = (dims[2 + i] - 1) * window->stride[i] + more[i] +
        window_get_span (window, i) - size;

    more[i] += MAX (-all, 0);
    window_share_padding (window, i, MAX (all, 0),
        !window_is_auto (self, "SAME_UPPER"));
  }
  return TRUE;
}

static gboolean
window_conv_transpose (OnnxImport *self, GError **error)
{
  g_autofree gchar *words = NULL;
  gint64 more[2] = { 0 }, group = pt_onnx_get_int (self, "group", 1);
  Window window;
  Conv conv;

  if (!window_read_conv (self, &conv, error) ||
      !window_read (self, conv.x, conv.dims + 2, &window, error) ||
      !pt_onnx_get_sizes (self, "output_padding", more, window.n, error) ||
      !window_fit_output (self, conv.x, &window, more, error))
    return FALSE;
  if (group < 1 || group > G_MAXINT)
    return pt_onnx_refuse (self, error, "attribute group: found %"
        G_GINT64_FORMAT ", expected at least 1", group);
  words = g_strdup_printf (" output_padding=%" G_GINT64_FORMAT ";%"
      G_GINT64_FORMAT, more[0], more[1]);
  return window_add_conv (self, "conv-transpose2d", &conv, &window,
      conv.dims[1] * group, words, error);
}

/* -- pools -- */

/* As an image, of which a batch that is one frame is so many more channels:
 * none mixes them. */
static gint
window_begin_pool (OnnxImport *self, const OnnxValue *x,
    gint64 dims[PT_MAX_DIMS], GError **error)
{
  PtShape shape = PT_SHAPE (1, 1, 1, 1);
  const guint n = x->rank == 3 ? 1 : 2;

  pt_onnx_get_dims (self, x, dims);
  if (self->batch > 1)
    dims[0] = 1;
  shape.dims[1] = dims[0] * dims[1];
  for (guint i = 2; i < x->rank; i++)
    shape.dims[MIN (i, n + 1)] *= dims[i];
  return pt_onnx_reshape (self, x->layer, &shape, error);
}

/* The node's output is what @layer makes of that. */
static gboolean
window_end_pool (OnnxImport *self, gint layer, guint rank,
    const gint64 dims[PT_MAX_DIMS], GError **error)
{
  PtShape shape = *pt_onnx_get_shape (self, layer);

  shape.dims[0] = dims[0];
  shape.dims[1] = dims[1];
  if (rank > 4)
    for (shape.n_dims = 4; shape.n_dims < rank; shape.n_dims++)
      shape.dims[shape.n_dims] = 1;
  layer = pt_onnx_reshape (self, layer, &shape, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, rank,
      error);
}

static gboolean
window_add_pool (OnnxImport *self, const gchar *kind, const OnnxValue *x,
    const gchar *words, GError **error)
{
  const guint rank = x->rank;
  gint64 dims[PT_MAX_DIMS];
  gint layer = window_begin_pool (self, x, dims, error);

  if (layer == ONNX_NO_LAYER)
    return FALSE;
  layer = pt_onnx_add_layer (self, kind, &layer, 1, words, error);
  return layer != ONNX_NO_LAYER && window_end_pool (self, layer, rank, dims,
      error);
}

static gboolean
window_pool (OnnxImport *self, const gchar *kind, const gchar *more,
    GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 3, 4, error);
  g_autofree gchar *text = NULL, *words = NULL;
  Window window;

  if (x == NULL || !window_read_over (self, x, NULL, &window, error))
    return FALSE;
  text = window_print (&window);
  words = g_strdup_printf ("%s ceil_mode=%s%s", text,
      pt_onnx_get_int (self, "ceil_mode", 0) ? "true" : "false", more);
  return window_add_pool (self, kind, x, words, error);
}

static gboolean
window_max_pool (OnnxImport *self, GError **error)
{
  if (self->node->n_output > 1 && *self->node->output[1] != '\0')
    return pt_onnx_refuse (self, error, "found output Indices, expected the "
        "largest elements alone");
  return window_pool (self, "max-pool2d", "", error);
}

static gboolean
window_average_pool (OnnxImport *self, GError **error)
{
  return window_pool (self, "avg-pool2d",
      pt_onnx_get_int (self, "count_include_pad", 0) ?
      " count_include_pad=true" : " count_include_pad=false", error);
}

static gchar *
window_print_norm (const OnnxImport *self)
{
  return g_strdup_printf (" norm_type=%" G_GINT64_FORMAT,
      pt_onnx_get_int (self, "p", 2));
}

static gboolean
window_lp_pool (OnnxImport *self, GError **error)
{
  g_autofree gchar *norm = window_print_norm (self);

  return window_pool (self, "lp-pool2d", norm, error);
}

static gboolean
window_global (OnnxImport *self, const gchar *kind, const gchar *words,
    GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 3, PT_MAX_DIMS, error);

  return x != NULL && window_add_pool (self, kind, x, words, error);
}

static gboolean
window_global_average (OnnxImport *self, GError **error)
{
  return window_global (self, "global-avg-pool", "", error);
}

static gboolean
window_global_max (OnnxImport *self, GError **error)
{
  return window_global (self, "global-max-pool", "", error);
}

static gboolean
window_global_lp (OnnxImport *self, GError **error)
{
  g_autofree gchar *norm = window_print_norm (self);

  return window_global (self, "global-lp-pool", norm, error);
}

const OnnxOperator pt_onnx_ops_window[] = {
  {"AveragePool", window_average_pool, " auto_pad ceil_mode count_include_pad "
        "dilations kernel_shape pads strides "},
  {"Conv", window_conv,
      " auto_pad dilations group kernel_shape pads strides "},
  {"ConvTranspose", window_conv_transpose, " auto_pad dilations group "
        "kernel_shape output_padding output_shape pads strides "},
  {"GlobalAveragePool", window_global_average, " "},
  {"GlobalLpPool", window_global_lp, " p "},
  {"GlobalMaxPool", window_global_max, " "},
  {"LpPool", window_lp_pool,
      " auto_pad ceil_mode dilations kernel_shape p pads strides "},
  {"MaxPool", window_max_pool, " auto_pad ceil_mode dilations kernel_shape "
        "pads storage_order strides "},
  {NULL}
};
