/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "op-test.h"

/* Other devices against the CPU, in sizes that the double-precision loops
 * would take too long for: sums in several parts, many inputs, odd channels;
 * and what they do with numbers that are not finite. */

#define FORWARD 1e-5
#define GRADIENT 1e-4

typedef struct
{
  const gchar *name;
  gdouble tolerance;            /* 0: the same bits */
  PtOpDesc desc;
} Case;

#define IMAGE(c, h, w) { 4, { 1, c, h, w } }
#define ROW(n) { 2, { 1, n } }
#define SAME(c, h, w) .x = IMAGE (c, h, w), .y = IMAGE (c, h, w), \
    .training = TRUE
#define POOL(kind, k, s, p, inside) \
    .pool = { PT_POOL_##kind, { k, k }, { s, s }, { p, p }, !inside }
#define CONV(kh, kw, s, p, d, g, b) \
    .conv = { { kh, kw }, { s, s }, { p, p }, { d, d }, g, b, \
      PT_ACTIVATION_RELU, 0 }

static const Case cases[] = {
  {"add-8", FORWARD, {PT_OP_ADD, SAME (5, 7, 9), .n_xs = 8}},
  {"add-1", 0, {PT_OP_ADD, SAME (4, 7, 9), .n_xs = 1}},
  {"concat-8", 0, {PT_OP_CONCAT, SAME (60, 7, 9), .n_xs = 8, .xs = {
          IMAGE (4, 7, 9), IMAGE (8, 7, 9), IMAGE (12, 7, 9), IMAGE (4, 7, 9),
          IMAGE (8, 7, 9), IMAGE (16, 7, 9), IMAGE (4, 7, 9),
          IMAGE (4, 7, 9)}}},
  {"concat-odd", 0, {PT_OP_CONCAT, SAME (8, 7, 9), .n_xs = 3, .xs = {
          IMAGE (1, 7, 9), IMAGE (4, 7, 9), IMAGE (3, 7, 9)}}},
  {"split-8", 0, {PT_OP_SPLIT, SAME (60, 7, 9), .n_xs = 8, .xs = {
          IMAGE (4, 7, 9), IMAGE (8, 7, 9), IMAGE (12, 7, 9), IMAGE (4, 7, 9),
          IMAGE (8, 7, 9), IMAGE (16, 7, 9), IMAGE (4, 7, 9),
          IMAGE (4, 7, 9)}}},
  {"split-odd", 0, {PT_OP_SPLIT, SAME (8, 7, 9), .n_xs = 3, .xs = {
          IMAGE (1, 7, 9), IMAGE (4, 7, 9), IMAGE (3, 7, 9)}}},
  {"flatten", 0, {PT_OP_FLATTEN, IMAGE (65, 7, 9), ROW (65 * 63)}},
  {"unflatten", 0, {PT_OP_UNFLATTEN, IMAGE (65, 7, 9), ROW (65 * 63)}},
  {"multiply", 0, {PT_OP_MULTIPLY, SAME (5, 7, 9)}},
  {"dropout", 0, {PT_OP_DROPOUT, SAME (5, 70, 9), .dropout = {0.3f}}},
  {"dropout-all", 0, {PT_OP_DROPOUT, SAME (4, 7, 9), .dropout = {1}}},
  {"softmax-1000", FORWARD, {PT_OP_SOFTMAX, SAME (1000, 1, 1)}},
  {"softmax-pixels", FORWARD, {PT_OP_SOFTMAX, SAME (19, 60, 80)}},
  {"softmax-one", FORWARD, {PT_OP_SOFTMAX, SAME (1, 60, 80)}},
  {"softmax-1000-backward", GRADIENT, {PT_OP_SOFTMAX_BACKWARD,
          SAME (1000, 1, 1)}},
  {"softmax-pixels-backward", GRADIENT, {PT_OP_SOFTMAX_BACKWARD,
          SAME (19, 60, 80)}},
  {"nearest", 0, {PT_OP_UPSAMPLE, IMAGE (6, 9, 7), IMAGE (6, 27, 35),
          .upsample = {PT_UPSAMPLE_NEAREST}}},
  {"nearest-backward", FORWARD, {PT_OP_UPSAMPLE_BACKWARD, IMAGE (8, 9, 7),
          IMAGE (8, 27, 35), .upsample = {PT_UPSAMPLE_NEAREST}}},
  {"bilinear", FORWARD, {PT_OP_UPSAMPLE, IMAGE (6, 9, 7), IMAGE (6, 27, 70),
          .upsample = {PT_UPSAMPLE_BILINEAR}}},
  {"bilinear-backward", FORWARD, {PT_OP_UPSAMPLE_BACKWARD, IMAGE (8, 9, 7),
          IMAGE (8, 27, 70), .upsample = {PT_UPSAMPLE_BILINEAR}}},
  {"bilinear-backward-1", FORWARD, {PT_OP_UPSAMPLE_BACKWARD, IMAGE (3, 1, 9),
          IMAGE (3, 16, 9), .upsample = {PT_UPSAMPLE_BILINEAR}}},
  {"max-backward", FORWARD, {PT_OP_POOL_BACKWARD, IMAGE (12, 60, 80),
          IMAGE (12, 30, 40), POOL (MAX, 3, 2, 1, FALSE)}},
  {"max-gaps-backward", FORWARD, {PT_OP_POOL_BACKWARD, IMAGE (3, 61, 80),
          IMAGE (3, 15, 20), POOL (MAX, 2, 4, 0, FALSE)}},
  {"avg-gaps-backward", FORWARD, {PT_OP_POOL_BACKWARD, IMAGE (4, 61, 80),
          IMAGE (4, 15, 20), POOL (AVG, 2, 4, 0, FALSE)}},
  {"global", FORWARD, {PT_OP_POOL, IMAGE (70, 60, 60), IMAGE (70, 1, 1),
          POOL (AVG, 60, 60, 0, FALSE)}},
  {"global-backward", FORWARD, {PT_OP_POOL_BACKWARD, IMAGE (70, 60, 60),
          IMAGE (70, 1, 1), POOL (AVG, 60, 60, 0, FALSE)}},
  {"avg-large", FORWARD, {PT_OP_POOL, IMAGE (5, 40, 50), IMAGE (5, 11, 13),
          POOL (AVG, 9, 4, 4, TRUE)}},
  {"batch-norm", FORWARD, {PT_OP_BATCH_NORM, SAME (40, 90, 120),
          .batch_norm = {TRUE, 0.1f, 1e-5, PT_ACTIVATION_RELU}}},
  {"batch-norm-3", FORWARD, {PT_OP_BATCH_NORM, SAME (3, 90, 120),
          .batch_norm = {TRUE, 0.1f, 1e-5, PT_ACTIVATION_NONE}}},
  {"batch-norm-given", FORWARD, {PT_OP_BATCH_NORM, SAME (7, 90, 120),
          .batch_norm = {FALSE, 0.1f, 1e-5, PT_ACTIVATION_RELU}}},
  {"batch-norm-backward", GRADIENT, {PT_OP_BATCH_NORM_BACKWARD,
          SAME (40, 90, 120), .batch_norm = {TRUE, 0.1f, 1e-5}}},
  {"batch-norm-backward-given", GRADIENT, {PT_OP_BATCH_NORM_BACKWARD,
          SAME (3, 90, 120), .batch_norm = {FALSE, 0.1f, 1e-5}}},
  {"conv", FORWARD, {PT_OP_CONV, IMAGE (12, 60, 80), IMAGE (9, 60, 80),
          CONV (3, 3, 1, 1, 1, 1, TRUE)}},
  {"conv-data", GRADIENT, {PT_OP_CONV_DATA, IMAGE (12, 60, 80),
          IMAGE (9, 60, 80), CONV (3, 3, 1, 1, 1, 1, TRUE)}},
  {"conv-weights", GRADIENT, {PT_OP_CONV_WEIGHTS, IMAGE (12, 60, 80),
          IMAGE (9, 60, 80), CONV (3, 3, 1, 1, 1, 1, TRUE)}},
  {"from-one-weights", GRADIENT, {PT_OP_CONV_WEIGHTS, IMAGE (1, 60, 80),
          IMAGE (9, 60, 80), CONV (3, 3, 1, 1, 1, 1, TRUE)}},
  {"multiplier-weights", GRADIENT, {PT_OP_CONV_WEIGHTS, IMAGE (5, 60, 80),
          IMAGE (10, 60, 80), CONV (3, 3, 1, 1, 1, 5, TRUE)}},
  {"depthwise", FORWARD, {PT_OP_CONV, IMAGE (24, 61, 80), IMAGE (24, 31, 40),
          CONV (3, 3, 2, 1, 1, 24, TRUE)}},
  {"depthwise-data", GRADIENT, {PT_OP_CONV_DATA, IMAGE (24, 61, 80),
          IMAGE (24, 31, 40), CONV (3, 3, 2, 1, 1, 24, TRUE)}},
  {"depthwise-weights", GRADIENT, {PT_OP_CONV_WEIGHTS, IMAGE (24, 61, 80),
          IMAGE (24, 31, 40), CONV (3, 3, 2, 1, 1, 24, FALSE)}},
  {"linear", FORWARD, {PT_OP_LINEAR, ROW (4096), ROW (70),
          .linear = {TRUE, PT_ACTIVATION_TANH}}},
  {"linear-data", GRADIENT, {PT_OP_LINEAR_DATA, ROW (70), ROW (4096)}},
  {"linear-weights", GRADIENT, {PT_OP_LINEAR_WEIGHTS, ROW (70), ROW (512),
          .linear = {TRUE}}},
};

typedef struct
{
  PtDevice *device;
  PtWorkspace workspace;
  PtOp *op, *before;            /* what packs weights or finds maxima */
  PtOpArgs args;
  PtTensor *xs[PT_OP_MAX_INPUTS + 1];   /* NULL at the end */
  PtTensor *host_w;             /* of a convolution or linear layer */
} Rig;

static gboolean
is_affine (PtOpType type)
{
  return type <= PT_OP_LINEAR_WEIGHTS;
}

static PtShape
weight_shape (const PtOpDesc *desc)
{
  gint64 in = pt_shape_c (&desc->x), out = pt_shape_c (&desc->y);

  if (!is_affine (desc->type))
    return PT_SHAPE (in);
  if (desc->type >= PT_OP_LINEAR)
    return PT_SHAPE (out, in);
  return PT_SHAPE (out, in / desc->conv.groups, desc->conv.kernel[0],
      desc->conv.kernel[1]);
}

static PtTensor *
rig_tensor (Rig *rig, const PtShape *shape, guint stream, gboolean positive)
{
  gsize n = pt_shape_get_n_elements (shape);
  g_autofree gdouble *values = op_test_random (n, stream);

  for (gsize i = 0; positive && i < n; i++)
    values[i] = fabs (values[i]) + 0.1;
  return op_test_tensor (rig->device, shape, values);
}

static PtOp *
rig_plan (Rig *rig, const PtOpDesc *desc)
{
  g_autoptr (GError) error = NULL;
  PtOp *op = pt_op_new (&rig->workspace, desc, &error);

  g_assert_no_error (error);
  return op;
}

/* What has to be there before: packed weights, places of maxima. */
static void
rig_prepare (Rig *rig, const PtOpDesc *desc)
{
  g_autoptr (GError) error = NULL;
  PtOpDesc before = *desc;
  PtShape w = weight_shape (desc);

  before.training = TRUE;
  if (desc->type == PT_OP_POOL_BACKWARD)
    before.type = PT_OP_POOL;
  else if (is_affine (desc->type))
    before.type = desc->type < PT_OP_LINEAR ? PT_OP_CONV : PT_OP_LINEAR;
  else
    return;
  rig->before = rig_plan (rig, &before);
  if (!is_affine (desc->type))
    return;
  g_autofree gdouble *values = op_test_random (pt_shape_get_n_elements (&w),
      2);
  rig->host_w = op_test_host (&w, values);
  for (guint i = 0; i < 2; i++) {
    PtTensor *packed = pt_device_bytes_new (rig->device,
        rig->before->weights_size, &error);

    g_assert_no_error (error);
    pt_op_pack (rig->before, rig->host_w, packed, &error);
    g_assert_no_error (error);
    if (i == 0)
      rig->args.w = packed;
    else
      rig->args.dw = packed;
  }
}

/* The same numbers in every tensor that an operation may read or write. */
static void
rig_fill (Rig *rig, const PtOpDesc *desc)
{
  PtOpArgs *args = &rig->args;
  PtShape c = PT_SHAPE (pt_shape_c (&desc->x));
  PtShape b = PT_SHAPE (pt_shape_c (&desc->y));
  g_autoptr (GError) error = NULL;

  args->x = rig_tensor (rig, &desc->x, 1, FALSE);
  args->y = rig_tensor (rig, &desc->y, 3, FALSE);
  args->dy = rig_tensor (rig, &desc->y, 4, FALSE);
  args->dx = rig_tensor (rig, &desc->x, 5, FALSE);
  args->mask = rig_tensor (rig, &desc->x, 6, FALSE);
  if (!is_affine (desc->type)) {
    args->w = rig_tensor (rig, &c, 2, FALSE);
    args->dw = rig_tensor (rig, &c, 2, FALSE);
  }
  args->b = rig_tensor (rig, &b, 7, FALSE);
  args->db = rig_tensor (rig, &b, 7, FALSE);
  args->mean = rig_tensor (rig, &c, 8, FALSE);
  args->variance = rig_tensor (rig, &c, 9, TRUE);
  args->saved_mean = rig_tensor (rig, &c, 10, FALSE);
  args->saved_variance = rig_tensor (rig, &c, 11, TRUE);
  args->indices = pt_device_tensor_new (rig->device, PT_I32, &desc->y,
      &error);
  g_assert_no_error (error);
  for (guint i = 0; i < desc->n_xs; i++)
    rig->xs[i] = rig_tensor (rig, desc->xs[i].n_dims > 0 ? &desc->xs[i] :
        &desc->x, 12 + i, FALSE);
  args->xs = args->dxs = rig->xs;
  args->seed = 77;
  args->update_running = TRUE;
}

static void
rig_init (Rig *rig, const gchar *name, const PtOpDesc *desc)
{
  PtOpDesc full = *desc;

  *rig = (Rig) { op_test_device (name) };
  for (guint i = 0; i < full.n_xs; i++)
    if (full.xs[i].n_dims == 0)
      full.xs[i] = full.x;
  pt_workspace_init (&rig->workspace, rig->device, TRUE);
  rig->op = rig_plan (rig, &full);
  rig_prepare (rig, &full);
  g_assert_true (pt_workspace_ready (&rig->workspace, NULL));
  rig_fill (rig, &full);
  if (full.type == PT_OP_POOL_BACKWARD)
    op_test_run (rig->before, &rig->args);
  op_test_run (rig->op, &rig->args);
}

/* What a run may have written. */
static guint
rig_list (Rig *rig, PtTensor **list)
{
  PtOpArgs *args = &rig->args;
  PtTensor *all[] = { args->y, args->dx, args->mask, args->db, args->mean,
    args->variance, args->saved_mean, args->saved_variance
  };
  guint n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (all); i++)
    list[n++] = all[i];
  for (guint i = 0; rig->xs[i] != NULL; i++)
    list[n++] = rig->xs[i];
  if (rig->host_w == NULL)
    list[n++] = args->dw;
  else
    list[n++] = rig->host_w;
  return n;
}

