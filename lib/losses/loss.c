/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "losses/loss.h"

#include <string.h>

G_DEFINE_BOXED_TYPE (PtLoss, pt_loss, pt_loss_ref, pt_loss_unref)

static const PtLossKind *
loss_find (const gchar *name, GError **error)
{
  g_autoptr (GString) known = g_string_new (NULL);

  for (guint i = 0; pt_loss_kinds[i] != NULL; i++) {
    if (g_str_equal (pt_loss_kinds[i]->name, name))
      return pt_loss_kinds[i];
    g_string_append_printf (known, i ? ", %s" : "%s", pt_loss_kinds[i]->name);
  }
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
      "unknown loss \"%s\", expected one of %s", name, known->str);
  return NULL;
}

/**
 * pt_loss_new:
 * @text: a kind and its options, such as "optical-flow smoothness=0.1"
 * @error: return location
 *
 * Reads a loss as it stands in a network file. What the kinds and options
 * are: pt_loss_describe_kinds().
 *
 * Returns: (transfer full): the loss, or %NULL with %PT_ERROR_CONFIG for an
 *   unknown kind or option, or a value out of its range
 */
PtLoss *
pt_loss_new (const gchar *text, GError **error)
{
  g_autoptr (PtLoss) self = g_new0 (PtLoss, 1);
  g_autofree gchar *line = g_strstrip (g_strdup (text));
  gsize length = strcspn (line, " \t\n");
  g_autofree gchar *name = g_strndup (line, length);
  g_autofree gchar *where = g_strdup_printf ("loss %s", name);

  g_atomic_ref_count_init (&self->refs);
  self->kind = loss_find (name, error);
  if (self->kind == NULL)
    return NULL;
  self->options = g_malloc0 (MAX (self->kind->options_size, 1));
  pt_params_init (self->kind->params, self->options);
  if (!pt_params_parse_words (self->kind->params, self->options,
          line + length, where, error))
    return NULL;
  return g_steal_pointer (&self);
}

/**
 * pt_loss_ref:
 * @self: a loss
 *
 * Thread-safe.
 *
 * Returns: (transfer full): @self
 */
PtLoss *
pt_loss_ref (PtLoss *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

/**
 * pt_loss_unref:
 * @self: (transfer full): a loss
 *
 * Thread-safe.
 */
void
pt_loss_unref (PtLoss *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  if (self->options != NULL)
    pt_params_clear (self->kind->params, self->options);
  g_free (self->options);
  g_free (self);
}

/**
 * pt_loss_get_name:
 * @self: a loss
 *
 * Returns: the name of its kind
 */
const gchar *
pt_loss_get_name (const PtLoss *self)
{
  return self->kind->name;
}

/**
 * pt_loss_describe_kinds:
 *
 * Returns: (transfer full): every kind with its options, defaults and ranges,
 *   as text for a help page
 */
gchar *
pt_loss_describe_kinds (void)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; pt_loss_kinds[i] != NULL; i++) {
    g_string_append_printf (text, "%s: %s\n", pt_loss_kinds[i]->name,
        pt_loss_kinds[i]->summary);
    pt_params_describe (pt_loss_kinds[i]->params, text);
  }
  return g_string_free (text, FALSE);
}

/* The operation x target -> loss dx, with dx the gradient of the output. */
PtOp *
pt_loss_plan (const PtLoss *loss, PtWorkspace *workspace,
    const PtShape *output, const PtShape *target, GError **error)
{
  PtOpDesc desc = {
    .x = *output,
    .y = *target,
    .training = workspace->training,
  };
  PtOp *op = NULL;

  if (loss->kind->describe (loss, output, target, &desc, error))
    op = pt_op_new (workspace, &desc, error);
  if (op == NULL)
    g_prefix_error (error, "loss %s: ", loss->kind->name);
  return op;
}

gboolean
pt_loss_check_target (const PtLoss *loss, const PtShape *output,
    const PtTensor *target, GError **error)
{
  return loss->kind->check_target == NULL ||
      loss->kind->check_target (loss, output, target, error);
}
