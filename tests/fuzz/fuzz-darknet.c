/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"

#include "formats/darknet.h"

#include <string.h>

gint
LLVMFuzzerInitialize (gint *argc, gchar ***argv)
{
  return 0;
}

/* A network of darknet's, and behind a NUL its weights: what comes of them is
 * a network file that can be read, or an error. */
gint
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  const guint8 *end = size > 0 ? memchr (data, 0, size) : NULL;
  const gsize length = end != NULL ? (gsize) (end - data) : size;
  const gchar *weights = end == NULL ? NULL :
      pt_fuzz_file (1, end + 1, size - length - 1);
  g_autoptr (GError) error = NULL;
  g_autofree gchar *text = NULL;
  g_autofree gchar *notes = NULL;
  g_autoptr (PtNetwork) network = pt_darknet_load (pt_fuzz_file (0, data, length),
      weights, &text, &notes, &error);
  g_autoptr (PtNetwork) again = NULL;

  g_assert_true ((network == NULL) == (error != NULL));
  if (network == NULL)
    return 0;
  again = pt_network_new_from_data (text, -1, "again.cfg", &error);
  g_assert_no_error (error);
  return 0;
}
