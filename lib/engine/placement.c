/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/pipeline.h"

#include "core/rng.h"
#include "engine/fold.h"

/* [pipeline]: from devices and stages, given or measured, to spans. */

/* How long a measurement runs, and frames it takes at least, the first ones
 * for warming up. */
#define PLACEMENT_TIME (200 * G_GINT64_CONSTANT (1000000))
#define PLACEMENT_WARM_UP 1
#define PLACEMENT_FRAMES 2
#define PLACEMENT_ROUNDS 3

/* A choice whose predicted time is within this of the best is tried out. */
#define PLACEMENT_DOUBT 1.3

/* For a cut between layers that would be one; in ns, more than any other. */
#define PLACEMENT_APART 1e15

typedef struct
{
  PtNetwork *network;
  GPtrArray *given;             /* devices named by the user; NULL: auto */
  PtFold *folds;                /* of the whole network; NULL: it learns */
  GHashTable *costs;            /* "backend/threads" -> gdouble per layer */
} Search;

typedef struct
{
  Search *search;
  GPtrArray *devices;           /* one per stage */
  gdouble per_byte;             /* ns to move a byte between two stages */
} CutCost;

static void
placement_set_spans (PtPlacement *self, const guint *sizes)
{
  guint first = 0;

  self->spans = g_new0 (PtSpan, self->n_stages);
  for (guint i = 0; i < self->n_stages; i++) {
    self->spans[i].first = first;
    self->spans[i].n = sizes[i];
    self->spans[i].device = g_ptr_array_index (self->devices, i);
    first += sizes[i];
  }
}

void
pt_placement_clear (PtPlacement *self)
{
  g_clear_pointer (&self->spans, g_free);
  g_clear_pointer (&self->devices, g_ptr_array_unref);
  self->n_stages = 0;
}

/* The devices of @n stages. Named ones: stage i on device floor (i d / n).
 * Otherwise the cores, shared out: several for each stage, or one for
 * several. */
static GPtrArray *
placement_get_devices (Search *search, guint n, GError **error)
{
  g_autoptr (GPtrArray) devices =
      g_ptr_array_new_with_free_func ((GDestroyNotify) pt_device_unref);
  guint d = search->given != NULL ? search->given->len :
      pt_device_count_cores ();

  for (guint i = 0; i < n; i++) {
    PtDevice *device;
    guint first = i * d / n, end = MAX ((i + 1) * d / n, first + 1);

    if (search->given != NULL)
      device = pt_device_ref (g_ptr_array_index (search->given, first));
    else if (i > 0 && (i - 1) * d / n == first)
      device = pt_device_ref (g_ptr_array_index (devices, i - 1));
    else
      device = pt_device_open_cores (first, end - first, error);
    if (device == NULL)
      return NULL;
    g_ptr_array_add (devices, device);
  }
  return g_steal_pointer (&devices);
}

/* Noise that is the same each time, from 0 to 1: as a target that is fit for
 * every loss. */
static PtTensor *
placement_make_tensor (PtDType dtype, const PtShape *shape, GError **error)
{
  PtTensor *tensor = pt_tensor_new_shaped (dtype, shape, error);

  if (tensor != NULL && dtype == PT_F32)
    pt_rng_fill_uniform (tensor->data, pt_tensor_get_n_elements (tensor), 0,
        1, 0, 0);
  return tensor;
}

/* Takes what is left: then no stage is at work any more. */
static gboolean
placement_drain (PtPipeline *pipeline, GError **error)
{
  PtFlow flow = pt_pipeline_drain (pipeline, error);

  while (flow == PT_FLOW_OK) {
    g_autoptr (PtResult) result = NULL;

    flow = pt_pipeline_pull (pipeline, &result, error);
  }
  return flow == PT_FLOW_DRAINED;
}

/* Runs frames through @pipeline for a while; ns per frame, or 0. */
static gdouble
placement_run (PtPipeline *pipeline, GError **error)
{
  const PtSettings *s = &pipeline->network->settings;
  PtShape shape = PT_SHAPE (s->channels, s->height, s->width);
  g_autoptr (PtTensor) frame = placement_make_tensor (PT_F32, &shape, error);
  g_autoptr (PtTensor) target = NULL;
  guint warm_up = PLACEMENT_WARM_UP + 2 * pipeline->n_stages, n = 0;
  gint64 start = 0, now = 0;

  if (frame == NULL)
    return 0;
  if (pipeline->learning.target == PT_TARGET_LABELS && !(target =
          placement_make_tensor (pipeline->learning.target_dtype,
              &pipeline->learning.target_shape, error)))
    return 0;
  while (n < warm_up + PLACEMENT_FRAMES || now - start < PLACEMENT_TIME) {
    g_autoptr (PtResult) result = NULL;
    PtFlow flow = pt_pipeline_push (pipeline, frame, target, PT_PUSH_TRY,
        error);

    if (flow == PT_FLOW_FULL)
      flow = pt_pipeline_pull (pipeline, &result, error);
    if (flow != PT_FLOW_OK)
      return 0;
    if (result == NULL)
      continue;
    now = pt_clock_now ();
    if (++n == warm_up)
      start = now;
  }
  if (!placement_drain (pipeline, error))
    return 0;
  return (now - start) / (gdouble) (n - warm_up);
}

