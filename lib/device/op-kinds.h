/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What operations of a type choose between. */

typedef enum
{
  PT_ACTIVATION_NONE,
  PT_ACTIVATION_RELU,
  PT_ACTIVATION_LEAKY_RELU,     /* alpha = negative_slope */
  PT_ACTIVATION_SIGMOID,
  PT_ACTIVATION_TANH,
  PT_ACTIVATION_GELU,           /* the erf form, PyTorch's approximate='none' */
  PT_ACTIVATION_GELU_TANH,      /* approximate='tanh' */
  PT_ACTIVATION_SILU,
  PT_ACTIVATION_RELU6,          /* min (max (x, 0), 6) */
  PT_ACTIVATION_HARD_SWISH,     /* x min (max (x + 3, 0), 6) / 6 */
  PT_ACTIVATION_MISH,           /* x tanh (log (1 + exp (x))) */
  /* those above may end other operations; those below stand alone */
  PT_N_FUSED_ACTIVATIONS,
  PT_ACTIVATION_ELU = PT_N_FUSED_ACTIVATIONS,   /* x, or alpha (e^x - 1) */
  PT_ACTIVATION_SELU,
  PT_ACTIVATION_CELU,           /* x, or alpha (e^(x / alpha) - 1) */
  PT_ACTIVATION_SOFTPLUS,       /* log (1 + e^(alpha x)) / alpha, or x where
                                 * alpha x > beta */
  PT_ACTIVATION_SOFTSIGN,       /* x / (1 + |x|) */
  PT_ACTIVATION_HARD_SIGMOID,   /* min (max (alpha x + beta, 0), 1) */
  PT_ACTIVATION_HARD_TANH,      /* x from alpha to beta; PyTorch's derivative
                                 * at the bounds is 0 */
  PT_ACTIVATION_CLIP,           /* the same, and there it is 1 */
  PT_ACTIVATION_THRESHOLD,      /* x where x > alpha, or beta */
  PT_ACTIVATION_SHRINK,         /* x - beta above alpha, x + beta below -alpha,
                                 * or 0 */
  PT_ACTIVATION_EXP,
  PT_ACTIVATION_LOG,
  PT_ACTIVATION_SQRT,
  PT_ACTIVATION_RECIPROCAL,
  PT_ACTIVATION_ABS,
  PT_ACTIVATION_NEG,
  PT_ACTIVATION_ERF,
  PT_ACTIVATION_SIN,
  PT_ACTIVATION_COS,
  PT_ACTIVATION_TAN,
  PT_ACTIVATION_ASIN,
  PT_ACTIVATION_ACOS,
  PT_ACTIVATION_ATAN,
  PT_ACTIVATION_SINH,
  PT_ACTIVATION_COSH,
  PT_ACTIVATION_ASINH,
  PT_ACTIVATION_ACOSH,
  PT_ACTIVATION_ATANH,
  PT_ACTIVATION_FLOOR,          /* from here on the derivative is 0 */
  PT_ACTIVATION_CEIL,
  PT_ACTIVATION_ROUND,          /* halves to even */
  PT_ACTIVATION_SIGN,
  PT_ACTIVATION_TRUNC,          /* towards 0 */
  PT_N_ACTIVATIONS,
} PtActivation;

/* What the derivative is worked out from; where y will do, x need not be
 * kept. */
gboolean pt_activation_uses_x (PtActivation activation);
gboolean pt_activation_uses_y (PtActivation activation);

/* Of those that may end other operations, and of all; NULL-terminated. */
extern const gchar *const pt_activation_names[];
extern const gchar *const pt_all_activation_names[];

typedef enum
{
  PT_BINARY_ADD,
  PT_BINARY_SUB,
  PT_BINARY_MUL,
  PT_BINARY_DIV,
  PT_BINARY_POW,
  PT_BINARY_MIN,                /* NaN if either is, equals share the gradient:
                                 * as torch.minimum */
  PT_BINARY_MAX,
  PT_BINARY_PRELU,              /* x, or w x where x <= 0 */
  PT_BINARY_MASK,               /* x, or 0 where w is 0, which has no gradient */
  PT_BINARY_EQ,                 /* from here on 1 or 0: x = w; no gradient */
  PT_BINARY_LT,                 /* x < w */
  PT_BINARY_LE,                 /* x <= w */
  PT_N_BINARIES,
} PtBinary;

typedef enum
{
  PT_POOL_MAX,
  PT_POOL_AVG,
  PT_POOL_LP,                   /* (sum |x|^p)^(1/p) */
} PtPoolKind;

typedef enum
{
  PT_POINTWISE_MSE,             /* mean (x - t)^2 */
  PT_POINTWISE_L1,              /* mean |x - t|, derivative 0 at 0 */
  PT_POINTWISE_CHARBONNIER,     /* mean sqrt ((x - t)^2 + eps^2) */
} PtPointwiseLoss;

typedef enum
{
  PT_UPDATE_SGD,                /* slots: momentum_buffer if momentum */
  PT_UPDATE_RMSPROP,            /* square_avg [momentum_buffer] [grad_avg] */
  PT_UPDATE_ADAM,               /* exp_avg exp_avg_sq [max_exp_avg_sq] */
  PT_UPDATE_ADAMW,              /* the same */
  PT_UPDATE_ADAGRAD,            /* sum; to what it is before the first step
                                 * comes initial */
} PtUpdateKind;

#define PT_UPDATE_MAX_SLOTS 3

/* What a shape says: matrices in its last two axes; or one row each, or one
 * column, in its last. */
typedef enum
{
  PT_MATRIX,
  PT_MATRIX_ROW,
  PT_MATRIX_COLUMN,
} PtMatrixForm;

typedef enum
{
  PT_REDUCE_SUM,
  PT_REDUCE_MEAN,
  PT_REDUCE_MAX,                /* those that share it share the gradient */
  PT_REDUCE_MIN,
  PT_REDUCE_PROD,
  PT_REDUCE_L1,                 /* sum |x| */
  PT_REDUCE_L2,                 /* sqrt (sum x^2) */
  PT_REDUCE_SUM_SQUARE,
  PT_REDUCE_LOG_SUM,
  PT_REDUCE_LOG_SUM_EXP,
  PT_REDUCE_ARGMAX,             /* the index as a float, along one axis; no */
  PT_REDUCE_ARGMIN,             /* gradient */
} PtReduceKind;

static inline gboolean
pt_reduce_is_arg (PtReduceKind kind)
{
  return kind == PT_REDUCE_ARGMAX || kind == PT_REDUCE_ARGMIN;
}

/* What the gradient hangs on besides dy. */
static inline gboolean
pt_reduce_uses_x (PtReduceKind kind)
{
  return kind != PT_REDUCE_SUM && kind != PT_REDUCE_MEAN
      && kind != PT_REDUCE_LOG_SUM && !pt_reduce_is_arg (kind);
}

static inline gboolean
pt_reduce_uses_y (PtReduceKind kind)
{
  return kind == PT_REDUCE_LOG_SUM || (pt_reduce_uses_x (kind)
      && kind != PT_REDUCE_L1 && kind != PT_REDUCE_SUM_SQUARE);
}

G_END_DECLS
