/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/cudnn.h"

#include <string.h>

#include "partime/error.h"

#define MESSAGE_SIZE 512

static void
descriptors_destroy (gpointer descriptor)
{
  cudnnBackendDestroyDescriptor (descriptor);
}

PtDescriptors *
pt_descriptors_new (void)
{
  PtDescriptors *self = g_new0 (PtDescriptors, 1);

  self->all = g_ptr_array_new_with_free_func (descriptors_destroy);
  return self;
}

void
pt_descriptors_free (PtDescriptors *self)
{
  /* what was made last may refer to what was made before */
  while (self->all->len > 0)
    g_ptr_array_remove_index (self->all, self->all->len - 1);
  g_ptr_array_unref (self->all);
  g_free (self->message);
  g_free (self);
}

static void
descriptors_note (PtDescriptors *self, cudnnStatus_t status)
{
  if (status == CUDNN_STATUS_SUCCESS)
    return;
  self->status = status;
  self->message = g_malloc0 (MESSAGE_SIZE);
  cudnnGetLastErrorString (self->message, MESSAGE_SIZE);
}

cudnnBackendDescriptor_t
pt_descriptors_add (PtDescriptors *self, cudnnBackendDescriptorType_t type)
{
  cudnnBackendDescriptor_t descriptor = NULL;

  if (self->status != CUDNN_STATUS_SUCCESS)
    return NULL;
  descriptors_note (self, cudnnBackendCreateDescriptor (type, &descriptor));
  if (descriptor != NULL)
    g_ptr_array_add (self->all, descriptor);
  return descriptor;
}

void
pt_descriptors_set (PtDescriptors *self, cudnnBackendDescriptor_t to,
    cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
    gint64 n, gconstpointer values)
{
  if (self->status == CUDNN_STATUS_SUCCESS)
    descriptors_note (self, cudnnBackendSetAttribute (to, name, type, n,
            values));
}

void
pt_descriptors_finalize (PtDescriptors *self, cudnnBackendDescriptor_t which)
{
  if (self->status == CUDNN_STATUS_SUCCESS)
    descriptors_note (self, cudnnBackendFinalize (which));
}

cudnnBackendDescriptor_t
pt_descriptors_take_last (PtDescriptors *self)
{
  return g_ptr_array_steal_index (self->all, self->all->len - 1);
}

static gboolean
descriptors_fail (cudnnStatus_t status, const gchar *message,
    const gchar *what, GError **error)
{
  gboolean unsupported = CUDNN_STATUS_CATEGORY (status) ==
      CUDNN_STATUS_NOT_SUPPORTED;

  g_set_error (error, PT_ERROR, unsupported ? PT_ERROR_UNSUPPORTED :
      PT_ERROR_DEVICE, "%s: cuDNN says %s (%s)", what,
      cudnnGetErrorString (status), message);
  return FALSE;
}

gboolean
pt_descriptors_check (const PtDescriptors *self, const gchar *what,
    GError **error)
{
  return self->status == CUDNN_STATUS_SUCCESS ||
      descriptors_fail (self->status, self->message, what, error);
}

gboolean
pt_cudnn_check (cudnnStatus_t status, const gchar *what, GError **error)
{
  gchar message[MESSAGE_SIZE] = "";

  if (status == CUDNN_STATUS_SUCCESS)
    return TRUE;
  cudnnGetLastErrorString (message, sizeof message);
  return descriptors_fail (status, message, what, error);
}

gboolean
pt_cudnn_describe (PtCudnn *self, cudnnBackendAttributeName_t name,
    cudnnBackendAttributeType_t type, gint64 n, gconstpointer values,
    GError **error)
{
  self->descriptors = pt_descriptors_new ();
  self->properties = pt_descriptors_add (self->descriptors,
      CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  pt_descriptors_set (self->descriptors, self->properties, name, type, n,
      values);
  pt_descriptors_finalize (self->descriptors, self->properties);
  return pt_descriptors_check (self->descriptors, "describing a GPU", error);
}

PtCudnn *
pt_cudnn_new_described (const gchar *json, const gchar *gpu, guint capability,
    GError **error)
{
  g_autoptr (PtCudnn) self = g_new0 (PtCudnn, 1);

  self->gpu = g_strdup (gpu);
  self->capability = capability;
  if (!pt_cudnn_describe (self, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
          CUDNN_TYPE_CHAR, strlen (json), json, error))
    return NULL;
  return g_steal_pointer (&self);
}

void
pt_cudnn_free (PtCudnn *self)
{
  g_clear_pointer (&self->descriptors, pt_descriptors_free);
  if (self->handle != NULL)
    cudnnDestroy (self->handle);
  g_free (self->gpu);
  g_free (self);
}
