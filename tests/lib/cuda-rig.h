/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>
#include <string.h>

#include "device/cuda/cuda.h"
#include "emulation.h"
#include "op-test.h"

/* y = tanh (x) on an emulated GPU, N elements. */

#define N 1000

typedef struct
{
  PtDevice *device;
  PtWorkspace workspace;
  PtOp *op;
  PtTensor *x, *y;
} Rig;

/* All elements x[i] = @value. */
static inline void
rig_fill (Rig *rig, gdouble value)
{
  g_autofree gfloat *x = g_new (gfloat, N);

  for (gsize i = 0; i < N; i++)
    x[i] = value;
  op_test_write_bytes (rig->device, rig->x, x);
}

static inline Rig *
rig_new (const gchar *name)
{
  g_autoptr (GError) error = NULL;
  Rig *rig = g_new0 (Rig, 1);
  PtShape shape = PT_SHAPE (N);
  PtOpDesc desc = {.type = PT_OP_ACTIVATION,.x = shape,.y = shape,
    .activation = {PT_ACTIVATION_TANH}
  };

  rig->device = op_test_device (name);
  pt_workspace_init (&rig->workspace, rig->device, FALSE);
  rig->op = pt_op_new (&rig->workspace, &desc, &error);
  g_assert_no_error (error);
  rig->x = op_test_unset (rig->device, &shape);
  rig->y = op_test_unset (rig->device, &shape);
  rig_fill (rig, 0.5);
  return rig;
}

static inline void
rig_free (Rig *rig)
{
  pt_tensor_unref (rig->x);
  pt_tensor_unref (rig->y);
  pt_op_free (rig->op);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
  g_free (rig);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Rig, rig_free)

static inline gboolean
rig_run (Rig *rig, GError **error)
{
  return pt_op_run (rig->op, &(PtOpArgs) {.x = rig->x,.y = rig->y }, error);
}

/* Waits for it and looks at every element. */
static inline void
assert_all (PtDevice *device, const PtTensor *tensor, gdouble value)
{
  g_autofree gfloat *data = op_test_read_bytes (device, tensor);

  for (gsize i = 0; i < N; i++)
    g_assert_cmpfloat_with_epsilon (data[i], value, 1e-6);
}

/* Nothing was written there yet. */
static inline void
assert_unset (const PtTensor *tensor)
{
  for (gsize i = 0; i < N; i++)
    g_assert_true (isnan (((gfloat *) tensor->data)[i]));
}

static inline gpointer
fence_new (PtDevice *device)
{
  g_autoptr (GError) error = NULL;
  gpointer fence = device->backend->fence_new (device, &error);

  g_assert_no_error (error);
  return fence;
}

static inline void
fence_signal (PtDevice *device, gpointer fence)
{
  g_autoptr (GError) error = NULL;

  device->backend->fence_signal (device, fence, &error);
  g_assert_no_error (error);
}

static inline void
fence_wait (PtDevice *device, gpointer fence, PtDevice *waiter)
{
  g_autoptr (GError) error = NULL;

  device->backend->fence_wait (device, fence, waiter, &error);
  g_assert_no_error (error);
}

static inline void
assert_device_error (const GError *error, const gchar *words)
{
  g_auto (GStrv) parts = g_strsplit (words, "|", 0);

  g_assert_error (error, PT_ERROR, PT_ERROR_DEVICE);
  g_test_message ("%s", error->message);
  for (guint i = 0; parts[i] != NULL; i++)
    g_assert_nonnull (strstr (error->message, parts[i]));
}
