/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "onnx-made.h"

#include <string.h>

/* What of a graph becomes layers: the output that is asked for, the batch,
 * dimensions, constants. */

/* "NAME=LAYER;...". */
static gchar *
print_outputs (const PtNetwork *network)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < network->n_outputs; i++)
    g_string_append_printf (text, "%s%s=%s", i ? ";" : "",
        network->outputs[i].name,
        network->nodes[network->outputs[i].node].layer->name);
  return g_string_free (text, FALSE);
}

/* Which outputs there are: those asked for and what they need; else all that
 * are results of layers, or, if one cannot be had, those of floats, or the first
 * alone. Output l is one of integers. */
static void
test_outputs (void)
{
  static const struct
  {
    const gchar *setting, *nodes, *outputs;     /* outputs: or what is said */
    guint n_layers;             /* 0: refused */
  } tests[] = {
    {NULL, "Tanh a > y; GlobalAveragePool a > z; Neg a > l", "y=y;z=z;l=l", 4},
    {NULL, "Tanh a > y; GlobalAveragePool a > z; LSTM a > l", "y=y;z=z", 3},
    {NULL, "LSTM a > y; Tanh a > z; Neg a > l", "LSTM", 0},
    {NULL, "Tanh a > y; LSTM a > z; Neg a > l", "y=y", 2},
    {NULL, "Neg a > l; Tanh l > y; Identity y > z", "y=y;z=y;l=l", 3},
    {NULL, "Identity x > z; Shape a > l; Neg a > y", "y=y;z=z", 3},
    {NULL, "Shape a > l; Shape a > z; Neg a > y", "y=y", 2},
    {NULL, "Shape a > l; Shape a > y; Neg a > z", "z=z", 2},
    {NULL, "Shape a > l; Shape a > y; Shape a > z", "y\" that is constant", 0},
    {NULL, "Neg a > y; Tanh a > z", "y=y;z=z", 3},
    {"network.output=z", "Tanh a > y; Neg a > z; LSTM a > l", "z=z", 2},
    {"network.output=z; y;", "Tanh a > y; Neg a > z; LSTM a > l", "z=z;y=y", 3},
    {"network.output=l", "Tanh a > y; Neg a > z; LSTM a > l", "LSTM", 0},
    {"network.output=y;l", "Tanh a > y; Neg a > z; Shape a > l",
        "l\" that is constant", 0},
    {"network.output=y;q", "Tanh a > y; Neg a > z; Abs a > l", "y, z, l", 0},
    {"network.output=y;y", "Tanh a > y; Neg a > z; Abs a > l", "once", 0},
  };

  for (guint i = 0; i < G_N_ELEMENTS (tests); i++) {
    g_autofree gchar *nodes = g_strconcat ("Relu x > a; ", tests[i].nodes,
        NULL);
    g_autofree gchar *found = NULL;
    g_autoptr (PtNetwork) network = NULL;
    g_autoptr (GError) error = NULL;
    const gchar *why;
    Onnx__ValueInfoProto z, l;
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor_type;
    gpointer outputs[3];
    Made made;

    made_init (&made);
    z = l = made.y;
    z.name = "z";
    l.name = "l";
    type = made.type;
    tensor_type = made.tensor_type;
    l.type = &type;
    type.tensor_type = &tensor_type;
    tensor_type.elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    memcpy (outputs, ((gpointer[]) { &made.y, &z, &l }), sizeof outputs);
    made.graph.n_output = 3;
    made.graph.output = (gpointer) outputs;
    made.setting = tests[i].setting;
    network = parse_nodes (&made, nodes, &error);
    found = network ? print_outputs (network) : g_strdup (error->message);
    g_test_message ("%s: %s", nodes, found);
    g_assert_true ((network == NULL) == (tests[i].n_layers == 0));
    g_assert_true ((network == NULL) == (error != NULL));
    g_assert_nonnull (strstr (found, tests[i].outputs));
    if (network == NULL)
      continue;
    g_assert_cmpstr (found, ==, tests[i].outputs);
    why = tests[i].setting != NULL ? NULL :
        strstr (tests[i].nodes, "LSTM") != NULL ? "LSTM" :
        strstr (tests[i].nodes, "> l") == NULL ? "made by no node" : NULL;
    if (why != NULL)
      g_assert_nonnull (strstr (pt_network_get_left_out (network), why));
    else
      g_assert_cmpstr (pt_network_get_left_out (network), ==, NULL);
    g_assert_cmpuint (pt_network_get_n_layers (network), ==, tests[i].n_layers);
  }
}

