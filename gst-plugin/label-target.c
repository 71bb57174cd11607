/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Labels of every kind (pictures, class maps, numbers, names, tensors) become
 * the target that the library compares the network's output with. */

#include <math.h>
#include <string.h>

#include "label-target.h"

#define TARGET_MAX_NAME 256

static gfloat
target_get_number (PtNetwork *network, const gchar *key, gfloat otherwise)
{
  g_autofree gchar *text = pt_network_get (network, "network", key);

  return text && *text ? g_ascii_strtod (text, NULL) : otherwise;
}

/* Returns: FALSE if the network does not learn from labels */
gboolean
gst_partime_target_init (GstPartimeTarget *self, PtNetwork *network,
    PtPipeline *pipeline)
{
  *self = (GstPartimeTarget) { .network = pt_network_ref (network) };
  if (!pt_pipeline_get_target_info (pipeline, &self->info))
    return FALSE;
  self->output = *pt_network_get_output_shape (network);
  self->masks = g_str_equal (self->info.loss, "bce")
      || g_str_equal (self->info.loss, "focal");
  self->mean = target_get_number (network, "mean", 0);
  self->std = target_get_number (network, "std", 1);
  return TRUE;
}

void
gst_partime_target_clear (GstPartimeTarget *self)
{
  g_clear_pointer (&self->network, pt_network_unref);
}

static gboolean
target_same_shape (const PtShape *a, const PtShape *b)
{
  return a->n_dims == b->n_dims
      && memcmp (a->dims, b->dims, a->n_dims * sizeof a->dims[0]) == 0;
}

PtTensor *
gst_partime_target_new_tensor (const GstPartimeTarget *self, GError **error)
{
  return pt_tensor_new (self->info.dtype, self->info.shape.dims,
      self->info.shape.n_dims, error);
}

static gint
target_get_dim (const PtShape *shape, guint axis)
{
  return axis < shape->n_dims ? shape->dims[axis] : 1;
}

/* Whether one class is wanted for the whole frame. */
static gboolean
target_is_scalar (const GstPartimeTarget *self)
{
  return self->info.n_classes > 0 && self->info.shape.n_dims == 1;
}

static gboolean
target_same_place (const GstPartimeTarget *a, const GstPartimeTarget *b)
{
  g_autofree gchar *resize_a = pt_network_get (a->network, "network",
      "resize");
  g_autofree gchar *resize_b = pt_network_get (b->network, "network",
      "resize");

  return target_same_shape (&a->output, &b->output)
      && target_same_shape (pt_network_get_input_shape (a->network),
      pt_network_get_input_shape (b->network))
      && a->mean == b->mean && a->std == b->std
      && g_strcmp0 (resize_a, resize_b) == 0;
}

/* Whether the same labels become the same targets. The class of a whole frame
 * is the same whatever the network sees of it. */
gboolean
gst_partime_target_equal (const GstPartimeTarget *a,
    const GstPartimeTarget *b)
{
  return g_strcmp0 (a->info.loss, b->info.loss) == 0
      && a->info.teacher == b->info.teacher && a->info.dtype == b->info.dtype
      && a->info.n_classes == b->info.n_classes
      && a->info.ignore_index == b->info.ignore_index
      && target_same_shape (&a->info.shape, &b->info.shape)
      && (target_is_scalar (a) || target_same_place (a, b));
}

/* -- caps -- */

static gboolean
label_refuse_caps (const GstPartimeTarget *target, const GstVideoInfo *info,
    const gchar *expected, GError **error)
{
  g_autofree gchar *found = info
      ? g_strdup_printf ("%s %dx%d", GST_VIDEO_INFO_NAME (info), info->width,
      info->height) : g_strdup ("text");

  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "labels for loss %s: "
      "found %s, expected %s", target->info.loss, found, expected);
  return FALSE;
}

static gboolean
label_set_text (GstPartimeLabelFormat *self, const GstPartimeTarget *target,
    GError **error)
{
  if (!target_is_scalar (target))
    return label_refuse_caps (target, NULL, target->info.n_classes > 0
        ? "GRAY8 pictures: a class for each pixel of the output"
        : "GRAY8 or RGB pictures", error);
  self->kind = GST_PARTIME_LABEL_TEXT;
  return TRUE;
}

