/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cpu/cpu.h"

G_BEGIN_DECLS

/* Whether oneDNN has no such pool, so that the loops here do it. */
gboolean pt_cpu_pool_plain_suits (const PtOpDesc *desc);
void pt_cpu_pool_plain (const PtOp *op, const PtOpArgs *args);
void pt_cpu_pool_plain_backward (const PtOp *op, const PtOpArgs *args);

G_END_DECLS
