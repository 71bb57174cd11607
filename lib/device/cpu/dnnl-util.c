/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/cpu.h"

#include <string.h>

#include "core/tensor.h"

static PtError
dnnl_util_error_code (dnnl_status_t status)
{
  switch (status) {
    case dnnl_out_of_memory:
      return PT_ERROR_NO_MEMORY;
    case dnnl_invalid_arguments:
      return PT_ERROR_SHAPE;
    case dnnl_unimplemented:
      return PT_ERROR_UNSUPPORTED;
    default:
      return PT_ERROR_FAILED;
  }
}

static const gchar *
dnnl_util_status_name (dnnl_status_t status)
{
  switch (status) {
    case dnnl_out_of_memory:
      return "out of memory";
    case dnnl_invalid_arguments:
      return "invalid arguments";
    case dnnl_unimplemented:
      return "unimplemented";
    case dnnl_iterator_ends:
      return "no implementation left";
    case dnnl_runtime_error:
      return "runtime error";
    case dnnl_not_required:
      return "not required";
    default:
      return "unknown status";
  }
}

gboolean
pt_dnnl_check (dnnl_status_t status, const gchar *call, GError **error)
{
  if (status == dnnl_success)
    return TRUE;
  g_set_error (error, PT_ERROR, dnnl_util_error_code (status), "%.*s: %s",
      (gint) strcspn (call, " ("), call, dnnl_util_status_name (status));
  return FALSE;
}

/* Makes the primitive of @pd, its scratchpad taken from the workspace. */
gboolean
pt_dnnl_step_init (PtDnnlStep *step, PtOp *op, const_dnnl_primitive_desc_t pd,
    GError **error)
{
  const dnnl_memory_desc_t *scratch =
      dnnl_primitive_desc_query_md (pd, dnnl_query_scratchpad_md, 0);

  if (!PT_DNNL (dnnl_primitive_create (&step->primitive, pd), error))
    return FALSE;
  op->scratch_size = MAX (op->scratch_size,
      dnnl_memory_desc_get_size (scratch));
  return pt_dnnl_step_add (step, op, DNNL_ARG_SCRATCHPAD, scratch, error);
}

gboolean
pt_dnnl_step_add (PtDnnlStep *step, PtOp *op, gint arg,
    const dnnl_memory_desc_t *md, GError **error)
{
  dnnl_exec_arg_t *slot = &step->args[step->n_args];

  g_return_val_if_fail (step->n_args < PT_DNNL_MAX_ARGS, FALSE);
  slot->arg = arg;
  if (!PT_DNNL (dnnl_memory_create (&slot->memory, md, pt_cpu (op)->engine,
              DNNL_MEMORY_NONE), error))
    return FALSE;
  step->n_args++;
  return TRUE;
}

gboolean
pt_dnnl_step_init_reorder (PtDnnlStep *step, PtOp *op,
    const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
    GError **error)
{
  dnnl_engine_t engine = pt_cpu (op)->engine;
  g_auto (PtDnnlAttr) attr = pt_dnnl_attr_new (PT_ACTIVATION_NONE, 0, error);
  g_auto (PtDnnlPd) pd = NULL;

  return attr != NULL && PT_DNNL (dnnl_reorder_primitive_desc_create (&pd,
          from, engine, to, engine, attr), error) &&
      pt_dnnl_step_init (step, op, pd, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_FROM, from, error) &&
      pt_dnnl_step_add (step, op, DNNL_ARG_TO, to, error);
}

/* oneDNN writes zeros into padding each time an address is set, so one that
 * has not changed is left alone. */
gboolean
pt_dnnl_step_set (PtDnnlStep *step, gint arg, gconstpointer data,
    GError **error)
{
  for (gint i = 0; i < step->n_args; i++) {
    dnnl_memory_t memory = step->args[i].memory;
    void *now = NULL;

    if (step->args[i].arg != arg)
      continue;
    if (!PT_DNNL (dnnl_memory_get_data_handle (memory, &now), error))
      return FALSE;
    return now == data || PT_DNNL (dnnl_memory_set_data_handle (memory,
            (void *) data), error);
  }
  return TRUE;
}

gboolean
pt_dnnl_step_run (PtDnnlStep *step, PtOp *op, GError **error)
{
  const PtTensor *scratch = op->workspace->scratch;

  if (scratch != NULL && !pt_dnnl_step_set (step, DNNL_ARG_SCRATCHPAD,
          scratch->data, error))
    return FALSE;
  return PT_DNNL (dnnl_primitive_execute (step->primitive,
          pt_cpu (op)->stream, step->n_args, step->args), error);
}

void
pt_dnnl_step_clear (PtDnnlStep *step)
{
  for (gint i = 0; i < step->n_args; i++)
    dnnl_memory_destroy (step->args[i].memory);
  if (step->primitive != NULL)
    dnnl_primitive_destroy (step->primitive);
  *step = (PtDnnlStep) { NULL, };
}

/* Plans the ways between @plain and @packed; sets op->weights_size. */
gboolean
pt_dnnl_packing_init (PtDnnlPacking *packing, PtOp *op,
    const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *packed,
    GError **error)
{
  packing->plain = *plain;
  packing->packed = *packed;
  op->weights_size = dnnl_memory_desc_get_size (packed);
  return pt_dnnl_step_init_reorder (&packing->pack, op, plain, packed, error)
      && pt_dnnl_step_init_reorder (&packing->unpack, op, packed, plain, error);
}

