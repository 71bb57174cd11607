/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <cuda_runtime.h>
#include <glib.h>

G_BEGIN_DECLS

#define PT_EMULATED_VERSION 13000

/* GPUs for tests: what lib/device/cuda hands to a stream is done later, by a
 * thread of the stream's own, and ordered by nothing but what orders it on a
 * GPU. The environment may say
 *   PARTIME_EMULATED_GPUS      how many there are, 2 if not set
 *   PARTIME_EMULATED_DELAY_US  the threads sleep up to so long before each
 *                              thing they do, at random
 */

typedef enum
{
  PT_EMULATED_LAUNCH,           /* kernels, and graphs as a whole */
  PT_EMULATED_COPY,             /* and memset */
  PT_EMULATED_MALLOC,
  PT_EMULATED_HOST_ALLOC,
  PT_EMULATED_CREATE,           /* streams, events, executable graphs */
  PT_EMULATED_SYNCHRONIZE,      /* of the host with a stream or an event */
  PT_EMULATED_N_CALLS,
} PtEmulatedCall;

/* The @nth next call of the process, 1 for the next, gives @status. One that
 * spoils the context shows later, once a stream came to it, and from then on
 * in all calls for that GPU until cudaDeviceReset(). */
void pt_emulation_fail (PtEmulatedCall call, guint nth, cudaError_t status);
/* How many of these calls there have been. */
guint pt_emulation_count (PtEmulatedCall call);
/* Bytes that went up to GPUs; and down from them, to the host. */
guint64 pt_emulation_get_bytes (gboolean down);
/* As on a machine whose driver is for CUDA @version / 1000; 0: it has none. */
void pt_emulation_set_driver (int version);
/* As on a machine with @n of them. */
void pt_emulation_set_gpus (guint n);
/* Until it is let go, GPU @device does nothing of what it is handed. */
void pt_emulation_hold (guint device, gboolean hold);
/* Bytes of GPU @device in use. */
gsize pt_emulation_get_used (guint device);
/* How many streams it has. */
guint pt_emulation_get_streams (guint device);

G_END_DECLS
