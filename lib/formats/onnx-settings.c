/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <string.h>

/* metadata_props of models that were learned here: "partime.GROUP.KEY". */

/* Cuts the name of @entry; FALSE if it is somebody else's. */
static gboolean
settings_cut (const Onnx__StringStringEntryProto *entry, gchar **group,
    const gchar **key)
{
  const gchar *name = entry->key, *dot;

  if (name == NULL || entry->value == NULL ||
      !g_str_has_prefix (name, ONNX_EXPORT_PREFIX))
    return FALSE;
  name += strlen (ONNX_EXPORT_PREFIX);
  dot = strrchr (name, '.');
  if (dot == NULL)
    return FALSE;
  *group = g_strndup (name, dot - name);
  *key = dot + 1;
  return TRUE;
}

gboolean
pt_onnx_take_settings (PtNetwork *network, const Onnx__ModelProto *model,
    const gchar *path, GError **error)
{
  static const gchar *const groups[] =
      { "network", "learning", "output", NULL };
  g_autofree gchar *where = g_strconcat (path, ": metadata", NULL);

  for (gsize i = 0; i < model->n_metadata_props; i++) {
    const Onnx__StringStringEntryProto *entry = model->metadata_props[i];
    g_autofree gchar *group = NULL;
    const gchar *key;

    if (settings_cut (entry, &group, &key) && g_strv_contains (groups, group)
        && !pt_params_set (pt_settings_get_params (group), &network->settings,
            key, entry->value, where, error))
      return FALSE;
  }
  return pt_config_check_settings (&network->settings, where, error);
}

/* Layers that other tools have taken out or renamed are passed over. */
gboolean
pt_onnx_take_options (PtNetwork *network, const Onnx__ModelProto *model,
    GError **error)
{
  for (gsize i = 0; i < model->n_metadata_props; i++) {
    const Onnx__StringStringEntryProto *entry = model->metadata_props[i];
    g_autofree gchar *group = NULL;
    const gchar *key;
    PtLayer *layer;
    gint index;

    if (!settings_cut (entry, &group, &key) ||
        !g_strv_contains (pt_onnx_layer_options, key) ||
        (index = pt_network_find_layer (network, group)) < 0)
      continue;
    layer = network->nodes[index].layer;
    if (pt_params_find (layer->kind->params, key) != NULL &&
        !pt_params_set (layer->kind->params, layer->options, key, entry->value,
            network->origin, error))
      return FALSE;
  }
  return pt_network_infer (network, error);
}
