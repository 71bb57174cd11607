/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

/* Where nothing learns, a convolution takes in what scales and shifts its
 * channels behind it, and layers that move elements those behind them: the
 * same results as layer by layer, in fewer steps, and the weights stay. */

#define SIZE 9
#define FRAMES 4
#define TOLERANCE 1e-5

static const gchar head[] = "[network]\nwidth=9\nheight=9\nchannels=3\n"
    "[learning]\nloss=mse\ntarget=labels\nmode=off\n"
    "[pipeline]\nstages=1\n[output]\nkind=raw\n";

#define CONV(name, more) \
  "[" name "]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n" more
#define NORM(name, more) \
  "[" name "]\ntype=batch-norm\nstatistics=running\n" more

#define UP(name, more) \
  "[" name "]\ntype=conv-transpose2d\nfilters=6\nkernel=3\nstride=2\n" more
#define FLAT "[f]\ntype=flatten\n"
#define LINEAR(name, more) \
  "[" name "]\ntype=linear\nunits=6\n" more
#define SCALE(name, type, other) \
  "[" name "]\ntype=" type "\nother=" other "\n"
#define LAYER(name, more) "[" name "]\ntype=" more "\n"

/* Layers, and how many are taken in. */
static const struct
{
  const gchar *about, *layers;
  guint n;
} cases[] = {
  {"plain", CONV ("c", "bias=false\n") NORM ("n", ""), 1},
  {"biased", CONV ("c", "") NORM ("n", "activation=relu\neps=1e-2\n"), 1},
  {"grouped", CONV ("a", "") CONV ("c", "groups=4\n") NORM ("n", ""), 1},
  {"in a row", CONV ("a", "bias=false\n") NORM ("m", "activation=relu\n")
        CONV ("c", "stride=2\n") NORM ("n", "") CONV ("d", ""), 2},
  {"a residual", CONV ("a", "") NORM ("m", "activation=relu\n")
        CONV ("c", "") NORM ("n", "") "[s]\ntype=add\ninputs=m;n\n"
        CONV ("d", "bias=false\n") NORM ("o", "activation=relu\n"), 3},
  {"activated", CONV ("c", "activation=relu\n") NORM ("n", ""), 0},
  {"read twice", CONV ("c", "") NORM ("n", "") "[s]\ntype=add\ninputs=c;n\n",
      0},
  {"more than the product", CONV ("a", "") CONV ("c", "inputs=a;a\n")
        NORM ("n", ""), 0},
  {"its own statistics", CONV ("c", "")
        "[n]\ntype=batch-norm\nstatistics=batch\n", 0},
  {"transposed", UP ("c", "bias=false\n") NORM ("n", "activation=relu\n"), 1},
  {"transposed in groups", CONV ("a", "") UP ("c", "groups=2\n")
        NORM ("n", "eps=1e-2\n") CONV ("d", ""), 1},
  {"linear", FLAT LINEAR ("l", "") NORM ("n", "activation=relu\n")
        LINEAR ("m", "bias=false\n") NORM ("o", ""), 2},
  {"linear over rows", CONV ("c", "") LINEAR ("l", "") SCALE ("m", "mul", "6")
        SCALE ("s", "add", "1;6"), 2},
  {"rows are not channels", CONV ("c", "") LINEAR ("l", "") NORM ("n", ""), 0},
  {"scaled and moved", CONV ("c", "bias=false\n") SCALE ("m", "mul", "4;1;1")
        SCALE ("s", "add", "1;4;1;1") CONV ("d", ""), 2},
  {"a chain", CONV ("a", "") NORM ("n", "") SCALE ("m", "div", "1;4;1;1")
        SCALE ("s", "sub", "4;1;1\nreverse=true") SCALE ("t", "sub", "1")
        SCALE ("u", "mul", "1\nvalue=2") SCALE ("v", "add",
            "4;1;1\nactivation=relu") SCALE ("w", "mul", "4;1;1"), 6},
  {"nowhere to put a bias", CONV ("c", "bias=false\n") SCALE ("m", "mul", "1"),
      0},
  {"other axes", CONV ("c", "") SCALE ("m", "mul", "9") CONV ("d", "")
        SCALE ("n", "mul", "4;9;1") CONV ("e", "") SCALE ("o", "add",
            "1;1;4;1;1"), 0},
  {"other operations", CONV ("c", "") SCALE ("m", "max", "4;1;1")
        CONV ("d", "") SCALE ("n", "div", "4;1;1\nreverse=true"), 0},
  {"an activation", CONV ("c", "bias=false\n") "[r]\ntype=relu6\n"
        CONV ("d", "") NORM ("n", "") "[s]\ntype=silu\n", 3},
  {"one with options", UP ("c", "") SCALE ("m", "mul", "6;1;1")
        "[r]\ntype=leaky-relu\nnegative_slope=0.3\n" FLAT LINEAR ("l", "")
        "[g]\ntype=gelu\napproximate=tanh\n", 3},
  {"one behind what is added", CONV ("a", "") CONV ("c", "inputs=a;a\n")
        "[t]\ntype=tanh\n" NORM ("n", ""), 1},
  {"one that cannot end others", CONV ("c", "") NORM ("n", "")
        "[e]\ntype=elu\n", 1},
  {"of two layers", CONV ("c", "") "[m]\ntype=mul\ninputs=c;c\n", 0},
  {"scaled by numbers", CONV ("a", "") LAYER ("m", "mul\nother=1")
        LAYER ("p", "add\nother=1\nreverse=true") LAYER ("h", "hard-swish")
        LAYER ("q", "mul\nother=1") CONV ("d", ""), 3},
  {"scaled by channels", CONV ("a", "bias=false\n") NORM ("n", "")
        LAYER ("m", "mul\nother=4;1;1\nreverse=true")
        LAYER ("p", "add\nother=1;4;1;1\nactivation=relu") CONV ("d", ""), 3},
  {"a norm first", CONV ("a", "activation=relu\n") NORM ("n", "")
        LAYER ("m", "mul\nother=4;1;1") LAYER ("e", "relu") CONV ("d", ""), 2},
  {"a norm without such an activation", CONV ("a", "activation=relu\n")
        NORM ("n", "") LAYER ("m", "mul\nother=1") LAYER ("h", "hard-swish"),
      1},
  {"leaky", CONV ("a", "") LAYER ("m", "mul\nother=1")
        LAYER ("l", "leaky-relu\nnegative_slope=0.3"), 2},
  {"scaled by columns", CONV ("a", "") LAYER ("m", "mul\nother=9"), 0},
  {"added to by a layer", CONV ("a", "") CONV ("c", "")
        LAYER ("s", "add\ninputs=a;c"), 0},
  {"shuffled channels", CONV ("a", "") LAYER ("r", "reshape\nshape=1;2;2;9;9")
        LAYER ("t", "transpose\nperm=0;2;1;3;4")
        LAYER ("u", "reshape\nshape=1;4;9;9") CONV ("d", ""), 2},
  {"there and back", CONV ("a", "") LAYER ("t", "transpose\nperm=0;2;3;1")
        LAYER ("u", "transpose\nperm=0;3;1;2") CONV ("d", ""), 1},
  {"chosen", CONV ("a", "") LAYER ("p", "pixel-unshuffle\ndownscale_factor=3")
        LAYER ("s", "slice\nstart=31\nlength=14\nstep=-2")
        LAYER ("i", "index-select\nindex=3;1;1;0;-1")
        LAYER ("t", "transpose\nperm=0;3;1;2")
        LAYER ("f", "flatten") LAYER ("l", "linear\nunits=5"), 4},
  {"no axes in common", CONV ("a", "") LAYER ("r", "reshape\nshape=1;6;54")
        LAYER ("t", "transpose\nperm=0;2;1") LAYER ("e", "relu"), 1},
  {"moved and read twice", CONV ("a", "")
        LAYER ("t", "transpose\nperm=0;1;3;2")
        LAYER ("u", "transpose\nperm=0;1;3;2")
        "[s]\ntype=add\ninputs=t;u\n", 0},
  {"the last ones", CONV ("a", "bias=false\n") NORM ("n", "")
        LAYER ("t", "transpose\nperm=0;3;2;1")
        LAYER ("r", "reshape\nshape=1;18;18"), 2},
  {"more than one chain holds", CONV ("a", "")
        LAYER ("b", "transpose\nperm=0;2;3;1")
        LAYER ("c", "transpose\nperm=0;2;3;1")
        LAYER ("d", "transpose\nperm=0;2;3;1")
        LAYER ("e", "transpose\nperm=0;2;3;1")
        LAYER ("f", "transpose\nperm=0;2;3;1")
        LAYER ("g", "transpose\nperm=0;2;3;1")
        LAYER ("h", "transpose\nperm=0;2;3;1")
        LAYER ("i", "transpose\nperm=0;2;3;1")
        LAYER ("j", "transpose\nperm=0;2;3;1")
        LAYER ("k", "transpose\nperm=0;2;3;1"), 8},
};

