/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "conv-cases.h"
#include "op-test.h"

/* fp32 sums of up to some thousand products: forward 1e-5, gradients 1e-4. */
#define FORWARD 1e-5
#define GRADIENT 1e-4

typedef struct
{
  RefSize in, out;
  PtShape x_shape, y_shape, w_shape, b_shape;
  gsize nx, ny, nw;
  PtDevice *device;
  PtWorkspace workspace;
  PtOp *forward, *data, *weights;
  PtTensor *w, *dw;             /* in the device's layout */
} Rig;

static PtOp *
rig_plan (Rig *rig, const PtOpDesc *desc, PtOpType type)
{
  g_autoptr (GError) error = NULL;
  PtOpDesc copy = *desc;
  PtOp *op;

  copy.type = type;
  op = pt_op_new (&rig->workspace, &copy, &error);
  g_assert_no_error (error);
  return op;
}

/* FALSE: the device cannot do it, the test is skipped. */
static gboolean
rig_init (Rig *rig, const ConvCase *test, const gchar *name, gboolean training)
{
  g_autoptr (PtDevice) device = op_test_device (name);
  g_autoptr (GError) error = NULL;
  const PtConvDesc *conv = &test->conv;
  RefSize in = test->in;
  RefSize out = { test->out_c, conv_size (conv, in.h, 0),
    conv_size (conv, in.w, 1)
  };
  PtOpDesc desc = {
    .x = PT_SHAPE (1, in.c, in.h, in.w),
    .y = PT_SHAPE (1, out.c, out.h, out.w),
    .training = training,
    .conv = *conv,
  };

  for (PtOpType op = PT_OP_CONV; op <= PT_OP_CONV_WEIGHTS; op++)
    if (op_test_lacks (device, op))
      return FALSE;
  *rig = (Rig) { in, out, desc.x, desc.y };
  rig->w_shape = PT_SHAPE (out.c, in.c / conv->groups, conv->kernel[0],
      conv->kernel[1]);
  rig->b_shape = PT_SHAPE (out.c);
  rig->nx = pt_shape_get_n_elements (&rig->x_shape);
  rig->ny = pt_shape_get_n_elements (&rig->y_shape);
  rig->nw = pt_shape_get_n_elements (&rig->w_shape);
  rig->device = g_steal_pointer (&device);
  pt_workspace_init (&rig->workspace, rig->device, training);
  rig->forward = rig_plan (rig, &desc, PT_OP_CONV);
  if (training) {
    rig->data = rig_plan (rig, &desc, PT_OP_CONV_DATA);
    rig->weights = rig_plan (rig, &desc, PT_OP_CONV_WEIGHTS);
  }
  pt_workspace_ready (&rig->workspace, &error);
  g_assert_no_error (error);
  rig->w = pt_device_bytes_new (rig->device, rig->forward->weights_size,
      &error);
  rig->dw = pt_device_bytes_new (rig->device, rig->forward->weights_size,
      &error);
  g_assert_no_error (error);
  return TRUE;
}

static void
rig_clear (Rig *rig)
{
  pt_op_free (rig->forward);
  pt_op_free (rig->data);
  pt_op_free (rig->weights);
  pt_tensor_unref (rig->w);
  pt_tensor_unref (rig->dw);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
}

static void
rig_pack (Rig *rig, const gdouble *values, PtTensor *device)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) host = op_test_host (&rig->w_shape, values);

  pt_op_pack (rig->forward, host, device, &error);
  g_assert_no_error (error);
}

static gdouble *
rig_unpack (Rig *rig, const PtTensor *device)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) host = op_test_host (&rig->w_shape, NULL);
  gdouble *values = g_new (gdouble, rig->nw);

  pt_op_unpack (rig->forward, device, host, &error);
  g_assert_no_error (error);
  for (gsize i = 0; i < rig->nw; i++)
    values[i] = ((gfloat *) host->data)[i];
  return values;
}

