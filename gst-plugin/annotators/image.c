/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A picture (1, 1 or 3, H, W) in the network's own terms: the normalisation
 * of its input is taken back, 255 (y std + mean). Over a frame it is an
 * inset. */

#include "annotators/annotator.h"

static gboolean
image_prepare (GstPartimeDrawing *self, GError **error)
{
  if (self->channels == 1 || self->channels == 3)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "[output] kind=image: the "
      "output of the network has %d channels, expected 1 (luma) or 3 (RGB)",
      self->channels);
  return FALSE;
}

static void
image_draw (GstPartimeDrawing *self, const gfloat *y, GstPartimePaint paint,
    guint8 *pixels)
{
  gsize n = (gsize) self->width * self->height;
  gsize step = self->channels == 3 ? n : 0;
  const gfloat scale = 255 * self->std, offset = 255 * self->mean + 0.5;

  for (gsize i = 0; i < n; i++, pixels += 4) {
    pixels[0] = CLAMP (y[2 * step + i] * scale + offset, 0.0f, 255.0f);
    pixels[1] = CLAMP (y[step + i] * scale + offset, 0.0f, 255.0f);
    pixels[2] = CLAMP (y[i] * scale + offset, 0.0f, 255.0f);
    pixels[3] = 255;
  }
}

const GstPartimeAnnotator gst_partime_annotator_image = {
  .name = "image",
  .inset = TRUE,
  .overlay = PT_OVERLAY_IMAGE,
  .prepare = image_prepare,
  .draw = image_draw,
};
