/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "stream.h"

/* On sim devices nothing is computed, but it takes its time: each of the 4
 * convolutions of the network sleeps. Sleeps are never shorter than asked, so
 * a bound from below holds on any machine. */
static void
test_takes_its_time (void)
{
  g_autoptr (PtNetwork) network = stream_network ("off", "sim:3000", "1");
  g_autoptr (PtPipeline) pipeline = stream_start (network);
  gint64 start = g_get_monotonic_time ();
  StreamSums sums = stream_run (pipeline, 0, 10);

  g_assert_cmpint (g_get_monotonic_time () - start, >=, 10 * 4 * 3000);
  g_assert_cmpuint (sums.invalid, ==, 0);
}

/* Weights that nothing computes on come out as they went in. */
static void
test_computes_nothing (void)
{
  g_autoptr (PtNetwork) network = stream_network ("partime", "sim:0*3", "3");
  g_autoptr (PtPipeline) pipeline = NULL;
  guint64 before;

  pt_network_init_weights (network, 7);
  before = stream_hash_weights (network);
  pipeline = stream_start (network);
  g_assert_cmpuint (stream_run (pipeline, 0, 50).learned, ==, 50);
  pt_pipeline_stop (pipeline);
  g_assert_cmpuint (stream_hash_weights (network), ==, before);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sim/takes-its-time", test_takes_its_time);
  g_test_add_func ("/sim/computes-nothing", test_computes_nothing);
  return g_test_run ();
}
