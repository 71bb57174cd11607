/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/queue.h"

#define N 200000

typedef struct
{
  PtQueue *queue;
  gint seen;                    /* atomic */
} Reader;

static gpointer
read_all (gpointer data)
{
  Reader *reader = data;
  PtMessage message;

  while (pt_queue_take (reader->queue, &message)) {
    g_assert_cmpint (message.sequence, ==, reader->seen);
    g_atomic_int_inc (&reader->seen);
  }
  return NULL;
}

static void
test_order (gconstpointer spin)
{
  PtQueue *queue = pt_queue_new (2, GPOINTER_TO_INT (spin));
  Reader reader = { queue, 0 };
  GThread *thread = g_thread_new ("reader", read_all, &reader);

  for (guint64 i = 0; i < N; i++) {
    gboolean marker = i % 7 == 3;

    if (!marker)
      g_assert_true (pt_queue_wait_room (queue));
    g_assert_cmpuint (pt_queue_get_level (queue), <=, 2);
    pt_queue_put (queue, &(PtMessage) { .sequence = i,
        .type = marker ? PT_MESSAGE_MARKER : PT_MESSAGE_FRAME });
  }
  while (g_atomic_int_get (&reader.seen) != N)
    g_thread_yield ();
  pt_queue_set_flushing (queue, TRUE);
  g_thread_join (thread);
  g_assert_cmpint (reader.seen, ==, N);
  pt_queue_free (queue);
}

static gboolean
keep_markers (const PtMessage *message)
{
  return message->type == PT_MESSAGE_MARKER;
}

static void
test_filter (void)
{
  PtQueue *queue = pt_queue_new (2, 0);
  PtMessage message;

  for (guint i = 0; i < 40; i++)
    pt_queue_put (queue, &(PtMessage) { .sequence = i,
        .type = i % 20 == 5 ? PT_MESSAGE_FRAME : PT_MESSAGE_MARKER });
  g_assert_cmpuint (pt_queue_get_level (queue), ==, 2);
  g_assert_false (pt_queue_has_room (queue));
  pt_queue_filter (queue, keep_markers);
  g_assert_cmpuint (pt_queue_get_level (queue), ==, 0);
  g_assert_true (pt_queue_has_room (queue));
  for (guint i = 0; i < 40; i++) {
    if (i % 20 == 5)
      continue;
    g_assert_true (pt_queue_take (queue, &message));
    g_assert_cmpuint (message.sequence, ==, i);
  }
  pt_queue_free (queue);
}

static gpointer
wait_room (gpointer queue)
{
  return GINT_TO_POINTER (pt_queue_wait_room (queue));
}

static void
test_flushing_ends_waits (void)
{
  PtQueue *queue = pt_queue_new (1, 0);
  Reader reader = { queue, 0 };
  GThread *thread = g_thread_new ("reader", read_all, &reader);

  pt_queue_set_flushing (queue, TRUE);
  g_thread_join (thread);
  pt_queue_set_flushing (queue, FALSE);
  pt_queue_put (queue, &(PtMessage) { .type = PT_MESSAGE_FRAME });
  thread = g_thread_new ("writer", wait_room, queue);
  pt_queue_set_flushing (queue, TRUE);
  g_assert_false (GPOINTER_TO_INT (g_thread_join (thread)));
  pt_queue_free (queue);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/queue/order/sleeping", GINT_TO_POINTER (0),
      test_order);
  g_test_add_data_func ("/queue/order/spinning", GINT_TO_POINTER (50000),
      test_order);
  g_test_add_func ("/queue/filter", test_filter);
  g_test_add_func ("/queue/flushing-ends-waits", test_flushing_ends_waits);
  return g_test_run ();
}
