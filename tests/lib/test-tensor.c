/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/rng.h"
#include "core/tensor.h"

#include <string.h>

static void
test_bad_shapes (void)
{
  static const gint64 shapes[][3] = {
    {0, 1, 1}, {1, -5, 1}, {1 << 16, 1 << 15, 2}, {G_MAXINT64, 2, 2},
    {1, G_MAXINT64, G_MAXINT64},
  };

  for (guint i = 0; i < G_N_ELEMENTS (shapes); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (pt_tensor_new (PT_F32, shapes[i], 3, &error));
    g_assert_error (error, PT_ERROR, PT_ERROR_SHAPE);
    g_assert_nonnull (strchr (error->message, 'x'));
  }
}

static void
test_zeros_aligned (void)
{
  for (gint64 n = 1; n < 70; n++) {
    g_autoptr (PtTensor) x = pt_tensor_new (PT_F32, &n, 1, NULL);
    const gfloat *data = pt_tensor_get_data (x);

    g_assert_cmpuint (GPOINTER_TO_SIZE (data) % PT_ALIGNMENT, ==, 0);
    g_assert_cmpuint (pt_tensor_get_n_elements (x), ==, n);
    for (gint64 i = 0; i < n; i++)
      g_assert_cmpfloat (data[i], ==, 0);
  }
}

/* Element (c, h, w) of a row-major tensor lies at (h, w, c) of the other. */
static void
test_layouts (void)
{
  PtShape shape = PT_SHAPE (1, 3, 4, 5);
  g_autoptr (PtTensor) rows = pt_tensor_new_shaped (PT_F32, &shape, NULL);
  g_autoptr (PtTensor) pixels = pt_tensor_new_shaped (PT_F32, &shape, NULL);
  g_autoptr (PtTensor) back = pt_tensor_new_shaped (PT_F32, &shape, NULL);
  gfloat *x = rows->data, *y = pixels->data;

  pixels->layout = PT_LAYOUT_CHANNELS_LAST;
  for (guint i = 0; i < 60; i++)
    x[i] = i;
  pt_tensor_to_channels_last (rows, pixels);
  for (guint c = 0; c < 3; c++)
    for (guint p = 0; p < 20; p++)
      g_assert_cmpfloat (y[p * 3 + c], ==, x[c * 20 + p]);
  pt_tensor_to_row_major (pixels, back);
  g_assert_cmpint (memcmp (back->data, rows->data, rows->size), ==, 0);
}

/* Strides name the places where the permutation puts elements. */
static void
test_strides (void)
{
  PtShape shape = PT_SHAPE (2, 3, 4, 5, 2);
  g_autoptr (PtTensor) rows = pt_tensor_new_shaped (PT_F32, &shape, NULL);
  g_autoptr (PtTensor) device = pt_tensor_new_shaped (PT_F32, &shape, NULL);
  gint64 from[PT_MAX_DIMS], to[PT_MAX_DIMS];
  gfloat *x = rows->data, *y = device->data;

  device->layout = PT_LAYOUT_CHANNELS_LAST;
  for (guint i = 0; i < 240; i++)
    x[i] = i;
  pt_tensor_to_channels_last (rows, device);
  pt_shape_get_strides (&shape, FALSE, from);
  pt_shape_get_strides (&shape, TRUE, to);
  g_assert_cmpint (from[0], ==, 120);
  g_assert_cmpint (from[4], ==, 1);
  g_assert_cmpint (to[1], ==, 1);
  for (guint i = 0; i < 240; i++) {
    guint a = 0, b = 0;

    for (guint d = 0, left = i, size = 240; d < 5; d++) {
      size /= shape.dims[d];
      a += left / size * from[d];
      b += left / size * to[d];
      left %= size;
    }
    g_assert_cmpfloat (x[a], ==, i);
    g_assert_cmpfloat (y[b], ==, i);
  }
}

/* Mean and variance of a uniform number, and streams that have nothing to do
 * with one another. */
static void
test_rng (void)
{
  const gsize n = 100000;
  g_autofree gfloat *a = g_new (gfloat, n), *b = g_new (gfloat, n);
  gdouble mean = 0, square = 0, product = 0;

  pt_rng_fill_uniform (a, n, -1, 1, 5, pt_rng_stream ("conv1.weight"));
  pt_rng_fill_uniform (b, n, -1, 1, 5, pt_rng_stream ("conv2.weight"));
  for (gsize i = 0; i < n; i++) {
    g_assert_true (a[i] >= -1 && a[i] < 1);
    mean += a[i] / n;
    square += (gdouble) a[i] * a[i] / n;
    product += (gdouble) a[i] * b[i] / n;
  }
  /* five standard deviations */
  g_assert_cmpfloat_with_epsilon (mean, 0, 0.0092);
  g_assert_cmpfloat_with_epsilon (square, 1 / 3., 0.0048);
  g_assert_cmpfloat_with_epsilon (product, 0, 0.0053);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tensor/bad-shapes", test_bad_shapes);
  g_test_add_func ("/tensor/zeros-aligned", test_zeros_aligned);
  g_test_add_func ("/tensor/layouts", test_layouts);
  g_test_add_func ("/tensor/strides", test_strides);
  g_test_add_func ("/tensor/rng", test_rng);
  return g_test_run ();
}
