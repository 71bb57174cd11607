/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <partime/device.h>

G_BEGIN_DECLS

/* Video frames that lie in a device's memory, and what a network sees of
 * them. */

/* Any format whose samples are bytes: component k of pixel (x, y) is at
 * data[k] + (y >> shift_y[k]) stride[k] + (x >> shift_x[k]) step[k]. Components
 * are red, green and blue, or luma, U and V, or luma alone. */
typedef struct
{
  guint8 *data[3];
  gint stride[3], step[3];      /* bytes to the next row, to the next sample */
  gint shift_x[3], shift_y[3];  /* log2 of the pixels that share a sample */
  gint n_components;
  gint width, height;
  /* Chroma lies where the first of its pixels does, not in their middle. */
  gboolean cosited_x, cosited_y;
  /* What is passed when the frame is there, on a GPU a cudaEvent_t; NULL: it
   * is there. */
  gpointer fence;
} PtFrame;

/* What becomes of a frame: the part of it that is seen, in pixels, is resized
 * to a part of the picture; what is left of the picture is black. */
typedef struct
{
  gint x, y, width, height;     /* of the frame */
  gint to_x, to_y, to_width, to_height; /* of the picture */
  gint out_width, out_height;
  gint channels;                /* of the picture: 1 or 3 */
  gfloat matrix[3][4];          /* each channel, 0..255, from the components;
                                 * the last column is added */
  gfloat mean, std;             /* (v / 255 - mean) / std, if normalised */
} PtFrameView;

/* The components' range; of luma and of chroma in bytes. */
typedef struct
{
  gint black, luma, chroma;     /* 16, 219, 224; or 0, 255, 255 */
} PtFrameRange;

/* RGB from YUV: kr and kb are 0.299 and 0.114 by BT.601, 0.2126 and 0.0722 by
 * BT.709. */
static inline void
pt_frame_matrix_yuv (gdouble kr, gdouble kb, PtFrameRange range,
    gfloat m[3][4])
{
  gdouble kg = 1 - kr - kb, y = 255. / range.luma, c = 255. / range.chroma;
  const gdouble rgb[3][3] = {
    {y, 0, 2 * (1 - kr) * c},
    {y, -2 * (1 - kb) * kb / kg * c, -2 * (1 - kr) * kr / kg * c},
    {y, 2 * (1 - kb) * c, 0},
  };

  for (gint i = 0; i < 3; i++) {
    for (gint k = 0; k < 3; k++)
      m[i][k] = rgb[i][k];
    m[i][3] = -(rgb[i][0] * range.black + (rgb[i][1] + rgb[i][2]) * 128);
  }
}

/* Components as they are: of RGB; with @n 1 of luma alone, for grey or for
 * three equal channels. */
static inline void
pt_frame_matrix_copy (gint n, gfloat m[3][4])
{
  for (gint i = 0; i < 3; i++)
    for (gint k = 0; k < 4; k++)
      m[i][k] = k == (n == 1 ? 0 : i);
}

/* The first row becomes the luma of what the three rows give. */
static inline void
pt_frame_matrix_grey (gdouble kr, gdouble kb, gfloat m[3][4])
{
  for (gint k = 0; k < 4; k++)
    m[0][k] = kr * m[0][k] + (1 - kr - kb) * m[1][k] + kb * m[2][k];
}

typedef struct _PtFrameReader PtFrameReader;

PT_API PtFrameReader *pt_frame_reader_new (PtDevice *device, gint width,
    gint height, gint channels, GError **error);
PT_API void pt_frame_reader_free (PtFrameReader *self);
PT_API const guint8 *pt_frame_reader_read (PtFrameReader *self,
    const PtFrame *frame, const PtFrameView *view, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtFrameReader, pt_frame_reader_free)

/* What a network's output looks like over a frame. */
typedef enum
{
  PT_OVERLAY_CLASSES,           /* colour of the channel with the highest
                                 * score */
  PT_OVERLAY_HEAT,              /* of one channel, none below 0 */
  PT_OVERLAY_FLOW,              /* of two: x and y */
  PT_OVERLAY_IMAGE,             /* 1 or 3 channels, opaque */
} PtOverlayKind;

#define PT_OVERLAY_HEATS 256    /* colours, from 0 to the full range */
#define PT_OVERLAY_SPEEDS 64    /* of flow: steps from rest to full speed */
#define PT_OVERLAY_SIDE (2 * PT_OVERLAY_SPEEDS + 1)

/* Parts are the frame's components: red, green and blue; or luma, U and V. */
typedef struct
{
  guint8 alpha, part[3];        /* not multiplied with one another */
} PtOverlayColour;

typedef struct
{
  PtOverlayKind kind;
  gint width, height, channels; /* of the output */
  /* One for each class; PT_OVERLAY_HEATS; or rows of PT_OVERLAY_SIDE, x from
   * left to right and y from top to bottom; none for images. */
  const PtOverlayColour *colours;
  guint n_colours;
  /* Of images: 255 (y std + mean) are red, green and blue, or all of them
   * alike; the frame's components come of those, the last column is added. */
  gfloat mean, std;
  gfloat matrix[3][4];
} PtOverlayStyle;

typedef struct _PtFramePainter PtFramePainter;

PT_API PtFramePainter *pt_frame_painter_new (PtDevice *device,
    const PtOverlayStyle *style, GError **error);
PT_API void pt_frame_painter_free (PtFramePainter *self);
PT_API gboolean pt_frame_painter_draw (PtFramePainter *self,
    const gfloat *y, gfloat range, const PtFrame *frame, gint to_x, gint to_y,
    gint to_width, gint to_height, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtFramePainter, pt_frame_painter_free)

G_END_DECLS
