/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/network.h"

#include <math.h>
#include <string.h>

#define CONFIG_MAX_LAYERS 65536
#define CONFIG_MAX_NAME 128

static const gchar *const config_resizes[] =
    { "stretch", "letterbox", "crop", NULL };
static const gchar *const config_modes[] =
    { "off", "exact", "partime", "delayed", NULL };
static const gchar *const config_targets[] =
    { "auto", "input", "next", "pair", "labels", "teacher", NULL };
/* in the order of PtPrecision */
static const gchar *const config_precisions[] =
    { "fp32", "tf32", "bf16", "fp16", NULL };
static const gchar *const config_staleness[] =
    { "auto", "none", "inverse", "sqrt", NULL };
static const gchar *const config_policies[] = { "every", "when-idle", NULL };
static const gchar *const config_kinds[] = { "flow", "image", "heatmap",
  "error", "classes", "segmentation", "detections", "raw", NULL
};

#define FIELD(type, member) \
  PT_PARAM_ ## type, G_STRUCT_OFFSET (PtSettings, member)

static const PtParam config_network[] = {
  {"width", FIELD (INT, width), "0", 0, 65536, NULL, "px; 0: the frames' own"},
  {"height", FIELD (INT, height), "0", 0, 65536, NULL, "px; 0: the frames' own"},
  {"channels", FIELD (INT, channels), "3", 1, 65536, NULL,
      "of a frame: 1 luma, 3 RGB, else tensors only"},
  {"frames", FIELD (INT, frames), "1", 1, 1024, NULL,
      "consecutive frames stacked along channels, newest last"},
  {"mean", FIELD (DOUBLE, mean), "0", -1e6, 1e6, NULL,
      "taken off a pixel, which is 0 to 1"},
  {"std", FIELD (DOUBLE, std), "1", 1e-6, 1e6, NULL,
      "what the rest is divided by"},
  {"resize", FIELD (ENUM, resize), "stretch", 0, 0, config_resizes,
      "how a frame of another size is fitted"},
  {"input-shape", FIELD (STRING, input_shape), "", 0, 0, NULL,
      "of an ONNX model, where it is open, such as 1;3;224;224"},
  {"output", FIELD (STRING, output), "", 0, 0, NULL,
      "layers that are outputs, the main one first, separated by ;: the last "
      "layer; of an ONNX model its outputs' names: all of them"},
  {NULL}
};

static const PtParam config_learning[] = {
  {"mode", FIELD (STRING, mode), "", 0, 0, config_modes,
      "without it: partime if there is a loss, else off"},
  {"loss", FIELD (STRING, loss), "", 0, 0, NULL,
      "kind and options, such as optical-flow smoothness=0.1"},
  {"target", FIELD (STRING, target), "auto", 0, 0, config_targets,
      "what the output is compared with; auto: the loss's own"},
  {"optimizer", FIELD (STRING, optimizer), "adam", 0, 0, NULL,
      "kind and options, such as adam lr=1e-3"},
  {"learning-rate", FIELD (STRING, learning_rate), "", 0, 0, NULL,
      "instead of the optimizer's lr"},
  {"staleness", FIELD (STRING, staleness), "auto", 0, 0, config_staleness,
      "how an old gradient's rate is divided"},
  {"warmup", FIELD (INT, warmup), "-1", -1, G_MAXINT, NULL,
      "learned frames until the full rate; -1: chosen"},
  {"interval", FIELD (INT, interval), "1", 1, G_MAXINT, NULL,
      "every how many frames one learns"},
  {"policy", FIELD (STRING, policy), "every", 0, 0, config_policies,
      "whether a frame learns while the stages lag behind"},
  {"accumulate", FIELD (INT, accumulate), "1", 1, 65536, NULL,
      "gradients whose mean makes one update"},
  {"clip-norm", FIELD (DOUBLE, clip_norm), "0", 0, G_MAXDOUBLE, NULL,
      "most that the norm of a stage's gradient may be; 0: anything"},
  {"orthogonal", FIELD (DOUBLE, orthogonal), "0", 0, 0.9999999, NULL,
      "gradients made orthogonal to their running mean, of which this part "
      "stays; 0: not"},
  {"freeze", FIELD (STRING, freeze), "", 0, 0, NULL,
      "layers that do not learn: names with * and ?, separated by ;"},
  {"schedule", FIELD (STRING, schedule), "constant", 0, 0, NULL,
      "of the learning rate: kind and options, such as step step_size=1000"},
  {"divergence-window", FIELD (INT, divergence_window), "100", 1, 65536, NULL,
      "learned frames whose mean loss is watched"},
  {"divergence-factor", FIELD (DOUBLE, divergence_factor), "10", 0,
      G_MAXDOUBLE, NULL,
      "mean loss over the best at which the last good weights come back; 0: "
      "never"},
  {"divergence-rate", FIELD (DOUBLE, divergence_rate), "0.5", 1e-9, 1, NULL,
      "what the learning rate is multiplied by then"},
  {"replay", FIELD (INT, replay), "0", 0, 1048576, NULL,
      "learned frames kept to be learned from again; 0: none"},
  {"replay-interval", FIELD (INT, replay_interval), "1", 1, G_MAXINT, NULL,
      "every how many learned frames one of the kept is learned again"},
  {"seed", FIELD (UINT64, seed), "0", 0, 0, NULL,
      "of the first weights and of dropout"},
  {NULL}
};

