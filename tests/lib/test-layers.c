/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every kind in the registry, on every sample it declares. */

#include "layer-rig.h"

typedef struct
{
  const PtLayerKind *kind;
  const gchar *sample;
  gchar *line;                  /* its name in the golden file */
} Case;

/* What dropout drops is random: it has tests of its own. */
static gboolean
case_is_random (const Case *item)
{
  return g_str_equal (item->kind->name, "dropout") &&
      !g_str_has_suffix (item->sample, " p=0");
}

static void
test_golden (gconstpointer data)
{
  const Case *item = data;
  g_autoptr (Rig) rig = rig_new (item->kind, item->sample, TRUE);
  const PtLayer *layer;
  g_autoptr (PtTensor) y = NULL;

  if (rig == NULL)
    return;
  layer = rig->layer;
  rig_load (rig, item->line);
  rig_forward (rig);
  y = rig_download (rig, rig->args.y);
  assert_close (y, golden_find (item->line, "y"), FORWARD_TOLERANCE);
  rig_backward (rig);
  for (guint i = 0; i < layer->n_inputs; i++) {
    g_autoptr (PtTensor) dx = rig_download (rig, rig->args.dx[i]);

    assert_close (dx, golden_find (item->line, "dx%u", i),
        GRADIENT_TOLERANCE);
  }
  for (guint i = 0; i < layer->n_weights; i++) {
    const gchar *name = layer->weights[i].name;
    gboolean learned = layer->weights[i].learned;
    g_autoptr (PtTensor) w =
        rig_unpack (rig, i, learned ? rig->args.dw[i] : rig->args.w[i]);

    assert_close (w, golden_find (item->line, learned ? "d.%s" : "after.%s",
            name), learned ? GRADIENT_TOLERANCE : FORWARD_TOLERANCE);
  }
}

/* sum (y * dy), whose gradient the layer computes. */
static gdouble
rig_objective (Rig *rig, const PtTensor *dy)
{
  g_autoptr (PtTensor) y = NULL;
  gdouble sum = 0;

  rig_forward (rig);
  y = rig_download (rig, rig->args.y);
  for (gsize i = 0; i < pt_tensor_get_n_elements (y); i++)
    sum += (gdouble) ((gfloat *) y->data)[i] * ((gfloat *) dy->data)[i];
  return sum;
}

/* The place of input @at, or of weight @at - n_inputs. */
static void
rig_put (Rig *rig, guint at, const PtTensor *host)
{
  if (at < rig->layer->n_inputs)
    rig_upload (rig, rig->args.x[at], host);
  else
    rig_pack (rig, at - rig->layer->n_inputs, host);
}

/* Step of the differences: small against the curvature, large against the
 * rounding of float32 sums, which is about 1e-6. */
#define STEP 2e-3
#define DIFFERENCE_TOLERANCE 5e-3

/* A bend of relu or max within a step leaves the difference on its other
 * side right; with bends on both sides none is, which is rare. */
static void
check_differences (Rig *rig, guint at, PtTensor *host,
    const PtTensor *gradient, const PtTensor *dy)
{
  gsize n = pt_tensor_get_n_elements (host), misses = 0;
  gfloat *v = host->data;
  const gfloat *g = gradient->data;
  gdouble middle = rig_objective (rig, dy), scale = 1;

  for (gsize i = 0; i < n; i++)
    scale = MAX (scale, fabs (g[i]));
  for (gsize i = 0; i < n; i++) {
    gfloat kept = v[i], high = kept + STEP, low = kept - STEP;
    gdouble up, down, error;

    v[i] = high;
    rig_put (rig, at, host);
    up = rig_objective (rig, dy);
    v[i] = low;
    rig_put (rig, at, host);
    down = rig_objective (rig, dy);
    v[i] = kept;
    error = fabs ((up - down) / ((gdouble) high - low) - g[i]);
    error = MIN (error, fabs ((up - middle) / ((gdouble) high - kept) - g[i]));
    error = MIN (error, fabs ((middle - down) / ((gdouble) kept - low) -
            g[i]));
    misses += error > DIFFERENCE_TOLERANCE * scale;
  }
  rig_put (rig, at, host);
  g_assert_cmpuint (misses, <=, n / 50);
}

