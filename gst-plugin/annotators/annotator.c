/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the annotators have in common: the picture of an output, over a frame
 * or instead of it. */

#include "annotators/annotator.h"

#include <math.h>

#define MAX_SAMPLES 1024        /* of a picture, to find its range */
#define N_BINS 256
#define LEAST_ALPHA 0.03        /* what nobody sees is not blended: that costs */
#define FOLLOW 0.1              /* how fast the range follows the picture */

static const GstPartimeAnnotator *const annotators[] = {
  &gst_partime_annotator_error,
  &gst_partime_annotator_flow,
  &gst_partime_annotator_heatmap,
  &gst_partime_annotator_image,
  &gst_partime_annotator_segmentation,
};

static const GstPartimeAnnotator *
annotator_find (const gchar *kind)
{
  for (guint i = 0; i < G_N_ELEMENTS (annotators); i++)
    if (g_strcmp0 (annotators[i]->name, kind) == 0)
      return annotators[i];
  return NULL;
}

gboolean
gst_partime_annotator_known (const gchar *kind)
{
  return annotator_find (kind) != NULL;
}

/* Four parts of 0 to 1, as one word in memory order. */
static guint32
drawing_word (gdouble first, gdouble second, gdouble third, gdouble fourth)
{
  const gdouble parts[] = { first, second, third, fourth };
  guint8 bytes[4];
  guint32 word;

  for (guint i = 0; i < 4; i++)
    bytes[i] = CLAMP (parts[i], 0.0, 1.0) * 255.0 + 0.5;
  memcpy (&word, bytes, sizeof word);
  return word;
}

/* Room for @n_colours in each paint. */
void
gst_partime_drawing_make_tables (GstPartimeDrawing *self, guint n_colours)
{
  self->n_colours = n_colours;
  for (guint paint = 0; paint < GST_PARTIME_N_PAINTS; paint++)
    self->tables[paint] = g_new (guint32, n_colours);
}

/* AYUV, BT.601 with the range of video, as blending takes it. */
static guint32
drawing_ayuv (const gdouble rgb[3], gdouble alpha)
{
  gdouble kr, kb, y, u, v;

  gst_video_color_matrix_get_Kr_Kb (GST_VIDEO_COLOR_MATRIX_BT601, &kr, &kb);
  y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
  u = (rgb[2] - y) / (2 - 2 * kb);
  v = (rgb[0] - y) / (2 - 2 * kr);
  return drawing_word (alpha, (16 + 219 * y) / 255, (128 + 224 * u) / 255,
      (128 + 224 * v) / 255);
}

/* Colour @index where there is no frame below, if it is not the same. */
void
gst_partime_drawing_set_alone (GstPartimeDrawing *self, guint index,
    const gdouble rgb[3])
{
  self->tables[GST_PARTIME_PAINT_OPAQUE][index] = drawing_word (rgb[2],
      rgb[1], rgb[0], 1);
}

/* Colour @index of every table: @rgb, of @alpha where frames shine through. */
void
gst_partime_drawing_set_colour (GstPartimeDrawing *self, guint index,
    const gdouble rgb[3], gdouble alpha)
{
  if (alpha < LEAST_ALPHA)
    alpha = 0;
  self->tables[GST_PARTIME_PAINT_RGB][index] = drawing_word (rgb[2], rgb[1],
      rgb[0], alpha);
  self->tables[GST_PARTIME_PAINT_YUV][index] = drawing_ayuv (rgb, alpha);
  gst_partime_drawing_set_alone (self, index, rgb);
}

/* Length of the vector of channels at pixel @i. */
static gdouble
drawing_magnitude (const GstPartimeDrawing *self, const gfloat *y, gsize i)
{
  gsize plane = (gsize) self->width * self->height;
  gdouble sum = 0;

  if (self->channels == 1)
    return y[i];
  for (gint c = 0; c < self->channels; c++)
    sum += (gdouble) y[c * plane + i] * y[c * plane + i];
  return sqrt (sum);
}

/* The value below which 99 % of @values lie. */
static gdouble
drawing_percentile (const gdouble *values, guint n)
{
  guint bins[N_BINS] = { 0 };
  gdouble max = 0;
  guint bin = N_BINS, above = 0;

  for (guint i = 0; i < n; i++)
    max = MAX (max, values[i]);
  if (max <= 0)
    return 0;
  for (guint i = 0; i < n; i++)
    bins[(guint) (CLAMP (values[i] / max, 0, 1) * (N_BINS - 1))]++;
  while (bin > 1 && above + bins[bin - 1] <= n / 100)
    above += bins[--bin];
  return max * bin / N_BINS;
}

