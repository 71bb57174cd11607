/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

/* Three kernels: copies of runs of elements; single elements from here and
 * there; and sums. */

#define COMBINE_TAPS 16         /* that a sum takes at a time */
#define COMBINE_TILE 16         /* elements of a line of the cache */
#define COMBINE_MAX_RUN 16384   /* a longer one is cut, for the threads */
#define COMBINE_MIN_RUN 4       /* shorter on the average: single elements */

/* Elements of one line of y, which is all that the innermost axis and the
 * block span. */
typedef struct
{
  gint32 at;                    /* in the line */
  gint32 n;
  gint64 offset;                /* in x; G_MININT64: there are none */
} CombineRun;

typedef struct
{
  PtCombineDesc desc;           /* with tables of its own */
  gint32 *tables[PT_COMBINE_MAX_AXES];
  gint64 lines;                 /* rows of all axes but the innermost */
  gint64 taps;                  /* of a row, on the average, rounded up */
  GArray *runs;                 /* NULL: single elements or sums */
  guint across;                 /* an axis + 1 along which x is read without
                                 * steps, where the innermost has them; 0:
                                 * none */
} CombinePlan;

typedef struct
{
  const CombinePlan *plan;
  const gfloat *x;
  gfloat *y;
} CombineJob;

static inline const PtCombineAxis *
combine_inner (const CombinePlan *plan)
{
  return &plan->desc.axes[plan->desc.n_axes - 1];
}

/* What one row of an axis reads. */
typedef struct
{
  gint64 begin, end;            /* into the tables; one without them */
} CombineSpan;

PT_INLINE CombineSpan
combine_span (const PtCombineAxis *axis, gint64 row)
{
  if (axis->rows != NULL)
    return (CombineSpan) { axis->rows[row], axis->rows[row + 1] };
  if (axis->offsets == NULL)
    return (CombineSpan) { row, row + 1 };
  return (CombineSpan) { row, row + (axis->offsets[row] >= 0) };
}

PT_INLINE gint64
combine_offset (const PtCombineAxis *axis, gint64 tap)
{
  return axis->offsets != NULL ? axis->offsets[tap] : tap * axis->stride;
}

PT_INLINE gfloat
combine_weight (const PtCombineAxis *axis, gint64 tap)
{
  return axis->weights != NULL ? axis->weights[tap] : 1;
}

/* Where line @line reads, if each of its axes reads one place; below 0:
 * nothing. */
static gint64
combine_find_line (const PtCombineDesc *desc, gint64 line)
{
  gint64 offset = desc->base;

  for (guint a = desc->n_axes - 1; a-- > 0; line /= desc->axes[a].n) {
    const PtCombineAxis *axis = &desc->axes[a];
    const gint64 part = combine_offset (axis, line % axis->n);

    if (axis->offsets != NULL && part < 0)
      return -1;
    offset += part;
  }
  return offset;
}

static void
combine_fill (gfloat *y, gint64 n, gfloat fill)
{
  for (gint64 i = 0; i < n; i++)
    y[i] = fill;
}

/* -- copies -- */

PT_INLINE void
combine_copy (gfloat *y, const gfloat *x, gint64 n)
{
  if (n > 32)
    memcpy (y, x, n * sizeof *y);
  else
    for (gint64 i = 0; i < n; i++)
      y[i] = x[i];
}

/* Items are the runs of all lines. */
static PT_CLONES void
combine_copy_runs (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const CombinePlan *plan = job->plan;
  const PtCombineDesc *desc = &plan->desc;
  const CombineRun *runs = (const CombineRun *) plan->runs->data;
  const gint64 n_runs = plan->runs->len;
  const gint64 length = combine_inner (plan)->n * desc->block;

  for (gint64 i = begin; i < end;) {
    const gint64 line = i / n_runs, first = i % n_runs;
    const gint64 last = MIN (n_runs, first + end - i);
    const gint64 offset = combine_find_line (desc, line);
    gfloat *y = job->y + line * length;

    for (gint64 r = first; r < last; r++)
      if (offset < 0 || runs[r].offset == G_MININT64)
        combine_fill (y + runs[r].at, runs[r].n, desc->fill);
      else
        combine_copy (y + runs[r].at, job->x + offset + runs[r].offset,
            runs[r].n);
    i += last - first;
  }
}

