/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/wiring.h"

guint
pt_wiring_get_target (const PtWiring *self)
{
  return self->n_wires - 1;
}

guint
pt_wiring_get_output (const PtWiring *self, guint index)
{
  return 1 + self->network->outputs[index].node;
}

/* Whether @wire has been made before stage @cut, and it or a later one reads
 * it. Cut 0 is the one between the pushing thread and stage 0. */
gboolean
pt_wiring_crosses (const PtWiring *self, guint wire, guint cut)
{
  const PtWire *w = &self->wires[wire];

  return w->producer < (gint) cut && w->last_reader >= (gint) cut;
}

/* Whether gradients of @wire come back over @cut. */
gboolean
pt_wiring_sends_back (const PtWiring *self, guint wire, guint cut)
{
  const PtWire *w = &self->wires[wire];

  return w->wants_gradient && w->producer < (gint) cut
      && w->last_back >= (gint) cut;
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
    .last_node = node, .last_back = stage, .wants_gradient =
        pt_learning_learns (self->learning, self->network, node) };
  for (guint i = 0; i < n->layer->n_inputs; i++) {
    PtWire *in = &self->wires[PT_WIRE_OF_INPUT (n->inputs[i])];

    in->last_reader = stage;
    in->last_node = node;
    if (n->is_side)
      continue;
    in->last_back = stage;
    out->wants_gradient |= in->wants_gradient;
  }
}

