/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/measure.h"

#include <math.h>
#include <string.h>

/* Elements summed in single precision before the sum goes on in double. */
#define MEASURE_BLOCK 1024

/* Squared error, peak 1, below which no difference is seen: 100 dB. */
#define MEASURE_LEAST_ERROR 1e-10

typedef enum
{
  MEASURE_MEAN,                 /* sum / count */
  MEASURE_PSNR,                 /* -10 log10 (sum / count) */
  MEASURE_MEAN_IOU,             /* of the classes' counts */
} MeasureForm;

typedef struct
{
  const gchar *name, *unit;
  gboolean higher_is_better;
  MeasureForm form;
} MeasureKind;

static const MeasureKind measure_loss = { "loss", "", FALSE, MEASURE_MEAN };
static const MeasureKind measure_accuracy =
    { "accuracy", "", TRUE, MEASURE_MEAN };
static const MeasureKind measure_miou = { "miou", "", TRUE, MEASURE_MEAN_IOU };
static const MeasureKind measure_iou = { "iou", "", TRUE, MEASURE_MEAN };
static const MeasureKind measure_psnr = { "psnr", "dB", TRUE, MEASURE_PSNR };
static const MeasureKind measure_repeat =
    { "psnr-repeat", "dB", TRUE, MEASURE_PSNR };
static const MeasureKind measure_epe = { "epe", "px", FALSE, MEASURE_MEAN };

static const MeasureKind *const measure_kinds[][PT_MAX_MEASURES] = {
  [PT_TASK_NONE] = { &measure_loss },
  [PT_TASK_CLASS] = { &measure_loss, &measure_accuracy },
  [PT_TASK_PIXEL_CLASSES] =
      { &measure_loss, &measure_accuracy, &measure_miou },
  [PT_TASK_BINARY] = { &measure_loss, &measure_accuracy, &measure_iou },
  [PT_TASK_IMAGE] = { &measure_loss, &measure_psnr },
  [PT_TASK_NEXT_IMAGE] = { &measure_loss, &measure_psnr, &measure_repeat },
  [PT_TASK_FLOW] = { &measure_loss, &measure_epe },
};

void
pt_measures_init (PtMeasures *self)
{
  *self = (PtMeasures) { PT_TASK_NONE };
  g_mutex_init (&self->lock);
}

static void
measure_free_counts (PtMeasures *self)
{
  g_clear_pointer (&self->class_frame, g_free);
  g_clear_pointer (&self->class_newest, g_free);
  g_clear_pointer (&self->class_window, g_free);
  g_clear_pointer (&self->class_recent, g_free);
  g_clear_pointer (&self->class_total, g_free);
}

void
pt_measures_clear (PtMeasures *self)
{
  measure_free_counts (self);
  g_mutex_clear (&self->lock);
}

void
pt_measures_start (PtMeasures *self, PtTask task, guint n_classes,
    gint32 ignore, gdouble std)
{
  gsize n = 3 * (gsize) n_classes;

  g_mutex_lock (&self->lock);
  measure_free_counts (self);
  self->task = task;
  self->n_classes = n_classes;
  self->ignore = ignore;
  self->std = std;
  self->n_frames = 0;
  memset (self->newest, 0, sizeof self->newest);
  memset (self->total, 0, sizeof self->total);
  memset (self->window, 0, sizeof self->window);
  for (self->n = 0; self->n < PT_MAX_MEASURES
      && measure_kinds[task][self->n] != NULL; self->n++);
  if (task == PT_TASK_PIXEL_CLASSES) {
    self->class_frame = g_new0 (guint64, n);
    self->class_newest = g_new0 (guint64, n);
    self->class_window = g_new0 (guint32, n * PT_MEASURE_WINDOW);
    self->class_recent = g_new0 (guint64, n);
    self->class_total = g_new0 (guint64, n);
  }
  g_mutex_unlock (&self->lock);
}

