/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/safetensors.h"

#include "bad-case.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static gchar *folder;

static gchar *
write_file (const gchar *header, guint64 length, gconstpointer data,
    gsize size)
{
  gchar *path = g_build_filename (folder, "t.safetensors", NULL);
  g_autoptr (GString) text = g_string_new (NULL);

  length = GUINT64_TO_LE (length);
  g_string_append_len (text, (gchar *) &length, 8);
  g_string_append (text, header);
  g_string_append_len (text, data, size);
  g_assert_true (g_file_set_contents (path, text->str, text->len, NULL));
  return path;
}

#define ONE(dtype, shape, offsets) \
  "{\"a.weight\":{\"dtype\":\"" dtype "\",\"shape\":" shape \
  ",\"data_offsets\":" offsets "}}"
#define TWO(a, b) \
  "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" a "}," \
  "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" b "}}"
#define BAD(header, ...) \
  {header, header, PT_ERROR_FILE, {"t.safetensors", __VA_ARGS__}}

/* Each with 16 bytes of data. */
static const BadCase bad_headers[] = {
  BAD ("[]", "no JSON object"),
  BAD ("{ ", "no JSON"),
  BAD ("{\"a\":1}", "tensor a", "dtype, shape and two data_offsets"),
  BAD ("{\"a\":{}}", "tensor a", "dtype, shape"),
  BAD ("{\"a\":null}", "tensor a"),
  BAD ("{\"a\":{\"dtype\":4,\"shape\":[4],\"data_offsets\":[0,16]}}",
      "tensor a"),
  BAD (ONE ("F32", "[4]", "[0]"), "tensor a.weight", "two data_offsets"),
  BAD (ONE ("F32", "[4]", "[0,\"16\"]"), "two data_offsets"),
  BAD (ONE ("F32", "[4]", "[-4,12]"), "two data_offsets"),
  BAD (ONE ("F32", "[4.5]", "[0,16]"), "dimension 0", "whole number"),
  BAD (ONE ("F32", "[0]", "[0,0]"), "dimension 0", "at least 1"),
  BAD (ONE ("F32", "[-4]", "[0,16]"), "dimension 0", "at least 1"),
  BAD (ONE ("F32", "[65536,65536]", "[0,16]"), "dimension 1", "too large"),
  BAD (ONE ("F32", "[9223372036854775807]", "[0,16]"), "too large"),
  BAD (ONE ("F32", "[99999999999999999999]", "[0,16]"), "dimension 0"),
  BAD (ONE ("F32", "[1,1,1,1,1,1,4]", "[0,16]"), "7 dimensions", "at most 6"),
  BAD (ONE ("C64", "[2]", "[0,16]"), "dtype C64", "F32"),
  BAD (ONE ("F32", "[3]", "[0,16]"), "data_offsets 0 to 16", "12 bytes"),
  BAD (ONE ("F32", "[4]", "[16,0]"), "data_offsets 16 to 0", "16 bytes"),
  BAD (ONE ("F32", "[5]", "[0,20]"), "0 to 20", "within the 16 bytes",
      "truncated"),
  BAD (ONE ("F32", "[4]", "[9223372036854775791,9223372036854775807]"),
      "within the 16 bytes"),
  BAD (ONE ("F32", "[3]", "[0,12]"), "16 bytes of data", "the 12"),
  BAD (TWO ("[0,8]", "[4,12]"), "tensor b", "overlap"),
  BAD (TWO ("[0,8]", "[0,8]"), "overlap"),
  BAD (ONE ("F32", "[2]", "[8,16]"), "hole"),
  BAD ("{\"__metadata__\":[1]}", "__metadata__"),
  BAD ("{\"__metadata__\":{\"k\":1}}", "__metadata__ at k"),
  BAD ("{}", "16 bytes of data", "the 0"),
  BAD ("{\"a\":[[[[[[", "nested deeper than 3"),
  BAD ("{/*\"*/\"a\":[[[[", "found '/'"),
  BAD ("{\"a\xff\":1}", "no JSON object"),
};

static void
check_bad (const BadCase *bad, const gchar *path)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (pt_tensor_file_load (path, &error));
  bad_case_check (bad, error);
}

static void
test_bad_headers (void)
{
  const gfloat data[4] = { 1, 2, 3, 4 };

  for (guint i = 0; i < G_N_ELEMENTS (bad_headers); i++) {
    const gchar *header = bad_headers[i].input;
    g_autofree gchar *path =
        write_file (header, strlen (header), data, sizeof data);

    check_bad (&bad_headers[i], path);
  }
}

