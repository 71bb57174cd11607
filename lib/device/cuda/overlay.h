/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/frame.h"

G_BEGIN_DECLS

/* A network's output as colours over a frame, both in the device's memory:
 * what the element's annotators draw. The formulas are here, as in frame.h. */

/* Channel @c between pixels of the output. */
PT_FRAME_HD gfloat
pt_overlay_value (const PtOverlay *self, gint c, gfloat x, gfloat y)
{
  gfloat tx = x - floorf (x), ty = y - floorf (y), top, low;
  gint w = self->style.width, h = self->style.height;
  gint n = self->style.channels;
  gint l = pt_frame_clamp ((gint) floorf (x), w);
  gint r = pt_frame_clamp ((gint) floorf (x) + 1, w);
  gint a = pt_frame_clamp ((gint) floorf (y), h) * w;
  gint b = pt_frame_clamp ((gint) floorf (y) + 1, h) * w;
  const gfloat *from = self->y + c;

  top = from[(a + l) * n] + tx * (from[(a + r) * n] - from[(a + l) * n]);
  low = from[(b + l) * n] + tx * (from[(b + r) * n] - from[(b + l) * n]);
  return top + ty * (low - top);
}

/* Classes have no values between them: those of the nearest pixel. */
PT_FRAME_HD gint
pt_overlay_class (const PtOverlay *self, gfloat x, gfloat y)
{
  gint column = pt_frame_clamp ((gint) floorf (x + 0.5f), self->style.width);
  gint row = pt_frame_clamp ((gint) floorf (y + 0.5f), self->style.height);
  const gfloat *scores = self->y + (row * self->style.width + column)
      * self->style.channels;
  gint best = 0;

  for (gint c = 1; c < self->style.channels; c++)
    if (scores[c] > scores[best])
      best = c;
  return best;
}

PT_FRAME_HD gint
pt_overlay_heat (const PtOverlay *self, gfloat x, gfloat y)
{
  gfloat heat = pt_overlay_value (self, 0, x, y) / *self->range;

  heat = heat > 0.f ? heat : 0.f;       /* NaN too */
  return (heat < 1.f ? heat : 1.f) * (PT_OVERLAY_HEATS - 1);
}

PT_FRAME_HD gint
pt_overlay_flow (const PtOverlay *self, gfloat x, gfloat y)
{
  const gfloat most = PT_OVERLAY_SPEEDS;
  gfloat u = pt_overlay_value (self, 0, x, y) * (most / *self->range);
  gfloat v = pt_overlay_value (self, 1, x, y) * (most / *self->range);
  gfloat length = sqrtf (u * u + v * v);
  gfloat shorter = length > most ? most / length : 1.f;

  if (!(length < INFINITY))     /* NaN too */
    u = v = 0;
  return (gint) (v * shorter + most + 0.5f) * PT_OVERLAY_SIDE
      + (gint) (u * shorter + most + 0.5f);
}

PT_FRAME_HD gfloat
pt_overlay_clamp (gfloat value)
{
  value = value > 0.f ? value : 0.f;    /* NaN too */
  return value < 255.f ? value : 255.f;
}

/* The picture itself; grey is red, green and blue alike. */
PT_FRAME_HD PtOverlayColour
pt_overlay_image (const PtOverlay *self, gfloat x, gfloat y)
{
  const PtOverlayStyle *style = &self->style;
  PtOverlayColour colour;
  gfloat rgb[3];

  for (gint c = 0; c < 3; c++)
    rgb[c] = pt_overlay_clamp (255.f * (pt_overlay_value (self,
                style->channels == 3 ? c : 0, x, y) * style->std
            + style->mean));
  colour.alpha = 255;
  for (gint k = 0; k < 3; k++) {
    const gfloat *m = style->matrix[k];

    colour.part[k] = pt_overlay_clamp (m[0] * rgb[0] + m[1] * rgb[1]
        + m[2] * rgb[2] + m[3]) + 0.5f;
  }
  return colour;
}

/* The colour over pixel (x, y) of the frame. */
PT_FRAME_HD PtOverlayColour
pt_overlay_pick (const PtOverlay *self, gint x, gint y)
{
  gfloat at_x = (x - self->to_x + 0.5f) * self->style.width / self->to_width - 0.5f;
  gfloat at_y = (y - self->to_y + 0.5f) * self->style.height / self->to_height
      - 0.5f;

  if (self->style.kind == PT_OVERLAY_CLASSES)
    return self->style.colours[pt_overlay_class (self, at_x, at_y)];
  if (self->style.kind == PT_OVERLAY_IMAGE)
    return pt_overlay_image (self, at_x, at_y);
  if (self->style.kind == PT_OVERLAY_HEAT)
    return self->style.colours[pt_overlay_heat (self, at_x, at_y)];
  return self->style.colours[pt_overlay_flow (self, at_x, at_y)];
}

PT_FRAME_HD void
pt_overlay_mix (guint8 *sample, gfloat alpha, gfloat colour)
{
  *sample = *sample * (1.f - alpha) + colour + 0.5f;
}

/* Blends the pixels that share one sample of chroma, which gets the mean of
 * what is over them. */
PT_FRAME_HD void
pt_overlay_blend (const PtFrame *frame, const PtOverlay *self, gint cell_x,
    gint cell_y)
{
  gint last = frame->n_components - 1, n = 0;
  gint w = 1 << frame->shift_x[last], h = 1 << frame->shift_y[last];
  gfloat alphas = 0, sums[3] = { 0, 0, 0 };

  for (gint y = cell_y * h; y < cell_y * h + h; y++)
    for (gint x = cell_x * w; x < cell_x * w + w; x++) {
      PtOverlayColour colour;
      gfloat alpha;

      if (x >= frame->width || y >= frame->height)
        continue;
      n++;
      if (x < self->to_x || x >= self->to_x + self->to_width
          || y < self->to_y || y >= self->to_y + self->to_height)
        continue;
      colour = pt_overlay_pick (self, x, y);
      alpha = colour.alpha / 255.f;
      alphas += alpha;
      for (gint k = 0; k < 3; k++)
        if (k < frame->n_components) {
          sums[k] += alpha * colour.part[k];
          if (frame->shift_x[k] + frame->shift_y[k] == 0)
            pt_overlay_mix (frame->data[k] + (gssize) y * frame->stride[k]
                + x * frame->step[k], alpha, alpha * colour.part[k]);
        }
    }
  for (gint k = 0; k < 3 && alphas > 0; k++)
    if (k < frame->n_components && frame->shift_x[k] + frame->shift_y[k] > 0)
      pt_overlay_mix (frame->data[k] + (gssize) cell_y * frame->stride[k]
          + cell_x * frame->step[k], alphas / n, sums[k] / n);
}

/* Done in the order of the calling thread's work; @overlay's memory and
 * @frame's are the device's. */
gboolean pt_cuda_overlay_blend (PtDevice *device, const PtFrame *frame,
    const PtOverlay *overlay, GError **error);

G_END_DECLS
