/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/learning.h"

#include <math.h>

static const gchar *const mode_words[] = {
  [PT_MODE_OFF] = "off",
  [PT_MODE_EXACT] = "exact",
  [PT_MODE_PARTIME] = "partime",
  [PT_MODE_DELAYED] = "delayed",
  NULL
};

static const gchar *const target_words[] = {
  [PT_TARGET_AUTO] = "auto",
  [PT_TARGET_INPUT] = "input",
  [PT_TARGET_NEXT] = "next",
  [PT_TARGET_PAIR] = "pair",
  [PT_TARGET_LABELS] = "labels",
  [PT_TARGET_TEACHER] = "teacher",
  NULL
};

static const gchar *const staleness_words[] = {
  [PT_STALENESS_AUTO] = "auto",
  [PT_STALENESS_NONE] = "none",
  [PT_STALENESS_SQRT] = "sqrt",
  [PT_STALENESS_INVERSE] = "inverse",
  NULL
};

static const gchar *const policy_words[] = {
  [PT_LEARN_EVERY] = "every",
  [PT_LEARN_WHEN_IDLE] = "when-idle",
  NULL
};

const gchar *
pt_mode_get_name (PtMode mode)
{
  return mode_words[mode];
}

/* Finds @text among @words; -1 with an error that lists them. */
static gint
learning_find_word (PtNetwork *network, const gchar *key, const gchar *text,
    const gchar *const *words, GError **error)
{
  g_autofree gchar *all = NULL;

  for (gint i = 0; words[i] != NULL; i++)
    if (g_str_equal (words[i], text))
      return i;
  all = g_strjoinv (", ", (gchar **) words);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "%s: group [learning], key %s: '%s' is unknown, expected one of %s",
      network->origin, key, text, all);
  return -1;
}

static gboolean
learning_parse_rate (PtLearning *self, PtNetwork *network, GError **error)
{
  const gchar *text = network->settings.learning_rate;
  gchar *end;

  self->rate = pt_optimizer_get_learning_rate (self->optimizer);
  if (text[0] == '\0')
    return TRUE;
  self->rate = g_ascii_strtod (text, &end);
  if (end == text || *end != '\0' || !isfinite (self->rate) || self->rate < 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "%s: group [learning], key learning-rate: found '%s', expected a "
        "number of at least 0", network->origin, text);
    return FALSE;
  }
  return TRUE;
}

/* The target that the loss compares the output with, and its shape. */
static gboolean
learning_set_target (PtLearning *self, PtNetwork *network, GError **error)
{
  const PtSettings *settings = &network->settings;
  const PtShape *output = pt_network_get_output_shape (network);
  gboolean classes = self->loss->kind->classes;

  if (self->target == PT_TARGET_AUTO)
    self->target = self->loss->kind->target;
  self->target_dtype = PT_F32;
  self->target_shape = PT_SHAPE (1, settings->channels, settings->height,
      settings->width);
  if (self->target == PT_TARGET_PAIR)
    self->target_shape.dims[1] *= 2;
  if (self->target == PT_TARGET_LABELS)
    self->target_shape = *output;
  if (classes && self->target != PT_TARGET_LABELS) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "%s: group [learning], key target: found '%s', but %s learns "
        "from target=labels or teacher", network->origin,
        target_words[self->target], self->loss->kind->name);
    return FALSE;
  }
  if (classes) {
    self->target_dtype = PT_I32;
    self->target_shape = output->n_dims == 4 ?
        PT_SHAPE (1, output->dims[2], output->dims[3]) : PT_SHAPE (1);
  }
  return TRUE;
}

static gboolean
learning_parse_loss (PtLearning *self, PtNetwork *network, GError **error)
{
  const PtSettings *settings = &network->settings;

  if (settings->loss[0] == '\0') {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "%s: group [learning], key loss: nothing is set, expected a loss to "
        "learn with in mode %s (or mode=off)", network->origin,
        pt_mode_get_name (self->mode));
    return FALSE;
  }
  self->loss = pt_loss_new (settings->loss, error);
  if (self->loss == NULL) {
    g_prefix_error (error, "%s: group [learning], key loss: ",
        network->origin);
    return FALSE;
  }
  self->optimizer = pt_optimizer_new (settings->optimizer, error);
  if (self->optimizer == NULL) {
    g_prefix_error (error, "%s: group [learning], key optimizer: ",
        network->origin);
    return FALSE;
  }
  return TRUE;
}

/* Which layers freeze= names. */
static gboolean
learning_freeze (PtLearning *self, PtNetwork *network, const gchar *pattern,
    GError **error)
{
  gboolean found = FALSE;

  for (guint k = 0; k < network->n_nodes; k++) {
    if (!g_pattern_match_simple (pattern, network->nodes[k].layer->name))
      continue;
    found = TRUE;
    self->scales[k] = 0;
  }
  if (!found)
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "%s: group [learning], key freeze: found '%s', which is the name of "
        "no layer, expected names of layers, with * and ?", network->origin,
        pattern);
  return found;
}

static gboolean
learning_parse_scales (PtLearning *self, PtNetwork *network, GError **error)
{
  g_auto (GStrv) patterns = g_strsplit_set (network->settings.freeze, ";,",
      -1);

  self->scales = g_new0 (gdouble, network->n_nodes);
  for (guint k = 0; k < network->n_nodes; k++)
    self->scales[k] = network->nodes[k].layer->lr_scale;
  for (guint i = 0; patterns[i] != NULL; i++)
    if (*g_strstrip (patterns[i]) != '\0'
        && !learning_freeze (self, network, patterns[i], error))
      return FALSE;
  for (guint k = 0; k < network->n_nodes; k++)
    if (pt_learning_learns (self, network, k))
      return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "%s: group [learning], key freeze: found '%s', which with lr_scale=0 "
      "leaves no layer with weights to learn, expected some, or mode=off",
      network->origin, network->settings.freeze);
  return FALSE;
}

