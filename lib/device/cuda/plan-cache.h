/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Plans as text, one file for each key in one folder for each cuDNN and
 * GPU. */

gchar *pt_plan_cache_folder (gsize version, const gchar *gpu);
/* NULL if there is none, or none that is whole. */
gchar *pt_plan_cache_load (const gchar *folder, const gchar *key);
/* What cannot be written is not. */
void pt_plan_cache_store (const gchar *folder, const gchar *key,
    const gchar *plan);

G_END_DECLS
