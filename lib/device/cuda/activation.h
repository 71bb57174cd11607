/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>

#include "device/cuda/kernel.h"

/* Calls use (kind) for each activation, in the order of the enumeration. */
#define PT_FUSED_ACTIVATIONS(use) \
  use (RELU) use (LEAKY_RELU) use (SIGMOID) use (TANH) use (GELU) \
  use (GELU_TANH) use (SILU) use (RELU6) use (HARD_SWISH) use (MISH)
#define PT_ALL_ACTIVATIONS(use) \
  PT_FUSED_ACTIVATIONS (use) use (ELU) use (SELU) use (CELU) use (SOFTPLUS) \
  use (SOFTSIGN) use (HARD_SIGMOID) use (HARD_TANH) use (CLIP) \
  use (THRESHOLD) use (SHRINK) use (EXP) use (LOG) use (SQRT) \
  use (RECIPROCAL) use (ABS) use (NEG) use (ERF) use (SIN) use (COS) \
  use (TAN) use (ASIN) use (ACOS) use (ATAN) use (SINH) use (COSH) \
  use (ASINH) use (ACOSH) use (ATANH) use (FLOOR) use (CEIL) use (ROUND) \
  use (SIGN) use (TRUNC)
#define PT_ACTIVATION_ONE(kind) + 1

static_assert (PT_N_ACTIVATIONS == 1 PT_ALL_ACTIVATIONS (PT_ACTIVATION_ONE),
    "all but none are listed");

#define PT_SELU_SCALE 1.05070099f
#define PT_SELU_ALPHA 1.75809934f       /* times the scale */

/* NaN stays; where low > high it is high, as in torch.clamp(). */
static PT_HD gfloat
pt_clip (gfloat x, gfloat low, gfloat high)
{
  x = x < low ? low : x;
  return x > high ? high : x;
}

/* n = e^x (e^x + 2): mish is x n / (n + 2). */
static PT_HD gfloat
pt_mish_n (gfloat x)
{
  gfloat e = expf (x > 20 ? 20 : x);

  return e * (e + 2);
}

template < PtActivation kind > PT_HD gfloat
pt_activate (gfloat x, gfloat alpha, gfloat beta = 0)
{
  const gfloat c = 0.79788456f; /* sqrt (2 / pi) */

  switch (kind) {
    case PT_ACTIVATION_RELU:
      return x < 0 ? 0 : x;
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
    case PT_ACTIVATION_RELU6:
      return pt_clip (x, 0, 6);
    case PT_ACTIVATION_HARD_SWISH:
      return x * pt_clip (x + 3, 0, 6) / 6;
    case PT_ACTIVATION_MISH:
      return x * (pt_mish_n (x) / (pt_mish_n (x) + 2));
    case PT_ACTIVATION_ELU:
      return x > 0 ? x : alpha * expm1f (x);
    case PT_ACTIVATION_SELU:
      return x > 0 ? PT_SELU_SCALE * x : PT_SELU_ALPHA * expm1f (x);
    case PT_ACTIVATION_CELU:
      return x > 0 ? x : alpha * expm1f (x / alpha);
    case PT_ACTIVATION_SOFTPLUS:
      return alpha * x > beta ? x : ((alpha * x > 0 ? alpha * x : 0)
          + log1pf (expf (-fabsf (alpha * x)))) / alpha;
    case PT_ACTIVATION_SOFTSIGN:
      return x / (1 + fabsf (x));
    case PT_ACTIVATION_HARD_SIGMOID:
      return pt_clip (alpha * x + beta, 0, 1);
    case PT_ACTIVATION_HARD_TANH:
    case PT_ACTIVATION_CLIP:
      return pt_clip (x, alpha, beta);
    case PT_ACTIVATION_THRESHOLD:
      return x <= alpha ? beta : x;
    case PT_ACTIVATION_SHRINK:
      return x > alpha ? x - beta : x < -alpha ? x + beta : x == x ? 0 : x;
    case PT_ACTIVATION_EXP:
      return expf (x);
    case PT_ACTIVATION_LOG:
      return logf (x);
    case PT_ACTIVATION_SQRT:
      return sqrtf (x);
    case PT_ACTIVATION_RECIPROCAL:
      return 1 / x;
    case PT_ACTIVATION_ABS:
      return fabsf (x);
    case PT_ACTIVATION_NEG:
      return -x;
    case PT_ACTIVATION_ERF:
      return erff (x);
    case PT_ACTIVATION_SIN:
      return sinf (x);
    case PT_ACTIVATION_COS:
      return cosf (x);
    case PT_ACTIVATION_TAN:
      return tanf (x);
    case PT_ACTIVATION_ASIN:
      return asinf (x);
    case PT_ACTIVATION_ACOS:
      return acosf (x);
    case PT_ACTIVATION_ATAN:
      return atanf (x);
    case PT_ACTIVATION_SINH:
      return sinhf (x);
    case PT_ACTIVATION_COSH:
      return coshf (x);
    case PT_ACTIVATION_ASINH:
      return asinhf (x);
    case PT_ACTIVATION_ACOSH:
      return acoshf (x);
    case PT_ACTIVATION_ATANH:
      return atanhf (x);
    case PT_ACTIVATION_FLOOR:
      return floorf (x);
    case PT_ACTIVATION_CEIL:
      return ceilf (x);
    case PT_ACTIVATION_ROUND:
      return rintf (x);
    case PT_ACTIVATION_SIGN:
      return x > 0 ? 1 : x < 0 ? -1 : x == x ? 0 : x;
    case PT_ACTIVATION_TRUNC:
      return truncf (x);
    default:
      return x;
  }
}

