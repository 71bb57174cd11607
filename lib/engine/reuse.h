/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Plans memory blocks that are used again: ask and give back in the order of
 * use, then allocate blocks of the sizes found. */

typedef struct
{
  gsize bytes;
  gboolean busy;
} PtBlock;

GArray *pt_reuse_new (void);
guint pt_reuse_ask (GArray *blocks, gsize bytes);
void pt_reuse_give_back (GArray *blocks, guint block);
gsize pt_reuse_get_bytes (GArray *blocks, guint block);

G_END_DECLS
