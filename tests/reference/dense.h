/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/op.h"

/* What the operations must compute, as plain loops over doubles in row-major
 * (C, H, W), written to be read. */

typedef struct
{
  gint c, h, w;
} RefSize;

/* w is (o, i / groups, kh, kw); b may be NULL. */
void ref_conv (const PtConvDesc *desc, RefSize in, RefSize out,
    const gdouble *x, const gdouble *w, const gdouble *b, gdouble *y);
void ref_conv_data (const PtConvDesc *desc, RefSize in, RefSize out,
    const gdouble *dy, const gdouble *w, gdouble *dx);
void ref_conv_weights (const PtConvDesc *desc, RefSize in, RefSize out,
    const gdouble *x, const gdouble *dy, gdouble *dw, gdouble *db);

/* Max keeps in @places the index within the plane of the first maximum. */
void ref_pool (const PtPoolDesc *desc, RefSize in, RefSize out,
    const gdouble *x, gdouble *y, gint *places);
void ref_pool_backward (const PtPoolDesc *desc, RefSize in, RefSize out,
    const gdouble *dy, const gint *places, gdouble *dx);

void ref_batch_statistics (RefSize size, const gdouble *x, gdouble *mean,
    gdouble *variance);
void ref_batch_norm (RefSize size, gdouble eps, const gdouble *x,
    const gdouble *w, const gdouble *b, const gdouble *mean,
    const gdouble *variance, gdouble *y);
/* @batch: mean and variance depend on x. */
void ref_batch_norm_backward (RefSize size, gdouble eps, gboolean batch,
    const gdouble *x, const gdouble *w, const gdouble *mean,
    const gdouble *variance, const gdouble *dy, gdouble *dx, gdouble *dw,
    gdouble *db);
