/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/tensor.h"
#include "device/cpu/conv-narrow.h"
#include "device/cpu/kernel.h"

/* oneDNN makes vectors of output channels, which leaves them nearly empty
 * where these are few. Here they run along the window (kw, I) of one kernel
 * row, which is one run of memory unless dilated. */

#define LANES 8

typedef gfloat Vec __attribute__ ((vector_size (4 * LANES)));
typedef gint32 VecMask __attribute__ ((vector_size (4 * LANES)));
typedef gfloat VecAt __attribute__ ((vector_size (4 * LANES), aligned (4),
        may_alias));

#define VEC(p) (*(const VecAt *) (p))
#define UNROLL _Pragma ("GCC unroll 16")

/* Sums kept at once: enough to hide the latency of a multiply-add, and with
 * their operands not too many for 16 registers. */
#define SUMS 12

typedef struct
{
  const PtConvNarrow *narrow;
  const gfloat *x, *w, *b, *dy;
  gfloat *y, *dw, *db;
} NarrowJob;

static gint64
narrow_get_run (const PtOpDesc *desc)
{
  return pt_shape_c (&desc->x) *
      (desc->conv.dilation[1] == 1 ? desc->conv.kernel[1] : 1);
}

gboolean
pt_conv_narrow_suits (const PtOpDesc *desc)
{
  return desc->conv.groups == 1 &&
      pt_shape_get_dim (&desc->x, 0) == 1 &&
      pt_shape_c (&desc->y) <= PT_CONV_NARROW_MAX &&
      narrow_get_run (desc) >= LANES;
}

/* Columns [0] to [1] of the output see no padding. */
static void
narrow_find_inner (PtConvNarrow *narrow)
{
  const PtConvDesc *desc = &narrow->desc;
  gint64 s = desc->stride[1], p = desc->padding[1];
  gint64 room = narrow->in_w - 1 + p - desc->dilation[1]
      * (desc->kernel[1] - 1);
  gint64 begin = (p + s - 1) / s, end = room < 0 ? 0 : room / s + 1;

  narrow->inner[0] = MIN (begin, narrow->out_w);
  narrow->inner[1] = CLAMP (end, narrow->inner[0], narrow->out_w);
}

gboolean
pt_conv_narrow_init (PtConvNarrow *narrow, const PtOp *op, GError **error)
{
  const PtShape *x = &op->desc.x, *y = &op->desc.y;
  const PtConvDesc *desc = &op->desc.conv;
  gboolean is_dense = desc->dilation[1] == 1;
  gsize size;

  *narrow = (PtConvNarrow) {
    *desc, pt_shape_c (x), pt_shape_h (x), pt_shape_w (x), pt_shape_c (y),
    pt_shape_h (y), pt_shape_w (y)
  };
  /* it comes after what is added */
  if (desc->add)
    narrow->desc.activation = PT_ACTIVATION_NONE;
  narrow_find_inner (narrow);
  narrow->n_runs = is_dense ? 1 : desc->kernel[1];
  narrow->run = narrow_get_run (&op->desc);
  narrow->run_step = narrow->in_c * desc->dilation[1];
  narrow->n_weights = narrow->out_c * desc->kernel[0] * desc->kernel[1]
      * narrow->in_c;
  narrow->n_parts = MIN (op->workspace->device->n_threads, narrow->out_h);
  if (op->desc.type != PT_OP_CONV_WEIGHTS || narrow->n_parts < 2)
    return TRUE;
  size = (narrow->n_parts - 1) * (narrow->n_weights + narrow->out_c);
  narrow->partial = pt_device_bytes_new (op->workspace->device,
      size * sizeof (gfloat), error);
  return narrow->partial != NULL;
}

void
pt_conv_narrow_clear (PtConvNarrow *narrow)
{
  g_clear_pointer (&narrow->partial, pt_tensor_unref);
}

/* Rows [0] to [1] of the kernel see no padding above and below. */
PT_INLINE void
narrow_kernel_rows (const PtConvNarrow *n, gint64 oy, gint64 rows[2])
{
  gint64 top = oy * n->desc.stride[0] - n->desc.padding[0];
  gint64 d = n->desc.dilation[0];
  gint64 begin = top < 0 ? (-top + d - 1) / d : 0;
  gint64 end = top >= n->in_h ? 0 : (n->in_h - 1 - top) / d + 1;

  rows[0] = begin;
  rows[1] = MIN (end, n->desc.kernel[0]);
}

