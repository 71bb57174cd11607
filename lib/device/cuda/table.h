/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/cuda.h"

/* What is known while planning, floats or else, in the GPU's memory. It
 * may outlive the workspace, whose device is not asked when they go. */
typedef struct
{
  PtCuda *cuda;
  guint generation;
  gfloat *values;
} PtCudaTable;

static inline gboolean
pt_cuda_table_init_bytes (PtCudaTable *self, PtDevice *device,
    gconstpointer data, gsize bytes, GError **error)
{
  self->cuda = (PtCuda *) device->priv;
  self->generation = self->cuda->generation;
  self->values = (gfloat *) pt_backend_cuda.alloc (device, bytes);
  if (self->values == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY,
        "device %s has no %" G_GSIZE_FORMAT " bytes", device->name, bytes);
    return FALSE;
  }
  return pt_backend_cuda.upload (device, self->values, data, bytes, error);
}

static inline gboolean
pt_cuda_table_init (PtCudaTable *self, PtDevice *device,
    const gdouble *values, guint n, GError **error)
{
  g_autofree gfloat *floats = g_new (gfloat, n);

  for (guint i = 0; i < n; i++)
    floats[i] = values[i];
  return pt_cuda_table_init_bytes (self, device, floats, n * sizeof *floats,
      error);
}

static inline void
pt_cuda_table_clear (PtCudaTable *self)
{
  if (self->values != NULL && self->generation == self->cuda->generation
      && cudaSetDevice (self->cuda->ordinal) == cudaSuccess)
    cudaFree (self->values);
  self->values = NULL;
}
