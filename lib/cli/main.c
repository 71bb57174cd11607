/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"
#include "core/params.h"

#include <locale.h>
#include <string.h>

static const CliCommand cli_commands[] = {
  {"info", "shows the layers, shapes and cost of a network file", cli_info},
  {"kinds", "lists layers, losses, optimizers and devices with their options",
      cli_kinds},
  {"init", "writes a network's first weights", cli_init},
  {"export", "writes a network as an ONNX model or its weights as safetensors",
      cli_export},
  {"convert", "makes a network file of a darknet one", cli_convert},
  {"learn", "runs a network over a file of frames and learns from them",
      cli_learn},
  {"plot", "draws a run: loss, measures, times", cli_plot},
};

gboolean
cli_parse_some (gint *argc, gchar ***argv, const GOptionEntry *entries,
    const gchar *usage, const gchar *help, guint least, guint most,
    GError **error)
{
  g_autoptr (GOptionContext) context = g_option_context_new (usage);
  guint found;

  g_option_context_set_summary (context, help);
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  found = *argc - 1;
  if (found >= least && found <= most)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found %u argument%s, "
      "expected %s", (*argv)[0], found, found == 1 ? "" : "s",
      most == 0 ? "none" : usage);
  return FALSE;
}

gboolean
cli_parse (gint argc, gchar ***argv, const GOptionEntry *entries,
    const gchar *usage, const gchar *help, guint n, GError **error)
{
  return cli_parse_some (&argc, argv, entries, usage, help, n, n, error);
}

PtNetwork *
cli_open_network (const gchar *path, gchar **settings, GError **error)
{
  return pt_network_new_from_file_with (path,
      (const gchar * const *) settings, error);
}

gboolean
cli_check_folder (const gchar *what, const gchar *path, GError **error)
{
  g_autofree gchar *folder = path != NULL ? g_path_get_dirname (path) : NULL;

  if (path == NULL || g_file_test (folder, G_FILE_TEST_IS_DIR))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: found \"%s\", but there "
      "is no folder %s to write it to", what, path, folder);
  return FALSE;
}

static void
cli_print_help (void)
{
  g_print ("Usage: partime COMMAND [OPTIONS]\n\n"
      "Networks that learn from the stream they run on.\n\nCommands:\n");
  for (guint i = 0; i < G_N_ELEMENTS (cli_commands); i++)
    g_print ("  %-8s %s\n", cli_commands[i].name, cli_commands[i].summary);
  g_print ("\n\"partime COMMAND --help\" shows a command's options.\n");
}

static const CliCommand *
cli_find (const gchar *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (cli_commands); i++)
    if (strcmp (cli_commands[i].name, name) == 0)
      return &cli_commands[i];
  return NULL;
}

static void
cli_refuse_command (const gchar *found)
{
  const gchar *names[G_N_ELEMENTS (cli_commands) + 1] = { NULL };
  g_autofree gchar *quoted = pt_params_quote (found);
  g_autofree gchar *hint = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (cli_commands); i++)
    names[i] = cli_commands[i].name;
  hint = pt_params_hint (found, names);
  g_printerr ("partime: found command %s, expected %s\n", quoted, hint);
}

gint
main (gint argc, gchar **argv)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *name = NULL;
  const CliCommand *command;

  setlocale (LC_ALL, "");
  if (argc < 2 || strcmp (argv[1], "--help") == 0 ||
      strcmp (argv[1], "-h") == 0 || strcmp (argv[1], "help") == 0) {
    cli_print_help ();
    return argc < 2 ? 2 : 0;
  }
  command = cli_find (argv[1]);
  if (command == NULL) {
    cli_refuse_command (argv[1]);
    return 2;
  }
  name = g_strdup_printf ("partime %s", argv[1]);
  g_set_prgname (name);
  if (command->run (argc - 1, argv + 1, &error))
    return 0;
  g_printerr ("partime: %s\n", error->message);
  return 1;
}
