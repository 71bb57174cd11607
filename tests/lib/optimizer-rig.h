/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <string.h>

#include "op-test.h"
#include "optimizers/optimizer.h"

/* One optimizer with the parameters it updates, on one device. */
typedef struct
{
  PtDevice *device;
  PtWorkspace workspace;
  PtOptimizer *optimizer;
  PtOp *op;
  PtTensor *w, *dw;
  guint n_slots;
  const gchar *names[PT_UPDATE_MAX_SLOTS + 1];
  PtTensor *slots[PT_UPDATE_MAX_SLOTS];
} Rig;

/* NULL: the device has no update, the test is skipped. */
static inline Rig *
rig_new (const gchar *text, const PtTensor *start)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  Rig *rig;
  gsize n = pt_tensor_get_n_elements (start);

  if (op_test_lacks (device, PT_OP_UPDATE))
    return NULL;
  rig = g_new0 (Rig, 1);
  rig->device = g_steal_pointer (&device);
  rig->optimizer = pt_optimizer_new (text, &error);
  g_assert_no_error (error);
  pt_workspace_init (&rig->workspace, rig->device, TRUE);
  rig->op = pt_optimizer_plan (rig->optimizer, &rig->workspace, n, &error);
  g_assert_no_error (error);
  pt_workspace_ready (&rig->workspace, &error);
  rig->n_slots = pt_optimizer_get_slots (rig->optimizer, rig->names);
  for (guint i = 0; i < rig->n_slots; i++)
    rig->slots[i] = pt_device_tensor_new (rig->device, PT_F32,
        &start->shape, &error);
  rig->w = pt_device_tensor_new (rig->device, PT_F32, &start->shape, &error);
  rig->dw = pt_device_tensor_new (rig->device, PT_F32, &start->shape, &error);
  g_assert_no_error (error);
  op_test_write_bytes (rig->device, rig->w, start->data);
  return rig;
}

static inline void
rig_free (Rig *rig)
{
  for (guint i = 0; i < rig->n_slots; i++)
    pt_tensor_unref (rig->slots[i]);
  pt_tensor_unref (rig->w);
  pt_tensor_unref (rig->dw);
  pt_op_free (rig->op);
  pt_optimizer_unref (rig->optimizer);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
  g_free (rig);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Rig, rig_free)

/* The update of @step, which counts from 1, by @gradient on the host. */
static inline void
rig_step (Rig *rig, guint64 step, gconstpointer gradient)
{
  g_autoptr (GError) error = NULL;
  PtOpArgs run = {
    .update_w = rig->w,
    .scale = 1,
    .dw = rig->dw,
    .rate = pt_optimizer_get_learning_rate (rig->optimizer),
    .step = step,
  };

  memcpy (run.slots, rig->slots, sizeof run.slots);
  op_test_write_bytes (rig->device, rig->dw, gradient);
  pt_op_run (rig->op, &run, &error);
  g_assert_no_error (error);
}
