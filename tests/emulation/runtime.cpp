/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* GPUs, their memory, and what goes wrong. */

#include <stdlib.h>
#include <string.h>

#include "state.h"

#define ALIGNMENT 256           /* of cudaMalloc() */
#define MEMORY (gsize (8) << 30)
#define MAX_GPUS 64

namespace pt_emulation
{

/* Never freed: threads may outlive what exit() destroys. */
struct State
{
  Device devices[MAX_GPUS];
  std::atomic < guint > n_devices = 2;
  std::atomic < int > driver = PT_EMULATED_VERSION;
  std::atomic < guint > counts[PT_EMULATED_N_CALLS] = { };
  std::atomic < guint64 > bytes[2] = { };       /* up, down */
  std::atomic < guint > fail_after[PT_EMULATED_N_CALLS] = { };
  std::atomic < cudaError_t > fail_status[PT_EMULATED_N_CALLS] = { };

  State ()
  {
    const char *text = getenv ("PARTIME_EMULATED_GPUS");

    if (text != nullptr)
      n_devices = MIN (strtoul (text, nullptr, 10), MAX_GPUS);
  }
};

static State &
state ()
{
  static State &made = *new State;

  return made;
}

static thread_local guint current_ordinal;
static thread_local cudaError_t last_error;

Device *
get_device (guint ordinal)
{
  return &state ().devices[ordinal];
}

Device *
current ()
{
  return get_device (current_ordinal);
}

guint
count_devices ()
{
  return state ().n_devices;
}

static cudaError_t
begin_anywhere ()
{
  if (state ().driver < PT_EMULATED_VERSION)
    return cudaErrorInsufficientDriver;
  return count_devices () == 0 ? cudaErrorNoDevice : cudaSuccess;
}

cudaError_t
begin ()
{
  cudaError_t status = begin_anywhere ();

  return status != cudaSuccess ? status : current ()->broken.load ();
}

cudaError_t
begin_unsafe ()
{
  if (invalidate_captures ())
    return cudaErrorStreamCaptureUnsupported;
  return begin ();
}

cudaError_t
end (cudaError_t status)
{
  if (status != cudaSuccess)
    last_error = status;
  return status;
}

cudaError_t
count (PtEmulatedCall call)
{
  std::atomic < guint > &left = state ().fail_after[call];

  state ().counts[call]++;
  if (left == 0 || --left > 0)
    return cudaSuccess;
  return state ().fail_status[call];
}

bool
spoils_context (cudaError_t status)
{
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorContained:
    case cudaErrorExternalDevice:
      return true;
    default:
      return false;
  }
}

static void *
allocate (std::map < void *, size_t > &blocks, size_t bytes)
{
  size_t room = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  void *data = aligned_alloc (ALIGNMENT, room);

  if (data != nullptr) {
    memset (data, 0xff, room);  /* NaN: what was there before */
    blocks[data] = bytes;
  }
  return data;
}

static bool
holds (const std::map < void *, size_t > &blocks, const void *data)
{
  auto after = blocks.upper_bound (const_cast < void *>(data));

  if (after == blocks.begin ())
    return false;
  --after;
  return data < static_cast < char *>(after->first) + after->second;
}

bool
is_known (const void *data)
{
  for (guint i = 0; i < count_devices (); i++) {
    Device *device = get_device (i);
    std::lock_guard < std::mutex > guard (device->lock);

    if (holds (device->blocks, data) || holds (device->host_blocks, data))
      return true;
  }
  return false;
}

bool
is_on_gpu (const void *data)
{
  for (guint i = 0; i < count_devices (); i++) {
    Device *device = get_device (i);
    std::lock_guard < std::mutex > guard (device->lock);

    if (holds (device->blocks, data))
      return true;
  }
  return false;
}

void
count_bytes (const void *dst, const void *src, size_t bytes)
{
  bool to = is_on_gpu (dst), from = is_on_gpu (src);

  if (to != from)
    state ().bytes[from] += bytes;
}

