/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/reuse.h"

GArray *
pt_reuse_new (void)
{
  return g_array_new (FALSE, TRUE, sizeof (PtBlock));
}

/* The smallest free block of at least @bytes; else the largest free one,
 * enlarged; else a new one. */
guint
pt_reuse_ask (GArray *blocks, gsize bytes)
{
  gint best = -1;

  for (guint i = 0; i < blocks->len; i++) {
    const PtBlock *block = &g_array_index (blocks, PtBlock, i);
    gsize size = block->bytes, found;

    if (block->busy)
      continue;
    if (best < 0) {
      best = i;
      continue;
    }
    found = g_array_index (blocks, PtBlock, best).bytes;
    if (found < bytes ? size > found : size >= bytes && size < found)
      best = i;
  }
  if (best < 0) {
    best = blocks->len;
    g_array_set_size (blocks, best + 1);
  }
  g_array_index (blocks, PtBlock, best).busy = TRUE;
  g_array_index (blocks, PtBlock, best).bytes =
      MAX (g_array_index (blocks, PtBlock, best).bytes, bytes);
  return best;
}

void
pt_reuse_give_back (GArray *blocks, guint block)
{
  g_array_index (blocks, PtBlock, block).busy = FALSE;
}

gsize
pt_reuse_get_bytes (GArray *blocks, guint block)
{
  return g_array_index (blocks, PtBlock, block).bytes;
}