void
pt_measures_follow (PtMeasures *self, PtMeasures *before)
{
  gsize n = 3 * (gsize) self->n_classes;

  if (self->task != before->task || self->n_classes != before->n_classes
      || self->ignore != before->ignore)
    return;
  g_mutex_lock (&before->lock);
  g_mutex_lock (&self->lock);
  self->n_frames = before->n_frames;
  memcpy (self->newest, before->newest, sizeof self->newest);
  memcpy (self->total, before->total, sizeof self->total);
  memcpy (self->window, before->window, sizeof self->window);
  if (self->task == PT_TASK_PIXEL_CLASSES) {
    memcpy (self->class_newest, before->class_newest, n * sizeof (guint64));
    memcpy (self->class_window, before->class_window,
        n * PT_MEASURE_WINDOW * sizeof (guint32));
    memcpy (self->class_recent, before->class_recent, n * sizeof (guint64));
    memcpy (self->class_total, before->class_total, n * sizeof (guint64));
  }
  g_mutex_unlock (&self->lock);
  g_mutex_unlock (&before->lock);
}

/* What pictures are: as many channels as frames have, or gray or colour. A
 * teacher's tensors are no pictures. */
static PtTask
measure_find_picture_task (const PtNetwork *network,
    const PtLearning *learning, const PtShape *output)
{
  gint64 c = pt_shape_c (output);

  if (output->n_dims != 4 || g_str_equal (network->settings.target, "teacher"))
    return PT_TASK_NONE;
  if (learning->target == PT_TARGET_NEXT)
    return PT_TASK_NEXT_IMAGE;
  if (learning->target == PT_TARGET_INPUT || c == 1 || c == 3)
    return PT_TASK_IMAGE;
  return c == 2 ? PT_TASK_FLOW : PT_TASK_NONE;
}

static PtTask
measure_find_task (const PtNetwork *network, const PtLearning *learning,
    const PtShape *output)
{
  static const gchar *const binary[] = { "bce", "focal", NULL };
  static const gchar *const picture[] = { "mse", "l1", "charbonnier", "ssim",
    NULL };
  const gchar *loss = pt_loss_get_name (learning->loss);

  if (learning->loss->kind->classes)
    return output->n_dims == 4 ? PT_TASK_PIXEL_CLASSES : PT_TASK_CLASS;
  if (g_strv_contains (binary, loss))
    return PT_TASK_BINARY;
  return g_strv_contains (picture, loss) ?
      measure_find_picture_task (network, learning, output) : PT_TASK_NONE;
}

void
pt_measures_start_for (PtMeasures *self, const PtNetwork *network,
    const PtLearning *learning)
{
  const PtShape *output = pt_network_get_output_shape ((PtNetwork *) network);
  PtOpDesc desc = { .x = *output, .y = learning->target_shape };
  gint32 ignore = -1;
  PtTask task;

  if (learning->mode == PT_MODE_OFF) {
    pt_measures_start (self, PT_TASK_NONE, 0, ignore, 1);
    self->n = 0;
    return;
  }
  task = measure_find_task (network, learning, output);
  if ((task == PT_TASK_CLASS || task == PT_TASK_PIXEL_CLASSES)
      && learning->loss->kind->describe (learning->loss, output,
          &learning->target_shape, &desc, NULL))
    ignore = desc.cross_entropy.ignore_index;
  pt_measures_start (self, task, pt_shape_c (output), ignore,
      network->settings.std);
}

/* -- one frame -- */

static guint
measure_find_best (const gfloat *scores, guint n)
{
  gfloat top = scores[0];
  guint best = 0;

  for (guint k = 1; k < n; k++) {
    best = scores[k] > top ? k : best;
    top = scores[k] > top ? scores[k] : top;
  }
  return best;
}

