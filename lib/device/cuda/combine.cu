/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/table.h"
#include "device/cuda/vec.h"

/* Terms of a sum that are added in float32. */
#define COMBINE_CHUNK 32

namespace
{

struct Axis
{
  guint n;
  gint64 stride;
  const gint32 *rows, *offsets;
  const gfloat *weights;

  /* How many places row @row reads. */
  PT_HD guint count (guint row) const
  {
    if (rows != NULL)
      return rows[row + 1] - rows[row];
    return offsets == NULL || offsets[row] >= 0;
  }

  PT_HD guint tap (guint row, guint k) const
  {
    return rows != NULL ? rows[row] + k : row;
  }

  PT_HD gint64 offset (guint tap) const
  {
    return offsets != NULL ? offsets[tap] : tap * stride;
  }
};

struct Axes
{
  Axis axes[PT_COMBINE_MAX_AXES];
  guint n_axes, block;          /* in PtVecs */
  gint64 base;
  gfloat fill;
};

/* Where one place each is read. */
template < int N > struct Pick
{
  Axes a;
  const gfloat *x;
  PtVec < N > *y;

  PT_HD void operator() (guint i) const
  {
    guint row = i / a.block;
    gint64 offset = a.base + (gint64) (i % a.block) * N;
    bool none = false;
    PtVec < N > value;

    for (guint k = a.n_axes; k-- > 0; row /= a.axes[k].n) {
      gint64 part = a.axes[k].offset (row % a.axes[k].n);

      none |= a.axes[k].offsets != NULL && part < 0;
      offset += part;
    }
    if (!none)
      value = *(const PtVec < N > *) (x + offset);
    else
      for (int j = 0; j < N; j++)
        value.v[j] = a.fill;
    y[i] = value;
  }
};

template < int N > struct Sum
{
  Axes a;
  const gfloat *x;
  PtVec < N > *y;

  /* Adds term @t of the product of what the axes read at @rows. */
  PT_HD void add (guint t, const guint *rows, gint64 offset, gfloat *sums)
      const
  {
    gfloat weight = 1;
    PtVec < N > v;

    for (guint k = a.n_axes; k-- > 0;) {
      guint n = a.axes[k].count (rows[k]), at = 0;
      guint tap;

      if (n > 1) {
        at = t % n;
        t /= n;
      }
      tap = a.axes[k].tap (rows[k], at);
      offset += a.axes[k].offset (tap);
      if (a.axes[k].weights != NULL)
        weight *= a.axes[k].weights[tap];
    }
    v = *(const PtVec < N > *) (x + offset);
    for (int j = 0; j < N; j++)
      sums[j] += weight * v.v[j];
  }

  PT_HD void operator() (guint i) const
  {
    guint rows[PT_COMBINE_MAX_AXES], row = i / a.block, terms = 1;
    gint64 offset = a.base + (gint64) (i % a.block) * N;
    gdouble sums[N] = { };
    PtVec < N > value;

    for (guint k = a.n_axes; k-- > 0; row /= a.axes[k].n) {
      rows[k] = row % a.axes[k].n;
      terms *= a.axes[k].count (rows[k]);
    }
    for (guint t = 0; t < terms;) {
      guint stop = MIN (t + COMBINE_CHUNK, terms);
      gfloat part[N] = { };

      for (; t < stop; t++)
        add (t, rows, offset, part);
      for (int j = 0; j < N; j++)
        sums[j] += part[j];
    }
    for (int j = 0; j < N; j++)
      value.v[j] = terms > 0 ? (gfloat) sums[j] : a.fill;
    y[i] = value;
  }
};

}                               // namespace

typedef struct
{
  PtCudaTable tables[PT_COMBINE_MAX_AXES];
  Axes axes;                    /* block in elements */
  gboolean adds, by_four;
} CombinePlan;

static void
combine_clear (PtOp *op)
{
  CombinePlan *plan = (CombinePlan *) op->priv;

  if (plan == NULL)
    return;
  for (guint k = 0; k < PT_COMBINE_MAX_AXES; k++)
    pt_cuda_table_clear (&plan->tables[k]);
  g_free (plan);
}

