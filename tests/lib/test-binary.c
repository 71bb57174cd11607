/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/walk.h"
#include "layer-rig.h"

/* Operations of two operands against plain loops over doubles, in shapes that
 * take each of the ways through memory. */

#define STEP 1e-6

static const gchar *const kind_names[PT_N_BINARIES] = {
  "add", "sub", "mul", "div", "pow", "min", "max", "prelu", "mask", "eq",
  "lt", "le",
};

static gdouble
ref_binary (PtBinary kind, gdouble a, gdouble b)
{
  switch (kind) {
    case PT_BINARY_ADD:
      return a + b;
    case PT_BINARY_SUB:
      return a - b;
    case PT_BINARY_MUL:
      return a * b;
    case PT_BINARY_DIV:
      return a / b;
    case PT_BINARY_POW:
      return pow (a, b);
    case PT_BINARY_MIN:
      return fmin (a, b);
    case PT_BINARY_MAX:
      return fmax (a, b);
    case PT_BINARY_MASK:
      return b != 0 ? a : 0;
    case PT_BINARY_EQ:
      return a == b;
    case PT_BINARY_LT:
      return a < b;
    case PT_BINARY_LE:
      return a <= b;
    default:
      return a > 0 ? a : b * a;
  }
}

/* Central differences: ties give half to each. What is 0 or 1 has none. */
static gdouble
ref_slope (PtBinary kind, guint wanted, gdouble a, gdouble b)
{
  const gdouble da = wanted == 0 ? STEP : 0, db = wanted == 1 ? STEP : 0;

  if (kind >= PT_BINARY_EQ || (kind == PT_BINARY_MASK && wanted == 1))
    return 0;
  return (ref_binary (kind, a + da, b + db) -
      ref_binary (kind, a - da, b - db)) / (2 * STEP);
}

typedef struct
{
  PtShape a, b;
} Shapes;

#define S(...) { sizeof ((gint64[]) { __VA_ARGS__ }) / sizeof (gint64), \
      { __VA_ARGS__ } }

static const Shapes shapes[] = {
  {S (1), S (1)},
  {S (7), S (1)},
  {S (1, 3, 4, 5), S (1, 3, 4, 5)},
  {S (1, 8, 90, 110), S (1, 8, 90, 110)},
  {S (1, 3, 200, 150), S (3, 1, 1)},    /* short rows */
  {S (1, 3, 2, 2), S (1, 3, 1, 1)},
  {S (2000, 5), S (5)},
  {S (1, 100, 30, 30), S (1, 100, 1, 1)},       /* a row for all */
  {S (1, 2000, 3, 7), S (2000, 1, 1)},
  {S (3, 50000), S (50000)},
  {S (1, 64, 30, 40), S (1, 1, 30, 40)},        /* a number for each row */
  {S (5000, 3), S (5000, 1)},
  {S (3, 5000), S (3, 1)},
  {S (1, 64, 60, 50), S (1)},   /* one for all */
  {S (1, 5000), S (1, 1)},
  {S (2, 3, 4, 5), S (4, 5)},   /* other orders in memory */
  {S (1, 6, 7, 9), S (6, 7, 9)},
  {S (2, 3, 4, 5, 2, 3), S (3, 1, 5, 1, 3)},
  {S (2, 1, 4, 1, 2, 3), S (1, 3, 4, 5, 2, 1)}, /* both are repeated */
  {S (4, 1, 5), S (3, 1)},
  {S (1, 2, 3000, 1), S (1, 2, 1, 3)},
  {S (1, 16, 1, 1), S (1, 16, 33, 35)},
};

/* Where element @i of @y, row-major, is in @of. */
static gsize
ref_find (const PtShape *y, const PtShape *of, gsize i)
{
  const guint lead = y->n_dims - of->n_dims;
  gsize at = 0, step = 1;

  for (guint d = y->n_dims; d-- > 0; i /= y->dims[d])
    if (d >= lead && of->dims[d - lead] > 1) {
      at += i % y->dims[d] * step;
      step *= of->dims[d - lead];
    }
  return at;
}