static void
test_differences (gconstpointer data)
{
  const Case *item = data;
  g_autoptr (Rig) rig = rig_new (item->kind, item->sample, TRUE);
  const PtLayer *layer;
  g_autoptr (PtTensor) dy = NULL;

  if (rig == NULL)
    return;
  layer = rig->layer;
  dy = rig_input (item->line, "dy", &layer->output);
  rig_load (rig, item->line);
  rig_forward (rig);
  rig_backward (rig);
  for (guint i = 0; i < layer->n_inputs; i++) {
    g_autoptr (PtTensor) x = rig_download (rig, rig->args.x[i]);
    g_autoptr (PtTensor) dx = rig_download (rig, rig->args.dx[i]);

    check_differences (rig, i, x, dx, dy);
  }
  for (guint i = 0; i < layer->n_weights; i++)
    if (layer->weights[i].learned) {
      g_autoptr (PtTensor) w = rig_unpack (rig, i, rig->args.w[i]);
      g_autoptr (PtTensor) dw = rig_unpack (rig, i, rig->args.dw[i]);

      check_differences (rig, layer->n_inputs + i, w, dw, dy);
    }
}

/* The same numbers from another plan, bit for bit. */
static void
test_repeat (gconstpointer data)
{
  const Case *item = data;
  g_autoptr (GByteArray) first = NULL, second = NULL;

  for (guint i = 0; i < 2; i++) {
    g_autoptr (Rig) rig = rig_new (item->kind, item->sample, TRUE);
    GByteArray *bytes;

    if (rig == NULL)
      return;
    rig_load (rig, item->line);
    rig_forward (rig);
    rig_backward (rig);
    bytes = rig_gradients (rig);
    rig_append (rig, bytes, rig->args.y);
    *(i ? &second : &first) = bytes;
  }
  g_assert_true (bytes_equal (first, second));
}

/* Runs forward on other tensors with other numbers. */
static void
rig_forward_elsewhere (Rig *rig)
{
  const PtLayer *layer = rig->layer;
  PtLayerArgs kept = rig->args;

  for (guint i = 0; i < layer->n_inputs; i++) {
    g_autoptr (PtTensor) x = random_tensor (&layer->inputs[i], "elsewhere");

    rig->args.x[i] = rig_tensor_new (rig, PT_F32, &layer->inputs[i]);
    rig_upload (rig, rig->args.x[i], x);
  }
  for (guint i = 0; i < layer->n_saved; i++)
    rig->args.saved[i] = rig_tensor_new (rig, layer->saved[i].dtype,
        &layer->saved[i].shape);
  rig->args.y = rig_tensor_new (rig, PT_F32, &layer->output);
  rig->args.seed = 8;
  rig_forward (rig);
  for (guint i = 0; i < layer->n_inputs; i++)
    pt_tensor_unref (rig->args.x[i]);
  for (guint i = 0; i < layer->n_saved; i++)
    pt_tensor_unref (rig->args.saved[i]);
  pt_tensor_unref (rig->args.y);
  rig->args = kept;
}

/* A gradient that arrives frames later meets its own frame's tensors. */
static void
test_pure (gconstpointer data)
{
  const Case *item = data;
  g_autoptr (Rig) rig = rig_new (item->kind, item->sample, TRUE);
  g_autoptr (GByteArray) now = NULL, later = NULL;

  if (rig == NULL)
    return;
  rig_load (rig, item->line);
  rig_forward (rig);
  rig_backward (rig);
  now = rig_gradients (rig);
  rig_load (rig, item->line);
  rig_forward (rig);
  rig_forward_elsewhere (rig);
  rig_backward (rig);
  later = rig_gradients (rig);
  g_assert_true (bytes_equal (now, later));
}

/* Whether backward's result hangs on x (or else y). */
static gboolean
rig_reads (Rig *rig, const gchar *line, gboolean x, const GByteArray *clean)
{
  g_autoptr (GByteArray) found = NULL;

  rig_load (rig, line);
  rig_forward (rig);
  for (guint i = 0; x && i < rig->layer->n_inputs; i++)
    op_test_unset_bytes (rig->device, rig->args.x[i]);
  if (!x)
    op_test_unset_bytes (rig->device, rig->args.y);
  rig_backward (rig);
  found = rig_gradients (rig);
  return !bytes_equal (clean, found);
}

