/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "op-test.h"
#include "optimizers/optimizer.h"

/* What differs from frame to frame, read from the device's memory; results
 * that stay there. */

#define N 10007
#define N_TENSORS 9

static const gchar *const kinds[] = {
  "dropout",
  "project",
  "sgd weight_decay=0.1",
  "sgd momentum=0.9 dampening=0.3",
  "rmsprop momentum=0.5 centered=true",
  "adam amsgrad=true",
  "adamw weight_decay=0.3",
};

typedef struct
{
  PtDevice *device;
  PtWorkspace workspace;
  PtOp *op;
  PtTensor *tensors[N_TENSORS];
  PtTensor *live;
  PtOpArgs args;
} Rig;

static PtOp *
rig_plan (Rig *rig, const gchar *kind, const PtShape *shape, GError **error)
{
  g_autoptr (PtOptimizer) optimizer = NULL;
  PtOpDesc desc = {.x = *shape,.y = *shape,.training = TRUE };

  if (g_str_equal (kind, "dropout")) {
    desc.type = PT_OP_DROPOUT;
    desc.dropout.p = 0.3;
  } else if (g_str_equal (kind, "project")) {
    desc.type = PT_OP_PROJECT;
    desc.project.momentum = 0.9;
  } else {
    optimizer = pt_optimizer_new (kind, error);
    return pt_optimizer_plan (optimizer, &rig->workspace, N, error);
  }
  return pt_op_new (&rig->workspace, &desc, error);
}

static void
rig_free (Rig *rig)
{
  for (guint i = 0; i < N_TENSORS; i++)
    g_clear_pointer (&rig->tensors[i], pt_tensor_unref);
  g_clear_pointer (&rig->live, pt_tensor_unref);
  pt_op_free (rig->op);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
  g_free (rig);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Rig, rig_free)

/* Every tensor that one of them may want, all numbers in 0..1. NULL: the
 * device lacks the operation, the test is skipped. */
static Rig *
rig_new (const gchar *kind)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = g_new0 (Rig, 1);
  const PtShape shape = PT_SHAPE (1, 1, 1, N);

  rig->device = op_test_device (NULL);
  pt_workspace_init (&rig->workspace, rig->device, TRUE);
  rig->op = rig_plan (rig, kind, &shape, &error);
  if (op_test_unsupported (error))
    return NULL;
  g_assert_no_error (error);
  pt_workspace_ready (&rig->workspace, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < N_TENSORS; i++) {
    g_autofree gdouble *values = op_test_random (N, i);

    for (guint k = 0; k < N; k++)
      values[k] = fabs (values[k]);
    rig->tensors[i] = op_test_tensor (rig->device, &shape, values);
  }
  rig->live = pt_device_bytes_new (rig->device, sizeof (PtLive), &error);
  g_assert_no_error (error);
  rig->args = (PtOpArgs) {
    .x = rig->tensors[0],.y = rig->tensors[1],.mask = rig->tensors[2],
    .dw = rig->tensors[3],.mean = rig->tensors[4],
    .update_w = rig->tensors[5],
    .slots = {rig->tensors[6], rig->tensors[7], rig->tensors[8]},
  };
  return g_steal_pointer (&rig);
}

/* Frame @step's numbers, to the host's fields. */
static void
rig_set_fields (Rig *rig, guint step)
{
  rig->args.scale = 0.5 + step;
  rig->args.rate = 0.1 / step;
  rig->args.step = step;
  rig->args.seed = 77 * step;
}

/* The same, to the device; the fields get others. */
static void
rig_set_live (Rig *rig, guint step, gboolean go)
{
  PtLive live;

  rig_set_fields (rig, step);
  live = (PtLive) {
    rig->args.scale, rig->args.rate, step, rig->args.seed, go
  };
  op_test_write_bytes (rig->device, rig->live, &live);
  rig_set_fields (rig, 1000);
  rig->args.live = rig->live->data;
}

static void
assert_same (Rig *a, Rig *b)
{
  for (guint i = 0; i < N_TENSORS; i++)
    op_test_same (a->device, a->tensors[i], b->tensors[i]);
}

static void
test_equal (gconstpointer kind)
{
  g_autoptr (Rig) fields = rig_new (kind);
  g_autoptr (Rig) live = fields != NULL ? rig_new (kind) : NULL;

  for (guint step = 1; fields != NULL && step <= 3; step++) {
    rig_set_fields (fields, step);
    op_test_run (fields->op, &fields->args);
    rig_set_live (live, step, TRUE);
    op_test_run (live->op, &live->args);
    assert_same (fields, live);
  }
}

/* Without go, weights, state and gradients stay as they are. */
static void
test_stop (gconstpointer kind)
{
  g_autoptr (Rig) before = rig_new (kind);
  g_autoptr (Rig) after = before != NULL ? rig_new (kind) : NULL;

  if (before == NULL)
    return;
  rig_set_live (after, 2, FALSE);
  op_test_run (after->op, &after->args);
  assert_same (before, after);
}

