/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "op-test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"

const gchar *const *
op_test_devices (void)
{
  static const gchar *given[2];
  static const gchar *const usual[] = { "cpu:0", "cpu", NULL };

  given[0] = g_getenv ("PARTIME_TEST_DEVICE");
  return given[0] != NULL ? given : usual;
}

/* Where there is a GPU, it must work. */
static gboolean
op_test_has_gpu (void)
{
  return g_file_test ("/dev/nvidiactl", G_FILE_TEST_EXISTS);
}

void
op_test_init (gint *argc, gchar ***argv)
{
  const gchar *name = op_test_devices ()[0];
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = NULL;

  g_test_init (argc, argv, NULL);
  device = pt_device_open (name, &error);
  if (device != NULL || !g_str_has_prefix (name, "cuda")
      || op_test_has_gpu ())
    return;
  g_print ("1..0 # SKIP no GPU: %s\n", error->message);
  exit (0);
}

PtDevice *
op_test_device (const gchar *name)
{
  g_autoptr (GError) error = NULL;
  PtDevice *device = pt_device_open (name != NULL ? name :
      op_test_devices ()[0], &error);

  g_assert_no_error (error);
  pt_device_enter (device);
  return device;
}

PtDevice *
op_test_cores (guint n)
{
  g_autoptr (GError) error = NULL;
  PtDevice *device;

  if (g_getenv ("PARTIME_TEST_DEVICE") != NULL)
    return op_test_device (NULL);
  device = pt_device_open_cores (0, n, &error);
  g_assert_no_error (error);
  pt_device_enter (device);
  return device;
}

gboolean
op_test_lacks (PtDevice *device, PtOpType type)
{
  g_autofree gchar *message = NULL;

  if (device->backend->ops[type] != NULL)
    return FALSE;
  message = g_strdup_printf ("%s has no operation %s",
      pt_device_get_name (device), pt_op_type_name (type));
  g_test_skip (message);
  return TRUE;
}

gdouble *
op_test_random (gsize n, guint64 stream)
{
  g_autofree gfloat *floats = g_new (gfloat, n);
  gdouble *values = g_new (gdouble, n);

  pt_rng_fill_uniform (floats, n, -1, 1, 7, stream);
  for (gsize i = 0; i < n; i++)
    values[i] = floats[i];
  return values;
}

PtTensor *
op_test_host (const PtShape *shape, const gdouble *values)
{
  g_autoptr (GError) error = NULL;
  PtTensor *host = pt_tensor_new_shaped (PT_F32, shape, &error);

  g_assert_no_error (error);
  for (gsize i = 0; values != NULL && i < pt_tensor_get_n_elements (host); i++)
    ((gfloat *) host->data)[i] = values[i];
  return host;
}

PtTensor *
op_test_tensor (PtDevice *device, const PtShape *shape, const gdouble *values)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) host = op_test_host (shape, values);
  PtTensor *tensor = pt_device_tensor_new (device, PT_F32, shape, &error);

  g_assert_no_error (error);
  pt_device_upload (device, tensor, host, &error);
  g_assert_no_error (error);
  return tensor;
}

gboolean
op_test_unsupported (const GError *error)
{
  if (!g_error_matches (error, PT_ERROR, PT_ERROR_UNSUPPORTED))
    return FALSE;
  g_test_skip (error->message);
  return TRUE;
}

void
op_test_write_bytes (PtDevice *device, PtTensor *tensor, gconstpointer bytes)
{
  g_autoptr (GError) error = NULL;

  device->backend->upload (device, tensor->data, bytes, tensor->size, &error);
  g_assert_no_error (error);
}

gpointer
op_test_read_bytes (PtDevice *device, const PtTensor *tensor)
{
  g_autoptr (GError) error = NULL;
  gpointer bytes = g_malloc (tensor->size);

  device->backend->download (device, bytes, tensor->data, tensor->size,
      &error);
  g_assert_no_error (error);
  return bytes;
}

void
op_test_unset_bytes (PtDevice *device, PtTensor *tensor)
{
  g_autofree gpointer bytes = g_malloc (tensor->size);

  memset (bytes, 0xff, tensor->size);
  op_test_write_bytes (device, tensor, bytes);
}

PtTensor *
op_test_unset (PtDevice *device, const PtShape *shape)
{
  PtTensor *tensor = op_test_tensor (device, shape, NULL);

  op_test_unset_bytes (device, tensor);
  return tensor;
}

gdouble *
op_test_read (PtDevice *device, const PtTensor *tensor)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) host = op_test_host (&tensor->shape, NULL);
  gsize n = pt_tensor_get_n_elements (host);
  gdouble *values = g_new (gdouble, n);

  pt_device_download (device, host, tensor, &error);
  g_assert_no_error (error);
  for (gsize i = 0; i < n; i++)
    values[i] = ((gfloat *) host->data)[i];
  return values;
}

void
op_test_same (PtDevice *device, const PtTensor *a, const PtTensor *b)
{
  g_autofree gpointer p = op_test_read_bytes (device, a);
  g_autofree gpointer q = op_test_read_bytes (device, b);

  g_assert_cmpmem (p, a->size, q, b->size);
}

void
op_test_near (const gchar *what, const gdouble *a, const gdouble *b, gsize n,
    gdouble tolerance)
{
  gdouble difference = 0, size = 0, relative;

  for (gsize i = 0; i < n; i++) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  relative = size > 0 ? sqrt (difference / size) : sqrt (difference);
  if (!(relative <= tolerance)) {
    g_test_message ("%s: relative difference %g, expected at most %g", what,
        relative, tolerance);
    g_test_fail ();
  }
}

void
op_test_run (PtOp *op, const PtOpArgs *args)
{
  g_autoptr (GError) error = NULL;

  pt_op_run (op, args, &error);
  g_assert_no_error (error);
}
