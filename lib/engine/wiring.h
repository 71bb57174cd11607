/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/backend.h"
#include "engine/learning.h"

G_BEGIN_DECLS

/* Which tensors there are, which stage makes each, which reads it last, and
 * the memory in which they cross from stage to stage.
 *
 * Every tensor has a ring of slots; frame s (a sequence number) lies in slot
 * s mod n_slots. Stages meet in the slots, so a hand-over moves no data. The
 * ring is long enough because of three facts: a stage waits for room for one
 * more frame in the queue after it before it takes a frame; that queue holds
 * 2 frames; so the stage j stages further is at most 2j frames behind. In
 * `delayed` a stage also goes back age frames:
 *
 *   n_slots = 2 (last_reader - producer) + 1 [+ age of last_reader]
 *
 * The queue to stage 0 holds one more where learned frames bring others along
 * to be learned again, and the rings that begin there have one slot more.
 */

#define PT_QUEUE_FRAMES 2
#define PT_PRODUCER_PUSH -1

/* With target=next the frame before is looked at too. It is at most so many
 * sequence numbers back: one replayed frame may be between. */
#define PT_WIRING_NEXT_REACH 2

typedef struct
{
  PtShape shape;
  PtDType dtype;
  gint producer;                /* stage, or PT_PRODUCER_PUSH */
  gint last_reader;             /* stage; producer if nobody reads it */
  gint first_node, last_node;   /* who makes it, who reads it last */
  gboolean wants_gradient;      /* depends on something that learns */
  guint n_slots;
  PtTensor **slots;
  PtTensor **gradients;         /* [cut * n_gradient_slots + slot], or NULL */
} PtWire;

typedef struct
{
  guint first, n;               /* nodes */
  PtDevice *device;             /* lent */
} PtSpan;

/* Wire 0 is the network's input, wire 1 + k the output of node k, the last
 * one the target. */
typedef struct
{
  PtNetwork *network;           /* lent */
  const PtLearning *learning;   /* lent */
  guint n_stages;
  const PtSpan *spans;          /* lent, n_stages */
  guint n_wires;
  PtWire *wires;
  guint n_gradient_slots;
} PtWiring;

#define PT_WIRE_OF_INPUT(input) ((guint) ((input) + 1))

void pt_wiring_init (PtWiring *self, PtNetwork *network,
    const PtLearning *learning, const PtSpan *spans, guint n_stages);
gboolean pt_wiring_allocate (PtWiring *self, GError **error);
void pt_wiring_clear (PtWiring *self);
guint pt_wiring_get_target (const PtWiring *self);
guint pt_wiring_get_output (const PtWiring *self);
gboolean pt_wiring_is_local (const PtWiring *self, guint wire);
gboolean pt_wiring_crosses (const PtWiring *self, guint wire, guint cut);
gsize pt_wiring_get_crossing_bytes (const PtWiring *self, guint cut);

/* The slot of @wire for the frame with number @sequence. */
static inline PtTensor *
pt_wire_get (const PtWire *wire, guint64 sequence)
{
  return wire->slots[wire->n_slots == 1 ? 0 : sequence % wire->n_slots];
}

/* Where the stage after @cut leaves the gradient it found working on
 * @sequence. */
static inline PtTensor *
pt_wire_get_gradient (const PtWiring *wiring, const PtWire *wire, guint cut,
    guint64 sequence)
{
  guint n = wiring->n_gradient_slots;

  return wire->gradients[cut * n + sequence % n];
}

G_END_DECLS
