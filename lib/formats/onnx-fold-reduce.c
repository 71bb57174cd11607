/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

#include <math.h>
#include <string.h>

/* Constants reduced over axes, and where something is in them. */

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__ ## name

typedef struct
{
  const gchar *name;
  gint64 since;                 /* the opset that made axes an input */
  OnnxCell (*first) (gboolean is_float);
  gboolean (*join) (OnnxCell *sum, OnnxCell x, gboolean is_float);
} Reduction;

static OnnxCell
reduce_zero (gboolean is_float)
{
  return (OnnxCell) { 0 };
}

static OnnxCell
reduce_one (gboolean is_float)
{
  return is_float ? (OnnxCell) {.f = 1 } : (OnnxCell) {.i = 1 };
}

static OnnxCell
reduce_least (gboolean is_float)
{
  return is_float ? (OnnxCell) {.f = -INFINITY } :
      (OnnxCell) {.i = G_MININT64 };
}

static OnnxCell
reduce_most (gboolean is_float)
{
  return is_float ? (OnnxCell) {.f = INFINITY } :
      (OnnxCell) {.i = G_MAXINT64 };
}

static gboolean
reduce_add (OnnxCell *sum, OnnxCell x, gboolean is_float)
{
  if (!is_float)
    return !__builtin_add_overflow (sum->i, x.i, &sum->i);
  sum->f += x.f;
  return TRUE;
}

static gboolean
reduce_multiply (OnnxCell *sum, OnnxCell x, gboolean is_float)
{
  if (!is_float)
    return !__builtin_mul_overflow (sum->i, x.i, &sum->i);
  sum->f *= x.f;
  return TRUE;
}

static gboolean
reduce_max (OnnxCell *sum, OnnxCell x, gboolean is_float)
{
  if (is_float)
    sum->f = MAX (sum->f, x.f);
  else
    sum->i = MAX (sum->i, x.i);
  return TRUE;
}

static gboolean
reduce_min (OnnxCell *sum, OnnxCell x, gboolean is_float)
{
  if (is_float)
    sum->f = MIN (sum->f, x.f);
  else
    sum->i = MIN (sum->i, x.i);
  return TRUE;
}

static const Reduction reductions[] = {
  {"ReduceMax", 18, reduce_least, reduce_max},
  {"ReduceMean", 18, reduce_zero, reduce_add},
  {"ReduceMin", 18, reduce_most, reduce_min},
  {"ReduceProd", 18, reduce_one, reduce_multiply},
  {"ReduceSum", 13, reduce_zero, reduce_add},
};

static const Reduction *
reduce_find (const OnnxImport *self)
{
  for (guint i = 0; i < G_N_ELEMENTS (reductions); i++)
    if (g_str_equal (reductions[i].name, self->node->op_type))
      return &reductions[i];
  return NULL;
}

/* Strides of the result along each axis of @in: 0 where it is reduced. */
static gboolean
reduce_init (OnnxImport *self, const OnnxArray *in, gint type,
    const gboolean *marks, gboolean keep, gint64 *strides, OnnxArray *out,
    GError **error)
{
  gint64 dims[ONNX_MAX_DIMS], stride = 1;
  guint rank = 0;

  for (guint i = 0; i < in->rank; i++)
    if (!marks[i] || keep)
      dims[rank++] = marks[i] ? 1 : in->dims[i];
  for (guint i = in->rank; i-- > 0;) {
    strides[i] = marks[i] ? 0 : stride;
    stride *= marks[i] ? 1 : in->dims[i];
  }
  return pt_onnx_array_init (self, out, type, dims, rank, error);
}

/* Where element @i of @in goes. */
static gint64
reduce_find_place (const OnnxArray *in, const gint64 *strides, gint64 i)
{
  gint64 place = 0;

  for (guint axis = in->rank; axis-- > 0;) {
    place += i % in->dims[axis] * strides[axis];
    i /= in->dims[axis];
  }
  return place;
}

