/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "optimizers/optimizer.h"

typedef struct
{
  gdouble lr;
  gdouble momentum, dampening, weight_decay;
  gboolean nesterov;
} SgdOptions;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (SgdOptions, key)

static const PtParam sgd_params[] = {
  {ROW (lr, DOUBLE), "1e-2", 0, G_MAXDOUBLE, NULL, "learning rate"},
  {ROW (momentum, DOUBLE), "0", 0, 1e6, NULL,
      "part of the last step that is taken again"},
  {ROW (dampening, DOUBLE), "0", -1e6, 1e6, NULL,
      "part of the gradient that momentum leaves out"},
  {ROW (weight_decay, DOUBLE), "0", 0, 1e6, NULL,
      "part of the weight added to its gradient"},
  {ROW (nesterov, BOOL), "false", 0, 0, NULL,
      "momentum looks one step ahead"},
  {NULL}
};

#undef ROW

static gboolean
sgd_check (const PtOptimizer *optimizer, GError **error)
{
  const SgdOptions *options = optimizer->options;

  if (!options->nesterov ||
      (options->momentum > 0 && options->dampening == 0))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "nesterov=true with momentum=%g dampening=%g, expected momentum above "
      "0 and dampening=0", options->momentum, options->dampening);
  return FALSE;
}

static void
sgd_describe (const PtOptimizer *optimizer, PtUpdateDesc *desc)
{
  const SgdOptions *options = optimizer->options;

  *desc = (PtUpdateDesc) {
    .kind = PT_UPDATE_SGD,
    .momentum = options->momentum,
    .dampening = options->dampening,
    .weight_decay = options->weight_decay,
    .nesterov = options->nesterov,
  };
}

static void
sgd_get_slots (const PtOptimizer *optimizer,
    const gchar *slots[PT_UPDATE_MAX_SLOTS + 1])
{
  const SgdOptions *options = optimizer->options;

  if (options->momentum > 0)
    slots[0] = "momentum_buffer";
}

const PtOptimizerKind pt_optimizer_sgd = {
  .name = "sgd",
  .summary = "against the gradient, torch.optim.SGD",
  .options_size = sizeof (SgdOptions),
  .params = sgd_params,
  .check = sgd_check,
  .describe = sgd_describe,
  .get_slots = sgd_get_slots,
};