/* A header of brackets alone would overflow the stack of a JSON parser. */
static void
test_deep (void)
{
  const gsize n = 1 << 20;
  const BadCase bad = BAD ("deep", "nested deeper");
  g_autofree gchar *header = g_strnfill (n, '[');
  g_autofree gchar *path = NULL;

  memcpy (header, "{\"a\":", 5);
  path = write_file (header, n, NULL, 0);
  check_bad (&bad, path);
}

static void
test_bad_lengths (void)
{
  static const guint64 lengths[] = { 0, 1, 3, 99, 100000001, G_MAXINT64,
    G_MAXUINT64, G_MAXUINT64 - 7
  };
  const BadCase bad = BAD ("length", "header length of", "expected 2 to 2");

  for (guint i = 0; i < G_N_ELEMENTS (lengths); i++) {
    g_autofree gchar *path = write_file ("{}", lengths[i], NULL, 0);

    check_bad (&bad, path);
  }
}

static void
test_bad_files (void)
{
  const BadCase missing = BAD ("missing", g_strerror (ENOENT));
  const BadCase empty = BAD ("empty", "0 bytes", "at least the 8");
  const BadCase huge = BAD ("huge", "header length of 0");
  const BadCase directory =
      { "directory", NULL, PT_ERROR_FILE, {"a directory", "regular file"} };
  const BadCase special =
      { "special", NULL, PT_ERROR_FILE, {"special file", "regular file"} };
  g_autofree gchar *path = g_build_filename (folder, "t.safetensors", NULL);

  g_unlink (path);
  check_bad (&missing, path);
  check_bad (&directory, folder);
  check_bad (&special, "/dev/zero");
  g_assert_true (g_file_set_contents (path, "", 0, NULL));
  check_bad (&empty, path);
  g_assert_cmpint (truncate (path, 1 << 30), ==, 0);
  check_bad (&huge, path);
  g_unlink (path);
}

/* Every prefix of a good file is refused. */
static void
test_truncated (void)
{
  const gchar *header = TWO ("[0,8]", "[8,16]");
  const gfloat data[4] = { 1, 2, 3, 4 };
  g_autofree gchar *path =
      write_file (header, strlen (header), data, sizeof data);
  g_autoptr (PtTensorFile) whole = pt_tensor_file_load (path, NULL);

  g_assert_nonnull (whole);
  for (gint n = 8 + strlen (header) + 15; n >= 0; n--) {
    const BadCase bad = BAD ("truncated", NULL);

    g_assert_cmpint (truncate (path, n), ==, 0);
    check_bad (&bad, path);
  }
}

static void
test_dtypes (void)
{
  static const gchar header[] =
      "{\"h\":{\"dtype\":\"F16\",\"shape\":[6],\"data_offsets\":[0,12]},"
      "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[12,16]},"
      "\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[16,24]},"
      "\"n.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],"
      "\"data_offsets\":[24,32]},"
      "\"i\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[32,36]}}";
  /* 1, -2, 2^-24, 65504, inf, nan; IEEE 754 binary16 */
  static const guint16 halves[] =
      { 0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x7e00, 0x3f80, 0xc040 };
  const gdouble wide = 0.1;
  const gint32 whole = -7;
  guint8 data[36] = { 0 };
  g_autofree gchar *path = NULL;
  g_autoptr (PtTensorFile) file = NULL;
  GError *error = NULL;
  const gfloat *x;

  memcpy (data, halves, 16);
  memcpy (data + 16, &wide, 8);
  memcpy (data + 32, &whole, 4);
  path = write_file (header, strlen (header), data, sizeof data);
  file = pt_tensor_file_load (path, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pt_tensor_file_get_n_tensors (file), ==, 4);
  x = pt_tensor_file_get (file, "h")->data;
  g_assert_cmpfloat (x[0], ==, 1);
  g_assert_cmpfloat (x[1], ==, -2);
  g_assert_cmpfloat (x[2], ==, 0x1p-24f);
  g_assert_cmpfloat (x[3], ==, 65504);
  g_assert_true (isinf (x[4]) && isnan (x[5]));
  x = pt_tensor_file_get (file, "b")->data;
  g_assert_cmpfloat (x[0], ==, 1);
  g_assert_cmpfloat (x[1], ==, -3);
  x = pt_tensor_file_get (file, "d")->data;
  g_assert_cmpfloat (x[0], ==, 0.1f);
  g_assert_cmpint (*(gint *) pt_tensor_file_get (file, "i")->data, ==, -7);
}

