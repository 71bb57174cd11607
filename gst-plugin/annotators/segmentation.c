/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Scores of classes (1, classes, H, W): each pixel in the colour of the class
 * with the highest, by the palette of PASCAL VOC. Over a frame, class 0, the
 * background, is transparent. */

#include "annotators/annotator.h"

#define MOST 256

/* The bits of the class, three at a time, become the upper bits of red, green
 * and blue. */
static void
segmentation_get_colour (guint index, gdouble rgb[3])
{
  guint parts[3] = { 0, 0, 0 };

  for (gint bit = 7; index > 0; bit--, index >>= 3)
    for (guint c = 0; c < 3; c++)
      parts[c] |= (index >> c & 1) << bit;
  for (guint c = 0; c < 3; c++)
    rgb[c] = parts[c] / 255.0;
}

static gboolean
segmentation_prepare (GstPartimeDrawing *self, GError **error)
{
  if (self->channels < 2 || self->channels > MOST) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "[output] "
        "kind=segmentation: the output of the network has %d channels, "
        "expected 2 to %d, a score for each class", self->channels, MOST);
    return FALSE;
  }
  gst_partime_drawing_make_tables (self, self->channels);
  for (gint i = 0; i < self->channels; i++) {
    gdouble rgb[3];

    segmentation_get_colour (i, rgb);
    gst_partime_drawing_set_colour (self, i, rgb, i > 0 ? self->opacity : 0);
  }
  return TRUE;
}

static void
segmentation_draw (GstPartimeDrawing *self, const gfloat *y,
    GstPartimePaint paint, guint8 *pixels)
{
  const gsize n = (gsize) self->width * self->height;
  const guint32 *table = self->tables[paint];
  guint32 *to = (guint32 *) pixels;

  for (gsize i = 0; i < n; i++) {
    gint best = 0;

    for (gint c = 1; c < self->channels; c++)
      if (y[c * n + i] > y[best * n + i])
        best = c;
    to[i] = table[best];
  }
}

const GstPartimeAnnotator gst_partime_annotator_segmentation = {
  .name = "segmentation",
  .overlay = PT_OVERLAY_CLASSES,
  .prepare = segmentation_prepare,
  .draw = segmentation_draw,
};
