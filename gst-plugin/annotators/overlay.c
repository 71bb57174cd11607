/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What annotators paint, in the words of #PtFramePainter, which draws it on
 * frames in the memory of a GPU. */

#include "annotators/annotator.h"

/* The parts of a frame of @info from red, green and blue, as blending has them:
 * BT.601 with the range of video. */
static void
overlay_set_matrix (const GstVideoInfo *info, gfloat m[3][4])
{
  gdouble kr, kb;

  for (gint i = 0; i < 3; i++)
    for (gint k = 0; k < 4; k++)
      m[i][k] = i == k;
  if (GST_VIDEO_INFO_IS_RGB (info))
    return;
  gst_video_color_matrix_get_Kr_Kb (GST_VIDEO_COLOR_MATRIX_BT601, &kr, &kb);
  for (gint k = 0; k < 3; k++) {
    gdouble y = k == 0 ? kr : k == 2 ? kb : 1 - kr - kb;

    m[0][k] = 219 * y / 255;
    m[1][k] = 224 * ((k == 2) - y) / (2 - 2 * kb) / 255;
    m[2][k] = 224 * ((k == 0) - y) / (2 - 2 * kr) / 255;
  }
  m[0][3] = 16;
  m[1][3] = m[2][3] = 128;
}

/* Of BGRA, or AYUV. */
static PtOverlayColour
overlay_split (guint32 word, gboolean rgb)
{
  guint8 bytes[4];

  memcpy (bytes, &word, sizeof word);
  if (rgb)
    return (PtOverlayColour) {
      bytes[3], {bytes[2], bytes[1], bytes[0]}};
  return (PtOverlayColour) {
    bytes[0], {bytes[1], bytes[2], bytes[3]}};
}

/**
 * gst_partime_drawing_style:
 * @self: a drawing
 * @info: of frames
 * @style: (out): how a #PtFramePainter draws the same on them; its colours are
 *   what is returned
 *
 * Returns: (transfer full)
 */
PtOverlayColour *
gst_partime_drawing_style (const GstPartimeDrawing *self,
    const GstVideoInfo *info, PtOverlayStyle *style)
{
  PtOverlayColour *colours = g_new (PtOverlayColour, self->n_colours);
  gboolean rgb = GST_VIDEO_INFO_IS_RGB (info);
  const guint32 *table = self->tables[rgb ? GST_PARTIME_PAINT_RGB
      : GST_PARTIME_PAINT_YUV];

  for (guint i = 0; i < self->n_colours; i++)
    colours[i] = overlay_split (table[i], rgb);
  *style = (PtOverlayStyle) {
    .kind = self->annotator->overlay,.width = self->width,
    .height = self->height,.channels = self->channels,
    .colours = colours,.n_colours = self->n_colours,
    .mean = self->mean,.std = self->std,
  };
  overlay_set_matrix (info, style->matrix);
  return colours;
}

/* What is to be drawn of output @y, and in @range the value at full colour. */
const gfloat *
gst_partime_drawing_values (GstPartimeDrawing *self, const gfloat *y,
    gfloat *range)
{
  PtOverlayKind kind = self->annotator->overlay;
  const gfloat *values = self->annotator->compares ? self->errors : y;

  *range = kind == PT_OVERLAY_HEAT || kind == PT_OVERLAY_FLOW ?
      gst_partime_drawing_follow (self, values) : 1;
  return values;
}
