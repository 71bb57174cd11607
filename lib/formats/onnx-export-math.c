/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-export.h"

#include <string.h>

/* Layers that compute without windows: operations of several operands,
 * products, sums. */

/* Of several inputs, or of one and a weight. */
static gboolean
write_operands (OnnxExport *self, GError **error)
{
  const gboolean reverse = pt_onnx_option (self, "reverse", FALSE);
  const gchar *x = self->inputs[0], *other = self->weights[0];

  if (self->layer->n_inputs > 1)
    pt_onnx_write_all (self, self->writer->operator);
  else
    pt_onnx_write (self, self->writer->operator, reverse ? other : x,
        reverse ? x : other, NULL);
  return TRUE;
}

/* A truth value, 0 or 1 here. */
static gboolean
write_comparison (OnnxExport *self, GError **error)
{
  write_operands (self, error);
  pt_onnx_put_int (self, pt_onnx_write (self, "Cast", self->last, NULL), "to",
      ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  return TRUE;
}

static gboolean
write_mask (OnnxExport *self, GError **error)
{
  const gboolean alone = self->layer->n_inputs == 1;
  const gboolean reverse = pt_onnx_option (self, "reverse", FALSE);
  const gchar *x = self->inputs[0];
  const gchar *other = alone ? self->weights[0] : self->inputs[1];
  const gboolean swap = alone && reverse;

  pt_onnx_put_int (self, pt_onnx_write (self, "Cast", swap ? x : other, NULL),
      "to", ONNX__TENSOR_PROTO__DATA_TYPE__BOOL);
  self->main = pt_onnx_write (self, "Where", self->last, swap ? other : x,
      pt_onnx_make_number (self, "zero", 0), NULL);
  return TRUE;
}

static gboolean
write_add (OnnxExport *self, GError **error)
{
  if (self->layer->n_inputs > 2)
    pt_onnx_write_all (self, "Sum");
  else
    write_operands (self, error);
  return pt_onnx_write_activation (self, error);
}

/* The matrix @name of that shape, its last two axes swapped if @key says so. */
static const gchar *
math_get_matrix (OnnxExport *self, const gchar *name, const PtShape *shape,
    const gchar *key)
{
  const guint rank = shape->n_dims;
  gint64 perm[PT_MAX_DIMS];

  if (rank < 2 || !pt_onnx_option (self, key, FALSE))
    return name;
  for (guint k = 0; k < rank; k++)
    perm[k] = k < rank - 2 ? k : k == rank - 2 ? rank - 1 : rank - 2;
  pt_onnx_put_ints (self, pt_onnx_write (self, "Transpose", name, NULL),
      "perm", perm, rank);
  return self->last;
}

/* Of two inputs, or of one and a weight. */
static gboolean
write_matmul (OnnxExport *self, GError **error)
{
  const PtLayer *layer = self->layer;
  const gboolean alone = layer->n_inputs == 1;
  const guint first = alone && pt_onnx_option (self, "reverse", FALSE);
  const gchar *names[] = { self->inputs[0],
    alone ? self->weights[0] : self->inputs[1]
  };
  const PtShape *shapes[] = { &layer->inputs[0],
    alone ? &layer->weights[0].shape : &layer->inputs[1]
  };
  const gdouble alpha = pt_onnx_option_double (self, "alpha", 1);
  const gchar *a =
      math_get_matrix (self, names[first], shapes[first], "trans_a");
  const gchar *b =
      math_get_matrix (self, names[1 - first], shapes[1 - first], "trans_b");

  self->main = pt_onnx_write (self, "MatMul", a, b, NULL);
  if (alpha != 1)
    pt_onnx_write (self, "Mul", self->last, pt_onnx_make_number (self,
            "alpha", alpha), NULL);
  /* a number is one of one dimension here */
  if (shapes[0]->n_dims == 1 && shapes[1]->n_dims == 1)
    pt_onnx_write_output_shape (self);
  return TRUE;
}

/* Without axes, over all of them; where nothing is left the layer has one
 * axis, ONNX none. */
static gboolean
write_reduce (OnnxExport *self, GError **error)
{
  const guint rank = self->layer->inputs[0].n_dims;
  const gboolean keep = pt_onnx_option (self, "keepdim", FALSE);
  gint64 axes[PT_MAX_DIMS];
  const guint n = pt_onnx_option_list (self, "dim", axes, PT_MAX_DIMS);
  Onnx__NodeProto *node;

  for (guint i = 0; i < n; i++)
    axes[i] = pt_onnx_get_positive (self, axes[i]);
  node = pt_onnx_write (self, self->writer->operator, self->inputs[0],
      n > 0 ? pt_onnx_make_ints (self, "axes", axes, n) : NULL, NULL);
  pt_onnx_put_int (self, node, "keepdims", keep);
  if (!keep && (n == 0 || n == rank))
    pt_onnx_write_output_shape (self);
  return TRUE;
}

/* Places are numbers like all others here. */
static gboolean
write_arg (OnnxExport *self, GError **error)
{
  const gboolean keep = pt_onnx_option (self, "keepdim", FALSE);
  Onnx__NodeProto *node = pt_onnx_write_all (self, self->writer->operator);

  pt_onnx_put_int (self, node, "axis", pt_onnx_option_axis (self, "dim", 1));
  pt_onnx_put_int (self, node, "keepdims", keep);
  pt_onnx_put_int (self, node, "select_last_index",
      pt_onnx_option (self, "select_last_index", FALSE));
  pt_onnx_put_int (self, pt_onnx_write (self, "Cast", self->last, NULL), "to",
      ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
  if (!keep && self->layer->inputs[0].n_dims == 1)
    pt_onnx_write_output_shape (self);
  return TRUE;
}

static gboolean
write_softmax (OnnxExport *self, GError **error)
{
  pt_onnx_put_int (self, pt_onnx_write_all (self, self->writer->operator),
      "axis", pt_onnx_option_axis (self, "dim", 1));
  return TRUE;
}

const OnnxWriter pt_onnx_writers_math[] = {
  {"add", write_add, "Add"},
  {"argmax", write_arg, "ArgMax"},
  {"argmin", write_arg, "ArgMin"},
  {"div", write_operands, "Div"},
  {"eq", write_comparison, "Equal"},
  {"le", write_comparison, "LessOrEqual"},
  {"log-softmax", write_softmax, "LogSoftmax"},
  {"lt", write_comparison, "Less"},
  {"mask", write_mask},
  {"matmul", write_matmul},
  {"max", write_operands, "Max"},
  {"min", write_operands, "Min"},
  {"mul", write_operands, "Mul"},
  {"pow", write_operands, "Pow"},
  {"reduce-l1", write_reduce, "ReduceL1"},
  {"reduce-l2", write_reduce, "ReduceL2"},
  {"reduce-log-sum", write_reduce, "ReduceLogSum"},
  {"reduce-log-sum-exp", write_reduce, "ReduceLogSumExp"},
  {"reduce-max", write_reduce, "ReduceMax"},
  {"reduce-mean", write_reduce, "ReduceMean"},
  {"reduce-min", write_reduce, "ReduceMin"},
  {"reduce-prod", write_reduce, "ReduceProd"},
  {"reduce-sum", write_reduce, "ReduceSum"},
  {"reduce-sum-square", write_reduce, "ReduceSumSquare"},
  {"softmax", write_softmax, "Softmax"},
  {"sub", write_operands, "Sub"},
  {NULL}
};
