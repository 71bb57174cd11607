/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

/* Losses in double precision, from the definitions: sums over everything, no
 * trick of the kernels. Arrays are row-major, (C, H, W). */

typedef struct _RefLoss RefLoss;

struct _RefLoss
{
  gdouble (*func) (const RefLoss *loss, const gdouble *x);
  gint c, h, w;                 /* of x */
  const gdouble *target;
  const gint *label;            /* classes */
  gint ignore;
  const gdouble *weight;        /* of each class, or of each channel's yes */
  gdouble smoothing;
  gdouble alpha, gamma;
  gint window;
  gdouble sigma, range;
  gdouble eps, smoothness;
  gint frame_c;                 /* flow: channels of one frame */
};

gdouble ref_mse (const RefLoss *loss, const gdouble *x);
gdouble ref_l1 (const RefLoss *loss, const gdouble *x);
gdouble ref_charbonnier (const RefLoss *loss, const gdouble *x);
gdouble ref_classes (const RefLoss *loss, const gdouble *x);
gdouble ref_picked (const RefLoss *loss, const gdouble *x);
gdouble ref_binary (const RefLoss *loss, const gdouble *x);
gdouble ref_ssim (const RefLoss *loss, const gdouble *x);
gdouble ref_flow (const RefLoss *loss, const gdouble *x);
