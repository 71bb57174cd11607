/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/darknet.h"

#include <string.h>

/* From darknet's sections to a network file. */

static void
darknet_output_clear (gpointer output)
{
  g_free (((DarknetOutput *) output)->name);
}

static gboolean
darknet_begin (Darknet *self, gboolean has_head, GError **error)
{
  gint width, height, channels;

  if (!g_str_equal (self->section->name, "net") &&
      !g_str_equal (self->section->name, "network"))
    return pt_darknet_fail (self->path, self->section, self->section->line,
        error, "expected [net] first");
  if (!pt_darknet_get_int (self, "width", 0, 1, &width, error) ||
      !pt_darknet_get_int (self, "height", 0, 1, &height, error) ||
      !pt_darknet_get_int (self, "channels", 3, 1, &channels, error))
    return FALSE;
  if (width == 0 || height == 0)
    return pt_darknet_fail (self->path, self->section, self->section->line,
        error, "found no width or height, expected both");
  g_string_append_printf (self->text, "[network]\nwidth=%d\nheight=%d\n"
      "channels=%d\n%s", width, height, channels,
      has_head ? "resize=letterbox\n" : "");
  pt_darknet_put (self, "input", channels, height, width);
  return TRUE;
}

/* Several heads in one row, one after the other: a network has one output. */
static void
darknet_join_heads (Darknet *self)
{
  g_autoptr (GString) inputs = g_string_new (NULL);
  gint64 at = 0;

  if (self->heads->len < 2)
    return;
  g_string_append (self->notes, "output, all heads in one row:");
  for (guint i = 0; i < self->heads->len; i++) {
    const DarknetOutput *x =
        pt_darknet_get (self, g_array_index (self->heads, guint, i));
    g_autofree gchar *name = NULL;

    self->index = i;
    name = pt_darknet_add (self, "head", "flatten", x->name);
    g_string_append_printf (inputs, i ? ";%s" : "%s", name);
    g_string_append_printf (self->notes, "%s %s from %" G_GINT64_FORMAT,
        i ? "," : "", x->name, at);
    at += x->c * x->h * x->w;
  }
  g_string_append_c (self->notes, '\n');
  g_string_append_printf (self->text,
      "\n[heads]\ntype=concat\ninputs=%s\n", inputs->str);
}

static gboolean
darknet_convert (Darknet *self, GPtrArray *sections, GError **error)
{
  gboolean has_head = FALSE;

  for (guint i = 0; i < sections->len; i++) {
    const DarknetSection *section = g_ptr_array_index (sections, i);

    has_head |= g_str_equal (section->name, "yolo") ||
        g_str_equal (section->name, "region");
  }
  self->section = g_ptr_array_index (sections, 0);
  if (!darknet_begin (self, has_head, error))
    return FALSE;
  for (guint i = 1; i < sections->len; i++) {
    const DarknetOutput *y;

    self->section = g_ptr_array_index (sections, i);
    self->index = i - 1;
    if (!pt_darknet_add_section (self, error))
      return FALSE;
    y = pt_darknet_get_input (self);
    if (y->h < 1 || y->w < 1 || y->h > DARKNET_MAX_INT ||
        y->w > DARKNET_MAX_INT)
      return pt_darknet_fail (self->path, self->section, self->section->line,
          error, "found an output of %" G_GINT64_FORMAT "x%" G_GINT64_FORMAT
          " pixels, expected 1 to %d each way", y->h, y->w, DARKNET_MAX_INT);
  }
  if (self->heads->len > PT_OP_MAX_INPUTS) {
    pt_darknet_fail (self->path, self->section, self->section->line, error,
        "found %u heads, expected at most %d", self->heads->len,
        PT_OP_MAX_INPUTS);
    return FALSE;
  }
  darknet_join_heads (self);
  g_string_append (self->text, "\n[output]\nkind=raw\n");
  return TRUE;
}

PtNetwork *
pt_darknet_load (const gchar *path, const gchar *weights, gchar **text,
    gchar **notes, GError **error)
{
  g_autoptr (GPtrArray) sections = pt_darknet_read (path, error);
  g_autoptr (GString) out = g_string_new (NULL);
  g_autoptr (GString) said = g_string_new (NULL);
  g_autoptr (GArray) outputs =
      g_array_new (FALSE, FALSE, sizeof (DarknetOutput));
  g_autoptr (GArray) heads = g_array_new (FALSE, FALSE, sizeof (guint));
  g_autoptr (GArray) stored =
      g_array_new (FALSE, FALSE, sizeof (DarknetWeights));
  Darknet self = {.path = path,.text = out,.notes = said,.outputs = outputs,
    .heads = heads,.weights = stored
  };
  g_autoptr (PtNetwork) network = NULL;
  g_autofree gchar *origin = NULL;

  g_array_set_clear_func (outputs, darknet_output_clear);
  if (sections == NULL || !darknet_convert (&self, sections, error))
    return NULL;
  origin = g_strdup_printf ("%s as a network file", path);
  network = pt_network_new_from_data (out->str, out->len, origin, error);
  if (network == NULL || (weights != NULL &&
          !pt_darknet_load_weights (network, weights,
              (const DarknetWeights *) stored->data, stored->len, error)))
    return NULL;
  *text = g_strdup (out->str);
  *notes = g_strdup (said->str);
  return g_steal_pointer (&network);
}