/**
 * pt_pipeline_measure:
 * @self: a running pipeline that nothing was pushed to
 * @error: return location
 *
 * Runs noise through @self, and learns from it if the settings say so, for a
 * fifth of a second and two frames at least. Waits for it. What was learned is
 * of no use: the pipeline is to be thrown away.
 *
 * Returns: frames per second, 0 with %PT_ERROR_FAILED or another error of
 *   pt_pipeline_push() if a stage failed
 */
gdouble
pt_pipeline_measure (PtPipeline *self, GError **error)
{
  const gdouble time = placement_run (self, error);

  return time > 0 ? 1e9 / time : 0;
}

/* A pipeline on @placement that only measures. */
static PtPipeline *
placement_start_trial (PtNetwork *network, const PtPlacement *placement,
    GError **error)
{
  g_autoptr (PtPipeline) pipeline = pt_pipeline_new (network, error);

  if (pipeline == NULL)
    return NULL;
  pipeline->trial = TRUE;
  pipeline->given = placement;
  pipeline->main.interval = 1;
  pipeline->main.policy = PT_LEARN_EVERY;
  if (!pt_pipeline_start (pipeline, error))
    return NULL;
  return g_steal_pointer (&pipeline);
}

/* ns per layer on one device: forward, backward and its share of the update,
 * by parameters. */
static gdouble *
placement_measure (Search *search, PtDevice *device, GError **error)
{
  PtNetwork *network = search->network;
  guint n = network->n_nodes;
  PtSpan span = { 0, n, device };
  PtPlacement whole = { .n_stages = 1, .spans = &span };
  g_autoptr (PtPipeline) pipeline = placement_start_trial (network, &whole,
      error);
  guint64 total = MAX (pt_network_get_n_parameters (network), 1);
  PtStageStats stats;
  gdouble *costs;

  if (pipeline == NULL || placement_run (pipeline, error) == 0)
    return NULL;
  pt_pipeline_get_stage_stats (pipeline, 0, &stats);
  costs = g_new0 (gdouble, n);
  for (guint k = 0; k < n; k++)
    costs[k] = pipeline->stages[0]->layer_forward[k]
        + pipeline->stages[0]->layer_backward[k] + stats.update
        * (gdouble) pt_layer_count_parameters (network->nodes[k].layer) / total;
  return costs;
}

/* The costs on @device; devices alike are measured once. */
static const gdouble *
placement_get_costs (Search *search, PtDevice *device, GError **error)
{
  gboolean alike = g_str_equal (device->backend->name, "cpu");
  g_autofree gchar *key = g_strdup_printf ("%s/%u", alike ?
      device->backend->name : device->name, device->n_threads);
  gdouble *costs = g_hash_table_lookup (search->costs, key);

  if (costs == NULL && (costs = placement_measure (search, device, error)))
    g_hash_table_insert (search->costs, g_steal_pointer (&key), costs);
  return costs;
}

/* ns per byte that a stage on another core reads: a copy of memory that does
 * not fit the nearest caches. */
static gdouble
placement_measure_copy (PtDevice *device)
{
  PtShape shape = PT_SHAPE (1 << 20);
  g_autoptr (PtTensor) a = pt_device_tensor_new (device, PT_F32, &shape, NULL);
  g_autoptr (PtTensor) b = pt_device_tensor_new (device, PT_F32, &shape, NULL);
  gint64 best = G_MAXINT64;

  if (a == NULL || b == NULL)
    return 0;
  for (guint i = 0; i < 5; i++) {
    gint64 start = pt_clock_now ();

    if (!pt_device_copy (device, a, b, NULL) || !pt_device_wait (device, NULL))
      return 0;
    best = MIN (best, pt_clock_now () - start);
  }
  return best / (gdouble) a->size;
}

