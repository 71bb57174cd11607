/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "activation.h"
#include "op-test.h"

#define N 40003
#define ALPHA 0.1f
#define BETA 0.3f

/* Distance to the truth against 1e-5 of it: the house's forward tolerance;
 * 1e-4 for gradients, which are held against central differences. */
static void
check_kind (PtActivation kind, const gdouble *x, const gdouble *y,
    const gdouble *dx)
{
  const gdouble h = 1e-5;
  /* where alpha x + beta cancels */
  const gdouble least = kind == PT_ACTIVATION_HARD_SIGMOID ? 1e-7 : 1e-12;
  /* y + alpha does */
  const gdouble least_slope = kind == PT_ACTIVATION_SELU ? 2e-7 : 1e-7;

  for (gint i = 0; i < N; i++) {
    gdouble want = ref_activation (kind, ALPHA, BETA, x[i]);
    gdouble slope = (ref_activation (kind, ALPHA, BETA, x[i] + h)
        - ref_activation (kind, ALPHA, BETA, x[i] - h)) / (2 * h);

    g_assert_cmpfloat (fabs (y[i] - want), <=, 1e-5 * fabs (want) + least);
    if (fabs (x[i]) > h)
      g_assert_cmpfloat (fabs (dx[i] - slope), <=,
          1e-4 * fabs (slope) + least_slope);
  }
}

/* y of N numbers and the gradient where that of y is 1. FALSE: the device has
 * no such operation, the test is skipped. */
static gboolean
run (PtActivation kind, const gdouble *x, gdouble **y, gdouble **dx)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  PtShape shape = PT_SHAPE (1, 1, 1, N);
  g_autofree gdouble *dy = g_new (gdouble, N);
  g_autoptr (PtTensor) tx = NULL, ty = NULL, tdy = NULL, tdx = NULL;
  g_autoptr (PtOp) forward = NULL, backward = NULL;
  PtOpDesc desc = { PT_OP_ACTIVATION, shape, shape,.training = TRUE };
  PtWorkspace workspace;

  if (op_test_lacks (device, PT_OP_ACTIVATION_BACKWARD))
    return FALSE;
  for (gint i = 0; i < N; i++)
    dy[i] = 1;
  pt_workspace_init (&workspace, device, TRUE);
  desc.activation = (PtActivationDesc) { kind, ALPHA, BETA };
  forward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  desc.type = PT_OP_ACTIVATION_BACKWARD;
  backward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  tx = op_test_tensor (device, &shape, x);
  tdy = op_test_tensor (device, &shape, dy);
  ty = op_test_unset (device, &shape);
  tdx = op_test_unset (device, &shape);
  PtOpArgs args = {.x = tx,.y = ty,.dy = tdy,.dx = tdx };
  op_test_run (forward, &args);
  op_test_run (backward, &args);
  *y = op_test_read (device, ty);
  *dx = op_test_read (device, tdx);
  g_clear_pointer (&forward, pt_op_free);
  g_clear_pointer (&backward, pt_op_free);
  pt_workspace_clear (&workspace);
  return TRUE;
}

/* From where to where @kind is tested: it, and its slope, are there, and
 * single precision can tell them. */
static void
get_range (PtActivation kind, gdouble *low, gdouble *high)
{
  /* not within the step of a difference from any bend or jump */
  *low = -12.0003;
  *high = 11.9997;
  switch (kind) {
    case PT_ACTIVATION_LOG ... PT_ACTIVATION_RECIPROCAL:
      *low = 0.1;
      break;
    case PT_ACTIVATION_TAN:
      *low = -1.4;
      *high = 1.4;
      break;
    case PT_ACTIVATION_ASIN:
    case PT_ACTIVATION_ACOS:
    case PT_ACTIVATION_ATANH:
      *low = -0.9;
      *high = 0.9;
      break;
    case PT_ACTIVATION_ACOSH:
      *low = 1.1;
      break;
    default:
      break;
  }
}

static void
test_kind (gconstpointer data)
{
  PtActivation kind = GPOINTER_TO_UINT (data);
  g_autofree gdouble *x = g_new (gdouble, N), *y = NULL, *dx = NULL;
  gdouble low, high;

  get_range (kind, &low, &high);
  for (gint i = 0; i < N; i++)
    x[i] = (gfloat) (low + (high - low) * i / N);
  if (run (kind, x, &y, &dx))
    check_kind (kind, x, y, dx);
}

/* Angles of any size, and what is none. */
static void
test_turns (gconstpointer data)
{
  const PtActivation kind = GPOINTER_TO_UINT (data);
  g_autofree gdouble *x = g_new (gdouble, N), *y = NULL, *dx = NULL;

  for (gint i = 0; i < N; i++)
    x[i] = (gfloat) ((i & 1 ? 1 : -1) * pow (10, -6 + 18. * i / N));
  x[7] = NAN;
  x[20011] = -INFINITY;
  if (!run (kind, x, &y, &dx))
    return;
  for (gint i = 0; i < N; i++) {
    const gboolean is_sin = kind == PT_ACTIVATION_SIN;

    if (isfinite (x[i])) {
      g_assert_cmpfloat (fabs (y[i] - (is_sin ? sin (x[i]) : cos (x[i]))), <=,
          2e-7);
      g_assert_cmpfloat (fabs (dx[i] - (is_sin ? cos (x[i]) : -sin (x[i]))),
          <=, 2e-7);
    } else
      g_assert_true (isnan (y[i]) && isnan (dx[i]));
  }
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  for (guint i = PT_ACTIVATION_RELU; i < PT_N_ACTIVATIONS; i++) {
    g_autofree gchar *path = g_strdup_printf ("/activation/%s",
        pt_all_activation_names[i]);

    g_test_add_data_func (path, GUINT_TO_POINTER (i), test_kind);
  }
  g_test_add_data_func ("/activation/sin/turns",
      GUINT_TO_POINTER (PT_ACTIVATION_SIN), test_turns);
  g_test_add_data_func ("/activation/cos/turns",
      GUINT_TO_POINTER (PT_ACTIVATION_COS), test_turns);
  return g_test_run ();
}
