/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#define GOLDEN_FILES "losses.safetensors"

#include "device/backend.h"
#include "golden.h"
#include "losses/loss.h"
#include "op-test.h"
#include "stream.h"

/* Lines of tests/data/make-losses.py: a loss, " @ ", and shapes. */
static GPtrArray *
list_lines (void)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < pt_tensor_file_get_n_tensors (golden_get (0)); i++) {
    const gchar *name = pt_tensor_file_get_name (golden_get (0), i);

    if (g_str_has_suffix (name, ":x"))
      g_ptr_array_add (lines, g_strndup (name, strlen (name) - 2));
  }
  return lines;
}

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

/* Runs the loss of @text; the gradient goes to @gradient. FALSE: the device
 * lacks it, the test is skipped. */
static gboolean
run_loss (const gchar *text, PtTensor *x, PtTensor *target, gdouble *result,
    PtTensor **gradient)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  g_autoptr (PtLoss) loss = pt_loss_new (text, &error);
  g_autoptr (PtTensor) dx = NULL, output = NULL, labels = NULL, value = NULL;
  g_autofree gdouble *read = NULL;
  g_autoptr (PtOp) op = NULL;
  PtWorkspace workspace;

  g_assert_no_error (error);
  pt_workspace_init (&workspace, device, TRUE);
  op = pt_loss_plan (loss, &workspace, &x->shape, &target->shape, &error);
  if (op_test_unsupported (error)) {
    pt_workspace_clear (&workspace);
    return FALSE;
  }
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
  read = op_test_read (device, value);
  *result = *read;
  g_clear_pointer (&op, pt_op_free);
  pt_workspace_clear (&workspace);
  return TRUE;
}

static void
test_golden (gconstpointer data)
{
  const gchar *line = data;
  g_autofree gchar *text =
      g_strndup (line, strstr (line, " @ ") - line);
  PtTensor *golden = golden_find (line, "target");
  g_autoptr (PtLoss) kind = pt_loss_new (text, NULL);
  g_autoptr (PtTensor) target = kind->kind->classes ?
      make_labels (golden) : pt_tensor_ref (golden);
  g_autoptr (PtTensor) dx = NULL;
  gdouble expected = *(gfloat *) golden_find (line, "loss")->data;
  gdouble loss, relative;

  if (!run_loss (text, golden_find (line, "x"), target, &loss, &dx))
    return;
  relative = fabs (loss - expected) / fabs (expected);
  g_test_message ("loss %g, relative error %.2g, of the gradient %.2g", loss,
      relative, relative_error (dx, golden_find (line, "dx")));
  g_assert_cmpfloat (relative, <, FORWARD_TOLERANCE);
  assert_close (dx, golden_find (line, "dx"), GRADIENT_TOLERANCE);
}

/* Where everything is ignored there is nothing to learn: no NaN. */
static void
test_all_ignored (gconstpointer text)
{
  g_autoptr (PtTensor) x = pt_tensor_new_shaped (PT_F32,
      &PT_SHAPE (1, 3, 2, 2), NULL);
  g_autoptr (PtTensor) target = pt_tensor_new_shaped (PT_I32,
      &PT_SHAPE (1, 2, 2), NULL);
  g_autoptr (PtTensor) dx = NULL;
  gdouble loss;

  for (guint i = 0; i < 4; i++)
    ((gint32 *) target->data)[i] = -100;
  if (!run_loss (text, x, target, &loss, &dx))
    return;
  g_assert_cmpfloat (loss, ==, 0);
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
  gdouble loss;

  /* frame t at (x + 1) shows what frame t-1 showed at x. */
  for (gint y = 0; y < h; y++)
    for (gint x = 0; x < w; x++) {
      pixels[y * w + x] = sin (0.7 * x * x + y);
      pixels[(h + y) * w + x] = sin (0.7 * (x - 1) * (x - 1) + y);
      ((gfloat *) flow->data)[y * w + x] = 1;
    }
  for (gint y = 0; y < h; y++)  /* where the flow leaves the frame */
    pixels[y * w + w - 1] = pixels[(h + y) * w + w - 1];
  if (run_loss ("optical-flow smoothness=1", flow, frames, &loss, &dx))
    g_assert_cmpfloat_with_epsilon (loss, 2e-3, 1e-6);
}

