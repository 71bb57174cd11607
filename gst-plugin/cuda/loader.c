/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Opens the module, if there is any use for it. */

#include "cuda/module.h"

#include <dlfcn.h>
#include <gmodule.h>

#define DRIVER "libcuda.so.1"
#define MODULE "libpartime-gstcuda.so"

GST_DEBUG_CATEGORY_EXTERN (gst_partime_filter_debug);
#define GST_CAT_DEFAULT gst_partime_filter_debug

/* $PARTIME_MODULE_DIR alone, as for the library's own modules; or partime/
 * beside the plugin's folder, or cuda/ in it, as in a build tree. */
static gchar *
loader_find (void)
{
  static const gchar *const places[] = { "../partime", "cuda" };
  const gchar *given = g_getenv ("PARTIME_MODULE_DIR");
  g_autofree gchar *own = NULL;
  Dl_info info;

  if (given)
    return g_build_filename (given, MODULE, NULL);
  if (dladdr (places, &info) == 0 || !info.dli_fname)
    return NULL;
  own = g_path_get_dirname (info.dli_fname);
  for (guint i = 0; i < G_N_ELEMENTS (places); i++) {
    g_autofree gchar *path = g_build_filename (own, places[i], MODULE, NULL);

    if (g_file_test (path, G_FILE_TEST_EXISTS))
      return g_steal_pointer (&path);
  }
  return NULL;
}

static gboolean
loader_has_driver (void)
{
  GModule *driver = g_module_open (DRIVER,
      G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);

  if (!driver)
    return FALSE;
  g_module_close (driver);
  return TRUE;
}

static const GstPartimeCudaModule *
loader_open (const gchar *path)
{
  GModule *file = g_module_open (path,
      G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);
  const GstPartimeCudaModule *module = NULL;

  if (!file) {
    GST_WARNING ("cannot open %s: %s", path, g_module_error ());
    return NULL;
  }
  /* libraries of CUDA do not like to be unloaded */
  g_module_make_resident (file);
  if (!g_module_symbol (file, GST_PARTIME_CUDA_ENTRY, (gpointer *) &module))
    GST_WARNING ("%s is no module of this plugin: it has no %s", path,
        GST_PARTIME_CUDA_ENTRY);
  else if (!g_str_equal (module->version, VERSION)) {
    GST_WARNING ("%s is of version %s, expected %s", path, module->version,
        VERSION);
    module = NULL;
  }
  return module;
}

static const GstPartimeCudaModule *
loader_load (void)
{
  g_autofree gchar *path = loader_find ();
  const GstPartimeCudaModule *module;

  if (!path || !g_file_test (path, G_FILE_TEST_EXISTS)) {
    GST_INFO ("no CUDA memory: there is no %s", path ? path : MODULE);
    return NULL;
  }
  /* it pulls in a lot, for nothing where there is no GPU */
  if (!loader_has_driver ()) {
    GST_INFO ("no CUDA memory: there is no %s", DRIVER);
    return NULL;
  }
  module = loader_open (path);
  if (module && !module->ready ()) {
    GST_INFO ("no CUDA memory: there is no GPU that can be used");
    module = NULL;
  }
  return module;
}

/* Returns: (nullable): what there is for CUDA memory; %NULL where it cannot be
 * used */
const GstPartimeCudaModule *
gst_partime_cuda_get_module (void)
{
  static const GstPartimeCudaModule *module;
  static gsize once = 0;

  if (g_once_init_enter (&once)) {
    module = loader_load ();
    g_once_init_leave (&once, 1);
  }
  return module;
}

/* Takes @caps, gives them with frames in CUDA memory at the end if those can
 * be used. */
GstCaps *
gst_partime_cuda_add_caps (GstCaps *caps)
{
  const GstPartimeCudaModule *module = gst_partime_cuda_get_module ();
  g_autofree gchar *text = NULL;

  if (!module)
    return caps;
  text = g_strdup_printf (GST_VIDEO_CAPS_MAKE_WITH_FEATURES
      (GST_PARTIME_CUDA_FEATURE, "%s"), module->formats);
  return gst_caps_merge (caps, gst_caps_from_string (text));
}

static gboolean
loader_is_cuda (const GstCaps *caps, guint i)
{
  const GstCapsFeatures *features = gst_caps_get_features (caps, i);

  return !gst_caps_features_is_any (features)
      && gst_caps_features_contains (features, GST_PARTIME_CUDA_FEATURE);
}

/* Whether @caps, fixed ones, are of frames in CUDA memory. */
gboolean
gst_partime_cuda_in_caps (const GstCaps *caps)
{
  return gst_caps_get_size (caps) > 0 && loader_is_cuda (caps, 0);
}

/* Whether who is linked to @pad says that it has to do with CUDA memory. */
gboolean
gst_partime_cuda_offered (GstPad *pad)
{
  g_autoptr (GstCaps) caps = gst_pad_peer_query_caps (pad, NULL);

  for (guint i = 0; caps && !gst_caps_is_any (caps)
      && i < gst_caps_get_size (caps); i++)
    if (loader_is_cuda (caps, i))
      return TRUE;
  return FALSE;
}
