/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "core/params.h"

#include "bad-case.h"

typedef struct
{
  gint count;
  guint64 seed;
  gdouble rate;
  gboolean on;
  gint mode;
  gchar *text, *word;
  gint pair[2];
  gint sides[4];
  gdouble betas[2];
  PtDoubleList weight;
} Options;

#define ROW(key, type) \
  #key, PT_PARAM_ ## type, G_STRUCT_OFFSET (Options, key)

static const gchar *const modes[] = { "nearest", "bilinear", NULL };
static const gchar *const words[] = { "left", "right", NULL };

static const PtParam table[] = {
  {ROW (count, INT), NULL, 1, 100, NULL, "how many"},
  {ROW (seed, UINT64), "7", 0, 0, NULL, "any"},
  {ROW (rate, DOUBLE), "0.001", 0, 10, NULL, "a rate"},
  {ROW (on, BOOL), "true", 0, 0, NULL, "a switch"},
  {ROW (mode, ENUM), "bilinear", 0, 0, modes, "which"},
  {ROW (text, STRING), "", 0, 0, NULL, "a text"},
  {ROW (word, STRING), "", 0, 0, words, "a word"},
  {ROW (pair, INT_PAIR), "1", 0, 50, NULL, "two"},
  {ROW (sides, INT_SIDES), "0", 0, 50, NULL, "one, two or four"},
  {ROW (betas, DOUBLE_PAIR), "0.9;0.999", 0, 1, NULL, "two more"},
  {ROW (weight, DOUBLE_LIST), "", 0, G_MAXFLOAT, NULL, "as many as there are"},
  {NULL}
};

static void
test_defaults (void)
{
  Options o = { 0 };

  pt_params_init (table, &o);
  g_assert_cmpint (o.count, ==, 0);
  g_assert_cmpuint (o.seed, ==, 7);
  g_assert_cmpfloat (o.rate, ==, 0.001);
  g_assert_true (o.on);
  g_assert_cmpint (o.mode, ==, 1);
  g_assert_cmpstr (o.text, ==, "");
  g_assert_cmpint (o.pair[0], ==, 1);
  g_assert_cmpint (o.pair[1], ==, 1);
  g_assert_cmpfloat (o.betas[1], ==, 0.999);
  g_assert_cmpuint (o.weight.n, ==, 0);
  pt_params_clear (table, &o);
  g_assert_null (o.text);
}

/* Texts that are read, and what pt_params_get() says then. */
static void
test_good (void)
{
  static const gchar *const good[][3] = {
    {"count", "1", "1"}, {"count", " 100 ", "100"}, {"count", "+5", "5"},
    {"seed", "18446744073709551615", "18446744073709551615"},
    {"rate", "1e-3", "0.001"}, {"rate", "0.1", "0.1"}, {"rate", "10", "10"},
    {"rate", "0.30000000000000004", "0.30000000000000004"},
    {"on", "no", "false"}, {"on", "1", "true"}, {"on", "yes", "true"},
    {"mode", "nearest", "nearest"},
    {"text", "cpu:0,cpu:1 and \xc3\xa9", "cpu:0,cpu:1 and \xc3\xa9"},
    {"word", "left", "left"}, {"word", "", ""},
    {"pair", "3", "3;3"}, {"pair", "3;5", "3;5"}, {"pair", "3, 5;", "3;5"},
    {"sides", "3", "3;3"}, {"sides", "1;2", "1;2"},
    {"sides", "1;2;1;2", "1;2"}, {"sides", "1, 2;3;4;", "1;2;3;4"},
    {"betas", "0.5,0.25", "0.5;0.25"}, {"betas", "0.5;0.25;", "0.5;0.25"},
    {"weight", "1;2;0.5", "1;2;0.5"}, {"weight", " 0.1, 3e5 ;", "0.1;300000"},
    {"weight", "7", "7"}, {"weight", "", ""},
  };
  Options o = { 0 };

  pt_params_init (table, &o);
  for (guint i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autofree gchar *got = NULL;
    GError *error = NULL;

    g_assert_true (pt_params_set (table, &o, good[i][0], good[i][1], "here",
            &error));
    g_assert_no_error (error);
    got = pt_params_get (table, &o, good[i][0]);
    g_assert_cmpstr (got, ==, good[i][2]);
  }
  g_assert_null (pt_params_get (table, &o, "nothing"));
  pt_params_clear (table, &o);
}

#define BAD(text, ...) \
  {"words", text, PT_ERROR_CONFIG, {"here", __VA_ARGS__}}

