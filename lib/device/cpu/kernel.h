/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>
#include <string.h>

#include "device/cpu/cpu.h"

G_BEGIN_DECLS

/* One body, compiled for each width of vector. Sanitizers and clang do not
 * get along with the resolvers this makes. */
#if defined __x86_64__ && !defined __clang__ && \
    !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
#define PT_CLONES __attribute__ ((target_clones ("arch=x86-64-v4", \
            "arch=x86-64-v3", "default")))
#else
#define PT_CLONES
#endif

#define PT_INLINE static inline __attribute__ ((always_inline))

/* A fork and join costs as much as this many elements of streaming. */
#define PT_CPU_GRAIN 32768

typedef void (*PtRangeFunc) (gconstpointer data, gint64 begin, gint64 end);

/* Calls @func over [0, @n), cut by the number of threads only, so that
 * results repeat. An item is @cost elements. */
static inline void
pt_cpu_for (const PtOp *op, gint64 n, gint64 cost, PtRangeFunc func,
    gconstpointer data)
{
  gint64 parts = MIN (op->workspace->device->n_threads,
      n * cost / PT_CPU_GRAIN);

  if (parts < 2) {
    func (data, 0, n);
    return;
  }
#pragma omp parallel for num_threads (parts) schedule (static, 1)
  for (gint64 i = 0; i < parts; i++)
    func (data, n * i / parts, n * (i + 1) / parts);
}

/* y[i] = activation (y[i]), activation.c */
void pt_cpu_activate (PtActivation kind, gfloat alpha, gfloat *y, gint64 n);

/* What these kernels need is known when they run. */
static inline gboolean
pt_cpu_plan_nothing (PtOp *op, GError **error)
{
  return TRUE;
}

/* What differs from frame to frame, which may lie in memory of its own. */
static inline PtLive
pt_cpu_live (const PtOpArgs *args)
{
  if (args->live != NULL)
    return *args->live;
  return (PtLive) { args->scale, args->rate, args->step, args->seed, .go = 1 };
}

/* exp (x) to 2 ulp: 2^k e^r, |r| <= ln 2 / 2; the power of two in two halves
 * so that overflow and denormals come out as they should. */
PT_INLINE gfloat
pt_expf (gfloat x)
{
  union { gfloat f; gint32 i; } t, a, b;
  gfloat k, r, p;
  gint32 n;

  x = x < -104.f ? -104.f : x;
  x = x > 89.f ? 89.f : x;
  t.f = x * 1.44269504f + 12582912.f;
  k = t.f - 12582912.f;
  n = t.i - 0x4b400000;
  r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  a.i = (guint32) ((n >> 1) + 127) << 23;       /* unsigned: x may be NaN */
  b.i = (guint32) (n - (n >> 1) + 127) << 23;
  return p * a.f * b.f;
}

G_END_DECLS
