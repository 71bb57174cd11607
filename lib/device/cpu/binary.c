/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cpu/kernel.h"

#include "core/walk.h"

/* Elementwise operations of two operands with broadcasting, and the gradients
 * of either. All of them are made of runs along the innermost dimension of the
 * result's memory, in segments. What a segment gives is stored or, where the
 * target repeats, added in double to one of few sums, in an order that hangs
 * on the shapes only. */

#define BINARY_SEGMENT 1024
#define BINARY_MAX_PERIOD 64    /* shorter rows are taken several at once */
#define BINARY_ITEMS 32         /* enough for the threads to share */
#define BINARY_BLOCK 16384      /* elements that are worth an item */

/* -- one run -- */

/* Operands with their strides, 0 or more, a run of dy, and what comes out. */
typedef void (*BinaryFunc) (const gfloat *a, gint64 sa, const gfloat *b,
    gint64 sb, const gfloat *dy, gfloat *out, gint64 n);

/* Defines binary_<name>: out[i] = @expression of p = a[i], q = b[i], dy[i]. */
#define BINARY_LOOP(left, right, expression) \
  _Pragma ("omp simd") \
  for (gint64 i = 0; i < n; i++) { \
    const gfloat p = (left), q = (right); \
\
    (void) p; \
    (void) q; \
    out[i] = (expression); \
  }

#define BINARY(name, expression) \
static PT_CLONES void \
binary_##name (const gfloat *a, gint64 sa, const gfloat *b, gint64 sb, \
    const gfloat *dy, gfloat *out, gint64 n) \
{ \
  const gfloat a0 = *a, b0 = *b; \
\
  (void) dy; \
  if (sa == 1 && sb == 1) { \
    BINARY_LOOP (a[i], b[i], expression) \
  } else if (sa == 1 && sb == 0) { \
    BINARY_LOOP (a[i], b0, expression) \
  } else if (sa == 0 && sb == 1) { \
    BINARY_LOOP (a0, b[i], expression) \
  } else { \
    BINARY_LOOP (a[i * sa], b[i * sb], expression) \
  } \
}

/* x^2, and what its derivative needs, are worth a way of their own. */
PT_INLINE gfloat
binary_power (gfloat x, gfloat e)
{
  return e == 2.f ? x * x : e == 1.f ? x : powf (x, e);
}

/* PyTorch's pow_backward() and its exponent's */
PT_INLINE gfloat
binary_pow_slope (gfloat x, gfloat e)
{
  return e == 0.f ? 0.f : e * binary_power (x, e - 1.f);
}

PT_INLINE gfloat
binary_pow_exponent_slope (gfloat x, gfloat e)
{
  return x == 0.f && e >= 0.f ? 0.f : powf (x, e) * logf (x);
}

BINARY (add, p + q)
BINARY (sub, p - q)
BINARY (mul, p * q)
BINARY (div, p / q)
BINARY (pow, binary_power (p, q))
BINARY (min, p < q || p != p ? p : q)
BINARY (max, p > q || p != p ? p : q)
BINARY (prelu, p > 0.f ? p : q * p)
BINARY (mask, q != 0.f ? p : 0.f)
BINARY (eq, p == q)
BINARY (lt, p < q)
BINARY (le, p <= q)
BINARY (zero, 0.f)
BINARY (copy_dy, dy[i])
BINARY (neg_dy, -dy[i])
BINARY (mul_da, dy[i] * q)
BINARY (mul_db, dy[i] * p)
BINARY (div_da, dy[i] / q)
BINARY (div_db, -dy[i] * (p / q / q))
BINARY (pow_da, dy[i] * binary_pow_slope (p, q))
BINARY (pow_db, dy[i] * binary_pow_exponent_slope (p, q))
BINARY (less_da, p == q ? dy[i] / 2.f : p > q ? 0.f : dy[i])
BINARY (more_da, p == q ? dy[i] / 2.f : p < q ? 0.f : dy[i])
BINARY (prelu_da, p > 0.f ? dy[i] : q * dy[i])
BINARY (prelu_db, p > 0.f ? 0.f : p * dy[i])
BINARY (mask_da, q != 0.f ? dy[i] : 0.f)

