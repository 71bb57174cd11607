/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/shape.h"

/* Whether every dimension is at least 1 and the product is within bounds. */
gboolean
pt_shape_check (const PtShape *shape, GError **error)
{
  gchar text[PT_SHAPE_TEXT_SIZE];
  gint64 n = 1;

  for (guint i = 0; i < shape->n_dims; i++) {
    if (shape->dims[i] < 1) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "shape %s has dimension %u = %" G_GINT64_FORMAT
          ", expected at least 1", pt_shape_print (shape, text), i,
          shape->dims[i]);
      return FALSE;
    }
    if (shape->dims[i] > PT_MAX_ELEMENTS / n) {
      g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
          "shape %s has too many elements, expected at most %"
          G_GINT64_FORMAT, pt_shape_print (shape, text), PT_MAX_ELEMENTS);
      return FALSE;
    }
    n *= shape->dims[i];
  }
  return TRUE;
}

gint64
pt_shape_get_n_elements (const PtShape *shape)
{
  gint64 n = 1;

  for (guint i = 0; i < shape->n_dims; i++)
    n *= shape->dims[i];
  return n;
}

/* Size along @axis, 1 where the shape has no such axis. */
gint64
pt_shape_get_dim (const PtShape *shape, guint axis)
{
  return axis < shape->n_dims ? shape->dims[axis] : 1;
}

gboolean
pt_shape_equal (const PtShape *a, const PtShape *b)
{
  if (a->n_dims != b->n_dims)
    return FALSE;
  for (guint i = 0; i < a->n_dims; i++)
    if (a->dims[i] != b->dims[i])
      return FALSE;
  return TRUE;
}

/* Writes "1x32x64x64" into @text, which holds %PT_SHAPE_TEXT_SIZE bytes. */
const gchar *
pt_shape_print (const PtShape *shape, gchar *text)
{
  gsize at = 0;

  text[0] = '\0';
  for (guint i = 0; i < shape->n_dims && i < PT_MAX_DIMS; i++)
    at += g_snprintf (text + at, PT_SHAPE_TEXT_SIZE - at,
        i ? "x%" G_GINT64_FORMAT : "%" G_GINT64_FORMAT, shape->dims[i]);
  return text;
}

/* Elements from one index of an axis to the next: row-major, or as a device
 * has it, where from four dimensions on axis 1 is the innermost. */
void
pt_shape_get_strides (const PtShape *shape, gboolean channels_last,
    gint64 strides[PT_MAX_DIMS])
{
  const gboolean swap = channels_last && shape->n_dims >= 4;
  gint64 step = swap ? shape->dims[1] : 1;

  for (guint i = shape->n_dims; i-- > 0;) {
    if (swap && i == 1)
      continue;
    strides[i] = step;
    step *= shape->dims[i];
  }
  if (swap)
    strides[1] = 1;
}
