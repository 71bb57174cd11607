/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/darknet.h"

#include <string.h>

/* A section as groups of a network file. Layers are called by what they do
 * and by darknet's own number, which routes count with. */

typedef gboolean (*DarknetFunc) (Darknet *self, GError **error);

void
pt_darknet_put (Darknet *self, const gchar *name, gint64 c, gint64 h, gint64 w)
{
  DarknetOutput output = { g_strdup (name), c, h, w };

  g_array_append_val (self->outputs, output);
}

/* -- keys -- */

gboolean
pt_darknet_get_int (const Darknet *self, const gchar *name, gint missing,
    gint least, gint *value, GError **error)
{
  const DarknetKey *key = pt_darknet_find (self->section, name);
  g_autofree gchar *quoted = NULL;
  gint64 number;

  *value = missing;
  if (key == NULL)
    return TRUE;
  if (g_ascii_string_to_signed (key->value, 10, least, DARKNET_MAX_INT,
          &number, NULL)) {
    *value = number;
    return TRUE;
  }
  quoted = pt_params_quote (key->value);
  return pt_darknet_fail (self->path, self->section, key->line, error,
      "key %s: found %s, expected a whole number from %d to %d", name, quoted,
      least, DARKNET_MAX_INT);
}

/* Keys that change what a layer computes are known, or refused; @known is
 * between spaces. */
static gboolean
darknet_check_keys (const Darknet *self, const gchar *known, GError **error)
{
  for (guint i = 0; i < self->section->keys->len; i++) {
    const DarknetKey *key =
        &g_array_index (self->section->keys, DarknetKey, i);
    g_autofree gchar *word = g_strconcat (" ", key->key, " ", NULL);
    g_autofree gchar *quoted = pt_params_quote (key->key);

    if (strstr (known, word) == NULL)
      return pt_darknet_fail (self->path, self->section, key->line, error,
          "found key %s, expected of%s", quoted, known);
  }
  return TRUE;
}

/* Keys of which only the one value can be had here. */
static gboolean
darknet_need (const Darknet *self, const gchar *name, gint only,
    GError **error)
{
  const DarknetKey *key = pt_darknet_find (self->section, name);
  gint value;

  if (!pt_darknet_get_int (self, name, only, 0, &value, error))
    return FALSE;
  return value == only || pt_darknet_fail (self->path, self->section,
      key->line, error, "key %s: found %d, expected %d", name, value, only);
}

/* -- groups -- */

/* Begins a group of that type, called by @stem and the section's number. */
gchar *
pt_darknet_add (Darknet *self, const gchar *stem, const gchar *type,
    const gchar *inputs)
{
  gchar *name = g_strdup_printf ("%s%u", stem, self->index);

  g_string_append_printf (self->text, "\n[%s]\ntype=%s\n", name, type);
  if (inputs != NULL)
    g_string_append_printf (self->text, "inputs=%s\n", inputs);
  self->n_layers++;
  return name;
}

/* activation= of the layer at the end of the text, or a layer of its own;
 * @name is then that one's. */
static gboolean
darknet_activate (Darknet *self, const gchar *type, gchar **name,
    GError **error)
{
  static const gchar *const words[][2] = { {"linear", "none"},
    {"logistic", "sigmoid"}, {"relu", "relu"}, {"leaky", "leaky-relu"},
    {"tanh", "tanh"}, {"swish", "silu"}, {"mish", "mish"}, {"elu", "elu"}
  };
  /* darknet's default of layers that learn */
  const DarknetKey *key = pt_darknet_find (self->section, "activation");
  const gchar *found = key != NULL ? key->value :
      g_str_equal (type, "add") ? "linear" : "logistic", *word = NULL;
  const PtLayerKind *kind = pt_layer_kind_find (type);
  const PtParam *option = pt_params_find (kind->params, "activation");
  g_autofree gchar *quoted = pt_params_quote (found);
  gboolean fused;

  for (guint i = 0; i < G_N_ELEMENTS (words); i++)
    if (strcmp (words[i][0], found) == 0)
      word = words[i][1];
  if (g_strcmp0 (word, "none") == 0)
    return TRUE;
  fused = word != NULL && option != NULL &&
      g_strv_contains (option->words, word);
  if (word == NULL || (!fused && pt_layer_kind_find (word) == NULL))
    return pt_darknet_fail (self->path, self->section, key->line, error,
        "key activation: found %s, expected linear, leaky, relu, logistic, "
        "tanh, swish, mish or elu, as far as there is such a layer", quoted);
  if (fused)
    g_string_append_printf (self->text, "activation=%s\n", word);
  else {
    g_free (*name);
    *name = pt_darknet_add (self, "act", word, NULL);
  }
  if (g_str_equal (word, "leaky-relu"))
    g_string_append (self->text, "negative_slope=0.1\n");
  return TRUE;
}