/* y, and the gradients of the first and the second operand. */
static const BinaryFunc binary_funcs[PT_N_BINARIES][3] = {
  [PT_BINARY_ADD] = { binary_copy_dy, binary_copy_dy, binary_add },
  [PT_BINARY_SUB] = { binary_copy_dy, binary_neg_dy, binary_sub },
  [PT_BINARY_MUL] = { binary_mul_da, binary_mul_db, binary_mul },
  [PT_BINARY_DIV] = { binary_div_da, binary_div_db, binary_div },
  [PT_BINARY_POW] = { binary_pow_da, binary_pow_db, binary_pow },
  [PT_BINARY_MIN] = { binary_less_da, binary_more_da, binary_min },
  [PT_BINARY_MAX] = { binary_more_da, binary_less_da, binary_max },
  [PT_BINARY_PRELU] = { binary_prelu_da, binary_prelu_db, binary_prelu },
  [PT_BINARY_MASK] = { binary_mask_da, binary_zero, binary_mask },
  [PT_BINARY_EQ] = { binary_zero, binary_zero, binary_eq },
  [PT_BINARY_LT] = { binary_zero, binary_zero, binary_lt },
  [PT_BINARY_LE] = { binary_zero, binary_zero, binary_le },
};

/* -- planning -- */

typedef struct
{
  PtWalk walk;
  BinaryFunc func;
  guint target;                 /* PT_WALK_A, B: its gradient; Y: the result */
  guint inner;                  /* the dimension that runs go along */
  gboolean inner_kept;
  gint64 run;                   /* elements of it */
  gint64 segment;               /* cut into pieces of so many */
  /* how many there are of what is kept, and of what is added up: rows and
   * segments of a row */
  gint64 kept, kept_segments, added, added_segments;
  gint64 blocks;                /* into which the latter are cut */
  /* Rows of @period elements one after another, of which operand @repeated
   * has but one: a copy of it as long as a segment stands in the scratch
   * memory. 0: there are none such. */
  gint64 period;
  guint repeated;
} Binary;

/* Whether the walk is rows of one operand with a short row of the other. */
static gboolean
binary_find_period (Binary *self)
{
  const PtWalk *w = &self->walk;
  const guint outer = 1 - self->inner;

  if (w->n_dims != 2 || w->dims[self->inner] > BINARY_MAX_PERIOD
      || w->strides[PT_WALK_Y][outer] != w->dims[self->inner])
    return FALSE;
  for (guint i = 0; i < 2; i++)
    if (w->strides[i][outer] == 0
        && w->strides[1 - i][outer] == w->dims[self->inner]
        && w->strides[1 - i][self->inner] == 1) {
      self->period = w->dims[self->inner];
      self->repeated = i;
      return TRUE;
    }
  return FALSE;
}

static void
binary_cut (Binary *self)
{
  const PtWalk *w = &self->walk;
  const gint64 all = pt_walk_count (w, 0, w->n_dims);
  gint64 segments, items;

  if (binary_find_period (self)) {
    self->run = all;
    self->segment = BINARY_SEGMENT / self->period * self->period;
    self->kept = self->added = 1;
    self->inner_kept = self->target != self->repeated;
  } else {
    self->run = w->dims[self->inner];
    self->segment = BINARY_SEGMENT;
    self->kept = pt_walk_count (w, 0, w->n_kept) /
        (self->inner_kept ? self->run : 1);
    self->added = pt_walk_count (w, w->n_kept, w->n_dims) /
        (self->inner_kept ? 1 : self->run);
  }
  segments = (self->run + self->segment - 1) / self->segment;
  self->kept_segments = self->inner_kept ? segments : 1;
  self->added_segments = self->inner_kept ? 1 : segments;
  items = self->kept * self->kept_segments;
  self->blocks = MIN (BINARY_ITEMS / items, all / items / BINARY_BLOCK);
  self->blocks = CLAMP (self->blocks, 1, self->added * self->added_segments);
}

/* Numbers that one item adds up. */
static gint64
binary_get_width (const Binary *self)
{
  return self->period > 0 || self->inner_kept ? MIN (self->segment,
      self->run) : 1;
}

static gsize
binary_get_period_size (const Binary *self)
{
  return self->period > 0 ? self->segment * sizeof (gdouble) : 0;
}

static gboolean
binary_plan (PtOp *op, GError **error)
{
  const PtBinaryDesc *desc = &op->desc.elementwise;
  Binary *self = op->priv = g_new0 (Binary, 1);
  PtWalk *w = &self->walk;

  self->target = op->desc.type == PT_OP_BINARY ? PT_WALK_Y : desc->wanted;
  self->func = binary_funcs[desc->kind][self->target];
  pt_walk_init (w, &op->desc.y, desc->strides, self->target);
  self->inner_kept = w->n_kept == w->n_dims || (w->n_kept > 0 &&
      w->strides[PT_WALK_Y][w->n_kept - 1] == 1);
  self->inner = (self->inner_kept ? w->n_kept : w->n_dims) - 1;
  binary_cut (self);
  op->scratch_size = binary_get_period_size (self) + (self->blocks == 1 ? 0 :
      self->kept * self->kept_segments * self->blocks *
      binary_get_width (self) * sizeof (gdouble));
  return TRUE;
}

