/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <gst/video/video.h>
#include <partime/partime.h>

G_BEGIN_DECLS

typedef struct _GstPartimeDrawing GstPartimeDrawing;

/**
 * GstPartimePaint:
 * @GST_PARTIME_PAINT_RGB: BGRA, for frames of red, green, blue;
 *   transparent where there is nothing to see
 * @GST_PARTIME_PAINT_YUV: the same as AYUV, for frames with luma
 * @GST_PARTIME_PAINT_OPAQUE: opaque BGRA
 *
 * What a picture is painted with: of the kind of the frame under it, which it
 * is then blended with as it is.
 */
typedef enum
{
  GST_PARTIME_PAINT_RGB,
  GST_PARTIME_PAINT_YUV,
  GST_PARTIME_PAINT_OPAQUE,
  GST_PARTIME_N_PAINTS,
} GstPartimePaint;

/**
 * GstPartimeAnnotator:
 * @name: the kind of [output] it draws
 * @inset: the picture goes into the lower right third of the frame, not over
 *   all of it
 * @compares: gst_partime_drawing_compare() is to be called before @draw
 * @overlay: what draws the same on frames in the memory of a GPU
 * @prepare: checks the shape of the output and makes the tables it needs
 * @draw: paints the output in the words of @paint, rows packed
 *
 * How one kind of output becomes a picture.
 */
typedef struct
{
  const gchar *name;
  gboolean inset;
  gboolean compares;
  PtOverlayKind overlay;
    gboolean (*prepare) (GstPartimeDrawing *self, GError **error);
  void (*draw) (GstPartimeDrawing *self, const gfloat *y,
      GstPartimePaint paint, guint8 *pixels);
} GstPartimeAnnotator;

/* One annotator at work on the output of one network. */
struct _GstPartimeDrawing
{
  const GstPartimeAnnotator *annotator;
  gint channels, height, width;
  gint input_channels, input_height, input_width;
  gdouble mean, std;            /* of the network's input */
  gdouble opacity;
  gdouble scale;                /* value at full colour; 0: from the picture */
  gdouble least;                /* that @range does not fall below */
  gdouble range;                /* what @scale follows when it is 0 */
  guint32 *tables[GST_PARTIME_N_PAINTS];        /* colours */
  guint n_colours;
  gfloat *errors, *rows;        /* of what compares: its map, and scratch */
  GstBufferPool *pool;          /* of pictures, four bytes a pixel */
};

extern const GstPartimeAnnotator gst_partime_annotator_error;
extern const GstPartimeAnnotator gst_partime_annotator_flow;
extern const GstPartimeAnnotator gst_partime_annotator_heatmap;
extern const GstPartimeAnnotator gst_partime_annotator_image;
extern const GstPartimeAnnotator gst_partime_annotator_segmentation;

gboolean gst_partime_annotator_known (const gchar *kind);
GstPartimeDrawing *gst_partime_drawing_new (const gchar *kind,
    PtNetwork *network, GError **error);
void gst_partime_drawing_free (GstPartimeDrawing *self);
gdouble gst_partime_drawing_compare (GstPartimeDrawing *self,
    const gfloat *y, const guint8 *pixels, gsize stride);
gboolean gst_partime_drawing_over (GstPartimeDrawing *self, const gfloat *y,
    const GstVideoRectangle *view, GstVideoFrame *frame);
GstVideoOverlayComposition *gst_partime_drawing_compose (GstPartimeDrawing
    *self, const gfloat *y, const GstVideoRectangle *view,
    const GstVideoInfo *info);
gboolean gst_partime_drawing_picture (GstPartimeDrawing *self,
    const gfloat *y, GstVideoFrame *picture);
GstVideoRectangle gst_partime_drawing_place (const GstPartimeDrawing *self,
    const GstVideoRectangle *view, const GstVideoInfo *info);
PtOverlayColour *gst_partime_drawing_style (const GstPartimeDrawing *self,
    const GstVideoInfo *info, PtOverlayStyle *style);
const gfloat *gst_partime_drawing_values (GstPartimeDrawing *self,
    const gfloat *y, gfloat *range);

/* For annotators. */
gdouble gst_partime_drawing_follow (GstPartimeDrawing *self,
    const gfloat *y);
void gst_partime_drawing_make_tables (GstPartimeDrawing *self,
    guint n_colours);
void gst_partime_drawing_set_alone (GstPartimeDrawing *self, guint index,
    const gdouble rgb[3]);
void gst_partime_drawing_set_colour (GstPartimeDrawing *self, guint index,
    const gdouble rgb[3], gdouble alpha);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GstPartimeDrawing, gst_partime_drawing_free)

G_END_DECLS
