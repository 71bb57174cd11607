/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/kernel.h"
#include "device/cuda/overlay.h"

namespace
{

struct Blend
{
  PtFrame frame;
  PtOverlay overlay;
  guint columns;                /* cells of a row */

  PT_HD void operator() (guint i) const
  {
    pt_overlay_blend (&frame, &overlay, i % columns, i / columns);
  }
};

}                               // namespace

gboolean
pt_cuda_overlay_blend (PtDevice *device, const PtFrame *frame,
    const PtOverlay *overlay, GError **error)
{
  gint last = frame->n_components - 1;
  gint w = 1 << frame->shift_x[last], h = 1 << frame->shift_y[last];
  guint columns = (frame->width + w - 1) / w;
  PtCudaLaunch launch;

  return pt_cuda_launch_on (&launch, device, error)
      && pt_cuda_each (&launch,
      (gint64) columns * ((frame->height + h - 1) / h),
      Blend { *frame, *overlay, columns }, error);
}
