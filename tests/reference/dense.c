/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "dense.h"

#include <string.h>

#include "activation.h"

/* Calls @visit for every product of an input, a weight and an output. */
typedef void (*RefVisit) (gsize x, gsize w, gsize y, gpointer data);

static void
ref_conv_each (const PtConvDesc *desc, RefSize in, RefSize out,
    RefVisit visit, gpointer data)
{
  gint in_group = in.c / desc->groups, out_group = out.c / desc->groups;
  gint kh = desc->kernel[0], kw = desc->kernel[1];

  for (gint o = 0; o < out.c; o++)
    for (gint oy = 0; oy < out.h; oy++)
      for (gint ox = 0; ox < out.w; ox++)
        for (gint i = 0; i < in_group; i++)
          for (gint ky = 0; ky < kh; ky++)
            for (gint kx = 0; kx < kw; kx++) {
              gint c = o / out_group * in_group + i;
              gint y = oy * desc->stride[0] - desc->padding[0] +
                  ky * desc->dilation[0];
              gint x = ox * desc->stride[1] - desc->padding[1] +
                  kx * desc->dilation[1];

              if (y >= 0 && y < in.h && x >= 0 && x < in.w)
                visit (((gsize) c * in.h + y) * in.w + x,
                    (((gsize) o * in_group + i) * kh + ky) * kw + kx,
                    ((gsize) o * out.h + oy) * out.w + ox, data);
            }
}

typedef struct
{
  const gdouble *a, *b;
  gdouble *sum;
} RefProduct;

static void
ref_visit_y (gsize x, gsize w, gsize y, gpointer data)
{
  RefProduct *p = data;

  p->sum[y] += p->a[x] * p->b[w];
}

static void
ref_visit_x (gsize x, gsize w, gsize y, gpointer data)
{
  RefProduct *p = data;

  p->sum[x] += p->a[y] * p->b[w];
}

static void
ref_visit_w (gsize x, gsize w, gsize y, gpointer data)
{
  RefProduct *p = data;

  p->sum[w] += p->a[x] * p->b[y];
}

void
ref_conv (const PtConvDesc *desc, RefSize in, RefSize out, const gdouble *x,
    const gdouble *w, const gdouble *b, gdouble *y)
{
  RefProduct product = { x, w, y };
  gsize plane = (gsize) out.h * out.w;

  for (gsize k = 0; k < out.c * plane; k++)
    y[k] = b != NULL ? b[k / plane] : 0;
  ref_conv_each (desc, in, out, ref_visit_y, &product);
  for (gsize k = 0; k < out.c * plane; k++)
    y[k] = ref_activation (desc->activation, desc->alpha, 0, y[k]);
}

void
ref_conv_data (const PtConvDesc *desc, RefSize in, RefSize out,
    const gdouble *dy, const gdouble *w, gdouble *dx)
{
  RefProduct product = { dy, w, dx };

  memset (dx, 0, sizeof *dx * in.c * in.h * in.w);
  ref_conv_each (desc, in, out, ref_visit_x, &product);
}

void
ref_conv_weights (const PtConvDesc *desc, RefSize in, RefSize out,
    const gdouble *x, const gdouble *dy, gdouble *dw, gdouble *db)
{
  RefProduct product = { x, dy, dw };
  gsize plane = (gsize) out.h * out.w;

  memset (dw, 0, sizeof *dw * out.c * (in.c / desc->groups) *
      desc->kernel[0] * desc->kernel[1]);
  ref_conv_each (desc, in, out, ref_visit_w, &product);
  memset (db, 0, sizeof *db * out.c);
  for (gsize k = 0; k < out.c * plane; k++)
    db[k / plane] += dy[k];
}

/* The window of output (oy, ox), cut to the input. */
typedef struct
{
  gint y0, y1, x0, x1, count;
} RefWindow;

