/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "stream.h"

static const gchar *const modes[] = { "off", "exact", "partime", "delayed" };

typedef struct
{
  StreamSums sums;
  guint64 weights;
} Outcome;

static Outcome
run (const gchar *mode, const gchar *devices, const gchar *stages, guint n)
{
  g_autoptr (PtNetwork) network = stream_network (mode, devices, stages);
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  Outcome outcome = { stream_run (pipeline, 0, n), 0 };

  pt_pipeline_stop (pipeline);
  outcome.weights = stream_hash_weights (network);
  return outcome;
}

static void
test_everything_comes_out (void)
{
  static const gchar *const stages[] = { "1", "2", "3", "1,1,1,1,1,1,1" };

  for (guint m = 0; m < G_N_ELEMENTS (modes); m++) {
    for (guint s = 0; s < G_N_ELEMENTS (stages); s++) {
      for (guint n = 0; n < 9; n++) {
        Outcome outcome = run (modes[m], "cpu:0", stages[s], n);

        g_assert_cmpuint (outcome.sums.frames, ==, n);
        g_assert_cmpuint (outcome.sums.learned, ==, m == 0 ? 0 : n);
      }
    }
  }
}

static void
test_one_stage_all_modes_agree (void)
{
  Outcome exact = run ("exact", "cpu:0", "1", 30);
  Outcome partime = run ("partime", "cpu:0", "1", 30);
  Outcome delayed = run ("delayed", "cpu:0", "1", 30);

  g_assert_cmpuint (exact.weights, ==, partime.weights);
  g_assert_cmpuint (exact.weights, ==, delayed.weights);
  g_assert_cmpuint (exact.sums.hash, ==, partime.sums.hash);
  g_assert_cmpuint (exact.sums.hash, ==, delayed.sums.hash);
}

/* Waiting for each other, stages compute what one would. */
static void
test_exact_does_not_depend_on_the_cut (void)
{
  Outcome one = run ("exact", "cpu:0", "1", 30);
  Outcome two = run ("exact", "cpu:0", "3,4", 30);
  Outcome many = run ("exact", "cpu:0", "1,1,1,1,1,1,1", 30);

  g_assert_cmpuint (one.weights, ==, two.weights);
  g_assert_cmpuint (one.weights, ==, many.weights);
  g_assert_cmpuint (one.sums.hash, ==, many.sums.hash);
}

static void
test_off_does_not_depend_on_the_cut (void)
{
  Outcome one = run ("off", "cpu:0", "1", 20);
  Outcome many = run ("off", "cpu:0", "2,1,1,1,-1", 20);

  g_assert_cmpuint (one.sums.hash, ==, many.sums.hash);
  g_assert_cmpuint (one.weights, ==, many.weights);
}

static void
test_repeats_bit_for_bit (void)
{
  for (guint m = 1; m < G_N_ELEMENTS (modes); m++) {
    Outcome first = run (modes[m], "cpu:0*2", "2,3,2", 60);

    for (guint i = 0; i < 5; i++) {
      Outcome again = run (modes[m], "cpu:0*2", "2,3,2", 60);

      g_assert_cmpuint (first.weights, ==, again.weights);
      g_assert_cmpuint (first.sums.hash, ==, again.sums.hash);
    }
  }
}

/* The modes must differ where they should, or the tests above say nothing. */
static void
test_modes_differ (void)
{
  Outcome exact = run ("exact", "cpu:0", "2,3,2", 30);
  Outcome partime = run ("partime", "cpu:0", "2,3,2", 30);
  Outcome delayed = run ("delayed", "cpu:0", "2,3,2", 30);

  g_assert_cmpuint (exact.weights, !=, partime.weights);
  g_assert_cmpuint (exact.weights, !=, delayed.weights);
  g_assert_cmpuint (partime.weights, !=, delayed.weights);
}