/* What was recorded once reads its numbers each time. */
static void
test_replay (gconstpointer kind)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) fields = rig_new (kind);
  g_autoptr (Rig) live = fields != NULL ? rig_new (kind) : NULL;
  const PtBackend *backend = fields != NULL ? fields->device->backend : NULL;
  gpointer recording;

  if (fields == NULL)
    return;
  if (backend->record == NULL) {
    g_test_skip ("nothing to record: it is done when the call returns");
    return;
  }
  rig_set_live (live, 1, TRUE);
  g_assert_true (backend->record (live->device, &error));
  op_test_run (live->op, &live->args);
  recording = backend->recorded (live->device, &error);
  g_assert_no_error (error);
  for (guint step = 1; step <= 3; step++) {
    rig_set_fields (fields, step);
    op_test_run (fields->op, &fields->args);
    rig_set_live (live, step, TRUE);
    g_assert_true (backend->replay (live->device, recording, &error));
    assert_same (fields, live);
  }
  backend->recording_free (live->device, recording);
}

static PtOp *
plan_result (PtWorkspace *workspace, PtOpType type, const PtShape *shape)
{
  g_autoptr (GError) error = NULL;
  PtOp *op = pt_op_new (workspace, &(PtOpDesc) {
        .type = type, .x = *shape, .y = *shape}, &error);

  g_assert_no_error (error);
  pt_workspace_ready (workspace, &error);
  g_assert_no_error (error);
  return op;
}

/* To the host or to the device, the sum has the same bits. */
static void
test_dot (void)
{
  g_autoptr (PtDevice) device = op_test_device (NULL);
  const PtShape shape = PT_SHAPE (N);
  g_autofree gdouble *a = op_test_random (N, 1), *b = op_test_random (N, 2);
  g_autoptr (PtTensor) x = op_test_tensor (device, &shape, a);
  g_autoptr (PtTensor) w = op_test_tensor (device, &shape, b);
  g_autoptr (PtTensor) y = op_test_unset (device, &PT_SHAPE (2));
  g_autofree gdouble *there = NULL;
  gdouble here = NAN, expected = 0;
  PtWorkspace workspace;
  PtOp *op;

  if (op_test_lacks (device, PT_OP_DOT))
    return;
  for (guint i = 0; i < N; i++)
    expected += a[i] * b[i];
  pt_workspace_init (&workspace, device, TRUE);
  op = plan_result (&workspace, PT_OP_DOT, &shape);
  op_test_run (op, &(PtOpArgs) {.x = x, .w = w, .sum = &here});
  op_test_run (op, &(PtOpArgs) {.x = x, .w = w, .y = y});
  there = op_test_read_bytes (device, y);
  g_assert_cmpfloat (*there, ==, here);
  op_test_near ("sum", &here, &expected, 1, 1e-12);
  pt_op_free (op);
  pt_workspace_clear (&workspace);
}

static void
test_finite (void)
{
  g_autoptr (PtDevice) device = op_test_device (NULL);
  const gdouble odd[] = { 3, INFINITY, -INFINITY, NAN };
  const PtShape shape = PT_SHAPE (N);
  PtWorkspace workspace;
  PtOp *op;

  if (op_test_lacks (device, PT_OP_CHECK_FINITE))
    return;
  pt_workspace_init (&workspace, device, TRUE);
  op = plan_result (&workspace, PT_OP_CHECK_FINITE, &shape);
  for (guint i = 0; i < G_N_ELEMENTS (odd); i++) {
    g_autofree gdouble *values = op_test_random (N, 1);
    g_autoptr (PtTensor) x = NULL, y = op_test_unset (device, &PT_SHAPE (1));
    g_autofree gint32 *there = NULL;
    gboolean here = -1;

    values[N - 1 - 1000 * i] = odd[i];
    x = op_test_tensor (device, &shape, values);
    op_test_run (op, &(PtOpArgs) {.x = x, .finite = &here});
    op_test_run (op, &(PtOpArgs) {.x = x, .y = y});
    there = op_test_read_bytes (device, y);
    g_assert_cmpint (here, ==, isfinite (odd[i]) ? 1 : 0);
    g_assert_cmpint (*there, ==, here);
  }
  pt_op_free (op);
  pt_workspace_clear (&workspace);
}

static void
add (const gchar *test, const gchar *kind, GTestDataFunc func)
{
  g_autofree gchar *path = g_strdup_printf ("/live/%s/%s", test, kind);

  g_test_add_data_func (path, kind, func);
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    add ("equal", kinds[i], test_equal);
    add ("replay", kinds[i], test_replay);
    if (!g_str_equal (kinds[i], "dropout"))
      add ("stop", kinds[i], test_stop);
  }
  g_test_add_func ("/live/dot", test_dot);
  g_test_add_func ("/live/finite", test_finite);
  return g_test_run ();
}
