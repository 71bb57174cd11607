/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bad-case.h"
#include "onnx-made.h"

#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* Nodes, separated by "; ", that must be refused. */
static const BadCase bad_nodes[] = {
  {"no operator", "Shine x > y", PT_ERROR_UNSUPPORTED,
      {"net.onnx: node 0 \"y\"", "\"Shine\"", "Relu", "network file"}},
  {"recurrent", "LSTM x > y", PT_ERROR_UNSUPPORTED,
      {"\"LSTM\"", "recurrent", "network.frames"}},
  {"quantised", "QuantizeLinear x w > y", PT_ERROR_UNSUPPORTED,
      {"\"QuantizeLinear\"", "before it was quantised"}},
  {"a loop", "Loop x > y", PT_ERROR_UNSUPPORTED, {"control flow"}},
  {"by zero", "Shape x > s; Sub s s > z; Div s z > d; Reshape x d > y",
      PT_ERROR_UNSUPPORTED, {"node 2 \"d\"", "\"Div\"", "element 0", "fits"}},
  {"too large", "Shape x > s; Mul s s > a; Mul a a > b; Mul b b > c; "
      "ConstantOfShape c > d; Relu d > y", PT_ERROR_UNSUPPORTED,
      {"\"ConstantOfShape\"", "elements in all"}},
  {"constant", "Shape x > y", PT_ERROR_UNSUPPORTED, {"\"y\"", "constant"}},
  {"nothing makes it", "Relu z > y", PT_ERROR_UNSUPPORTED,
      {"input \"z\"", "cycles"}},
  {"a cycle", "Relu b > a; Relu a > b; Relu b > y", PT_ERROR_UNSUPPORTED,
      {"node 0", "\"b\"", "cycles"}},
  {"itself", "Relu y > y", PT_ERROR_UNSUPPORTED, {"cycles"}},
  {"a name twice", "Relu x > a; Tanh x > a; Add a x > y", PT_ERROR_FILE,
      {"second tensor", "\"a\""}},
  {"the input again", "Relu x > x; Relu x > y", PT_ERROR_FILE, {"\"x\""}},
  {"no input", "Relu > y", PT_ERROR_UNSUPPORTED, {"input 0 is missing"}},
  {"no weight", "Conv x > y", PT_ERROR_UNSUPPORTED, {"input 1 is missing"}},
  {"moving weight", "Relu x > a; Conv x a > y", PT_ERROR_UNSUPPORTED,
      {"input 1", "constant"}},
  {"bad weight", "Conv x w > y", PT_ERROR_UNSUPPORTED, {"dimensions"}},
  {"no kernel", "MaxPool x > y", PT_ERROR_UNSUPPORTED, {"kernel_shape"}},
  {"constant added", "Add x w > y", PT_ERROR_UNSUPPORTED,
      {"1x2x3x4 and 2"}},
  {"rows for pixels", "Flatten x > a; Conv a w > y", PT_ERROR_UNSUPPORTED,
      {"2 dimensions", "input 0"}},
  {"to integers", "Cast x > y", PT_ERROR_UNSUPPORTED,
      {"\"Cast\"", "network.output"}},
  {"no output", "Relu x > z", PT_ERROR_UNSUPPORTED, {"made by no node"}},
  {"nothing in it", "Constant > a; Relu a > y", PT_ERROR_UNSUPPORTED,
      {"0 attributes"}},
};

static void
test_bad_nodes (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_nodes); i++) {
    g_autoptr (GError) error = NULL;
    gfloat values[2] = { 1, 2 };
    gint64 dims[] = { 2 };
    Onnx__TensorProto *w;
    Made made;

    made_init (&made);
    w = made_add_tensor (&made, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
        dims, 1);
    w->n_float_data = 2;
    w->float_data = values;
    g_assert_null (parse_nodes (&made, bad_nodes[i].input, &error));
    bad_case_check (&bad_nodes[i], error);
  }
}

/* A 1x1 convolution of two channels to one, its weight 1 and -0.5. */
static PtNetwork *
parse_conv (Made *made, GError **error)
{
  return parse_nodes (made, "Conv x w > a; Dropout a > b; Relu b > y", error);
}

static void
check_conv (Made *made, const gchar *about)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network = parse_conv (made, &error);
  const gfloat *data;

  g_test_message ("%s", about);
  g_assert_no_error (error);
  g_assert_cmpuint (pt_network_get_n_layers (network), ==, 1);
  g_assert_cmpstr (pt_network_get_layer_name (network, 0), ==, "a");
  data = pt_tensor_get_data (pt_network_get_weight (network, "a.weight"));
  g_assert_cmpfloat (data[0], ==, 1);
  g_assert_cmpfloat (data[1], ==, -0.5);
}