static gboolean
reduce_all (OnnxImport *self, const Reduction *reduction, const OnnxArray *in,
    const gint64 *strides, OnnxArray *out, GError **error)
{
  const gboolean is_float = pt_onnx_type_is_float (in->type);
  const gboolean mean = g_str_equal (reduction->name, "ReduceMean");
  const gint64 n = out->n ? in->n / out->n : 1;

  for (gint64 i = 0; i < out->n; i++)
    out->cells[i] = reduction->first (is_float);
  for (gint64 i = 0; i < in->n; i++)
    if (!reduction->join (&out->cells[reduce_find_place (in, strides, i)],
            in->cells[i], is_float))
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT
          " at element %" G_GINT64_FORMAT ", expected a result that fits its "
          "type", in->cells[i].i, i);
  for (gint64 i = 0; i < out->n; i++) {
    OnnxCell *cell = &out->cells[i];

    if (is_float)
      cell->f = pt_onnx_type_round (in->type, mean ? cell->f / n : cell->f);
    else if (mean)
      cell->i /= MAX (n, 1);
  }
  return TRUE;
}

static gboolean
reduce (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const Reduction *reduction = reduce_find (self);
  gint64 axes[ONNX_MAX_DIMS], strides[ONNX_MAX_DIMS];
  gboolean marks[ONNX_MAX_DIMS] = { FALSE };
  guint n_axes, axis;

  if (!pt_onnx_fold_list (self, in, n, 1, "axes", reduction->since, axes,
          &n_axes, error))
    return FALSE;
  for (guint i = 0; i < n_axes; i++) {
    if (!pt_onnx_fold_axis (self, in->rank, axes[i], &axis, error))
      return FALSE;
    marks[axis] = TRUE;
  }
  if (n_axes == 0 && pt_onnx_get_int (self, "noop_with_empty_axes", 0) == 0)
    for (guint i = 0; i < in->rank; i++)
      marks[i] = TRUE;
  return reduce_init (self, in, in->type, marks,
      pt_onnx_get_int (self, "keepdims", 1) != 0, strides, out, error) &&
      reduce_all (self, reduction, in, strides, out, error);
}

/* -- places -- */

/* Whether @x comes before @y in an order of which the first counts. */
static gboolean
reduce_beats (OnnxCell x, OnnxCell y, gboolean is_float, gboolean least,
    gboolean last)
{
  const gboolean equal = is_float ? x.f == y.f : x.i == y.i;
  const gboolean more = is_float ? x.f > y.f : x.i > y.i;

  return equal ? last : more != least;
}

static gboolean
reduce_arg (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const gboolean is_float = pt_onnx_type_is_float (in->type);
  const gboolean least = g_str_equal (self->node->op_type, "ArgMin");
  const gboolean last = pt_onnx_get_int (self, "select_last_index", 0) != 0;
  gboolean marks[ONNX_MAX_DIMS] = { FALSE };
  gint64 strides[ONNX_MAX_DIMS], steps[ONNX_MAX_DIMS];
  guint axis;

  if (!pt_onnx_fold_axis (self, in->rank, pt_onnx_get_int (self, "axis", 0),
          &axis, error))
    return FALSE;
  if (in->dims[axis] == 0)
    return pt_onnx_refuse (self, error, "found nothing along axis %u, expected "
        "an element", axis);
  marks[axis] = TRUE;
  if (!reduce_init (self, in, TYPE (INT64), marks,
          pt_onnx_get_int (self, "keepdims", 1) != 0, strides, out, error))
    return FALSE;
  pt_onnx_array_get_strides (in, steps);
  for (gint64 i = 0; i < in->n; i++) {
    const gint64 index = i / steps[axis] % in->dims[axis];
    gint64 *best = &out->cells[reduce_find_place (in, strides, i)].i;

    if (index == 0 || reduce_beats (in->cells[i],
            in->cells[i + (*best - index) * steps[axis]], is_float, least,
            last))
      *best = index;
  }
  return TRUE;
}

