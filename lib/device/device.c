/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/backend.h"

#include <string.h>

#include "core/tensor.h"
#include "device/module.h"

#define DEVICE_MAX_ADDED 8

G_DEFINE_BOXED_TYPE (PtDevice, pt_device, pt_device_ref, pt_device_unref)

extern const PtBackend *const pt_backends[];    /* made by meson.build */

static GMutex device_lock;      /* of the backends that were added */
static const PtBackend *device_added[DEVICE_MAX_ADDED];
static guint device_n_added;

static void
device_add_locked (const PtBackend *backend)
{
  g_return_if_fail (device_n_added < DEVICE_MAX_ADDED);
  device_added[device_n_added++] = backend;
}

void
pt_device_add_backend (const PtBackend *backend)
{
  g_mutex_lock (&device_lock);
  device_add_locked (backend);
  g_mutex_unlock (&device_lock);
}

/* Names of the backends for messages: "cpu, sim, cuda". */
static gchar *
device_list_backends (void)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; pt_backends[i] != NULL; i++)
    g_string_append_printf (text, "%s%s", i ? ", " : "", pt_backends[i]->name);
  for (guint i = 0; pt_module_kinds[i].name != NULL; i++)
    g_string_append_printf (text, ", %s", pt_module_kinds[i].name);
  return g_string_free (text, FALSE);
}

/**
 * pt_device_describe_backends:
 *
 * Returns: (transfer full): a line of help for each kind of device
 */
gchar *
pt_device_describe_backends (void)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; pt_backends[i] != NULL; i++)
    g_string_append_printf (text, "%-8s %s\n", pt_backends[i]->name,
        pt_backends[i]->summary);
  for (guint i = 0; pt_module_kinds[i].name != NULL; i++)
    g_string_append_printf (text, "%-8s %s\n", pt_module_kinds[i].name,
        pt_module_kinds[i].summary);
  return g_string_free (text, FALSE);
}

static const PtBackend *
device_find_in (const PtBackend *const *list, guint n, const gchar *name)
{
  for (guint i = 0; i < n && list[i] != NULL; i++)
    if (g_str_equal (list[i]->name, name))
      return list[i];
  return NULL;
}

/* The backend called @name, its module opened if it is one. NULL without an
 * error if there is no such kind. */
const PtBackend *
pt_device_find_backend (const gchar *name, GError **error)
{
  const PtBackend *backend = device_find_in (pt_backends, G_MAXUINT, name);

  if (backend != NULL)
    return backend;
  g_mutex_lock (&device_lock);
  backend = device_find_in (device_added, device_n_added, name);
  for (guint i = 0; backend == NULL && pt_module_kinds[i].name != NULL; i++) {
    if (!g_str_equal (pt_module_kinds[i].name, name))
      continue;
    backend = pt_module_load (&pt_module_kinds[i], error);
    if (backend == NULL)
      break;
    device_add_locked (backend);
  }
  g_mutex_unlock (&device_lock);
  return backend;
}

/**
 * pt_device_open:
 * @name: a backend's name, or that, a colon and what the backend reads, such
 *   as "cpu", "cpu:2" or "cpu:0-3"
 * @error: return location
 *
 * Returns: (transfer full): the device, or %NULL with %PT_ERROR_DEVICE if
 *   there is no such backend or device, %PT_ERROR_CONFIG if @name cannot be
 *   read
 */
PtDevice *
pt_device_open (const gchar *name, GError **error)
{
  const gchar *colon;
  const PtBackend *backend;
  g_autoptr (PtDevice) self = NULL;
  g_autoptr (GError) cause = NULL;
  g_autofree gchar *kind = NULL;

  g_return_val_if_fail (name != NULL, NULL);
  colon = strchr (name, ':');
  kind = g_strndup (name,
      colon != NULL ? (gsize) (colon - name) : strlen (name));
  backend = pt_device_find_backend (kind, &cause);
  if (cause != NULL) {
    g_propagate_prefixed_error (error, g_steal_pointer (&cause),
        "device \"%s\": ", name);
    return NULL;
  }
  if (backend == NULL) {
    g_autofree gchar *known = device_list_backends ();

    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
        "no device \"%s\": the kinds of device here are %s", name, known);
    return NULL;
  }
  self = g_new0 (PtDevice, 1);
  g_atomic_ref_count_init (&self->refs);
  self->backend = backend;
  self->name = g_strdup (name);
  self->n_threads = 1;
  if (!backend->open (self, colon != NULL ? colon + 1 : NULL, error)) {
    g_prefix_error (error, "device \"%s\": ", name);
    return NULL;
  }
  return g_steal_pointer (&self);
}

