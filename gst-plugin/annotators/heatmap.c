/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* One channel (1, 1, H, W), none below 0, by the perceptual colour map
 * "inferno" of matplotlib: its fit by polynomials of degree six, by Matt
 * Zucker. Over a frame, cold is transparent. */

#include "annotators/annotator.h"

#define N_COLOURS 256
#define LEAST 1e-6

static const gdouble inferno[7][3] = {
  {0.0002189403691192265, 0.001651004631001012, -0.01948089843709184},
  {0.1065134194856116, 0.5639564367884091, 3.932712388889277},
  {11.60249308247187, -3.972853965665698, -15.9423941062914},
  {-41.70399613139459, 17.43639888205313, 44.35414519872813},
  {77.162935699427, -33.40235894210092, -81.80730925738993},
  {-71.31942824499214, 32.62606426397723, 73.20951985803202},
  {25.13112622477341, -12.24266895238567, -23.07032500287172},
};

static void
heatmap_make_tables (GstPartimeDrawing *self)
{
  gst_partime_drawing_make_tables (self, N_COLOURS);
  for (gint i = 0; i < N_COLOURS; i++) {
    gdouble x = (gdouble) i / (N_COLOURS - 1);
    gdouble rgb[3] = { 0, 0, 0 };

    for (gint power = 6; power >= 0; power--)
      for (gint c = 0; c < 3; c++)
        rgb[c] = rgb[c] * x + inferno[power][c];
    for (gint c = 0; c < 3; c++)
      rgb[c] = CLAMP (rgb[c], 0, 1);
    gst_partime_drawing_set_colour (self, i, rgb, self->opacity * x);
  }
}

static gboolean
heatmap_prepare (GstPartimeDrawing *self, GError **error)
{
  if (self->channels != 1) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "[output] kind=heatmap: "
        "the output of the network has %d channels, expected 1",
        self->channels);
    return FALSE;
  }
  self->least = MAX (self->least, LEAST);
  heatmap_make_tables (self);
  return TRUE;
}

static void
heatmap_draw (GstPartimeDrawing *self, const gfloat *y,
    GstPartimePaint paint, guint8 *pixels)
{
  gsize n = (gsize) self->width * self->height;
  const guint32 *table = self->tables[paint];
  const gfloat per = (N_COLOURS - 1) /
      gst_partime_drawing_follow (self, y);
  guint32 *to = (guint32 *) pixels;

  for (gsize i = 0; i < n; i++)
    to[i] = table[(gint) CLAMP (y[i] * per, 0.0f, N_COLOURS - 1.0f)];
}

const GstPartimeAnnotator gst_partime_annotator_heatmap = {
  .name = "heatmap",
  .overlay = PT_OVERLAY_HEAT,
  .prepare = heatmap_prepare,
  .draw = heatmap_draw,
};
