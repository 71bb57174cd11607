/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/tensor.h"
#include "device/backend.h"

/* Between the tests' row-major doubles and a device's tensors. */

/* Opens and enters; fails the test if that cannot be. */
PtDevice *op_test_device (const gchar *name);
/* @n floats in -1..1 as doubles. */
gdouble *op_test_random (gsize n, guint64 stream);
PtTensor *op_test_host (const PtShape *shape, const gdouble *values);
PtTensor *op_test_tensor (PtDevice *device, const PtShape *shape,
    const gdouble *values);
/* A tensor of NaN: what is not written shows. */
PtTensor *op_test_unset (PtDevice *device, const PtShape *shape);
void op_test_unset_bytes (PtTensor *tensor);
gdouble *op_test_read (PtDevice *device, const PtTensor *tensor);
/* ||a - b|| / ||b||, checked against @tolerance. */
void op_test_near (const gchar *what, const gdouble *a, const gdouble *b,
    gsize n, gdouble tolerance);
void op_test_run (PtOp *op, const PtOpArgs *args);
