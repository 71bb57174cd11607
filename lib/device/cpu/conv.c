/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/tensor.h"
#include "device/cpu/conv-narrow.h"
#include "device/cpu/cpu.h"
#include "device/cpu/kernel.h"

#define CONV_CHUNK 2048         /* elements that stay in the first cache */

/* Activations are channels-last at every border; the layout of the weights
 * is oneDNN's choice for the forward pass, or ours where our kernels do it.
 * The gradient operations find it by asking the same question, and go through
 * a reordered copy where their own kernels want another one. */

typedef struct
{
  PtDnnlPacking packing;        /* forward only */
  PtDnnlStep conv;
  PtDnnlStep reorder;           /* of w before, or of dw after; may be empty */
  PtTensor *buffer;             /* w or dw as the kernel wants it */
  gboolean is_narrow;           /* not oneDNN's, but this: */
  PtConvNarrow narrow;
} Conv;

/* A convolution in oneDNN's words. */
typedef struct
{
  dnnl_memory_desc_t x, y, w, b;
  dnnl_memory_desc_t plain;     /* w, row-major */
  dnnl_memory_desc_t packed;    /* w, as parameters are kept */
  dnnl_dims_t stride, dilation, padding, padding_end;
} ConvGeometry;

static gboolean
conv_geometry_init (ConvGeometry *geometry, const PtOpDesc *desc,
    GError **error)
{
  const PtConvDesc *conv = &desc->conv;
  gint64 g = conv->groups, o = pt_shape_c (&desc->y), i = pt_shape_c (&desc->x);
  gint kh = conv->kernel[0], kw = conv->kernel[1];
  gboolean is_grouped = g > 1;
  gint n_dims = is_grouped ? 5 : 4;
  dnnl_dims_t grouped = { g, o / g, i / g, kh, kw };
  dnnl_dims_t whole = { o, i, kh, kw };
  dnnl_dims_t channels = { o };
  const dnnl_dim_t *dims = is_grouped ? grouped : whole;

  for (guint k = 0; k < 2; k++) {
    geometry->stride[k] = conv->stride[k];
    geometry->dilation[k] = conv->dilation[k] - 1;
    geometry->padding[k] = conv->padding[k];
    geometry->padding_end[k] = conv->padding[k] + conv->more_padding[k];
  }
  return pt_dnnl_nhwc (&geometry->x, &desc->x, error) &&
      pt_dnnl_nhwc (&geometry->y, &desc->y, error) &&
      PT_DNNL (dnnl_memory_desc_init_by_tag (&geometry->w, n_dims, dims,
          dnnl_f32, dnnl_format_tag_any), error) &&
      PT_DNNL (dnnl_memory_desc_init_by_tag (&geometry->plain, n_dims, dims,
          dnnl_f32, is_grouped ? dnnl_goihw : dnnl_oihw), error) &&
      PT_DNNL (dnnl_memory_desc_init_by_tag (&geometry->b, 1, channels,
          dnnl_f32, dnnl_x), error);
}

static gboolean
conv_forward_pd (PtOp *op, const ConvGeometry *geometry, gboolean bias,
    PtActivation activation, dnnl_primitive_desc_t *pd, GError **error)
{
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (activation,
      op->desc.conv.alpha, error);
  dnnl_convolution_desc_t conv;

  return attr != NULL &&
      PT_DNNL (dnnl_dilated_convolution_forward_desc_init (&conv,
          op->desc.training ? dnnl_forward_training : dnnl_forward_inference,
          dnnl_convolution_direct, &geometry->x, &geometry->w,
          bias ? &geometry->b : NULL, &geometry->y, geometry->stride,
          geometry->dilation, geometry->padding, geometry->padding_end),
      error) &&
      PT_DNNL (dnnl_primitive_desc_create (pd, &conv, attr,
          pt_cpu (op)->engine, NULL), error);
}

static const dnnl_memory_desc_t *
conv_weights_md (const_dnnl_primitive_desc_t pd)
{
  return dnnl_primitive_desc_query_md (pd, dnnl_query_weights_md, 0);
}