typedef struct
{
  const gchar *text;
  const gchar *words;
} BadText;

static const BadText bad_texts[] = {
  {"", "unknown loss \"\"|mse|l1|charbonnier|cross-entropy|optical-flow|bce|"
        "focal|ssim"},
  {"huber", "huber|mse|optical-flow"},
  {"mse eps=1", "mse|eps"},
  {"charbonnier eps=0", "charbonnier|eps|0"},
  {"charbonnier eps=nan", "eps|nan"},
  {"charbonnier eps", "eps"},
  {"optical-flow smoothness=-1", "optical-flow|smoothness|-1"},
  {"cross-entropy ignore_index=dog", "ignore_index|dog"},
  {"cross-entropy weight=1;two", "weight|\"1;two\"|finite numbers from 0"},
  {"cross-entropy weight=1;-2", "weight|\"1;-2\"|from 0"},
  {"cross-entropy label_smoothing=1.1", "label_smoothing|\"1.1\"|from 0 to 1"},
  {"cross-entropy gamma=-1", "gamma|\"-1\"|from 0 to 100"},
  {"cross-entropy alpha=1", "unknown key \"alpha\"|ignore_index, weight"},
  {"nll gamma=1", "loss nll|unknown key \"gamma\"|ignore_index, weight"},
  {"bce pos_weight=-1", "bce|pos_weight|\"-1\"|from 0"},
  {"bce gamma=2", "bce|unknown key \"gamma\"|pos_weight"},
  {"focal alpha=2", "focal|alpha|\"2\"|from -1 to 1"},
  {"focal gamma=nan", "focal|gamma|\"nan\"|from 0 to 100"},
  {"ssim window=0", "ssim|window|\"0\"|from 3 to 255"},
  {"ssim window=3.5", "ssim|window|\"3.5\"|whole number"},
  {"ssim sigma=0", "ssim|sigma|\"0\"|from 0.01 to 1000"},
  {"ssim data_range=0", "ssim|data_range|\"0\""},
  {"ssim alpha=1.5", "ssim|alpha|\"1.5\"|from 0 to 1"},
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
  gint code;
} BadShape;

static const BadShape bad_shapes[] = {
  {"mse", {4, {1, 1, 4, 4}}, {4, {1, 1, 4, 5}}, "mse|1x1x4x4|1x1x4x5",
      PT_ERROR_SHAPE},
  {"mse", {2, {1, 16}}, {4, {1, 1, 4, 4}}, "1x16|1x1x4x4",
      PT_ERROR_SHAPE},
  {"optical-flow", {4, {1, 3, 4, 4}}, {4, {1, 2, 4, 4}}, "1x3x4x4|1x2xHxW",
      PT_ERROR_SHAPE},
  {"optical-flow", {2, {1, 2}}, {4, {1, 2, 4, 4}}, "1x2|1x2xHxW",
      PT_ERROR_SHAPE},
  {"optical-flow", {4, {1, 2, 4, 4}}, {4, {1, 3, 4, 4}}, "1x3x4x4|4x4",
      PT_ERROR_SHAPE},
  {"optical-flow", {4, {1, 2, 4, 4}}, {4, {1, 2, 8, 8}}, "1x2x8x8|4x4",
      PT_ERROR_SHAPE},
  {"cross-entropy", {2, {1, 9}}, {2, {1, 9}}, "1x9|shape 1",
      PT_ERROR_SHAPE},
  {"cross-entropy", {4, {1, 5, 4, 3}}, {3, {1, 3, 4}}, "1x3x4|1x4x3",
      PT_ERROR_SHAPE},
  {"cross-entropy", {1, {5}}, {1, {1}}, "shape 5|1xC",
      PT_ERROR_SHAPE},
  {"cross-entropy weight=1;2", {2, {1, 3}}, {1, {1}},
      "weight|found 2 numbers, expected 3|1x3", PT_ERROR_CONFIG},
  {"nll weight=1;2", {2, {1, 3}}, {1, {1}},
      "loss nll|found 2 numbers, expected 3|1x3", PT_ERROR_CONFIG},
  {"nll", {4, {1, 5, 4, 3}}, {3, {1, 3, 4}}, "loss nll|1x3x4|1x4x3",
      PT_ERROR_SHAPE},
  {"bce", {2, {1, 3}}, {2, {1, 4}}, "bce|1x3|1x4", PT_ERROR_SHAPE},
  {"bce pos_weight=1;2", {4, {1, 3, 4, 4}}, {4, {1, 3, 4, 4}},
      "pos_weight|found 2 numbers, expected 1 or 3", PT_ERROR_CONFIG},
  {"focal", {4, {1, 3, 4, 4}}, {4, {1, 1, 4, 4}}, "focal|1x3x4x4|1x1x4x4",
      PT_ERROR_SHAPE},
  {"ssim", {4, {1, 3, 10, 40}}, {4, {1, 3, 10, 40}},
      "ssim|1x3x10x40|at least 11x11", PT_ERROR_SHAPE},
  {"ssim", {4, {1, 3, 20, 40}}, {4, {1, 1, 20, 40}}, "1x3x20x40|1x1x20x40",
      PT_ERROR_SHAPE},
  {"ssim", {2, {1, 40}}, {2, {1, 40}}, "1x40|1xCxHxW", PT_ERROR_SHAPE},
  {"ssim window=8", {4, {1, 3, 20, 40}}, {4, {1, 3, 20, 40}},
      "window|found 8|odd", PT_ERROR_CONFIG},
};

