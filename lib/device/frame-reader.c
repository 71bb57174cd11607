/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames stay where they are; what comes to the host is as large as the
 * network's input. */

#include "device/backend.h"
#include "partime/frame.h"

struct _PtFrameReader
{
  PtDevice *device;
  gsize stride, size;
  gpointer packed;              /* on the device */
  guint8 *pixels;               /* on the host */
};

/**
 * pt_frame_reader_new:
 * @device: in whose memory frames will lie
 * @width: of the picture
 * @height: of the picture
 * @channels: of the picture: 1 or 3
 * @error: return location
 *
 * Returns: (transfer full): a reader, or %NULL with %PT_ERROR_UNSUPPORTED if
 *   the device does nothing with frames, %PT_ERROR_NO_MEMORY
 */
PtFrameReader *
pt_frame_reader_new (PtDevice *device, gint width, gint height, gint channels,
    GError **error)
{
  const PtBackend *backend = device->backend;
  g_autoptr (PtFrameReader) self = g_new0 (PtFrameReader, 1);

  self->device = pt_device_ref (device);
  self->stride = (gsize) width * channels;
  self->size = self->stride * height;
  if (backend->pack_frame == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
        "device %s: found no way to convert frames in its memory",
        device->name);
    return NULL;
  }
  self->packed = backend->alloc (device, self->size);
  self->pixels = backend->alloc_host (device, self->size);
  if (self->packed == NULL || self->pixels == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY,
        "device %s: no memory for pictures of %dx%d", device->name, width,
        height);
    return NULL;
  }
  return g_steal_pointer (&self);
}

void
pt_frame_reader_free (PtFrameReader *self)
{
  const PtBackend *backend = self->device->backend;

  if (self->packed != NULL)
    backend->free (self->device, self->packed);
  if (self->pixels != NULL)
    backend->free_host (self->device, self->pixels);
  pt_device_unref (self->device);
  g_free (self);
}

/**
 * pt_frame_reader_read:
 * @self: a reader
 * @frame: in the device's memory, whole
 * @view: what becomes of it; as large as the reader was made for
 * @error: return location
 *
 * Converts, scales and packs @frame on the device and waits for the picture.
 * Nothing is allocated.
 *
 * Returns: (transfer none): rows of width x channels bytes, good until the
 *   next call, or %NULL with %PT_ERROR_DEVICE
 */
const guint8 *
pt_frame_reader_read (PtFrameReader *self, const PtFrame *frame,
    const PtFrameView *view, GError **error)
{
  const PtBackend *backend = self->device->backend;

  g_return_val_if_fail (self->stride * view->out_height == self->size
      && (gsize) view->out_width * view->channels == self->stride, NULL);
  if (pt_device_wait_frame (self->device, frame, error)
      && backend->pack_frame (self->device, frame, view, self->packed,
          self->stride, error)
      && backend->download (self->device, self->pixels, self->packed,
          self->size, error))
    return self->pixels;
  return NULL;
}
