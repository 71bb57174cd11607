/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

typedef struct
{
  const gfloat *a, *b;
  gfloat *out;
} EltwiseJob;

static PT_CLONES void
eltwise_add_range (gconstpointer data, gint64 begin, gint64 end)
{
  const EltwiseJob *job = data;
  const gfloat *a = job->a, *b = job->b;
  gfloat *out = job->out;

#pragma omp simd
  for (gint64 i = begin; i < end; i++)
    out[i] = a[i] + b[i];
}

static PT_CLONES void
eltwise_multiply_range (gconstpointer data, gint64 begin, gint64 end)
{
  const EltwiseJob *job = data;
  const gfloat *a = job->a, *b = job->b;
  gfloat *out = job->out;

#pragma omp simd
  for (gint64 i = begin; i < end; i++)
    out[i] = a[i] * b[i];
}

/* y may be one of xs, so it is read by the first addition. Addition
 * commutes; the order of three and more follows from where y is. */
static gboolean
eltwise_add_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint64 n = pt_shape_get_n_elements (&op->desc.y);
  gfloat *y = args->y->data;
  guint first = 0;

  for (guint i = 0; i < op->desc.n_xs; i++)
    if (args->xs[i]->data == y)
      first = i;
  if (op->desc.n_xs == 1 && args->xs[0]->data != y)
    memcpy (y, args->xs[0]->data, n * sizeof *y);
  for (guint i = 0, done = 0; i < op->desc.n_xs; i++) {
    EltwiseJob job = { done ? y : args->xs[first]->data, args->xs[i]->data, y };

    if (i == first)
      continue;
    pt_cpu_for (op, n, 1, eltwise_add_range, &job);
    done = 1;
  }
  return TRUE;
}

static gboolean
eltwise_multiply_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  EltwiseJob job = { args->x->data, args->dy->data, args->dx->data };

  pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.x), 1,
      eltwise_multiply_range, &job);
  return TRUE;
}

/* Copies between the C channels of one tensor and a slice of another. */
static void
eltwise_copy_channels (const gfloat *src, gint64 src_step, gfloat *dst,
    gint64 dst_step, gint64 c, gint64 pixels)
{
  for (gint64 p = 0; p < pixels; p++)
    memcpy (dst + p * dst_step, src + p * src_step, c * sizeof *dst);
}

static void
eltwise_zero_channels (gfloat *dst, gint64 dst_step, gint64 c, gint64 pixels)
{
  for (gint64 p = 0; p < pixels; p++)
    memset (dst + p * dst_step, 0, c * sizeof *dst);
}

static gboolean
eltwise_concat_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtShape *whole = &op->desc.y;
  gint64 total = pt_shape_c (whole);
  gint64 pixels = pt_shape_h (whole) * pt_shape_w (whole);
  gfloat *y = args->y->data;

  for (guint i = 0; i < op->desc.n_xs; i++) {
    gint64 c = pt_shape_c (&op->desc.xs[i]);

    if (args->xs[i] != NULL)
      eltwise_copy_channels (args->xs[i]->data, c, y, total, c, pixels);
    else
      eltwise_zero_channels (y, total, c, pixels);
    y += c;
  }
  return TRUE;
}

static gboolean
eltwise_split_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtShape *whole = &op->desc.y;
  gint64 total = pt_shape_c (whole);
  const gfloat *dy = args->dy->data;

  for (guint i = 0; i < op->desc.n_xs; i++) {
    gint64 c = pt_shape_c (&op->desc.xs[i]);

    if (args->dxs[i] != NULL)
      eltwise_copy_channels (dy, total, args->dxs[i]->data, c, c,
          pt_shape_h (whole) * pt_shape_w (whole));
    dy += c;
  }
  return TRUE;
}

/* Largest exponent field seen: 255 means NaN or Inf. */
static PT_CLONES guint32
eltwise_top_exponent (const guint32 *x, gint64 n)
{
  guint32 top = 0;

#pragma omp simd reduction (max:top)
  for (gint64 i = 0; i < n; i++) {
    guint32 e = x[i] & 0x7f800000u;

    top = e > top ? e : top;
  }
  return top;
}

static gboolean
eltwise_check_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  gint32 *finite = args->y != NULL ? args->y->data : args->finite;

  *finite = eltwise_top_exponent (args->x->data,
      args->x->size / sizeof (gfloat)) != 0x7f800000u;
  return TRUE;
}

const PtOpImpl pt_cpu_add = {
  .plan = pt_cpu_plan_nothing,
  .run = eltwise_add_run,
};

const PtOpImpl pt_cpu_multiply = {
  .plan = pt_cpu_plan_nothing,
  .run = eltwise_multiply_run,
};

const PtOpImpl pt_cpu_concat = {
  .plan = pt_cpu_plan_nothing,
  .run = eltwise_concat_run,
};

const PtOpImpl pt_cpu_split = {
  .plan = pt_cpu_plan_nothing,
  .run = eltwise_split_run,
};

const PtOpImpl pt_cpu_check_finite = {
  .plan = pt_cpu_plan_nothing,
  .run = eltwise_check_run,
};
