/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/conv.h"

#include "device/cuda/cuda.h"

#define PRODUCT_ALIGNMENT 256

/* fp16 ends at 6e-8, where gradients may still count: they are so many times
 * as large while they are fp16, and may be up to 64 then. */
#define PRODUCT_FP16_SCALE 1024

typedef struct
{
  PtCudaProduct product;
  PtPlan *plan;                 /* NULL: direct */
  PtOp activation;              /* what cuDNN does not do on its way */
  /* Where in the scratch memory are copies of 16 bits, and cuDNN's own. */
  gsize offsets[PT_CONV_B];
  gsize workspace;
} Product;

/* Of each pass: what it writes. */
static const PtConvTensor product_written[] = {
  [PT_CONV_FORWARD] = PT_CONV_Y,
  [PT_CONV_DATA] = PT_CONV_X,
  [PT_CONV_WEIGHTS] = PT_CONV_W,
};

static gboolean
product_is_narrow (const PtConvGraph *graph)
{
  return graph->precision == PT_PRECISION_BF16
      || graph->precision == PT_PRECISION_FP16;
}

/* What gradients are multiplied by as they are narrowed. */
static gfloat
product_get_scale (const PtCudaProduct *product)
{
  const PtConvGraph *graph = &product->graph;
  PtConvPass forward = product->transposed ? PT_CONV_DATA : PT_CONV_FORWARD;

  return graph->precision == PT_PRECISION_FP16 && graph->pass != forward ?
      PRODUCT_FP16_SCALE : 1;
}

static gint64
product_count (const PtConvGraph *graph, PtConvTensor which)
{
  const gint64 *dims = which == PT_CONV_X ? graph->x :
      which == PT_CONV_Y ? graph->y : graph->w;

  return dims[0] * dims[1] * dims[2] * dims[3];
}

static gint64
product_pixels (const PtConvGraph *graph)
{
  return graph->y[2] * graph->y[3];
}

/* Gives @bytes more of scratch memory. */
static gsize
product_take (gsize *size, gsize bytes)
{
  gsize offset = *size;

  *size += (bytes + PRODUCT_ALIGNMENT - 1) / PRODUCT_ALIGNMENT *
      PRODUCT_ALIGNMENT;
  return offset;
}

static void
product_plan_scratch (PtOp *op, Product *self)
{
  const PtConvGraph *graph = &self->product.graph;
  gsize size = 0;

  if (product_is_narrow (graph))
    for (guint i = 0; i < PT_CONV_B; i++)
      self->offsets[i] = product_take (&size,
          product_count (graph, i) * sizeof (guint16));
  self->workspace = product_take (&size, self->plan->workspace);
  /* when the biases' turn comes, the rest is done */
  if (graph->pass == PT_CONV_WEIGHTS && self->product.bias)
    size = MAX (size, pt_cuda_bias_scratch (graph->y[1],
            product_pixels (graph)));
  op->scratch_size = size;
}

/* What cuDNN does on its way, if it has a plan for it; and if not, without. */
static gboolean
product_plan_graph (PtOp *op, Product *self, GError **error)
{
  const PtCudaProduct *product = &self->product;
  PtConvGraph *graph = &self->product.graph;

  if (graph->pass == PT_CONV_FORWARD && !product_is_narrow (graph)) {
    graph->bias = product->bias;
    graph->add = product->bias && product->add;
    graph->relu = product->bias && product->add == graph->add
        && product->activation == PT_ACTIVATION_RELU;
  }
  if (!pt_plan_new_for (op, graph, &self->plan, error))
    return FALSE;
  if (self->plan != NULL || !graph->add)
    return TRUE;
  graph->add = graph->relu = FALSE;
  return pt_plan_new_for (op, graph, &self->plan, error);
}

