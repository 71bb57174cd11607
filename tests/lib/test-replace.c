/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* One network in the place of another while frames go through. */

#include "stream.h"

#include <glib/gstdio.h>
#include <unistd.h>

#define PATIENCE 60             /* s, after which a wait is one for ever */
#define BEFORE 37
#define AFTER 31

static gchar *folder;

typedef struct
{
  const gchar *mode, *cut;
} Case;

static const Case cases[] = {
  {"exact", "7"}, {"exact", "3,4"}, {"partime", "3,4"}, {"partime", "2,2,3"},
  {"delayed", "3,4"}, {"delayed", "1,2,2,2"},
};

/* One frame at a time, so that the end of a stream makes no difference to
 * what the next frame is stacked with. */
static PtNetwork *
new_network_of (const gchar *text, const Case *c, const gchar *interval)
{
  const gchar *settings[][3] = {
    {"learning", "mode", c->mode}, {"learning", "replay", "8"},
    {"learning", "replay-interval", "3"}, {"learning", "interval", interval},
    {"learning", "schedule", "step step_size=9 gamma=0.7"},
    {"pipeline", "devices", "cpu:0"}, {"pipeline", "stages", c->cut},
  };
  g_autoptr (GError) error = NULL;
  PtNetwork *network = pt_network_new_from_data (text, -1, "stream.cfg",
      &error);

  g_assert_no_error (error);
  stream_set (network, settings, G_N_ELEMENTS (settings));
  return network;
}

static PtNetwork *
new_network (const Case *c, const gchar *interval)
{
  g_auto (GStrv) parts = g_strsplit (STREAM_NETWORK, "frames=2", 2);
  g_autofree gchar *text = g_strjoinv ("frames=1", parts);

  return new_network_of (text, c, interval);
}

/* One layer is wider. */
static PtNetwork *
new_other_network (const Case *c)
{
  g_auto (GStrv) parts = g_strsplit (STREAM_NETWORK, "filters=5", 2);
  g_autofree gchar *wide = g_strjoinv ("filters=8", parts);
  g_auto (GStrv) halves = g_strsplit (wide, "frames=2", 2);
  g_autofree gchar *text = g_strjoinv ("frames=1", halves);

  return new_network_of (text, c, "1");
}

static void
push (PtPipeline *pipeline, guint64 f)
{
  g_autoptr (PtTensor) frame = stream_frame (f);
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_NONE,
          &error), ==, PT_FLOW_OK);
  g_assert_no_error (error);
}

static void
take_end (PtPipeline *pipeline)
{
  g_autoptr (PtResult) none = NULL;

  g_assert_cmpint (pt_pipeline_pull (pipeline, &none, NULL), ==,
      PT_FLOW_DRAINED);
}

/* The frames of the first are still inside as the second comes. */
static void
run_replaced (PtPipeline *old, PtPipeline *next, StreamSums *sums,
    PtReplacement *info)
{
  g_autoptr (GError) error = NULL;

  g_assert_true (pt_pipeline_start_beside (next, old, &error));
  stream_feed (old, sums, 0, BEFORE - 2);
  push (old, BEFORE - 2);
  push (old, BEFORE - 1);
  g_assert_true (pt_pipeline_replace (old, next, info, &error));
  g_assert_no_error (error);
  push (next, BEFORE);
  push (next, BEFORE + 1);
  stream_take (old, sums);
  stream_take (old, sums);
  take_end (old);
  pt_pipeline_stop (old);
  stream_take (next, sums);
  stream_take (next, sums);
  stream_feed (next, sums, BEFORE + 2, AFTER - 2);
  stream_drain (next);
}

/* What it would have been without: the same pipeline, with the end of a stream
 * at that frame, and @path's weights from there on. */
static PtPipeline *
run_whole (PtNetwork *network, const gchar *path, StreamSums *sums)
{
  PtPipeline *pipeline = stream_start (network);
  StreamSums rest = { 0 };

  stream_feed (pipeline, sums, 0, BEFORE);
  stream_drain (pipeline);
  if (path != NULL)
    g_assert_true (pt_pipeline_set_weights (pipeline, path, NULL, NULL));
  rest.hash = sums->hash;
  stream_feed (pipeline, &rest, BEFORE, AFTER);
  stream_drain (pipeline);
  sums->hash = rest.hash;
  return pipeline;
}