/* Items are lines. */
static PT_CLONES void
combine_pick (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const PtCombineDesc *desc = &job->plan->desc;
  const PtCombineAxis *inner = combine_inner (job->plan);

  for (gint64 line = begin; line < end; line++) {
    const gint64 offset = combine_find_line (desc, line);
    gfloat *y = job->y + line * inner->n;
    const gfloat *x = job->x + offset;

    if (offset < 0)
      combine_fill (y, inner->n, desc->fill);
    else if (inner->offsets == NULL)
      for (gint64 i = 0; i < inner->n; i++)
        y[i] = x[i * inner->stride];
    else
      for (gint64 i = 0; i < inner->n; i++) {
        const gint32 at = inner->offsets[i];

        y[i] = at < 0 ? desc->fill : x[at];
      }
  }
}

/* A matrix of @rows lines whose beginnings lie side by side in x. */
static inline __attribute__ ((always_inline)) void
combine_turn (const gfloat *x, gint64 x_step, gfloat *y, gint64 y_step,
    gint64 rows, gint64 columns)
{
  for (gint64 from = 0; from < columns; from += COMBINE_TILE) {
    const gint64 n = MIN (columns - from, COMBINE_TILE);

    for (gint64 r = 0; r < rows; r++)
      for (gint64 c = 0; c < n; c++)
        y[r * y_step + from + c] = x[(from + c) * x_step + r];
  }
}

/* Items are lines, but along one axis TILE of them are one. */
static PT_CLONES void
combine_transpose (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const PtCombineDesc *desc = &job->plan->desc;
  const PtCombineAxis *inner = combine_inner (job->plan);
  const guint across = job->plan->across - 1;
  const gint64 height = desc->axes[across].n;
  const gint64 tiles = (height + COMBINE_TILE - 1) / COMBINE_TILE;
  gint64 step = 1;

  for (guint a = across + 1; a + 1 < desc->n_axes; a++)
    step *= desc->axes[a].n;
  for (gint64 i = begin; i < end; i++) {
    const gint64 inside = i % step, tile = i / step % tiles;
    const gint64 outside = i / step / tiles, row = tile * COMBINE_TILE;
    const gint64 line = (outside * height + row) * step + inside;
    const gint64 rows = MIN (height - row, COMBINE_TILE);
    const gint64 offset = combine_find_line (desc, line);
    gfloat *y = job->y + line * inner->n;

    if (offset >= 0)
      combine_turn (job->x + offset, inner->stride, y, step * inner->n, rows,
          inner->n);
    else
      for (gint64 r = 0; r < rows; r++)
        combine_fill (y + r * step * inner->n, inner->n, desc->fill);
  }
}

/* -- sums -- */

typedef struct
{
  const gfloat *x[COMBINE_TAPS];
  gfloat weights[COMBINE_TAPS];
  guint n;
} CombineTaps;

/* y = (or +=) the sum of @count taps from @t on, at most four. */
PT_INLINE void
combine_add_some (gfloat *y, const CombineTaps *taps, guint t,
    const guint count, gint64 n, gboolean first)
{
  const gfloat *const *x = taps->x + t;
  const gfloat *w = taps->weights + t;
  const gfloat a = w[0], b = count > 1 ? w[1] : 0;
  const gfloat c = count > 2 ? w[2] : 0, d = count > 3 ? w[3] : 0;

#pragma omp simd
  for (gint64 i = 0; i < n; i++) {
    gfloat sum = a * x[0][i];

    if (count > 1)
      sum += b * x[1][i];
    if (count > 2)
      sum += c * x[2][i] + d * x[3][i];
    y[i] = first ? sum : y[i] + sum;
  }
}

PT_INLINE void
combine_add (gfloat *y, const CombineTaps *taps, gint64 n, gboolean first)
{
  guint t = 0;

  for (; t + 4 <= taps->n; t += 4, first = FALSE)
    if (first)
      combine_add_some (y, taps, t, 4, n, TRUE);
    else
      combine_add_some (y, taps, t, 4, n, FALSE);
  for (; t + 2 <= taps->n; t += 2, first = FALSE)
    combine_add_some (y, taps, t, 2, n, first);
  if (t < taps->n)
    combine_add_some (y, taps, t, 1, n, first);
}

