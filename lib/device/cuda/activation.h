/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>

#include "device/cuda/kernel.h"

/* The activations of torch.nn, for kernels that end with one. */

template < PtActivation kind > PT_HD gfloat
pt_activate (gfloat x, gfloat alpha)
{
  const gfloat c = 0.79788456f; /* sqrt (2 / pi) */

  switch (kind) {
    case PT_ACTIVATION_RELU:
      return x > 0 ? x : 0;
    case PT_ACTIVATION_LEAKY_RELU:
      return x > 0 ? x : alpha * x;
    case PT_ACTIVATION_SIGMOID:
      return 1 / (1 + expf (-x));
    case PT_ACTIVATION_TANH:
      return tanhf (x);
    case PT_ACTIVATION_GELU:
      return x * 0.5f * erfcf (-x * 0.70710678f);
    case PT_ACTIVATION_GELU_TANH:
      return x / (1 + expf (-2 * c * (x + 0.044715f * x * x * x)));
    case PT_ACTIVATION_SILU:
      return x / (1 + expf (-x));
    default:
      return x;
  }
}

/* f'(x), of y = f (x) where pt_activation_uses_y(), else of x. */
template < PtActivation kind > PT_HD gfloat
pt_activate_slope (gfloat v, gfloat alpha)
{
  const gfloat c = 0.79788456f;
  gfloat s;

  switch (kind) {
    case PT_ACTIVATION_RELU:
      return v > 0 ? 1 : 0;
    case PT_ACTIVATION_LEAKY_RELU:
      return v > 0 ? 1 : alpha;
    case PT_ACTIVATION_SIGMOID:
      return v * (1 - v);
    case PT_ACTIVATION_TANH:
      return 1 - v * v;
    case PT_ACTIVATION_GELU:
      return 0.5f * erfcf (-v * 0.70710678f)
          + v * 0.5f * c * expf (-0.5f * v * v);
    case PT_ACTIVATION_GELU_TANH:
      s = 1 / (1 + expf (-2 * c * (v + 0.044715f * v * v * v)));
      return s + v * s * (1 - s) * 2 * c * (1 + 3 * 0.044715f * v * v);
    case PT_ACTIVATION_SILU:
      s = 1 / (1 + expf (-v));
      return s + v * s * (1 - s);
    default:
      return 1;
  }
}