/* It is chosen while the model is read, and never later; layers of a network
 * file can be. */
static void
test_choice (void)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  Made made;

  made_init (&made);
  network = parse_nodes (&made, "Relu x > y", &error);
  g_assert_false (pt_network_set (network, "network", "output", "x", &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
  g_clear_error (&error);
  g_assert_null (pt_network_new_from_data ("[network]\nwidth=4\nheight=4\n"
          "input-shape=1;3;4;4\n[r]\ntype=relu\n", -1, "net.cfg", &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
  g_assert_nonnull (strstr (error->message, "net.cfg"));
}

/* A fixed batch: so many frames, or one frame where they are mixed. */
static void
test_batch (void)
{
  static const struct
  {
    const gchar *nodes;
    gint64 rank;
    PtShape input, output;
  } tests[] = {
    {"Relu x > y", 4, {4, {1, 2, 3, 4}}, {4, {1, 2, 3, 4}}},
    {"Transpose x > y", 4, {4, {1, 10, 3, 4}}, {4, {4, 3, 2, 5}}},
    {"Relu x > a; Transpose a > y", 3, {4, {1, 5, 2, 3}}, {3, {3, 2, 5}}},
    {"Transpose x > y", 2, {4, {1, 1, 5, 2}}, {2, {2, 5}}},
    {"Shape x > s; Reshape x s > a; Relu a > y", 4, {4, {1, 2, 3, 4}},
        {4, {1, 2, 3, 4}}},
    {"Relu x > y", 0, {4, {1, 1, 1, 1}}, {1, {1}}},
    {"Identity x > y", 4, {4, {1, 2, 3, 4}}, {4, {1, 2, 3, 4}}},
  };

  for (guint i = 0; i < G_N_ELEMENTS (tests); i++) {
    g_autoptr (PtNetwork) network = NULL;
    g_autoptr (GError) error = NULL;
    Made made;

    made_init (&made);
    made.dims[0].dim_value = 5;
    made.shape.n_dim = tests[i].rank;
    network = parse_nodes (&made, tests[i].nodes, &error);
    g_assert_no_error (error);
    g_test_message ("%s, rank %d", tests[i].nodes, (gint) tests[i].rank);
    g_assert_true (pt_shape_equal (pt_network_get_input_shape (network),
            &tests[i].input));
    g_assert_true (pt_shape_equal (pt_network_get_output_shape (network),
            &tests[i].output));
  }
}

/* Dimensions that the model leaves open, or has otherwise. */
static void
test_input_shape (void)
{
  static const struct
  {
    const gchar *setting;
    PtShape input;
    const gchar *says;
  } tests[] = {
    {NULL, {0}, "dimension 2 of the input is open: set network.height"},
    {"network.height=7", {4, {1, 2, 7, 4}}, NULL},
    {"network.width=9", {0}, "dimension 2"},
    {"network.input-shape=1;2;6;8", {4, {1, 2, 6, 8}}, NULL},
    {"network.input-shape=1;2;6", {0}, "the 4 sizes"},
    {"network.input-shape=1;2;0;8", {0}, "whole numbers of 1"},
    {"network.input-shape=1;2;x;8", {0}, "whole numbers of 1"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (tests); i++) {
    g_autoptr (PtNetwork) network = NULL;
    g_autoptr (GError) error = NULL;
    Made made;

    made_init (&made);
    made.dims[2].value_case =
        ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    made.dims[2].dim_param = "h";
    made.setting = tests[i].setting;
    network = parse_nodes (&made, "Relu x > y", &error);
    g_assert_true ((network == NULL) == (tests[i].says != NULL));
    if (network == NULL)
      g_assert_nonnull (strstr (error->message, tests[i].says));
    else
      g_assert_true (pt_shape_equal (pt_network_get_input_shape (network),
              &tests[i].input));
  }
}

static void
add_number (Made *made, const gchar *name, gint64 *value)
{
  static gint64 one = 1;
  Onnx__TensorProto *tensor = made_add_tensor (made, name,
      ONNX__TENSOR_PROTO__DATA_TYPE__INT64, &one, 1);

  tensor->n_int64_data = 1;
  tensor->int64_data = value;
}

/* A window of even size has more channels behind than before; PyTorch's has
 * them before. */
static void
test_even_lrn (void)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree gchar *longer = NULL;
  const PtLayer *layer;
  gchar **words;
  Made made;

  made_init (&made);
  onnx__attribute_proto__init (&made.attribute);
  made.attribute.name = "size";
  made.attribute.has_type = made.attribute.has_i = TRUE;
  made.attribute.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  made.attribute.i = 4;
  made.attributes[0] = &made.attribute;
  made_add_node (&made, "LRN x > y", &words);
  made.nodes[0].n_attribute = 1;
  made.nodes[0].attribute = (gpointer) made.attributes;
  network = made_parse (&made, "net.onnx", &error);
  g_strfreev (words);
  g_assert_no_error (error);
  layer = network->nodes[0].layer;
  longer = pt_params_get (layer->kind->params, layer->options, "longer");
  g_assert_cmpstr (layer->kind->name, ==, "lrn");
  g_assert_cmpstr (longer, ==, "after");
}

/* A part of nothing: nobody may read it. */
static void
test_empty_part (void)
{
  static gint64 n = 2;
  gint64 sizes[] = { 0, 1 };
  static const gchar *const used[] = { "Relu rest > y", "Add nothing rest > y" };

  for (guint i = 0; i < G_N_ELEMENTS (used); i++) {
    g_autofree gchar *nodes = g_strconcat ("Split x sizes > nothing rest; ",
        used[i], NULL);
    g_autoptr (PtNetwork) network = NULL;
    g_autoptr (GError) error = NULL;
    Onnx__TensorProto *tensor;
    Made made;

    made_init (&made);
    tensor = made_add_tensor (&made, "sizes",
        ONNX__TENSOR_PROTO__DATA_TYPE__INT64, &n, 1);
    tensor->n_int64_data = 2;
    tensor->int64_data = sizes;
    network = parse_nodes (&made, nodes, &error);
    g_assert_cmpint (network != NULL, ==, i == 0);
    if (i == 0)
      continue;
    g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
    g_assert_nonnull (strstr (error->message, "nor 0 where"));
  }
}

/* As other frameworks have pictures. */
static void
test_channels_last (void)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  Made made;

  made_init (&made);
  made.dims[1].dim_value = made.dims[2].dim_value = 0;
  made.dims[3].dim_value = 3;
  network = parse_nodes (&made, "Relu x > y", &error);
  g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
  g_assert_nonnull (strstr (error->message, "found channels last"));
}

/* Integers made of the picture are cut off, and so is what they are divided
 * by one another to; other numbers are not. */
static void
test_whole (void)
{
  static const gchar *const tests[][2] = {
    {"Abs x > a; Max a x > m; CastLike m like > c; CastLike x like > d; "
        "Div c d > y", "abs max trunc trunc div trunc "},
    {"ArgMax x > p; CastLike p like > c; Abs x > d; Div d x > y",
        "abs div "},
    {"CastLike x like > c; CastLike c like > d; Neg d > y", "trunc neg "},
    {"CastLike x like > c; CastLike x c > y", NULL},
  };

  for (guint i = 0; i < G_N_ELEMENTS (tests); i++) {
    g_autoptr (GString) kinds = g_string_new (NULL);
    g_autoptr (PtNetwork) network = NULL;
    g_autoptr (GError) error = NULL;
    Onnx__TensorProto *like;
    gint64 value = 0;
    Made made;

    made_init (&made);
    made.opset.version = 15;
    like = made_add_tensor (&made, "like",
        ONNX__TENSOR_PROTO__DATA_TYPE__INT64, NULL, 0);
    like->n_int64_data = 1;
    like->int64_data = &value;
    network = parse_nodes (&made, tests[i][0], &error);
    if (tests[i][1] == NULL) {
      g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
      continue;
    }
    g_assert_no_error (error);
    for (guint k = 0; k < network->n_nodes; k++)
      g_string_append_printf (kinds, "%s ",
          network->nodes[k].layer->kind->name);
    g_assert_cmpstr (kinds->str, ==, tests[i][1]);
  }
}

/* Sizes worked out from the input's, as exporters write them; a layer of which
 * only the shape is asked is none. */
static void
test_folded (void)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  gint64 two = 2;
  Made made;

  made_init (&made);
  add_number (&made, "two", &two);
  network = parse_nodes (&made, "Tanh x > t; Shape t > s; ReduceProd s > p; "
      "Gather s two > h; Div p h > d; Mul d h > q; Relu x > r; Reshape r q > y",
      &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pt_network_get_n_layers (network), ==, 2);
  g_assert_cmpstr (pt_network_get_layer_name (network, 0), ==, "r");
  g_assert_true (pt_shape_equal (pt_network_get_output_shape (network),
          &PT_SHAPE (24)));
}

typedef struct
{
  Onnx__AttributeProto attribute;
  Onnx__GraphProto graph;
  Onnx__NodeProto node;
  Onnx__ValueInfoProto end;
  gchar *names[2];
  gpointer nodes[1], ends[1];
} Branch;

static void
branch_init (Branch *branch, const gchar *name, const gchar *op)
{
  onnx__attribute_proto__init (&branch->attribute);
  onnx__graph_proto__init (&branch->graph);
  onnx__node_proto__init (&branch->node);
  onnx__value_info_proto__init (&branch->end);
  branch->names[0] = "x";
  branch->names[1] = branch->end.name = "end";
  branch->node.op_type = (gchar *) op;
  branch->node.n_input = branch->node.n_output = 1;
  branch->node.input = branch->names;
  branch->node.output = branch->names + 1;
  branch->nodes[0] = &branch->node;
  branch->ends[0] = &branch->end;
  branch->graph.n_node = branch->graph.n_output = 1;
  branch->graph.node = (gpointer) branch->nodes;
  branch->graph.output = (gpointer) branch->ends;
  branch->attribute.name = (gchar *) name;
  branch->attribute.g = &branch->graph;
}

/* The branch that a constant condition chooses. */
static void
test_if (void)
{
  for (gint32 condition = 0; condition < 2; condition++) {
    g_autoptr (PtNetwork) network = NULL;
    g_autoptr (GError) error = NULL;
    Onnx__TensorProto *tensor;
    Branch then, other;
    gpointer attributes[] = { &then.attribute, &other.attribute };
    gchar **words = NULL;
    Made made;

    made_init (&made);
    branch_init (&then, "then_branch", "Relu");
    branch_init (&other, "else_branch", "Tanh");
    tensor = made_add_tensor (&made, "c", ONNX__TENSOR_PROTO__DATA_TYPE__BOOL,
        NULL, 0);
    tensor->n_int32_data = 1;
    tensor->int32_data = &condition;
    made_add_node (&made, "If c > y", &words);
    made.nodes[0].n_attribute = 2;
    made.nodes[0].attribute = (gpointer) attributes;
    network = made_parse (&made, "net.onnx", &error);
    g_assert_no_error (error);
    g_assert_cmpuint (pt_network_get_n_layers (network), ==, 1);
    g_assert_cmpstr (network->nodes[0].layer->kind->name, ==,
        condition ? "relu" : "tanh");
    g_strfreev (words);
  }
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/onnx/outputs", test_outputs);
  g_test_add_func ("/onnx/choice", test_choice);
  g_test_add_func ("/onnx/batch", test_batch);
  g_test_add_func ("/onnx/input-shape", test_input_shape);
  g_test_add_func ("/onnx/empty-part", test_empty_part);
  g_test_add_func ("/onnx/channels-last", test_channels_last);
  g_test_add_func ("/onnx/whole", test_whole);
  g_test_add_func ("/onnx/even-lrn", test_even_lrn);
  g_test_add_func ("/onnx/folded", test_folded);
  g_test_add_func ("/onnx/if", test_if);
  return g_test_run ();
}