static void
rig_clear (Rig *rig)
{
  PtOpArgs *args = &rig->args;
  PtTensor *list[32];
  guint n = rig_list (rig, list);

  for (guint i = 0; i < n; i++)
    pt_tensor_unref (list[i]);
  if (rig->host_w != NULL)
    pt_tensor_unref (args->dw);
  pt_tensor_unref ((PtTensor *) args->x);
  pt_tensor_unref ((PtTensor *) args->w);
  pt_tensor_unref ((PtTensor *) args->b);
  pt_tensor_unref ((PtTensor *) args->dy);
  pt_tensor_unref (args->indices);
  pt_op_free (rig->op);
  pt_op_free (rig->before);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
}

static gdouble *
rig_read (Rig *rig, const PtTensor *tensor)
{
  gsize n = pt_tensor_get_n_elements (tensor);
  gdouble *values;

  if (tensor != rig->host_w)
    return op_test_read (rig->device, tensor);
  values = g_new (gdouble, n);
  for (gsize i = 0; i < n; i++)
    values[i] = ((gfloat *) tensor->data)[i];
  return values;
}

static void
test_case (gconstpointer data)
{
  static const gchar *const names[] = { "y", "dx", "mask", "db", "mean",
    "variance", "saved mean", "saved variance"
  };
  const Case *test = data;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  PtTensor *got[32], *want[32];
  Rig rig, cpu;
  guint n;

  if (op_test_lacks (device, test->desc.type))
    return;
  rig_init (&cpu, "cpu", &test->desc);
  rig_init (&rig, NULL, &test->desc);
  for (guint i = 0; i < 2 && rig.host_w != NULL; i++)
    pt_op_unpack (i ? rig.before : cpu.before, i ? rig.args.dw : cpu.args.dw,
        i ? rig.host_w : cpu.host_w, NULL);
  n = rig_list (&rig, got);
  rig_list (&cpu, want);
  for (guint i = 0; i < n; i++) {
    g_autofree gdouble *a = rig_read (&rig, got[i]);
    g_autofree gdouble *b = rig_read (&cpu, want[i]);

    op_test_near (i < G_N_ELEMENTS (names) ? names[i] :
        i + 1 == n ? "dw" : "a part", a, b,
        pt_tensor_get_n_elements (got[i]), test->tolerance);
  }
  rig_clear (&rig);
  rig_clear (&cpu);
}

