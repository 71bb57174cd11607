/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the last stage makes of losses, and what a stream that goes wrong
 * leaves behind. */

#include "stream.h"

#include "engine/pipeline.h"

static const PtSchedule constant;

static PtGuardVerdict
look (PtGuard *guard, gdouble loss)
{
  return pt_guard_look (guard, TRUE, TRUE, loss);
}

static void
test_numbers (void)
{
  PtGuard guard;

  pt_guard_init (&guard, 4, 10, 0.5, &constant);
  g_assert_cmpint (look (&guard, 1), ==, PT_GUARD_LEARN);
  g_assert_cmpint (look (&guard, NAN), ==, PT_GUARD_SKIP);
  g_assert_cmpint (pt_guard_look (&guard, TRUE, FALSE, NAN), ==,
      PT_GUARD_SKIP);
  g_assert_cmpfloat (guard.scale, ==, 1);
  g_assert_cmpint (look (&guard, INFINITY), ==, PT_GUARD_ROLL_BACK);
  g_assert_cmpfloat (guard.scale, ==, 0.5);
  g_assert_cmpint (pt_guard_look (&guard, FALSE, FALSE, NAN), ==,
      PT_GUARD_ROLL_BACK);
  g_assert_cmpfloat (guard.scale, ==, 0.25);
  /* ten in a row are not the frames' fault */
  for (guint i = 0; i < 9; i++)
    g_assert_cmpint (look (&guard, NAN), ==, PT_GUARD_SKIP);
  g_assert_cmpint (look (&guard, NAN), ==, PT_GUARD_ROLL_BACK);
  pt_guard_clear (&guard);
}

/* A window of 4, a factor of 3: averages 8, falling to 1, rising over 3 but
 * not over the first, then over both. */
static void
test_average (void)
{
  PtGuard guard;
  guint n = 0;

  pt_guard_init (&guard, 4, 3, 0.5, &constant);
  for (guint i = 0; i < 4; i++)
    g_assert_cmpint (look (&guard, 8), ==, PT_GUARD_LEARN);
  for (guint i = 0; i < 4; i++)
    look (&guard, 1);
  g_assert_cmpfloat (guard.first, ==, 8);
  g_assert_cmpfloat (guard.best, ==, 1);
  for (guint i = 0; i < 8; i++)
    g_assert_cmpint (look (&guard, 7), ==, PT_GUARD_LEARN);
  /* 7 7 7 20: 10.25 */
  while (look (&guard, n < 1 ? 10 : 20) == PT_GUARD_LEARN)
    n++;
  g_assert_cmpuint (n, ==, 1);
  g_assert_true (isnan (guard.best));
  /* what was good before is forgotten */
  for (guint i = 0; i < 12; i++)
    g_assert_cmpint (look (&guard, 20), ==, PT_GUARD_LEARN);
  pt_guard_clear (&guard);
  pt_guard_init (&guard, 4, 0, 0.5, &constant);
  for (guint i = 0; i < 80; i++)
    g_assert_cmpint (look (&guard, 1 + i), ==, PT_GUARD_LEARN);
  pt_guard_clear (&guard);
}

/* A still scene through which somebody walks now and then: what is lost is at
 * most what was learned meanwhile, not the rate. */
static void
test_bursts (void)
{
  for (guint length = 25; length <= 400; length *= 2) {
    PtGuard guard;
    guint n = 0;

    pt_guard_init (&guard, 100, 10, 0.5, &constant);
    for (guint i = 0; i < 100000; i++)
      n += look (&guard, i % 2000 >= 2000 - length ? 0.2 : 0.001) ==
          PT_GUARD_ROLL_BACK;
    g_assert_cmpuint (n, <=, 2);
    g_assert_cmpfloat (guard.scale, ==, 1);
    pt_guard_clear (&guard);
  }
}

/* Weights that are good, and a rate that makes them bad again each time. */
static void
test_guilty (void)
{
  PtGuard guard;
  guint n = 0;

  pt_guard_init (&guard, 100, 10, 0.5, &constant);
  for (guint i = 0, since = 0; i < 4000; i++, since++)
    if (look (&guard, since < 500 ? 0.1 : 0.1 * pow (1.1, since - 500)) ==
        PT_GUARD_ROLL_BACK) {
      since = 0;
      n++;
    }
  g_assert_cmpuint (n, >=, 5);
  g_assert_cmpfloat (guard.scale, ==, pow (0.5, n));
  pt_guard_clear (&guard);
}