/* The engine takes memory back by these flags: neither less nor more. */
static void
test_uses (gconstpointer data)
{
  const Case *item = data;
  g_autoptr (Rig) rig = rig_new (item->kind, item->sample, TRUE);
  g_autoptr (GByteArray) clean = NULL;

  if (rig == NULL)
    return;
  rig_load (rig, item->line);
  rig_forward (rig);
  rig_backward (rig);
  clean = rig_gradients (rig);
  g_assert_cmpint (rig_reads (rig, item->line, TRUE, clean), ==,
      rig->layer->backward_uses_x);
  g_assert_cmpint (rig_reads (rig, item->line, FALSE, clean), ==,
      rig->layer->backward_uses_y);
}

/* Weight gradients are the same when nobody wants those of the inputs. */
static void
test_no_dx (gconstpointer data)
{
  const Case *item = data;
  g_autoptr (Rig) rig = rig_new (item->kind, item->sample, TRUE);
  g_autoptr (GByteArray) wanted = g_byte_array_new ();
  g_autoptr (GByteArray) found = g_byte_array_new ();

  for (guint pass = 0; rig != NULL && pass < 2; pass++) {
    rig_load (rig, item->line);
    rig_forward (rig);
    if (pass == 1)
      for (guint i = 0; i < rig->layer->n_inputs; i++)
        g_clear_pointer (&rig->args.dx[i], pt_tensor_unref);
    rig_backward (rig);
    for (guint i = 0; i < rig->layer->n_weights; i++)
      rig_append (rig, pass ? found : wanted, rig->args.dw[i]);
  }
  g_assert_true (bytes_equal (wanted, found));
}

/* Without learning: no saved tensors, fused activations, the same numbers,
 * and no weight or running statistic moves. */
static void
test_inference (gconstpointer data)
{
  const Case *item = data;
  g_autoptr (Rig) rig = rig_new (item->kind, item->sample, FALSE);
  g_autoptr (Rig) other = rig_new (item->kind, item->sample, TRUE);
  g_autoptr (Rig) fresh = rig_new (item->kind, item->sample, TRUE);
  g_autoptr (PtTensor) y = NULL, expected = NULL;

  if (rig == NULL || other == NULL)
    return;
  rig_load (fresh, item->line);
  rig_load (rig, item->line);
  rig_forward (rig);
  y = rig_download (rig, rig->args.y);
  rig_load (other, item->line);
  other->args.learning = FALSE;
  rig_forward (other);
  expected = rig_download (other, other->args.y);
  assert_close (y, expected, 1e-6);
  for (guint i = 0; i < rig->layer->n_weights; i++) {
    g_autoptr (PtTensor) before = rig_unpack (fresh, i, fresh->args.w[i]);
    g_autoptr (PtTensor) after = rig_unpack (rig, i, rig->args.w[i]);
    g_autoptr (PtTensor) idle = rig_unpack (other, i, other->args.w[i]);

    g_assert_cmpmem (before->data, before->size, after->data, after->size);
    g_assert_cmpmem (before->data, before->size, idle->data, idle->size);
  }
}

/* An option says what its weights are at first. */
static gboolean
init_is_constant (const PtLayerKind *kind)
{
  return pt_params_find (kind->params, "value") != NULL
      || pt_params_find (kind->params, "init") != NULL;
}

/* First values: the same whoever asks, others for other names and seeds, and
 * PyTorch's bounds. */
