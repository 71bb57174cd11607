/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The CUDA backend on emulated GPUs: what orders its work, and recordings;
 * what goes wrong is in test-cuda-failures. */

#include "cuda-rig.h"

static cudaStream_t
stream_of (PtDevice *device)
{
  g_autoptr (GError) error = NULL;
  PtCudaLane *lane = pt_cuda_lane (device, &error);

  g_assert_no_error (error);
  return lane->stream;
}

static gpointer
other_stream (gpointer device)
{
  return stream_of (device);
}

/* One lane for each thread and GPU. */
static void
test_lanes (void)
{
  g_autoptr (PtDevice) a = op_test_device ("cuda:0");
  g_autoptr (PtDevice) same = op_test_device ("cuda");
  g_autoptr (PtDevice) b = op_test_device ("cuda:1");
  cudaStream_t stream = stream_of (a);

  g_assert_true (stream_of (same) == stream);
  g_assert_true (stream_of (b) != stream);
  g_assert_true (stream_of (a) == stream);
  g_assert_true (g_thread_join (g_thread_new ("other", other_stream, a))
      != stream);
  g_assert_true (pt_device_shares_memory (a, same));
  g_assert_false (pt_device_shares_memory (a, b));
}

static gpointer
come_and_go (gpointer device)
{
  guint others = pt_emulation_get_streams (0);

  for (guint i = 0; i < 2; i++) {
    pt_device_leave (device);
    g_assert_cmpuint (pt_emulation_get_streams (0), ==, others);
    pt_device_enter (device);
    g_assert_cmpuint (pt_emulation_get_streams (0), ==, others + 1);
  }
  pt_device_leave (device);
  return GUINT_TO_POINTER (pt_emulation_get_streams (0));
}

/* A lane goes when its thread leaves, not only when it ends; others stay. */
static void
test_leave (void)
{
  g_autoptr (PtDevice) device = op_test_device ("cuda:0");
  cudaStream_t stream = stream_of (device);
  guint streams = pt_emulation_get_streams (0);

  g_assert_cmpuint (GPOINTER_TO_UINT (g_thread_join (g_thread_new ("other",
                  come_and_go, device))), ==, streams);
  g_assert_true (stream_of (device) == stream);
}

/* A call returns before its work is done. */
static void
test_later (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");

  pt_emulation_hold (0, TRUE);
  rig_run (rig, &error);
  g_assert_no_error (error);
  assert_unset (rig->y);
  pt_emulation_hold (0, FALSE);
  assert_all (rig->device, rig->y, tanh (0.5));
}

/* Another GPU does not wait, unless for a fence. */
static void
test_fence_devices (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  g_autoptr (PtDevice) other = op_test_device ("cuda:1");
  g_autoptr (PtTensor) early = op_test_unset (other, &PT_SHAPE (N));
  g_autoptr (PtTensor) late = op_test_unset (other, &PT_SHAPE (N));
  gpointer fence = fence_new (rig->device), after = fence_new (other);

  pt_emulation_hold (0, TRUE);
  rig_run (rig, &error);
  fence_signal (rig->device, fence);
  pt_device_copy (other, early, rig->y, &error);
  g_assert_no_error (error);
  pt_device_wait (other, &error);
  assert_unset (early);
  fence_wait (rig->device, fence, other);
  pt_device_copy (other, late, rig->y, &error);
  g_assert_no_error (error);
  fence_signal (other, after);
  g_usleep (5000);
  assert_unset (late);
  g_assert_cmpint (cudaEventQuery (after), ==, cudaErrorNotReady);
  pt_emulation_hold (0, FALSE);
  assert_all (other, late, tanh (0.5));
  rig->device->backend->fence_free (rig->device, fence);
  other->backend->fence_free (other, after);
}

/* The host waits for what was signalled last; not at all for what never was. */
static void
test_fence_host (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  g_autoptr (PtTensor) pinned = NULL;
  gfloat *host = rig->device->backend->alloc_host (rig->device, 4 * N);
  gpointer fence = fence_new (rig->device);

  g_assert_nonnull (host);
  g_assert_cmpfloat (host[N - 1], ==, 0);
  fence_wait (rig->device, fence, NULL);
  fence_wait (rig->device, fence, rig->device);
  for (guint i = 0; i < 20; i++) {
    rig_fill (rig, 0.01 * i);
    rig_run (rig, &error);
    rig->device->backend->copy (rig->device, host, rig->y->data, rig->y->size,
        &error);
    g_assert_no_error (error);
    fence_signal (rig->device, fence);
    fence_wait (rig->device, fence, NULL);
    g_assert_cmpfloat_with_epsilon (host[N - 1], tanh (0.01 * i), 1e-6);
  }
  rig->device->backend->fence_free (rig->device, fence);
  rig->device->backend->free_host (rig->device, host);
}

