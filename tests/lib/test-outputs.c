/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Several outputs of one network: the main branch learns as if it were alone,
 * and each of the others is what a network that ends there gives. */

#include "engine/pipeline.h"
#include "stream.h"

#include <glib/gstdio.h>

#define N_LEARNED 30
#define N_FRAMES 36             /* the last ones only look */
#define MAX_OUTPUTS 5

#define CONV "type=conv2d\nkernel=3\npadding=1\n"
#define A "[a]\n" CONV "filters=6\nactivation=tanh\n"
#define S "[s1]\n" CONV "filters=4\ninputs=a\n[s2]\ntype=batch-norm\n" \
  "[s]\ntype=dropout\np=0.3\n"
#define B "[b]\n" CONV "filters=5\ninputs=a\n"
#define C "[c]\ntype=leaky-relu\n"
#define D "[d]\ntype=concat\ninputs=a;c\n"
#define E "[e]\n" CONV "filters=6\nactivation=relu\n"
#define U "[u1]\n" CONV "filters=6\ninputs=s\n[u]\ntype=add\ninputs=u1;e\n"
#define F "[f]\ntype=add\ninputs=e;a\n"
#define G "[g]\n" CONV "filters=1\n"
#define T "[t1]\n" CONV "filters=2\ninputs=g\n[t]\ntype=add\ninputs=t1;t1\n"
#define Z "[z]\ntype=reshape\nshape=1;1;10;12\n"
#define HEAD "[network]\nwidth=12\nheight=10\nchannels=1\nframes=2\n"
#define TAIL "[learning]\nloss=mse\noptimizer=adam lr=1e-3\nseed=7\n"

static const gchar *const modes[] = { "off", "exact", "partime", "delayed" };

/* All of the outputs, and networks that end with each of them. */
static const gchar whole_text[] = HEAD "output=g;c;s;u;t\n" TAIL
    A S B C D E U F G T;
static const gchar *const ends[MAX_OUTPUTS] = {
  HEAD TAIL A B C D E F G, HEAD TAIL A B C, HEAD TAIL A S,
  HEAD TAIL A S B C D E U, HEAD TAIL A B C D E F G T,
};

/* The main branch, its cut, and one of the whole with the same layers of it in
 * each stage; z passes on what g makes, where the last stage has none of it. */
static const struct
{
  const gchar *text, *cut, *whole_cut;
} cuts[] = {
  {HEAD TAIL A B C D E F G, "1", "1"},
  {HEAD TAIL A B C D E F G, "3,4", "6,8"},
  {HEAD TAIL A B C D E F G, "1,3,3", "3,4,7"},
  {HEAD TAIL A B C D E F G, "1,1,2,3", "1,4,2,7"},
  {HEAD TAIL A B C D E F G Z, "4,3,1", "7,5,2"},
  {HEAD TAIL A B C D E F G Z, "2,5,1", "5,7,2"},
};

typedef struct
{
  PtNetwork *network;
  GArray *frames[MAX_OUTPUTS];  /* of floats, one frame behind the other */
} Run;