static const BadCase bad_words[] = {
  BAD ("", "key count is missing", "from 1 to 100"),
  BAD ("count=0", "key count", "\"0\"", "from 1 to 100"),
  BAD ("count=-1", "key count", "\"-1\"", "from 1 to 100"),
  BAD ("count=101", "\"101\"", "from 1 to 100"),
  BAD ("count=5x", "\"5x\"", "whole number"),
  BAD ("count=1.5", "\"1.5\"", "whole number"),
  BAD ("count=", "key count", "\"\"", "whole number"),
  BAD ("count=4294967297", "\"4294967297\"", "whole number"),
  BAD ("count=99999999999999999999999", "whole number"),
  BAD ("count=1 count=2", "count twice"),
  BAD ("count", "\"count\"", "key=value"),
  BAD ("=3", "key=value"),
  BAD ("coutn=3", "unknown key \"coutn\"", "count, seed, rate",
      "did you mean count"),
  BAD ("count=1 zzz=1", "unknown key \"zzz\"", "one of count, seed"),
  BAD ("count=1 seed=-1", "key seed", "\"-1\"", "whole number"),
  BAD ("count=1 seed=18446744073709551616", "whole number"),
  BAD ("count=1 seed=5x", "key seed", "\"5x\"", "whole number"),
  BAD ("count=1 rate=nan", "key rate", "\"nan\"", "finite", "from 0 to 10"),
  BAD ("count=1 rate=inf", "finite"),
  BAD ("count=1 rate=1e999", "finite"),
  BAD ("count=1 rate=1,5", "\"1,5\"", "finite"),
  BAD ("count=1 rate=-0.1", "from 0 to 10"),
  BAD ("count=1 on=maybe", "\"maybe\"", "true or false"),
  BAD ("count=1 mode=bilinar", "\"bilinar\"", "nearest, bilinear",
      "did you mean bilinear"),
  BAD ("count=1 word=up", "\"up\"", "left, right"),
  BAD ("count=1 pair=1;2;3", "\"1;2;3\"", "one or two"),
  BAD ("count=1 pair=;", "one or two"),
  BAD ("count=1 pair=1;-2", "one or two", "from 0 to 50"),
  BAD ("count=1 sides=1;2;3", "\"1;2;3\"", "one, two or four"),
  BAD ("count=1 sides=1;2;3;51", "one, two or four", "from 0 to 50"),
  BAD ("count=1 betas=0.9", "two finite numbers", "from 0 to 1"),
  BAD ("count=1 betas=0.9;2", "two finite numbers"),
  BAD ("count=1 weight=1;2;x", "\"1;2;x\"", "finite numbers of at least 0",
      "1;2;0.5"),
  BAD ("count=1 weight=1;;2", "finite numbers"),
  BAD ("count=1 weight=;", "finite numbers"),
  BAD ("count=1 weight=1;-1", "of at least 0"),
  BAD ("count=1 weight=1;inf", "finite numbers"),
  BAD ("count=1 text=\xff", "key text", "UTF-8"),
  BAD ("count=\033[31m", "\\033[31m"),
};

static void
test_bad (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_words); i++) {
    Options o = { 0 };
    g_autoptr (GError) error = NULL;

    pt_params_init (table, &o);
    g_assert_false (pt_params_parse_words (table, &o, bad_words[i].input,
            "here", &error));
    bad_case_check (&bad_words[i], error);
    pt_params_clear (table, &o);
  }
}

static void
test_failure_changes_nothing (void)
{
  Options o = { 0 };

  pt_params_init (table, &o);
  g_assert_false (pt_params_set (table, &o, "pair", "9;x", "here", NULL));
  g_assert_false (pt_params_set (table, &o, "betas", "0.1;nan", "here",
          NULL));
  g_assert_false (pt_params_set (table, &o, "word", "up", "here", NULL));
  g_assert_true (pt_params_set (table, &o, "weight", "3;4", "here", NULL));
  g_assert_false (pt_params_set (table, &o, "weight", "5;x", "here", NULL));
  g_assert_cmpuint (o.weight.n, ==, 2);
  g_assert_cmpfloat (o.weight.values[1], ==, 4);
  g_assert_cmpint (o.pair[0], ==, 1);
  g_assert_cmpfloat (o.betas[0], ==, 0.9);
  g_assert_cmpstr (o.word, ==, "");
  pt_params_clear (table, &o);
}

static void
test_words (void)
{
  Options o = { 0 };
  Options *copy;
  GError *error = NULL;

  pt_params_init (table, &o);
  g_assert_true (pt_params_parse_words (table, &o,
          "  count=3\trate=1e-2  betas=0.8,0.9 text=a weight=1;2;3 ", "here", &error));
  g_assert_no_error (error);
  g_assert_cmpint (o.count, ==, 3);
  g_assert_cmpfloat (o.rate, ==, 0.01);
  g_assert_cmpfloat (o.betas[0], ==, 0.8);
  copy = pt_params_copy (table, &o, sizeof o);
  pt_params_clear (table, &o);
  g_assert_cmpstr (copy->text, ==, "a");
  g_assert_cmpuint (copy->weight.n, ==, 3);
  g_assert_cmpfloat (copy->weight.values[2], ==, 3);
  g_assert_cmpint (copy->count, ==, 3);
  pt_params_clear (table, copy);
  g_free (copy);
}

static void
test_describe (void)
{
  g_autoptr (GString) text = g_string_new (NULL);

  pt_params_describe (table, text);
  for (const PtParam *p = table; p->key != NULL; p++)
    g_assert_nonnull (strstr (text->str, p->key));
  g_assert_nonnull (strstr (text->str, "from 1 to 100; required"));
  g_assert_nonnull (strstr (text->str, "nearest|bilinear"));
}

gint
main (gint argc, gchar **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/params/defaults", test_defaults);
  g_test_add_func ("/params/good", test_good);
  g_test_add_func ("/params/bad", test_bad);
  g_test_add_func ("/params/failure-changes-nothing",
      test_failure_changes_nothing);
  g_test_add_func ("/params/words", test_words);
  g_test_add_func ("/params/describe", test_describe);
  return g_test_run ();
}
