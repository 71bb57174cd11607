/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "cuda/module.h"

G_BEGIN_DECLS

/**
 * GstPartimeFormat:
 * @info: of the frames that come in
 * @view: where in such a frame the network's input lies; with letterbox
 *   larger than the frame
 * @cuda: for frames in CUDA memory, or %NULL
 *
 * How frames of one caps become the network's input. Frames that wait for
 * their result keep the format they came in with.
 */
typedef struct
{
  GstVideoInfo info;
  GstVideoRectangle view;
  GstPartimeCudaPicture *cuda;
  /*< private > */
  GstVideoRectangle part;       /* of the frame, that is seen */
  GstVideoRectangle box;        /* of the picture, that it fills */
  GstVideoInfo input;           /* packed, as the network takes it */
  GstVideoConverter *converter; /* NULL if frames fit as they are */
  GstVideoFrame scratch;        /* mapped as long as this lives */
} GstPartimeFormat;

/**
 * GstPartimeSight:
 * @pixels: rows as the network takes them
 * @stride: bytes from one row to the next
 *
 * A frame as the network sees it. Starts as all zeros.
 */
typedef struct
{
  const guint8 *pixels;
  gsize stride;
  /*< private > */
  GstVideoFrame frame;          /* if it was mapped */
} GstPartimeSight;

GstPartimeFormat *gst_partime_format_new (const GstVideoInfo *info,
    PtNetwork *network);
GstPartimeFormat *gst_partime_format_new_sized (const GstVideoInfo *info,
    PtNetwork *network, GstVideoFormat packed, gint width, gint height);
GstPartimeFormat *gst_partime_format_new_cuda (const GstVideoInfo *info,
    PtNetwork *network, GstPartimeCuda *cuda, GError **error);
GstPartimeFormat *gst_partime_format_ref (GstPartimeFormat *self);
void gst_partime_format_unref (GstPartimeFormat *self);
const GstVideoFrame *gst_partime_format_convert (GstPartimeFormat *self,
    GstVideoFrame *frame);
gboolean gst_partime_format_see (GstPartimeFormat *self, GstBuffer *buffer,
    GstPartimeSight *sight, GError **error);
void gst_partime_sight_clear (GstPartimeSight *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeFormat, gst_partime_format_unref)

G_END_DECLS
