/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The most floating-point operations a second that the cores give: fused
 * multiply-adds on registers, in as many chains as hide their latency.
 *
 * run CORES SECONDS    answers FLOP/s with the fastest vector width */

#include "worker.h"

#include <sched.h>

typedef gdouble (*PeakLoop) (guint64 n);

/* 12 chains cover two units of latency 4 to 6, and with a and b fit into 16
 * registers. */
#define PEAK_CHAINS 12
#define PEAK_LOOP(name, bytes) \
  static gdouble \
  name (guint64 n) \
  { \
    typedef gfloat Vector __attribute__ ((vector_size (bytes))); \
    const Vector a = (Vector) { 0 } + 0.999f, b = (Vector) { 0 } + 0.001f; \
    /* all different, or the compiler makes one of several */ \
    Vector c0 = a, c1 = a + 1, c2 = a + 2, c3 = a + 3, c4 = a + 4; \
    Vector d0 = b, d1 = b + 1, d2 = b + 2, d3 = b + 3, d4 = b + 4; \
    Vector c5 = a + 5, d5 = b + 5; \
 \
    for (guint64 i = 0; i < n; i++) { \
      c0 = c0 * a + b, c1 = c1 * a + b, c2 = c2 * a + b; \
      c3 = c3 * a + b, c4 = c4 * a + b, c5 = c5 * a + b; \
      d0 = d0 * a + b, d1 = d1 * a + b, d2 = d2 * a + b; \
      d3 = d3 * a + b, d4 = d4 * a + b, d5 = d5 * a + b; \
    } \
    c0 += c1 + c2 + c3 + c4 + c5 + d0 + d1 + d2 + d3 + d4 + d5; \
    return c0[0]; \
  }

PEAK_LOOP (peak_plain, 16)
#ifdef __x86_64__
__attribute__ ((target ("avx512f")))
PEAK_LOOP (peak_avx512, 64)
__attribute__ ((target ("avx2,fma")))
PEAK_LOOP (peak_avx2, 32)
#endif

typedef struct
{
  PeakLoop loop;
  guint core;
  guint bytes;
  gdouble seconds;
  gdouble flops;                /* per second, out */
} PeakTask;

static gpointer
peak_run (gpointer data)
{
  PeakTask *task = data;
  const guint64 n = 100000;
  volatile gdouble sink;
  guint64 done = 0;
  gdouble start, now;
  cpu_set_t set;

  CPU_ZERO (&set);
  CPU_SET (task->core, &set);
  sched_setaffinity (0, sizeof set, &set);
  start = now = worker_seconds ();
  while (now - start < task->seconds) {
    sink = task->loop (n);
    done += n;
    now = worker_seconds ();
  }
  (void) sink;
  task->flops = done * (2.0 * PEAK_CHAINS * task->bytes / 4) / (now - start);
  return NULL;
}

static gdouble
peak_measure (PeakLoop loop, guint bytes, guint n_cores, gdouble seconds)
{
  g_autofree PeakTask *tasks = g_new0 (PeakTask, n_cores);
  g_autofree GThread **threads = g_new0 (GThread *, n_cores);
  gdouble sum = 0;

  for (guint i = 0; i < n_cores; i++) {
    tasks[i].loop = loop;
    tasks[i].core = i;
    tasks[i].bytes = bytes;
    tasks[i].seconds = seconds;
    threads[i] = g_thread_new ("peak", peak_run, &tasks[i]);
  }
  for (guint i = 0; i < n_cores; i++) {
    g_thread_join (threads[i]);
    sum += tasks[i].flops;
  }
  return sum;
}

static gdouble
peak_best (guint n_cores, gdouble seconds)
{
  gdouble best = 0;

#ifdef __x86_64__
  if (__builtin_cpu_supports ("avx512f"))
    best = peak_measure (peak_avx512, 64, n_cores, seconds / 2);
  if (__builtin_cpu_supports ("avx2") && __builtin_cpu_supports ("fma"))
    best = MAX (best, peak_measure (peak_avx2, 32, n_cores, seconds / 2));
#endif
  if (best == 0)
    best = peak_measure (peak_plain, 16, n_cores, seconds);
  return best;
}

static gchar *
peak_command (gchar **words, guint n_words, GError **error)
{
  if (n_words != 3 || !g_str_equal (words[0], "run"))
    return NULL;
  return g_strdup_printf ("%.6g", peak_best (worker_count (words[1]),
          g_ascii_strtod (words[2], NULL)));
}

int
main (void)
{
  return worker_main (peak_command);
}
