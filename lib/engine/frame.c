/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/frame.h"

#include <string.h>

#include "device/backend.h"

/* For `next` the network sees frames up to f-1, and f itself is the target. */
static guint
frame_get_lag (const PtFrameMaker *self)
{
  return self->learning->target == PT_TARGET_NEXT ? 1 : 0;
}

/* @device: in whose memory pt_frame_maker_fill_input()'s is, and targets that
 * are frames */
gboolean
pt_frame_maker_init (PtFrameMaker *self, const PtNetwork *network,
    const PtLearning *learning, PtDevice *device, GError **error)
{
  const PtSettings *s = &network->settings;
  PtShape shape = PT_SHAPE (1, s->channels, s->height, s->width);

  *self = (PtFrameMaker) { .settings = s, .learning = learning,
    .device = device };
  self->n_history = MAX (s->frames + (gint) frame_get_lag (self), 2);
  self->history = g_new0 (PtTensor *, self->n_history);
  for (guint i = 0; i < self->n_history; i++) {
    self->history[i] = pt_device_tensor_new (device, PT_F32, &shape, error);
    if (self->history[i] == NULL)
      return FALSE;
  }
  return device->backend->host_memory || (self->staged =
      pt_device_host_tensor_new (device, PT_F32, &shape, error)) != NULL;
}

void
pt_frame_maker_clear (PtFrameMaker *self)
{
  for (guint i = 0; i < self->n_history; i++)
    g_clear_pointer (&self->history[i], pt_tensor_unref);
  g_clear_pointer (&self->history, g_free);
  g_clear_pointer (&self->staged, pt_tensor_unref);
  self->n_history = 0;
}

/* In place of the oldest. */
static PtTensor *
frame_get_next (const PtFrameMaker *self)
{
  return self->history[self->n_frames % self->n_history];
}

/* Of those so far, the one that is @age frames older than the newest. */
static PtTensor *
frame_get_past (const PtFrameMaker *self, guint64 age)
{
  return self->history[(self->n_frames - 1 - age) % self->n_history];
}

static gboolean
frame_copy (const PtFrameMaker *self, PtTensor *to, const PtFrameMaker *before,
    const PtTensor *from, GError **error)
{
  g_autoptr (PtTensor) host = NULL;

  if (pt_device_shares_memory (self->device, before->device))
    return pt_device_copy (self->device, to, from, error);
  host = pt_tensor_new_shaped (from->dtype, &from->shape, error);
  return host != NULL
      && pt_device_download (before->device, host, from, error)
      && pt_device_upload (self->device, to, host, error);
}

gboolean
pt_frame_maker_follow (PtFrameMaker *self, const PtFrameMaker *before,
    GError **error)
{
  const PtSettings *a = self->settings, *b = before->settings;
  guint64 n = MIN (before->n_frames, MIN (self->n_history, before->n_history));

  if (!pt_shape_equal (&self->history[0]->shape, &before->history[0]->shape)
      || a->mean != b->mean || a->std != b->std || a->resize != b->resize)
    return TRUE;
  self->n_frames = n;
  for (guint64 age = 0; age < n; age++)
    if (!frame_copy (self, frame_get_past (self, age), before,
            frame_get_past (before, age), error))
      return FALSE;
  return TRUE;
}

/* Where the host writes the next frame. */
static PtTensor *
frame_begin (const PtFrameMaker *self)
{
  return self->staged != NULL ? self->staged : frame_get_next (self);
}

static gboolean
frame_end (PtFrameMaker *self, GError **error)
{
  if (self->staged != NULL && !pt_device_upload (self->device,
          frame_get_next (self), self->staged, error))
    return FALSE;
  self->n_frames++;
  return TRUE;
}

