/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The limits of the machine. The most floating-point operations a second that
 * the cores give: fused multiply-adds on registers, in as many chains as hide
 * their latency. The most bytes a second that they read from memory.
 *
 * run CORES SECONDS     answers FLOP/s with the fastest vector width
 * read CORES SECONDS    answers bytes/s read from memory */

#include "worker.h"

#include <sched.h>
#include <string.h>

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

/* Each core's own memory, more than any cache holds. */
#define PEAK_READ_BYTES ((gsize) 256 << 20)

typedef struct
{
  PeakLoop loop;                /* NULL: read memory */
  guint core;
  guint bytes;
  gdouble seconds;
  gdouble rate;                 /* FLOP/s or bytes/s, out */
} PeakTask;

static void
peak_stay_on (guint core)
{
  cpu_set_t set;

  CPU_ZERO (&set);
  CPU_SET (core, &set);
  sched_setaffinity (0, sizeof set, &set);
}

static guint64
peak_sum (const guint64 *words, gsize n)
{
  guint64 sums[8] = { 0 };

  for (gsize i = 0; i < n; i += 8)
    for (guint k = 0; k < 8; k++)
      sums[k] += words[i + k];
  return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6]
      + sums[7];
}

static gpointer
peak_read (gpointer data)
{
  PeakTask *task = data;
  g_autofree guint64 *words = NULL;
  volatile guint64 sink;
  guint64 done = 0;
  gdouble start, now;

  peak_stay_on (task->core);
  words = g_malloc (PEAK_READ_BYTES);
  memset (words, 1, PEAK_READ_BYTES);
  start = now = worker_seconds ();
  while (now - start < task->seconds) {
    sink = peak_sum (words, PEAK_READ_BYTES / sizeof *words);
    done += PEAK_READ_BYTES;
    now = worker_seconds ();
  }
  (void) sink;
  task->rate = done / (now - start);
  return NULL;
}

static gpointer
peak_compute (gpointer data)
{
  PeakTask *task = data;
  const guint64 n = 100000;
  volatile gdouble sink;
  guint64 done = 0;
  gdouble start, now;

  peak_stay_on (task->core);
  start = now = worker_seconds ();
  while (now - start < task->seconds) {
    sink = task->loop (n);
    done += n;
    now = worker_seconds ();
  }
  (void) sink;
  task->rate = done * (2.0 * PEAK_CHAINS * task->bytes / 4) / (now - start);
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
    threads[i] = g_thread_new ("peak", loop ? peak_compute : peak_read,
        &tasks[i]);
  }
  for (guint i = 0; i < n_cores; i++) {
    g_thread_join (threads[i]);
    sum += tasks[i].rate;
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
  if (n_words != 3)
    return NULL;
  if (g_str_equal (words[0], "read"))
    return g_strdup_printf ("%.6g", peak_measure (NULL, 0,
            worker_count (words[1]), g_ascii_strtod (words[2], NULL)));
  if (!g_str_equal (words[0], "run"))
    return NULL;
  return g_strdup_printf ("%.6g", peak_best (worker_count (words[1]),
          g_ascii_strtod (words[2], NULL)));
}

int
main (void)
{
  return worker_main (peak_command);
}
