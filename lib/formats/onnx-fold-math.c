/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

#include <math.h>
#include <string.h>

/* Arithmetic of constants, element by element, with NumPy's broadcasting. */

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__ ## name

/* FALSE where the result is no number of int64. */
typedef gboolean (*IntFunc) (gint64 a, gint64 b, gint64 *y);
typedef gdouble (*FloatFunc) (gdouble a, gdouble b);

typedef struct
{
  const gchar *name;
  FloatFunc f;
  IntFunc i;
  gboolean is_test;             /* the result is a truth value */
} Binary;

/* -- functions -- */

#define FLOAT(name, formula) \
  static gdouble name (gdouble a, gdouble b) { return formula; }
#define TEST(name, formula) \
  FLOAT (name ## _float, formula) \
  static gboolean name ## _int (gint64 a, gint64 b, gint64 *y) \
  { *y = formula; return TRUE; }

/* *INDENT-OFF* */
FLOAT (math_add, a + b)
FLOAT (math_sub, a - b)
FLOAT (math_mul, a * b)
FLOAT (math_div, a / b)
FLOAT (math_mod, fmod (a, b))
FLOAT (math_pow, pow (a, b))
FLOAT (math_min, isnan (a) || a < b ? a : b)
FLOAT (math_max, isnan (a) || a > b ? a : b)
TEST (math_equal, a == b)
TEST (math_less, a < b)
TEST (math_greater, a > b)
TEST (math_less_equal, a <= b)
TEST (math_greater_equal, a >= b)
TEST (math_and, a && b)
TEST (math_or, a || b)
TEST (math_xor, !a != !b)
/* *INDENT-ON* */

static gboolean
math_add_int (gint64 a, gint64 b, gint64 *y)
{
  return !__builtin_add_overflow (a, b, y);
}

static gboolean
math_sub_int (gint64 a, gint64 b, gint64 *y)
{
  return !__builtin_sub_overflow (a, b, y);
}

static gboolean
math_mul_int (gint64 a, gint64 b, gint64 *y)
{
  return !__builtin_mul_overflow (a, b, y);
}

static gboolean
math_can_divide (gint64 a, gint64 b)
{
  return b != 0 && (b != -1 || a != G_MININT64);
}

/* Towards zero, as C. */
static gboolean
math_div_int (gint64 a, gint64 b, gint64 *y)
{
  *y = math_can_divide (a, b) ? a / b : 0;
  return math_can_divide (a, b);
}

/* The sign of the divisor, as Python. */
static gboolean
math_mod_int (gint64 a, gint64 b, gint64 *y)
{
  *y = math_can_divide (a, b) ? a % b : 0;
  if (*y != 0 && (*y < 0) != (b < 0))
    *y += b;
  return b != 0;
}

/* The sign of the dividend, as C. */
static gboolean
math_fmod_int (gint64 a, gint64 b, gint64 *y)
{
  *y = math_can_divide (a, b) ? a % b : 0;
  return b != 0;
}

static gboolean
math_pow_int (gint64 a, gint64 b, gint64 *y)
{
  const gdouble power = pow (a, b);

  *y = fabs (power) < 0x1p53 ? (gint64) power : 0;
  return fabs (power) < 0x1p53;
}

static gboolean
math_min_int (gint64 a, gint64 b, gint64 *y)
{
  *y = MIN (a, b);
  return TRUE;
}

static gboolean
math_max_int (gint64 a, gint64 b, gint64 *y)
{
  *y = MAX (a, b);
  return TRUE;
}

static const Binary math_binaries[] = {
  {"Add", math_add, math_add_int},
  {"And", math_and_float, math_and_int, TRUE},
  {"Div", math_div, math_div_int},
  {"Equal", math_equal_float, math_equal_int, TRUE},
  {"Greater", math_greater_float, math_greater_int, TRUE},
  {"GreaterOrEqual", math_greater_equal_float, math_greater_equal_int, TRUE},
  {"Less", math_less_float, math_less_int, TRUE},
  {"LessOrEqual", math_less_equal_float, math_less_equal_int, TRUE},
  {"Max", math_max, math_max_int},
  {"Min", math_min, math_min_int},
  {"Mod", math_mod, math_mod_int},
  {"Mul", math_mul, math_mul_int},
  {"Or", math_or_float, math_or_int, TRUE},
  {"Pow", math_pow, math_pow_int},
  {"Sub", math_sub, math_sub_int},
  {"Sum", math_add, math_add_int},
  {"Xor", math_xor_float, math_xor_int, TRUE},
};

/* -- broadcasting -- */

/* The shape that all of @in have after broadcasting. */
static gboolean
math_broadcast (const OnnxImport *self, const OnnxArray *in, guint n,
    gint64 *dims, guint *rank, GError **error)
{
  *rank = 0;
  for (guint i = 0; i < n; i++)
    *rank = MAX (*rank, in[i].rank);
  for (guint axis = 0; axis < *rank; axis++) {
    dims[axis] = 1;
    for (guint i = 0; i < n; i++) {
      const gint place = (gint) (axis + in[i].rank) - (gint) *rank;
      const gint64 size = place < 0 ? 1 : in[i].dims[place];

      if (size == 1 || size == dims[axis])
        continue;
      if (dims[axis] != 1)
        return pt_onnx_refuse (self, error, "found sizes %" G_GINT64_FORMAT
            " and %" G_GINT64_FORMAT " along axis %u of its constants, "
            "expected the same or 1", dims[axis], size, axis);
      dims[axis] = size;
    }
  }
  return TRUE;
}

/* The element of @array that broadcasting puts at element @i of @out. */
static gint64
math_find (const OnnxArray *array, const OnnxArray *out, gint64 i)
{
  gint64 place = 0, stride = 1;

  for (guint axis = out->rank, behind = array->rank; behind-- > 0;) {
    axis--;
    if (array->dims[behind] != 1)
      place += i % out->dims[axis] * stride;
    stride *= array->dims[behind];
    i /= out->dims[axis];
  }
  return place;
}

static OnnxCell
math_get (const OnnxArray *array, const OnnxArray *out, gint64 i)
{
  return array->cells[array->n == out->n ? i :
      array->n == 1 ? 0 : math_find (array, out, i)];
}

/* -- two operands or more -- */

static gboolean
math_join (OnnxImport *self, const Binary *binary, const OnnxArray *b,
    OnnxArray *out, GError **error)
{
  const gint type = b->type;

  for (gint64 i = 0; i < out->n; i++) {
    OnnxCell *a = &out->cells[i];
    const OnnxCell c = math_get (b, out, i);
    const OnnxCell before = *a;

    if (!pt_onnx_type_is_float (type)) {
      if (!binary->i (before.i, c.i, &a->i) ||
          !pt_onnx_type_holds (out->type, a->i))
        return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " and %"
            G_GINT64_FORMAT " at element %" G_GINT64_FORMAT ", expected "
            "numbers whose result fits its type", before.i, c.i, i);
    } else if (binary->is_test)
      a->i = binary->f (before.f, c.f);
    else
      a->f = pt_onnx_type_round (type, binary->f (before.f, c.f));
  }
  return TRUE;
}

