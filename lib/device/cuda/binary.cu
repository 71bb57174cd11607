/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <math.h>

#include "core/walk.h"
#include "device/cuda/vec.h"

/* Elementwise operations of two operands with broadcasting. Which one it is,
 * is the same for all threads: a switch costs nothing beside the memory. */

namespace
{

/* x^2, and what its derivative needs, are worth a way of their own. */
PT_HD gfloat
power (gfloat x, gfloat e)
{
  return e == 2 ? x * x : e == 1 ? x : powf (x, e);
}

PT_HD gfloat
apply (PtBinary kind, gfloat p, gfloat q)
{
  switch (kind) {
    case PT_BINARY_ADD:
      return p + q;
    case PT_BINARY_SUB:
      return p - q;
    case PT_BINARY_MUL:
      return p * q;
    case PT_BINARY_DIV:
      return p / q;
    case PT_BINARY_POW:
      return power (p, q);
    case PT_BINARY_MIN:
      return p < q || p != p ? p : q;
    case PT_BINARY_MAX:
      return p > q || p != p ? p : q;
    case PT_BINARY_MASK:
      return q != 0 ? p : 0;
    case PT_BINARY_EQ:
      return p == q;
    case PT_BINARY_LT:
      return p < q;
    case PT_BINARY_LE:
      return p <= q;
    default:
      return p > 0 ? p : q * p;
  }
}

/* Of the smaller (or larger) of two; equals share it. */
PT_HD gfloat
share (gboolean loses, gfloat p, gfloat q, gfloat dy)
{
  return p == q ? dy / 2 : loses ? 0 : dy;
}

/* PyTorch's pow_backward() and its exponent's are among them. */
PT_HD gfloat
gradient (PtBinary kind, guint wanted, gfloat p, gfloat q, gfloat dy)
{
  switch (kind) {
    case PT_BINARY_ADD:
      return dy;
    case PT_BINARY_SUB:
      return wanted == 0 ? dy : -dy;
    case PT_BINARY_MUL:
      return dy * (wanted == 0 ? q : p);
    case PT_BINARY_DIV:
      return wanted == 0 ? dy / q : -dy * (p / q / q);
    case PT_BINARY_POW:
      if (wanted == 0)
        return q == 0 ? 0 : dy * (q * power (p, q - 1));
      return p == 0 && q >= 0 ? 0 : dy * (powf (p, q) * logf (p));
    case PT_BINARY_MIN:
      return share (wanted == 0 ? p > q : p < q, p, q, dy);
    case PT_BINARY_MAX:
      return share (wanted == 0 ? p < q : p > q, p, q, dy);
    case PT_BINARY_MASK:
      return wanted == 0 && q != 0 ? dy : 0;
    case PT_BINARY_EQ:
    case PT_BINARY_LT:
    case PT_BINARY_LE:
      return 0;
    default:
      if (wanted == 0)
        return p > 0 ? dy : q * dy;
      return p > 0 ? 0 : p * dy;
  }
}

/* A walk in the GPU's numbers. */
struct Way
{
  guint n_dims;
  guint dims[PT_MAX_DIMS];
  guint strides[PT_WALK_N][PT_MAX_DIMS];
};

struct Place
{
  guint at[PT_WALK_N];
};

/* Adds where element @i of dimensions @from to @end is. */
PT_HD void
seek (const Way &way, guint from, guint end, guint i, Place &place)
{
  for (guint k = PT_MAX_DIMS; k-- > 0;)
    if (k >= from && k < end) {
      guint rest = i / way.dims[k], index = i - rest * way.dims[k];

      for (guint m = 0; m < PT_WALK_N; m++)
        place.at[m] += index * way.strides[m][k];
      i = rest;
    }
}

/* N neighbours, or one for all. */
template < int N > PT_HD PtVec < N >
load (const gfloat *data, guint at, guint stride)
{
  PtVec < N > v;

  if (N > 1 && stride == 1)
    return *(const PtVec < N > *)(data + at);
  for (int k = 0; k < N; k++)
    v.v[k] = data[at];
  return v;
}

struct Operands
{
  PtBinary kind;
  guint target;                 /* PT_WALK_A, B: its gradient; Y: the result */
  Way way;
  guint n_kept;
  const gfloat *a, *b, *dy;
  gfloat *out;
};

/* Each element of the target by itself, N of a row at once. */
template < int N > struct Each
{
  Operands o;

  PT_HD void operator() (guint i) const
  {
    const guint inner = o.way.n_dims - 1;
    Place place = { };
    PtVec < N > a, b, dy = { }, out;

    seek (o.way, 0, o.way.n_dims, i * N, place);
    a = load < N > (o.a, place.at[PT_WALK_A], o.way.strides[PT_WALK_A][inner]);
    b = load < N > (o.b, place.at[PT_WALK_B], o.way.strides[PT_WALK_B][inner]);
    if (o.target != PT_WALK_Y)
      dy = load < N > (o.dy, place.at[PT_WALK_Y], 1);
    for (int k = 0; k < N; k++)
      out.v[k] = o.target == PT_WALK_Y ? apply (o.kind, a.v[k], b.v[k]) :
          gradient (o.kind, o.target, a.v[k], b.v[k], dy.v[k]);
    *(PtVec < N > *)(o.out + place.at[o.target]) = out;
  }
};

/* What reaches element @i of the target from where it is used for the @t-th
 * time. */
PT_HD gfloat
term (const Operands &o, guint i, guint t)
{
  Place place = { };

  seek (o.way, 0, o.n_kept, i, place);
  seek (o.way, o.n_kept, o.way.n_dims, t, place);
  return gradient (o.kind, o.target, o.a[place.at[PT_WALK_A]],
      o.b[place.at[PT_WALK_B]], o.dy[place.at[PT_WALK_Y]]);
}

PT_HD void
store (const Operands &o, guint i, gdouble sum)
{
  Place place = { };

  seek (o.way, 0, o.n_kept, i, place);
  o.out[place.at[o.target]] = sum;
}

/* Sums whose terms lie side by side. */
struct Rows
{
  Operands o;
  guint terms;