static RefWindow
ref_window (const PtPoolDesc *desc, RefSize in, gint oy, gint ox)
{
  gint y = oy * desc->stride[0] - desc->padding[0];
  gint x = ox * desc->stride[1] - desc->padding[1];
  RefWindow window = { MAX (y, 0), MIN (y + desc->kernel[0], in.h),
    MAX (x, 0), MIN (x + desc->kernel[1], in.w), 0
  };

  window.count = desc->count_include_pad ?
      desc->kernel[0] * desc->kernel[1] :
      (window.y1 - window.y0) * (window.x1 - window.x0);
  return window;
}

void
ref_pool (const PtPoolDesc *desc, RefSize in, RefSize out, const gdouble *x,
    gdouble *y, gint *places)
{
  for (gint k = 0; k < out.c * out.h * out.w; k++) {
    const gdouble *plane = x + k / (out.h * out.w) * in.h * in.w;
    RefWindow window = ref_window (desc, in, k / out.w % out.h, k % out.w);
    gdouble sum = 0, max = -INFINITY;

    for (gint iy = window.y0; iy < window.y1; iy++)
      for (gint ix = window.x0; ix < window.x1; ix++) {
        gdouble value = plane[iy * in.w + ix];

        sum += value;
        if (value > max) {
          max = value;
          places[k] = iy * in.w + ix;
        }
      }
    y[k] = desc->kind == PT_POOL_MAX ? max : sum / window.count;
  }
}

void
ref_pool_backward (const PtPoolDesc *desc, RefSize in, RefSize out,
    const gdouble *dy, const gint *places, gdouble *dx)
{
  memset (dx, 0, sizeof *dx * in.c * in.h * in.w);
  for (gint k = 0; k < out.c * out.h * out.w; k++) {
    gdouble *plane = dx + k / (out.h * out.w) * in.h * in.w;
    RefWindow window = ref_window (desc, in, k / out.w % out.h, k % out.w);

    if (desc->kind == PT_POOL_MAX) {
      plane[places[k]] += dy[k];
      continue;
    }
    for (gint iy = window.y0; iy < window.y1; iy++)
      for (gint ix = window.x0; ix < window.x1; ix++)
        plane[iy * in.w + ix] += dy[k] / window.count;
  }
}

void
ref_batch_statistics (RefSize size, const gdouble *x, gdouble *mean,
    gdouble *variance)
{
  gint n = size.h * size.w;

  for (gint c = 0; c < size.c; c++, x += n) {
    mean[c] = variance[c] = 0;
    for (gint k = 0; k < n; k++)
      mean[c] += x[k] / n;
    for (gint k = 0; k < n; k++)
      variance[c] += (x[k] - mean[c]) * (x[k] - mean[c]) / n;
  }
}

void
ref_batch_norm (RefSize size, gdouble eps, const gdouble *x,
    const gdouble *w, const gdouble *b, const gdouble *mean,
    const gdouble *variance, gdouble *y)
{
  gint n = size.h * size.w;

  for (gint k = 0; k < size.c * n; k++) {
    gint c = k / n;

    y[k] = w[c] * (x[k] - mean[c]) / sqrt (variance[c] + eps) + b[c];
  }
}

/* dx = w / sigma (dy - [mean (dy) + xhat mean (dy xhat)]), the bracket only
 * where the statistics are the batch's. */
void
ref_batch_norm_backward (RefSize size, gdouble eps, gboolean batch,
    const gdouble *x, const gdouble *w, const gdouble *mean,
    const gdouble *variance, const gdouble *dy, gdouble *dx, gdouble *dw,
    gdouble *db)
{
  gint n = size.h * size.w;

  for (gint c = 0; c < size.c; c++, x += n, dy += n, dx += n) {
    gdouble sigma = sqrt (variance[c] + eps);

    dw[c] = db[c] = 0;
    for (gint k = 0; k < n; k++) {
      dw[c] += dy[k] * (x[k] - mean[c]) / sigma;
      db[c] += dy[k];
    }
    for (gint k = 0; k < n; k++) {
      gdouble xhat = (x[k] - mean[c]) / sigma;
      gdouble shared = batch ? (db[c] + xhat * dw[c]) / n : 0;

      dx[k] = w[c] / sigma * (dy[k] - shared);
    }
  }
}