static const Binary *
math_find_binary (const OnnxImport *self)
{
  static const Binary c_mod = { "Mod", math_mod, math_fmod_int };

  if (g_str_equal (self->node->op_type, "Mod") &&
      pt_onnx_get_int (self, "fmod", 0) != 0)
    return &c_mod;
  for (guint i = 0; i < G_N_ELEMENTS (math_binaries); i++)
    if (g_str_equal (math_binaries[i].name, self->node->op_type))
      return &math_binaries[i];
  return NULL;
}

/* An exponent may have a type of its own. */
static gboolean
math_agree (OnnxImport *self, const OnnxArray *in, guint n, GError **error)
{
  for (guint i = 1; i < n; i++)
    if (pt_onnx_type_is_float (in[i].type) !=
        pt_onnx_type_is_float (in[0].type))
      return pt_onnx_refuse (self, error, "found data types %d and %d, "
          "expected the same in all inputs", in[0].type, in[i].type);
  return TRUE;
}

static gboolean
math_binary (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const Binary *binary = math_find_binary (self);
  gint64 dims[ONNX_MAX_DIMS];
  guint rank;

  if (pt_onnx_find (self, "axis") != NULL)
    return pt_onnx_refuse (self, error, "found broadcasting along an axis, "
        "expected that of opset 7: convert the model "
        "(onnx.version_converter)");
  if (!math_agree (self, in, n, error) ||
      !math_broadcast (self, in, n, dims, &rank, error) ||
      !pt_onnx_array_init (self, out, in[0].type, dims, rank, error))
    return FALSE;
  for (gint64 i = 0; i < out->n; i++)
    out->cells[i] = math_get (&in[0], out, i);
  if (binary->is_test)
    out->type = TYPE (BOOL);
  for (guint i = 1; i < n; i++)
    if (!math_join (self, binary, &in[i], out, error))
      return FALSE;
  return TRUE;
}

