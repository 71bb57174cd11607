/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PREFIX 8                /* bytes of the header's length */

const gchar *
pt_fuzz_file (guint which, const guint8 *data, gsize size)
{
  static gchar paths[PT_FUZZ_FILES][64];
  static gint fds[PT_FUZZ_FILES];
  gint *fd = &fds[which];

  if (*paths[which] == '\0') {
    *fd = memfd_create ("fuzz", 0);
    g_snprintf (paths[which], sizeof paths[which], "/proc/self/fd/%d", *fd);
  }
  if (*fd < 0 || ftruncate (*fd, 0) != 0 ||
      pwrite (*fd, data, size, 0) != (gssize) size)
    g_error ("there is no room for the input");
  return paths[which];
}

gsize
pt_fuzz_mutate_safetensors (guint8 *data, gsize size, gsize max, guint seed)
{
  g_autofree guint8 *rest = NULL;
  guint64 length = 0, left;

  if (size > PREFIX)
    memcpy (&length, data, PREFIX);
  length = GUINT64_FROM_LE (length);
  if (seed % 2 || length == 0 || length > size - PREFIX)
    return LLVMFuzzerMutate (data, size, max);
  left = size - PREFIX - length;
  if (PREFIX + left >= max)
    return LLVMFuzzerMutate (data, size, max);
  rest = g_memdup2 (data + PREFIX + length, left);
  length = LLVMFuzzerMutate (data + PREFIX, length, max - PREFIX - left);
  if (left > 0)
    memcpy (data + PREFIX + length, rest, left);
  size = PREFIX + length + left;
  length = GUINT64_TO_LE (length);
  memcpy (data, &length, PREFIX);
  return size;
}
