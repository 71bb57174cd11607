/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "stream.h"

#include <errno.h>
#include <stdlib.h>

/* Nothing is allocated per frame once the pipeline runs: the allocator is
 * replaced by one that counts. */

#if defined (__SANITIZE_ADDRESS__) || defined (__SANITIZE_THREAD__)
#define STEADY_CAN_COUNT 0
#else
#define STEADY_CAN_COUNT 1
#endif

static gint n_allocations;

#if STEADY_CAN_COUNT
void *__libc_malloc (size_t size);
void *__libc_calloc (size_t n, size_t size);
void *__libc_realloc (void *data, size_t size);
void *__libc_memalign (size_t alignment, size_t size);

void *
malloc (size_t size)
{
  g_atomic_int_inc (&n_allocations);
  return __libc_malloc (size);
}

void *
calloc (size_t n, size_t size)
{
  g_atomic_int_inc (&n_allocations);
  return __libc_calloc (n, size);
}

void *
realloc (void *data, size_t size)
{
  g_atomic_int_inc (&n_allocations);
  return __libc_realloc (data, size);
}

void *
aligned_alloc (size_t alignment, size_t size)
{
  g_atomic_int_inc (&n_allocations);
  return __libc_memalign (alignment, size);
}

int
posix_memalign (void **data, size_t alignment, size_t size)
{
  g_atomic_int_inc (&n_allocations);
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
  gint before, after;

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
  pipeline = stream_start (network);
  feed (pipeline, frames, 250);
  before = g_atomic_int_get (&n_allocations);
  feed (pipeline, frames, 1000);
  after = g_atomic_int_get (&n_allocations);
  g_assert_cmpint (before, >, 0);
  g_assert_cmpint (after - before, ==, 0);
  for (guint i = 0; i < 4; i++)
    pt_tensor_unref (frames[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
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
  return g_test_run ();
}
