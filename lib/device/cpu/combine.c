/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/combine.h"

#include <omp.h>

typedef struct
{
  const PtCombinePlan *plan;
  const gfloat *x;
  gfloat *y;
  gfloat *rooms;                /* scratch */
} CombineJob;

/* Where line @line reads, if each of its axes reads one place; below 0:
 * nothing. */
static gint64
combine_find_line (const PtCombineDesc *desc, gint64 line)
{
  gint64 offset = desc->base;

  for (guint a = desc->n_axes - 1; a-- > 0; line /= desc->axes[a].n) {
    const gint64 part = pt_combine_place (&desc->axes[a],
        line % desc->axes[a].n);

    if (part == PT_COMBINE_NOTHING)
      return -1;
    offset += part;
  }
  return offset;
}

PT_INLINE void
combine_fill (gfloat *y, gint64 n, gfloat fill)
{
#pragma omp simd
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
  const PtCombinePlan *plan = job->plan;
  const PtCombineDesc *desc = &plan->desc;
  const PtCombineRun *runs = (const PtCombineRun *) plan->runs->data;
  const gint64 n_runs = plan->runs->len;
  const gint64 length = pt_combine_inner (plan)->n * desc->block;

  for (gint64 i = begin; i < end;) {
    const gint64 line = i / n_runs, first = i % n_runs;
    const gint64 last = MIN (n_runs, first + end - i);
    const gint64 offset = combine_find_line (desc, line);
    gfloat *y = job->y + line * length;

    for (gint64 r = first; r < last; r++)
      if (offset < 0 || runs[r].offset == PT_COMBINE_NOTHING)
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
  const PtCombineAxis *inner = pt_combine_inner (job->plan);

  for (gint64 line = begin; line < end; line++) {
    const gint64 offset = combine_find_line (desc, line);
    gfloat *y = job->y + line * inner->n;
    const gfloat *x = job->x + MAX (offset, 0);

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

#define LANES 8

typedef gfloat Vec __attribute__ ((vector_size (4 * LANES)));
typedef gfloat VecAt __attribute__ ((vector_size (4 * LANES), aligned (4),
        may_alias));

/* A square of eight: each round shuffles two halves of the vectors like a pack
 * of cards, three rounds change rows and columns. */
PT_INLINE void
combine_turn_square (const gfloat *x, gint64 x_step, gfloat *y, gint64 y_step)
{
  Vec v[4][LANES];

#pragma GCC unroll 8
  for (gint i = 0; i < LANES; i++)
    v[0][i] = *(const VecAt *) (x + i * x_step);
#pragma GCC unroll 3
  for (gint round = 0; round < 3; round++)
#pragma GCC unroll 4
    for (gint i = 0; i < LANES / 2; i++) {
      const Vec a = v[round][i], b = v[round][i + LANES / 2];

      v[round + 1][2 * i] =
          __builtin_shufflevector (a, b, 0, 8, 1, 9, 2, 10, 3, 11);
      v[round + 1][2 * i + 1] =
          __builtin_shufflevector (a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    }
#pragma GCC unroll 8
  for (gint i = 0; i < LANES; i++)
    *(VecAt *) (y + i * y_step) = v[3][i];
}

/* A matrix of @rows lines whose beginnings lie side by side in x, at most TILE
 * of them: both sides read and write whole lines of the cache. */
PT_INLINE void
combine_turn (const gfloat *x, gint64 x_step, gfloat *y, gint64 y_step,
    gint64 rows, gint64 columns)
{
  for (; columns >= LANES; columns -= LANES) {
    gint64 row = 0;

    for (; row + LANES <= rows; row += LANES)
      combine_turn_square (x + row, x_step, y + row * y_step, y_step);
    for (; row < rows; row++)
      for (gint64 c = 0; c < LANES; c++)
        y[row * y_step + c] = x[c * x_step + row];
    x += LANES * x_step;
    y += LANES;
  }
  for (gint64 c = 0; c < columns; c++)
    for (gint64 row = 0; row < rows; row++)
      y[row * y_step + c] = x[c * x_step + row];
}

/* Items are lines, but along one axis TILE of them are one. */
static PT_CLONES void
combine_transpose (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const PtCombineDesc *desc = &job->plan->desc;
  const PtCombineAxis *inner = pt_combine_inner (job->plan);
  const guint across = job->plan->across - 1;
  const gint64 height = desc->axes[across].n;
  const gint64 tiles = (height + PT_COMBINE_TILE - 1) / PT_COMBINE_TILE;
  gint64 step = 1;

  for (guint a = across + 1; a + 1 < desc->n_axes; a++)
    step *= desc->axes[a].n;
  for (gint64 i = begin; i < end; i++) {
    const gint64 inside = i % step, tile = i / step % tiles;
    const gint64 outside = i / step / tiles, row = tile * PT_COMBINE_TILE;
    const gint64 line = (outside * height + row) * step + inside;
    const gint64 rows = MIN (height - row, PT_COMBINE_TILE);
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

/* y[i rows + r] = x[r step + i], or with @apart y[r step + i] = x[i rows + r] */
PT_INLINE void
combine_weave_rows (const gfloat *x, gfloat *y, gint64 step, gint64 n,
    const gint64 rows, const gboolean apart)
{
#pragma omp simd
  for (gint64 i = 0; i < n; i++)
#pragma GCC unroll 8
    for (gint64 r = 0; r < rows; r++)
      if (apart)
        y[r * step + i] = x[i * rows + r];
      else
        y[i * rows + r] = x[r * step + i];
}

PT_INLINE void
combine_weave_some (const gfloat *x, gfloat *y, gint64 step, gint64 n,
    guint rows, const gboolean apart)
{
  switch (rows) {
    case 2:
      combine_weave_rows (x, y, step, n, 2, apart);
      break;
    case 3:
      combine_weave_rows (x, y, step, n, 3, apart);
      break;
    case 4:
      combine_weave_rows (x, y, step, n, 4, apart);
      break;
    default:
      combine_weave_rows (x, y, step, n, PT_COMBINE_WEAVE, apart);
  }
}

/* Items are what the two innermost axes span. */
static PT_CLONES void
combine_weave (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const PtCombineDesc *desc = &job->plan->desc;
  const PtCombineAxis *inner = pt_combine_inner (job->plan), *outer = inner - 1;
  const guint rows = job->plan->weave;

  for (gint64 i = begin; i < end; i++) {
    const gint64 offset = combine_find_line (desc, i * outer->n);
    gfloat *y = job->y + i * outer->n * inner->n;

    if (offset < 0)
      combine_fill (y, outer->n * inner->n, desc->fill);
    else if (outer->n < inner->n)
      combine_weave_some (job->x + offset, y, inner->n, inner->n, rows, TRUE);
    else
      combine_weave_some (job->x + offset, y, inner->stride, outer->n, rows,
          FALSE);
  }
}

/* -- sums -- */

/* Some of what is added, up to TAPS. */
typedef struct
{
  const gfloat *x[PT_COMBINE_TAPS];
  gfloat weights[PT_COMBINE_TAPS];
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

/* What the outer axes read for one line. */
typedef struct
{
  PtCombineSpan spans[PT_COMBINE_MAX_AXES];
  gint64 at[PT_COMBINE_MAX_AXES];
  gboolean more;
  CombineTaps taps;             /* those at hand */
} CombineLine;

/* The next taps, or what is left. */
static void
combine_line_next (CombineLine *self, const CombineJob *job)
{
  const PtCombineDesc *desc = &job->plan->desc;
  CombineTaps *taps = &self->taps;

  for (taps->n = 0; self->more && taps->n < PT_COMBINE_TAPS; taps->n++) {
    gint64 offset = desc->base;
    gfloat weight = 1;
    gint a;

    for (a = 0; a < (gint) desc->n_axes - 1; a++) {
      offset += pt_combine_offset (&desc->axes[a], self->at[a]);
      weight *= pt_combine_weight (&desc->axes[a], self->at[a]);
    }
    taps->x[taps->n] = job->x + offset;
    taps->weights[taps->n] = weight;
    while (--a >= 0 && ++self->at[a] == self->spans[a].end)
      self->at[a] = self->spans[a].begin;
    self->more = a >= 0;
  }
}

/* The first of them; none if one of the axes reads nothing. */
static void
combine_line_begin (CombineLine *self, const CombineJob *job, gint64 line)
{
  const PtCombineDesc *desc = &job->plan->desc;

  self->more = TRUE;
  for (guint a = desc->n_axes - 1; a-- > 0; line /= desc->axes[a].n) {
    self->spans[a] = pt_combine_span (&desc->axes[a], line % desc->axes[a].n);
    self->at[a] = self->spans[a].begin;
    self->more &= self->spans[a].begin < self->spans[a].end;
  }
  combine_line_next (self, job);
}

/* What the innermost axis reads, with the outer axes' sum done: x itself, or
 * @room. */
PT_INLINE const gfloat *
combine_blend (const CombineJob *job, CombineLine *line, gfloat *room)
{
  const PtCombinePlan *plan = job->plan;
  CombineTaps *taps = &line->taps;
  gboolean first = TRUE;

  if (taps->n == 1 && taps->weights[0] == 1)
    return taps->x[0];
  for (; taps->n > 0; combine_line_next (line, job), first = FALSE) {
    for (guint t = 0; t < taps->n; t++)
      taps->x[t] += plan->low;
    combine_add (room, taps, plan->extent, first);
  }
  return room - plan->low;
}

/* Elements @from to @to - 1 of a line, each of as many taps. */
PT_INLINE void
combine_sum_even (const PtCombinePlan *plan, const gfloat *x, gint64 from,
    gint64 to, gfloat *y)
{
  const gint64 length = pt_combine_inner (plan)->n * plan->desc.block;
  const gint32 *offsets = plan->even_offsets + from;
  const gfloat *weights = plan->even_weights + from;

#pragma omp simd
  for (gint64 i = 0; i < to - from; i++)
    y[i] = weights[i] * x[offsets[i]];
  for (gint64 t = 1; t < plan->even; t++) {
    offsets += length;
    weights += length;
#pragma omp simd
    for (gint64 i = 0; i < to - from; i++)
      y[i] += weights[i] * x[offsets[i]];
  }
}

/* A row of a block of any size. */
PT_INLINE void
combine_sum_block (const PtCombineDesc *desc, const gfloat *x, gint64 row,
    gfloat *y)
{
  const PtCombineAxis *inner = &desc->axes[desc->n_axes - 1];
  const PtCombineSpan span = pt_combine_span (inner, row);
  CombineTaps taps = {.n = 0 };
  gboolean first = TRUE;

  if (span.begin == span.end)
    combine_fill (y, desc->block, desc->fill);
  for (gint64 k = span.begin; k < span.end; k++) {
    taps.x[taps.n] = x + pt_combine_offset (inner, k);
    taps.weights[taps.n++] = pt_combine_weight (inner, k);
    if (taps.n < PT_COMBINE_TAPS && k + 1 < span.end)
      continue;
    combine_add (y, &taps, desc->block, first);
    taps.n = 0;
    first = FALSE;
  }
}

/* Items are the rows of all lines. */
static PT_CLONES void
combine_sum (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const PtCombineDesc *desc = &job->plan->desc;
  const gint64 n = pt_combine_inner (job->plan)->n;
  gfloat *room = job->rooms + omp_get_thread_num () * job->plan->room;

  for (gint64 i = begin; i < end;) {
    const gint64 from = i % n, to = MIN (n, from + end - i);
    gfloat *y = job->y + i * desc->block;
    CombineLine line;
    const gfloat *x;

    combine_line_begin (&line, job, i / n);
    i += to - from;
    if (line.taps.n == 0) {
      combine_fill (y, (to - from) * desc->block, desc->fill);
      continue;
    }
    x = combine_blend (job, &line, room);
    if (job->plan->even > 0)
      combine_sum_even (job->plan, x, from * desc->block, to * desc->block, y);
    else
      for (gint64 row = from; row < to; row++, y += desc->block)
        combine_sum_block (desc, x, row, y);
  }
}

/* The same where what a line reads lies too far apart to be summed first: each
 * tap of the outer axes goes over the whole line. */
static PT_CLONES void
combine_sum_apart (gconstpointer data, gint64 begin, gint64 end)
{
  const CombineJob *job = data;
  const PtCombineDesc *desc = &job->plan->desc;
  const PtCombineAxis *inner = pt_combine_inner (job->plan);

  for (gint64 i = begin; i < end; i++) {
    const PtCombineSpan span = pt_combine_span (inner, i % inner->n);
    gfloat *y = job->y + i * desc->block;
    gboolean first = TRUE;
    CombineLine line;

    for (gint64 k = span.begin; k < span.end; k++) {
      combine_line_begin (&line, job, i / inner->n);
      for (; line.taps.n > 0; combine_line_next (&line, job), first = FALSE) {
        for (guint t = 0; t < line.taps.n; t++) {
          line.taps.x[t] += pt_combine_offset (inner, k);
          line.taps.weights[t] *= pt_combine_weight (inner, k);
        }
        combine_add (y, &line.taps, desc->block, first);
      }
    }
    if (first)
      combine_fill (y, desc->block, desc->fill);
  }
}

static gboolean
combine_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const PtCombinePlan *plan = op->priv;
  const PtTensor *scratch = op->workspace->scratch;
  const CombineJob job = { plan, args->x->data, args->y->data,
    scratch != NULL ? scratch->data : NULL
  };
  const gint64 n = pt_combine_inner (plan)->n, length = n * plan->desc.block;
  gint64 lines = plan->lines;

  if (plan->runs != NULL)
    pt_cpu_for (op, lines * plan->runs->len, length / plan->runs->len + 1,
        combine_copy_runs, &job);
  else if (plan->taps > 0)
    pt_cpu_for (op, lines * n, plan->desc.block * plan->taps,
        plan->extent > 0 ? combine_sum : combine_sum_apart, &job);
  else if (plan->weave > 0) {
    const gint64 height = plan->desc.axes[plan->desc.n_axes - 2].n;

    pt_cpu_for (op, lines / height, length * height, combine_weave, &job);
  } else if (plan->across > 0) {
    const gint64 height = plan->desc.axes[plan->across - 1].n;
    const gint64 tiles = (height + PT_COMBINE_TILE - 1) / PT_COMBINE_TILE;

    lines = lines / height * tiles;
    pt_cpu_for (op, lines, length * height / tiles, combine_transpose, &job);
  } else
    pt_cpu_for (op, lines, length, combine_pick, &job);
  return TRUE;
}

const PtOpImpl pt_cpu_combine = {
  .plan = pt_cpu_combine_plan,
  .run = combine_run,
  .clear = pt_cpu_combine_clear,
};
