/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/cuda.h"
#include "emulation.h"
#include "engine/pipeline.h"
#include "stream.h"

/* Stages on two emulated GPUs, and on GPUs and the CPU in turn: what a frame
 * needs is copied and waited for, whatever the order in which devices that
 * compute later than asked get round to it. */

#define N_FRAMES 24

/* Kernels add in another order than the CPU; over these updates the
 * difference grows to some 1e-6. */
#define TOLERANCE 1e-4

static const gchar *const modes[] = { "off", "exact", "partime", "delayed" };
static const gchar *const lists[] = {
  "cuda:0", "cuda:0,cuda:1", "cpu:0,cuda:0", "cuda:0,cpu:0",
  "cuda:0,cpu:0,cuda:1", "cpu:0,cuda:0,cpu:0", "cuda:0,cuda:1,cuda:0",
};

typedef struct
{
  StreamSums sums;
  guint64 weights, updates, dropped;
  PtNetwork *network;
} Outcome;

static void
outcome_clear (Outcome *outcome)
{
  g_clear_pointer (&outcome->network, pt_network_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Outcome, outcome_clear)

/* The same GPUs, but each step is done and looked at by the host. */
static PtBackend eager;
/* The same GPUs, but some recordings fail. */
static PtBackend spoilt;

static void
set (PtNetwork *network, const gchar *key, const gchar *value)
{
  g_autoptr (GError) error = NULL;

  pt_network_set (network, "learning", key, value, &error);
  g_assert_no_error (error);
}

/* @settings: "key=value" of [learning], NULL-terminated; may be NULL. */
static Outcome
run_with (const gchar *mode, const gchar *devices, const gchar *stages,
    const gchar *const *settings)
{
  Outcome outcome = { .network = stream_network (mode, devices, stages) };
  g_autoptr (PtPipeline) pipeline = NULL;

  for (; settings != NULL && *settings != NULL; settings++) {
    g_auto (GStrv) words = g_strsplit (*settings, "=", 2);

    set (outcome.network, words[0], words[1]);
  }
  pipeline = stream_start (outcome.network);
  outcome.sums = stream_run (pipeline, 0, N_FRAMES);
  for (guint i = 0; i < pipeline->n_stages; i++) {
    PtStageStats stats;

    pt_pipeline_get_stage_stats (pipeline, i, &stats);
    outcome.updates += stats.updates;
    outcome.dropped += stats.dropped;
  }
  pt_pipeline_stop (pipeline);
  outcome.weights = stream_hash_weights (outcome.network);
  return outcome;
}

static Outcome
run (const gchar *mode, const gchar *devices, const gchar *stages)
{
  return run_with (mode, devices, stages, NULL);
}

static void
test_as_on_the_cpu (gconstpointer mode)
{
  static const gchar *const cuts[] = { "1", "3,4", "2,3,2", "1,1,1,1,1,1,1" };

  for (guint c = 0; c < G_N_ELEMENTS (cuts); c++) {
    g_auto (Outcome) cpu = run (mode, "cpu:0", cuts[c]);

    for (guint l = 0; l < G_N_ELEMENTS (lists); l++) {
      g_auto (Outcome) gpu = run (mode, lists[l], cuts[c]);
      gdouble apart = stream_weights_distance (gpu.network, cpu.network);

      g_assert_cmpuint (gpu.sums.frames, ==, N_FRAMES);
      g_assert_cmpuint (gpu.sums.learned, ==, cpu.sums.learned);
      g_assert_cmpuint (gpu.sums.invalid, ==, 0);
      if (!(apart <= TOLERANCE)) {
        g_test_message ("%s on %s, cut %s: weights %g apart",
            (const gchar *) mode, lists[l], cuts[c], apart);
        g_test_fail ();
      }
    }
  }
}

static void
test_repeats (gconstpointer mode)
{
  for (guint l = 0; l < G_N_ELEMENTS (lists); l++) {
    g_auto (Outcome) first = run (mode, lists[l], "2,3,2");

    for (guint i = 0; i < 3; i++) {
      g_auto (Outcome) again = run (mode, lists[l], "2,3,2");

      g_assert_cmpuint (first.weights, ==, again.weights);
      g_assert_cmpuint (first.sums.hash, ==, again.sums.hash);
    }
  }
}

static void
assert_same (const gchar *mode, const gchar *const *settings)
{
  static const gchar *const pairs[][2] = {
    {"cuda:0", "eager:0"}, {"cuda:0,cuda:1", "eager:0,eager:1"},
    {"cpu:0,cuda:0,cuda:1", "cpu:0,eager:0,eager:1"},
    {"cuda:0,cpu:0,cuda:1", "eager:0,cpu:0,eager:1"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (pairs); i++) {
    g_auto (Outcome) recorded = run_with (mode, pairs[i][0], "2,3,2",
        settings);
    g_auto (Outcome) looked_at = run_with (mode, pairs[i][1], "2,3,2",
        settings);

    g_assert_cmpuint (recorded.sums.learned, ==, looked_at.sums.learned);
    g_assert_cmpuint (recorded.sums.invalid, ==, looked_at.sums.invalid);
    g_assert_cmpuint (recorded.updates, ==, looked_at.updates);
    g_assert_cmpuint (recorded.dropped, ==, looked_at.dropped);
    g_assert_cmpuint (recorded.sums.hash, ==, looked_at.sums.hash);
    g_assert_cmpuint (recorded.weights, ==, looked_at.weights);
  }
}

/* Whether the host looks at each step or not: bit for bit the same. */
static void
test_recorded_as_eager (gconstpointer mode)
{
  static const gchar *const clipped[] = { "clip-norm=0.05", "warmup=7",
    "staleness=sqrt", NULL };
  static const gchar *const projected[] = { "orthogonal=0.9",
    "optimizer=sgd lr=0.01 momentum=0.9", NULL };
  static const gchar *const frozen[] = { "freeze=a;e", "interval=3",
    "schedule=step step_size=5 gamma=0.5", NULL };
  static const gchar *const summed[] = { "accumulate=4", NULL };

  assert_same (mode, NULL);
  assert_same (mode, clipped);
  assert_same (mode, projected);
  assert_same (mode, frozen);
  assert_same (mode, summed);
}

/* A rate at which weights overflow: gradients that are not finite are dropped,
 * counted and rolled back alike. */
static void
test_broken_as_eager (gconstpointer mode)
{
  static const gchar *const settings[] = { "optimizer=sgd lr=3e9",
    "divergence-factor=0", NULL };
  g_auto (Outcome) outcome = run_with (mode, "cuda:0,cuda:1", "3,4", settings);

  g_assert_cmpuint (outcome.sums.invalid, >, 0);
  g_assert_cmpuint (outcome.dropped > 0, ==, !g_str_equal (mode, "exact"));
  assert_same (mode, settings);
}

/* The environment may forbid recordings; the result is the same. */
static void
test_not_recorded (void)
{
  guint made = pt_emulation_count (PT_EMULATED_CREATE), n[2];
  guint64 weights[2];

  for (guint i = 0; i < 2; i++) {
    g_auto (Outcome) outcome = { 0, };

    g_setenv ("PARTIME_RECORD", i ? "0" : "1", TRUE);
    outcome = run ("partime", "cuda:0,cuda:1", "3,4");
    weights[i] = outcome.weights;
    n[i] = pt_emulation_count (PT_EMULATED_CREATE) - made;
    made += n[i];
  }
  g_unsetenv ("PARTIME_RECORD");
  g_assert_cmpuint (weights[0], ==, weights[1]);
  /* three kinds of them for each of two stages */
  g_assert_cmpuint (n[0], >=, n[1] + 6);
}

/* One after the other comes to nothing. */
static gpointer
spoilt_recorded (PtDevice *device, GError **error)
{
  static gint n;
  gpointer recording = pt_backend_cuda.recorded (device, error);

  if (recording == NULL || g_atomic_int_add (&n, 1) % 2)
    return recording;
  pt_backend_cuda.recording_free (device, recording);
  g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "spoilt");
  return NULL;
}

/* A recording that others spoil costs time, nothing else. */
static void
test_spoilt (gconstpointer mode)
{
  g_auto (Outcome) sound = run (mode, "cuda:0,cuda:1", "2,3,2");
  g_auto (Outcome) spoils = run (mode, "spoilt:0,spoilt:1", "2,3,2");

  g_assert_cmpuint (spoils.weights, ==, sound.weights);
  g_assert_cmpuint (spoils.sums.hash, ==, sound.sums.hash);
}

/* Nothing is allocated per frame once it runs, and the host waits once. */
static void
test_steady (gconstpointer mode)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cuda:0,cuda:1",
      "2,3,2");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  StreamSums sums = { 0, };
  guint before[PT_EMULATED_N_CALLS], n[PT_EMULATED_N_CALLS];

  /* past the guard's first copy of the good state, far from its next */
  stream_feed (pipeline, &sums, 0, 120);
  for (guint i = 0; i < PT_EMULATED_N_CALLS; i++)
    before[i] = pt_emulation_count (i);
  stream_feed (pipeline, &sums, 120, N_FRAMES);
  for (guint i = 0; i < PT_EMULATED_N_CALLS; i++)
    n[i] = pt_emulation_count (i) - before[i];
  g_assert_cmpuint (n[PT_EMULATED_MALLOC], ==, 0);
  g_assert_cmpuint (n[PT_EMULATED_HOST_ALLOC], ==, 0);
  g_assert_cmpuint (n[PT_EMULATED_CREATE], ==, 0);
  /* three recordings for each of three stages, and what the frame before still
   * had to come; no kernel beside them */
  g_assert_cmpuint (n[PT_EMULATED_LAUNCH], <=, 9 * (N_FRAMES + 2));
  /* input and target */
  g_assert_cmpuint (n[PT_EMULATED_COPY], <=, 2 * N_FRAMES);
}

