/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib-object.h>
#include <partime/error.h>

G_BEGIN_DECLS

typedef struct _PtDevice PtDevice;

#define PT_TYPE_DEVICE (pt_device_get_type ())

PT_API GType pt_device_get_type (void);
PT_API PtDevice *pt_device_open (const gchar *name, GError **error);
PT_API PtDevice *pt_device_ref (PtDevice *self);
PT_API void pt_device_unref (PtDevice *self);
PT_API const gchar *pt_device_get_name (PtDevice *self);
PT_API gchar *pt_device_describe_backends (void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtDevice, pt_device_unref)

G_END_DECLS
