/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Counter-based: number @counter of stream (@seed, @stream) is the same on
 * every machine, in any order, from any thread. */
guint64 pt_rng_mix (guint64 seed, guint64 stream, guint64 counter);
guint64 pt_rng_stream (const gchar *name);
void pt_rng_fill_uniform (gfloat *data, gsize n, gfloat low, gfloat high,
    guint64 seed, guint64 stream);

G_END_DECLS
