/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Streams, events and graphs. */

#include <stdlib.h>
#include <string.h>

#include "state.h"

namespace pt_emulation
{

/* What the calling thread captures: plain pointers, as lanes go with their
 * thread after all that has a destructor. */
static thread_local cudaStream_t captures;

static void
forget_capture (cudaStream_t stream)
{
  for (cudaStream_t * at = &captures; *at != nullptr;
      at = &(*at)->next_capture)
    if (*at == stream) {
      *at = stream->next_capture;
      return;
    }
}

/* Sleeps up to PARTIME_EMULATED_DELAY_US. */
class Delay
{
  guint max_us = 0;
  guint32 state;

public:
  explicit Delay (guint seed):state (seed * 2654435761u + 1)
  {
    const char *text = getenv ("PARTIME_EMULATED_DELAY_US");

    if (text != nullptr)
      max_us = strtoul (text, nullptr, 10);
  }

  void sleep ()
  {
    if (max_us == 0)
      return;
    state = state * 1664525u + 1013904223u;
    usleep ((state >> 8) % (max_us + 1));
  }
};

/* A stream's thread. Denormals count, as on a GPU: whose thread made this
 * one may have switched them off. */
static void
work (Stream stream)
{
  Delay delay (stream->number);
  bool last;

  __builtin_ia32_ldmxcsr (0x1f80);
  do {
    Item item = stream->queue.pop ();

    last = item.last;
    delay.sleep ();
    stream->device->gate.pass ();
    if (item.work && (item.always || stream->device->broken == cudaSuccess))
      item.work ();
  } while (!last);
  stream->ended.reach ();
}

bool
invalidate_captures ()
{
  for (cudaStream_t stream = captures; stream != nullptr;
      stream = stream->next_capture)
    stream->invalid = true;
  return captures != nullptr;
}

void
submit (cudaStream_t stream, std::function < void () > work)
{
  if (stream->capture != nullptr)
    stream->capture->push_back (std::move (work));
  else
    stream->queue.push ({ std::move (work) });
}

cudaError_t
submit_counted (PtEmulatedCall call, cudaStream_t stream,
    std::function < void () > work)
{
  cudaError_t status = begin ();

  if (status == cudaSuccess && stream == nullptr)
    status = cudaErrorInvalidResourceHandle;    /* none of ours */
  if (status == cudaSuccess && stream->device != current ()
      && call == PT_EMULATED_LAUNCH)
    status = cudaErrorInvalidResourceHandle;
  if (status != cudaSuccess)
    return end (status);
  status = count (call);
  if (status == cudaSuccess)
    submit (stream, std::move (work));
  else if (spoils_context (status)) {
    Device *device = stream->device;

    submit (stream,[device, status] {
          device->broken = status;
        });
    status = cudaSuccess;
  }
  return end (status);
}

static std::vector < Stream >
list_streams (Device *device)
{
  std::lock_guard < std::mutex > guard (device->lock);
  std::vector < Stream > list;

  for (auto &entry : device->streams)
    list.push_back (entry.second);
  return list;
}

/* Reached when @stream is through with what it has now. */
static std::shared_ptr < Point >
mark (cudaStream_t stream)
{
  auto point = std::make_shared < Point > ();

  stream->queue.push ({[point] {
          point->reach ();
        }, true});
  return point;
}

void
drain (Device *device)
{
  std::vector < std::shared_ptr < Point > > points;

  for (Stream &stream : list_streams (device))
    points.push_back (mark (stream.get ()));
  for (auto &point : points)
    point->wait ();
}

void
end_streams (Device *device)
{
  for (Stream &stream : list_streams (device)) {
    stream->queue.push ({nullptr, true, true});
    stream->ended.wait ();
  }
  std::lock_guard < std::mutex > guard (device->lock);
  device->streams.clear ();
  for (cudaEvent_t event : device->events)
    delete event;
  device->events.clear ();
}

/* What may not be done to a stream that captures ruins the capture. */
static cudaError_t
begin_synchronize (cudaStream_t stream)
{
  cudaError_t status = begin ();

  if (status != cudaSuccess)
    return status;
  if (stream == nullptr)
    return cudaErrorInvalidResourceHandle;
  if (stream->capture == nullptr)
    return count (PT_EMULATED_SYNCHRONIZE);
  stream->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

}                               // namespace pt_emulation

using namespace pt_emulation;

void
pt_emulated_launch (cudaStream_t stream, std::function < void () > work)
{
  submit_counted (PT_EMULATED_LAUNCH, stream, std::move (work));
}

cudaError_t
cudaMemcpyAsync (void *dst, const void *src, size_t bytes,
    enum cudaMemcpyKind kind, cudaStream_t stream)
{
  if (stream != nullptr && stream->capture != nullptr
      && !(is_known (dst) && is_known (src))) {
    stream->invalid = true;     /* pageable memory may move until then */
    return end (cudaErrorStreamCaptureUnsupported);
  }
  return submit_counted (PT_EMULATED_COPY, stream,[=] {
        count_bytes (dst, src, bytes);
        memcpy (dst, src, bytes);
      });
}

cudaError_t
cudaMemsetAsync (void *data, int value, size_t bytes, cudaStream_t stream)
{
  return submit_counted (PT_EMULATED_COPY, stream,[=] {
        memset (data, value, bytes);
      });
}

cudaError_t
cudaStreamCreateWithFlags (cudaStream_t *stream, unsigned int flags)
{
  Device *device = current ();
  cudaError_t status = begin ();

  if (status == cudaSuccess)
    status = count (PT_EMULATED_CREATE);
  if (status != cudaSuccess)
    return end (status);
  Stream made = std::make_shared < CUstream_st > ();
  std::lock_guard < std::mutex > guard (device->lock);
  made->device = device;
  made->number = device->n_streams++;
  device->streams[made.get ()] = made;
  std::thread (work, made).detach ();
  *stream = made.get ();
  return cudaSuccess;
}

/* Does what it was handed and goes. */
cudaError_t
cudaStreamDestroy (cudaStream_t stream)
{
  cudaError_t status = begin ();

  if (status != cudaSuccess)
    return end (status);
  if (stream == nullptr)
    return end (cudaErrorInvalidResourceHandle);
  Device *device = stream->device;
  std::unique_lock < std::mutex > guard (device->lock);
  Stream kept = device->streams[stream];
  device->streams.erase (stream);
  guard.unlock ();
  forget_capture (stream);
  stream->queue.push ({nullptr, true, true});
  return cudaSuccess;
}

cudaError_t
cudaStreamSynchronize (cudaStream_t stream)
{
  cudaError_t status = begin_synchronize (stream);

  if (status != cudaSuccess)
    return end (status);
  mark (stream)->wait ();
  return end (begin ());
}

cudaError_t
cudaStreamQuery (cudaStream_t stream)
{
  cudaError_t status = begin_synchronize (stream);

  if (status == cudaSuccess && !mark (stream)->is_reached ())
    return cudaErrorNotReady;   /* no error for cudaGetLastError() */
  return end (status);
}

cudaError_t
cudaStreamWaitEvent (cudaStream_t stream, cudaEvent_t event,
    unsigned int flags)
{
  cudaError_t status = begin ();

  if (status != cudaSuccess)
    return end (status);
  if (stream == nullptr || event == nullptr)
    return end (cudaErrorInvalidResourceHandle);
  std::lock_guard < std::mutex > guard (event->lock);
  auto point = event->point;
  if (event->captured == stream && stream->capture != nullptr)
    return cudaSuccess;         /* its own, in order anyway */
  if (event->captured != nullptr || (stream->capture != nullptr && point)) {
    stream->invalid = stream->capture != nullptr;
    return end (cudaErrorStreamCaptureIsolation);
  }
  if (point)
    stream->queue.push ({[point] {
            point->wait ();
          }, true});
  return cudaSuccess;
}

cudaError_t
cudaStreamBeginCapture (cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
  cudaError_t status = begin ();

  if (status != cudaSuccess)
    return end (status);
  if (stream == nullptr || mode != cudaStreamCaptureModeThreadLocal)
    return end (cudaErrorInvalidValue);
  if (stream->capture != nullptr)
    return end (cudaErrorIllegalState);
  stream->capture = std::make_shared < Recording > ();
  stream->capturer = std::this_thread::get_id ();
  stream->invalid = false;
  stream->next_capture = captures;
  captures = stream;
  return cudaSuccess;
}

cudaError_t
cudaStreamEndCapture (cudaStream_t stream, cudaGraph_t *graph)
{
  cudaError_t status = begin ();

  *graph = nullptr;
  if (status != cudaSuccess)
    return end (status);
  if (stream == nullptr || stream->capture == nullptr)
    return end (cudaErrorIllegalState);
  if (stream->capturer != std::this_thread::get_id ())
    return end (cudaErrorStreamCaptureWrongThread);
  auto recording = std::move (stream->capture);
  forget_capture (stream);
  if (stream->invalid)
    return end (cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st { recording };
  return cudaSuccess;
}

cudaError_t
cudaStreamIsCapturing (cudaStream_t stream,
    enum cudaStreamCaptureStatus *status)
{
  *status = stream->capture == nullptr ? cudaStreamCaptureStatusNone :
      stream->invalid ? cudaStreamCaptureStatusInvalidated :
      cudaStreamCaptureStatusActive;
  return end (begin ());
}

cudaError_t
cudaEventCreateWithFlags (cudaEvent_t *event, unsigned int flags)
{
  Device *device = current ();
  cudaError_t status = begin ();

  if (status == cudaSuccess)
    status = count (PT_EMULATED_CREATE);
  if (status != cudaSuccess)
    return end (status);
  *event = new CUevent_st { device, !(flags & cudaEventDisableTiming) };
  std::lock_guard < std::mutex > guard (device->lock);
  device->events.insert (*event);
  return cudaSuccess;
}

cudaError_t
cudaEventDestroy (cudaEvent_t event)
{
  cudaError_t status = begin ();

  if (status != cudaSuccess)
    return end (status);
  if (event == nullptr)
    return end (cudaErrorInvalidResourceHandle);
  std::unique_lock < std::mutex > guard (event->device->lock);
  event->device->events.erase (event);
  guard.unlock ();
  delete event;
  return cudaSuccess;
}

cudaError_t
cudaEventRecord (cudaEvent_t event, cudaStream_t stream)
{
  cudaError_t status = begin ();

  if (status != cudaSuccess)
    return end (status);
  if (stream == nullptr || event == nullptr
      || event->device != stream->device)
    return end (cudaErrorInvalidResourceHandle);
  std::lock_guard < std::mutex > guard (event->lock);
  event->captured = stream->capture != nullptr ? stream : nullptr;
  if (event->captured == nullptr)
    event->point = mark (stream);
  return cudaSuccess;
}

/* What @event waits for now, in @point; not to be asked while capturing. */
static cudaError_t
begin_event (cudaEvent_t event, std::shared_ptr < Point > &point)
{
  cudaError_t status = begin ();

  if (status != cudaSuccess)
    return status;
  if (event == nullptr)
    return cudaErrorInvalidResourceHandle;
  std::lock_guard < std::mutex > guard (event->lock);
  point = event->point;
  return event->captured != nullptr ? cudaErrorCapturedEvent : cudaSuccess;
}

cudaError_t
cudaEventSynchronize (cudaEvent_t event)
{
  std::shared_ptr < Point > point;
  cudaError_t status = begin_event (event, point);

  if (status == cudaSuccess)
    status = count (PT_EMULATED_SYNCHRONIZE);
  if (status != cudaSuccess)
    return end (status);
  if (point)
    point->wait ();
  return end (begin ());
}

cudaError_t
cudaEventQuery (cudaEvent_t event)
{
  std::shared_ptr < Point > point;
  cudaError_t status = begin_event (event, point);

  if (status == cudaSuccess && point && !point->is_reached ())
    return cudaErrorNotReady;
  return end (status);
}

cudaError_t
cudaEventElapsedTime (float *ms, cudaEvent_t from, cudaEvent_t to)
{
  std::shared_ptr < Point > begin, finish;
  cudaError_t status = begin_event (from, begin);

  if (status == cudaSuccess)
    status = begin_event (to, finish);
  if (status != cudaSuccess)
    return end (status);
  if (!from->timed || !to->timed || !begin || !finish)
    return end (cudaErrorInvalidResourceHandle);
  if (!begin->is_reached () || !finish->is_reached ())
    return end (cudaErrorNotReady);
  *ms = std::chrono::duration < float, std::milli >
      (finish->get_time () - begin->get_time ()).count ();
  return cudaSuccess;
}

cudaError_t
cudaGraphInstantiate (cudaGraphExec_t *executable, cudaGraph_t graph,
    unsigned long long flags)
{
  cudaError_t status = begin_unsafe ();

  if (status == cudaSuccess && graph == nullptr)
    status = cudaErrorInvalidValue;
  if (status == cudaSuccess)
    status = count (PT_EMULATED_CREATE);
  if (status != cudaSuccess)
    return end (status);
  *executable = new CUgraphExec_st { graph->recording };
  return cudaSuccess;
}

cudaError_t
cudaGraphLaunch (cudaGraphExec_t executable, cudaStream_t stream)
{
  auto recording = executable->recording;

  return submit_counted (PT_EMULATED_LAUNCH, stream,[recording] {
        for (auto &work : *recording)
          work ();
      });
}

cudaError_t
cudaGraphDestroy (cudaGraph_t graph)
{
  delete graph;
  return end (begin ());
}

cudaError_t
cudaGraphExecDestroy (cudaGraphExec_t executable)
{
  delete executable;
  return end (begin ());
}
