/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "activation.h"
#include "dense.h"
#include "op-test.h"

#define EPS 1e-5

typedef struct
{
  RefSize size;
  gboolean batch;
  PtActivation activation;
} Case;

static const Case cases[] = {
  {{16, 8, 8}, TRUE, PT_ACTIVATION_NONE},
  {{16, 8, 8}, TRUE, PT_ACTIVATION_RELU},
  {{5, 13, 11}, TRUE, PT_ACTIVATION_NONE},
  {{5, 13, 11}, TRUE, PT_ACTIVATION_RELU},
  {{1, 9, 7}, TRUE, PT_ACTIVATION_NONE},
  {{64, 2, 4}, TRUE, PT_ACTIVATION_NONE},
  {{16, 8, 8}, FALSE, PT_ACTIVATION_NONE},
  {{7, 5, 9}, FALSE, PT_ACTIVATION_RELU},
  {{40, 31, 33}, TRUE, PT_ACTIVATION_NONE},
};

typedef struct
{
  PtDevice *device;
  PtShape channels;
  gdouble *x, *w, *b, *mean, *variance, *dy;
} Data;

/* Values far from zero, where a careless variance fails. */
static void
data_init (Data *self, const Case *test, PtDevice *device)
{
  gsize c = test->size.c, n = c * test->size.h * test->size.w;

  *self = (Data) { device, PT_SHAPE (c), op_test_random (n, 1),
    op_test_random (c, 2), op_test_random (c, 3), op_test_random (c, 4),
    op_test_random (c, 5), op_test_random (n, 6)
  };
  for (gsize i = 0; i < n; i++)
    self->x[i] = (gfloat) (self->x[i] + 3);
  for (gsize i = 0; i < c; i++)
    self->variance[i] = (gfloat) (self->variance[i] + 1.5);
}

static void
data_clear (Data *self)
{
  g_free (self->x);
  g_free (self->w);
  g_free (self->b);
  g_free (self->mean);
  g_free (self->variance);
  g_free (self->dy);
}

static void
near_tensor (const gchar *what, PtDevice *device, const PtTensor *tensor,
    const gdouble *expected, gdouble tolerance)
{
  g_autofree gdouble *values = op_test_read (device, tensor);

  op_test_near (what, values, expected, pt_tensor_get_n_elements (tensor),
      tolerance);
}

/* Running statistics as PyTorch moves them: momentum 0.1, unbiased. */
static void
check_running (const Case *test, Data *d, const PtOpArgs *args,
    const gdouble *mean, const gdouble *variance)
{
  gint c = test->size.c, n = test->size.h * test->size.w;
  g_autofree gdouble *m = g_new (gdouble, c);
  g_autofree gdouble *v = g_new (gdouble, c);

  for (gint k = 0; k < c; k++) {
    m[k] = 0.9 * d->mean[k] + 0.1 * mean[k];
    v[k] = 0.9 * d->variance[k] + 0.1 * variance[k] * n / (n - 1);
  }
  near_tensor ("running mean", d->device, args->mean, m, 1e-5);
  near_tensor ("running variance", d->device, args->variance, v, 1e-5);
}

static void
check_forward (const Case *test, Data *d, PtOp *op, const PtOpArgs *args,
    gdouble *mean, gdouble *variance)
{
  gsize n = (gsize) test->size.c * test->size.h * test->size.w;
  g_autofree gdouble *y = g_new (gdouble, n);

  op_test_run (op, args);
  memcpy (mean, d->mean, test->size.c * sizeof *mean);
  memcpy (variance, d->variance, test->size.c * sizeof *variance);
  if (test->batch)
    ref_batch_statistics (test->size, d->x, mean, variance);
  ref_batch_norm (test->size, EPS, d->x, d->w, d->b, mean, variance, y);
  for (gsize i = 0; i < n; i++)
    y[i] = ref_activation (test->activation, 0, 0, y[i]);
  near_tensor ("y", d->device, args->y, y, 1e-5);
  near_tensor ("saved mean", d->device, args->saved_mean, mean, 1e-5);
  near_tensor ("saved variance", d->device, args->saved_variance, variance,
      1e-5);
  if (test->batch)
    check_running (test, d, args, mean, variance);
}

