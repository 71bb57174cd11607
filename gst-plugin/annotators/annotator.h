/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gst/video/video.h>
#include <partime/partime.h>

G_BEGIN_DECLS

typedef struct _GstPartimeDrawing GstPartimeDrawing;

/**
 * GstPartimeAnnotator:
 * @name: the kind of [output] it draws
 * @inset: the picture goes into the lower right third of the frame, not over
 *   all of it
 * @prepare: checks the shape of the output and makes the tables it needs
 * @draw: paints the output as premultiplied BGRA, rows packed. Transparent
 *   where there is nothing to see, or opaque if @opaque
 *
 * How one kind of output becomes a picture.
 */
typedef struct
{
  const gchar *name;
  gboolean inset;
    gboolean (*prepare) (GstPartimeDrawing *self, GError **error);
  void (*draw) (GstPartimeDrawing *self, const gfloat *y, gboolean opaque,
      guint8 *pixels);
} GstPartimeAnnotator;

/* One annotator at work on the output of one network. */
struct _GstPartimeDrawing
{
  const GstPartimeAnnotator *annotator;
  gint channels, height, width;
  gdouble mean, std;            /* of the network's input */
  gdouble opacity;
  gdouble scale;                /* value at full colour; 0: from the picture */
  gdouble range;                /* what @scale follows when it is 0 */
  guint32 *tables[2];           /* colours: see-through, opaque */
  GstBufferPool *pool;          /* BGRA pictures */
};

extern const GstPartimeAnnotator gst_partime_annotator_flow;
extern const GstPartimeAnnotator gst_partime_annotator_heatmap;
extern const GstPartimeAnnotator gst_partime_annotator_image;

gboolean gst_partime_annotator_known (const gchar *kind);
GstPartimeDrawing *gst_partime_drawing_new (const gchar *kind,
    PtNetwork *network, GError **error);
void gst_partime_drawing_free (GstPartimeDrawing *self);
gboolean gst_partime_drawing_over (GstPartimeDrawing *self, const gfloat *y,
    const GstVideoRectangle *view, GstVideoFrame *frame);
gboolean gst_partime_drawing_picture (GstPartimeDrawing *self,
    const gfloat *y, GstVideoFrame *picture);

/* For annotators. */
gdouble gst_partime_drawing_follow (GstPartimeDrawing *self,
    const gfloat *y, gdouble least);
guint32 gst_partime_bgra (gdouble r, gdouble g, gdouble b, gdouble alpha);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeDrawing, gst_partime_drawing_free)

G_END_DECLS
