/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/backend.h"
#include "engine/fence.h"
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
 * (or more).
 * The queue to stage 0 holds one more where learned frames bring others along
 * to be learned again, and the rings that begin there have one slot more.
 *
 * A stage whose device cannot use the memory in which a tensor is made has a
 * ring of its own, into which it copies the frame's slot before it works on
 * it; later stages of the same memory read that one. What is pushed, the
 * pushing thread copies itself, while the stage is at work on frames before.
 * Gradients likewise on their way back. Devices that compute later than they are asked to are kept
 * in order by fences: whoever reads waits for what was made, and whoever
 * writes a slot anew waits until it has been read, 2j + 1 frames ago j stages
 * further.
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
  gint last_reader;             /* stage; producer if nobody reads it; of an
                                 * output the last one */
  gint first_node, last_node;   /* who makes it, who reads it last */
  gboolean wants_gradient;      /* depends on something that learns, and the
                                 * main output depends on it */
  gint last_back;               /* the last stage that sends a gradient for it;
                                 * producer if none does */
  PtDevice *pusher;             /* lent: in whose memory it is pushed */
  guint n_slots;
  PtTensor **slots;
  PtTensor **seen;              /* a ring of the host's, of what is pushed where
                                 * it cannot look; or NULL */
  PtTensor ***copies;           /* by stage: a ring it reads instead, or NULL;
                                 * NULL if there are none */
  guint8 *arrives;              /* by stage: it fills its copy */
  PtTensor **gradients;         /* [cut * n_gradient_slots + slot], or NULL */
  PtTensor **gradient_copies;   /* of the stage before the cut, or NULL */
} PtWire;

typedef struct
{
  guint first, n;               /* nodes */
  PtDevice *device;             /* lent */
} PtSpan;

/* What a stage's device has done of a frame. */
typedef struct
{
  PtFences pushed;              /* what the pushing thread copies to it */
  PtFences made;                /* its tensors */
  PtFences sent;                /* the gradients for the stage before */
  PtFences done;                /* all: what it reads may be overwritten */
} PtProgress;

/* Wire 0 is the network's input, wire 1 + k the output of node k, the last
 * one the target. The last stage reads the network's outputs, wherever they are
 * made, and finds the gradient of the main one. */
typedef struct
{
  PtNetwork *network;           /* lent */
  const PtLearning *learning;   /* lent */
  guint n_stages;
  const PtSpan *spans;          /* lent, n_stages */
  guint n_wires;
  PtWire *wires;
  guint token_delay;
  guint n_gradient_slots;
  gboolean records;             /* a device does: rings are powers of two, so
                                 * that all addresses recur with the longest */
  PtTensor **gates, **gate_copies;      /* as gradients: whether the gradient
                                         * is one; an int32 */
  PtProgress *progress;         /* n_stages */
  PtDevice *host;               /* where what is pushed lies */
  PtDevice *frames;             /* lent: where frames do, that of the first
                                 * stage; NULL: with the host */
  PtFences entered;             /* the last frame that was pushed there */
  gboolean host_looks;          /* at targets */
  gboolean host_fills;          /* some of what is pushed */
} PtWiring;

#define PT_WIRE_OF_INPUT(input) ((guint) ((input) + 1))

void pt_wiring_init (PtWiring *self, PtNetwork *network,
    const PtLearning *learning, const PtSpan *spans, guint n_stages);
gboolean pt_wiring_allocate (PtWiring *self, GError **error);
void pt_wiring_clear (PtWiring *self);
guint pt_wiring_get_target (const PtWiring *self);
guint pt_wiring_get_output (const PtWiring *self, guint index);
gboolean pt_wiring_is_local (const PtWiring *self, guint wire);
gboolean pt_wiring_crosses (const PtWiring *self, guint wire, guint cut);
gboolean pt_wiring_reads (const PtWiring *self, guint wire, guint stage);
gboolean pt_wiring_goes_back (const PtWiring *self, guint wire, guint stage);
gboolean pt_wiring_sends_back (const PtWiring *self, guint wire, guint cut);
gboolean pt_wiring_wait_uploads (const PtWiring *self, guint64 sequence,
    GError **error);
gboolean pt_wiring_upload (PtWiring *self, guint64 sequence,
    GError **error);
gboolean pt_wiring_wait_read (const PtWiring *self, gint stage,
    guint64 sequence, GError **error);
guint pt_wiring_round (const PtWiring *self, guint n);
gsize pt_wiring_get_crossing_bytes (const PtWiring *self, guint cut);

/* The device in whose memory @wire is made. */
static inline PtDevice *
pt_wiring_get_maker (const PtWiring *wiring, const PtWire *wire)
{
  return wire->producer == PT_PRODUCER_PUSH ? wire->pusher :
      wiring->spans[wire->producer].device;
}

/* The slot of @wire for the frame with number @sequence, where it is made. */
static inline PtTensor *
pt_wire_get (const PtWire *wire, guint64 sequence)
{
  return wire->slots[wire->n_slots == 1 ? 0 : sequence % wire->n_slots];
}

/* The same of what is pushed, in the host's memory. */
static inline const PtTensor *
pt_wire_get_seen (const PtWire *wire, guint64 sequence)
{
  return wire->seen != NULL ? wire->seen[sequence % wire->n_slots] :
      pt_wire_get (wire, sequence);
}

/* The same, in memory that @stage can use. */
static inline PtTensor *
pt_wire_get_at (const PtWire *wire, guint stage, guint64 sequence)
{
  if (wire->copies == NULL || wire->copies[stage] == NULL)
    return pt_wire_get (wire, sequence);
  return wire->copies[stage][sequence % wire->n_slots];
}

/* Where the stage after @cut leaves the gradient it found working on
 * @sequence. */
static inline guint
pt_wiring_get_gradient_slot (const PtWiring *wiring, guint cut,
    guint64 sequence)
{
  guint n = wiring->n_gradient_slots;

  return cut * n + sequence % n;
}

static inline PtTensor *
pt_wire_get_gradient (const PtWiring *wiring, const PtWire *wire, guint cut,
    guint64 sequence)
{
  return wire->gradients[pt_wiring_get_gradient_slot (wiring, cut, sequence)];
}

/* The same, in memory that the stage before @cut can use. */
static inline PtTensor *
pt_wire_get_gradient_before (const PtWiring *wiring, const PtWire *wire,
    guint cut, guint64 sequence)
{
  guint slot = pt_wiring_get_gradient_slot (wiring, cut, sequence);
  PtTensor *copy = wire->gradient_copies[slot];

  return copy != NULL ? copy : wire->gradients[slot];
}

G_END_DECLS
