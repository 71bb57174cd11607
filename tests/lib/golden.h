/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <math.h>
#include <string.h>

#include "formats/safetensors.h"

/* What PyTorch says: tests/data/make-*.py. */
#ifndef GOLDEN_FILES
#define GOLDEN_FILES "layers.safetensors", "eltwise.safetensors", \
    "structure.safetensors", "windows.safetensors"
#endif

/* Of a file of tests/data; elsewhere than here, of $PARTIME_TEST_DATA. */
static inline gchar *
golden_path (const gchar *name)
{
  const gchar *folder = g_getenv ("PARTIME_TEST_DATA");

  return g_build_filename (folder != NULL ? folder : TEST_DATA, name, NULL);
}

/* File @i of them; NULL: there are no more. */
static inline PtTensorFile *
golden_get (guint i)
{
  static const gchar *const names[] = { GOLDEN_FILES };
  static PtTensorFile *files[G_N_ELEMENTS (names)];
  g_autoptr (GError) error = NULL;
  g_autofree gchar *path = NULL;

  if (i >= G_N_ELEMENTS (names))
    return NULL;
  path = golden_path (names[i]);
  if (files[i] == NULL)
    files[i] = pt_tensor_file_load (path, &error);
  g_assert_no_error (error);
  return files[i];
}

/* Lent; NULL if it is not there. */
G_GNUC_PRINTF (2, 3)
static inline PtTensor *
golden_find (const gchar *line, const gchar *format, ...)
{
  g_autoptr (GString) name = g_string_new (line);
  PtTensor *found = NULL;
  va_list args;

  g_string_append_c (name, ':');
  va_start (args, format);
  g_string_append_vprintf (name, format, args);
  va_end (args);
  for (guint i = 0; found == NULL && golden_get (i) != NULL; i++)
    found = pt_tensor_file_get (golden_get (i), name->str);
  return found;
}

/* ||a - b|| / ||b||, of row-major tensors. */
static inline gdouble
relative_error (const PtTensor *a, const PtTensor *b)
{
  const gfloat *p = a->data, *q = b->data;
  gsize n = pt_tensor_get_n_elements (b);
  gdouble difference = 0, size = 0;

  g_assert_cmpuint (pt_tensor_get_n_elements (a), ==, n);
  for (gsize i = 0; i < n; i++) {
    difference += pow ((gdouble) p[i] - q[i], 2);
    size += pow (q[i], 2);
  }
  return size > 0 ? sqrt (difference / size) : sqrt (difference);
}

/* What sums in another order and float32 cost; gradients pass through more of
 * them (design section 6). */
#define FORWARD_TOLERANCE 1e-5
#define GRADIENT_TOLERANCE 1e-4

static inline void
assert_close (const PtTensor *found, const PtTensor *expected,
    gdouble tolerance)
{
  g_assert_nonnull (expected);
  g_assert_cmpfloat (relative_error (found, expected), <, tolerance);
}

/* Whether each part of @words, between |, is in @message. */
static inline void
assert_says (const gchar *message, const gchar *words)
{
  g_auto (GStrv) parts = g_strsplit (words, "|", 0);

  g_test_message ("%s", message);
  for (guint i = 0; parts[i] != NULL; i++)
    g_assert_nonnull (strstr (message, parts[i]));
}
