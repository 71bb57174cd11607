/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/tensor.h"
#include "device/backend.h"

/* Between the tests' row-major doubles and a device's tensors. */

/* g_test_init(); skips the whole program if $PARTIME_TEST_DEVICE names a GPU
 * and the machine has none. */
void op_test_init (gint *argc, gchar ***argv);
/* What to run on, NULL at the end: $PARTIME_TEST_DEVICE, or one core and all
 * of them. */
const gchar *const *op_test_devices (void);
/* Opens and enters; fails the test if that cannot be. NULL: the first of
 * op_test_devices(). */
PtDevice *op_test_device (const gchar *name);
/* Of @n cores; $PARTIME_TEST_DEVICE if set. */
PtDevice *op_test_cores (guint n);
/* Whether the device has no operation @type; skips the test then. */
gboolean op_test_lacks (PtDevice *device, PtOpType type);
/* The same, from what planning said. */
gboolean op_test_unsupported (const GError *error);
/* @n floats in -1..1 as doubles. */
gdouble *op_test_random (gsize n, guint64 stream);
PtTensor *op_test_host (const PtShape *shape, const gdouble *values);
PtTensor *op_test_tensor (PtDevice *device, const PtShape *shape,
    const gdouble *values);
/* A tensor of NaN: what is not written shows. */
PtTensor *op_test_unset (PtDevice *device, const PtShape *shape);
void op_test_unset_bytes (PtDevice *device, PtTensor *tensor);
/* The other way than a tensor's elements: its bytes as they lie there. */
void op_test_write_bytes (PtDevice *device, PtTensor *tensor,
    gconstpointer bytes);
gpointer op_test_read_bytes (PtDevice *device, const PtTensor *tensor);
gdouble *op_test_read (PtDevice *device, const PtTensor *tensor);
/* To the last bit, of two tensors of one device. */
void op_test_same (PtDevice *device, const PtTensor *a, const PtTensor *b);
/* ||a - b|| / ||b||, checked against @tolerance. */
void op_test_near (const gchar *what, const gdouble *a, const gdouble *b,
    gsize n, gdouble tolerance);
void op_test_run (PtOp *op, const PtOpArgs *args);