static gboolean
learning_parse_policy (PtLearning *self, PtNetwork *network, GError **error)
{
  const PtSettings *settings = &network->settings;
  g_autofree gchar *where = g_strdup_printf ("%s: group [learning], key "
      "schedule", network->origin);

  self->accumulate = settings->accumulate;
  self->clip_norm = settings->clip_norm;
  self->orthogonal = settings->orthogonal;
  self->divergence_window = settings->divergence_window;
  self->divergence_factor = settings->divergence_factor;
  self->divergence_rate = settings->divergence_rate;
  self->replay = settings->replay;
  self->replay_interval = settings->replay_interval;
  return pt_schedule_parse (&self->schedule, settings->schedule, where, error)
      && learning_parse_scales (self, network, error);
}

/* Reads @network's settings into @self, which the caller clears in any case.
 * PT_ERROR_CONFIG names file, group, key, found and expected. */
gboolean
pt_learning_init (PtLearning *self, PtNetwork *network, GError **error)
{
  const PtSettings *settings = &network->settings;
  const gchar *mode_text = settings->mode;
  gint mode, target, staleness, policy;

  *self = (PtLearning) { .interval = MAX (settings->interval, 1),
    .seed = settings->seed };
  if (mode_text[0] == '\0')
    mode_text = settings->loss[0] != '\0' ? "partime" : "off";
  mode = learning_find_word (network, "mode", mode_text, mode_words, error);
  if (mode < 0)
    return FALSE;
  target = learning_find_word (network, "target", settings->target,
      target_words, error);
  if (target < 0)
    return FALSE;
  staleness = learning_find_word (network, "staleness", settings->staleness,
      staleness_words, error);
  if (staleness < 0)
    return FALSE;
  policy = learning_find_word (network, "policy", settings->policy,
      policy_words, error);
  if (policy < 0)
    return FALSE;
  self->mode = mode;
  self->teacher = target == PT_TARGET_TEACHER;
  self->target = self->teacher ? PT_TARGET_LABELS : target;
  self->staleness = staleness;
  self->policy = policy;
  if (self->mode == PT_MODE_OFF)
    return TRUE;
  return learning_parse_loss (self, network, error)
      && learning_parse_rate (self, network, error)
      && learning_parse_policy (self, network, error)
      && learning_set_target (self, network, error);
}

void
pt_learning_get_target_info (const PtLearning *self, const PtShape *output,
    PtTargetInfo *info)
{
  const PtLossKind *kind = self->loss->kind;
  PtOpDesc desc = {.x = *output,.y = self->target_shape };

  *info = (PtTargetInfo) { .loss = kind->name, .teacher = self->teacher,
    .dtype = self->target_dtype, .shape = self->target_shape };
  if (self->target_dtype == PT_F32)
    return;
  info->n_classes = pt_shape_c (output);
  if (kind->describe (self->loss, output, &self->target_shape, &desc, NULL))
    info->ignore_index = desc.cross_entropy.ignore_index;
}

void
pt_learning_clear (PtLearning *self)
{
  g_clear_pointer (&self->loss, pt_loss_unref);
  g_clear_pointer (&self->optimizer, pt_optimizer_unref);
  g_clear_pointer (&self->scales, g_free);
}

/* Fills in what depends on the cut: with one stage nothing is late, and all
 * modes agree. */
void
pt_learning_settle (PtLearning *self, guint n_stages, gint warmup)
{
  if (self->staleness == PT_STALENESS_AUTO)
    self->staleness = self->mode == PT_MODE_PARTIME ?
        PT_STALENESS_INVERSE : PT_STALENESS_NONE;
  if (warmup < 0)
    warmup = n_stages > 1 && self->staleness != PT_STALENESS_NONE
        && self->mode != PT_MODE_EXACT ? 100 : 0;
  self->warmup = warmup;
}

gboolean
pt_learning_learns (const PtLearning *self, const PtNetwork *network,
    guint node)
{
  const PtLayer *layer = network->nodes[node].layer;

  if (self->scales == NULL || self->scales[node] == 0)
    return FALSE;
  for (guint i = 0; i < layer->n_weights; i++)
    if (layer->weights[i].learned)
      return TRUE;
  return FALSE;
}

guint
pt_learning_get_token_delay (const PtLearning *self)
{
  return self->mode == PT_MODE_EXACT ? 0 : 2;
}

/* Frames by which the gradient that reaches @stage is old. */
guint
pt_learning_get_age (const PtLearning *self, guint stage, guint n_stages)
{
  if (self->mode == PT_MODE_OFF)
    return 0;
  return pt_learning_get_token_delay (self) * (n_stages - 1 - stage);
}

/* The schedule's rate / (1 + age), or its root, times
 * min (1, (updates + 1) / warmup). */
gdouble
pt_learning_get_rate (const PtLearning *self, gdouble base, guint age,
    guint64 updates)
{
  gdouble rate = pt_schedule_get_rate (&self->schedule, base, updates);

  if (self->staleness == PT_STALENESS_INVERSE)
    rate /= 1.0 + age;
  else if (self->staleness == PT_STALENESS_SQRT)
    rate /= sqrt (1.0 + age);
  if (updates < self->warmup)
    rate *= (updates + 1.0) / self->warmup;
  return rate;
}
