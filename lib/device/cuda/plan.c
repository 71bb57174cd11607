/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/cudnn.h"

#include <string.h>

#include "device/cuda/plan-cache.h"
#include "partime/error.h"

#define PLAN_WORKSPACE_MB 256
#define PLAN_TRIED 6
#define PLAN_MAX_NOTES 32

#define NUMERICAL(name) (1u << CUDNN_NUMERICAL_NOTE_##name)
#define BEHAVIOR(name) (1u << CUDNN_BEHAVIOR_NOTE_##name)

void
pt_plan_rules_init (PtPlanRules *rules, const PtWorkspace *workspace,
    const PtCudnn *cudnn)
{
  const gchar *room = g_getenv ("PARTIME_CUDNN_WORKSPACE_MB");
  const gchar *timed = g_getenv ("PARTIME_CUDNN_AUTOTUNE");
  guint64 mb = PLAN_WORKSPACE_MB;

  if (room != NULL && !g_ascii_string_to_unsigned (room, 10, 0, 1 << 20, &mb,
          NULL))
    g_warning ("PARTIME_CUDNN_WORKSPACE_MB: found \"%s\", expected a number "
        "of MiB; it stays %d", room, PLAN_WORKSPACE_MB);
  *rules = (PtPlanRules) {
    .deterministic = workspace->deterministic,
    .max_workspace = (gsize) mb << 20,
    /* which is the fastest may be another one the next time */
    .timed = g_strcmp0 (timed, "1") == 0 && !workspace->deterministic,
    .cache = pt_plan_cache_folder (cudnnGetVersion (), cudnn->gpu),
  };
}

void
pt_plan_rules_clear (PtPlanRules *rules)
{
  g_clear_pointer (&rules->cache, g_free);
}

/* Notes of engines that do not give what was asked for. */
static guint32
plan_refused_notes (const PtConvGraph *graph, const PtPlanRules *rules)
{
  guint32 refused = NUMERICAL (REDUCED_PRECISION_REDUCTION);

  if (graph->precision == PT_PRECISION_FP32)
    /* of TF32 otherwise; and the transforms of large tiles cost digits */
    refused |= NUMERICAL (TENSOR_CORE) | NUMERICAL (DOWN_CONVERT_INPUTS) |
        NUMERICAL (WINOGRAD_TILE_6x6) | NUMERICAL (WINOGRAD_TILE_13x13);
  if (rules->deterministic)
    refused |= NUMERICAL (NONDETERMINISTIC);
  return refused;
}

/* What is compiled when first used takes seconds, and our own kernels are
 * there for what is left. */
static gboolean
plan_obeys (const PtPlan *self, const PtPlanRules *rules)
{
  return (self->numerical & plan_refused_notes (&self->graph, rules)) == 0 &&
      (self->behavior & (BEHAVIOR (RUNTIME_COMPILATION) |
          BEHAVIOR (REQUIRES_FILTER_INT8x32_REORDER) |
          BEHAVIOR (REQUIRES_BIAS_INT8x32_REORDER))) == 0 &&
      self->workspace <= rules->max_workspace;
}

/* The bits of an engine's notes, which are enumerations of 32 bits. */
static guint32
plan_read_notes (cudnnBackendDescriptor_t engine,
    cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type)
{
  gint32 notes[PLAN_MAX_NOTES];
  gint64 n = 0;
  guint32 bits = 0;

  if (cudnnBackendGetAttribute (engine, name, type, PLAN_MAX_NOTES, &n, notes)
      != CUDNN_STATUS_SUCCESS)
    return 0;
  for (gint64 i = 0; i < MIN (n, PLAN_MAX_NOTES); i++)
    bits |= 1u << notes[i];
  return bits;
}