/* -- sections -- */

static gboolean
darknet_convolutional (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  gint filters, size, stride, pad, padding, groups, norm;
  DarknetWeights weights = {.norm = -1 };
  g_autofree gchar *name = NULL;
  gint64 h, w;

  if (!darknet_check_keys (self, " activation batch_normalize binary dilation "
          "filters flipped groups pad padding size stopbackward stride xnor ",
          error) || !darknet_need (self, "binary", 0, error) ||
      !darknet_need (self, "xnor", 0, error) ||
      !darknet_need (self, "flipped", 0, error) ||
      !darknet_need (self, "dilation", 1, error) ||
      !pt_darknet_get_int (self, "filters", 1, 1, &filters, error) ||
      !pt_darknet_get_int (self, "size", 1, 1, &size, error) ||
      !pt_darknet_get_int (self, "stride", 1, 1, &stride, error) ||
      !pt_darknet_get_int (self, "pad", 0, 0, &pad, error) ||
      !pt_darknet_get_int (self, "padding", 0, 0, &padding, error) ||
      !pt_darknet_get_int (self, "groups", 1, 1, &groups, error) ||
      !pt_darknet_get_int (self, "batch_normalize", 0, 0, &norm, error))
    return FALSE;
  padding = pad ? size / 2 : padding;
  h = (x.h + 2 * padding - size) / stride + 1;
  w = (x.w + 2 * padding - size) / stride + 1;
  weights.layer = self->n_layers;
  name = pt_darknet_add (self, "conv", "conv2d", x.name);
  g_string_append_printf (self->text, "filters=%d\nkernel=%d\nstride=%d\n"
      "padding=%d\ngroups=%d\n%s", filters, size, stride, padding,
      groups, norm ? "bias=false\n" : "");
  if (norm) {
    weights.norm = self->n_layers;
    g_free (name);
    name = pt_darknet_add (self, "norm", "batch-norm", NULL);
    g_string_append (self->text, "statistics=running\neps=1e-12\n");
  }
  g_array_append_val (self->weights, weights);
  if (!darknet_activate (self, norm ? "batch-norm" : "conv2d", &name, error))
    return FALSE;
  pt_darknet_put (self, name, filters, h, w);
  return TRUE;
}

static gboolean
darknet_connected (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  DarknetWeights weights = {.norm = -1 };
  g_autofree gchar *name = NULL;
  gint units, norm;

  if (!darknet_check_keys (self, " activation batch_normalize output "
          "stopbackward ", error) ||
      !pt_darknet_get_int (self, "output", 1, 1, &units, error) ||
      !pt_darknet_get_int (self, "batch_normalize", 0, 0, &norm, error))
    return FALSE;
  name = pt_darknet_add (self, "flat", "flatten", x.name);
  g_free (name);
  weights.layer = self->n_layers;
  weights.folded = norm != 0;
  name = pt_darknet_add (self, "linear", "linear", NULL);
  g_string_append_printf (self->text, "units=%d\n", units);
  g_array_append_val (self->weights, weights);
  if (norm)
    g_string_append_printf (self->notes, "%s: batch_normalize has become part "
        "of its weights\n", name);
  if (!darknet_activate (self, "linear", &name, error))
    return FALSE;
  pt_darknet_put (self, name, units, 1, 1);
  return TRUE;
}

