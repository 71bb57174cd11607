/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* dropout with p > 0, which has no numbers of PyTorch's to be held against. */

#include "layer-rig.h"

/* Which elements go is random, how many and what stays is not. */
static void
test_dropout (void)
{
  const PtLayerKind *kind = pt_layer_kind_find ("dropout");
  g_autoptr (Rig) rig = rig_new (kind, "in=1x100x10x10 p=0.3", TRUE);
  g_autofree gfloat *x = NULL, *y = NULL, *dy = NULL, *dx = NULL;
  g_autofree gfloat *kept = NULL, *passed = NULL;
  guint dropped = 0;

  if (rig == NULL)
    return;
  rig_load (rig, "dropout");
  rig_forward (rig);
  rig_backward (rig);
  x = op_test_read_bytes (rig->device, rig->args.x[0]);
  y = op_test_read_bytes (rig->device, rig->args.y);
  dy = op_test_read_bytes (rig->device, rig->args.dy);
  dx = op_test_read_bytes (rig->device, rig->args.dx[0]);
  for (guint i = 0; i < 10000; i++) {
    gboolean gone = dx[i] == 0;

    dropped += gone;
    g_assert_cmpfloat_with_epsilon (y[i], gone ? 0 : x[i] / 0.7f, 1e-5);
    g_assert_cmpfloat_with_epsilon (dx[i], gone ? 0 : dy[i] / 0.7f, 1e-5);
  }
  /* Five standard deviations of the binomial: sqrt (10000 * 0.3 * 0.7). */
  g_assert_cmpint (abs ((int) dropped - 3000), <, 5 * 46);

  rig->args.learning = FALSE;
  rig_forward (rig);
  rig_backward (rig);
  kept = op_test_read_bytes (rig->device, rig->args.y);
  passed = op_test_read_bytes (rig->device, rig->args.dx[0]);
  g_assert_cmpmem (x, 40000, kept, 40000);
  g_assert_cmpmem (passed, 40000, dy, 40000);
}

/* Another frame drops others; the same frame the same. */
static void
test_dropout_seed (void)
{
  const PtLayerKind *kind = pt_layer_kind_find ("dropout");
  g_autoptr (Rig) rig = rig_new (kind, "in=1x100x10x10", TRUE);
  g_autofree gpointer first = NULL, other = NULL, again = NULL;
  gsize size;

  if (rig == NULL)
    return;
  size = rig->args.y->size;
  rig_load (rig, "dropout");
  rig_forward (rig);
  first = op_test_read_bytes (rig->device, rig->args.y);
  rig->args.seed++;
  rig_forward (rig);
  other = op_test_read_bytes (rig->device, rig->args.y);
  g_assert_cmpint (memcmp (first, other, size), !=, 0);
  rig->args.seed--;
  rig_forward (rig);
  again = op_test_read_bytes (rig->device, rig->args.y);
  g_assert_cmpmem (first, size, again, size);
}

int
main (int argc, char **argv)
{
  op_test_init (&argc, &argv);
  g_test_add_func ("/dropout/kept-and-dropped", test_dropout);
  g_test_add_func ("/dropout/seed", test_dropout_seed);
  return g_test_run ();
}
