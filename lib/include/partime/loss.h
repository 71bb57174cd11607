/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib-object.h>
#include <partime/error.h>

G_BEGIN_DECLS

typedef struct _PtLoss PtLoss;

#define PT_TYPE_LOSS (pt_loss_get_type ())

PT_API GType pt_loss_get_type (void);
PT_API PtLoss *pt_loss_new (const gchar *text, GError **error);
PT_API PtLoss *pt_loss_ref (PtLoss *self);
PT_API void pt_loss_unref (PtLoss *self);
PT_API const gchar *pt_loss_get_name (const PtLoss *self);
PT_API gchar *pt_loss_describe_kinds (void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtLoss, pt_loss_unref)

G_END_DECLS