static gboolean
reduce_is_set (const OnnxArray *in, gint64 i)
{
  return pt_onnx_type_is_float (in->type) ? in->cells[i].f != 0 :
      in->cells[i].i != 0;
}

/* (rank, how many), each axis a row. */
static gboolean
reduce_non_zero (OnnxImport *self, const OnnxArray *in, guint n,
    OnnxArray *out, GError **error)
{
  gint64 dims[2] = { in->rank, 0 }, next = 0;

  for (gint64 i = 0; i < in->n; i++)
    dims[1] += reduce_is_set (in, i);
  if (!pt_onnx_array_init (self, out, TYPE (INT64), dims, 2, error))
    return FALSE;
  for (gint64 i = 0; i < in->n; i++) {
    gint64 rest = i;

    if (!reduce_is_set (in, i))
      continue;
    for (guint axis = in->rank; axis-- > 0;) {
      out->cells[axis * dims[1] + next].i = rest % in->dims[axis];
      rest /= in->dims[axis];
    }
    next++;
  }
  return TRUE;
}

/* Running sums along an axis. */
static gboolean
reduce_cum_sum (OnnxImport *self, const OnnxArray *in, guint n,
    OnnxArray *out, GError **error)
{
  const gboolean is_float = pt_onnx_type_is_float (in->type);
  const gboolean after = pt_onnx_get_int (self, "exclusive", 0) != 0;
  const gint64 turn = pt_onnx_get_int (self, "reverse", 0) != 0 ? -1 : 1;
  gint64 steps[ONNX_MAX_DIMS];
  guint axis;

  if (in[1].n != 1 || pt_onnx_type_is_float (in[1].type))
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " numbers as "
        "axis, expected one integer", in[1].n);
  if (!pt_onnx_fold_axis (self, in->rank, in[1].cells->i, &axis, error) ||
      !pt_onnx_array_init (self, out, in->type, in->dims, in->rank, error))
    return FALSE;
  pt_onnx_array_get_strides (in, steps);
  for (gint64 k = 0; k < in->n; k++) {
    const gint64 i = turn > 0 ? k : in->n - 1 - k;
    const gint64 index = i / steps[axis] % in->dims[axis];
    const gint64 before = i - turn * steps[axis];
    OnnxCell sum = { 0 };

    if (index != (turn > 0 ? 0 : in->dims[axis] - 1)) {
      sum = out->cells[before];
      if (after && !reduce_add (&sum, in->cells[before], is_float))
        return pt_onnx_refuse (self, error, "found a sum that does not fit "
            "its type");
    }
    if (!after && !reduce_add (&sum, in->cells[i], is_float))
      return pt_onnx_refuse (self, error, "found a sum that does not fit its "
          "type");
    if (is_float)
      sum.f = pt_onnx_type_round (in->type, sum.f);
    out->cells[i] = sum;
  }
  return TRUE;
}

/* -- products of matrices, as NumPy's matmul -- */

/* As many as are worked out before the first frame. */
#define REDUCE_MAX_PRODUCTS ((gint64) 1 << 30)

/* Dimension @i of @rank as @array has it, which may have fewer: 1. */
static gint64
reduce_get_dim (const OnnxArray *array, guint i, guint rank)
{
  return i + array->rank < rank ? 1 : array->dims[i + array->rank - rank];
}

/* From two matrices or stacks of them to the shape of their product. */
static gboolean
reduce_get_product (OnnxImport *self, const OnnxArray *a, const OnnxArray *b,
    gint64 *dims, guint rank, GError **error)
{
  const gint64 inner = a->dims[a->rank - 1];
  gint64 left = REDUCE_MAX_PRODUCTS / MAX (inner, 1);
  gboolean fits = inner == b->dims[b->rank - 2];

  for (guint i = 0; i < rank; i++) {
    const gint64 m = reduce_get_dim (a, i, rank);
    const gint64 n = reduce_get_dim (b, i, rank);

    dims[i] = i == rank - 2 ? m : i == rank - 1 ? n : m == 1 ? n : m;
    fits &= i >= rank - 2 || m == n || m == 1 || n == 1;
    left /= MAX (dims[i], 1);
  }
  return (fits && left > 0) || pt_onnx_refuse (self, error, "found constants "
      "of %u and %u dimensions that cannot be multiplied, expected matrices "
      "that fit and at most %" G_GINT64_FORMAT " products", a->rank, b->rank,
      REDUCE_MAX_PRODUCTS);
}