  template < typename Team > PT_HD void
  operator() (guint i, const Team &team) const
  {
    gdouble sum = 0;

    for (guint t = team.rank; t < terms; t += team.size)
      sum += term (o, i, t);
    sum = team.sum (sum);
    if (team.rank == 0)
      store (o, i, sum);
  }
};

/* Sums that lie side by side, or few. */
struct Terms
{
  Operands o;

  PT_HD void operator() (guint i, guint t, gfloat *sums) const
  {
    sums[0] += term (o, i, t);
  }
};

struct Store
{
  Operands o;

  PT_HD void operator() (guint i, const gdouble *sums) const
  {
    store (o, i, sums[0]);
  }
};

}                               // namespace

typedef struct
{
  PtWalk walk;
  guint target;
  gboolean in_fours;
  gboolean in_rows;
  gint64 kept, added;
} Binary;

/* Whether four neighbours of the result are so in all memories, or one. */
static gboolean
binary_in_fours (const Binary *self)
{
  const PtWalk *w = &self->walk;
  const guint inner = w->n_dims - 1;

  if (self->added > 1 || w->dims[inner] % 4 != 0
      || w->strides[self->target][inner] != 1)
    return FALSE;
  for (guint k = 0; k < PT_WALK_N; k++) {
    if (w->strides[k][inner] > 1)
      return FALSE;
    for (guint d = 0; d < inner; d++)
      if (w->strides[k][inner] == 1 && w->strides[k][d] % 4 != 0)
        return FALSE;
  }
  return TRUE;
}

static gboolean
binary_plan (PtOp *op, GError **error)
{
  const PtBinaryDesc *desc = &op->desc.elementwise;
  Binary *self = g_new0 (Binary, 1);
  PtWalk *w = &self->walk;

  op->priv = self;
  self->target = desc->wanted;
  if (op->desc.type == PT_OP_BINARY)
    self->target = PT_WALK_Y;
  pt_walk_init (w, &op->desc.y, desc->strides, self->target);
  self->kept = pt_walk_count (w, 0, w->n_kept);
  self->added = pt_walk_count (w, w->n_kept, w->n_dims);
  self->in_fours = binary_in_fours (self);
  self->in_rows = self->kept > PT_CUDA_COLUMNS
      && w->strides[PT_WALK_Y][w->n_kept - 1] != 1;
  if (self->added > 1 && !self->in_rows)
    op->scratch_size = pt_cuda_sum_scratch (self->kept, self->added, 1);
  return TRUE;
}

static void
binary_clear (PtOp *op)
{
  g_free (op->priv);
}

static Operands
binary_get_operands (const PtOp *op, const PtOpArgs *args)
{
  const Binary *self = (const Binary *) op->priv;
  const PtWalk *w = &self->walk;
  const gboolean forward = self->target == PT_WALK_Y;
  Operands o = { op->desc.elementwise.kind, self->target, { w->n_dims },
    w->n_kept, pt_data (args->x), pt_data (args->w), pt_data (args->dy),
    pt_data (forward ? args->y : args->dx)
  };

  for (guint d = 0; d < w->n_dims; d++) {
    o.way.dims[d] = w->dims[d];
    for (guint k = 0; k < PT_WALK_N; k++)
      o.way.strides[k][d] = w->strides[k][d];
  }
  return o;
}

static gboolean
binary_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  const Binary *self = (const Binary *) op->priv;
  const Operands o = binary_get_operands (op, args);
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (self->added == 1)
    return self->in_fours ?
        pt_cuda_each (&launch, self->kept / 4, Each < 4 > { o }, error) :
        pt_cuda_each (&launch, self->kept, Each < 1 > { o }, error);
  if (self->in_rows)
    return pt_cuda_teams (&launch, self->kept, self->added,
        Rows { o, (guint) self->added }, error);
  return pt_cuda_sum < gfloat, 1 > (&launch, self->kept, self->added,
      launch.scratch, Terms { o }, Store { o }, error);
}

const PtOpImpl pt_cuda_binary = {
  .plan = binary_plan,
  .run = binary_run,
  .clear = binary_clear,
};

const PtOpImpl pt_cuda_binary_backward = {
  .plan = binary_plan,
  .run = binary_run,
  .clear = binary_clear,
};