static void
test_init (gconstpointer data)
{
  const Case *item = data;
  /* these begin with ones and zeros, or a grid */
  const gboolean is_fixed = g_str_has_suffix (item->kind->name, "-norm") ||
      g_str_equal (item->kind->name, "grid-sample");
  g_autoptr (GError) error = NULL;
  g_autoptr (PtLayer) a = layer_from_sample (item->kind, item->sample, &error);
  g_autoptr (PtLayer) b = layer_from_sample (item->kind, item->sample, &error);

  g_assert_no_error (error);
  g_assert_true (pt_layer_infer (a, NULL) && pt_layer_infer (b, NULL));
  g_free (b->name);
  b->name = g_strdup ("other");
  for (guint i = 0; i < a->n_weights; i++) {
    gsize n = pt_shape_get_n_elements (&a->weights[i].shape);
    gsize size = n * sizeof (gfloat);
    g_autofree gfloat *first = g_malloc (size), *again = g_malloc (size);
    g_autofree gfloat *named = g_malloc (size), *seeded = g_malloc (size);
    gdouble fan_in = is_fixed ? 1 :
        pt_shape_get_n_elements (&a->weights[0].shape) /
        (gdouble) a->weights[0].shape.dims[0];

    pt_layer_init_weight (a, i, first, 1);
    pt_layer_init_weight (a, i, again, 1);
    pt_layer_init_weight (b, i, named, 1);
    pt_layer_init_weight (a, i, seeded, 2);
    g_assert_cmpmem (first, size, again, size);
    if (init_is_constant (item->kind)) {
      for (gsize k = 0; k < n; k++)
        g_assert_cmpfloat (first[k], ==, first[0]);
      continue;
    }
    if (a->weights[0].shape.n_dims > 1 && !is_fixed) {
      g_assert_cmpint (memcmp (first, named, size), !=, 0);
      g_assert_cmpint (memcmp (first, seeded, size), !=, 0);
    }
    for (gsize k = 0; k < n; k++)
      g_assert_cmpfloat (fabs (first[k]), <=, 1 / sqrt (fan_in) + 1e-7);
  }
}

/* dropout: which elements go is random, how many and what stays is not. */
static void
test_dropout (void)
{
  const PtLayerKind *kind = pt_layer_kind_find ("dropout");
  g_autoptr (Rig) rig = rig_new (kind, "in=1x100x10x10 p=0.3", TRUE);
  g_autofree gfloat *x = NULL, *y = NULL, *dy = NULL, *dx = NULL;
  g_autofree gfloat *kept = NULL, *passed = NULL;
  guint dropped = 0;

  if (rig == NULL)
    return;
  rig_load (rig, "dropout");
  rig_forward (rig);
  rig_backward (rig);
  x = op_test_read_bytes (rig->device, rig->args.x[0]);
  y = op_test_read_bytes (rig->device, rig->args.y);
  dy = op_test_read_bytes (rig->device, rig->args.dy);
  dx = op_test_read_bytes (rig->device, rig->args.dx[0]);
  for (guint i = 0; i < 10000; i++) {
    gboolean gone = dx[i] == 0;

    dropped += gone;
    g_assert_cmpfloat_with_epsilon (y[i], gone ? 0 : x[i] / 0.7f, 1e-5);
    g_assert_cmpfloat_with_epsilon (dx[i], gone ? 0 : dy[i] / 0.7f, 1e-5);
  }
  /* Five standard deviations of the binomial: sqrt (10000 * 0.3 * 0.7). */
  g_assert_cmpint (abs ((int) dropped - 3000), <, 5 * 46);

  rig->args.learning = FALSE;
  rig_forward (rig);
  rig_backward (rig);
  kept = op_test_read_bytes (rig->device, rig->args.y);
  passed = op_test_read_bytes (rig->device, rig->args.dx[0]);
  g_assert_cmpmem (x, 40000, kept, 40000);
  g_assert_cmpmem (passed, 40000, dy, 40000);
}

/* Another frame drops others; the same frame the same. */
static void
test_dropout_seed (void)
{
  const PtLayerKind *kind = pt_layer_kind_find ("dropout");
  g_autoptr (Rig) rig = rig_new (kind, "in=1x100x10x10", TRUE);
  g_autofree gpointer first = NULL, other = NULL, again = NULL;
  gsize size;

  if (rig == NULL)
    return;
  size = rig->args.y->size;
  rig_load (rig, "dropout");
  rig_forward (rig);
  first = op_test_read_bytes (rig->device, rig->args.y);
  rig->args.seed++;
  rig_forward (rig);
  other = op_test_read_bytes (rig->device, rig->args.y);
  g_assert_cmpint (memcmp (first, other, size), !=, 0);
  rig->args.seed--;
  rig_forward (rig);
  again = op_test_read_bytes (rig->device, rig->args.y);
  g_assert_cmpmem (first, size, again, size);
}

typedef struct
{
  const gchar *kind;
  const gchar *sample;
  PtError code;
  const gchar *words;           /* parts of the message, between | */
} BadCase;

