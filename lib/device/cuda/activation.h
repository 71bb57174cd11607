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
      return x < 0 ? 0 : x;      /* NaN stays */
    case PT_ACTIVATION_LEAKY_RELU:
      return x < 0 ? alpha * x : x;
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

/* The same where the kind is known at run time only. */
static PT_HD gfloat
pt_activate_as (PtActivation kind, gfloat x, gfloat alpha)
{
  switch (kind) {
    case PT_ACTIVATION_RELU:
      return pt_activate < PT_ACTIVATION_RELU > (x, alpha);
    case PT_ACTIVATION_LEAKY_RELU:
      return pt_activate < PT_ACTIVATION_LEAKY_RELU > (x, alpha);
    case PT_ACTIVATION_SIGMOID:
      return pt_activate < PT_ACTIVATION_SIGMOID > (x, alpha);
    case PT_ACTIVATION_TANH:
      return pt_activate < PT_ACTIVATION_TANH > (x, alpha);
    case PT_ACTIVATION_GELU:
      return pt_activate < PT_ACTIVATION_GELU > (x, alpha);
    case PT_ACTIVATION_GELU_TANH:
      return pt_activate < PT_ACTIVATION_GELU_TANH > (x, alpha);
    case PT_ACTIVATION_SILU:
      return pt_activate < PT_ACTIVATION_SILU > (x, alpha);
    default:
      return x;
  }
}

/* dy f'(x), of v = f (x) where pt_activation_uses_y(), else of v = x. */
template < PtActivation kind > PT_HD gfloat
pt_activate_gradient (gfloat v, gfloat dy, gfloat alpha)
{
  const gfloat c = 0.79788456f;
  gfloat s;

  switch (kind) {
    case PT_ACTIVATION_RELU:
      return v > 0 ? dy : 0;
    case PT_ACTIVATION_LEAKY_RELU:
      return v > 0 ? dy : alpha * dy;
    case PT_ACTIVATION_SIGMOID:
      return dy * v * (1 - v);
    case PT_ACTIVATION_TANH:
      return dy * (1 - v * v);
    case PT_ACTIVATION_GELU:
      return dy * (0.5f * erfcf (-v * 0.70710678f)
          + v * 0.5f * c * expf (-0.5f * v * v));
    case PT_ACTIVATION_GELU_TANH:
      s = 1 / (1 + expf (-2 * c * (v + 0.044715f * v * v * v)));
      return dy * (s + v * s * (1 - s) * 2 * c * (1 + 3 * 0.044715f * v * v));
    case PT_ACTIVATION_SILU:
      s = 1 / (1 + expf (-v));
      return dy * (s + v * s * (1 - s));
    default:
      return dy;
  }
}
