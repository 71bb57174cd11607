/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What surrounds cuDNN's plans: 16 bits, bias, activation, and our own
 * kernels where there is no plan. */

#include <math.h>
#include <string.h>

#include "conv-cases.h"
#include "device/cuda/conv.h"
#include "emulation.h"
#include "fake-plan.h"
#include "op-test.h"
#include "stream.h"

/* Half of the last bit. */
#define UNIT(precision) ((precision) == PT_PRECISION_BF16 ? 1 / 256. : \
    (precision) == PT_PRECISION_FP16 ? 1 / 2048. : 1e-5)

static const ConvCase small[] = {
  {"plain", {6, 9, 11}, 8, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"relu", {5, 9, 11}, 7, CONV (3, 3, 2, 1, 1, 1, 1, 1, 1, 1, RELU)},
  {"relu-only", {5, 9, 11}, 7, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 0, RELU)},
  {"gelu", {4, 8, 8}, 4, CONV (5, 5, 1, 1, 2, 2, 1, 1, 2, 1, GELU)},
  {"leaky", {3, 9, 11}, 4, CONV (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, LEAKY_RELU)},
  {"add", {6, 9, 11}, 8, CONV_ADD (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, RELU)},
  {"add-none", {6, 9, 11}, 8, CONV_ADD (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, NONE)},
  {"add-only", {5, 9, 11}, 7, CONV_ADD (3, 3, 2, 1, 1, 1, 1, 1, 1, 0, RELU)},
  {"add-tanh", {4, 8, 8}, 4, CONV_ADD (5, 5, 1, 1, 2, 2, 1, 1, 2, 1, TANH)},
  {"depthwise", {6, 9, 11}, 6, CONV (3, 3, 1, 1, 1, 1, 1, 1, 6, 1, TANH)},
};

/* One layer, its three operations, and what goes in and comes out. */
typedef struct
{
  const PtConvDesc *conv;
  RefSize in, out;
  PtShape sx, sy, sw, sb;
  gsize nx, ny, nw;
  PtDevice *device;
  PtWorkspace workspace;
  PtOp *ops[3];
  gdouble *x, *w, *b, *dy, *add;
  PtTensor *tx, *tw, *tb, *tadd, *ty, *tdy, *tdx, *tdw, *tdb;
} Layer;

static void
layer_plan (Layer *layer, PtPrecision precision)
{
  g_autoptr (GError) error = NULL;
  PtOpDesc desc = {.x = layer->sx,.y = layer->sy,.training = TRUE,
    .conv = *layer->conv
  };

  pt_workspace_init (&layer->workspace, layer->device, TRUE);
  layer->workspace.precision = precision;
  for (guint i = 0; i < 3; i++) {
    desc.type = PT_OP_CONV + i;
    layer->ops[i] = pt_op_new (&layer->workspace, &desc, &error);
    g_assert_no_error (error);
  }
  pt_workspace_ready (&layer->workspace, &error);
  g_assert_no_error (error);
}

static void
layer_init (Layer *layer, const ConvCase *test, PtPrecision precision)
{
  const PtConvDesc *conv = &test->conv;
  RefSize in = test->in, out = { test->out_c, conv_size (conv, in.h, 0),
    conv_size (conv, in.w, 1)
  };

  *layer = (Layer) { conv, in, out, PT_SHAPE (1, in.c, in.h, in.w),
    PT_SHAPE (1, out.c, out.h, out.w), PT_SHAPE (out.c, in.c / conv->groups,
        conv->kernel[0], conv->kernel[1]), PT_SHAPE (out.c)
  };
  layer->nx = pt_shape_get_n_elements (&layer->sx);
  layer->ny = pt_shape_get_n_elements (&layer->sy);
  layer->nw = pt_shape_get_n_elements (&layer->sw);
  layer->device = op_test_device (NULL);
  layer_plan (layer, precision);
  layer->x = op_test_random (layer->nx, 1);
  layer->w = op_test_random (layer->nw, 2);
  layer->b = op_test_random (out.c, 3);
  layer->dy = op_test_random (layer->ny, 4);
  layer->add = op_test_random (layer->ny, 5);
  layer->tadd = op_test_tensor (layer->device, &layer->sy, layer->add);
  layer->tx = op_test_tensor (layer->device, &layer->sx, layer->x);
  layer->tb = op_test_tensor (layer->device, &layer->sb, layer->b);
  layer->tdy = op_test_tensor (layer->device, &layer->sy, layer->dy);
  layer->tw = op_test_unset (layer->device, &layer->sw);
  layer->ty = op_test_unset (layer->device, &layer->sy);
  layer->tdx = op_test_unset (layer->device, &layer->sx);
  layer->tdw = op_test_unset (layer->device, &layer->sw);
  layer->tdb = op_test_unset (layer->device, &layer->sb);
}

