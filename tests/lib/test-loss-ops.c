/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "losses.h"
#include "losses/loss.h"
#include "op-test.h"

/* The kernels of the losses against plain loops in double precision and their
 * finite differences; what PyTorch says is in test-losses. */

typedef enum
{
  TARGET_ANY,
  TARGET_BINARY,
  TARGET_SOFT,
  TARGET_IMAGE,
  TARGET_CLASSES,               /* one in seven is out of range, each way */
  TARGET_FRAMES,
} TargetKind;

typedef struct
{
  const gchar *text;
  TargetKind kind;
  gint c;
  RefLoss ref;
} Case;

static const gdouble weights[] = { 0.5, 2, 1, 0, 3 };

static const Case cases[] = {
  {"mse", TARGET_ANY, 3, {ref_mse}},
  {"l1", TARGET_ANY, 3, {ref_l1}},
  {"charbonnier eps=0.1", TARGET_ANY, 3, {ref_charbonnier,.eps = 0.1}},
  {"cross-entropy", TARGET_CLASSES, 5, {ref_classes,.ignore = -100}},
  {"cross-entropy weight=0.5;2;1;0;3 ignore_index=2 label_smoothing=0.2 "
        "gamma=1.5", TARGET_CLASSES, 5, {ref_classes,.ignore = 2,
          .weight = weights,.smoothing = 0.2,.gamma = 1.5}},
  {"cross-entropy label_smoothing=0.1", TARGET_CLASSES, 40, {ref_classes,
          .ignore = -100,.smoothing = 0.1}},
  {"nll", TARGET_CLASSES, 5, {ref_picked,.ignore = -100}},
  {"nll weight=0.5;2;1;0;3 ignore_index=2", TARGET_CLASSES, 5, {ref_picked,
          .ignore = 2,.weight = weights}},
  {"bce", TARGET_SOFT, 3, {ref_binary,.alpha = -1}},
  {"bce pos_weight=0.5;2;1;0;3", TARGET_BINARY, 5, {ref_binary,.alpha = -1,
          .weight = weights}},
  {"focal", TARGET_BINARY, 3, {ref_binary,.alpha = 0.25,.gamma = 2}},
  {"focal gamma=0.8 alpha=0.7", TARGET_SOFT, 2, {ref_binary,.alpha = 0.7,
          .gamma = 0.8}},
  {"ssim", TARGET_IMAGE, 3, {ref_ssim,.alpha = 1,.window = 11,.sigma = 1.5,
          .range = 1}},
  {"ssim window=5 sigma=0.9 data_range=2 alpha=0.6", TARGET_IMAGE, 2,
        {ref_ssim,.alpha = 0.6,.window = 5,.sigma = 0.9,.range = 2}},
  {"optical-flow smoothness=0.3 eps=0.02", TARGET_FRAMES, 1, {ref_flow,
          .smoothness = 0.3,.eps = 0.02}},
  {"optical-flow smoothness=0.3 eps=0.02", TARGET_FRAMES, 3, {ref_flow,
          .smoothness = 0.3,.eps = 0.02}},
  {"optical-flow smoothness=0 eps=0.02", TARGET_FRAMES, 4, {ref_flow,
          .smoothness = 0,.eps = 0.02}},
};

/* A case of a size, on a device. */
typedef struct
{
  RefLoss ref;
  PtShape shape, target_shape;
  gsize n;
  gdouble *x, *values;
  gint *labels;
  PtDevice *device;
  PtTensor *output, *target, *dx, *loss;
  PtWorkspace workspace;
  PtOp *op;
} Rig;

static gint
pick_label (gint at, gint classes)
{
  static const gint wild[] = { -1, G_MININT, G_MAXINT, 255, -100 };

  return at % 7 == 3 ? wild[at / 7 % G_N_ELEMENTS (wild)] :
      at * 13 / 4 % classes;
}

static void
rig_fill_target (Rig *rig, const Case *item)
{
  gsize n = pt_shape_get_n_elements (&rig->target_shape);
  gdouble *t = rig->values = op_test_random (n, 2);

  rig->labels = g_new0 (gint, n);
  for (gsize i = 0; i < n; i++) {
    if (item->kind == TARGET_BINARY)
      t[i] = t[i] > 0;
    else if (item->kind == TARGET_SOFT)
      t[i] = fabs (t[i]);
    else if (item->kind == TARGET_IMAGE)
      t[i] = (gfloat) (0.5 + 0.3 * sin (0.05 * i) + 0.1 * t[i]);
    else if (item->kind == TARGET_CLASSES)
      rig->labels[i] = pick_label (i, item->c);
  }
  rig->ref.target = t;
  rig->ref.label = rig->labels;
}

