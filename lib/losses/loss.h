/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/params.h"
#include "device/op.h"
#include "partime/loss.h"

G_BEGIN_DECLS

typedef enum
{
  PT_TARGET_AUTO,               /* the loss's own default */
  PT_TARGET_INPUT,
  PT_TARGET_NEXT,
  PT_TARGET_PAIR,
  PT_TARGET_LABELS,
  PT_TARGET_TEACHER,            /* labels that another network gives */
} PtTarget;

typedef struct
{
  const gchar *name;
  const gchar *summary;
  gsize options_size;
  const PtParam *params;
  PtTarget target;              /* what it compares with unless told */
  /* Fills @desc for an output of shape @output and a target of shape
   * @target; the caller has set x and y. */
  gboolean (*describe) (const PtLoss *loss, const PtShape *output,
      const PtShape *target, PtOpDesc *desc, GError **error);
} PtLossKind;

struct _PtLoss
{
  gatomicrefcount refs;
  const PtLossKind *kind;
  gpointer options;
};

extern const PtLossKind *const pt_loss_kinds[]; /* NULL-terminated */

PtOp *pt_loss_plan (const PtLoss *loss, PtWorkspace *workspace,
    const PtShape *output, const PtShape *target, GError **error);

G_END_DECLS
