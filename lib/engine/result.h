/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "network/network.h"
#include "partime/pipeline.h"

G_BEGIN_DECLS

/* Results are used again: when the last reference goes, a result returns to
 * its pool, which lives as long as the last of them. The pool grows to the
 * largest number that was ever out at once. */
typedef struct _PtResultPool PtResultPool;

PtResultPool *pt_result_pool_new (PtNetwork *network, guint n,
    GError **error);
void pt_result_pool_unref (PtResultPool *self);
PtResult *pt_result_pool_get (PtResultPool *self, GError **error);

G_END_DECLS