static void
check_forward (Rig *rig, const ConvCase *test, const gdouble *x,
    const gdouble *w, const gdouble *b)
{
  g_autoptr (PtTensor) tx = op_test_tensor (rig->device, &rig->x_shape, x);
  g_autoptr (PtTensor) tb = op_test_tensor (rig->device, &rig->b_shape, b);
  g_autoptr (PtTensor) ty = op_test_unset (rig->device, &rig->y_shape);
  g_autoptr (PtTensor) again = op_test_unset (rig->device, &rig->y_shape);
  g_autofree gdouble *add = op_test_random (rig->ny, 9);
  g_autoptr (PtTensor) tadd = op_test_tensor (rig->device, &rig->y_shape, add);
  PtOpArgs args = {.x = tx,.w = rig->w,.b = test->conv.bias ? tb : NULL,
    .add = test->conv.add ? tadd : NULL,.y = ty
  };
  g_autofree gdouble *expected = g_new (gdouble, rig->ny);
  g_autofree gdouble *y = NULL;

  op_test_run (rig->forward, &args);
  args.y = again;
  op_test_run (rig->forward, &args);
  op_test_same (rig->device, ty, again);
  ref_conv (&test->conv, rig->in, rig->out, x, w, test->conv.bias ? b : NULL,
      test->conv.add ? add : NULL, expected);
  y = op_test_read (rig->device, ty);
  op_test_near ("y", y, expected, rig->ny, FORWARD);
}

static void
check_data (Rig *rig, const ConvCase *test, const gdouble *w, const gdouble *dy)
{
  g_autoptr (PtTensor) tdy = op_test_tensor (rig->device, &rig->y_shape, dy);
  g_autoptr (PtTensor) tdx = op_test_unset (rig->device, &rig->x_shape);
  PtOpArgs args = {.w = rig->w,.dy = tdy,.dx = tdx };
  g_autofree gdouble *expected = g_new (gdouble, rig->nx);
  g_autofree gdouble *dx = NULL;

  op_test_run (rig->data, &args);
  ref_conv_data (&test->conv, rig->in, rig->out, dy, w, expected);
  dx = op_test_read (rig->device, tdx);
  op_test_near ("dx", dx, expected, rig->nx, GRADIENT);
}

/* dw starts as NaN everywhere; it must come out as exactly what packing its
 * own values gives, which is zero in the padding. */
static void
check_weights (Rig *rig, const ConvCase *test, const gdouble *x,
    const gdouble *dy)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) tx = op_test_tensor (rig->device, &rig->x_shape, x);
  g_autoptr (PtTensor) tdy = op_test_tensor (rig->device, &rig->y_shape, dy);
  g_autoptr (PtTensor) tdb = op_test_unset (rig->device, &rig->b_shape);
  g_autoptr (PtTensor) repacked = pt_device_bytes_new (rig->device,
      rig->forward->weights_size, &error);
  PtOpArgs args = {.x = tx,.dy = tdy,.dw = rig->dw,.db = tdb };
  g_autofree gdouble *expected = g_new (gdouble, rig->nw);
  g_autofree gdouble *expected_db = g_new (gdouble, rig->out.c);
  g_autofree gdouble *dw = NULL;
  g_autofree gdouble *db = NULL;

  g_assert_no_error (error);
  op_test_unset_bytes (rig->device, rig->dw);
  op_test_run (rig->weights, &args);
  ref_conv_weights (&test->conv, rig->in, rig->out, x, dy, expected,
      expected_db);
  dw = rig_unpack (rig, rig->dw);
  op_test_near ("dw", dw, expected, rig->nw, GRADIENT);
  rig_pack (rig, dw, repacked);
  op_test_same (rig->device, rig->dw, repacked);
  if (!test->conv.bias)
    return;
  db = op_test_read (rig->device, tdb);
  op_test_near ("db", db, expected_db, rig->out.c, GRADIENT);
}

static void
check_case (const ConvCase *test, const gchar *device, gboolean training)
{
  Rig rig;
  g_autofree gdouble *x = NULL;
  g_autofree gdouble *w = NULL;
  g_autofree gdouble *b = NULL;
  g_autofree gdouble *dy = NULL;
  g_autofree gdouble *back = NULL;

  if (!rig_init (&rig, test, device, training))
    return;
  x = op_test_random (rig.nx, 1);
  w = op_test_random (rig.nw, 2);
  b = op_test_random (rig.out.c, 3);
  dy = op_test_random (rig.ny, 4);
  rig_pack (&rig, w, rig.w);
  back = rig_unpack (&rig, rig.w);
  g_assert_cmpmem (back, rig.nw * sizeof *back, w, rig.nw * sizeof *w);
  check_forward (&rig, test, x, w, b);
  if (training) {
    check_data (&rig, test, w, dy);
    check_weights (&rig, test, x, dy);
  }
  rig_clear (&rig);
}

