/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib-object.h>
#include <partime/error.h>

G_BEGIN_DECLS

typedef struct _PtOptimizer PtOptimizer;

#define PT_TYPE_OPTIMIZER (pt_optimizer_get_type ())

PT_API GType pt_optimizer_get_type (void);
PT_API PtOptimizer *pt_optimizer_new (const gchar *text, GError **error);
PT_API PtOptimizer *pt_optimizer_ref (PtOptimizer *self);
PT_API void pt_optimizer_unref (PtOptimizer *self);
PT_API const gchar *pt_optimizer_get_name (const PtOptimizer *self);
PT_API gdouble pt_optimizer_get_learning_rate (const PtOptimizer *self);
PT_API gchar *pt_optimizer_describe_kinds (void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtOptimizer, pt_optimizer_unref)

G_END_DECLS