static void
binary_clear (PtOp *op)
{
  g_free (op->priv);
}

/* -- running -- */

typedef struct
{
  const Binary *self;
  const gfloat *operands[2];
  const gfloat *dy;
  gfloat *out;
  gdouble *parts;               /* of each item, where there are blocks */
} BinaryJob;

/* A place in the memories of the walk. */
typedef struct
{
  gint64 index[PT_MAX_DIMS];
  gint64 at[PT_WALK_N];
} BinaryCursor;

/* Dimensions @from to @end but the innermost one, to element @i. */
static void
binary_seek (const Binary *self, BinaryCursor *cursor, guint from, guint end,
    gint64 i)
{
  const PtWalk *w = &self->walk;

  for (guint d = end; d-- > from;)
    if (d != self->inner) {
      cursor->index[d] = i % w->dims[d];
      for (guint k = 0; k < PT_WALK_N; k++)
        cursor->at[k] += cursor->index[d] * w->strides[k][d];
      i /= w->dims[d];
    }
}

/* One on. */
static void
binary_step (const Binary *self, BinaryCursor *cursor, guint from, guint end)
{
  const PtWalk *w = &self->walk;

  for (guint d = end; d-- > from;) {
    gboolean carry;

    if (d == self->inner)
      continue;
    carry = ++cursor->index[d] == w->dims[d];
    for (guint k = 0; k < PT_WALK_N; k++)
      cursor->at[k] += w->strides[k][d] * (carry ? 1 - w->dims[d] : 1);
    if (!carry)
      return;
    cursor->index[d] = 0;
  }
}

/* Segment @segment of the run at @cursor; returns how long it is. */
static gint64
binary_run_segment (const BinaryJob *job, const BinaryCursor *cursor,
    gint64 segment, gfloat *out)
{
  const Binary *self = job->self;
  const gint64 first = segment * self->segment;
  const gint64 n = MIN (self->segment, self->run - first);
  const gfloat *at[2];
  gint64 strides[2];

  for (guint k = 0; k < 2; k++) {
    const gboolean repeats = self->period > 0 && k == self->repeated;

    strides[k] = repeats ? 1 : self->walk.strides[k][self->inner];
    at[k] = job->operands[k] +
        (repeats ? 0 : cursor->at[k] + first * strides[k]);
  }
  self->func (at[0], strides[0], at[1], strides[1], job->dy == NULL ? NULL :
      job->dy + cursor->at[PT_WALK_Y] + first, out, n);
  return n;
}

static PT_CLONES void
binary_accumulate (gdouble *sums, const gfloat *values, gint64 n)
{
#pragma omp simd
  for (gint64 i = 0; i < n; i++)
    sums[i] += values[i];
}

static PT_CLONES gdouble
binary_sum (const gfloat *values, gint64 n)
{
  gdouble sum = 0;

#pragma omp simd reduction (+:sum)
  for (gint64 i = 0; i < n; i++)
    sum += values[i];
  return sum;
}

/* Sums of segment @segment of what is kept, which begins at @at. */
static void
binary_store (const BinaryJob *job, gint64 at, gint64 segment,
    const gdouble *sums)
{
  const Binary *self = job->self;
  const gint64 stride = self->walk.strides[self->target][self->inner];
  const gint64 width = binary_get_width (self);
  const gint64 first = segment * self->segment;
  const gint64 n = self->period > 0 ? self->period :
      self->inner_kept ? MIN (width, self->run - first) : 1;

  for (gint64 i = 0; i < n; i++) {
    gdouble sum = sums[i];

    for (gint64 k = i + self->period; self->period > 0 && k < width;
        k += self->period)
      sum += sums[k];
    job->out[at + (first + i) * stride] = sum;
  }
}

