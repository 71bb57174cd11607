/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* kind=classes: one score per class becomes a region of interest over the
 * whole frame for each of the most probable ones, as DL Streamer's
 * classification does: a parameter "classification" with label, label_id and
 * confidence. */

#include <math.h>

#include "gstpartimefilter-private.h"

/* Names of classes, one in each line: of those found, and of labels. */
gboolean
gst_partime_classes_open (GstPartimeFilter *self, GError **error)
{
  g_autofree gchar *text = NULL;

  if (!self->settings.labels_file)
    return TRUE;
  if (!g_file_get_contents (self->settings.labels_file, &text, NULL, NULL)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "labels-file=%s: cannot "
        "be read", self->settings.labels_file);
    return FALSE;
  }
  self->labels = g_strsplit (g_strchomp (text), "\n", -1);
  self->n_labels = g_strv_length (self->labels);
  for (guint i = 0; i < self->n_labels; i++)
    g_strstrip (self->labels[i]);
  return TRUE;
}

/* How many classes the network's output is scores of; 0 if it is not. */
gboolean
gst_partime_classes_count (PtNetwork *network, guint *n, GError **error)
{
  g_autofree gchar *kind = pt_network_get (network, "output", "kind");
  const PtShape *shape = pt_network_get_output_shape (network);

  *n = 0;
  if (g_strcmp0 (kind, "classes") != 0)
    return TRUE;
  if (shape->n_dims == 4 && shape->dims[2] * shape->dims[3] != 1) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "[output] kind=classes: the "
        "output of the network is a picture of %dx%d, expected one score per "
        "class", (gint) shape->dims[3], (gint) shape->dims[2]);
    return FALSE;
  }
  *n = shape->dims[1];
  return TRUE;
}

void
gst_partime_classes_close (GstPartimeFilter *self)
{
  g_clear_pointer (&self->labels, g_strfreev);
  self->n_labels = 0;
}

/* What turns a score into a probability, exp (y - max) / sum; scores that are
 * probabilities already stay as they are (sum = 0). */
static void
classes_find_scale (const gfloat *y, guint n, gdouble *max, gdouble *sum)
{
  gdouble total = 0, least = y[0];

  *max = y[0];
  *sum = 0;
  for (guint i = 0; i < n; i++) {
    *max = MAX (*max, y[i]);
    least = MIN (least, y[i]);
    total += y[i];
  }
  if (least >= 0 && fabs (total - 1) < 1e-3)
    return;
  for (guint i = 0; i < n; i++)
    *sum += exp (y[i] - *max);
}

/* The best class behind @above (which has rank before it), or -1. */
static gint
classes_find_next (const gfloat *y, guint n, gint above)
{
  gint best = -1;

  for (gint i = 0; i < (gint) n; i++)
    if ((above < 0 || y[i] < y[above] || (y[i] == y[above] && i > above))
        && (best < 0 || y[i] > y[best]))
      best = i;
  return best;
}

static void
classes_attach_one (GstPartimeFilter *self, GstBuffer *buffer,
    const GstVideoInfo *info, gint id, gdouble confidence)
{
  const gchar *label = id < (gint) self->n_labels ? self->labels[id] : "";
  GstVideoRegionOfInterestMeta *meta =
      gst_buffer_add_video_region_of_interest_meta (buffer, label, 0, 0,
      info->width, info->height);

  gst_video_region_of_interest_meta_add_param (meta,
      gst_structure_new ("classification", "label", G_TYPE_STRING, label,
          "label_id", G_TYPE_INT, id, "confidence", G_TYPE_DOUBLE, confidence,
          NULL));
}

/* Puts the classes of @result on @buffer, if they are classes. */
void
gst_partime_classes_attach (GstPartimeFilter *self, GstPartimeModel *model,
    GstBuffer *buffer, const GstVideoInfo *info, PtResult *result)
{
  const gfloat *y = pt_tensor_get_data (result->output);
  gdouble max, sum, threshold;
  guint n = model->n_classes, top_k;
  gint id = -1;

  if (n == 0)
    return;
  GST_OBJECT_LOCK (self);
  threshold = self->settings.threshold;
  top_k = self->settings.top_k;
  GST_OBJECT_UNLOCK (self);
  classes_find_scale (y, n, &max, &sum);
  for (guint k = 0; k < MIN (top_k, n); k++) {
    gdouble confidence;

    id = classes_find_next (y, n, id);
    confidence = sum > 0 ? exp (y[id] - max) / sum : y[id];
    if (confidence < threshold)
      return;
    classes_attach_one (self, buffer, info, id, confidence);
  }
}
