/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/layer.h"

G_BEGIN_DECLS

/* What conv2d, conv-transpose2d and linear share: a weight, perhaps a bias, perhaps a second
 * input of the output's shape that is added, and an activation fused to the
 * output. These are weights 0 and 1 of the layer. */

/* Declares weights, saved tensors and what backward reads; the output is
 * already there; its bias has @outputs numbers. */
void pt_affine_infer (PtLayer *layer, const PtShape *weight, gint64 outputs,
    gboolean bias, PtActivation activation);
/* Whether @groups divides the input's channels and @filters. */
gboolean pt_affine_check_groups (const PtLayer *layer, gint filters,
    gint groups, GError **error);
/* The weight's shape but for its first dimension is the fan-in. */
void pt_affine_init (const PtLayer *layer, guint i, gfloat *data,
    guint64 seed);
/* The weight's first dimension is the output's channels. */
void pt_affine_scale_rows (const PtLayer *layer, const gfloat *scale,
    gfloat *weight);
/* @desc is the forward operation without its activation, which @fused points
 * at; its backward operations are the two types after it. */
gboolean pt_affine_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, PtOpDesc *desc, PtActivation *fused,
    const PtActivationDesc *activation, GError **error);
gboolean pt_affine_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
gboolean pt_affine_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);

G_END_DECLS
