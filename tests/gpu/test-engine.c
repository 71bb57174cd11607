/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <glib/gstdio.h>

#include "op-test.h"
#include "stream.h"

/* Whole streams on the GPU that $PARTIME_TEST_DEVICE names, alone, several
 * times, and with the CPU: what is learned is what the CPU learns. */

#define N_FRAMES 40

/* Both add in float32, in another order; Adam spreads that over the weights. */
#define TOLERANCE 1e-3

/* Layers of all sorts; wide enough for a vendor's kernels. */
#define WIDE_NETWORK \
  "[network]\nwidth=12\nheight=10\nchannels=1\nframes=2\n" \
  "[a]\ntype=conv2d\nfilters=32\nkernel=3\npadding=1\nactivation=gelu\n" \
  "[b]\ntype=max-pool2d\nkernel=2\n" \
  "[c]\ntype=batch-norm\nactivation=relu\n" \
  "[d]\ntype=dropout\np=0.2\n" \
  "[e]\ntype=conv2d\nfilters=32\nkernel=3\npadding=1\nactivation=silu\n" \
  "[f]\ntype=add\ninputs=e;b\n" \
  "[g]\ntype=upsample\nscale=2\nmode=bilinear\n" \
  "[h]\ntype=concat\ninputs=g;a\n" \
  "[i]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[learning]\nloss=mse\ntarget=next\nseed=7\n"

static const gchar *const modes[] = { "off", "exact", "partime", "delayed" };

/* Networks, and where they are cut: a mere count would be cut as measured. */
static const struct
{
  const gchar *text, *cuts[3];
} networks[] = {
  {STREAM_NETWORK, {"7", "3,4", "1,2,2,2"}},
  {WIDE_NETWORK, {"9", "4,5", "2,2,3,2"}},
};

/* % stands for the GPU. */
static const gchar *const lists[] = { "%", "%*2", "%*4", "cpu:0,%", "%,cpu:0" };

static PtNetwork *
network_new (const gchar *text, const gchar *mode, const gchar *devices,
    const gchar *stages)
{
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) parts = g_strsplit (devices, "%", -1);
  g_autofree gchar *list = g_strjoinv (op_test_devices ()[0], parts);
  PtNetwork *network = pt_network_new_from_data (text, -1, "engine.cfg",
      &error);

  g_assert_no_error (error);
  pt_network_set (network, "learning", "mode", mode, &error);
  g_assert_no_error (error);
  pt_network_set (network, "pipeline", "devices", list, &error);
  g_assert_no_error (error);
  pt_network_set (network, "pipeline", "stages", stages, &error);
  g_assert_no_error (error);
  pt_network_set (network, "pipeline", "deterministic", "true", &error);
  g_assert_no_error (error);
  return network;
}

static PtNetwork *
learned (const gchar *text, const gchar *mode, const gchar *devices,
    const gchar *stages, StreamSums *sums)
{
  PtNetwork *network = network_new (text, mode, devices, stages);
  g_autoptr (PtPipeline) pipeline = stream_start (network);

  *sums = stream_run (pipeline, 0, N_FRAMES);
  g_assert_cmpuint (sums->frames, ==, N_FRAMES);
  g_assert_cmpuint (sums->invalid, ==, 0);
  pt_pipeline_stop (pipeline);
  return network;
}

static void
check_as_on_the_cpu (const gchar *text, const gchar *mode, const gchar *cut)
{
  StreamSums expected, found;
  g_autoptr (PtNetwork) cpu = learned (text, mode, "cpu:0", cut, &expected);

  for (guint l = 0; l < G_N_ELEMENTS (lists); l++) {
    g_autoptr (PtNetwork) gpu = learned (text, mode, lists[l], cut, &found);
    gdouble apart = stream_weights_distance (gpu, cpu);

    g_test_message ("%s on %s, cut %s: weights %.3g apart", mode, lists[l],
        cut, apart);
    g_assert_cmpuint (found.learned, ==, expected.learned);
    if (!(apart <= TOLERANCE))
      g_test_fail ();
  }
}

static void
test_as_on_the_cpu (gconstpointer mode)
{
  for (guint i = 0; i < G_N_ELEMENTS (networks); i++)
    for (guint c = 0; c < G_N_ELEMENTS (networks[i].cuts); c++)
      check_as_on_the_cpu (networks[i].text, mode, networks[i].cuts[c]);
}

static void
test_repeats (gconstpointer mode)
{
  for (guint l = 0; l < G_N_ELEMENTS (lists); l++) {
    StreamSums first, again;
    g_autoptr (PtNetwork) network = learned (WIDE_NETWORK, mode, lists[l],
        "2,2,3,2", &first);

    for (guint i = 0; i < 2; i++) {
      g_autoptr (PtNetwork) other = learned (WIDE_NETWORK, mode, lists[l],
          "2,2,3,2", &again);

      g_assert_cmpuint (first.hash, ==, again.hash);
      g_assert_cmpuint (stream_hash_weights (network), ==,
          stream_hash_weights (other));
    }
  }
}

/* In exact mode 40 frames at once are 20, save, load, 20. */
static void
test_resume_is_exact (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *folder = g_dir_make_tmp ("partime-XXXXXX", &error);
  g_autofree gchar *path = g_build_filename (folder, "a.safetensors", NULL);
  g_autoptr (PtNetwork) whole = network_new (STREAM_NETWORK, "exact", "%",
      "3,4");
  g_autoptr (PtNetwork) half = network_new (STREAM_NETWORK, "exact", "%",
      "3,4");
  g_autoptr (PtNetwork) rest = network_new (STREAM_NETWORK, "exact", "%*2",
      "3,4");
  g_autoptr (PtPipeline) a = stream_start (whole), b = stream_start (half),
      c = stream_start (rest);

  stream_run (a, 0, 20);
  stream_run (a, 20, 20);
  stream_run (b, 0, 20);
  g_assert_true (pt_pipeline_save (b, path, &error));
  g_assert_true (pt_pipeline_load (c, path, &error));
  stream_run (c, 20, 20);
  pt_pipeline_stop (a);
  pt_pipeline_stop (c);
  g_assert_cmpuint (stream_hash_weights (whole), ==,
      stream_hash_weights (rest));
  g_remove (path);
  g_rmdir (folder);
}

static void
test_flush_and_go_on (void)
{
  g_autoptr (PtNetwork) network = network_new (STREAM_NETWORK, "delayed",
      "%,cpu:0,%", "2,3,2");
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
  op_test_init (&argc, &argv);
  for (guint m = 0; m < G_N_ELEMENTS (modes); m++) {
    g_autofree gchar *same = g_strdup_printf ("/engine/as-on-the-cpu/%s",
        modes[m]);
    g_autofree gchar *repeats = g_strdup_printf ("/engine/repeats/%s",
        modes[m]);

    g_test_add_data_func (same, modes[m], test_as_on_the_cpu);
    g_test_add_data_func (repeats, modes[m], test_repeats);
  }
  g_test_add_func ("/engine/resume-is-exact", test_resume_is_exact);
  g_test_add_func ("/engine/flush-and-go-on", test_flush_and_go_on);
  return g_test_run ();
}
