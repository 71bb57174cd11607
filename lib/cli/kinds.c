/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"

gboolean
cli_kinds (gint argc, gchar **argv, GError **error)
{
  const GOptionEntry entries[] = { {NULL} };
  g_autofree gchar *settings = pt_network_describe_settings ();
  g_autofree gchar *schedules = pt_pipeline_describe_schedules ();
  g_autofree gchar *layers = pt_network_describe_layer_kinds ();
  g_autofree gchar *losses = pt_loss_describe_kinds ();
  g_autofree gchar *optimizers = pt_optimizer_describe_kinds ();
  g_autofree gchar *devices = pt_device_describe_backends ();

  if (!cli_parse (argc, &argv, entries, NULL,
          "Lists the keys of the network file, layers, losses, optimizers, "
          "schedules and devices with their options.",
          0, error))
    return FALSE;
  g_print ("GROUPS of the network file that are no layers\n\n%s\n"
      "LAYERS: type= in a group of the network file\n\n%s\n"
      "LOSSES: loss= in [learning], options behind the name\n\n%s\n"
      "OPTIMIZERS: optimizer= in [learning], options behind the name\n\n%s\n"
      "SCHEDULES: schedule= in [learning], options behind the name\n\n%s\n"
      "DEVICES: devices= in [pipeline]\n\n%s", settings, layers, losses,
      optimizers, schedules, devices);
  return TRUE;
}
