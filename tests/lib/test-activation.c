/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/backend.h"
#include "activation.h"

#define N 40003
#define ALPHA 0.1f

static PtTensor *
tensor (PtDevice *device, const PtShape *shape)
{
  g_autoptr (GError) error = NULL;
  PtTensor *self = pt_device_tensor_new (device, PT_F32, shape, &error);

  g_assert_no_error (error);
  return self;
}

/* Distance to the truth against 1e-5 of it: the house's forward tolerance;
 * 1e-4 for gradients, which are held against central differences. */
static void
test_kind (gconstpointer data)
{
  PtActivation kind = GPOINTER_TO_UINT (data);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = pt_device_open ("cpu", &error);
  PtShape shape = PT_SHAPE (1, 1, 1, N);
  g_autoptr (PtTensor) x = NULL, y = NULL, dy = NULL, dx = NULL;
  g_autoptr (PtOp) forward = NULL, backward = NULL;
  PtOpDesc desc = { PT_OP_ACTIVATION, shape, shape,.training = TRUE };
  PtWorkspace workspace;
  PtOpArgs args = { 0 };

  g_assert_no_error (error);
  pt_device_enter (device);
  pt_workspace_init (&workspace, device, TRUE);
  desc.activation = (PtActivationDesc) { kind, ALPHA };
  forward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  desc.type = PT_OP_ACTIVATION_BACKWARD;
  backward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  args.x = x = tensor (device, &shape);
  args.y = y = tensor (device, &shape);
  args.dy = dy = tensor (device, &shape);
  args.dx = dx = tensor (device, &shape);
  for (gint i = 0; i < N; i++) {
    ((gfloat *) x->data)[i] = -12 + 24. * i / N;
    ((gfloat *) dy->data)[i] = 1;
  }
  g_assert_true (pt_op_run (forward, &args, &error));
  g_assert_true (pt_op_run (backward, &args, &error));
  for (gint i = 0; i < N; i++) {
    gdouble v = ((gfloat *) x->data)[i], h = 1e-5;
    gdouble want = ref_activation (kind, ALPHA, v);
    gdouble slope = (ref_activation (kind, ALPHA, v + h)
        - ref_activation (kind, ALPHA, v - h)) / (2 * h);

    g_assert_cmpfloat (fabs (((gfloat *) y->data)[i] - want), <=,
        1e-5 * fabs (want) + 1e-12);
    if (fabs (v) > h)
      g_assert_cmpfloat (fabs (((gfloat *) dx->data)[i] - slope), <=,
          1e-4 * fabs (slope) + 1e-7);
  }
  g_clear_pointer (&forward, pt_op_free);
  g_clear_pointer (&backward, pt_op_free);
  pt_workspace_clear (&workspace);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = PT_ACTIVATION_RELU; i < PT_N_ACTIVATIONS; i++) {
    g_autofree gchar *path = g_strdup_printf ("/activation/%s",
        pt_activation_names[i]);

    g_test_add_data_func (path, GUINT_TO_POINTER (i), test_kind);
  }
  return g_test_run ();
}