/* One device, or one for each of two stages; those of the environment. */
static void
set_devices (PtNetwork *network, guint n)
{
  const gchar *given = g_getenv ("PARTIME_TEST_STAGES");
  g_auto (GStrv) names = g_strsplit (given ? given : "cpu:0,cpu:0", ",", 2);
  g_autofree gchar *both = NULL;

  if (n == 1)
    g_clear_pointer (&names[1], g_free);
  both = g_strjoinv (",", names);
  g_assert_true (pt_network_set (network, "pipeline", "devices", both, NULL));
}

/* Weights that are not what they start as. */
static PtNetwork *
make_network (const gchar *layers)
{
  g_autofree gchar *text = g_strconcat (head, layers, NULL);
  g_autoptr (GError) error = NULL;
  PtNetwork *network =
      pt_network_new_from_data (text, -1, "fold.cfg", &error);
  GRand *rand = g_rand_new_with_seed (5);

  g_assert_no_error (error);
  set_devices (network, 1);
  pt_network_init_weights (network, 7);
  for (guint i = 0; i < network->n_nodes; i++)
    for (guint j = 0; j < network->nodes[i].layer->n_weights; j++) {
      const PtTensor *weight = network->nodes[i].weights[j];
      gfloat *data = weight->data;

      for (gsize k = 0; k < weight->size / sizeof (gfloat); k++)
        data[k] = j == 3 ? g_rand_double_range (rand, 0.2, 3) :
            g_rand_double_range (rand, -1, 1);
    }
  g_rand_free (rand);
  return network;
}

