/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "dense.h"
#include "op-test.h"

typedef struct
{
  const gchar *name;
  RefSize in, out;
  PtPoolDesc pool;
} Case;

static const Case cases[] = {
  {"max", {16, 8, 8}, {16, 4, 4}, {PT_POOL_MAX, {2, 2}, {2, 2}, {0, 0}}},
  {"max-odd", {5, 13, 11}, {5, 6, 5}, {PT_POOL_MAX, {3, 3}, {2, 2}, {0, 0}}},
  {"max-padded", {3, 13, 11}, {3, 7, 6},
      {PT_POOL_MAX, {3, 3}, {2, 2}, {1, 1}}},
  {"max-uneven", {1, 12, 9}, {1, 5, 9}, {PT_POOL_MAX, {3, 1}, {2, 1}, {0, 0}}},
  {"max-large", {8, 20, 20}, {8, 4, 4},
      {PT_POOL_MAX, {17, 17}, {1, 1}, {0, 0}}},
  {"avg", {16, 8, 8}, {16, 4, 4}, {PT_POOL_AVG, {2, 2}, {2, 2}, {0, 0}, TRUE}},
  {"avg-padded", {5, 13, 11}, {5, 7, 6},
      {PT_POOL_AVG, {3, 3}, {2, 2}, {1, 1}, TRUE}},
  {"avg-inside", {5, 13, 11}, {5, 7, 6},
      {PT_POOL_AVG, {3, 3}, {2, 2}, {1, 1}, FALSE}},
  {"avg-cut", {3, 8, 8}, {3, 3, 3},
      {PT_POOL_AVG, {3, 3}, {2, 2}, {0, 0}, TRUE}},
  {"avg-pad-cut", {3, 8, 8}, {3, 4, 4},
      {PT_POOL_AVG, {3, 3}, {2, 2}, {1, 1}, TRUE}},
  {"global", {20, 7, 5}, {20, 1, 1},
      {PT_POOL_AVG, {7, 5}, {7, 5}, {0, 0}, TRUE}},
};

/* With @levels the input takes few values: maxima that tie, of which the
 * first must win. */
static void
check (const Case *test, const gchar *name, gint levels)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (name);
  PtOpDesc desc = {.type = PT_OP_POOL,.training = TRUE,.pool = test->pool,
    .x = PT_SHAPE (1, test->in.c, test->in.h, test->in.w),
    .y = PT_SHAPE (1, test->out.c, test->out.h, test->out.w)
  };
  gsize nx = pt_shape_get_n_elements (&desc.x);
  gsize ny = pt_shape_get_n_elements (&desc.y);
  g_autofree gdouble *x = op_test_random (nx, 1);
  g_autofree gdouble *dy = op_test_random (ny, 2);
  g_autofree gdouble *expected = g_new (gdouble, MAX (nx, ny));
  g_autofree gint *places = g_new0 (gint, ny);
  g_autofree gdouble *y = NULL;
  g_autofree gdouble *dx = NULL;
  PtWorkspace workspace;

  if (op_test_lacks (device, PT_OP_POOL)
      || op_test_lacks (device, PT_OP_POOL_BACKWARD))
    return;
  for (gsize i = 0; levels > 0 && i < nx; i++)
    x[i] = (gint) ((x[i] + 1) / 2 * levels);
  g_autoptr (PtTensor) tx = op_test_tensor (device, &desc.x, x);
  g_autoptr (PtTensor) tdy = op_test_tensor (device, &desc.y, dy);
  g_autoptr (PtTensor) ty = op_test_unset (device, &desc.y);
  g_autoptr (PtTensor) tdx = op_test_unset (device, &desc.x);
  g_autoptr (PtTensor) indices =
      pt_device_tensor_new (device, PT_I32, &desc.y, &error);
  PtOpArgs args = {.x = tx,.y = ty,.dy = tdy,.dx = tdx,.indices = indices };

  pt_workspace_init (&workspace, device, TRUE);
  g_autoptr (PtOp) forward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  desc.type = PT_OP_POOL_BACKWARD;
  g_autoptr (PtOp) backward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  g_assert_true (pt_workspace_ready (&workspace, NULL));
  op_test_run (forward, &args);
  op_test_run (backward, &args);
  ref_pool (&test->pool, test->in, test->out, x, expected, places);
  y = op_test_read (device, ty);
  op_test_near ("y", y, expected, ny, 1e-6);
  ref_pool_backward (&test->pool, test->in, test->out, dy, places, expected);
  dx = op_test_read (device, tdx);
  op_test_near ("dx", dx, expected, nx, 1e-6);
  pt_workspace_clear (&workspace);
}

static void
test_pool (gconstpointer data)
{
  for (const gchar * const *name = op_test_devices (); *name != NULL; name++) {
    check (data, *name, 0);
    check (data, *name, 3);
  }
}

gint
main (gint argc, gchar **argv)
{
  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *path = g_strconcat ("/pool/", cases[i].name, NULL);

    g_test_add_data_func (path, &cases[i], test_pool);
  }
  return g_test_run ();
}