static void
test_drain_starts_anew (void)
{
  g_autoptr (PtNetwork) network = stream_network ("delayed", "cpu:0", "3");
  g_autoptr (PtPipeline) pipeline = stream_start (network);

  for (guint i = 0; i < 6; i++)
    g_assert_cmpuint (stream_run (pipeline, 0, i).frames, ==, i);
}

static void
test_flush (gconstpointer mode)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "2,2,3");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  guint64 before;

  for (guint round = 0; round < 40; round++) {
    for (guint i = 0; i < round % 9; i++) {
      g_autoptr (PtTensor) frame = stream_frame (i);

      pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_TRY, NULL);
    }
    if (round % 3 == 0)
      pt_pipeline_drain (pipeline, NULL);
    pt_pipeline_set_flushing (pipeline, TRUE);
    {
      g_autoptr (PtTensor) frame = stream_frame (0);
      g_autoptr (PtResult) result = NULL;

      g_assert_cmpint (pt_pipeline_push (pipeline, frame, NULL, 0, NULL), ==,
          PT_FLOW_FLUSHING);
      g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
          PT_FLOW_FLUSHING);
    }
    pt_pipeline_set_flushing (pipeline, FALSE);
    g_assert_cmpuint (stream_run (pipeline, 0, 5).frames, ==, 5);
  }
  pt_pipeline_stop (pipeline);
  before = stream_hash_weights (network);
  g_assert_true (pt_pipeline_start (pipeline, NULL));
  pt_pipeline_set_flushing (pipeline, TRUE);
  pt_pipeline_set_flushing (pipeline, FALSE);
  pt_pipeline_stop (pipeline);
  g_assert_cmpuint (stream_hash_weights (network), ==, before);
}

static void
test_learn_flags (void)
{
  g_autoptr (PtNetwork) network = stream_network ("partime", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  guint64 before, after;
  PtStageStats first, last;

  pt_pipeline_set_learn (pipeline, FALSE);
  g_assert_cmpuint (stream_run (pipeline, 0, 10).learned, ==, 0);
  pt_pipeline_stop (pipeline);
  before = stream_hash_weights (network);
  pt_pipeline_start (pipeline, NULL);
  g_assert_cmpuint (stream_run (pipeline, 0, 10).learned, ==, 0);
  pt_pipeline_set_learn (pipeline, TRUE);
  pt_pipeline_set_learn_interval (pipeline, 3);
  g_assert_cmpuint (stream_run (pipeline, 0, 10).learned, ==, 4);
  pt_pipeline_get_stage_stats (pipeline, 0, &first);
  pt_pipeline_get_stage_stats (pipeline, 1, &last);
  /* frames 0, 3, 6, 9 learn; the token about 9 waits for frame 11 */
  g_assert_cmpuint (last.updates, ==, 4);
  g_assert_cmpuint (first.updates, ==, 3);
  g_assert_cmpuint (first.age, ==, 2);
  pt_pipeline_stop (pipeline);
  after = stream_hash_weights (network);
  g_assert_cmpuint (before, !=, after);
}

static void
count_event (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  if (event->type == PT_EVENT_DIVERGED)
    g_atomic_int_inc ((gint *) data);
}

static void
test_divergence_is_rolled_back (gconstpointer mode)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "2,3,2");
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;
  StreamSums sums;
  PtPipelineStats stats;
  gint diverged = 0;

  g_assert_true (pt_network_set (network, "learning", "optimizer",
          "sgd lr=1e30", &error));
  g_assert_true (pt_network_set (network, "learning", "warmup", "0", &error));
  pipeline = pt_pipeline_new (network, &error);
  pt_pipeline_set_event_func (pipeline, count_event, &diverged);
  g_assert_true (pt_pipeline_start (pipeline, &error));
  sums = stream_run (pipeline, 0, 60);
  pt_pipeline_get_stats (pipeline, &stats);
  g_assert_cmpuint (sums.frames, ==, 60);
  g_assert_cmpuint (stats.rollbacks, >, 0);
  g_assert_cmpuint (stats.rollbacks, ==, diverged);
  pt_pipeline_set_learn (pipeline, FALSE);
  stream_run (pipeline, 0, 12);
  g_assert_cmpuint (stream_run (pipeline, 0, 3).invalid, ==, 0);
}

