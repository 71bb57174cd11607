/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A network's output drawn on frames where they lie: what goes to the device
 * is as large as the output. */

#include "device/backend.h"

#include <string.h>

#include "partime/frame.h"

struct _PtFramePainter
{
  PtDevice *device;
  PtOverlayStyle style;
  gsize size, table_size;       /* of the output with its range, in bytes */
  gfloat *host;                 /* NHWC, then the range */
  gpointer output, table;       /* on the device */
};

static gboolean
painter_allocate (PtFramePainter *self, GError **error)
{
  const PtBackend *backend = self->device->backend;
  const PtOverlayStyle *style = &self->style;

  self->table_size = style->n_colours * sizeof *style->colours;
  self->size = ((gsize) style->width * style->height * style->channels + 1)
      * sizeof (gfloat);
  self->host = backend->alloc_host (self->device, self->size);
  self->output = backend->alloc (self->device, self->size);
  self->table = backend->alloc (self->device, self->table_size);
  if (self->host != NULL && self->output != NULL && self->table != NULL)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY,
      "device %s: no memory for drawings of %dx%d", self->device->name,
      style->width, style->height);
  return FALSE;
}

/**
 * pt_frame_painter_new:
 * @device: in whose memory frames will lie
 * @style: the colours are copied
 * @error: return location
 *
 * Returns: (transfer full): a painter, or %NULL with %PT_ERROR_UNSUPPORTED if
 *   the device does nothing with frames, %PT_ERROR_NO_MEMORY
 */
PtFramePainter *
pt_frame_painter_new (PtDevice *device, const PtOverlayStyle *style,
    GError **error)
{
  const PtBackend *backend = device->backend;
  g_autoptr (PtFramePainter) self = g_new0 (PtFramePainter, 1);

  self->device = pt_device_ref (device);
  self->style = *style;
  if (backend->blend_frame == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED,
        "device %s: found no way to draw on frames in its memory",
        device->name);
    return NULL;
  }
  if (!painter_allocate (self, error) || (self->table_size > 0
          && !backend->upload (device, self->table, style->colours,
              self->table_size, error)))
    return NULL;
  self->style.colours = self->table;
  return g_steal_pointer (&self);
}

void
pt_frame_painter_free (PtFramePainter *self)
{
  const PtBackend *backend = self->device->backend;

  if (self->host != NULL)
    backend->free_host (self->device, self->host);
  if (self->output != NULL)
    backend->free (self->device, self->output);
  if (self->table != NULL)
    backend->free (self->device, self->table);
  pt_device_unref (self->device);
  g_free (self);
}

/* As the device has it. */
static void
painter_set_output (PtFramePainter *self, const gfloat *y, gfloat range)
{
  gsize pixels = (gsize) self->style.width * self->style.height;
  gsize n = self->style.channels;

  for (gsize c = 0; c < n; c++)
    for (gsize i = 0; i < pixels; i++)
      self->host[i * n + c] = *y++;
  self->host[n * pixels] = range;
}

/**
 * pt_frame_painter_draw:
 * @self: a painter
 * @y: (array): the output in the host's memory, row-major: channels x height x
 *   width
 * @range: value at full colour, of heat and flow; above 0
 * @frame: in the device's memory, whole; nobody else may use it
 * @to_x: left edge of the place on the frame where the output goes, which may
 *   reach over the frame's edges
 * @to_y: top edge
 * @to_width: its width, above 0
 * @to_height: its height, above 0
 * @error: return location
 *
 * Blends the output over @frame and waits until that is done. Nothing is
 * allocated.
 *
 * Returns: whether it could be done; if not, %PT_ERROR_DEVICE
 */
gboolean
pt_frame_painter_draw (PtFramePainter *self, const gfloat *y, gfloat range,
    const PtFrame *frame, gint to_x, gint to_y, gint to_width, gint to_height,
    GError **error)
{
  PtDevice *device = self->device;
  const PtBackend *backend = device->backend;
  const gfloat *output = self->output;
  PtOverlay overlay = { self->style, output,
    output + self->size / sizeof (gfloat) - 1, to_x, to_y, to_width, to_height
  };

  painter_set_output (self, y, range);
  return backend->copy (device, self->output, self->host, self->size, error)
      && pt_device_wait_frame (device, frame, error)
      && backend->blend_frame (device, frame, &overlay, error)
      && backend->wait (device, error);
}
