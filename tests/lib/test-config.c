/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/network.h"

#include "bad-case.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "[network]\nwidth=16\nheight=12\n"
#define CONV "type=conv2d\nfilters=4\nkernel=3\n"

#define CONFIG(name, text, ...) \
  {name, text, PT_ERROR_CONFIG, {"net.cfg", __VA_ARGS__}}
#define SHAPE(name, text, ...) \
  {name, text, PT_ERROR_SHAPE, {"net.cfg", __VA_ARGS__}}

static const BadCase bad_texts[] = {
  CONFIG ("empty", "", "empty file", "[network]"),
  CONFIG ("blank", "\n\n# nothing\n", "[network] is missing"),
  CONFIG ("only a mark", "\xef\xbb\xbf", "empty file"),
  CONFIG ("no network", "[c]\n" CONV, "group [network] is missing", "width"),
  CONFIG ("no layers", HEAD, "found 0 groups", "1 to 65536"),
  CONFIG ("binary", "\x7f" "ELF\x02\xff\xfe", "byte 0xff", "offset 5"),
  CONFIG ("no group", "width=3\n", "line 1", "\"width=3\"", "[group] first"),
  CONFIG ("no key", HEAD "hello\n", "line 4", "\"hello\"", "key=value"),
  CONFIG ("half a group", HEAD "[c\n", "line 4", "\"[c\"", "[group]"),
  CONFIG ("empty group", HEAD "[]\n" CONV, "Invalid group name"),
  CONFIG ("truncated", HEAD "[c]\ntype=conv2d\nfilt", "line 6", "\"filt\""),
  CONFIG ("no width", "[network]\nheight=3\n[c]\n" CONV, "group [network]",
      "found width open", "--set"),
  CONFIG ("no size", "[network]\nchannels=3\n[c]\n" CONV,
      "group [network]", "found width and height open"),
  CONFIG ("zero height", "[network]\nwidth=3\nheight=0\n[c]\n" CONV,
      "group [network]", "found height open"),
  CONFIG ("negative height", "[network]\nwidth=3\nheight=-3\n[c]\n" CONV,
      "key height", "\"-3\"", "from 0 to 65536"),
  CONFIG ("zero std", HEAD "std=0\n[c]\n" CONV, "key std", "\"0\""),
  CONFIG ("unknown network key", HEAD "widht=3\n[c]\n" CONV,
      "group [network]", "unknown key \"widht\"", "did you mean width"),
  CONFIG ("key twice", HEAD "width=3\n[c]\n" CONV, "group [network]",
      "key width", "second time in line 4"),
  CONFIG ("group twice", HEAD "[c]\n" CONV "[d]\n" CONV "[c]\n" CONV,
      "group [c] a second time", "line 12"),
  CONFIG ("translated key", HEAD "mean[de]=3\n[c]\n" CONV,
      "unknown key \"mean[de]\""),
  CONFIG ("name input", HEAD "[input]\n" CONV, "name \"input\""),
  CONFIG ("name optimizer", HEAD "[optimizer.a]\n" CONV, "\"optimizer.a\""),
  CONFIG ("name stream", HEAD "[stream.a]\n" CONV, "\"stream.a\""),
  CONFIG ("name with a blank", HEAD "[a b]\n" CONV, "name \"a b\""),
  CONFIG ("name with ;", HEAD "[a;b]\n" CONV, "name \"a;b\""),
  CONFIG ("no type", HEAD "[c]\nfilters=3\n", "group [c]",
      "key type is missing", "conv2d"),
  CONFIG ("unknown type", HEAD "[c]\ntype=conv2\n", "group [c]", "key type",
      "\"conv2\"", "linear", "did you mean conv2d"),
  CONFIG ("unknown key", HEAD "[c]\n" CONV "padd=1\n", "group [c]",
      "unknown key \"padd\"", "padding"),
  CONFIG ("required key", HEAD "[c]\ntype=conv2d\nkernel=3\n", "group [c]",
      "key filters is missing"),
  CONFIG ("zero stride", HEAD "[c]\n" CONV "stride=0\n", "group [c]",
      "key stride", "\"0\""),
  CONFIG ("negative padding", HEAD "[c]\n" CONV "padding=-1\n",
      "key padding", "\"-1\""),
  CONFIG ("huge filters", HEAD "[c]\ntype=conv2d\nfilters=99999999999\n"
      "kernel=3\n", "key filters", "\"99999999999\""),
  CONFIG ("input itself", HEAD "[c]\n" CONV "inputs=c\n", "group [c]",
      "key inputs", "\"c\"", "cyclic", "itself"),
  CONFIG ("input below", HEAD "[c]\n" CONV "inputs=d\n[d]\n" CONV,
      "group [c]", "key inputs", "\"d\"", "cyclic or not above", "later"),
  CONFIG ("input unknown", HEAD "[c]\n" CONV "[d]\n" CONV "inputs=e\n",
      "group [d]", "key inputs", "\"e\"", "no such layer"),
  CONFIG ("input a group", HEAD "[c]\n" CONV "inputs=network\n",
      "\"network\"", "no such layer"),
  CONFIG ("inputs empty", HEAD "[c]\n" CONV "inputs=\n", "key inputs",
      "list of layers above"),
  CONFIG ("inputs a hole", HEAD "[c]\n" CONV "inputs=input;;input\n",
      "key inputs", "\"\""),
  CONFIG ("too many inputs", HEAD "[c]\ntype=add\ninputs=input;input;input;"
      "input;input;input;input;input;input\n", "key inputs", "at most 8"),
  CONFIG ("one input too many", HEAD "[c]\n" CONV "inputs=input;input;input\n",
      "group [c]", "3 inputs", "expected 1 to 2"),
  CONFIG ("one input too few", HEAD "[c]\ntype=concat\ninputs=input\n",
      "group [c]", "1 input,", "expected 2"),
  CONFIG ("dead layer", HEAD "[c]\n" CONV "[d]\n" CONV "inputs=input\n",
      "group [c]", "no layer that reads it", "[d]"),
  CONFIG ("unknown mode", HEAD "[c]\n" CONV "[learning]\nmode=partim\n",
      "group [learning]", "key mode", "\"partim\"", "did you mean partime"),
  CONFIG ("bad rate", HEAD "[c]\n" CONV "[learning]\nlearning-rate=1e-3x\n",
      "group [learning]", "key learning-rate", "\"1e-3x\"", "finite"),
  CONFIG ("infinite rate", HEAD "[c]\n" CONV "[learning]\nlearning-rate="
      "inf\n", "key learning-rate", "\"inf\""),
  CONFIG ("negative rate", HEAD "[c]\n" CONV "[learning]\nlearning-rate=-1"
      "\n", "key learning-rate", "at least 0"),
  CONFIG ("zero interval", HEAD "[c]\n" CONV "[learning]\ninterval=0\n",
      "key interval", "\"0\"", "of at least 1"),
  CONFIG ("unknown kind", HEAD "[c]\n" CONV "[output]\nkind=flaw\n",
      "group [output]", "key kind", "\"flaw\"", "did you mean flow"),
  CONFIG ("opacity", HEAD "[c]\n" CONV "[output]\nopacity=2\n",
      "key opacity", "\"2\"", "from 0 to 1"),
  SHAPE ("overflow of the input", "[network]\nwidth=65536\nheight=65536\n"
      "frames=1024\nchannels=65536\n[c]\n" CONV, "group [network]",
      "67108864x65536", "at most 2147483648"),
  SHAPE ("kernel too large", HEAD "[c]\ntype=conv2d\nfilters=4\nkernel=20\n",
      "group [c]", "kernel=20;20"),
  SHAPE ("shapes that do not fit", HEAD "[c]\n" CONV "[d]\ntype=add\n"
      "inputs=c;input\n", "group [d]", "10x14", "12x16"),
  SHAPE ("overflow of weights", HEAD "[a]\ntype=upsample\nscale=64\n"
      "[b]\ntype=flatten\n[c]\ntype=linear\nunits=65536\n", "group [c]",
      "too many elements"),
};

