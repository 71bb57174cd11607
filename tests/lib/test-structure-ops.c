/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "op-test.h"

#include <math.h>
#include <string.h>

/* What the layers' tests do not reach: places of NaN, parts left out, sums in
 * place, masks. The rest is held against PyTorch there. */

typedef struct
{
  PtDevice *device;
  PtWorkspace workspace;
} Rig;

/* FALSE: the device has no @type, the test is skipped. */
static gboolean
rig_init (Rig *rig, PtOpType type)
{
  g_autoptr (PtDevice) device = op_test_device (op_test_devices ()[1]);

  if (op_test_lacks (device, type))
    return FALSE;
  rig->device = g_steal_pointer (&device);
  pt_workspace_init (&rig->workspace, rig->device, TRUE);
  return TRUE;
}

static PtOp *
rig_plan (Rig *rig, const PtOpDesc *desc)
{
  g_autoptr (GError) error = NULL;
  PtOp *op = pt_op_new (&rig->workspace, desc, &error);

  g_assert_no_error (error);
  pt_workspace_ready (&rig->workspace, &error);
  g_assert_no_error (error);
  return op;
}

static void
rig_clear (Rig *rig, PtOp *op)
{
  pt_op_free (op);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
}

static void
test_check_finite (void)
{
  static const gfloat bad[] = { NAN, -NAN, INFINITY, -INFINITY };
  PtShape shape = PT_SHAPE (1, 3, 11, 13);
  gsize n = pt_shape_get_n_elements (&shape);
  g_autofree gdouble *values = op_test_random (n, 1);
  g_autofree gfloat *data = NULL;
  Rig rig;
  PtOp *op;
  g_autoptr (PtTensor) x = NULL;
  gboolean finite;

  if (!rig_init (&rig, PT_OP_CHECK_FINITE))
    return;
  x = op_test_tensor (rig.device, &shape, values);
  data = op_test_read_bytes (rig.device, x);
  op = rig_plan (&rig, &(PtOpDesc) { .type = PT_OP_CHECK_FINITE, .x = shape });
  data[7] = 3.4e38f;
  op_test_write_bytes (rig.device, x, data);
  op_test_run (op, &(PtOpArgs) { .x = x, .finite = &finite });
  g_assert_true (finite);
  for (gsize i = 0; i < n; i++) {
    gfloat kept = data[i];

    data[i] = bad[i % 4];
    op_test_write_bytes (rig.device, x, data);
    op_test_run (op, &(PtOpArgs) { .x = x, .finite = &finite });
    g_assert_false (finite);
    data[i] = kept;
  }
  rig_clear (&rig, op);
}

/* dy (1, 2 + 1 + 4, 3, 5), the middle part not wanted. */
static void
test_split_leaves_out (void)
{
  PtShape whole = PT_SHAPE (1, 7, 3, 5), first = PT_SHAPE (1, 2, 3, 5);
  PtShape middle = PT_SHAPE (1, 1, 3, 5), last = PT_SHAPE (1, 4, 3, 5);
  g_autofree gdouble *values = op_test_random (7 * 15, 2);
  g_autofree gdouble *a = NULL, *c = NULL;
  g_autoptr (PtTensor) dy = NULL, dx_first = NULL, dx_last = NULL;
  PtTensor *dxs[3];
  Rig rig;
  PtOp *op;

  if (!rig_init (&rig, PT_OP_SPLIT))
    return;
  dy = op_test_tensor (rig.device, &whole, values);
  dxs[0] = dx_first = op_test_unset (rig.device, &first);
  dxs[1] = NULL;
  dxs[2] = dx_last = op_test_unset (rig.device, &last);
  op = rig_plan (&rig, &(PtOpDesc) { .type = PT_OP_SPLIT, .x = first,
      .y = whole, .n_xs = 3, .xs = { first, middle, last } });
  op_test_run (op, &(PtOpArgs) { .dy = dy, .dxs = dxs });
  a = op_test_read (rig.device, dx_first);
  c = op_test_read (rig.device, dx_last);
  for (guint i = 0; i < 30; i++)
    g_assert_cmpfloat (a[i], ==, (gfloat) values[i]);
  for (guint i = 0; i < 60; i++)
    g_assert_cmpfloat (c[i], ==, (gfloat) values[45 + i]);
  rig_clear (&rig, op);
}