static const PtParam config_pipeline[] = {
  {"devices", FIELD (STRING, devices), "auto", 0, 0, NULL,
      "list of devices, such as cpu:0,cpu:1"},
  {"stages", FIELD (STRING, stages), "auto", 0, 0, NULL,
      "how many, or a cut such as 4,6,-1; auto: measured"},
  {"precision", FIELD (ENUM, precision), "fp32", 0, 0, config_precisions,
      "of products on GPUs; weights, sums and what is kept are fp32"},
  {"deterministic", FIELD (BOOL, deterministic), "false", 0, 0, NULL,
      "GPUs too: the same bits on each run, even where that is slower"},
  {NULL}
};

static const PtParam config_output[] = {
  {"kind", FIELD (STRING, kind), "raw", 0, 0, config_kinds,
      "what the output means, and how it is drawn"},
  {"opacity", FIELD (DOUBLE, opacity), "0.6", 0, 1, NULL,
      "of what is drawn over the frame"},
  {"scale", FIELD (DOUBLE, scale), "0", 0, 1e6, NULL,
      "flow at full colour, px; 0: by the frame"},
  {NULL}
};

#undef FIELD

static const struct
{
  const gchar *group;
  const PtParam *params;
} config_groups[] = {
  {"network", config_network},
  {"learning", config_learning},
  {"pipeline", config_pipeline},
  {"output", config_output},
};

const PtParam *
pt_settings_get_params (const gchar *group)
{
  for (guint i = 0; i < G_N_ELEMENTS (config_groups); i++)
    if (g_str_equal (config_groups[i].group, group))
      return config_groups[i].params;
  return NULL;
}

/**
 * pt_network_describe_settings:
 *
 * Returns: (transfer full): the groups of a network file that are no layers,
 *   with their keys, defaults and ranges, as text for a help page
 */
gchar *
pt_network_describe_settings (void)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (config_groups); i++) {
    g_string_append_printf (text, "[%s]\n", config_groups[i].group);
    pt_params_describe (config_groups[i].params, text);
  }
  return g_string_free (text, FALSE);
}

void
pt_settings_init (PtSettings *self)
{
  for (guint i = 0; i < G_N_ELEMENTS (config_groups); i++)
    pt_params_init (config_groups[i].params, self);
}

void
pt_settings_clear (PtSettings *self)
{
  for (guint i = 0; i < G_N_ELEMENTS (config_groups); i++)
    pt_params_clear (config_groups[i].params, self);
}

/* Into @dst, whose old values are not freed. */
void
pt_settings_copy (const PtSettings *src, PtSettings *dst)
{
  *dst = *src;
  for (guint i = 0; i < G_N_ELEMENTS (config_groups); i++)
    for (const PtParam *p = config_groups[i].params; p->key != NULL; p++)
      if (p->type == PT_PARAM_STRING) {
        gchar **place = (gchar **) ((guint8 *) dst + p->offset);

        *place = g_strdup (*place);
      }
}

static gboolean
config_refuse (GError **error, const gchar *origin, const gchar *group,
    const gchar *key, const gchar *found, const gchar *expected)
{
  g_autofree gchar *quoted = pt_params_quote (found);

  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "%s: group [%s]: key %s: found %s, expected %s", origin, group, key,
      quoted, expected);
  return FALSE;
}

