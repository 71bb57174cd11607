/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fake-plan.h"

#include <math.h>
#include <string.h>

#include "dense.h"
#include "device/cuda/cuda.h"

#define FAKE_WORKSPACE 1000

FakePlan fake_plan;

/* Bits of the fraction, the least exponent and the largest. */
static void
fake_format (PtPrecision precision, gint *fraction, gint *least, gint *most)
{
  gboolean bf16 = precision == PT_PRECISION_BF16;

  *fraction = bf16 ? 7 : 10;
  *least = bf16 ? -126 : -14;
  *most = bf16 ? 127 : 15;
}

gdouble
fake_widen (PtPrecision precision, guint16 bits)
{
  gint fraction, least, most, exponent;
  gdouble sign = bits & 0x8000 ? -1 : 1;

  fake_format (precision, &fraction, &least, &most);
  exponent = (bits & 0x7fff) >> fraction;
  bits &= (1 << fraction) - 1;
  if (exponent == 0)
    return sign * ldexp (bits, least - fraction);
  if (exponent == most - least + 2)
    return bits == 0 ? sign * INFINITY : NAN;
  return sign * ldexp (bits + (1 << fraction), exponent - 1 + least - fraction);
}

guint16
fake_narrow (PtPrecision precision, gdouble x)
{
  gint fraction, least, most, exponent;
  guint16 sign = signbit (x) ? 0x8000 : 0;
  gdouble size;

  fake_format (precision, &fraction, &least, &most);
  if (isnan (x))
    return 0x7fff;
  exponent = MAX (x != 0 && isfinite (x) ? ilogb (x) : least, least);
  size = nearbyint (ldexp (fabs (x), fraction - exponent));
  if (size >= ldexp (1, fraction + 1)) {
    size /= 2;
    exponent++;
  }
  if (exponent > most || isinf (x))
    return sign | (most - least + 2) << fraction;
  if (size < ldexp (1, fraction))
    return sign | (guint16) size;
  return sign | (guint16) (size + ldexp (exponent - least, fraction));
}

static gboolean
fake_is_narrow (const PtConvGraph *graph)
{
  return graph->precision >= PT_PRECISION_BF16;
}

/* What lies at @data, channels-last, as row-major doubles. */
static gdouble *
fake_read (const PtConvGraph *graph, gconstpointer data, const gint64 dims[4])
{
  gint64 hw = dims[2] * dims[3], n = dims[0] * dims[1] * hw;
  gdouble *values = g_new (gdouble, n);

  for (gint64 i = 0; i < n; i++) {
    gint64 c = i / hw % dims[1];
    gint64 at = (i / hw / dims[1] * hw + i % hw) * dims[1] + c;

    values[i] = fake_is_narrow (graph) ? fake_widen (graph->precision,
        ((const guint16 *) data)[at]) : ((const gfloat *) data)[at];
  }
  return values;
}

static void
fake_write (const PtConvGraph *graph, gpointer data, const gint64 dims[4],
    const gdouble *values)
{
  gint64 hw = dims[2] * dims[3], n = dims[0] * dims[1] * hw;

  for (gint64 i = 0; i < n; i++) {
    gint64 c = i / hw % dims[1];
    gint64 at = (i / hw / dims[1] * hw + i % hw) * dims[1] + c;

    if (fake_is_narrow (graph))
      ((guint16 *) data)[at] = fake_narrow (graph->precision, values[i]);
    else
      ((gfloat *) data)[at] = values[i];
  }
}

static PtConvDesc
fake_desc (const PtConvGraph *graph)
{
  return (PtConvDesc) {
    .kernel = { graph->w[2], graph->w[3] },
    .stride = { graph->stride[0], graph->stride[1] },
    .padding = { graph->padding[0], graph->padding[1] },
    .more_padding = { graph->more_padding[0], graph->more_padding[1] },
    .dilation = { graph->dilation[0], graph->dilation[1] },
    .groups = graph->x[1] / graph->w[1],
    .activation = graph->relu ? PT_ACTIVATION_RELU : PT_ACTIVATION_NONE,
  };
}

