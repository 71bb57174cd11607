/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/frame.h"
#include "device/cuda/lane.h"

/* Why there are no GPUs; CUDA says the same of a driver that is missing and
 * one that is too old. */
static gchar *
backend_explain (cudaError_t status)
{
  int driver = 0, runtime = 0;

  cudaGetLastError ();
  if (cudaDriverGetVersion (&driver) == cudaSuccess && driver == 0)
    return g_strdup ("NVIDIA's driver is not installed");
  if (status == cudaErrorInsufficientDriver
      && cudaRuntimeGetVersion (&runtime) == cudaSuccess)
    return g_strdup_printf ("NVIDIA's driver is for CUDA %d.%d, expected %d.%d "
        "or newer", driver / 1000, driver / 10 % 100, runtime / 1000,
        runtime / 10 % 100);
  return g_strdup (status == cudaSuccess ? "there is none" :
      cudaGetErrorString (status));
}

static guint
backend_count (GError **error)
{
  int n = 0;
  cudaError_t status = cudaGetDeviceCount (&n);
  g_autofree gchar *reason = NULL;

  if (status == cudaSuccess && n > 0)
    return n;
  reason = backend_explain (status);
  g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "looking for GPUs: %s",
      reason);
  return 0;
}

static gboolean
backend_open (PtDevice *device, const gchar *spec, GError **error)
{
  guint64 ordinal = 0;
  guint n = backend_count (error);

  if (n == 0)
    return FALSE;
  if (spec != NULL && !g_ascii_string_to_unsigned (spec, 10, 0, G_MAXUINT,
          &ordinal, NULL)) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "found \"%s\", expected the number of a GPU, 0 to %u", spec, n - 1);
    return FALSE;
  }
  if (ordinal >= n) {
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "there is no GPU %"
        G_GUINT64_FORMAT ", expected 0 to %u", ordinal, n - 1);
    return FALSE;
  }
  device->priv = pt_cuda_retain (ordinal, error);
  device->memory = ordinal;
  device->n_threads = 1;
  return device->priv != NULL;
}

static void
backend_close (PtDevice *device)
{
  pt_cuda_release (device->priv);
}

/* Zeros, and there when it returns: the first to use them may be on another
 * stream. */
static gpointer
backend_alloc (PtDevice *device, gsize bytes)
{
  PtCudaLane *lane = pt_cuda_lane (device, NULL);
  gpointer data = NULL;

  if (lane == NULL || !PT_CUDA (device, cudaMalloc (&data, MAX (bytes, 1)),
          NULL))
    return NULL;
  if (PT_CUDA (device, cudaMemsetAsync (data, 0, bytes, lane->stream), NULL)
      && PT_CUDA (device, cudaStreamSynchronize (lane->stream), NULL))
    return data;
  cudaFree (data);
  return NULL;
}

/* Waits for what still uses it: cudaFree() does. */
static void
backend_free (PtDevice *device, gpointer data)
{
  if (pt_cuda_lane (device, NULL) != NULL)
    PT_CUDA (device, cudaFree (data), NULL);
}

static gpointer
backend_alloc_host (PtDevice *device, gsize bytes)
{
  gpointer data = NULL;

  if (pt_cuda_lane (device, NULL) == NULL || !PT_CUDA (device,
          cudaHostAlloc (&data, MAX (bytes, 1), cudaHostAllocPortable), NULL))
    return NULL;
  return memset (data, 0, bytes);
}

static void
backend_free_host (PtDevice *device, gpointer data)
{
  if (pt_cuda_lane (device, NULL) != NULL)
    PT_CUDA (device, cudaFreeHost (data), NULL);
}

/* Of any two memories: the driver knows from the addresses where they are. */
static gboolean
backend_copy (PtDevice *device, gpointer dst, gconstpointer src, gsize bytes,
    GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);

  return lane != NULL && PT_CUDA (device, cudaMemcpyAsync (dst, src, bytes,
          cudaMemcpyDefault, lane->stream), error);
}

