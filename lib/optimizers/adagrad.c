/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "optimizers/optimizer.h"

typedef struct
{
  gdouble lr;
  gdouble lr_decay, weight_decay, initial_accumulator_value, eps;
} AdagradOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (AdagradOptions, key)

static const PtParam adagrad_params[] = {
  {ROW (lr, DOUBLE), "1e-2", 0, G_MAXDOUBLE, NULL, "learning rate"},
  {ROW (lr_decay, DOUBLE), "0", 0, 1e6, NULL,
      "after t steps lr is divided by 1 + t times this"},
  {ROW (weight_decay, DOUBLE), "0", 0, 1e6, NULL,
      "part of the weight added to its gradient"},
  {ROW (initial_accumulator_value, DOUBLE), "0", 0, 1e6, NULL,
      "what the sum of squares begins with"},
  {ROW (eps, DOUBLE), "1e-10", 0, 1, NULL, "added to the divisor"},
  {NULL}
};

#undef ROW

static void
adagrad_describe (const PtOptimizer *optimizer, PtUpdateDesc *desc)
{
  const AdagradOptions *options = optimizer->options;

  *desc = (PtUpdateDesc) {
    .kind = PT_UPDATE_ADAGRAD,
    .eps = options->eps,
    .weight_decay = options->weight_decay,
    .lr_decay = options->lr_decay,
    .initial = options->initial_accumulator_value,
  };
}

static void
adagrad_get_slots (const PtOptimizer *optimizer,
    const gchar *slots[PT_UPDATE_MAX_SLOTS + 1])
{
  slots[0] = "sum";
}

const PtOptimizerKind pt_optimizer_adagrad = {
  .name = "adagrad",
  .summary = "the gradient over the root of the sum of its squares, "
      "torch.optim.Adagrad",
  .options_size = sizeof (AdagradOptions),
  .params = adagrad_params,
  .describe = adagrad_describe,
  .get_slots = adagrad_get_slots,
};