static void
test_bad (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_texts); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (PtNetwork) network = pt_network_new_from_data
        (bad_texts[i].input, -1, "net.cfg", &error);

    g_assert_true (network == NULL || error == NULL);
    bad_case_check (&bad_texts[i], error);
  }
}

/* Every prefix of a good file is read or refused, nothing else. */
static void
test_truncated (void)
{
  static const gchar text[] = HEAD "frames=2\n[a]\n" CONV "padding=1\n"
      "[b]\n" CONV "padding=1\ninputs=input\n[c]\ntype=add\ninputs=a;b\n"
      "[learning]\nmode=exact\nloss=mse\n[output]\nkind=flow\n";

  for (gsize n = 0; n <= sizeof text - 1; n++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (PtNetwork) network =
        pt_network_new_from_data (text, n, "net.cfg", &error);

    g_assert_true ((network != NULL) == (error == NULL));
  }
}

/* A NUL inside is no text, and must not end the file early. */
static void
test_nul (void)
{
  static const gchar text[] = HEAD "[c]\n" CONV "\0[d]\n" CONV;
  const BadCase bad = CONFIG ("nul", NULL, "byte 0x00", "UTF-8");
  g_autoptr (GError) error = NULL;

  g_assert_null (pt_network_new_from_data (text, sizeof text - 1, "net.cfg",
          &error));
  bad_case_check (&bad, error);
}

