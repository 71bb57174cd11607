/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xmmintrin.h>

#include "core/tensor.h"
#include "device/cpu/cpu.h"

/* From here on memory is asked for in huge pages. */
#define BACKEND_HUGE_PAGE (2u << 20)
#define BACKEND_HUGE (4u << 20)

/* Flush-to-zero and denormals-are-zero, bits 15 and 6 of MXCSR: a sum that
 * fades away would else run some hundred times slower. */
#define BACKEND_MXCSR 0x8040u

static gchar *
backend_list_cores (void)
{
  guint n;
  const guint *cores = pt_device_get_cores (&n);
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < n; i++)
    g_string_append_printf (text, "%s%u", i ? ", " : "", cores[i]);
  return g_string_free (text, FALSE);
}

static gboolean
backend_add_core (GArray *list, guint64 core, GError **error)
{
  guint n;
  const guint *cores = pt_device_get_cores (&n);
  g_autofree gchar *known = NULL;

  for (guint i = 0; i < list->len; i++)
    if (g_array_index (list, guint, i) == core) {
      g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
          "core %" G_GUINT64_FORMAT " is named twice", core);
      return FALSE;
    }
  for (guint i = 0; i < n; i++)
    if (cores[i] == core) {
      g_array_append_val (list, cores[i]);
      return TRUE;
    }
  known = backend_list_cores ();
  g_set_error (error, PT_ERROR, PT_ERROR_DEVICE, "there is no core %"
      G_GUINT64_FORMAT ", the process may run on %s", core, known);
  return FALSE;
}

/* "3" or "0-3". */
static gboolean
backend_add_range (GArray *list, const gchar *text, GError **error)
{
  g_auto (GStrv) ends = g_strsplit (text, "-", 2);
  guint64 first = 0, last = 0;
  const gchar *end = ends[0] != NULL && ends[1] != NULL ? ends[1] : ends[0];

  if (end == NULL ||
      !g_ascii_string_to_unsigned (ends[0], 10, 0, G_MAXUINT, &first, NULL) ||
      !g_ascii_string_to_unsigned (end, 10, 0, G_MAXUINT, &last, NULL) ||
      last < first) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "\"%s\" is no core, "
        "expected a number or a range such as 0-3 (+ joins several, a comma "
        "begins the next device)", text);
    return FALSE;
  }
  for (guint64 core = first; core <= last; core++)
    if (!backend_add_core (list, core, error))
      return FALSE;
  return TRUE;
}

static gboolean
backend_parse (GArray *list, const gchar *spec, GError **error)
{
  g_auto (GStrv) parts = NULL;

  if (spec == NULL) {
    guint n;
    const guint *cores = pt_device_get_cores (&n);

    g_array_append_vals (list, cores, n);
    return TRUE;
  }
  parts = g_strsplit (spec, "+", -1);
  if (parts[0] == NULL)
    return backend_add_range (list, "", error);
  for (guint i = 0; parts[i] != NULL; i++)
    if (!backend_add_range (list, parts[i], error))
      return FALSE;
  return TRUE;
}

static void
backend_close (PtDevice *device)
{
  PtCpu *cpu = device->priv;

  if (cpu->stream != NULL)
    dnnl_stream_destroy (cpu->stream);
  if (cpu->engine != NULL)
    dnnl_engine_destroy (cpu->engine);
  g_free (cpu->cores);
  g_free (cpu);
}

static gboolean
backend_open (PtDevice *device, const gchar *spec, GError **error)
{
  g_autoptr (GArray) list = g_array_new (FALSE, FALSE, sizeof (guint));
  gsize n;
  PtCpu *cpu;

  if (!backend_parse (list, spec, error))
    return FALSE;
  cpu = device->priv = g_new0 (PtCpu, 1);
  cpu->cores = g_array_steal (list, &n);
  cpu->n_cores = device->n_threads = n;
  return PT_DNNL (dnnl_engine_create (&cpu->engine, dnnl_cpu, 0), error) &&
      PT_DNNL (dnnl_stream_create (&cpu->stream, cpu->engine,
          dnnl_stream_default_flags), error);
}

static gpointer
backend_alloc (PtDevice *device, gsize bytes)
{
  gsize unit = bytes >= BACKEND_HUGE ? BACKEND_HUGE_PAGE : PT_ALIGNMENT;
  gsize room = (MAX (bytes, 1) + unit - 1) / unit * unit;
  gpointer data = aligned_alloc (unit, room);

  if (data == NULL)
    return NULL;
  if (bytes >= BACKEND_HUGE)
    madvise (data, room, MADV_HUGEPAGE);        /* a wish; may be refused */
  return memset (data, 0, room);
}

static void
backend_free (PtDevice *device, gpointer data)
{
  free (data);
}

static gboolean
backend_copy (PtDevice *device, gpointer dst, gconstpointer src, gsize bytes,
    GError **error)
{
  memcpy (dst, src, bytes);
  return TRUE;
}

