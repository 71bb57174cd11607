/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/conv-transpose.h"

#include "core/tensor.h"
#include "device/cpu/kernel.h"

#define BLOCK 64                /* channels summed at once */

static const PtOpImpl *const transpose_impls[] = {
  &pt_cpu_conv, &pt_cpu_conv_data, &pt_cpu_conv_weights,
};

typedef struct
{
  const PtConvDesc *desc;
  gint64 c, pixels;
  const gfloat *b, *dy;
  gfloat *y, *db;
} TransposeJob;

static gboolean
transpose_plan (PtOp *op, GError **error)
{
  return pt_conv_transpose_plan (op, transpose_impls, error);
}

/* y = activation (y + b) */
static PT_CLONES void
transpose_pixels (gconstpointer data, gint64 begin, gint64 end)
{
  const TransposeJob *job = data;
  gfloat *y = job->y + begin * job->c;

  for (gint64 i = begin; job->b != NULL && i < end; i++)
#pragma omp simd
    for (gint64 k = 0; k < job->c; k++)
      job->y[i * job->c + k] += job->b[k];
  if (job->desc->activation != PT_ACTIVATION_NONE)
    pt_cpu_activate (job->desc->activation, job->desc->alpha, y,
        (end - begin) * job->c);
}

static gboolean
transpose_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtConvDesc *desc = &op->desc.conv;
  gint64 c = pt_shape_c (&op->desc.y);
  TransposeJob job = {.desc = desc,.c = c,.y = args->y->data,
    .b = desc->bias ? args->b->data : NULL
  };

  if (!pt_conv_transpose_run (op, args, error))
    return FALSE;
  if (desc->bias || desc->activation != PT_ACTIVATION_NONE)
    pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.y) / c, c,
        transpose_pixels, &job);
  return TRUE;
}

/* db = the sum of dy over its pixels, of channels @begin to @end. */
static PT_CLONES void
transpose_sum (gconstpointer data, gint64 begin, gint64 end)
{
  const TransposeJob *job = data;

  for (gint64 first = begin; first < end; first += BLOCK) {
    gint64 n = MIN (BLOCK, end - first);
    gdouble sum[BLOCK] = { 0, };

    for (gint64 i = 0; i < job->pixels; i++)
#pragma omp simd
      for (gint64 k = 0; k < n; k++)
        sum[k] += job->dy[i * job->c + first + k];
    for (gint64 k = 0; k < n; k++)
      job->db[first + k] = sum[k];
  }
}

static gboolean
transpose_run_weights (PtOp *op, const PtOpArgs *args, GError **error)
{
  TransposeJob job = {.c = pt_shape_c (&op->desc.y),.dy = args->dy->data };

  if (!pt_conv_transpose_run (op, args, error))
    return FALSE;
  if (!op->desc.conv.bias)
    return TRUE;
  job.pixels = pt_shape_get_n_elements (&op->desc.y) / job.c;
  job.db = args->db->data;
  pt_cpu_for (op, job.c, job.pixels, transpose_sum, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_conv_transpose = {
  .plan = transpose_plan,
  .run = transpose_run,
  .clear = pt_conv_transpose_clear,
  .pack = pt_conv_transpose_pack,
  .unpack = pt_conv_transpose_unpack,
};

const PtOpImpl pt_cpu_conv_transpose_data = {
  .plan = transpose_plan,
  .run = pt_conv_transpose_run,
  .clear = pt_conv_transpose_clear,
};

const PtOpImpl pt_cpu_conv_transpose_weights = {
  .plan = transpose_plan,
  .run = transpose_run_weights,
  .clear = pt_conv_transpose_clear,
};
