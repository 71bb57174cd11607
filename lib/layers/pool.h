/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/window.h"

G_BEGIN_DECLS

/* What pools share. */

/* As options of a file have it; @stride 0 is the kernel's size. */
PtWindow pt_pool_window (const gint kernel[2], const gint stride[2]);
/* The operation over @window. */
PtPoolDesc pt_pool_describe (PtPoolKind kind, const PtWindow *window);
/* The window that is the whole input. */
gboolean pt_pool_window_whole (const PtShape *x, PtWindow *window,
    GError **error);
/* Sets the output. */
gboolean pt_pool_infer (PtLayer *layer, const PtWindow *window,
    GError **error);
gdouble pt_pool_flops (const PtLayer *layer, const PtWindow *window);

/* Max pools keep where each maximum was. */
gboolean pt_pool_infer_max (PtLayer *layer, const PtWindow *window,
    GError **error);
gboolean pt_pool_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, const PtPoolDesc *pool, GError **error);
gboolean pt_pool_forward_max (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
gboolean pt_pool_backward_max (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);

G_END_DECLS
