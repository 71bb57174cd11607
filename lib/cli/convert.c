/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"

gboolean
cli_convert (gint argc, gchar **argv, GError **error)
{
  return FALSE;
}