static const BadCase bad_cases[] = {
  {"conv2d", "in=1x3x5x5 filters=0 kernel=3", PT_ERROR_CONFIG, "filters|0"},
  {"conv2d", "in=1x3x5x5 filters=-4 kernel=3", PT_ERROR_CONFIG, "filters|-4"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=x", PT_ERROR_CONFIG, "kernel|x"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=3 size=2", PT_ERROR_CONFIG, "size"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=3 activation=swish",
      PT_ERROR_CONFIG, "activation|swish|relu"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=3 stride=0", PT_ERROR_CONFIG,
      "stride|0"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=7", PT_ERROR_SHAPE,
      "kernel=7;7|7x7|5x5"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=3 dilation=4 padding=1",
      PT_ERROR_SHAPE, "9x9|7x7"},
  {"conv2d", "in=1x3x5x5 filters=4 kernel=3 groups=2", PT_ERROR_SHAPE,
      "groups=2|3|filters=4"},
  {"conv2d", "in=1x75 filters=4 kernel=3", PT_ERROR_SHAPE, "1x75|1xCxHxW"},
  {"conv2d", "in=1x65536x8x8 filters=65536 kernel=3", PT_ERROR_SHAPE,
      "weight|65536x65536x3x3"},
  {"conv2d", "in=1x3x30000x30000 filters=64 kernel=1", PT_ERROR_SHAPE,
      "1x3x30000x30000"},
  {"conv2d", "in=1x1x30000x30000 filters=64 kernel=1", PT_ERROR_SHAPE,
      "output|1x64x30000x30000"},
  {"conv2d", "in=2x3x5x5 filters=4 kernel=1", PT_ERROR_SHAPE, "2x3x5x5"},
  {"conv2d", "in=1x3x5x5,1x3x5x5 filters=4 kernel=1", PT_ERROR_CONFIG,
      "2 inputs|expected 1"},
  {"linear", "in=1x3x5x5 units=4", PT_ERROR_SHAPE, "1x3x5x5|flatten"},
  {"linear", "in=1x9 units=0", PT_ERROR_CONFIG, "units|0"},
  {"leaky-relu", "in=1x9 negative_slope=-1", PT_ERROR_CONFIG,
      "negative_slope|-1"},
  {"gelu", "in=1x9 approximate=erf", PT_ERROR_CONFIG, "approximate|erf|tanh"},
  {"max-pool2d", "in=1x3x5x5 kernel=6", PT_ERROR_SHAPE, "kernel=6;6|5x5"},
  {"max-pool2d", "in=1x3x5x5 kernel=2 padding=2", PT_ERROR_SHAPE,
      "padding=2;2|kernel=2;2"},
#include "bad-windows.h"
  {"avg-pool2d", "in=1x3 kernel=2", PT_ERROR_SHAPE, "1x3|1xCxHxW"},
  {"global-avg-pool", "in=1x3", PT_ERROR_SHAPE, "1x3|1xCxHxW"},
  {"upsample", "in=1x3x4x4 scale=0", PT_ERROR_CONFIG, "scale|0"},
  {"upsample", "in=1x3x4096x4096 scale=1000", PT_ERROR_SHAPE,
      "output|1x3x4096000x4096000"},
  {"concat", "in=1x3x4x4", PT_ERROR_CONFIG, "1 input|expected 2 to 8"},
  {"concat", "in=1x3x4x4,1x3x4x5", PT_ERROR_SHAPE, "1x3x4x4|1x3x4x5"},
  {"concat", "in=1x3x4x4,1x3", PT_ERROR_SHAPE, "1x3x4x4|input 1 has shape 1x3"},
  {"slice", "in=1x3x4x4 start=2 length=2", PT_ERROR_SHAPE,
      "start=2|length=2|the 3 of axis 1"},
  {"slice", "in=1x3x4x4 start=-4 length=1", PT_ERROR_SHAPE, "start=-4"},
  {"slice", "in=1x3x4x4 length=0", PT_ERROR_CONFIG, "length|0"},
  {"add", "in=1x3x4x4,1x4x4x4", PT_ERROR_SHAPE, "1x3x4x4|1x4x4x4"},
  {"batch-norm", "in=1x3x1x1", PT_ERROR_SHAPE, "statistics=batch|1x1"},
  {"batch-norm", "in=1x3x4x4 eps=0", PT_ERROR_CONFIG, "eps|0"},
  {"dropout", "in=1x3x4x4 p=1.5", PT_ERROR_CONFIG, "p|1.5"},
  {"relu", "in=1x0x4x4", PT_ERROR_SHAPE, "1x0x4x4"},
  {"relu", "in=1x3x4x4 slope=1", PT_ERROR_CONFIG, "slope"},
};

