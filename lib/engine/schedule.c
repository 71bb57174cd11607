/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/schedule.h"


#include <math.h>
#include <string.h>

#define ROW(key, member, type) \
  key, PT_PARAM_ ## type, G_STRUCT_OFFSET (PtSchedule, member)

static const PtParam schedule_constant[] = {
  {NULL}
};

static const PtParam schedule_step[] = {
  {ROW ("step_size", step_size, INT), NULL, 1, G_MAXINT, NULL,
      "updates from one step to the next"},
  {ROW ("gamma", gamma, DOUBLE), "0.1", 0, 1e6, NULL,
      "what the rate is multiplied by in each step"},
  {NULL}
};

static const PtParam schedule_cosine[] = {
  {ROW ("T_max", t_max, INT), NULL, 1, G_MAXINT, NULL,
      "updates from the full rate to the least"},
  {ROW ("eta_min", eta_min, DOUBLE), "0", 0, G_MAXDOUBLE, NULL,
      "the least rate"},
  {ROW ("restarts", restarts, BOOL), "false", 0, 0, NULL,
      "jumps back to the full rate then, instead of staying at the least"},
  {NULL}
};

static const PtParam schedule_plateau[] = {
  {ROW ("factor", factor, DOUBLE), "0.1", 0, 1, NULL,
      "what the rate is multiplied by when the loss no longer falls"},
  {ROW ("patience", patience, INT), "10", 0, G_MAXINT, NULL,
      "windows without a fall that are borne"},
  {ROW ("window", window, INT), "100", 1, 65536, NULL,
      "learned frames whose mean loss is looked at"},
  {ROW ("threshold", threshold, DOUBLE), "1e-4", 0, 1, NULL,
      "part of the best loss by which it must fall to count"},
  {ROW ("cooldown", cooldown, INT), "0", 0, G_MAXINT, NULL,
      "windows after a fall of the rate that do not count"},
  {ROW ("min_factor", min_factor, DOUBLE), "0", 0, 1, NULL,
      "part of the rate below which it does not go"},
  {NULL}
};

#undef ROW

static const struct
{
  const gchar *name, *summary;
  const PtParam *params;
} schedule_kinds[] = {
  [PT_SCHEDULE_CONSTANT] = {"constant", "the same rate all the time",
      schedule_constant},
  [PT_SCHEDULE_STEP] = {"step", "falls every step_size updates, "
      "torch.optim.lr_scheduler.StepLR", schedule_step},
  [PT_SCHEDULE_COSINE] = {"cosine", "falls along half a cosine, "
      "torch.optim.lr_scheduler.CosineAnnealingLR", schedule_cosine},
  [PT_SCHEDULE_PLATEAU] = {"plateau", "falls when the loss no longer does, "
      "torch.optim.lr_scheduler.ReduceLROnPlateau", schedule_plateau},
};

/* Reads "step step_size=1000 gamma=0.5". */
gboolean
pt_schedule_parse (PtSchedule *self, const gchar *text, const gchar *where,
    GError **error)
{
  const gchar *names[G_N_ELEMENTS (schedule_kinds) + 1] = { NULL };
  g_autofree gchar *line = g_strstrip (g_strdup (text));
  gsize length = strcspn (line, " \t\n");
  g_autofree gchar *name = g_strndup (line, length);
  g_autofree gchar *quoted = NULL, *hint = NULL;

  *self = (PtSchedule) { 0 };
  for (guint i = 0; i < G_N_ELEMENTS (schedule_kinds); i++) {
    names[i] = schedule_kinds[i].name;
    if (!g_str_equal (names[i], name))
      continue;
    self->kind = i;
    pt_params_init (schedule_kinds[i].params, self);
    return pt_params_parse_words (schedule_kinds[i].params, self,
        line + length, where, error);
  }
  quoted = pt_params_quote (name);
  hint = pt_params_hint (name, names);
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "%s: found %s, expected %s",
      where, quoted, hint);
  return FALSE;
}

/* The rate of the next update after @updates of them. */
gdouble
pt_schedule_get_rate (const PtSchedule *self, gdouble base, guint64 updates)
{
  guint64 t = updates;

  switch (self->kind) {
    case PT_SCHEDULE_STEP:
      return base * pow (self->gamma, (gdouble) (updates / self->step_size));
    case PT_SCHEDULE_COSINE:
      t = self->restarts ? t % self->t_max : MIN (t, (guint64) self->t_max);
      return self->eta_min + (base - self->eta_min)
          * (1 + cos (G_PI * t / self->t_max)) / 2;
    default:
      return base;
  }
}

/**
 * pt_pipeline_describe_schedules:
 *
 * Returns: (transfer full): every schedule of the learning rate with its
 *   options, defaults and ranges, as text for a help page
 */
gchar *
pt_pipeline_describe_schedules (void)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (schedule_kinds); i++) {
    g_string_append_printf (text, "%s: %s\n", schedule_kinds[i].name,
        schedule_kinds[i].summary);
    pt_params_describe (schedule_kinds[i].params, text);
  }
  return g_string_free (text, FALSE);
}
