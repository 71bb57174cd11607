/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/backend.h"
#include "golden.h"
#include "losses/loss.h"

/* The lines of tests/data/make-layers.py, of every kind at least one. */
static const gchar *const lines[] = {
  "mse",
  "l1",
  "charbonnier",
  "charbonnier eps=0.1",
  "cross-entropy",
  "cross-entropy ignore_index=3",
  "optical-flow",
  "optical-flow smoothness=0.5 eps=0.05",
};

/* The golden file holds float32 only; labels are int32. */
static PtTensor *
make_labels (const PtTensor *golden)
{
  PtTensor *labels = pt_tensor_new_shaped (PT_I32, &golden->shape, NULL);

  for (gsize i = 0; i < pt_tensor_get_n_elements (golden); i++)
    ((gint32 *) labels->data)[i] = ((gfloat *) golden->data)[i];
  return labels;
}

static PtTensor *
to_device (PtDevice *device, PtTensor *host)
{
  g_autoptr (GError) error = NULL;
  PtTensor *tensor =
      pt_device_tensor_new (device, host->dtype, &host->shape, &error);

  pt_device_upload (device, tensor, host, &error);
  g_assert_no_error (error);
  return tensor;
}

static PtTensor *
from_device (PtDevice *device, const PtTensor *tensor)
{
  g_autoptr (GError) error = NULL;
  PtTensor *host = pt_tensor_new_shaped (tensor->dtype, &tensor->shape, NULL);

  pt_device_download (device, host, tensor, &error);
  g_assert_no_error (error);
  return host;
}

/* Runs the loss of @text; the gradient goes to @gradient. */
static gdouble
run_loss (const gchar *text, PtTensor *x, PtTensor *target,
    PtTensor **gradient)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = pt_device_open ("cpu:0", &error);
  g_autoptr (PtLoss) loss = pt_loss_new (text, &error);
  g_autoptr (PtTensor) dx = NULL, output = NULL, labels = NULL, value = NULL;
  g_autoptr (PtOp) op = NULL;
  PtWorkspace workspace;

  g_assert_no_error (error);
  pt_device_enter (device);
  pt_workspace_init (&workspace, device, TRUE);
  op = pt_loss_plan (loss, &workspace, &x->shape, &target->shape, &error);
  g_assert_no_error (error);
  pt_workspace_ready (&workspace, &error);
  output = to_device (device, x);
  labels = to_device (device, target);
  dx = pt_device_tensor_new (device, PT_F32, &x->shape, NULL);
  value = pt_device_tensor_new (device, PT_F32, &PT_SHAPE (1), NULL);
  pt_op_run (op, &(PtOpArgs) {.x = output, .target = labels, .loss = value,
          .dx = dx}, &error);
  g_assert_no_error (error);
  *gradient = from_device (device, dx);
  g_clear_pointer (&op, pt_op_free);
  pt_workspace_clear (&workspace);
  return *(gfloat *) value->data;
}

static void
test_golden (gconstpointer data)
{
  const gchar *text = data;
  g_autofree gchar *line = g_strdup_printf ("loss %s", text);
  PtTensor *golden = golden_find (line, "target");
  g_autoptr (PtTensor) target = g_str_has_prefix (text, "cross-entropy") ?
      make_labels (golden) : pt_tensor_ref (golden);
  g_autoptr (PtTensor) dx = NULL;
  gdouble expected = *(gfloat *) golden_find (line, "loss")->data;
  gdouble loss = run_loss (text, golden_find (line, "x"), target, &dx);

  g_assert_cmpfloat (fabs (loss - expected), <, FORWARD_TOLERANCE * expected);
  assert_close (dx, golden_find (line, "dx"), GRADIENT_TOLERANCE);
}

/* Where everything is ignored there is nothing to learn: no NaN. */
static void
test_all_ignored (void)
{
  g_autoptr (PtTensor) x = pt_tensor_new_shaped (PT_F32,
      &PT_SHAPE (1, 3, 2, 2), NULL);
  g_autoptr (PtTensor) target = pt_tensor_new_shaped (PT_I32,
      &PT_SHAPE (1, 2, 2), NULL);
  g_autoptr (PtTensor) dx = NULL;

  for (guint i = 0; i < 4; i++)
    ((gint32 *) target->data)[i] = -100;
  g_assert_cmpfloat (run_loss ("cross-entropy", x, target, &dx), ==, 0);
  for (guint i = 0; i < 12; i++)
    g_assert_cmpfloat (((gfloat *) dx->data)[i], ==, 0);
}

/* A picture moved by one pixel, and the flow that says so: in the middle the
 * older frame is found again exactly. Smoothness of a constant is eps. */