/**
 * pt_device_ref:
 * @self: a device
 *
 * Thread-safe.
 *
 * Returns: (transfer full): @self
 */
PtDevice *
pt_device_ref (PtDevice *self)
{
  g_atomic_ref_count_inc (&self->refs);
  return self;
}

/**
 * pt_device_unref:
 * @self: (transfer full): a device
 *
 * Thread-safe.
 */
void
pt_device_unref (PtDevice *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  if (self->priv != NULL)
    self->backend->close (self);
  g_free (self->name);
  g_free (self);
}

/**
 * pt_device_get_name:
 * @self: a device
 *
 * Returns: (transfer none): the name it was opened with
 */
const gchar *
pt_device_get_name (PtDevice *self)
{
  return self->name;
}

gboolean
pt_device_shares_memory (PtDevice *a, PtDevice *b)
{
  return a == b || (a->backend->host_memory && b->backend->host_memory)
      || (a->backend == b->backend && a->memory == b->memory);
}

guint
pt_device_get_n_threads (PtDevice *device)
{
  return device->n_threads;
}

void
pt_device_enter (PtDevice *device)
{
  device->backend->enter (device);
}

void
pt_device_leave (PtDevice *device)
{
  if (device->backend->leave != NULL)
    device->backend->leave (device);
}

/* Waits until everything handed to the device is done. */
gboolean
pt_device_wait (PtDevice *device, GError **error)
{
  return device->backend->wait == NULL || device->backend->wait (device, error);
}

typedef struct
{
  PtDevice *device;
  gpointer data;
} DeviceMemory;

static void
device_memory_free (gpointer owner)
{
  DeviceMemory *memory = owner;

  memory->device->backend->free (memory->device, memory->data);
  pt_device_unref (memory->device);
  g_free (memory);
}

static PtTensor *
device_new_memory (PtDevice *device, PtDType dtype, const PtShape *shape,
    gsize size, GError **error)
{
  gpointer data = device->backend->alloc (device, size);
  DeviceMemory *memory;

  if (data == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY,
        "device %s has no %" G_GSIZE_FORMAT " bytes", device->name, size);
    return NULL;
  }
  memory = g_new (DeviceMemory, 1);
  memory->device = pt_device_ref (device);
  memory->data = data;
  return pt_tensor_new_take (dtype, shape, PT_LAYOUT_CHANNELS_LAST, data,
      size, memory, device_memory_free);
}

/* A channels-last tensor of zeros in the device's memory. */
PtTensor *
pt_device_tensor_new (PtDevice *device, PtDType dtype, const PtShape *shape,
    GError **error)
{
  if (!pt_shape_check (shape, error))
    return NULL;
  return device_new_memory (device, dtype, shape,
      pt_shape_get_n_elements (shape) * pt_dtype_size (dtype), error);
}

/* Zeros to cut pt_tensor_view()s from: float32 of one dimension. */
PtTensor *
pt_device_bytes_new (PtDevice *device, gsize bytes, GError **error)
{
  gint64 n = MAX ((bytes + sizeof (gfloat) - 1) / sizeof (gfloat), 1);

  return device_new_memory (device, PT_F32, &PT_SHAPE (n),
      n * sizeof (gfloat), error);
}

static void
device_host_memory_free (gpointer owner)
{
  DeviceMemory *memory = owner;

  memory->device->backend->free_host (memory->device, memory->data);
  pt_device_unref (memory->device);
  g_free (memory);
}

/* A channels-last tensor of zeros in the host's memory, such that @device
 * reads and writes it fast. */
PtTensor *
pt_device_host_tensor_new (PtDevice *device, PtDType dtype,
    const PtShape *shape, GError **error)
{
  gsize bytes;
  DeviceMemory *memory;

  if (device->backend->alloc_host == NULL || !pt_shape_check (shape, error))
    return pt_device_tensor_new (device, dtype, shape, error);
  bytes = pt_shape_get_n_elements (shape) * pt_dtype_size (dtype);
  memory = g_new (DeviceMemory, 1);
  memory->device = pt_device_ref (device);
  memory->data = device->backend->alloc_host (device, bytes);
  if (memory->data != NULL)
    return pt_tensor_new_take (dtype, shape, PT_LAYOUT_CHANNELS_LAST,
        memory->data, bytes, memory, device_host_memory_free);
  pt_device_unref (device);
  g_free (memory);
  g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY, "device %s has no %"
      G_GSIZE_FORMAT " bytes of the host's memory", device->name, bytes);
  return NULL;
}

