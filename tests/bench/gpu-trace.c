/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* When the GPU was at work for a program, whatever the program is: the CUDA
 * driver loads this library if $CUDA_INJECTION64_PATH names it. At the end of
 * the program a line for each kernel and copy, "K" or "C", first and last ns,
 * goes to the file $PARTIME_TRACE. It needs nothing but CUPTI, so that it fits
 * into any program. */

#include <cupti.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACE_BUFFER (4 << 20)

static FILE *trace_file;
static pthread_mutex_t trace_mutex = PTHREAD_MUTEX_INITIALIZER;

static void CUPTIAPI
trace_lend (uint8_t **buffer, size_t *size, size_t *max_records)
{
  *buffer = aligned_alloc (8, TRACE_BUFFER);
  *size = *buffer != NULL ? TRACE_BUFFER : 0;
  *max_records = 0;
}

static void
trace_write (const CUpti_Activity *record)
{
  if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
    const CUpti_ActivityKernel10 *kernel = (const void *) record;

    fprintf (trace_file, "K %" PRIu64 " %" PRIu64 "\n",
        kernel->start, kernel->end);
  } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
    const CUpti_ActivityMemcpy6 *copy = (const void *) record;

    fprintf (trace_file, "C %" PRIu64 " %" PRIu64 "\n",
        copy->start, copy->end);
  }
}

static void CUPTIAPI
trace_take (CUcontext context, uint32_t stream, uint8_t *buffer, size_t size,
    size_t valid)
{
  CUpti_Activity *record = NULL;

  pthread_mutex_lock (&trace_mutex);
  while (cuptiActivityGetNextRecord (buffer, valid, &record) == CUPTI_SUCCESS)
    trace_write (record);
  fflush (trace_file);
  pthread_mutex_unlock (&trace_mutex);
  free (buffer);
}

static void
trace_end (void)
{
  cuptiActivityFlushAll (CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
}

__attribute__ ((visibility ("default")))
int InitializeInjection (void);

/* What the driver calls; 1: all is well. */
int
InitializeInjection (void)
{
  const char *path = getenv ("PARTIME_TRACE");

  trace_file = path != NULL ? fopen (path, "w") : NULL;
  if (trace_file == NULL)
    return 1;
  if (cuptiActivityRegisterCallbacks (trace_lend, trace_take) != CUPTI_SUCCESS
      || cuptiActivityEnable (CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL)
      != CUPTI_SUCCESS)
    fprintf (stderr, "gpu-trace: CUPTI does not trace here\n");
  cuptiActivityEnable (CUPTI_ACTIVITY_KIND_MEMCPY);
  cuptiActivityFlushPeriod (100);
  atexit (trace_end);
  return 1;
}