/* What the outer axes read for one line: some of it at a time. */
typedef struct
{
  CombineSpan spans[PT_COMBINE_MAX_AXES];
  gint64 at[PT_COMBINE_MAX_AXES];
  gboolean more;
  gint64 offsets[COMBINE_TAPS];
  gfloat weights[COMBINE_TAPS];
  guint n;
} CombineLine;

static void
combine_line_begin (CombineLine *self, const PtCombineDesc *desc, gint64 line)
{
  self->more = TRUE;
  for (guint a = desc->n_axes - 1; a-- > 0; line /= desc->axes[a].n) {
    self->spans[a] = combine_span (&desc->axes[a], line % desc->axes[a].n);
    self->at[a] = self->spans[a].begin;
    self->more &= self->spans[a].begin < self->spans[a].end;
  }
}

/* The next TAPS of them, or what is left. */
static void
combine_line_next (CombineLine *self, const PtCombineDesc *desc)
{
  for (self->n = 0; self->more && self->n < COMBINE_TAPS; self->n++) {
    gint64 offset = desc->base;
    gfloat weight = 1;
    gint a;

    for (a = 0; a < (gint) desc->n_axes - 1; a++) {
      offset += combine_offset (&desc->axes[a], self->at[a]);
      weight *= combine_weight (&desc->axes[a], self->at[a]);
    }
    self->offsets[self->n] = offset;
    self->weights[self->n] = weight;
    while (--a >= 0 && ++self->at[a] == self->spans[a].end)
      self->at[a] = self->spans[a].begin;
    self->more = a >= 0;
  }
}

/* Block @row of a line, as far as @line has its taps. */
PT_INLINE void
combine_sum_block (const CombineJob *job, const CombineLine *line, gint64 row,
    gfloat *y, gboolean first)
{
  const PtCombineDesc *desc = &job->plan->desc;
  const PtCombineAxis *inner = combine_inner (job->plan);
  const CombineSpan span = combine_span (inner, row);
  CombineTaps taps = {.n = 0 };

  if (span.begin == span.end && first)
    combine_fill (y, desc->block, desc->fill);
  for (gint64 k = span.begin; k < span.end; k++) {
    const gint64 offset = combine_offset (inner, k);
    const gfloat weight = combine_weight (inner, k);

    for (guint o = 0; o < line->n; o++) {
      taps.x[taps.n] = job->x + offset + line->offsets[o];
      taps.weights[taps.n++] = weight * line->weights[o];
      if (taps.n == COMBINE_TAPS) {
        combine_add (y, &taps, desc->block, first);
        taps.n = 0;
        first = FALSE;
      }
    }
  }
  if (taps.n > 0)
    combine_add (y, &taps, desc->block, first);
}

/* The same for a block of one. */
PT_INLINE void
combine_sum_one (const CombineJob *job, const CombineLine *line, gint64 row,
    gfloat *y, gboolean first)
{
  const PtCombineAxis *inner = combine_inner (job->plan);
  const CombineSpan span = combine_span (inner, row);
  gfloat sum = 0;

  for (gint64 k = span.begin; k < span.end; k++) {
    const gfloat *x = job->x + combine_offset (inner, k);
    gfloat part = 0;

    for (guint o = 0; o < line->n; o++)
      part += line->weights[o] * x[line->offsets[o]];
    sum += combine_weight (inner, k) * part;
  }
  if (!first)
    *y += sum;
  else
    *y = span.begin < span.end ? sum : job->plan->desc.fill;
}

/* Items are the rows of all lines. */
static PT_CLONES void
combine_sum (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const PtCombineDesc *desc = &job->plan->desc;
  const gint64 n = combine_inner (job->plan)->n;

  for (gint64 i = begin; i < end;) {
    const gint64 from = i % n, to = MIN (n, from + end - i);
    gfloat *y = job->y + i * desc->block;
    CombineLine line;
    gboolean first = TRUE;

    combine_line_begin (&line, desc, i / n);
    if (!line.more)
      combine_fill (y, (to - from) * desc->block, desc->fill);
    for (; line.more; first = FALSE) {
      combine_line_next (&line, desc);
      for (gint64 row = from; row < to; row++)
        if (desc->block == 1)
          combine_sum_one (job, &line, row, y + row - from, first);
        else
          combine_sum_block (job, &line, row, y + (row - from) * desc->block,
              first);
    }
    i += to - from;
  }
}

