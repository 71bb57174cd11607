/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/tensor.h"
#include "partime/device.h"

G_BEGIN_DECLS

/* The closed set of operations. Layers, losses and optimizers are written in
 * these; backends implement these. Shapes are logical (N, C, H, W) with N = 1,
 * tensors are float32 and channels-last unless said otherwise. The comment
 * gives the fields of PtOpArgs that are read -> written. "acc" adds. */
typedef enum
{
  PT_OP_CONV,                   /* x w [b] [add] -> y, with activation of the
                                 * sum of all */
  PT_OP_CONV_DATA,              /* dy w -> dx */
  PT_OP_CONV_WEIGHTS,           /* x dy -> dw [db] */
  PT_OP_CONV_TRANSPOSE,         /* x w [b] -> y, with activation: what
                                 * PT_OP_CONV_DATA makes of x as its dy */
  PT_OP_CONV_TRANSPOSE_DATA,    /* dy w -> dx */
  PT_OP_CONV_TRANSPOSE_WEIGHTS, /* x dy -> dw [db] */
  PT_OP_LINEAR,                 /* x w [b] -> y over the last axis, with
                                 * activation */
  PT_OP_LINEAR_DATA,            /* dy w -> dx */
  PT_OP_LINEAR_WEIGHTS,         /* x dy -> dw [db] */
  PT_OP_ACTIVATION,             /* x -> y; x may be y */
  PT_OP_ACTIVATION_BACKWARD,    /* dy, y or x -> dx; dy may be dx */
  PT_OP_POOL,                   /* x -> y [indices] */
  PT_OP_POOL_BACKWARD,          /* dy [indices], LP: x y -> dx */
  PT_OP_BATCH_NORM,             /* x w b mean variance -> y saved_mean
                                 * saved_variance, with batch statistics also
                                 * mean and variance when update_running */
  PT_OP_BATCH_NORM_BACKWARD,    /* x w dy saved_mean saved_variance
                                 * -> dx dw db */
  PT_OP_NORMALIZE,              /* x [w b] -> y [saved_mean saved_variance] */
  PT_OP_NORMALIZE_BACKWARD,     /* x [w] dy saved_mean saved_variance
                                 * -> dx [dw db] */
  PT_OP_LRN,                    /* x -> y [saved_variance: k + alpha / size
                                 * sum x^2] */
  PT_OP_LRN_BACKWARD,           /* x dy saved_variance -> dx */
  PT_OP_GRID_SAMPLE,            /* x w (the grid, (1, H, W, 2)) -> y */
  PT_OP_GRID_SAMPLE_BACKWARD,   /* x w dy -> [dx] [dw] */
  PT_OP_SOFTMAX,                /* x -> y, of any shape, over one axis */
  PT_OP_SOFTMAX_BACKWARD,       /* y dy -> dx */
  PT_OP_MATMUL,                 /* xs[0] xs[1] -> y, of any shapes: what comes
                                 * before the matrices is broadcast; where y
                                 * has 1 and they have more, it is a sum */
  PT_OP_REDUCE,                 /* x -> y, of any shape */
  PT_OP_REDUCE_BACKWARD,        /* dy, x and y where used -> dx */
  PT_OP_ADD,                    /* xs -> y; y may be one of xs */
  PT_OP_CONCAT,                 /* xs -> y, along C; NULL ones are zeros */
  PT_OP_SPLIT,                  /* dy -> dxs, along C; NULL ones are left out */
  PT_OP_COMBINE,                /* x -> y: elements from elsewhere, or weighted
                                 * sums of them */
  PT_OP_DROPOUT,                /* x seed -> y mask */
  PT_OP_MULTIPLY,               /* x dy -> dx: the elementwise product */
  PT_OP_BINARY,                 /* x w -> y, w being an operand like x; y may
                                 * be one that has its shape */
  PT_OP_BINARY_BACKWARD,        /* x w dy -> dx, the gradient of the operand
                                 * that is wanted */
  PT_OP_POINTWISE_LOSS,         /* x target -> loss dx */
  PT_OP_BINARY_CROSS_ENTROPY,   /* x (logits) target -> loss dx */
  PT_OP_CROSS_ENTROPY,          /* x target(int32 (1) or (1,H,W)) -> loss dx;
                                 * labels outside 0..C-1 do not count */
  PT_OP_SSIM,                   /* x target -> loss dx */
  PT_OP_FLOW_LOSS,              /* x (1,2,H,W) target (1,2C,H,W: frame t-1,
                                 * then t) -> loss dx */
  PT_OP_UPDATE,                 /* dw scale rate step slots -> update_w slots */
  PT_OP_DOT,                    /* x w -> sum: of the products, in double; or
                                 * y: the double's bytes, on the device */
  PT_OP_PROJECT,                /* dw mean scale -> dw mean: what of dw is
                                 * along mean is taken out; then mean moves
                                 * towards what scale dw was */
  PT_OP_CHECK_FINITE,           /* x -> finite; or y: an int32, 0 or 1, on the
                                 * device */
  /* the next ones only where work can be recorded */
  PT_OP_GATE,                   /* x (a double's bytes) target (int32, NULL: 1)
                                 * -> y (int32): whether x is finite and target
                                 * not 0 */
  PT_OP_CAST,                   /* x -> y: of any size, in the 16 bits of the
                                 * workspace's precision; where products are
                                 * of those */
  PT_OP_GO,                     /* x (a double's bytes: the square of the
                                 * gradient's norm) target (int32) slots[0] (a
                                 * uint64's bytes: steps so far) -> slots[0],
                                 * y (bytes of PtLives: go, step and scale) */
  PT_N_OPS,
} PtOpType;

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
  PT_ACTIVATION_TAN, PT_ACTIVATION_ASIN, PT_ACTIVATION_ACOS,
  PT_ACTIVATION_ATAN, PT_ACTIVATION_SINH, PT_ACTIVATION_COSH,
  PT_ACTIVATION_ASINH, PT_ACTIVATION_ACOSH, PT_ACTIVATION_ATANH,
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
  PT_BINARY_MASK,               /* x, or 0 where w is 0; w has no gradient */
  PT_BINARY_EQ, PT_BINARY_LT, PT_BINARY_LE,     /* 1 or 0; no gradient */
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