/* Types that differ: as floats. */
static gboolean
math_power (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const gboolean whole = !pt_onnx_type_is_float (in[0].type);
  gint64 dims[ONNX_MAX_DIMS];
  guint rank;

  if (whole && !pt_onnx_type_is_float (in[1].type))
    return math_binary (self, in, n, out, error);
  if (!math_broadcast (self, in, n, dims, &rank, error) ||
      !pt_onnx_array_init (self, out, in[0].type, dims, rank, error))
    return FALSE;
  for (gint64 i = 0; i < out->n; i++) {
    const OnnxCell a = math_get (&in[0], out, i);
    const OnnxCell b = math_get (&in[1], out, i);
    const gdouble power = pow (whole ? a.i : a.f,
        pt_onnx_type_is_float (in[1].type) ? b.f : b.i);

    if (whole && !(fabs (power) < 0x1p53))
      return pt_onnx_refuse (self, error, "found the power %g, expected one "
          "that fits its type", power);
    if (whole)
      out->cells[i].i = power;
    else
      out->cells[i].f = pt_onnx_type_round (out->type, power);
  }
  return TRUE;
}

static gboolean
math_where (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  gint64 dims[ONNX_MAX_DIMS];
  guint rank;

  if (!math_agree (self, in + 1, 2, error) ||
      !math_broadcast (self, in, 3, dims, &rank, error) ||
      !pt_onnx_array_init (self, out, in[1].type, dims, rank, error))
    return FALSE;
  for (gint64 i = 0; i < out->n; i++)
    out->cells[i] = math_get (math_get (&in[0], out, i).i ? &in[1] : &in[2],
        out, i);
  return TRUE;
}

/* -- one operand -- */

/* *INDENT-OFF* */
FLOAT (math_neg, -a)
FLOAT (math_relu, a > 0 ? a : 0)
FLOAT (math_sign, (a > 0) - (a < 0))
FLOAT (math_inverse, 1 / a)
FLOAT (math_sigmoid, 1 / (1 + exp (-a)))
/* *INDENT-ON* */

#define UNARY(name) \
  static gdouble math_ ## name (gdouble a, gdouble b) { return name (a); }

/* *INDENT-OFF* */
UNARY (fabs)
UNARY (ceil)
UNARY (cos)
UNARY (erf)
UNARY (exp)
UNARY (floor)
UNARY (log)
UNARY (rint)
UNARY (sin)
UNARY (sqrt)
UNARY (tanh)
/* *INDENT-ON* */

static const struct
{
  const gchar *name;
  FloatFunc f;
  gboolean whole;               /* integers have it as well */
} math_unaries[] = {
  {"Abs", math_fabs, TRUE},
  {"Ceil", math_ceil},
  {"Cos", math_cos},
  {"Erf", math_erf},
  {"Exp", math_exp},
  {"Floor", math_floor},
  {"Log", math_log},
  {"Neg", math_neg, TRUE},
  {"Reciprocal", math_inverse},
  {"Relu", math_relu, TRUE},
  {"Round", math_rint},
  {"Sigmoid", math_sigmoid},
  {"Sign", math_sign, TRUE},
  {"Sin", math_sin},
  {"Sqrt", math_sqrt},
  {"Tanh", math_tanh},
};

