/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "engine/learning.h"

G_BEGIN_DECLS

/* Prequential measures: each frame is predicted before it is learned from, so
 * that every frame is a test. A measure is a function of sums over frames, of
 * the newest one, of a window of them, or of all since the start. */

typedef enum
{
  PT_TASK_NONE,                 /* nothing but the loss */
  PT_TASK_CLASS,                /* one class for the frame */
  PT_TASK_PIXEL_CLASSES,
  PT_TASK_BINARY,               /* scores against 0..1 */
  PT_TASK_IMAGE,
  PT_TASK_NEXT_IMAGE,           /* also against repeating the last frame */
  PT_TASK_FLOW,
} PtTask;

/* What a measure is made of; psnr: squared error and elements; iou: meets and
 * unites. */
typedef struct
{
  gdouble sum, count;
} PtMeasureSums;

typedef struct
{
  PtTask task;
  guint n_classes;
  gint32 ignore;                /* label that does not count */
  gdouble std;                  /* of the frames' normalisation */
  guint n;                      /* measures; the first is the loss */

  guint64 *class_frame;         /* counts of the frame at hand, as below; of
                                 * who adds */
  GMutex lock;                  /* of what follows */
  guint64 n_frames;             /* measured since the start */
  PtMeasureSums newest[PT_MAX_MEASURES];
  PtMeasureSums total[PT_MAX_MEASURES];
  PtMeasureSums window[PT_MEASURE_WINDOW][PT_MAX_MEASURES];
  /* for the mean over classes: how often each was found where it is, found,
   * and there; n_classes numbers of each kind */
  guint64 *class_newest, *class_recent, *class_total;
  guint32 *class_window;        /* of one frame after the other */
} PtMeasures;

/* One frame: @output and @target as they lie on a device of host memory,
 * channels-last. @before is the target of the frame before, or NULL. */
typedef struct
{
  const PtTensor *output, *target, *before;
  gdouble loss;                 /* NaN if there is none */
} PtMeasureFrame;

void pt_measures_init (PtMeasures *self);
void pt_measures_clear (PtMeasures *self);
/* What a task of that kind has to be measured by; from zero. */
void pt_measures_start (PtMeasures *self, PtTask task, guint n_classes,
    gint32 ignore, gdouble std);
/* The same, for what @network is to learn. */
void pt_measures_start_for (PtMeasures *self, const PtNetwork *network,
    const PtLearning *learning);
/* Goes on from @before, if that is of the same task. */
void pt_measures_follow (PtMeasures *self, PtMeasures *before);
/* Fills in PT_MAX_MEASURES @values; allocates nothing. */
void pt_measures_add (PtMeasures *self, const PtMeasureFrame *frame,
    gdouble *values);
/* Fills in PT_MAX_MEASURES @measures; returns how many there are. */
guint pt_measures_get (PtMeasures *self, PtMeasure *measures);

G_END_DECLS