static void
rig_fill (Rig *rig, const Case *item, gint h, gint w)
{
  gint c = item->kind == TARGET_FRAMES ? 2 : item->c;

  rig->ref = item->ref;
  rig->ref.c = c;
  rig->ref.h = h;
  rig->ref.w = w;
  rig->ref.frame_c = item->c;
  rig->shape = rig->target_shape = PT_SHAPE (1, c, h, w);
  if (item->kind == TARGET_CLASSES)
    rig->target_shape = PT_SHAPE (1, h, w);
  if (item->kind == TARGET_FRAMES)
    rig->target_shape = PT_SHAPE (1, 2 * item->c, h, w);
  rig->n = pt_shape_get_n_elements (&rig->shape);
  rig->x = op_test_random (rig->n, 1);
  for (gsize i = 0; i < rig->n; i++)
    rig->x[i] = (gfloat) (3 * rig->x[i]);
  rig_fill_target (rig, item);
  if (item->kind == TARGET_IMAGE)
    for (gsize i = 0; i < rig->n; i++)
      rig->x[i] = (gfloat) (rig->values[i] + 0.05 * rig->x[i]);
}

static void
rig_clear (Rig *rig)
{
  pt_op_free (rig->op);
  pt_workspace_clear (&rig->workspace);
  g_clear_pointer (&rig->output, pt_tensor_unref);
  g_clear_pointer (&rig->target, pt_tensor_unref);
  g_clear_pointer (&rig->dx, pt_tensor_unref);
  g_clear_pointer (&rig->loss, pt_tensor_unref);
  pt_device_unref (rig->device);
  g_free (rig->x);
  g_free (rig->values);
  g_free (rig->labels);
}

/* FALSE: the device lacks the operation, the test is skipped. */
static gboolean
rig_init (Rig *rig, const Case *item, gint h, gint w, guint threads)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtLoss) loss = pt_loss_new (item->text, &error);

  g_assert_no_error (error);
  *rig = (Rig) { 0 };
  rig_fill (rig, item, h, w);
  rig->device = op_test_cores (threads);
  pt_workspace_init (&rig->workspace, rig->device, TRUE);
  rig->op = pt_loss_plan (loss, &rig->workspace, &rig->shape,
      &rig->target_shape, &error);
  if (op_test_unsupported (error)) {
    rig_clear (rig);
    return FALSE;
  }
  g_assert_no_error (error);
  pt_workspace_ready (&rig->workspace, &error);
  g_assert_no_error (error);
  if (rig->workspace.scratch != NULL)
    op_test_unset_bytes (rig->device, rig->workspace.scratch);
  rig->output = op_test_tensor (rig->device, &rig->shape, rig->x);
  rig->target = op_test_tensor (rig->device, &rig->target_shape, rig->values);
  if (item->kind == TARGET_CLASSES)
    op_test_write_bytes (rig->device, rig->target, rig->labels);
  rig->dx = op_test_unset (rig->device, &rig->shape);
  rig->loss = op_test_unset (rig->device, &PT_SHAPE (1));
  return TRUE;
}

static gdouble
rig_run (Rig *rig)
{
  g_autofree gdouble *loss = NULL;

  op_test_run (rig->op, &(PtOpArgs) {.x = rig->output, .target = rig->target,
        .dx = rig->dx, .loss = rig->loss});
  loss = op_test_read (rig->device, rig->loss);
  return *loss;
}

/* Puts a NaN, as the elements lie in memory. */
static void
rig_spoil (Rig *rig, PtTensor *tensor, gsize at)
{
  g_autofree gfloat *data = op_test_read_bytes (rig->device, tensor);

  data[at] = NAN;
  op_test_write_bytes (rig->device, tensor, data);
}

/* (f (x + step v) - f (x - step v)) / (2 step) */
static gdouble
rig_differ (Rig *rig, const gdouble *v, gdouble step)
{
  g_autofree gdouble *x = g_new (gdouble, rig->n);
  gdouble up, down;

  for (gsize i = 0; i < rig->n; i++)
    x[i] = rig->x[i] + step * v[i];
  up = rig->ref.func (&rig->ref, x);
  for (gsize i = 0; i < rig->n; i++)
    x[i] = rig->x[i] - step * v[i];
  down = rig->ref.func (&rig->ref, x);
  return (up - down) / (2 * step);
}

/* Every element of the gradient, on a small image of odd size. */
static void
test_elements (gconstpointer data)
{
  Rig rig;
  g_autofree gdouble *dx = NULL, *v = NULL, *expected = NULL;
  gdouble loss, value;

  if (!rig_init (&rig, data, 13, 11, 1))
    return;
  value = rig_run (&rig);
  loss = rig.ref.func (&rig.ref, rig.x);
  op_test_near ("loss", &value, &loss, 1, 1e-5);
  dx = op_test_read (rig.device, rig.dx);
  v = g_new0 (gdouble, rig.n);
  expected = g_new (gdouble, rig.n);
  for (gsize i = 0; i < rig.n; i++) {
    v[i] = 1;
    expected[i] = rig_differ (&rig, v, 1e-6);
    v[i] = 0;
  }
  op_test_near ("gradient", dx, expected, rig.n, 1e-4);
  rig_clear (&rig);
}

/* Many blocks and rows: the value, and the gradient along a direction of
 * random signs, of which |gradient| is the usual size. */