/* At a rate of 1e30 what frame 0 does to the weights shows in the loss of
 * frame 5, and is rolled back; until stage 0 has heard of it, on frame 13,
 * nothing is learned; then the same with frames 15 and 20. When a rollback is
 * under way at the end, no stage may keep what the update before has made of
 * its weights. */
static void
test_rollback_before_drain (void)
{
  for (guint n = 6; n < 31; n += n == 15 ? 6 : 1) {
    g_autoptr (PtNetwork) network = stream_network ("partime", "cpu:0",
        "1,1,1,2,2");
    g_autoptr (PtPipeline) pipeline = NULL;

    pt_network_set (network, "learning", "optimizer", "sgd lr=1e30", NULL);
    pt_network_set (network, "learning", "warmup", "0", NULL);
    pt_network_set (network, "learning", "interval", "5", NULL);
    pipeline = stream_start (network);
    stream_run (pipeline, 0, n);
    pt_pipeline_stop (pipeline);
    for (guint k = 0; k < network->n_nodes; k++)
      for (guint i = 0; i < network->nodes[k].layer->n_weights; i++)
        g_assert_cmpfloat (fabsf (*(gfloat *)
                network->nodes[k].weights[i]->data), <, 10);
  }
}

/* Frames @at of the pattern, in that order, or if there are none the first
 * @n. */
static guint64
replay_run (const gchar *mode, const gchar *replay, const gchar *interval,
    const guint *at, guint n)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "2,3,2");
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;
  StreamSums sums = { 0 };

  pt_network_set (network, "network", "frames", "1", &error);
  pt_network_set (network, "learning", "replay", replay, &error);
  pt_network_set (network, "learning", "replay-interval", interval, &error);
  g_assert_no_error (error);
  pipeline = stream_start (network);
  for (guint i = 0; i < n; i++)
    stream_feed (pipeline, &sums, at != NULL ? at[i] : i, 1);
  g_assert_cmpuint (sums.frames, ==, n);
  stream_drain (pipeline);
  pt_pipeline_stop (pipeline);
  return stream_hash_weights (network);
}

/* With room for one frame, what is learned again is the frame before: as if
 * it had been pushed once more. */
static void
test_replay (gconstpointer mode)
{
  static const guint each[] = { 0, 1, 0, 2, 1, 3, 2, 4, 3, 5, 4 };
  static const guint second[] = { 0, 1, 0, 2, 3, 2, 4, 5, 4 };
  guint64 once = replay_run (mode, "0", "1", NULL, 6);

  g_assert_cmpuint (replay_run (mode, "1", "1", NULL, 6), ==,
      replay_run (mode, "0", "1", each, G_N_ELEMENTS (each)));
  g_assert_cmpuint (replay_run (mode, "1", "2", NULL, 6), ==,
      replay_run (mode, "0", "1", second, G_N_ELEMENTS (second)));
  g_assert_cmpuint (replay_run (mode, "1", "1", NULL, 6), !=, once);
  g_assert_cmpuint (replay_run (mode, "4", "1", NULL, 40), ==,
      replay_run (mode, "4", "1", NULL, 40));
}

