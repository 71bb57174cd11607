/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/cuda.h"

G_BEGIN_DECLS

PtCuda *pt_cuda_retain (guint ordinal, GError **error);
void pt_cuda_release (PtCuda *cuda);

G_END_DECLS
