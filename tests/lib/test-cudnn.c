/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* cuDNN's plans, made without a GPU for one that a file describes. */

#include <glib/gstdio.h>
#include <string.h>

#include "conv-cases.h"
#include "device/cuda/cudnn.h"
#include "device/cuda/plan-cache.h"
#include "golden.h"

#define ROOM ((gsize) 256 << 20)
#define NOTE(name) (1u << CUDNN_NUMERICAL_NOTE_##name)

#define LAYER(kernel, stride, bias) \
    CONV (kernel, kernel, stride, stride, kernel / 2, kernel / 2, 1, 1, 1, \
        bias, RELU)

/* The end of a block, on a frame that its batch-norm is folded for. */
#define END CONV_ADD (1, 1, 1, 1, 0, 0, 1, 1, 1, 1, RELU)

/* ResNet-50, and the five-by-five layers that PARTIME was measured with. */
static const ConvCase layers[] = {
  {"stem", {3, 224, 224}, 64, LAYER (7, 2, 0)},
  {"1-reduce", {256, 56, 56}, 64, LAYER (1, 1, 0)},
  {"1-window", {64, 56, 56}, 64, LAYER (3, 1, 0)},
  {"1-expand", {64, 56, 56}, 256, LAYER (1, 1, 0)},
  {"2-reduce", {256, 56, 56}, 128, LAYER (1, 1, 0)},
  {"2-stride", {128, 56, 56}, 128, LAYER (3, 2, 0)},
  {"2-window", {128, 28, 28}, 128, LAYER (3, 1, 0)},
  {"2-expand", {128, 28, 28}, 512, LAYER (1, 1, 0)},
  {"2-skip", {256, 56, 56}, 512, LAYER (1, 2, 0)},
  {"3-stride", {256, 28, 28}, 256, LAYER (3, 2, 0)},
  {"3-window", {256, 14, 14}, 256, LAYER (3, 1, 0)},
  {"3-expand", {256, 14, 14}, 1024, LAYER (1, 1, 0)},
  {"3-skip", {512, 28, 28}, 1024, LAYER (1, 2, 0)},
  {"4-stride", {512, 14, 14}, 512, LAYER (3, 2, 0)},
  {"4-window", {512, 7, 7}, 512, LAYER (3, 1, 0)},
  {"4-expand", {512, 7, 7}, 2048, LAYER (1, 1, 0)},
  {"4-skip", {1024, 14, 14}, 2048, LAYER (1, 2, 0)},
  {"1-end", {64, 56, 56}, 256, END},
  {"2-end", {128, 28, 28}, 512, END},
  {"3-end", {256, 14, 14}, 1024, END},
  {"4-end", {512, 7, 7}, 2048, END},
  {"classes", {2048, 1, 1}, 1000, LAYER (1, 1, 1)},
  {"five-256", {256, 60, 80}, 256, LAYER (5, 1, 1)},
  {"five-1024", {1024, 30, 40}, 1024, LAYER (5, 1, 1)},
};

static gchar *folder;

/* sm_@capability, an H200 in all else. */
static PtCudnn *
describe (guint capability)
{
  g_autoptr (GError) error = NULL;
  g_autofree gchar *json = NULL, *path = golden_path ("h200.json");
  g_autofree gchar *wanted = g_strdup_printf ("\"deviceVer\":%u,",
      capability * 10);
  g_autoptr (GString) text = NULL;
  PtCudnn *cudnn;

  g_file_get_contents (path, &json, NULL, &error);
  g_assert_no_error (error);
  text = g_string_new (json);
  g_assert_cmpuint (g_string_replace (text, "\"deviceVer\":900,", wanted, 0),
      ==, 1);
  cudnn = pt_cudnn_new_described (text->str, "described", capability, &error);
  g_assert_no_error (error);
  return cudnn;
}

static PtConvGraph
get_graph (const ConvCase *test, PtConvPass pass, PtPrecision precision)
{
  const PtConvDesc *conv = &test->conv;
  gboolean bias = conv->bias && pass == PT_CONV_FORWARD
      && precision < PT_PRECISION_BF16;

  return (PtConvGraph) {
    .pass = pass,
    .x = { 1, test->in.c, test->in.h, test->in.w },
    .y = { 1, test->out_c, conv_size (conv, test->in.h, 0),
      conv_size (conv, test->in.w, 1) },
    .w = { test->out_c, test->in.c / conv->groups, conv->kernel[0],
      conv->kernel[1] },
    .stride = { conv->stride[0], conv->stride[1] },
    .padding = { conv->padding[0], conv->padding[1] },
    .more_padding = { conv->more_padding[0], conv->more_padding[1] },
    .dilation = { conv->dilation[0], conv->dilation[1] },
    .precision = precision,
    .bias = bias,
    .add = bias && conv->add,
    .relu = bias && conv->activation == PT_ACTIVATION_RELU,
  };
}

