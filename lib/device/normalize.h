/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>
#include <string.h>

#include "core/tensor.h"
#include "device/backend.h"

G_BEGIN_DECLS

/* A normalisation as it lies in memory: (outer, middle, groups, inner), of
 * which middle and inner are normalised together. The weight of element i is
 * number i / step % n_weights. */
typedef struct
{
  gint64 outer, middle, groups, inner;
  gint64 n_weights, step;       /* 0, 1: none */
} PtNormalizeView;

static inline gint64
pt_normalize_count (const PtNormalizeView *view)
{
  return view->middle * view->inner;
}

/* Adds an axis behind the others: those that are treated alike become one.
 * FALSE: there are too many. */
static inline gboolean
pt_normalize_add (gint64 sizes[4], guint *at, gint64 size, gboolean inside)
{
  if (size == 1)
    return TRUE;
  if (*at % 2 != (guint) inside)
    (*at)++;
  if (*at > 3)
    return FALSE;
  sizes[*at] *= size;
  return TRUE;
}

/* Of weights for each channel, or for each element of one group. */
static inline void
pt_normalize_view_weights (PtNormalizeView *view, const PtOpDesc *desc)
{
  const PtShape *x = &desc->x;
  gint64 n = pt_shape_get_n_elements (x);

  view->step = 1;
  view->n_weights = 0;
  if (desc->normalize.weights == PT_NORMALIZE_CHANNELS) {
    view->n_weights = pt_shape_c (x);
    if (x->n_dims < 4)
      view->step = n / (pt_shape_get_dim (x, 0) * view->n_weights);
  } else if (desc->normalize.weights == PT_NORMALIZE_ELEMENTS) {
    view->n_weights = pt_normalize_count (view);
    view->step = view->inner > 1 ? 1 : view->groups;
  }
}

static inline gboolean
pt_normalize_view (PtNormalizeView *view, const PtOpDesc *desc, GError **error)
{
  const PtNormalizeDesc *normalize = &desc->normalize;
  const PtShape *x = &desc->x;
  gint64 groups = MAX (normalize->groups, 1), sizes[4] = { 1, 1, 1, 1 };
  gboolean channels_last = x->n_dims > 3, ok = TRUE;
  guint at = 0;

  for (guint i = 0; i < x->n_dims; i++) {
    guint axis = !channels_last || i == 0 ? i : i + 1 < x->n_dims ? i + 1 : 1;
    gboolean inside = normalize->axes >> axis & 1;

    if (axis == 1 && groups > 1)
      ok = ok && x->dims[1] % groups == 0
          && pt_normalize_add (sizes, &at, groups, FALSE)
          && pt_normalize_add (sizes, &at, x->dims[1] / groups, inside);
    else
      ok = ok && pt_normalize_add (sizes, &at, x->dims[axis], inside);
  }
  view->outer = sizes[0];
  view->middle = sizes[1];
  view->groups = sizes[2];
  view->inner = sizes[3];
  pt_normalize_view_weights (view, desc);
  if (ok && (normalize->weights != PT_NORMALIZE_ELEMENTS || sizes[1] == 1
          || sizes[3] == 1))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "normalising over axes "
      "0x%x in %" G_GINT64_FORMAT " groups, which do not lie together",
      normalize->axes, groups);
  return FALSE;
}

/* 1 / sqrt (variance + eps), or one over the norm. */
static inline gfloat
pt_normalize_scale (const PtNormalizeDesc *desc, gdouble variance)
{
  gdouble norm = desc->kind == PT_NORMALIZE_L2 ? sqrt (variance) : variance;

  if (desc->kind == PT_NORMALIZE_MEAN_VARIANCE)
    return 1 / sqrt (variance + desc->eps);
  return 1 / MAX (norm, (gdouble) desc->eps);
}

/* Whether the scale does not depend on x, its norm being too small. */
static inline gboolean
pt_normalize_is_small (const PtNormalizeDesc *desc, gdouble variance)
{
  gdouble norm = desc->kind == PT_NORMALIZE_L2 ? sqrt (variance) : variance;

  return desc->kind != PT_NORMALIZE_MEAN_VARIANCE && norm < desc->eps;
}

/* Weights for each element of images lie as these do, channels-last. */
static inline gboolean
pt_normalize_reorders (const PtOpDesc *desc)
{
  return desc->normalize.weights == PT_NORMALIZE_ELEMENTS
      && desc->x.n_dims > 3 && (desc->normalize.axes & 2) != 0;
}

static inline void
pt_normalize_reorder (const PtOpDesc *desc, const gfloat *from, gfloat *to,
    gboolean pack)
{
  const PtShape *x = &desc->x;
  gint64 n = (desc->normalize.axes & 1) != 0 ? x->dims[0] : 1, c = x->dims[1];
  gint64 pixels = pt_shape_get_n_elements (x) / x->dims[0] / c;

  for (gint64 i = 0; i < n; i++, from += c * pixels, to += c * pixels)
    for (gint64 k = 0; k < c; k++)
      for (gint64 p = 0; p < pixels; p++)
        if (pack)
          to[p * c + k] = from[k * pixels + p];
        else
          to[k * pixels + p] = from[p * c + k];
}

static inline gboolean
pt_normalize_pack (PtOp *op, const PtTensor *host, PtTensor *device,
    GError **error)
{
  PtDevice *dev = op->workspace->device;
  g_autofree gfloat *own = (gfloat *) g_malloc (host->size);

  if (!pt_normalize_reorders (&op->desc))
    return dev->backend->upload (dev, device->data, host->data, host->size,
        error);
  pt_normalize_reorder (&op->desc, (const gfloat *) host->data, own, TRUE);
  return dev->backend->upload (dev, device->data, own, host->size, error);
}

static inline gboolean
pt_normalize_unpack (PtOp *op, const PtTensor *device, PtTensor *host,
    GError **error)
{
  PtDevice *dev = op->workspace->device;
  g_autofree gfloat *own = (gfloat *) g_malloc (host->size);

  if (!dev->backend->download (dev, own, device->data, host->size, error))
    return FALSE;
  if (pt_normalize_reorders (&op->desc))
    pt_normalize_reorder (&op->desc, own, (gfloat *) host->data, FALSE);
  else
    memcpy (host->data, own, host->size);
  return TRUE;
}

G_END_DECLS