/* Pairs are height, width. */
typedef struct
{
  gint kernel[2];
  gint stride[2];
  gint padding[2];
  gint dilation[2];
  gint groups;
  gboolean bias;
  PtActivation activation;
  gfloat alpha;
  gint more_padding[2];         /* at the end than at the beginning */
  gboolean transposed;          /* x is a gradient and dy is none: a part of
                                 * conv-transpose */
  gboolean add;                 /* something of the output's shape */
} PtConvDesc;

typedef struct
{
  gboolean bias;
  PtActivation activation;
  gfloat alpha;
} PtLinearDesc;

typedef struct
{
  PtActivation kind;
  gfloat alpha, beta;
} PtActivationDesc;

typedef struct
{
  PtBinary kind;
  /* of x and of w along y's dimensions: pt_shape_get_broadcast_strides() */
  gint64 strides[2][PT_MAX_DIMS];
  guint wanted;                 /* backward: 0 is x, 1 is w */
} PtBinaryDesc;

typedef struct
{
  PtPoolKind kind;
  gint kernel[2];
  gint stride[2];
  gint padding[2];
  gboolean count_include_pad;   /* avg only, PyTorch's default is TRUE */
  gint more_padding[2];         /* at the end than at the beginning; the last
                                 * windows of y may reach over it */
  gint dilation[2];             /* 0: 1 */
  gint p;                       /* LP only, at least 1 */
} PtPoolDesc;

/* y = alpha a b */
typedef struct
{
  gboolean trans_a, trans_b;
  PtMatrixForm forms[3];        /* of a, b, y before they are transposed */
  gfloat alpha;
} PtMatmulDesc;

typedef struct
{
  gint axis;
  gboolean log;
} PtSoftmaxDesc;

typedef struct
{
  PtReduceKind kind;
  guint axes;                   /* a bit for each; y has them as 1, or lacks
                                 * them */
  gboolean last;                /* of equal ones, argmax and argmin take the
                                 * last */
} PtReduceDesc;

typedef struct
{
  gboolean batch_statistics;    /* else mean and variance are given */
  gfloat momentum;
  gfloat eps;
  PtActivation activation;      /* PT_ACTIVATION_NONE or RELU */
} PtBatchNormDesc;

typedef enum
{
  PT_NORMALIZE_MEAN_VARIANCE,   /* (x - mean) / sqrt (variance + eps) */
  PT_NORMALIZE_L1,              /* x / max (sum |x|, eps) */
  PT_NORMALIZE_L2,              /* x / max (sqrt (sum x^2), eps) */
} PtNormalizeKind;

typedef enum
{
  PT_NORMALIZE_PLAIN,           /* neither w nor b */
  PT_NORMALIZE_CHANNELS,        /* one number for each of axis 1 */
  PT_NORMALIZE_ELEMENTS,        /* one for each element that is normalised
                                 * together */
} PtNormalizeWeights;

