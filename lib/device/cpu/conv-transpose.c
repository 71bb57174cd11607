/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/conv-transpose.h"

#include "core/tensor.h"
#include "device/cpu/kernel.h"

#define BLOCK 64                /* channels summed at once */
#define FEW 4                   /* output channels */
#define FEW_PRODUCTS 256        /* of a pixel */

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

/* -- to few channels --
 *
 * oneDNN's vectors of them would be nearly empty. So the products of each pixel
 * with the whole kernel are one convolution by 1x1 to all its elements, and
 * each output adds up those that meet in it. */

typedef struct
{
  PtConvTranspose base;         /* its packer only */
  PtOp product;                 /* x -> (1, kh kw C, H, W) */
  gint64 n;                     /* kh kw C */
  PtTensor *plain, *matrix, *packed;    /* of the weights */
  gsize at;                     /* of the products in the scratch memory */
} Few;

typedef struct
{
  const PtOp *op;
  const gfloat *products, *b;
  gfloat *y;
} FewJob;

static gint64
few_count (const PtOpDesc *desc)
{
  return (gint64) desc->conv.kernel[0] * desc->conv.kernel[1] *
      pt_shape_c (&desc->y);
}

static gboolean
few_suits (const PtOpDesc *desc)
{
  return desc->type == PT_OP_CONV_TRANSPOSE && desc->conv.groups == 1 &&
      pt_shape_c (&desc->y) <= FEW && few_count (desc) <= FEW_PRODUCTS &&
      pt_shape_c (&desc->x) >= 8;
}

static gboolean
few_plan (PtOp *op, GError **error)
{
  Few *self = op->priv = g_new0 (Few, 1);
  PtDevice *device = op->workspace->device;
  const PtShape *x = &op->desc.x;
  gsize size;

  self->n = few_count (&op->desc);
  size = self->n * pt_shape_c (x) * sizeof (gfloat);
  self->product = (PtOp) {.workspace = op->workspace,.desc = {
      .type = PT_OP_CONV,.x = *x,
      .y = PT_SHAPE (1, self->n, pt_shape_h (x), pt_shape_w (x)),
      .conv = {.kernel = {1, 1},.stride = {1, 1},.dilation = {1, 1},
          .groups = 1}}
  };
  if (!pt_conv_transpose_plan_packer (op, &self->base, &pt_cpu_conv, error) ||
      !pt_cpu_conv.plan (&self->product, error))
    return FALSE;
  self->plain = pt_device_bytes_new (device, size, error);
  self->matrix = pt_device_bytes_new (device, size, error);
  self->packed = pt_device_bytes_new (device, self->product.weights_size,
      error);
  self->at = (self->product.scratch_size + PT_ALIGNMENT - 1) / PT_ALIGNMENT *
      PT_ALIGNMENT;
  op->scratch_size = self->at + pt_shape_get_n_elements
      (&self->product.desc.y) * sizeof (gfloat);
  return self->plain != NULL && self->matrix != NULL && self->packed != NULL;
}

static void
few_clear (PtOp *op)
{
  Few *self = op->priv;

  g_clear_pointer (&self->plain, pt_tensor_unref);
  g_clear_pointer (&self->matrix, pt_tensor_unref);
  g_clear_pointer (&self->packed, pt_tensor_unref);
  pt_cpu_conv.clear (&self->product);
}

/* From (in, C, kh, kw) to (kh, kw, C, in). */
static gboolean
few_pack (Few *self, const PtOpDesc *desc, const PtTensor *w, GError **error)
{
  gint64 in = pt_shape_c (&desc->x), c = pt_shape_c (&desc->y);
  gint64 taps = self->n / c;
  const gfloat *from;
  gfloat *to = self->matrix->data;

  if (!pt_cpu_conv.unpack (&self->base.packer, w, self->plain, error))
    return FALSE;
  from = self->plain->data;
  for (gint64 i = 0; i < in; i++)
    for (gint64 o = 0; o < c; o++)
      for (gint64 tap = 0; tap < taps; tap++)
        to[(tap * c + o) * in + i] = *from++;
  return pt_cpu_conv.pack (&self->product, self->matrix, self->packed, error);
}

