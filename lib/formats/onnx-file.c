/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"
#include "formats/onnx-import.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

/* The bound of protobuf itself; larger models keep their weights aside. */
#define FILE_MAX_BYTES G_MAXINT32
/* Elements of folded constants, beside two for each byte of the model. */
#define FILE_MIN_FOLDS (1 << 24)

/* What the model's metadata, the key file and @settings say, the later over
 * the earlier, without layers. */
static PtNetwork *
file_read_settings (const Onnx__ModelProto *model, const gchar *path,
    const gchar *keys, gsize n_keys, const gchar *const *settings,
    GError **error)
{
  g_autofree gchar *origin = g_strconcat (path, ".cfg", NULL);
  g_autoptr (PtNetwork) given = pt_network_new_empty (origin);

  given->settings.channels = 0;
  if (!pt_onnx_take_settings (given, model, path, error) || (keys != NULL &&
          !pt_config_parse_settings (given, keys, n_keys, error)) ||
      !pt_setting_apply_network (settings, path, &given->settings, error))
    return NULL;
  return g_steal_pointer (&given);
}

static Onnx__ModelProto *
file_unpack (const guint8 *data, gsize size, const gchar *path,
    GError **error)
{
  Onnx__ModelProto *model;

  if (!pt_onnx_guard (data, size, path, error))
    return NULL;
  model = onnx__model_proto__unpack (NULL, size, data);
  if (model != NULL && model->graph != NULL)
    return model;
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read the ONNX "
      "model: found %s, expected a model as onnx.save() writes it", path,
      model ? "no graph" : "other bytes");
  if (model != NULL)
    onnx__model_proto__free_unpacked (model, NULL);
  return NULL;
}

/* Frees @model, which was @size bytes. */
static PtNetwork *
file_read (Onnx__ModelProto *model, gsize size, const gchar *path,
    const gchar *keys, gsize n_keys, const gchar *const *settings,
    PtOpenSize *open, GHashTable *constants, GError **error)
{
  g_autoptr (PtNetwork) given = NULL;
  OnnxImport self = {.path = path,.constants = constants,.open = open,
    .fold_left = FILE_MIN_FOLDS + 2 * (gint64) size
  };
  PtNetwork *network = NULL;

  given = file_read_settings (model, path, keys, n_keys, settings, error);
  if (given != NULL)
    network = pt_onnx_import (&self, model, &given->settings, error);
  if (network != NULL && !pt_onnx_take_options (network, model, error))
    g_clear_pointer (&network, pt_network_unref);
  onnx__model_proto__free_unpacked (model, NULL);
  return network;
}

PtNetwork *
pt_onnx_parse (const guint8 *data, gsize size, const gchar *path,
    const gchar *const *settings, GHashTable *constants, GError **error)
{
  Onnx__ModelProto *model = file_unpack (data, size, path, error);

  return model == NULL ? NULL : file_read (model, size, path, NULL, 0,
      settings, NULL, constants, error);
}

static gboolean
file_get_contents (const gchar *path, gint64 most, gchar **data, gsize *size,
    GError **error)
{
  g_autoptr (GError) reason = NULL;
  GStatBuf about;

  if (g_stat (path, &about) != 0)
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: %s",
        path, g_strerror (errno));
  else if (!S_ISREG (about.st_mode) || about.st_size > most)
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: found "
        "%s, expected a regular file of at most %" G_GINT64_FORMAT " bytes",
        path, S_ISREG (about.st_mode) ? "a larger file" : "no regular file",
        most);
  else if (g_file_get_contents (path, data, size, &reason))
    return TRUE;
  else
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read it: %s",
        path, reason->message);
  return FALSE;
}

PtNetwork *
pt_onnx_load (const gchar *path, const gchar *const *settings,
    PtOpenSize *open, GError **error)
{
  g_autofree gchar *beside = g_strconcat (path, ".cfg", NULL);
  g_autofree gchar *keys = NULL;
  g_autofree gchar *data = NULL;
  gsize n_keys = 0, size;
  Onnx__ModelProto *model;

  if (!file_get_contents (path, FILE_MAX_BYTES, &data, &size, error) ||
      (g_file_test (beside, G_FILE_TEST_EXISTS) &&
          !file_get_contents (beside, 1 << 20, &keys, &n_keys, error)))
    return NULL;
  model = file_unpack ((const guint8 *) data, size, path, error);
  g_clear_pointer (&data, g_free);
  return model == NULL ? NULL : file_read (model, size, path, keys, n_keys,
      settings, open, NULL, error);
}
