/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "emulation.h"
#include "stream.h"

/* Stages on two emulated GPUs, and on GPUs and the CPU in turn: what a frame
 * needs is copied and waited for, whatever the order in which devices that
 * compute later than asked get round to it. */

#define N_FRAMES 40

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
  guint64 weights;
  PtNetwork *network;
} Outcome;

static void
outcome_clear (Outcome *outcome)
{
  g_clear_pointer (&outcome->network, pt_network_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Outcome, outcome_clear)

static Outcome
run (const gchar *mode, const gchar *devices, const gchar *stages)
{
  Outcome outcome = { .network = stream_network (mode, devices, stages) };
  g_autoptr (PtPipeline) pipeline = stream_start (outcome.network);

  outcome.sums = stream_run (pipeline, 0, N_FRAMES);
  pt_pipeline_stop (pipeline);
  outcome.weights = stream_hash_weights (outcome.network);
  return outcome;
}

/* ||a - b|| / ||b|| of all the weights. */
static gdouble
distance (const PtNetwork *a, const PtNetwork *b)
{
  gdouble difference = 0, size = 0;

  for (guint k = 0; k < a->n_nodes; k++) {
    for (guint i = 0; i < a->nodes[k].layer->n_weights; i++) {
      const gfloat *x = a->nodes[k].weights[i]->data;
      const gfloat *y = b->nodes[k].weights[i]->data;
      gsize n = pt_tensor_get_n_elements (a->nodes[k].weights[i]);

      for (gsize j = 0; j < n; j++) {
        difference += (x[j] - y[j]) * (gdouble) (x[j] - y[j]);
        size += y[j] * (gdouble) y[j];
      }
    }
  }
  return sqrt (difference / size);
}

static void
test_as_on_the_cpu (gconstpointer mode)
{
  static const gchar *const cuts[] = { "1", "3,4", "2,3,2", "1,1,1,1,1,1,1" };

  for (guint c = 0; c < G_N_ELEMENTS (cuts); c++) {
    g_auto (Outcome) cpu = run (mode, "cpu:0", cuts[c]);

    for (guint l = 0; l < G_N_ELEMENTS (lists); l++) {
      g_auto (Outcome) gpu = run (mode, lists[l], cuts[c]);
      gdouble apart = distance (gpu.network, cpu.network);

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

int
main (int argc, char **argv)
{
  g_setenv ("PARTIME_EMULATED_DELAY_US", "30", FALSE);
  g_test_init (&argc, &argv, NULL);
  for (guint m = 0; m < G_N_ELEMENTS (modes); m++) {
    g_autofree gchar *same = g_strdup_printf ("/stages-gpu/as-on-the-cpu/%s",
        modes[m]);
    g_autofree gchar *repeats = g_strdup_printf ("/stages-gpu/repeats/%s",
        modes[m]);

    g_test_add_data_func (same, modes[m], test_as_on_the_cpu);
    g_test_add_data_func (repeats, modes[m], test_repeats);
  }
  g_test_add_func ("/stages-gpu/flush-and-go-on", test_flush_and_go_on);
  return g_test_run ();
}
