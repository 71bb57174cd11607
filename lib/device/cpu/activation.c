/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <float.h>

#include "device/cpu/kernel.h"

#define SQRT_1_2 0.70710678f
#define SQRT_2_PI 0.79788456f
#define GELU_CUBIC 0.044715f

typedef struct
{
  gfloat alpha, beta;
  const gfloat *x;              /* or y, for the backward ones */
  const gfloat *dy;
  gfloat *out;
} ActivationJob;

PT_INLINE gfloat
activation_sigmoid (gfloat x)
{
  return 1.f / (1.f + pt_expf (-x));
}

/* Both branches are computed, which lets the loop vectorise. Coefficients of
 * the polynomials here: Moshier, Cephes. */
PT_INLINE gfloat
activation_tanh (gfloat x)
{
  gfloat a = fabsf (x), s = x * x, p;
  gfloat far = copysignf (1.f - 2.f / (pt_expf (2.f * a) + 1.f), x);

  p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  p = p * s * x + x;
  return a < 0.625f ? p : far;
}

PT_INLINE gfloat
activation_erfc_far (gfloat a)
{
  gfloat q = 1.f / a, s = q * q, p, r;

  p = 2.326819970068386e-2f;
  p = p * s - 1.387039388740657e-1f;
  p = p * s + 3.687424674597105e-1f;
  p = p * s - 5.824733027278666e-1f;
  p = p * s + 6.210004621745983e-1f;
  p = p * s - 4.944515323274145e-1f;
  p = p * s + 3.404879937665872e-1f;
  p = p * s - 2.741127028184656e-1f;
  p = p * s + 5.638259427386472e-1f;
  r = -1.047766399936249e+1f;
  r = r * s + 1.297719955372516e+1f;
  r = r * s - 7.495518717768503e+0f;
  r = r * s + 2.921019019210786e+0f;
  r = r * s - 1.015265279202700e+0f;
  r = r * s + 4.218463358204948e-1f;
  r = r * s - 2.820767439740514e-1f;
  r = r * s + 5.641895067754075e-1f;
  return pt_expf (-a * a) * q * (a < 2.f ? p : r);
}

/* For |z| < 1. */
PT_INLINE gfloat
activation_erf_near (gfloat z)
{
  gfloat s = z * z, p;

  p = 7.853861353153693e-5f;
  p = p * s - 8.010193625184903e-4f;
  p = p * s + 5.188327685732524e-3f;
  p = p * s - 2.685381193529856e-2f;
  p = p * s + 1.128358514861418e-1f;
  p = p * s - 3.761262582423300e-1f;
  p = p * s + 1.128379165726710e+0f;
  return z * p;
}

PT_INLINE gfloat
activation_erf (gfloat x)
{
  gfloat a = fabsf (x);
  gfloat far = 1.f - activation_erfc_far (a < 1.f ? 1.f : a);

  return a < 1.f ? activation_erf_near (x) : copysignf (far, x);
}

/* The normal distribution function, 1/2 erfc (-x / sqrt 2). */
PT_INLINE gfloat
activation_phi (gfloat x)
{
  gfloat z = x * SQRT_1_2, a = fabsf (z);
  gfloat far = 0.5f * activation_erfc_far (a < 1.f ? 1.f : a);

  far = z < 0.f ? far : 1.f - far;
  return a < 1.f ? 0.5f + 0.5f * activation_erf_near (z) : far;
}

PT_INLINE gfloat
activation_gelu_tanh (gfloat x)
{
  return activation_sigmoid (2.f * SQRT_2_PI * (x + GELU_CUBIC * x * x * x));
}

PT_INLINE gfloat
activation_gelu_slope (gfloat x)
{
  return activation_phi (x)
      + x * 0.5f * SQRT_2_PI * pt_expf (-0.5f * x * x);
}

PT_INLINE gfloat
activation_gelu_tanh_slope (gfloat x)
{
  gfloat s = activation_gelu_tanh (x);

  return s + x * s * (1.f - s) * 2.f * SQRT_2_PI
      * (1.f + 3.f * GELU_CUBIC * x * x);
}

PT_INLINE gfloat
activation_silu_slope (gfloat x)
{
  gfloat s = activation_sigmoid (x);

  return s + x * s * (1.f - s);
}

