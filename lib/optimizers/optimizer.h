/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/params.h"
#include "device/op.h"
#include "partime/optimizer.h"

G_BEGIN_DECLS

typedef struct
{
  const gchar *name;
  const gchar *summary;
  gsize options_size;
  const PtParam *params;
  /* Whether the options fit together; NULL: they always do. */
  gboolean (*check) (const PtOptimizer *optimizer, GError **error);
  void (*describe) (const PtOptimizer *optimizer, PtUpdateDesc *desc);
  /* Names of the state it keeps per parameter, as in PyTorch's state; at most
   * %PT_UPDATE_MAX_SLOTS, NULL-terminated, in the order of PtOpArgs.slots. */
  void (*get_slots) (const PtOptimizer *optimizer,
      const gchar *slots[PT_UPDATE_MAX_SLOTS + 1]);
} PtOptimizerKind;

struct _PtOptimizer
{
  gatomicrefcount refs;
  const PtOptimizerKind *kind;
  gpointer options;             /* begins with gdouble lr */
};

extern const PtOptimizerKind *const pt_optimizer_kinds[];

guint pt_optimizer_get_slots (const PtOptimizer *self,
    const gchar *slots[PT_UPDATE_MAX_SLOTS + 1]);
/* The update over @n contiguous parameters. */
PtOp *pt_optimizer_plan (const PtOptimizer *self, PtWorkspace *workspace,
    gsize n, GError **error);

G_END_DECLS
