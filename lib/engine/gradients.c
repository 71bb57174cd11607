/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/gradients.h"

#include "engine/reuse.h"

#define GRADIENTS_NO_BLOCK G_MAXUINT

static gsize
gradients_get_bytes (const PtGradients *self, guint wire)
{
  return pt_shape_get_n_elements (&self->wiring->wires[wire].shape)
      * sizeof (gfloat);
}

static void
gradients_classify (PtGradients *self)
{
  const PtWiring *wiring = self->wiring;
  gint stage = self->stage;

  for (guint i = 0; i < wiring->n_wires; i++) {
    const PtWire *wire = &wiring->wires[i];
    PtGradient *g = &self->wires[i];

    g->block = GRADIENTS_NO_BLOCK;
    if (!wire->wants_gradient || wire->producer > stage
        || wire->last_back < stage)
      continue;
    g->touched = TRUE;
    g->outgoing = wire->producer < stage;
    g->from_token = wire->last_back > stage;
    g->adds = g->from_token && pt_wiring_goes_back (wiring, i, stage);
  }
}

static gboolean
gradients_needs_own (const PtGradient *g)
{
  return g->touched && !g->outgoing && (!g->from_token || g->adds);
}

/* Walks the layers backward as a frame does: memory is needed from a wire's
 * last reader, or from the start, until its maker has gone backward. */
static GArray *
gradients_plan_blocks (PtGradients *self)
{
  const PtSpan *span = &self->wiring->spans[self->stage];
  GArray *blocks = pt_reuse_new ();

  for (guint i = 0; i < self->wiring->n_wires; i++)
    if (gradients_needs_own (&self->wires[i]) && self->wires[i].adds)
      self->wires[i].block = pt_reuse_ask (blocks,
          gradients_get_bytes (self, i));
  for (guint k = span->n; k-- > 0;) {
    guint out = 1 + span->first + k;
    const PtNode *node = &self->wiring->network->nodes[span->first + k];
    PtGradient *g = &self->wires[out];

    if (!g->touched)
      continue;
    if (gradients_needs_own (g) && g->block == GRADIENTS_NO_BLOCK)
      g->block = pt_reuse_ask (blocks, gradients_get_bytes (self, out));
    for (guint j = 0; j < node->layer->n_inputs; j++) {
      guint in = PT_WIRE_OF_INPUT (node->inputs[j]);
      PtGradient *h = &self->wires[in];

      if (gradients_needs_own (h) && h->block == GRADIENTS_NO_BLOCK)
        h->block = pt_reuse_ask (blocks, gradients_get_bytes (self, in));
    }
    if (g->block != GRADIENTS_NO_BLOCK)
      pt_reuse_give_back (blocks, g->block);
  }
  return blocks;
}

static gboolean
gradients_allocate (PtGradients *self, GArray *blocks, GError **error)
{
  PtDevice *device = self->wiring->spans[self->stage].device;

  self->n_blocks = blocks->len;
  self->blocks = g_new0 (PtTensor *, blocks->len + 1);
  for (guint i = 0; i < blocks->len; i++) {
    self->bytes += pt_reuse_get_bytes (blocks, i);
    self->blocks[i] = pt_device_bytes_new (device,
        pt_reuse_get_bytes (blocks, i), error);
    if (self->blocks[i] == NULL)
      return FALSE;
  }
  for (guint i = 0; i < self->wiring->n_wires; i++)
    if (self->wires[i].block != GRADIENTS_NO_BLOCK)
      self->wires[i].own = pt_tensor_view (self->blocks[self->wires[i].block],
          0, &self->wiring->wires[i].shape, gradients_get_bytes (self, i));
  return TRUE;
}

/* An addition for every wire that gets more than one gradient, and the
 * scratch tensors those come in. */
