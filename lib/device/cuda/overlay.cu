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

struct Sample
{
  PtOverlay overlay;
  guint step;
  PtOverlayRange *to;

  PT_HD void operator() (guint i) const
  {
    to->values[i] = pt_overlay_magnitude (&overlay, step / 2 + i * step);
  }
};

struct Count
{
  guint n;
  PtOverlayRange *to;

  PT_HD void operator() (guint bin) const
  {
    guint count;
    gfloat max = pt_overlay_count (to->values, n, bin, &count);

    to->bins[bin] = count;
    if (bin == 0)
      to->max = max;
  }
};

struct Follow
{
  guint n;
  PtOverlayRange *to;
  gfloat least;

  PT_HD void operator() (guint i) const
  {
    pt_overlay_follow (to, n, least);
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

gboolean
pt_cuda_overlay_follow (PtDevice *device, const PtOverlay *overlay,
    PtOverlayRange *range, gfloat least, GError **error)
{
  guint n = pt_overlay_n_samples (overlay);
  PtCudaLaunch launch;

  return pt_cuda_launch_on (&launch, device, error)
      && pt_cuda_each (&launch, n, Sample { *overlay,
        pt_overlay_step (overlay), range }, error)
      && pt_cuda_each (&launch, PT_OVERLAY_BINS, Count { n, range }, error)
      && pt_cuda_each (&launch, 1, Follow { n, range, least }, error);
}
