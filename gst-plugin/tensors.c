/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* output=tensors: all outputs in place of the frame, as NNStreamer has
 * tensors: other/tensors,format=static, and a memory for each. */

#include "gstpartimefilter-private.h"
#include "meta.h"

/* NNStreamer's, and also what a buffer holds without merging memories. */
#define MAX_TENSORS 16
/* Dimensions that every version of it takes; shorter ones end with ones. */
#define MIN_RANK 4

/* Whether @network has no more outputs than such caps can say. */
gboolean
gst_partime_tensors_check (GstPartimeFilter *self, PtNetwork *network,
    GError **error)
{
  guint n = pt_network_get_n_outputs (network);

  if (self->output != GST_PARTIME_OUTPUT_TENSORS || n <= MAX_TENSORS)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "output=tensors: found a "
      "network with %u outputs, expected at most %d: choose some by key output "
      "of [network]", n, MAX_TENSORS);
  return FALSE;
}

/* "W:H:C:N": the innermost comes first. */
static void
tensors_print_dims (GString *text, const PtShape *shape)
{
  for (guint i = shape->n_dims; i-- > 0;)
    g_string_append_printf (text, "%" G_GINT64_FORMAT "%s", shape->dims[i],
        i ? ":" : "");
  for (guint i = shape->n_dims; i < MIN_RANK; i++)
    g_string_append (text, ":1");
}

/* Returns: (transfer full): the caps for frames of @info */
GstCaps *
gst_partime_tensors_make_caps (PtNetwork *network, const GstVideoInfo *info)
{
  guint n = pt_network_get_n_outputs (network);
  g_autoptr (GString) dims = g_string_new (NULL);
  g_autoptr (GString) types = g_string_new (NULL);

  for (guint i = 0; i < n; i++) {
    g_string_append (dims, i ? "," : "");
    tensors_print_dims (dims, pt_network_get_output_shape_at (network, i));
    g_string_append_printf (types, "%sfloat32", i ? "," : "");
  }
  return gst_caps_new_simple ("other/tensors", "format", G_TYPE_STRING,
      "static", "num_tensors", G_TYPE_INT, n, "dimensions", G_TYPE_STRING,
      dims->str, "types", G_TYPE_STRING, types->str, "framerate",
      GST_TYPE_FRACTION, info->fps_n, info->fps_d, NULL);
}

static GstMemory *
tensors_new_zeros (const PtShape *shape)
{
  gsize size = sizeof (gfloat);
  gpointer zeros;

  for (guint i = 0; i < shape->n_dims; i++)
    size *= shape->dims[i];
  zeros = g_malloc0 (size);
  return gst_memory_new_wrapped (0, zeros, size, 0, size, zeros, g_free);
}

/* Takes @frame, gives the tensors that replace it. Where there is no good
 * result they are zeros, and the buffer is marked as a gap. */
GstBuffer *
gst_partime_tensors_replace (GstPartimeModel *model, PtResult *result,
    GstBuffer *frame)
{
  GstBuffer *buffer = gst_buffer_new ();

  gst_buffer_copy_into (buffer, frame,
      GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  gst_buffer_unref (frame);
  for (guint i = 0; i < pt_network_get_n_outputs (model->network); i++)
    gst_buffer_append_memory (buffer, result ?
        gst_partime_meta_new_memory (result, i) : tensors_new_zeros
        (pt_network_get_output_shape_at (model->network, i)));
  if (!result || !result->valid)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_GAP);
  return buffer;
}
