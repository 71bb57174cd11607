/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/lane.h"

#define LANE_MAX_GPUS 64

static GMutex lane_lock;        /* of the GPUs */
static PtCuda *lane_gpus[LANE_MAX_GPUS];

static void
lane_free (PtCudaLane *self)
{
  /* what lay in a context that was reset is gone already; and none is reset
   * while its thread ends */
  g_mutex_lock (&lane_lock);
  if (self->generation == self->cuda->generation
      && cudaSetDevice (self->cuda->ordinal) == cudaSuccess) {
    if (self->cudnn != NULL)
      self->cudnn_free (self->cudnn);
    cudaStreamDestroy (self->stream);
  }
  g_mutex_unlock (&lane_lock);
  g_free (self);
}

/* A thread's lanes, by GPU. */
static void
lane_free_all (gpointer data)
{
  PtCudaLane **lanes = data;

  for (guint i = 0; i < LANE_MAX_GPUS; i++)
    g_clear_pointer (&lanes[i], lane_free);
  g_free (lanes);
}

static GPrivate lane_private = G_PRIVATE_INIT (lane_free_all);

static PtCudaLane *
lane_new (PtDevice *device, GError **error)
{
  PtCuda *cuda = device->priv;
  g_autofree PtCudaLane *self = g_new0 (PtCudaLane, 1);

  self->cuda = cuda;
  self->generation = cuda->generation;
  if (!PT_CUDA (device, cudaStreamCreateWithFlags (&self->stream,
              cudaStreamNonBlocking), error))
    return NULL;
  return g_steal_pointer (&self);
}

/* The calling thread's lane to the GPU of @device, which becomes its current
 * one; made when first asked for, gone with the thread. */
PtCudaLane *
pt_cuda_lane (PtDevice *device, GError **error)
{
  PtCuda *cuda = device->priv;
  PtCudaLane **lanes = g_private_get (&lane_private), **lane;

  if (lanes == NULL) {
    lanes = g_new0 (PtCudaLane *, LANE_MAX_GPUS);
    g_private_set (&lane_private, lanes);
  }
  if (!PT_CUDA (device, cudaSetDevice (cuda->ordinal), error))
    return NULL;
  lane = &lanes[cuda->ordinal];
  if (*lane != NULL && (*lane)->generation != cuda->generation)
    g_clear_pointer (lane, lane_free);
  if (*lane == NULL)
    *lane = lane_new (device, error);
  return *lane;
}

/* Frees the calling thread's lane. When the thread ends it is late for that:
 * what libraries keep in C++ for each thread is destroyed before, and calls of
 * cuDNN may touch it. */
void
pt_cuda_leave (PtDevice *device)
{
  PtCuda *cuda = device->priv;
  PtCudaLane **lanes = g_private_get (&lane_private);

  if (lanes != NULL)
    g_clear_pointer (&lanes[cuda->ordinal], lane_free);
}

static PtCuda *
lane_new_gpu (guint ordinal, GError **error)
{
  g_autofree PtCuda *self = g_new0 (PtCuda, 1);
  cudaError_t status = cudaGetDeviceProperties (&self->properties, ordinal);

  if (status != cudaSuccess) {
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
        "asking for the properties of GPU %u: %s", ordinal,
        cudaGetErrorString (status));
    return NULL;
  }
  self->ordinal = ordinal;
  return g_steal_pointer (&self);
}

static void
lane_let_see (const PtCuda *from, const PtCuda *to)
{
  int can = FALSE;

  if (cudaDeviceCanAccessPeer (&can, from->ordinal, to->ordinal)
      == cudaSuccess && can && cudaSetDevice (from->ordinal) == cudaSuccess)
    cudaDeviceEnablePeerAccess (to->ordinal, 0);
  cudaGetLastError ();          /* it may see it already */
}

/* Lets @cuda and the other GPUs in use copy directly where they can; where
 * they cannot, the driver takes the way through the host. */
static void
lane_join_peers (const PtCuda *cuda)
{
  for (guint i = 0; i < LANE_MAX_GPUS; i++) {
    if (lane_gpus[i] == NULL || lane_gpus[i] == cuda
        || lane_gpus[i]->n_users == 0)
      continue;
    lane_let_see (cuda, lane_gpus[i]);
    lane_let_see (lane_gpus[i], cuda);
  }
}

/* GPU @ordinal of the process, which is there for good. */
PtCuda *
pt_cuda_retain (guint ordinal, GError **error)
{
  PtCuda *cuda = NULL;

  g_mutex_lock (&lane_lock);
  if (ordinal >= LANE_MAX_GPUS)
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "GPU %u: this build counts "
        "to %d", ordinal, LANE_MAX_GPUS);
  else if (lane_gpus[ordinal] == NULL)
    lane_gpus[ordinal] = lane_new_gpu (ordinal, error);
  if (ordinal < LANE_MAX_GPUS && (cuda = lane_gpus[ordinal]) != NULL
      && cuda->n_users++ == 0)
    lane_join_peers (cuda);
  g_mutex_unlock (&lane_lock);
  return cuda;
}

/* When the last device of a GPU that failed goes, so does its context: the
 * next one begins with a sound one. */
void
pt_cuda_release (PtCuda *cuda)
{
  g_mutex_lock (&lane_lock);
  if (--cuda->n_users == 0 && g_atomic_int_get (&cuda->broken)) {
    cudaSetDevice (cuda->ordinal);
    cudaDeviceReset ();
    cudaGetLastError ();
    cuda->generation++;
    g_atomic_int_set (&cuda->broken, FALSE);
  }
  g_mutex_unlock (&lane_lock);
}

/* Whether @status says that the context is of no use any more. */
static gboolean
lane_is_sticky (cudaError_t status)
{
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorExternalDevice:
    case cudaErrorMpsClientTerminated:
    case cudaErrorContextIsDestroyed:
    case cudaErrorDevicesUnavailable:
    case cudaErrorUnknown:
      return TRUE;
    default:
      return FALSE;
  }
}

gboolean
pt_cuda_check (PtDevice *device, cudaError_t status, const gchar *what,
    GError **error)
{
  PtCuda *cuda = device->priv;

  if (status == cudaSuccess)
    return TRUE;
  cudaGetLastError ();          /* so that the next call does not find it */
  if (lane_is_sticky (status) && cuda != NULL)
    g_atomic_int_set (&cuda->broken, TRUE);
  g_set_error (error, PT_ERROR, status == cudaErrorMemoryAllocation ?
      PT_ERROR_NO_MEMORY : PT_ERROR_DEVICE, "device %s: %s: %s (%s)",
      device->name, what, cudaGetErrorString (status),
      cudaGetErrorName (status));
  return FALSE;
}