static void
layer_clear (Layer *layer)
{
  PtTensor *tensors[] = { layer->tx, layer->tw, layer->tb, layer->tadd,
    layer->ty, layer->tdy, layer->tdx, layer->tdw, layer->tdb
  };
  gdouble *values[] = { layer->x, layer->w, layer->b, layer->dy, layer->add
  };

  for (guint i = 0; i < G_N_ELEMENTS (layer->ops); i++)
    pt_op_free (layer->ops[i]);
  for (guint i = 0; i < G_N_ELEMENTS (tensors); i++)
    pt_tensor_unref (tensors[i]);
  for (guint i = 0; i < G_N_ELEMENTS (values); i++)
    g_free (values[i]);
  pt_workspace_clear (&layer->workspace);
  pt_device_unref (layer->device);
}

static void
layer_run (Layer *layer)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) w = op_test_host (&layer->sw, layer->w);
  PtOpArgs args = {.x = layer->tx,.w = layer->tw,.y = layer->ty,
    .b = layer->conv->bias ? layer->tb : NULL,
    .add = layer->conv->add ? layer->tadd : NULL
  };

  pt_op_pack (layer->ops[0], w, layer->tw, &error);
  g_assert_no_error (error);
  op_test_run (layer->ops[0], &args);
  args = (PtOpArgs) {.dy = layer->tdy,.w = layer->tw,.dx = layer->tdx };
  op_test_run (layer->ops[1], &args);
  args = (PtOpArgs) {.x = layer->tx,.dy = layer->tdy,.dw = layer->tdw,
    .db = layer->conv->bias ? layer->tdb : NULL
  };
  op_test_run (layer->ops[2], &args);
}

static gdouble *
layer_unpack (Layer *layer)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) host = op_test_host (&layer->sw, NULL);
  gdouble *dw = g_new (gdouble, layer->nw);

  pt_op_unpack (layer->ops[0], layer->tdw, host, &error);
  g_assert_no_error (error);
  for (gsize i = 0; i < layer->nw; i++)
    dw[i] = ((gfloat *) host->data)[i];
  return dw;
}

static void
layer_compare (Layer *layer, gdouble tolerance)
{
  const PtConvDesc *conv = layer->conv;
  RefSize in = layer->in, out = layer->out;
  g_autofree gdouble *want_y = g_new (gdouble, layer->ny);
  g_autofree gdouble *want_dx = g_new (gdouble, layer->nx);
  g_autofree gdouble *want_dw = g_new (gdouble, layer->nw);
  g_autofree gdouble *want_db = g_new (gdouble, out.c);
  g_autofree gdouble *y = op_test_read (layer->device, layer->ty);
  g_autofree gdouble *dx = op_test_read (layer->device, layer->tdx);
  g_autofree gdouble *dw = layer_unpack (layer);
  g_autofree gdouble *db = op_test_read (layer->device, layer->tdb);

  ref_conv (conv, in, out, layer->x, layer->w, conv->bias ? layer->b : NULL,
      conv->add ? layer->add : NULL, want_y);
  ref_conv_data (conv, in, out, layer->dy, layer->w, want_dx);
  ref_conv_weights (conv, in, out, layer->x, layer->dy, want_dw, want_db);
  op_test_near ("y", y, want_y, layer->ny, tolerance);
  op_test_near ("dx", dx, want_dx, layer->nx, tolerance);
  op_test_near ("dw", dw, want_dw, layer->nw, tolerance);
  if (conv->bias)
    op_test_near ("db", db, want_db, out.c, 1e-5);
}

static void
check_layer (const ConvCase *test, PtPrecision precision)
{
  Layer layer;

  layer_init (&layer, test, precision);
  layer_run (&layer);
  layer_compare (&layer, UNIT (precision));
  layer_clear (&layer);
}

static void
test_precision (gconstpointer precision)
{
  for (guint i = 0; i < G_N_ELEMENTS (small); i++) {
    gboolean depthwise = small[i].in.c == small[i].conv.groups;

    fake_plan = (FakePlan) { FALSE, 0, 0 };
    check_layer (&small[i], GPOINTER_TO_UINT (precision));
    g_assert_cmpuint (fake_plan.n_plans, ==, depthwise ? 0 : 3);
    g_assert_cmpuint (fake_plan.n_runs, ==, depthwise ? 0 : 3);
  }
}

/* No plan: the same numbers, from our own kernels, in single precision. */
static void
test_direct (void)
{
  fake_plan = (FakePlan) { TRUE, 0, 0 };
  for (guint i = 0; i < G_N_ELEMENTS (small); i++)
    check_layer (&small[i], PT_PRECISION_FP32);
  g_assert_cmpuint (fake_plan.n_runs, ==, 0);
  fake_plan.none = FALSE;
}

