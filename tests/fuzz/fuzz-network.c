/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"
#include "partime/partime.h"

gint
LLVMFuzzerInitialize (gint *argc, gchar ***argv)
{
  return 0;
}

/* A network file: it is a network or an error. */
gint
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network =
      pt_network_new_from_data ((const gchar *) data, size, "fuzz.cfg",
      &error);
  g_autofree gchar *text = NULL;

  g_assert_true ((network == NULL) == (error != NULL));
  if (network == NULL)
    return 0;
  text = pt_network_describe (network);
  g_assert_nonnull (text);
  return 0;
}