/* The same where the kind is known at run time only. */
static PT_HD gfloat
pt_activate_as (PtActivation kind, gfloat x, gfloat alpha)
{
#define USE(kind) \
    case PT_ACTIVATION_ ## kind: \
      return pt_activate < PT_ACTIVATION_ ## kind > (x, alpha);

  switch (kind) {
    PT_FUSED_ACTIVATIONS (USE)
    default:
      return x;
  }
#undef USE
}

/* dy f'(x), of v = y where pt_activation_uses_y(), else of v = x. */
template < PtActivation kind > PT_HD gfloat
pt_activate_gradient (gfloat v, gfloat dy, gfloat alpha, gfloat beta)
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
    case PT_ACTIVATION_RELU6:
      return v > 0 && v < 6 ? dy : 0;
    case PT_ACTIVATION_HARD_SWISH:
      return v < -3 ? 0 : v <= 3 ? dy * (v / 3 + 0.5f) : dy;
    case PT_ACTIVATION_MISH:
      s = pt_mish_n (v);
      return dy * (s / (s + 2) + v / (1 + expf (-v)) * 4 * (s + 1) / (s + 2)
          / (s + 2));
    case PT_ACTIVATION_ELU:
      return v > 0 ? dy : dy * (v + alpha);
    case PT_ACTIVATION_SELU:
      return v > 0 ? PT_SELU_SCALE * dy : dy * (v + PT_SELU_ALPHA);
    case PT_ACTIVATION_CELU:
      return v > 0 ? dy : dy * (v / alpha + 1);
    case PT_ACTIVATION_SOFTPLUS:
      return alpha * v > beta ? dy : dy / (1 + expf (-alpha * v));
    case PT_ACTIVATION_SOFTSIGN:
      return dy / ((1 + fabsf (v)) * (1 + fabsf (v)));
    case PT_ACTIVATION_HARD_SIGMOID:
      return v > 0 && v < 1 ? alpha * dy : 0;
    case PT_ACTIVATION_HARD_TANH:
      return v > alpha && v < beta ? dy : 0;
    case PT_ACTIVATION_CLIP:
      return v >= alpha && v <= beta ? dy : 0;
    case PT_ACTIVATION_THRESHOLD:
      return v <= alpha ? 0 : dy;
    case PT_ACTIVATION_SHRINK:
      return fabsf (v) <= alpha ? 0 : dy;
    case PT_ACTIVATION_EXP:
      return dy * v;
    case PT_ACTIVATION_LOG:
      return dy / v;
    case PT_ACTIVATION_SQRT:
      return dy / (2 * v);
    case PT_ACTIVATION_RECIPROCAL:
      return -dy * v * v;
    case PT_ACTIVATION_ABS:
      return v > 0 ? dy : v < 0 ? -dy : 0;
    case PT_ACTIVATION_NEG:
      return -dy;
    case PT_ACTIVATION_ERF:
      return dy * 1.12837917f * expf (-v * v);
    case PT_ACTIVATION_SIN:
      return dy * cosf (v);
    case PT_ACTIVATION_COS:
      return -dy * sinf (v);
    case PT_ACTIVATION_TAN:
      return dy * (1 + v * v);
    case PT_ACTIVATION_ASIN:
      return dy / sqrtf ((1 - v) * (1 + v));
    case PT_ACTIVATION_ACOS:
      return -dy / sqrtf ((1 - v) * (1 + v));
    case PT_ACTIVATION_ATAN:
      return dy / (1 + v * v);
    case PT_ACTIVATION_SINH:
      return dy * coshf (v);
    case PT_ACTIVATION_COSH:
      return dy * sinhf (v);
    case PT_ACTIVATION_ASINH:
      return dy / sqrtf (v * v + 1);
    case PT_ACTIVATION_ACOSH:
      return dy / sqrtf ((v - 1) * (v + 1));
    case PT_ACTIVATION_ATANH:
      return dy / ((1 - v) * (1 + v));
    case PT_ACTIVATION_FLOOR:
    case PT_ACTIVATION_CEIL:
    case PT_ACTIVATION_ROUND:
    case PT_ACTIVATION_SIGN:
    case PT_ACTIVATION_TRUNC:
      return 0;
    default:
      return dy;
  }
}