static gboolean
math_apply (OnnxImport *self, FloatFunc func, const OnnxArray *in,
    OnnxArray *out, GError **error)
{
  for (gint64 i = 0; i < out->n; i++)
    if (pt_onnx_type_is_float (in->type))
      out->cells[i].f = pt_onnx_type_round (in->type,
          func (in->cells[i].f, 0));
    else if (in->cells[i].i > -(1LL << 53) && in->cells[i].i < 1LL << 53)
      out->cells[i].i = func (in->cells[i].i, 0);
    else
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " at "
          "element %" G_GINT64_FORMAT ", expected less than 2^53",
          in->cells[i].i, i);
  return TRUE;
}

static gboolean
math_unary (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (math_unaries); i++) {
    if (!g_str_equal (math_unaries[i].name, self->node->op_type))
      continue;
    if (!math_unaries[i].whole && !pt_onnx_type_is_float (in->type))
      return pt_onnx_refuse (self, error, "found data type %d, expected "
          "floats", in->type);
    return pt_onnx_array_init (self, out, in->type, in->dims, in->rank, error)
        && math_apply (self, math_unaries[i].f, in, out, error);
  }
  return FALSE;
}

static gboolean
math_not (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  if (!pt_onnx_array_init (self, out, TYPE (BOOL), in->dims, in->rank, error))
    return FALSE;
  for (gint64 i = 0; i < out->n; i++)
    out->cells[i].i = !in->cells[i].i;
  return TRUE;
}

/* One bound of a Clip: input @i, an attribute before opset 11, or none. */
static gboolean
math_clip_at (OnnxImport *self, const OnnxArray *in, guint n, guint i,
    const gchar *name, OnnxArray *out, GError **error)
{
  const gboolean least = i == 1;
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, name);
  OnnxCell bound;

  if (self->opset >= 11 ? i >= n || in[i].type == 0 : attribute == NULL)
    return TRUE;
  if (self->opset >= 11 && (in[i].n != 1 || in[i].type != out->type))
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " bounds of "
        "data type %d in input %u, expected one of type %d", in[i].n,
        in[i].type, i, out->type);
  if (self->opset >= 11)
    bound = in[i].cells[0];
  else
    bound.f = pt_onnx_get_float (self, name, 0);
  for (gint64 k = 0; k < out->n; k++) {
    OnnxCell *cell = &out->cells[k];

    if (!pt_onnx_type_is_float (out->type))
      cell->i = least ? MAX (cell->i, bound.i) : MIN (cell->i, bound.i);
    else if (least ? cell->f < bound.f : cell->f > bound.f)
      cell->f = bound.f;
  }
  return TRUE;
}

static gboolean
math_clip (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  if (!pt_onnx_array_init (self, out, in->type, in->dims, in->rank, error))
    return FALSE;
  memcpy (out->cells, in->cells, in->n * sizeof *in->cells);
  return math_clip_at (self, in, n, 1, "min", out, error) &&
      math_clip_at (self, in, n, 2, "max", out, error);
}

/* -- types -- */

/* One cell of type @from as one of @to; FALSE if it does not fit. */
static gboolean
math_convert (OnnxCell *cell, gint from, gint to)
{
  const gboolean is_float = pt_onnx_type_is_float (from);

  if (pt_onnx_type_is_float (to))
    cell->f = pt_onnx_type_round (to, is_float ? cell->f : cell->i);
  else if (to == TYPE (BOOL))
    cell->i = is_float ? cell->f != 0 : cell->i != 0;
  else if (is_float && !(fabs (cell->f) < 0x1p63))
    return FALSE;
  else if (is_float)
    cell->i = cell->f;
  return pt_onnx_type_is_float (to) || pt_onnx_type_holds (to, cell->i);
}

