/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

/* Frames that lie in a device's memory already. */

/**
 * pt_pipeline_set_frame_device:
 * @self: a pipeline that does not run
 * @device: (nullable): in whose memory frames will be, for
 *   pt_pipeline_push_frame(); %NULL: in the host's
 *
 * Where the first stage turns out to be on another device, frames enter as
 * pixels or tensors all the same; pt_pipeline_takes_frames() tells.
 */
void
pt_pipeline_set_frame_device (PtPipeline *self, PtDevice *device)
{
  if (device != NULL)
    pt_device_ref (device);
  g_clear_pointer (&self->frame_device, pt_device_unref);
  self->frame_device = device;
}

static PtFlow
frames_refuse (PtPipeline *self, const PtFrameView *view,
    GError **error)
{
  const PtSettings *s = &self->network->settings;

  if (self->wiring.frames == NULL)
    g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "pushing a frame in "
        "the memory of a device: found a first stage on %s, expected one on "
        "the device that pt_pipeline_set_frame_device() was told of",
        self->wiring.spans[0].device->name);
  else
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "pushing a frame: found a "
        "view of %dx%d with %d channels, expected %dx%d with %d",
        view->out_width, view->out_height, view->channels, s->width,
        s->height, s->channels);
  return PT_FLOW_ERROR;
}

/**
 * pt_pipeline_push_frame:
 * @self: a running pipeline, of which pt_pipeline_takes_frames()
 * @frame: in the memory of the device that pt_pipeline_set_frame_device() was
 *   told of; its description is copied
 * @view: what the network sees of it, as large as the network's input; mean
 *   and std are the network's, whatever they are here
 * @target: (nullable): as for pt_pipeline_push_pixels()
 * @flags: see #PtPushFlags
 * @error: return location
 *
 * As pt_pipeline_push_pixels(), for frames in a device's memory, which it does
 * not leave: the network's input is made of them there, in order, while the
 * first stage is at work on frames before. The call does not wait for that:
 * the frame must stay as it is until its result comes, or until
 * pt_pipeline_wait_frames().
 *
 * Returns: as pt_pipeline_push_pixels(); also %PT_FLOW_ERROR with
 *   %PT_ERROR_UNSUPPORTED where it takes no frames, %PT_ERROR_SHAPE for a view
 *   of another size, %PT_ERROR_DEVICE; nothing is pushed then
 */
PtFlow
pt_pipeline_push_frame (PtPipeline *self, const PtFrame *frame,
    const PtFrameView *view, PtTensor *target, PtPushFlags flags,
    GError **error)
{
  const PtSettings *s = &self->network->settings;
  PtFlow flow = pt_pipeline_check_target (self, target, error);

  if (flow != PT_FLOW_OK)
    return flow;
  if (self->wiring.frames == NULL || view->out_width != s->width
      || view->out_height != s->height || view->channels != s->channels)
    return frames_refuse (self, view, error);
  if ((flow = pt_pipeline_wait_room (self, flags, error)) != PT_FLOW_OK)
    return flow;
  return pt_pipeline_end_push (self, &self->main,
      pt_pipeline_begin_push (self, error)
      && pt_frame_maker_add_frame (&self->main.maker, frame, view, error),
      target, flags);
}

/**
 * pt_pipeline_takes_frames:
 * @self: a running pipeline
 * @device: in whose memory frames are
 *
 * Returns: whether pt_pipeline_push_frame() may be called with them:
 *   pt_pipeline_set_frame_device() was told, and the first stage is there
 */
gboolean
pt_pipeline_takes_frames (PtPipeline *self, PtDevice *device)
{
  return self->wiring.frames != NULL
      && pt_device_shares_memory (self->wiring.frames, device);
}

/**
 * pt_pipeline_wait_frames:
 * @self: a running pipeline
 *
 * Waits until all frames that were pushed have been read: from then on their
 * memory may be written or freed.
 */
void
pt_pipeline_wait_frames (PtPipeline *self)
{
  pt_fences_wait (&self->wiring.entered, 0, NULL, NULL);
}
