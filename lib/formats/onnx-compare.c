/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

/* Comparisons of what comes from the picture, and choices by them. A truth
 * value is a float here, 0 or 1. */

/* 1 - x of a truth value, and whether a number is 0. */
static gboolean
compare_negate (OnnxImport *self, const OnnxValue *x, OnnxValue *y,
    GError **error)
{
  const gint layer = pt_onnx_add_layer (self, "eq", &x->layer, 1,
      "other=1 learned=false", error);

  *y = (OnnxValue) {.layer = layer,.rank = x->rank,.alone = TRUE };
  return layer != ONNX_NO_LAYER && pt_onnx_set_weight (self, layer, 0,
      g_new0 (gfloat, 1), error);
}

gboolean
pt_onnx_add_truth (OnnxImport *self, const OnnxValue *x, GError **error)
{
  OnnxValue is_zero, y;

  return compare_negate (self, x, &is_zero, error) &&
      compare_negate (self, &is_zero, &y, error) &&
      pt_onnx_set_output (self, y.layer, y.rank, error);
}

/* @kind of inputs 0 and 1, the other way round if @swap. */
static gboolean
compare_join (OnnxImport *self, const gchar *kind, gboolean swap,
    OnnxValue *y, GError **error)
{
  return pt_onnx_count_inputs (self, 2, 2, error) &&
      pt_onnx_join (self, kind, pt_onnx_get_input (self, swap),
      pt_onnx_get_input (self, !swap), y, error);
}

static gboolean
compare_pair (OnnxImport *self, GError **error)
{
  static const struct
  {
    const gchar *name, *kind;
    gboolean swap;
  } kinds[] = {
    {"And", "min"}, {"Equal", "eq"}, {"Greater", "lt", TRUE},
    {"GreaterOrEqual", "le", TRUE}, {"Less", "lt"}, {"LessOrEqual", "le"},
    {"Or", "max"},
  };
  guint i = 0;
  OnnxValue y;

  while (!g_str_equal (kinds[i].name, self->node->op_type))
    i++;
  return compare_join (self, kinds[i].kind, kinds[i].swap, &y, error) &&
      pt_onnx_set_output (self, y.layer, y.rank, error);
}

static gboolean
compare_xor (OnnxImport *self, GError **error)
{
  OnnxValue same, y;

  return compare_join (self, "eq", FALSE, &same, error) &&
      compare_negate (self, &same, &y, error) &&
      pt_onnx_set_output (self, y.layer, y.rank, error);
}

static gboolean
compare_not (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  OnnxValue y;

  return x != NULL && compare_negate (self, x, &y, error) &&
      pt_onnx_set_output (self, y.layer, y.rank, error);
}

/* Only NaN is not equal to itself. */
static gboolean
compare_is_nan (OnnxImport *self, GError **error)
{
  const OnnxValue *x = pt_onnx_need_layer (self, 0, 0, PT_MAX_DIMS, error);
  OnnxValue same, y;

  return x != NULL && pt_onnx_join (self, "eq", x, x, &same, error) &&
      compare_negate (self, &same, &y, error) &&
      pt_onnx_set_output (self, y.layer, y.rank, error);
}

/* Any input that comes from the picture, for a constant to read. */
static gint
compare_find_layer (const OnnxImport *self)
{
  for (guint i = 0; i < 3; i++)
    if (pt_onnx_get_input (self, i)->constant == NULL)
      return pt_onnx_get_input (self, i)->layer;
  return PT_NETWORK_INPUT;
}

/* The condition, as a layer. */
static gboolean
compare_get_condition (OnnxImport *self, OnnxValue *condition, GError **error)
{
  *condition = *pt_onnx_get_input (self, 0);
  if (condition->constant == NULL)
    return TRUE;
  condition->layer = pt_onnx_add_constant (self, condition->constant,
      compare_find_layer (self), &condition->rank, error);
  condition->constant = NULL;
  return condition->layer != ONNX_NO_LAYER;
}

/* Whether it is the number 0, which what is masked becomes anyhow. */
static gboolean
compare_is_zero (const OnnxImport *self, const OnnxValue *value)
{
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gfloat *data = NULL;
  guint rank;

  if (value->constant == NULL || value->rank > 0 || !pt_onnx_tensor_get_dims
      (self, value->constant, dims, &rank, &n, NULL) || n != 1)
    return FALSE;
  data = pt_onnx_tensor_get_clamped (self, value->constant, NULL);
  return data != NULL && *data == 0;
}

/* a where the condition holds and 0 elsewhere, and b the other way round:
 * their sum has no 0 times infinity. */
static gboolean
compare_where (OnnxImport *self, GError **error)
{
  OnnxValue condition, opposite, a, b, y;

  if (!pt_onnx_count_inputs (self, 3, 3, error))
    return FALSE;
  for (guint i = 0; i < 3; i++)
    if (pt_onnx_get_input (self, i) == NULL)
      return pt_onnx_refuse (self, error, "input %u is missing", i);
  if (!compare_get_condition (self, &condition, error) ||
      !pt_onnx_join (self, "mask", pt_onnx_get_input (self, 1), &condition, &a,
          error))
    return FALSE;
  if (compare_is_zero (self, pt_onnx_get_input (self, 2)))
    return pt_onnx_set_output (self, a.layer, a.rank, error);
  return compare_negate (self, &condition, &opposite, error) &&
      pt_onnx_join (self, "mask", pt_onnx_get_input (self, 2), &opposite, &b,
      error) && pt_onnx_join (self, "add", &a, &b, &y, error) &&
      pt_onnx_set_output (self, y.layer, y.rank, error);
}

#define OLD_PAIR " axis broadcast "

const OnnxOperator pt_onnx_ops_compare[] = {
  {"And", compare_pair, OLD_PAIR},
  {"Equal", compare_pair, OLD_PAIR},
  {"Greater", compare_pair, OLD_PAIR},
  {"GreaterOrEqual", compare_pair, " "},
  {"IsNaN", compare_is_nan, " "},
  {"Less", compare_pair, OLD_PAIR},
  {"LessOrEqual", compare_pair, " "},
  {"Not", compare_not, " "},
  {"Or", compare_pair, OLD_PAIR},
  {"Where", compare_where, " "},
  {"Xor", compare_xor, OLD_PAIR},
  {NULL}
};