static gboolean
backend_wait (PtDevice *device, GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);

  return lane != NULL
      && PT_CUDA (device, cudaStreamSynchronize (lane->stream), error);
}

static gboolean
backend_copy_now (PtDevice *device, gpointer dst, gconstpointer src,
    gsize bytes, GError **error)
{
  return backend_copy (device, dst, src, bytes, error)
      && backend_wait (device, error);
}

static void
backend_enter (PtDevice *device)
{
  pt_cuda_lane (device, NULL);  /* what is wrong shows when it plans */
}

static gpointer
backend_fence_new (PtDevice *device, GError **error)
{
  cudaEvent_t event = NULL;

  if (pt_cuda_lane (device, error) == NULL || !PT_CUDA (device,
          cudaEventCreateWithFlags (&event, cudaEventDisableTiming), error))
    return NULL;
  return event;
}

static void
backend_fence_free (PtDevice *device, gpointer fence)
{
  if (pt_cuda_lane (device, NULL) != NULL)
    PT_CUDA (device, cudaEventDestroy (fence), NULL);
}

static gboolean
backend_fence_signal (PtDevice *device, gpointer fence, GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);

  return lane != NULL
      && PT_CUDA (device, cudaEventRecord (fence, lane->stream), error);
}

static gboolean
backend_fence_wait (PtDevice *device, gpointer fence, PtDevice *waiter,
    GError **error)
{
  PtCudaLane *lane;

  if (waiter == NULL)
    return PT_CUDA (device, cudaEventSynchronize (fence), error);
  lane = pt_cuda_lane (waiter, error);
  return lane != NULL
      && PT_CUDA (waiter, cudaStreamWaitEvent (lane->stream, fence, 0), error);
}

static gboolean
backend_record (PtDevice *device, GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);

  return lane != NULL && PT_CUDA (device, cudaStreamBeginCapture
      (lane->stream, cudaStreamCaptureModeThreadLocal), error);
}

static gpointer
backend_recorded (PtDevice *device, GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);
  cudaGraph_t graph = NULL;
  cudaGraphExec_t executable = NULL;

  if (lane == NULL || !PT_CUDA (device,
          cudaStreamEndCapture (lane->stream, &graph), error))
    return NULL;
  if (!PT_CUDA (device, cudaGraphInstantiate (&executable, graph, 0), error))
    executable = NULL;
  cudaGraphDestroy (graph);
  return executable;
}

static gboolean
backend_replay (PtDevice *device, gpointer recording, GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);

  return lane != NULL
      && PT_CUDA (device, cudaGraphLaunch (recording, lane->stream), error);
}

static void
backend_recording_free (PtDevice *device, gpointer recording)
{
  pt_cuda_lane (device, NULL);  /* of a GPU that failed, the host's part goes */
  PT_CUDA (device, cudaGraphExecDestroy (recording), NULL);
}