static void
test_types (void)
{
  static guint8 halves[] = { 0x00, 0x3c, 0x00, 0xb8 };
  static guint8 brains[] = { 0x80, 0x3f, 0x00, 0xbf };
  static gint32 half_words[] = { 0x3c00, 0xb800 };
  static gdouble doubles[] = { 1, -0.5 };
  static gfloat floats[] = { 1, -0.5f };
  gint64 dims[] = { 1, 2, 1, 1 };

  for (guint i = 0; i < 5; i++) {
    static const gint types[] = { ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16,
      ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16,
      ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16,
      ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE,
      ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT
    };
    Onnx__TensorProto *w;
    Made made;

    made_init (&made);
    w = made_add_tensor (&made, "w", types[i], dims, 4);
    w->has_raw_data = i < 2;
    w->raw_data.data = i == 0 ? halves : brains;
    w->raw_data.len = i < 2 ? 4 : 0;
    w->n_int32_data = i == 2 ? 2 : 0;
    w->int32_data = half_words;
    w->n_double_data = i == 3 ? 2 : 0;
    w->double_data = doubles;
    w->n_float_data = i == 4 ? 2 : 0;
    w->float_data = floats;
    check_conv (&made, "typed and raw data");
  }
}

/* Sizes that the data does not have take no memory. */
static void
test_bad_tensors (void)
{
  static gint64 shapes[][4] = { {1, 2, 1, 2}, {1, 2, -1, 1},
    {1, 1, 1 << 30, 1 << 30}, {0, 2, 1, 1}, {65536, 2, 1024, 1024},
    {G_MAXINT64, G_MAXINT64, G_MAXINT64, G_MAXINT64}
  };
  gfloat floats[] = { 1, NAN };

  for (guint i = 0; i <= G_N_ELEMENTS (shapes); i++) {
    gint64 good[] = { 1, 2, 1, 1 };
    g_autoptr (GError) error = NULL;
    Onnx__TensorProto *w;
    Made made;

    made_init (&made);
    w = made_add_tensor (&made, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
        i < G_N_ELEMENTS (shapes) ? shapes[i] : good, 4);
    w->n_float_data = 2;
    w->float_data = floats;
    g_assert_null (parse_conv (&made, &error));
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, "net.onnx"));
  }
}

static gchar *
make_folder (void)
{
  gchar *folder = g_dir_make_tmp ("test-onnx-XXXXXX", NULL);

  g_assert_nonnull (folder);
  return folder;
}

/* Weights beside the model: only files of its own folder. */
static void
test_external (void)
{
  static const gchar *const outside[] = { "../w", "/etc/passwd", "link",
    "inside/../../w", "none", "", NULL
  };
  g_autofree gchar *folder = make_folder ();
  g_autofree gchar *file = g_build_filename (folder, "w.bin", NULL);
  g_autofree gchar *link = g_build_filename (folder, "link", NULL);
  g_autofree gchar *path = g_build_filename (folder, "net.onnx", NULL);
  const gfloat floats[] = { 7, 1, -0.5f };
  gint64 dims[] = { 1, 2, 1, 1 };

  g_assert_true (g_file_set_contents (file, (const gchar *) floats,
          sizeof floats, NULL));
  g_assert_cmpint (symlink ("/etc/passwd", link), ==, 0);
  for (guint i = 0; i <= G_N_ELEMENTS (outside) + 1; i++) {
    const gboolean good = i == G_N_ELEMENTS (outside);
    const gchar *location = i + 1 < G_N_ELEMENTS (outside) ? outside[i] :
        "w.bin";
    Onnx__StringStringEntryProto where = ONNX__STRING_STRING_ENTRY_PROTO__INIT;
    Onnx__StringStringEntryProto offset = where;
    gpointer entries[] = { &where, &offset };
    g_autoptr (PtNetwork) network = NULL;
    g_autoptr (GError) error = NULL;
    gchar **words = NULL;
    Onnx__TensorProto *w;
    Made made;

    made_init (&made);
    w = made_add_tensor (&made, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
        dims, 4);
    where.key = "location";
    where.value = (gchar *) location;
    offset.key = "offset";
    offset.value = good ? "4" : "99999999999";
    w->n_external_data = 2;
    w->external_data = (gpointer) entries;
    w->has_data_location = TRUE;
    w->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    made_add_node (&made, "Conv x w > y", &words);
    network = made_parse (&made, path, &error);
    g_test_message ("%s: %s", location, error ? error->message : "read");
    g_assert_true ((network != NULL) == good);
    g_strfreev (words);
  }
  g_unlink (link);
  g_unlink (file);
  g_rmdir (folder);
}