/* The value at full colour: the scale of the file, or else a range that
 * follows the 99th percentile of the pictures, slowly, so that colours keep
 * their meaning from frame to frame; never below the least. */
gdouble
gst_partime_drawing_follow (GstPartimeDrawing *self, const gfloat *y)
{
  gsize n = (gsize) self->width * self->height;
  gsize step = MAX (n / MAX_SAMPLES, 1);
  gdouble values[MAX_SAMPLES];
  gdouble found;
  guint taken = 0;

  if (self->scale > 0)
    return self->scale;
  for (gsize i = step / 2; i < n && taken < MAX_SAMPLES; i += step)
    values[taken++] = drawing_magnitude (self, y, i);
  found = drawing_percentile (values, taken);
  if (self->range <= 0)
    self->range = found;
  else
    self->range += FOLLOW * (found - self->range);
  return MAX (self->range, self->least);
}

static gdouble
drawing_get_double (PtNetwork *network, const gchar *group, const gchar *key,
    gdouble otherwise)
{
  g_autofree gchar *text = pt_network_get (network, group, key);

  return text && *text ? g_ascii_strtod (text, NULL) : otherwise;
}

/* A pool of BGRA pictures as large as the output. */
static gboolean
drawing_make_pool (GstPartimeDrawing *self, GError **error)
{
  GstStructure *config;
  g_autoptr (GstCaps) caps = gst_caps_new_simple ("video/x-raw",
      "format", G_TYPE_STRING,
      gst_video_format_to_string (GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_RGB),
      "width", G_TYPE_INT, self->width, "height", G_TYPE_INT, self->height,
      "framerate", GST_TYPE_FRACTION, 0, 1, NULL);

  self->pool = gst_video_buffer_pool_new ();
  config = gst_buffer_pool_get_config (self->pool);
  gst_buffer_pool_config_set_params (config, caps,
      self->width * self->height * 4, 2, 0);
  gst_buffer_pool_config_add_option (config,
      GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (gst_buffer_pool_set_config (self->pool, config)
      && gst_buffer_pool_set_active (self->pool, TRUE))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY,
      "no memory for pictures of %dx%d", self->width, self->height);
  return FALSE;
}

/**
 * gst_partime_drawing_new:
 * @kind: one that gst_partime_annotator_known()
 * @network: whose output is drawn
 * @error: %PT_ERROR_SHAPE if the output is not what the kind needs
 *
 * Returns: (nullable): a drawing
 */
GstPartimeDrawing *
gst_partime_drawing_new (const gchar *kind, PtNetwork *network,
    GError **error)
{
  g_autoptr (GstPartimeDrawing) self = g_new0 (GstPartimeDrawing, 1);
  const PtShape *shape = pt_network_get_output_shape (network);

  self->annotator = annotator_find (kind);
  if (shape->n_dims != 4) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "[output] kind=%s: the "
        "output of the network has %u dimensions, expected 4 (a picture)",
        kind, shape->n_dims);
    return NULL;
  }
  self->channels = shape->dims[1];
  self->height = shape->dims[2];
  self->width = shape->dims[3];
  self->input_channels = drawing_get_double (network, "network", "channels",
      3);
  self->input_height = pt_network_get_input_shape (network)->dims[2];
  self->input_width = pt_network_get_input_shape (network)->dims[3];
  self->mean = drawing_get_double (network, "network", "mean", 0);
  self->std = drawing_get_double (network, "network", "std", 1);
  self->opacity = drawing_get_double (network, "output", "opacity", 0.6);
  self->scale = drawing_get_double (network, "output", "scale", 0);
  if (!self->annotator->prepare (self, error)
      || !drawing_make_pool (self, error))
    return NULL;
  return g_steal_pointer (&self);
}

void
gst_partime_drawing_free (GstPartimeDrawing *self)
{
  if (self->pool)
    gst_buffer_pool_set_active (self->pool, FALSE);
  gst_clear_object (&self->pool);
  for (guint paint = 0; paint < GST_PARTIME_N_PAINTS; paint++)
    g_free (self->tables[paint]);
  g_free (self->errors);
  g_free (self->rows);
  g_free (self);
}

static GstBuffer *
drawing_paint (GstPartimeDrawing *self, const gfloat *y,
    GstPartimePaint paint)
{
  GstBuffer *picture = NULL;
  GstMapInfo map;

  if (gst_buffer_pool_acquire_buffer (self->pool, &picture, NULL) !=
      GST_FLOW_OK)
    return NULL;
  if (!gst_buffer_map (picture, &map, GST_MAP_WRITE)) {
    gst_buffer_unref (picture);
    return NULL;
  }
  self->annotator->draw (self, y, paint, map.data);
  gst_buffer_unmap (picture, &map);
  gst_buffer_get_video_meta (picture)->format =
      paint == GST_PARTIME_PAINT_YUV ? GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_YUV
      : GST_VIDEO_OVERLAY_COMPOSITION_FORMAT_RGB;
  return picture;
}

