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
  gboolean classes;             /* its target are int32 indices of classes */
  /* Fills @desc for an output of shape @output and a target of shape
   * @target; the caller has set x and y. */
  gboolean (*describe) (const PtLoss *loss, const PtShape *output,
      const PtShape *target, PtOpDesc *desc, GError **error);
  /* Whether the values of a host tensor of the right shape and type can be
   * learned from; NULL: all can. */
  gboolean (*check_target) (const PtLoss *loss, const PtShape *output,
      const PtTensor *target, GError **error);
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
/* PT_ERROR_SHAPE for a label that is no class, or a probability that is none;
 * one pass over the values, nothing is allocated unless it fails. */
gboolean pt_loss_check_target (const PtLoss *loss, const PtShape *output,
    const PtTensor *target, GError **error);

G_END_DECLS
