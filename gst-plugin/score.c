/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* With [output] kind=error each frame is compared with its own result, and
 * gets a score: how little of it the network expected. */

#include <math.h>

#include "gstpartimefilter-private.h"
#include "meta.h"

/* The sink pad's thread is at work with the converter of @format, so there is
 * a second one. */
static GstPartimeFormat *
score_get_format (GstPartimeFilter *self, GstPartimeModel *model,
    const GstPartimeFormat *format, GError **error)
{
  GstPartimeFormat *own = model->score_format;

  if (own && !own->cuda == !format->cuda
      && gst_video_info_is_equal (&own->info, &format->info))
    return own;
  g_clear_pointer (&model->score_format, gst_partime_format_unref);
  model->score_format = gst_partime_filter_new_format (self, model,
      &format->info, format->cuda != NULL, error);
  return model->score_format;
}

static void
score_post (GstPartimeFilter *self, GstBuffer *buffer, guint64 number,
    gdouble score)
{
  guint64 interval;

  GST_OBJECT_LOCK (self);
  interval = self->settings.stats_interval;
  GST_OBJECT_UNLOCK (self);
  if (interval == 0)
    return;
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_element (GST_OBJECT (self),
          gst_structure_new ("partime-score", "frame", G_TYPE_UINT64, number,
              "timestamp", G_TYPE_UINT64, GST_BUFFER_PTS (buffer),
              "score", G_TYPE_DOUBLE, score, NULL)));
}

/**
 * gst_partime_score_frame:
 * @self: the element
 * @model: what @result is of
 * @buffer: a frame, nothing drawn on it yet
 * @format: of @buffer
 * @result: (nullable): what the network made of it
 * @number: of the frame
 * @score: (out): the root of the mean squared difference, of white; not a
 *   number where nothing is compared
 *
 * Compares @buffer with @result if that is what is asked for, and tells.
 *
 * Returns: %FALSE if the frame could not be read
 */
gboolean
gst_partime_score_frame (GstPartimeFilter *self, GstPartimeModel *model,
    GstBuffer *buffer, GstPartimeFormat *format, PtResult *result,
    guint64 number, gdouble *score)
{
  g_autoptr (GError) error = NULL;
  GstPartimeFormat *own;
  GstPartimeSight sight = { NULL };

  *score = NAN;
  if (!model->drawing || !model->drawing->annotator->compares || !result
      || !result->valid)
    return TRUE;
  own = score_get_format (self, model, format, &error);
  if (!own || !gst_partime_format_see (own, buffer, &sight, &error)) {
    if (error)
      gst_partime_filter_post_error (self, error, NULL);
    return FALSE;
  }
  *score = gst_partime_drawing_compare (model->drawing,
      pt_tensor_get_data (result->output), sight.pixels, sight.stride);
  gst_partime_sight_clear (&sight);
  score_post (self, buffer, number, *score);
  return TRUE;
}