typedef struct
{
  PtDevice *device;
  PtWorkspace workspace;
  PtShape shapes[2], y;
  gdouble *values[2], *dy;
  PtTensor *operands[2], *tensor_dy;
} Pair;

/* @kind sets the range: no logarithm of less than 0, nothing divided by 0; a
 * tenth of the others ties. */
static void
pair_init (Pair *rig, PtBinary kind, const Shapes *item, gboolean swap,
    const gchar *name)
{
  g_autoptr (GError) error = NULL;

  rig->device = op_test_device (name);
  pt_workspace_init (&rig->workspace, rig->device, TRUE);
  rig->shapes[swap] = item->a;
  rig->shapes[!swap] = item->b;
  g_assert_true (pt_shape_broadcast (&item->a, &item->b, &rig->y, &error));
  for (guint k = 0; k < 2; k++) {
    const gsize n = pt_shape_get_n_elements (&rig->shapes[k]);
    gdouble *v = rig->values[k] = op_test_random (n, k + 1);

    for (gsize i = 0; i < n; i++) {
      if (kind == PT_BINARY_DIV || kind == PT_BINARY_POW)
        v[i] = (gfloat) (k == 1 || kind == PT_BINARY_POW ? fabs (v[i]) + 0.5 :
            v[i]);
      else if (i % 10 == 3)
        v[i] = 0.25;
    }
    rig->operands[k] = op_test_tensor (rig->device, &rig->shapes[k], v);
  }
  rig->dy = op_test_random (pt_shape_get_n_elements (&rig->y), 3);
  rig->tensor_dy = op_test_tensor (rig->device, &rig->y, rig->dy);
}

static void
pair_clear (Pair *rig)
{
  for (guint k = 0; k < 2; k++) {
    pt_tensor_unref (rig->operands[k]);
    g_free (rig->values[k]);
  }
  pt_tensor_unref (rig->tensor_dy);
  g_free (rig->dy);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
}

static PtOp *
pair_plan (Pair *rig, PtOpType type, PtBinary kind, guint wanted)
{
  g_autoptr (GError) error = NULL;
  PtOpDesc desc = { type, rig->shapes[0], rig->y,
    .elementwise = { kind, .wanted = wanted }
  };
  PtOp *op;

  for (guint k = 0; k < 2; k++)
    pt_shape_get_broadcast_strides (&rig->shapes[k], &rig->y,
        desc.elementwise.strides[k]);
  op = pt_op_new (&rig->workspace, &desc, &error);
  g_assert_no_error (error);
  pt_workspace_ready (&rig->workspace, &error);
  g_assert_no_error (error);
  return op;
}

static void
check_forward (Pair *rig, PtBinary kind)
{
  const gsize n = pt_shape_get_n_elements (&rig->y);
  g_autoptr (PtTensor) y = op_test_unset (rig->device, &rig->y);
  g_autoptr (PtOp) op = pair_plan (rig, PT_OP_BINARY, kind, 0);
  g_autofree gdouble *expected = g_new (gdouble, n);
  g_autofree gdouble *found = NULL;

  for (gsize i = 0; i < n; i++)
    expected[i] = ref_binary (kind,
        rig->values[0][ref_find (&rig->y, &rig->shapes[0], i)],
        rig->values[1][ref_find (&rig->y, &rig->shapes[1], i)]);
  op_test_run (op, &(PtOpArgs) { .x = rig->operands[0], .w = rig->operands[1],
      .y = y });
  found = op_test_read (rig->device, y);
  op_test_near (kind_names[kind], found, expected, n, 1e-6);
}

