/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The one place where the library's errors become the element's. */

#include "gstpartimefilter-private.h"

static void
errors_map (const GError *error, const gchar *path, gboolean running,
    GQuark *domain, gint *code)
{
  *domain = GST_RESOURCE_ERROR;
  *code = GST_RESOURCE_ERROR_SETTINGS;
  if (error->domain == PT_ERROR && error->code == PT_ERROR_CONFIG)
    return;
  if (error->domain == PT_ERROR && error->code == PT_ERROR_FILE) {
    *code = path && !g_file_test (path, G_FILE_TEST_EXISTS)
        ? GST_RESOURCE_ERROR_NOT_FOUND : GST_RESOURCE_ERROR_READ;
  } else if (error->domain == PT_ERROR && (error->code == PT_ERROR_SHAPE
          || error->code == PT_ERROR_UNSUPPORTED)) {
    *domain = GST_STREAM_ERROR;
    *code = GST_STREAM_ERROR_WRONG_TYPE;
  } else if (running) {
    *domain = GST_STREAM_ERROR;
    *code = GST_STREAM_ERROR_FAILED;
  } else {
    *domain = GST_LIBRARY_ERROR;
    *code = GST_LIBRARY_ERROR_INIT;
  }
}

/* Posts @error, unless one has been posted. @path: (nullable): the file that
 * was read. */
void
gst_partime_filter_post_error (GstPartimeFilter *self, const GError *error,
    const gchar *path)
{
  gboolean running;
  GQuark domain;
  gint code;

  if (!g_atomic_int_compare_and_exchange (&self->failed, 0, 1))
    return;
  g_mutex_lock (&self->running_lock);
  running = self->running;
  g_mutex_unlock (&self->running_lock);
  errors_map (error, path, running, &domain, &code);
  gst_element_message_full (GST_ELEMENT (self), GST_MESSAGE_ERROR, domain,
      code, g_strdup (error->message), NULL, __FILE__, GST_FUNCTION,
      __LINE__);
}
