/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Learned frames from one copy of the state to the next. */
#define GUARD_KEEP_PERIOD 100
/* Over the best average by this much, the state is not one to come back to. */
#define GUARD_SOUND 2.0
/* Losses in a row that are no numbers: not the frames' fault any more. */
#define GUARD_PATIENCE 10
/* Losses of the weights that came back, until it is said who was to blame. */
#define GUARD_TRIAL 10

void
pt_guard_init (PtGuard *self, gint window, gdouble factor, gdouble shrink,
    const PtSchedule *schedule)
{
  *self = (PtGuard) { .window = window, .factor = factor, .shrink = shrink,
    .schedule = schedule, .losses = g_new0 (gdouble, window) };
  pt_guard_reset (self);
}

void
pt_guard_clear (PtGuard *self)
{
  g_clear_pointer (&self->losses, g_free);
}

/* As if nothing had been learned yet. */
void
pt_guard_reset (PtGuard *self)
{
  self->n_losses = self->n_learned = 0;
  self->n_bad = 0;
  self->was_invalid = FALSE;
  self->n_trial = 0;
  self->trial_sum = self->bar = self->bearable = 0;
  self->first = self->best = NAN;
  self->scale = 1;
  self->plateau_sum = 0;
  self->plateau_best = INFINITY;
  self->plateau_n = self->plateau_bad = self->plateau_rest = 0;
}

/* The mean loss over the window; NaN before there is a whole one. */
gdouble
pt_guard_get_average (const PtGuard *self)
{
  gdouble sum = 0;

  if (self->n_losses < (guint64) self->window)
    return NAN;
  for (gint i = 0; i < self->window; i++)
    sum += self->losses[i];
  return sum / self->window;
}

/* torch.optim.lr_scheduler.ReduceLROnPlateau, mode min, threshold relative,
 * stepped with the mean loss of each window. */
static void
guard_watch_plateau (PtGuard *self, gdouble loss)
{
  const PtSchedule *s = self->schedule;
  gdouble mean;

  if (s->kind != PT_SCHEDULE_PLATEAU)
    return;
  self->plateau_sum += loss;
  if (++self->plateau_n < s->window)
    return;
  mean = self->plateau_sum / self->plateau_n;
  self->plateau_sum = self->plateau_n = 0;
  if (mean < self->plateau_best * (1 - s->threshold)) {
    self->plateau_best = mean;
    self->plateau_bad = 0;
  } else {
    self->plateau_bad++;
  }
  if (self->plateau_rest > 0) {
    self->plateau_rest--;
    self->plateau_bad = 0;
  }
  if (self->plateau_bad > s->patience) {
    self->scale = MAX (self->scale * s->factor,
        MIN (s->min_factor, self->scale));
    self->plateau_rest = s->cooldown;
    self->plateau_bad = 0;
  }
}

/* What was learned before is no measure for what comes now. */
static PtGuardVerdict
guard_roll_back (PtGuard *self, gdouble average)
{
  self->why[0] = average;
  self->why[1] = self->best;
  self->scale *= self->shrink;
  self->n_trial = isnan (average) ? 0 : GUARD_TRIAL;
  self->trial_sum = 0;
  self->bar = self->factor * self->best;
  self->n_losses = 0;
  self->n_bad = 0;
  self->first = self->best = NAN;
  return PT_GUARD_ROLL_BACK;
}

/* If good weights are no better, something happens in the stream: the rate was
 * not to blame, and as much may happen again. Else each time that somebody
 * walks through a still scene would cost half the rate, for good. */
static void
guard_try (PtGuard *self, gdouble loss)
{
  gdouble mean;

  if (self->n_trial == 0)
    return;
  self->trial_sum += loss;
  if (--self->n_trial > 0)
    return;
  mean = self->trial_sum / GUARD_TRIAL;
  if (mean <= self->bar)
    return;
  self->scale /= self->shrink;
  self->bearable = MAX (self->bearable, mean);
}

/* Whether the average says that learning has gone wrong: far above the best,
 * and above the first too, so that a stream that was easy for a while and is
 * not any more raises no alarm. */
static gboolean
guard_has_diverged (PtGuard *self, gdouble average)
{
  if (isnan (average))
    return FALSE;
  if (isnan (self->first))
    self->first = self->best = average;
  self->best = MIN (self->best, average);
  return self->factor > 0 && average > self->factor * self->best
      && average > MAX (self->first, self->bearable);
}

/* Takes note of a frame. @valid: its output is finite; @learns: there is a
 * @loss to learn from. */