static void
check_backward (Pair *rig, PtBinary kind, guint wanted)
{
  const PtShape *shape = &rig->shapes[wanted];
  const gsize n = pt_shape_get_n_elements (shape);
  g_autoptr (PtTensor) dx = op_test_unset (rig->device, shape);
  g_autoptr (PtTensor) again = op_test_unset (rig->device, shape);
  g_autoptr (PtOp) op = pair_plan (rig, PT_OP_BINARY_BACKWARD, kind, wanted);
  g_autofree gdouble *expected = g_new0 (gdouble, n);
  g_autofree gdouble *found = NULL;
  PtOpArgs args = { .x = rig->operands[0], .w = rig->operands[1],
    .dy = rig->tensor_dy, .dx = dx
  };

  for (gint64 i = 0; i < pt_shape_get_n_elements (&rig->y); i++)
    expected[ref_find (&rig->y, shape, i)] += rig->dy[i] * ref_slope (kind,
        wanted, rig->values[0][ref_find (&rig->y, &rig->shapes[0], i)],
        rig->values[1][ref_find (&rig->y, &rig->shapes[1], i)]);
  op_test_run (op, &args);
  args.dx = again;
  op_test_run (op, &args);
  op_test_same (rig->device, dx, again);
  found = op_test_read (rig->device, dx);
  op_test_near (kind_names[kind], found, expected, n, 1e-5);
}

static void
test_shapes (gconstpointer data)
{
  const Shapes *item = data;

  for (guint d = 0; op_test_devices ()[d] != NULL; d++)
    for (PtBinary kind = 0; kind < PT_N_BINARIES; kind++)
      for (guint swap = 0; swap < 2; swap++) {
        Pair rig;

        pair_init (&rig, kind, item, swap, op_test_devices ()[d]);
        check_forward (&rig, kind);
        check_backward (&rig, kind, 0);
        check_backward (&rig, kind, 1);
        pair_clear (&rig);
      }
}

/* The result may take the place of either operand. */
static void
test_in_place (gconstpointer data)
{
  const guint place = GPOINTER_TO_UINT (data);
  const Shapes item = { S (1, 5, 70, 65), S (1, 5, 70, 65) };
  const gsize n = pt_shape_get_n_elements (&item.a);
  g_autoptr (PtOp) op = NULL;
  g_autofree gdouble *found = NULL;
  Pair rig;

  pair_init (&rig, PT_BINARY_SUB, &item, FALSE, NULL);
  op = pair_plan (&rig, PT_OP_BINARY, PT_BINARY_SUB, 0);
  op_test_run (op, &(PtOpArgs) { .x = rig.operands[0], .w = rig.operands[1],
      .y = rig.operands[place] });
  found = op_test_read (rig.device, rig.operands[place]);
  for (gsize i = 0; i < n; i++)
    g_assert_cmpfloat (found[i], ==, (gfloat) rig.values[0][i] -
        (gfloat) rig.values[1][i]);
  g_clear_pointer (&op, pt_op_free);
  pair_clear (&rig);
}

/* What torch.minimum, torch.maximum and torch.pow of PyTorch 1.13 give: y, da
 * and db for dy = 1. */
