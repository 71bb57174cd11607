/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <oneapi/dnnl/dnnl.h>

#include "device/backend.h"

G_BEGIN_DECLS

/* What a device of CPU cores keeps. */
typedef struct
{
  guint n_cores;
  guint *cores;                 /* numbers of the machine's cores */
  dnnl_engine_t engine;
  dnnl_stream_t stream;
} PtCpu;

static inline PtCpu *
pt_cpu (const PtOp *op)
{
  return op->workspace->device->priv;
}

extern const PtOpImpl pt_cpu_conv;
extern const PtOpImpl pt_cpu_conv_data;
extern const PtOpImpl pt_cpu_conv_weights;
extern const PtOpImpl pt_cpu_conv_transpose;
extern const PtOpImpl pt_cpu_conv_transpose_data;
extern const PtOpImpl pt_cpu_conv_transpose_weights;
extern const PtOpImpl pt_cpu_linear;
extern const PtOpImpl pt_cpu_linear_data;
extern const PtOpImpl pt_cpu_linear_weights;
extern const PtOpImpl pt_cpu_activation;
extern const PtOpImpl pt_cpu_activation_backward;
extern const PtOpImpl pt_cpu_pool;
extern const PtOpImpl pt_cpu_pool_backward;
extern const PtOpImpl pt_cpu_upsample;
extern const PtOpImpl pt_cpu_upsample_backward;
extern const PtOpImpl pt_cpu_batch_norm;
extern const PtOpImpl pt_cpu_batch_norm_backward;
extern const PtOpImpl pt_cpu_normalize;
extern const PtOpImpl pt_cpu_normalize_backward;
extern const PtOpImpl pt_cpu_lrn;
extern const PtOpImpl pt_cpu_lrn_backward;
extern const PtOpImpl pt_cpu_grid_sample;
extern const PtOpImpl pt_cpu_grid_sample_backward;
extern const PtOpImpl pt_cpu_softmax;
extern const PtOpImpl pt_cpu_softmax_backward;
extern const PtOpImpl pt_cpu_add;
extern const PtOpImpl pt_cpu_concat;
extern const PtOpImpl pt_cpu_split;
extern const PtOpImpl pt_cpu_flatten;
extern const PtOpImpl pt_cpu_unflatten;
extern const PtOpImpl pt_cpu_combine;
extern const PtOpImpl pt_cpu_dropout;
extern const PtOpImpl pt_cpu_multiply;
extern const PtOpImpl pt_cpu_binary;
extern const PtOpImpl pt_cpu_binary_backward;
extern const PtOpImpl pt_cpu_pointwise_loss;
extern const PtOpImpl pt_cpu_binary_cross_entropy;
extern const PtOpImpl pt_cpu_cross_entropy;
extern const PtOpImpl pt_cpu_ssim;
extern const PtOpImpl pt_cpu_flow_loss;
extern const PtOpImpl pt_cpu_update;
extern const PtOpImpl pt_cpu_dot;
extern const PtOpImpl pt_cpu_project;
extern const PtOpImpl pt_cpu_check_finite;

/* dnnl-util.c */

/* TRUE, or FALSE with @error saying which call failed and how. */
#define PT_DNNL(call, error) pt_dnnl_check ((call), #call, (error))

/* A primitive with its memory objects. All are made while planning; a run
 * changes the addresses in them only. */
#define PT_DNNL_MAX_ARGS 10

typedef struct
{
  dnnl_primitive_t primitive;
  gint n_args;
  dnnl_exec_arg_t args[PT_DNNL_MAX_ARGS];
} PtDnnlStep;

/* Parameters in the device's layout, and the ways there and back. */
typedef struct
{
  dnnl_memory_desc_t plain;     /* row-major, PyTorch's */
  dnnl_memory_desc_t packed;
  PtDnnlStep pack, unpack;
} PtDnnlPacking;

gboolean pt_dnnl_check (dnnl_status_t status, const gchar *call,
    GError **error);
gboolean pt_dnnl_step_init (PtDnnlStep *step, PtOp *op,
    const_dnnl_primitive_desc_t pd, GError **error);
gboolean pt_dnnl_step_add (PtDnnlStep *step, PtOp *op, gint arg,
    const dnnl_memory_desc_t *md, GError **error);
gboolean pt_dnnl_step_init_reorder (PtDnnlStep *step, PtOp *op,
    const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
    GError **error);
gboolean pt_dnnl_step_set (PtDnnlStep *step, gint arg, gconstpointer data,
    GError **error);
gboolean pt_dnnl_step_run (PtDnnlStep *step, PtOp *op, GError **error);
void pt_dnnl_step_clear (PtDnnlStep *step);
gboolean pt_dnnl_packing_init (PtDnnlPacking *packing, PtOp *op,
    const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *packed,
    GError **error);
gboolean pt_dnnl_packing_pack (PtDnnlPacking *packing, PtOp *op,
    const PtTensor *host, PtTensor *device, GError **error);
gboolean pt_dnnl_packing_unpack (PtDnnlPacking *packing, PtOp *op,
    const PtTensor *device, PtTensor *host, GError **error);
void pt_dnnl_packing_clear (PtDnnlPacking *packing);
/* Attributes with the user's scratchpad and @activation applied last. */
dnnl_primitive_attr_t pt_dnnl_attr_new (PtActivation activation, gfloat alpha,
    GError **error);
/* The channels-last descriptor of a (1, C, H, W). */
gboolean pt_dnnl_nhwc (dnnl_memory_desc_t *md, const PtShape *shape,
    GError **error);

typedef dnnl_primitive_desc_t PtDnnlPd;
typedef dnnl_primitive_attr_t PtDnnlAttr;

static inline void
pt_dnnl_pd_free (PtDnnlPd pd)
{
  dnnl_primitive_desc_destroy (pd);
}

static inline void
pt_dnnl_attr_free (PtDnnlAttr attr)
{
  dnnl_primitive_attr_destroy (attr);
}

G_DEFINE_AUTO_CLEANUP_FREE_FUNC (PtDnnlPd, pt_dnnl_pd_free, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC (PtDnnlAttr, pt_dnnl_attr_free, NULL)

G_END_DECLS
