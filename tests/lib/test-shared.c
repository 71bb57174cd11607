/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Several streams through one pipeline. */

#include "stream.h"

#include <unistd.h>

#define PATIENCE 60             /* s, after which a wait is one for ever */
#define N 60
#define PIXELS (STREAM_WIDTH * STREAM_HEIGHT)

/* Frame @f of camera @camera, as bytes. */
static void
fill (guint8 *pixels, guint camera, guint64 f)
{
  for (guint i = 0; i < PIXELS; i++)
    pixels[i] = 128 + 100 * sinf (0.7f * (i % STREAM_WIDTH) + 0.11f * f
        + 1.3f * camera);
}

typedef struct
{
  PtStream *stream;
  guint camera, n;
  guint pause;                  /* us between pulls */
  guint64 hash;
  guint n_pulled, learned;
  gboolean flushing;            /* that is how it may end */
  gint n_pushed;                /* atomic */
} Camera;

static gpointer
camera_push (gpointer data)
{
  Camera *self = data;
  guint8 pixels[PIXELS];

  for (guint f = 0; f < self->n; f++) {
    PtFlow flow;

    fill (pixels, self->camera, f);
    flow = pt_stream_push_pixels (self->stream, pixels, STREAM_WIDTH, NULL,
        PT_PUSH_NONE, NULL);
    if (self->flushing && flow == PT_FLOW_FLUSHING)
      return NULL;
    g_assert_cmpint (flow, ==, PT_FLOW_OK);
    g_atomic_int_inc (&self->n_pushed);
  }
  g_assert_cmpint (pt_stream_drain (self->stream, NULL), ==, PT_FLOW_OK);
  return NULL;
}

static gpointer
camera_pull (gpointer data)
{
  Camera *self = data;

  for (;;) {
    g_autoptr (PtResult) result = NULL;
    PtFlow flow = pt_stream_pull (self->stream, &result, NULL);

    if (flow == PT_FLOW_DRAINED
        || (self->flushing && flow == PT_FLOW_FLUSHING))
      return NULL;
    g_assert_cmpint (flow, ==, PT_FLOW_OK);
    g_assert_cmpuint (result->frame, ==, self->n_pulled++);
    self->learned += result->learned;
    self->hash = stream_hash (self->hash,
        pt_tensor_get_data (result->output), PIXELS * sizeof (gfloat));
    g_usleep (self->pause);
  }
}

static void
cameras_run (Camera *cameras, guint n)
{
  GThread *push[8], *pull[8];

  alarm (PATIENCE);
  for (guint i = 0; i < n; i++) {
    push[i] = g_thread_new ("push", camera_push, &cameras[i]);
    pull[i] = g_thread_new ("pull", camera_pull, &cameras[i]);
  }
  for (guint i = 0; i < n; i++) {
    g_thread_join (push[i]);
    g_thread_join (pull[i]);
  }
  alarm (0);
}

/* Without learning each stream gives, bit for bit, what it gives alone: two
 * frames are stacked, and never those of two cameras. */
static void
test_own_results (gconstpointer cut)
{
  g_autoptr (PtNetwork) network = stream_network ("off", "cpu:0", cut);
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  Camera together[3] = { { NULL }, }, alone[3] = { { NULL }, };

  for (guint i = 0; i < 3; i++) {
    together[i] = (Camera) { pt_stream_new (pipeline, NULL), i, N,
      .pause = i * 300 };
    alone[i] = (Camera) { NULL, i, N };
  }
  cameras_run (together, 3);
  for (guint i = 0; i < 3; i++) {
    PtPipelineStats stats;

    pt_stream_get_stats (together[i].stream, &stats);
    g_assert_cmpuint (stats.frames, ==, N);
    g_assert_cmpuint (stats.in_flight, ==, 0);
    pt_stream_free (together[i].stream);
    alone[i].stream = pt_stream_new (pipeline, NULL);
    cameras_run (&alone[i], 1);
    pt_stream_free (alone[i].stream);
    g_assert_cmphex (alone[i].hash, ==, together[i].hash);
    g_assert_cmpuint (together[i].n_pulled, ==, N);
    for (guint k = 0; k < i; k++)
      g_assert_cmphex (alone[i].hash, !=, alone[k].hash);
  }
  pt_pipeline_stop (pipeline);
}

