/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "optimizers/optimizer.h"

/* Two kinds, which differ in what the weight decay does. */

typedef struct
{
  gdouble lr;
  gdouble betas[2], eps, weight_decay;
  gboolean amsgrad;
} AdamOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (AdamOptions, key)
/* PyTorch wants betas below 1; so does float32. */
#define BELOW_ONE 0.9999999

static const PtParam adam_params[] = {
  {ROW (lr, DOUBLE), "1e-3", 0, G_MAXDOUBLE, NULL, "learning rate"},
  {ROW (betas, DOUBLE_PAIR), "0.9;0.999", 0, BELOW_ONE, NULL,
      "part of the mean gradient and mean square that stays"},
  {ROW (eps, DOUBLE), "1e-8", 0, 1, NULL, "added to the divisor"},
  {ROW (weight_decay, DOUBLE), "0", 0, 1e6, NULL,
      "part of the weight added to its gradient"},
  {ROW (amsgrad, BOOL), "false", 0, 0, NULL,
      "divides by the largest mean square so far"},
  {NULL}
};

static const PtParam adam_adamw_params[] = {
  {ROW (lr, DOUBLE), "1e-3", 0, G_MAXDOUBLE, NULL, "learning rate"},
  {ROW (betas, DOUBLE_PAIR), "0.9;0.999", 0, BELOW_ONE, NULL,
      "part of the mean gradient and mean square that stays"},
  {ROW (eps, DOUBLE), "1e-8", 0, 1, NULL, "added to the divisor"},
  {ROW (weight_decay, DOUBLE), "1e-2", 0, 1e6, NULL,
      "times lr: part of the weight that is lost in each step"},
  {ROW (amsgrad, BOOL), "false", 0, 0, NULL,
      "divides by the largest mean square so far"},
  {NULL}
};

#undef ROW

extern const PtOptimizerKind pt_optimizer_adam, pt_optimizer_adamw;

static void
adam_describe (const PtOptimizer *optimizer, PtUpdateDesc *desc)
{
  const AdamOptions *options = optimizer->options;

  *desc = (PtUpdateDesc) {
    .kind = optimizer->kind == &pt_optimizer_adam ? PT_UPDATE_ADAM :
        PT_UPDATE_ADAMW,
    .beta1 = options->betas[0],
    .beta2 = options->betas[1],
    .eps = options->eps,
    .weight_decay = options->weight_decay,
    .amsgrad = options->amsgrad,
  };
}

static void
adam_get_slots (const PtOptimizer *optimizer,
    const gchar *slots[PT_UPDATE_MAX_SLOTS + 1])
{
  const AdamOptions *options = optimizer->options;

  slots[0] = "exp_avg";
  slots[1] = "exp_avg_sq";
  if (options->amsgrad)
    slots[2] = "max_exp_avg_sq";
}

const PtOptimizerKind pt_optimizer_adam = {
  .name = "adam",
  .summary = "mean gradient over the root of the mean square, "
      "torch.optim.Adam",
  .options_size = sizeof (AdamOptions),
  .params = adam_params,
  .describe = adam_describe,
  .get_slots = adam_get_slots,
};

const PtOptimizerKind pt_optimizer_adamw = {
  .name = "adamw",
  .summary = "Adam with weight decay apart from the gradient, "
      "torch.optim.AdamW",
  .options_size = sizeof (AdamOptions),
  .params = adam_adamw_params,
  .describe = adam_describe,
  .get_slots = adam_get_slots,
};
