/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

G_DEFINE_BOXED_TYPE (PtTensor, pt_tensor, pt_tensor_ref, pt_tensor_unref)

gsize
pt_dtype_size (PtDType dtype)
{
  return dtype == PT_U8 ? 1 : 4;
}

const gchar *
pt_dtype_name (PtDType dtype)
{
  static const gchar *const names[] = {
    [PT_F32] = "float32",
    [PT_I32] = "int32",
    [PT_U8] = "uint8",
  };

  return names[dtype];
}

/**
 * pt_tensor_new:
 * @dtype: type of the elements
 * @dims: (array length=n_dims): sizes, outermost first, each at least 1
 * @n_dims: 1 to %PT_MAX_DIMS
 * @error: return location
 *
 * Makes a tensor of zeros in main memory, row-major, 64-byte aligned.
 *
 * Returns: (transfer full): the tensor, or %NULL with %PT_ERROR_SHAPE for a
 *   size below 1 or above 2^31 elements, %PT_ERROR_NO_MEMORY
 */
PtTensor *
pt_tensor_new (PtDType dtype, const gint64 *dims, guint n_dims, GError **error)
{
  PtShape shape = { n_dims, };

  g_return_val_if_fail (n_dims >= 1 && n_dims <= PT_MAX_DIMS, NULL);
  memcpy (shape.dims, dims, n_dims * sizeof *dims);
  return pt_tensor_new_shaped (dtype, &shape, error);
}

PtTensor *
pt_tensor_new_shaped (PtDType dtype, const PtShape *shape, GError **error)
{
  gchar text[PT_SHAPE_TEXT_SIZE];
  gsize size, room;
  gpointer data;

  if (!pt_shape_check (shape, error))
    return NULL;
  size = pt_shape_get_n_elements (shape) * pt_dtype_size (dtype);
  room = (size + PT_ALIGNMENT - 1) / PT_ALIGNMENT * PT_ALIGNMENT;
  data = aligned_alloc (PT_ALIGNMENT, room);
  if (data == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY,
        "no %" G_GSIZE_FORMAT " bytes for a %s tensor of shape %s", size,
        pt_dtype_name (dtype), pt_shape_print (shape, text));
    return NULL;
  }
  memset (data, 0, room);
  return pt_tensor_new_take (dtype, shape, PT_LAYOUT_ROW_MAJOR, data, size,
      data, free);
}

/* A tensor over @data; @release is called with @owner when it goes. */
PtTensor *
pt_tensor_new_take (PtDType dtype, const PtShape *shape, PtLayout layout,
    gpointer data, gsize size, gpointer owner, GDestroyNotify release)
{
  PtTensor *self = g_new0 (PtTensor, 1);

  g_atomic_ref_count_init (&self->refs);
  self->dtype = dtype;
  self->layout = layout;
  self->shape = *shape;
  self->size = size;
  self->data = data;
  self->owner = owner;
  self->release = release;
  return self;
}

/**
 * pt_tensor_ref:
 * @self: a tensor
 *
 * Thread-safe.
 *
 * Returns: (transfer full): @self
 */
PtTensor *
pt_tensor_ref (PtTensor *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

/**
 * pt_tensor_unref:
 * @self: (transfer full): a tensor
 *
 * Thread-safe.
 */
void
pt_tensor_unref (PtTensor *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  if (self->release != NULL)
    self->release (self->owner);
  g_free (self);
}

/**
 * pt_tensor_get_dtype:
 * @self: a tensor
 *
 * Returns: the type of its elements
 */
PtDType
pt_tensor_get_dtype (const PtTensor *self)
{
  return self->dtype;
}

/**
 * pt_tensor_get_shape:
 * @self: a tensor
 *
 * Returns: (transfer none): its sizes, outermost first
 */
const PtShape *
pt_tensor_get_shape (const PtTensor *self)
{
  return &self->shape;
}

/**
 * pt_tensor_get_n_elements:
 * @self: a tensor
 *
 * Returns: the product of its sizes
 */
gsize
pt_tensor_get_n_elements (const PtTensor *self)
{
  return pt_shape_get_n_elements (&self->shape);
}

/**
 * pt_tensor_get_data: (skip)
 * @self: a tensor
 *
 * Returns: (transfer none): its elements, row-major
 */
gpointer
pt_tensor_get_data (PtTensor *self)
{
  return self->data;
}

/* Both directions of the same permutation, an element is 4 bytes. */
static void
tensor_permute (const PtShape *shape, const guint32 *src, guint32 *dst,
    gboolean to_channels_last)
{
  gint64 n = pt_shape_get_dim (shape, 0), c = pt_shape_c (shape);
  gint64 hw = pt_shape_get_n_elements (shape) / (n * c);

  for (gint64 b = 0; b < n; b++, src += c * hw, dst += c * hw)
    for (gint64 k = 0; k < c; k++)
      for (gint64 p = 0; p < hw; p++)
        if (to_channels_last)
          dst[p * c + k] = src[k * hw + p];
        else
          dst[k * hw + p] = src[p * c + k];
}

/* Copies @src, of any layout, into the row-major @dst of the same shape. */
void
pt_tensor_to_row_major (const PtTensor *src, PtTensor *dst)
{
  if (src->layout == PT_LAYOUT_ROW_MAJOR || src->shape.n_dims < 4)
    memcpy (dst->data, src->data, dst->size);
  else
    tensor_permute (&src->shape, src->data, dst->data, FALSE);
}

/* Copies @src, of any layout, into the channels-last @dst. */
void
pt_tensor_to_channels_last (const PtTensor *src, PtTensor *dst)
{
  if (src->layout == PT_LAYOUT_CHANNELS_LAST || src->shape.n_dims < 4)
    memcpy (dst->data, src->data, dst->size);
  else
    tensor_permute (&src->shape, src->data, dst->data, TRUE);
}

/* Whether a float32 tensor in main memory holds no NaN and no Inf. */
gboolean
pt_tensor_is_finite (const PtTensor *self)
{
  const gfloat *x = self->data;
  gsize n = self->size / sizeof *x;

  for (gsize i = 0; i < n; i++)
    if (!isfinite (x[i]))
      return FALSE;
  return TRUE;
}