static GstPartimePaint
drawing_choose_paint (const GstPartimeDrawing *self, const GstVideoInfo *info)
{
  if (self->annotator->inset)
    return GST_PARTIME_PAINT_OPAQUE;
  return GST_VIDEO_INFO_IS_RGB (info) ? GST_PARTIME_PAINT_RGB :
      GST_PARTIME_PAINT_YUV;
}

/* Where on the frame the picture goes. */
GstVideoRectangle
gst_partime_drawing_place (const GstPartimeDrawing *self, const GstVideoRectangle *view,
    const GstVideoInfo *info)
{
  gint w = info->width, h = info->height;
  GstVideoRectangle place = *view;

  if (self->annotator->inset) {
    place.w = MAX (w / 3, 1);
    place.h = CLAMP (place.w * view->h / view->w, 1, h);
    place.x = w - place.w;
    place.y = h - place.h;
  }
  return place;
}

/**
 * gst_partime_drawing_compose:
 * @self: the drawing
 * @y: the output, of the shape the drawing was made for
 * @view: where on the frame the network looked
 * @info: of the frame
 *
 * Returns: (transfer full) (nullable): the picture of @y, for a frame to be
 *   blended with; %NULL if there was no memory for it
 */
GstVideoOverlayComposition *
gst_partime_drawing_compose (GstPartimeDrawing *self, const gfloat *y,
    const GstVideoRectangle *view, const GstVideoInfo *info)
{
  g_autoptr (GstBuffer) picture =
      drawing_paint (self, y, drawing_choose_paint (self, info));
  GstVideoRectangle place = gst_partime_drawing_place (self, view, info);
  GstVideoOverlayRectangle *rectangle;
  GstVideoOverlayComposition *composition;

  if (!picture)
    return NULL;
  /* not premultiplied: GStreamer 1.22 forgets that it is when it scales */
  rectangle = gst_video_overlay_rectangle_new_raw (picture, place.x, place.y,
      place.w, place.h, GST_VIDEO_OVERLAY_FORMAT_FLAG_NONE);
  composition = gst_video_overlay_composition_new (rectangle);
  gst_video_overlay_rectangle_unref (rectangle);
  return composition;
}

/**
 * gst_partime_drawing_over:
 * @self: the drawing
 * @y: the output, of the shape the drawing was made for
 * @view: where on the frame the network looked
 * @frame: mapped for writing
 *
 * Blends the picture of @y over @frame, whatever its format.
 *
 * Returns: whether there was memory for it
 */
gboolean
gst_partime_drawing_over (GstPartimeDrawing *self, const gfloat *y,
    const GstVideoRectangle *view, GstVideoFrame *frame)
{
  GstVideoOverlayComposition *composition =
      gst_partime_drawing_compose (self, y, view, &frame->info);
  gboolean done;

  if (!composition)
    return FALSE;
  done = gst_video_overlay_composition_blend (composition, frame);
  gst_video_overlay_composition_unref (composition);
  return done;
}

/* Opaque BGRA to what the frames of output=network are. */
static void
drawing_copy_row (const guint8 *from, guint8 *to, gint width, gboolean grey)
{
  for (gint x = 0; x < width; x++, from += 4) {
    if (grey) {
      *to++ = from[0];
    } else {
      *to++ = from[2];
      *to++ = from[1];
      *to++ = from[0];
    }
  }
}

/* Fills @picture, RGB or GRAY8 and of the output's size, with @y. */
gboolean
gst_partime_drawing_picture (GstPartimeDrawing *self, const gfloat *y,
    GstVideoFrame *picture)
{
  g_autoptr (GstBuffer) painted = drawing_paint (self, y,
      GST_PARTIME_PAINT_OPAQUE);
  gboolean grey =
      GST_VIDEO_FRAME_FORMAT (picture) == GST_VIDEO_FORMAT_GRAY8;
  guint8 *to = GST_VIDEO_FRAME_PLANE_DATA (picture, 0);
  GstMapInfo map;

  if (!painted || !gst_buffer_map (painted, &map, GST_MAP_READ))
    return FALSE;
  for (gint row = 0; row < self->height; row++)
    drawing_copy_row (map.data + (gsize) row * self->width * 4,
        to + (gsize) row * GST_VIDEO_FRAME_PLANE_STRIDE (picture, 0),
        self->width, grey);
  gst_buffer_unmap (painted, &map);
  return TRUE;
}