/* Frames whose output is no number whatever the weights. */
static void
test_invalid (void)
{
  PtGuard guard;

  pt_guard_init (&guard, 4, 10, 0.5, &constant);
  for (guint i = 0; i < 3000; i++)
    g_assert_cmpint (pt_guard_look (&guard, FALSE, i % 2, NAN), ==,
        PT_GUARD_ROLL_BACK);
  g_assert_cmpfloat (guard.scale, ==, 0.5);
  look (&guard, 1);
  pt_guard_look (&guard, FALSE, TRUE, NAN);
  g_assert_cmpfloat (guard.scale, ==, 0.25);
  pt_guard_clear (&guard);
}

/* A copy every 100 learned frames, but none while the average is bad. */
static void
test_keep (void)
{
  PtGuard guard;
  guint kept = 0;

  pt_guard_init (&guard, 10, 10, 0.5, &constant);
  for (guint i = 1; i <= 250; i++)
    kept += (look (&guard, 2) == PT_GUARD_KEEP) * i;
  g_assert_cmpuint (kept, ==, 100 + 200);
  for (guint i = 251; i <= 300; i++)
    g_assert_cmpint (look (&guard, 5), ==, PT_GUARD_LEARN);
  for (guint i = 301; i <= 400; i++)
    kept += (look (&guard, 2) == PT_GUARD_KEEP) * i;
  g_assert_cmpuint (kept, ==, 100 + 200 + 400);
  pt_guard_clear (&guard);
}

/* Printed and read back it goes on as it would have. */
static void
test_text (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (3);
  PtSchedule plateau;
  PtGuard a, b;

  pt_schedule_parse (&plateau, "plateau window=7 patience=0 factor=0.9",
      "test", NULL);
  pt_guard_init (&a, 16, 1.5, 0.5, &plateau);
  pt_guard_init (&b, 16, 1.5, 0.5, &plateau);
  for (guint i = 0; i < 1000; i++) {
    gdouble loss = g_rand_double (rand) < 0.1 ? NAN : g_rand_double (rand)
        * (i % 100 > 80 ? 3 : 1);

    if (i % 37 == 0) {
      g_autofree gchar *text = pt_guard_print (&a);

      pt_guard_scan (&b, text);
    }
    g_assert_cmpint (look (&a, loss), ==, look (&b, loss));
    g_assert_cmpfloat (a.scale, ==, b.scale);
  }
  g_assert_cmpfloat (a.scale, <, 1);
  pt_guard_scan (&b, "4 no numbers");
  g_assert_cmpfloat (b.scale, ==, 1);
  pt_guard_clear (&a);
  pt_guard_clear (&b);
}

typedef struct
{
  guint n;
  PtEvent event;
} Events;

static void
note_event (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  Events *events = data;

  g_assert_cmpint (event->type, ==, PT_EVENT_DIVERGED);
  events->n++;
  events->event = *event;
}

/* A rate that is far too high from frame 250 on, without a NaN: weights and
 * what the optimizer remembers come back, in every stage, to a state that was
 * put aside before, and the loss with them. */
static void
test_stream_diverges (gconstpointer mode)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "2,3,2");
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;
  StreamSums sums = { 0 };
  PtPipelineStats before, after;
  Events events = { 0 };

  g_assert_true (pt_network_set (network, "learning", "divergence-window",
          "20", &error));
  g_assert_true (pt_network_set (network, "learning", "divergence-factor",
          "4", &error));
  g_assert_true (pt_network_set (network, "learning", "divergence-rate",
          "0.25", &error));
  pipeline = pt_pipeline_new (network, &error);
  pt_pipeline_set_event_func (pipeline, note_event, &events);
  g_assert_true (pt_pipeline_start (pipeline, &error));
  stream_feed (pipeline, &sums, 0, 250);
  pt_pipeline_get_stats (pipeline, &before);
  g_assert_cmpuint (events.n, ==, 0);
  pt_pipeline_set_learning_rate (pipeline, 0.3);
  while (events.n == 0 && sums.frames < 400)
    stream_feed (pipeline, &sums, sums.frames, 1);
  pt_pipeline_set_learning_rate (pipeline, NAN);
  g_assert_cmpuint (events.n, ==, 1);
  g_assert_cmpfloat (events.event.loss, >, 4 * events.event.best);
  g_assert_cmpfloat (events.event.rate_scale, ==, 0.25);
  stream_feed (pipeline, &sums, sums.frames, 100);
  pt_pipeline_get_stats (pipeline, &after);
  g_test_message ("loss %g, then %g over %g, then %g", before.loss,
      events.event.loss, events.event.best, after.loss);
  g_assert_cmpfloat (after.loss, <, 4 * before.loss);
  g_assert_cmpuint (events.n, ==, 1);
  g_assert_cmpuint (sums.invalid, ==, 0);
}

