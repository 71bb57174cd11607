/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/pool.h"

PtWindow
pt_pool_window (const gint kernel[2], const gint stride[2])
{
  PtWindow window = {.dilation = {1, 1} };

  for (guint i = 0; i < 2; i++) {
    window.kernel[i] = kernel[i];
    window.stride[i] = stride[i] ? stride[i] : kernel[i];
  }
  return window;
}

gboolean
pt_pool_window_whole (const PtShape *x, PtWindow *window, GError **error)
{
  gint size[2] = { pt_shape_h (x), pt_shape_w (x) };

  if (MAX (pt_shape_h (x), pt_shape_w (x)) > G_MAXINT) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
        "input of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
        " pixels, expected at most %d either way", pt_shape_h (x),
        pt_shape_w (x), G_MAXINT);
    return FALSE;
  }
  *window = pt_pool_window (size, size);
  return TRUE;
}

PtPoolDesc
pt_pool_describe (PtPoolKind kind, const PtWindow *window)
{
  PtPoolDesc desc = {.kind = kind };

  for (guint i = 0; i < 2; i++) {
    desc.kernel[i] = window->kernel[i];
    desc.stride[i] = window->stride[i];
    desc.padding[i] = window->padding[i];
    desc.dilation[i] = window->dilation[i];
  }
  pt_window_get_more_padding (window, desc.more_padding);
  return desc;
}

gboolean
pt_pool_infer (PtLayer *layer, const PtWindow *window, GError **error)
{
  gint64 out[2];

  if (!pt_window_count_pool (window, &layer->inputs[0], out, error))
    return FALSE;
  layer->output = PT_SHAPE (1, pt_shape_c (&layer->inputs[0]), out[0], out[1]);
  return TRUE;
}

gboolean
pt_pool_infer_max (PtLayer *layer, const PtWindow *window, GError **error)
{
  if (!pt_pool_infer (layer, window, error))
    return FALSE;
  layer->saved[layer->n_saved++] = (PtSaved) { PT_I32, layer->output };
  return TRUE;
}

gdouble
pt_pool_flops (const PtLayer *layer, const PtWindow *window)
{
  return (gdouble) window->kernel[0] * window->kernel[1] *
      pt_shape_get_n_elements (&layer->output);
}

gboolean
pt_pool_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, const PtPoolDesc *pool, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_POOL);

  desc.pool = *pool;
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_POOL_BACKWARD,
      error);
}

gboolean
pt_pool_forward_max (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.x = args->x[0], .y = args->y };

  if (plan->ops[1] != NULL)
    run.indices = args->saved[0];
  return pt_op_run (plan->ops[0], &run, error);
}

gboolean
pt_pool_backward_max (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.dy = args->dy, .indices = args->saved[0],
    .dx = args->dx[0]
  };

  return args->dx[0] == NULL || pt_op_run (plan->ops[1], &run, error);
}
