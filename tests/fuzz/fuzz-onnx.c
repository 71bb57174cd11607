/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"
#include "formats/onnx.h"

gint
LLVMFuzzerInitialize (gint *argc, gchar ***argv)
{
  return 0;
}

/* A model: it is a network or an error. */
gint
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  static const gchar *const settings[] = {
    "network.width=16", "network.height=16", "network.channels=3", NULL
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network =
      pt_onnx_parse (data, size, "/nowhere/fuzz.onnx", settings, NULL, &error);

  g_assert_true ((network == NULL) == (error != NULL));
  return 0;
}