/* Settles the layout of the weights by planning the forward pass without bias
 * and activation, which is the hint that the gradients need. */
static gboolean
conv_prepare (PtOp *op, ConvGeometry *geometry, dnnl_primitive_desc_t *hint,
    GError **error)
{
  const PtConvDesc *conv = &op->desc.conv;
  gint64 in = pt_shape_c (&op->desc.x), out = pt_shape_c (&op->desc.y);

  if (conv->groups < 1 || in % conv->groups != 0 || out % conv->groups != 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%d groups do not divide %"
        G_GINT64_FORMAT " input and %" G_GINT64_FORMAT " output channels",
        conv->groups, in, out);
    return FALSE;
  }
  if (!conv_geometry_init (geometry, &op->desc, error) ||
      !conv_forward_pd (op, geometry, FALSE, PT_ACTIVATION_NONE, hint, error))
    return FALSE;
  geometry->packed = *conv_weights_md (*hint);
  if (pt_conv_narrow_suits (&op->desc) &&
      !PT_DNNL (dnnl_memory_desc_init_by_tag (&geometry->packed, 4,
              geometry->plain.dims, dnnl_f32, dnnl_ohwi), error))
    return FALSE;
  op->weights_size = dnnl_memory_desc_get_size (&geometry->packed);
  return TRUE;
}

static void
conv_clear (PtOp *op)
{
  Conv *self = op->priv;

  if (self == NULL)
    return;
  pt_dnnl_packing_clear (&self->packing);
  pt_dnnl_step_clear (&self->conv);
  pt_dnnl_step_clear (&self->reorder);
  pt_conv_narrow_clear (&self->narrow);
  g_clear_pointer (&self->buffer, pt_tensor_unref);
  g_free (self);
}

static gboolean
conv_plan_narrow (PtOp *op, GError **error)
{
  Conv *self = op->priv;

  self->is_narrow = TRUE;
  return pt_conv_narrow_init (&self->narrow, op, error);
}

static gboolean
conv_plan (PtOp *op, GError **error)
{
  Conv *self = op->priv = g_new0 (Conv, 1);
  const PtConvDesc *desc = &op->desc.conv;
  g_auto (PtDnnlPd) hint = NULL;
  g_auto (PtDnnlPd) pd = NULL;
  ConvGeometry geometry;

  if (!conv_prepare (op, &geometry, &hint, error) ||
      !pt_dnnl_packing_init (&self->packing, op, &geometry.plain,
          &geometry.packed, error))
    return FALSE;
  if (pt_conv_narrow_suits (&op->desc))
    return conv_plan_narrow (op, error);
  geometry.w = geometry.packed;
  return conv_forward_pd (op, &geometry, desc->bias, desc->add ?
      PT_ACTIVATION_NONE : desc->activation, &pd, error) &&
      pt_dnnl_step_init (&self->conv, op, pd, error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_SRC, &geometry.x, error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_WEIGHTS, &geometry.w,
      error) &&
      (!desc->bias || pt_dnnl_step_add (&self->conv, op, DNNL_ARG_BIAS,
          &geometry.b, error)) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_DST, &geometry.y, error);
}

typedef struct
{
  const gfloat *add;
  gfloat *y;
  const PtConvDesc *desc;
} ConvJoin;

static PT_CLONES void
conv_add_range (const gfloat *add, gfloat *y, gint64 n)
{
#pragma omp simd
  for (gint64 i = 0; i < n; i++)
    y[i] += add[i];
}

static void
conv_join_range (gconstpointer data, gint64 begin, gint64 end)
{
  const ConvJoin *job = data;

  for (gint64 i = begin; i < end; i += CONV_CHUNK) {
    gint64 n = MIN (CONV_CHUNK, end - i);

    conv_add_range (job->add + i, job->y + i, n);
    if (job->desc->activation != PT_ACTIVATION_NONE)
      pt_cpu_activate (job->desc->activation, job->desc->alpha, job->y + i, n);
  }
}