static void
assert_same_counts (PtPipeline *a, PtPipeline *b)
{
  PtPipelineStats x, y;
  PtStageStats s, t;

  pt_pipeline_get_stats (a, &x);
  pt_pipeline_get_stats (b, &y);
  g_assert_cmpuint (x.frames, ==, BEFORE + AFTER);
  g_assert_cmpuint (x.frames, ==, y.frames);
  g_assert_cmpuint (x.learned, ==, y.learned);
  g_assert_cmpuint (x.updates, ==, y.updates);
  g_assert_cmpfloat (x.mean_loss, ==, y.mean_loss);
  g_assert_cmpuint (x.n_measures, ==, y.n_measures);
  for (guint i = 0; i < x.n_measures; i++)
    g_assert_cmpfloat (x.measures[i].total, ==, y.measures[i].total);
  pt_pipeline_get_stage_stats (a, 0, &s);
  pt_pipeline_get_stage_stats (b, 0, &t);
  g_assert_cmpfloat (s.learning_rate, ==, t.learning_rate);
}

/* The one that took over, and one that was never replaced, learn the same bit
 * for bit: with weights as they were learned, or, with @own, new ones. */
static void
check_kept (const Case *c, gboolean own, gboolean keep)
{
  g_autofree gchar *path = g_build_filename (folder, "own.safetensors", NULL);
  g_autoptr (PtNetwork) a = new_network (c, "1"), b = new_network (c, "1");
  g_autoptr (PtNetwork) whole = new_network (c, "1");
  g_autoptr (PtPipeline) old = NULL, next = NULL, reference = NULL;
  StreamSums found = { 0 }, expected = { 0 };
  PtReplacement info;

  if (own)
    pt_network_init_weights (b, 99);
  own = own && !keep;
  if (own)
    g_assert_true (pt_network_save_weights (b, path, NULL));
  alarm (PATIENCE);
  old = stream_start (a);
  next = pt_pipeline_new (b, NULL);
  if (keep)
    pt_pipeline_keep_weights (next);
  run_replaced (old, next, &found, &info);
  g_assert_cmpuint (info.frame, ==, BEFORE);
  g_assert_true (info.same_parameters && info.kept_optimizer);
  g_assert_cmpint (info.kept_weights, ==, !own);
  reference = run_whole (whole, own ? path : NULL, &expected);
  g_assert_cmphex (found.hash, ==, expected.hash);
  assert_same_counts (next, reference);
  pt_pipeline_stop (next);
  pt_pipeline_stop (reference);
  g_assert_cmphex (stream_hash_weights (b), ==, stream_hash_weights (whole));
  alarm (0);
}

static void
test_kept (gconstpointer c)
{
  check_kept (c, FALSE, FALSE);
  check_kept (c, TRUE, TRUE);
}

static void
test_own_weights (gconstpointer c)
{
  check_kept (c, TRUE, FALSE);
}

/* A network that comes with weights and constants, and is to go on with what was
 * learned: it keeps its constants alone. */
static void
test_keep_weights (gconstpointer c)
{
  g_auto (GStrv) parts = g_strsplit (STREAM_NETWORK, "[learning]", 2);
  g_autofree gchar *text = g_strjoin ("", parts[0], "[one]\ntype=mul\n"
      "other=1\nlearned=false\n[learning]", parts[1], NULL);
  Case cut = *(const Case *) c;
  g_autoptr (PtNetwork) a = NULL, b = NULL;
  g_autoptr (PtPipeline) old = NULL, next = NULL;
  StreamSums sums = { 0 };
  PtReplacement info;
  PtTensor *mine;
  gfloat *x;

  cut.cut = strchr (cut.cut, ',') ? "4,4" : "8";
  a = new_network_of (text, &cut, "1");
  b = new_network_of (text, &cut, "1");
  pt_network_init_weights (b, 99);
  mine = pt_network_get_weight (b, "one.other");
  x = (gfloat *) pt_tensor_get_data (mine);
  x[0] = 7;
  old = stream_start (a);
  next = pt_pipeline_new (b, NULL);
  pt_pipeline_keep_weights (next);
  run_replaced (old, next, &sums, &info);
  g_assert_true (info.same_parameters && info.kept_weights
      && info.kept_optimizer);
  pt_pipeline_stop (next);
  g_assert_cmpfloat (x[0], ==, 7);
}