static void
test_bad_shape (gconstpointer data)
{
  const BadShape *item = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  g_autoptr (PtLoss) loss = pt_loss_new (item->text, NULL);
  PtWorkspace workspace;

  pt_workspace_init (&workspace, device, TRUE);
  g_assert_null (pt_loss_plan (loss, &workspace, &item->output, &item->target,
          &error));
  g_assert_error (error, PT_ERROR, item->code);
  assert_says (error->message, item->words);
  pt_workspace_clear (&workspace);
}

/* Values that cannot be learned from are refused before they are pushed. */
typedef struct
{
  const gchar *text;
  PtShape output;
  gdouble value;                /* at the last but one place */
  const gchar *words;           /* NULL: it is accepted */
} TargetCase;

static const TargetCase targets[] = {
  {"cross-entropy", {4, {1, 5, 4, 3}}, 4, NULL},
  {"cross-entropy", {4, {1, 5, 4, 3}}, 5,
      "label 5|row 3, column 1|5 classes|0 to 4|-100"},
  {"cross-entropy", {4, {1, 5, 4, 3}}, -1, "label -1|5 classes"},
  {"cross-entropy", {4, {1, 5, 4, 3}}, -100, NULL},
  {"cross-entropy", {4, {1, 5, 4, 3}}, -2147483648., "label -2147483648"},
  {"cross-entropy ignore_index=255", {4, {1, 5, 4, 3}}, 255, NULL},
  {"cross-entropy ignore_index=255", {4, {1, 5, 4, 3}}, 254,
      "label 254|or 255"},
  {"cross-entropy ignore_index=255", {4, {1, 5, 4, 3}}, -100, "label -100"},
  {"nll", {4, {1, 5, 4, 3}}, 5, "loss nll|label 5|0 to 4"},
  {"bce", {4, {1, 2, 4, 3}}, 1, NULL},
  {"bce", {4, {1, 2, 4, 3}}, 1.5, "bce|1.5|element 22|0 to 1"},
  {"focal", {4, {1, 2, 4, 3}}, -0.25, "focal|-0.25|0 to 1"},
  {"focal", {4, {1, 2, 4, 3}}, NAN, "focal|nan|0 to 1"},
  {"mse", {4, {1, 2, 4, 3}}, 300, NULL},
};

static void
test_check_target (gconstpointer data)
{
  const TargetCase *item = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtLoss) loss = pt_loss_new (item->text, NULL);
  gboolean labels = loss->kind->classes;
  g_autoptr (PtTensor) target = labels ?
      pt_tensor_new_shaped (PT_I32, &PT_SHAPE (1, 4, 3), NULL) :
      pt_tensor_new_shaped (PT_F32, &item->output, NULL);
  gsize at = pt_tensor_get_n_elements (target) - 2;

  if (labels)
    ((gint32 *) target->data)[at] = item->value;
  else
    ((gfloat *) target->data)[at] = item->value;
  g_assert_cmpint (pt_loss_check_target (loss, &item->output, target, &error),
      ==, item->words == NULL);
  if (item->words == NULL) {
    g_assert_no_error (error);
    return;
  }
  g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
  assert_says (error->message, item->words);
}