static void
plan_read_config (PtPlan *self, cudnnBackendDescriptor_t config)
{
  cudnnBackendDescriptor_t engine = pt_descriptors_add (self->descriptors,
      CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  gint64 n;

  if (cudnnBackendGetAttribute (config, CUDNN_ATTR_ENGINECFG_ENGINE,
          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine)
      != CUDNN_STATUS_SUCCESS)
    return;
  self->numerical = plan_read_notes (engine,
      CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
  self->behavior = plan_read_notes (engine,
      CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE);
}

static PtPlan *
plan_alloc (const PtConvGraph *graph)
{
  PtPlan *self = g_new0 (PtPlan, 1);

  self->graph = *graph;
  self->descriptors = pt_descriptors_new ();
  return self;
}

/* Makes the plan of what one attribute tells. */
static gboolean
plan_finalize (PtPlan *self, PtCudnn *cudnn, cudnnBackendAttributeName_t name,
    cudnnBackendAttributeType_t type, gint64 n, gconstpointer values)
{
  PtDescriptors *all = self->descriptors;
  gint64 count, bytes = 0;

  self->plan = pt_descriptors_add (all,
      CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  pt_descriptors_set (all, self->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &cudnn->properties);
  pt_descriptors_set (all, self->plan, name, type, n, values);
  pt_descriptors_finalize (all, self->plan);
  if (all->status != CUDNN_STATUS_SUCCESS ||
      cudnnBackendGetAttribute (self->plan,
          CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
          &count, &bytes) != CUDNN_STATUS_SUCCESS)
    return FALSE;
  self->workspace = bytes;
  return TRUE;
}

PtPlan *
pt_plan_new_config (PtCudnn *cudnn, const PtConvGraph *graph,
    cudnnBackendDescriptor_t config)
{
  g_autoptr (PtPlan) self = plan_alloc (graph);

  plan_read_config (self, config);
  if (!plan_finalize (self, cudnn, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config))
    return NULL;
  return g_steal_pointer (&self);
}

static gchar *
plan_print (const PtPlan *self)
{
  g_autofree gchar *text = NULL;
  gint64 n = 0;

  if (cudnnBackendGetAttribute (self->plan,
          CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0,
          &n, NULL) != CUDNN_STATUS_SUCCESS || n <= 0)
    return NULL;
  text = g_malloc0 (n + 1);
  if (cudnnBackendGetAttribute (self->plan,
          CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, n,
          &n, text) != CUDNN_STATUS_SUCCESS)
    return NULL;
  return g_steal_pointer (&text);
}

static PtPlan *
plan_parse (PtCudnn *cudnn, const PtConvGraph *graph, const gchar *text)
{
  g_autoptr (PtPlan) self = plan_alloc (graph);
  cudnnBackendDescriptor_t config = pt_descriptors_add (self->descriptors,
      CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  gint64 n;

  if (!plan_finalize (self, cudnn,
          CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
          strlen (text), text) ||
      cudnnBackendGetAttribute (self->plan,
          CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &config)
      != CUDNN_STATUS_SUCCESS)
    return NULL;
  plan_read_config (self, config);
  self->cached = TRUE;
  return g_steal_pointer (&self);
}

/* Descriptors of the engines that @mode of cuDNN's heuristics proposes, best
 * first. */
static GPtrArray *
plan_propose (PtCudnn *cudnn, PtDescriptors *all,
    cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode)
{
  cudnnBackendDescriptor_t heuristics = pt_descriptors_add (all,
      CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  GPtrArray *configs = g_ptr_array_new ();
  gint64 n = 0;

  PT_DESCRIPTORS_SET (all, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, graph);
  PT_DESCRIPTORS_SET (all, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE,
      CUDNN_TYPE_HEUR_MODE, mode);
  PT_DESCRIPTORS_SET (all, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, cudnn->properties);
  pt_descriptors_finalize (all, heuristics);
  if (all->status != CUDNN_STATUS_SUCCESS)
    return configs;
  cudnnBackendGetAttribute (heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &n, NULL);
  for (gint64 i = 0; i < n; i++)
    g_ptr_array_add (configs, pt_descriptors_add (all,
            CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
  if (cudnnBackendGetAttribute (heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
          CUDNN_TYPE_BACKEND_DESCRIPTOR, n, &n, configs->pdata)
      != CUDNN_STATUS_SUCCESS)
    n = 0;
  g_ptr_array_set_size (configs, n);
  return configs;
}

/* Adds plans that obey to @plans until there are @wanted. */
static void
plan_collect (PtCudnn *cudnn, const PtConvGraph *graph,
    const PtPlanRules *rules, const GPtrArray *configs, guint wanted,
    GPtrArray *plans)
{
  for (guint i = 0; i < configs->len && plans->len < wanted; i++) {
    g_autoptr (PtPlan) plan = pt_plan_new_config (cudnn, graph,
        g_ptr_array_index (configs, i));

    if (plan != NULL && plan_obeys (plan, rules))
      g_ptr_array_add (plans, g_steal_pointer (&plan));
  }
}

static void
plan_destroy (gpointer plan)
{
  pt_plan_free (plan);
}

static gboolean
plan_search (PtCudnn *cudnn, const PtConvGraph *graph,
    const PtPlanRules *rules, PtPlan **plan, GError **error)
{
  static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A,
    CUDNN_HEUR_MODE_FALLBACK
  };
  g_autoptr (PtDescriptors) all = pt_descriptors_new ();
  g_autoptr (GPtrArray) plans = g_ptr_array_new_with_free_func (plan_destroy);
  cudnnBackendDescriptor_t built = pt_conv_graph_build (graph, all);
  guint wanted = rules->timed ? PLAN_TRIED : 1, best;

  for (guint i = 0; i < G_N_ELEMENTS (modes) && plans->len == 0; i++) {
    g_autoptr (GPtrArray) configs = plan_propose (cudnn, all, built,
        modes[i]);

    plan_collect (cudnn, graph, rules, configs, wanted, plans);
  }
  if (plans->len == 0)
    return CUDNN_STATUS_CATEGORY (all->status) == CUDNN_STATUS_NOT_SUPPORTED
        || pt_descriptors_check (all, "planning", error);
  best = plans->len > 1 ? pt_plan_time (cudnn, plans) : 0;
  *plan = g_ptr_array_steal_index (plans, best);
  return TRUE;
}

/* All that a choice depends on, but for cuDNN and the GPU. */
static gchar *
plan_print_key (const PtConvGraph *graph, const PtPlanRules *rules)
{
  g_autofree gchar *text = pt_conv_graph_print (graph);

  return g_strdup_printf ("%s%s%s, at most %" G_GSIZE_FORMAT " bytes", text,
      rules->deterministic ? ", deterministic" : "",
      rules->timed ? ", timed" : "", rules->max_workspace);
}

static PtPlan *
plan_load (PtCudnn *cudnn, const PtConvGraph *graph, const PtPlanRules *rules,
    const gchar *key)
{
  g_autofree gchar *text = pt_plan_cache_load (rules->cache, key);
  g_autoptr (PtPlan) plan = NULL;

  if (text != NULL)
    plan = plan_parse (cudnn, graph, text);
  return plan != NULL && plan_obeys (plan, rules) ? g_steal_pointer (&plan) :
      NULL;
}

static gboolean
plan_check_precision (const PtCudnn *cudnn, PtPrecision precision,
    GError **error)
{
  const gchar *name = precision == PT_PRECISION_BF16 ? "bf16" : "TF32";

  if (cudnn->capability >= 80 || (precision != PT_PRECISION_BF16 &&
          precision != PT_PRECISION_TF32))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "GPU %s (sm_%u) has no "
      "%s, expected precision fp32 or fp16, or a GPU from sm_80 on",
      cudnn->gpu, cudnn->capability, name);
  return FALSE;
}

gboolean
pt_plan_new (PtCudnn *cudnn, const PtConvGraph *graph,
    const PtPlanRules *rules, PtPlan **plan, GError **error)
{
  g_autofree gchar *key = plan_print_key (graph, rules);
  g_autofree gchar *text = NULL;

  *plan = NULL;
  if (!plan_check_precision (cudnn, graph->precision, error))
    return FALSE;
  if (rules->cache != NULL)
    *plan = plan_load (cudnn, graph, rules, key);
  if (*plan != NULL)
    return TRUE;
  if (!plan_search (cudnn, graph, rules, plan, error))
    return FALSE;
  if (*plan != NULL && rules->cache != NULL &&
      (text = plan_print (*plan)) != NULL)
    pt_plan_cache_store (rules->cache, key, text);
  return TRUE;
}

void
pt_plan_free (PtPlan *self)
{
  for (guint i = 0; i < PT_PLAN_PACKS; i++)
    if (self->packs[i].descriptor != NULL)
      cudnnBackendDestroyDescriptor (self->packs[i].descriptor);
  pt_descriptors_free (self->descriptors);
  g_free (self);
}
