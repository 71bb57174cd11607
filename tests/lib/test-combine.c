/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "layer-rig.h"

/* The operation behind whatever moves, selects and resamples, on tables made
 * at random, against loops in double precision that follow its definition. */

#define N_CASES 400
#define MAX_ROWS 40
#define MAX_TAPS 5
#define TOLERANCE 1e-5

typedef struct
{
  PtCombineDesc desc;
  gint32 rows[4][MAX_ROWS + 1];
  gint32 offsets[4][MAX_ROWS * MAX_TAPS];
  gfloat weights[4][MAX_ROWS * MAX_TAPS];
  gint64 n_x, n_y;
} Tables;

/* Single places, below 0 for none; or several with weights. */
static gint64
make_table (Tables *tables, guint a, GRand *rand)
{
  PtCombineAxis *axis = &tables->desc.axes[a];
  const gboolean sums = g_rand_int_range (rand, 0, 3) == 0;
  const gint range = g_rand_int_range (rand, 1, 60);
  gint32 *rows = tables->rows[a];
  gint64 most = 0;

  for (gint64 i = 0; i < axis->n; i++) {
    const gint32 n = sums ? g_rand_int_range (rand, 0, MAX_TAPS + 1) : 1;

    rows[i + 1] = rows[i] + n;
    for (gint32 k = rows[i]; k < rows[i + 1]; k++) {
      const gboolean none = !sums && g_rand_int_range (rand, 0, 8) == 0;

      tables->offsets[a][k] = none ? -1 : g_rand_int_range (rand, 0, range);
      tables->weights[a][k] = g_rand_double_range (rand, -1, 1);
      most = MAX (most, tables->offsets[a][k]);
    }
  }
  axis->offsets = tables->offsets[a];
  axis->rows = sums ? rows : NULL;
  axis->weights = sums && g_rand_boolean (rand) ? tables->weights[a] : NULL;
  return most;
}

static void
make_tables (Tables *tables, GRand *rand)
{
  static const gint64 blocks[] = { 1, 1, 1, 2, 3, 4, 5, 8, 16, 33 };
  static const gint64 steps[] = { 0, 1, 1, 2, 3, 16, 40 };
  PtCombineDesc *desc = &tables->desc;

  memset (tables, 0, sizeof *tables);
  desc->n_axes = g_rand_int_range (rand, 0, 5);
  desc->block = blocks[g_rand_int_range (rand, 0, G_N_ELEMENTS (blocks))];
  desc->fill = g_rand_double (rand);
  tables->n_x = tables->n_y = desc->block;
  for (guint a = 0; a < desc->n_axes; a++) {
    PtCombineAxis *axis = &desc->axes[a];

    axis->n = g_rand_int_range (rand, 1, a > 1 ? 9 : MAX_ROWS + 1);
    tables->n_y *= axis->n;
    if (g_rand_int_range (rand, 0, 3) == 0) {
      tables->n_x += make_table (tables, a, rand);
      continue;
    }
    axis->stride = steps[g_rand_int_range (rand, 0, G_N_ELEMENTS (steps))];
    tables->n_x += (axis->n - 1) * axis->stride;
    if (g_rand_int_range (rand, 0, 4) > 0)
      continue;
    desc->base += (axis->n - 1) * axis->stride;
    axis->stride = -axis->stride;
  }
}

/* Adds what axes @a and further read for the rows of @row, which counts them
 * as y lies in memory. Returns how many terms there were. */
static guint
add_terms (const PtCombineDesc *desc, guint a, gint64 row, gint64 offset,
    gdouble weight, const gdouble *x, gdouble *sum)
{
  const PtCombineAxis *axis = &desc->axes[a];
  gint64 inside = 1, own, begin, end;
  guint terms = 0;

  if (a == desc->n_axes) {
    *sum += weight * x[offset];
    return 1;
  }
  for (guint k = a + 1; k < desc->n_axes; k++)
    inside *= desc->axes[k].n;
  own = row / inside;
  begin = axis->rows ? axis->rows[own] : own;
  end = axis->rows ? axis->rows[own + 1] : own + 1;
  for (gint64 k = begin; k < end; k++)
    if (axis->offsets == NULL || axis->offsets[k] >= 0)
      terms += add_terms (desc, a + 1, row % inside, offset +
          (axis->offsets ? axis->offsets[k] : k * axis->stride),
          weight * (axis->weights ? axis->weights[k] : 1), x, sum);
  return terms;
}