static void
test_inference (gconstpointer data)
{
  check_case (data, NULL, FALSE);
}

static void
test_training (gconstpointer data)
{
  check_case (data, NULL, TRUE);
}

static void
test_all_cores (gconstpointer data)
{
  check_case (data, op_test_devices ()[1], TRUE);
}

/* The loops that stand for the truth, against the slope of their own forward
 * pass. The map is linear, so the central difference is exact up to
 * rounding. */
static void
test_reference (void)
{
  const ConvCase *test = &conv_cases[18];
  PtConvDesc conv = test->conv;
  RefSize in = test->in, out = { test->out_c, 11, 9 };
  gsize nx = in.c * in.h * in.w, ny = out.c * out.h * out.w;
  gsize nw = out.c * in.c / conv.groups * 9;
  g_autofree gdouble *x = op_test_random (nx, 1);
  g_autofree gdouble *w = op_test_random (nw, 2);
  g_autofree gdouble *dy = op_test_random (ny, 3);
  g_autofree gdouble *dx = g_new (gdouble, nx);
  g_autofree gdouble *dw = g_new (gdouble, nw);
  g_autofree gdouble *db = g_new (gdouble, out.c);
  g_autofree gdouble *y = g_new (gdouble, ny);
  gdouble *values[] = { x, w }, *slopes[] = { dx, dw };
  gsize sizes[] = { nx, nw };

  ref_conv_data (&conv, in, out, dy, w, dx);
  ref_conv_weights (&conv, in, out, x, dy, dw, db);
  for (guint which = 0; which < 2; which++)
    for (gsize i = 0; i < sizes[which]; i += 17) {
      gdouble *value = &values[which][i], kept = *value, slope = 0;

      for (gint sign = -1; sign <= 1; sign += 2) {
        *value = kept + sign * 1e-3;
        ref_conv (&conv, in, out, x, w, NULL, NULL, y);
        for (gsize k = 0; k < ny; k++)
          slope += sign * y[k] * dy[k] / 2e-3;
      }
      *value = kept;
      g_assert_cmpfloat_with_epsilon (slope, slopes[which][i], 1e-8);
    }
}

static void
test_impossible (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  PtWorkspace workspace;
  PtOpDesc desc = {.type = PT_OP_CONV,.x = PT_SHAPE (1, 4, 8, 8),
    .y = PT_SHAPE (1, 4, 99, 8),
    .conv = CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)
  };

  if (op_test_lacks (device, PT_OP_CONV))
    return;
  pt_workspace_init (&workspace, device, FALSE);
  g_assert_null (pt_op_new (&workspace, &desc, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
  g_assert_nonnull (strstr (error->message, "1x4x99x8"));
  g_clear_error (&error);
  desc.y = PT_SHAPE (1, 4, 8, 8);
  desc.conv.groups = 3;
  g_assert_null (pt_op_new (&workspace, &desc, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
  pt_workspace_clear (&workspace);
}

gint
main (gint argc, gchar **argv)
{
  op_test_init (&argc, &argv);
  g_test_add_func ("/conv/reference", test_reference);
  g_test_add_func ("/conv/impossible", test_impossible);
  for (guint i = 0; i < G_N_ELEMENTS (conv_cases); i++) {
    g_autofree gchar *one = g_strconcat ("/conv/inference/", conv_cases[i].name,
        NULL);
    g_autofree gchar *two = g_strconcat ("/conv/training/", conv_cases[i].name,
        NULL);
    g_autofree gchar *all = g_strconcat ("/conv/all-cores/", conv_cases[i].name,
        NULL);

    g_test_add_data_func (one, &conv_cases[i], test_inference);
    g_test_add_data_func (two, &conv_cases[i], test_training);
    if (op_test_devices ()[1] != NULL)
      g_test_add_data_func (all, &conv_cases[i], test_all_cores);
  }
  return g_test_run ();
}