/* Floats around each of 16 bits, and half way to the next. */
static gfloat *
get_floats (PtPrecision precision, gint64 *n)
{
  gfloat *floats = g_new (gfloat, 4 << 16);

  *n = 0;
  for (guint bits = 0; bits <= 0xffff; bits++) {
    gdouble x = fake_widen (precision, bits);
    gdouble next = fake_widen (precision, bits + 1);
    gfloat half = (x + next) / 2;

    floats[(*n)++] = x;
    floats[(*n)++] = half;
    floats[(*n)++] = nextafterf (half, 0);
    floats[(*n)++] = nextafterf (half, 2 * half);
  }
  return floats;
}

/* Every value of 16 bits there and back, and every border between two. */
static void
test_cast (gconstpointer data)
{
  PtPrecision precision = GPOINTER_TO_UINT (data);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  PtCudaProduct product = {.graph = {.y = {1, 1, 1, 1},
      .precision = precision} };
  PtWorkspace workspace;
  PtOp op = {.workspace = &workspace };
  gint64 n;
  g_autofree gfloat *floats = get_floats (precision, &n);
  PtShape shape = PT_SHAPE (n);
  g_autoptr (PtTensor) from = pt_device_tensor_new (device, PT_F32, &shape,
      &error);
  g_autoptr (PtTensor) to = pt_device_tensor_new (device, PT_F32, &shape,
      &error);
  g_autoptr (PtTensor) narrow = pt_device_bytes_new (device, 2 * n, &error);
  g_autofree guint16 *halves = NULL;
  g_autofree gfloat *back = NULL;

  g_assert_no_error (error);
  pt_workspace_init (&workspace, device, FALSE);
  op_test_write_bytes (device, from, floats);
  pt_cuda_narrow (&op, precision, 1, n, from->data, narrow->data, &error);
  g_assert_no_error (error);
  pt_cuda_widen (&op, &product, 1, n, narrow->data, NULL, NULL,
      to->data, &error);
  g_assert_no_error (error);
  halves = op_test_read_bytes (device, narrow);
  back = op_test_read_bytes (device, to);
  for (gint64 i = 0; i < n; i++) {
    guint16 want = fake_narrow (precision, floats[i]);

    if (isnan (floats[i])) {
      g_assert_true (isnan (back[i]));
      continue;
    }
    g_assert_cmphex (halves[i], ==, want);
    g_assert_cmpfloat (back[i], ==, (gfloat) fake_widen (precision, want));
  }
  pt_workspace_clear (&workspace);
}

typedef struct
{
  const gchar *name;
  PtOpType type;
  gboolean transposed;
  gdouble size;
} ScaleCase;

static const ScaleCase scale_cases[] = {
  {"small-gradients", PT_OP_CONV_DATA, FALSE, 1e-7},
  {"small-gradients-transposed", PT_OP_CONV, TRUE, 1e-7},
  {"large-values-transposed", PT_OP_CONV_DATA, TRUE, 1e3},
};

/* Gradients too small for fp16 come through, and keep their size; so do values
 * that are too large to be scaled as gradients are. */
static void
test_scale (gconstpointer data)
{
  const ScaleCase *item = data;
  PtShape size = PT_SHAPE (1, 4, 6, 6);
  PtOpDesc desc = {.type = item->type,.x = size,.y = size,
    .training = TRUE,.conv = {.kernel = {1, 1},.stride = {1, 1},
        .dilation = {1, 1},.groups = 1,.transposed = item->transposed}
  };
  gsize n = pt_shape_get_n_elements (&size);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  g_autofree gdouble *dy = op_test_random (n, 1), *dx = NULL;
  gdouble one[16] = { 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1 };
  PtShape weights = PT_SHAPE (4, 4, 1, 1);
  g_autoptr (PtTensor) host = op_test_host (&weights, one);
  g_autoptr (PtTensor) w = op_test_tensor (device, &weights, NULL);
  g_autoptr (PtTensor) to = op_test_unset (device, &size), from = NULL;
  PtWorkspace workspace;
  PtOp *op;

  pt_workspace_init (&workspace, device, TRUE);
  workspace.precision = PT_PRECISION_FP16;
  op = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  g_assert_true (pt_workspace_ready (&workspace, &error));
  for (gsize i = 0; i < n; i++)
    dy[i] *= item->size;
  from = op_test_tensor (device, &size, dy);
  g_assert_true (pt_op_pack (op, host, w, &error));
  op_test_run (op, &(PtOpArgs) {.x = from,.dy = from,.w = w,.dx = to,.y = to });
  dx = op_test_read (device, to);
  /* plain fp16 has a step of 6e-8 there */
  op_test_near ("dx", dx, dy, n, 2e-3);
  pt_op_free (op);
  pt_workspace_clear (&workspace);
}

