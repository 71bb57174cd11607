/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx.h"
#include "network/network.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

/* A network file is text; weights have files of their own. */
#define NETWORK_MAX_FILE (16 << 20)

/* Refuses what would block, or fill the memory, when read. */
static gboolean
network_check_file (const gchar *path, GError **error)
{
  GStatBuf about;

  if (g_stat (path, &about) != 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE,
        "%s: cannot read the network file: %s", path, g_strerror (errno));
    return FALSE;
  }
  if (!S_ISREG (about.st_mode)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE,
        "%s: cannot read the network file: found %s, expected a regular file",
        path, S_ISDIR (about.st_mode) ? "a directory" : "a special file");
    return FALSE;
  }
  if (about.st_size > NETWORK_MAX_FILE) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE,
        "%s: cannot read the network file: found %" G_GINT64_FORMAT
        " bytes, expected at most %d of text", path, (gint64) about.st_size,
        NETWORK_MAX_FILE);
    return FALSE;
  }
  return TRUE;
}

/* Cuts "group.key=value"; a layer's name may have dots of its own. */
gboolean
pt_setting_cut (const gchar *setting, gchar **group, gchar **key,
    const gchar **value, GError **error)
{
  const gchar *equals = strchr (setting, '=');
  const gchar *dot = equals ? g_strrstr_len (setting, equals - setting, ".") :
      NULL;

  if (dot == NULL || dot == setting || dot + 1 == equals) {
    g_autofree gchar *quoted = pt_params_quote (setting);

    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "--set: found %s, expected group.key=value", quoted);
    return FALSE;
  }
  *group = g_strndup (setting, dot - setting);
  *key = g_strndup (dot + 1, equals - dot - 1);
  *value = equals + 1;
  return TRUE;
}

/* Those that bind dimensions; all are applied once the layers are there. */
gboolean
pt_setting_apply_network (const gchar *const *settings, const gchar *path,
    PtSettings *to, GError **error)
{
  const PtParam *params = pt_settings_get_params ("network");
  g_autofree gchar *where = g_strdup_printf ("%s: group [network]", path);

  for (guint i = 0; settings != NULL && settings[i] != NULL; i++) {
    g_autofree gchar *group = NULL;
    g_autofree gchar *key = NULL;
    const gchar *value;

    if (!pt_setting_cut (settings[i], &group, &key, &value, error))
      return FALSE;
    if (g_str_equal (group, "network") &&
        !pt_params_set (params, to, key, value, where, error))
      return FALSE;
  }
  return TRUE;
}

static PtNetwork *
network_load_text (const gchar *path, const gchar *const *settings,
    PtOpenSize *open, GError **error)
{
  g_autoptr (PtNetwork) self = pt_network_new_empty (path);
  g_autoptr (GError) reason = NULL;
  g_autofree gchar *text = NULL;
  gsize length;

  if (!network_check_file (path, error))
    return NULL;
  if (!g_file_get_contents (path, &text, &length, &reason)) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE,
        "%s: cannot read the network file: %s", path, reason->message);
    return NULL;
  }
  if (!pt_config_parse (self, text, length, error) ||
      !pt_setting_apply_network (settings, path, &self->settings, error) ||
      !pt_network_bind (self, open, error))
    return NULL;
  return g_steal_pointer (&self);
}

/* Every model there is reads like its own network file from here on. */
static PtNetwork *
network_load_onnx (const gchar *path, const gchar *const *settings,
    PtOpenSize *open, GError **error)
{
#ifdef HAVE_ONNX
  return pt_onnx_load (path, settings, open, error);
#else
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "%s: cannot read an "
      "ONNX model: this build is without (meson setup -Donnx=enabled)", path);
  return NULL;
#endif
}

static gboolean
network_apply (PtNetwork *self, const gchar *setting, GError **error)
{
  g_autofree gchar *group = NULL;
  g_autofree gchar *key = NULL;
  const gchar *value;

  return pt_setting_cut (setting, &group, &key, &value, error) &&
      pt_network_set (self, group, key, value, error);
}