static void
test_bad (gconstpointer data)
{
  const BadCase *item = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (PtLayer) layer =
      layer_from_sample (pt_layer_kind_find (item->kind), item->sample,
      &error);

  if (layer != NULL)
    g_assert_false (pt_layer_infer (layer, &error));
  g_assert_error (error, PT_ERROR, (gint) item->code);
  assert_says (error->message, item->words);
}

static void
test_registry (void)
{
  for (guint i = 0; pt_layer_kinds[i] != NULL; i++) {
    const PtLayerKind *kind = pt_layer_kinds[i];

    g_assert_true (pt_layer_kind_find (kind->name) == kind);
    g_assert_nonnull (strstr (kind->summary, "torch."));
    g_assert_nonnull (kind->samples[0]);
    for (guint k = 0; kind->params[k].key != NULL; k++)
      g_assert_nonnull (kind->params[k].help);
  }
  g_assert_null (pt_layer_kind_find ("conv3d"));
}

/* 2 * 4 filters * (3 * 3 * 3) * (5 * 4) pixels, and the numbers learned. */
static void
test_counts (void)
{
  g_autoptr (PtLayer) layer = layer_from_sample (pt_layer_kind_find ("conv2d"),
      "in=1x3x7x6 filters=4 kernel=3", NULL);
  g_autoptr (PtLayer) norm =
      layer_from_sample (pt_layer_kind_find ("batch-norm"), "in=1x3x5x4",
      NULL);

  g_assert_true (pt_layer_infer (layer, NULL) && pt_layer_infer (norm, NULL));
  g_assert_cmpfloat (pt_layer_get_flops (layer), ==, 4320);
  g_assert_cmpuint (pt_layer_count_parameters (layer), ==, 4 * 27 + 4);
  g_assert_cmpuint (pt_layer_count_parameters (norm), ==, 6);
}

static void
add_case (const Case *item, const gchar *test, GTestDataFunc func)
{
  g_autofree gchar *path = g_strdup_printf ("/layers/%s/%s/%s",
      item->kind->name, test, item->sample);

  g_test_add_data_func (path, item, func);
}

static void
case_free (gpointer data)
{
  Case *item = data;

  g_free (item->line);
  g_free (item);
}

static void
add_cases (const PtLayerKind *kind, GPtrArray *cases)
{
  for (guint i = 0; kind->samples[i] != NULL; i++) {
    Case *item = g_new0 (Case, 1);

    g_ptr_array_add (cases, item);
    item->kind = kind;
    item->sample = kind->samples[i];
    item->line = g_strdup_printf ("%s %s", kind->name, item->sample);
    if (!case_is_random (item))
      add_case (item, "golden", test_golden);
    add_case (item, "differences", test_differences);
    add_case (item, "repeat", test_repeat);
    add_case (item, "pure", test_pure);
    add_case (item, "uses", test_uses);
    add_case (item, "no-dx", test_no_dx);
    add_case (item, "inference", test_inference);
    add_case (item, "init", test_init);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (GPtrArray) cases = g_ptr_array_new_with_free_func (case_free);

  op_test_init (&argc, &argv);
  g_test_add_func ("/layers/registry", test_registry);
  g_test_add_func ("/layers/counts", test_counts);
  for (guint i = 0; i < G_N_ELEMENTS (bad_cases); i++) {
    g_autofree gchar *path = g_strdup_printf ("/layers/%s/bad/%s",
        bad_cases[i].kind, bad_cases[i].sample);

    g_test_add_data_func (path, &bad_cases[i], test_bad);
  }
  for (guint i = 0; pt_layer_kinds[i] != NULL; i++)
    add_cases (pt_layer_kinds[i], cases);
  g_test_add_func ("/layers/dropout/kept-and-dropped", test_dropout);
  g_test_add_func ("/layers/dropout/seed", test_dropout_seed);
  return g_test_run ();
}