/* The rate is a text because "" has a meaning of its own. */
gboolean
pt_config_check_settings (const PtSettings *settings, const gchar *origin,
    GError **error)
{
  const gchar *rate = settings->learning_rate;
  gchar *end = NULL;
  gdouble number = g_ascii_strtod (rate, &end);

  if (*rate == '\0' || (*end == '\0' && isfinite (number) && number >= 0))
    return TRUE;
  return config_refuse (error, origin, "learning", "learning-rate", rate,
      "a finite number of at least 0");
}

/* One file being read. */
typedef struct
{
  PtNetwork *network;
  GKeyFile *file;
  GHashTable *layers;           /* name -> index + 1, of all of the file */
} Config;

static gboolean
config_check_text (const PtNetwork *self, const gchar *text, gsize length,
    GError **error)
{
  const gchar *end;

  if (length == 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found an empty file, "
        "expected a [network] group and layers", self->origin);
    return FALSE;
  }
  if (!g_utf8_validate (text, length, &end)) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found byte 0x%02x at "
        "offset %" G_GSIZE_FORMAT ", expected a network file of UTF-8 text",
        self->origin, (guchar) *end, (gsize) (end - text));
    return FALSE;
  }
  return TRUE;
}

/* GKeyFile would merge what stands twice without a word. */
static gboolean
config_check_line (const PtNetwork *self, gchar *line, guint number,
    GHashTable *seen, gchar **group, GError **error)
{
  const gsize length = strlen (line);
  g_autofree gchar *quoted = NULL;
  gchar *mark = NULL;

  if (*line == '\0' || *line == '#')
    return TRUE;
  if (*line == '[' && line[length - 1] == ']') {
    g_free (*group);
    *group = g_strndup (line + 1, length - 2);
    if (g_hash_table_add (seen, g_strdup (line)))
      return TRUE;
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: line %u: found group "
        "[%s] a second time, expected it once", self->origin, number, *group);
    return FALSE;
  }
  mark = *line == '[' ? NULL : strchr (line, '=');
  if (mark == NULL || mark == line || *group == NULL) {
    quoted = pt_params_quote (line);
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: line %u: found %s, "
        "expected %s", self->origin, number, quoted,
        *group == NULL ? "a [group] first" : "[group] or key=value");
    return FALSE;
  }
  *mark = '\0';
  g_strchomp (line);
  if (g_hash_table_add (seen, g_strdup_printf ("%s\n%s", *group, line)))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: group [%s]: key %s: "
      "found a second time in line %u, expected it once", self->origin,
      *group, line, number);
  return FALSE;
}