/* The GPU's copy of an axis: rows, offsets, weights, one behind the other. */
static gboolean
combine_plan_axis (PtCudaTable *table, Axis *to, const PtCombineAxis *from,
    PtDevice *device, GError **error)
{
  guint n = from->rows != NULL ? from->rows[from->n] : from->n;
  guint rows = from->rows != NULL ? from->n + 1 : 0;
  g_autofree gint32 *words = NULL;
  gint32 *place;

  *to = Axis { (guint) from->n, from->stride, NULL, NULL, NULL };
  if (from->offsets == NULL)
    return TRUE;
  words = g_new0 (gint32, rows + 2 * (gsize) n + 1);
  if (rows > 0)
    memcpy (words, from->rows, rows * sizeof *words);
  if (n > 0)
    memcpy (words + rows, from->offsets, n * sizeof *words);
  if (n > 0 && from->weights != NULL)
    memcpy (words + rows + n, from->weights, n * sizeof *words);
  if (!pt_cuda_table_init_bytes (table, device, words,
          (rows + 2 * (gsize) n + 1) * sizeof *words, error))
    return FALSE;
  place = (gint32 *) table->values;
  to->rows = rows > 0 ? place : NULL;
  to->offsets = place + rows;
  to->weights = from->weights != NULL ? (gfloat *) (place + rows + n) : NULL;
  return TRUE;
}

/* Whether whatever is read begins where four elements may be. */
static gboolean
combine_is_by_four (const PtCombineDesc *desc)
{
  gint64 all = desc->block | desc->base;

  for (guint k = 0; k < desc->n_axes; k++) {
    const PtCombineAxis *axis = &desc->axes[k];
    gint64 n = axis->rows != NULL ? axis->rows[axis->n] : axis->n;

    if (axis->offsets == NULL)
      all |= axis->stride;
    else
      for (gint64 i = 0; i < n; i++)
        all |= MAX (axis->offsets[i], 0);
  }
  return all % 4 == 0;
}

static gboolean
combine_plan (PtOp *op, GError **error)
{
  const PtCombineDesc *desc = &op->desc.combine;
  CombinePlan *plan = g_new0 (CombinePlan, 1);

  op->priv = plan;
  plan->by_four = combine_is_by_four (desc);
  plan->axes.n_axes = desc->n_axes;
  plan->axes.block = desc->block;
  plan->axes.base = desc->base;
  plan->axes.fill = desc->fill;
  for (guint k = 0; k < desc->n_axes; k++) {
    plan->adds |= desc->axes[k].rows != NULL || desc->axes[k].weights != NULL;
    if (!combine_plan_axis (&plan->tables[k], &plan->axes.axes[k],
            &desc->axes[k], op->workspace->device, error))
      return FALSE;
  }
  return TRUE;
}

template < template < int N > class Job, int N > static gboolean
combine_launch (PtOp *op, const PtOpArgs *args, GError **error)
{
  CombinePlan *plan = (CombinePlan *) op->priv;
  gint64 n = pt_shape_get_n_elements (&op->desc.y);
  Job < N > job = { plan->axes, pt_data (args->x),
    pt_data < PtVec < N > > (args->y) };
  PtCudaLaunch launch;

  job.a.block /= N;
  return pt_cuda_launch_init (&launch, op, error)
      && pt_cuda_each (&launch, n / N, job, error);
}

static gboolean
combine_run (PtOp *op, const PtOpArgs *args, GError **error)
{
  CombinePlan *plan = (CombinePlan *) op->priv;

  if (plan->adds)
    return plan->by_four ? combine_launch < Sum, 4 > (op, args, error) :
        combine_launch < Sum, 1 > (op, args, error);
  return plan->by_four ? combine_launch < Pick, 4 > (op, args, error) :
      combine_launch < Pick, 1 > (op, args, error);
}

const PtOpImpl pt_cuda_combine = {
  .plan = combine_plan,
  .run = combine_run,
  .clear = combine_clear,
};