static gdouble
reduce_line (PtReduceKind kind, const gdouble *x, gint n)
{
  gdouble sum = 0, top = -INFINITY;

  for (gint i = 0; i < n; i++) {
    const gdouble v = kind == PT_REDUCE_MIN ? -x[i] : x[i];

    top = v > top || isnan (v) ? v : top;
    sum += kind == PT_REDUCE_L1 ? fabs (v) :
        kind == PT_REDUCE_L2 || kind == PT_REDUCE_SUM_SQUARE ? v * v : v;
  }
  switch (kind) {
    case PT_REDUCE_MAX:
      return top;
    case PT_REDUCE_MIN:
      return -top;
    case PT_REDUCE_MEAN:
      return sum / n;
    case PT_REDUCE_L2:
      return sqrt (sum);
    case PT_REDUCE_LOG_SUM:
      return log (sum);
    default:
      return sum;
  }
}

/* Lines of any length, of which one has a number that is none at place
 * @odd. */
static void
check_lines (PtReduceKind kind, gint n, gint odd, gdouble number)
{
  const PtShape in = PT_SHAPE (3, 2, n), out = PT_SHAPE (3, 2, 1);
  g_autofree gdouble *values = op_test_random (6 * n, n), *y = NULL;
  g_autoptr (PtTensor) tx = NULL, ty = NULL;
  Rig rig;
  PtOp *op;

  if (!rig_init (&rig, PT_OP_REDUCE))
    return;
  for (gint i = 0; i < 6 * n; i++)
    values[i] = kind == PT_REDUCE_LOG_SUM ? fabs (values[i]) + 0.1 :
        values[i] - (i < n ? 2 : 0);
  if (odd >= 0)
    values[3 * n + odd] = number;
  tx = op_test_tensor (rig.device, &in, values);
  ty = op_test_unset (rig.device, &out);
  op = rig_plan (&rig, &(PtOpDesc) { .type = PT_OP_REDUCE, .x = in, .y = out,
      .reduce = { kind, 1 << 2 } });
  op_test_run (op, &(PtOpArgs) { .x = tx, .y = ty });
  y = op_test_read (rig.device, ty);
  for (gint i = 0; i < 6; i++) {
    const gdouble want = reduce_line (kind, values + i * n, n);

    if (isnan (want))
      g_assert_true (isnan (y[i]));
    else if (isinf (want))
      g_assert_cmpfloat (y[i], ==, want);
    else
      g_assert_cmpfloat (fabs (y[i] - want), <=, 1e-6 * MAX (fabs (want), 1));
  }
  rig_clear (&rig, op);
}

static void
test_reduce_lines (gconstpointer data)
{
  const PtReduceKind kind = GPOINTER_TO_UINT (data);
  static const gdouble numbers[] = { NAN, -NAN, INFINITY, -INFINITY };

  for (gint n = 1; n <= 70; n++)
    check_lines (kind, n, -1, 0);
  for (gint i = 0; i < 37; i++)
    check_lines (kind, 37, i, numbers[i % 4]);
  check_lines (kind, 1, 0, -INFINITY);
}