static gsize
placement_get_crossing_bytes (PtNetwork *network, guint first)
{
  gsize bytes = 0;

  for (guint k = 0; k < first; k++) {
    gboolean read = FALSE;

    for (guint l = first; l < network->n_nodes && !read; l++)
      for (guint j = 0; j < network->nodes[l].layer->n_inputs; j++)
        read |= network->nodes[l].inputs[j] == (gint) k;
    if (read)
      bytes += pt_shape_get_n_elements (&network->nodes[k].layer->output)
          * sizeof (gfloat);
  }
  return bytes;
}

static gdouble
placement_cost (gpointer data, guint stage, guint first, guint n)
{
  CutCost *cost = data;
  const gdouble *layers = placement_get_costs (cost->search,
      g_ptr_array_index (cost->devices, stage), NULL);
  gdouble sum = first == 0 ? 0 : cost->per_byte
      * placement_get_crossing_bytes (cost->search->network, first);

  for (guint k = first; k < first + n; k++)
    sum += layers[k];
  if (pt_fold_is_absorbed (cost->search->folds, first))
    sum += PLACEMENT_APART;
  return sum;
}

/* The best cut into @n stages by measured times; ns of the slowest stage in
 * @time. */
static gboolean
placement_balance (PtPlacement *self, Search *search, guint n, gdouble *time,
    GError **error)
{
  g_autofree guint *sizes = g_new0 (guint, n);
  CutCost cost = { .search = search };

  *self = (PtPlacement) { .n_stages = n,
    .devices = placement_get_devices (search, n, error) };
  if (self->devices == NULL)
    return FALSE;
  for (guint i = 0; i < n; i++)
    if (n > 1 && placement_get_costs (search,
            g_ptr_array_index (self->devices, i), error) == NULL)
      return FALSE;
  if (n == 1 && time == NULL) {
    sizes[0] = search->network->n_nodes;
    placement_set_spans (self, sizes);
    return TRUE;
  }
  if (placement_get_costs (search, g_ptr_array_index (self->devices, 0),
          error) == NULL)
    return FALSE;
  cost.devices = self->devices;
  cost.per_byte =
      placement_measure_copy (g_ptr_array_index (self->devices, 0));
  *(time != NULL ? time : &(gdouble) { 0 }) =
      pt_balance_cut (search->network->n_nodes, n, placement_cost, &cost,
      sizes);
  placement_set_spans (self, sizes);
  return TRUE;
}

/* ns per frame of the choice as it really runs. */
static gdouble
placement_try (PtNetwork *network, const PtPlacement *placement,
    gdouble *latency, GError **error)
{
  g_autoptr (PtPipeline) pipeline = placement_start_trial (network, placement,
      error);
  gdouble time;

  if (pipeline == NULL)
    return 0;
  time = placement_run (pipeline, error);
  *latency = time * placement->n_stages;
  return time;
}

typedef struct
{
  PtPlacement placement;
  gdouble predicted, time, latency;     /* ns */
} Choice;

static gboolean
placement_try_choices (Search *search, GArray *choices, GError **error)
{
  gdouble best = G_MAXDOUBLE;

  for (guint i = 0; i < choices->len; i++)
    best = MIN (best, g_array_index (choices, Choice, i).predicted);
  for (guint round = 0; round < PLACEMENT_ROUNDS; round++) {
    for (guint i = 0; i < choices->len; i++) {
      Choice *c = &g_array_index (choices, Choice, i);
      gdouble time;

      /* Slow networks are not tried out: the prediction is good there. */
      if (c->predicted > best * PLACEMENT_DOUBT || best > PLACEMENT_TIME) {
        c->time = c->predicted;
        c->latency = c->predicted * c->placement.n_stages;
        continue;
      }
      time = placement_try (search->network, &c->placement, &c->latency,
          error);
      if (time == 0)
        return FALSE;
      c->time = round == 0 ? time : MIN (c->time, time);
    }
  }
  return TRUE;
}

/* The best rate; or among those that keep up with @fps, with a tenth to
 * spare, the lowest latency. */
static guint
placement_choose (GArray *choices, gdouble fps)
{
  gdouble limit = fps > 0 ? 0.9e9 / fps : 0;
  guint best = 0;

  for (guint i = 1; i < choices->len; i++) {
    const Choice *a = &g_array_index (choices, Choice, i);
    const Choice *b = &g_array_index (choices, Choice, best);

    if (a->time <= limit && b->time <= limit ?
        a->latency < b->latency : a->time < b->time)
      best = i;
  }
  return best;
}

static void
choice_clear (gpointer choice)
{
  pt_placement_clear (&((Choice *) choice)->placement);
}