/* exp (x) - 1 for x <= 0: 2^k (e^r - 1) + (2^k - 1), as in pt_expf(). */
PT_INLINE gfloat
activation_expm1 (gfloat x)
{
  union { gfloat f; gint32 i; } t, a;
  gfloat k, r, p;

  x = x < -87.f ? -87.f : x;
  x = x > 0.f ? 0.f : x;
  t.f = x * 1.44269504f + 12582912.f;
  k = t.f - 12582912.f;
  r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  a.i = (guint32) (t.i - 0x4b400000 + 127) << 23;
  return (p * r * r + r) * a.f + (a.f - 1.f);
}

/* Of a normal number, x = 2^k (1 + f) with 1 + f from sqrt (1/2) to sqrt (2). */
PT_INLINE gfloat
activation_log_normal (gfloat x)
{
  union { gfloat f; guint32 u; } t, m;
  gfloat k, f, p;
  gint32 e;

  t.f = x;
  e = (gint32) (t.u - 0x3f3504f3u) >> 23;
  m.u = t.u - ((guint32) e << 23);
  k = e;
  f = m.f - 1.f;
  p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  p = p * f * f * f - k * 2.12194440e-4f - 0.5f * f * f + f;
  return p + k * 0.693359375f;
}

PT_INLINE gfloat
activation_log (gfloat x)
{
  gfloat p = activation_log_normal (x);

  p = x > FLT_MAX ? x : p;
  p = x < FLT_MIN ? -INFINITY : p;
  return x < 0.f || x != x ? NAN : p;
}

/* log (1 + t) for t from 0 to 1; what 1 + t rounds away is put back. */
PT_INLINE gfloat
activation_log1p (gfloat t)
{
  gfloat u = 1.f + t;

  return activation_log_normal (u) + (t - (u - 1.f)) / u;
}

PT_INLINE gfloat
activation_softplus (gfloat x, gfloat beta, gfloat threshold)
{
  gfloat z = beta * x, soft = activation_log1p (pt_expf (-fabsf (z)));

  soft = (z > 0.f ? z + soft : soft) / beta;
  return z > threshold ? x : soft;
}

/* tanh (log (1 + e^x)) = n / (n + 2), n = e^x (e^x + 2) */
PT_INLINE gfloat
activation_mish (gfloat x)
{
  gfloat e = pt_expf (x > 20.f ? 20.f : x), n = e * (e + 2.f);

  return n / (n + 2.f);
}

PT_INLINE gfloat
activation_mish_slope (gfloat x)
{
  gfloat e = pt_expf (x > 20.f ? 20.f : x), n = e * (e + 2.f);
  gfloat d = 1.f / (n + 2.f), w = n * d;

  return w + x * e / (1.f + e) * 4.f * (n + 1.f) * d * d;
}

/* NaN stays; where low > high it is high, as in torch.clamp(). */
PT_INLINE gfloat
activation_clip (gfloat x, gfloat low, gfloat high)
{
  x = x < low ? low : x;
  return x > high ? high : x;
}

PT_INLINE gfloat
activation_shrink (gfloat x, gfloat lambd, gfloat bias)
{
  gfloat y = x > lambd ? x - bias : x < -lambd ? x + bias : 0.f;

  return x != x ? x : y;
}

PT_INLINE gfloat
activation_sign (gfloat x)
{
  gfloat y = x > 0.f ? 1.f : x < 0.f ? -1.f : 0.f;

  return x != x ? x : y;
}

/* sin (x + @quarter pi / 2) for |x| < SINE_FAR: the rest of x after quarters
 * of a turn is taken in double. */
PT_INLINE gfloat
activation_sine (gfloat x, gint32 quarter)
{
  const gdouble magic = 6755399441055744.;      /* 1.5 2^52 */
  gdouble turn = (x * M_2_PI + magic) - magic;
  gint32 n = (gint32) turn + quarter;
  gfloat r = x - turn * M_PI_2, s = r * r, p, q;

  p = -1.9515295891e-4f;
  p = p * s + 8.3321608736e-3f;
  p = p * s - 1.6666654611e-1f;
  p = p * s * r + r;
  q = 2.443315711809948e-5f;
  q = q * s - 1.388731625493765e-3f;
  q = q * s + 4.166664568298827e-2f;
  q = q * s * s - 0.5f * s + 1.f;
  p = n & 1 ? q : p;
  return n & 2 ? -p : p;
}