static guint
count_folds (const PtPipeline *pipeline)
{
  guint n = 0;

  for (guint i = 0; i < pipeline->n_stages; i++)
    for (guint k = 0; k < pipeline->stages[i]->span->n; k++)
      n += pt_stage_folds (pipeline->stages[i], k);
  return n;
}

/* Outputs of some frames, one behind the other. */
static GArray *
run (PtPipeline *pipeline)
{
  GArray *outputs = g_array_new (FALSE, FALSE, sizeof (gfloat));
  GRand *rand = g_rand_new_with_seed (6);

  for (guint f = 0; f < FRAMES; f++) {
    g_autoptr (PtTensor) frame = pt_tensor_new (PT_F32,
        (gint64[]) { 3, SIZE, SIZE }, 3, NULL);
    g_autoptr (PtResult) result = NULL;
    gfloat *data = frame->data;

    for (guint i = 0; i < 3 * SIZE * SIZE; i++)
      data[i] = g_rand_double_range (rand, -1, 1);
    g_assert_cmpint (pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_NONE,
            NULL), ==, PT_FLOW_OK);
    g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
        PT_FLOW_OK);
    g_array_append_vals (outputs, pt_tensor_get_data (result->output),
        pt_shape_get_n_elements (&result->output->shape));
  }
  g_rand_free (rand);
  return outputs;
}

