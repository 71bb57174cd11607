/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "stream.h"

#include <errno.h>
#include <link.h>
#include <stdlib.h>

/* Nothing is allocated per frame once the pipeline runs: the allocator is
 * replaced by one that counts. What oneDNN allocates inside its own calls (a
 * few small maps for each execution; its interface leaves no way around them)
 * comes from C++, of which there is none here, and is counted apart. */

#if defined (__SANITIZE_ADDRESS__) || defined (__SANITIZE_THREAD__)
#define STEADY_CAN_COUNT 0
#else
#define STEADY_CAN_COUNT 1
#endif

static gint n_allocations, n_foreign;

#if STEADY_CAN_COUNT
static guintptr cpp_begin, cpp_end;

static int
find_cpp (struct dl_phdr_info *info, size_t size, void *data)
{
  if (strstr (info->dlpi_name, "libstdc++") == NULL)
    return 0;
  cpp_begin = info->dlpi_addr;
  for (guint i = 0; i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_LOAD)
      cpp_end = MAX (cpp_end, info->dlpi_addr + info->dlpi_phdr[i].p_vaddr
          + info->dlpi_phdr[i].p_memsz);
  return 1;
}

static void
count (gpointer caller)
{
  gboolean foreign = (guintptr) caller >= cpp_begin
      && (guintptr) caller < cpp_end;

  g_atomic_int_inc (foreign ? &n_foreign : &n_allocations);
}

void *__libc_malloc (size_t size);
void *__libc_calloc (size_t n, size_t size);
void *__libc_realloc (void *data, size_t size);
void *__libc_memalign (size_t alignment, size_t size);

void *
malloc (size_t size)
{
  count (__builtin_return_address (0));
  return __libc_malloc (size);
}

void *
calloc (size_t n, size_t size)
{
  count (__builtin_return_address (0));
  return __libc_calloc (n, size);
}

void *
realloc (void *data, size_t size)
{
  count (__builtin_return_address (0));
  return __libc_realloc (data, size);
}

void *
aligned_alloc (size_t alignment, size_t size)
{
  count (__builtin_return_address (0));
  return __libc_memalign (alignment, size);
}

int
posix_memalign (void **data, size_t alignment, size_t size)
{
  count (__builtin_return_address (0));
  *data = __libc_memalign (alignment, size);
  return *data != NULL ? 0 : ENOMEM;
}
#endif

/* One result out for every frame in, as an application would. */
static void
feed (PtPipeline *pipeline, PtTensor **frames, guint n)
{
  for (guint i = 0; i < n;) {
    PtResult *result = NULL;

    if (pt_pipeline_push (pipeline, frames[i % 4], NULL, PT_PUSH_TRY,
            NULL) == PT_FLOW_OK) {
      i++;
      continue;
    }
    if (pt_pipeline_pull (pipeline, &result, NULL) == PT_FLOW_OK)
      pt_result_unref (result);
  }
}

static void
test_steady (gconstpointer data)
{
  g_auto (GStrv) words = g_strsplit (data, " ", -1);
  g_autoptr (PtNetwork) network = stream_network (words[0], words[1],
      words[2]);
  g_autoptr (PtPipeline) pipeline = NULL;
  PtTensor *frames[4];
  gint before, after, foreign;

  if (!STEADY_CAN_COUNT) {
    g_test_skip ("a sanitizer's allocator cannot be counted");
    return;
  }
  if (g_str_has_prefix (words[1], "cpu:0-1") && g_get_num_processors () < 2) {
    g_test_skip ("needs two cores");
    return;
  }
  for (guint i = 0; i < 4; i++)
    frames[i] = stream_frame (i);
  if (words[3] != NULL)
    g_assert_true (pt_network_set (network, "network", "output", words[3],
            NULL));
  pipeline = stream_start (network);
  feed (pipeline, frames, 250);
  before = g_atomic_int_get (&n_allocations);
  foreign = g_atomic_int_get (&n_foreign);
  feed (pipeline, frames, 1000);
  after = g_atomic_int_get (&n_allocations);
  g_assert_cmpint (before, >, 0);
  g_test_message ("oneDNN's own: %.1f allocations a frame",
      (g_atomic_int_get (&n_foreign) - foreign) / 1000.0);
  g_assert_cmpint (after - before, ==, 0);
  for (guint i = 0; i < 4; i++)
    pt_tensor_unref (frames[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#if STEADY_CAN_COUNT
  dl_iterate_phdr (find_cpp, NULL);
#endif
  g_test_add_data_func ("/steady/off/1", "off cpu:0 1", test_steady);
  g_test_add_data_func ("/steady/off/3", "off cpu:0 3,3,1", test_steady);
  g_test_add_data_func ("/steady/exact/2", "exact cpu:0 3,4", test_steady);
  g_test_add_data_func ("/steady/partime/1", "partime cpu:0 1", test_steady);
  g_test_add_data_func ("/steady/partime/3", "partime cpu:0 2,3,2",
      test_steady);
  g_test_add_data_func ("/steady/partime/wide", "partime cpu:0-1 7",
      test_steady);
  g_test_add_data_func ("/steady/delayed/3", "delayed cpu:0 2,3,2",
      test_steady);
  g_test_add_data_func ("/steady/off/outputs", "off cpu:0 3,4 g;c;e",
      test_steady);
  g_test_add_data_func ("/steady/delayed/outputs", "delayed cpu:0 2,3,2 g;f;c",
      test_steady);
  return g_test_run ();
}