/* What a stage takes is told of every pass that there is. */
static void
test_times (gconstpointer mode)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cuda:0,cuda:1",
      "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  gboolean learns = strcmp (mode, "off") != 0;
  StreamSums sums = { 0, };

  stream_feed (pipeline, &sums, 0, N_FRAMES);
  for (guint i = 0; i < 2; i++) {
    PtStageStats stats;

    pt_pipeline_get_stage_stats (pipeline, i, &stats);
    g_assert_cmpuint (stats.forward, >, 0);
    g_assert_cmpint (stats.backward > 0, ==, learns);
    g_assert_cmpint (stats.update > 0, ==, learns);
    g_assert_cmpuint (stats.forward, <, 1000000000);
  }
}

/* Also what lies between two frames survives on other memory. */
static void
test_flush_and_go_on (void)
{
  g_autoptr (PtNetwork) network = stream_network ("delayed",
      "cuda:0,cpu:0,cuda:1", "2,3,2");
  g_autoptr (PtPipeline) pipeline = stream_start (network);

  for (guint round = 0; round < 10; round++) {
    for (guint i = 0; i < round; i++) {
      g_autoptr (PtTensor) frame = stream_frame (i);

      pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_TRY, NULL);
    }
    pt_pipeline_set_flushing (pipeline, TRUE);
    pt_pipeline_set_flushing (pipeline, FALSE);
    g_assert_cmpuint (stream_run (pipeline, 0, 7).invalid, ==, 0);
  }
}

