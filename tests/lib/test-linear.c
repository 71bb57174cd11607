/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "dense.h"
#include "op-test.h"

typedef struct
{
  gint in, out;
  PtLinearDesc linear;
} LinearCase;

static const LinearCase linears[] = {
  {64, 10, {TRUE, PT_ACTIVATION_NONE, 0}},
  {37, 13, {TRUE, PT_ACTIVATION_RELU, 0}},
  {1, 1, {FALSE, PT_ACTIVATION_NONE, 0}},
  {700, 65, {FALSE, PT_ACTIVATION_TANH, 0}},
  {65, 700, {TRUE, PT_ACTIVATION_GELU, 0}},
};

/* A linear layer is a convolution of one pixel. */
static void
check_linear (const LinearCase *test, const gchar *name)
{
  static const PtOpType types[] = { PT_OP_LINEAR, PT_OP_LINEAR_DATA,
    PT_OP_LINEAR_WEIGHTS
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (name);
  gint in = test->in, out = test->out;
  PtConvDesc conv = { {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1, test->linear.bias,
    test->linear.activation, test->linear.alpha
  };
  RefSize from = { in, 1, 1 }, to = { out, 1, 1 };
  PtShape sx = PT_SHAPE (1, in), sy = PT_SHAPE (1, out);
  PtShape sw = PT_SHAPE (out, in), sb = PT_SHAPE (out);
  PtOpDesc desc = {.x = sx,.y = sy,.training = TRUE,.linear = test->linear };
  g_autofree gdouble *x = op_test_random (in, 1);
  g_autofree gdouble *w = op_test_random ((gsize) in * out, 2);
  g_autofree gdouble *b = op_test_random (out, 3);
  g_autofree gdouble *dy = op_test_random (out, 4);
  g_autofree gdouble *want = g_new (gdouble, (gsize) in * out);
  g_autofree gdouble *want_db = g_new (gdouble, out);
  g_autoptr (PtTensor) tx = op_test_tensor (device, &sx, x);
  g_autoptr (PtTensor) host_w = op_test_host (&sw, w);
  g_autoptr (PtTensor) host_dw = op_test_host (&sw, NULL);
  g_autoptr (PtTensor) tb = op_test_tensor (device, &sb, b);
  g_autoptr (PtTensor) tdy = op_test_tensor (device, &sy, dy);
  g_autoptr (PtTensor) y = op_test_unset (device, &sy);
  g_autoptr (PtTensor) dx = op_test_unset (device, &sx);
  g_autoptr (PtTensor) db = op_test_unset (device, &sb);
  g_autoptr (PtTensor) tw = NULL, dw = NULL;
  PtOpArgs args = {.x = tx,.b = tb,.y = y,.dy = tdy,.dx = dx,.db = db };
  g_autofree gdouble *got_y = NULL;
  g_autofree gdouble *got_dx = NULL;
  PtWorkspace workspace;
  PtOp *ops[3];

  for (guint i = 0; i < 3; i++)
    if (op_test_lacks (device, types[i]))
      return;
  pt_workspace_init (&workspace, device, TRUE);
  for (guint i = 0; i < 3; i++) {
    desc.type = types[i];
    ops[i] = pt_op_new (&workspace, &desc, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (ops[i]->weights_size, ==, ops[0]->weights_size);
  }
  g_assert_true (pt_workspace_ready (&workspace, &error));
  args.w = tw = pt_device_bytes_new (device, ops[0]->weights_size, &error);
  args.dw = dw = pt_device_bytes_new (device, ops[0]->weights_size, &error);
  op_test_unset_bytes (device, dw);
  pt_op_pack (ops[0], host_w, tw, &error);
  for (guint i = 0; i < 3; i++)
    op_test_run (ops[i], &args);
  pt_op_unpack (ops[0], dw, host_dw, &error);
  g_assert_no_error (error);
  ref_conv (&conv, from, to, x, w, test->linear.bias ? b : NULL, NULL,
      want);
  got_y = op_test_read (device, y);
  op_test_near ("y", got_y, want, out, 1e-5);
  ref_conv_data (&conv, from, to, dy, w, want);
  got_dx = op_test_read (device, dx);
  op_test_near ("dx", got_dx, want, in, 1e-4);
  ref_conv_weights (&conv, from, to, x, dy, want, want_db);
  for (gsize i = 0; i < (gsize) in * out; i++)
    w[i] = ((gfloat *) host_dw->data)[i];
  op_test_near ("dw", w, want, (gsize) in * out, 1e-4);
  if (test->linear.bias)
    op_test_same (device, db, tdy);
  for (guint i = 0; i < 3; i++)
    pt_op_free (ops[i]);
  pt_workspace_clear (&workspace);
}

static void
test_linear (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (linears); i++)
    for (const gchar * const *name = op_test_devices (); *name != NULL; name++)
      check_linear (&linears[i], *name);
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  g_test_add_func ("/linear", test_linear);
  return g_test_run ();
}