/**
 * pt_network_new_from_file_for:
 * @path: a network file, or an ONNX model if it ends with ".onnx"
 * @settings: (nullable) (array zero-terminated=1): overrides, each
 *   "group.key=value"
 * @width: of the frames to come, px; 0: not known
 * @height: of the frames to come, px; 0: not known
 * @is_open: (out) (optional): whether the file and @settings leave the input's
 *   height or width open; also said with an error
 * @error: return location
 *
 * As pt_network_new_from_data(), from a file of at most 16 MiB, and
 * pt_network_set() for each of @settings. An ONNX model comes with its
 * weights; what learning and output need is read from the key file "@path.cfg"
 * if there is one; dimensions that the model leaves open are those of
 * "network.width", "network.height" and "network.channels", or all of them
 * "network.input-shape", such as "1;3;224;224"; of several outputs
 * "network.output" names those that are wanted, separated by ";". Without it
 * they are all that are the result of layers, or, if one of them needs an
 * operator that is not there, those of floats, or the first alone. A height or
 * width that is open then is that of the frames.
 *
 * Returns: (transfer full): the network, or %NULL with %PT_ERROR_FILE for a
 *   file that cannot be read, %PT_ERROR_UNSUPPORTED for a model with operators
 *   that are not there, or an error of pt_network_new_from_data() or
 *   pt_network_set()
 */
PtNetwork *
pt_network_new_from_file_for (const gchar *path,
    const gchar *const *settings, guint width, guint height,
    gboolean *is_open, GError **error)
{
  PtOpenSize open = { width, height, FALSE };
  g_autoptr (PtNetwork) self = NULL;

  g_return_val_if_fail (path != NULL, NULL);
  if (g_str_has_suffix (path, ".onnx"))
    self = network_load_onnx (path, settings, &open, error);
  else
    self = network_load_text (path, settings, &open, error);
  if (is_open != NULL)
    *is_open = open.used;
  if (self == NULL)
    return NULL;
  for (guint i = 0; settings != NULL && settings[i] != NULL; i++)
    if (!network_apply (self, settings[i], error))
      return NULL;
  return g_steal_pointer (&self);
}

/**
 * pt_network_new_from_file_with:
 * @path: a network file, or an ONNX model if it ends with ".onnx"
 * @settings: (nullable) (array zero-terminated=1): overrides, each
 *   "group.key=value"
 * @error: return location
 *
 * pt_network_new_from_file_for() without frames.
 *
 * Returns: (transfer full): the network, or %NULL with an error, also
 *   %PT_ERROR_CONFIG or %PT_ERROR_UNSUPPORTED if its size is open
 */
PtNetwork *
pt_network_new_from_file_with (const gchar *path,
    const gchar *const *settings, GError **error)
{
  return pt_network_new_from_file_for (path, settings, 0, 0, NULL, error);
}

/**
 * pt_network_new_from_file:
 * @path: a network file, or an ONNX model if it ends with ".onnx"
 * @error: return location
 *
 * pt_network_new_from_file_with() without overrides.
 *
 * Returns: (transfer full): the network, or %NULL with an error
 */
PtNetwork *
pt_network_new_from_file (const gchar *path, GError **error)
{
  return pt_network_new_from_file_with (path, NULL, error);
}

/**
 * pt_network_save_onnx:
 * @self: a network
 * @path: where to
 * @error: return location
 *
 * Writes the network as an ONNX model that computes the same, with its weights
 * (initialising them first if that was not done), an input "input" of
 * pt_network_get_input_shape() and outputs as pt_network_get_output_name()
 * calls them. Settings of [network],
 * [learning] and [output] are kept in its metadata, for
 * pt_network_new_from_file(). A kill at any moment leaves the old file or the
 * new one. Waits for the disk.
 *
 * Returns: %TRUE, or %FALSE with %PT_ERROR_UNSUPPORTED for a layer that ONNX
 *   has no operators for, more than 2 GiB of weights or a build without ONNX,
 *   %PT_ERROR_FILE, %PT_ERROR_NO_MEMORY
 */
gboolean
pt_network_save_onnx (PtNetwork *self, const gchar *path, GError **error)
{
#ifdef HAVE_ONNX
  return pt_onnx_save (self, path, error);
#else
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "%s: cannot write an "
      "ONNX model: this build is without (meson setup -Donnx=enabled)", path);
  return FALSE;
#endif
}
