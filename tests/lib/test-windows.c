/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Windows and norms in sizes that take several threads, and sums in several
 * parts. What PyTorch says of small ones is in test-layers. */

#include "device/op.h"
#include "layer-rig.h"

static Rig *
line_new (const gchar *device, const gchar *line)
{
  g_auto (GStrv) words = g_strsplit (line, " ", 2);
  const PtLayerKind *kind = pt_layer_kind_find (words[0]);

  g_assert_nonnull (kind);
  return rig_new_on (device, kind, words[1], TRUE);
}

/* Output, then the gradients of inputs and weights, row-major. */
static GPtrArray *
line_run (Rig *rig, const gchar *line)
{
  GPtrArray *found = g_ptr_array_new_with_free_func ((GDestroyNotify)
      pt_tensor_unref);

  rig_load (rig, line);
  rig_forward (rig);
  g_ptr_array_add (found, rig_download (rig, rig->args.y));
  rig_backward (rig);
  for (guint i = 0; i < rig->layer->n_inputs; i++)
    g_ptr_array_add (found, rig_download (rig, rig->args.dx[i]));
  for (guint i = 0; i < rig->layer->n_weights; i++)
    g_ptr_array_add (found, rig_unpack (rig, i, rig->args.dw[i]));
  return found;
}

static const gchar *const lines[] = {
  "conv-transpose2d in=1x16x30x41 filters=9 kernel=4 stride=2 padding=1 "
      "activation=relu",
  "conv-transpose2d in=1x24x30x41 filters=24 kernel=3 stride=2 padding=1 "
      "output_padding=1 groups=24",
  "conv-transpose2d in=1x32x45x60 filters=1 kernel=2 stride=2",
  "conv-transpose2d in=1x12x30x41 filters=3 kernel=4;3 stride=2;3 "
      "dilation=1;2 padding=1;0;2;4 output_padding=1;2 activation=tanh",
  "conv-transpose2d in=1x3x45x60 filters=40 kernel=5 activation=gelu",
  "conv2d in=1x12x61x80 filters=9 kernel=3 stride=2 padding=0;1;2;0",
  "conv2d in=1x16x61x80 filters=2 kernel=5 padding=4;0;1;3 activation=tanh",
  "conv2d in=1x24x61x80 filters=24 kernel=3 stride=2 groups=24 "
      "padding=0;0;1;1",
  "max-pool2d in=1x12x61x80 kernel=3 stride=2 ceil_mode=true",
  "max-pool2d in=1x5x61x80 kernel=3 stride=1 dilation=2;5 padding=2;0;1;3",
  "avg-pool2d in=1x12x61x80 kernel=3 stride=2 padding=1 ceil_mode=true",
  "avg-pool2d in=1x5x61x80 kernel=9;7 stride=4 padding=3 ceil_mode=true "
      "count_include_pad=false",
  "avg-pool2d in=1x5x61x80 kernel=3 dilation=3 stride=1 padding=1",
  "lp-pool2d in=1x12x61x80 kernel=3 stride=2 padding=1",
  "lp-pool2d in=1x5x61x80 kernel=7 stride=3 norm_type=3",
  "global-lp-pool in=1x70x60x60",
  "global-max-pool in=1x70x60x60",
  "lrn in=1x64x60x80 size=5 alpha=0.1",
  "lrn in=3x17x900 size=4 alpha=1 beta=0.5 k=2",
  "grid-sample in=1x33x40x60,1x50x70x2",
  "grid-sample in=1x4x40x60,1x50x70x2 mode=bicubic padding_mode=reflection",
  "grid-sample in=1x3x40x60,1x50x70x2 padding_mode=border align_corners=true",
  "normalize in=1x64x60x80",
  "normalize in=1x3x60x80 dim=3 p=1",
};

/* One core, several, and another device. */
static void
test_alike (gconstpointer data)
{
  const gchar *line = data;
  g_autoptr (Rig) one = line_new ("cpu:0", line);
  g_autoptr (GPtrArray) want = line_run (one, line);

  for (const gchar *const *name = op_test_devices (); *name != NULL; name++) {
    g_autoptr (Rig) rig = line_new (*name, line);
    g_autoptr (GPtrArray) got = rig != NULL ? line_run (rig, line) : NULL;

    for (guint i = 0; got != NULL && i < want->len; i++)
      assert_close (got->pdata[i], want->pdata[i],
          i == 0 ? FORWARD_TOLERANCE : GRADIENT_TOLERANCE);
  }
}