static void
compute (const Tables *tables, const gdouble *x, gdouble *y)
{
  const PtCombineDesc *desc = &tables->desc;

  for (gint64 i = 0; i < tables->n_y; i++) {
    y[i] = 0;
    if (add_terms (desc, 0, i / desc->block, desc->base + i % desc->block, 1,
            x, &y[i]) == 0)
      y[i] = desc->fill;
  }
}

/* NULL: the device has no such operation, the test is skipped. */
static gdouble *
run (const gchar *name, const PtCombineDesc *combine, gint64 n_x, gint64 n_y,
    const gdouble *values)
{
  g_autoptr (PtDevice) device = op_test_device (name);
  const PtShape in = PT_SHAPE (1, n_x), out = PT_SHAPE (1, n_y);
  PtOpDesc desc = {.type = PT_OP_COMBINE,.x = in,.y = out,
    .combine = *combine };
  g_autoptr (PtTensor) x = NULL, y = NULL;
  g_autoptr (GError) error = NULL;
  PtWorkspace workspace;
  gdouble *result;
  PtOp *op;

  if (op_test_lacks (device, PT_OP_COMBINE))
    return NULL;
  x = op_test_tensor (device, &in, values);
  y = op_test_unset (device, &out);
  pt_workspace_init (&workspace, device, FALSE);
  op = pt_op_new (&workspace, &desc, &error);
  g_assert_no_error (error);
  g_assert_true (pt_workspace_ready (&workspace, &error));
  op_test_run (op, &(PtOpArgs) {.x = x,.y = y});
  result = op_test_read (device, y);
  pt_op_free (op);
  pt_workspace_clear (&workspace);
  return result;
}

static void
test_random (void)
{
  GRand *rand = g_rand_new_with_seed (31);
  Tables *tables = g_new (Tables, 1);

  for (guint i = 0; i < N_CASES; i++) {
    g_autofree gdouble *x = NULL, *y = NULL, *found = NULL;

    make_tables (tables, rand);
    x = op_test_random (tables->n_x, i);
    y = g_new (gdouble, tables->n_y);
    compute (tables, x, y);
    found = run (NULL, &tables->desc, tables->n_x, tables->n_y, x);
    if (found == NULL)
      break;
    op_test_near ("y", found, y, tables->n_y, TOLERANCE);
  }
  g_free (tables);
  g_rand_free (rand);
}

/* Large enough for several threads, which must not change a bit. */
typedef struct
{
  const gchar *name;
  PtCombineDesc desc;
  gint64 n_x, n_y;
  gboolean sums;                /* the first axis gets a table of pairs */
} Large;

static const Large larges[] = {
  {"copy", {.block = 300001}, 300001, 300001},
  {"reverse", {{{600, -500}}, 1, 599 * 500, 500}, 300000, 300000},
  {"transpose", {{{613, 1}, {509, 613}}, 2,.block = 1}, 613 * 509, 613 * 509},
  {"planes", {{{37, 509 * 60}, {60, 1}, {509, 60}}, 3,.block = 1},
      37 * 60 * 509, 37 * 60 * 509},
  {"three", {{{100000, 1}, {3, 100000}}, 2,.block = 1}, 300000, 300000},
  {"woven-2", {{{500, 180}, {90, 1}, {2, 90}}, 3,.block = 1}, 90000, 90000},
  {"woven-4", {{{50, 2}, {90, 100}, {90, 1}, {4, 9100}}, 4,.block = 1}, 50000,
      50 * 90 * 90 * 4},
  {"woven-8", {{{19, 1}, {8, 20}}, 2,.block = 1}, 160, 152},
  {"apart-2", {{{500, 200}, {2, 1}, {90, 2}}, 3,.block = 1}, 100000, 90000},
  {"apart-3", {{{50, 270}, {3, 1}, {90, 3}}, 3,.block = 1}, 13500, 13500},
  {"apart-8", {{{8, 1}, {17, 8}}, 2,.block = 1}, 136, 136},
  {"shuffle", {{{50, 4 * 3 * 90}, {2, 6}, {90, 12}, {2, 3}}, 4,.block = 3},
      50 * 4 * 3 * 90, 50 * 4 * 3 * 90},
  {"sums", {{{400}, {300, 7}}, 2,.block = 7}, 2 * 400 * 300 * 7,
        400 * 300 * 7, TRUE},
  {"sums-of-few", {{{400}, {900, 1}}, 2,.block = 1}, 2 * 400 * 900, 400 * 900,
        TRUE},
  {"sums-apart", {{{400}, {900, 800}}, 2,.block = 1}, 900 * 800, 400 * 900,
        TRUE},
};