#define HANDED 200

typedef struct
{
  Rig *rig;
  gpointer ready, taken;        /* fences */
  GAsyncQueue *full, *empty;
} Handover;

/* Takes y as it is, and gives it back. */
static gpointer
take (gpointer data)
{
  Handover *handover = data;
  PtDevice *device = handover->rig->device;
  g_autoptr (PtDevice) other = op_test_device ("cuda:1");
  g_autoptr (PtTensor) here = op_test_unset (device, &PT_SHAPE (N));
  g_autoptr (PtTensor) there = op_test_unset (other, &PT_SHAPE (N));
  g_autoptr (GError) error = NULL;
  gpointer moved = fence_new (device);

  pt_device_enter (device);
  for (guint i = 0; i < HANDED; i++) {
    g_async_queue_pop (handover->full);
    fence_wait (device, handover->ready, device);
    pt_device_copy (device, here, handover->rig->y, &error);
    fence_signal (device, handover->taken);
    g_async_queue_push (handover->empty, handover);
    fence_signal (device, moved);
    fence_wait (device, moved, other);
    pt_device_copy (other, there, here, &error);
    g_assert_no_error (error);
    assert_all (other, there, tanh (0.001 * i));
  }
  device->backend->fence_free (device, moved);
  return NULL;
}

/* One thread computes what another takes, over and over in the same memory,
 * and no host waits. */
static void
test_fence_threads (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  PtDevice *device = rig->device;
  g_autoptr (GAsyncQueue) full = g_async_queue_new ();
  g_autoptr (GAsyncQueue) empty = g_async_queue_new ();
  Handover handover = { rig, fence_new (device), fence_new (device), full,
    empty
  };
  GThread *thread = g_thread_new ("take", take, &handover);

  for (guint i = 0; i < HANDED; i++) {
    rig_fill (rig, 0.001 * i);
    fence_wait (device, handover.taken, device);
    rig_run (rig, &error);
    g_assert_no_error (error);
    fence_signal (device, handover.ready);
    g_async_queue_push (full, &handover);
    g_async_queue_pop (empty);
  }
  g_thread_join (thread);
  device->backend->fence_free (device, handover.ready);
  device->backend->fence_free (device, handover.taken);
}

/* y = tanh (x), then x = y. */
static void
run_twice (Rig *rig)
{
  g_autoptr (GError) error = NULL;

  rig_run (rig, &error);
  g_assert_no_error (error);
  pt_device_copy (rig->device, rig->x, rig->y, &error);
  g_assert_no_error (error);
  rig_run (rig, &error);
  g_assert_no_error (error);
}

/* Recording does nothing; a replay gives the bits of the calls themselves, as
 * often as wanted, also when the recording goes before it is done. */
static void
test_record (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  g_autoptr (PtTensor) eager = op_test_unset (rig->device, &PT_SHAPE (N));
  const PtBackend *backend = rig->device->backend;
  gpointer recording;

  g_assert_true (backend->record (rig->device, &error));
  run_twice (rig);
  recording = backend->recorded (rig->device, &error);
  g_assert_no_error (error);
  g_assert_true (pt_device_wait (rig->device, &error));
  assert_unset (rig->y);
  for (guint i = 0; i < 10; i++) {
    rig_fill (rig, 0.1 * i);
    run_twice (rig);
    pt_device_copy (rig->device, eager, rig->y, &error);
    rig_fill (rig, 0.1 * i);
    op_test_unset_bytes (rig->device, rig->y);
    g_assert_true (backend->replay (rig->device, recording, &error));
    op_test_same (rig->device, eager, rig->y);
  }
  op_test_unset_bytes (rig->device, rig->y);
  g_assert_true (backend->replay (rig->device, recording, &error));
  backend->recording_free (rig->device, recording);
  assert_all (rig->device, rig->y, tanh (tanh (tanh (0.9))));
}

