/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "golden.h"
#include "op-test.h"
#include "optimizers/optimizer.h"

/* The lines of tests/data/make-layers.py, of every kind at least one. */
static const gchar *const lines[] = {
  "sgd",
  "sgd lr=0.1 momentum=0.9",
  "sgd lr=0.05 momentum=0.8 dampening=0.3 weight_decay=0.1",
  "sgd lr=0.05 momentum=0.9 weight_decay=0.01 nesterov=true",
  "rmsprop",
  "rmsprop lr=0.02 alpha=0.9 eps=1e-4 weight_decay=0.05",
  "rmsprop lr=0.003 momentum=0.9",
  "rmsprop lr=0.003 momentum=0.5 centered=true",
  "adam",
  "adam lr=0.02 betas=0.8;0.95 eps=1e-5 weight_decay=0.1",
  "adam lr=0.01 amsgrad=true",
  "adamw",
  "adamw lr=0.02 betas=0.8;0.95 weight_decay=0.3 amsgrad=true",
};

#define STEPS 10
/* float32 rounding, some of which the centred variance magnifies by
 * subtracting two large numbers. */
#define WEIGHT_TOLERANCE 1e-6
#define STATE_TOLERANCE 1e-5

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
static Rig *
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

static void
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

/* The update of @step, which counts from 1, with row @step of gradients. */
static void
rig_step (Rig *rig, guint step, const PtTensor *gradients)
{
  g_autoptr (GError) error = NULL;
  PtOpArgs run = {
    .update_w = rig->w,
    .scale = 1,
    .dw = rig->dw,
    .rate = pt_optimizer_get_learning_rate (rig->optimizer),
    .step = step,
  };
  gsize n = pt_tensor_get_n_elements (rig->w);

  memcpy (run.slots, rig->slots, sizeof run.slots);
  op_test_write_bytes (rig->device, rig->dw,
      (gfloat *) gradients->data + (step - 1) * n);
  pt_op_run (rig->op, &run, &error);
  g_assert_no_error (error);
}

/* @found is of the device. */
static void
rig_close (Rig *rig, const PtTensor *found, const PtTensor *expected,
    gdouble tolerance)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) host = pt_tensor_new_shaped (PT_F32, &found->shape,
      &error);

  pt_device_download (rig->device, host, found, &error);
  g_assert_no_error (error);
  assert_close (host, expected, tolerance);
}

static void
test_golden (gconstpointer data)
{
  g_autofree gchar *line = g_strdup_printf ("optimizer %s",
      (const gchar *) data);
  g_autoptr (Rig) rig = rig_new (data, golden_find (line, "w0"));
  const PtTensor *gradients = golden_find (line, "gradients");

  if (rig == NULL)
    return;
  for (guint step = 1; step <= STEPS; step++) {
    PtTensor *expected = golden_find (line, "w%u", step);

    rig_step (rig, step, gradients);
    if (expected != NULL)
      rig_close (rig, rig->w, expected, WEIGHT_TOLERANCE);
  }
  /* The slots bear PyTorch's names and hold what its state holds. */
  for (guint i = 0; i < rig->n_slots; i++)
    rig_close (rig, rig->slots[i], golden_find (line, "%s", rig->names[i]),
        STATE_TOLERANCE);
}

/* A rate of 0 changes nothing, not even by weight decay. */
static void
test_zero_rate (gconstpointer data)
{
  const PtTensor *start = golden_find ("optimizer sgd", "w0");
  g_autoptr (Rig) rig = rig_new (data, start);
  g_autofree gpointer w = NULL;

  if (rig == NULL)
    return;
  rig_step (rig, 1, golden_find ("optimizer sgd", "gradients"));
  w = op_test_read_bytes (rig->device, rig->w);
  g_assert_cmpmem (w, rig->w->size, start->data, start->size);
}

typedef struct
{
  const gchar *text;
  const gchar *words;
} BadText;

static const BadText bad_texts[] = {
  {"", "unknown optimizer \"\"|sgd|rmsprop|adam|adamw"},
  {"lion lr=1", "lion|sgd|adamw"},
  {"sgd lr=-1", "sgd|lr|-1"},
  {"sgd lr=inf", "lr|inf"},
  {"sgd lr=nan", "lr|nan"},
  {"sgd lr", "lr"},
  {"sgd momentum=-0.1", "momentum|-0.1"},
  {"sgd betas=0.9;0.9", "sgd|betas"},
  {"sgd nesterov=true", "sgd|nesterov=true|momentum=0"},
  {"sgd nesterov=true momentum=0.9 dampening=0.1", "dampening=0.1"},
  {"adam betas=0.9;1", "adam|betas|1"},
  {"adam betas=0.9", "betas|0.9"},
  {"adam eps=-1", "eps|-1"},
  {"adam amsgrad=maybe", "amsgrad|maybe"},
  {"adamw weight_decay=-1", "adamw|weight_decay|-1"},
  {"rmsprop alpha=-1", "rmsprop|alpha|-1"},
};

static void
test_bad_text (gconstpointer data)
{
  const BadText *item = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtOptimizer) optimizer = pt_optimizer_new (item->text, &error);

  g_assert_null (optimizer);
  g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
  assert_says (error->message, item->words);
}

static void
test_registry (void)
{
  g_autofree gchar *text = pt_optimizer_describe_kinds ();

  for (guint i = 0; pt_optimizer_kinds[i] != NULL; i++) {
    const PtOptimizerKind *kind = pt_optimizer_kinds[i];
    g_autofree gchar *with_rate = g_strdup_printf (" %s lr=0.25 ", kind->name);
    g_autoptr (PtOptimizer) optimizer = pt_optimizer_new (with_rate, NULL);
    guint n_lines = 0;

    g_assert_cmpstr (pt_optimizer_get_name (optimizer), ==, kind->name);
    g_assert_cmpfloat (pt_optimizer_get_learning_rate (optimizer), ==, 0.25);
    g_assert_nonnull (strstr (kind->summary, "torch.optim."));
    g_assert_nonnull (strstr (text, kind->summary));
    for (guint k = 0; k < G_N_ELEMENTS (lines); k++)
      n_lines += g_str_has_prefix (lines[k], kind->name);
    g_assert_cmpuint (n_lines, >, 0);
  }
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  g_test_add_func ("/optimizers/registry", test_registry);
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autofree gchar *path =
        g_strdup_printf ("/optimizers/golden/%s", lines[i]);

    g_test_add_data_func (path, lines[i], test_golden);
  }
  g_test_add_data_func ("/optimizers/zero-rate/sgd", "sgd lr=0",
      test_zero_rate);
  g_test_add_data_func ("/optimizers/zero-rate/adamw", "adamw lr=0",
      test_zero_rate);
  for (guint i = 0; i < G_N_ELEMENTS (bad_texts); i++) {
    g_autofree gchar *path = g_strdup_printf ("/optimizers/bad-text/%u", i);

    g_test_add_data_func (path, &bad_texts[i], test_bad_text);
  }
  return g_test_run ();
}