static void
test_large (gconstpointer data)
{
  const Large *large = data;
  const gint64 pair = large->n_x / 800;
  Tables *tables = g_new0 (Tables, 1);
  g_autofree gint32 *rows = g_new (gint32, 401);
  g_autofree gint32 *offsets = g_new (gint32, 800);
  g_autofree gdouble *x = op_test_random (large->n_x, 1);
  g_autofree gdouble *y = g_new (gdouble, large->n_y);

  tables->desc = large->desc;
  tables->n_y = large->n_y;
  for (gint i = 0; i <= 400; i++)
    rows[i] = 2 * i;
  for (gint i = 0; i < 800; i++)
    offsets[i] = g_str_equal (large->name, "sums-apart") ? i : i / 2 * pair;
  if (large->sums) {
    tables->desc.axes[0].rows = rows;
    tables->desc.axes[0].offsets = offsets;
  }
  compute (tables, x, y);
  for (const gchar *const *name = op_test_devices (); *name != NULL; name++) {
    g_autofree gdouble *found =
        run (*name, &tables->desc, large->n_x, large->n_y, x);

    if (found == NULL)
      break;
    op_test_near (*name, found, y, large->n_y, TOLERANCE);
    if (name > op_test_devices ())
      g_assert_cmpint (memcmp (found, y, large->n_y * sizeof *y), ==, 0);
    memcpy (y, found, large->n_y * sizeof *y);
  }
  g_free (tables);
}

/* What takes a table is refused before the memory for it is asked for. */
static void
test_table (gconstpointer data)
{
  g_auto (GStrv) words = g_strsplit (data, " ", 2);
  const PtLayerKind *kind = pt_layer_kind_find (words[0]);
  g_autoptr (PtLayer) layer = layer_from_sample (kind, words[1], NULL);
  g_autoptr (PtDevice) device = op_test_device (NULL);
  g_autoptr (GError) error = NULL;
  PtWorkspace workspace;
  PtLayerPlan plan;

  pt_workspace_init (&workspace, device, TRUE);
  g_assert_true (pt_layer_infer (layer, &error));
  g_assert_false (pt_layer_plan (layer, &workspace, &plan, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
  assert_says (error->message, "table|places");
  pt_workspace_clear (&workspace);
}

static const gchar *const tables[] = {
  "reshape in=1x6x10000x10001 shape=1;10001;6;10000",
  "pad in=1x2000000000 pad=1;1",
  "slice in=1x2000000000 length=1",
  "resize in=1x1000000000 scale=2 mode=cubic",
  "resize in=1x9000000 size=9000000 scale=1e-6 mode=linear antialias=true",
};

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  g_test_add_func ("/combine/random", test_random);
  for (guint i = 0; i < G_N_ELEMENTS (larges); i++) {
    g_autofree gchar *path = g_strconcat ("/combine/", larges[i].name, NULL);

    g_test_add_data_func (path, &larges[i], test_large);
  }
  for (guint i = 0; i < G_N_ELEMENTS (tables); i++) {
    g_autofree gchar *path = g_strconcat ("/combine/table/", tables[i], NULL);

    g_test_add_data_func (path, tables[i], test_table);
  }
  return g_test_run ();
}