static void
test_bad_frames (void)
{
  g_autoptr (PtNetwork) network = stream_network ("exact", "cpu:0", "1");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  const gint64 dims[] = { 1, STREAM_HEIGHT, STREAM_WIDTH + 1 };
  g_autoptr (PtTensor) wide = pt_tensor_new (PT_F32, dims, 3, NULL);
  g_autoptr (PtTensor) frame = stream_frame (0);
  g_autoptr (GError) shape = NULL, nan = NULL;

  g_assert_cmpint (pt_pipeline_push (pipeline, wide, NULL, 0, &shape), ==,
      PT_FLOW_ERROR);
  g_assert_error (shape, PT_ERROR, PT_ERROR_SHAPE);
  g_assert_nonnull (strstr (shape->message, "1x10x13"));
  ((gfloat *) pt_tensor_get_data (frame))[5] = NAN;
  g_assert_cmpint (pt_pipeline_push (pipeline, frame, NULL, 0, &nan), ==,
      PT_FLOW_ERROR);
  g_assert_error (nan, PT_ERROR, PT_ERROR_FAILED);
  g_assert_cmpuint (stream_run (pipeline, 0, 3).frames, ==, 3);
}

typedef struct
{
  const gchar *group, *key, *value;
  gint code;
  const gchar *says;
} BadSetting;

static const BadSetting bad_settings[] = {
  {"learning", "mode", "sideways", PT_ERROR_CONFIG, "sideways"},
  {"learning", "loss", "", PT_ERROR_CONFIG, "loss"},
  {"learning", "loss", "mean", PT_ERROR_CONFIG, "mean"},
  {"learning", "loss", "optical-flow", PT_ERROR_SHAPE, "loss"},
  {"learning", "optimizer", "adam lr=x", PT_ERROR_CONFIG, "lr"},
  {"learning", "learning-rate", "-1", PT_ERROR_CONFIG, "-1"},
  {"learning", "learning-rate", "fast", PT_ERROR_CONFIG, "fast"},
  {"learning", "target", "past", PT_ERROR_CONFIG, "past"},
  {"learning", "staleness", "old", PT_ERROR_CONFIG, "old"},
  {"pipeline", "stages", "0", PT_ERROR_CONFIG, "'0'"},
  {"pipeline", "stages", "8", PT_ERROR_CONFIG, "7 layers"},
  {"pipeline", "stages", "4,4", PT_ERROR_CONFIG, "4,4"},
  {"pipeline", "stages", "x", PT_ERROR_CONFIG, "x"},
  {"pipeline", "devices", "abacus:0", PT_ERROR_DEVICE, "abacus"},
  {"pipeline", "devices", "cpu:4096", PT_ERROR_DEVICE, "4096"},
};

static void
test_bad_settings (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_settings); i++) {
    const BadSetting *bad = &bad_settings[i];
    g_autoptr (PtNetwork) network = stream_network ("partime", "cpu:0", "2");
    g_autoptr (PtPipeline) pipeline = NULL;
    g_autoptr (GError) error = NULL;

    if (pt_network_set (network, bad->group, bad->key, bad->value, &error)
        && (pipeline = pt_pipeline_new (network, &error)))
      g_assert_false (pt_pipeline_start (pipeline, &error));
    g_test_message ("%s=%s: %s", bad->key, bad->value,
        error != NULL ? error->message : "no error");
    g_assert_error (error, PT_ERROR, bad->code);
    g_assert_nonnull (strstr (error->message, bad->says));
    g_assert_nonnull (strstr (error->message, bad->key));
  }
}

static void
test_auto (void)
{
  Outcome outcome = run ("partime", "auto", "auto", 20);

  g_assert_cmpuint (outcome.sums.frames, ==, 20);
  outcome = run ("off", "cpu", "auto", 20);
  g_assert_cmpuint (outcome.sums.frames, ==, 20);
  outcome = run ("delayed", "cpu:0*3", "auto", 20);
  g_assert_cmpuint (outcome.sums.frames, ==, 20);
}