static void
run_clear (Run *self)
{
  for (guint i = 0; i < MAX_OUTPUTS; i++)
    g_clear_pointer (&self->frames[i], g_array_unref);
  g_clear_pointer (&self->network, pt_network_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Run, run_clear)

static PtNetwork *
new_network (const gchar *text, const gchar *mode, const gchar *cut)
{
  const gchar *given = g_getenv ("PARTIME_TEST_STAGES");
  const gchar *settings[][3] = {
    {"learning", "mode", mode}, {"pipeline", "stages", cut},
    {"pipeline", "devices", given ? given : "cpu:0"},
  };
  g_autoptr (GError) error = NULL;
  PtNetwork *network = pt_network_new_from_data (text, -1, "net.cfg", &error);

  g_assert_no_error (error);
  stream_set (network, settings, G_N_ELEMENTS (settings));
  return network;
}

static void
take (Run *self, PtPipeline *pipeline)
{
  g_autoptr (PtResult) result = NULL;

  g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
      PT_FLOW_OK);
  g_assert_true (result->valid);
  g_assert_cmpuint (result->n_outputs, ==,
      pt_network_get_n_outputs (self->network));
  g_assert_true (result->output == result->outputs[0]);
  for (guint i = 0; i < result->n_outputs; i++) {
    const PtTensor *y = result->outputs[i];

    g_assert_cmpstr (result->output_names[i], ==,
        pt_network_get_output_name (self->network, i));
    g_assert_true (pt_shape_equal (&y->shape,
            pt_network_get_output_shape_at (self->network, i)));
    g_array_append_vals (self->frames[i], y->data, y->size / sizeof (gfloat));
  }
}

/* The last stage does not look into memory that its device cannot use; where
 * devices are emulated, nothing else would show that. */
static void
check_copies (const PtPipeline *pipeline)
{
  const PtWiring *wiring = &pipeline->wiring;
  const guint last = wiring->n_stages - 1;

  for (guint i = 0; i < wiring->network->n_outputs; i++) {
    const PtWire *wire = &wiring->wires[pt_wiring_get_output (wiring, i)];

    if (!pt_device_shares_memory (wiring->spans[last].device,
            pt_wiring_get_maker (wiring, wire)))
      g_assert_nonnull (wire->copies[last]);
  }
}

/* All frames; learning ends before the last ones, with all updates done. */
static void
run_frames (Run *self)
{
  g_autoptr (PtPipeline) pipeline = stream_start (self->network);
  guint taken = 0;

  check_copies (pipeline);
  for (guint f = 0; f < N_FRAMES;) {
    g_autoptr (PtTensor) frame = stream_frame (f);
    const PtFlow flow = pt_pipeline_push (pipeline, frame, NULL,
        PT_PUSH_TRY | (f < N_LEARNED ? PT_PUSH_NONE : PT_PUSH_NO_LEARN), NULL);

    if (flow == PT_FLOW_FULL) {
      take (self, pipeline);
      taken++;
      continue;
    }
    f++;
    while (taken < f && f == N_LEARNED) {
      take (self, pipeline);
      taken++;
    }
    if (f == N_LEARNED)
      stream_drain (pipeline);
  }
  for (; taken < N_FRAMES; taken++)
    take (self, pipeline);
  pt_pipeline_stop (pipeline);
}

static Run
run (const gchar *text, const gchar *mode, const gchar *cut)
{
  Run self = { .network = new_network (text, mode, cut) };

  for (guint i = 0; i < MAX_OUTPUTS; i++)
    self.frames[i] = g_array_new (FALSE, FALSE, sizeof (gfloat));
  run_frames (&self);
  return self;
}

/* The weights of @from, by names of layers. */
static void
copy_weights (PtNetwork *to, PtNetwork *from)
{
  pt_network_init_weights (to, 0);
  for (guint k = 0; k < to->n_nodes; k++) {
    const PtNode *node = &to->nodes[k];
    gint other = pt_network_find_layer (from, node->layer->name);

    for (guint i = 0; i < node->layer->n_weights; i++)
      memcpy (node->weights[i]->data, from->nodes[other].weights[i]->data,
          node->weights[i]->size);
  }
}

/* Of layers of @a that @b has as well. */
static void
assert_same_weights (PtNetwork *a, PtNetwork *b)
{
  guint n = 0;

  for (guint k = 0; k < a->n_nodes; k++) {
    const PtNode *node = &a->nodes[k];
    gint other = pt_network_find_layer (b, node->layer->name);

    for (guint i = 0; other >= 0 && i < node->layer->n_weights; i++, n++)
      if (memcmp (node->weights[i]->data, b->nodes[other].weights[i]->data,
              node->weights[i]->size) != 0) {
        g_test_message ("%s.%s is another", node->layer->name,
            node->layer->weights[i].name);
        g_test_fail ();
      }
  }
  g_assert_cmpuint (n, >=, 6);
}

