/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gst/video/video.h>
#include <partime/partime.h>

G_BEGIN_DECLS

/**
 * GstPartimeFormat:
 * @info: of the frames that come in
 * @view: where in such a frame the network's input lies; with letterbox
 *   larger than the frame
 *
 * How frames of one caps become the network's input. Frames that wait for
 * their result keep the format they came in with.
 */
typedef struct
{
  GstVideoInfo info;
  GstVideoRectangle view;
  /*< private > */
  GstVideoInfo input;           /* packed, as the network takes it */
  GstVideoConverter *converter; /* NULL if frames fit as they are */
  GstVideoFrame scratch;        /* mapped as long as this lives */
} GstPartimeFormat;

GstPartimeFormat *gst_partime_format_new (const GstVideoInfo *info,
    PtNetwork *network);
GstPartimeFormat *gst_partime_format_new_sized (const GstVideoInfo *info,
    PtNetwork *network, GstVideoFormat packed, gint width, gint height);
GstPartimeFormat *gst_partime_format_ref (GstPartimeFormat *self);
void gst_partime_format_unref (GstPartimeFormat *self);
PtFlow gst_partime_format_push (GstPartimeFormat *self, GstVideoFrame *frame,
    PtTensor *target, PtPipeline *pipeline, PtPushFlags flags,
    GError **error);
const GstVideoFrame *gst_partime_format_convert (GstPartimeFormat *self,
    GstVideoFrame *frame);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeFormat, gst_partime_format_unref)

G_END_DECLS