/* Windows begin padding / 2 before the picture, and there are
 * (size + padding - kernel) / stride + 1 of them. */
static gint64
darknet_window (gint64 size, gint kernel, gint stride, gint padding,
    gint64 *begin, gint64 *end)
{
  const gint64 n = (size + padding - kernel) / stride + 1;

  *begin = padding / 2;
  *end = MAX ((n - 1) * stride + kernel - size - *begin, 0);
  return n;
}

static gboolean
darknet_maxpool (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  gint64 top, left, bottom, right, h, w;
  g_autofree gchar *name = NULL;
  gint size, stride, padding;

  if (!darknet_check_keys (self, " padding size stopbackward stride ", error)
      || !pt_darknet_get_int (self, "stride", 1, 1, &stride, error) ||
      !pt_darknet_get_int (self, "size", stride, 1, &size, error) ||
      !pt_darknet_get_int (self, "padding", size - 1, 0, &padding, error))
    return FALSE;
  h = darknet_window (x.h, size, stride, padding, &top, &bottom);
  w = darknet_window (x.w, size, stride, padding, &left, &right);
  name = pt_darknet_add (self, "pool", "max-pool2d", x.name);
  g_string_append_printf (self->text, "kernel=%d\nstride=%d\n", size, stride);
  /* what is left over at the end may as well be there */
  if ((x.h + 2 * top - size) / stride + 1 == h && bottom <= top &&
      (x.w + 2 * left - size) / stride + 1 == w && right <= left)
    g_string_append_printf (self->text, "padding=%" G_GINT64_FORMAT ";%"
        G_GINT64_FORMAT "\n", top, left);
  else
    g_string_append_printf (self->text, "padding=%" G_GINT64_FORMAT ";%"
        G_GINT64_FORMAT ";%" G_GINT64_FORMAT ";%" G_GINT64_FORMAT "\n", top,
        left, bottom, right);
  pt_darknet_put (self, name, x.c, h, w);
  return TRUE;
}

static gboolean
darknet_avgpool (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  g_autofree gchar *name = NULL;

  if (!darknet_check_keys (self, " stopbackward ", error))
    return FALSE;
  name = pt_darknet_add (self, "avg", "global-avg-pool", x.name);
  pt_darknet_put (self, name, x.c, 1, 1);
  return TRUE;
}

static gboolean
darknet_upsample (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  const DarknetKey *scale = pt_darknet_find (self->section, "scale");
  g_autofree gchar *name = NULL;
  gint stride;

  if (!darknet_check_keys (self, " scale stopbackward stride ", error) ||
      !pt_darknet_get_int (self, "stride", 2, 1, &stride, error))
    return FALSE;
  if (scale != NULL && g_ascii_strtod (scale->value, NULL) != 1)
    return pt_darknet_fail (self->path, self->section, scale->line, error,
        "key scale: found another number, expected 1");
  name = pt_darknet_add (self, "up", "upsample", x.name);
  g_string_append_printf (self->text, "scale=%d\n", stride);
  pt_darknet_put (self, name, x.c, x.h * stride, x.w * stride);
  return TRUE;
}

static gboolean
darknet_dropout (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  const DarknetKey *key = pt_darknet_find (self->section, "probability");
  g_autofree gchar *name = NULL;
  gchar *end = NULL, text[G_ASCII_DTOSTR_BUF_SIZE];
  gdouble p = key ? g_ascii_strtod (key->value, &end) : 0.5;

  if (!(p >= 0 && p <= 1) || (end != NULL && *end != '\0'))
    return pt_darknet_fail (self->path, self->section, key->line, error,
        "key probability: expected a number from 0 to 1");
  name = pt_darknet_add (self, "drop", "dropout", x.name);
  g_string_append_printf (self->text, "p=%s\n", g_ascii_formatd (text,
          sizeof text, "%.9g", p));
  pt_darknet_put (self, name, x.c, x.h, x.w);
  return TRUE;
}

