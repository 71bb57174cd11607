/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/backend.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "device/module.h"

/* Several devices: the machine's cores and GPUs, and lists that users write. */

#define LIST_MAX 4096

/* Read once, before any of our threads binds itself to fewer cores. */
static gpointer
list_read_cores (gpointer unused)
{
  GArray *cores = g_array_new (FALSE, FALSE, sizeof (guint));
  cpu_set_t set;

  CPU_ZERO (&set);
  if (sched_getaffinity (getpid (), sizeof set, &set) != 0)
    for (glong i = 0; i < sysconf (_SC_NPROCESSORS_ONLN); i++)
      CPU_SET (i, &set);
  for (guint i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET (i, &set))
      g_array_append_val (cores, i);
  return cores;
}

/* Numbers of the cores the process may run on, ascending. */
const guint *
pt_device_get_cores (guint *n)
{
  static GOnce once = G_ONCE_INIT;
  const GArray *cores = g_once (&once, list_read_cores, NULL);

  *n = cores->len;
  return (const guint *) cores->data;
}

guint
pt_device_count_cores (void)
{
  guint n;

  pt_device_get_cores (&n);
  return n;
}

/* Opens cores[first] to cores[first + count - 1] of those the process has, as
 * one device. */
PtDevice *
pt_device_open_cores (guint first, guint count, GError **error)
{
  guint n;
  const guint *cores = pt_device_get_cores (&n);
  g_autoptr (GString) name = g_string_new ("cpu:");

  if (count < 1 || first >= n || count > n - first) {
    g_set_error (error, PT_ERROR, PT_ERROR_DEVICE,
        "no %u cores from the %u. on: the process may run on %u", count,
        first + 1, n);
    return NULL;
  }
  cores += first;
  if (count > 1 && cores[count - 1] - cores[0] == count - 1)
    g_string_append_printf (name, "%u-%u", cores[0], cores[count - 1]);
  else
    for (guint i = 0; i < count; i++)
      g_string_append_printf (name, i ? "+%u" : "%u", cores[i]);
  return pt_device_open (name->str, error);
}

/* Appends all devices of the kind @name, if there are any. */
static gboolean
list_append_kind (GPtrArray *list, const gchar *kind, GError **error)
{
  const PtBackend *backend = pt_device_find_backend (kind, NULL);
  guint n = backend != NULL && backend->count != NULL ?
      backend->count (NULL) : 0;

  for (guint i = 0; i < n; i++) {
    g_autofree gchar *name = g_strdup_printf ("%s:%u", kind, i);
    PtDevice *device = pt_device_open (name, error);

    if (device == NULL)
      return FALSE;
    g_ptr_array_add (list, device);
  }
  return TRUE;
}

/* All accelerators of this machine, in an array that may be empty. Where a
 * driver or a library is missing there are none; one that is there and cannot
 * be opened is an error. */
GPtrArray *
pt_device_open_accelerators (GError **error)
{
  g_autoptr (GPtrArray) list =
      g_ptr_array_new_with_free_func ((GDestroyNotify) pt_device_unref);

  for (guint i = 0; pt_module_kinds[i].name != NULL; i++)
    if (!list_append_kind (list, pt_module_kinds[i].name, error))
      return NULL;
  return g_steal_pointer (&list);
}

static gboolean
list_append_auto (GPtrArray *list, GError **error)
{
  g_autoptr (GPtrArray) found = pt_device_open_accelerators (error);

  if (found == NULL)
    return FALSE;
  for (guint i = 0; i < found->len; i++)
    g_ptr_array_add (list, pt_device_ref (g_ptr_array_index (found, i)));
  if (found->len > 0)
    return TRUE;
  for (guint i = 0; i < pt_device_count_cores (); i++) {
    PtDevice *device = pt_device_open_cores (i, 1, error);

    if (device == NULL)
      return FALSE;
    g_ptr_array_add (list, device);
  }
  return TRUE;
}

/* Appends one item of a list: NAME, NAME*COUNT or auto. */
static gboolean
list_append_item (GPtrArray *list, const gchar *item, GError **error)
{
  const gchar *star = strrchr (item, '*');
  g_autofree gchar *name = star != NULL ?
      g_strndup (item, star - item) : g_strdup (item);
  guint64 count = 1;

  g_strstrip (name);
  if (star != NULL && !g_ascii_string_to_unsigned (star + 1, 10, 1,
          LIST_MAX, &count, NULL)) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "device \"%s\": after * stands \"%s\", expected a count from 1 to %d",
        item, star + 1, LIST_MAX);
    return FALSE;
  }
  for (guint64 i = 0; i < count; i++) {
    PtDevice *device;

    if (strcmp (name, "auto") == 0) {
      if (!list_append_auto (list, error))
        return FALSE;
      continue;
    }
    device = pt_device_open (name, error);
    if (device == NULL)
      return FALSE;
    g_ptr_array_add (list, device);
  }
  return TRUE;
}

/* Commas separate devices; "cpu:0-3" is one device of four cores, "NAME*8"
 * stands for eight devices, "auto" for all GPUs, or else one device per core. */
GPtrArray *
pt_device_open_list (const gchar *text, GError **error)
{
  g_auto (GStrv) items = g_strsplit (text, ",", -1);
  g_autoptr (GPtrArray) list =
      g_ptr_array_new_with_free_func ((GDestroyNotify) pt_device_unref);

  for (guint i = 0; items[i] != NULL; i++)
    if (!list_append_item (list, g_strstrip (items[i]), error)) {
      g_prefix_error (error, "devices \"%s\": ", text);
      return NULL;
    }
  if (list->len == 0) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "devices \"%s\": names "
        "none, expected a list such as cpu:0,cpu:1 or auto", text);
    return NULL;
  }
  return g_steal_pointer (&list);
}
