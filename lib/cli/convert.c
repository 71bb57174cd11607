/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"
#include "formats/darknet.h"
#include "formats/file-replace.h"

#include <string.h>

/* "net.cfg" -> "net.safetensors". */
static gchar *
convert_name_weights (const gchar *out)
{
  return g_strdup_printf ("%.*s.safetensors",
      (gint) (strlen (out) - strlen (".cfg")), out);
}

static gboolean
convert_write (PtNetwork *network, const gchar *text, const gchar *out,
    gboolean weighted, GError **error)
{
  const PtFilePart part = { text, strlen (text) };
  g_autofree gchar *weights = convert_name_weights (out);

  /* the network file last: where it is, the weights are */
  if (weighted && !pt_network_save_weights (network, weights, error))
    return FALSE;
  if (!pt_file_replace (out, &part, 1, NULL, NULL, error))
    return FALSE;
  g_print ("%s: %u layers, %" G_GUINT64_FORMAT " parameters\n", out,
      pt_network_get_n_layers (network),
      pt_network_get_n_parameters (network));
  if (weighted)
    g_print ("%s: the weights\n", weights);
  return TRUE;
}

gboolean
cli_convert (gint argc, gchar **argv, GError **error)
{
  const GOptionEntry entries[] = { {NULL} };
  g_autoptr (PtNetwork) network = NULL;
  g_autofree gchar *text = NULL;
  g_autofree gchar *notes = NULL;
  const gchar *out;

  if (!cli_parse_some (&argc, &argv, entries,
          "DARKNET.cfg [DARKNET.weights] OUT.cfg",
          "Makes a network file of a darknet one, and of its weights a "
          "safetensors file beside it.", 2, 3, error))
    return FALSE;
  out = argv[argc - 1];
  if (!g_str_has_suffix (out, ".cfg")) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "OUT: found \"%s\", "
        "expected a name that ends with .cfg", out);
    return FALSE;
  }
  if (g_str_equal (out, argv[1])) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "OUT: found \"%s\", "
        "expected another file than the darknet network", out);
    return FALSE;
  }
  if (!cli_check_folder ("OUT", out, error))
    return FALSE;
  network = pt_darknet_load (argv[1], argc == 4 ? argv[2] : NULL, &text,
      &notes, error);
  if (network == NULL ||
      !convert_write (network, text, out, argc == 4, error))
    return FALSE;
  g_print ("%s", notes);
  return TRUE;
}