/* Classes are numbers: no conversion may touch them. */
static gboolean
label_set_classes (GstPartimeLabelFormat *self,
    const GstPartimeTarget *target, const GstVideoInfo *info, GError **error)
{
  gboolean scalar = target_is_scalar (target);

  if (GST_VIDEO_INFO_FORMAT (info) != GST_VIDEO_FORMAT_GRAY8
      || (scalar && (info->width != 1 || info->height != 1)))
    return label_refuse_caps (target, info, scalar
        ? "GRAY8 1x1 (the class of the frame) or text/x-raw (its name)"
        : "GRAY8: a class for each pixel", error);
  self->kind = scalar ? GST_PARTIME_LABEL_CLASS : GST_PARTIME_LABEL_MAP;
  self->format = gst_partime_format_new (info, target->network);
  return TRUE;
}

static gboolean
label_set_picture (GstPartimeLabelFormat *self,
    const GstPartimeTarget *target, const GstVideoInfo *info, GError **error)
{
  gint channels = target_get_dim (&target->output, 1);

  if (target->output.n_dims != 4 || (channels != 1 && channels != 3)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "labels for loss %s: found "
        "pictures, but the network's output is no picture of 1 or 3 "
        "channels: it has %d channels in %u dimensions; expected tensors, by "
        "the meta or event GstPartimeLabel", target->info.loss, channels,
        target->output.n_dims);
    return FALSE;
  }
  self->kind = GST_PARTIME_LABEL_PICTURE;
  self->format = gst_partime_format_new_sized (info, target->network,
      channels == 1 ? GST_VIDEO_FORMAT_GRAY8 : GST_VIDEO_FORMAT_RGB,
      target->output.dims[3], target->output.dims[2]);
  return TRUE;
}

/* Labels are of @caps from here on. Returns: FALSE if they do not fit */
gboolean
gst_partime_label_format_set (GstPartimeLabelFormat *self,
    const GstPartimeTarget *target, GstCaps *caps, GError **error)
{
  const GstStructure *first = gst_caps_get_structure (caps, 0);
  GstVideoInfo info;
  gboolean fits;

  if (self->caps && (self->caps == caps || gst_caps_is_equal (self->caps,
              caps)))
    return TRUE;
  gst_partime_label_format_clear (self);
  if (gst_structure_has_name (first, "text/x-raw"))
    fits = label_set_text (self, target, error);
  else if (!gst_video_info_from_caps (&info, caps)) {
    g_autofree gchar *found = gst_caps_to_string (caps);

    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "labels: found caps "
        "%s, expected video/x-raw or text/x-raw", found);
    return FALSE;
  } else if (target->info.n_classes > 0)
    fits = label_set_classes (self, target, &info, error);
  else
    fits = label_set_picture (self, target, &info, error);
  if (!fits)
    return FALSE;
  if (self->kind != GST_PARTIME_LABEL_TEXT && !self->format) {
    gst_partime_label_format_clear (self);
    return label_refuse_caps (target, &info, "frames that GStreamer can "
        "convert", error);
  }
  self->caps = gst_caps_ref (caps);
  return TRUE;
}

void
gst_partime_label_format_clear (GstPartimeLabelFormat *self)
{
  gst_clear_caps (&self->caps);
  g_clear_pointer (&self->format, gst_partime_format_unref);
  self->kind = GST_PARTIME_LABEL_NONE;
}

/* -- classes -- */

static gboolean
target_check_class (const GstPartimeTarget *self, gint64 value,
    GError **error)
{
  if ((value >= 0 && value < self->info.n_classes)
      || value == self->info.ignore_index)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FAILED, "label: found class %"
      G_GINT64_FORMAT ", expected 0 to %d, or %d, which is ignored", value,
      self->info.n_classes - 1, self->info.ignore_index);
  return FALSE;
}