/* What the calling thread hands to @device comes after @frame is there. */
gboolean
pt_device_wait_frame (PtDevice *device, const PtFrame *frame, GError **error)
{
  return frame->fence == NULL || device->backend->fence_wait (device,
      frame->fence, device, error);
}

static void
device_release_base (gpointer base)
{
  pt_tensor_unref (base);
}

/* @bytes of @base from byte @offset, of the same type and layout; @base is
 * kept alive. */
PtTensor *
pt_tensor_view (PtTensor *base, gsize offset, const PtShape *shape,
    gsize bytes)
{
  g_return_val_if_fail (offset + bytes <= base->size, NULL);
  return pt_tensor_new_take (base->dtype, shape, base->layout,
      (guint8 *) base->data + offset, bytes, pt_tensor_ref (base),
      device_release_base);
}

static gboolean
device_check_pair (PtDevice *device, const PtTensor *dst, const PtTensor *src,
    GError **error)
{
  gchar a[PT_SHAPE_TEXT_SIZE], b[PT_SHAPE_TEXT_SIZE];

  if (dst->dtype == src->dtype && dst->size == src->size &&
      pt_shape_equal (&dst->shape, &src->shape))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE,
      "copying a %s tensor of shape %s into a %s tensor of shape %s on %s",
      pt_dtype_name (src->dtype), pt_shape_print (&src->shape, a),
      pt_dtype_name (dst->dtype), pt_shape_print (&dst->shape, b),
      device->name);
  return FALSE;
}

static gboolean
device_same_layout (const PtTensor *a, const PtTensor *b)
{
  return a->layout == b->layout || a->shape.n_dims < 4;
}

/* From main memory to the device, with the change of layout. Allocates only
 * where the device's memory is not the CPU's. */
gboolean
pt_device_upload (PtDevice *device, PtTensor *dst, const PtTensor *host,
    GError **error)
{
  g_autoptr (PtTensor) staged = NULL;

  if (!device_check_pair (device, dst, host, error))
    return FALSE;
  if (device_same_layout (dst, host))
    return device->backend->upload (device, dst->data, host->data, host->size,
        error);
  if (device->backend->host_memory) {
    pt_tensor_to_channels_last (host, dst);
    return TRUE;
  }
  staged = pt_tensor_new_shaped (host->dtype, &host->shape, error);
  if (staged == NULL)
    return FALSE;
  pt_tensor_to_channels_last (host, staged);
  return device->backend->upload (device, dst->data, staged->data,
      staged->size, error);
}

/* The reverse of pt_device_upload(); complete when it returns. */
gboolean
pt_device_download (PtDevice *device, PtTensor *host, const PtTensor *src,
    GError **error)
{
  g_autoptr (PtTensor) staged = NULL;

  if (!device_check_pair (device, host, src, error))
    return FALSE;
  if (device_same_layout (host, src))
    return device->backend->download (device, host->data, src->data,
        src->size, error);
  if (device->backend->host_memory) {
    pt_tensor_to_row_major (src, host);
    return TRUE;
  }
  staged = pt_tensor_new_shaped (src->dtype, &src->shape, error);
  if (staged == NULL)
    return FALSE;
  staged->layout = src->layout;
  if (!device->backend->download (device, staged->data, src->data, src->size,
          error))
    return FALSE;
  pt_tensor_to_row_major (staged, host);
  return TRUE;
}

gboolean
pt_device_copy (PtDevice *device, PtTensor *dst, const PtTensor *src,
    GError **error)
{
  return device_check_pair (device, dst, src, error) &&
      device->backend->copy (device, dst->data, src->data, src->size, error);
}

/* From any device's memory to any other's; NULL stands for the host. To the
 * host it is complete when it returns. Else it is in the order of what the
 * calling thread hands to @to, and @src, if it is pt_device_host_tensor_new()'s
 * or a device's, stays as it is until then. */
gboolean
pt_device_transfer (PtDevice *to, PtTensor *dst, PtDevice *from,
    const PtTensor *src, GError **error)
{
  PtDevice *device = to;
  gboolean to_host = to == NULL || to->backend->host_memory;
  gboolean from_host = from == NULL || from->backend->host_memory;

  if (to_host && from_host) {
    memcpy (dst->data, src->data, src->size);
    return TRUE;
  }
  if (to_host) {
    device = from;
    return device_check_pair (device, dst, src, error)
        && device->backend->download (device, dst->data, src->data, src->size,
        error);
  }
  return pt_device_copy (device, dst, src, error);
}
