/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A bounded queue between two threads. Frames are bounded by the capacity,
 * markers travel among them in order and are not. A waiting thread spins for
 * a moment before it sleeps. */

typedef struct _PtMarker PtMarker;
typedef struct _PtResult PtResult;
typedef struct _PtStream PtStream;

typedef enum
{
  PT_MESSAGE_FRAME,
  PT_MESSAGE_MARKER,
  PT_MESSAGE_TOKEN_NONE,        /* no gradient for this frame */
  PT_MESSAGE_TOKEN_GRADIENT,    /* a gradient waits in the cut's slot */
  PT_MESSAGE_TOKEN_ROLLBACK,    /* put the last good weights back */
} PtMessageType;

typedef struct
{
  PtMessageType type;
  guint64 sequence;             /* of frames since the pipeline was made */
  guint64 frame;                /* since start or flush */
  PtStream *stream;             /* lent: whose frame it is */
  guint era;                    /* of the stream */
  gboolean learn;               /* decided when the frame entered */
  gboolean has_target;
  gboolean again;               /* learned before: nobody waits for a result */
  gdouble rate;                 /* base learning rate from this frame on; of
                                 * a token: what it is multiplied by */
  gboolean keep;                /* token: put a copy of the state aside */
  gint64 entered;               /* ns, monotonic */
  PtMarker *marker;             /* lent */
  PtResult *result;             /* owned by the message, output queue only */
} PtMessage;

typedef struct _PtQueue PtQueue;

PtQueue *pt_queue_new (guint capacity, gint64 spin);
void pt_queue_free (PtQueue *self);
gboolean pt_queue_has_room (PtQueue *self);
gboolean pt_queue_wait_room (PtQueue *self);
/* The same, or until @stop, atomic, is set, and pt_queue_wake() called. */
gboolean pt_queue_wait_room_unless (PtQueue *self, gint *stop);
void pt_queue_wake (PtQueue *self);
void pt_queue_put (PtQueue *self, const PtMessage *message);
gboolean pt_queue_take (PtQueue *self, PtMessage *message);
guint pt_queue_get_level (PtQueue *self);
void pt_queue_set_flushing (PtQueue *self, gboolean flushing);
typedef gboolean (*PtQueueKeepFunc) (const PtMessage *message);
void pt_queue_filter (PtQueue *self, PtQueueKeepFunc keep);

gint64 pt_clock_now (void);

G_END_DECLS