static void
test_large (gconstpointer data)
{
  Rig rig;
  g_autofree gdouble *dx = NULL, *v = NULL;
  gdouble loss, value, found = 0, norm = 0, expected;

  if (!rig_init (&rig, data, 79, 83, 1))
    return;
  value = rig_run (&rig);
  loss = rig.ref.func (&rig.ref, rig.x);
  op_test_near ("loss", &value, &loss, 1, 1e-5);
  dx = op_test_read (rig.device, rig.dx);
  v = op_test_random (rig.n, 3);
  for (gsize i = 0; i < rig.n; i++) {
    v[i] = v[i] > 0 ? 1 : -1;
    found += v[i] * dx[i];
    norm += dx[i] * dx[i];
  }
  expected = rig_differ (&rig, v, 1e-7);
  g_test_message ("along v %g, expected %g, norm %g", found, expected,
      sqrt (norm));
  g_assert_cmpfloat (fabs (found - expected), <, 1e-4 * sqrt (norm));
  rig_clear (&rig);
}

/* The number of threads changes no bit. */
static void
test_threads (gconstpointer data)
{
  Rig one, two;

#ifdef __SANITIZE_THREAD__
  g_test_skip ("the thread sanitizer does not see how OpenMP's threads wait");
  return;
#endif
  if (pt_device_count_cores () < 2) {
    g_test_skip ("one core");
    return;
  }
  if (!rig_init (&one, data, 149, 151, 1))
    return;
  rig_run (&one);
  rig_init (&two, data, 149, 151, 2);
  rig_run (&two);
  op_test_same (one.device, one.loss, two.loss);
  op_test_same (one.device, one.dx, two.dx);
  rig_clear (&one);
  rig_clear (&two);
}

/* A NaN anywhere shows in the loss; nothing is read or written outside. */
static void
test_nan (gconstpointer data)
{
  const Case *item = data;
  const gint h = 13, w = 17;

  for (gint at = 0; at < h * w; at += 36) {
    Rig rig;

    if (!rig_init (&rig, item, h, w, 1))
      return;
    rig_spoil (&rig, rig.output, at);
    /* of the pixels that do not count, scores do not count either */
    if (item->kind != TARGET_CLASSES)
      g_assert_false (isfinite (rig_run (&rig)));
    else
      rig_run (&rig);
    rig_clear (&rig);
    if (item->kind == TARGET_CLASSES)
      continue;
    rig_init (&rig, item, h, w, 1);
    rig_spoil (&rig, rig.target, at);
    /* where no flow leads to, the newer frame is not looked at */
    if (item->kind != TARGET_FRAMES || at % (2 * item->c) < item->c)
      g_assert_false (isfinite (rig_run (&rig)));
    else
      rig_run (&rig);
    rig_clear (&rig);
  }
}

/* Labels out of range are as those that are ignored. */
static void
test_wild_labels (gconstpointer data)
{
  const Case *item = data;
  Rig wild, ignored;

  if (!rig_init (&wild, item, 13, 17, 1))
    return;
  rig_init (&ignored, item, 13, 17, 1);
  for (gsize i = 0; i < 13 * 17; i++)
    if (ignored.labels[i] < 0 || ignored.labels[i] >= item->c)
      ignored.labels[i] = item->ref.ignore;
  op_test_write_bytes (ignored.device, ignored.target, ignored.labels);
  g_assert_cmpfloat (rig_run (&wild), !=, 0);
  g_assert_cmpfloat (rig_run (&wild), ==, rig_run (&ignored));
  op_test_same (wild.device, wild.dx, ignored.dx);
  rig_clear (&wild);
  rig_clear (&ignored);
}

/* A pixel that does not count is no part of the loss, not even as NaN. */
static void
test_ignored_nan (gconstpointer data)
{
  const Case *item = data;
  Rig rig;
  g_autofree gfloat *dx = NULL;

  if (!rig_init (&rig, item, 13, 17, 1))
    return;
  for (gint k = 0; k < item->c; k++)
    rig_spoil (&rig, rig.output, 3 * item->c + k);
  g_assert_cmpint (rig.labels[3], ==, -1);
  g_assert_true (isfinite (rig_run (&rig)));
  dx = op_test_read_bytes (rig.device, rig.dx);
  for (gsize i = 0; i < rig.n; i++)
    g_assert_true (isfinite (dx[i]));
  g_assert_cmpfloat (dx[3 * item->c], ==, 0);
  rig_clear (&rig);
}

static void
add (const gchar *name, guint i, GTestDataFunc func)
{
  g_autofree gchar *path = g_strdup_printf ("/loss-ops/%s/%u %s", name, i,
      cases[i].text);

  g_test_add_data_func (path, &cases[i], func);
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    add ("elements", i, test_elements);
    add ("large", i, test_large);
    add ("threads", i, test_threads);
    add ("nan", i, test_nan);
    if (cases[i].kind == TARGET_CLASSES) {
      add ("wild-labels", i, test_wild_labels);
      add ("ignored-nan", i, test_ignored_nan);
    }
  }
  return g_test_run ();
}
