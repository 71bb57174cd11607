/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "device/backend.h"

#define SIM_DEFAULT_US 1000
#define SIM_MAX_US 10000000

/* Takes time and computes nothing, so that the scaling of a schedule can be
 * seen on a machine with few cores. */

static gboolean
sim_open (PtDevice *device, const gchar *spec, GError **error)
{
  guint64 us = SIM_DEFAULT_US;

  if (spec != NULL && !g_ascii_string_to_unsigned (spec, 10, 0, SIM_MAX_US,
          &us, NULL)) {
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
        "device sim:%s: expected sim:US with 0 to %d microseconds", spec,
        SIM_MAX_US);
    return FALSE;
  }
  device->priv = GSIZE_TO_POINTER (us);
  device->n_threads = 1;
  return TRUE;
}

static void
sim_close (PtDevice *device)
{
}

static gpointer
sim_alloc (PtDevice *device, gsize bytes)
{
  gsize room = (bytes + PT_ALIGNMENT - 1) / PT_ALIGNMENT * PT_ALIGNMENT;
  gpointer data = aligned_alloc (PT_ALIGNMENT, MAX (room, PT_ALIGNMENT));

  if (data != NULL)
    memset (data, 0, room);
  return data;
}

static void
sim_free (PtDevice *device, gpointer data)
{
  free (data);
}

static gboolean
sim_copy (PtDevice *device, gpointer dst, gconstpointer src, gsize bytes,
    GError **error)
{
  memcpy (dst, src, bytes);
  return TRUE;
}

/* The default slack of 50 us would be added to every sleep. */
static void
sim_enter (PtDevice *device)
{
  prctl (PR_SET_TIMERSLACK, 1UL);
}

static gboolean
sim_wait (PtDevice *device, GError **error)
{
  return TRUE;
}

/* Weights are row-major, OIHW. */
static gboolean
sim_plan (PtOp *op, GError **error)
{
  const PtConvDesc *conv = &op->desc.conv;
  const PtShape *x = &op->desc.x, *y = &op->desc.y;
  gint64 n = pt_shape_get_dim (x, x->n_dims - 1) *
      pt_shape_get_dim (y, y->n_dims - 1);

  if (op->desc.type <= PT_OP_CONV_WEIGHTS)
    n = pt_shape_c (x) * pt_shape_c (y) / conv->groups * conv->kernel[0] *
        conv->kernel[1];
  if (op->desc.type <= PT_OP_LINEAR_WEIGHTS)
    op->weights_size = n * sizeof (gfloat);
  return TRUE;
}

static gboolean
sim_nothing (PtOp *op, const PtOpArgs *args, GError **error)
{
  if (args->loss != NULL)
    memset (args->loss->data, 0, args->loss->size);
  if (args->finite != NULL)
    *args->finite = TRUE;
  if (args->sum != NULL)
    *args->sum = 0;
  return TRUE;
}

static gboolean
sim_sleep (PtOp *op, const PtOpArgs *args, GError **error)
{
  struct timespec at;
  gint64 ns;

  if (op->workspace->device->priv == NULL)
    return TRUE;
  clock_gettime (CLOCK_MONOTONIC, &at);
  ns = at.tv_nsec + 1000 * (gint64) GPOINTER_TO_SIZE
      (op->workspace->device->priv);
  at.tv_sec += ns / 1000000000;
  at.tv_nsec = ns % 1000000000;
  while (clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR);
  return TRUE;
}

static const PtOpImpl sim_heavy = {.plan = sim_plan,.run = sim_sleep };
static const PtOpImpl sim_light = {.plan = sim_plan,.run = sim_nothing };

const PtBackend pt_backend_sim = {
  .name = "sim",
  .summary = "takes time and computes nothing; sim:MICROSECONDS",
  .host_memory = TRUE,
  .open = sim_open,
  .close = sim_close,
  .alloc = sim_alloc,
  .free = sim_free,
  .copy = sim_copy,
  .upload = sim_copy,
  .download = sim_copy,
  .enter = sim_enter,
  .wait = sim_wait,
  .ops = {
    [PT_OP_ACTIVATION ... PT_OP_CHECK_FINITE] = &sim_light,
    [PT_OP_CONV ... PT_OP_LINEAR_WEIGHTS] = &sim_heavy,
  },
};