/* One class for all there is. */
static gboolean
target_read_class (const GstPartimeTarget *self, gint64 value,
    PtTensor *tensor, GError **error)
{
  gint32 *y = pt_tensor_get_data (tensor);

  if (self->info.n_classes == 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "label: found class %"
        G_GINT64_FORMAT ", but loss %s expects a picture or a tensor", value,
        self->info.loss);
    return FALSE;
  }
  if (!target_check_class (self, value, error))
    return FALSE;
  for (gsize i = 0, n = pt_tensor_get_n_elements (tensor); i < n; i++)
    y[i] = value;
  return TRUE;
}

/* A name of the labels file, or a number. */
static gboolean
target_read_name (const GstPartimeTarget *self, const gchar *name,
    PtTensor *tensor, GError **error)
{
  gint64 value;

  for (guint i = 0; i < self->n_names; i++)
    if (g_str_equal (self->names[i], name))
      return target_read_class (self, i, tensor, error);
  if (g_ascii_string_to_signed (name, 10, G_MININT, G_MAXINT, &value, NULL))
    return target_read_class (self, value, tensor, error);
  if (self->names)
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "label: found name '%s', "
        "expected one of the %u names in labels-file, or a class from 0 to %d",
        name, self->n_names, self->info.n_classes - 1);
  else
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "label: found name '%s', "
        "but the property labels-file is not set, expected a class from 0 to "
        "%d", name, self->info.n_classes - 1);
  return FALSE;
}

static gboolean
target_read_text (const GstPartimeTarget *self, GstBuffer *buffer,
    PtTensor *tensor, GError **error)
{
  gchar text[TARGET_MAX_NAME + 1] = { 0 };
  gsize size = gst_buffer_extract (buffer, 0, text, TARGET_MAX_NAME);

  if (!g_utf8_validate (text, -1, NULL) || size == TARGET_MAX_NAME) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "label: found text of %"
        G_GSIZE_FORMAT " bytes, expected a name of less than %d, in UTF-8",
        gst_buffer_get_size (buffer), TARGET_MAX_NAME);
    return FALSE;
  }
  return target_read_name (self, g_strstrip (text), tensor, error);
}

/* -- pictures -- */

/* The pixel nearest to the middle of each of the output's; outside the frame
 * (letterbox) there is nothing to learn. */
static gboolean
target_read_map (const GstPartimeTarget *self, const GstVideoRectangle *view,
    const GstVideoFrame *frame, PtTensor *tensor, GError **error)
{
  gint32 *y = pt_tensor_get_data (tensor);
  const guint8 *pixels = GST_VIDEO_FRAME_PLANE_DATA (frame, 0);
  gint stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0);
  gint h = self->info.shape.dims[1], w = self->info.shape.dims[2];
  gint in_w = GST_VIDEO_FRAME_WIDTH (frame);
  gint in_h = GST_VIDEO_FRAME_HEIGHT (frame);

  for (gint row = 0; row < h; row++) {
    gint v = floor (view->y + (row + 0.5) * view->h / h);

    for (gint column = 0; column < w; column++, y++) {
      gint u = floor (view->x + (column + 0.5) * view->w / w);

      *y = u >= 0 && v >= 0 && u < in_w && v < in_h ?
          pixels[(gsize) v * stride + u] : self->info.ignore_index;
      if (!target_check_class (self, *y, error)) {
        g_prefix_error (error, "pixel (%d, %d): ", u, v);
        return FALSE;
      }
    }
  }
  return TRUE;
}

/* (value / 255 - mean) / std, a plane for each channel; masks as they are. */
static void
target_read_picture (const GstPartimeTarget *self, const GstVideoFrame *frame,
    PtTensor *tensor)
{
  gfloat scale = 1 / (255 * self->std), shift = -self->mean / self->std;
  gfloat values[256];
  gfloat *y = pt_tensor_get_data (tensor);
  gint c = self->output.dims[1], h = self->output.dims[2];
  gint w = self->output.dims[3];
  const guint8 *pixels = GST_VIDEO_FRAME_PLANE_DATA (frame, 0);
  gint stride = GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0);

  /* a mask of 255 is 1 and no more */
  for (guint i = 0; i < 256; i++)
    values[i] = self->masks ? i / 255.f : i * scale + shift;
  for (gint k = 0; k < c; k++)
    for (gint row = 0; row < h; row++) {
      const guint8 *x = pixels + (gsize) row * stride + k;

      for (gint column = 0; column < w; column++, x += c)
        *y++ = values[*x];
    }
}