/* Elements that differ in these axes only are normalised together: over them
 * go mean and (biased) variance, or the norm, which counts as one. The saved
 * tensors have one number for each such group, in the order of their first
 * elements in memory. */
typedef struct
{
  PtNormalizeKind kind;
  guint axes;                   /* bits */
  gint64 groups;                /* parts of axis 1, each for itself; 0: 1 */
  PtNormalizeWeights weights;
  gfloat eps;
} PtNormalizeDesc;

/* x / s^beta, s = k + alpha / size sum x^2 over channels c - size / 2 to
 * c + (size - 1) / 2 */
typedef struct
{
  gint size;
  gfloat alpha, beta, k;
} PtLrnDesc;

typedef enum
{
  PT_GRID_BILINEAR,
  PT_GRID_NEAREST,
  PT_GRID_BICUBIC,
} PtGridMode;

typedef enum
{
  PT_GRID_ZEROS,
  PT_GRID_BORDER,
  PT_GRID_REFLECTION,
} PtGridPadding;

/* As torch.nn.functional.grid_sample. */
typedef struct
{
  PtGridMode mode;
  PtGridPadding padding;
  gboolean align_corners;
  PtShape grid;
  gboolean plain;               /* it lies row-major, as weights do */
} PtGridSampleDesc;

/* One axis of y: what of x its rows read. Without offsets, row i reads i
 * stride; without rows, it reads offsets[i], nothing if that is below 0. */
typedef struct
{
  gint64 n;                     /* rows */
  gint64 stride;                /* in elements of x, as are offsets */
  const gint32 *rows;           /* n + 1: row i has rows[i] to rows[i + 1] - 1
                                 * of the next two; or NULL */
  const gint32 *offsets;        /* or NULL */
  const gfloat *weights;        /* NULL: ones */
} PtCombineAxis;

#define PT_COMBINE_MAX_AXES 12

/* y lies in memory as its axes, the last the innermost, and in them a block:
 * y[i, j, ..., c] = sum over what row i of the first axis reads, what row j of
 * the second reads, ... of the product of the weights times x[base + the sum
 * of the offsets + c], and fill where one of them reads nothing. The tables
 * are read while planning. */
typedef struct
{
  PtCombineAxis axes[PT_COMBINE_MAX_AXES];
  guint n_axes;
  gint64 base;
  gint64 block;
  gfloat fill;
} PtCombineDesc;

typedef struct
{
  gfloat p;                     /* probability of a zero */
} PtDropoutDesc;

typedef struct
{
  PtPointwiseLoss kind;
  gfloat eps;
} PtPointwiseLossDesc;

/* Numbers that a description points to are read while planning. */

/* mean a (1 - p_t)^gamma (-w t log p - (1 - t) log (1 - p)), p = sigmoid (x) */
typedef struct
{
  const gdouble *pos_weight;    /* w: one for all, or one for each channel */
  guint n_pos_weight;
  gfloat alpha;                 /* a: alpha t + (1 - alpha) (1 - t), or 1 if
                                 * negative */
  gfloat gamma;
} PtBinaryCrossEntropyDesc;

/* sum (1 - p_y)^gamma (w_y l_y (1 - s) + sum_k w_k l_k s / C) / sum w_y,
 * l = -log softmax (x); 0 where no label counts */
typedef struct
{
  gint ignore_index;
  const gdouble *weight;        /* w: one for each class; NULL: ones */
  gfloat label_smoothing;       /* s */
  gfloat gamma;
} PtCrossEntropyDesc;

/* alpha (1 - mean SSIM) + (1 - alpha) mean |x - t|, over the windows that lie
 * inside the image */
typedef struct
{
  gint window;                  /* odd */
  gdouble sigma;
  gdouble data_range;
  gfloat alpha;
} PtSsimDesc;

typedef struct
{
  gfloat eps;                   /* of both Charbonnier terms */
  gfloat smoothness;            /* weight of the second */
} PtFlowLossDesc;

typedef struct
{
  PtUpdateKind kind;
  gdouble momentum, dampening, alpha, beta1, beta2, eps, weight_decay;
  gboolean nesterov, centered, amsgrad;
} PtUpdateDesc;

typedef struct
{
  gfloat momentum;              /* part of the mean that stays */
} PtProjectDesc;

typedef struct
{
  guint n;                      /* PtLives */
  gdouble clip_norm;            /* 0: none; see pt_arena_step() */
} PtGoDesc;

#define PT_OP_MAX_INPUTS 8

