/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/queue.h"

#include <time.h>

struct _PtQueue
{
  GMutex lock;
  GCond changed;
  guint n_waiting;              /* under lock */
  gint flushing;                /* atomic */
  guint capacity;               /* frames */
  gint n_frames;                /* atomic reads, written under lock */
  gint n_messages;              /* atomic reads, written under lock */
  gint64 spin;                  /* ns to spin before sleeping */
  GArray *ring;                 /* of PtMessage, grows by markers only */
  guint head;                   /* index of the oldest */
};

/* ns on the monotonic clock. */
gint64
pt_clock_now (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return now.tv_sec * G_GINT64_CONSTANT (1000000000) + now.tv_nsec;
}

static inline void
queue_relax (void)
{
#if defined (__x86_64__) || defined (__i386__)
  __builtin_ia32_pause ();
#endif
}

/* Room for @capacity frames; @spin ns are spent spinning before a wait. */
PtQueue *
pt_queue_new (guint capacity, gint64 spin)
{
  PtQueue *self = g_new0 (PtQueue, 1);

  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  self->capacity = capacity;
  self->spin = spin;
  self->ring = g_array_new (FALSE, TRUE, sizeof (PtMessage));
  g_array_set_size (self->ring, capacity + 8);
  return self;
}

void
pt_queue_free (PtQueue *self)
{
  g_array_unref (self->ring);
  g_cond_clear (&self->changed);
  g_mutex_clear (&self->lock);
  g_free (self);
}

static gboolean
queue_has_message (PtQueue *self)
{
  return g_atomic_int_get (&self->n_messages) > 0;
}

/* Whether one more frame would fit. */
gboolean
pt_queue_has_room (PtQueue *self)
{
  return (guint) g_atomic_int_get (&self->n_frames) < self->capacity;
}

/* Waits until @ready, first spinning for @spin ns, then asleep. FALSE when
 * flushing. */
static gboolean
queue_wait (PtQueue *self, gboolean (*ready) (PtQueue *), gint64 spin)
{
  gint64 end = spin > 0 ? pt_clock_now () + spin : 0;

  while (!ready (self) && !g_atomic_int_get (&self->flushing)) {
    if (end == 0 || pt_clock_now () >= end) {
      g_mutex_lock (&self->lock);
      self->n_waiting++;
      while (!ready (self) && !g_atomic_int_get (&self->flushing))
        g_cond_wait (&self->changed, &self->lock);
      self->n_waiting--;
      g_mutex_unlock (&self->lock);
      break;
    }
    for (guint i = 0; i < 32; i++)
      queue_relax ();
  }
  return !g_atomic_int_get (&self->flushing);
}

/* Waits until one more frame would fit. FALSE when flushing. Who waits for
 * room is ahead of the others and in no hurry; it must not spin on the core
 * of a stage. */
gboolean
pt_queue_wait_room (PtQueue *self)
{
  return queue_wait (self, pt_queue_has_room, 0);
}

static void
queue_grow (PtQueue *self)
{
  GArray *ring = g_array_new (FALSE, TRUE, sizeof (PtMessage));

  g_array_set_size (ring, self->ring->len * 2);
  for (guint i = 0; i < (guint) self->n_messages; i++)
    g_array_index (ring, PtMessage, i) = g_array_index (self->ring, PtMessage,
        (self->head + i) % self->ring->len);
  g_array_unref (self->ring);
  self->ring = ring;
  self->head = 0;
}

gboolean
pt_queue_wait_room_unless (PtQueue *self, gint *stop)
{
  g_mutex_lock (&self->lock);
  self->n_waiting++;
  while (!pt_queue_has_room (self) && !g_atomic_int_get (&self->flushing)
      && !g_atomic_int_get (stop))
    g_cond_wait (&self->changed, &self->lock);
  self->n_waiting--;
  g_mutex_unlock (&self->lock);
  return !g_atomic_int_get (&self->flushing) && !g_atomic_int_get (stop);
}

void
pt_queue_wake (PtQueue *self)
{
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* Adds @message at the end. Never waits: who puts frames asks for room first,
 * and is the only one who puts frames. */
void
pt_queue_put (PtQueue *self, const PtMessage *message)
{
  g_mutex_lock (&self->lock);
  if ((guint) self->n_messages == self->ring->len)
    queue_grow (self);
  g_array_index (self->ring, PtMessage,
      (self->head + self->n_messages) % self->ring->len) = *message;
  if (message->type != PT_MESSAGE_MARKER)
    g_atomic_int_inc (&self->n_frames);
  g_atomic_int_inc (&self->n_messages);
  if (self->n_waiting > 0)
    g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* Waits for the oldest message and takes it. FALSE when flushing. */
gboolean
pt_queue_take (PtQueue *self, PtMessage *message)
{
  for (;;) {
    if (!queue_wait (self, queue_has_message, self->spin))
      return FALSE;
    g_mutex_lock (&self->lock);
    if (queue_has_message (self))
      break;
    g_mutex_unlock (&self->lock);       /* it was filtered out meanwhile */
  }
  *message = g_array_index (self->ring, PtMessage, self->head);
  self->head = (self->head + 1) % self->ring->len;
  if (message->type != PT_MESSAGE_MARKER)
    g_atomic_int_add (&self->n_frames, -1);
  g_atomic_int_add (&self->n_messages, -1);
  if (self->n_waiting > 0)
    g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

/* Frames or tokens waiting. */
guint
pt_queue_get_level (PtQueue *self)
{
  return g_atomic_int_get (&self->n_frames);
}

/* While flushing every wait ends at once. */
void
pt_queue_set_flushing (PtQueue *self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  g_atomic_int_set (&self->flushing, flushing);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* Keeps, in order, the messages for which @keep says so. */
void
pt_queue_filter (PtQueue *self, PtQueueKeepFunc keep)
{
  guint n, kept = 0, frames = 0;

  g_mutex_lock (&self->lock);
  n = self->n_messages;
  for (guint i = 0; i < n; i++) {
    PtMessage message = g_array_index (self->ring, PtMessage,
        (self->head + i) % self->ring->len);

    if (!keep (&message))
      continue;
    g_array_index (self->ring, PtMessage,
        (self->head + kept) % self->ring->len) = message;
    kept++;
    frames += message.type != PT_MESSAGE_MARKER;
  }
  g_atomic_int_set (&self->n_messages, kept);
  g_atomic_int_set (&self->n_frames, frames);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}