/* Adds to a row of outputs what kernel row @ky makes of input row @iy. */
PT_INLINE void
few_add_row (const FewJob *job, gint64 iy, gint64 ky, gfloat *y,
    const gint64 c)
{
  const PtOpDesc *desc = &job->op->desc;
  const PtConvDesc *conv = &desc->conv;
  gint64 n = few_count (desc), w = pt_shape_w (&desc->x), s = conv->stride[1];
  gint64 out = pt_shape_w (&desc->y);

  for (gint64 kx = 0; kx < conv->kernel[1]; kx++) {
    gint64 first = kx * conv->dilation[1] - conv->padding[1];
    gint64 begin = first < 0 ? (-first + s - 1) / s : 0;
    gint64 end = out > first ? MIN ((out - first - 1) / s + 1, w) : 0;
    const gfloat *p = job->products + iy * w * n +
        (ky * conv->kernel[1] + kx) * c;

    for (gint64 ix = begin; ix < end; ix++)
      for (gint64 o = 0; o < c; o++)
        y[(first + ix * s) * c + o] += p[ix * n + o];
  }
}

static PT_CLONES void
few_rows (gconstpointer data, gint64 begin, gint64 end)
{
  const FewJob *job = data;
  const PtOpDesc *desc = &job->op->desc;
  const PtConvDesc *conv = &desc->conv;
  gint64 c = pt_shape_c (&desc->y), row = pt_shape_w (&desc->y) * c;

  for (gint64 oy = begin; oy < end; oy++) {
    gfloat *y = job->y + oy * row;

    for (gint64 k = 0; k < row; k++)
      y[k] = job->b != NULL ? job->b[k % c] : 0;
    for (gint64 ky = 0; ky < conv->kernel[0]; ky++) {
      gint64 at = oy + conv->padding[0] - ky * conv->dilation[0];
      gint64 iy = at / conv->stride[0];

      if (at < 0 || at % conv->stride[0] != 0 || iy >= pt_shape_h (&desc->x))
        continue;
      if (c == 1)
        few_add_row (job, iy, ky, y, 1);
      else
        few_add_row (job, iy, ky, y, c);
    }
    if (conv->activation != PT_ACTIVATION_NONE)
      pt_cpu_activate (conv->activation, conv->alpha, y, row);
  }
}

static gboolean
few_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Few *self = op->priv;
  const PtShape *y = &op->desc.y;
  gchar *scratch = op->workspace->scratch->data;
  PtTensor products = {.data = scratch + self->at };
  FewJob job = { op, products.data,
    op->desc.conv.bias ? args->b->data : NULL, args->y->data
  };

  if (!few_pack (self, &op->desc, args->w, error) ||
      !pt_cpu_conv.run (&self->product, &(PtOpArgs) {.x = args->x,
          .w = self->packed,.y = &products}, error))
    return FALSE;
  pt_cpu_for (op, pt_shape_h (y), 4 * pt_shape_w (y) * pt_shape_c (y) *
      op->desc.conv.kernel[1], few_rows, &job);
  return TRUE;
}

/* -- the forward pass -- */

static gboolean
transpose_plan_forward (PtOp *op, GError **error)
{
  return few_suits (&op->desc) ? few_plan (op, error) :
      transpose_plan (op, error);
}

static void
transpose_clear (PtOp *op)
{
  if (op->priv != NULL && few_suits (&op->desc))
    few_clear (op);
  pt_conv_transpose_clear (op);
}

static gboolean
transpose_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtConvDesc *desc = &op->desc.conv;
  gint64 c = pt_shape_c (&op->desc.y);
  TransposeJob job = {.desc = desc,.c = c,.y = args->y->data,
    .b = desc->bias ? args->b->data : NULL
  };

  if (few_suits (&op->desc))
    return few_run (op, args, error);
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
  .plan = transpose_plan_forward,
  .run = transpose_run,
  .clear = transpose_clear,
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