/* From frame @first on; GPUs and the CPU add in another order. */
static void
assert_same_frames (const GArray *a, const GArray *b, guint first)
{
  const gboolean exact = g_getenv ("PARTIME_TEST_STAGES") == NULL;

  g_assert_cmpuint (a->len, ==, b->len);
  g_assert_cmpuint (a->len, >, 0);
  for (guint i = a->len / N_FRAMES * first; i < a->len; i++) {
    const gfloat x = g_array_index (a, gfloat, i);
    const gfloat y = g_array_index (b, gfloat, i);

    if (exact)
      g_assert_cmpfloat (x, ==, y);
    else
      g_assert_cmpfloat_with_epsilon (x, y, 1e-5);
  }
}

/* -- -- */

/* The main branch: same weights, same outputs, bit for bit. */
static void
test_main (gconstpointer mode)
{
  for (guint i = 0; i < G_N_ELEMENTS (cuts); i++) {
    g_auto (Run) alone = run (cuts[i].text, mode, cuts[i].cut);
    g_auto (Run) all = run (whole_text, mode, cuts[i].whole_cut);

    g_test_message ("cut %s", cuts[i].whole_cut);
    assert_same_weights (all.network, alone.network);
    g_assert_cmpuint (all.frames[0]->len, ==, alone.frames[0]->len);
    g_assert_cmpint (memcmp (all.frames[0]->data, alone.frames[0]->data,
            all.frames[0]->len * sizeof (gfloat)), ==, 0);
  }
}

/* Each output, by the weights as they are at the end, is that of a network that
 * ends there; where nothing is late, at all times whatever the cut. Layers that
 * the main output does not need stay as they were. */
static void
test_others (gconstpointer mode)
{
  g_auto (Run) first = run (whole_text, mode, cuts[0].whole_cut);

  for (guint i = 0; i < G_N_ELEMENTS (cuts); i++) {
    g_auto (Run) all = run (whole_text, mode, cuts[i].whole_cut);
    g_autoptr (PtNetwork) fresh = new_network (HEAD TAIL A S, mode, "1");
    g_autoptr (PtNetwork) learned = new_network (ends[0], mode, "1");

    pt_network_init_weights (fresh, 7);
    pt_network_init_weights (learned, 7);
    for (guint k = 1; k < fresh->n_nodes; k++)
      for (guint j = 0; j < fresh->nodes[k].layer->n_weights; j++)
        g_assert_cmpint (memcmp (fresh->nodes[k].weights[j]->data,
                all.network->nodes[k].weights[j]->data,
                fresh->nodes[k].weights[j]->size), ==, 0);
    g_assert_true ((memcmp (learned->nodes[0].weights[0]->data,
                all.network->nodes[0].weights[0]->data,
                learned->nodes[0].weights[0]->size) == 0) ==
        g_str_equal (mode, "off"));
    for (guint o = 0; o < MAX_OUTPUTS; o++) {
      g_auto (Run) end = { .network = new_network (ends[o], "off", "1") };

      copy_weights (end.network, all.network);
      end.frames[0] = g_array_new (FALSE, FALSE, sizeof (gfloat));
      run_frames (&end);
      g_test_message ("cut %s, output %s", cuts[i].whole_cut,
          pt_network_get_output_name (all.network, o));
      assert_same_frames (all.frames[o], end.frames[0],
          g_str_equal (mode, "off") ? 0 : N_LEARNED);
      if (g_str_equal (mode, "off") || g_str_equal (mode, "exact"))
        assert_same_frames (all.frames[o], first.frames[o], 0);
    }
  }
}

/* An output that is not finite is not handed out, nor are those beside it; of
 * the others nobody looks. */