static void
test_good (void)
{
  static const gchar text[] = "\xef\xbb\xbf# a comment\r\n[network]\r\n"
      "width = 16\r\nheight=12\r\nframes=2\r\n\r\n[b\xc3\xa9]\r\n" CONV
      "padding=1\r\n[skip]\ntype=concat\ninputs= b\xc3\xa9 ; input ;\n"
      "[learning]\nloss=optical-flow smoothness=0.1\nlearning-rate=1e-3\n"
      "seed=18446744073709551615\n";
  GError *error = NULL;
  g_autoptr (PtNetwork) network =
      pt_network_new_from_data (text, -1, NULL, &error);
  const PtSettings *s;

  g_assert_no_error (error);
  s = &network->settings;
  g_assert_cmpuint (pt_network_get_n_layers (network), ==, 2);
  g_assert_cmpstr (pt_network_get_layer_name (network, 0), ==, "b\xc3\xa9");
  g_assert_cmpint (network->nodes[0].inputs[0], ==, PT_NETWORK_INPUT);
  g_assert_cmpint (network->nodes[1].inputs[0], ==, 0);
  g_assert_cmpint (network->nodes[1].inputs[1], ==, PT_NETWORK_INPUT);
  g_assert_true (pt_shape_equal (pt_network_get_input_shape (network),
          &PT_SHAPE (1, 6, 12, 16)));
  g_assert_true (pt_shape_equal (pt_network_get_output_shape (network),
          &PT_SHAPE (1, 10, 12, 16)));
  g_assert_cmpstr (s->mode, ==, "");
  g_assert_cmpstr (s->loss, ==, "optical-flow smoothness=0.1");
  g_assert_cmpstr (s->target, ==, "auto");
  g_assert_cmpstr (s->optimizer, ==, "adam");
  g_assert_cmpstr (s->learning_rate, ==, "1e-3");
  g_assert_cmpstr (s->staleness, ==, "auto");
  g_assert_cmpstr (s->policy, ==, "every");
  g_assert_cmpstr (s->devices, ==, "auto");
  g_assert_cmpstr (s->stages, ==, "auto");
  g_assert_cmpstr (s->kind, ==, "raw");
  g_assert_cmpint (s->channels, ==, 3);
  g_assert_cmpint (s->warmup, ==, -1);
  g_assert_cmpint (s->interval, ==, 1);
  g_assert_cmpuint (s->seed, ==, G_MAXUINT64);
  g_assert_cmpfloat (s->std, ==, 1);
  g_assert_cmpfloat (s->opacity, ==, 0.6);
  g_assert_cmpfloat (s->scale, ==, 0);
}

static void
test_many_layers (void)
{
  for (guint n = 65536; n <= 65537; n++) {
    const BadCase bad =
        CONFIG ("many", NULL, "found 65537 groups", "1 to 65536");
    g_autoptr (GString) text = g_string_new (HEAD);
    g_autoptr (GError) error = NULL;
    g_autoptr (PtNetwork) network = NULL;

    for (guint i = 0; i < n; i++)
      g_string_append_printf (text, "[l%u]\ntype=relu\n", i);
    network = pt_network_new_from_data (text->str, -1, "net.cfg", &error);
    if (n == 65536)
      g_assert_no_error (error);
    else
      bad_case_check (&bad, error);
  }
}

static void
check_file (const gchar *path, const gchar *part, const gchar *more)
{
  const BadCase bad = { path, NULL, PT_ERROR_FILE, {path, part, more} };
  g_autoptr (GError) error = NULL;

  g_assert_null (pt_network_new_from_file (path, &error));
  bad_case_check (&bad, error);
}

static void
test_files (void)
{
  g_autofree gchar *folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  g_autofree gchar *path = g_build_filename (folder, "net.cfg", NULL);
  g_autoptr (PtNetwork) network = NULL;
  GError *error = NULL;
  gint fd;

  check_file (path, g_strerror (ENOENT), NULL);
  check_file (folder, "a directory", "regular file");
  check_file ("/dev/zero", "special file", "regular file");
  g_assert_cmpint (mkfifo (path, 0600), ==, 0);
  check_file (path, "special file", "regular file");
  g_assert_cmpint (g_unlink (path), ==, 0);
  fd = g_open (path, O_RDWR | O_CREAT, 0600);
  g_assert_cmpint (ftruncate (fd, 1 << 30), ==, 0);
  close (fd);
  check_file (path, "1073741824 bytes", "at most 16777216");
  g_assert_true (g_file_set_contents (path, HEAD "[c]\n" CONV, -1, NULL));
  network = pt_network_new_from_file (path, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_unlink (path), ==, 0);
  g_assert_cmpint (g_rmdir (folder), ==, 0);
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/config/bad", test_bad);
  g_test_add_func ("/config/truncated", test_truncated);
  g_test_add_func ("/config/nul", test_nul);
  g_test_add_func ("/config/good", test_good);
  g_test_add_func ("/config/many-layers", test_many_layers);
  g_test_add_func ("/config/files", test_files);
  return g_test_run ();
}