/* -- norms against double-precision loops -- */

typedef struct
{
  const gchar *line;
  guint axes;                   /* bits */
  gint64 groups;                /* of axis 1 */
  gboolean by_channel;          /* its weights, or by element */
} NormCase;

static const NormCase norms[] = {
  {"instance-norm in=1x24x61x80 affine=true", 0xe, 24, TRUE},
  {"instance-norm in=1x3x61x80", 0xe, 3, TRUE},
  {"instance-norm in=3x70x900 affine=true", 0x6, 70, TRUE},
  {"group-norm in=1x32x40x60 num_groups=8", 0xe, 8, TRUE},
  {"group-norm in=1x33x40x60 num_groups=1", 0xe, 1, TRUE},
  {"group-norm in=2x12x700 num_groups=3", 0x6, 3, TRUE},
  {"group-norm in=70x60 num_groups=4", 0x2, 4, TRUE},
  {"layer-norm in=2x197x192", 0x4, 1, FALSE},
  {"layer-norm in=1x5x70000", 0x4, 1, FALSE},
  {"layer-norm in=1x16x40x60 axis=1", 0xe, 1, FALSE},
  {"layer-norm in=1x16x40x60 axis=2", 0xc, 1, FALSE},
  {"layer-norm in=1x16x40x60", 0x8, 1, FALSE},
  {"mean-variance-norm in=2x16x40x60", 0xd, 1, FALSE},
};

/* Where element @i of a row-major tensor belongs. */
static void
norm_find (const NormCase *test, const PtShape *x, gint64 i, gint64 *group,
    gint64 *weight)
{
  gint64 at[PT_MAX_DIMS];

  for (gint k = x->n_dims - 1; k >= 0; k--) {
    at[k] = i % x->dims[k];
    i /= x->dims[k];
  }
  *group = *weight = 0;
  for (guint k = 0; k < x->n_dims; k++) {
    if ((test->axes >> k & 1) == 0)
      *group = *group * x->dims[k] + at[k];
    else
      *weight = *weight * x->dims[k] + at[k];
    if (k == 1 && (test->axes & 2))
      *group = *group * test->groups + at[k] * test->groups / x->dims[k];
  }
  if (test->by_channel)
    *weight = at[1];
}

typedef struct
{
  gdouble n, mean, variance, s, q;
} NormGroup;

/* dx = (w dy - mean (w dy) - xhat mean (w dy xhat)) / sigma, and so on; what
 * was found is held against each. */
static void
norm_compare (const NormCase *test, const PtShape *shape, const PtTensor *tx,
    const PtTensor *tw, const PtTensor *tb, const PtTensor *tdy,
    const GPtrArray *found)
{
  const gfloat *x = tx->data, *dy = tdy->data;
  gint64 n = pt_shape_get_n_elements (shape), g, p;
  g_autofree NormGroup *groups = g_new0 (NormGroup, n);
  g_autofree gdouble *dw = g_new0 (gdouble, n), *db = g_new0 (gdouble, n);
  g_autofree gdouble *y = g_new (gdouble, n), *dx = g_new (gdouble, n);
  gdouble *want[] = { y, dx, dw, db };

  for (guint pass = 0; pass < 4; pass++)
    for (gint64 i = 0; i < n; i++) {
      NormGroup *a;
      gdouble w, hat;

      norm_find (test, shape, i, &g, &p);
      a = &groups[g];
      w = tw != NULL ? ((gfloat *) tw->data)[p] : 1;
      hat = (x[i] - a->mean) / sqrt (a->variance + 1e-5);
      switch (pass) {
        case 0:
          a->n++;
          a->mean += (x[i] - a->mean) / a->n;
          break;
        case 1:
          a->variance += (x[i] - a->mean) * (x[i] - a->mean) / a->n;
          break;
        case 2:
          a->s += w * dy[i] / a->n;
          a->q += w * dy[i] * hat / a->n;
          dw[p] += dy[i] * hat;
          db[p] += dy[i];
          y[i] = hat * w + (tb != NULL ? ((gfloat *) tb->data)[p] : 0);
          break;
        default:
          dx[i] = (w * dy[i] - a->s - hat * a->q) / sqrt (a->variance + 1e-5);
      }
    }
  for (guint k = 0; k < found->len; k++) {
    const PtTensor *tensor = found->pdata[k];
    gsize size = pt_tensor_get_n_elements (tensor);
    g_autofree gdouble *got = g_new (gdouble, size);

    for (gsize i = 0; i < size; i++)
      got[i] = ((gfloat *) tensor->data)[i];
    op_test_near (k == 0 ? "y" : k == 1 ? "dx" : k == 2 ? "dw" : "db", got,
        want[k], size, k == 0 ? FORWARD_TOLERANCE : GRADIENT_TOLERANCE);
  }
}

