/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/tensor.h"

G_BEGIN_DECLS

/* Larger tensors are refused as a mistake: 2^31 elements are 8 GiB. */
#define PT_MAX_ELEMENTS (G_GINT64_CONSTANT (1) << 31)

#define PT_SHAPE_TEXT_SIZE 128

/* Logical order is always N, C, H, W; what is missing on the right is 1. */
#define PT_SHAPE(...) \
  ((PtShape) { sizeof ((gint64[]) { __VA_ARGS__ }) / sizeof (gint64), \
      { __VA_ARGS__ } })

gboolean pt_shape_check (const PtShape *shape, GError **error);
gint64 pt_shape_get_n_elements (const PtShape *shape);
gint64 pt_shape_get_dim (const PtShape *shape, guint axis);
gboolean pt_shape_equal (const PtShape *a, const PtShape *b);
const gchar *pt_shape_print (const PtShape *shape, gchar *text);
void pt_shape_get_strides (const PtShape *shape, gboolean channels_last,
    gint64 strides[PT_MAX_DIMS]);

static inline gint64
pt_shape_c (const PtShape *shape)
{
  return pt_shape_get_dim (shape, 1);
}

static inline gint64
pt_shape_h (const PtShape *shape)
{
  return pt_shape_get_dim (shape, 2);
}

static inline gint64
pt_shape_w (const PtShape *shape)
{
  return pt_shape_get_dim (shape, 3);
}

G_END_DECLS