gboolean
pt_cuda_product_plan (PtOp *op, const PtCudaProduct *product, GError **error)
{
  Product *self = op->priv = g_new0 (Product, 1);
  PtConvGraph *graph = &self->product.graph;

  self->product = *product;
  graph->precision = op->workspace->precision;
  if (product->direct_only)
    return TRUE;
  if (graph->pass != PT_CONV_FORWARD)
    self->product.activation = PT_ACTIVATION_NONE;
  if (!product_plan_graph (op, self, error))
    return FALSE;
  if (self->plan == NULL)
    return TRUE;
  self->activation.desc = (PtOpDesc) {
    .type = PT_OP_ACTIVATION, .x = op->desc.y, .y = op->desc.y,
    .activation = { product->activation, product->alpha },
  };
  self->activation.workspace = op->workspace;
  product_plan_scratch (op, self);
  return TRUE;
}

/* Copies of 16 bits of what is read, @half of the weights if it is there;
 * @pointers become theirs. */
static gboolean
product_narrow (Product *self, PtOp *op, const PtTensor *half,
    guint8 *scratch, gpointer *pointers, GError **error)
{
  const PtConvGraph *graph = &self->product.graph;
  guint gradient = self->product.transposed ? PT_CONV_X : PT_CONV_Y;

  for (guint i = 0; i < PT_CONV_B; i++) {
    gpointer copy = scratch + self->offsets[i];

    if (i == PT_CONV_W && half != NULL && i != product_written[graph->pass])
      copy = half->data;
    else if (i != product_written[graph->pass] && !pt_cuda_narrow (op,
            graph->precision,
            i == gradient ? product_get_scale (&self->product) : 1,
            product_count (graph, i), pointers[i], copy, error))
      return FALSE;
    pointers[i] = copy;
  }
  return TRUE;
}

/* What is left to do when cuDNN has written to @from. */
static gboolean
product_finish (Product *self, PtOp *op, const PtOpArgs *args, gpointer from,
    gpointer to, GError **error)
{
  const PtCudaProduct *product = &self->product;
  const PtConvGraph *graph = &product->graph;
  gboolean forward = graph->pass == PT_CONV_FORWARD;
  PtConvTensor written = product_written[graph->pass];

  if (product_is_narrow (graph) && !pt_cuda_widen (op, product,
          1 / product_get_scale (product), product_count (graph, written), from,
          forward && product->bias ? args->b : NULL,
          forward && product->add ? args->add : NULL, to, error))
    return FALSE;
  if (graph->pass == PT_CONV_WEIGHTS)
    return !product->bias || pt_cuda_bias_gradient (op, graph->y[1],
        product_pixels (graph), args->dy, args->db, error);
  if (forward && product->add && !graph->add && !product_is_narrow (graph))
    return pt_cuda_join (op, product, product_count (graph, PT_CONV_Y),
        args->add, args->y, error);
  return !forward || product_is_narrow (graph) || graph->relu
      || product->activation == PT_ACTIVATION_NONE
      || pt_cuda_activation.run (&self->activation,
      &(PtOpArgs) { .x = args->y, .y = args->y }, error);
}

static gpointer
product_data (const PtTensor *tensor)
{
  return tensor != NULL ? tensor->data : NULL;
}

gboolean
pt_cuda_product_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  Product *self = op->priv;
  PtConvPass pass = self->product.graph.pass;
  const PtTensor *scratch = op->workspace->scratch;
  guint8 *room = product_data (scratch);
  PtConvTensor written = product_written[pass];
  gpointer to, pointers[PT_CONV_N_TENSORS] = {
    product_data (pass == PT_CONV_DATA ? args->dx : args->x),
    product_data (pass == PT_CONV_FORWARD ? args->y : args->dy),
    product_data (pass == PT_CONV_WEIGHTS ? args->dw : args->w),
    product_data (args->b), product_data (args->add),
  };

  if (self->plan == NULL)
    return self->product.direct->run (op, args, error);
  to = pointers[written];
  if (product_is_narrow (&self->product.graph) &&
      !product_narrow (self, op, args->half, room, pointers, error))
    return FALSE;
  return pt_plan_run (self->plan, op, pointers,
      self->plan->workspace > 0 ? room + self->workspace : NULL, error) &&
      product_finish (self, op, args, pointers[written], to, error);
}

void
pt_cuda_product_clear (PtOp *op)
{
  Product *self = op->priv;

  if (self != NULL)
    g_clear_pointer (&self->plan, pt_plan_free);
  g_free (self);
}
