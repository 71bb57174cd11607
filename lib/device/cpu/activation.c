/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

#define SQRT_1_2 0.70710678f
#define SQRT_2_PI 0.79788456f
#define GELU_CUBIC 0.044715f

typedef struct
{
  gfloat alpha;
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

/* The normal distribution function, 1/2 erfc (-x / sqrt 2). */
PT_INLINE gfloat
activation_phi (gfloat x)
{
  gfloat z = x * SQRT_1_2, a = fabsf (z), s = z * z, p;
  gfloat far = 0.5f * activation_erfc_far (a < 1.f ? 1.f : a);

  p = 7.853861353153693e-5f;
  p = p * s - 8.010193625184903e-4f;
  p = p * s + 5.188327685732524e-3f;
  p = p * s - 2.685381193529856e-2f;
  p = p * s + 1.128358514861418e-1f;
  p = p * s - 3.761262582423300e-1f;
  p = p * s + 1.128379165726710e+0f;
  far = z < 0.f ? far : 1.f - far;
  return a < 1.f ? 0.5f + 0.5f * z * p : far;
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

/* Defines activation_<name>: out[i] = @expression of v = x[i]. */
#define ACTIVATION(name, expression) \
static PT_CLONES void \
activation_##name (gconstpointer data, gint64 begin, gint64 end) \
{ \
  const ActivationJob *job = data; \
  const gfloat alpha = job->alpha, *x = job->x, *dy = job->dy; \
  gfloat *out = job->out; \
\
  (void) alpha; \
  (void) dy; \
  _Pragma ("omp simd") \
  for (gint64 i = begin; i < end; i++) { \
    gfloat v = x[i]; \
    out[i] = (expression); \
  } \
}

ACTIVATION (none_y, v)
ACTIVATION (relu_y, v < 0.f ? 0.f : v)
ACTIVATION (leaky_y, v < 0.f ? alpha * v : v)
ACTIVATION (sigmoid_y, activation_sigmoid (v))
ACTIVATION (tanh_y, activation_tanh (v))
ACTIVATION (gelu_y, v * activation_phi (v))
ACTIVATION (gelu_tanh_y, v * activation_gelu_tanh (v))
ACTIVATION (silu_y, v * activation_sigmoid (v))
ACTIVATION (none_dx, ((void) v, dy[i]))
ACTIVATION (relu_dx, v > 0.f ? dy[i] : 0.f)
ACTIVATION (leaky_dx, v > 0.f ? dy[i] : alpha * dy[i])
ACTIVATION (sigmoid_dx, dy[i] * v * (1.f - v))
ACTIVATION (tanh_dx, dy[i] * (1.f - v * v))
ACTIVATION (gelu_dx, dy[i] * activation_gelu_slope (v))
ACTIVATION (gelu_tanh_dx, dy[i] * activation_gelu_tanh_slope (v))
ACTIVATION (silu_dx, dy[i] * activation_silu_slope (v))

static const PtRangeFunc activation_forward[PT_N_ACTIVATIONS] = {
  activation_none_y, activation_relu_y, activation_leaky_y,
  activation_sigmoid_y, activation_tanh_y, activation_gelu_y,
  activation_gelu_tanh_y, activation_silu_y,
};

static const PtRangeFunc activation_backward[PT_N_ACTIVATIONS] = {
  activation_none_dx, activation_relu_dx, activation_leaky_dx,
  activation_sigmoid_dx, activation_tanh_dx, activation_gelu_dx,
  activation_gelu_tanh_dx, activation_silu_dx,
};

void
pt_cpu_activate (PtActivation kind, gfloat alpha, gfloat *y, gint64 n)
{
  ActivationJob job = { alpha, y, NULL, y };

  activation_forward[kind] (&job, 0, n);
}

/* A transcendental is worth about ten plain elements. */
static gint64
activation_cost (const PtOp *op)
{
  return op->desc.activation.kind < PT_ACTIVATION_SIGMOID ? 1 : 8;
}

static gboolean
activation_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  ActivationJob job = { op->desc.activation.alpha, args->x->data, NULL,
    args->y->data
  };

  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x), activation_cost (op),
      activation_forward[op->desc.activation.kind], &job);
  return TRUE;
}

static gboolean
activation_run_backward (PtOp *op, const PtOpArgs *args, GError **error)
{
  PtActivation kind = op->desc.activation.kind;
  const PtTensor *from = pt_activation_uses_y (kind) ? args->y : args->x;
  ActivationJob job = { op->desc.activation.alpha,
    from ? from->data : args->dy->data, args->dy->data, args->dx->data
  };

  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x), activation_cost (op),
      activation_backward[kind], &job);
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