/* x = (value / 255 - mean) / std; a row is width x channels bytes. */
gboolean
pt_frame_maker_add_pixels (PtFrameMaker *self, const guint8 *pixels,
    gsize stride, GError **error)
{
  const PtSettings *s = self->settings;
  gfloat scale = 1 / (255 * s->std), shift = -s->mean / s->std;
  guint n = s->width * s->channels;
  gfloat *x = frame_begin (self)->data;

  for (gint row = 0; row < s->height; row++, x += n, pixels += stride)
    for (guint i = 0; i < n; i++)
      x[i] = pixels[i] * scale + shift;
  return frame_end (self, error);
}

/* @frame is (C, H, W) or (1, C, H, W), row-major and normalised. */
gboolean
pt_frame_maker_add_tensor (PtFrameMaker *self, const PtTensor *frame,
    GError **error)
{
  PtTensor *x = frame_begin (self);
  PtTensor whole = *frame;

  whole.shape = x->shape;
  pt_tensor_to_channels_last (&whole, x);
  return frame_end (self, error);
}

/* @frame lies in the device's memory. */
gboolean
pt_frame_maker_add_frame (PtFrameMaker *self, const PtFrame *frame,
    const PtFrameView *view, GError **error)
{
  PtDevice *device = self->device;
  PtFrameView normal = *view;

  normal.mean = self->settings->mean;
  normal.std = self->settings->std;
  if (!pt_device_wait_frame (device, frame, error)
      || !device->backend->normalise_frame (device, frame, &normal,
          frame_get_next (self)->data, error))
    return FALSE;
  self->n_frames++;
  return TRUE;
}

/* The frame that is @age frames older than the newest, or the oldest. */
static const PtTensor *
frame_get (const PtFrameMaker *self, guint age)
{
  guint64 newest = self->n_frames - 1;

  return self->history[(newest - MIN (age, newest)) % self->n_history];
}

/* Writes frame @age as channels [c * at, c * (at + 1)) of @n such groups. */
static gboolean
frame_stack (const PtFrameMaker *self, guint age, guint at, guint n,
    PtTensor *dst, GError **error)
{
  const PtSettings *s = self->settings;
  const PtBackend *backend = self->device->backend;
  const PtTensor *src = frame_get (self, age);
  const gfloat *x = src->data;
  gfloat *y = dst->data;
  gsize c = s->channels, pixels = (gsize) s->width * s->height;

  if (self->staged != NULL)
    return n == 1 ? backend->copy (self->device, y, x, src->size, error)
        : backend->stack_frame (self->device, x, pixels, c, y, at, n, error);
  if (n == 1) {
    memcpy (y, x, src->size);
    return TRUE;
  }
  y += c * at;
  for (gsize p = 0; p < pixels; p++, x += c, y += c * n)
    for (gsize k = 0; k < c; k++)
      y[k] = x[k];
  return TRUE;
}

/* The network's input for the newest frame, newest channels last. */
gboolean
pt_frame_maker_fill_input (PtFrameMaker *self, PtTensor *input,
    GError **error)
{
  guint n = self->settings->frames, lag = frame_get_lag (self);

  for (guint i = 0; i < n; i++)
    if (!frame_stack (self, n - 1 - i + lag, i, n, input, error))
      return FALSE;
  return TRUE;
}

/* The target for the newest frame, where frames are or, of `labels`, in the
 * host's memory. FALSE without an error if there is none yet: no earlier frame
 * for `next` and `pair`, no @label for `labels`. */
gboolean
pt_frame_maker_fill_target (PtFrameMaker *self, const PtTensor *label,
    PtTensor *target, GError **error)
{
  switch (self->learning->target) {
    case PT_TARGET_LABELS:
      if (label == NULL)
        return FALSE;
      pt_tensor_to_channels_last (label, target);
      return TRUE;
    case PT_TARGET_PAIR:
      return frame_stack (self, 1, 0, 2, target, error)
          && frame_stack (self, 0, 1, 2, target, error)
          && self->n_frames >= 2;
    case PT_TARGET_NEXT:
      return frame_stack (self, 0, 0, 1, target, error)
          && self->n_frames >= 2;
    default:
      return frame_stack (self, 0, 0, 1, target, error);
  }
}
