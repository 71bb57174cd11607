/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/frame.h"

#include <string.h>

/* For `next` the network sees frames up to f-1, and f itself is the target. */
static guint
frame_get_lag (const PtFrameMaker *self)
{
  return self->learning->target == PT_TARGET_NEXT ? 1 : 0;
}

gboolean
pt_frame_maker_init (PtFrameMaker *self, const PtNetwork *network,
    const PtLearning *learning, GError **error)
{
  const PtSettings *s = &network->settings;
  PtShape shape = PT_SHAPE (1, s->channels, s->height, s->width);

  *self = (PtFrameMaker) { .settings = s, .learning = learning };
  self->n_history = MAX (s->frames + (gint) frame_get_lag (self), 2);
  self->history = g_new0 (PtTensor *, self->n_history);
  for (guint i = 0; i < self->n_history; i++) {
    self->history[i] = pt_tensor_new_shaped (PT_F32, &shape, error);
    if (self->history[i] == NULL)
      return FALSE;
    self->history[i]->layout = PT_LAYOUT_CHANNELS_LAST;
  }
  return TRUE;
}

void
pt_frame_maker_clear (PtFrameMaker *self)
{
  for (guint i = 0; i < self->n_history; i++)
    g_clear_pointer (&self->history[i], pt_tensor_unref);
  g_clear_pointer (&self->history, g_free);
  self->n_history = 0;
}

void
pt_frame_maker_follow (PtFrameMaker *self, const PtFrameMaker *before)
{
  const PtSettings *a = self->settings, *b = before->settings;
  guint64 n = MIN (before->n_frames, MIN (self->n_history, before->n_history));

  if (!pt_shape_equal (&self->history[0]->shape, &before->history[0]->shape)
      || a->mean != b->mean || a->std != b->std || a->resize != b->resize)
    return;
  for (guint64 k = 1; k <= n; k++) {
    const PtTensor *x =
        before->history[(before->n_frames - k) % before->n_history];

    memcpy (self->history[(n - k) % self->n_history]->data, x->data, x->size);
  }
  self->n_frames = n;
}

/* x = (value / 255 - mean) / std; a row is width x channels bytes. */
void
pt_frame_maker_add_pixels (PtFrameMaker *self, const guint8 *pixels,
    gsize stride)
{
  const PtSettings *s = self->settings;
  gfloat scale = 1 / (255 * s->std), shift = -s->mean / s->std;
  guint n = s->width * s->channels;
  gfloat *x = self->history[self->n_frames++ % self->n_history]->data;

  for (gint row = 0; row < s->height; row++, x += n, pixels += stride)
    for (guint i = 0; i < n; i++)
      x[i] = pixels[i] * scale + shift;
}

/* @frame is (C, H, W) or (1, C, H, W), row-major and normalised. */
void
pt_frame_maker_add_tensor (PtFrameMaker *self, const PtTensor *frame)
{
  PtTensor *x = self->history[self->n_frames++ % self->n_history];
  PtTensor whole = *frame;

  whole.shape = x->shape;
  pt_tensor_to_channels_last (&whole, x);
}

/* The frame that is @age frames older than the newest, or the oldest. */
static const PtTensor *
frame_get (const PtFrameMaker *self, guint age)
{
  guint64 newest = self->n_frames - 1;

  return self->history[(newest - MIN (age, newest)) % self->n_history];
}

/* Writes frame @age as channels [c * at, c * (at + 1)) of @n such groups. */
static void
frame_stack (const PtFrameMaker *self, guint age, guint at, guint n,
    PtTensor *dst)
{
  const PtSettings *s = self->settings;
  const gfloat *x = frame_get (self, age)->data;
  gfloat *y = dst->data;
  gsize c = s->channels, pixels = (gsize) s->width * s->height;

  if (n == 1) {
    memcpy (y, x, c * pixels * sizeof *x);
    return;
  }
  y += c * at;
  for (gsize p = 0; p < pixels; p++, x += c, y += c * n)
    for (gsize k = 0; k < c; k++)
      y[k] = x[k];
}

/* The network's input for the newest frame, newest channels last. */
void
pt_frame_maker_fill_input (PtFrameMaker *self, PtTensor *input)
{
  guint n = self->settings->frames, lag = frame_get_lag (self);

  for (guint i = 0; i < n; i++)
    frame_stack (self, n - 1 - i + lag, i, n, input);
}

/* The target for the newest frame; FALSE if there is none yet: no earlier
 * frame for `next` and `pair`, no @label for `labels`. */
gboolean
pt_frame_maker_fill_target (PtFrameMaker *self, const PtTensor *label,
    PtTensor *target)
{
  switch (self->learning->target) {
    case PT_TARGET_LABELS:
      if (label == NULL)
        return FALSE;
      pt_tensor_to_channels_last (label, target);
      return TRUE;
    case PT_TARGET_PAIR:
      frame_stack (self, 1, 0, 2, target);
      frame_stack (self, 0, 1, 2, target);
      return self->n_frames >= 2;
    case PT_TARGET_NEXT:
      frame_stack (self, 0, 0, 1, target);
      return self->n_frames >= 2;
    default:
      frame_stack (self, 0, 0, 1, target);
      return TRUE;
  }
}