/* One stream is the pipeline's own: the same learning, bit for bit. */
static void
test_alone (gconstpointer mode)
{
  g_autoptr (PtNetwork) a = stream_network (mode, "cpu:0", "3,4");
  g_autoptr (PtNetwork) b = stream_network (mode, "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (a), reference = NULL;
  Camera camera = { pt_stream_new (pipeline, NULL), 0, N };
  guint8 pixels[PIXELS];
  guint64 hash = 0;
  guint taken = 0;

  cameras_run (&camera, 1);
  pt_stream_free (camera.stream);
  pt_pipeline_stop (pipeline);
  reference = stream_start (b);
  for (guint f = 0; taken < N;) {
    g_autoptr (PtResult) result = NULL;

    if (f < N) {
      fill (pixels, 0, f);
      f += pt_pipeline_push_pixels (reference, pixels, STREAM_WIDTH, NULL,
          PT_PUSH_TRY, NULL) == PT_FLOW_OK;
      if (f < N && f - taken < 3)
        continue;
    }
    pt_pipeline_pull (reference, &result, NULL);
    hash = stream_hash (hash, pt_tensor_get_data (result->output),
        PIXELS * sizeof (gfloat));
    taken++;
  }
  stream_drain (reference);
  pt_pipeline_stop (reference);
  g_assert_cmphex (camera.hash, ==, hash);
  g_assert_cmphex (stream_hash_weights (a), ==, stream_hash_weights (b));
}

/* Each says which of its frames learn. */
static void
test_learn (void)
{
  g_autoptr (PtNetwork) network = stream_network ("delayed", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  Camera cameras[3] = { { NULL }, };
  PtPipelineStats stats;

  for (guint i = 0; i < 3; i++)
    cameras[i] = (Camera) { pt_stream_new (pipeline, NULL), i, N };
  pt_stream_set_learn (cameras[0].stream, FALSE);
  pt_stream_set_learn_interval (cameras[1].stream, 5);
  cameras_run (cameras, 3);
  g_assert_cmpuint (cameras[0].learned, ==, 0);
  g_assert_cmpuint (cameras[1].learned, ==, N / 5);
  g_assert_cmpuint (cameras[2].learned, ==, N);
  pt_stream_get_stats (cameras[0].stream, &stats);
  g_assert_cmpuint (stats.learned, ==, 0);
  g_assert_cmpuint (stats.measures[0].total > 0, ==, TRUE);
  pt_pipeline_get_stats (pipeline, &stats);
  g_assert_cmpuint (stats.frames, ==, 3 * N);
  for (guint i = 0; i < 3; i++)
    pt_stream_free (cameras[i].stream);
  pt_pipeline_stop (pipeline);
}

/* One whose results nobody takes, one that flushes again and again, one that
 * comes and goes: the fourth gets all it asked for. */
static void
test_others_go_on (gconstpointer mode)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  Camera good = { pt_stream_new (pipeline, NULL), 0, 20 * N };
  Camera stuck = { pt_stream_new (pipeline, NULL), 1, N, .flushing = TRUE };
  Camera flushed = { pt_stream_new (pipeline, NULL), 2, 100000,
    .flushing = TRUE };
  GThread *push[3], *pull[2];

  alarm (PATIENCE);
  push[0] = g_thread_new ("push", camera_push, &good);
  pull[0] = g_thread_new ("pull", camera_pull, &good);
  push[1] = g_thread_new ("push", camera_push, &stuck);
  for (guint i = 0; i < 20; i++) {
    Camera guest = { pt_stream_new (pipeline, NULL), 3, 4 };

    push[2] = g_thread_new ("push", camera_push, &flushed);
    pull[1] = g_thread_new ("pull", camera_pull, &flushed);
    camera_push (&guest);
    if (i % 2)
      camera_pull (&guest);
    pt_stream_free (guest.stream);
    g_usleep (i * 200);
    pt_stream_set_flushing (flushed.stream, TRUE);
    g_thread_join (push[2]);
    g_thread_join (pull[1]);
    pt_stream_set_flushing (flushed.stream, FALSE);
    flushed.n_pulled = 0;
  }
  g_thread_join (push[0]);
  g_thread_join (pull[0]);
  g_assert_cmpuint (good.n_pulled, ==, good.n);
  pt_stream_set_flushing (stuck.stream, TRUE);
  g_thread_join (push[1]);
  alarm (0);
  pt_stream_free (stuck.stream);
  pt_stream_free (good.stream);
  pt_stream_free (flushed.stream);
  pt_pipeline_stop (pipeline);
}

/* Of two who push as fast as they can none gets far ahead of the other: they
 * take turns, but who has no core at the moment is not in the queue. */
static void
test_fair (void)
{
  g_autoptr (PtNetwork) network = stream_network ("delayed", "cpu:0", "3,4");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  Camera cameras[2] = { { NULL }, };
  GThread *push[2], *pull[2];
  gint most = 0;

  alarm (PATIENCE);
  for (guint i = 0; i < 2; i++) {
    cameras[i] = (Camera) { pt_stream_new (pipeline, NULL), i, 2000 };
    push[i] = g_thread_new ("push", camera_push, &cameras[i]);
    pull[i] = g_thread_new ("pull", camera_pull, &cameras[i]);
  }
  while (g_atomic_int_get (&cameras[0].n_pushed) < 2000
      && g_atomic_int_get (&cameras[1].n_pushed) < 2000) {
    gint ahead = g_atomic_int_get (&cameras[0].n_pushed)
        - g_atomic_int_get (&cameras[1].n_pushed);

    most = MAX (most, ABS (ahead));
    g_usleep (500);
  }
  for (guint i = 0; i < 2; i++) {
    g_thread_join (push[i]);
    g_thread_join (pull[i]);
    pt_stream_free (cameras[i].stream);
  }
  alarm (0);
  g_test_message ("one was %d frames ahead at most", most);
  g_assert_cmpint (most, <, 1000);
  pt_pipeline_stop (pipeline);
}

/* -- another network -- */

#define CHANGE 23

/* Two cameras by turns, one frame each. */
typedef struct
{
  PtStream *streams[2];
  guint64 hash[2];
  guint n_pulled[2];
} Pair;

static void
pair_push (Pair *self, guint f)
{
  guint8 pixels[PIXELS];

  for (guint i = 0; i < 2; i++) {
    fill (pixels, i, f);
    g_assert_cmpint (pt_stream_push_pixels (self->streams[i], pixels,
            STREAM_WIDTH, NULL, PT_PUSH_NONE, NULL), ==, PT_FLOW_OK);
  }
}

static void
pair_pull (Pair *self, PtStream **streams)
{
  for (guint i = 0; i < 2; i++) {
    g_autoptr (PtResult) result = NULL;

    g_assert_cmpint (pt_stream_pull (streams[i], &result, NULL), ==,
        PT_FLOW_OK);
    self->hash[i] = stream_hash (self->hash[i],
        pt_tensor_get_data (result->output), PIXELS * sizeof (gfloat));
    self->n_pulled[i]++;
  }
}

static void
pair_take_end (PtStream *stream)
{
  PtResult *none = NULL;

  g_assert_cmpint (pt_stream_pull (stream, &none, NULL), ==, PT_FLOW_DRAINED);
}

/* Frames of both are inside as @next takes over; or, without one, both end and
 * begin again. */
static void
pair_change (Pair *self, PtPipeline *pipeline, PtPipeline *next,
    PtReplacement *info)
{
  PtStream *before[] = { self->streams[0], self->streams[1] };
  guint8 pixels[PIXELS] = { 0 };

  if (next != NULL)
    g_assert_true (pt_pipeline_replace (pipeline, next, info, NULL));
  for (guint i = 0; i < 2; i++) {
    g_autoptr (GError) error = NULL;

    if (next == NULL) {
      pt_stream_drain (before[i], NULL);
      continue;
    }
    for (guint flags = 0; flags < 2; flags++)
      g_assert_cmpint (pt_stream_push_pixels (before[i], pixels, STREAM_WIDTH,
              NULL, flags ? PT_PUSH_TRY : PT_PUSH_NONE, NULL), ==,
          PT_FLOW_REPLACED);
    self->streams[i] = pt_stream_replace (before[i], next, info, &error);
    g_assert_no_error (error);
  }
  pair_pull (self, before);
  pair_pull (self, before);
  for (guint i = 0; i < 2; i++) {
    pair_take_end (before[i]);
    if (next != NULL)
      pt_stream_free (before[i]);
  }
  if (next != NULL)
    pt_pipeline_stop (pipeline);
}

static void
pair_run (Pair *self, PtPipeline *pipeline, PtPipeline *next,
    PtReplacement *info)
{
  alarm (PATIENCE);
  for (guint i = 0; i < 2; i++)
    self->streams[i] = pt_stream_new (pipeline, NULL);
  for (guint f = 0; f < CHANGE; f++) {
    pair_push (self, f);
    if (f >= 2)
      pair_pull (self, self->streams);
  }
  pair_change (self, pipeline, next, info);
  for (guint f = CHANGE; f < N; f++) {
    pair_push (self, f);
    pair_pull (self, self->streams);
  }
  for (guint i = 0; i < 2; i++)
    pt_stream_drain (self->streams[i], NULL);
  for (guint i = 0; i < 2; i++)
    pair_take_end (self->streams[i]);
  alarm (0);
}

static void
pair_free (Pair *self)
{
  pt_stream_free (self->streams[0]);
  pt_stream_free (self->streams[1]);
}

/* Of frames alone, so that an end makes no difference to what is stacked. */
static PtNetwork *
new_network (const gchar *mode)
{
  PtNetwork *network = stream_network (mode, "cpu:0", "3,4");

  g_assert_true (pt_network_set (network, "network", "frames", "1", NULL));
  return network;
}

/* Both go on in the other pipeline, and learn bit for bit what they would have
 * in the first; what each has counted goes on too. */
static void
test_replace (gconstpointer mode)
{
  g_autoptr (PtNetwork) a = new_network (mode), b = new_network (mode);
  g_autoptr (PtNetwork) c = new_network (mode);
  g_autoptr (PtPipeline) first = stream_start (a);
  g_autoptr (PtPipeline) next = pt_pipeline_new (b, NULL);
  g_autoptr (PtPipeline) whole = stream_start (c);
  Pair found = { {NULL}, }, expected = { {NULL}, };
  PtReplacement info;

  g_assert_true (pt_pipeline_start_beside (next, first, NULL));
  pair_run (&found, first, next, &info);
  g_assert_true (info.kept_weights && info.kept_optimizer);
  g_assert_cmpuint (info.frame, ==, 2 * CHANGE);
  pair_run (&expected, whole, NULL, NULL);
  for (guint i = 0; i < 2; i++) {
    PtPipelineStats x, y;

    g_assert_cmphex (found.hash[i], ==, expected.hash[i]);
    pt_stream_get_stats (found.streams[i], &x);
    pt_stream_get_stats (expected.streams[i], &y);
    g_assert_cmpuint (x.frames, ==, N);
    g_assert_cmpuint (x.learned, ==, y.learned);
    g_assert_cmpuint (x.updates, ==, y.updates);
    g_assert_cmpfloat (x.measures[0].total, ==, y.measures[0].total);
  }
  pair_free (&found);
  pair_free (&expected);
  pt_pipeline_stop (next);
  pt_pipeline_stop (whole);
  g_assert_cmphex (stream_hash_weights (b), ==, stream_hash_weights (c));
}

/* A camera that goes on in whatever pipeline there is. */
typedef struct
{
  GMutex lock;
  PtPipeline *now;              /* under the lock */
  PtReplacement info;
  gint done;                    /* atomic */
} Shared;

typedef struct
{
  Shared *shared;
  guint camera;
  guint64 hash;
  guint frame, n_changes;
} Roamer;

static void
roamer_take (Roamer *self, PtStream *stream, guint n)
{
  while (n-- > 0) {
    g_autoptr (PtResult) result = NULL;

    g_assert_cmpint (pt_stream_pull (stream, &result, NULL), ==, PT_FLOW_OK);
    g_assert_cmpuint (result->frame, ==, self->frame);
    self->frame++;
    self->hash = stream_hash (self->hash,
        pt_tensor_get_data (result->output), PIXELS * sizeof (gfloat));
  }
}

static gpointer
roamer_run (gpointer data)
{
  Roamer *self = data;
  PtStream *stream;
  guint8 pixels[PIXELS];
  guint inside = 0;

  g_mutex_lock (&self->shared->lock);
  stream = pt_stream_new (self->shared->now, NULL);
  g_mutex_unlock (&self->shared->lock);
  for (guint f = 0; f < 20 * N;) {
    PtFlow flow;

    fill (pixels, self->camera, f);
    flow = pt_stream_push_pixels (stream, pixels, STREAM_WIDTH, NULL,
        PT_PUSH_NONE, NULL);
    if (flow == PT_FLOW_OK) {
      f++;
      if (++inside > self->camera)
        roamer_take (self, stream, inside), inside = 0;
    } else {
      PtStream *next;

      g_assert_cmpint (flow, ==, PT_FLOW_REPLACED);
      g_mutex_lock (&self->shared->lock);
      next = pt_stream_replace (stream, self->shared->now,
          &self->shared->info, NULL);
      g_mutex_unlock (&self->shared->lock);
      g_assert_nonnull (next);
      roamer_take (self, stream, inside);
      pair_take_end (stream);
      pt_stream_free (stream);
      stream = next;
      inside = 0;
      self->n_changes++;
    }
  }
  roamer_take (self, stream, inside);
  pt_stream_free (stream);
  g_atomic_int_inc (&self->shared->done);
  return NULL;
}

/* Networks come and go under three cameras: no frame is lost, none comes twice
 * or of another camera; without learning they are bit for bit those of each
 * alone, also where two frames are stacked. */
static void
test_roam (gconstpointer mode)
{
  g_autoptr (GPtrArray) all =
      g_ptr_array_new_with_free_func ((GDestroyNotify) pt_pipeline_unref);
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "3,4");
  g_autoptr (PtPipeline) alone = stream_start (network);
  Shared shared = { 0 };
  Roamer roamers[3] = { { NULL }, };
  GThread *threads[3];

  alarm (2 * PATIENCE);
  g_mutex_init (&shared.lock);
  shared.now = stream_start (network);
  g_ptr_array_add (all, shared.now);
  for (guint i = 0; i < 3; i++) {
    roamers[i] = (Roamer) { &shared, i };
    threads[i] = g_thread_new ("camera", roamer_run, &roamers[i]);
  }
  while (g_atomic_int_get (&shared.done) < 3 && all->len < 30) {
    g_autoptr (PtNetwork) other = stream_network (mode, "cpu:0", "3,4");
    PtPipeline *next = pt_pipeline_new (other, NULL);

    g_assert_true (pt_pipeline_start_beside (next, shared.now, NULL));
    g_mutex_lock (&shared.lock);
    g_assert_true (pt_pipeline_replace (shared.now, next, &shared.info, NULL));
    shared.now = next;
    g_ptr_array_add (all, next);
    g_mutex_unlock (&shared.lock);
    g_usleep (1000);
  }
  for (guint i = 0; i < 3; i++) {
    g_thread_join (threads[i]);
    g_assert_cmpuint (roamers[i].frame, ==, 20 * N);
    g_assert_cmpuint (roamers[i].n_changes, >, 0);
  }
  for (guint i = 0; i < 3 && g_str_equal (mode, "off"); i++) {
    Shared still = { .now = alone };
    Roamer roamer = { &still, i };

    roamer_run (&roamer);
    g_assert_cmphex (roamer.hash, ==, roamers[i].hash);
  }
  alarm (0);
  g_mutex_clear (&shared.lock);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/shared/own-results/1", "7", test_own_results);
  g_test_add_data_func ("/shared/own-results/3", "2,2,3", test_own_results);
  g_test_add_data_func ("/shared/alone/exact", "exact", test_alone);
  g_test_add_data_func ("/shared/alone/partime", "partime", test_alone);
  g_test_add_data_func ("/shared/alone/delayed", "delayed", test_alone);
  g_test_add_func ("/shared/learn", test_learn);
  g_test_add_data_func ("/shared/others-go-on/off", "off", test_others_go_on);
  g_test_add_data_func ("/shared/others-go-on/delayed", "delayed",
      test_others_go_on);
  g_test_add_func ("/shared/fair", test_fair);
  g_test_add_data_func ("/shared/replace/exact", "exact", test_replace);
  g_test_add_data_func ("/shared/replace/partime", "partime", test_replace);
  g_test_add_data_func ("/shared/replace/delayed", "delayed", test_replace);
  g_test_add_data_func ("/shared/roam/off", "off", test_roam);
  g_test_add_data_func ("/shared/roam/delayed", "delayed", test_roam);
  return g_test_run ();
}
