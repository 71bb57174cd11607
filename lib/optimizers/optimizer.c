/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "optimizers/optimizer.h"

#include <string.h>

G_DEFINE_BOXED_TYPE (PtOptimizer, pt_optimizer, pt_optimizer_ref,
    pt_optimizer_unref)

static const PtOptimizerKind *
optimizer_find (const gchar *name, GError **error)
{
  g_autoptr (GString) known = g_string_new (NULL);

  for (guint i = 0; pt_optimizer_kinds[i] != NULL; i++) {
    if (g_str_equal (pt_optimizer_kinds[i]->name, name))
      return pt_optimizer_kinds[i];
    g_string_append_printf (known, i ? ", %s" : "%s",
        pt_optimizer_kinds[i]->name);
  }
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "unknown optimizer \"%s\", expected one of %s", name, known->str);
  return NULL;
}

/**
 * pt_optimizer_new:
 * @text: a kind and its options, such as "adam lr=1e-3 betas=0.9;0.99"
 * @error: return location
 *
 * Reads an optimizer as it stands in a network file. What the kinds and
 * options are: pt_optimizer_describe_kinds().
 *
 * Returns: (transfer full): the optimizer, or %NULL with %PT_ERROR_CONFIG for
 *   an unknown kind or option, a value out of its range, or options that
 *   exclude one another
 */
PtOptimizer *
pt_optimizer_new (const gchar *text, GError **error)
{
  g_autoptr (PtOptimizer) self = g_new0 (PtOptimizer, 1);
  g_autofree gchar *line = g_strstrip (g_strdup (text));
  gsize length = strcspn (line, " \t\n");
  g_autofree gchar *name = g_strndup (line, length);
  g_autofree gchar *where = g_strdup_printf ("optimizer %s", name);

  g_atomic_ref_count_init (&self->refs);
  self->kind = optimizer_find (name, error);
  if (self->kind == NULL)
    return NULL;
  self->options = g_malloc0 (self->kind->options_size);
  pt_params_init (self->kind->params, self->options);
  if (!pt_params_parse_words (self->kind->params, self->options,
          line + length, where, error))
    return NULL;
  if (self->kind->check != NULL && !self->kind->check (self, error)) {
    g_prefix_error (error, "%s: ", where);
    return NULL;
  }
  return g_steal_pointer (&self);
}

/**
 * pt_optimizer_ref:
 * @self: an optimizer
 *
 * Thread-safe.
 *
 * Returns: (transfer full): @self
 */
PtOptimizer *
pt_optimizer_ref (PtOptimizer *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

/**
 * pt_optimizer_unref:
 * @self: (transfer full): an optimizer
 *
 * Thread-safe.
 */
void
pt_optimizer_unref (PtOptimizer *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  if (self->options != NULL)
    pt_params_clear (self->kind->params, self->options);
  g_free (self->options);
  g_free (self);
}

/**
 * pt_optimizer_get_name:
 * @self: an optimizer
 *
 * Returns: the name of its kind
 */
const gchar *
pt_optimizer_get_name (const PtOptimizer *self)
{
  return self->kind->name;
}

/**
 * pt_optimizer_get_learning_rate:
 * @self: an optimizer
 *
 * Returns: its lr, before staleness and warm-up
 */
gdouble
pt_optimizer_get_learning_rate (const PtOptimizer *self)
{
  return *(const gdouble *) self->options;
}

/**
 * pt_optimizer_describe_kinds:
 *
 * Returns: (transfer full): every kind with its options, defaults and ranges,
 *   as text for a help page
 */
gchar *
pt_optimizer_describe_kinds (void)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; pt_optimizer_kinds[i] != NULL; i++) {
    g_string_append_printf (text, "%s: %s\n", pt_optimizer_kinds[i]->name,
        pt_optimizer_kinds[i]->summary);
    pt_params_describe (pt_optimizer_kinds[i]->params, text);
  }
  return g_string_free (text, FALSE);
}

/* Fills @slots with names, NULL-terminated; returns how many there are. */
guint
pt_optimizer_get_slots (const PtOptimizer *self,
    const gchar *slots[PT_UPDATE_MAX_SLOTS + 1])
{
  guint n = 0;

  memset (slots, 0, (PT_UPDATE_MAX_SLOTS + 1) * sizeof *slots);
  self->kind->get_slots (self, slots);
  while (slots[n] != NULL)
    n++;
  return n;
}

PtOp *
pt_optimizer_plan (const PtOptimizer *self, PtWorkspace *workspace, gsize n,
    GError **error)
{
  PtOpDesc desc = {
    .type = PT_OP_UPDATE,
    .x = PT_SHAPE (n),
    .y = PT_SHAPE (n),
    .training = workspace->training,
  };
  PtOp *op;

  self->kind->describe (self, &desc.update);
  op = pt_op_new (workspace, &desc, error);
  if (op == NULL)
    g_prefix_error (error, "optimizer %s: ", self->kind->name);
  return op;
}