static gboolean
math_is_number (gint type)
{
  return pt_onnx_type_is_float (type) ||
      (type >= TYPE (UINT8) && type <= TYPE (INT64)) ||
      type == TYPE (BOOL) || type == TYPE (UINT32) || type == TYPE (UINT64);
}

static gboolean
math_cast (OnnxImport *self, const OnnxArray *in, guint n, OnnxArray *out,
    GError **error)
{
  const gint64 to = n > 1 ? in[1].type : pt_onnx_get_int (self, "to", 0);

  if (to < 0 || to > G_MAXINT || !math_is_number (to))
    return pt_onnx_refuse (self, error, "found data type %" G_GINT64_FORMAT
        ", expected one of numbers", to);
  if (!pt_onnx_array_init (self, out, to, in->dims, in->rank, error))
    return FALSE;
  for (gint64 i = 0; i < out->n; i++) {
    out->cells[i] = in->cells[i];
    if (!math_convert (&out->cells[i], in->type, to))
      return pt_onnx_refuse (self, error, "found a number at element %"
          G_GINT64_FORMAT " that data type %" G_GINT64_FORMAT " does not hold,"
          " expected one that fits", i, to);
  }
  return TRUE;
}

const OnnxFold pt_onnx_folds_math[] = {
  {"Abs", 1, 1, math_unary, " consumed_inputs "},
  {"Add", 2, 2, math_binary, " axis broadcast consumed_inputs "},
  {"And", 2, 2, math_binary, " axis broadcast "},
  {"Cast", 1, 1, math_cast, " to saturate "},
  {"CastLike", 2, 2, math_cast, " saturate "},
  {"Ceil", 1, 1, math_unary, " consumed_inputs "},
  {"Clip", 1, 3, math_clip, " max min consumed_inputs "},
  {"Cos", 1, 1, math_unary, " "},
  {"Div", 2, 2, math_binary, " axis broadcast consumed_inputs "},
  {"Equal", 2, 2, math_binary, " axis broadcast "},
  {"Erf", 1, 1, math_unary, " "},
  {"Exp", 1, 1, math_unary, " consumed_inputs "},
  {"Floor", 1, 1, math_unary, " consumed_inputs "},
  {"Greater", 2, 2, math_binary, " axis broadcast "},
  {"GreaterOrEqual", 2, 2, math_binary, " "},
  {"Less", 2, 2, math_binary, " axis broadcast "},
  {"LessOrEqual", 2, 2, math_binary, " "},
  {"Log", 1, 1, math_unary, " consumed_inputs "},
  {"Max", 1, G_MAXUINT, math_binary, " consumed_inputs "},
  {"Min", 1, G_MAXUINT, math_binary, " consumed_inputs "},
  {"Mod", 2, 2, math_binary, " fmod "},
  {"Mul", 2, 2, math_binary, " axis broadcast consumed_inputs "},
  {"Neg", 1, 1, math_unary, " consumed_inputs "},
  {"Not", 1, 1, math_not, " "},
  {"Or", 2, 2, math_binary, " axis broadcast "},
  {"Pow", 2, 2, math_power, " axis broadcast "},
  {"Reciprocal", 1, 1, math_unary, " consumed_inputs "},
  {"Relu", 1, 1, math_unary, " consumed_inputs "},
  {"Round", 1, 1, math_unary, " "},
  {"Sigmoid", 1, 1, math_unary, " consumed_inputs "},
  {"Sign", 1, 1, math_unary, " "},
  {"Sin", 1, 1, math_unary, " "},
  {"Sqrt", 1, 1, math_unary, " consumed_inputs "},
  {"Sub", 2, 2, math_binary, " axis broadcast consumed_inputs "},
  {"Sum", 1, G_MAXUINT, math_binary, " consumed_inputs "},
  {"Tanh", 1, 1, math_unary, " consumed_inputs "},
  {"Where", 3, 3, math_where, " "},
  {"Xor", 2, 2, math_binary, " axis broadcast "},
  {NULL}
};