/* Defines activation_<name>: out[i] = @expression of v = x[i]. */
#define ACTIVATION(name, expression) \
static PT_CLONES void \
activation_##name (gconstpointer data, gint64 begin, gint64 end) \
{ \
  const ActivationJob *job = data; \
  const gfloat alpha = job->alpha, beta = job->beta; \
  const gfloat *x = job->x, *dy = job->dy; \
  gfloat *out = job->out; \
\
  (void) alpha; \
  (void) beta; \
  (void) dy; \
  _Pragma ("omp simd") \
  for (gint64 i = begin; i < end; i++) { \
    gfloat v = x[i]; \
    out[i] = (expression); \
  } \
}

#define SELU_SCALE 1.05070099f
#define SELU_ALPHA 1.75809934f  /* times the scale */

#define PAIR(name, forward, backward) \
ACTIVATION (name##_y, forward) \
ACTIVATION (name##_dx, backward)

/* y of v = x, and dx of v = x or y. */
PAIR (none, v, ((void) v, dy[i]))
PAIR (relu, v < 0.f ? 0.f : v, v > 0.f ? dy[i] : 0.f)
PAIR (leaky, v < 0.f ? alpha * v : v, v > 0.f ? dy[i] : alpha * dy[i])
PAIR (sigmoid, activation_sigmoid (v), dy[i] * v * (1.f - v))
PAIR (tanh, activation_tanh (v), dy[i] * (1.f - v * v))
PAIR (gelu, v * activation_phi (v), dy[i] * activation_gelu_slope (v))
PAIR (gelu_tanh, v * activation_gelu_tanh (v),
    dy[i] * activation_gelu_tanh_slope (v))
PAIR (silu, v * activation_sigmoid (v), dy[i] * activation_silu_slope (v))
PAIR (relu6, activation_clip (v, 0.f, 6.f),
    v > 0.f && v < 6.f ? dy[i] : 0.f)
PAIR (hard_swish, v * activation_clip (v + 3.f, 0.f, 6.f) / 6.f,
    v < -3.f ? 0.f : v <= 3.f ? dy[i] * (v / 3.f + 0.5f) : dy[i])
PAIR (mish, v * activation_mish (v), dy[i] * activation_mish_slope (v))
PAIR (elu, v > 0.f ? v : alpha * activation_expm1 (v),
    v > 0.f ? dy[i] : dy[i] * (v + alpha))
PAIR (selu, v > 0.f ? SELU_SCALE * v : SELU_ALPHA * activation_expm1 (v),
    v > 0.f ? SELU_SCALE * dy[i] : dy[i] * (v + SELU_ALPHA))
PAIR (celu, v > 0.f ? v : alpha * activation_expm1 (v / alpha),
    v > 0.f ? dy[i] : dy[i] * (v / alpha + 1.f))
PAIR (softplus, activation_softplus (v, alpha, beta),
    alpha * v > beta ? dy[i] : dy[i] * activation_sigmoid (alpha * v))
PAIR (softsign, v / (1.f + fabsf (v)),
    dy[i] / ((1.f + fabsf (v)) * (1.f + fabsf (v))))
PAIR (hard_sigmoid, activation_clip (alpha * v + beta, 0.f, 1.f),
    v > 0.f && v < 1.f ? alpha * dy[i] : 0.f)
PAIR (hard_tanh, activation_clip (v, alpha, beta),
    v > alpha && v < beta ? dy[i] : 0.f)
PAIR (clip, activation_clip (v, alpha, beta),
    v >= alpha && v <= beta ? dy[i] : 0.f)
PAIR (threshold, v <= alpha ? beta : v, v <= alpha ? 0.f : dy[i])
PAIR (shrink, activation_shrink (v, alpha, beta),
    fabsf (v) <= alpha ? 0.f : dy[i])
PAIR (exp, pt_expf (v), dy[i] * v)
PAIR (log, activation_log (v), dy[i] / v)
PAIR (sqrt, sqrtf (v), dy[i] / (2.f * v))
PAIR (reciprocal, 1.f / v, -dy[i] * v * v)
PAIR (abs, fabsf (v), v > 0.f ? dy[i] : v < 0.f ? -dy[i] : 0.f)
PAIR (neg, -v, ((void) v, -dy[i]))
PAIR (erf, activation_erf (v), dy[i] * 1.12837917f * pt_expf (-v * v))
PAIR (sin_near, activation_sine (v, 0), dy[i] * activation_sine (v, 1))
PAIR (cos_near, activation_sine (v, 1), -dy[i] * activation_sine (v, 0))
/* of any size: libm's */
PAIR (sin_far, sinf (v), dy[i] * cosf (v))
PAIR (cos_far, cosf (v), -dy[i] * sinf (v))
PAIR (tan, tanf (v), dy[i] * (1.f + v * v))
PAIR (asin, asinf (v), dy[i] / sqrtf ((1.f - v) * (1.f + v)))
PAIR (acos, acosf (v), -dy[i] / sqrtf ((1.f - v) * (1.f + v)))
PAIR (atan, atanf (v), dy[i] / (1.f + v * v))
PAIR (sinh, sinhf (v), dy[i] * coshf (v))
PAIR (cosh, coshf (v), dy[i] * sinhf (v))
PAIR (asinh, asinhf (v), dy[i] / sqrtf (v * v + 1.f))
PAIR (acosh, acoshf (v), dy[i] / sqrtf ((v - 1.f) * (v + 1.f)))
PAIR (atanh, atanhf (v), dy[i] / ((1.f - v) * (1.f + v)))
ACTIVATION (floor_y, floorf (v))
ACTIVATION (ceil_y, ceilf (v))
ACTIVATION (round_y, rintf (v))
ACTIVATION (sign_y, activation_sign (v))
ACTIVATION (trunc_y, truncf (v))
ACTIVATION (zero_dx, ((void) v, 0.f))

#define SINE_FAR 1e8f
#define SINE_CHUNK 1024

/* FALSE of NaN, too. */
static PT_CLONES gboolean
activation_are_near (const gfloat *x, gint64 n)
{
  gint32 far = 0;

#pragma omp simd reduction (|:far)
  for (gint64 i = 0; i < n; i++)
    far |= !(fabsf (x[i]) < SINE_FAR);
  return far == 0;
}

/* Defines activation_<name>, of which there are two. */
#define BY_SIZE(name, form) \
static void \
activation_##name##_##form (gconstpointer data, gint64 begin, gint64 end) \
{ \
  const ActivationJob *job = data; \
\
  for (gint64 i = begin, n; i < end; i += n) { \
    n = MIN (SINE_CHUNK, end - i); \
    if (activation_are_near (job->x + i, n)) \
      activation_##name##_near_##form (data, i, i + n); \
    else \
      activation_##name##_far_##form (data, i, i + n); \
  } \
}

BY_SIZE (sin, y)
BY_SIZE (sin, dx)
BY_SIZE (cos, y)
BY_SIZE (cos, dx)

#define BOTH(name) { activation_##name##_y, activation_##name##_dx }

static const struct
{
  PtRangeFunc y, dx;
} activation_funcs[PT_N_ACTIVATIONS] = {
  [PT_ACTIVATION_NONE] = BOTH (none),
  [PT_ACTIVATION_RELU] = BOTH (relu),
  [PT_ACTIVATION_LEAKY_RELU] = BOTH (leaky),
  [PT_ACTIVATION_SIGMOID] = BOTH (sigmoid),
  [PT_ACTIVATION_TANH] = BOTH (tanh),
  [PT_ACTIVATION_GELU] = BOTH (gelu),
  [PT_ACTIVATION_GELU_TANH] = BOTH (gelu_tanh),
  [PT_ACTIVATION_SILU] = BOTH (silu),
  [PT_ACTIVATION_RELU6] = BOTH (relu6),
  [PT_ACTIVATION_HARD_SWISH] = BOTH (hard_swish),
  [PT_ACTIVATION_MISH] = BOTH (mish),
  [PT_ACTIVATION_ELU] = BOTH (elu),
  [PT_ACTIVATION_SELU] = BOTH (selu),
  [PT_ACTIVATION_CELU] = BOTH (celu),
  [PT_ACTIVATION_SOFTPLUS] = BOTH (softplus),
  [PT_ACTIVATION_SOFTSIGN] = BOTH (softsign),
  [PT_ACTIVATION_HARD_SIGMOID] = BOTH (hard_sigmoid),
  [PT_ACTIVATION_HARD_TANH] = BOTH (hard_tanh),
  [PT_ACTIVATION_CLIP] = BOTH (clip),
  [PT_ACTIVATION_THRESHOLD] = BOTH (threshold),
  [PT_ACTIVATION_SHRINK] = BOTH (shrink),
  [PT_ACTIVATION_EXP] = BOTH (exp),
  [PT_ACTIVATION_LOG] = BOTH (log),
  [PT_ACTIVATION_SQRT] = BOTH (sqrt),
  [PT_ACTIVATION_RECIPROCAL] = BOTH (reciprocal),
  [PT_ACTIVATION_ABS] = BOTH (abs),
  [PT_ACTIVATION_NEG] = BOTH (neg),
  [PT_ACTIVATION_ERF] = BOTH (erf),
  [PT_ACTIVATION_SIN] = BOTH (sin),
  [PT_ACTIVATION_COS] = BOTH (cos),
  [PT_ACTIVATION_TAN] = BOTH (tan),
  [PT_ACTIVATION_ASIN] = BOTH (asin),
  [PT_ACTIVATION_ACOS] = BOTH (acos),
  [PT_ACTIVATION_ATAN] = BOTH (atan),
  [PT_ACTIVATION_SINH] = BOTH (sinh),
  [PT_ACTIVATION_COSH] = BOTH (cosh),
  [PT_ACTIVATION_ASINH] = BOTH (asinh),
  [PT_ACTIVATION_ACOSH] = BOTH (acosh),
  [PT_ACTIVATION_ATANH] = BOTH (atanh),
  [PT_ACTIVATION_FLOOR] = { activation_floor_y, activation_zero_dx },
  [PT_ACTIVATION_CEIL] = { activation_ceil_y, activation_zero_dx },
  [PT_ACTIVATION_ROUND] = { activation_round_y, activation_zero_dx },
  [PT_ACTIVATION_SIGN] = { activation_sign_y, activation_zero_dx },
  [PT_ACTIVATION_TRUNC] = { activation_trunc_y, activation_zero_dx },
};

void
pt_cpu_activate (PtActivation kind, gfloat alpha, gfloat *y, gint64 n)
{
  ActivationJob job = { alpha, 0, y, NULL, y };

  activation_funcs[kind].y (&job, 0, n);
}

/* A transcendental is worth about ten plain elements. */
static gint64
activation_cost (const PtOp *op)
{
  switch (op->desc.activation.kind) {
    case PT_ACTIVATION_SIGMOID ... PT_ACTIVATION_SILU:
    case PT_ACTIVATION_MISH ... PT_ACTIVATION_SOFTPLUS:
    case PT_ACTIVATION_EXP:
    case PT_ACTIVATION_LOG:
    case PT_ACTIVATION_ERF:
    case PT_ACTIVATION_SIN:
    case PT_ACTIVATION_COS:
      return 8;
    case PT_ACTIVATION_TAN ... PT_ACTIVATION_ATANH:
      return 32;
    default:
      return 1;
  }
}

static gboolean
activation_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtActivationDesc *desc = &op->desc.activation;
  ActivationJob job = { desc->alpha, desc->beta, args->x->data, NULL,
    args->y->data
  };

  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x), activation_cost (op),
      activation_funcs[desc->kind].y, &job);
  return TRUE;
}

static gboolean
activation_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtActivationDesc *desc = &op->desc.activation;
  const PtTensor *from = pt_activation_uses_y (desc->kind) ? args->y :
      pt_activation_uses_x (desc->kind) ? args->x : args->dy;
  ActivationJob job = { desc->alpha, desc->beta, from->data, args->dy->data,
    args->dx->data
  };

  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x), activation_cost (op),
      activation_funcs[desc->kind].dx, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_activation = {
  .plan = pt_cpu_plan_nothing,
  .run = activation_run,
};

const PtOpImpl pt_cpu_activation_backward = {
  .plan = pt_cpu_plan_nothing,
  .run = activation_run_backward,
};
