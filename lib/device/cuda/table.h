/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/cuda.h"

/* Numbers that are known while planning, as floats in the GPU's memory. They
 * may outlive the workspace, whose device is not asked when they go. */
typedef struct
{
  PtCuda *cuda;
  guint generation;
  gfloat *values;
} PtCudaTable;

static inline gboolean
pt_cuda_table_init (PtCudaTable *self, PtDevice *device,
    const gdouble *values, guint n, GError **error)
{
  g_autofree gfloat *floats = g_new (gfloat, n);
  gsize bytes = n * sizeof *floats;

  for (guint i = 0; i < n; i++)
    floats[i] = values[i];
  self->cuda = (PtCuda *) device->priv;
  self->generation = self->cuda->generation;
  self->values = (gfloat *) pt_backend_cuda.alloc (device, bytes);
  if (self->values == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY,
        "device %s has no %" G_GSIZE_FORMAT " bytes", device->name, bytes);
    return FALSE;
  }
  return pt_backend_cuda.upload (device, self->values, floats, bytes, error);
}

static inline void
pt_cuda_table_clear (PtCudaTable *self)
{
  if (self->values != NULL && self->generation == self->cuda->generation
      && cudaSetDevice (self->cuda->ordinal) == cudaSuccess)
    cudaFree (self->values);
  self->values = NULL;
}