/* They live to the end. */
static void
wiring_add_outputs (PtWiring *self)
{
  for (guint i = 0; i < self->network->n_outputs; i++) {
    PtWire *wire = &self->wires[pt_wiring_get_output (self, i)];

    wire->last_reader = self->n_stages - 1;
    wire->last_node = self->network->n_nodes;
    if (i == 0)
      wire->last_back = self->n_stages - 1;
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

/* A length for a ring of at least @n slots. */
guint
pt_wiring_round (const PtWiring *self, guint n)
{
  return self->records && n > 1 ? 1u << g_bit_storage (n - 1) : n;
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
    .token_delay = pt_learning_get_token_delay (learning) };
  for (guint i = 0; i < n_stages; i++)
    self->records |= spans[i].device->backend->record != NULL;
  self->n_gradient_slots = pt_wiring_round (self, self->token_delay + 1);
  self->wires = g_new0 (PtWire, self->n_wires);
  self->wires[0] = (PtWire) { .shape = network->input, .dtype = PT_F32,
    .producer = PT_PRODUCER_PUSH, .last_reader = PT_PRODUCER_PUSH,
    .last_back = PT_PRODUCER_PUSH, .first_node = -1, .last_node = -1 };
  for (guint k = 0; k < network->n_nodes; k++)
    wiring_add_node (self, k);
  wiring_add_outputs (self);
  self->wires[self->n_wires - 1] = (PtWire) { .producer = PT_PRODUCER_PUSH,
    .last_reader = learns ? last : PT_PRODUCER_PUSH, .first_node = -1,
    .last_node = network->n_nodes, .dtype = learning->target_dtype,
    .shape = learning->target_shape };
  for (guint i = 0; i < self->n_wires; i++)
    self->wires[i].n_slots = wiring_count_slots (self, &self->wires[i]);
  /* a prediction is measured beside the frame before */
  if (learning->target == PT_TARGET_NEXT)
    self->wires[self->n_wires - 1].n_slots += PT_WIRING_NEXT_REACH;
  for (guint i = 0; i < self->n_wires; i++)
    self->wires[i].n_slots = pt_wiring_round (self, self->wires[i].n_slots);
}

/* Whether a layer of @stage has @wire as input; @back: one that goes
 * backward. */
static gboolean
wiring_find_reader (const PtWiring *self, guint wire, guint stage,
    gboolean back)
{
  const PtSpan *span = &self->spans[stage];

  for (guint k = span->first; k < span->first + span->n; k++)
    for (guint i = 0; i < self->network->nodes[k].layer->n_inputs; i++)
      if (PT_WIRE_OF_INPUT (self->network->nodes[k].inputs[i]) == wire
          && (!back || self->wires[1 + k].wants_gradient))
        return TRUE;
  return FALSE;
}

/* Whether @stage uses @wire, made before it. The last one gets the target and
 * the outputs. */
gboolean
pt_wiring_reads (const PtWiring *self, guint wire, guint stage)
{
  if (wire == pt_wiring_get_target (self))
    return (gint) stage == self->wires[wire].last_reader;
  if (stage + 1 == self->n_stages && wire > 0
      && pt_network_is_output (self->network, wire - 1))
    return TRUE;
  return wiring_find_reader (self, wire, stage, FALSE);
}

/* Whether a layer of @stage finds a gradient for @wire. */
gboolean
pt_wiring_goes_back (const PtWiring *self, guint wire, guint stage)
{
  return wiring_find_reader (self, wire, stage, TRUE);
}

/* Memory of @owner that @user uses too, as fast as can be. */
static PtTensor *
wiring_new_slot (PtDevice *owner, PtDevice *user, PtDType dtype,
    const PtShape *shape, GError **error)
{
  if (owner->backend->host_memory && !user->backend->host_memory)
    return pt_device_host_tensor_new (user, dtype, shape, error);
  return pt_device_tensor_new (owner, dtype, shape, error);
}

static gboolean
wiring_allocate_gradients (PtWiring *self, PtWire *wire, GError **error)
{
  guint n = self->n_gradient_slots;

  wire->gradients = g_new0 (PtTensor *, self->n_stages * n);
  wire->gradient_copies = g_new0 (PtTensor *, self->n_stages * n);
  for (gint cut = wire->producer + 1; cut <= wire->last_back; cut++) {
    PtDevice *device = self->spans[cut].device;
    PtDevice *before = self->spans[MAX (cut - 1, 0)].device;

    for (guint i = cut * n; i < (cut + 1) * n; i++) {
      if (!(wire->gradients[i] = wiring_new_slot (device, before, PT_F32,
                  &wire->shape, error)))
        return FALSE;
      if (!pt_device_shares_memory (device, before)
          && !(wire->gradient_copies[i] = wiring_new_slot (before, device,
                  PT_F32, &wire->shape, error)))
        return FALSE;
    }
  }
  return TRUE;
}

/* Open until a device says otherwise. */
static PtTensor *
wiring_new_gate (PtDevice *owner, PtDevice *user, GError **error)
{
  g_autoptr (PtTensor) one = pt_tensor_new_shaped (PT_I32, &PT_SHAPE (1),
      error);
  g_autoptr (PtTensor) gate = wiring_new_slot (owner, user, PT_I32,
      &PT_SHAPE (1), error);

  if (one == NULL || gate == NULL)
    return NULL;
  *(gint32 *) one->data = 1;
  if (!pt_device_transfer (owner, gate, NULL, one, error)
      || !pt_device_wait (owner, error))
    return NULL;
  return g_steal_pointer (&gate);
}

static gboolean
wiring_allocate_gates (PtWiring *self, GError **error)
{
  guint n = self->n_gradient_slots;

  self->gates = g_new0 (PtTensor *, self->n_stages * n);
  self->gate_copies = g_new0 (PtTensor *, self->n_stages * n);
  for (guint i = n; i < self->n_stages * n; i++) {
    PtDevice *device = self->spans[i / n].device;
    PtDevice *before = self->spans[i / n - 1].device;

    if (!(self->gates[i] = wiring_new_gate (device, before, error)))
      return FALSE;
    if (!pt_device_shares_memory (device, before)
        && !(self->gate_copies[i] = wiring_new_gate (before, device, error)))
      return FALSE;
  }
  return TRUE;
}

/* @n slots on @owner, which @user reads or fills. */
static PtTensor **
wiring_new_ring (const PtWire *wire, PtDevice *owner, PtDevice *user,
    GError **error)
{
  PtTensor **ring = g_new0 (PtTensor *, wire->n_slots);

  for (guint i = 0; i < wire->n_slots; i++) {
    ring[i] = wiring_new_slot (owner, user, wire->dtype, &wire->shape, error);
    if (ring[i] != NULL)
      continue;
    while (i-- > 0)
      pt_tensor_unref (ring[i]);
    g_free (ring);
    return NULL;
  }
  return ring;
}

/* The stage before @stage, and after the maker, whose copy it can read. */
static gint
wiring_find_copy (const PtWiring *self, const PtWire *wire, gint stage)
{
  for (gint i = wire->producer + 1; i < stage; i++)
    if (wire->arrives[i] && pt_device_shares_memory (self->spans[i].device,
            self->spans[stage].device))
      return i;
  return -1;
}

/* Copies for the stages that cannot use @maker's memory. */
static gboolean
wiring_allocate_copies (PtWiring *self, guint index, PtDevice *maker,
    GError **error)
{
  PtWire *wire = &self->wires[index];

  wire->copies = g_new0 (PtTensor **, self->n_stages);
  wire->arrives = g_new0 (guint8, self->n_stages);
  for (gint i = wire->producer + 1; i <= wire->last_reader; i++) {
    PtDevice *device = self->spans[i].device;
    gint other;

    if (!pt_wiring_reads (self, index, i)
        || pt_device_shares_memory (device, maker))
      continue;
    other = wiring_find_copy (self, wire, i);
    if (other >= 0) {
      wire->copies[i] = wire->copies[other];
      continue;
    }
    wire->copies[i] = wiring_new_ring (wire, device, maker, error);
    if (wire->copies[i] == NULL)
      return FALSE;
    wire->arrives[i] = TRUE;
  }
  return TRUE;
}

static gboolean
wiring_allocate_slots (PtWiring *self, guint index, GError **error)
{
  PtWire *wire = &self->wires[index];
  PtDevice *maker = pt_wiring_get_maker (self, wire);
  PtDevice *user = maker;

  for (gint i = MAX (wire->producer, 0); i <= wire->last_reader; i++)
    if (!self->spans[i].device->backend->host_memory)
      user = self->spans[i].device;
  wire->slots = wiring_new_ring (wire, maker, user, error);
  if (self->host_looks && index == pt_wiring_get_target (self)
      && maker == self->frames && !(wire->seen =
          wiring_new_ring (wire, self->host, maker, error)))
    return FALSE;
  return wire->slots != NULL
      && wiring_allocate_copies (self, index, maker, error);
}

/* A device whose memory the pushing thread writes: the first stage's, or any
 * of the CPU. */
static gboolean
wiring_find_host (PtWiring *self, GError **error)
{
  PtDevice *first = self->spans[0].device;

  self->host = first->backend->host_memory ? pt_device_ref (first) :
      pt_device_open_cores (0, 1, error);
  return self->host != NULL;
}

static gboolean
wiring_allocate_progress (PtWiring *self, GError **error)
{
  guint n = 2 * self->n_stages + PT_QUEUE_FRAMES + 2;

  for (guint i = 0; i < self->n_wires; i++)
    n = MAX (n, self->wires[i].n_slots + 1);
  self->progress = g_new0 (PtProgress, self->n_stages);
  for (guint i = 0; i < self->n_stages; i++) {
    PtProgress *progress = &self->progress[i];
    PtDevice *device = self->spans[i].device;

    if (!pt_fences_init (&progress->pushed, device, n, error)
        || !pt_fences_init (&progress->made, device, n, error)
        || !pt_fences_init (&progress->sent, device, n, error)
        || !pt_fences_init (&progress->done, device, n, error))
      return FALSE;
  }
  return TRUE;
}

/* The pushing thread makes its tensors in the host's memory, or where frames
 * are. */
static gboolean
wiring_find_pushers (PtWiring *self, GError **error)
{
  PtWire *input = &self->wires[0];
  PtWire *target = &self->wires[pt_wiring_get_target (self)];
  gboolean labels = self->learning->target == PT_TARGET_LABELS;

  input->pusher = self->frames != NULL ? self->frames : self->host;
  target->pusher = labels ? self->host : input->pusher;
  self->host_fills = self->frames == NULL
      || (labels && target->last_reader != PT_PRODUCER_PUSH);
  return pt_fences_init (&self->entered, input->pusher, 1, error);
}

/* Memory for every wire that more than one thread sees; what is local to a
 * stage, the stage allocates. */
gboolean
pt_wiring_allocate (PtWiring *self, GError **error)
{
  if (!wiring_find_host (self, error) || !wiring_find_pushers (self, error)
      || !wiring_allocate_progress (self, error)
      || !wiring_allocate_gates (self, error))
    return FALSE;
  for (guint i = 0; i < self->n_wires; i++) {
    PtWire *wire = &self->wires[i];

    if (pt_wiring_is_local (self, i))
      continue;
    if (!wiring_allocate_slots (self, i, error))
      return FALSE;
    if (self->learning->mode != PT_MODE_OFF && wire->wants_gradient
        && !wiring_allocate_gradients (self, wire, error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
wiring_wait_read (const PtWiring *self, gint stage, PtDevice *waiter,
    guint64 sequence, GError **error)
{
  for (gint i = stage + 1; i < (gint) self->n_stages; i++) {
    guint64 reach = 2 * (i - stage) + 1
        + (stage < 0 && self->learning->replay > 0);

    if (sequence >= reach && !pt_fences_wait (&self->progress[i].done,
            sequence - reach, waiter, error))
      return FALSE;
  }
  return TRUE;
}

/* Before @stage, or the pushing thread, writes its slots for frame @sequence:
 * the stages after it must have read what is in them. They have been asked to,
 * by the length of the rings; that their devices have done so, this waits
 * for. */
gboolean
pt_wiring_wait_read (const PtWiring *self, gint stage, guint64 sequence,
    GError **error)
{
  if (stage >= 0)
    return wiring_wait_read (self, stage, self->spans[stage].device, sequence,
        error);
  return (!self->host_fills
      || wiring_wait_read (self, stage, self->host, sequence, error))
      && (self->frames == NULL
      || wiring_wait_read (self, stage, self->frames, sequence, error));
}

/* Until what has been pushed up to frame @sequence is where it was to go. */
gboolean
pt_wiring_wait_uploads (const PtWiring *self, guint64 sequence,
    GError **error)
{
  for (guint i = 0; i < self->n_stages; i++)
    if (!pt_fences_wait (&self->progress[i].pushed, sequence, NULL, error))
      return FALSE;
  return TRUE;
}

/* What has been pushed as frame @sequence is where frames are; the host gets
 * what it looks at. */
static gboolean
wiring_enter (PtWiring *self, guint64 sequence, GError **error)
{
  const PtWire *target = &self->wires[pt_wiring_get_target (self)];
  PtTensor *slot;

  if (target->seen != NULL) {
    slot = pt_wire_get (target, sequence);
    if (!target->pusher->backend->copy (target->pusher,
            target->seen[sequence % target->n_slots]->data, slot->data,
            slot->size, error))
      return FALSE;
  }
  return pt_fences_signal (&self->entered, 0, error);
}

static gboolean
wiring_send (const PtWiring *self, const PtWire *wire, guint stage,
    guint64 sequence, GError **error)
{
  PtDevice *device = self->spans[stage].device;

  return pt_fences_wait (&self->entered, 0, device, error)
      && pt_device_transfer (device, pt_wire_get_at (wire, stage, sequence),
      wire->pusher, pt_wire_get (wire, sequence), error);
}

/* Copies what has been pushed as frame @sequence to the stages that cannot use
 * it where it is. */
gboolean
pt_wiring_upload (PtWiring *self, guint64 sequence, GError **error)
{
  if (!wiring_enter (self, sequence, error))
    return FALSE;
  for (guint i = 0; i < self->n_stages; i++) {
    for (guint k = 0; k < self->n_wires; k++) {
      const PtWire *wire = &self->wires[k];

      if (wire->producer == PT_PRODUCER_PUSH && wire->arrives != NULL
          && wire->arrives[i] && !wiring_send (self, wire, i, sequence, error))
        return FALSE;
    }
    if (!pt_fences_signal (&self->progress[i].pushed, sequence, error))
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
    PtWire *wire = &self->wires[i];
    guint n = self->n_stages * self->n_gradient_slots;

    wiring_free_tensors (wire->slots, wire->n_slots);
    wiring_free_tensors (wire->seen, wire->n_slots);
    for (guint k = 0; wire->arrives != NULL && k < self->n_stages; k++)
      if (wire->arrives[k])
        wiring_free_tensors (wire->copies[k], wire->n_slots);
    g_free (wire->copies);
    g_free (wire->arrives);
    wiring_free_tensors (wire->gradients, n);
    wiring_free_tensors (wire->gradient_copies, n);
  }
  for (guint i = 0; self->progress != NULL && i < self->n_stages; i++) {
    pt_fences_clear (&self->progress[i].pushed);
    pt_fences_clear (&self->progress[i].made);
    pt_fences_clear (&self->progress[i].sent);
    pt_fences_clear (&self->progress[i].done);
  }
  g_clear_pointer (&self->progress, g_free);
  wiring_free_tensors (self->gates, self->n_stages * self->n_gradient_slots);
  wiring_free_tensors (self->gate_copies,
      self->n_stages * self->n_gradient_slots);
  self->gates = self->gate_copies = NULL;
  pt_fences_clear (&self->entered);
  g_clear_pointer (&self->host, pt_device_unref);
  g_clear_pointer (&self->wires, g_free);
  self->n_wires = 0;
}