static gboolean
target_read_video (const GstPartimeTarget *self,
    const GstPartimeLabelFormat *format, GstBuffer *buffer, PtTensor *tensor,
    GError **error)
{
  GstVideoFrame frame;
  gboolean good = TRUE;

  if (!gst_video_frame_map (&frame, &format->format->info, buffer,
          GST_MAP_READ)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "label: found a buffer of %"
        G_GSIZE_FORMAT " bytes, expected %" G_GSIZE_FORMAT " as its caps say "
        "(rows of %d)", gst_buffer_get_size (buffer),
        format->format->info.size, format->format->info.stride[0]);
    return FALSE;
  }
  if (format->kind == GST_PARTIME_LABEL_MAP)
    good = target_read_map (self, &format->format->view, &frame, tensor,
        error);
  else
    target_read_picture (self, gst_partime_format_convert (format->format,
            &frame), tensor);
  gst_video_frame_unmap (&frame);
  return good;
}

/* One byte is enough, whatever GStreamer would pad the row to. */
static gboolean
target_read_pixel (const GstPartimeTarget *self, GstBuffer *buffer,
    PtTensor *tensor, GError **error)
{
  guint8 value;

  if (gst_buffer_extract (buffer, 0, &value, 1) == 1)
    return target_read_class (self, value, tensor, error);
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "label: found an empty buffer, "
      "expected one byte, the class");
  return FALSE;
}

/* @buffer of the caps of @format. */
gboolean
gst_partime_target_read_buffer (const GstPartimeTarget *self,
    const GstPartimeLabelFormat *format, GstBuffer *buffer, PtTensor *tensor,
    GError **error)
{
  if (format->kind == GST_PARTIME_LABEL_TEXT)
    return target_read_text (self, buffer, tensor, error);
  if (format->kind == GST_PARTIME_LABEL_CLASS)
    return target_read_pixel (self, buffer, tensor, error);
  return target_read_video (self, format, buffer, tensor, error);
}

/* -- tensors -- */

/* Whether the dims of a sample are the output's, but for ones in front. */
static gboolean
target_same_dims (const PtShape *output, const GValue *dims)
{
  guint n = gst_value_array_get_size (dims);

  for (guint i = 1; i <= MAX (n, output->n_dims); i++) {
    const GValue *dim = i <= n ? gst_value_array_get_value (dims, n - i) : NULL;
    gint found = !dim ? 1 : G_VALUE_HOLDS_INT (dim) ? g_value_get_int (dim) : 0;
    gint expected = i <= output->n_dims ? output->dims[output->n_dims - i] : 1;

    if (found != expected)
      return FALSE;
  }
  return TRUE;
}

static gboolean
target_refuse_tensor (const GstPartimeTarget *self, GstSample *sample,
    GError **error)
{
  const GstStructure *info = gst_sample_get_info (sample);
  GstBuffer *data = gst_sample_get_buffer (sample);
  g_autofree gchar *found = info ? gst_structure_to_string (info) : NULL;
  const PtShape *output = &self->output;
  g_autoptr (GString) expected = g_string_new (NULL);

  for (guint i = 0; i < output->n_dims; i++)
    g_string_append_printf (expected, "%s%" G_GINT64_FORMAT, i ? ", " : "",
        output->dims[i]);
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "label: found a tensor of %"
      G_GSIZE_FORMAT " bytes described by %s, expected float32 of dims <%s>, "
      "the network's output", data ? gst_buffer_get_size (data) : 0,
      found ? found : "nothing", expected->str);
  return FALSE;
}

/* The class with the highest score, for each pixel. */
static void
target_read_scores (const GstPartimeTarget *self, const gfloat *x,
    PtTensor *tensor)
{
  gint32 *y = pt_tensor_get_data (tensor);
  gsize n = pt_tensor_get_n_elements (tensor);

  for (gsize p = 0; p < n; p++) {
    gint best = 0;

    for (gint k = 1; k < self->info.n_classes; k++)
      if (x[k * n + p] > x[best * n + p])
        best = k;
    y[p] = best;
  }
}

