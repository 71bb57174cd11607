/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/module.h"

#include <dlfcn.h>
#include <gmodule.h>

const PtModuleKind pt_module_kinds[] = {
  {"cuda", "NVIDIA GPUs: cuda or cuda:0 is the first, cuda:1 the second"},
  {NULL, NULL},
};

/* Where this library lies; NULL if that cannot be told. */
static gchar *
module_get_folder (void)
{
  Dl_info info;

  if (dladdr (pt_module_kinds, &info) == 0 || info.dli_fname == NULL)
    return NULL;
  return g_path_get_dirname (info.dli_fname);
}

/* $PARTIME_MODULE_DIR alone; or partime/ beside this library, or its own
 * folder, as in a build tree. */
static gchar **
module_list_folders (void)
{
  const gchar *given = g_getenv ("PARTIME_MODULE_DIR");
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();
  g_autofree gchar *own = NULL, *below = NULL;

  if (given != NULL) {
    g_strv_builder_add (builder, given);
    return g_strv_builder_end (builder);
  }
  own = module_get_folder ();
  if (own != NULL) {
    below = g_build_filename (own, "partime", NULL);
    g_strv_builder_add (builder, below);
    g_strv_builder_add (builder, own);
  }
  return g_strv_builder_end (builder);
}

static gchar *
module_find (const gchar *name, GError **error)
{
  g_auto (GStrv) folders = module_list_folders ();
  g_autofree gchar *file = g_strdup_printf ("libpartime-%s.so", name);
  g_autofree gchar *looked = g_strjoinv (", ", folders);

  for (guint i = 0; folders[i] != NULL; i++) {
    g_autofree gchar *path = g_build_filename (folders[i], file, NULL);

    if (g_file_test (path, G_FILE_TEST_EXISTS))
      return g_steal_pointer (&path);
  }
  g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "there is no %s in %s; it is "
      "built where its libraries are found (-D%s=enabled says what is missing)",
      file, looked, name);
  return NULL;
}

/* Opens the module and keeps it for the life of the process: the libraries
 * below it do not like to be unloaded. PT_ERROR_DEVICE if it or a library it
 * needs is missing, or it is of another version. */
const PtBackend *
pt_module_load (const PtModuleKind *kind, GError **error)
{
  g_autofree gchar *path = module_find (kind->name, error);
  PtModuleEntry entry;
  const PtBackend *backend;
  GModule *module;

  if (path == NULL)
    return NULL;
  module = g_module_open (path, G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);
  if (module == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "cannot open %s: %s", path,
        g_module_error ());
    return NULL;
  }
  g_module_make_resident (module);
  if (!g_module_symbol (module, PT_MODULE_ENTRY, (gpointer *) &entry)) {
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "%s is no module of "
        "partime: it has no %s", path, PT_MODULE_ENTRY);
    return NULL;
  }
  backend = entry (PT_MODULE_ABI);
  if (backend == NULL)
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
        "%s is of another version, expected %s", path, PT_MODULE_ABI);
  return backend;
}