static PtTensorFile *
make_file (gfloat first)
{
  const gint64 dims[] = { 2, 3, 1, 1 };
  g_autoptr (PtTensor) tensor = pt_tensor_new (PT_F32, dims, 4, NULL);
  PtTensorFile *file = pt_tensor_file_new ();

  for (guint i = 0; i < 6; i++)
    ((gfloat *) tensor->data)[i] = first + i;
  pt_tensor_file_add (file, "z", tensor);
  pt_tensor_file_add (file, "a \"\\\n\xc3\xa9", tensor);
  pt_tensor_file_set_metadata (file, "format", "pt");
  return file;
}

static void
test_round_trip (void)
{
  g_autofree gchar *path = g_build_filename (folder, "t.safetensors", NULL);
  g_autoptr (PtTensorFile) saved = make_file (5);
  g_autoptr (PtTensorFile) read = NULL;
  g_autofree gchar *raw = NULL;
  GError *error = NULL;
  guint64 length;
  PtTensor *tensor;

  g_assert_true (pt_tensor_file_save (saved, path, &error));
  g_assert_no_error (error);
  g_assert_true (g_file_get_contents (path, &raw, NULL, NULL));
  memcpy (&length, raw, 8);
  g_assert_cmpuint (GUINT64_FROM_LE (length) % 8, ==, 0);
  read = pt_tensor_file_load (path, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (pt_tensor_file_get_metadata (read, "format"), ==, "pt");
  g_assert_null (pt_tensor_file_get_metadata (read, "none"));
  g_assert_cmpstr (pt_tensor_file_get_name (read, 0), ==, "z");
  tensor = pt_tensor_file_get (read, "a \"\\\n\xc3\xa9");
  g_assert_true (pt_shape_equal (&tensor->shape, &PT_SHAPE (2, 3, 1, 1)));
  g_assert_cmpfloat (((gfloat *) tensor->data)[5], ==, 10);
  g_unlink (path);
}

static guint
count_files (void)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  guint n = 0;

  while (g_dir_read_name (dir) != NULL)
    n++;
  return n;
}

/* A disk that is full half-way: the old file stays, nothing lies about. */
static void
test_save_fails (void)
{
  g_autofree gchar *path = g_build_filename (folder, "t.safetensors", NULL);
  const BadCase full = BAD ("full", "cannot write", g_strerror (EFBIG));
  const BadCase nowhere =
      { "nowhere", NULL, PT_ERROR_FILE, {"/none/x", g_strerror (ENOENT)} };
  const BadCase taken = { "taken", NULL, PT_ERROR_FILE, {"renaming"} };
  const struct rlimit limit = { 100, RLIM_INFINITY };
  struct rlimit old;
  g_autoptr (PtTensorFile) first = make_file (1), second = make_file (2);
  g_autoptr (PtTensorFile) read = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (pt_tensor_file_save (first, path, NULL));
  signal (SIGXFSZ, SIG_IGN);
  getrlimit (RLIMIT_FSIZE, &old);
  setrlimit (RLIMIT_FSIZE, &limit);
  g_assert_false (pt_tensor_file_save (second, path, &error));
  setrlimit (RLIMIT_FSIZE, &old);
  bad_case_check (&full, error);
  g_clear_error (&error);
  g_assert_cmpuint (count_files (), ==, 1);
  read = pt_tensor_file_load (path, NULL);
  g_assert_cmpfloat (*(gfloat *) pt_tensor_file_get (read, "z")->data, ==, 1);
  g_assert_false (pt_tensor_file_save (second, "/none/x", &error));
  bad_case_check (&nowhere, error);
  g_clear_error (&error);
  g_unlink (path);
  g_assert_cmpint (g_mkdir (path, 0700), ==, 0);
  g_assert_false (pt_tensor_file_save (second, path, &error));
  bad_case_check (&taken, error);
  g_assert_cmpuint (count_files (), ==, 1);
  g_rmdir (path);
}

gint
main (gint argc, gchar **argv)
{
  gint status;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  g_test_add_func ("/safetensors/bad-headers", test_bad_headers);
  g_test_add_func ("/safetensors/deep", test_deep);
  g_test_add_func ("/safetensors/bad-lengths", test_bad_lengths);
  g_test_add_func ("/safetensors/bad-files", test_bad_files);
  g_test_add_func ("/safetensors/truncated", test_truncated);
  g_test_add_func ("/safetensors/dtypes", test_dtypes);
  g_test_add_func ("/safetensors/round-trip", test_round_trip);
  g_test_add_func ("/safetensors/save-fails", test_save_fails);
  status = g_test_run ();
  {
    g_autofree gchar *path = g_build_filename (folder, "t.safetensors", NULL);

    g_unlink (path);
  }
  g_rmdir (folder);
  g_free (folder);
  return status;
}
