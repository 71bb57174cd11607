/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/error.h"

#include <string.h>

#define BAD_MAX_PARTS 6

/* An input that must be refused with @code and a message that holds every one
 * of @parts, NULL-terminated. */
typedef struct
{
  const gchar *name;
  const gchar *input;
  PtError code;
  const gchar *parts[BAD_MAX_PARTS + 1];
} BadCase;

static inline void
bad_case_check (const BadCase *bad, const GError *error)
{
  g_autofree gchar *name = g_strescape (bad->name, "\"");
  g_autofree gchar *message = NULL;

  if (error == NULL)
    g_error ("%s: accepted", name);
  /* the test's own log must stay UTF-8 whatever was quoted */
  message = g_strescape (error->message, "\"");
  g_test_message ("%s: %s", name, message);
  g_assert_cmpstr (g_quark_to_string (error->domain), ==, "pt-error-quark");
  g_assert_cmpint (error->code, ==, bad->code);
  for (guint i = 0; bad->parts[i] != NULL; i++)
    if (strstr (error->message, bad->parts[i]) == NULL)
      g_error ("%s: \"%s\" does not hold \"%s\"", name, message, bad->parts[i]);
}
