/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/matmul.h"

#include "device/cuda/activation.h"
#include "device/cuda/vec.h"

/* cuDNN has no product of matrices but such as it compiles when first used.
 * Tensors are read where they lie, in whatever order. */

/* From here on a thread makes a tile of outputs: before, one each. */
#define MATMUL_TILE 4
#define MATMUL_TILES 4096
/* Few outputs of many terms are shared by blocks. */
#define MATMUL_FEW 4096
#define MATMUL_LONG 512

namespace
{

struct Axis
{
  guint size, steps[3];
};

/* Loops, innermost first. */
struct Loops
{
  Axis axes[PT_MAX_DIMS];
  guint n, total;

  PT_HD void add (guint i, guint offsets[3]) const
  {
    for (guint k = 0; k < n; k++) {
      guint at = i % axes[k].size;

      i /= axes[k].size;
      for (guint t = 0; t < 3; t++)
        offsets[t] += at * axes[k].steps[t];
    }
  }
};

struct Geometry
{
  Axis m, n, k;
  Loops apart, added;           /* loops that move in y, and those that add */
  gboolean apart_first;         /* neighbours in y differ in their loop */
};

struct Finish
{
  gfloat scale, alpha;
  PtActivation activation;
  const gfloat *bias;
  gfloat *y;

  PT_HD void operator() (guint at, guint column, gfloat sum) const
  {
    sum *= scale;
    if (bias != NULL)
      sum += bias[column];
    y[at] = pt_activate_as (activation, sum, alpha);
  }
};

/* T x T outputs. */
template < int T > struct Tile
{
  Geometry g;
  guint rows, columns;          /* of tiles */
  const gfloat *a, *b;
  Finish finish;

  PT_HD void split (guint i, guint *row, guint *column, guint *loop) const
  {
    guint tile = g.apart_first ? i / g.apart.total : i % (rows * columns);

    *loop = g.apart_first ? i % g.apart.total : i / (rows * columns);
    *row = tile / columns * T;
    *column = tile % columns * T;
  }

  /* Beyond the edge the last one is read again. */
  PT_HD void add (const guint offsets[3], guint row, guint column,
      gfloat sums[T][T]) const
  {
    guint p[T], q[T];

    for (int i = 0; i < T; i++) {
      guint r = row + i < g.m.size ? row + i : g.m.size - 1;
      guint c = column + i < g.n.size ? column + i : g.n.size - 1;

      p[i] = offsets[PT_MATMUL_A] + r * g.m.steps[PT_MATMUL_A];
      q[i] = offsets[PT_MATMUL_B] + c * g.n.steps[PT_MATMUL_B];
    }
    for (guint k = 0; k < g.k.size; k++) {
      gfloat u[T], v[T];

      for (int i = 0; i < T; i++) {
        u[i] = a[p[i] + k * g.k.steps[PT_MATMUL_A]];
        v[i] = b[q[i] + k * g.k.steps[PT_MATMUL_B]];
      }
      for (int i = 0; i < T; i++)
        for (int j = 0; j < T; j++)
          sums[i][j] += u[i] * v[j];
    }
  }

  PT_HD void operator() (guint index) const
  {
    guint row, column, loop, at[3] = { };
    gfloat sums[T][T] = { };

    split (index, &row, &column, &loop);
    g.apart.add (loop, at);
    for (guint s = 0; s < g.added.total; s++) {
      guint offsets[3] = { at[0], at[1], 0 };

      g.added.add (s, offsets);
      add (offsets, row, column, sums);
    }
    for (int i = 0; i < T; i++)
      for (int j = 0; j < T; j++)
        if (row + i < g.m.size && column + j < g.n.size)
          finish (at[PT_MATMUL_Y] + (row + i) * g.m.steps[PT_MATMUL_Y]
              + (column + j) * g.n.steps[PT_MATMUL_Y], column + j,
              sums[i][j]);
  }
};

/* Term @t of output @o, counted as Tile < 1 > does. */
struct Term
{
  Tile < 1 > tile;

  PT_HD void operator() (guint o, guint t, gfloat *sums) const
  {
    const Geometry &g = tile.g;
    guint row, column, loop, at[3] = { }, k = t % g.k.size;

    tile.split (o, &row, &column, &loop);
    g.apart.add (loop, at);
    g.added.add (t / g.k.size, at);
    sums[0] += tile.a[at[0] + row * g.m.steps[0] + k * g.k.steps[0]]
        * tile.b[at[1] + column * g.n.steps[1] + k * g.k.steps[1]];
  }
};

struct StoreTerm
{
  Tile < 1 > tile;

