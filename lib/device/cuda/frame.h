/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>

#include "device/backend.h"
#include "partime/frame.h"

G_BEGIN_DECLS

/* Video frames of 8 bits in the device's memory, and the pictures that
 * networks take. The formulas of one pixel are here, in C, so that the tests
 * have them without a GPU.
 *
 * Pictures are those of GstVideoConverter with its linear method, but for its
 * rounding and three ways of its own: its RGB of luma 16..235 is 2.4 levels
 * too dark; from I420 to RGB of the same size it does not interpolate chroma;
 * enlarging, it puts the outermost pixels of a row on those of the frame.
 * Where matrices are equal it copies luma to grey whatever its range: that is
 * pt_frame_matrix_copy(). */

#ifdef __CUDACC__
#define PT_FRAME_HD static __host__ __device__ __forceinline__
#else
#define PT_FRAME_HD static inline __attribute__ ((always_inline))
#endif

PT_FRAME_HD gint
pt_frame_clamp (gint i, gint n)
{
  return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Where among samples pixel @i lies: sample @a, @t of the way to @b. */
PT_FRAME_HD void
pt_frame_between (gint i, gint shift, gboolean cosited, gint n, gint *a,
    gint *b, gfloat *t)
{
  gint each = 1 << shift, samples = (n + each - 1) >> shift;
  gfloat at = (i - (cosited ? 0.f : (each - 1) * 0.5f)) / each;
  gint first = (gint) floorf (at);

  *t = at - first;
  *a = pt_frame_clamp (first, samples);
  *b = pt_frame_clamp (first + 1, samples);
}

/* Component @k of a pixel; chroma is interpolated between its samples. */
PT_FRAME_HD gfloat
pt_frame_sample (const PtFrame *self, gint k, gint x, gint y)
{
  const guint8 *data = self->data[k], *top, *low;
  gint l, r, a, b;
  gfloat tx, ty, above, below;

  if (self->shift_x[k] + self->shift_y[k] == 0)
    return data[(gssize) y * self->stride[k] + x * self->step[k]];
  pt_frame_between (x, self->shift_x[k], self->cosited_x, self->width, &l, &r,
      &tx);
  pt_frame_between (y, self->shift_y[k], self->cosited_y, self->height, &a,
      &b, &ty);
  top = data + (gssize) a * self->stride[k];
  low = data + (gssize) b * self->stride[k];
  l *= self->step[k];
  r *= self->step[k];
  above = top[l] + tx * ((gfloat) top[r] - top[l]);
  below = low[l] + tx * ((gfloat) low[r] - low[l]);
  return above + ty * (below - above);
}

/* The pixels that one pixel of a resized picture is made of, along one axis:
 * from @first on, weighed by a triangle around @at that is as wide as what it
 * stands for, but at least two pixels. GstVideoConverter's linear method, with
 * its rounding of the width to whole pixels. */
#define PT_FRAME_MAX_TAPS 128

typedef struct
{
  gint first, n;
  gfloat at, slope;             /* weight: 1 - |i - at| slope */
  gfloat scale;                 /* 1 over the sum of the weights */
} PtFrameTaps;

PT_FRAME_HD gfloat
pt_frame_weight (const PtFrameTaps *self, gint i)
{
  gfloat weight = 1.f - fabsf (i - self->at) * self->slope;

  return weight > 0.f ? weight : 0.f;
}

/* For pixel @i of @n_out, made of @n_in. */
PT_FRAME_HD PtFrameTaps
pt_frame_taps (gint i, gint n_in, gint n_out)
{
  PtFrameTaps self;
  gfloat sum = 0;

  self.n = n_in > n_out ? (2 * n_in + n_out - 1) / n_out : 2;
  self.n = self.n < PT_FRAME_MAX_TAPS ? self.n : PT_FRAME_MAX_TAPS;
  self.slope = 2.f / self.n;
  self.n = self.n < n_in ? self.n : n_in;
  /* (i + 1/2) n_in / n_out - 1/2, of whole numbers while they are exact */
  self.at = (gfloat) ((2 * i + 1) * (gint64) n_in - n_out) / (2 * n_out);
  self.at = self.at < 0.f ? 0.f : self.at;
  self.at = self.at < n_in - 1 ? self.at : n_in - 1;
  self.first = (gint) floorf (self.at - (self.n - 1) / 2);
  for (gint k = 0; k < self.n; k++)
    sum += pt_frame_weight (&self, self.first + k);
  self.scale = 1.f / sum;
  return self;
}

/* Pixel (x, y) of the picture, 0..255. */
PT_FRAME_HD void
pt_frame_pixel (const PtFrame *frame, const PtFrameView *view, gint x, gint y,
    gfloat out[3])
{
  gfloat sums[3] = { 0, 0, 0 };
  PtFrameTaps h, v;

  out[0] = out[1] = out[2] = 0;
  x -= view->to_x;
  y -= view->to_y;
  if (x < 0 || x >= view->to_width || y < 0 || y >= view->to_height)
    return;
  h = pt_frame_taps (x, view->width, view->to_width);
  v = pt_frame_taps (y, view->height, view->to_height);
  for (gint i = 0; i < v.n; i++) {
    gint row = view->y + pt_frame_clamp (v.first + i, view->height);
    gfloat down = pt_frame_weight (&v, v.first + i) * v.scale;

    for (gint j = 0; j < h.n; j++) {
      gint column = view->x + pt_frame_clamp (h.first + j, view->width);
      gfloat weight = down * pt_frame_weight (&h, h.first + j) * h.scale;

      for (gint k = 0; k < 3; k++)
        if (k < frame->n_components && weight > 0.f)
          sums[k] += weight * pt_frame_sample (frame, k, column, row);
    }
  }
  for (gint c = 0; c < 3; c++)
    if (c < view->channels) {
      const gfloat *m = view->matrix[c];
      gfloat value = m[0] * sums[0] + m[1] * sums[1] + m[2] * sums[2] + m[3];

      value = value > 0.f ? value : 0.f;
      out[c] = value < 255.f ? value : 255.f;
    }
}

/* The picture, NHWC and normalised, to @to on the device; done in the order
 * of the calling thread's work. */
gboolean pt_cuda_frame_normalise (PtDevice *device, const PtFrame *frame,
    const PtFrameView *view, gfloat *to, GError **error);
/* The same as bytes, rows @stride apart. */
gboolean pt_cuda_frame_pack (PtDevice *device, const PtFrame *frame,
    const PtFrameView *view, guint8 *to, gsize stride, GError **error);
/* @channels of each of @pixels become group @at of @n in @to: frames side by
 * side. */
gboolean pt_cuda_frame_stack (PtDevice *device, const gfloat *from,
    gsize pixels, guint channels, gfloat *to, guint at, guint n,
    GError **error);

G_END_DECLS