static gboolean
combine_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const CombinePlan *plan = op->priv;
  const CombineJob job = { plan, args->x->data, args->y->data };
  const gint64 n = combine_inner (plan)->n, length = n * plan->desc.block;
  gint64 lines = plan->lines;

  if (plan->runs != NULL)
    pt_cpu_for (op, lines * plan->runs->len, length / plan->runs->len + 1,
        combine_copy_runs, &job);
  else if (plan->taps > 0)
    pt_cpu_for (op, lines * n, plan->desc.block * plan->taps, combine_sum,
        &job);
  else if (plan->across > 0) {
    const gint64 height = plan->desc.axes[plan->across - 1].n;
    const gint64 tiles = (height + COMBINE_TILE - 1) / COMBINE_TILE;

    lines = lines / height * tiles;
    pt_cpu_for (op, lines, length * height / tiles, combine_transpose, &job);
  } else
    pt_cpu_for (op, lines, length, combine_pick, &job);
  return TRUE;
}

/* -- planning -- */

/* Rows that lie in x as they do in y are one run. */
static void
combine_find_runs (CombinePlan *plan)
{
  const PtCombineAxis *inner = combine_inner (plan);
  const gint64 block = plan->desc.block;
  GArray *runs = g_array_new (FALSE, FALSE, sizeof (CombineRun));
  CombineRun *last = NULL;

  for (gint64 i = 0; i < inner->n; i++) {
    const gint64 offset = combine_offset (inner, i);
    const gboolean none = inner->offsets != NULL && offset < 0;

    for (gint64 at = 0, n; at < block; at += n) {
      CombineRun run = { i * block + at };

      n = run.n = MIN (block - at, COMBINE_MAX_RUN);
      run.offset = none ? G_MININT64 : offset + at;
      if (last != NULL && last->n + n <= COMBINE_MAX_RUN && (none ?
              last->offset == G_MININT64 : last->offset != G_MININT64
              && last->offset + last->n == run.offset)) {
        last->n += n;
        continue;
      }
      g_array_append_val (runs, run);
      last = &g_array_index (runs, CombineRun, runs->len - 1);
    }
  }
  if (block > 1 || inner->n >= COMBINE_MIN_RUN * (gint64) runs->len)
    plan->runs = runs;
  else
    g_array_unref (runs);
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

static void
combine_clear (PtOp *op)
{
  CombinePlan *plan = op->priv;

  if (plan == NULL)
    return;
  for (guint a = 0; a < PT_COMBINE_MAX_AXES; a++)
    g_free (plan->tables[a]);
  g_clear_pointer (&plan->runs, g_array_unref);
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

static void
combine_choose (CombinePlan *plan)
{
  const PtCombineDesc *desc = &plan->desc;
  const PtCombineAxis *inner = combine_inner (plan);

  plan->lines = 1;
  for (guint a = 0; a + 1 < desc->n_axes; a++)
    plan->lines *= desc->axes[a].n;
  plan->taps = combine_count_taps (desc);
  if (plan->taps > 0)
    return;
  for (guint a = 0; a + 1 < desc->n_axes; a++)
    if (desc->block == 1 && inner->offsets == NULL && inner->stride != 1 &&
        desc->axes[a].offsets == NULL && desc->axes[a].stride == 1 &&
        desc->axes[a].n > 1)
      plan->across = a + 1;
  if (plan->across == 0)
    combine_find_runs (plan);
}

static gboolean
combine_plan (PtOp *op, GError **error)
{
  CombinePlan *plan = op->priv = g_new0 (CombinePlan, 1);
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
  combine_choose (plan);
  return TRUE;
}

const PtOpImpl pt_cpu_combine = {
  .plan = combine_plan,
  .run = combine_run,
  .clear = combine_clear,
};
