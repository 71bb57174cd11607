/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>

#include "core/tensor.h"
#include "device/cuda/table.h"
#include "device/cuda/vec.h"

/* What the losses have in common: each is a sum whose terms, as they are
 * added, write their derivatives. What is only known once the frame has been
 * summed stays in scratch, on the device. */

/* q^gamma for q in 0..1 and gamma >= 0; 0^0 is 1. */
PT_HD gfloat
pt_loss_powf (gfloat q, gfloat gamma)
{
  return expf (gamma * logf (q < 1e-30f ? 1e-30f : q));
}

/* sqrt (d^2 + eps^2), and its derivative. */
PT_HD gfloat
pt_loss_charbonnier (gfloat d, gfloat eps2, gfloat *slope)
{
  gfloat value = sqrtf (d * d + eps2);

  *slope = value > 0.f ? d / value : 0.f;
  return value;
}

/* -1, 0, 1; NaN stays. */
PT_HD gfloat
pt_loss_sign (gfloat d)
{
  return d > 0.f ? 1.f : d < 0.f ? -1.f : d;
}

/* The loss is the mean of @n terms. */
struct PtLossMean
{
  gfloat *loss;
  gdouble n;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    *loss = sums[0] / n;
  }
};

/* Cuts @bytes off scratch memory that is counted in @size; where they lie. */
static inline gsize
pt_cuda_carve (gsize *size, gsize bytes)
{
  gsize at = *size;

  *size += (bytes + PT_ALIGNMENT - 1) / PT_ALIGNMENT * PT_ALIGNMENT;
  return at;
}