/* Which matrix of @array matrix @i of the product is made of. */
static gint64
reduce_find_matrix (const OnnxArray *array, const gint64 *dims, guint rank,
    gint64 i)
{
  gint64 at = 0, step = 1;

  for (guint d = rank - 2; d-- > 0; i /= dims[d]) {
    const gint64 n = reduce_get_dim (array, d, rank);

    at += n > 1 ? i % dims[d] * step : 0;
    step *= n;
  }
  return at;
}

static gboolean
reduce_mat_mul (OnnxImport *self, const OnnxArray *in, guint n,
    OnnxArray *out, GError **error)
{
  OnnxArray a = in[0], b = in[1];
  const guint rank = MAX (2, MAX (a.rank, b.rank));
  gint64 dims[ONNX_MAX_DIMS], rows, columns, inner;

  if (a.rank == 0 || b.rank == 0 || !pt_onnx_type_is_float (a.type) ||
      !pt_onnx_type_is_float (b.type))
    return pt_onnx_refuse (self, error, "found numbers or integers, expected "
        "matrices of floats");
  if (a.rank == 1) {
    a.rank = 2;
    a.dims[1] = a.dims[0];
    a.dims[0] = 1;
  }
  if (b.rank == 1) {
    b.rank = 2;
    b.dims[1] = 1;
  }
  if (!reduce_get_product (self, &a, &b, dims, rank, error) ||
      !pt_onnx_array_init (self, out, a.type, dims, rank, error))
    return FALSE;
  rows = dims[rank - 2];
  columns = dims[rank - 1];
  inner = a.dims[a.rank - 1];
  for (gint64 i = 0; i < out->n; i++) {
    const gint64 matrix = i / (rows * columns);
    const OnnxCell *p = a.cells + (reduce_find_matrix (&a, dims, rank,
            matrix) * rows + i / columns % rows) * inner;
    const OnnxCell *q = b.cells + reduce_find_matrix (&b, dims, rank,
        matrix) * inner * columns + i % columns;
    gdouble sum = 0;

    for (gint64 k = 0; k < inner; k++)
      sum += p[k].f * q[k * columns].f;
    out->cells[i].f = pt_onnx_type_round (out->type, sum);
  }
  /* the axis that a vector lacks */
  if (in[0].rank == 1)
    out->dims[rank - 2] = columns;
  out->rank -= (in[0].rank == 1) + (in[1].rank == 1);
  return TRUE;
}

const OnnxFold pt_onnx_folds_reduce[] = {
  {"ArgMax", 1, 1, reduce_arg, " axis keepdims select_last_index "},
  {"ArgMin", 1, 1, reduce_arg, " axis keepdims select_last_index "},
  {"CumSum", 2, 2, reduce_cum_sum, " exclusive reverse "},
  {"MatMul", 2, 2, reduce_mat_mul, " "},
  {"NonZero", 1, 1, reduce_non_zero, " "},
  {"ReduceMax", 1, 2, reduce, " axes keepdims noop_with_empty_axes "},
  {"ReduceMean", 1, 2, reduce, " axes keepdims noop_with_empty_axes "},
  {"ReduceMin", 1, 2, reduce, " axes keepdims noop_with_empty_axes "},
  {"ReduceProd", 1, 2, reduce, " axes keepdims noop_with_empty_axes "},
  {"ReduceSum", 1, 2, reduce, " axes keepdims noop_with_empty_axes "},
  {NULL}
};