/* Over everything, in one row. */
static gboolean
darknet_softmax (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  const DarknetKey *key = pt_darknet_find (self->section, "temperature");
  const gboolean flat = x.h * x.w == 1;
  g_autofree gchar *name = NULL;

  if (!darknet_check_keys (self, " groups noloss stopbackward temperature ",
          error) || !darknet_need (self, "groups", 1, error))
    return FALSE;
  if (key != NULL && g_ascii_strtod (key->value, NULL) != 1)
    return pt_darknet_fail (self->path, self->section, key->line, error,
        "key temperature: found another number, expected 1");
  if (!flat)
    g_free (pt_darknet_add (self, "flat", "flatten", x.name));
  name = pt_darknet_add (self, "softmax", "softmax", flat ? x.name : NULL);
  pt_darknet_put (self, name, x.c * x.h * x.w, 1, 1);
  return TRUE;
}

/* A section's number, counted from its start or back from here, as a place
 * in outputs. */
static gboolean
darknet_find_layer (const Darknet *self, const DarknetKey *key,
    const gchar *word, guint *place, GError **error)
{
  g_autofree gchar *quoted = pt_params_quote (word);
  gint64 number = -1;

  if (g_ascii_string_to_signed (word, 10, -DARKNET_MAX_INT, DARKNET_MAX_INT,
          &number, NULL) && number < 0)
    number += self->index;
  else if (number < 0)
    number = self->index;
  if (number >= 0 && number < self->index) {
    *place = number + 1;
    return TRUE;
  }
  return pt_darknet_fail (self->path, self->section, key->line, error,
      "key %s: found %s, expected the number of a layer above, 0 to %d, or "
      "-1 to -%u", key->key, quoted, (gint) self->index - 1, self->index);
}

/* The places that key @name lists, at most 8. */
static gboolean
darknet_find_layers (const Darknet *self, const gchar *name, guint *places,
    guint *n, GError **error)
{
  const DarknetKey *key = pt_darknet_find (self->section, name);
  g_auto (GStrv) words = key ? g_strsplit (key->value, ",", -1) : NULL;

  for (*n = 0; words != NULL && words[*n] != NULL; (*n)++) {
    /* lists may end with their separator */
    if (*words[*n] == '\0' && words[*n + 1] == NULL && *n > 0)
      return TRUE;
    if (*n == PT_OP_MAX_INPUTS)
      return pt_darknet_fail (self->path, self->section, key->line, error,
          "key %s: found more than %d layers", name, PT_OP_MAX_INPUTS);
    if (!darknet_find_layer (self, key, words[*n], &places[*n], error))
      return FALSE;
  }
  return *n > 0 || pt_darknet_fail (self->path, self->section,
      self->section->line, error, "key %s is missing, expected layers above",
      name);
}

/* The name of part @part of @n of the channels of @x. */
static gchar *
darknet_add_part (Darknet *self, const DarknetOutput *x, guint number,
    gint part, gint n)
{
  g_autofree gchar *stem = g_strdup_printf ("part%u-", number);
  gchar *name;

  if (n == 1)
    return g_strdup (x->name);
  name = pt_darknet_add (self, stem, "slice", x->name);
  g_string_append_printf (self->text, "start=%" G_GINT64_FORMAT "\nlength=%"
      G_GINT64_FORMAT "\n", x->c / n * part, x->c / n);
  return name;
}

