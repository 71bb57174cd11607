/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"

gboolean
cli_init (gint argc, gchar **argv, GError **error)
{
  g_autofree gchar *seed = NULL;
  g_auto (GStrv) settings = NULL;
  const GOptionEntry entries[] = {
    {"set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &settings,
        "instead of the file's", "GROUP.KEY=VALUE"},
    {"seed", 0, 0, G_OPTION_ARG_STRING, &seed,
        "instead of the file's", "NUMBER"},
    {NULL}
  };
  g_autoptr (PtNetwork) network = NULL;

  if (!cli_parse (argc, &argv, entries, "NET.cfg OUT.safetensors",
          "Writes a network's first weights.", 2, error))
    return FALSE;
  network = cli_open_network (argv[1], settings, error);
  if (network == NULL)
    return FALSE;
  if (seed != NULL &&
      !pt_network_set (network, "learning", "seed", seed, error))
    return FALSE;
  return pt_network_save_weights (network, argv[2], error);
}