static void
measure_classes (PtMeasures *self, const PtMeasureFrame *frame,
    PtMeasureSums *sums)
{
  gsize n = pt_tensor_get_n_elements (frame->target);
  guint c = self->n_classes;
  const gfloat *x = frame->output->data;
  const gint32 *label = frame->target->data;
  guint64 *hits = self->class_frame;

  if (hits != NULL)
    memset (hits, 0, 3 * (gsize) c * sizeof *hits);
  for (gsize p = 0; p < n; p++, x += c) {
    guint found;

    if (label[p] == self->ignore || (guint32) label[p] >= c)
      continue;
    found = measure_find_best (x, c);
    sums[1].sum += found == (guint32) label[p];
    sums[1].count++;
    if (hits == NULL)
      continue;
    hits[found] += found == (guint32) label[p];
    hits[c + found]++;
    hits[2 * c + label[p]]++;
  }
}

/* Said and true are what is above a half, as a logit above 0. */
static void
measure_binary (const PtMeasureFrame *frame, PtMeasureSums *sums)
{
  gsize n = pt_tensor_get_n_elements (frame->target);
  const gfloat *x = frame->output->data, *t = frame->target->data;
  gint64 right = 0, both = 0, either = 0;

#pragma omp simd reduction (+ : right, both, either)
  for (gsize i = 0; i < n; i++) {
    gint said = x[i] > 0.f, true_ = t[i] > 0.5f;

    right += said == true_;
    both += said & true_;
    either += said | true_;
  }
  sums[1] = (PtMeasureSums) { right, n };
  sums[2] = (PtMeasureSums) { both, either };
}

static gdouble
measure_sum_squares (const PtTensor *a, const PtTensor *b)
{
  gsize n = pt_tensor_get_n_elements (a);
  const gfloat *x = a->data, *y = b->data;
  gdouble total = 0;

  for (gsize first = 0; first < n; first += MEASURE_BLOCK) {
    gsize end = MIN (first + MEASURE_BLOCK, n);
    gfloat sum = 0;

#pragma omp simd reduction (+ : sum)
    for (gsize i = first; i < end; i++)
      sum += (x[i] - y[i]) * (x[i] - y[i]);
    total += sum;
  }
  return total;
}

/* Of pictures of 0 to 1: the mean falls out of the difference, the standard
 * deviation comes back. */
static PtMeasureSums
measure_picture (const PtMeasures *self, const PtTensor *a, const PtTensor *b)
{
  return (PtMeasureSums) { measure_sum_squares (a, b) * self->std * self->std,
    pt_tensor_get_n_elements (a) };
}

/* Mean length of the difference of two fields of vectors. */
static PtMeasureSums
measure_flow (const PtMeasureFrame *frame)
{
  gsize n = pt_tensor_get_n_elements (frame->target) / 2;
  const gfloat *x = frame->output->data, *y = frame->target->data;
  gdouble total = 0;

  for (gsize first = 0; first < n; first += MEASURE_BLOCK) {
    gsize end = MIN (first + MEASURE_BLOCK, n);
    gfloat sum = 0;

#pragma omp simd reduction (+ : sum)
    for (gsize i = first; i < end; i++) {
      gfloat u = x[2 * i] - y[2 * i], v = x[2 * i + 1] - y[2 * i + 1];

      sum += sqrtf (u * u + v * v);
    }
    total += sum;
  }
  return (PtMeasureSums) { total, n };
}

static void
measure_frame (PtMeasures *self, const PtMeasureFrame *frame,
    PtMeasureSums *sums)
{
  if (isfinite (frame->loss))
    sums[0] = (PtMeasureSums) { frame->loss, 1 };
  switch (self->task) {
    case PT_TASK_CLASS:
    case PT_TASK_PIXEL_CLASSES:
      measure_classes (self, frame, sums);
      break;
    case PT_TASK_BINARY:
      measure_binary (frame, sums);
      break;
    case PT_TASK_NEXT_IMAGE:
      if (frame->before != NULL)
        sums[2] = measure_picture (self, frame->before, frame->target);
      sums[1] = measure_picture (self, frame->output, frame->target);
      break;
    case PT_TASK_IMAGE:
      sums[1] = measure_picture (self, frame->output, frame->target);
      break;
    case PT_TASK_FLOW:
      sums[1] = measure_flow (frame);
      break;
    default:
      break;
  }
}