static gboolean
target_check_values (const GstPartimeTarget *self, const gfloat *x, gsize n,
    GError **error)
{
  for (gsize i = 0; i < n; i++)
    if (!isfinite (x[i]) || (self->masks && (x[i] < 0 || x[i] > 1))) {
      g_set_error (error, PT_ERROR, PT_ERROR_FAILED, "label: found %g at "
          "element %" G_GSIZE_FORMAT " of a tensor for loss %s, expected %s",
          x[i], i, self->info.loss, self->masks ? "0 to 1"
          : "finite numbers");
      return FALSE;
    }
  return TRUE;
}

/* @sample as in the field tensors of GstPartimeMeta: scores for classes, else
 * the output that would be right. */
gboolean
gst_partime_target_read_sample (const GstPartimeTarget *self,
    GstSample *sample, PtTensor *tensor, GError **error)
{
  const GstStructure *info = gst_sample_get_info (sample);
  const GValue *dims = info ? gst_structure_get_value (info, "dims") : NULL;
  GstBuffer *data = gst_sample_get_buffer (sample);
  gsize n = 1;
  GstMapInfo map;
  gboolean good;

  for (guint i = 0; i < self->output.n_dims; i++)
    n *= self->output.dims[i];
  if (!data || !dims || !GST_VALUE_HOLDS_ARRAY (dims)
      || !target_same_dims (&self->output, dims)
      || gst_buffer_get_size (data) != n * sizeof (gfloat)
      || !gst_buffer_map (data, &map, GST_MAP_READ))
    return target_refuse_tensor (self, sample, error);
  good = target_check_values (self, (const gfloat *) map.data, n, error);
  if (good && self->info.n_classes > 0)
    target_read_scores (self, (const gfloat *) map.data, tensor);
  else if (good)
    memcpy (pt_tensor_get_data (tensor), map.data, map.size);
  gst_buffer_unmap (data, &map);
  return good;
}

/* -- what applications give -- */

static gboolean
target_read_caps_sample (const GstPartimeTarget *self,
    GstPartimeLabelFormat *format, GstSample *sample, PtTensor *tensor,
    GError **error)
{
  GstCaps *caps = gst_sample_get_caps (sample);
  GstBuffer *buffer = gst_sample_get_buffer (sample);

  if (!caps || !buffer || !gst_caps_is_fixed (caps)) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "label: found a "
        "sample %s, expected one with fixed caps and a buffer", !buffer
        ? "without a buffer" : !caps ? "without caps" : "without fixed caps");
    return FALSE;
  }
  return gst_partime_label_format_set (format, self, caps, error)
      && gst_partime_target_read_buffer (self, format, buffer, tensor, error);
}

/* @fields of a GstPartimeLabel: class, sample or tensor. */
gboolean
gst_partime_target_read_fields (const GstPartimeTarget *self,
    GstPartimeLabelFormat *format, const GstStructure *fields,
    PtTensor *tensor, GError **error)
{
  const GValue *value = gst_structure_get_value (fields, "class");

  if (value && G_VALUE_HOLDS_INT (value))
    return target_read_class (self, g_value_get_int (value), tensor, error);
  if (value && G_VALUE_HOLDS_UINT (value))
    return target_read_class (self, g_value_get_uint (value), tensor, error);
  if (value && G_VALUE_HOLDS_STRING (value) && g_value_get_string (value))
    return target_read_name (self, g_value_get_string (value), tensor, error);
  value = gst_structure_get_value (fields, "sample");
  if (value && G_VALUE_HOLDS (value, GST_TYPE_SAMPLE)
      && g_value_get_boxed (value))
    return target_read_caps_sample (self, format, g_value_get_boxed (value),
        tensor, error);
  value = gst_structure_get_value (fields, "tensor");
  if (value && G_VALUE_HOLDS (value, GST_TYPE_SAMPLE)
      && g_value_get_boxed (value))
    return gst_partime_target_read_sample (self, g_value_get_boxed (value),
        tensor, error);
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "label: found %s with "
      "%d fields, expected class (int or string), sample or tensor "
      "(GstSample)", gst_structure_get_name (fields),
      gst_structure_n_fields (fields));
  return FALSE;
}