/* What is not finite must not become finite, nor the other way. */
static void
test_not_finite (gconstpointer data)
{
  static const gdouble odd[] = { NAN, INFINITY, -INFINITY, 1e30, -1e30, 100,
    -100, 0, -0., 1
  };
  const gint n = G_N_ELEMENTS (odd), all = n * n;
  const PtOpType types[] = { PT_OP_ACTIVATION, PT_OP_ACTIVATION_BACKWARD };
  PtShape shape = PT_SHAPE (1, all);
  gdouble v[100], dy[100];
  gdouble *results[2][2];

  for (gint i = 0; i < all; i++) {
    v[i] = odd[i % n];
    dy[i] = odd[i / n];
  }
  for (guint k = 0; k < 2; k++) {
    g_autoptr (PtDevice) device = op_test_device (k ? "cpu" : NULL);
    g_autoptr (PtTensor) tv = op_test_tensor (device, &shape, v);
    g_autoptr (PtTensor) tdy = op_test_tensor (device, &shape, dy);
    g_autoptr (PtTensor) out = op_test_unset (device, &shape);
    Rig rig = { device };

    pt_workspace_init (&rig.workspace, device, TRUE);
    for (guint t = 0; t < 2; t++) {
      g_autoptr (PtOp) op = rig_plan (&rig, &(PtOpDesc) { types[t], shape,
          shape, .activation = { GPOINTER_TO_UINT (data), 0.1f, 0.3f } });

      op_test_run (op, &(PtOpArgs) { .x = tv, .y = t ? tv : out, .dy = tdy,
          .dx = out });
      results[t][k] = op_test_read (device, out);
    }
    pt_workspace_clear (&rig.workspace);
  }
  for (guint t = 0; t < 2; t++) {
    for (gint i = 0; i < all; i++)
      if (isfinite (results[t][0][i]) != isfinite (results[t][1][i])) {
        g_test_message ("%s of %g, dy %g: found %g, expected %g",
            pt_op_type_name (types[t]), v[i], dy[i], results[t][0][i],
            results[t][1][i]);
        g_test_fail ();
      }
    g_free (results[t][0]);
    g_free (results[t][1]);
  }
}

