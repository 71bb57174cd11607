/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* When the GPU was at work for a program, whatever the program is: the CUDA
 * driver loads this library if $CUDA_INJECTION64_PATH names it. At the end of
 * the program a line for each kernel and copy, "K" or "C", first and last ns,
 * goes to the file $PARTIME_TRACE. */

#include <cupti.h>
#include <gmodule.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACE_BUFFER (4 << 20)

static FILE *trace_file;
static GMutex trace_mutex;

static void CUPTIAPI
trace_lend (guint8 **buffer, size_t *size, size_t *max_records)
{
  *buffer = g_aligned_alloc (1, TRACE_BUFFER, 8);
  *size = TRACE_BUFFER;
  *max_records = 0;
}

static void
trace_write (const CUpti_Activity *record)
{
  if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
    const CUpti_ActivityKernel10 *kernel = (gconstpointer) record;

    fprintf (trace_file, "K %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n",
        kernel->start, kernel->end);
  } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
    const CUpti_ActivityMemcpy6 *copy = (gconstpointer) record;

    fprintf (trace_file, "C %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n",
        copy->start, copy->end);
  }
}

static void CUPTIAPI
trace_take (CUcontext context, guint32 stream, guint8 *buffer, size_t size,
    size_t valid)
{
  CUpti_Activity *record = NULL;

  g_mutex_lock (&trace_mutex);
  while (cuptiActivityGetNextRecord (buffer, valid, &record) == CUPTI_SUCCESS)
    trace_write (record);
  fflush (trace_file);
  g_mutex_unlock (&trace_mutex);
  g_aligned_free (buffer);
}

static void
trace_end (void)
{
  cuptiActivityFlushAll (CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
}

G_MODULE_EXPORT int InitializeInjection (void);

/* What the driver calls; 1: all is well. */
int
InitializeInjection (void)
{
  const gchar *path = g_getenv ("PARTIME_TRACE");

  trace_file = path != NULL ? fopen (path, "w") : NULL;
  if (trace_file == NULL)
    return 1;
  if (cuptiActivityRegisterCallbacks (trace_lend, trace_take) != CUPTI_SUCCESS
      || cuptiActivityEnable (CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL)
      != CUPTI_SUCCESS)
    fprintf (stderr, "gpu-trace: CUPTI does not trace here\n");
  cuptiActivityEnable (CUPTI_ACTIVITY_KIND_MEMCPY);
  atexit (trace_end);
  return 1;
}
