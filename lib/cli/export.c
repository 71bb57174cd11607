/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"

typedef gboolean (*ExportFunc) (PtNetwork *network, const gchar *path,
    GError **error);

static const struct
{
  const gchar *suffix;
  ExportFunc func;
} export_formats[] = {
  {".onnx", pt_network_save_onnx},
  {".safetensors", pt_network_save_weights},
};

static ExportFunc
export_find_format (const gchar *path, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (export_formats); i++)
    if (g_str_has_suffix (path, export_formats[i].suffix))
      return export_formats[i].func;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "OUT: found \"%s\", expected "
      "a name that ends with .onnx (model with weights) or .safetensors "
      "(weights)", path);
  return NULL;
}

gboolean
cli_export (gint argc, gchar **argv, GError **error)
{
  g_autofree gchar *weights = NULL;
  g_auto (GStrv) settings = NULL;
  const GOptionEntry entries[] = {
    {"weights", 'w', 0, G_OPTION_ARG_FILENAME, &weights,
        "weights or a checkpoint; without it those of the model, or the first "
          "ones of a network file", "FILE.safetensors"},
    {"set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &settings,
        "overrides a value of the file", "GROUP.KEY=VALUE"},
    {NULL}
  };
  g_autoptr (PtNetwork) network = NULL;
  ExportFunc func;

  if (!cli_parse (argc, &argv, entries, "MODEL OUT.onnx|OUT.safetensors",
          "Writes a network with its weights as an ONNX model, or its weights "
          "as a safetensors file.", 2, error))
    return FALSE;
  func = export_find_format (argv[2], error);
  if (func == NULL || !cli_check_folder ("OUT", argv[2], error))
    return FALSE;
  network = cli_open_network (argv[1], settings, error);
  return network != NULL && (weights == NULL ||
      pt_network_load_weights (network, weights, error)) &&
      func (network, argv[2], error);
}
