/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <glib/gstdio.h>
#include <unistd.h>

#include "device/backend.h"
#include "golden.h"

/* How libpartime-cuda.so is found and opened: "cuda" says what is wrong with
 * it, "auto" goes on with the CPU. MODULES lists, by name, the files that
 * meson built to stand in its place. */

static gchar *folder;           /* $PARTIME_MODULE_DIR */
static gchar *module;           /* libpartime-cuda.so in it */

/* A new folder for each test: GLib knows opened modules by their names. */
static void
folder_make (void)
{
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  module = g_build_filename (folder, "libpartime-cuda.so", NULL);
  g_setenv ("PARTIME_MODULE_DIR", folder, TRUE);
}

static void
folder_remove (void)
{
  g_remove (module);
  g_rmdir (folder);
  g_free (folder);
  g_free (module);
}

static void
link_to (const gchar *target)
{
  folder_make ();
  g_assert_cmpint (symlink (target, module), ==, 0);
}

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
  folder_make ();
  assert_refused ("\"cuda:0\"|there is no libpartime-cuda.so");
  folder_remove ();
}

/* Beside the program, where no test links one. */
static void
test_own_folder (void)
{
  g_unsetenv ("PARTIME_MODULE_DIR");
  assert_refused ("there is no libpartime-cuda.so in |tests/lib/partime, ");
}

static void
test_no_library (void)
{
  g_autofree gchar *text = g_strnfill (4096, 'x');

  folder_make ();
  g_assert_true (g_file_set_contents (module, text, -1, NULL));
  assert_refused ("\"cuda:0\"|cannot open |libpartime-cuda.so|ELF header");
  g_assert_true (g_file_set_contents (module, "", 0, NULL));
  assert_refused ("cannot open |libpartime-cuda.so: file too short");
  folder_remove ();
}

/* A link that leads nowhere is no file. */
static void
test_no_target (void)
{
  link_to ("/nowhere/at/all");
  assert_refused ("there is no libpartime-cuda.so");
  folder_remove ();
}

static void
test_no_entry (void)
{
  link_to (NO_ENTRY_MODULE);
  assert_refused ("is no module of partime|pt_module_get_backend");
  folder_remove ();
}

static void
test_other_version (void)
{
  link_to (FOREIGN_MODULE);
  assert_refused ("libpartime-cuda.so is of another version|expected "
      PT_VERSION);
  folder_remove ();
}

/* The last: once opened, it stays. */
static void
test_real (void)
{
#ifdef CUDA_MODULE
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = NULL;

  link_to (CUDA_MODULE);
  device = pt_device_open ("cuda:0", &error);
  folder_remove ();
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
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cuda-load/no-folder", test_no_folder);
  g_test_add_func ("/cuda-load/own-folder", test_own_folder);
  g_test_add_func ("/cuda-load/no-library", test_no_library);
  g_test_add_func ("/cuda-load/no-target", test_no_target);
  g_test_add_func ("/cuda-load/no-entry", test_no_entry);
  g_test_add_func ("/cuda-load/other-version", test_other_version);
  g_test_add_func ("/cuda-load/real", test_real);
  return g_test_run ();
}