static void
test_flow_direction (void)
{
  const gint h = 8, w = 10;
  g_autoptr (PtTensor) flow = pt_tensor_new_shaped (PT_F32,
      &PT_SHAPE (1, 2, h, w), NULL);
  g_autoptr (PtTensor) frames = pt_tensor_new_shaped (PT_F32,
      &PT_SHAPE (1, 2, h, w), NULL);
  g_autoptr (PtTensor) dx = NULL;
  gfloat *pixels = frames->data;

  /* frame t at (x + 1) shows what frame t-1 showed at x. */
  for (gint y = 0; y < h; y++)
    for (gint x = 0; x < w; x++) {
      pixels[y * w + x] = sin (0.7 * x * x + y);
      pixels[(h + y) * w + x] = sin (0.7 * (x - 1) * (x - 1) + y);
      ((gfloat *) flow->data)[y * w + x] = 1;
    }
  for (gint y = 0; y < h; y++)  /* where the flow leaves the frame */
    pixels[y * w + w - 1] = pixels[(h + y) * w + w - 1];
  g_assert_cmpfloat_with_epsilon (run_loss ("optical-flow smoothness=1",
          flow, frames, &dx), 2e-3, 1e-6);
}

typedef struct
{
  const gchar *text;
  const gchar *words;
} BadText;

static const BadText bad_texts[] = {
  {"", "unknown loss \"\"|mse|l1|charbonnier|cross-entropy|optical-flow"},
  {"huber", "huber|mse|optical-flow"},
  {"mse eps=1", "mse|eps"},
  {"charbonnier eps=0", "charbonnier|eps|0"},
  {"charbonnier eps=nan", "eps|nan"},
  {"charbonnier eps", "eps"},
  {"optical-flow smoothness=-1", "optical-flow|smoothness|-1"},
  {"cross-entropy ignore_index=dog", "ignore_index|dog"},
};

static void
test_bad_text (gconstpointer data)
{
  const BadText *item = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtLoss) loss = pt_loss_new (item->text, &error);

  g_assert_null (loss);
  g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
  assert_says (error->message, item->words);
}

typedef struct
{
  const gchar *text;
  PtShape output, target;
  const gchar *words;
} BadShape;

static const BadShape bad_shapes[] = {
  {"mse", {4, {1, 1, 4, 4}}, {4, {1, 1, 4, 5}}, "mse|1x1x4x4|1x1x4x5"},
  {"mse", {2, {1, 16}}, {4, {1, 1, 4, 4}}, "1x16|1x1x4x4"},
  {"optical-flow", {4, {1, 3, 4, 4}}, {4, {1, 2, 4, 4}}, "1x3x4x4|1x2xHxW"},
  {"optical-flow", {2, {1, 2}}, {4, {1, 2, 4, 4}}, "1x2|1x2xHxW"},
  {"optical-flow", {4, {1, 2, 4, 4}}, {4, {1, 3, 4, 4}}, "1x3x4x4|4x4"},
  {"optical-flow", {4, {1, 2, 4, 4}}, {4, {1, 2, 8, 8}}, "1x2x8x8|4x4"},
  {"cross-entropy", {2, {1, 9}}, {2, {1, 9}}, "1x9|shape 1"},
  {"cross-entropy", {4, {1, 5, 4, 3}}, {3, {1, 3, 4}}, "1x3x4|1x4x3"},
  {"cross-entropy", {1, {5}}, {1, {1}}, "shape 5|1xC"},
};

static void
test_bad_shape (gconstpointer data)
{
  const BadShape *item = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = pt_device_open ("cpu:0", NULL);
  g_autoptr (PtLoss) loss = pt_loss_new (item->text, NULL);
  PtWorkspace workspace;

  pt_workspace_init (&workspace, device, TRUE);
  g_assert_null (pt_loss_plan (loss, &workspace, &item->output, &item->target,
          &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
  assert_says (error->message, item->words);
  pt_workspace_clear (&workspace);
}

static void
test_registry (void)
{
  g_autofree gchar *text = pt_loss_describe_kinds ();

  for (guint i = 0; pt_loss_kinds[i] != NULL; i++) {
    const PtLossKind *kind = pt_loss_kinds[i];
    g_autoptr (PtLoss) loss = pt_loss_new (kind->name, NULL);
    guint n_lines = 0;

    g_assert_cmpstr (pt_loss_get_name (loss), ==, kind->name);
    g_assert_cmpint (kind->target, !=, PT_TARGET_AUTO);
    g_assert_nonnull (strstr (text, kind->summary));
    for (guint k = 0; k < G_N_ELEMENTS (lines); k++)
      n_lines += g_str_has_prefix (lines[k], kind->name);
    g_assert_cmpuint (n_lines, >, 0);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/losses/registry", test_registry);
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autofree gchar *path = g_strdup_printf ("/losses/golden/%s", lines[i]);

    g_test_add_data_func (path, lines[i], test_golden);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad_texts); i++) {
    g_autofree gchar *path = g_strdup_printf ("/losses/bad-text/%u", i);

    g_test_add_data_func (path, &bad_texts[i], test_bad_text);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad_shapes); i++) {
    g_autofree gchar *path = g_strdup_printf ("/losses/bad-shape/%u", i);

    g_test_add_data_func (path, &bad_shapes[i], test_bad_shape);
  }
  g_test_add_func ("/losses/all-ignored", test_all_ignored);
  g_test_add_func ("/losses/flow-direction", test_flow_direction);
  return g_test_run ();
}