/* Graphs within attributes of nodes within graphs, deeper than any stack. */
static void
test_depth (void)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  g_autoptr (GError) error = NULL;
  gsize length = 0;

  /* from the inside: graph 7 { node 1 { attribute 5 { graph 6 { ... */
  for (guint i = 0; i < 199999; i++) {
    guint8 head[12] = { i % 3 == 0 ? 6 << 3 | 2 : i % 3 == 1 ? 5 << 3 | 2 :
      1 << 3 | 2
    };
    guint n = 1;

    for (gsize rest = length;; rest >>= 7) {
      head[n++] = (rest & 0x7f) | (rest > 0x7f ? 0x80 : 0);
      if (rest <= 0x7f)
        break;
    }
    /* backwards, to be turned around at the end */
    while (n > 0)
      g_byte_array_append (bytes, &head[--n], 1);
    length = bytes->len;
  }
  for (gsize i = 0; i < length / 2; i++) {
    const guint8 spare = bytes->data[i];

    bytes->data[i] = bytes->data[length - 1 - i];
    bytes->data[length - 1 - i] = spare;
  }
  /* the outermost is a node: as the model's graph's */
  bytes->data[0] = 7 << 3 | 2;
  g_assert_null (pt_onnx_parse (bytes->data, length, "deep.onnx", NULL, NULL,
          &error));
  g_test_message ("%s", error->message);
  g_assert_error (error, PT_ERROR, PT_ERROR_FILE);
}

/* Branches join again; reserved names are not taken, nor what the output does
 * not need. */
static void
test_graph (void)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree gchar *inputs = NULL;
  Made made;

  made_init (&made);
  network = parse_nodes (&made, "Relu x > output; Tanh output > network; "
      "LSTM x > unused; Add output network > s; Sum s x s > c; "
      "GlobalAveragePool c > g; Flatten g > y", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pt_network_get_n_layers (network), ==, 6);
  inputs = pt_network_get (network, "c", "inputs");
  g_assert_cmpstr (inputs, ==, "s;input;s");
  g_assert_true (pt_shape_equal (pt_network_get_output_shape (network),
          &PT_SHAPE (1, 2)));
}

/* A product and the constant added to it are one layer, transposed. */
static void
test_product (void)
{
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  gint64 dims[] = { 24, 2 }, bias_dims[] = { 1, 2 };
  gfloat values[48], bias[] = { 5, 6 };
  Onnx__TensorProto *w, *b;
  const gfloat *data;
  Made made;

  for (guint i = 0; i < 48; i++)
    values[i] = i;
  made_init (&made);
  w = made_add_tensor (&made, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims,
      2);
  w->n_float_data = 48;
  w->float_data = values;
  b = made_add_tensor (&made, "b", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
      bias_dims, 2);
  b->n_float_data = 2;
  b->float_data = bias;
  network = parse_nodes (&made, "Flatten x > f; MatMul f w > m; Add b m > s; "
      "Sigmoid s > y", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (pt_network_get_n_layers (network), ==, 2);
  data = pt_tensor_get_data (pt_network_get_weight (network, "m.weight"));
  g_assert_cmpfloat (data[1], ==, 2);
  g_assert_cmpfloat (data[24], ==, 1);
  data = pt_tensor_get_data (pt_network_get_weight (network, "m.bias"));
  g_assert_cmpfloat (data[1], ==, 6);
}

/* Flipped bits and ends cut off: refused or read, never more than that. */
static void
test_damage (void)
{
  gfloat floats[] = { 1, -0.5f };
  gint64 dims[] = { 1, 2, 1, 1 };
  g_autofree guint8 *data = NULL;
  gchar **words[3];
  Onnx__TensorProto *w;
  gsize size;
  Made made;

  made_init (&made);
  w = made_add_tensor (&made, "w", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims,
      4);
  w->n_float_data = 2;
  w->float_data = floats;
  made_add_node (&made, "Conv x w > a", &words[0]);
  made_add_node (&made, "Concat x a > b", &words[1]);
  made_add_node (&made, "Softmax b > y", &words[2]);
  made.opset.version = 7;
  size = onnx__model_proto__get_packed_size (&made.model);
  data = g_malloc (size);
  onnx__model_proto__pack (&made.model, data);
  for (guint i = 0; i < 6000; i++) {
    g_autofree guint8 *copy = g_memdup2 (data, size);
    const gsize left = i % 4 ? size :
        (gsize) g_test_rand_int_range (0, size);
    g_autoptr (GError) error = NULL;
    g_autoptr (PtNetwork) network = NULL;

    for (guint j = 0; j < i % 5; j++)
      copy[g_test_rand_int_range (0, size)] ^= 1 << g_test_rand_int_range (0,
          8);
    network = pt_onnx_parse (copy, left, "net.onnx", NULL, NULL, &error);
    g_assert_true ((network == NULL) == (error != NULL));
  }
  for (guint i = 0; i < 3; i++)
    g_strfreev (words[i]);
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/onnx/bad-nodes", test_bad_nodes);
  g_test_add_func ("/onnx/types", test_types);
  g_test_add_func ("/onnx/bad-tensors", test_bad_tensors);
  g_test_add_func ("/onnx/external", test_external);
  g_test_add_func ("/onnx/depth", test_depth);
  g_test_add_func ("/onnx/graph", test_graph);
  g_test_add_func ("/onnx/product", test_product);
  g_test_add_func ("/onnx/damage", test_damage);
  return g_test_run ();
}