static PtPlan *
make_plan (PtCudnn *cudnn, const PtConvGraph *graph, const PtPlanRules *rules)
{
  g_autoptr (GError) error = NULL;
  PtPlan *plan;

  pt_plan_new (cudnn, graph, rules, &plan, &error);
  g_assert_no_error (error);
  return plan;
}

static void
check_plan (PtCudnn *cudnn, const PtConvGraph *graph, const PtPlanRules *rules)
{
  g_autoptr (PtPlan) plan = make_plan (cudnn, graph, rules);
  g_autofree gchar *text = pt_conv_graph_print (graph);

  g_test_message ("%s%s: %s, notes %x, %" G_GSIZE_FORMAT " bytes", text,
      rules->deterministic ? " deterministic" : "",
      plan != NULL ? "planned" : "NONE", plan != NULL ? plan->numerical : 0,
      plan != NULL ? plan->workspace : 0);
  g_assert_nonnull (plan);
  g_assert_false (plan->cached);
  g_assert_cmpuint (plan->workspace, <=, rules->max_workspace);
  g_assert_cmphex (plan->behavior &
      1u << CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION, ==, 0);
  g_assert_cmphex (plan->numerical & NOTE (REDUCED_PRECISION_REDUCTION), ==,
      0);
  if (graph->precision == PT_PRECISION_FP32)
    g_assert_cmphex (plan->numerical & (NOTE (TENSOR_CORE) |
            NOTE (DOWN_CONVERT_INPUTS)), ==, 0);
  if (rules->deterministic)
    g_assert_cmphex (plan->numerical & NOTE (NONDETERMINISTIC), ==, 0);
}

static void
check_cases (guint capability, PtPrecision precision, const ConvCase *cases,
    guint n)
{
  g_autoptr (PtCudnn) cudnn = describe (capability);

  for (guint i = 0; i < n; i++)
    for (PtConvPass pass = PT_CONV_FORWARD; pass <= PT_CONV_WEIGHTS; pass++) {
      PtConvGraph graph = get_graph (&cases[i], pass, precision);

      /* one input channel for each group is never asked for */
      if (graph.x[1] > 1 && graph.w[1] == 1)
        continue;
      for (guint k = 0; k < 2; k++)
        check_plan (cudnn, &graph, &(PtPlanRules) { .deterministic = k,
              .max_workspace = ROOM });
    }
}

static void
test_cases (gconstpointer precision)
{
  check_cases (90, GPOINTER_TO_UINT (precision), conv_cases,
      G_N_ELEMENTS (conv_cases));
}

static void
test_layers (gconstpointer precision)
{
  check_cases (90, GPOINTER_TO_UINT (precision), layers,
      G_N_ELEMENTS (layers));
}

/* One plan of each pass on each kind of GPU that has what is asked for. */
static void
test_gpus (void)
{
  static const guint capabilities[] = { 75, 80, 86, 89, 90, 100, 120 };

  for (guint i = 0; i < G_N_ELEMENTS (capabilities); i++)
    for (guint p = PT_PRECISION_FP32; p <= PT_PRECISION_FP16; p++)
      if (capabilities[i] >= 80 || p == PT_PRECISION_FP32
          || p == PT_PRECISION_FP16)
        check_cases (capabilities[i], p, &layers[2], 1);
}

static void
test_lacks (void)
{
  g_autoptr (PtCudnn) cudnn = describe (75);
  PtPlanRules rules = {.max_workspace = ROOM };
  static const struct
  {
    PtPrecision precision;
    const gchar *name;
  } lacking[] = {
    {PT_PRECISION_TF32, "TF32"}, {PT_PRECISION_BF16, "bf16"}
  };

  for (guint i = 0; i < G_N_ELEMENTS (lacking); i++) {
    g_autoptr (GError) error = NULL;
    PtConvGraph graph = get_graph (&layers[2], PT_CONV_FORWARD,
        lacking[i].precision);
    PtPlan *plan;

    g_assert_false (pt_plan_new (cudnn, &graph, &rules, &plan, &error));
    g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
    g_assert_nonnull (strstr (error->message, lacking[i].name));
    g_assert_nonnull (strstr (error->message, "sm_75"));
    g_assert_null (plan);
  }
}

/* Not an error: our own kernels take over. ReLU alone is only to be had
 * compiled when first used, which no rules allow. */
static void
test_none (void)
{
  g_autoptr (PtCudnn) cudnn = describe (90);
  g_autofree gchar *cache = g_build_filename (folder, "none", NULL);
  PtConvGraph graph = get_graph (&layers[2], PT_CONV_FORWARD,
      PT_PRECISION_FP32);

  graph.relu = TRUE;
  g_assert_null (make_plan (cudnn, &graph, &(PtPlanRules) {
        .max_workspace = ROOM, .cache = cache }));
  g_assert_false (g_file_test (cache, G_FILE_TEST_EXISTS));
}

