/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* How far the output, a picture of the input's size, is from the frame it
 * rides on: what the network did not expect. Drawn as a heat map. */

#include <math.h>

#include "annotators/annotator.h"

#define REACH 2                 /* pixels to each side that are averaged */
#define LEAST 0.1               /* of white: noise stays cold */

static gboolean
error_prepare (GstPartimeDrawing *self, GError **error)
{
  const gsize n = (gsize) self->width * self->height;

  if (self->channels != self->input_channels
      || self->width != self->input_width
      || self->height != self->input_height) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "[output] kind=error: the "
        "output of the network has %d channels of %dx%d, expected %d of "
        "%dx%d, as the frame it is compared with", self->channels,
        self->width, self->height, self->input_channels, self->input_width,
        self->input_height);
    return FALSE;
  }
  /* from here on it is a heat map */
  self->channels = 1;
  self->least = LEAST;
  self->errors = g_new0 (gfloat, n);
  self->rows = g_new0 (gfloat, n);
  return gst_partime_annotator_heatmap.prepare (self, error);
}

static void
error_draw (GstPartimeDrawing *self, const gfloat *y, GstPartimePaint paint,
    guint8 *pixels)
{
  gst_partime_annotator_heatmap.draw (self, self->errors, paint, pixels);
}

/* The mean of the 2 REACH + 1 neighbours of each element in a line, fewer at
 * its ends. */
static void
error_blur_line (const gfloat *from, gfloat *to, gint n, gint step)
{
  gfloat sum = 0;
  gint count = 0;

  for (gint i = 0; i < MIN (REACH, n); i++, count++)
    sum += from[i * step];
  for (gint i = 0; i < n; i++) {
    if (i + REACH < n) {
      sum += from[(i + REACH) * step];
      count++;
    }
    to[i * step] = sum / count;
    if (i - REACH >= 0) {
      sum -= from[(i - REACH) * step];
      count--;
    }
  }
}

/**
 * gst_partime_drawing_compare:
 * @self: a drawing whose annotator compares
 * @y: the output
 * @pixels: the frame as the network sees it, gray or RGB
 * @stride: bytes from one row to the next
 *
 * Makes the heat map that is drawn next: the mean absolute difference over
 * channels and 5x5 pixels. White differs from black by 1.
 *
 * Returns: the score of the frame: the root of the mean squared difference
 */
gdouble
gst_partime_drawing_compare (GstPartimeDrawing *self, const gfloat *y,
    const guint8 *pixels, gsize stride)
{
  const gint c = self->input_channels, w = self->width, h = self->height;
  const gsize n = (gsize) w * h;
  gdouble squares = 0;

  for (gint row = 0; row < h; row++, pixels += stride) {
    gfloat *sum = self->errors + (gsize) row * w;
    gfloat line = 0;

    for (gint i = 0; i < w; i++) {
      gfloat all = 0;

      for (gint k = 0; k < c; k++) {
        gfloat value = y[k * n + (gsize) row * w + i] * self->std + self->mean;
        gfloat d = CLAMP (value, 0.0f, 1.0f) - pixels[i * c + k] / 255.0f;

        all += fabsf (d);
        line += d * d;
      }
      sum[i] = all / c;
    }
    squares += line;
  }
  for (gint row = 0; row < h; row++)
    error_blur_line (self->errors + (gsize) row * w,
        self->rows + (gsize) row * w, w, 1);
  for (gint i = 0; i < w; i++)
    error_blur_line (self->rows + i, self->errors + i, h, w);
  return sqrt (squares / (n * c));
}

const GstPartimeAnnotator gst_partime_annotator_error = {
  .name = "error",
  .compares = TRUE,
  .overlay = PT_OVERLAY_HEAT,
  .prepare = error_prepare,
  .draw = error_draw,
};
