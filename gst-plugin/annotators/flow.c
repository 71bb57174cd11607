/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Optical flow (1, 2, H, W), x then y in pixels, by the colour wheel of
 * Baker et al., "A Database and Evaluation Methodology for Optical Flow"
 * (IJCV 2011): hue is direction, saturation is speed, stillness is white.
 * Over a frame, hue is direction, opacity is speed. */

#include <math.h>

#include "annotators/annotator.h"

#define N_COLOURS 55            /* 15 + 6 + 4 + 11 + 13 + 6 */
#define HALF 64                 /* the tables go from -1 to 1 in 2 HALF steps */
#define SIDE (2 * HALF + 1)
#define LEAST 0.25              /* pixels: a still scene stays pale */

/* Red to yellow, green, cyan, blue, magenta, red: in each part one channel
 * rises or falls from one neighbour to the next. */
static void
flow_make_wheel (gdouble wheel[N_COLOURS][3])
{
  static const struct
  {
    gint n, from[3], to[3];
  } parts[] = {
    {15, {1, 0, 0}, {1, 1, 0}}, {6, {1, 1, 0}, {0, 1, 0}},
    {4, {0, 1, 0}, {0, 1, 1}}, {11, {0, 1, 1}, {0, 0, 1}},
    {13, {0, 0, 1}, {1, 0, 1}}, {6, {1, 0, 1}, {1, 0, 0}},
  };
  gint k = 0;

  for (guint part = 0; part < G_N_ELEMENTS (parts); part++)
    for (gint i = 0; i < parts[part].n; i++, k++)
      for (gint c = 0; c < 3; c++)
        wheel[k][c] = parts[part].from[c] + (gdouble) i / parts[part].n *
            (parts[part].to[c] - parts[part].from[c]);
}

/* @rgb of the wheel, for the direction of (@u, @v). */
static void
flow_hue (gdouble wheel[N_COLOURS][3], gdouble u, gdouble v, gdouble rgb[3])
{
  gdouble at = (atan2 (-v, -u) / G_PI + 1) / 2 * (N_COLOURS - 1);
  gint k = (gint) at % N_COLOURS;
  gdouble f = at - floor (at);

  for (gint c = 0; c < 3; c++)
    rgb[c] = (1 - f) * wheel[k][c] + f * wheel[(k + 1) % N_COLOURS][c];
}

/* Over a frame: noise is left out, half speed is nearly as opaque as full. */
static gdouble
flow_opacity (gdouble speed)
{
  gdouble x = MIN (1.5 * speed, 1.0);

  return x * x * (3 - 2 * x);
}

static void
flow_make_tables (GstPartimeDrawing *self)
{
  gdouble wheel[N_COLOURS][3];

  flow_make_wheel (wheel);
  gst_partime_drawing_make_tables (self, SIDE * SIDE);
  for (gint i = 0; i < SIDE * SIDE; i++) {
    gdouble u = (gdouble) (i % SIDE - HALF) / HALF;
    gdouble v = (gdouble) (i / SIDE - HALF) / HALF;
    gdouble speed = MIN (hypot (u, v), 1.0);
    gdouble rgb[3];

    flow_hue (wheel, u, v, rgb);
    gst_partime_drawing_set_colour (self, i, rgb,
        self->opacity * flow_opacity (speed));
    for (gint c = 0; c < 3; c++)
      rgb[c] = 1 - speed * (1 - rgb[c]);
    gst_partime_drawing_set_alone (self, i, rgb);
  }
}

static gboolean
flow_prepare (GstPartimeDrawing *self, GError **error)
{
  if (self->channels != 2) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "[output] kind=flow: the "
        "output of the network has %d channels, expected 2 (x and y)",
        self->channels);
    return FALSE;
  }
  self->least = LEAST;
  flow_make_tables (self);
  return TRUE;
}

static void
flow_draw (GstPartimeDrawing *self, const gfloat *y, GstPartimePaint paint,
    guint8 *pixels)
{
  gsize n = (gsize) self->width * self->height;
  const guint32 *table = self->tables[paint];
  const gfloat per = HALF / gst_partime_drawing_follow (self, y);
  guint32 *to = (guint32 *) pixels;

  for (gsize i = 0; i < n; i++) {
    gfloat u = y[i] * per, v = y[n + i] * per;
    gfloat square = u * u + v * v;

    if (square > HALF * HALF) {
      gfloat shorter = HALF / sqrtf (square);

      u *= shorter;
      v *= shorter;
    }
    to[i] = table[(gint) (v + HALF + 0.5f) * SIDE + (gint) (u + HALF + 0.5f)];
  }
}

const GstPartimeAnnotator gst_partime_annotator_flow = {
  .name = "flow",
  .overlay = PT_OVERLAY_FLOW,
  .prepare = flow_prepare,
  .draw = flow_draw,
};