/* Whose @data is; NULL: no one's. */
static Device *
find_owner (std::map < void *, size_t > Device::*blocks, void *data)
{
  for (guint i = 0; i < count_devices (); i++) {
    Device *device = get_device (i);
    std::lock_guard < std::mutex > guard (device->lock);

    if ((device->*blocks).count (data) != 0)
      return device;
  }
  return nullptr;
}

static cudaError_t
release (std::map < void *, size_t > Device::*blocks, void *data)
{
  Device *owner = find_owner (blocks, data);

  if (owner == nullptr)
    return cudaErrorInvalidValue;
  drain (owner);
  std::lock_guard < std::mutex > guard (owner->lock);
  (owner->*blocks).erase (data);
  free (data);
  return cudaSuccess;
}

static void
release_all (std::map < void *, size_t > &blocks)
{
  for (auto &block : blocks)
    free (block.first);
  blocks.clear ();
}

}                               // namespace pt_emulation

using namespace pt_emulation;

void
pt_emulation_fail (PtEmulatedCall call, guint nth, cudaError_t status)
{
  state ().fail_status[call] = status;
  state ().fail_after[call] = nth;
}

guint
pt_emulation_count (PtEmulatedCall call)
{
  return state ().counts[call];
}

guint64
pt_emulation_get_bytes (gboolean down)
{
  return state ().bytes[down];
}

void
pt_emulation_set_driver (int version)
{
  state ().driver = version;
}

void
pt_emulation_set_gpus (guint n)
{
  state ().n_devices = MIN (n, MAX_GPUS);
}

void
pt_emulation_hold (guint device, gboolean hold)
{
  get_device (device)->gate.close (hold);
}

gsize
pt_emulation_get_used (guint ordinal)
{
  Device *device = get_device (ordinal);
  std::lock_guard < std::mutex > guard (device->lock);
  gsize sum = 0;

  for (auto &block : device->blocks)
    sum += block.second;
  return sum;
}

guint
pt_emulation_get_streams (guint ordinal)
{
  Device *device = get_device (ordinal);
  std::lock_guard < std::mutex > guard (device->lock);

  return device->streams.size ();
}

#define NAME(name, value, text) \
    case name: \
      return #name;
#define TEXT(name, value, text) \
    case name: \
      return text;

const char *
cudaGetErrorName (cudaError_t error)
{
  switch (error) {
      PT_EMULATED_ERRORS (NAME)
    default:
      return "unrecognized error code";
  }
}

const char *
cudaGetErrorString (cudaError_t error)
{
  switch (error) {
      PT_EMULATED_ERRORS (TEXT)
    default:
      return "unrecognized error code";
  }
}

cudaError_t
cudaPeekAtLastError (void)
{
  cudaError_t broken = current ()->broken;

  return broken != cudaSuccess ? broken : last_error;
}

cudaError_t
cudaGetLastError (void)
{
  cudaError_t found = cudaPeekAtLastError ();

  last_error = cudaSuccess;
  return found;
}

cudaError_t
cudaDriverGetVersion (int *version)
{
  *version = state ().driver;
  return cudaSuccess;
}

cudaError_t
cudaRuntimeGetVersion (int *version)
{
  *version = PT_EMULATED_VERSION;
  return cudaSuccess;
}

cudaError_t
cudaGetDeviceCount (int *n)
{
  cudaError_t status = begin_anywhere ();

  *n = status == cudaSuccess ? count_devices () : 0;
  return end (status);
}

cudaError_t
cudaGetDeviceProperties (struct cudaDeviceProp *properties, int device)
{
  cudaError_t status = begin_anywhere ();

  if (status == cudaSuccess && guint (device) >= count_devices ())
    status = cudaErrorInvalidDevice;
  if (status != cudaSuccess)
    return end (status);
  *properties = { };
  g_snprintf (properties->name, sizeof properties->name, "emulated GPU %d",
      device);
  properties->totalGlobalMem = MEMORY;
  properties->major = 9;
  properties->multiProcessorCount = 132;
  properties->pciBusID = device + 1;
  return cudaSuccess;
}

