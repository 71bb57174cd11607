/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layers/window.h"

static gint64
window_get_span (const PtWindow *self, guint i)
{
  return self->dilation[i] * (gint64) (self->kernel[i] - 1) + 1;
}

/* As PyTorch: with ceil_mode the last window begins in the input or in what
 * is padded before it. */
static gint64
window_count_axis (const PtWindow *self, guint i, gint64 in, gint64 padded)
{
  gint64 room = padded - window_get_span (self, i), stride = self->stride[i];
  gint64 n = (room + (self->ceil_mode ? stride - 1 : 0)) / stride + 1;

  if (self->ceil_mode && (n - 1) * stride >= in + self->padding[i])
    n--;
  return n;
}

gboolean
pt_window_count (const PtWindow *self, const PtShape *x, gint64 out[2],
    GError **error)
{
  gint64 padded[2], span[2];

  for (guint i = 0; i < 2; i++) {
    padded[i] = x->dims[2 + i] + self->padding[i] + self->padding[2 + i];
    span[i] = window_get_span (self, i);
    out[i] = window_count_axis (self, i, x->dims[2 + i], padded[i]);
  }
  if (span[0] <= padded[0] && span[1] <= padded[1])
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "kernel=%d;%d reaches over %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
      " pixels, expected at most the %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
      " of the padded input", self->kernel[0], self->kernel[1], span[0],
      span[1], padded[0], padded[1]);
  return FALSE;
}

/* Whether window @o has an element of the input. */
static gboolean
window_meets (const PtWindow *self, guint i, gint64 o, gint64 in)
{
  gint64 at = o * self->stride[i] - self->padding[i], d = self->dilation[i];
  gint64 k = at < 0 ? (-at + d - 1) / d : 0;

  return k < self->kernel[i] && at + k * d < in;
}

/* Where one begins in the input, all between it and the last do. */
static gboolean
window_all_meet (const PtWindow *self, guint i, gint64 n, gint64 in)
{
  for (gint64 o = 0; o < n && o * self->stride[i] < self->padding[i]; o++)
    if (!window_meets (self, i, o, in))
      return FALSE;
  return window_meets (self, i, n - 1, in);
}

gboolean
pt_window_count_pool (const PtWindow *self, const PtShape *x, gint64 out[2],
    GError **error)
{
  const gint *p = self->padding;

  if (!pt_window_count (self, x, out, error))
    return FALSE;
  if (window_all_meet (self, 0, out[0], x->dims[2]) &&
      window_all_meet (self, 1, out[1], x->dims[3]))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "padding=%d;%d;%d;%d leaves windows of kernel=%d;%d without any pixel "
      "of the input, expected less", p[0], p[1], p[2], p[3], self->kernel[0],
      self->kernel[1]);
  return FALSE;
}
