/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/cpu.h"

G_BEGIN_DECLS

/* Convolutions to few channels, the last layer of a net that makes flow or an
 * image. Weights are (O, kh, kw, I): what one output sees of one input row is
 * a run of memory, and so are its weights. */

#define PT_CONV_NARROW_MAX 4    /* output channels */

typedef struct
{
  PtConvDesc desc;
  gint64 in_c, in_h, in_w, out_c, out_h, out_w;
  gint64 inner[2];              /* columns whose window lies inside x */
  gint64 n_runs, run, run_step; /* of one kernel row; step in elements of x */
  gint64 n_weights;
  guint n_parts;                /* of the weights gradient */
  PtTensor *partial;            /* dw, then db, of each part but the first */
} PtConvNarrow;

/* Whether the kernels here are the faster ones for @desc. */
gboolean pt_conv_narrow_suits (const PtOpDesc *desc);
gboolean pt_conv_narrow_init (PtConvNarrow *narrow, const PtOp *op,
    GError **error);
void pt_conv_narrow_clear (PtConvNarrow *narrow);
void pt_conv_narrow_forward (const PtConvNarrow *narrow, const PtOp *op,
    const PtOpArgs *args);
void pt_conv_narrow_weights (const PtConvNarrow *narrow, const PtOp *op,
    const PtOpArgs *args);

G_END_DECLS