static gboolean
gradients_plan_sums (PtGradients *self, PtWorkspace *workspace, GError **error)
{
  const PtSpan *span = &self->wiring->spans[self->stage];
  g_autofree guint *counts = g_new0 (guint, self->wiring->n_wires);
  gsize sizes[PT_OP_MAX_INPUTS] = { 0, };

  for (guint k = span->n; k-- > 0;) {
    const PtNode *node = &self->wiring->network->nodes[span->first + k];

    if (!self->wires[1 + span->first + k].touched)
      continue;
    for (guint j = 0; j < node->layer->n_inputs; j++) {
      guint in = PT_WIRE_OF_INPUT (node->inputs[j]);
      PtGradient *g = &self->wires[in];
      PtShape shape = self->wiring->wires[in].shape;
      PtOpDesc add = { .type = PT_OP_ADD, .x = shape, .y = shape, .n_xs = 2,
        .xs = { shape, shape } };

      if (!g->touched || (counts[in]++ == 0 && !g->from_token))
        continue;
      sizes[j] = MAX (sizes[j], gradients_get_bytes (self, in));
      if (g->add == NULL && !(g->add = pt_op_new (workspace, &add, error)))
        return FALSE;
    }
  }
  for (guint j = 0; j < PT_OP_MAX_INPUTS; j++) {
    if (sizes[j] > 0 && !(self->scratch[j] =
            pt_device_bytes_new (span->device, sizes[j], error)))
      return FALSE;
    self->bytes += sizes[j];
  }
  return TRUE;
}

gboolean
pt_gradients_init (PtGradients *self, const PtWiring *wiring, guint stage,
    PtWorkspace *workspace, GError **error)
{
  g_autoptr (GArray) blocks = NULL;

  *self = (PtGradients) { .wiring = wiring, .stage = stage,
    .wires = g_new0 (PtGradient, wiring->n_wires) };
  gradients_classify (self);
  blocks = gradients_plan_blocks (self);
  return gradients_allocate (self, blocks, error)
      && gradients_plan_sums (self, workspace, error);
}

void
pt_gradients_clear (PtGradients *self)
{
  for (guint i = 0; self->wires != NULL && i < self->wiring->n_wires; i++) {
    g_clear_pointer (&self->wires[i].own, pt_tensor_unref);
    g_clear_pointer (&self->wires[i].add, pt_op_free);
  }
  for (guint i = 0; i < self->n_blocks; i++)
    g_clear_pointer (&self->blocks[i], pt_tensor_unref);
  for (guint j = 0; j < PT_OP_MAX_INPUTS; j++)
    g_clear_pointer (&self->scratch[j], pt_tensor_unref);
  g_free (self->blocks);
  g_free (self->wires);
  *self = (PtGradients) { 0, };
}

/* The slot of the stage after, of the frame whose token is used on frame
 * @sequence. */
static PtTensor *
gradients_get_token (const PtGradients *self, guint wire, guint64 sequence)
{
  return pt_wire_get_gradient_before (self->wiring,
      &self->wiring->wires[wire], self->stage + 1,
      sequence - self->wiring->token_delay);
}

/* Where the gradient of @wire lies while working on frame @sequence. */
PtTensor *
pt_gradients_get (const PtGradients *self, guint wire, guint64 sequence)
{
  const PtGradient *g = &self->wires[wire];

  if (g->outgoing)
    return pt_wire_get_gradient (self->wiring, &self->wiring->wires[wire],
        self->stage, sequence);
  return g->own != NULL ? g->own : gradients_get_token (self, wire, sequence);
}

/* Waits for what the stage after has sent, in the order of what the calling
 * thread hands to the device. */
gboolean
pt_gradients_wait (const PtGradients *self, guint64 sequence, GError **error)
{
  const PtWiring *wiring = self->wiring;
  guint after = self->stage + 1;

  return after == wiring->n_stages || pt_fences_wait
      (&wiring->progress[after].sent, sequence - wiring->token_delay,
      wiring->spans[self->stage].device, error);
}

/* The gate that came with the gradients, where the device can read it; NULL:
 * there is no stage after. */
