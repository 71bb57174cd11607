/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-structure.h"

#include <math.h>
#include <string.h>

/* Resize and Upsample. */

typedef struct
{
  guint rank;
  gint64 dims[PT_MAX_DIMS];
  guint n;                      /* axes that the lists name */
  gint axes[PT_MAX_DIMS];
  gdouble size[PT_MAX_DIMS], scale[PT_MAX_DIMS];
  gdouble begin[PT_MAX_DIMS], end[PT_MAX_DIMS];
  gboolean has_size, has_scale, has_roi;
} Resize;

/* All numbers of input @i; NULL with *@n = 0 if it is left out or empty. */
static gfloat *
resize_get_floats (const OnnxImport *self, guint i, gint64 *n, GError **error)
{
  const Onnx__TensorProto *tensor;
  gint64 dims[ONNX_MAX_DIMS];
  gfloat *data = NULL;
  guint rank;

  *n = 0;
  if (i >= self->node->n_input || *self->node->input[i] == '\0')
    return NULL;
  tensor = pt_onnx_need_constant (self, i, error);
  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &rank, n,
          error))
    *n = -1;
  else if (*n > 0 && (data = pt_onnx_tensor_get_floats (self, tensor,
              error)) == NULL)
    *n = -1;
  return data;
}

/* The axes that the lists are about. */
static gboolean
resize_read_axes (OnnxImport *self, Resize *resize, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "axes");
  gboolean marked[PT_MAX_DIMS];

  resize->n = resize->rank;
  for (guint i = 0; i < resize->rank; i++) {
    resize->axes[i] = i;
    resize->size[i] = resize->dims[i];
    resize->scale[i] = resize->end[i] = 1;
    resize->begin[i] = 0;
  }
  if (attribute == NULL)
    return TRUE;
  if (!pt_onnx_mark_axes (self, attribute->ints, attribute->n_ints,
          resize->rank, marked, error))
    return FALSE;
  resize->n = attribute->n_ints;
  for (guint i = 0; i < resize->n; i++)
    resize->axes[i] =
        attribute->ints[i] < 0 ? attribute->ints[i] + resize->rank :
        attribute->ints[i];
  return TRUE;
}

/* The size that keeps width to height: ONNX's formula. */
static gboolean
resize_keep_aspect (const OnnxImport *self, Resize *resize, GError **error)
{
  const gchar *key = "keep_aspect_ratio_policy";
  const gboolean larger = pt_onnx_is_text (self, key, "not_smaller", "");
  gdouble scale = larger ? 0 : INFINITY;

  if (pt_onnx_is_text (self, key, "stretch", "stretch"))
    return TRUE;
  if (!larger && !pt_onnx_is_text (self, key, "not_larger", ""))
    return pt_onnx_refuse (self, error, "attribute %s: found another word, "
        "expected stretch, not_larger or not_smaller", key);
  for (guint i = 0; i < resize->n; i++) {
    const gint axis = resize->axes[i];
    const gdouble own = resize->size[axis] / resize->dims[axis];

    scale = larger ? MAX (scale, own) : MIN (scale, own);
  }
  resize->has_scale = TRUE;
  for (guint i = 0; i < resize->n; i++) {
    const gint axis = resize->axes[i];

    resize->scale[axis] = scale;
    resize->size[axis] = floor (scale * resize->dims[axis] + 0.5);
  }
  return TRUE;
}

static gboolean
resize_read_sizes (OnnxImport *self, Resize *resize, GError **error)
{
  gint64 sizes[ONNX_MAX_DIMS];
  guint n;

  if (!pt_onnx_need_ints (self, 3, sizes, &n, error))
    return FALSE;
  if (n != resize->n)
    return pt_onnx_refuse (self, error, "found %u sizes, expected %u", n,
        resize->n);
  for (guint i = 0; i < n; i++)
    resize->size[resize->axes[i]] = sizes[i];
  resize->has_size = TRUE;
  return resize_keep_aspect (self, resize, error);
}

static gboolean
resize_read_scales (OnnxImport *self, Resize *resize, guint input,
    GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "scales");
  g_autofree gfloat *scales = NULL;
  gint64 n;

  scales = resize_get_floats (self, input, &n, error);
  if (n < 0)
    return FALSE;
  if (n == 0 && attribute != NULL && attribute->n_floats > 0) {
    n = attribute->n_floats;
    scales = g_memdup2 (attribute->floats, n * sizeof *scales);
  }
  if (n != resize->n)
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " scales, "
        "expected %u", n, resize->n);
  for (guint i = 0; i < n; i++) {
    resize->scale[resize->axes[i]] = scales[i];
    resize->size[resize->axes[i]] = 0;
  }
  resize->has_scale = TRUE;
  return TRUE;
}

static gboolean
resize_read_roi (OnnxImport *self, Resize *resize, GError **error)
{
  g_autofree gfloat *roi = NULL;
  gint64 n;

  if (!pt_onnx_is_text (self, "coordinate_transformation_mode",
          "tf_crop_and_resize", ""))
    return TRUE;
  roi = resize_get_floats (self, 1, &n, error);
  if (n < 0)
    return FALSE;
  if (n != 2 * resize->n)
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " numbers in "
        "roi, expected %u", n, 2 * resize->n);
  for (guint i = 0; i < resize->n; i++) {
    resize->begin[resize->axes[i]] = roi[i];
    resize->end[resize->axes[i]] = roi[i + resize->n];
  }
  resize->has_roi = TRUE;
  return TRUE;
}