/* -- sums of frames -- */

/* The newest frame's counts take the place of the oldest's; lock held. */
static void
measure_turn_counts (PtMeasures *self)
{
  gsize n = 3 * (gsize) self->n_classes;
  guint32 *slot = self->class_window
      + n * (self->n_frames % PT_MEASURE_WINDOW);

  memcpy (self->class_newest, self->class_frame, n * sizeof (guint64));
  for (gsize i = 0; i < n; i++) {
    self->class_recent[i] += self->class_newest[i];
    self->class_recent[i] -= slot[i];
    self->class_total[i] += self->class_newest[i];
    slot[i] = self->class_newest[i];
  }
}

/* Mean of hits / (said + true - hits), over the classes there were. */
static gdouble
measure_mean_iou (const PtMeasures *self, const guint64 *counts)
{
  guint n = self->n_classes, there = 0;
  gdouble sum = 0;

  for (guint k = 0; k < n; k++) {
    guint64 either = counts[n + k] + counts[2 * n + k] - counts[k];

    if (either == 0)
      continue;
    sum += counts[k] / (gdouble) either;
    there++;
  }
  return there > 0 ? sum / there : NAN;
}

static gdouble
measure_value (const MeasureKind *kind, const PtMeasureSums *sums)
{
  gdouble mean = sums->count > 0 ? sums->sum / sums->count : NAN;

  if (kind->form != MEASURE_PSNR || isnan (mean))
    return mean;
  return -10 * log10 (MAX (mean, MEASURE_LEAST_ERROR));
}

static gdouble
measure_newest (const PtMeasures *self, guint i)
{
  const MeasureKind *kind = measure_kinds[self->task][i];

  return kind->form == MEASURE_MEAN_IOU ?
      measure_mean_iou (self, self->class_newest) :
      measure_value (kind, &self->newest[i]);
}

void
pt_measures_add (PtMeasures *self, const PtMeasureFrame *frame,
    gdouble *values)
{
  PtMeasureSums sums[PT_MAX_MEASURES] = { 0, };

  for (guint i = 0; i < PT_MAX_MEASURES; i++)
    values[i] = NAN;
  if (self->n == 0)
    return;
  measure_frame (self, frame, sums);
  g_mutex_lock (&self->lock);
  memcpy (self->newest, sums, sizeof sums);
  memcpy (self->window[self->n_frames % PT_MEASURE_WINDOW], sums, sizeof sums);
  for (guint i = 0; i < self->n; i++) {
    self->total[i].sum += sums[i].sum;
    self->total[i].count += sums[i].count;
  }
  if (self->class_newest != NULL)
    measure_turn_counts (self);
  self->n_frames++;
  for (guint i = 0; i < self->n; i++)
    values[i] = measure_newest (self, i);
  g_mutex_unlock (&self->lock);
}

/* Summed anew each time: nothing drifts, and it is asked for seldom. */
static gdouble
measure_recent (const PtMeasures *self, guint i)
{
  PtMeasureSums sums = { 0, 0 };

  for (guint f = 0; f < PT_MEASURE_WINDOW; f++) {
    sums.sum += self->window[f][i].sum;
    sums.count += self->window[f][i].count;
  }
  return measure_value (measure_kinds[self->task][i], &sums);
}

guint
pt_measures_get (PtMeasures *self, PtMeasure *measures)
{
  guint n;

  g_mutex_lock (&self->lock);
  n = self->n;
  for (guint i = 0; i < n; i++) {
    const MeasureKind *kind = measure_kinds[self->task][i];
    gboolean iou = kind->form == MEASURE_MEAN_IOU;

    measures[i] = (PtMeasure) { kind->name, kind->unit,
      kind->higher_is_better, measure_newest (self, i),
      iou ? measure_mean_iou (self, self->class_recent) :
          measure_recent (self, i),
      iou ? measure_mean_iou (self, self->class_total) :
          measure_value (kind, &self->total[i]) };
  }
  g_mutex_unlock (&self->lock);
  return n;
}