/* The engine adds gradients in place. */
static void
test_add_in_place (gconstpointer data)
{
  guint place = GPOINTER_TO_UINT (data);
  PtShape shape = PT_SHAPE (1, 16, 70, 65);
  gsize n = pt_shape_get_n_elements (&shape);
  g_autofree gdouble *a = op_test_random (n, 3), *b = op_test_random (n, 4);
  g_autofree gdouble *sum = NULL;
  PtTensor *xs[2];
  Rig rig;
  PtOp *op;

  if (!rig_init (&rig, PT_OP_ADD))
    return;
  xs[0] = op_test_tensor (rig.device, &shape, a);
  xs[1] = op_test_tensor (rig.device, &shape, b);
  op = rig_plan (&rig, &(PtOpDesc) { .type = PT_OP_ADD, .x = shape,
      .y = shape, .n_xs = 2, .xs = { shape, shape } });
  op_test_run (op, &(PtOpArgs) { .xs = xs, .y = xs[place] });
  sum = op_test_read (rig.device, xs[place]);
  for (gsize i = 0; i < n; i++)
    g_assert_cmpfloat (sum[i], ==, (gfloat) a[i] + (gfloat) b[i]);
  pt_tensor_unref (xs[0]);
  pt_tensor_unref (xs[1]);
  rig_clear (&rig, op);
}

/* The share of zeros, the scale of the rest, the seed. */
static void
test_dropout (void)
{
  PtShape shape = PT_SHAPE (1, 8, 50, 50);
  gsize n = pt_shape_get_n_elements (&shape), zeros = 0, changed = 0;
  g_autofree gdouble *values = op_test_random (n, 5);
  g_autofree gdouble *first = NULL, *again = NULL, *other = NULL;
  g_autoptr (PtTensor) x = NULL, y = NULL, mask = NULL;
  Rig rig;
  PtOp *op;

  if (!rig_init (&rig, PT_OP_DROPOUT))
    return;
  x = op_test_tensor (rig.device, &shape, values);
  y = op_test_unset (rig.device, &shape);
  mask = op_test_unset (rig.device, &shape);
  op = rig_plan (&rig, &(PtOpDesc) { .type = PT_OP_DROPOUT, .x = shape,
      .y = shape, .dropout = { .p = 0.25 } });
  op_test_run (op, &(PtOpArgs) { .x = x, .y = y, .mask = mask, .seed = 9 });
  first = op_test_read (rig.device, y);
  op_test_run (op, &(PtOpArgs) { .x = x, .y = y, .mask = mask, .seed = 9 });
  again = op_test_read (rig.device, y);
  op_test_run (op, &(PtOpArgs) { .x = x, .y = y, .mask = mask, .seed = 10 });
  other = op_test_read (rig.device, y);
  for (gsize i = 0; i < n; i++) {
    zeros += first[i] == 0;
    changed += first[i] != other[i];
    g_assert_cmpfloat (first[i], ==, again[i]);
    if (first[i] != 0)
      g_assert_cmpfloat_with_epsilon (first[i], values[i] / 0.75, 1e-6);
  }
  /* 20000 draws: five standard deviations are 0.016 */
  g_assert_cmpfloat_with_epsilon (zeros / (gdouble) n, 0.25, 0.016);
  g_assert_cmpfloat_with_epsilon (changed / (gdouble) n, 0.375, 0.02);
  rig_clear (&rig, op);
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  g_test_add_func ("/structure-ops/check-finite", test_check_finite);
  g_test_add_func ("/structure-ops/split-leaves-out", test_split_leaves_out);
  g_test_add_data_func ("/structure-ops/add/into-first", GUINT_TO_POINTER (0),
      test_add_in_place);
  g_test_add_data_func ("/structure-ops/add/into-second", GUINT_TO_POINTER (1),
      test_add_in_place);
  g_test_add_func ("/structure-ops/dropout", test_dropout);
  for (guint i = PT_REDUCE_SUM; i <= PT_REDUCE_LOG_SUM; i++) {
    g_autofree gchar *path = g_strdup_printf ("/structure-ops/reduce-lines/%u", i);

    if (i != PT_REDUCE_PROD)
      g_test_add_data_func (path, GUINT_TO_POINTER (i), test_reduce_lines);
  }
  return g_test_run ();
}
