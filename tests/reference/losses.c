/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses.h"

#include <math.h>

static gint
ref_count (const RefLoss *loss)
{
  return loss->c * loss->h * loss->w;
}

gdouble
ref_mse (const RefLoss *loss, const gdouble *x)
{
  gdouble sum = 0;

  for (gint i = 0; i < ref_count (loss); i++)
    sum += pow (x[i] - loss->target[i], 2);
  return sum / ref_count (loss);
}

gdouble
ref_l1 (const RefLoss *loss, const gdouble *x)
{
  gdouble sum = 0;

  for (gint i = 0; i < ref_count (loss); i++)
    sum += fabs (x[i] - loss->target[i]);
  return sum / ref_count (loss);
}

gdouble
ref_charbonnier (const RefLoss *loss, const gdouble *x)
{
  gdouble sum = 0;

  for (gint i = 0; i < ref_count (loss); i++)
    sum += hypot (x[i] - loss->target[i], loss->eps);
  return sum / ref_count (loss);
}

/* -log softmax of class @k at pixel @p */
static gdouble
ref_surprise (const RefLoss *loss, const gdouble *x, gint k, gint p)
{
  gint n = loss->h * loss->w;
  gdouble sum = 0;

  for (gint j = 0; j < loss->c; j++)
    sum += exp (x[j * n + p] - x[k * n + p]);
  return log (sum);
}

gdouble
ref_classes (const RefLoss *loss, const gdouble *x)
{
  gdouble sum = 0, total = 0;

  for (gint p = 0; p < loss->h * loss->w; p++) {
    gint label = loss->label[p];
    gdouble surprise, all = 0, weight;

    if (label == loss->ignore || label < 0 || label >= loss->c)
      continue;
    weight = loss->weight ? loss->weight[label] : 1;
    surprise = ref_surprise (loss, x, label, p);
    for (gint k = 0; k < loss->c; k++)
      all += (loss->weight ? loss->weight[k] : 1) *
          ref_surprise (loss, x, k, p);
    sum += pow (1 - exp (-surprise), loss->gamma) *
        ((1 - loss->smoothing) * weight * surprise +
        loss->smoothing / loss->c * all);
    total += weight;
  }
  return total > 0 ? sum / total : 0;
}

gdouble
ref_picked (const RefLoss *loss, const gdouble *x)
{
  gint n = loss->h * loss->w;
  gdouble sum = 0, total = 0;

  for (gint p = 0; p < n; p++) {
    gint label = loss->label[p];
    gdouble weight;

    if (label == loss->ignore || label < 0 || label >= loss->c)
      continue;
    weight = loss->weight ? loss->weight[label] : 1;
    sum -= weight * x[label * n + p];
    total += weight;
  }
  return total > 0 ? sum / total : 0;
}

gdouble
ref_binary (const RefLoss *loss, const gdouble *x)
{
  gint n = loss->h * loss->w;
  gdouble sum = 0;

  for (gint i = 0; i < ref_count (loss); i++) {
    gdouble t = loss->target[i], p = 1 / (1 + exp (-x[i]));
    gdouble weight = loss->weight ? loss->weight[i / n] : 1;
    gdouble value = -weight * t * log (p) - (1 - t) * log (1 - p);

    value *= pow (1 - (p * t + (1 - p) * (1 - t)), loss->gamma);
    if (loss->alpha >= 0)
      value *= loss->alpha * t + (1 - loss->alpha) * (1 - t);
    sum += value;
  }
  return sum / ref_count (loss);
}

/* The SSIM of the window at @top, @left of one channel. */
static gdouble
ref_ssim_window (const RefLoss *loss, const gdouble *x, const gdouble *t,
    gint top, gint left)
{
  gdouble mx = 0, mt = 0, vx = 0, vt = 0, both = 0, sum = 0;
  gdouble c1 = pow (0.01 * loss->range, 2), c2 = pow (0.03 * loss->range, 2);

  for (gint pass = 0; pass < 2; pass++)
    for (gint i = 0; i < loss->window * loss->window; i++) {
      gint a = i / loss->window, b = i % loss->window;
      gint at = (top + a) * loss->w + left + b;
      gdouble middle = (loss->window - 1) / 2.;
      gdouble weight = exp (-(pow (a - middle, 2) + pow (b - middle, 2)) /
          (2 * loss->sigma * loss->sigma));

      if (pass == 0) {
        sum += weight;
        mx += weight * x[at];
        mt += weight * t[at];
        continue;
      }
      vx += weight / sum * pow (x[at] - mx / sum, 2);
      vt += weight / sum * pow (t[at] - mt / sum, 2);
      both += weight / sum * (x[at] - mx / sum) * (t[at] - mt / sum);
    }
  mx /= sum;
  mt /= sum;
  return (2 * mx * mt + c1) * (2 * both + c2) /
      ((mx * mx + mt * mt + c1) * (vx + vt + c2));
}

gdouble
ref_ssim (const RefLoss *loss, const gdouble *x)
{
  gint h = loss->h - loss->window + 1, w = loss->w - loss->window + 1;
  gdouble sum = 0;

  for (gint k = 0; k < loss->c; k++)
    for (gint i = 0; i < h * w; i++)
      sum += ref_ssim_window (loss, x + k * loss->h * loss->w,
          loss->target + k * loss->h * loss->w, i / w, i % w);
  return loss->alpha * (1 - sum / (loss->c * h * w)) +
      (1 - loss->alpha) * ref_l1 (loss, x);
}

/* The value of a frame between its pixels; outside is the border. */
static gdouble
ref_sample (const RefLoss *loss, const gdouble *frame, gdouble x, gdouble y)
{
  gint left, top, right, bottom;
  gdouble a, b;

  x = CLAMP (x, 0, loss->w - 1);
  y = CLAMP (y, 0, loss->h - 1);
  left = x;
  top = y;
  right = MIN (left + 1, loss->w - 1);
  bottom = MIN (top + 1, loss->h - 1);
  a = x - left;
  b = y - top;
  return (1 - b) * ((1 - a) * frame[top * loss->w + left] +
      a * frame[top * loss->w + right]) +
      b * ((1 - a) * frame[bottom * loss->w + left] +
      a * frame[bottom * loss->w + right]);
}

/* The mean over neighbours, @down below or to the right. */
static gdouble
ref_smooth (const RefLoss *loss, const gdouble *flow, gboolean down)
{
  gint h = loss->h - down, w = loss->w - !down;
  gint step = down ? loss->w : 1;
  gdouble sum = 0;

  for (gint k = 0; k < 2; k++)
    for (gint y = 0; y < h; y++)
      for (gint x = 0; x < w; x++) {
        const gdouble *at = flow + (k * loss->h + y) * loss->w + x;

        sum += hypot (at[step] - at[0], loss->eps);
      }
  return h * w > 0 ? sum / (2 * h * w) : 0;
}

gdouble
ref_flow (const RefLoss *loss, const gdouble *x)
{
  gint n = loss->h * loss->w;
  gdouble sum = 0;

  for (gint k = 0; k < loss->frame_c; k++)
    for (gint p = 0; p < n; p++)
      sum += hypot (loss->target[k * n + p] - ref_sample (loss,
              loss->target + (loss->frame_c + k) * n, p % loss->w + x[p],
              p / loss->w + x[n + p]), loss->eps);
  return sum / (loss->frame_c * n) + loss->smoothness *
      (ref_smooth (loss, x, FALSE) + ref_smooth (loss, x, TRUE)) / 2;
}
