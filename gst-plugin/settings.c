/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* From properties to the library. */

#include "gstpartimefilter-private.h"

#include <math.h>

static gboolean
settings_override (PtNetwork *network, const gchar *group, const gchar *key,
    const gchar *value, const gchar *property, GError **error)
{
  if (!value || pt_network_set (network, group, key, value, error))
    return TRUE;
  g_prefix_error (error, "property %s: ", property);
  return FALSE;
}

static const gchar *
settings_name_mode (gint mode)
{
  static const gchar *const words[] = {
    [PT_MODE_OFF] = "off", [PT_MODE_EXACT] = "exact",
    [PT_MODE_PARTIME] = "partime", [PT_MODE_DELAYED] = "delayed",
  };

  return mode == FROM_FILE ? NULL : words[mode];
}

typedef struct
{
  PtNetwork *network;
  GError **error;
} SettingsWalk;

/* One field of the property settings, "group.key". */
static gboolean
settings_apply_field (GQuark field, const GValue *value, gpointer data)
{
  SettingsWalk *walk = data;
  const gchar *name = g_quark_to_string (field);
  const gchar *dot = strrchr (name, '.');
  g_autofree gchar *group = dot ? g_strndup (name, dot - name) : NULL;
  g_auto (GValue) text = G_VALUE_INIT;

  g_value_init (&text, G_TYPE_STRING);
  if (!group || !g_value_transform (value, &text)) {
    g_set_error (walk->error, PT_ERROR, PT_ERROR_CONFIG,
        "property settings: found %s, expected group.key=value, such as "
        "learning.clip-norm=1", name);
    return FALSE;
  }
  return settings_override (walk->network, group, dot + 1,
      g_value_get_string (&text), "settings", walk->error);
}

static gboolean
settings_list_field (GQuark field, const GValue *value, gpointer data)
{
  const gchar *name = g_quark_to_string (field);
  g_auto (GValue) text = G_VALUE_INIT;

  g_value_init (&text, G_TYPE_STRING);
  /* others are refused when they are applied */
  if (g_str_has_prefix (name, "network.") && g_value_transform (value, &text)
      && g_value_get_string (&text)) {
    g_autofree gchar *setting =
        g_strconcat (name, "=", g_value_get_string (&text), NULL);

    g_strv_builder_add (data, setting);
  }
  return TRUE;
}

/* Those of pointers are copies. */
void
gst_partime_settings_copy (const GstPartimeSettings *src,
    GstPartimeSettings *dst)
{
  *dst = *src;
  dst->model = g_strdup (src->model);
  dst->weights = g_strdup (src->weights);
  dst->devices = g_strdup (src->devices);
  dst->stages = g_strdup (src->stages);
  dst->precision = g_strdup (src->precision);
  dst->loss = g_strdup (src->loss);
  dst->optimizer = g_strdup (src->optimizer);
  dst->checkpoint_location = g_strdup (src->checkpoint_location);
  dst->labels_file = g_strdup (src->labels_file);
  dst->stats_location = g_strdup (src->stats_location);
  dst->model_instance_id = g_strdup (src->model_instance_id);
  dst->settings = src->settings ? gst_structure_copy (src->settings) : NULL;
}

/* What the property settings says of [network], as the library takes it: a
 * model can need its input's size before there are layers. */
gchar **
gst_partime_settings_list (const GstPartimeSettings *self)
{
  g_autoptr (GStrvBuilder) list = g_strv_builder_new ();

  if (self->settings)
    gst_structure_foreach (self->settings, settings_list_field, list);
  return g_strv_builder_end (list);
}

/* Puts the properties that were set over what @network's file says; those that
 * also change while it runs follow in gst_partime_filter_apply_live(). */
gboolean
gst_partime_settings_apply (const GstPartimeSettings *s, PtNetwork *network,
    GError **error)
{
  g_autofree gchar *seed = g_strdup_printf ("%" G_GINT64_FORMAT, s->seed);
  SettingsWalk walk = { network, error };

  return (!s->settings
      || gst_structure_foreach (s->settings, settings_apply_field, &walk))
      && settings_override (network, "pipeline", "devices", s->devices,
      "devices", error)
      && settings_override (network, "pipeline", "stages", s->stages,
      "stages", error)
      && settings_override (network, "pipeline", "precision", s->precision,
      "precision", error)
      && settings_override (network, "pipeline", "deterministic",
      s->deterministic ? "true" : NULL, "deterministic", error)
      && settings_override (network, "learning", "mode",
      settings_name_mode (s->learning_mode), "learning-mode",
      error)
      && settings_override (network, "learning", "loss", s->loss, "loss",
      error)
      && settings_override (network, "learning", "optimizer", s->optimizer,
      "optimizer", error)
      && settings_override (network, "learning", "seed",
      s->seed >= 0 ? seed : NULL, "seed", error);
}

static guint
settings_file_interval (PtNetwork *network)
{
  g_autofree gchar *text = pt_network_get (network, "learning", "interval");

  return text ? g_ascii_strtoull (text, NULL, 10) : 1;
}

static PtLearnPolicy
settings_file_policy (PtNetwork *network)
{
  g_autofree gchar *text = pt_network_get (network, "learning", "policy");

  return g_strcmp0 (text, "when-idle") == 0 ? PT_LEARN_WHEN_IDLE
      : PT_LEARN_EVERY;
}

/* What may change while the pipeline runs. */
void
gst_partime_filter_apply_live (GstPartimeFilter *self, GstPartimeModel *model)
{
  GstPartimeSettings s;
  PtStream *stream;
  guint interval;
  PtLearnPolicy policy;

  GST_OBJECT_LOCK (self);
  s = self->settings;
  stream = model->stream;
  GST_OBJECT_UNLOCK (self);
  interval = s.learn_interval > 0 ? s.learn_interval :
      settings_file_interval (model->network);
  policy = s.learn_policy != FROM_FILE ? (PtLearnPolicy) s.learn_policy :
      settings_file_policy (model->network);
  /* one for all who share it: who sets none leaves it */
  if (!model->instance || s.learning_rate >= 0)
    pt_pipeline_set_learning_rate (model->pipeline,
        s.learning_rate >= 0 ? s.learning_rate : NAN);
  if (stream) {
    pt_stream_set_learn (stream, s.learn);
    pt_stream_set_learn_interval (stream, interval);
    pt_stream_set_learn_policy (stream, policy);
  } else {
    pt_pipeline_set_learn (model->pipeline, s.learn);
    pt_pipeline_set_learn_interval (model->pipeline, interval);
    pt_pipeline_set_learn_policy (model->pipeline, policy);
  }
}
