/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stddef.h>

/* The part of CUDA's runtime API that lib/device/cuda uses, by the same names
 * and with the same values, done by this machine's CPUs; see emulation.h. */

#ifdef __cplusplus
#define PT_EMULATED_0 = 0
extern "C" {
#else
#define PT_EMULATED_0
#endif

/* name, value, CUDA's text */
#define PT_EMULATED_ERRORS(X) \
  X (cudaSuccess, 0, "no error") \
  X (cudaErrorInvalidValue, 1, "invalid argument") \
  X (cudaErrorMemoryAllocation, 2, "out of memory") \
  X (cudaErrorInitializationError, 3, "initialization error") \
  X (cudaErrorInvalidConfiguration, 9, "invalid configuration argument") \
  X (cudaErrorInsufficientDriver, 35, \
      "CUDA driver version is insufficient for CUDA runtime version") \
  X (cudaErrorDevicesUnavailable, 46, \
      "CUDA-capable device(s) is/are busy or unavailable") \
  X (cudaErrorNoDevice, 100, "no CUDA-capable device is detected") \
  X (cudaErrorInvalidDevice, 101, "invalid device ordinal") \
  X (cudaErrorNoKernelImageForDevice, 209, \
      "no kernel image is available for execution on the device") \
  X (cudaErrorECCUncorrectable, 214, "uncorrectable ECC error encountered") \
  X (cudaErrorPeerAccessUnsupported, 217, \
      "peer access is not supported between these two devices") \
  X (cudaErrorNvlinkUncorrectable, 220, \
      "uncorrectable NVLink error detected during the execution") \
  X (cudaErrorContained, 226, \
      "Invalid access of peer GPU memory over nvlink or a hardware error") \
  X (cudaErrorInvalidResourceHandle, 400, "invalid resource handle") \
  X (cudaErrorIllegalState, 401, \
      "the operation cannot be performed in the present state") \
  X (cudaErrorNotReady, 600, "device not ready") \
  X (cudaErrorIllegalAddress, 700, \
      "an illegal memory access was encountered") \
  X (cudaErrorLaunchOutOfResources, 701, \
      "too many resources requested for launch") \
  X (cudaErrorLaunchTimeout, 702, \
      "the launch timed out and was terminated") \
  X (cudaErrorPeerAccessAlreadyEnabled, 704, \
      "peer access is already enabled") \
  X (cudaErrorPeerAccessNotEnabled, 705, "peer access has not been enabled") \
  X (cudaErrorContextIsDestroyed, 709, "context is destroyed") \
  X (cudaErrorAssert, 710, "device-side assert triggered") \
  X (cudaErrorHardwareStackError, 714, "hardware stack error") \
  X (cudaErrorIllegalInstruction, 715, \
      "an illegal instruction was encountered") \
  X (cudaErrorMisalignedAddress, 716, "misaligned address") \
  X (cudaErrorInvalidAddressSpace, 717, \
      "operation not supported on global/shared address space") \
  X (cudaErrorInvalidPc, 718, "invalid program counter") \
  X (cudaErrorLaunchFailure, 719, "unspecified launch failure") \
  X (cudaErrorTensorMemoryLeak, 721, \
      "tensor memory not completely deallocated") \
  X (cudaErrorNotSupported, 801, "operation not supported") \
  X (cudaErrorMpsClientTerminated, 810, \
      "MPS client has been terminated by the server") \
  X (cudaErrorStreamCaptureUnsupported, 900, \
      "operation not permitted when stream is capturing") \
  X (cudaErrorStreamCaptureInvalidated, 901, \
      "operation failed due to a previous error during capture") \
  X (cudaErrorStreamCaptureIsolation, 905, \
      "dependency created on uncaptured work in another stream") \
  X (cudaErrorCapturedEvent, 907, \
      "operation not permitted on an event last recorded in a capturing " \
      "stream") \
  X (cudaErrorStreamCaptureWrongThread, 908, \
      "attempt to terminate a thread-local capture sequence from another " \
      "thread") \
  X (cudaErrorExternalDevice, 911, "async error in external entity") \
  X (cudaErrorUnknown, 999, "unknown error")

#define PT_EMULATED_ENUM(name, value, text) name = value,
typedef enum cudaError
{
  PT_EMULATED_ERRORS (PT_EMULATED_ENUM)
} cudaError_t;
#undef PT_EMULATED_ENUM

typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;

struct cudaDeviceProp
{
  char name[256];
  size_t totalGlobalMem;
  int major, minor;
  int multiProcessorCount;
  int pciBusID, pciDeviceID, pciDomainID;
};

enum cudaMemcpyKind
{
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};

enum cudaStreamCaptureMode
{
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed,
};

enum cudaStreamCaptureStatus
{
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated,
};

#define cudaHostAllocDefault 0
#define cudaHostAllocPortable 1
#define cudaStreamNonBlocking 1
#define cudaEventDefault 0
#define cudaEventDisableTiming 2

const char *cudaGetErrorName (cudaError_t error);
const char *cudaGetErrorString (cudaError_t error);
cudaError_t cudaGetLastError (void);
cudaError_t cudaPeekAtLastError (void);

cudaError_t cudaDriverGetVersion (int *version);
cudaError_t cudaRuntimeGetVersion (int *version);
cudaError_t cudaGetDeviceCount (int *count);
cudaError_t cudaGetDeviceProperties (struct cudaDeviceProp *properties,
    int device);
cudaError_t cudaSetDevice (int device);
cudaError_t cudaGetDevice (int *device);
cudaError_t cudaDeviceReset (void);
cudaError_t cudaDeviceSynchronize (void);
cudaError_t cudaDeviceCanAccessPeer (int *can, int device, int peer);
cudaError_t cudaDeviceEnablePeerAccess (int peer, unsigned int flags);
cudaError_t cudaDeviceDisablePeerAccess (int peer);

cudaError_t cudaMalloc (void **data, size_t bytes);
cudaError_t cudaFree (void *data);
cudaError_t cudaHostAlloc (void **data, size_t bytes, unsigned int flags);
cudaError_t cudaFreeHost (void *data);
cudaError_t cudaMemGetInfo (size_t *available, size_t *total);
cudaError_t cudaMemcpyAsync (void *dst, const void *src, size_t bytes,
    enum cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync (void *data, int value, size_t bytes,
    cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags (cudaStream_t *stream,
    unsigned int flags);
cudaError_t cudaStreamDestroy (cudaStream_t stream);
cudaError_t cudaStreamSynchronize (cudaStream_t stream);
cudaError_t cudaStreamQuery (cudaStream_t stream);
cudaError_t cudaStreamWaitEvent (cudaStream_t stream, cudaEvent_t event,
    unsigned int flags PT_EMULATED_0);
cudaError_t cudaStreamBeginCapture (cudaStream_t stream,
    enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture (cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaStreamIsCapturing (cudaStream_t stream,
    enum cudaStreamCaptureStatus *status);

cudaError_t cudaEventCreateWithFlags (cudaEvent_t *event, unsigned int flags);
cudaError_t cudaEventDestroy (cudaEvent_t event);
cudaError_t cudaEventRecord (cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize (cudaEvent_t event);
cudaError_t cudaEventQuery (cudaEvent_t event);
cudaError_t cudaEventElapsedTime (float *ms, cudaEvent_t from, cudaEvent_t to);

cudaError_t cudaGraphInstantiate (cudaGraphExec_t *executable,
    cudaGraph_t graph, unsigned long long flags PT_EMULATED_0);
cudaError_t cudaGraphLaunch (cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy (cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy (cudaGraphExec_t executable);

#ifdef __cplusplus
}
#endif
