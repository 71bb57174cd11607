/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "network/network.h"

G_BEGIN_DECLS

/* A model's file, with the key file beside it. Of @settings only those of
 * [network] are looked at, for dimensions that the model leaves open; what
 * they do not say of height and width @open does. */
PtNetwork *pt_onnx_load (const gchar *path, const gchar *const *settings,
    PtOpenSize *open, GError **error);
/* The same from memory, and without the key file; external data is looked for
 * beside @path. @constants, or NULL, are values of graph inputs, from name to
 * Onnx__TensorProto. */
PtNetwork *pt_onnx_parse (const guint8 *data, gsize size, const gchar *path,
    const gchar *const *settings, GHashTable *constants, GError **error);
/* Writes @network with its weights and settings, which pt_onnx_load() reads
 * again. */
gboolean pt_onnx_save (PtNetwork *network, const gchar *path, GError **error);
/* Cuts "group.key=value"; @value points into it. */
gboolean pt_setting_cut (const gchar *setting, gchar **group, gchar **key,
    const gchar **value, GError **error);
/* Of @settings, those of [network] and nothing else. */
gboolean pt_setting_apply_network (const gchar *const *settings,
    const gchar *path, PtSettings *to, GError **error);

G_END_DECLS
