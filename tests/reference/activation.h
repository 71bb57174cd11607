/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>

#include "device/op.h"

/* The definitions of PyTorch's functions, with libm in double. */
static inline gdouble
ref_activation (PtActivation kind, gdouble alpha, gdouble x)
{
  switch (kind) {
    case PT_ACTIVATION_RELU:
      return x > 0 ? x : 0;
    case PT_ACTIVATION_LEAKY_RELU:
      return x > 0 ? x : alpha * x;
    case PT_ACTIVATION_SIGMOID:
      return 1 / (1 + exp (-x));
    case PT_ACTIVATION_TANH:
      return tanh (x);
    case PT_ACTIVATION_GELU:
      return x / 2 * erfc (-x / M_SQRT2);
    case PT_ACTIVATION_GELU_TANH:
      return x / 2 * (1 + tanh (sqrt (2 / M_PI) * (x + 0.044715 * x * x * x)));
    case PT_ACTIVATION_SILU:
      return x / (1 + exp (-x));
    default:
      return x;
  }
}