static void
test_not_finite (void)
{
  static const gchar *const layers[] = { "t1", "g" };

  for (guint i = 0; i < G_N_ELEMENTS (layers); i++) {
    g_autoptr (PtNetwork) network = new_network (whole_text, "off", "8,6");
    g_autofree gchar *name = g_strconcat (layers[i], ".bias", NULL);
    PtTensor *bias = pt_network_get_weight (network, name);
    g_autoptr (PtTensor) frame = stream_frame (0);
    g_autoptr (PtResult) result = NULL;
    g_autoptr (PtPipeline) pipeline = NULL;

    ((gfloat *) pt_tensor_get_data (bias))[0] = INFINITY;
    pipeline = stream_start (network);
    pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_NONE, NULL);
    g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
        PT_FLOW_OK);
    g_assert_cmpint (result->valid, ==, i == 0);
    g_assert_true (isinf (*(gfloat *) result->outputs[4]->data) == (i == 0));
    g_assert_true ((*(gfloat *) result->outputs[3]->data == 0) == (i == 1));
  }
}

/* Frames at once are some, save, another pipeline, resume, the rest. */
static void
test_resumed (gconstpointer mode)
{
  g_autofree gchar *folder = g_dir_make_tmp ("outputs-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename (folder, "o.safetensors", NULL);

  for (guint i = 1; i < G_N_ELEMENTS (cuts); i++) {
    PtNetwork *networks[3];
    PtPipeline *pipelines[3];
    StreamSums whole = { 0 }, first = { 0 }, second = { .frames = 11 };
    gboolean stream = FALSE;

    for (guint j = 0; j < 3; j++) {
      networks[j] = new_network (whole_text, mode, cuts[i].whole_cut);
      pipelines[j] = stream_start (networks[j]);
    }
    stream_feed (pipelines[0], &whole, 0, 11);
    whole.hash = 0;
    stream_feed (pipelines[0], &whole, 11, N_LEARNED);
    stream_feed (pipelines[1], &first, 0, 11);
    g_assert_true (pt_pipeline_save (pipelines[1], path, NULL));
    g_assert_true (pt_pipeline_resume (pipelines[2], path, &stream, NULL));
    g_assert_true (stream);
    stream_feed (pipelines[2], &second, 11, N_LEARNED);
    g_assert_cmpuint (second.hash, ==, whole.hash);
    stream_drain (pipelines[0]);
    stream_drain (pipelines[2]);
    for (guint j = 0; j < 3; j++)
      pt_pipeline_unref (pipelines[j]);
    g_assert_cmpuint (stream_hash_weights (networks[0]), ==,
        stream_hash_weights (networks[2]));
    for (guint j = 0; j < 3; j++)
      pt_network_unref (networks[j]);
  }
  g_remove (path);
  g_rmdir (folder);
}

/* A network with other outputs in the place of one that runs. */
static void
test_replaced (void)
{
  g_autoptr (PtNetwork) a = new_network (whole_text, "partime", "8,6");
  g_autoptr (PtNetwork) b = new_network (ends[0], "partime", "3,4");
  g_autoptr (PtPipeline) old = stream_start (a);
  g_autoptr (PtPipeline) next = pt_pipeline_new (b, NULL);
  g_autoptr (GError) error = NULL;
  PtReplacement info;
  StreamSums sums = { 0 };

  g_assert_true (pt_pipeline_start_beside (next, old, &error));
  stream_feed (old, &sums, 0, 5);
  g_assert_true (pt_pipeline_replace (old, next, &info, &error));
  g_assert_no_error (error);
  g_assert_false (info.same_parameters);
  pt_pipeline_stop (old);
  stream_feed (next, &sums, 5, 5);
}

/* -- which they are -- */

static void
test_names (void)
{
  g_autoptr (PtNetwork) network = new_network (whole_text, "off", "1");
  g_autoptr (GError) error = NULL;
  static const gchar *const sides[] = { "s1", "s2", "s", "u1", "u", "t1", "t" };

  g_assert_cmpuint (pt_network_get_n_outputs (network), ==, 5);
  g_assert_cmpstr (pt_network_get_output_name (network, 4), ==, "t");
  g_assert_true (pt_shape_equal (pt_network_get_output_shape (network),
          &PT_SHAPE (1, 1, 10, 12)));
  g_assert_cmpint (pt_network_get_output_shape_at (network, 3)->dims[1], ==, 6);
  for (guint i = 0; i < network->n_nodes; i++)
    g_assert_cmpint (network->nodes[i].is_side, ==, g_strv_contains (sides,
            network->nodes[i].layer->name));
  g_assert_true (pt_network_set (network, "network", "output", "u; t;c;s;",
          &error));
  g_assert_cmpuint (pt_network_get_n_outputs (network), ==, 4);
  g_assert_true (network->nodes[pt_network_find_layer (network, "g")].is_side);
  g_assert_false (network->nodes[pt_network_find_layer (network, "e")].is_side);
}

static void
test_bad_names (void)
{
  static const gchar *const bad[][2] = {
    {"g;c;s;u", "[t]"}, {"g;c;s;u;t;v", "v"}, {"g;c;s;u;t;g", "once"},
    {"", "[u]"}, {";g;c;s;u;t", "\"\""}, {";", "\"\""}, {"input", "input"},
  };
  g_autoptr (PtNetwork) network = new_network (whole_text, "off", "1");

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_false (pt_network_set (network, "network", "output", bad[i][0],
            &error));
    g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, bad[i][1]));
    g_assert_cmpuint (pt_network_get_n_outputs (network), ==, 5);
  }
}

