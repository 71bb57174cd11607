/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* GstPartimeMeta: the result of the network, on the frame, as a GstCustomMeta
 * that any language can read. Fields: frame (guint64), pts (guint64), age
 * (guint64, frames between the result and the frame it is on), loss (gdouble,
 * only where one was computed), score (gdouble, only with [output]
 * kind=error), weights-version (guint64), tensors
 * (GstValueArray of GstSample, one for each output, the main one first: float32
 * row-major data, and an info structure "tensor" with name and dims). */

#include "meta.h"

void
gst_partime_meta_register (void)
{
  static const gchar *tags[] = { NULL };

  if (!gst_meta_get_info (GST_PARTIME_META_NAME))
    gst_meta_register_custom (GST_PARTIME_META_NAME, tags, NULL, NULL, NULL);
}

/* What a tensor's sample says of itself: name, and <N, C, H, W>. */
static GstStructure *
meta_new_info (const gchar *name, const PtShape *shape)
{
  GstStructure *info = gst_structure_new ("tensor", "name", G_TYPE_STRING,
      name, NULL);
  GValue dims = G_VALUE_INIT;
  GValue dim = G_VALUE_INIT;

  gst_value_array_init (&dims, shape->n_dims);
  g_value_init (&dim, G_TYPE_INT);
  for (guint i = 0; i < shape->n_dims; i++) {
    g_value_set_int (&dim, shape->dims[i]);
    gst_value_array_append_value (&dims, &dim);
  }
  gst_structure_take_value (info, "dims", &dims);
  return info;
}

/* Returns: (transfer full): a GstStructure for each output of @network */
GPtrArray *
gst_partime_meta_new_infos (PtNetwork *network)
{
  GPtrArray *infos = g_ptr_array_new_with_free_func ((GDestroyNotify)
      gst_structure_free);

  for (guint i = 0; i < pt_network_get_n_outputs (network); i++)
    g_ptr_array_add (infos, meta_new_info (pt_network_get_output_name (network,
                i), pt_network_get_output_shape_at (network, i)));
  return infos;
}

gboolean
gst_partime_meta_equal_infos (GPtrArray *a, GPtrArray *b)
{
  gboolean same = a->len == b->len;

  for (guint i = 0; same && i < a->len; i++)
    same = gst_structure_is_equal (a->pdata[i], b->pdata[i]);
  return same;
}

/* The memory of an output of @result, not a copy of it, which lives as long. */
GstMemory *
gst_partime_meta_new_memory (PtResult *result, guint index)
{
  PtTensor *output = result->outputs[index];
  gsize size = pt_tensor_get_n_elements (output) * sizeof (gfloat);

  return gst_memory_new_wrapped (GST_MEMORY_FLAG_READONLY,
      pt_tensor_get_data (output), size, 0, size, pt_result_ref (result),
      (GDestroyNotify) pt_result_unref);
}

static GstSample *
meta_new_sample (PtResult *result, guint index, GstCaps *caps,
    const GstStructure *info)
{
  g_autoptr (GstBuffer) data = gst_buffer_new ();

  gst_buffer_append_memory (data, gst_partime_meta_new_memory (result, index));
  return gst_sample_new (data, caps, NULL, gst_structure_copy (info));
}

/* Puts @result on @buffer, which must be writable. */
void
gst_partime_meta_attach (GstBuffer *buffer, PtResult *result, guint64 frame,
    guint64 age, GstClockTime pts, GstCaps *caps, const GPtrArray *infos)
{
  GstCustomMeta *meta =
      gst_buffer_add_custom_meta (buffer, GST_PARTIME_META_NAME);
  GstStructure *fields = gst_custom_meta_get_structure (meta);
  GValue tensors = G_VALUE_INIT;

  gst_structure_set (fields, "frame", G_TYPE_UINT64, frame,
      "pts", G_TYPE_UINT64, pts, "age", G_TYPE_UINT64, age,
      "weights-version", G_TYPE_UINT64, result->weights_version, NULL);
  /* not a number where the frame had no loss */
  if (result->loss == result->loss)
    gst_structure_set (fields, "loss", G_TYPE_DOUBLE, result->loss, NULL);

  gst_value_array_init (&tensors, infos->len);
  for (guint i = 0; i < infos->len; i++) {
    GValue sample = G_VALUE_INIT;

    g_value_init (&sample, GST_TYPE_SAMPLE);
    g_value_take_boxed (&sample, meta_new_sample (result, i, caps,
            infos->pdata[i]));
    gst_value_array_append_and_take_value (&tensors, &sample);
  }
  gst_structure_take_value (fields, "tensors", &tensors);
}

/* @buffer: one with the meta already. */
void
gst_partime_meta_set_score (GstBuffer *buffer, gdouble score)
{
  GstCustomMeta *meta =
      gst_buffer_get_custom_meta (buffer, GST_PARTIME_META_NAME);

  gst_structure_set (gst_custom_meta_get_structure (meta),
      "score", G_TYPE_DOUBLE, score, NULL);
}