static gboolean
darknet_route (Darknet *self, GError **error)
{
  g_autoptr (GString) inputs = g_string_new (NULL);
  guint places[PT_OP_MAX_INPUTS], n;
  gint groups, part;
  gint64 c = 0;

  if (!darknet_check_keys (self, " group_id groups layers stopbackward ",
          error) || !darknet_find_layers (self, "layers", places, &n, error) ||
      !pt_darknet_get_int (self, "groups", 1, 1, &groups, error) ||
      !pt_darknet_get_int (self, "group_id", 0, 0, &part, error))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    const DarknetOutput x = *pt_darknet_get (self, places[i]);
    g_autofree gchar *name = NULL;

    if (x.c % groups != 0 || part >= groups)
      return pt_darknet_fail (self->path, self->section, self->section->line,
          error, "found groups=%d group_id=%d for %" G_GINT64_FORMAT
          " channels, expected a divisor of these and an id below it", groups,
          part, x.c);
    name = darknet_add_part (self, &x, i, part, groups);
    g_string_append_printf (inputs, i ? ";%s" : "%s", name);
    c += x.c / groups;
  }
  if (n > 1) {
    g_autofree gchar *name = pt_darknet_add (self, "route", "concat",
        inputs->str);

    g_string_assign (inputs, name);
  }
  pt_darknet_put (self, inputs->str, c, pt_darknet_get (self, places[0])->h,
      pt_darknet_get (self, places[0])->w);
  return TRUE;
}

static gboolean
darknet_shortcut (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  g_autoptr (GString) inputs = g_string_new (x.name);
  guint places[PT_OP_MAX_INPUTS], n;
  g_autofree gchar *name = NULL;

  if (!darknet_check_keys (self, " activation from stopbackward ", error) ||
      !darknet_find_layers (self, "from", places, &n, error))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    const DarknetOutput *y = pt_darknet_get (self, places[i]);

    if (y->c != x.c || y->h != x.h || y->w != x.w)
      return pt_darknet_fail (self->path, self->section, self->section->line,
          error, "found %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT "x%"
          G_GINT64_FORMAT " and %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT "x%"
          G_GINT64_FORMAT ", expected two of one shape", x.c, x.h, x.w, y->c,
          y->h, y->w);
    g_string_append_printf (inputs, ";%s", y->name);
  }
  name = pt_darknet_add (self, "add", "add", inputs->str);
  if (!darknet_activate (self, "add", &name, error))
    return FALSE;
  pt_darknet_put (self, name, x.c, x.h, x.w);
  return TRUE;
}

/* What a head makes of the map, boxes, is not for a network to say: its input
 * is what comes out. */
static gboolean
darknet_head (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);
  const guint place = self->outputs->len - 1;

  g_array_append_val (self->heads, place);
  g_string_append_printf (self->notes, "[%s]: its input comes out, the raw map "
      "of %s, %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
      "\n", self->section->name, x.name, x.c, x.h, x.w);
  pt_darknet_put (self, x.name, x.c, x.h, x.w);
  return TRUE;
}

/* A loss for learning only. */
static gboolean
darknet_cost (Darknet *self, GError **error)
{
  const DarknetOutput x = *pt_darknet_get_input (self);

  g_string_append_printf (self->notes, "[cost] is left out: [learning] loss= "
      "takes its place\n");
  pt_darknet_put (self, x.name, x.c, x.h, x.w);
  return TRUE;
}

static const struct
{
  const gchar *name;
  DarknetFunc func;
} darknet_sections[] = {
  {"avgpool", darknet_avgpool},
  {"connected", darknet_connected},
  {"conv", darknet_convolutional},
  {"convolutional", darknet_convolutional},
  {"cost", darknet_cost},
  {"dropout", darknet_dropout},
  {"maxpool", darknet_maxpool},
  {"region", darknet_head},
  {"route", darknet_route},
  {"shortcut", darknet_shortcut},
  {"softmax", darknet_softmax},
  {"upsample", darknet_upsample},
  {"yolo", darknet_head},
};

gboolean
pt_darknet_add_section (Darknet *self, GError **error)
{
  const gchar *names[G_N_ELEMENTS (darknet_sections) + 1] = { NULL };
  g_autofree gchar *hint = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (darknet_sections); i++) {
    names[i] = darknet_sections[i].name;
    if (strcmp (names[i], self->section->name) == 0)
      return darknet_sections[i].func (self, error);
  }
  hint = pt_params_hint (self->section->name, names);
  return pt_darknet_fail (self->path, self->section, self->section->line,
      error, "found a section that is not taken, expected %s", hint);
}

