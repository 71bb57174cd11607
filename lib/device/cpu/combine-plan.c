/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/combine.h"

/* Rows that lie in x as they do in y are one run. None if they are short. */
static void
combine_find_runs (PtCombinePlan *plan)
{
  const PtCombineAxis *inner = pt_combine_inner (plan);
  const gint64 block = plan->desc.block;
  const gint64 most = inner->n * block / PT_COMBINE_MIN_RUN;
  GArray *runs = g_array_new (FALSE, FALSE, sizeof (PtCombineRun));
  PtCombineRun *last = NULL;

  for (gint64 i = 0; i < inner->n; i++) {
    const gint64 place = pt_combine_place (inner, i);
    const gboolean none = place == PT_COMBINE_NOTHING;

    for (gint64 at = 0, n; at < block; at += n) {
      PtCombineRun run = { i * block + at };

      n = run.n = MIN (block - at, PT_COMBINE_MAX_RUN);
      run.offset = none ? place : place + at;
      if (last != NULL && last->n + n <= PT_COMBINE_MAX_RUN
          && run.offset == last->offset + (none ? 0 : last->n)) {
        last->n += n;
        continue;
      }
      g_array_append_val (runs, run);
      last = &g_array_index (runs, PtCombineRun, runs->len - 1);
    }
    if (runs->len > most) {
      g_array_unref (runs);
      return;
    }
  }
  plan->runs = runs;
}

/* The largest part of @n, of at most @most. */
static gint64
combine_divide (gint64 n, gint64 most)
{
  gint64 part = MIN (n, most);

  while (n % part != 0)
    part--;
  return part;
}

/* The lowest offset of @n rows, at most 0: a table has none below. */
static gint64
combine_get_low (const PtCombineAxis *axis, gint64 n)
{
  return axis->offsets == NULL ? MIN ((n - 1) * axis->stride, 0) : 0;
}

/* A longer line: the innermost axis and as much as fits of the next become
 * one, with a table. FALSE: nothing fits. */
static gboolean
combine_fold (PtCombinePlan *plan)
{
  PtCombineDesc *desc = &plan->desc;
  const guint last = desc->n_axes - 1;
  PtCombineAxis *outer = &desc->axes[last - 1], *inner = &desc->axes[last];
  const gint64 most = PT_COMBINE_FOLD / inner->n;
  const gint64 n = outer->offsets == NULL && most > 0 ?
      combine_divide (outer->n, most) : outer->n;
  const gint64 low = combine_get_low (outer, n)
      + combine_get_low (inner, inner->n);
  gint32 *table;

  if (n == 1 || n > most)
    return FALSE;
  table = g_new (gint32, n * inner->n);
  for (gint64 i = 0; i < n; i++)
    for (gint64 j = 0; j < inner->n; j++) {
      const gint64 a = pt_combine_place (outer, i);
      const gint64 b = pt_combine_place (inner, j);

      table[i * inner->n + j] =
          a == PT_COMBINE_NOTHING || b == PT_COMBINE_NOTHING ? -1 : a + b - low;
    }
  desc->base += low;
  g_free (plan->tables[last]);
  plan->tables[last] = table;
  *inner = (PtCombineAxis) { n * inner->n,.offsets = table };
  outer->n /= n;
  outer->stride *= n;
  if (outer->n > 1)
    return TRUE;
  g_free (plan->tables[last - 1]);
  *outer = *inner;
  plan->tables[last - 1] = table;
  plan->tables[last] = NULL;
  desc->n_axes--;
  return TRUE;
}

static gint32 *
combine_copy_table (PtCombineAxis *axis)
{
  const gint64 n = axis->rows != NULL ? axis->rows[axis->n] : axis->n;
  const gint64 rows = axis->rows != NULL ? axis->n + 1 : 0;
  gint32 *words = NULL, *at;

  if (axis->offsets == NULL)
    return NULL;
  at = words = g_try_new (gint32, rows + 2 * n);
  if (words == NULL)
    return NULL;
  if (rows > 0)
    axis->rows = memcpy (at, axis->rows, rows * sizeof *at);
  at += rows;
  if (n > 0)
    axis->offsets = memcpy (at, axis->offsets, n * sizeof *at);
  at += n;
  if (axis->weights != NULL && n > 0)
    axis->weights = memcpy (at, axis->weights, n * sizeof *at);
  return words;
}

void
pt_cpu_combine_clear (PtOp *op)
{
  PtCombinePlan *plan = op->priv;

  if (plan == NULL)
    return;
  for (guint a = 0; a < PT_COMBINE_MAX_AXES; a++)
    g_free (plan->tables[a]);
  g_clear_pointer (&plan->runs, g_array_unref);
  g_free (plan->even_offsets);
  g_free (plan->even_weights);
  g_free (plan);
}

/* The most that rows read, on the average of an axis; 0: no axis adds. */
static gint64
combine_count_taps (const PtCombineDesc *desc)
{
  gint64 taps = 1;
  gboolean adds = FALSE;

  for (guint a = 0; a < desc->n_axes; a++) {
    const PtCombineAxis *axis = &desc->axes[a];

    adds |= axis->rows != NULL || axis->weights != NULL;
    if (axis->rows != NULL)
      taps *= MAX ((axis->rows[axis->n] + axis->n - 1) / axis->n, 1);
  }
  return adds ? taps : 0;
}

/* An axis along which x is read without steps, where the innermost has them;
 * 0: none. */