PtTensor *
pt_gradients_get_gate (const PtGradients *self, guint64 sequence)
{
  const PtWiring *wiring = self->wiring;
  guint slot = pt_wiring_get_gradient_slot (wiring, self->stage + 1,
      sequence - wiring->token_delay);

  if (self->stage + 1 == wiring->n_stages)
    return NULL;
  return wiring->gate_copies[slot] != NULL ?
      wiring->gate_copies[slot] : wiring->gates[slot];
}

/* The gate that goes on to the stage before; NULL: there is none. */
PtTensor *
pt_gradients_get_gate_out (const PtGradients *self, guint64 sequence)
{
  return self->stage == 0 ? NULL :
      self->wiring->gates[pt_wiring_get_gradient_slot (self->wiring,
          self->stage, sequence)];
}

/* Copies what the stage after has sent, where the device cannot use it as it
 * is. */
static gboolean
gradients_gather (PtGradients *self, guint64 sequence, GError **error)
{
  const PtWiring *wiring = self->wiring;
  guint after = self->stage + 1;
  guint64 sent = sequence - wiring->token_delay;
  guint gate;

  if (after == wiring->n_stages)
    return TRUE;
  gate = pt_wiring_get_gradient_slot (wiring, after, sent);
  if (wiring->gate_copies[gate] != NULL && !pt_device_transfer
      (wiring->spans[self->stage].device, wiring->gate_copies[gate],
          wiring->spans[after].device, wiring->gates[gate], error))
    return FALSE;
  for (guint i = 0; i < wiring->n_wires; i++) {
    PtTensor *slot, *copy;

    if (!self->wires[i].from_token)
      continue;
    slot = pt_wire_get_gradient (wiring, &wiring->wires[i], after, sent);
    copy = gradients_get_token (self, i, sequence);
    if (copy != slot && !pt_device_transfer (wiring->spans[self->stage].device,
            copy, wiring->spans[after].device, slot, error))
      return FALSE;
  }
  return TRUE;
}

/* Before the first layer goes backward: what came from the stage after is
 * there; what is sent on or added to is copied. */
gboolean
pt_gradients_begin (PtGradients *self, guint64 sequence, GError **error)
{
  PtDevice *device = self->wiring->spans[self->stage].device;

  if (!gradients_gather (self, sequence, error))
    return FALSE;
  for (guint i = 0; i < self->wiring->n_wires; i++) {
    PtGradient *g = &self->wires[i];

    g->filled = g->from_token;
    if (g->from_token && (g->outgoing || g->adds) && !pt_device_copy (device,
            pt_gradients_get (self, i, sequence),
            gradients_get_token (self, i, sequence), error))
      return FALSE;
  }
  return TRUE;
}

/* Where @node is to write the gradients of its inputs; NULL: not wanted. */
void
pt_gradients_open (PtGradients *self, const PtNode *node, guint64 sequence,
    PtTensor **dx, gboolean *scratch)
{
  for (guint j = 0; j < node->layer->n_inputs; j++) {
    guint wire = PT_WIRE_OF_INPUT (node->inputs[j]);
    PtGradient *g = &self->wires[wire];

    dx[j] = NULL;
    scratch[j] = FALSE;
    if (!g->touched)
      continue;
    scratch[j] = g->filled;
    dx[j] = g->filled ? self->scratch[j] :
        pt_gradients_get (self, wire, sequence);
    g->filled = TRUE;
  }
}

/* Adds what @node wrote into scratch. */
gboolean
pt_gradients_close (PtGradients *self, const PtNode *node, guint64 sequence,
    const gboolean *scratch, GError **error)
{
  for (guint j = 0; j < node->layer->n_inputs; j++) {
    guint wire = PT_WIRE_OF_INPUT (node->inputs[j]);
    PtTensor *sum, *xs[2];

    if (!scratch[j])
      continue;
    sum = pt_gradients_get (self, wire, sequence);
    xs[0] = sum;
    xs[1] = self->scratch[j];
    if (!pt_op_run (self->wires[wire].add, &(PtOpArgs) { .xs = xs, .y = sum },
            error))
      return FALSE;
  }
  return TRUE;
}