/* A target of NaN costs its own update, nothing else. */
static void
test_bad_target (gconstpointer mode)
{
  g_autoptr (PtNetwork) network = stream_network (mode, "cpu:0", "2,3,2");
  g_autoptr (PtPipeline) pipeline = NULL;
  PtStageStats stage;
  PtPipelineStats stats;
  gint64 dims[] = { 1, STREAM_HEIGHT, STREAM_WIDTH };
  g_autoptr (PtTensor) target = pt_tensor_new (PT_F32, dims, 3, NULL);
  gfloat *t = pt_tensor_get_data (target);

  pt_network_set (network, "learning", "target", "labels", NULL);
  pipeline = stream_start (network);
  for (guint i = 0; i < 40; i++) {
    g_autoptr (PtTensor) frame = stream_frame (i);
    g_autoptr (PtResult) result = NULL;

    t[17] = i % 10 == 5 ? NAN : 0;
    g_assert_cmpint (pt_pipeline_push (pipeline, frame, target, PT_PUSH_NONE,
            NULL), ==, PT_FLOW_OK);
    g_assert_cmpint (pt_pipeline_pull (pipeline, &result, NULL), ==,
        PT_FLOW_OK);
    g_assert_true (result->valid);
  }
  stream_drain (pipeline);
  pt_pipeline_get_stats (pipeline, &stats);
  pt_pipeline_get_stage_stats (pipeline, 2, &stage);
  g_assert_cmpuint (stats.rollbacks, ==, 0);
  g_assert_cmpuint (stage.updates, ==, 36);
  g_assert_cmpuint (stage.dropped, ==, 4);
  for (guint i = 0; i < 2; i++) {
    pt_pipeline_get_stage_stats (pipeline, i, &stage);
    g_assert_cmpuint (stage.updates, >=, 36 - stage.age);
  }
}

/* A weight that is no number, behind a ReLU that shows nothing of it: the state
 * that was put aside before comes back instead of going there. */
static void
test_hidden (void)
{
  g_autoptr (PtNetwork) network = stream_network ("exact", "cpu:0", "-1");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  PtDevice *device = pipeline->wiring.spans[0].device;
  PtArena *arena = &pipeline->stages[0]->arena;
  g_autoptr (GError) error = NULL;
  const gfloat nan = NAN;
  gfloat before, after;

  stream_run (pipeline, 0, 20);
  g_assert_true (pt_arena_copy_aside (arena, &error));
  g_assert_true (pt_arena_copy_aside (arena, &error));
  g_assert_true (device->backend->download (device, &before,
          arena->learned->data, sizeof before, &error));
  g_assert_true (device->backend->upload (device, arena->learned->data, &nan,
          sizeof nan, &error));
  g_assert_true (pt_arena_copy_aside (arena, &error));
  g_assert_true (device->backend->download (device, &after,
          arena->learned->data, sizeof after, &error));
  g_assert_no_error (error);
  g_assert_cmpfloat (after, ==, before);
}

int
main (int argc, char **argv)
{
  static const gchar *const modes[] = { "exact", "partime", "delayed" };

  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/guard/numbers", test_numbers);
  g_test_add_func ("/guard/average", test_average);
  g_test_add_func ("/guard/keep", test_keep);
  g_test_add_func ("/guard/text", test_text);
  g_test_add_func ("/guard/bursts", test_bursts);
  g_test_add_func ("/guard/guilty", test_guilty);
  g_test_add_func ("/guard/invalid", test_invalid);
  g_test_add_func ("/guard/hidden", test_hidden);
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    g_autofree gchar *diverges = g_strconcat ("/guard/diverges/", modes[i],
        NULL);
    g_autofree gchar *target = g_strconcat ("/guard/target/", modes[i], NULL);

    g_test_add_data_func (diverges, modes[i], test_stream_diverges);
    g_test_add_data_func (target, modes[i], test_bad_target);
  }
  return g_test_run ();
}