static void
check_backward (const Case *test, Data *d, PtOp *op, const PtOpArgs *args,
    const gdouble *mean, const gdouble *variance)
{
  gint c = test->size.c;
  g_autofree gdouble *dx = g_new (gdouble, c * test->size.h * test->size.w);
  g_autofree gdouble *dw = g_new (gdouble, c);
  g_autofree gdouble *db = g_new (gdouble, c);

  op_test_run (op, args);
  ref_batch_norm_backward (test->size, EPS, test->batch, d->x, d->w, mean,
      variance, d->dy, dx, dw, db);
  near_tensor ("dx", d->device, args->dx, dx, 1e-4);
  near_tensor ("dw", d->device, args->dw, dw, 1e-4);
  near_tensor ("db", d->device, args->db, db, 1e-4);
}

static void
check (const Case *test, const gchar *name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (name);
  gint c = test->size.c;
  PtShape x = PT_SHAPE (1, c, test->size.h, test->size.w);
  PtOpDesc desc = {.type = PT_OP_BATCH_NORM,.x = x,.y = x,.training = TRUE,
    .batch_norm = {test->batch, 0.1f, EPS, test->activation}
  };
  g_autofree gdouble *mean = g_new (gdouble, c);
  g_autofree gdouble *variance = g_new (gdouble, c);
  PtWorkspace workspace;
  Data d;

  if (op_test_lacks (device, PT_OP_BATCH_NORM)
      || op_test_lacks (device, PT_OP_BATCH_NORM_BACKWARD))
    return;
  data_init (&d, test, device);
  g_autoptr (PtTensor) tx = op_test_tensor (device, &x, d.x);
  g_autoptr (PtTensor) tw = op_test_tensor (device, &d.channels, d.w);
  g_autoptr (PtTensor) tb = op_test_tensor (device, &d.channels, d.b);
  g_autoptr (PtTensor) tm = op_test_tensor (device, &d.channels, d.mean);
  g_autoptr (PtTensor) tv = op_test_tensor (device, &d.channels, d.variance);
  g_autoptr (PtTensor) tdy = op_test_tensor (device, &x, d.dy);
  g_autoptr (PtTensor) y = op_test_unset (device, &x);
  g_autoptr (PtTensor) dx = op_test_unset (device, &x);
  g_autoptr (PtTensor) sm = op_test_unset (device, &d.channels);
  g_autoptr (PtTensor) sv = op_test_unset (device, &d.channels);
  g_autoptr (PtTensor) dw = op_test_unset (device, &d.channels);
  g_autoptr (PtTensor) db = op_test_unset (device, &d.channels);
  PtOpArgs args = {.x = tx,.w = tw,.b = tb,.mean = tm,.variance = tv,.y = y,
    .saved_mean = sm,.saved_variance = sv,.dy = tdy,.dx = dx,.dw = dw,
    .db = db,.update_running = TRUE
  };

  pt_workspace_init (&workspace, device, TRUE);
  g_autoptr (PtOp) forward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  desc.type = PT_OP_BATCH_NORM_BACKWARD;
  g_autoptr (PtOp) backward = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  g_assert_true (pt_workspace_ready (&workspace, NULL));
  check_forward (test, &d, forward, &args, mean, variance);
  check_backward (test, &d, backward, &args, mean, variance);
  pt_workspace_clear (&workspace);
  data_clear (&d);
}

static void
test_batch_norm (gconstpointer data)
{
  for (const gchar * const *name = op_test_devices (); *name != NULL; name++)
    check (data, *name);
}

gint
main (gint argc, gchar **argv)
{
  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *path = g_strdup_printf ("/batch-norm/%d-%dx%d-%s-%s",
        cases[i].size.c, cases[i].size.h, cases[i].size.w,
        cases[i].batch ? "batch" : "given",
        pt_activation_names[cases[i].activation]);

    g_test_add_data_func (path, &cases[i], test_batch_norm);
  }
  return g_test_run ();
}