/* stages=auto: depth or width. From one stage that owns everything to as many
 * stages as devices. */
static gboolean
placement_find_best (PtPlacement *self, Search *search, gdouble fps,
    GError **error)
{
  guint d = search->given != NULL ? search->given->len :
      pt_device_count_cores ();
  guint most = MIN (d, search->network->n_nodes), chosen;
  g_autoptr (GArray) choices = g_array_new (FALSE, TRUE, sizeof (Choice));

  g_array_set_clear_func (choices, choice_clear);
  if (most == 1 || search->given != NULL)
    return placement_balance (self, search, most, NULL, error);
  for (guint n = most;; n /= 2) {
    Choice choice = { .predicted = 0 };
    gboolean found = placement_balance (&choice.placement, search, n,
        &choice.predicted, error);

    g_array_append_val (choices, choice);
    if (!found)
      return FALSE;
    if (n == 1)
      break;
  }
  if (!placement_try_choices (search, choices, error))
    return FALSE;
  chosen = placement_choose (choices, fps);
  *self = g_array_index (choices, Choice, chosen).placement;
  g_array_index (choices, Choice, chosen).placement = (PtPlacement) { 0, };
  return TRUE;
}

/* Where learning is off, a cut between layers that would be one moves behind
 * them, if that leaves the next stage something. */
static void
placement_move_cuts (const PtFold *folds, guint *sizes, guint n)
{
  guint first = 0;

  for (guint i = 0; i + 1 < n; i++)
    for (first += sizes[i]; sizes[i + 1] > 1
        && pt_fold_is_absorbed (folds, first); first++) {
      sizes[i]++;
      sizes[i + 1]--;
    }
}

static gboolean
placement_find_given (PtPlacement *self, Search *search, const gchar *text,
    GError **error)
{
  PtNetwork *network = search->network;
  g_autofree gchar *where = g_strdup_printf ("%s: group [pipeline], key "
      "stages", network->origin);
  g_autoptr (GArray) sizes = g_array_new (FALSE, TRUE, sizeof (guint));
  gint64 n;

  if (g_ascii_string_to_signed (text, 10, G_MININT, G_MAXINT, &n, NULL)
      && n != -1) {
    if (n >= 1 && n <= network->n_nodes)
      return placement_balance (self, search, n, NULL, error);
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "%s: found '%s', expected 1 to %u stages: the network has %u layers",
        where, text, network->n_nodes, network->n_nodes);
    return FALSE;
  }
  if (!pt_balance_parse (text, network->n_nodes, where, sizes, error))
    return FALSE;
  placement_move_cuts (search->folds, (guint *) sizes->data, sizes->len);
  *self = (PtPlacement) { .n_stages = sizes->len,
    .devices = placement_get_devices (search, sizes->len, error) };
  if (self->devices == NULL)
    return FALSE;
  placement_set_spans (self, (guint *) sizes->data);
  return TRUE;
}

/* Nothing is folded where something learns. */
static gboolean
placement_find_folds (Search *search, GError **error)
{
  g_autoptr (GPtrArray) devices = placement_get_devices (search, 1, error);
  PtLearning learning;

  if (devices == NULL)
    return FALSE;
  if (pt_learning_init (&learning, search->network, NULL)
      && learning.mode == PT_MODE_OFF)
    search->folds = pt_fold_new_whole (search->network, devices->pdata[0]);
  pt_learning_clear (&learning);
  return TRUE;
}

gboolean
pt_placement_find (PtPlacement *self, PtNetwork *network, gdouble fps,
    GError **error)
{
  const PtSettings *s = &network->settings;
  g_autoptr (GPtrArray) given = NULL;
  g_autoptr (GHashTable) costs = g_hash_table_new_full (g_str_hash,
      g_str_equal, g_free, g_free);
  Search search = { .network = network, .costs = costs };
  gboolean found;

  given = g_str_equal (s->devices, "auto") ?
      pt_device_open_accelerators (error) :
      pt_device_open_list (s->devices, error);
  if (given == NULL) {
    g_prefix_error (error, "%s: group [pipeline], key devices: ",
        network->origin);
    return FALSE;
  }
  search.given = given->len > 0 ? given : NULL;
  if (!placement_find_folds (&search, error))
    return FALSE;
  found = g_str_equal (s->stages, "auto") ?
      placement_find_best (self, &search, fps, error) :
      placement_find_given (self, &search, s->stages, error);
  pt_fold_free (search.folds, network->n_nodes);
  if (!found)
    pt_placement_clear (self);
  return found;
}