/* y = activation (y + add) in one pass. oneDNN's own way, a post-operation
 * that reads a second tensor, makes it choose slower kernels for all of it. */
static gboolean
conv_join (PtOp *op, const PtOpArgs *args)
{
  ConvJoin job = { op->desc.conv.add ? args->add->data : NULL, args->y->data,
    &op->desc.conv
  };

  if (job.add != NULL)
    pt_cpu_for (op, pt_shape_get_n_elements (&op->desc.y), 2, conv_join_range,
        &job);
  return TRUE;
}

static gboolean
conv_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Conv *self = op->priv;
  PtDnnlStep *step = &self->conv;

  if (self->is_narrow) {
    pt_conv_narrow_forward (&self->narrow, op, args);
    return conv_join (op, args);
  }
  return pt_dnnl_step_set (step, DNNL_ARG_SRC, args->x->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_WEIGHTS, args->w->data, error) &&
      (!op->desc.conv.bias ||
      pt_dnnl_step_set (step, DNNL_ARG_BIAS, args->b->data, error)) &&
      pt_dnnl_step_set (step, DNNL_ARG_DST, args->y->data, error) &&
      pt_dnnl_step_run (step, op, error) && conv_join (op, args);
}

static gboolean
conv_pack (PtOp *op, const PtTensor *host, PtTensor *device, GError **error)
{
  return pt_dnnl_packing_pack (&((Conv *) op->priv)->packing, op, host,
      device, error);
}

static gboolean
conv_unpack (PtOp *op, const PtTensor *device, PtTensor *host, GError **error)
{
  return pt_dnnl_packing_unpack (&((Conv *) op->priv)->packing, op, device,
      host, error);
}

const PtOpImpl pt_cpu_conv = {
  .plan = conv_plan,
  .run = conv_run,
  .clear = conv_clear,
  .pack = conv_pack,
  .unpack = conv_unpack,
};

/* Reorders @from to @to by way of the private buffer, on the side of the
 * layout that is not the forward pass's. */
static gboolean
conv_plan_reorder (PtOp *op, const dnnl_memory_desc_t *from,
    const dnnl_memory_desc_t *to, const dnnl_memory_desc_t *own,
    GError **error)
{
  Conv *self = op->priv;

  if (dnnl_memory_desc_equal (from, to))
    return TRUE;
  self->buffer = pt_device_bytes_new (op->workspace->device,
      dnnl_memory_desc_get_size (own), error);
  return self->buffer != NULL &&
      pt_dnnl_step_init_reorder (&self->reorder, op, from, to, error);
}

static gboolean
conv_data_plan (PtOp *op, GError **error)
{
  Conv *self = op->priv = g_new0 (Conv, 1);
  g_auto (PtDnnlAttr) attr = NULL;
  g_auto (PtDnnlPd) hint = NULL;
  g_auto (PtDnnlPd) pd = NULL;
  const dnnl_memory_desc_t *w;
  dnnl_convolution_desc_t conv;
  ConvGeometry geometry;

  attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  if (attr == NULL || !conv_prepare (op, &geometry, &hint, error) ||
      !PT_DNNL (dnnl_dilated_convolution_backward_data_desc_init (&conv,
              dnnl_convolution_direct, &geometry.x, &geometry.w, &geometry.y,
              geometry.stride, geometry.dilation, geometry.padding,
              geometry.padding_end), error) ||
      !PT_DNNL (dnnl_primitive_desc_create (&pd, &conv, attr,
              pt_cpu (op)->engine, hint), error))
    return FALSE;
  w = conv_weights_md (pd);
  return conv_plan_reorder (op, &geometry.packed, w, w, error) &&
      pt_dnnl_step_init (&self->conv, op, pd, error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_DIFF_DST, &geometry.y,
      error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_WEIGHTS, w, error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_DIFF_SRC, &geometry.x,
      error);
}

