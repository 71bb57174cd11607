/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/network.h"

/* What a layer, or all, costs. */
typedef struct
{
  guint64 parameters;
  gdouble flops;
  gdouble weights, output, saved;       /* bytes */
} Cost;

static gdouble
describe_count_bytes (const PtShape *shape)
{
  /* every data type of layers has four */
  return pt_shape_get_n_elements (shape) * (gdouble) sizeof (gfloat);
}

static Cost
describe_get_cost (const PtLayer *layer)
{
  Cost cost = {
    .parameters = pt_layer_count_parameters (layer),
    .flops = pt_layer_get_flops (layer),
    .output = describe_count_bytes (&layer->output),
  };

  for (guint i = 0; i < layer->n_weights; i++)
    cost.weights += describe_count_bytes (&layer->weights[i].shape);
  for (guint i = 0; i < layer->n_saved; i++)
    cost.saved += describe_count_bytes (&layer->saved[i].shape);
  return cost;
}

static void
describe_print_cost (GString *text, const Cost *cost)
{
  const gdouble millions[] =
      { cost->flops, cost->weights, cost->output, cost->saved };
  gchar number[32];

  g_string_append_printf (text, " %12" G_GUINT64_FORMAT, cost->parameters);
  for (guint i = 0; i < G_N_ELEMENTS (millions); i++)
    g_string_append_printf (text, " %10s", g_ascii_formatd (number,
            sizeof number, "%.3f", millions[i] / 1e6));
  g_string_append_c (text, '\n');
}

/**
 * pt_network_describe:
 * @self: a network
 *
 * Returns: (transfer full): a table of the layers with inputs, shapes,
 *   parameters, the cost of a frame, and MB of weights, output, and of what is
 *   kept besides for the backward pass, and the outputs with their names, as
 *   text
 */
gchar *
pt_network_describe (PtNetwork *self)
{
  static const gchar row[] = "%-16s %-16s %-20s %-16s";
  GString *text = g_string_new (NULL);
  gchar shape[PT_SHAPE_TEXT_SIZE], number[32];
  Cost total = { 0 };

  g_string_append_printf (text, row, "layer", "type", "inputs", "output");
  g_string_append_printf (text, " %12s %10s %10s %10s %10s\n", "parameters",
      "MFLOP", "weights MB", "output MB", "saved MB");
  g_string_append_printf (text, row, "input", "", "",
      pt_shape_print (&self->input, shape));
  g_string_append_printf (text, " %12s %10s %10s %10s\n", "", "", "",
      g_ascii_formatd (number, sizeof number, "%.3f",
          describe_count_bytes (&self->input) / 1e6));
  for (guint i = 0; i < self->n_nodes; i++) {
    const PtLayer *layer = self->nodes[i].layer;
    g_autofree gchar *inputs = pt_network_print_inputs (self, &self->nodes[i]);
    const Cost cost = describe_get_cost (layer);

    total.parameters += cost.parameters;
    total.flops += cost.flops;
    total.weights += cost.weights;
    total.output += cost.output;
    total.saved += cost.saved;
    g_string_append_printf (text, row, layer->name, layer->kind->name, inputs,
        pt_shape_print (&layer->output, shape));
    describe_print_cost (text, &cost);
  }
  g_string_append_printf (text, row, "total", "", "", "");
  describe_print_cost (text, &total);
  for (guint i = 0; i < self->n_outputs; i++) {
    const PtLayer *layer = self->nodes[self->outputs[i].node].layer;

    g_string_append_printf (text, row, "output", self->outputs[i].name,
        layer->name, pt_shape_print (&layer->output, shape));
    g_string_append_c (text, '\n');
  }
  if (self->left_out != NULL)
    g_string_append_printf (text, "%s\n", self->left_out);
  return g_string_free (text, FALSE);
}