/* Feeds until the pipeline fails, and returns why. */
static GError *
feed_until_it_fails (PtPipeline *pipeline)
{
  GError *error = NULL;

  for (guint i = 0; i < 1000 && error == NULL; i++) {
    g_autoptr (PtTensor) frame = stream_frame (i);
    g_autoptr (PtResult) result = NULL;

    if (pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_TRY, &error)
        == PT_FLOW_FULL)
      pt_pipeline_pull (pipeline, &result, &error);
  }
  return error;
}

/* A GPU that fails for good: the error names device, stage and cause, and the
 * next pipeline finds it sound. */
static void
test_failure (void)
{
  Outcome sound = run ("partime", "cuda:0,cuda:1", "3,4");

  for (guint round = 0; round < 5; round++) {
    g_autoptr (PtNetwork) network = stream_network ("partime",
        "cuda:0,cuda:1", "3,4");
    g_autoptr (PtPipeline) pipeline = stream_start (network);
    StreamSums sums = { 0, };
    g_autoptr (GError) error = NULL;

    stream_feed (pipeline, &sums, 0, 30);
    pt_emulation_fail (PT_EMULATED_LAUNCH, 1 + 7 * round, cudaErrorIllegalAddress);
    error = feed_until_it_fails (pipeline);
    g_assert_error (error, PT_ERROR, PT_ERROR_DEVICE);
    g_assert_nonnull (strstr (error->message, "device cuda:"));
    g_assert_nonnull (strstr (error->message, "stage "));
    g_assert_nonnull (strstr (error->message, "illegal memory access"));
    pt_pipeline_stop (pipeline);
  }
  for (guint round = 0; round < 2; round++) {
    g_auto (Outcome) again = run ("partime", "cuda:0,cuda:1", "3,4");

    g_assert_cmpuint (again.weights, ==, sound.weights);
  }
  outcome_clear (&sound);
}

