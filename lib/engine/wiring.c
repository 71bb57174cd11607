/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/wiring.h"

guint
pt_wiring_get_target (const PtWiring *self)
{
  return self->n_wires - 1;
}

guint
pt_wiring_get_output (const PtWiring *self)
{
  return self->n_wires - 2;
}

/* Whether @wire has been made before stage @cut, and it or a later one reads
 * it. Cut 0 is the one between the pushing thread and stage 0. */
gboolean
pt_wiring_crosses (const PtWiring *self, guint wire, guint cut)
{
  const PtWire *w = &self->wires[wire];

  return w->producer < (gint) cut && w->last_reader >= (gint) cut;
}

/* Whether one stage alone sees @wire. */
gboolean
pt_wiring_is_local (const PtWiring *self, guint wire)
{
  return self->wires[wire].producer == self->wires[wire].last_reader;
}

static gint
wiring_find_stage (const PtWiring *self, guint node)
{
  for (guint i = 0; i < self->n_stages; i++)
    if (node < self->spans[i].first + self->spans[i].n)
      return i;
  g_assert_not_reached ();
}

static void
wiring_add_node (PtWiring *self, guint node)
{
  const PtNode *n = &self->network->nodes[node];
  PtWire *out = &self->wires[1 + node];
  gint stage = wiring_find_stage (self, node);

  *out = (PtWire) { .shape = n->layer->output, .dtype = PT_F32,
    .producer = stage, .last_reader = stage, .first_node = node,
    .last_node = node, .wants_gradient =
        pt_learning_learns (self->learning, self->network, node) };
  for (guint i = 0; i < n->layer->n_inputs; i++) {
    PtWire *in = &self->wires[PT_WIRE_OF_INPUT (n->inputs[i])];

    in->last_reader = stage;
    in->last_node = node;
    out->wants_gradient |= in->wants_gradient;
  }
}

static guint
wiring_count_slots (const PtWiring *self, const PtWire *wire)
{
  guint n = 2 * (wire->last_reader - wire->producer) + 1;

  if (wire->producer == PT_PRODUCER_PUSH && self->learning->replay > 0)
    n++;
  if (self->learning->mode == PT_MODE_DELAYED)
    n += pt_learning_get_age (self->learning, wire->last_reader,
        self->n_stages);
  return n;
}

/* Everything but the memory; all arguments are lent for as long as @self. */
void
pt_wiring_init (PtWiring *self, PtNetwork *network, const PtLearning *learning,
    const PtSpan *spans, guint n_stages)
{
  gboolean learns = learning->mode != PT_MODE_OFF;
  gint last = n_stages - 1;

  *self = (PtWiring) { .network = network, .learning = learning,
    .n_stages = n_stages, .spans = spans, .n_wires = network->n_nodes + 2,
    .n_gradient_slots = pt_learning_get_token_delay (learning) + 1 };
  self->wires = g_new0 (PtWire, self->n_wires);
  self->wires[0] = (PtWire) { .shape = network->input, .dtype = PT_F32,
    .producer = PT_PRODUCER_PUSH, .last_reader = PT_PRODUCER_PUSH,
    .first_node = -1, .last_node = -1 };
  for (guint k = 0; k < network->n_nodes; k++)
    wiring_add_node (self, k);
  self->wires[pt_wiring_get_output (self)].last_node = network->n_nodes;
  self->wires[self->n_wires - 1] = (PtWire) { .producer = PT_PRODUCER_PUSH,
    .last_reader = learns ? last : PT_PRODUCER_PUSH, .first_node = -1,
    .last_node = network->n_nodes, .dtype = learning->target_dtype,
    .shape = learning->target_shape };
  for (guint i = 0; i < self->n_wires; i++)
    self->wires[i].n_slots = wiring_count_slots (self, &self->wires[i]);
  /* a prediction is measured beside the frame before */
  if (learning->target == PT_TARGET_NEXT)
    self->wires[self->n_wires - 1].n_slots += PT_WIRING_NEXT_REACH;
}

static gboolean
wiring_allocate_gradients (PtWiring *self, PtWire *wire, GError **error)
{
  guint n = self->n_gradient_slots;

  wire->gradients = g_new0 (PtTensor *, self->n_stages * n);
  for (gint cut = wire->producer + 1; cut <= wire->last_reader; cut++) {
    for (guint i = 0; i < n; i++) {
      PtTensor *slot = pt_device_tensor_new (self->spans[cut].device, PT_F32,
          &wire->shape, error);

      if (slot == NULL)
        return FALSE;
      wire->gradients[cut * n + i] = slot;
    }
  }
  return TRUE;
}

static gboolean
wiring_allocate_slots (PtWiring *self, PtWire *wire, GError **error)
{
  PtDevice *device = self->spans[MAX (wire->producer, 0)].device;

  wire->slots = g_new0 (PtTensor *, wire->n_slots);
  for (guint i = 0; i < wire->n_slots; i++) {
    wire->slots[i] = pt_device_tensor_new (device, wire->dtype, &wire->shape,
        error);
    if (wire->slots[i] == NULL)
      return FALSE;
  }
  return TRUE;
}

/* Memory for every wire that more than one thread sees; what is local to a
 * stage, the stage allocates. */
gboolean
pt_wiring_allocate (PtWiring *self, GError **error)
{
  for (guint i = 0; i < self->n_wires; i++) {
    PtWire *wire = &self->wires[i];

    if (pt_wiring_is_local (self, i))
      continue;
    if (!wiring_allocate_slots (self, wire, error))
      return FALSE;
    if (self->learning->mode != PT_MODE_OFF && wire->wants_gradient
        && !wiring_allocate_gradients (self, wire, error))
      return FALSE;
  }
  return TRUE;
}

/* Bytes of one frame that cross from stage @cut - 1 to stage @cut. */
gsize
pt_wiring_get_crossing_bytes (const PtWiring *self, guint cut)
{
  gsize bytes = 0;

  for (guint i = 0; i < self->n_wires; i++)
    if (pt_wiring_crosses (self, i, cut))
      bytes += pt_shape_get_n_elements (&self->wires[i].shape)
          * pt_dtype_size (self->wires[i].dtype);
  return bytes;
}

static void
wiring_free_tensors (PtTensor **tensors, guint n)
{
  for (guint i = 0; tensors != NULL && i < n; i++)
    if (tensors[i] != NULL)
      pt_tensor_unref (tensors[i]);
  g_free (tensors);
}

void
pt_wiring_clear (PtWiring *self)
{
  for (guint i = 0; i < self->n_wires; i++) {
    wiring_free_tensors (self->wires[i].slots, self->wires[i].n_slots);
    wiring_free_tensors (self->wires[i].gradients,
        self->n_stages * self->n_gradient_slots);
  }
  g_clear_pointer (&self->wires, g_free);
  self->n_wires = 0;
}