/* The less room, the less is taken; TF32 is what is taken if allowed; and
 * where there is no GPU to try them on, the first of several is. */
static void
test_choice (void)
{
  g_autoptr (PtCudnn) cudnn = describe (90);
  PtConvGraph graph = get_graph (&layers[0], PT_CONV_WEIGHTS,
      PT_PRECISION_TF32);
  g_autoptr (PtPlan) large = make_plan (cudnn, &graph, &(PtPlanRules) {
        .max_workspace = ROOM });
  g_autoptr (PtPlan) small = make_plan (cudnn, &graph, &(PtPlanRules) {
        .max_workspace = 1 << 20 });
  g_autoptr (PtPlan) timed = make_plan (cudnn, &graph, &(PtPlanRules) {
        .max_workspace = ROOM, .timed = TRUE });

  g_assert_cmpuint (timed->workspace, ==, large->workspace);
  g_assert_cmpuint (large->workspace, >, 1 << 20);
  g_assert_cmpuint (small->workspace, <=, 1 << 20);
  g_assert_cmphex (large->numerical & NOTE (TENSOR_CORE), !=, 0);
}

static gchar *
get_only_file (const gchar *of)
{
  g_autoptr (GDir) dir = g_dir_open (of, 0, NULL);
  gchar *path = g_build_filename (of, g_dir_read_name (dir), NULL);

  g_assert_null (g_dir_read_name (dir));
  return path;
}

static void
remove_only_file (const gchar *of)
{
  g_autofree gchar *path = get_only_file (of);

  g_unlink (path);
  g_rmdir (of);
}

static void
check_cached (PtCudnn *cudnn, const PtConvGraph *graph,
    const PtPlanRules *rules, gboolean cached)
{
  g_autoptr (PtPlan) plan = make_plan (cudnn, graph, rules);
  PtPlanRules bare = *rules;
  g_autoptr (PtPlan) fresh = NULL;

  bare.cache = NULL;
  fresh = make_plan (cudnn, graph, &bare);
  g_assert_cmpint (plan->cached, ==, cached);
  g_assert_cmpuint (plan->workspace, ==, fresh->workspace);
  g_assert_cmphex (plan->numerical, ==, fresh->numerical);
  g_assert_cmphex (plan->behavior, ==, fresh->behavior);
}

/* A file that is not whole, or not this key's, is replaced. */
static void
test_cache (void)
{
  g_autoptr (PtCudnn) cudnn = describe (90);
  g_autofree gchar *cache = g_build_filename (folder, "cache", NULL);
  g_autofree gchar *path = NULL;
  g_autofree gchar *text = NULL;
  PtConvGraph graph = get_graph (&layers[2], PT_CONV_DATA, PT_PRECISION_FP32);
  PtPlanRules rules = {.max_workspace = ROOM,.cache = cache };
  gsize size;

  check_cached (cudnn, &graph, &rules, FALSE);
  check_cached (cudnn, &graph, &rules, TRUE);
  path = get_only_file (cache);
  g_file_get_contents (path, &text, &size, NULL);
  for (gsize at = 0; at < size; at += size / 7) {
    text[at] ^= 1;
    g_file_set_contents (path, text, size, NULL);
    text[at] ^= 1;
    check_cached (cudnn, &graph, &rules, FALSE);
    g_file_set_contents (path, text, at, NULL);
    check_cached (cudnn, &graph, &rules, FALSE);
    check_cached (cudnn, &graph, &rules, TRUE);
  }
  g_unlink (path);
  rules.deterministic = TRUE;
  check_cached (cudnn, &graph, &rules, FALSE);
  remove_only_file (cache);
}

/* Whole, but no plan of cuDNN's. */
static void
test_cache_nonsense (void)
{
  g_autoptr (PtCudnn) cudnn = describe (90);
  g_autofree gchar *cache = g_build_filename (folder, "nonsense", NULL);
  g_autofree gchar *path = NULL;
  g_autofree gchar *text = NULL;
  g_autofree gchar *back = NULL;
  g_auto (GStrv) lines = NULL;
  PtConvGraph graph = get_graph (&layers[2], PT_CONV_DATA, PT_PRECISION_FP32);
  PtPlanRules rules = {.max_workspace = ROOM,.cache = cache };

  check_cached (cudnn, &graph, &rules, FALSE);
  path = get_only_file (cache);
  g_file_get_contents (path, &text, NULL, NULL);
  lines = g_strsplit (text, "\n", 3);
  pt_plan_cache_store (cache, lines[1], "{\"what\": 1}");
  back = pt_plan_cache_load (cache, lines[1]);
  g_assert_cmpstr (back, ==, "{\"what\": 1}");
  g_assert_null (pt_plan_cache_load (cache, "another key"));
  check_cached (cudnn, &graph, &rules, FALSE);
  check_cached (cudnn, &graph, &rules, TRUE);
  remove_only_file (cache);
}

