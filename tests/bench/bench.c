/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The library alone, as a worker.
 *
 * load FILE DEVICES STAGES MODE    answers what it became
 * run N                            answers the seconds that N frames took
 * latency N GAP                    answers the median microseconds from push
 *                                  to result, one frame at a time, GAP
 *                                  microseconds after the result before
 * stages                           answers device, layers, times and bytes
 *                                  of each stage */

#include "worker.h"

#include <partime/partime.h>

static PtPipeline *bench_pipeline;
static PtTensor *bench_frame;
static PtTensor *bench_target;

static PtTensor *
bench_tensor (const PtShape *shape, GError **error)
{
  PtTensor *tensor = pt_tensor_new (PT_F32, shape->dims, shape->n_dims, error);

  if (tensor) {
    gfloat *data = pt_tensor_get_data (tensor);
    g_autoptr (GRand) rand = g_rand_new_with_seed (1);

    for (gsize i = 0; i < pt_tensor_get_n_elements (tensor); i++)
      data[i] = g_rand_double (rand);
  }
  return tensor;
}

static gchar *
bench_describe (void)
{
  GString *text = g_string_new (NULL);
  PtPipelineStats stats;

  pt_pipeline_get_stats (bench_pipeline, &stats);
  for (guint i = 0; i < stats.n_stages; i++) {
    PtStageStats stage;

    pt_pipeline_get_stage_stats (bench_pipeline, i, &stage);
    g_string_append_printf (text, "%s%s:%u+%u:%u:%.1f:%.1f:%.1f:%"
        G_GUINT64_FORMAT, i ? " " : "", stage.device, stage.first_layer,
        stage.n_layers, stage.n_threads, stage.forward * 1e-3,
        stage.backward * 1e-3, stage.update * 1e-3, stage.memory);
  }
  return g_string_free (text, FALSE);
}

static gboolean
bench_load (gchar **words, GError **error)
{
  g_autoptr (PtNetwork) network = pt_network_new_from_file (words[1], error);

  g_clear_pointer (&bench_pipeline, pt_pipeline_unref);
  g_clear_pointer (&bench_frame, pt_tensor_unref);
  g_clear_pointer (&bench_target, pt_tensor_unref);
  if (!network
      || !pt_network_set (network, "pipeline", "devices", words[2], error)
      || !pt_network_set (network, "pipeline", "stages", words[3], error)
      || !pt_network_set (network, "learning", "mode", words[4], error))
    return FALSE;
  bench_frame = bench_tensor (pt_network_get_input_shape (network), error);
  bench_target = bench_tensor (pt_network_get_output_shape (network), error);
  bench_pipeline = pt_pipeline_new (network, error);
  return bench_frame && bench_target && bench_pipeline
      && pt_pipeline_start (bench_pipeline, error);
}

static gboolean
bench_failed (GError **error)
{
  if (error && !*error)
    g_set_error (error, PT_ERROR, PT_ERROR_FAILED,
        "the pipeline stopped before all frames came out");
  return FALSE;
}

/* A thread of its own, so that the pipeline is full however deep it is. */
static gpointer
bench_push (gpointer data)
{
  const guint64 *total = data;

  for (guint64 i = 0; i < *total; i++)
    if (pt_pipeline_push (bench_pipeline, bench_frame, bench_target,
            PT_PUSH_NONE, NULL) != PT_FLOW_OK)
      break;
  return NULL;
}

/* Seconds between result @first and result @last of @total; negative: it
 * failed. */
static gdouble
bench_pull (guint64 first, guint64 last, guint64 total, GError **error)
{
  gdouble start = 0, end = 0;

  for (guint64 i = 0; i < total; i++) {
    g_autoptr (PtResult) result = NULL;

    if (pt_pipeline_pull (bench_pipeline, &result, error) != PT_FLOW_OK) {
      bench_failed (error);
      return -1;
    }
    if (i == first)
      start = worker_seconds ();
    if (i == last)
      end = worker_seconds ();
  }
  return end - start;
}

/* Seconds that @n frames take with @around frames before and after them. */
static gdouble
bench_run (guint64 n, guint64 around, GError **error)
{
  guint64 total = around + n + 1 + around;
  GThread *pusher = g_thread_new ("push", bench_push, &total);
  gdouble seconds = bench_pull (around, around + n, total, error);

  if (seconds < 0)
    pt_pipeline_set_flushing (bench_pipeline, TRUE);
  g_thread_join (pusher);
  return seconds;
}

static gint
bench_compare (gconstpointer a, gconstpointer b)
{
  const guint64 x = *(const guint64 *) a, y = *(const guint64 *) b;

  return (x > y) - (x < y);
}

static gdouble
bench_latency (guint n, guint gap, GError **error)
{
  g_autoptr (GArray) times = g_array_new (FALSE, FALSE, sizeof (guint64));

  for (guint i = 0; i < n; i++) {
    g_autoptr (PtResult) result = NULL;

    if (gap)
      g_usleep (gap);
    if (pt_pipeline_push (bench_pipeline, bench_frame, bench_target,
            PT_PUSH_NONE, error) != PT_FLOW_OK
        || pt_pipeline_pull (bench_pipeline, &result, error) != PT_FLOW_OK) {
      bench_failed (error);
      return -1;
    }
    g_array_append_val (times, result->latency);
  }
  g_array_sort (times, bench_compare);
  return g_array_index (times, guint64, n / 2) * 1e-3;
}

static gchar *
bench_measure (gchar **words, guint n_words, GError **error)
{
  const guint64 n = worker_count (words[1]);
  PtPipelineStats stats;
  gdouble value;

  pt_pipeline_get_stats (bench_pipeline, &stats);
  if (g_str_equal (words[0], "run")) {
    /* the clock starts and stops while every stage is at work */
    value = bench_run (n, 2 * (stats.n_stages - 1), error);
  } else {
    value = bench_latency (n, worker_count (words[2]), error);
  }
  return value < 0 ? NULL : g_strdup_printf ("%.9f", value);
}

static gchar *
bench_command (gchar **words, guint n_words, GError **error)
{
  const gchar *command = words[0];

  if (g_str_equal (command, "load") && n_words == 5)
    return bench_load (words, error) ? bench_describe () : NULL;
  if (!bench_pipeline)
    return NULL;
  if (g_str_equal (command, "stages"))
    return bench_describe ();
  if ((g_str_equal (command, "run") && n_words == 2)
      || (g_str_equal (command, "latency") && n_words == 3))
    return bench_measure (words, n_words, error);
  return NULL;
}

int
main (void)
{
  int status = worker_main (bench_command);

  g_clear_pointer (&bench_pipeline, pt_pipeline_unref);
  g_clear_pointer (&bench_frame, pt_tensor_unref);
  g_clear_pointer (&bench_target, pt_tensor_unref);
  return status;
}