static gboolean
conv_data_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Conv *self = op->priv;
  gconstpointer w = args->w->data;

  if (self->buffer != NULL) {
    if (!pt_dnnl_step_set (&self->reorder, DNNL_ARG_FROM, w, error) ||
        !pt_dnnl_step_set (&self->reorder, DNNL_ARG_TO, self->buffer->data,
            error) || !pt_dnnl_step_run (&self->reorder, op, error))
      return FALSE;
    w = self->buffer->data;
  }
  return pt_dnnl_step_set (&self->conv, DNNL_ARG_DIFF_DST, args->dy->data,
      error) &&
      pt_dnnl_step_set (&self->conv, DNNL_ARG_WEIGHTS, w, error) &&
      pt_dnnl_step_set (&self->conv, DNNL_ARG_DIFF_SRC, args->dx->data, error)
      && pt_dnnl_step_run (&self->conv, op, error);
}

const PtOpImpl pt_cpu_conv_data = {
  .plan = conv_data_plan,
  .run = conv_data_run,
  .clear = conv_clear,
};

static gboolean
conv_weights_plan (PtOp *op, GError **error)
{
  Conv *self = op->priv = g_new0 (Conv, 1);
  gboolean bias = op->desc.conv.bias;
  g_auto (PtDnnlAttr) attr = NULL;
  g_auto (PtDnnlPd) hint = NULL;
  g_auto (PtDnnlPd) pd = NULL;
  const dnnl_memory_desc_t *dw;
  dnnl_convolution_desc_t conv;
  ConvGeometry geometry;

  attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  if (attr == NULL || !conv_prepare (op, &geometry, &hint, error))
    return FALSE;
  if (pt_conv_narrow_suits (&op->desc))
    return conv_plan_narrow (op, error);
  if (!PT_DNNL (dnnl_dilated_convolution_backward_weights_desc_init (&conv,
              dnnl_convolution_direct, &geometry.x, &geometry.w,
              bias ? &geometry.b : NULL, &geometry.y, geometry.stride,
              geometry.dilation, geometry.padding,
              geometry.padding_end), error) ||
      !PT_DNNL (dnnl_primitive_desc_create (&pd, &conv, attr,
              pt_cpu (op)->engine, hint), error))
    return FALSE;
  dw = dnnl_primitive_desc_query_md (pd, dnnl_query_diff_weights_md, 0);
  return conv_plan_reorder (op, dw, &geometry.packed, dw, error) &&
      pt_dnnl_step_init (&self->conv, op, pd, error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_SRC, &geometry.x, error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_DIFF_DST, &geometry.y,
      error) &&
      pt_dnnl_step_add (&self->conv, op, DNNL_ARG_DIFF_WEIGHTS, dw, error) &&
      (!bias || pt_dnnl_step_add (&self->conv, op, DNNL_ARG_DIFF_BIAS,
          &geometry.b, error));
}

static gboolean
conv_weights_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Conv *self = op->priv;
  PtDnnlStep *step = &self->conv;
  gpointer dw = self->buffer != NULL ? self->buffer->data : args->dw->data;

  if (self->is_narrow) {
    pt_conv_narrow_weights (&self->narrow, op, args);
    return TRUE;
  }
  if (!pt_dnnl_step_set (step, DNNL_ARG_SRC, args->x->data, error) ||
      !pt_dnnl_step_set (step, DNNL_ARG_DIFF_DST, args->dy->data, error) ||
      !pt_dnnl_step_set (step, DNNL_ARG_DIFF_WEIGHTS, dw, error) ||
      (op->desc.conv.bias && !pt_dnnl_step_set (step, DNNL_ARG_DIFF_BIAS,
              args->db->data, error)) || !pt_dnnl_step_run (step, op, error))
    return FALSE;
  return self->buffer == NULL ||
      (pt_dnnl_step_set (&self->reorder, DNNL_ARG_FROM, dw, error) &&
      pt_dnnl_step_set (&self->reorder, DNNL_ARG_TO, args->dw->data, error) &&
      pt_dnnl_step_run (&self->reorder, op, error));
}

const PtOpImpl pt_cpu_conv_weights = {
  .plan = conv_weights_plan,
  .run = conv_weights_run,
  .clear = conv_clear,
};
