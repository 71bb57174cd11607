/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <cuda_runtime.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "emulation.h"
#include "queue.h"

namespace pt_emulation
{

using Recording = std::vector < std::function < void () > >;

struct Device;

} // namespace pt_emulation

struct CUstream_st
{
  pt_emulation::Device *device;
  guint number;
  pt_emulation::Queue queue;
  pt_emulation::Point ended;    /* its thread does no more */
  /* of the thread that captures */
  std::shared_ptr < pt_emulation::Recording > capture;
  std::thread::id capturer;
  CUstream_st *next_capture;    /* of that thread's */
  bool invalid = false;
};

struct CUevent_st
{
  pt_emulation::Device *device;
  bool timed;
  std::mutex lock;
  std::shared_ptr < pt_emulation::Point > point;        /* NULL: never recorded */
  cudaStream_t captured = nullptr;      /* it was recorded while this captured */
};

struct CUgraph_st
{
  std::shared_ptr < pt_emulation::Recording > recording;
};

struct CUgraphExec_st
{
  std::shared_ptr < pt_emulation::Recording > recording;
};

namespace pt_emulation
{

using Stream = std::shared_ptr < CUstream_st >;

struct Device
{
  std::atomic < cudaError_t > broken = cudaSuccess;     /* for good */
  Gate gate;
  std::mutex lock;              /* of the rest */
  std::map < cudaStream_t, Stream > streams;
  std::set < cudaEvent_t > events;
  std::set < guint > peers;
  std::map < void *, size_t > blocks;   /* of its own memory */
  std::map < void *, size_t > host_blocks;
  guint n_streams = 0;          /* ever made */
};

/* Whether @data is in a GPU's memory, or the host's that GPUs know. */
bool is_known (const void *data);
/* Whether it is in a GPU's. */
bool is_on_gpu (const void *data);
/* Counts what is copied between a GPU and the host. */
void count_bytes (const void *dst, const void *src, size_t bytes);
/* The calling thread's current GPU. */
Device *current ();
guint count_devices ();
Device *get_device (guint ordinal);

/* What every call begins with: what is wrong in general, such as no driver or
 * a GPU that failed. */
cudaError_t begin ();
/* The same for what must not be done while the thread captures. */
cudaError_t begin_unsafe ();
/* What every call ends with: cudaGetLastError() will say it. */
cudaError_t end (cudaError_t status);
/* Counts @call and says whether it is to fail. */
cudaError_t count (PtEmulatedCall call);
bool spoils_context (cudaError_t status);

/* Hands over, or adds to the recording if @stream captures. */
void submit (cudaStream_t stream, std::function < void () > work);
/* The same for a @call that may have to fail, now or later. */
cudaError_t submit_counted (PtEmulatedCall call, cudaStream_t stream,
    std::function < void () > work);
/* Until all that was handed to the device is done. */
void drain (Device *device);
/* Ends the threads of all streams, and forgets the streams and events. */
void end_streams (Device *device);
/* Ruins what the calling thread captures; whether it did. */
bool invalidate_captures ();

}                               // namespace pt_emulation
