/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* ThreadSanitizer does not see inside GLib and GStreamer, whose locks and
 * counts are atomics of their own, and would call everything they guard a
 * race. These stand before their functions in a test program and tell it what
 * they order. */

#include <dlfcn.h>
#include <glib.h>

void __tsan_acquire (void *address);
void __tsan_release (void *address);

#undef g_mutex_lock
#undef g_mutex_trylock
#undef g_mutex_unlock

#define NEXT(function) \
  static __typeof__ (function) *found; \
  __typeof__ (function) *next = g_atomic_pointer_get (&found); \
  if (next == NULL) { \
    next = (__typeof__ (function) *) dlsym (RTLD_NEXT, #function); \
    g_atomic_pointer_set (&found, next); \
  }

void
g_mutex_lock (GMutex *mutex)
{
  NEXT (g_mutex_lock)
  next (mutex);
  __tsan_acquire (mutex);
}

gboolean
g_mutex_trylock (GMutex *mutex)
{
  NEXT (g_mutex_trylock)
  if (!next (mutex))
    return FALSE;
  __tsan_acquire (mutex);
  return TRUE;
}

void
g_mutex_unlock (GMutex *mutex)
{
  NEXT (g_mutex_unlock)
  __tsan_release (mutex);
  next (mutex);
}

/* Recursive: an inner unlock orders more than it does, which hides nothing
 * that the outer one does not. */
void
g_rec_mutex_lock (GRecMutex *mutex)
{
  NEXT (g_rec_mutex_lock)
  next (mutex);
  __tsan_acquire (mutex);
}

gboolean
g_rec_mutex_trylock (GRecMutex *mutex)
{
  NEXT (g_rec_mutex_trylock)
  if (!next (mutex))
    return FALSE;
  __tsan_acquire (mutex);
  return TRUE;
}

void
g_rec_mutex_unlock (GRecMutex *mutex)
{
  NEXT (g_rec_mutex_unlock)
  __tsan_release (mutex);
  next (mutex);
}

void
g_cond_wait (GCond *cond, GMutex *mutex)
{
  NEXT (g_cond_wait)
  __tsan_release (mutex);
  next (cond, mutex);
  __tsan_acquire (mutex);
}

gboolean
g_cond_wait_until (GCond *cond, GMutex *mutex, gint64 end)
{
  gboolean signalled;

  NEXT (g_cond_wait_until)
  __tsan_release (mutex);
  signalled = next (cond, mutex, end);
  __tsan_acquire (mutex);
  return signalled;
}

void
(g_atomic_ref_count_inc) (gatomicrefcount *count)
{
  __atomic_fetch_add (count, 1, __ATOMIC_ACQ_REL);
}

gboolean
(g_atomic_ref_count_dec) (gatomicrefcount *count)
{
  return __atomic_sub_fetch (count, 1, __ATOMIC_ACQ_REL) == 0;
}

void
g_atomic_rc_box_release_full (gpointer box, GDestroyNotify clear)
{
  NEXT (g_atomic_rc_box_release_full)
  __tsan_release (box);
  __tsan_acquire (box);
  next (box, clear);
}

void
g_async_queue_push (GAsyncQueue *queue, gpointer data)
{
  NEXT (g_async_queue_push)
  __tsan_release (queue);
  next (queue, data);
}

gpointer
g_async_queue_pop (GAsyncQueue *queue)
{
  gpointer data;

  NEXT (g_async_queue_pop)
  data = next (queue);
  __tsan_acquire (queue);
  return data;
}

gpointer
g_async_queue_try_pop (GAsyncQueue *queue)
{
  gpointer data;

  NEXT (g_async_queue_try_pop)
  data = next (queue);
  __tsan_acquire (queue);
  return data;
}

gpointer
g_async_queue_timeout_pop (GAsyncQueue *queue, guint64 timeout)
{
  gpointer data;

  NEXT (g_async_queue_timeout_pop)
  data = next (queue, timeout);
  __tsan_acquire (queue);
  return data;
}

/* Here for programs with GStreamer: buffers, events, messages, caps. */
void gst_mini_object_unref (gpointer object);

void
gst_mini_object_unref (gpointer object)
{
  NEXT (gst_mini_object_unref)
  __tsan_release (object);
  __tsan_acquire (object);
  next (object);
}
