/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/layer.h"

G_BEGIN_DECLS

/* Layers in a row that only move elements are one that moves them once: a
 * reshape, a transpose and a reshape shuffle channels. For inference. */

#define PT_CHAIN_MAX 8

/* Whether @layer may be part of a chain. */
gboolean pt_chain_takes (const PtLayer *layer);
/* Of @n layers, which are lent; each reads the one before. */
PtLayer *pt_chain_new (const PtLayer *const *layers, guint n);

G_END_DECLS