/* Item after item: of what is kept a segment, of what is added up a block. */
static void
binary_items (gconstpointer data, gint64 begin, gint64 end)
{
  const BinaryJob *job = data;
  const Binary *self = job->self;
  const gint64 added = self->added * self->added_segments;
  gdouble sums[BINARY_SEGMENT];
  gfloat values[BINARY_SEGMENT];

  for (gint64 item = begin; item < end; item++) {
    const gint64 block = item % self->blocks, kept = item / self->blocks;
    const gint64 segment = kept % self->kept_segments;
    const gint64 from = added * block / self->blocks;
    const gint64 stop = added * (block + 1) / self->blocks;
    const gint64 width = binary_get_width (self);
    BinaryCursor cursor = { { 0 } };
    gint64 at;

    binary_seek (self, &cursor, 0, self->walk.n_kept,
        kept / self->kept_segments);
    at = cursor.at[self->target];
    if (self->period == 0)
      binary_seek (self, &cursor, self->walk.n_kept, self->walk.n_dims,
          from / self->added_segments);
    memset (sums, 0, width * sizeof *sums);
    for (gint64 t = from; t < stop; t++) {
      const gint64 piece = t % self->added_segments;
      const gint64 n = binary_run_segment (job, &cursor,
          self->inner_kept ? segment : piece, values);

      if (width > 1)
        binary_accumulate (sums, values, n);
      else
        sums[0] += binary_sum (values, n);
      if (piece + 1 == self->added_segments && t + 1 < stop)
        binary_step (self, &cursor, self->walk.n_kept, self->walk.n_dims);
    }
    if (job->parts != NULL)
      memcpy (job->parts + item * width, sums, width * sizeof *sums);
    else
      binary_store (job, at, segment, sums);
  }
}

/* The same where nothing is added up and the target lies in one piece. */
static void
binary_plain_items (gconstpointer data, gint64 begin, gint64 end)
{
  const BinaryJob *job = data;
  const Binary *self = job->self;
  const guint n_kept = self->period > 0 ? 0 : self->walk.n_kept;
  gint64 segment = begin % self->kept_segments;
  BinaryCursor cursor = { { 0 } };

  binary_seek (self, &cursor, 0, n_kept, begin / self->kept_segments);
  for (gint64 item = begin; item < end; item++) {
    binary_run_segment (job, &cursor, segment, job->out +
        cursor.at[self->target] + segment * self->segment);
    if (++segment == self->kept_segments) {
      segment = 0;
      binary_step (self, &cursor, 0, n_kept);
    }
  }
}

/* Adds the blocks of each sum, in their order. */
static void
binary_join_blocks (const BinaryJob *job)
{
  const Binary *self = job->self;
  const gint64 width = binary_get_width (self);

  for (gint64 k = 0; k < self->kept * self->kept_segments; k++) {
    gdouble *sums = job->parts + k * self->blocks * width;
    BinaryCursor cursor = { { 0 } };

    for (gint64 block = 1; block < self->blocks; block++)
      for (gint64 i = 0; i < width; i++)
        sums[i] += sums[block * width + i];
    binary_seek (self, &cursor, 0, self->walk.n_kept, k / self->kept_segments);
    binary_store (job, cursor.at[self->target], k % self->kept_segments, sums);
  }
}

/* The short row over and over. */
static void
binary_repeat (const Binary *self, BinaryJob *job, gfloat *room)
{
  const gint64 stride = self->walk.strides[self->repeated][self->inner];

  for (gint64 i = 0; i < self->segment; i++)
    room[i] = job->operands[self->repeated][i % self->period * stride];
  job->operands[self->repeated] = room;
}

static gboolean
binary_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const Binary *self = op->priv;
  const gboolean forward = self->target == PT_WALK_Y;
  const gint64 items = self->kept * self->kept_segments * self->blocks;
  BinaryJob job = { self, { args->x->data, args->w->data },
    forward ? NULL : args->dy->data, forward ? args->y->data : args->dx->data
  };
  guint8 *scratch = op->scratch_size > 0 ? op->workspace->scratch->data : NULL;
  const gint64 cost = pt_walk_count (&self->walk, 0, self->walk.n_dims) /
      items * (op->desc.elementwise.kind == PT_BINARY_POW ? 32 : 1);

  if (self->period > 0)
    binary_repeat (self, &job, (gfloat *) scratch);
  if (self->blocks > 1)
    job.parts = (gdouble *) (scratch + binary_get_period_size (self));
  if (self->added * self->added_segments == 1 &&
      self->walk.strides[self->target][self->inner] == 1 &&
      !(self->period > 0 && self->target == self->repeated))
    pt_cpu_for (op, items, cost, binary_plain_items, &job);
  else
    pt_cpu_for (op, items, cost, binary_items, &job);
  if (self->blocks > 1)
    binary_join_blocks (&job);
  return TRUE;
}

const PtOpImpl pt_cpu_binary = {
  .plan = binary_plan,
  .run = binary_run,
  .clear = binary_clear,
};

const PtOpImpl pt_cpu_binary_backward = {
  .plan = binary_plan,
  .run = binary_run,
  .clear = binary_clear,
};