static PtFlow
push (PtPipeline *pipeline, guint64 f, PtTensor *target, GError **error)
{
  g_autoptr (PtTensor) frame = stream_frame (f);

  return pt_pipeline_push (pipeline, frame, target, 0, error);
}

/* A wrong label in a stream: the push says so, and the stream goes on. */
static void
test_push (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network = stream_network ("exact", "cpu:0", "1");
  g_autoptr (PtTensor) target = pt_tensor_new_shaped (PT_I32,
      &PT_SHAPE (1, STREAM_HEIGHT, STREAM_WIDTH), NULL);
  g_autoptr (PtPipeline) pipeline = NULL;
  StreamSums sums = { 0 };

  pt_network_set (network, "g", "filters", "3", &error);
  g_assert_no_error (error);
  pt_network_set (network, "learning", "loss",
      "cross-entropy ignore_index=255 weight=1;2;0.5", &error);
  g_assert_no_error (error);
  pipeline = stream_start (network);
  for (guint f = 0; f < 3; f++) {
    gint32 *last = (gint32 *) target->data + STREAM_HEIGHT * STREAM_WIDTH - 1;

    *last = 3;
    g_assert_cmpint (push (pipeline, f, target, &error), ==, PT_FLOW_ERROR);
    g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
    assert_says (error->message,
        "pushing a target|label 3|row 9, column 11|3 classes|or 255");
    g_clear_error (&error);
    *last = f == 1 ? 255 : 2;
    g_assert_cmpint (push (pipeline, f, target, &error), ==, PT_FLOW_OK);
    g_assert_no_error (error);
    stream_take (pipeline, &sums);
  }
  g_assert_cmpuint (sums.learned, ==, 3);
  g_assert_cmpuint (sums.invalid, ==, 0);
}

static void
test_registry (void)
{
  g_autofree gchar *text = pt_loss_describe_kinds ();
  g_autoptr (GPtrArray) lines = list_lines ();

  for (guint i = 0; pt_loss_kinds[i] != NULL; i++) {
    const PtLossKind *kind = pt_loss_kinds[i];
    g_autoptr (PtLoss) loss = pt_loss_new (kind->name, NULL);
    guint n_lines = 0;

    g_assert_cmpstr (pt_loss_get_name (loss), ==, kind->name);
    g_assert_cmpint (kind->target, !=, PT_TARGET_AUTO);
    g_assert_nonnull (strstr (text, kind->summary));
    for (const PtParam *p = kind->params; p->key != NULL; p++)
      g_assert_nonnull (strstr (text, p->key));
    for (guint k = 0; k < lines->len; k++)
      n_lines += g_str_has_prefix (lines->pdata[k], kind->name);
    g_assert_cmpuint (n_lines, >, 0);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (GPtrArray) lines = list_lines ();

  op_test_init (&argc, &argv);
  g_test_add_func ("/losses/registry", test_registry);
  g_test_add_func ("/losses/push", test_push);
  for (guint i = 0; i < lines->len; i++) {
    g_autofree gchar *path =
        g_strdup_printf ("/losses/golden/%s", (gchar *) lines->pdata[i]);

    g_test_add_data_func (path, lines->pdata[i], test_golden);
  }
  for (guint i = 0; i < G_N_ELEMENTS (targets); i++) {
    g_autofree gchar *path = g_strdup_printf ("/losses/check-target/%u", i);

    g_test_add_data_func (path, &targets[i], test_check_target);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad_texts); i++) {
    g_autofree gchar *path = g_strdup_printf ("/losses/bad-text/%u", i);

    g_test_add_data_func (path, &bad_texts[i], test_bad_text);
  }
  for (guint i = 0; i < G_N_ELEMENTS (bad_shapes); i++) {
    g_autofree gchar *path = g_strdup_printf ("/losses/bad-shape/%u", i);

    g_test_add_data_func (path, &bad_shapes[i], test_bad_shape);
  }
  g_test_add_data_func ("/losses/all-ignored/cross-entropy", "cross-entropy",
      test_all_ignored);
  g_test_add_data_func ("/losses/all-ignored/nll", "nll", test_all_ignored);
  g_test_add_func ("/losses/flow-direction", test_flow_direction);
  return g_test_run ();
}
