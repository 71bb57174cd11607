/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/balance.h"

#include "core/rng.h"

#include <string.h>

typedef struct
{
  guint n;
  gdouble layers[12];
  gdouble crossing[12];
} Costs;

static gdouble
cost (gpointer data, guint stage, guint first, guint n)
{
  const Costs *costs = data;
  gdouble sum = costs->crossing[first];

  for (guint k = first; k < first + n; k++)
    sum += costs->layers[k];
  return sum;
}

/* Every cut there is, one after the other. */
static gdouble
try_all (Costs *costs, guint first, guint n_stages)
{
  gdouble best = G_MAXDOUBLE;

  if (n_stages == 1)
    return cost (costs, 0, first, costs->n - first);
  for (guint n = 1; first + n + n_stages - 1 <= costs->n; n++)
    best = MIN (best, MAX (cost (costs, 0, first, n),
            try_all (costs, first + n, n_stages - 1)));
  return best;
}

static void
test_cut_is_optimal (void)
{
  for (guint i = 0; i < 300; i++) {
    Costs costs = { .n = 1 + pt_rng_mix (1, i, 0) % 12 };
    guint n_stages = 1 + pt_rng_mix (1, i, 1) % costs.n, sum = 0;
    guint sizes[12];
    gdouble found, slowest = 0;

    for (guint k = 0; k < costs.n; k++) {
      costs.layers[k] = pt_rng_mix (2, i, k) % 100;
      costs.crossing[k] = k > 0 ? pt_rng_mix (3, i, k) % 20 : 0;
    }
    found = pt_balance_cut (costs.n, n_stages, cost, &costs, sizes);
    g_assert_cmpfloat (found, ==, try_all (&costs, 0, n_stages));
    for (guint s = 0; s < n_stages; s++) {
      g_assert_cmpuint (sizes[s], >=, 1);
      slowest = MAX (slowest, cost (&costs, s, sum, sizes[s]));
      sum += sizes[s];
    }
    g_assert_cmpuint (sum, ==, costs.n);
    g_assert_cmpfloat (slowest, ==, found);
  }
}

static void
check_parse (const gchar *text, guint n_layers, const gchar *expected)
{
  g_autoptr (GArray) sizes = g_array_new (FALSE, TRUE, sizeof (guint));
  g_autoptr (GString) found = g_string_new (NULL);
  g_autoptr (GError) error = NULL;
  gboolean ok = pt_balance_parse (text, n_layers, "here", sizes, &error);

  if (expected == NULL) {
    g_assert_false (ok);
    g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
    g_assert_nonnull (strstr (error->message, "here"));
    g_assert_nonnull (strstr (error->message, text));
    return;
  }
  g_assert_no_error (error);
  for (guint i = 0; i < sizes->len; i++)
    g_string_append_printf (found, "%u ", g_array_index (sizes, guint, i));
  g_assert_cmpstr (found->str, ==, expected);
}

static void
test_parse (void)
{
  check_parse ("4,6,-1", 12, "4 6 2 ");
  check_parse ("-1,3", 12, "9 3 ");
  check_parse (" 5 , 7 ", 12, "5 7 ");
  check_parse ("-1", 12, "12 ");
  check_parse ("12", 12, "12 ");
  check_parse ("4,6,-1", 10, NULL);
  check_parse ("4,5", 10, NULL);
  check_parse ("4,7", 10, NULL);
  check_parse ("-1,-1", 10, NULL);
  check_parse ("0,10", 10, NULL);
  check_parse ("-2,10", 10, NULL);
  check_parse ("4,,6", 10, NULL);
  check_parse ("4,x", 10, NULL);
  check_parse ("99999999999,-1", 10, NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/balance/cut-is-optimal", test_cut_is_optimal);
  g_test_add_func ("/balance/parse", test_parse);
  return g_test_run ();
}
