/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"

gboolean
cli_kinds (gint argc, gchar **argv, GError **error)
{
  const GOptionEntry entries[] = { {NULL} };
  g_autofree gchar *layers = pt_network_describe_layer_kinds ();
  g_autofree gchar *losses = pt_loss_describe_kinds ();
  g_autofree gchar *optimizers = pt_optimizer_describe_kinds ();
  g_autofree gchar *devices = pt_device_describe_backends ();

  if (!cli_parse (argc, &argv, entries, NULL,
          "Lists layers, losses, optimizers and devices with their options.",
          0, error))
    return FALSE;
  g_print ("LAYERS: type= in a group of the network file\n\n%s\n"
      "LOSSES: loss= in [learning], options behind the name\n\n%s\n"
      "OPTIMIZERS: optimizer= in [learning], options behind the name\n\n%s\n"
      "DEVICES: devices= in [pipeline]\n\n%s", layers, losses, optimizers,
      devices);
  return TRUE;
}