/* Far from zero, where a variance by mean squares would drown. */
static void
check_norm (Rig *rig, const NormCase *test)
{
  const PtLayer *layer = rig->layer;
  const PtShape *shape = &layer->inputs[0];
  g_autoptr (PtTensor) x = random_tensor (shape, "x");
  g_autoptr (PtTensor) dy = random_tensor (shape, "dy");
  g_autoptr (PtTensor) w = NULL, b = NULL;
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func
      ((GDestroyNotify) pt_tensor_unref);

  for (gint64 i = 0; i < pt_shape_get_n_elements (shape); i++)
    ((gfloat *) x->data)[i] += 30;
  rig_upload (rig, rig->args.x[0], x);
  rig_upload (rig, rig->args.dy, dy);
  if (layer->n_weights > 0) {
    w = random_tensor (&layer->weights[0].shape, "w");
    b = random_tensor (&layer->weights[0].shape, "b");
    rig_pack (rig, 0, w);
    rig_pack (rig, 1, b);
  }
  rig_forward (rig);
  rig_backward (rig);
  g_ptr_array_add (found, rig_download (rig, rig->args.y));
  g_ptr_array_add (found, rig_download (rig, rig->args.dx[0]));
  for (guint i = 0; i < layer->n_weights; i++)
    g_ptr_array_add (found, rig_unpack (rig, i, rig->args.dw[i]));
  norm_compare (test, shape, x, w, b, dy, found);
}

static void
test_norm (gconstpointer data)
{
  const NormCase *test = data;

  for (const gchar *const *name = op_test_devices (); *name != NULL; name++) {
    g_autoptr (Rig) rig = line_new (*name, test->line);

    if (rig != NULL)
      check_norm (rig, test);
  }
}

/* Places that are no numbers, or infinitely far, read nothing. */
static void
test_odd_grid (void)
{
  static const gchar *const samples[] = { "in=1x3x4x5,1x2x3x2",
    "in=1x3x4x5,1x2x3x2 padding_mode=reflection mode=bicubic",
    "in=1x3x4x5,1x2x3x2 padding_mode=border mode=nearest"
  };
  gfloat odd[] = { NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 3e9f, 0, NAN, 1,
    -1, INFINITY, 0
  };

  for (guint i = 0; i < G_N_ELEMENTS (samples); i++) {
    g_autoptr (Rig) rig = rig_new (pt_layer_kind_find ("grid-sample"),
        samples[i], TRUE);
    g_autoptr (PtTensor) grid = NULL, y = NULL;

    if (rig == NULL)
      return;
    rig_load (rig, samples[i]);
    grid = random_tensor (&rig->layer->inputs[1], "grid");
    memcpy (grid->data, odd, sizeof odd);
    rig_upload (rig, rig->args.x[1], grid);
    rig_forward (rig);
    rig_backward (rig);
    y = rig_download (rig, rig->args.y);
    g_assert_true (pt_tensor_is_finite (y));
  }
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autofree gchar *path = g_strconcat ("/windows/alike/", lines[i], NULL);

    g_test_add_data_func (path, lines[i], test_alike);
  }
  for (guint i = 0; i < G_N_ELEMENTS (norms); i++) {
    g_autofree gchar *path = g_strconcat ("/windows/norms/", norms[i].line,
        NULL);

    g_test_add_data_func (path, &norms[i], test_norm);
  }
  g_test_add_func ("/windows/odd-grid", test_odd_grid);
  return g_test_run ();
}