/* Wherever memory ends while a pipeline starts, it says so and leaves none
 * behind. */
static void
test_no_memory (void)
{
  guint nth = 1;

  for (gboolean failed = TRUE; failed; nth += 3) {
    g_autoptr (PtNetwork) network = stream_network ("delayed",
        "cuda:0,cuda:1", "3,4");
    g_autoptr (GError) error = NULL;
    g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, &error);

    g_assert_no_error (error);
    pt_emulation_fail (PT_EMULATED_MALLOC, nth, cudaErrorMemoryAllocation);
    failed = !pt_pipeline_start (pipeline, &error);
    if (failed)
      g_assert_error (error, PT_ERROR, PT_ERROR_NO_MEMORY);
    pt_pipeline_stop (pipeline);
    g_clear_pointer (&pipeline, pt_pipeline_unref);
    g_assert_cmpuint (pt_emulation_get_used (0), ==, 0);
    g_assert_cmpuint (pt_emulation_get_used (1), ==, 0);
  }
  g_assert_cmpuint (nth, >, 60);
  pt_emulation_fail (PT_EMULATED_MALLOC, 0, cudaSuccess);
}

int
main (int argc, char **argv)
{
  g_setenv ("PARTIME_EMULATED_DELAY_US", "30", FALSE);
  g_test_init (&argc, &argv, NULL);
  eager = pt_backend_cuda;
  eager.name = "eager";
  eager.record = NULL;
  pt_device_add_backend (&eager);
  spoilt = pt_backend_cuda;
  spoilt.name = "spoilt";
  spoilt.recorded = spoilt_recorded;
  pt_device_add_backend (&spoilt);
  for (guint m = 0; m < G_N_ELEMENTS (modes); m++) {
    g_autofree gchar *same = g_strdup_printf ("/stages-gpu/as-on-the-cpu/%s",
        modes[m]);
    g_autofree gchar *recorded = g_strdup_printf
        ("/stages-gpu/recorded-as-eager/%s", modes[m]);
    g_autofree gchar *broken = g_strdup_printf
        ("/stages-gpu/broken-as-eager/%s", modes[m]);
    g_autofree gchar *steady = g_strdup_printf ("/stages-gpu/steady/%s",
        modes[m]);
    g_autofree gchar *times = g_strdup_printf ("/stages-gpu/times/%s",
        modes[m]);
    g_autofree gchar *repeats = g_strdup_printf ("/stages-gpu/repeats/%s",
        modes[m]);
    g_autofree gchar *spoils = g_strdup_printf ("/stages-gpu/spoilt/%s",
        modes[m]);

    g_test_add_data_func (spoils, modes[m], test_spoilt);
    g_test_add_data_func (same, modes[m], test_as_on_the_cpu);
    g_test_add_data_func (repeats, modes[m], test_repeats);
    g_test_add_data_func (recorded, modes[m], test_recorded_as_eager);
    g_test_add_data_func (steady, modes[m], test_steady);
    g_test_add_data_func (times, modes[m], test_times);
    if (m > 0)
      g_test_add_data_func (broken, modes[m], test_broken_as_eager);
  }
  g_test_add_func ("/stages-gpu/not-recorded", test_not_recorded);
  g_test_add_func ("/stages-gpu/failure", test_failure);
  g_test_add_func ("/stages-gpu/no-memory", test_no_memory);
  g_test_add_func ("/stages-gpu/flush-and-go-on", test_flush_and_go_on);
  return g_test_run ();
}