  PT_HD void operator() (guint o, const gdouble *sums) const
  {
    const Geometry &g = tile.g;
    guint row, column, loop, at[3] = { };

    tile.split (o, &row, &column, &loop);
    g.apart.add (loop, at);
    tile.finish (at[2] + row * g.m.steps[2] + column * g.n.steps[2], column,
        sums[0]);
  }
};

}                               // namespace

static Axis
matmul_axis (const PtMatmulAxis *axis)
{
  return Axis { (guint) axis->size, { (guint) axis->steps[0],
      (guint) axis->steps[1], (guint) axis->steps[2] } };
}

static void
matmul_add_loop (Loops *loops, const PtMatmulAxis *axis)
{
  loops->axes[loops->n++] = matmul_axis (axis);
  loops->total *= axis->size;
}

static Geometry
matmul_geometry (const PtOpDesc *desc)
{
  static const gboolean in_place[3] = { };
  PtMatmulGeometry found;
  Geometry g = { };

  pt_matmul_geometry_init (&found, desc, in_place);
  g.m = matmul_axis (&found.m);
  g.n = matmul_axis (&found.n);
  g.k = matmul_axis (&found.k);
  g.apart.total = g.added.total = 1;
  for (guint i = 0; i < found.n_loops; i++) {
    const gint64 step = found.loops[i].steps[PT_MATMUL_Y];

    matmul_add_loop (step != 0 ? &g.apart : &g.added, &found.loops[i]);
    if (step != 0 && step < MAX (found.n.steps[PT_MATMUL_Y], 1)
        && g.n.size > 1)
      g.apart_first = TRUE;
  }
  return g;
}

static guint
matmul_count (const Geometry *g)
{
  return g->m.size * g->n.size * g->apart.total;
}

/* Whether the terms of one output are shared. */
static gboolean
matmul_is_long (const Geometry *g)
{
  return matmul_count (g) <= MATMUL_FEW
      && g->k.size * g->added.total >= MATMUL_LONG;
}

gsize
pt_cuda_matmul_scratch (const PtOpDesc *desc)
{
  Geometry g = matmul_geometry (desc);

  return matmul_is_long (&g) ? pt_cuda_sum_scratch (matmul_count (&g),
      g.k.size * g.added.total, 1) : 0;
}

template < int T > static Tile < T >
matmul_tile (const Geometry *g, const PtTensor *a, const PtTensor *b,
    const Finish *finish)
{
  return Tile < T > { *g, (g->m.size + T - 1) / T, (g->n.size + T - 1) / T,
    pt_data (a), pt_data (b), *finish };
}

gboolean
pt_cuda_matmul_run (PtOp *op, const PtOpDesc *desc, const PtTensor *a,
    const PtTensor *b, const PtCudaEpilogue *epilogue, PtTensor *y,
    GError **error)
{
  Geometry g = matmul_geometry (desc);
  Finish finish = { desc->matmul.alpha, epilogue->alpha,
    epilogue->activation, pt_data (epilogue->bias), pt_data (y) };
  Tile < MATMUL_TILE > tile = matmul_tile < MATMUL_TILE > (&g, a, b, &finish);
  Tile < 1 > one = matmul_tile < 1 > (&g, a, b, &finish);
  gint64 tiles = (gint64) tile.rows * tile.columns * g.apart.total;
  PtCudaLaunch launch;

  if (!pt_cuda_launch_init (&launch, op, error))
    return FALSE;
  if (matmul_is_long (&g))
    return pt_cuda_sum < gfloat, 1 > (&launch, matmul_count (&g),
        g.k.size * g.added.total, launch.scratch, Term { one },
        StoreTerm { one }, error);
  if (tiles >= MATMUL_TILES && MIN (g.m.size, g.n.size) >= MATMUL_TILE)
    return pt_cuda_each (&launch, tiles, tile, error);
  return pt_cuda_each (&launch, matmul_count (&g), one, error);
}

static gboolean
matmul_plan (PtOp *op, GError **error)
{
  op->scratch_size = pt_cuda_matmul_scratch (&op->desc);
  return TRUE;
}

static gboolean
matmul_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  static const PtCudaEpilogue nothing = { };

  return pt_cuda_matmul_run (op, &op->desc, args->xs[0], args->xs[1],
      &nothing, args->y, error);
}

const PtOpImpl pt_cuda_matmul = {
  .plan = matmul_plan,
  .run = matmul_run,
};
