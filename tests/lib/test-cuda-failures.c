/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the CUDA backend says and does when CUDA fails, on emulated GPUs. */

#include "cuda-rig.h"

#define ILLEGAL "an illegal memory access was encountered"

/* Too little memory is an error of its own, and passes. */
static void
test_no_memory (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:0");
  g_autoptr (PtTensor) tensor = NULL;

  pt_emulation_fail (PT_EMULATED_MALLOC, 1, cudaErrorMemoryAllocation);
  g_assert_null (pt_device_tensor_new (rig->device, PT_F32, &PT_SHAPE (N),
          &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_NO_MEMORY);
  g_assert_nonnull (strstr (error->message, "cuda:0"));
  g_clear_error (&error);
  pt_emulation_fail (PT_EMULATED_HOST_ALLOC, 1, cudaErrorMemoryAllocation);
  g_assert_null (rig->device->backend->alloc_host (rig->device, 100));
  g_assert_null (pt_device_bytes_new (rig->device, G_MAXINT64 / 2, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_NO_MEMORY);
  g_clear_error (&error);
  tensor = pt_device_tensor_new (rig->device, PT_F32, &PT_SHAPE (N), &error);
  g_assert_no_error (error);
  assert_all (rig->device, tensor, 0);
}

/* A launch that is refused harms nothing else. */
static void
test_refused (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new ("cuda:1");

  pt_emulation_fail (PT_EMULATED_LAUNCH, 2, cudaErrorLaunchOutOfResources);
  g_assert_true (rig_run (rig, &error));
  g_assert_false (rig_run (rig, &error));
  assert_device_error (error, "cuda:1|a kernel|too many resources requested "
      "for launch|cudaErrorLaunchOutOfResources");
  g_clear_error (&error);
  g_assert_true (rig_run (rig, &error));
  assert_all (rig->device, rig->y, tanh (0.5));
}

static gpointer
wait_in_vain (gpointer device)
{
  g_autoptr (GError) error = NULL;

  g_assert_false (pt_device_wait (device, &error));
  assert_device_error (error, "cuda:0|" ILLEGAL "|cudaErrorIllegalAddress");
  return NULL;
}

/* Spoils GPU 0. */
static void
spoil (Rig *rig, PtEmulatedCall call)
{
  g_autoptr (GError) error = NULL;

  pt_emulation_fail (call, 1, cudaErrorIllegalAddress);
  if (call == PT_EMULATED_LAUNCH)
    g_assert_true (rig_run (rig, &error));
  else
    g_assert_true (pt_device_copy (rig->device, rig->y, rig->x, &error));
  g_assert_no_error (error);
  wait_in_vain (rig->device);
}

static void
assert_works (const gchar *name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Rig) rig = rig_new (name);

  g_assert_true (rig_run (rig, &error));
  assert_all (rig->device, rig->y, tanh (0.5));
}

/* A kernel that fails for good: it shows when someone waits, then in every
 * call for that GPU, from any thread; the other GPU does not care. Once all
 * of its devices are closed, a new one works, and no memory is lost. */
static void
test_spoilt (gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  Rig *rig = rig_new ("cuda:0");
  PtDevice *second = op_test_device ("cuda:0");
  gpointer fence = fence_new (rig->device);

  fence_signal (rig->device, fence);
  spoil (rig, GPOINTER_TO_UINT (data));
  g_assert_false (rig_run (rig, &error));
  assert_device_error (error, "cuda:0|" ILLEGAL);
  g_clear_error (&error);
  g_assert_false (rig->device->backend->fence_wait (rig->device, fence, NULL,
          &error));
  assert_device_error (error, "cuda:0|" ILLEGAL);
  g_clear_error (&error);
  g_thread_join (g_thread_new ("wait", wait_in_vain, second));
  assert_works ("cuda:1");
  rig->device->backend->fence_free (rig->device, fence);
  rig_free (rig);
  wait_in_vain (second);        /* as long as someone has it */
  pt_device_unref (second);
  g_assert_cmpuint (pt_emulation_get_used (0), ==, 0);
  assert_works ("cuda:0");
}

typedef struct
{
  PtDevice *device;
  GAsyncQueue *to, *from;
} Worker;

/* Has a lane, and is still there after its GPU was reset. */
static gpointer
work (gpointer data)
{
  Worker *worker = data;
  g_autoptr (GError) error = NULL;
  PtCudaLane *lane = pt_cuda_lane (worker->device, &error);
  guint generation;

  g_assert_no_error (error);
  generation = lane->generation;
  g_async_queue_push (worker->from, worker);
  g_async_queue_pop (worker->to);
  lane = pt_cuda_lane (worker->device, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (lane->generation, ==, generation + 1);
  g_assert_true (pt_device_wait (worker->device, &error));
  assert_works ("cuda:0");
  return NULL;
}

/* Goes when told to; if the GPU was reset, its lane is gone already. */
static gpointer
linger (gpointer data)
{
  Worker *worker = data;

  g_assert_nonnull (pt_cuda_lane (worker->device, NULL));
  g_async_queue_push (worker->from, worker);
  g_async_queue_pop (worker->to);
  return NULL;
}

static void
test_generations (gconstpointer data)
{
  GThreadFunc func = data;
  g_autoptr (GAsyncQueue) to = g_async_queue_new ();
  g_autoptr (GAsyncQueue) from = g_async_queue_new ();
  Rig *rig = rig_new ("cuda:0");
  g_autoptr (PtDevice) again = NULL;
  Worker worker = { rig->device, to, from };
  GThread *thread = g_thread_new ("worker", func, &worker);

  g_async_queue_pop (from);
  spoil (rig, PT_EMULATED_LAUNCH);
  rig_free (rig);
  worker.device = again = op_test_device ("cuda:0");
  g_async_queue_push (to, &worker);
  g_thread_join (thread);
}

/* Threads end, and with them their lanes, while the GPU is reset. */
static void
test_leaves (void)
{
  for (guint i = 0; i < 20; i++) {
    g_autoptr (GAsyncQueue) to = g_async_queue_new ();
    g_autoptr (GAsyncQueue) from = g_async_queue_new ();
    Rig *rig = rig_new ("cuda:0");
    Worker worker = { rig->device, to, from };
    GThread *thread = g_thread_new ("linger", linger, &worker);

    g_async_queue_pop (from);
    spoil (rig, PT_EMULATED_LAUNCH);
    g_async_queue_push (to, &worker);
    rig_free (rig);
    g_thread_join (thread);
  }
  assert_works ("cuda:0");
}

static void
assert_no_gpu (const gchar *words)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) list = NULL;

  g_assert_null (pt_device_open ("cuda:0", &error));
  assert_device_error (error, words);
  g_clear_error (&error);
  list = pt_device_open_list ("auto", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (list->len, ==, pt_device_count_cores ());
}

/* What stands between a program and its GPUs is said plainly, and is no
 * error where any device will do. */
static void
test_no_gpu (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) list = NULL;

  pt_emulation_set_driver (0);
  assert_no_gpu ("cuda:0|looking for GPUs|NVIDIA's driver is not installed");
  pt_emulation_set_driver (12040);
  assert_no_gpu ("driver is for CUDA 12.4, expected 13.0");
  pt_emulation_set_driver (PT_EMULATED_VERSION);
  pt_emulation_set_gpus (0);
  assert_no_gpu ("looking for GPUs|no CUDA-capable device");
  pt_emulation_set_gpus (2);
  g_assert_null (pt_device_open ("cuda:2", &error));
  assert_device_error (error, "\"cuda:2\"|0 to 1");
  g_clear_error (&error);
  g_assert_null (pt_device_open ("cuda:x", &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_CONFIG);
  g_clear_error (&error);
  list = pt_device_open_list ("auto", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (list->len, ==, 2);
  g_assert_cmpstr (pt_device_get_name (list->pdata[1]), ==, "cuda:1");
}

/* A stream cannot be had, the next one can. */
static gpointer
miss_lane (gpointer device)
{
  g_autoptr (GError) error = NULL;

  pt_emulation_fail (PT_EMULATED_CREATE, 1, cudaErrorMemoryAllocation);
  g_assert_null (pt_cuda_lane (device, &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_NO_MEMORY);
  g_assert_nonnull (pt_cuda_lane (device, NULL));
  return NULL;
}

static void
test_no_lane (void)
{
  g_autoptr (PtDevice) device = op_test_device ("cuda:0");

  g_thread_join (g_thread_new ("lane", miss_lane, device));
}

/* Whatever spoils a context: the next device of the GPU has a sound one. */
static void
test_sticky (void)
{
  static const cudaError_t all[] = { cudaErrorLaunchFailure,
    cudaErrorECCUncorrectable, cudaErrorContained, cudaErrorTensorMemoryLeak,
    cudaErrorExternalDevice
  };

  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    g_autoptr (GError) error = NULL;
    Rig *rig = rig_new ("cuda:0");

    pt_emulation_fail (PT_EMULATED_LAUNCH, 1, all[i]);
    g_assert_true (rig_run (rig, &error));
    g_assert_false (pt_device_wait (rig->device, &error));
    assert_device_error (error, cudaGetErrorName (all[i]));
    rig_free (rig);
    assert_works ("cuda:0");
  }
}

int
main (int argc, char **argv)
{
  g_setenv ("PARTIME_EMULATED_DELAY_US", "100", FALSE);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cuda-failures/no-memory", test_no_memory);
  g_test_add_func ("/cuda-failures/refused", test_refused);
  g_test_add_data_func ("/cuda-failures/spoilt/kernel",
      GUINT_TO_POINTER (PT_EMULATED_LAUNCH), test_spoilt);
  g_test_add_data_func ("/cuda-failures/spoilt/copy",
      GUINT_TO_POINTER (PT_EMULATED_COPY), test_spoilt);
  g_test_add_data_func ("/cuda-failures/generations/works-on", work,
      test_generations);
  g_test_add_data_func ("/cuda-failures/generations/lingers", linger,
      test_generations);
  g_test_add_func ("/cuda-failures/generations/leaves", test_leaves);
  g_test_add_func ("/cuda-failures/no-lane", test_no_lane);
  g_test_add_func ("/cuda-failures/no-gpu", test_no_gpu);
  g_test_add_func ("/cuda-failures/sticky", test_sticky);
  return g_test_run ();
}