static guint
combine_find_across (const PtCombineDesc *desc)
{
  const PtCombineAxis *inner = &desc->axes[desc->n_axes - 1];

  for (guint a = 0; a + 1 < desc->n_axes; a++)
    if (inner->offsets == NULL && desc->axes[a].offsets == NULL &&
        desc->axes[a].stride == 1 &&
        MIN (inner->n, desc->axes[a].n) >= PT_COMBINE_TILE / 4 &&
        MAX (inner->n, desc->axes[a].n) >= PT_COMBINE_TILE / 2)
      return a + 1;
  return 0;
}

/* A few rows of x, side by side in y or the other way round: as many as there
 * are kernels for. 0: neither. */
static guint
combine_find_weave (const PtCombineDesc *desc)
{
  const PtCombineAxis *inner = &desc->axes[desc->n_axes - 1];
  const PtCombineAxis *outer = &desc->axes[MAX (desc->n_axes, 2) - 2];
  const gint64 rows = MIN (inner->n, outer->n);

  if (desc->n_axes < 2 || inner->offsets != NULL || outer->offsets != NULL ||
      outer->stride != 1 || (outer->n < inner->n ? inner->stride != rows :
          inner->stride < 0) || MAX (inner->n, outer->n) < PT_COMBINE_TILE)
    return 0;
  return rows == 2 || rows == 3 || rows == 4 || rows == PT_COMBINE_WEAVE ?
      rows : 0;
}

/* Whether the sum of the outer axes can be had first, for a whole line of x:
 * one that is not much longer than the line of y. */
static void
combine_find_extent (PtCombinePlan *plan, PtOp *op)
{
  const PtCombineDesc *desc = &plan->desc;
  const PtCombineAxis *inner = pt_combine_inner (plan);
  const gint64 n = inner->rows != NULL ? inner->rows[inner->n] : inner->n;
  gint64 low = G_MAXINT64, high = 0;

  for (gint64 i = 0; i < n; i++) {
    const gint64 offset = pt_combine_offset (inner, i);

    if (inner->offsets != NULL && offset < 0)
      continue;
    low = MIN (low, offset);
    high = MAX (high, offset + desc->block);
  }
  if (high - low > PT_COMBINE_FOLD + 8 * inner->n * desc->block)
    return;
  plan->low = MIN (low, high);
  plan->extent = high - plan->low;
  plan->room = (plan->extent + PT_COMBINE_TILE - 1) / PT_COMBINE_TILE *
      PT_COMBINE_TILE;
  op->scratch_size = op->workspace->device->n_threads * plan->room *
      sizeof (gfloat);
}

/* Rows of small blocks as single elements that all have as many taps, some of
 * weight 0. */
static void
combine_make_even (PtCombinePlan *plan)
{
  const PtCombineDesc *desc = &plan->desc;
  const PtCombineAxis *inner = pt_combine_inner (plan);
  const gint64 block = desc->block, length = inner->n * block;
  gint64 least = G_MAXINT64, most = 0;

  for (gint64 row = 0; row < inner->n; row++) {
    const PtCombineSpan span = pt_combine_span (inner, row);

    least = MIN (least, span.end - span.begin);
    most = MAX (most, span.end - span.begin);
  }
  if (least == 0 || most > PT_COMBINE_TAPS || block > PT_COMBINE_TAPS / 2)
    return;
  plan->even_offsets = g_try_new (gint32, most * length);
  plan->even_weights = g_try_new (gfloat, most * length);
  if (plan->even_offsets == NULL || plan->even_weights == NULL)
    return;
  plan->even = most;
  for (gint64 i = 0; i < length; i++) {
    const PtCombineSpan span = pt_combine_span (inner, i / block);

    for (gint64 t = 0; t < most; t++) {
      const gint64 tap = MIN (span.begin + t, span.end - 1);

      plan->even_offsets[t * length + i] =
          pt_combine_offset (inner, tap) + i % block;
      plan->even_weights[t * length + i] =
          span.begin + t == tap ? pt_combine_weight (inner, tap) : 0;
    }
  }
}

static void
combine_choose (PtCombinePlan *plan, PtOp *op)
{
  PtCombineDesc *desc = &plan->desc;

  plan->taps = combine_count_taps (desc);
  if (plan->taps > 0)
    combine_find_extent (plan, op);
  if (plan->extent > 0)
    combine_make_even (plan);
  if (plan->taps == 0)
    combine_find_runs (plan);
  if (plan->taps == 0 && plan->runs == NULL) {
    if (desc->block > 1)
      desc->axes[desc->n_axes++] = (PtCombineAxis) { desc->block, 1 };
    desc->block = 1;
    plan->weave = combine_find_weave (desc);
    plan->across = combine_find_across (desc);
    while (plan->weave == 0 && plan->across == 0 && desc->n_axes > 1 &&
        pt_combine_inner (plan)->n < PT_COMBINE_FOLD / 4 &&
        combine_fold (plan));
  }
  plan->lines = 1;
  for (guint a = 0; a + 1 < desc->n_axes; a++)
    plan->lines *= desc->axes[a].n;
}

gboolean
pt_cpu_combine_plan (PtOp *op, GError **error)
{
  PtCombinePlan *plan = op->priv = g_new0 (PtCombinePlan, 1);
  PtCombineDesc *desc = &plan->desc;

  *desc = op->desc.combine;
  if (desc->n_axes == 0)
    desc->axes[desc->n_axes++].n = 1;
  for (guint a = 0; a < desc->n_axes; a++) {
    plan->tables[a] = combine_copy_table (&desc->axes[a]);
    if (desc->axes[a].offsets != NULL && plan->tables[a] == NULL) {
      g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY, "no memory for a "
          "table of %" G_GINT64_FORMAT " rows", desc->axes[a].n);
      return FALSE;
    }
  }
  combine_choose (plan, op);
  return TRUE;
}