static const struct
{
  PtBinary kind;
  gfloat a, b, y, da, db;
} odd[] = {
  {PT_BINARY_MIN, NAN, 1, NAN, 1, 1},
  {PT_BINARY_MIN, 1, NAN, NAN, 1, 1},
  {PT_BINARY_MIN, 2, 2, 2, 0.5, 0.5},
  {PT_BINARY_MIN, -INFINITY, -INFINITY, -INFINITY, 0.5, 0.5},
  {PT_BINARY_MAX, NAN, 1, NAN, 1, 1},
  {PT_BINARY_MAX, 1, NAN, NAN, 1, 1},
  {PT_BINARY_MAX, 2, 2, 2, 0.5, 0.5},
  {PT_BINARY_MAX, 2, 3, 3, 0, 1},
  {PT_BINARY_POW, 0, 0, 1, 0, 0},
  {PT_BINARY_POW, 0, 2, 0, 0, 0},
  {PT_BINARY_POW, 0, 1, 0, 1, 0},
  {PT_BINARY_POW, -2, 3, -8, 12, NAN},
  {PT_BINARY_POW, -2, 2, 4, -4, NAN},
  {PT_BINARY_POW, -2, 1, -2, 1, NAN},
  {PT_BINARY_POW, -2, 0.5, NAN, NAN, NAN},
  {PT_BINARY_POW, 4, 0.5, 2, 0.25, 2.7725887f},
  {PT_BINARY_POW, 2, -1, 0.5, -0.25, 0.34657359f},
  {PT_BINARY_PRELU, 0, 3, 0, 3, 0},
  {PT_BINARY_PRELU, NAN, 3, NAN, 3, NAN},
  {PT_BINARY_MASK, NAN, 0, 0, 0, 0},
  {PT_BINARY_MASK, -INFINITY, 0, 0, 0, 0},
  {PT_BINARY_MASK, 3, -2, 3, 1, 0},
  {PT_BINARY_EQ, NAN, NAN, 0, 0, 0},
  {PT_BINARY_EQ, 2, 2, 1, 0, 0},
  {PT_BINARY_LT, 2, 2, 0, 0, 0},
  {PT_BINARY_LT, 1, NAN, 0, 0, 0},
  {PT_BINARY_LE, 2, 2, 1, 0, 0},
  {PT_BINARY_LE, NAN, 1, 0, 0, 0},
  {PT_BINARY_DIV, 1, 0, INFINITY, INFINITY, -INFINITY},
};

static gfloat
run_one (Pair *rig, PtOpType type, PtBinary kind, guint wanted)
{
  g_autoptr (PtTensor) out = op_test_unset (rig->device, &rig->y);
  g_autoptr (PtOp) op = pair_plan (rig, type, kind, wanted);
  g_autofree gdouble *found = NULL;

  op_test_run (op, &(PtOpArgs) { .x = rig->operands[0],
      .w = rig->operands[1], .y = out, .dx = out, .dy = rig->tensor_dy });
  found = op_test_read (rig->device, out);
  return found[0];
}

static void
assert_like (gfloat found, gfloat expected)
{
  if (isfinite (expected))
    g_assert_cmpfloat_with_epsilon (found, expected, 1e-6);
  else if (isnan (expected))
    g_assert_true (isnan (found));
  else
    g_assert_cmpfloat (found, ==, expected);
}

static void
test_odd (void)
{
  const Shapes item = { S (1), S (1) };
  const gfloat one = 1;

  for (guint i = 0; i < G_N_ELEMENTS (odd); i++) {
    const PtBinary kind = odd[i].kind;
    Pair rig;

    g_test_message ("%s of %g, %g", kind_names[kind], odd[i].a, odd[i].b);
    pair_init (&rig, kind, &item, FALSE, NULL);
    op_test_write_bytes (rig.device, rig.operands[0], &odd[i].a);
    op_test_write_bytes (rig.device, rig.operands[1], &odd[i].b);
    op_test_write_bytes (rig.device, rig.tensor_dy, &one);
    assert_like (run_one (&rig, PT_OP_BINARY, kind, 0), odd[i].y);
    assert_like (run_one (&rig, PT_OP_BINARY_BACKWARD, kind, 0), odd[i].da);
    assert_like (run_one (&rig, PT_OP_BINARY_BACKWARD, kind, 1), odd[i].db);
    pair_clear (&rig);
  }
}

/* -- layers -- */