static GArray *
run_mode (PtNetwork *network, const gchar *mode, const gchar *stages,
    guint *folds)
{
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (pt_network_set (network, "learning", "mode", mode, &error));
  g_assert_true (pt_network_set (network, "pipeline", "stages", stages,
          &error));
  pipeline = pt_pipeline_new (network, &error);
  g_assert_no_error (error);
  pt_pipeline_set_learn (pipeline, FALSE);
  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  *folds = count_folds (pipeline);
  return run (pipeline);
}

static gdouble
get_distance (const GArray *found, const GArray *expected)
{
  gdouble difference = 0, size = 0;

  g_assert_cmpuint (found->len, ==, expected->len);
  for (guint i = 0; i < found->len; i++) {
    const gdouble a = g_array_index (found, gfloat, i);
    const gdouble b = g_array_index (expected, gfloat, i);

    difference += (a - b) * (a - b);
    size += b * b;
  }
  return sqrt (difference / size);
}

static void
test_results (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (PtNetwork) network = make_network (cases[i].layers);
    g_autoptr (GArray) expected = NULL;
    g_autoptr (GArray) found = NULL;
    guint folds;

    expected = run_mode (network, "exact", "1", &folds);
    g_assert_cmpuint (folds, ==, 0);
    found = run_mode (network, "off", "1", &folds);
    g_test_message ("%s: off by %.1e", cases[i].about, get_distance (found,
            expected));
    g_assert_cmpuint (folds, ==, cases[i].n);
    g_assert_cmpfloat (get_distance (found, expected), <, TOLERANCE);
    g_assert_cmpfloat (get_distance (expected, found), <, TOLERANCE);
  }
}

/* A cut between layers that are one moves, if there is room. */
static void
test_cut (void)
{
  static const struct
  {
    const gchar *stages;
    guint folds;
  } cuts[] = {
    {"1,-1", 2}, {"2,-1", 2}, {"3,-1", 2}, {"1,1,-1", 1}, {"1,1,1,1,1", 0},
    {"2", 2}, {"3", 2}, {"auto", 2}
  };
  g_autoptr (PtNetwork) network = make_network (cases[3].layers);
  guint folds;
  g_autoptr (GArray) expected = run_mode (network, "exact", "1", &folds);

  set_devices (network, 2);
  for (guint i = 0; i < G_N_ELEMENTS (cuts); i++) {
    g_autoptr (GArray) found = run_mode (network, "off", cuts[i].stages,
        &folds);

    g_test_message ("stages=%s", cuts[i].stages);
    g_assert_cmpuint (folds, ==, cuts[i].folds);
    g_assert_cmpfloat (get_distance (found, expected), <, TOLERANCE);
  }
}

static GBytes *
copy_weights (const PtNetwork *network)
{
  GByteArray *bytes = g_byte_array_new ();

  for (guint i = 0; i < network->n_nodes; i++)
    for (guint j = 0; j < network->nodes[i].layer->n_weights; j++)
      g_byte_array_append (bytes, network->nodes[i].weights[j]->data,
          network->nodes[i].weights[j]->size);
  return g_byte_array_free_to_bytes (bytes);
}