/* The same GPU, whose engine casts no weights. */
static PtBackend each_time;

/* Other products, and one that takes its batch-norm in where nothing learns. */
#define OTHERS \
  "[network]\nwidth=12\nheight=10\nchannels=1\n" \
  "[a]\ntype=conv2d\nfilters=6\nkernel=3\nstride=2\npadding=0;0;1;1\n" \
  "[b]\ntype=batch-norm\nstatistics=running\nactivation=relu\n" \
  "[c]\ntype=conv-transpose2d\nfilters=6\nkernel=4\nstride=2\npadding=1\n" \
  "[d]\ntype=conv2d\nfilters=6\nkernel=3\npadding=1\ninputs=c;c\n" \
  "activation=relu\n" \
  "[e]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[learning]\nloss=mse\noptimizer=adam lr=1e-3\nseed=7\nmode=%s\n" \
  "[pipeline]\nstages=2,2,1\ndevices=%s\n"

static PtNetwork *
new_network (const gchar *mode, const gchar *devices, gboolean others)
{
  g_autofree gchar *text = g_strdup_printf (OTHERS, mode, devices);
  g_autoptr (GError) error = NULL;
  PtNetwork *network = others ?
      pt_network_new_from_data (text, -1, "others.cfg", &error) :
      stream_network (mode, devices, "2,3,2");

  g_assert_no_error (error);
  return network;
}

static guint64
learn (const gchar *mode, const gchar *devices, gboolean others,
    const gchar *precision, guint *launches)
{
  g_autoptr (PtNetwork) network = new_network (mode, devices, others);
  g_autoptr (PtPipeline) pipeline = NULL;
  StreamSums sums = { 0 };

  g_assert_true (pt_network_set (network, "pipeline", "precision", precision,
          NULL));
  pipeline = stream_start (network);
  stream_feed (pipeline, &sums, 0, 20);
  *launches = pt_emulation_count (PT_EMULATED_LAUNCH);
  stream_feed (pipeline, &sums, 20, 8);
  *launches = pt_emulation_count (PT_EMULATED_LAUNCH) - *launches;
  stream_drain (pipeline);
  g_assert_cmpuint (sums.invalid, ==, 0);
  pt_pipeline_stop (pipeline);
  return stream_hash_weights (network) ^ sums.hash;
}

/* Weights of 16 bits are cast when they have changed, and are the same. */
static void
test_weights (gconstpointer mode)
{
  static const gchar *const precisions[] = { "bf16", "fp16" };

  for (guint i = 0; i < 2 * G_N_ELEMENTS (precisions); i++) {
    const gchar *precision = precisions[i / 2];
    guint once, often;
    guint64 kept = learn (mode, "planned:0", i % 2, precision, &once);
    guint64 cast = learn (mode, "each-time:0", i % 2, precision, &often);

    g_assert_cmpuint (kept, ==, cast);
    g_test_message ("%u launches, %u if cast each time", once, often);
    g_assert_cmpuint (once, <, often);
  }
}

gint
main (gint argc, gchar **argv)
{
  static const gchar *const modes[] = { "off", "exact", "partime", "delayed" };
  static const gchar *const precisions[] = { "fp32", "tf32", "bf16", "fp16" };

  /* its plans are loops that wait */
  g_setenv ("PARTIME_RECORD", "0", TRUE);
  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (precisions); i++) {
    g_autofree gchar *path = g_strconcat ("/cudnn-ops/", precisions[i], NULL);
    g_autofree gchar *cast = g_strconcat ("/cudnn-ops/cast/", precisions[i],
        NULL);

    g_test_add_data_func (path, GUINT_TO_POINTER (i), test_precision);
    if (i >= PT_PRECISION_BF16)
      g_test_add_data_func (cast, GUINT_TO_POINTER (i), test_cast);
  }
  each_time = *pt_device_find_backend ("planned", NULL);
  each_time.name = "each-time";
  each_time.ops[PT_OP_CAST] = NULL;
  pt_device_add_backend (&each_time);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    g_autofree gchar *path = g_strconcat ("/cudnn-ops/weights/", modes[i],
        NULL);

    g_test_add_data_func (path, modes[i], test_weights);
  }
  g_test_add_func ("/cudnn-ops/direct", test_direct);
  for (guint i = 0; i < G_N_ELEMENTS (scale_cases); i++) {
    g_autofree gchar *path = g_strconcat ("/cudnn-ops/", scale_cases[i].name,
        NULL);

    g_test_add_data_func (path, &scale_cases[i], test_scale);
  }
  return g_test_run ();
}