/* What cannot keep its weights is refused, and the one before goes on. */
static void
test_keep_refused (gconstpointer c)
{
  g_autoptr (PtNetwork) a = new_network (c, "1"), b = new_other_network (c);
  g_autoptr (PtPipeline) old = stream_start (a), next = NULL;
  g_autoptr (GError) error = NULL;
  StreamSums sums = { 0 };
  PtReplacement info;

  next = pt_pipeline_new (b, NULL);
  pt_pipeline_keep_weights (next);
  g_assert_true (pt_pipeline_start_beside (next, old, NULL));
  push (old, 0);
  g_assert_false (pt_pipeline_replace (old, next, &info, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
  g_test_message ("%s", error->message);
  g_assert_nonnull (strstr (error->message, "expected weight 5x"));
  pt_pipeline_stop (next);
  stream_take (old, &sums);
  stream_feed (old, &sums, 1, 5);
  stream_drain (old);
  pt_pipeline_stop (old);
}

/* What was learned is on its way as the weights are forgotten: that counts. */
static void
test_reset (gconstpointer c)
{
  g_autoptr (PtNetwork) fresh = new_network (c, "1");

  /* of the file's seed */
  pt_network_init_weights (fresh, 7);
  for (guint i = 0; i < 10; i++) {
    g_autoptr (PtNetwork) a = new_network (c, "1"), b = new_network (c, "1");
    g_autoptr (PtPipeline) old = stream_start (a), next = NULL;
    StreamSums sums = { 0 };
    PtReplacement info;

    next = pt_pipeline_new (b, NULL);
    g_assert_true (pt_pipeline_start_beside (next, old, NULL));
    stream_feed (old, &sums, 0, 9);
    push (old, 9);
    push (old, 10);
    g_assert_true (pt_pipeline_replace (old, next, &info, NULL));
    g_assert_true (pt_pipeline_reset (next, NULL));
    pt_pipeline_stop (old);
    pt_pipeline_stop (next);
    g_assert_cmphex (stream_hash_weights (b), ==, stream_hash_weights (fresh));
    g_assert_cmphex (stream_hash_weights (a), !=, stream_hash_weights (fresh));
  }
}

/* Every second frame learns, counted over both. */
static void
test_interval (gconstpointer c)
{
  g_autoptr (PtNetwork) a = new_network (c, "2"), b = new_network (c, "2");
  g_autoptr (PtPipeline) old = stream_start (a), next = NULL;
  StreamSums sums = { 0 };
  PtReplacement info;

  next = pt_pipeline_new (b, NULL);
  run_replaced (old, next, &sums, &info);
  g_assert_cmpuint (sums.learned, ==, (BEFORE + AFTER + 1) / 2);
  pt_pipeline_stop (next);
}

/* Frames that were before are still stacked with those that come, and counted,
 * though nothing learns. */
static void
test_stacked (gconstpointer c)
{
  const Case *cut = c;
  g_autoptr (PtNetwork) a = stream_network ("off", "cpu:0", cut->cut);
  g_autoptr (PtNetwork) b = stream_network ("off", "cpu:0", cut->cut);
  g_autoptr (PtNetwork) whole = stream_network ("off", "cpu:0", cut->cut);
  g_autoptr (PtPipeline) old = stream_start (a), next = NULL, reference = NULL;
  StreamSums found = { 0 }, expected = { 0 };
  PtReplacement info;
  PtPipelineStats stats;

  next = pt_pipeline_new (b, NULL);
  run_replaced (old, next, &found, &info);
  g_assert_true (info.kept_weights && !info.kept_optimizer);
  pt_pipeline_get_stats (next, &stats);
  g_assert_cmpuint (stats.frames, ==, BEFORE + AFTER);
  reference = stream_start (whole);
  stream_feed (reference, &expected, 0, BEFORE + AFTER);
  g_assert_cmphex (found.hash, ==, expected.hash);
  pt_pipeline_stop (next);
  pt_pipeline_stop (reference);
}

/* Another network starts as if there had been none before it. */
static void
test_other (gconstpointer c)
{
  g_autoptr (PtNetwork) a = new_network (c, "1"), b = new_other_network (c);
  g_autoptr (PtNetwork) alone = new_other_network (c);
  g_autoptr (PtPipeline) old = stream_start (a), next = NULL, reference = NULL;
  StreamSums found = { 0 }, expected = { 0 };
  PtReplacement info;

  /* frames kept for replay go over */
  pt_network_set (b, "learning", "replay", "0", NULL);
  pt_network_set (alone, "learning", "replay", "0", NULL);
  next = pt_pipeline_new (b, NULL);
  run_replaced (old, next, &found, &info);
  g_assert_false (info.same_parameters || info.kept_weights
      || info.kept_optimizer);
  g_assert_cmpuint (found.frames, ==, BEFORE + AFTER);
  reference = stream_start (alone);
  stream_feed (reference, &expected, BEFORE, AFTER);
  stream_drain (reference);
  pt_pipeline_stop (next);
  pt_pipeline_stop (reference);
  g_assert_cmphex (stream_hash_weights (b), ==, stream_hash_weights (alone));
}

/* Flushed, or stopped, while the one waits for the other, which nobody
 * pulls from. */
static void
test_flushed (gconstpointer c)
{
  for (guint i = 0; i < 20; i++) {
    g_autoptr (PtNetwork) a = new_network (c, "1"), b = new_network (c, "1");
    g_autoptr (PtPipeline) old = stream_start (a), next = NULL;
    StreamSums sums = { 0 };
    PtReplacement info;

    alarm (PATIENCE);
    next = pt_pipeline_new (b, NULL);
    g_assert_true (pt_pipeline_start_beside (next, old, NULL));
    for (guint k = 0; k < 3; k++)
      push (old, k);
    g_assert_true (pt_pipeline_replace (old, next, &info, NULL));
    push (next, 3);
    g_usleep (i * 100);
    pt_pipeline_set_flushing (old, TRUE);
    pt_pipeline_set_flushing (next, TRUE);
    if (i % 2 == 0) {
      pt_pipeline_set_flushing (old, FALSE);
      pt_pipeline_set_flushing (next, FALSE);
      stream_feed (next, &sums, 0, 5);
    }
    pt_pipeline_stop (old);
    pt_pipeline_stop (next);
    alarm (0);
  }
}

/* Again and again, at no distance; the learned weights go through all. */
static void
test_chain (gconstpointer c)
{
  g_autoptr (PtNetwork) first = new_network (c, "1");
  PtPipeline *now = stream_start (first);
  StreamSums sums = { 0 };

  for (guint i = 0; i < 25; i++) {
    g_autoptr (PtNetwork) network = new_network (c, "1");
    PtPipeline *next = pt_pipeline_new (network, NULL);
    PtReplacement info;
    guint n = i % 3;

    g_assert_true (pt_pipeline_start_beside (next, now, NULL));
    for (guint k = 0; k < n; k++)
      push (now, sums.frames + k);
    g_assert_true (pt_pipeline_replace (now, next, &info, NULL));
    g_assert_cmpuint (info.frame, ==, sums.frames + n);
    for (guint k = 0; k < n; k++)
      stream_take (now, &sums);
    take_end (now);
    pt_pipeline_unref (now);
    now = next;
  }
  stream_feed (now, &sums, 0, 10);
  pt_pipeline_unref (now);
}

int
main (int argc, char **argv)
{
  const struct
  {
    const gchar *name;
    GTestDataFunc run;
  } tests[] = {
    {"kept", test_kept}, {"own-weights", test_own_weights},
    {"keep-weights", test_keep_weights}, {"keep-refused", test_keep_refused},
    {"reset", test_reset},
    {"interval", test_interval}, {"stacked", test_stacked},
    {"other", test_other}, {"flushed", test_flushed}, {"chain", test_chain},
  };
  int failed;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    for (guint k = 0; k < G_N_ELEMENTS (cases); k++) {
      g_autofree gchar *name = g_strdup_printf ("/replace/%s/%s/%s",
          tests[i].name, cases[k].mode, cases[k].cut);

      g_test_add_data_func (name, &cases[k], tests[i].run);
    }
  failed = g_test_run ();
  {
    g_autofree gchar *path = g_build_filename (folder, "own.safetensors",
        NULL);

    g_remove (path);
    g_rmdir (folder);
    g_free (folder);
  }
  return failed;
}