static void
backend_bind (guint core)
{
  cpu_set_t set;

  CPU_ZERO (&set);
  CPU_SET (core, &set);
  sched_setaffinity (0, sizeof set, &set);
  _mm_setcsr (_mm_getcsr () | BACKEND_MXCSR);
}

/* Binds this thread and its OpenMP workers, one to each core. The number of
 * threads is a setting of the calling thread, and oneDNN builds it into what
 * is planned there. */
static void
backend_enter (PtDevice *device)
{
  const PtCpu *cpu = device->priv;

  omp_set_num_threads (cpu->n_cores);
  if (cpu->n_cores == 1) {
    backend_bind (cpu->cores[0]);
    return;
  }
#pragma omp parallel num_threads (cpu->n_cores)
  backend_bind (cpu->cores[omp_get_thread_num ()]);
}

const PtBackend pt_backend_cpu = {
  .name = "cpu",
  .summary = "cores of this machine: cpu is all of them as one device, "
      "cpu:2 one core, cpu:0-3 a device of four",
  .host_memory = TRUE,
  .open = backend_open,
  .close = backend_close,
  .alloc = backend_alloc,
  .free = backend_free,
  .copy = backend_copy,
  .upload = backend_copy,
  .download = backend_copy,
  .enter = backend_enter,
  .ops = {
    [PT_OP_CONV] = &pt_cpu_conv,
    [PT_OP_CONV_DATA] = &pt_cpu_conv_data,
    [PT_OP_CONV_WEIGHTS] = &pt_cpu_conv_weights,
    [PT_OP_CONV_TRANSPOSE] = &pt_cpu_conv_transpose,
    [PT_OP_CONV_TRANSPOSE_DATA] = &pt_cpu_conv_transpose_data,
    [PT_OP_CONV_TRANSPOSE_WEIGHTS] = &pt_cpu_conv_transpose_weights,
    [PT_OP_LINEAR] = &pt_cpu_linear,
    [PT_OP_LINEAR_DATA] = &pt_cpu_linear_data,
    [PT_OP_LINEAR_WEIGHTS] = &pt_cpu_linear_weights,
    [PT_OP_ACTIVATION] = &pt_cpu_activation,
    [PT_OP_ACTIVATION_BACKWARD] = &pt_cpu_activation_backward,
    [PT_OP_POOL] = &pt_cpu_pool,
    [PT_OP_POOL_BACKWARD] = &pt_cpu_pool_backward,
    [PT_OP_UPSAMPLE] = &pt_cpu_upsample,
    [PT_OP_UPSAMPLE_BACKWARD] = &pt_cpu_upsample_backward,
    [PT_OP_BATCH_NORM] = &pt_cpu_batch_norm,
    [PT_OP_BATCH_NORM_BACKWARD] = &pt_cpu_batch_norm_backward,
    [PT_OP_NORMALIZE] = &pt_cpu_normalize,
    [PT_OP_NORMALIZE_BACKWARD] = &pt_cpu_normalize_backward,
    [PT_OP_LRN] = &pt_cpu_lrn,
    [PT_OP_LRN_BACKWARD] = &pt_cpu_lrn_backward,
    [PT_OP_GRID_SAMPLE] = &pt_cpu_grid_sample,
    [PT_OP_GRID_SAMPLE_BACKWARD] = &pt_cpu_grid_sample_backward,
    [PT_OP_SOFTMAX] = &pt_cpu_softmax,
    [PT_OP_SOFTMAX_BACKWARD] = &pt_cpu_softmax_backward,
    [PT_OP_ADD] = &pt_cpu_add,
    [PT_OP_CONCAT] = &pt_cpu_concat,
    [PT_OP_SPLIT] = &pt_cpu_split,
    [PT_OP_FLATTEN] = &pt_cpu_flatten,
    [PT_OP_UNFLATTEN] = &pt_cpu_unflatten,
    [PT_OP_COMBINE] = &pt_cpu_combine,
    [PT_OP_DROPOUT] = &pt_cpu_dropout,
    [PT_OP_MULTIPLY] = &pt_cpu_multiply,
    [PT_OP_BINARY] = &pt_cpu_binary,
    [PT_OP_BINARY_BACKWARD] = &pt_cpu_binary_backward,
    [PT_OP_POINTWISE_LOSS] = &pt_cpu_pointwise_loss,
    [PT_OP_BINARY_CROSS_ENTROPY] = &pt_cpu_binary_cross_entropy,
    [PT_OP_CROSS_ENTROPY] = &pt_cpu_cross_entropy,
    [PT_OP_SSIM] = &pt_cpu_ssim,
    [PT_OP_FLOW_LOSS] = &pt_cpu_flow_loss,
    [PT_OP_UPDATE] = &pt_cpu_update,
    [PT_OP_DOT] = &pt_cpu_dot,
    [PT_OP_PROJECT] = &pt_cpu_project,
    [PT_OP_CHECK_FINITE] = &pt_cpu_check_finite,
  },
};