/* What is to be pushed as target, as the settings have it. */
static void
test_target_info (void)
{
  static const struct
  {
    const gchar *mode, *loss, *target;
    gboolean takes, teacher;
    gint n_classes, ignore;
  } cases[] = {
    {"exact", "mse", "input", FALSE, FALSE, 0, 0},
    {"exact", "mse", "labels", TRUE, FALSE, 0, 0},
    {"exact", "mse", "teacher", TRUE, TRUE, 0, 0},
    {"off", "mse", "labels", FALSE, FALSE, 0, 0},
    {"partime", "cross-entropy ignore_index=7", "auto", TRUE, FALSE, 3, 7},
    {"partime", "cross-entropy", "teacher", TRUE, TRUE, 3, -100},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree gchar *text = g_strdup_printf ("[network]\nwidth=4\nheight=2\n"
        "[out]\ntype=conv2d\nfilters=3\nkernel=1\n[learning]\nmode=%s\n"
        "loss=%s\ntarget=%s\n", cases[i].mode, cases[i].loss,
        cases[i].target);
    g_autoptr (GError) error = NULL;
    g_autoptr (PtNetwork) network = pt_network_new_from_data (text, -1,
        "test.cfg", &error);
    g_autoptr (PtPipeline) pipeline = NULL;
    PtTargetInfo info;

    g_assert_no_error (error);
    pipeline = pt_pipeline_new (network, &error);
    g_assert_no_error (error);
    g_assert_cmpint (pt_pipeline_get_target_info (pipeline, &info), ==,
        cases[i].takes);
    g_assert_cmpint (info.teacher, ==, cases[i].teacher);
    g_assert_cmpint (info.n_classes, ==, cases[i].n_classes);
    g_assert_cmpint (info.ignore_index, ==, cases[i].ignore);
    if (!cases[i].takes)
      continue;
    g_assert_true (g_str_has_prefix (cases[i].loss, info.loss));
    g_assert_cmpint (info.dtype, ==, info.n_classes > 0 ? PT_I32 : PT_F32);
    g_assert_cmpuint (info.shape.n_dims, ==, info.n_classes > 0 ? 3 : 4);
    g_assert_cmpint (info.shape.dims[info.shape.n_dims - 1], ==, 4);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pipeline/everything-comes-out",
      test_everything_comes_out);
  g_test_add_func ("/pipeline/one-stage-all-modes-agree",
      test_one_stage_all_modes_agree);
  g_test_add_func ("/pipeline/exact-does-not-depend-on-the-cut",
      test_exact_does_not_depend_on_the_cut);
  g_test_add_func ("/pipeline/off-does-not-depend-on-the-cut",
      test_off_does_not_depend_on_the_cut);
  g_test_add_func ("/pipeline/repeats-bit-for-bit", test_repeats_bit_for_bit);
  g_test_add_func ("/pipeline/modes-differ", test_modes_differ);
  g_test_add_func ("/pipeline/drain-starts-anew", test_drain_starts_anew);
  g_test_add_data_func ("/pipeline/flush/off", "off", test_flush);
  g_test_add_data_func ("/pipeline/flush/exact", "exact", test_flush);
  g_test_add_data_func ("/pipeline/flush/partime", "partime", test_flush);
  g_test_add_data_func ("/pipeline/flush/delayed", "delayed", test_flush);
  g_test_add_func ("/pipeline/learn-flags", test_learn_flags);
  g_test_add_data_func ("/pipeline/rolled-back/exact", "exact",
      test_divergence_is_rolled_back);
  g_test_add_data_func ("/pipeline/rolled-back/partime", "partime",
      test_divergence_is_rolled_back);
  g_test_add_data_func ("/pipeline/rolled-back/delayed", "delayed",
      test_divergence_is_rolled_back);
  g_test_add_func ("/pipeline/rolled-back/before-drain",
      test_rollback_before_drain);
  g_test_add_data_func ("/pipeline/replay/exact", "exact", test_replay);
  g_test_add_data_func ("/pipeline/replay/partime", "partime", test_replay);
  g_test_add_data_func ("/pipeline/replay/delayed", "delayed", test_replay);
  g_test_add_func ("/pipeline/bad-frames", test_bad_frames);
  g_test_add_func ("/pipeline/bad-settings", test_bad_settings);
  g_test_add_func ("/pipeline/target-info", test_target_info);
  g_test_add_func ("/pipeline/auto", test_auto);
  return g_test_run ();
}