static void
test_too_many (void)
{
  GString *text = g_string_new (HEAD "output=");
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i <= PT_NETWORK_MAX_OUTPUTS; i++)
    g_string_append_printf (text, "r%u;", i);
  for (guint i = 0; i <= PT_NETWORK_MAX_OUTPUTS; i++)
    g_string_append_printf (text, "\n[r%u]\ntype=relu", i);
  g_assert_null (pt_network_new_from_data (text->str, -1, "net.cfg", &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
  g_assert_nonnull (strstr (error->message, "r1024"));
  g_string_free (text, TRUE);
}

/* Weights that only another output needs cannot be all there is to learn. */
static void
test_nothing_to_learn (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network = pt_network_new_from_data (HEAD
      "output=r;a\n" TAIL "target=labels\n[r]\ntype=relu\n"
      A, -1, "net.cfg", &error);
  g_autoptr (PtPipeline) pipeline = NULL;

  g_assert_no_error (error);
  pipeline = pt_pipeline_new (network, &error);
  g_assert_null (pipeline);
  g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
  g_assert_nonnull (strstr (error->message, "[r]"));
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    g_autofree gchar *main_branch = g_strconcat ("/outputs/main/", modes[i],
        NULL);
    g_autofree gchar *others = g_strconcat ("/outputs/others/", modes[i],
        NULL);
    g_autofree gchar *resumed = g_strconcat ("/outputs/resumed/", modes[i],
        NULL);

    g_test_add_data_func (main_branch, modes[i], test_main);
    g_test_add_data_func (others, modes[i], test_others);
    if (i > 0)
      g_test_add_data_func (resumed, modes[i], test_resumed);
  }
  g_test_add_func ("/outputs/not-finite", test_not_finite);
  g_test_add_func ("/outputs/replaced", test_replaced);
  g_test_add_func ("/outputs/names", test_names);
  g_test_add_func ("/outputs/bad-names", test_bad_names);
  g_test_add_func ("/outputs/too-many", test_too_many);
  g_test_add_func ("/outputs/nothing-to-learn", test_nothing_to_learn);
  return g_test_run ();
}