/* Neither the network's nor a checkpoint's are folded; what is loaded is. */
static void
test_weights (void)
{
  g_autoptr (PtNetwork) network = make_network (cases[1].layers);
  g_autoptr (PtNetwork) other = make_network (cases[1].layers);
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, NULL);
  g_autoptr (GBytes) before = copy_weights (network);
  g_autoptr (GBytes) after = NULL;
  g_autoptr (GBytes) loaded = NULL;
  g_autoptr (GArray) first = NULL;
  g_autoptr (GArray) second = NULL;
  g_autoptr (GArray) third = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("test-fold-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename (folder, "w", NULL);
  g_autoptr (GError) error = NULL;

  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (count_folds (pipeline), ==, 1);
  first = run (pipeline);
  pt_pipeline_save (pipeline, path, &error);
  g_assert_no_error (error);
  pt_network_init_weights (other, 8);
  g_assert_true (pt_network_load_weights (other, path, &error));
  loaded = copy_weights (other);
  g_assert_true (g_bytes_equal (loaded, before));
  g_assert_true (pt_pipeline_reset (pipeline, &error));
  second = run (pipeline);
  g_assert_cmpfloat (get_distance (second, first), >, 0.01);
  g_assert_true (pt_pipeline_load (pipeline, path, &error));
  third = run (pipeline);
  g_assert_cmpmem (third->data, third->len * sizeof (gfloat), first->data,
      first->len * sizeof (gfloat));
  pt_pipeline_stop (pipeline);
  after = copy_weights (network);
  g_assert_true (g_bytes_equal (after, before));
  g_unlink (path);
  g_rmdir (folder);
}

typedef struct
{
  PtPipeline *pipeline;
  const gchar *path;
} Load;

static gpointer
load (gpointer data)
{
  const Load *self = data;
  g_autoptr (GError) error = NULL;

  pt_pipeline_load (self->pipeline, self->path, &error);
  g_assert_no_error (error);
  return NULL;
}

/* The stages stand still, a checkpoint is asked for, then other weights: it has
 * the ones of the frames before. */
static void
test_load_behind_save (void)
{
  g_autoptr (PtNetwork) network = make_network (cases[3].layers);
  g_autoptr (PtNetwork) other = make_network (cases[3].layers);
  g_autoptr (GBytes) before = copy_weights (network);
  g_autoptr (GBytes) given = NULL;
  g_autoptr (GBytes) after = NULL;
  g_autoptr (GBytes) saved = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("test-fold-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename (folder, "w", NULL);
  g_autofree gchar *next = g_build_filename (folder, "n", NULL);
  g_autoptr (PtTensor) frame = pt_tensor_new (PT_F32,
      (gint64[]) { 3, SIZE, SIZE }, 3, NULL);
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;
  Load job = { NULL, next };
  GThread *thread;
  guint n = 0;

  pt_network_init_weights (other, 8);
  given = copy_weights (other);
  g_assert_true (pt_network_save_weights (other, next, &error));
  set_devices (network, 2);
  g_assert_true (pt_network_set (network, "pipeline", "stages", "2,-1", NULL));
  job.pipeline = pipeline = pt_pipeline_new (network, &error);
  g_assert_true (pt_pipeline_start (pipeline, &error));
  while (pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_TRY, &error) ==
      PT_FLOW_OK) {
    g_usleep (10000);
    n++;
  }
  g_assert_no_error (error);
  pt_pipeline_save_async (pipeline, path);
  thread = g_thread_new ("load", load, &job);
  g_usleep (100000);            /* it would have changed them by now */
  for (guint i = 0; i < n; i++) {
    g_autoptr (PtResult) result = NULL;

    g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
        PT_FLOW_OK);
  }
  g_thread_join (thread);
  pt_pipeline_stop (pipeline);
  after = copy_weights (network);
  g_assert_true (g_bytes_equal (after, given));
  g_assert_true (pt_network_load_weights (other, path, &error));
  saved = copy_weights (other);
  g_assert_true (g_bytes_equal (saved, before));
  g_unlink (path);
  g_unlink (next);
  g_rmdir (folder);
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fold/results", test_results);
  g_test_add_func ("/fold/cut", test_cut);
  g_test_add_func ("/fold/weights", test_weights);
  g_test_add_func ("/fold/load-behind-save", test_load_behind_save);
  return g_test_run ();
}
