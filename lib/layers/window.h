/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "layers/layer.h"

G_BEGIN_DECLS

/* What convolutions and pools share: a window that slides over the last two
 * axes of 1xCxHxW. Pairs are height, width. */
typedef struct
{
  gint kernel[2];
  gint stride[2];
  gint padding[4];              /* top, left, bottom, right */
  gint dilation[2];
  gboolean ceil_mode;           /* a last window may leave the padded input */
} PtWindow;

/* By how much more is padded at the end than at the beginning, which is what
 * operations want to know. */
static inline void
pt_window_get_more_padding (const PtWindow *self, gint more[2])
{
  for (guint i = 0; i < 2; i++)
    more[i] = self->padding[2 + i] - self->padding[i];
}

/* The windows that fit over @x, down and across. */
gboolean pt_window_count (const PtWindow *self, const PtShape *x,
    gint64 out[2], GError **error);
/* The same for a pool, none of whose windows may lie beside the input. */
gboolean pt_window_count_pool (const PtWindow *self, const PtShape *x,
    gint64 out[2], GError **error);

G_END_DECLS
