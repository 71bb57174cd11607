/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "op-test.h"

static void
refuse (const gchar *name, gint code, const gchar *word)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (pt_device_open_list (name, &error));
  g_assert_error (error, PT_ERROR, code);
  g_assert_nonnull (strstr (error->message, word));
}

static void
test_names (void)
{
  refuse ("tpu:0", PT_ERROR_DEVICE, "cpu, sim, cuda");
  refuse ("tpu:0", PT_ERROR_DEVICE, "tpu:0");
  refuse ("cpux", PT_ERROR_DEVICE, "cpux");
  refuse ("cpu:99999", PT_ERROR_DEVICE, "99999");
  refuse ("cpu:0,cpu:99999", PT_ERROR_DEVICE, "99999");
  refuse ("cpu:", PT_ERROR_CONFIG, "0-3");
  refuse ("cpu:x", PT_ERROR_CONFIG, "\"x\"");
  refuse ("cpu:3-1", PT_ERROR_CONFIG, "3-1");
  refuse ("cpu:-1", PT_ERROR_CONFIG, "-1");
  refuse ("cpu:0+0", PT_ERROR_CONFIG, "twice");
  refuse ("cpu:0*0", PT_ERROR_CONFIG, "\"0\"");
  refuse ("cpu:0*many", PT_ERROR_CONFIG, "many");
  refuse ("cpu:0,1", PT_ERROR_DEVICE, "\"1\"");
  refuse ("", PT_ERROR_CONFIG, "none");
}

static void
test_lists (void)
{
  g_autoptr (GError) error = NULL;
  guint n = pt_device_count_cores ();
  g_autoptr (GPtrArray) all = pt_device_open_list ("auto", &error);
  g_autoptr (GPtrArray) many = pt_device_open_list (" cpu , cpu:0*3", &error);
  g_autofree gchar *help = pt_device_describe_backends ();

  g_assert_no_error (error);
  g_assert_cmpuint (all->len, ==, n);
  g_assert_cmpuint (many->len, ==, 4);
  g_assert_cmpuint (pt_device_get_n_threads (many->pdata[0]), ==, n);
  g_assert_cmpuint (pt_device_get_n_threads (many->pdata[3]), ==, 1);
  g_assert_cmpstr (pt_device_get_name (many->pdata[3]), ==, "cpu:0");
  g_assert_null (pt_device_open_cores (n, 1, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_DEVICE);
  g_assert_nonnull (strstr (help, "cpu"));
}

/* 1e-30 x 1e-10 is a denormal: an entered thread makes it zero. */
static gpointer
multiply_small (gpointer data)
{
  volatile gfloat a = 1e-30f, b = 1e-10f;

  pt_device_enter (data);
  g_assert_cmpfloat (a * b, ==, 0);
  return NULL;
}

static void
test_enter (void)
{
  g_autoptr (PtDevice) device = op_test_device ("cpu");

  g_thread_join (g_thread_new ("enter", multiply_small, device));
  /* entering does not change what the process may run on */
  g_assert_cmpuint (pt_device_count_cores (), ==,
      pt_device_get_n_threads (device));
}

static void
test_memory (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device ("cpu:0");
  PtShape shape = PT_SHAPE (1, 3, 5, 7), other = PT_SHAPE (1, 5, 3, 7);
  g_autofree gdouble *values = op_test_random (105, 1);
  g_autoptr (PtTensor) a = op_test_tensor (device, &shape, values);
  g_autoptr (PtTensor) b = op_test_unset (device, &shape);
  g_autoptr (PtTensor) c = op_test_unset (device, &other);
  g_autofree gdouble *back = NULL;
  gfloat *data = a->data;

  g_assert_cmpuint (GPOINTER_TO_SIZE (data) % PT_ALIGNMENT, ==, 0);
  g_assert_cmpfloat (data[1], ==, values[35]);
  g_assert_true (pt_device_copy (device, b, a, &error));
  back = op_test_read (device, b);
  g_assert_cmpmem (back, 105 * sizeof *back, values, 105 * sizeof *values);
  g_assert_false (pt_device_copy (device, c, a, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
}

/* A view outlives the name its base was known by. */
static void
test_view (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtDevice) device = op_test_device ("cpu:0");
  PtTensor *base = pt_device_bytes_new (device, 8 << 20, &error);
  g_autoptr (PtTensor) view = NULL;

  g_assert_no_error (error);
  view = pt_tensor_view (base, 4 << 20, &PT_SHAPE (16), 64);
  g_assert_true ((guint8 *) view->data == (guint8 *) base->data + (4 << 20));
  pt_tensor_unref (base);
  g_assert_cmpfloat (((gfloat *) view->data)[15], ==, 0);
}

/* A backend that knows nothing. */
static void
test_unsupported (void)
{
  g_autoptr (GError) error = NULL;
  static const PtBackend nothing = {.name = "nothing" };
  PtDevice device = {.backend = &nothing,.name = (gchar *) "nothing:1" };
  PtWorkspace workspace = {.device = &device };
  PtOpDesc desc = {.type = PT_OP_CONV,.x = PT_SHAPE (1, 3, 8, 8),
    .y = PT_SHAPE (1, 4, 8, 8)
  };

  g_assert_null (pt_op_new (&workspace, &desc, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
  g_assert_nonnull (strstr (error->message, "conv"));
  g_assert_nonnull (strstr (error->message, "1x3x8x8"));
  g_assert_nonnull (strstr (error->message, "nothing:1"));
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/device/names", test_names);
  g_test_add_func ("/device/lists", test_lists);
  g_test_add_func ("/device/enter", test_enter);
  g_test_add_func ("/device/memory", test_memory);
  g_test_add_func ("/device/view", test_view);
  g_test_add_func ("/device/unsupported", test_unsupported);
  return g_test_run ();
}