cudaError_t
cudaSetDevice (int device)
{
  cudaError_t status = begin_anywhere ();

  if (status == cudaSuccess && guint (device) >= count_devices ())
    status = cudaErrorInvalidDevice;
  if (status != cudaSuccess)
    return end (status);
  current_ordinal = device;
  return end (begin ());
}

cudaError_t
cudaGetDevice (int *device)
{
  *device = current_ordinal;
  return end (begin ());
}

cudaError_t
cudaDeviceSynchronize (void)
{
  cudaError_t status = begin_unsafe ();

  if (status != cudaSuccess)
    return end (status);
  drain (current ());
  return end (begin ());
}

/* All that there was on it is gone, as is what was wrong with it. */
cudaError_t
cudaDeviceReset (void)
{
  Device *device = current ();
  cudaError_t status = begin_anywhere ();

  if (status != cudaSuccess)
    return end (status);
  end_streams (device);
  std::lock_guard < std::mutex > guard (device->lock);
  release_all (device->blocks);
  release_all (device->host_blocks);
  device->peers.clear ();
  device->broken = cudaSuccess;
  last_error = cudaSuccess;
  return cudaSuccess;
}

cudaError_t
cudaDeviceCanAccessPeer (int *can, int device, int peer)
{
  guint n = count_devices ();

  *can = device != peer;
  return end (guint (device) < n && guint (peer) < n ? begin ()
      : cudaErrorInvalidDevice);
}

cudaError_t
cudaDeviceEnablePeerAccess (int peer, unsigned int flags)
{
  cudaError_t status = begin_unsafe ();

  if (status != cudaSuccess)
    return end (status);
  if (guint (peer) >= count_devices () || guint (peer) == current_ordinal)
    return end (cudaErrorInvalidDevice);
  std::lock_guard < std::mutex > guard (current ()->lock);
  return end (current ()->peers.insert (peer).second ? cudaSuccess
      : cudaErrorPeerAccessAlreadyEnabled);
}

cudaError_t
cudaDeviceDisablePeerAccess (int peer)
{
  cudaError_t status = begin_unsafe ();

  if (status != cudaSuccess)
    return end (status);
  std::lock_guard < std::mutex > guard (current ()->lock);
  return end (current ()->peers.erase (peer) != 0 ? cudaSuccess
      : cudaErrorPeerAccessNotEnabled);
}

cudaError_t
cudaMalloc (void **data, size_t bytes)
{
  Device *device = current ();
  cudaError_t status = begin_unsafe ();

  if (status == cudaSuccess)
    status = count (PT_EMULATED_MALLOC);
  if (status == cudaSuccess
      && pt_emulation_get_used (current_ordinal) + bytes > MEMORY)
    status = cudaErrorMemoryAllocation;
  if (status != cudaSuccess)
    return end (status);
  std::lock_guard < std::mutex > guard (device->lock);
  *data = allocate (device->blocks, bytes);
  return end (*data != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t
cudaFree (void *data)
{
  cudaError_t status = begin_unsafe ();

  if (status == cudaSuccess && data != nullptr)
    status = release (&Device::blocks, data);
  return end (status);
}

cudaError_t
cudaHostAlloc (void **data, size_t bytes, unsigned int flags)
{
  Device *device = current ();
  cudaError_t status = begin_unsafe ();

  if (status == cudaSuccess)
    status = count (PT_EMULATED_HOST_ALLOC);
  if (status != cudaSuccess)
    return end (status);
  std::lock_guard < std::mutex > guard (device->lock);
  *data = allocate (device->host_blocks, bytes);
  return end (*data != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t
cudaFreeHost (void *data)
{
  cudaError_t status = begin_unsafe ();

  if (status == cudaSuccess && data != nullptr)
    status = release (&Device::host_blocks, data);
  return end (status);
}

cudaError_t
cudaMemGetInfo (size_t *available, size_t *total)
{
  *total = MEMORY;
  *available = MEMORY - pt_emulation_get_used (current_ordinal);
  return end (begin ());
}