/* " key=1;2;3", but for the first @skip axes. */
static void
resize_print_list (GString *words, const gchar *key, const gdouble *values,
    guint n)
{
  gchar text[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append_printf (words, " %s=", key);
  for (guint i = 0; i < n; i++)
    g_string_append_printf (words, "%s%s", i ? ";" : "",
        g_ascii_dtostr (text, sizeof text, values[i]));
}

static void
resize_print_float (GString *words, const gchar *key, gdouble value)
{
  resize_print_list (words, key, &value, 1);
}

/* @words gets the one of @list that the attribute has; the first where it is
 * missing. */
static gboolean
resize_print_word (const OnnxImport *self, GString *words, const gchar *name,
    const gchar *key, const gchar *const *list, GError **error)
{
  g_autofree gchar *all = g_strjoinv (", ", (gchar **) list);

  for (guint i = 0; list[i] != NULL; i++)
    if (pt_onnx_is_text (self, name, list[i], list[0])) {
      g_string_append_printf (words, " %s=%s", key, list[i]);
      return TRUE;
    }
  return pt_onnx_refuse (self, error, "attribute %s: found another word, "
      "expected one of %s", name, all);
}

static gboolean
resize_print_mode (const OnnxImport *self, GString *words, GError **error)
{
  static const gchar *const modes[] = { "nearest", "linear", "cubic", NULL };

  if (!pt_onnx_is_text (self, "mode", "bilinear", "nearest"))
    return resize_print_word (self, words, "mode", "mode", modes, error);
  g_string_append (words, " mode=linear");
  return TRUE;
}

/* How pixels are found and weighed; before opset 11 as asymmetric. */
static gboolean
resize_print_how (const OnnxImport *self, GString *words, GError **error)
{
  static const gchar *const coordinates[] = { "half_pixel", "asymmetric",
    "align_corners", "pytorch_half_pixel", "half_pixel_symmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize", NULL
  };
  static const gchar *const nearest[] = { "round_prefer_floor",
    "round_prefer_ceil", "floor", "ceil", NULL
  };

  if (!resize_print_mode (self, words, error))
    return FALSE;
  if (self->opset < 11 || strcmp (self->node->op_type, "Resize") != 0) {
    g_string_append (words, " coordinates=asymmetric nearest_mode=floor");
    return TRUE;
  }
  if (!resize_print_word (self, words, "coordinate_transformation_mode",
          "coordinates", coordinates, error) ||
      !resize_print_word (self, words, "nearest_mode", "nearest_mode", nearest,
          error))
    return FALSE;
  g_string_append_printf (words, " exclude_outside=%d antialias=%d",
      pt_onnx_get_int (self, "exclude_outside", 0) != 0,
      pt_onnx_get_int (self, "antialias", 0) != 0);
  resize_print_float (words, "cubic_coeff_a",
      pt_onnx_get_float (self, "cubic_coeff_a", -0.75));
  resize_print_float (words, "extrapolation_value",
      pt_onnx_get_float (self, "extrapolation_value", 0));
  return TRUE;
}

/* A scale of 1 that crops nothing. */
static gboolean
resize_keeps (const Resize *resize, guint i)
{
  return (resize->has_size ? resize->size[i] == resize->dims[i] :
      resize->scale[i] == 1) && resize->begin[i] == 0 && resize->end[i] == 1;
}

/* The axes from the first that changes on. */
static gchar *
resize_print (const OnnxImport *self, const Resize *resize, guint first,
    GError **error)
{
  GString *words = g_string_new (NULL);
  gdouble roi[2 * PT_MAX_DIMS];
  const guint n = resize->rank - first;

  if (resize->has_size)
    resize_print_list (words, "size", resize->size + first, n);
  if (resize->has_scale)
    resize_print_list (words, "scale", resize->scale + first, n);
  memcpy (roi, resize->begin + first, n * sizeof *roi);
  memcpy (roi + n, resize->end + first, n * sizeof *roi);
  if (resize->has_roi)
    resize_print_list (words, "roi", roi, 2 * n);
  if (resize_print_how (self, words, error))
    return g_string_free (words, FALSE);
  g_string_free (words, TRUE);
  return NULL;
}

static gboolean
resize_add (OnnxImport *self, GError **error)
{
  const gboolean modern =
      self->opset >= 11 && strcmp (self->node->op_type, "Resize") == 0;
  const gboolean sized =
      modern && self->node->n_input > 3 && *self->node->input[3] != '\0';
  g_autofree gchar *words = NULL;
  Resize resize = {.rank = 0 };
  gint layer;
  guint first = 0;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 1, &layer,
      resize.dims, error);

  if (x == NULL)
    return FALSE;
  resize.rank = x->rank;
  if (!resize_read_axes (self, &resize, error) ||
      !(sized ? resize_read_sizes (self, &resize, error) :
          resize_read_scales (self, &resize, modern ? 2 : 1, error)) ||
      (modern && !resize_read_roi (self, &resize, error)))
    return FALSE;
  while (first < resize.rank && resize_keeps (&resize, first))
    first++;
  if (first == resize.rank)
    return pt_onnx_pass (self, x, error);
  if (first == 0 && pt_onnx_need_axis (self, x, 0, error) < 0)
    return FALSE;
  words = resize_print (self, &resize, first, error);
  return words != NULL && pt_onnx_add_reader (self, "resize", layer, words,
      x->rank, error);
}

const OnnxOperator pt_onnx_ops_resize[] = {
  {"Resize", resize_add, " antialias axes coordinate_transformation_mode "
        "cubic_coeff_a exclude_outside extrapolation_value "
        "keep_aspect_ratio_policy mode nearest_mode "},
  {"Upsample", resize_add, " mode scales "},
  {NULL}
};