gboolean
pt_plan_new_for (PtOp *op, const PtConvGraph *graph, PtPlan **plan,
    GError **error)
{
  *plan = NULL;
  if (fake_plan.none || (graph->add && !graph->bias))
    return TRUE;
  *plan = g_new0 (PtPlan, 1);
  (*plan)->graph = *graph;
  (*plan)->workspace = FAKE_WORKSPACE;
  g_atomic_int_inc (&fake_plan.n_plans);
  return TRUE;
}

void
pt_plan_free (PtPlan *self)
{
  g_free (self);
}

gboolean
pt_plan_run (PtPlan *self, PtOp *op,
    const gpointer pointers[PT_CONV_N_TENSORS], gpointer workspace,
    GError **error)
{
  const PtConvGraph *graph = &self->graph;
  PtConvDesc desc = fake_desc (graph);
  const gint64 channels[] = { 1, graph->y[1], 1, 1 };
  RefSize in = { graph->x[1], graph->x[2], graph->x[3] };
  RefSize out = { graph->y[1], graph->y[2], graph->y[3] };
  g_autofree gdouble *x = NULL, *y = NULL, *w = NULL, *b = NULL, *db = NULL;
  g_autofree gdouble *add = NULL;

  g_atomic_int_inc (&fake_plan.n_runs);
  if (!pt_device_wait (op->workspace->device, error))
    return FALSE;
  memset (workspace, 0xff, FAKE_WORKSPACE);
  x = fake_read (graph, pointers[PT_CONV_X], graph->x);
  y = fake_read (graph, pointers[PT_CONV_Y], graph->y);
  w = fake_read (graph, pointers[PT_CONV_W], graph->w);
  if (graph->bias)
    b = fake_read (graph, pointers[PT_CONV_B], channels);
  if (graph->add)
    add = fake_read (graph, pointers[PT_CONV_ADD], graph->y);
  switch (graph->pass) {
    case PT_CONV_FORWARD:
      ref_conv (&desc, in, out, x, w, b, add, y);
      fake_write (graph, pointers[PT_CONV_Y], graph->y, y);
      break;
    case PT_CONV_DATA:
      ref_conv_data (&desc, in, out, y, w, x);
      fake_write (graph, pointers[PT_CONV_X], graph->x, x);
      break;
    case PT_CONV_WEIGHTS:
      db = g_new (gdouble, graph->y[1]);
      ref_conv_weights (&desc, in, out, x, y, w, db);
      fake_write (graph, pointers[PT_CONV_W], graph->w, w);
      break;
  }
  return TRUE;
}

#define PLANNED(name) extern const PtOpImpl planned_##name
PLANNED (conv);
PLANNED (conv_data);
PLANNED (conv_weights);
PLANNED (conv_transpose);
PLANNED (conv_transpose_data);
PLANNED (conv_transpose_weights);
PLANNED (linear);
PLANNED (linear_data);
PLANNED (linear_weights);

__attribute__ ((constructor))
static void
fake_register (void)
{
  static PtBackend backend;

  backend = pt_backend_cuda;
  backend.name = "planned";
  backend.ops[PT_OP_CONV] = &planned_conv;
  backend.ops[PT_OP_CONV_DATA] = &planned_conv_data;
  backend.ops[PT_OP_CONV_WEIGHTS] = &planned_conv_weights;
  backend.ops[PT_OP_CONV_TRANSPOSE] = &planned_conv_transpose;
  backend.ops[PT_OP_CONV_TRANSPOSE_DATA] = &planned_conv_transpose_data;
  backend.ops[PT_OP_CONV_TRANSPOSE_WEIGHTS] = &planned_conv_transpose_weights;
  backend.ops[PT_OP_LINEAR] = &planned_linear;
  backend.ops[PT_OP_LINEAR_DATA] = &planned_linear_data;
  backend.ops[PT_OP_LINEAR_WEIGHTS] = &planned_linear_weights;
  pt_device_add_backend (&backend);
}