/* Memory cannot be had while recording, nor can the host wait; that ends the
 * recording, no more. */
static void
test_record_refuses (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  const PtBackend *backend = rig->device->backend;

  g_assert_true (backend->record (rig->device, &error));
  rig_run (rig, &error);
  g_assert_null (pt_device_bytes_new (rig->device, 100, NULL));
  g_assert_null (backend->recorded (rig->device, &error));
  assert_device_error (error, "cuda:0|previous error during capture");
  g_clear_error (&error);
  g_assert_true (backend->record (rig->device, &error));
  g_assert_false (pt_device_wait (rig->device, &error));
  assert_device_error (error, "cuda:0|not permitted when stream is capturing");
  g_clear_error (&error);
  g_assert_null (backend->recorded (rig->device, NULL));
  g_assert_null (backend->recorded (rig->device, &error));
  assert_device_error (error, "cuda:0");
  g_clear_error (&error);
  rig_run (rig, &error);
  g_assert_no_error (error);
  assert_all (rig->device, rig->y, tanh (0.5));
}

/* There and back, and no GPU reads what is not there yet. */
static void
test_peers (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  g_autoptr (PtDevice) other = op_test_device ("cuda:1");
  g_autoptr (PtTensor) there = op_test_unset (other, &PT_SHAPE (N));
  g_autoptr (PtTensor) back = op_test_unset (rig->device, &PT_SHAPE (N));
  gpointer done = fence_new (rig->device), sent = fence_new (other);

  for (guint i = 0; i < 50; i++) {
    rig_fill (rig, 0.02 * i);
    rig_run (rig, &error);
    fence_signal (rig->device, done);
    fence_wait (rig->device, done, other);
    pt_device_copy (other, there, rig->y, &error);
    fence_signal (other, sent);
    fence_wait (other, sent, rig->device);
    pt_device_copy (rig->device, back, there, &error);
    g_assert_no_error (error);
    assert_all (rig->device, back, tanh (0.02 * i));
  }
  rig->device->backend->fence_free (rig->device, done);
  other->backend->fence_free (other, sent);
}

/* What runs for each frame takes nothing new and does not wait. */
static void
test_allocates_nothing (void)
{
  static const PtEmulatedCall calls[] = { PT_EMULATED_MALLOC,
    PT_EMULATED_HOST_ALLOC, PT_EMULATED_CREATE, PT_EMULATED_SYNCHRONIZE
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  const PtBackend *backend = rig->device->backend;
  gpointer fence = fence_new (rig->device), recording;
  guint before[G_N_ELEMENTS (calls)];

  g_assert_true (backend->record (rig->device, &error));
  rig_run (rig, &error);
  recording = backend->recorded (rig->device, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (calls); i++)
    before[i] = pt_emulation_count (calls[i]);
  for (guint i = 0; i < 100; i++) {
    rig_run (rig, &error);
    fence_signal (rig->device, fence);
    fence_wait (rig->device, fence, rig->device);
    backend->replay (rig->device, recording, &error);
    g_assert_no_error (error);
  }
  for (guint i = 0; i < G_N_ELEMENTS (calls); i++)
    g_assert_cmpuint (pt_emulation_count (calls[i]), ==, before[i]);
  backend->recording_free (rig->device, recording);
  backend->fence_free (rig->device, fence);
}

int
main (int argc, char **argv)
{
  g_setenv ("PARTIME_EMULATED_DELAY_US", "100", FALSE);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cuda-emulated/lanes", test_lanes);
  g_test_add_func ("/cuda-emulated/leave", test_leave);
  g_test_add_func ("/cuda-emulated/later", test_later);
  g_test_add_func ("/cuda-emulated/fence/devices", test_fence_devices);
  g_test_add_func ("/cuda-emulated/fence/host", test_fence_host);
  g_test_add_func ("/cuda-emulated/fence/threads", test_fence_threads);
  g_test_add_func ("/cuda-emulated/record/equal", test_record);
  g_test_add_func ("/cuda-emulated/record/refuses", test_record_refuses);
  g_test_add_func ("/cuda-emulated/peers", test_peers);
  g_test_add_func ("/cuda-emulated/allocates-nothing",
      test_allocates_nothing);
  return g_test_run ();
}
