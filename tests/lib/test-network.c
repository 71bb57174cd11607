/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/safetensors.h"
#include "network/network.h"

#include "bad-case.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <math.h>
#include <unistd.h>

static const gchar net[] = "[network]\nwidth=16\nheight=12\n"
    "[c1]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\n"
    "[bn]\ntype=batch-norm\n"
    "[c2]\ntype=conv2d\nfilters=2\nkernel=1\n";

static PtNetwork *
open_net (void)
{
  GError *error = NULL;
  PtNetwork *network = pt_network_new_from_data (net, -1, "net.cfg", &error);

  g_assert_no_error (error);
  return network;
}

static void
test_numbers (void)
{
  g_autoptr (PtNetwork) network = open_net ();
  g_autofree gchar *text = pt_network_describe (network);
  g_autofree gchar *kinds = pt_network_describe_layer_kinds ();

  /* 4*3*9 + 4, 4 + 4, 2*4 + 2 */
  g_assert_cmpuint (pt_network_get_n_parameters (network), ==, 130);
  g_assert_nonnull (strstr (text, "1x4x12x16"));
  g_assert_nonnull (strstr (text, "130"));
  g_assert_nonnull (strstr (kinds, "conv2d: "));
  g_assert_nonnull (strstr (kinds, "filters"));
}

static void
check_get (PtNetwork *network, const gchar *group, const gchar *key,
    const gchar *expected)
{
  g_autofree gchar *value = pt_network_get (network, group, key);

  g_assert_cmpstr (value, ==, expected);
}

static void
test_set (void)
{
  g_autoptr (PtNetwork) network = open_net ();
  GError *error = NULL;

  g_assert_true (pt_network_set (network, "learning", "mode", "exact",
          &error));
  g_assert_true (pt_network_set (network, "network", "width", "32", &error));
  /* no frames say another */
  g_assert_true (pt_network_set (network, "network", "width", "0", &error));
  g_assert_true (pt_network_set (network, "c1", "filters", "5", &error));
  g_assert_no_error (error);
  check_get (network, "learning", "mode", "exact");
  check_get (network, "c1", "filters", "5");
  check_get (network, "c1", "kernel", "3;3");
  check_get (network, "c1", "type", "conv2d");
  check_get (network, "c1", "inputs", "input");
  check_get (network, "bn", "inputs", "c1");
  check_get (network, "c1", "nothing", NULL);
  check_get (network, "nothing", "key", NULL);
  g_assert_true (pt_shape_equal (&network->nodes[1].layer->output,
          &PT_SHAPE (1, 5, 12, 32)));
}

static const struct
{
  const gchar *group, *key, *value;
  BadCase bad;
} bad_sets[] = {
  {"none", "key", "1", {"group", NULL, PT_ERROR_CONFIG, {"net.cfg",
              "\"none\"", "a layer"}}},
  {"network", "widht", "1", {"key", NULL, PT_ERROR_CONFIG, {"net.cfg",
              "group [network]", "unknown key \"widht\""}}},
  {"network", "width", "-1", {"negative", NULL, PT_ERROR_CONFIG, {"net.cfg",
              "key width", "\"-1\""}}},
  {"c1", "kernel", "99", {"kernel", NULL, PT_ERROR_SHAPE, {"net.cfg",
              "group [c1]"}}},
  {"c1", "type", "relu", {"type", NULL, PT_ERROR_CONFIG, {"net.cfg",
              "group [c1]", "key type"}}},
  {"c1", "filters", "7", {"weights", NULL, PT_ERROR_CONFIG, {"net.cfg",
              "group [c1]", "key filters", "4x3x3x3", "7x3x3x3"}}},
  {"network", "channels", "1", {"channels", NULL, PT_ERROR_CONFIG, {
              "net.cfg", "key channels", "4x3x3x3", "4x1x3x3"}}},
};

/* Refused, and everything is as it was. */
static void
test_bad_set (void)
{
  g_autoptr (PtNetwork) network = open_net ();
  g_autofree gchar *before = pt_network_describe (network);

  pt_network_init_weights (network, 1);
  for (guint i = 0; i < G_N_ELEMENTS (bad_sets); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree gchar *after = NULL;

    g_assert_false (pt_network_set (network, bad_sets[i].group,
            bad_sets[i].key, bad_sets[i].value, &error));
    bad_case_check (&bad_sets[i].bad, error);
    after = pt_network_describe (network);
    g_assert_cmpstr (before, ==, after);
  }
  check_get (network, "c1", "filters", "4");
  check_get (network, "c1", "kernel", "3;3");
}

static void
test_weights (void)
{
  g_autoptr (PtNetwork) a = open_net (), b = open_net ();
  PtTensor *x = pt_network_get_weight (a, "c1.weight");
  const gfloat bound = 1 / sqrtf (27);
  gfloat largest = 0;

  pt_network_init_weights (a, 3);
  pt_network_init_weights (b, 3);
  g_assert_true (x == pt_network_get_weight (a, "c1.weight"));
  g_assert_cmpmem (x->data, x->size,
      pt_network_get_weight (b, "c1.weight")->data, x->size);
  for (guint i = 0; i < 108; i++)
    largest = MAX (largest, fabsf (((gfloat *) x->data)[i]));
  g_assert_cmpfloat (largest, <=, bound);
  g_assert_cmpfloat (largest, >, 0.9 * bound);
  pt_network_init_weights (b, 4);
  g_assert_cmpint (memcmp (x->data, pt_network_get_weight (b,
              "c1.weight")->data, x->size), !=, 0);
  g_assert_nonnull (pt_network_get_weight (a, "bn.running_var"));
  g_assert_null (pt_network_get_weight (a, "c1.none"));
  g_assert_null (pt_network_get_weight (a, "c9.weight"));
  g_assert_null (pt_network_get_weight (a, "c1"));
}