static const struct
{
  const gchar *kind;
  const gchar *sample;
  PtError code;
  const gchar *words;           /* parts of the message, between | */
} bad[] = {
  {"add", "in=1x3x4x4,1x3x4x4,1x3x1x1", PT_ERROR_SHAPE,
      "input 2 has shape 1x3x1x1|1x3x4x4"},
  {"add", "in=1x3x4x4,1x3x4", PT_ERROR_SHAPE, "1x3x4x4|1x3x4|or 1"},
  {"mul", "in=1x3x4x4 other=2;1;1", PT_ERROR_SHAPE, "1x3x4x4|2x1x1"},
  {"mul", "in=1x3x4x4 other=1;1;1;1;1;1;3", PT_ERROR_CONFIG,
      "other has 7 numbers|1 to 6"},
  {"mul", "in=1x3x4x4 other=1.5", PT_ERROR_CONFIG, "1.5|whole"},
  {"mul", "in=1x3x4x4 other=0", PT_ERROR_CONFIG, "other|0"},
  {"mul", "in=1x3x4x4", PT_ERROR_CONFIG, "1 input|expected 2|other="},
  {"mul", "in=1x3x4x4 other=1e9;1e9", PT_ERROR_SHAPE, "1000000000"},
  {"mul", "in=65536x1x1x1 other=65536;1", PT_ERROR_SHAPE,
      "output|65536x1x65536x1"},
  {"pow", "in=1x3,1x3,1x3", PT_ERROR_CONFIG, "3 inputs|expected 1 to 2"},
  {"prelu", "in=1x3x4x4 num_parameters=4", PT_ERROR_SHAPE,
      "num_parameters=4|3 channels"},
  {"prelu", "in=1x3x4x1 shape=5", PT_ERROR_SHAPE, "5|1x3x4x1"},
  {"hard-tanh", "in=1x9 min_val=2", PT_ERROR_CONFIG,
      "min_val=2|max_val=1"},
  {"threshold", "in=1x9", PT_ERROR_CONFIG, "threshold"},
  {"celu", "in=1x9 alpha=0", PT_ERROR_CONFIG, "alpha|0"},
};

static void
test_bad_layers (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (PtLayer) layer = layer_from_sample (pt_layer_kind_find
        (bad[i].kind), bad[i].sample, &error);

    if (layer != NULL)
      g_assert_false (pt_layer_infer (layer, &error));
    g_assert_error (error, PT_ERROR, (gint) bad[i].code);
    assert_says (error->message, bad[i].words);
  }
}

/* Which of them learn, unless told. */
static void
test_learned (void)
{
  static const struct
  {
    const gchar *sample;
    gboolean learned;
  } rows[] = {
    {"in=1x3x4x4 other=1", FALSE},
    {"in=1x3x4x4 other=1 learned=true", TRUE},
    {"in=1x3x4x4 other=3;1;1", TRUE},
    {"in=1x3x4x4 other=3;1;1 learned=false", FALSE},
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autoptr (PtLayer) layer = layer_from_sample (pt_layer_kind_find ("mul"),
        rows[i].sample, NULL);

    g_assert_true (pt_layer_infer (layer, NULL));
    g_assert_cmpint (layer->weights[0].learned, ==, rows[i].learned);
  }
}

int
main (int argc, char **argv)
{
  gchar a[PT_SHAPE_TEXT_SIZE], b[PT_SHAPE_TEXT_SIZE];

  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (shapes); i++) {
    g_autofree gchar *path = g_strdup_printf ("/binary/%s/%s",
        pt_shape_print (&shapes[i].a, a), pt_shape_print (&shapes[i].b, b));

    g_test_add_data_func (path, &shapes[i], test_shapes);
  }
  g_test_add_data_func ("/binary/in-place/first", GUINT_TO_POINTER (0),
      test_in_place);
  g_test_add_data_func ("/binary/in-place/second", GUINT_TO_POINTER (1),
      test_in_place);
  g_test_add_func ("/binary/odd", test_odd);
  g_test_add_func ("/binary/layers/bad", test_bad_layers);
  g_test_add_func ("/binary/layers/learned", test_learned);
  return g_test_run ();
}