/* Of input row under kernel row @ky. */
PT_INLINE gint64
narrow_row (const PtConvNarrow *n, gint64 oy, gint64 ky)
{
  gint64 iy = oy * n->desc.stride[0] - n->desc.padding[0]
      + ky * n->desc.dilation[0];

  return iy * n->in_w * n->in_c;
}

/* Lane i of @v[0] becomes the sum over the lanes of @v[i]. */
PT_INLINE void
narrow_sum_lanes (Vec v[LANES])
{
  UNROLL for (gint i = 0; i < 8; i += 2)
    v[i] = __builtin_shufflevector (v[i], v[i + 1], 0, 8, 2, 10, 4, 12, 6, 14)
        + __builtin_shufflevector (v[i], v[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  UNROLL for (gint i = 0; i < 8; i += 4)
    v[i] = __builtin_shufflevector (v[i], v[i + 2], 0, 1, 8, 9, 4, 5, 12, 13)
        + __builtin_shufflevector (v[i], v[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  v[0] = __builtin_shufflevector (v[0], v[4], 0, 1, 2, 3, 8, 9, 10, 11)
      + __builtin_shufflevector (v[0], v[4], 4, 5, 6, 7, 12, 13, 14, 15);
}

/* The last vector of a run begins early enough to be whole. Keeps of it what
 * the ones before have not had, @left lanes. */
PT_INLINE void
narrow_mask (Vec *v, gint64 left)
{
  static const gint32 mask[2 * LANES] = { 0, 0, 0, 0, 0, 0, 0, 0,
    -1, -1, -1, -1, -1, -1, -1, -1
  };
  VecMask keep;

  memcpy (&keep, mask + left, sizeof keep);
  *v = (Vec) ((VecMask) *v & keep);
}

/* @sum[p][o] += x . w over @left lanes of a vector, @count pixels @step
 * apart. */
PT_INLINE void
narrow_dot (Vec *sum, const gfloat *x, const gfloat *w, gint64 step,
    gint64 w_step, gint64 left, const gint outs, const gint count)
{
  Vec k[PT_CONV_NARROW_MAX];

  UNROLL for (gint o = 0; o < outs; o++) {
    k[o] = VEC (w + o * w_step);
    if (left < LANES)
      narrow_mask (&k[o], left);
  }
  UNROLL for (gint p = 0; p < count; p++) {
    Vec v = VEC (x + p * step);

    UNROLL for (gint o = 0; o < outs; o++)
      sum[p * outs + o] += v * k[o];
  }
}

PT_INLINE void
narrow_dot_run (Vec *sum, const gfloat *x, const gfloat *w, gint64 step,
    gint64 w_step, gint64 run, const gint outs, const gint count)
{
  gint64 last = run - LANES, left = run % LANES;

  for (gint64 l = 0; l <= last; l += LANES)
    narrow_dot (sum, x + l, w + l, step, w_step, LANES, outs, count);
  if (left > 0)
    narrow_dot (sum, x + last, w + last, step, w_step, left, outs, count);
}

/* @count neighbouring pixels whose windows lie inside. */
PT_INLINE void
narrow_inner (const NarrowJob *job, gint64 oy, gint64 ox,
    const gint64 rows[2], const gint outs, const gint count)
{
  const PtConvNarrow *n = job->narrow;
  gint64 step = n->desc.stride[1] * n->in_c, row = n->n_runs * n->run;
  gfloat *y = job->y + (oy * n->out_w + ox) * outs;
  Vec sum[2 * LANES] = { {0,}, };

  for (gint64 ky = rows[0]; ky < rows[1]; ky++) {
    const gfloat *x = job->x + narrow_row (n, oy, ky)
        + (ox * n->desc.stride[1] - n->desc.padding[1]) * n->in_c;

    for (gint64 r = 0; r < n->n_runs; r++)
      narrow_dot_run (sum, x + r * n->run_step,
          job->w + ky * row + r * n->run, step, n->desc.kernel[0] * row,
          n->run, outs, count);
  }
  UNROLL for (gint i = 0; i < count * outs; i += LANES) {
    narrow_sum_lanes (sum + i);
    UNROLL for (gint k = i; k < MIN (i + LANES, count * outs); k++)
      y[k] = sum[i][k - i] + (job->b != NULL ? job->b[k % outs] : 0);
  }
}

/* One pixel whose window is cut. */
PT_INLINE void
narrow_edge (const NarrowJob *job, gint64 oy, gint64 ox,
    const gint64 rows[2], const gint outs)
{
  const PtConvNarrow *n = job->narrow;
  gint64 in = n->in_c, kw = n->desc.kernel[1];
  gint64 left = ox * n->desc.stride[1] - n->desc.padding[1];

  for (gint o = 0; o < outs; o++) {
    gfloat sum = job->b != NULL ? job->b[o] : 0;

    for (gint64 ky = rows[0]; ky < rows[1]; ky++)
      for (gint64 kx = 0; kx < kw; kx++) {
        gint64 ix = left + kx * n->desc.dilation[1];
        const gfloat *x = job->x + narrow_row (n, oy, ky) + ix * in;
        const gfloat *w = job->w
            + ((o * n->desc.kernel[0] + ky) * kw + kx) * in;

        if (ix < 0 || ix >= n->in_w)
          continue;
#pragma omp simd reduction (+:sum)
        for (gint64 i = 0; i < in; i++)
          sum += x[i] * w[i];
      }
    job->y[(oy * n->out_w + ox) * outs + o] = sum;
  }
}

/* Pixels are taken @count at a time; the last group may overlap. */
PT_INLINE void
narrow_forward (const NarrowJob *job, gint64 oy, const gint outs,
    const gint count)
{
  const PtConvNarrow *n = job->narrow;
  gint64 ox = n->inner[0], end = n->inner[1], rows[2];

  narrow_kernel_rows (n, oy, rows);
  for (gint64 i = 0; i < n->inner[0]; i++)
    narrow_edge (job, oy, i, rows, outs);
  for (gint64 i = end; i < n->out_w; i++)
    narrow_edge (job, oy, i, rows, outs);
  if (end - ox < count) {
    for (; ox < end; ox++)
      narrow_inner (job, oy, ox, rows, outs, 1);
    return;
  }
  for (; ox < end; ox += count)
    narrow_inner (job, oy, MIN (ox, end - count), rows, outs, count);
}

#define NARROW_FORWARD(outs) \
static PT_CLONES void \
narrow_forward_##outs (gconstpointer data, gint64 begin, gint64 end) \
{ \
  for (gint64 oy = begin; oy < end; oy++) \
    narrow_forward (data, oy, outs, MIN (SUMS / outs, LANES)); \
}

NARROW_FORWARD (1)
NARROW_FORWARD (2)
NARROW_FORWARD (3)
NARROW_FORWARD (4)

static const PtRangeFunc narrow_forwards[PT_CONV_NARROW_MAX] = {
  narrow_forward_1, narrow_forward_2, narrow_forward_3, narrow_forward_4,
};

static void
narrow_forward_rows (gconstpointer data, gint64 begin, gint64 end)
{
  const NarrowJob *job = data;
  const PtConvNarrow *n = job->narrow;
  gint64 row = n->out_w * n->out_c;

  narrow_forwards[n->out_c - 1] (data, begin, end);
  if (n->desc.activation != PT_ACTIVATION_NONE)
    pt_cpu_activate (n->desc.activation, n->desc.alpha, job->y + begin * row,
        (end - begin) * row);
}

void
pt_conv_narrow_forward (const PtConvNarrow *narrow, const PtOp *op,
    const PtOpArgs *args)
{
  NarrowJob job = { narrow, args->x->data, args->w->data,
    narrow->desc.bias ? args->b->data : NULL, NULL, args->y->data
  };

  pt_cpu_for (op, narrow->out_h, narrow->out_w * narrow->n_weights / LANES + 1,
      narrow_forward_rows, &job);
}

/* @sum[c][o] += dy x of one pixel. */
PT_INLINE void
narrow_outer_pixel (Vec *sum, const gfloat *x, const gfloat *dy,
    const gint outs, const gint count)
{
  UNROLL for (gint c = 0; c < count; c++)
    UNROLL for (gint o = 0; o < outs; o++)
      sum[c * outs + o] += VEC (x + c * LANES) * dy[o];
}

/* @dw[o][l] += sum of dy x over the inner pixels, @count vectors of one run,
 * @left lanes of the last. A few vectors alone would wait for their own sums,
 * so that these are kept in several copies. */
PT_INLINE void
narrow_outer (const NarrowJob *job, const gfloat *x, const gfloat *dy,
    gfloat *dw, gint64 w_step, gint64 left, const gint outs, const gint count)
{
  const PtConvNarrow *n = job->narrow;
  const gint n_sums = outs * count, copies = SUMS / n_sums;
  gint64 step = n->desc.stride[1] * n->in_c;
  gint64 width = n->inner[1] - n->inner[0], i = 0;
  Vec sum[SUMS] = { {0,}, };

  for (; i + copies <= width; i += copies)
    UNROLL for (gint k = 0; k < copies; k++)
      narrow_outer_pixel (sum + k * n_sums, x + (i + k) * step,
          dy + (i + k) * outs, outs, count);
  for (; i < width; i++)
    narrow_outer_pixel (sum, x + i * step, dy + i * outs, outs, count);
  UNROLL for (gint k = n_sums; k < copies * n_sums; k++)
    sum[k % n_sums] += sum[k];
  UNROLL for (gint k = 0; k < n_sums; k++) {
    VecAt *to = (VecAt *) (dw + k % outs * w_step + k / outs * LANES);

    if (left < LANES)
      narrow_mask (&sum[k], left);
    *to += sum[k];
  }
}

/* One run over one row; @x at the first inner pixel. */
PT_INLINE void
narrow_weights_run (const NarrowJob *job, const gfloat *x, const gfloat *dy,
    gfloat *dw, gint64 w_step, const gint outs)
{
  const gint most = SUMS / outs;
  gint64 l = 0, run = job->narrow->run, left = run % LANES;

#define TAKE(count) \
  if (count <= most) \
    for (; l + count * LANES <= run; l += count * LANES) \
      narrow_outer (job, x + l, dy, dw + l, w_step, LANES, outs, count)
  TAKE (12);
  TAKE (8);
  TAKE (6);
  TAKE (4);
  TAKE (3);
  TAKE (2);
  TAKE (1);
#undef TAKE
  l = run - LANES;
  if (left > 0)
    narrow_outer (job, x + l, dy, dw + l, w_step, left, outs, 1);
}

PT_INLINE void
narrow_weights_edge (const NarrowJob *job, const gfloat *row,
    const gfloat *dy, gfloat *dw, gint64 w_step, gint64 ox, const gint outs)
{
  const PtConvNarrow *n = job->narrow;
  gint64 in = n->in_c;

  for (gint64 kx = 0; kx < n->desc.kernel[1]; kx++) {
    gint64 ix = ox * n->desc.stride[1] - n->desc.padding[1]
        + kx * n->desc.dilation[1];

    if (ix < 0 || ix >= n->in_w)
      continue;
    for (gint o = 0; o < outs; o++) {
      const gfloat *x = row + ix * in, g = dy[ox * outs + o];
      gfloat *to = dw + o * w_step + kx * in;

#pragma omp simd
      for (gint64 i = 0; i < in; i++)
        to[i] += g * x[i];
    }
  }
}

PT_INLINE void
narrow_weights (const NarrowJob *job, gint64 oy, const gint outs)
{
  const PtConvNarrow *n = job->narrow;
  gint64 rows[2], kernel_row = n->n_runs * n->run;
  gint64 w_step = n->desc.kernel[0] * kernel_row, begin = n->inner[0];
  gint64 first = begin * n->desc.stride[1] - n->desc.padding[1];
  const gfloat *dy = job->dy + oy * n->out_w * outs;

  narrow_kernel_rows (n, oy, rows);
  for (gint64 ky = rows[0]; ky < rows[1]; ky++) {
    const gfloat *row = job->x + narrow_row (n, oy, ky);
    gfloat *dw = job->dw + ky * kernel_row;

    for (gint64 ox = 0; ox < begin; ox++)
      narrow_weights_edge (job, row, dy, dw, w_step, ox, outs);
    for (gint64 ox = n->inner[1]; ox < n->out_w; ox++)
      narrow_weights_edge (job, row, dy, dw, w_step, ox, outs);
    if (n->inner[1] > begin)
      for (gint64 r = 0; r < n->n_runs; r++)
        narrow_weights_run (job, row + first * n->in_c + r * n->run_step,
            dy + begin * outs, dw + r * n->run, w_step, outs);
  }
}

PT_INLINE void
narrow_bias (const NarrowJob *job, gint64 oy, const gint outs)
{
  gint64 width = job->narrow->out_w;
  const gfloat *dy = job->dy + oy * width * outs;
  gfloat sum[PT_CONV_NARROW_MAX] = { 0, };

  for (gint64 ox = 0; ox < width; ox++)
    UNROLL for (gint o = 0; o < outs; o++)
      sum[o] += dy[ox * outs + o];
  UNROLL for (gint o = 0; o < outs; o++)
    job->db[o] += sum[o];
}

#define NARROW_WEIGHTS(outs) \
static PT_CLONES void \
narrow_weights_##outs (gconstpointer data, gint64 begin, gint64 end) \
{ \
  const NarrowJob *job = data; \
\
  for (gint64 oy = begin; oy < end; oy++) { \
    narrow_weights (job, oy, outs); \
    if (job->db != NULL) \
      narrow_bias (job, oy, outs); \
  } \
}

NARROW_WEIGHTS (1)
NARROW_WEIGHTS (2)
NARROW_WEIGHTS (3)
NARROW_WEIGHTS (4)

static const PtRangeFunc narrow_weights_rows[PT_CONV_NARROW_MAX] = {
  narrow_weights_1, narrow_weights_2, narrow_weights_3, narrow_weights_4,
};

/* Where part @part of the gradient is gathered: the first in its place. */
static void
narrow_part (const NarrowJob *job, gint64 part, gfloat **dw, gfloat **db)
{
  const PtConvNarrow *n = job->narrow;

  *dw = job->dw;
  *db = job->db;
  if (part == 0)
    return;
  *dw = (gfloat *) n->partial->data + (part - 1) * (n->n_weights + n->out_c);
  if (job->db != NULL)
    *db = *dw + n->n_weights;
}

static void
narrow_weights_parts (gconstpointer data, gint64 begin, gint64 end)
{
  const PtConvNarrow *n = ((const NarrowJob *) data)->narrow;

  for (gint64 part = begin; part < end; part++) {
    NarrowJob job = *(const NarrowJob *) data;

    narrow_part (data, part, &job.dw, &job.db);
    memset (job.dw, 0, n->n_weights * sizeof (gfloat));
    if (job.db != NULL)
      memset (job.db, 0, n->out_c * sizeof (gfloat));
    narrow_weights_rows[n->out_c - 1] (&job, n->out_h * part / n->n_parts,
        n->out_h * (part + 1) / n->n_parts);
  }
}

void
pt_conv_narrow_weights (const PtConvNarrow *narrow, const PtOp *op,
    const PtOpArgs *args)
{
  NarrowJob job = {.narrow = narrow,.x = args->x->data,.dy = args->dy->data,
    .dw = args->dw->data,.db = narrow->desc.bias ? args->db->data : NULL
  };

  pt_cpu_for (op, narrow->n_parts, narrow->out_h * narrow->out_w
      * narrow->n_weights / LANES / narrow->n_parts + 1,
      narrow_weights_parts, &job);
  for (guint part = 1; part < narrow->n_parts; part++) {
    gfloat *dw, *db;

    narrow_part (&job, part, &dw, &db);
    for (gint64 i = 0; i < narrow->n_weights; i++)
      job.dw[i] += dw[i];
    for (gint64 o = 0; job.db != NULL && o < narrow->out_c; o++)
      job.db[o] += db[o];
  }
}
