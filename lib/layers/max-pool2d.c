/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/layer.h"

enum
{
  FORWARD,
  BACKWARD,
};

typedef struct
{
  gint kernel[2], stride[2], padding[2];
} MaxPool2dOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (MaxPool2dOptions, key)

static const PtParam max_pool2d_params[] = {
  {ROW (kernel, INT_PAIR), NULL, 1, 1024, NULL, "size of the window, px"},
  {ROW (stride, INT_PAIR), "0", 0, 1024, NULL,
      "step of the window, px; 0: the kernel's size"},
  {ROW (padding, INT_PAIR), "0", 0, 512, NULL,
      "border that never is the maximum, px"},
  {NULL}
};

#undef ROW

static PtPoolDesc
max_pool2d_describe (const PtLayer *layer)
{
  const MaxPool2dOptions *options = layer->options;
  PtPoolDesc desc = {.kind = PT_POOL_MAX };

  for (guint i = 0; i < 2; i++) {
    desc.kernel[i] = options->kernel[i];
    desc.stride[i] = options->stride[i] ? options->stride[i] :
        options->kernel[i];
    desc.padding[i] = options->padding[i];
  }
  return desc;
}

/* What is kept is where each maximum was. */
static gboolean
max_pool2d_infer (PtLayer *layer, GError **error)
{
  PtPoolDesc desc = max_pool2d_describe (layer);
  gint64 out[2];

  if (!pt_layer_check_rank (layer, 4, error) ||
      !pt_layer_check_pool_padding (desc.kernel, desc.padding, error) ||
      !pt_layer_infer_window (&layer->inputs[0], desc.kernel, desc.stride,
          desc.padding, NULL, out, error))
    return FALSE;
  layer->output = PT_SHAPE (1, pt_shape_c (&layer->inputs[0]), out[0], out[1]);
  layer->saved[layer->n_saved++] = (PtSaved) { PT_I32, layer->output };
  return TRUE;
}

static gboolean
max_pool2d_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error)
{
  PtOpDesc desc = pt_layer_op_desc (layer, workspace, PT_OP_POOL);

  desc.pool = max_pool2d_describe (layer);
  return pt_layer_plan_unary (plan, workspace, &desc, PT_OP_POOL_BACKWARD,
      error);
}

static gboolean
max_pool2d_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.x = args->x[0], .y = args->y };

  if (plan->ops[BACKWARD] != NULL)
    run.indices = args->saved[0];
  return pt_op_run (plan->ops[FORWARD], &run, error);
}

static gboolean
max_pool2d_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error)
{
  PtOpArgs run = {.dy = args->dy, .indices = args->saved[0],
    .dx = args->dx[0]
  };

  return args->dx[0] == NULL ||
      pt_op_run (plan->ops[BACKWARD], &run, error);
}

static gdouble
max_pool2d_flops (const PtLayer *layer)
{
  const MaxPool2dOptions *options = layer->options;

  return (gdouble) options->kernel[0] * options->kernel[1] *
      pt_shape_get_n_elements (&layer->output);
}

static const gchar *const max_pool2d_samples[] = {
  "in=1x3x6x8 kernel=2",
  "in=1x2x7x9 kernel=3 stride=2 padding=1",
  "in=1x2x7x6 kernel=3;2 stride=1",
  NULL,
};

const PtLayerKind pt_layer_max_pool2d = {
  .name = "max-pool2d",
  .summary = "largest element of each window, torch.nn.MaxPool2d",
  .options_size = sizeof (MaxPool2dOptions),
  .params = max_pool2d_params,
  .min_inputs = 1,
  .max_inputs = 1,
  .samples = max_pool2d_samples,
  .infer = max_pool2d_infer,
  .plan = max_pool2d_plan,
  .forward = max_pool2d_forward,
  .backward = max_pool2d_backward,
  .flops = max_pool2d_flops,
};