static gboolean
dnnl_util_check_size (const PtTensor *tensor, const gchar *which,
    const dnnl_memory_desc_t *md, GError **error)
{
  gsize size = dnnl_memory_desc_get_size (md);

  if (tensor->size >= size)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%s weights have %"
      G_GSIZE_FORMAT " bytes, expected %" G_GSIZE_FORMAT, which, tensor->size,
      size);
  return FALSE;
}

gboolean
pt_dnnl_packing_pack (PtDnnlPacking *packing, PtOp *op, const PtTensor *host,
    PtTensor *device, GError **error)
{
  PtDnnlStep *step = &packing->pack;

  return dnnl_util_check_size (host, "row-major", &packing->plain, error) &&
      dnnl_util_check_size (device, "packed", &packing->packed, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_FROM, host->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_TO, device->data, error) &&
      pt_dnnl_step_run (step, op, error);
}

gboolean
pt_dnnl_packing_unpack (PtDnnlPacking *packing, PtOp *op,
    const PtTensor *device, PtTensor *host, GError **error)
{
  PtDnnlStep *step = &packing->unpack;

  return dnnl_util_check_size (host, "row-major", &packing->plain, error) &&
      dnnl_util_check_size (device, "packed", &packing->packed, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_FROM, device->data, error) &&
      pt_dnnl_step_set (step, DNNL_ARG_TO, host->data, error) &&
      pt_dnnl_step_run (step, op, error);
}

void
pt_dnnl_packing_clear (PtDnnlPacking *packing)
{
  pt_dnnl_step_clear (&packing->pack);
  pt_dnnl_step_clear (&packing->unpack);
}

/* What oneDNN calls it, with its alpha and beta. */
typedef struct
{
  dnnl_alg_kind_t algorithm;
  gfloat alpha, beta;
} DnnlActivation;

static DnnlActivation
dnnl_util_activation (PtActivation activation, gfloat alpha)
{
  switch (activation) {
    case PT_ACTIVATION_RELU:
      return (DnnlActivation) { dnnl_eltwise_relu };
    case PT_ACTIVATION_LEAKY_RELU:
      return (DnnlActivation) { dnnl_eltwise_relu, alpha };
    case PT_ACTIVATION_SIGMOID:
      return (DnnlActivation) { dnnl_eltwise_logistic };
    case PT_ACTIVATION_TANH:
      return (DnnlActivation) { dnnl_eltwise_tanh };
    case PT_ACTIVATION_GELU:
      return (DnnlActivation) { dnnl_eltwise_gelu_erf };
    case PT_ACTIVATION_GELU_TANH:
      return (DnnlActivation) { dnnl_eltwise_gelu_tanh };
    case PT_ACTIVATION_SILU:
      return (DnnlActivation) { dnnl_eltwise_swish, 1 };
    case PT_ACTIVATION_RELU6:
      return (DnnlActivation) { dnnl_eltwise_clip, 0, 6 };
    case PT_ACTIVATION_HARD_SWISH:
      return (DnnlActivation) { dnnl_eltwise_hardswish };
    case PT_ACTIVATION_MISH:
      return (DnnlActivation) { dnnl_eltwise_mish };
    default:
      return (DnnlActivation) { dnnl_alg_kind_undef };
  }
}

static gboolean
dnnl_util_attr_append (dnnl_primitive_attr_t attr, PtActivation activation,
    gfloat alpha, GError **error)
{
  const DnnlActivation a = dnnl_util_activation (activation, alpha);
  dnnl_post_ops_t ops = NULL;
  gboolean ok;

  if (!PT_DNNL (dnnl_post_ops_create (&ops), error))
    return FALSE;
  ok = PT_DNNL (dnnl_post_ops_append_eltwise (ops, 1, a.algorithm, a.alpha,
          a.beta), error) &&
      PT_DNNL (dnnl_primitive_attr_set_post_ops (attr, ops), error);
  dnnl_post_ops_destroy (ops);
  return ok;
}

dnnl_primitive_attr_t
pt_dnnl_attr_new (PtActivation activation, gfloat alpha, GError **error)
{
  g_auto (PtDnnlAttr) attr = NULL;

  if (!PT_DNNL (dnnl_primitive_attr_create (&attr), error) ||
      !PT_DNNL (dnnl_primitive_attr_set_scratchpad_mode (attr,
              dnnl_scratchpad_mode_user), error))
    return NULL;
  if (activation != PT_ACTIVATION_NONE &&
      !dnnl_util_attr_append (attr, activation, alpha, error))
    return NULL;
  return g_steal_pointer (&attr);
}

gboolean
pt_dnnl_nhwc (dnnl_memory_desc_t *md, const PtShape *shape, GError **error)
{
  dnnl_dims_t dims = { pt_shape_get_dim (shape, 0), pt_shape_c (shape),
    pt_shape_h (shape), pt_shape_w (shape)
  };

  return PT_DNNL (dnnl_memory_desc_init_by_tag (md, 4, dims, dnnl_f32,
          dnnl_nhwc), error);
}