static gboolean
config_check_lines (const PtNetwork *self, const gchar *text, gsize length,
    GError **error)
{
  g_autoptr (GHashTable) seen =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autofree gchar *group = NULL;
  const gchar *at = text, *end = text + length;

  for (guint number = 1; at < end; number++) {
    const gchar *stop = memchr (at, '\n', end - at);
    g_autofree gchar *line = NULL;

    stop = stop != NULL ? stop : end;
    line = g_strstrip (g_strndup (at, stop - at));
    at = stop + 1;
    if (!config_check_line (self, line, number, seen, &group, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
config_set_keys (Config *config, const gchar *group, const gchar *where,
    const PtParam *params, gpointer options, gchar **keys, GError **error)
{
  if (!pt_params_check (params, (const gchar * const *) keys, where, error))
    return FALSE;
  for (guint i = 0; keys[i] != NULL; i++) {
    g_autofree gchar *value =
        g_key_file_get_value (config->file, group, keys[i], NULL);

    if (!pt_params_set (params, options, keys[i], value, where, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
config_read_settings (Config *config, GError **error)
{
  PtNetwork *self = config->network;

  for (guint i = 0; i < G_N_ELEMENTS (config_groups); i++) {
    const gchar *group = config_groups[i].group;
    g_auto (GStrv) keys =
        g_key_file_get_keys (config->file, group, NULL, NULL);
    g_autofree gchar *where =
        g_strdup_printf ("%s: group [%s]", self->origin, group);

    if (keys == NULL && i == 0) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: group [network] is "
          "missing, expected it with width and height", self->origin);
      return FALSE;
    }
    if (keys != NULL && !config_set_keys (config, group, where,
            config_groups[i].params, &self->settings, keys, error))
      return FALSE;
  }
  return pt_config_check_settings (&self->settings, self->origin, error);
}

/* Names become the first part of names of weights, and items of inputs=;
 * "optimizer." and "stream." begin the names of a checkpoint's own tensors. */
static gboolean
config_check_name (const PtNetwork *self, const gchar *name, GError **error)
{
  const gsize length = strlen (name);
  gboolean good = length > 0 && length <= CONFIG_MAX_NAME &&
      !g_str_equal (name, "input") && !g_str_equal (name, "optimizer") &&
      !g_str_equal (name, "stream") && !g_str_has_prefix (name, "stream.") &&
      !g_str_has_prefix (name, "optimizer.");
  g_autofree gchar *quoted = NULL;

  for (const gchar *c = name; *c != '\0' && good; c++)
    good = (guchar) *c > ' ' && *c != 127 && strchr (";,=\"\\#", *c) == NULL;
  if (good)
    return TRUE;
  quoted = pt_params_quote (name);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found a group of name "
      "%s, expected 1 to %d letters, digits, dots or dashes, not input, "
      "optimizer or stream", self->origin, quoted, CONFIG_MAX_NAME);
  return FALSE;
}

static const PtLayerKind *
config_find_kind (Config *config, const gchar *group, GError **error)
{
  g_autofree gchar *text =
      g_key_file_get_value (config->file, group, "type", NULL);
  g_autoptr (GPtrArray) names = g_ptr_array_new ();
  g_autofree gchar *hint = NULL;
  const PtLayerKind *kind = NULL;

  if (text != NULL)
    kind = pt_layer_kind_find (g_strstrip (text));
  if (kind != NULL)
    return kind;
  for (guint i = 0; pt_layer_kinds[i] != NULL; i++)
    g_ptr_array_add (names, (gpointer) pt_layer_kinds[i]->name);
  g_ptr_array_add (names, NULL);
  hint = pt_params_hint (text ? text : "",
      (const gchar * const *) names->pdata);
  if (text != NULL)
    config_refuse (error, config->network->origin, group, "type", text, hint);
  else
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: group [%s]: key type "
        "is missing, expected %s", config->network->origin, group, hint);
  return NULL;
}

/* Adds layer @name as input of layer @index. */
static gboolean
config_add_input (Config *config, guint index, const gchar *name,
    GError **error)
{
  PtNetwork *self = config->network;
  PtNode *node = &self->nodes[index];
  const gint found =
      GPOINTER_TO_INT (g_hash_table_lookup (config->layers, name)) - 1;
  gint input = PT_NETWORK_INPUT;

  if (node->layer->n_inputs == PT_OP_MAX_INPUTS)
    return config_refuse (error, self->origin, node->layer->name, "inputs",
        name, "at most 8 inputs");
  if (!g_str_equal (name, "input")) {
    if (found < 0)
      return config_refuse (error, self->origin, node->layer->name, "inputs",
          name, "input or the name of a layer above: there is no such layer");
    if (found >= (gint) index)
      return config_refuse (error, self->origin, node->layer->name, "inputs",
          name, found == (gint) index ?
          "input or the name of a layer above: it is cyclic, the layer "
          "itself" :
          "input or the name of a layer above: it is cyclic or not above, "
          "the layer comes later");
    input = found;
  }
  node->inputs[node->layer->n_inputs++] = input;
  return TRUE;
}

static gboolean
config_read_inputs (Config *config, guint index, GError **error)
{
  PtNetwork *self = config->network;
  const gchar *group = self->nodes[index].layer->name;
  g_autofree gchar *text =
      g_key_file_get_value (config->file, group, "inputs", NULL);
  g_auto (GStrv) names = NULL;
  guint n;

  if (text == NULL)
    return config_add_input (config, index, index == 0 ? "input" :
        self->nodes[index - 1].layer->name, error);
  names = g_strsplit (text, ";", -1);
  n = g_strv_length (names);
  /* a key file's list may end with its separator */
  if (n > 0 && *g_strstrip (names[n - 1]) == '\0')
    n--;
  if (n == 0)
    return config_refuse (error, self->origin, group, "inputs", text,
        "a list of layers above, separated by ;");
  for (guint i = 0; i < n; i++)
    if (!config_add_input (config, index, g_strstrip (names[i]), error))
      return FALSE;
  return TRUE;
}

/* The keys that are the kind's own. */
static gchar **
config_get_option_keys (Config *config, const gchar *group)
{
  g_auto (GStrv) keys = g_key_file_get_keys (config->file, group, NULL, NULL);
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();

  for (guint i = 0; keys != NULL && keys[i] != NULL; i++)
    if (!g_str_equal (keys[i], "type") && !g_str_equal (keys[i], "inputs"))
      g_strv_builder_add (builder, keys[i]);
  return g_strv_builder_end (builder);
}

static gboolean
config_read_layer (Config *config, const gchar *group, GError **error)
{
  PtNetwork *self = config->network;
  const PtLayerKind *kind;
  PtNode *node = &self->nodes[self->n_nodes];
  g_auto (GStrv) keys = config_get_option_keys (config, group);
  g_autofree gchar *where =
      g_strdup_printf ("%s: group [%s]", self->origin, group);

  kind = config_find_kind (config, group, error);
  if (kind == NULL)
    return FALSE;
  node->layer = pt_layer_new (kind, group);
  self->n_nodes++;
  return config_set_keys (config, group, where, kind->params,
      node->layer->options, keys, error) &&
      config_read_inputs (config, self->n_nodes - 1, error);
}

static gboolean
config_read_layers (Config *config, GError **error)
{
  PtNetwork *self = config->network;
  g_auto (GStrv) groups = g_key_file_get_groups (config->file, NULL);
  guint n = 0;

  for (guint i = 0; groups[i] != NULL; i++)
    if (pt_settings_get_params (groups[i]) == NULL) {
      if (!config_check_name (self, groups[i], error))
        return FALSE;
      g_hash_table_insert (config->layers, groups[i], GINT_TO_POINTER (++n));
    }
  if (n == 0 || n > CONFIG_MAX_LAYERS) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found %u groups that "
        "are layers, expected 1 to %d", self->origin, n, CONFIG_MAX_LAYERS);
    return FALSE;
  }
  self->nodes = g_new0 (PtNode, n);
  for (guint i = 0; groups[i] != NULL; i++)
    if (pt_settings_get_params (groups[i]) == NULL &&
        !config_read_layer (config, groups[i], error))
      return FALSE;
  return pt_network_choose_outputs (self, error);
}

/* Puts the key file @text, checked, into @file. */
static gboolean
config_load (PtNetwork *self, const gchar *text, gsize length, GKeyFile *file,
    GError **error)
{
  g_autoptr (GError) reason = NULL;

  /* some editors begin UTF-8 with a byte-order mark */
  if (length >= 3 && memcmp (text, "\xef\xbb\xbf", 3) == 0) {
    text += 3;
    length -= 3;
  }
  if (!config_check_text (self, text, length, error) ||
      !config_check_lines (self, text, length, error))
    return FALSE;
  if (g_key_file_load_from_data (file, text, length,
          G_KEY_FILE_KEEP_TRANSLATIONS, &reason))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found no key file, "
      "expected groups and key=value lines: %s", self->origin,
      reason->message);
  return FALSE;
}

gboolean
pt_config_parse (PtNetwork *self, const gchar *text, gsize length,
    GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GHashTable) layers = g_hash_table_new (g_str_hash, g_str_equal);
  Config config = { self, file, layers };

  return config_load (self, text, length, file, error) &&
      config_read_settings (&config, error) &&
      config_read_layers (&config, error);
}

gboolean
pt_config_parse_settings (PtNetwork *self, const gchar *text, gsize length,
    GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_auto (GStrv) groups = NULL;

  if (!config_load (self, text, length, file, error))
    return FALSE;
  groups = g_key_file_get_groups (file, NULL);
  for (guint i = 0; groups[i] != NULL; i++) {
    const PtParam *params = pt_settings_get_params (groups[i]);
    g_auto (GStrv) keys = g_key_file_get_keys (file, groups[i], NULL, NULL);
    g_autofree gchar *where =
        g_strdup_printf ("%s: group [%s]", self->origin, groups[i]);

    if (params == NULL) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found a layer's "
          "group, expected only network, learning, pipeline and output: the "
          "layers are in the model", where);
      return FALSE;
    }
    for (guint j = 0; keys[j] != NULL; j++) {
      g_autofree gchar *value =
          g_key_file_get_value (file, groups[i], keys[j], NULL);

      if (!pt_params_set (params, &self->settings, keys[j], value, where,
              error))
        return FALSE;
    }
  }
  return pt_config_check_settings (&self->settings, self->origin, error);
}
