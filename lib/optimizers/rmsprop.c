/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "optimizers/optimizer.h"

typedef struct
{
  gdouble lr;
  gdouble alpha, eps, weight_decay, momentum;
  gboolean centered;
} RmspropOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (RmspropOptions, key)

static const PtParam rmsprop_params[] = {
  {ROW (lr, DOUBLE), "1e-2", 0, G_MAXDOUBLE, NULL, "learning rate"},
  {ROW (alpha, DOUBLE), "0.99", 0, 1, NULL,
      "part of the mean square that stays"},
  {ROW (eps, DOUBLE), "1e-8", 0, 1, NULL, "added to the divisor"},
  {ROW (weight_decay, DOUBLE), "0", 0, 1e6, NULL,
      "part of the weight added to its gradient"},
  {ROW (momentum, DOUBLE), "0", 0, 1e6, NULL,
      "part of the last step that is taken again"},
  {ROW (centered, BOOL), "false", 0, 0, NULL,
      "divides by the variance, not the mean square"},
  {NULL}
};

#undef ROW

static void
rmsprop_describe (const PtOptimizer *optimizer, PtUpdateDesc *desc)
{
  const RmspropOptions *options = optimizer->options;

  *desc = (PtUpdateDesc) {
    .kind = PT_UPDATE_RMSPROP,
    .alpha = options->alpha,
    .eps = options->eps,
    .weight_decay = options->weight_decay,
    .momentum = options->momentum,
    .centered = options->centered,
  };
}

static void
rmsprop_get_slots (const PtOptimizer *optimizer,
    const gchar *slots[PT_UPDATE_MAX_SLOTS + 1])
{
  const RmspropOptions *options = optimizer->options;
  guint n = 0;

  slots[n++] = "square_avg";
  if (options->momentum > 0)
    slots[n++] = "momentum_buffer";
  if (options->centered)
    slots[n++] = "grad_avg";
}

const PtOptimizerKind pt_optimizer_rmsprop = {
  .name = "rmsprop",
  .summary = "the gradient over the root of its mean square, "
      "torch.optim.RMSprop",
  .options_size = sizeof (RmspropOptions),
  .params = rmsprop_params,
  .describe = rmsprop_describe,
  .get_slots = rmsprop_get_slots,
};