PtGuardVerdict
pt_guard_look (PtGuard *self, gboolean valid, gboolean learns, gdouble loss)
{
  gdouble average;

  if (!valid) {
    gdouble scale = self->scale;

    guard_roll_back (self, NAN);
    /* nothing has been learned since the one before: no rate is to blame */
    if (self->was_invalid)
      self->scale = scale;
    self->was_invalid = TRUE;
    return PT_GUARD_ROLL_BACK;
  }
  self->was_invalid = FALSE;
  if (!learns)
    return PT_GUARD_SKIP;
  if (!isfinite (loss)) {
    self->n_bad++;
    return isinf (loss) || self->n_bad >= GUARD_PATIENCE ?
        guard_roll_back (self, NAN) : PT_GUARD_SKIP;
  }
  self->n_bad = 0;
  self->losses[self->n_losses++ % self->window] = loss;
  average = pt_guard_get_average (self);
  guard_try (self, loss);
  if (guard_has_diverged (self, average))
    return guard_roll_back (self, average);
  guard_watch_plateau (self, loss);
  if (++self->n_learned % GUARD_KEEP_PERIOD == 0
      && !(average > GUARD_SOUND * self->best))
    return PT_GUARD_KEEP;
  return PT_GUARD_LEARN;
}

static void
guard_print_number (GString *text, gdouble x)
{
  gchar number[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append (text, g_ascii_dtostr (number, sizeof number, x));
  g_string_append_c (text, ' ');
}

gchar *
pt_guard_print (const PtGuard *self)
{
  GString *text = g_string_new (NULL);
  guint64 n = MIN (self->n_losses, (guint64) self->window);

  g_string_printf (text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
      " %u %d %d %d ", n, self->n_learned, self->n_bad, self->plateau_n,
      self->plateau_bad, self->plateau_rest);
  guard_print_number (text, self->first);
  guard_print_number (text, self->best);
  guard_print_number (text, self->scale);
  guard_print_number (text, self->plateau_sum);
  guard_print_number (text, self->plateau_best);
  for (guint64 i = self->n_losses - n; i < self->n_losses; i++)
    guard_print_number (text, self->losses[i % self->window]);
  g_string_append_printf (text, "%d %d ", self->was_invalid, self->n_trial);
  guard_print_number (text, self->trial_sum);
  guard_print_number (text, self->bar);
  guard_print_number (text, self->bearable);
  return g_string_free (text, FALSE);
}

/* Reads @n numbers from *@at on, which moves behind them. */
static gboolean
guard_scan_numbers (const gchar **at, gdouble *numbers, guint n)
{
  for (guint i = 0; i < n; i++) {
    gchar *end;

    numbers[i] = g_ascii_strtod (*at, &end);
    if (end == *at)
      return FALSE;
    *at = end;
  }
  return TRUE;
}

/* The same for counts, which are at most @most. */
static gboolean
guard_scan_counts (const gchar **at, guint64 *counts, guint n, gdouble most)
{
  for (guint i = 0; i < n; i++) {
    gdouble number;

    if (!guard_scan_numbers (at, &number, 1) ||
        !(number >= 0 && number <= most))
      return FALSE;
    counts[i] = number;
  }
  return TRUE;
}

static gboolean
guard_scan (PtGuard *self, const gchar *text)
{
  guint64 counts[3], plateau[3];
  gdouble numbers[5], more[5], loss;

  if (!guard_scan_counts (&text, counts, 3, 1ULL << 53) ||
      !guard_scan_counts (&text, plateau, 3, G_MAXINT) ||
      !guard_scan_numbers (&text, numbers, G_N_ELEMENTS (numbers)) ||
      !(numbers[2] > 0 && numbers[2] <= 1))
    return FALSE;
  self->n_learned = counts[1];
  self->n_bad = counts[2];
  self->plateau_n = plateau[0];
  self->plateau_bad = plateau[1];
  self->plateau_rest = plateau[2];
  self->first = numbers[0];
  self->best = numbers[1];
  self->scale = numbers[2];
  self->plateau_sum = numbers[3];
  self->plateau_best = numbers[4];
  for (guint64 i = 0; i < counts[0]; i++) {
    if (!guard_scan_numbers (&text, &loss, 1))
      return FALSE;
    self->losses[self->n_losses++ % self->window] = loss;
  }
  if (!guard_scan_numbers (&text, more, G_N_ELEMENTS (more)))
    return FALSE;
  self->was_invalid = more[0] != 0;
  self->n_trial = CLAMP (more[1], 0, GUARD_TRIAL);
  self->trial_sum = more[2];
  self->bar = more[3];
  self->bearable = more[4];
  return TRUE;
}

/* What pt_guard_print() wrote; anything else leaves it as after a reset. */
void
pt_guard_scan (PtGuard *self, const gchar *text)
{
  pt_guard_reset (self);
  if (!guard_scan (self, text))
    pt_guard_reset (self);
}