const PtBackend pt_backend_cuda = {
  .name = "cuda",
  .summary = "an NVIDIA GPU",
  /* which of them a GPU lacks, planning finds */
  .precisions = 1 << PT_PRECISION_TF32 | 1 << PT_PRECISION_BF16
      | 1 << PT_PRECISION_FP16,
  .count = backend_count,
  .open = backend_open,
  .close = backend_close,
  .alloc = backend_alloc,
  .free = backend_free,
  .copy = backend_copy,
  .upload = backend_copy_now,
  .download = backend_copy_now,
  .enter = backend_enter,
  .leave = pt_cuda_leave,
  .wait = backend_wait,
  .alloc_host = backend_alloc_host,
  .free_host = backend_free_host,
  .fence_new = backend_fence_new,
  .fence_free = backend_fence_free,
  .fence_signal = backend_fence_signal,
  .fence_wait = backend_fence_wait,
  .record = backend_record,
  .recorded = backend_recorded,
  .replay = backend_replay,
  .recording_free = backend_recording_free,
  .pack_frame = pt_cuda_frame_pack,
  .ops = {
    [PT_OP_CONV] = &pt_cuda_conv,
    [PT_OP_CONV_DATA] = &pt_cuda_conv_data,
    [PT_OP_CONV_WEIGHTS] = &pt_cuda_conv_weights,
    [PT_OP_CONV_TRANSPOSE] = &pt_cuda_conv_transpose,
    [PT_OP_CONV_TRANSPOSE_DATA] = &pt_cuda_conv_transpose_data,
    [PT_OP_CONV_TRANSPOSE_WEIGHTS] = &pt_cuda_conv_transpose_weights,
    [PT_OP_LINEAR] = &pt_cuda_linear,
    [PT_OP_LINEAR_DATA] = &pt_cuda_linear_data,
    [PT_OP_LINEAR_WEIGHTS] = &pt_cuda_linear_weights,
    [PT_OP_ACTIVATION] = &pt_cuda_activation,
    [PT_OP_ACTIVATION_BACKWARD] = &pt_cuda_activation_backward,
    [PT_OP_POOL] = &pt_cuda_pool,
    [PT_OP_POOL_BACKWARD] = &pt_cuda_pool_backward,
    [PT_OP_UPSAMPLE] = &pt_cuda_upsample,
    [PT_OP_UPSAMPLE_BACKWARD] = &pt_cuda_upsample_backward,
    [PT_OP_BATCH_NORM] = &pt_cuda_batch_norm,
    [PT_OP_BATCH_NORM_BACKWARD] = &pt_cuda_batch_norm_backward,
    [PT_OP_NORMALIZE] = &pt_cuda_normalize,
    [PT_OP_NORMALIZE_BACKWARD] = &pt_cuda_normalize_backward,
    [PT_OP_LRN] = &pt_cuda_lrn,
    [PT_OP_LRN_BACKWARD] = &pt_cuda_lrn_backward,
    [PT_OP_GRID_SAMPLE] = &pt_cuda_grid_sample,
    [PT_OP_GRID_SAMPLE_BACKWARD] = &pt_cuda_grid_sample_backward,
    [PT_OP_SOFTMAX] = &pt_cuda_softmax,
    [PT_OP_SOFTMAX_BACKWARD] = &pt_cuda_softmax_backward,
    [PT_OP_ADD] = &pt_cuda_add,
    [PT_OP_CONCAT] = &pt_cuda_concat,
    [PT_OP_SPLIT] = &pt_cuda_split,
    [PT_OP_FLATTEN] = &pt_cuda_flatten,
    [PT_OP_UNFLATTEN] = &pt_cuda_unflatten,
    [PT_OP_COMBINE] = &pt_cuda_combine,
    [PT_OP_DROPOUT] = &pt_cuda_dropout,
    [PT_OP_MULTIPLY] = &pt_cuda_multiply,
    [PT_OP_BINARY] = &pt_cuda_binary,
    [PT_OP_BINARY_BACKWARD] = &pt_cuda_binary_backward,
    [PT_OP_POINTWISE_LOSS] = &pt_cuda_pointwise_loss,
    [PT_OP_BINARY_CROSS_ENTROPY] = &pt_cuda_binary_cross_entropy,
    [PT_OP_CROSS_ENTROPY] = &pt_cuda_cross_entropy,
    [PT_OP_SSIM] = &pt_cuda_ssim,
    [PT_OP_FLOW_LOSS] = &pt_cuda_flow_loss,
    [PT_OP_UPDATE] = &pt_cuda_update,
    [PT_OP_DOT] = &pt_cuda_dot,
    [PT_OP_PROJECT] = &pt_cuda_project,
    [PT_OP_CHECK_FINITE] = &pt_cuda_check_finite,
    [PT_OP_GATE] = &pt_cuda_gate,
    [PT_OP_GO] = &pt_cuda_go,
  },
};
