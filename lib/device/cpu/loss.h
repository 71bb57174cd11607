/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/kernel.h"

G_BEGIN_DECLS

/* A loss is summed in double, block by block or row by row, and the sums are
 * added in order: the same bits whatever the number of threads. The sums lie
 * at the start of the scratch memory. */
#define PT_LOSS_BLOCK 4096

static inline gdouble *
pt_loss_get_sums (const PtOp *op)
{
  return op->workspace->scratch->data;
}

static inline gdouble
pt_loss_add_up (const gdouble *sums, gint64 n)
{
  gdouble sum = 0;

  for (gint64 i = 0; i < n; i++)
    sum += sums[i];
  return sum;
}

/* log (u) + rest / u for u > 0: u = 2^k m with m around 1, and
 * log (m) = 2 atanh ((m - 1) / (m + 1)). To 2 ulp; NaN stays NaN. */
PT_INLINE gfloat
pt_loss_log (gfloat u, gfloat rest)
{
  union { gfloat f; gint32 i; } m = { u };
  gint32 k = (m.i - 0x3f3504f3) >> 23;
  gfloat s, s2, p;

  m.i -= k * (1 << 23);
  s = (m.f - 1.f) / (m.f + 1.f);
  s2 = s * s;
  p = 2.f / 9.f;
  p = p * s2 + 2.f / 7.f;
  p = p * s2 + 2.f / 5.f;
  p = p * s2 + 2.f / 3.f;
  p = p * s2 * s + 2.f * s;
  return k * 0.693359375f + (p + k * -2.12194440e-4f + rest / u + (u - u));
}

PT_INLINE gfloat
pt_logf (gfloat x)
{
  return pt_loss_log (x, 0.f);
}

/* log (1 + z) for z >= 0: what the sum loses is put back. */
PT_INLINE gfloat
pt_log1pf (gfloat z)
{
  gfloat u = 1.f + z;

  return pt_loss_log (u, z - (u - 1.f));
}

/* q^gamma for q in 0..1 and gamma >= 0; 0^0 is 1. */
PT_INLINE gfloat
pt_loss_powf (gfloat q, gfloat gamma)
{
  q = q < 1e-30f ? 1e-30f : q;
  return pt_expf (gamma * pt_logf (q));
}

G_END_DECLS
