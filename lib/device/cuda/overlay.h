/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/frame.h"

G_BEGIN_DECLS

/* A network's output as colours over a frame, both in the device's memory:
 * what the element's annotators draw. The formulas are here, as in frame.h. */

typedef enum
{
  PT_OVERLAY_CLASSES,           /* colour of the channel with the highest
                                 * score */
  PT_OVERLAY_HEAT,              /* of one channel, none below 0 */
  PT_OVERLAY_FLOW,              /* of two: x and y */
} PtOverlayKind;

#define PT_OVERLAY_HEATS 256    /* colours, from 0 to the full range */
#define PT_OVERLAY_SPEEDS 64    /* of flow: steps from rest to full speed */
#define PT_OVERLAY_SIDE (2 * PT_OVERLAY_SPEEDS + 1)

/* Parts are the frame's components: red, green and blue; or luma, U and V. */
typedef struct
{
  guint8 alpha, part[3];        /* not multiplied with one another */
} PtOverlayColour;

typedef struct
{
  PtOverlayKind kind;
  gint width, height, channels; /* of the output */
  const gfloat *y;              /* NHWC */
  /* One for each class; PT_OVERLAY_HEATS; or rows of PT_OVERLAY_SIDE, x from
   * left to right and y from top to bottom. */
  const PtOverlayColour *table;
  const gfloat *range;          /* value at full colour; not for classes */
  gint to_x, to_y, to_width, to_height; /* where on the frame it goes */
} PtOverlay;

#define PT_OVERLAY_SAMPLES 1024 /* of an output, to find its range */
#define PT_OVERLAY_BINS 256
#define PT_OVERLAY_FOLLOW 0.1f  /* how fast a range follows */

/* The range that follows the 99th percentile of the outputs, slowly, so that
 * colours keep their meaning from frame to frame; on the device, zeros at
 * first. */
typedef struct
{
  gfloat range;                 /* for PtOverlay, not below the least */
  gfloat followed;
  gfloat max;
  guint bins[PT_OVERLAY_BINS];
  gfloat values[PT_OVERLAY_SAMPLES];
} PtOverlayRange;

/* Channel @c between pixels of the output. */
PT_FRAME_HD gfloat
pt_overlay_value (const PtOverlay *self, gint c, gfloat x, gfloat y)
{
  gfloat tx = x - floorf (x), ty = y - floorf (y), top, low;
  gint l = pt_frame_clamp ((gint) floorf (x), self->width);
  gint r = pt_frame_clamp ((gint) floorf (x) + 1, self->width);
  gint a = pt_frame_clamp ((gint) floorf (y), self->height) * self->width;
  gint b = pt_frame_clamp ((gint) floorf (y) + 1, self->height) * self->width;
  const gfloat *from = self->y + c;
  gint n = self->channels;

  top = from[(a + l) * n] + tx * (from[(a + r) * n] - from[(a + l) * n]);
  low = from[(b + l) * n] + tx * (from[(b + r) * n] - from[(b + l) * n]);
  return top + ty * (low - top);
}

/* Classes have no values between them: those of the nearest pixel. */
PT_FRAME_HD gint
pt_overlay_class (const PtOverlay *self, gfloat x, gfloat y)
{
  gint column = pt_frame_clamp ((gint) floorf (x + 0.5f), self->width);
  gint row = pt_frame_clamp ((gint) floorf (y + 0.5f), self->height);
  const gfloat *scores = self->y + (row * self->width + column)
      * self->channels;
  gint best = 0;

  for (gint c = 1; c < self->channels; c++)
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

/* The colour over pixel (x, y) of the frame. */
PT_FRAME_HD PtOverlayColour
pt_overlay_pick (const PtOverlay *self, gint x, gint y)
{
  gfloat at_x = (x - self->to_x + 0.5f) * self->width / self->to_width - 0.5f;
  gfloat at_y = (y - self->to_y + 0.5f) * self->height / self->to_height
      - 0.5f;

  if (self->kind == PT_OVERLAY_CLASSES)
    return self->table[pt_overlay_class (self, at_x, at_y)];
  if (self->kind == PT_OVERLAY_HEAT)
    return self->table[pt_overlay_heat (self, at_x, at_y)];
  return self->table[pt_overlay_flow (self, at_x, at_y)];
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

/* Pixels that are looked at to find the range: every step'th. */
static inline guint
pt_overlay_step (const PtOverlay *self)
{
  return MAX (self->width * self->height / PT_OVERLAY_SAMPLES, 1);
}

static inline guint
pt_overlay_n_samples (const PtOverlay *self)
{
  return MIN (self->width * self->height / pt_overlay_step (self),
      PT_OVERLAY_SAMPLES);
}

/* Length of the vector of channels at a pixel. */
PT_FRAME_HD gfloat
pt_overlay_magnitude (const PtOverlay *self, guint pixel)
{
  const gfloat *y = self->y + (gsize) pixel * self->channels;
  gfloat sum = 0;

  if (self->channels == 1)
    return *y;
  for (gint c = 0; c < self->channels; c++)
    sum += y[c] * y[c];
  return sqrtf (sum);
}

/* How many of @n values lie in bin @bin of PT_OVERLAY_BINS from 0 to the
 * greatest, which is returned. */
PT_FRAME_HD gfloat
pt_overlay_count (const gfloat *values, guint n, guint bin, guint *count)
{
  gfloat max = 0;

  *count = 0;
  for (guint i = 0; i < n; i++)
    max = values[i] > max ? values[i] : max;
  for (guint i = 0; i < n; i++) {
    gfloat part = max > 0.f ? values[i] / max : 0.f;

    part = part > 0.f ? part : 0.f;
    *count += (guint) ((part < 1.f ? part : 1.f) * (PT_OVERLAY_BINS - 1))
        == bin;
  }
  return max;
}

/* Takes the next step after the value below which 99 % of @n lie. */
PT_FRAME_HD void
pt_overlay_follow (PtOverlayRange *self, guint n, gfloat least)
{
  guint bin = PT_OVERLAY_BINS, above = 0;
  gfloat found;

  while (bin > 1 && above + self->bins[bin - 1] <= n / 100)
    above += self->bins[--bin];
  found = self->max * bin / PT_OVERLAY_BINS;
  if (self->followed > 0.f)
    found = self->followed + PT_OVERLAY_FOLLOW * (found - self->followed);
  self->followed = found;
  self->range = found > least ? found : least;
}

/* Both are done in the order of the calling thread's work; @overlay's memory,
 * @frame's and @range are the device's. */
gboolean pt_cuda_overlay_blend (PtDevice *device, const PtFrame *frame,
    const PtOverlay *overlay, GError **error);
gboolean pt_cuda_overlay_follow (PtDevice *device, const PtOverlay *overlay,
    PtOverlayRange *range, gfloat least, GError **error);

G_END_DECLS
