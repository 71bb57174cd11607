/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"
#include "formats/weights.h"

static PtNetwork *network;

gint
LLVMFuzzerInitialize (gint *argc, gchar ***argv)
{
  network = pt_network_new_from_data ("[network]\nwidth=4\nheight=4\n"
      "channels=1\n[a]\ntype=conv2d\nfilters=2\nkernel=3\n", -1, "fuzz.cfg",
      NULL);
  g_assert_nonnull (network);
  return 0;
}

/* Weights: tensors or an error, and the network takes them or says why not. */
gint
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensorFile) file =
      pt_tensor_file_load (pt_fuzz_file (0, data, size), &error);

  g_assert_true ((file == NULL) == (error != NULL));
  if (file != NULL)
    g_assert_true (pt_weights_take (network, file, "fuzz.safetensors",
            &error) == (error == NULL));
  return 0;
}

gsize
LLVMFuzzerCustomMutator (guint8 *data, gsize size, gsize max, guint seed)
{
  return pt_fuzz_mutate_safetensors (data, size, max, seed);
}
