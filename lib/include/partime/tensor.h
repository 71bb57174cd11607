/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib-object.h>
#include <partime/error.h>

G_BEGIN_DECLS

#define PT_MAX_DIMS 6

/**
 * PtDType:
 * @PT_F32: 32-bit IEEE float
 * @PT_I32: 32-bit signed integer
 * @PT_U8: 8-bit unsigned integer
 */
typedef enum
{
  PT_F32,
  PT_I32,
  PT_U8,
} PtDType;

/**
 * PtShape:
 * @n_dims: how many dimensions there are, 1 to %PT_MAX_DIMS
 * @dims: their sizes, outermost first (N, C, H, W)
 */
typedef struct
{
  guint n_dims;
  gint64 dims[PT_MAX_DIMS];
} PtShape;

typedef struct _PtTensor PtTensor;

#define PT_TYPE_TENSOR (pt_tensor_get_type ())

PT_API GType pt_tensor_get_type (void);
PT_API PtTensor *pt_tensor_new (PtDType dtype, const gint64 *dims,
    guint n_dims, GError **error);
PT_API PtTensor *pt_tensor_ref (PtTensor *self);
PT_API void pt_tensor_unref (PtTensor *self);
PT_API PtDType pt_tensor_get_dtype (const PtTensor *self);
PT_API const PtShape *pt_tensor_get_shape (const PtTensor *self);
PT_API gsize pt_tensor_get_n_elements (const PtTensor *self);
PT_API gpointer pt_tensor_get_data (PtTensor *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtTensor, pt_tensor_unref)

G_END_DECLS