static void
test_cache_nowhere (void)
{
  g_autoptr (PtCudnn) cudnn = describe (90);
  g_autofree gchar *file = g_build_filename (folder, "file", NULL);
  g_autofree gchar *cache = g_build_filename (file, "cache", NULL);
  PtConvGraph graph = get_graph (&layers[2], PT_CONV_DATA, PT_PRECISION_FP32);
  PtPlanRules rules = {.max_workspace = ROOM,.cache = cache };

  g_file_set_contents (file, "", 0, NULL);
  check_cached (cudnn, &graph, &rules, FALSE);
  check_cached (cudnn, &graph, &rules, FALSE);
  g_unlink (file);
}

static void
test_environment (void)
{
  g_autoptr (PtCudnn) cudnn = describe (90);
  PtWorkspace workspace = {.deterministic = FALSE };
  g_auto (PtPlanRules) plain = { FALSE, };
  g_auto (PtPlanRules) rules = { FALSE, };

  pt_plan_rules_init (&plain, &workspace, cudnn);
  g_assert_cmpuint (plain.max_workspace, ==, ROOM);
  g_assert_false (plain.timed);
  g_assert_true (g_str_has_prefix (plain.cache, folder));
  g_setenv ("PARTIME_CUDNN_WORKSPACE_MB", "3", TRUE);
  g_setenv ("PARTIME_CUDNN_AUTOTUNE", "1", TRUE);
  pt_plan_rules_init (&rules, &workspace, cudnn);
  g_assert_cmpuint (rules.max_workspace, ==, 3 << 20);
  g_assert_true (rules.timed);
  pt_plan_rules_clear (&rules);
  workspace.deterministic = TRUE;
  pt_plan_rules_init (&rules, &workspace, cudnn);
  g_assert_true (rules.deterministic);
  g_assert_false (rules.timed);
  pt_plan_rules_clear (&rules);
  g_setenv ("PARTIME_CUDNN_WORKSPACE_MB", "much", TRUE);
  g_test_expect_message ("partime", G_LOG_LEVEL_WARNING, "*\"much\"*");
  pt_plan_rules_init (&rules, &workspace, cudnn);
  g_test_assert_expected_messages ();
  g_assert_cmpuint (rules.max_workspace, ==, ROOM);
  g_unsetenv ("PARTIME_CUDNN_WORKSPACE_MB");
  g_unsetenv ("PARTIME_CUDNN_AUTOTUNE");
}

static void
test_errors (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (PtCudnn) cudnn = describe (90);
  PtConvGraph graph = get_graph (&layers[2], PT_CONV_FORWARD,
      PT_PRECISION_FP32);
  PtPlanRules rules = {.max_workspace = ROOM };
  PtPlan *plan;

  g_assert_null (pt_cudnn_new_described ("{\"a\":", "none", 90, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_DEVICE);
  g_assert_nonnull (strstr (error->message, "CUDNN_STATUS"));
  g_clear_error (&error);
  graph.y[2]++;
  g_assert_false (pt_plan_new (cudnn, &graph, &rules, &plan, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_DEVICE);
}

gint
main (gint argc, gchar **argv)
{
  static const gchar *const precisions[] = { "fp32", "tf32", "bf16", "fp16" };
  gint result;

  g_test_init (&argc, &argv, NULL);
  folder = g_dir_make_tmp ("partime-XXXXXX", NULL);
  g_setenv ("XDG_CACHE_HOME", folder, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (precisions); i++) {
    g_autofree gchar *cases = g_strconcat ("/cudnn/cases/", precisions[i],
        NULL);
    g_autofree gchar *large = g_strconcat ("/cudnn/layers/", precisions[i],
        NULL);

    g_test_add_data_func (cases, GUINT_TO_POINTER (i), test_cases);
    g_test_add_data_func (large, GUINT_TO_POINTER (i), test_layers);
  }
  g_test_add_func ("/cudnn/gpus", test_gpus);
  g_test_add_func ("/cudnn/lacks", test_lacks);
  g_test_add_func ("/cudnn/none", test_none);
  g_test_add_func ("/cudnn/choice", test_choice);
  g_test_add_func ("/cudnn/cache", test_cache);
  g_test_add_func ("/cudnn/cache-nonsense", test_cache_nonsense);
  g_test_add_func ("/cudnn/cache-nowhere", test_cache_nowhere);
  g_test_add_func ("/cudnn/environment", test_environment);
  g_test_add_func ("/cudnn/errors", test_errors);
  result = g_test_run ();
  g_assert_cmpint (g_rmdir (folder), ==, 0);
  g_free (folder);
  return result;
}
