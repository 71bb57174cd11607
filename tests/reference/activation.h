/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>

#include "device/op.h"

/* The definitions of PyTorch's functions, with libm in double. */
static inline gdouble
ref_activation (PtActivation kind, gdouble alpha, gdouble beta, gdouble x)
{
  const gdouble scale = 1.0507009873554804934193349852946;

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
    case PT_ACTIVATION_RELU6:
      return fmin (fmax (x, 0), 6);
    case PT_ACTIVATION_HARD_SWISH:
      return x * fmin (fmax (x + 3, 0), 6) / 6;
    case PT_ACTIVATION_MISH:
      return x * tanh (log1p (exp (x)));
    case PT_ACTIVATION_ELU:
      return x > 0 ? x : alpha * expm1 (x);
    case PT_ACTIVATION_SELU:
      return scale * (x > 0 ? x : 1.6732632423543772848170429916717 *
          expm1 (x));
    case PT_ACTIVATION_CELU:
      return fmax (x, 0) + fmin (alpha * expm1 (x / alpha), 0);
    case PT_ACTIVATION_SOFTPLUS:
      return alpha * x > beta ? x : log1p (exp (alpha * x)) / alpha;
    case PT_ACTIVATION_SOFTSIGN:
      return x / (1 + fabs (x));
    case PT_ACTIVATION_HARD_SIGMOID:
      return fmax (0, fmin (1, alpha * x + beta));
    case PT_ACTIVATION_HARD_TANH:
    case PT_ACTIVATION_CLIP:
      return fmin (fmax (x, alpha), beta);
    case PT_ACTIVATION_THRESHOLD:
      return x > alpha ? x : beta;
    case PT_ACTIVATION_SHRINK:
      return x > alpha ? x - beta : x < -alpha ? x + beta : 0;
    case PT_ACTIVATION_EXP:
      return exp (x);
    case PT_ACTIVATION_LOG:
      return log (x);
    case PT_ACTIVATION_SQRT:
      return sqrt (x);
    case PT_ACTIVATION_RECIPROCAL:
      return 1 / x;
    case PT_ACTIVATION_ABS:
      return fabs (x);
    case PT_ACTIVATION_NEG:
      return -x;
    case PT_ACTIVATION_ERF:
      return erf (x);
    case PT_ACTIVATION_SIN:
      return sin (x);
    case PT_ACTIVATION_COS:
      return cos (x);
    case PT_ACTIVATION_TAN:
      return tan (x);
    case PT_ACTIVATION_ASIN:
      return asin (x);
    case PT_ACTIVATION_ACOS:
      return acos (x);
    case PT_ACTIVATION_ATAN:
      return atan (x);
    case PT_ACTIVATION_SINH:
      return sinh (x);
    case PT_ACTIVATION_COSH:
      return cosh (x);
    case PT_ACTIVATION_ASINH:
      return asinh (x);
    case PT_ACTIVATION_ACOSH:
      return acosh (x);
    case PT_ACTIVATION_ATANH:
      return atanh (x);
    case PT_ACTIVATION_FLOOR:
      return floor (x);
    case PT_ACTIVATION_CEIL:
      return ceil (x);
    case PT_ACTIVATION_ROUND:
      return nearbyint (x);
    case PT_ACTIVATION_SIGN:
      return (x > 0) - (x < 0);
    case PT_ACTIVATION_TRUNC:
      return trunc (x);
    default:
      return x;
  }
}
