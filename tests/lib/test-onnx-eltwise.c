/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "onnx-made.h"

/* Elementwise nodes and the layers they become: kinds with some of their
 * options. w is (1,2,1,1), s (2,1,1), b (1,1,1), k (), lo 0, hi 6, t 3, half
 * 1/2 and root that of 2. */
static const struct
{
  gint64 opset;
  const gchar *nodes;
  const gchar *layers;          /* between | */
} eltwise_rows[] = {
  {13, "Conv x w > a; Clip a lo hi > y", "conv2d activation=relu6"},
  {13, "Conv x w > a; HardSwish a > y", "conv2d activation=hard-swish"},
  {13, "Conv x w > a; Add b a > y", "conv2d bias=true activation=none"},
  {13, "Conv x w > a; Relu a > c; Add b c > y",
      "conv2d bias=false activation=relu|add other=1;1;1 learned=false"},
  {13, "Conv x w > a; Add k a > y", "conv2d bias=false|add other=1"},
  {13, "Clip x > y", "clip"},
  {13, "Clip x lo > y", "clip min=0"},
  {10, "Clip x > y", "clip"},
  {13, "Mul x s > y", "mul other=2;1;1 learned=true reverse=false"},
  {13, "Mul s x > y", "mul other=2;1;1 learned=true"},
  {13, "Div k x > y", "div other=1 learned=false reverse=true"},
  {13, "Sub x k > y", "sub other=1 learned=false reverse=false"},
  {13, "Add x s > y", "add other=2;1;1 learned=true"},
  {13, "Relu x > a; Mul a x > y", "relu|mul"},
  {13, "Conv x w > a; Sigmoid a > c; Mul a c > y", "conv2d activation=silu"},
  {13, "Sigmoid x > c; Mul c x > y", "silu"},
  {13, "HardSigmoid x > c; Mul c x > y", "hard-sigmoid|mul"},
  {13, "Add x t > p; Clip p lo hi > r; Mul x r > m; Div m hi > y",
      "hard-swish"},
  {13, "Add x t > p; Clip p lo hi > r; Mul x r > m; Div hi m > y",
      "add|relu6|mul|div"},
  {13, "Conv x w > c; Add t c > p; Clip p lo hi > r; Mul r c > m; Div m hi > y",
      "conv2d activation=hard-swish"},
  {13, "Conv x w > c; Add b c > d; Add t d > p; Clip p lo hi > r; Mul r d > m; "
      "Div m hi > y", "conv2d bias=true activation=hard-swish"},
  {13, "Conv x w > c; Add t c > p; Clip p lo hi > r; Mul r c > m; "
      "Div m hi > h; Mul h p > y",
      "conv2d activation=none|add|hard-swish|mul"},
  {13, "Conv x w > c; Sigmoid c > p; Mul p c > h; Mul h c > y",
      "conv2d activation=none|silu|mul"},
  {13, "Div x root > c; Erf c > e; Add e k > p; Mul x p > m; Mul m half > y",
      "gelu"},
  {13, "Mul x root > c; Erf c > e; Add e k > p; Mul x p > m; Mul m half > y",
      "mul|erf|add|mul|mul"},
  {13, "Abs x > a; Neg x > c; Sum a c x > y", "abs|neg|add"},
  {13, "Abs x > a; Max a x k > y", "abs|max|max other=1"},
  {13, "Abs x > a; Mean a x > y", "abs|add|mul other=1 learned=auto"},
  {13, "PRelu x s > y", "prelu num_parameters=2"},
  {13, "PRelu x k > y", "prelu num_parameters=1"},
  {13, "PRelu x w > y", "prelu shape=1;2;1;1"},
  {13, "Selu x > y", "selu"},
  {6, "Sum x > a; Tanh a > y", "tanh"},
  {13, "Equal x k > y", "eq other=1 reverse=false"},
  {13, "Greater x k > y", "lt other=1 reverse=true"},
  {13, "Less x s > y", "lt other=2;1;1 learned=true reverse=false"},
  {13, "GreaterOrEqual x k > y", "le other=1 reverse=true"},
  {13, "Less x k > c; Where c x lo > y", "lt|mask"},
  {13, "Less x k > c; Where c hi x > y", "lt|mask reverse=true|eq|mask|add"},
  {13, "Less x k > c; Not c > y", "lt|eq other=1 learned=false"},
};

static void
check_layers (const PtNetwork *network, const gchar *layers)
{
  g_auto (GStrv) rows = g_strsplit (layers, "|", -1);

  g_assert_cmpuint (network->n_nodes, ==, g_strv_length (rows));
  for (guint i = 0; i < network->n_nodes; i++) {
    const PtLayer *layer = network->nodes[i].layer;
    g_auto (GStrv) words = g_strsplit (rows[i], " ", -1);

    g_assert_cmpstr (layer->kind->name, ==, words[0]);
    for (guint k = 1; words[k] != NULL; k++) {
      g_auto (GStrv) pair = g_strsplit (words[k], "=", 2);
      g_autofree gchar *value =
          pt_params_get (layer->kind->params, layer->options, pair[0]);

      g_assert_cmpstr (value, ==, pair[1]);
    }
  }
}

static void
test_eltwise (void)
{
  gfloat floats[] = { 1, 2 }, low = 0, high = 6, three = 3, half = 0.5f;
  gfloat root = G_SQRT2;

  for (guint i = 0; i < G_N_ELEMENTS (eltwise_rows); i++) {
    struct
    {
      const gchar *name;
      guint n_dims;
      gint64 dims[4];
      gfloat *data;
    } tensors[] = {
      {"w", 4, {1, 2, 1, 1}, floats}, {"s", 3, {2, 1, 1}, floats},
      {"b", 3, {1, 1, 1}, floats}, {"k", 0, {0}, floats},
      {"lo", 0, {0}, &low}, {"hi", 0, {0}, &high},
      {"t", 0, {0}, &three}, {"half", 0, {0}, &half},
      {"root", 0, {0}, &root},
    };
    g_autoptr (GError) error = NULL;
    g_autoptr (PtNetwork) network = NULL;
    Made made;

    made_init (&made);
    made.opset.version = eltwise_rows[i].opset;
    for (guint k = 0; k < G_N_ELEMENTS (tensors); k++) {
      Onnx__TensorProto *tensor = made_add_tensor (&made, tensors[k].name,
          ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, tensors[k].dims,
          tensors[k].n_dims);

      tensor->n_float_data = k < 2 ? 2 : 1;
      tensor->float_data = tensors[k].data;
    }
    g_test_message ("%s", eltwise_rows[i].nodes);
    network = parse_nodes (&made, eltwise_rows[i].nodes, &error);
    g_assert_no_error (error);
    check_layers (network, eltwise_rows[i].layers);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/onnx/eltwise", test_eltwise);
  return g_test_run ();
}
