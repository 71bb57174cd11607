/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/wiring.h"

G_BEGIN_DECLS

/* Where each gradient of a stage lies. A wire's gradient has one destination:
 * the slot that goes to the stage before (wires made earlier), the slot that
 * came from the stage after if nothing is added to it (who sent it may be about
 * to save it), or memory of the stage's own. The first reader to go backward writes there, further ones into a
 * scratch tensor that is added at once. */

typedef struct
{
  gboolean touched;             /* it has a gradient in this stage */
  gboolean outgoing;            /* goes on to the stage before */
  gboolean from_token;          /* came from the stage after */
  gboolean adds;                /* and readers in this stage add to it */
  guint block;                  /* of the stage's own memory */
  PtTensor *own;
  gboolean filled;              /* per run */
  PtOp *add;                    /* two readers or more */
} PtGradient;

typedef struct
{
  const PtWiring *wiring;       /* lent */
  guint stage;
  PtGradient *wires;            /* wiring->n_wires */
  PtTensor *scratch[PT_OP_MAX_INPUTS];
  PtTensor **blocks;
  guint n_blocks;
  gsize bytes;
} PtGradients;

gboolean pt_gradients_init (PtGradients *self, const PtWiring *wiring,
    guint stage, PtWorkspace *workspace, GError **error);
void pt_gradients_clear (PtGradients *self);
PtTensor *pt_gradients_get (const PtGradients *self, guint wire,
    guint64 sequence);
gboolean pt_gradients_wait (const PtGradients *self, guint64 sequence,
    GError **error);
PtTensor *pt_gradients_get_gate (const PtGradients *self, guint64 sequence);
PtTensor *pt_gradients_get_gate_out (const PtGradients *self,
    guint64 sequence);
gboolean pt_gradients_begin (PtGradients *self, guint64 sequence,
    GError **error);
void pt_gradients_open (PtGradients *self, const PtNode *node,
    guint64 sequence, PtTensor **dx, gboolean *scratch);
gboolean pt_gradients_close (PtGradients *self, const PtNode *node,
    guint64 sequence, const gboolean *scratch, GError **error);

G_END_DECLS
