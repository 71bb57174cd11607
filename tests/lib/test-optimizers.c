/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "golden.h"
#include "optimizer-rig.h"

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
  "adagrad",
  "adagrad lr=0.1 lr_decay=0.2 weight_decay=0.1 eps=1e-3",
  "adagrad lr=0.1 initial_accumulator_value=0.5",
};

#define STEPS 10
/* float32 rounding, some of which the centred variance magnifies by
 * subtracting two large numbers. */
#define WEIGHT_TOLERANCE 1e-6
#define STATE_TOLERANCE 1e-5

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
  const gsize n = pt_tensor_get_n_elements (golden_find (line, "w0"));

  if (rig == NULL)
    return;
  for (guint step = 1; step <= STEPS; step++) {
    PtTensor *expected = golden_find (line, "w%u", step);

    rig_step (rig, step, (gfloat *) gradients->data + (step - 1) * n);
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
  rig_step (rig, 1, golden_find ("optimizer sgd", "gradients")->data);
  w = op_test_read_bytes (rig->device, rig->w);
  g_assert_cmpmem (w, rig->w->size, start->data, start->size);
}

typedef struct
{
  const gchar *text;
  const gchar *words;
} BadText;

static const BadText bad_texts[] = {
  {"", "unknown optimizer \"\"|sgd|rmsprop|adam|adamw|adagrad"},
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
  {"adagrad lr_decay=-1", "adagrad|lr_decay|-1"},
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
