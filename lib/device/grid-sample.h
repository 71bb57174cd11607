/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>

#include "device/backend.h"

G_BEGIN_DECLS

/* Where an output of grid-sample reads, after PyTorch's GridSampler.h. The two
 * directions do not know of each other: the output is the sum over both of
 * w[y] w[x] x[at[y], at[x]]. */

#ifdef __CUDACC__
#define PT_GRID_HD __host__ __device__ static inline
#else
#define PT_GRID_HD static inline
#endif

typedef struct
{
  gint n;
  gint at[4];                   /* -1: outside, where all is zero */
  gfloat w[4];
  gfloat d[4];                  /* of w, by the number in the grid */
} PtGridTaps;

/* -1..1 to pixels, of which the derivative is this. */
PT_GRID_HD gfloat
pt_grid_scale (const PtGridSampleDesc *desc, gint size)
{
  return desc->align_corners ? (size - 1) / 2.f : size / 2.f;
}

/* Back and forth between the first and the last pixel, or their outer edges;
 * @d becomes -1 where it is back. */
PT_GRID_HD gfloat
pt_grid_reflect (const PtGridSampleDesc *desc, gfloat at, gint size,
    gfloat *d)
{
  gfloat low = desc->align_corners ? 0 : -0.5f;
  gfloat span = desc->align_corners ? size - 1 : size, extra;

  if (span == 0) {
    *d = 0;
    return 0;
  }
  at -= low;
  if (at < 0) {
    *d = -*d;
    at = -at;
  }
  extra = fmodf (at, span);
  if (fmodf (floorf (at / span), 2) == 0)
    return extra + low;
  *d = -*d;
  return span - extra + low;
}

/* Nothing to learn on the edge and beyond. */
PT_GRID_HD gfloat
pt_grid_clip (gfloat at, gint size, gfloat *d)
{
  if (at > 0 && at < size - 1)
    return at;
  *d = 0;
  return at <= 0 ? 0 : size - 1;
}

PT_GRID_HD gfloat
pt_grid_pad (const PtGridSampleDesc *desc, gfloat at, gint size, gfloat *d)
{
  if (desc->padding == PT_GRID_REFLECTION)
    at = pt_grid_reflect (desc, at, size, d);
  return desc->padding == PT_GRID_ZEROS ? at : pt_grid_clip (at, size, d);
}

/* What no pixel is near, NaN among it, is far outside. */
PT_GRID_HD gfloat
pt_grid_guard (gfloat at)
{
  return at > -1e9f && at < 1e9f ? at : -100;
}

PT_GRID_HD gint
pt_grid_bound (gfloat at, gint size)
{
  gint i = pt_grid_guard (at);

  return i >= 0 && i < size ? i : -1;
}

/* Keys' kernel with a = -0.75, and its derivative. */
PT_GRID_HD void
pt_grid_cubic (gfloat t, gfloat w[4], gfloat d[4])
{
  const gfloat a = -0.75f;

  for (gint k = 0; k < 4; k++) {
    gfloat x = fabsf (t + 1 - k), slope;

    if (k == 1 || k == 2) {
      w[k] = ((a + 2) * x - (a + 3)) * x * x + 1;
      slope = (3 * (a + 2) * x - 2 * (a + 3)) * x;
    } else {
      w[k] = ((x - 5) * x + 8) * x * a - 4 * a;
      slope = ((3 * x - 10) * x + 8) * a;
    }
    d[k] = k < 2 ? slope : -slope;
  }
}

PT_GRID_HD PtGridTaps
pt_grid_get_taps (const PtGridSampleDesc *desc, gfloat number, gint size)
{
  gfloat d = pt_grid_scale (desc, size);
  gfloat at = pt_grid_guard ((number + 1) * d -
      (desc->align_corners ? 0 : 0.5f));
  PtGridTaps taps = { 1, {-1, -1, -1, -1}, {1, 0, 0, 0}, {0, 0, 0, 0} };
  gfloat first, none = 0;

  if (desc->mode != PT_GRID_BICUBIC)
    at = pt_grid_pad (desc, at, size, &d);
  if (desc->mode == PT_GRID_NEAREST) {
    taps.at[0] = pt_grid_bound (nearbyintf (at), size);
    return taps;
  }
  first = floorf (at);
  taps.n = 2;
  taps.w[0] = first + 1 - at;
  taps.w[1] = at - first;
  taps.d[0] = -1;
  taps.d[1] = 1;
  if (desc->mode == PT_GRID_BICUBIC) {
    taps.n = 4;
    pt_grid_cubic (at - first, taps.w, taps.d);
    first--;
  }
  for (gint k = 0; k < taps.n; k++) {
    taps.d[k] *= d;
    taps.at[k] = pt_grid_bound (desc->mode == PT_GRID_BICUBIC ?
        pt_grid_pad (desc, first + k, size, &none) : first + k, size);
  }
  return taps;
}

/* Of output (@h, @w) of a grid in memory, channels-last as every image unless
 * it is a weight: the number for x is first. */
PT_GRID_HD gsize
pt_grid_place (const PtGridSampleDesc *desc, gint h, gint w, gint k)
{
  return desc->plain ? ((gsize) h * desc->grid.dims[2] + w) * 2 + k :
      ((gsize) w * 2 + k) * desc->grid.dims[1] + h;
}

G_END_DECLS
