/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/kernel.h"
#include "device/geometry.h"

G_BEGIN_DECLS

/* y of x. */
void pt_cpu_reduce_run (const PtOp *op, const PtReduceGeometry *geometry,
    const PtReduceDesc *desc, const gfloat *x, gfloat *y);

G_END_DECLS
