/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/partime.h"

G_BEGIN_DECLS

/* A subcommand: its own arguments, argv[0] being its name. */
typedef struct
{
  const gchar *name;
  const gchar *summary;
  gboolean (*run) (gint argc, gchar **argv, GError **error);
} CliCommand;

gboolean cli_convert (gint argc, gchar **argv, GError **error);
gboolean cli_export (gint argc, gchar **argv, GError **error);
gboolean cli_info (gint argc, gchar **argv, GError **error);
gboolean cli_init (gint argc, gchar **argv, GError **error);
gboolean cli_kinds (gint argc, gchar **argv, GError **error);
gboolean cli_learn (gint argc, gchar **argv, GError **error);
gboolean cli_plot (gint argc, gchar **argv, GError **error);

/* Takes the options out of @argv and wants @n arguments to be left, which
 * @usage names. */
gboolean cli_parse (gint argc, gchar ***argv, const GOptionEntry *entries,
    const gchar *usage, const gchar *help, guint n, GError **error);
/* The same for @least to @most arguments; @argc is what is left. */
gboolean cli_parse_some (gint *argc, gchar ***argv,
    const GOptionEntry *entries, const gchar *usage, const gchar *help,
    guint least, guint most, GError **error);
/* The network of a file with "group.key=value" texts applied. */
PtNetwork *cli_open_network (const gchar *path, gchar **settings,
    GError **error);
/* Whether there is a folder to write @path to, if it is not NULL; @what is
 * the option or argument. To be asked before any work is done. */
gboolean cli_check_folder (const gchar *what, const gchar *path,
    GError **error);

G_END_DECLS