typedef struct
{
  PtOpType type;
  PtShape x;                    /* of x, of dx for backward operations */
  PtShape y;                    /* of y, of dy for backward operations */
  PtShape xs[PT_OP_MAX_INPUTS]; /* add, concat, split, matmul */
  guint n_xs;
  gboolean training;            /* its gradient will be asked for */
  union
  {
    PtConvDesc conv;
    PtLinearDesc linear;
    PtActivationDesc activation;
    PtBinaryDesc elementwise;
    PtPoolDesc pool;
    PtBatchNormDesc batch_norm;
    PtMatmulDesc matmul;
    PtSoftmaxDesc softmax;
    PtReduceDesc reduce;
    PtNormalizeDesc normalize;
    PtLrnDesc lrn;
    PtGridSampleDesc grid_sample;
    PtCombineDesc combine;
    PtDropoutDesc dropout;
    PtPointwiseLossDesc pointwise;
    PtBinaryCrossEntropyDesc binary;
    PtCrossEntropyDesc cross_entropy;
    PtSsimDesc ssim;
    PtFlowLossDesc flow;
    PtUpdateDesc update;
    PtProjectDesc project;
    PtGoDesc go;
  };
} PtOpDesc;

/* Numbers that differ from frame to frame, in the memory of the device: what
 * has been recorded reads them anew each time. */
typedef struct
{
  gdouble scale, rate;
  guint64 step, seed;
  guint32 go;                   /* 0: update and project do nothing */
  guint32 pad;
} PtLive;

typedef struct
{
  const PtTensor *x;
  const PtTensor *w;            /* in the layout of pt_op_pack() */
  const PtTensor *half;         /* w as PT_OP_CAST has it; or NULL */
  const PtTensor *b;
  const PtTensor *add;
  PtTensor *y;
  const PtTensor *dy;
  PtTensor *dx;
  PtTensor *dw;                 /* same layout as w; overwritten */
  PtTensor *db;
  PtTensor *const *xs;
  PtTensor *const *dxs;
  PtTensor *mean;
  PtTensor *variance;
  PtTensor *saved_mean;
  PtTensor *saved_variance;
  PtTensor *indices;            /* int32, shape of y, max pool */
  PtTensor *mask;               /* shape of x, dropout: 0 or 1/(1-p) */
  const PtTensor *target;
  PtTensor *loss;               /* one element */
  PtTensor *update_w;           /* update: the arena's values */
  PtTensor *slots[PT_UPDATE_MAX_SLOTS];
  gdouble scale;                /* update, project: dw counts this much */
  gdouble rate;                 /* update: learning rate of this step */
  guint64 step;                 /* update: 1 for the first */
  guint64 seed;                 /* dropout: of this frame */
  gboolean update_running;      /* batch norm: move mean and variance */
  gboolean *finite;             /* check: result, if y is NULL */
  gdouble *sum;                 /* dot: result, if y is NULL */
  const PtLive *live;           /* on the device: holds instead of scale, rate,
                                 * step and seed; may be NULL */
} PtOpArgs;

typedef enum
{
  PT_PRECISION_FP32,            /* and nothing less: no TF32 */
  PT_PRECISION_TF32,            /* products of ten bits, sums and memory fp32 */
  PT_PRECISION_BF16,            /* products of bfloat16, weights fp32 */
  PT_PRECISION_FP16,
} PtPrecision;

/* One stage's planning on one device. Operations of a workspace share its
 * scratch memory, so only one of them runs at a time. */
typedef struct
{
  PtDevice *device;
  gboolean training;
  PtPrecision precision;
  gboolean deterministic;       /* the same bits on each run */
  gsize scratch_size;           /* largest asked for so far */
  PtTensor *scratch;            /* there after pt_workspace_ready() */
} PtWorkspace;

typedef struct
{
  PtOpDesc desc;
  PtWorkspace *workspace;
  gpointer priv;                /* the backend's */
  gsize scratch_size;           /* bytes it needs of the workspace */
  gsize weights_size;           /* bytes of w in the device's layout */
} PtOp;

void pt_workspace_init (PtWorkspace *workspace, PtDevice *device,
    gboolean training);
gboolean pt_workspace_ready (PtWorkspace *workspace, GError **error);
void pt_workspace_clear (PtWorkspace *workspace);

const gchar *pt_op_type_name (PtOpType type);
PtOp *pt_op_new (PtWorkspace *workspace, const PtOpDesc *desc, GError **error);
void pt_op_free (PtOp *op);
gboolean pt_op_run (PtOp *op, const PtOpArgs *args, GError **error);
gboolean pt_op_pack (PtOp *op, const PtTensor *host, PtTensor *device,
    GError **error);
gboolean pt_op_unpack (PtOp *op, const PtTensor *device, PtTensor *host,
    GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtOp, pt_op_free)

G_END_DECLS
