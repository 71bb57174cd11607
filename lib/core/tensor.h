/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/shape.h"

G_BEGIN_DECLS

#define PT_ALIGNMENT 64

/* Every tensor on a device is channels-last: the logical (N, C, H, W) lies in
 * memory as N, H, W, C, without gaps; of more dimensions, too, the second is
 * the innermost. Tensors that a user sees are row-major. For shapes of fewer
 * than four dimensions both are the same. */
typedef enum
{
  PT_LAYOUT_ROW_MAJOR,
  PT_LAYOUT_CHANNELS_LAST,
} PtLayout;

struct _PtTensor
{
  gatomicrefcount refs;
  PtDType dtype;
  PtLayout layout;
  PtShape shape;
  gsize size;                   /* bytes at data */
  gpointer data;                /* on the owner's device */
  gpointer owner;               /* what keeps data alive; NULL: nothing */
  GDestroyNotify release;       /* called with owner at the end */
};

gsize pt_dtype_size (PtDType dtype);
const gchar *pt_dtype_name (PtDType dtype);

PtTensor *pt_tensor_new_shaped (PtDType dtype, const PtShape *shape,
    GError **error);
PtTensor *pt_tensor_new_take (PtDType dtype, const PtShape *shape,
    PtLayout layout, gpointer data, gsize size, gpointer owner,
    GDestroyNotify release);
void pt_tensor_to_row_major (const PtTensor *src, PtTensor *dst);
void pt_tensor_to_channels_last (const PtTensor *src, PtTensor *dst);
gboolean pt_tensor_is_finite (const PtTensor *self);

G_END_DECLS
