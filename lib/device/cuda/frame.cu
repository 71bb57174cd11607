/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/frame.h"
#include "device/cuda/kernel.h"

namespace
{

struct Normalise
{
  PtFrame frame;
  PtFrameView view;
  gfloat scale, shift;
  gfloat *to;

  PT_HD void operator() (guint i) const
  {
    gfloat *pixel = to + (gsize) i * view.channels, out[3];

    pt_frame_pixel (&frame, &view, i % view.out_width, i / view.out_width,
        out);
    pixel[0] = out[0] * scale + shift;
    if (view.channels == 3) {
      pixel[1] = out[1] * scale + shift;
      pixel[2] = out[2] * scale + shift;
    }
  }
};

struct Pack
{
  PtFrame frame;
  PtFrameView view;
  guint8 *to;
  gsize stride;

  PT_HD void operator() (guint i) const
  {
    guint x = i % view.out_width, y = i / view.out_width;
    guint8 *pixel = to + y * stride + x * view.channels;
    gfloat out[3];

    pt_frame_pixel (&frame, &view, x, y, out);
    pixel[0] = out[0] + 0.5f;
    if (view.channels == 3) {
      pixel[1] = out[1] + 0.5f;
      pixel[2] = out[2] + 0.5f;
    }
  }
};

struct Stack
{
  const gfloat *from;
  guint channels, at, all;      /* channels of @to before these, and in all */
  gfloat *to;

  PT_HD void operator() (guint i) const
  {
    to[(gsize) (i / channels) * all + at + i % channels] = from[i];
  }
};

template < typename Job > gboolean
frame_launch (PtDevice *device, const Job &job, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_on (&launch, device, error)
      && pt_cuda_each (&launch,
      (gint64) job.view.out_width * job.view.out_height, job, error);
}

}                               // namespace

gboolean
pt_cuda_frame_normalise (PtDevice *device, const PtFrame *frame,
    const PtFrameView *view, gfloat *to, GError **error)
{
  return frame_launch (device, Normalise { *frame, *view,
        1 / (255 * view->std), -view->mean / view->std, to }, error);
}

gboolean
pt_cuda_frame_pack (PtDevice *device, const PtFrame *frame,
    const PtFrameView *view, guint8 *to, gsize stride, GError **error)
{
  return frame_launch (device, Pack { *frame, *view, to, stride }, error);
}

gboolean
pt_cuda_frame_stack (PtDevice *device, const gfloat *from, gsize pixels,
    guint channels, gfloat *to, guint at, guint n, GError **error)
{
  PtCudaLaunch launch;

  return pt_cuda_launch_on (&launch, device, error)
      && pt_cuda_each (&launch, (gint64) pixels * channels,
      Stack { from, channels, at * channels, n * channels, to }, error);
}
