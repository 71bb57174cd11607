/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "device/backend.h"
#include "golden.h"

/* How libpartime-cuda.so is found and opened: "cuda" says what is wrong with
 * it, "auto" goes on with the CPU. MODULES lists, by name, the files that
 * meson built to stand in its place. */

static gchar *folder;           /* $PARTIME_MODULE_DIR */
static gchar *module;           /* libpartime-cuda.so in it */

static void
assert_goes_on (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) found = pt_device_open_accelerators (&error);
  g_autoptr (GPtrArray) list = pt_device_open_list ("auto", &error);

  g_assert_no_error (error);
  g_assert_cmpuint (found->len, ==, 0);
  g_assert_cmpuint (list->len, ==, pt_device_count_cores ());
  g_assert_true (g_str_has_prefix (pt_device_get_name (list->pdata[0]),
          "cpu:"));
}

/* Twice: what went wrong once is looked at anew. */
static void
assert_refused (const gchar *words)
{
  for (guint i = 0; i < 2; i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (pt_device_open ("cuda:0", &error));
    g_assert_error (error, PT_ERROR, PT_ERROR_DEVICE);
    assert_says (error->message, words);
    assert_goes_on ();
  }
}

static void
test_no_folder (void)
{
  g_setenv ("PARTIME_MODULE_DIR", "/nowhere/at/all", TRUE);
  assert_refused ("\"cuda:0\"|libpartime-cuda.so|/nowhere/at/all"
      "|-Dcuda=enabled");
  g_setenv ("PARTIME_MODULE_DIR", folder, TRUE);
  assert_refused ("\"cuda:0\"|there is no libpartime-cuda.so");
}

/* Beside the program, where no test links one. */
static void
test_own_folder (void)
{
  g_unsetenv ("PARTIME_MODULE_DIR");
  assert_refused ("there is no libpartime-cuda.so in |tests/lib/partime, ");
  g_setenv ("PARTIME_MODULE_DIR", folder, TRUE);
}

static void
test_no_library (void)
{
  g_autofree gchar *text = g_strnfill (4096, 'x');

  g_assert_true (g_file_set_contents (module, text, -1, NULL));
  assert_refused ("\"cuda:0\"|cannot open |libpartime-cuda.so|ELF header");
  g_assert_true (g_file_set_contents (module, "", 0, NULL));
  assert_refused ("cannot open |libpartime-cuda.so: file too short");
  g_remove (module);
}

/* A link that leads nowhere is no file. */
static void
test_no_target (void)
{
  g_assert_cmpint (symlink ("/nowhere/at/all", module), ==, 0);
  assert_refused ("there is no libpartime-cuda.so");
  g_remove (module);
}

static void
test_no_entry (void)
{
  g_assert_cmpint (symlink (NO_ENTRY_MODULE, module), ==, 0);
  assert_refused ("is no module of partime|pt_module_get_backend");
  g_remove (module);
}

static void
test_other_version (void)
{
  g_assert_cmpint (symlink (FOREIGN_MODULE, module), ==, 0);
  assert_refused ("libpartime-cuda.so is of another version|expected "
      PT_VERSION);
  g_remove (module);
}

/* The last: once opened, it stays. */
static void
test_real (void)
{
#ifdef CUDA_MODULE
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = NULL;

  g_assert_cmpint (symlink (CUDA_MODULE, module), ==, 0);
  device = pt_device_open ("cuda:0", &error);
  g_remove (module);
  if (device != NULL) {
    g_test_skip ("there is a GPU: test-*-cuda run on it");
    return;
  }
  g_assert_error (error, PT_ERROR, PT_ERROR_DEVICE);
  assert_says (error->message, "\"cuda:0\"|looking for GPUs");
  if (!g_file_test ("/proc/driver/nvidia/version", G_FILE_TEST_EXISTS))
    assert_says (error->message, "NVIDIA's driver");
  assert_goes_on ();
#else
  g_test_skip ("the CUDA module is not built");
#endif
}

int
main (int argc, char **argv)
{
  gint status;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  module = g_build_filename (folder, "libpartime-cuda.so", NULL);
  g_setenv ("PARTIME_MODULE_DIR", folder, TRUE);
  g_test_add_func ("/cuda-load/no-folder", test_no_folder);
  g_test_add_func ("/cuda-load/own-folder", test_own_folder);
  g_test_add_func ("/cuda-load/no-library", test_no_library);
  g_test_add_func ("/cuda-load/no-target", test_no_target);
  g_test_add_func ("/cuda-load/no-entry", test_no_entry);
  g_test_add_func ("/cuda-load/other-version", test_other_version);
  g_test_add_func ("/cuda-load/real", test_real);
  status = g_test_run ();
  g_rmdir (folder);
  g_free (folder);
  g_free (module);
  return status;
}
