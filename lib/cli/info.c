/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"

gboolean
cli_info (gint argc, gchar **argv, GError **error)
{
  g_auto (GStrv) settings = NULL;
  const GOptionEntry entries[] = {
    {"set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &settings,
        "overrides a value of the file", "GROUP.KEY=VALUE"},
    {NULL}
  };
  g_autoptr (PtNetwork) network = NULL;
  g_autofree gchar *text = NULL;

  if (!cli_parse (argc, &argv, entries, "NET.cfg",
          "Shows the layers, shapes and cost of a network file.", 1, error))
    return FALSE;
  network = cli_open_network (argv[1], settings, error);
  if (network == NULL)
    return FALSE;
  text = pt_network_describe (network);
  g_print ("%s", text);
  return TRUE;
}