/* The seed that lies on the device holds. */
static void
test_live_seed (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device (NULL);
  PtShape shape = PT_SHAPE (1, 6, 9, 11);
  PtOpDesc desc = { PT_OP_DROPOUT, shape, shape, .dropout = { 0.5f } };
  g_autoptr (PtTensor) memory = NULL;
  PtLive live = { .seed = 5, .go = 1 };
  Rig rig = { device };
  PtOp *op;
  PtTensor *masks[2];
  gdouble *values[2];

  if (!g_str_has_prefix (pt_device_get_name (device), "cuda")) {
    g_test_skip ("it reads the seed from the host");
    return;
  }
  pt_workspace_init (&rig.workspace, device, TRUE);
  op = rig_plan (&rig, &desc);
  memory = pt_device_bytes_new (device, sizeof live, &error);
  g_assert_no_error (error);
  op_test_write_bytes (device, memory, &live);
  for (guint i = 0; i < 2; i++) {
    g_autoptr (PtTensor) x = rig_tensor (&rig, &shape, 1, FALSE);
    g_autoptr (PtTensor) y = op_test_unset (device, &shape);

    masks[i] = op_test_unset (device, &shape);
    op_test_run (op, &(PtOpArgs) { .x = x, .y = y, .mask = masks[i],
        .seed = i ? 9 : 5, .live = i ? memory->data : NULL });
    values[i] = op_test_read (device, masks[i]);
    pt_tensor_unref (masks[i]);
  }
  for (gint i = 0; i < pt_shape_get_n_elements (&shape); i++)
    g_assert_cmpfloat (values[0][i], ==, values[1][i]);
  g_free (values[0]);
  g_free (values[1]);
  pt_op_free (op);
  pt_workspace_clear (&rig.workspace);
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *path = g_strconcat ("/like-cpu/", cases[i].name, NULL);

    g_test_add_data_func (path, &cases[i], test_case);
  }
  for (guint i = 0; i < PT_N_ACTIVATIONS; i++) {
    g_autofree gchar *path = g_strconcat ("/like-cpu/not-finite/",
        pt_all_activation_names[i], NULL);

    g_test_add_data_func (path, GUINT_TO_POINTER (i), test_not_finite);
  }
  g_test_add_func ("/like-cpu/live-seed", test_live_seed);
  return g_test_run ();
}