static gchar *
temporary_path (gchar **folder)
{
  *folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  return g_build_filename (*folder, "w.safetensors", NULL);
}

static void
test_round_trip (void)
{
  g_autofree gchar *folder = NULL;
  g_autofree gchar *path = temporary_path (&folder);
  g_autoptr (PtNetwork) a = open_net (), b = open_net ();
  g_autoptr (PtTensorFile) file = NULL;
  g_autoptr (PtTensor) extra = NULL;
  GError *error = NULL;
  PtTensor *x;

  pt_network_init_weights (a, 9);
  g_assert_true (pt_network_save_weights (a, path, &error));
  file = pt_tensor_file_load (path, NULL);
  extra = pt_tensor_new_shaped (PT_F32, &PT_SHAPE (1), NULL);
  pt_tensor_file_add (file, "optimizer.c1.weight.exp_avg", extra);
  g_assert_true (pt_tensor_file_save (file, path, NULL));
  g_assert_true (pt_network_load_weights (b, path, &error));
  g_assert_no_error (error);
  x = pt_network_get_weight (a, "c2.weight");
  g_assert_cmpmem (x->data, x->size,
      pt_network_get_weight (b, "c2.weight")->data, x->size);
  g_unlink (path);
  g_rmdir (folder);
}

typedef enum
{ MISSING, EXTRA, SHAPED, NAN_INSIDE, TYPED } Damage;

/* The weights of the net, with one thing wrong. */
static void
save_damaged (const gchar *path, Damage damage)
{
  g_autoptr (PtNetwork) network = open_net ();
  g_autoptr (PtTensorFile) whole = NULL, file = pt_tensor_file_new ();
  g_autoptr (PtTensor) odd = pt_tensor_new_shaped
      (damage == TYPED ? PT_I32 : PT_F32, &PT_SHAPE (damage == TYPED ? 2 : 3),
      NULL);

  pt_network_init_weights (network, 5);
  if (damage == NAN_INSIDE)
    ((gfloat *) pt_network_get_weight (network, "c2.bias")->data)[1] = NAN;
  g_assert_true (pt_network_save_weights (network, path, NULL));
  whole = pt_tensor_file_load (path, NULL);
  for (guint i = 0; i < pt_tensor_file_get_n_tensors (whole); i++) {
    const gchar *name = pt_tensor_file_get_name (whole, i);

    if (damage != MISSING || !g_str_equal (name, "c2.bias"))
      pt_tensor_file_add (file, name, pt_tensor_file_get (whole, name));
  }
  if (damage == EXTRA)
    pt_tensor_file_add (file, "c3.weight", odd);
  if (damage == SHAPED || damage == TYPED)
    pt_tensor_file_add (file, "c2.bias", odd);
  g_assert_true (pt_tensor_file_save (file, path, NULL));
}

static const BadCase bad_weights[] = {
  [MISSING] = {"missing", NULL, PT_ERROR_FILE, {"w.safetensors",
          "tensor c2.bias is missing", "shape 2", "net.cfg"}},
  [EXTRA] = {"extra", NULL, PT_ERROR_FILE, {"w.safetensors",
          "found tensor c3.weight of shape 3", "net.cfg"}},
  [SHAPED] = {"shape", NULL, PT_ERROR_SHAPE, {"w.safetensors",
          "tensor c2.bias", "of shape 3", "of shape 2", "net.cfg"}},
  [NAN_INSIDE] = {"nan", NULL, PT_ERROR_FILE, {"w.safetensors",
          "tensor c2.bias", "NaN at element 1", "finite"}},
  [TYPED] = {"type", NULL, PT_ERROR_SHAPE, {"w.safetensors",
          "tensor c2.bias", "found int32", "expected float32"}},
};

/* Refused, and no weight has changed. */
static void
test_bad_weights (void)
{
  g_autofree gchar *folder = NULL;
  g_autofree gchar *path = temporary_path (&folder);

  for (guint i = 0; i < G_N_ELEMENTS (bad_weights); i++) {
    g_autoptr (PtNetwork) network = open_net ();
    g_autoptr (GError) error = NULL;
    PtTensor *x = pt_network_get_weight (network, "c1.weight");
    g_autofree gpointer before = g_memdup2 (x->data, x->size);

    save_damaged (path, i);
    g_assert_false (pt_network_load_weights (network, path, &error));
    bad_case_check (&bad_weights[i], error);
    g_assert_cmpmem (before, x->size, x->data, x->size);
  }
  g_unlink (path);
  g_rmdir (folder);
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/network/numbers", test_numbers);
  g_test_add_func ("/network/set", test_set);
  g_test_add_func ("/network/bad-set", test_bad_set);
  g_test_add_func ("/network/weights", test_weights);
  g_test_add_func ("/network/round-trip", test_round_trip);
  g_test_add_func ("/network/bad-weights", test_bad_weights);
  return g_test_run ();
}
