/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "device/cuda/cudnn.h"

#include <string.h>

#include "device/cuda/cuda.h"

#define TIME_RUNS 5

/* What of plan.h needs a GPU. */

/* By its number, which is how NVIDIA's own examples do it, else by the
 * handle: no layer can do without. */
static gboolean
device_describe (PtCudnn *self, const PtCudaLane *lane, GError **error)
{
  gint32 ordinal = lane->cuda->ordinal;

  if (pt_cudnn_describe (self, CUDNN_ATTR_DEVICEPROP_DEVICE_ID,
          CUDNN_TYPE_INT32, 1, &ordinal, NULL))
    return TRUE;
  g_clear_pointer (&self->descriptors, pt_descriptors_free);
  return pt_cudnn_describe (self, CUDNN_ATTR_DEVICEPROP_HANDLE,
      CUDNN_TYPE_HANDLE, 1, &self->handle, error);
}

static PtCudnn *
device_new_cudnn (const PtCudaLane *lane, GError **error)
{
  const struct cudaDeviceProp *properties = &lane->cuda->properties;
  g_autoptr (PtCudnn) self = g_new0 (PtCudnn, 1);

  self->ordinal = lane->cuda->ordinal;
  self->generation = lane->generation;
  self->gpu = g_strdup (properties->name);
  self->capability = properties->major * 10 + properties->minor;
  if (!pt_cudnn_check (cudnnCreate (&self->handle), "starting cuDNN", error)
      || !device_describe (self, lane, error))
    return NULL;
  return g_steal_pointer (&self);
}

/* Those that no thread has. They wait for the next thread: cudnnDestroy() waits
 * for the whole GPU, which is forbidden while any thread records, and
 * cudnnCreate() takes long. What lay in a context that was reset is never
 * asked for again. */
static GMutex device_lock;
static GSList *device_idle;

static void
device_put_cudnn (gpointer data)
{
  PtCudnn *self = data;

  cudnnSetStream (self->handle, NULL);  /* the lane's goes */
  g_mutex_lock (&device_lock);
  device_idle = g_slist_prepend (device_idle, self);
  g_mutex_unlock (&device_lock);
}

static PtCudnn *
device_find_cudnn (const PtCudaLane *lane)
{
  PtCudnn *found = NULL;

  g_mutex_lock (&device_lock);
  for (GSList * at = device_idle; at != NULL && found == NULL; at = at->next) {
    PtCudnn *self = at->data;

    if (self->ordinal == lane->cuda->ordinal
        && self->generation == lane->generation)
      found = self;
  }
  device_idle = g_slist_remove (device_idle, found);
  g_mutex_unlock (&device_lock);
  return found;
}

static PtCudnn *
device_take_cudnn (const PtCudaLane *lane, GError **error)
{
  g_autoptr (PtCudnn) self = device_find_cudnn (lane);

  if (self == NULL)
    self = device_new_cudnn (lane, error);
  if (self == NULL || !pt_cudnn_check (cudnnSetStream (self->handle,
              lane->stream), "giving cuDNN its stream", error))
    return NULL;
  return g_steal_pointer (&self);
}

/* What cuDNN tried and did without is not to be found by whoever launches the
 * next kernel; what ruins the context stays. */
static void
device_forget_errors (void)
{
  cudaGetLastError ();
}

PtCudnn *
pt_cudnn_get (PtDevice *device, GError **error)
{
  PtCudaLane *lane = pt_cuda_lane (device, error);

  if (lane != NULL && lane->cudnn == NULL) {
    lane->cudnn = device_take_cudnn (lane, error);
    lane->cudnn_free = device_put_cudnn;
    device_forget_errors ();
    if (lane->cudnn == NULL)
      g_prefix_error (error, "device %s: ", device->name);
  }
  return lane != NULL ? lane->cudnn : NULL;
}

gboolean
pt_plan_new_for (PtOp *op, const PtConvGraph *graph, PtPlan **plan,
    GError **error)
{
  PtCudnn *cudnn = pt_cudnn_get (op->workspace->device, error);
  g_auto (PtPlanRules) rules = { FALSE, };
  gboolean ok;

  *plan = NULL;
  if (cudnn == NULL)
    return FALSE;
  pt_plan_rules_init (&rules, op->workspace, cudnn);
  ok = pt_plan_new (cudnn, graph, &rules, plan, error);
  device_forget_errors ();
  return ok;
}

/* The descriptor of @keys, which are pointers by PtConvTensor and then the
 * workspace. */
static cudnnBackendDescriptor_t
device_new_pack (const PtPlan *self, const gpointer *keys, GError **error)
{
  const PtConvGraph *graph = &self->graph;
  gint64 ids[PT_CONV_N_TENSORS], n = 0;
  gpointer pointers[PT_CONV_N_TENSORS];
  g_autoptr (PtDescriptors) all = pt_descriptors_new ();
  cudnnBackendDescriptor_t pack = pt_descriptors_add (all,
      CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);

  for (gint64 i = 0; i < PT_CONV_N_TENSORS; i++)
    if ((i != PT_CONV_B || graph->bias) && (i != PT_CONV_ADD || graph->add)) {
      ids[n] = i;
      pointers[n++] = keys[i];
    }
  pt_descriptors_set (all, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
      CUDNN_TYPE_INT64, n, ids);
  pt_descriptors_set (all, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
      CUDNN_TYPE_VOID_PTR, n, pointers);
  pt_descriptors_set (all, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
      CUDNN_TYPE_VOID_PTR, 1, keys + PT_CONV_N_TENSORS);
  pt_descriptors_finalize (all, pack);
  if (!pt_descriptors_check (all, "naming its memory", error))
    return NULL;
  return pt_descriptors_take_last (all);
}

static cudnnBackendDescriptor_t
device_get_pack (PtPlan *self, const gpointer *keys, GError **error)
{
  cudnnBackendDescriptor_t pack;
  guint at;

  for (at = 0; at < MIN (self->n_packs, PT_PLAN_PACKS); at++)
    if (memcmp (self->packs[at].pointers, keys,
            sizeof self->packs[at].pointers) == 0)
      return self->packs[at].descriptor;
  pack = device_new_pack (self, keys, error);
  if (pack == NULL)
    return NULL;
  at = self->n_packs++ % PT_PLAN_PACKS;
  if (self->packs[at].descriptor != NULL)
    cudnnBackendDestroyDescriptor (self->packs[at].descriptor);
  memcpy (self->packs[at].pointers, keys, sizeof self->packs[at].pointers);
  self->packs[at].descriptor = pack;
  return pack;
}

gboolean
pt_plan_execute (PtPlan *self, PtCudnn *cudnn,
    const gpointer pointers[PT_CONV_N_TENSORS], gpointer workspace,
    GError **error)
{
  gpointer keys[PT_CONV_N_TENSORS + 1];
  cudnnBackendDescriptor_t pack;
  gboolean ok;

  memcpy (keys, pointers, sizeof keys - sizeof *keys);
  keys[PT_CONV_N_TENSORS] = workspace;
  pack = device_get_pack (self, keys, error);
  ok = pack != NULL && pt_cudnn_check (cudnnBackendExecute (cudnn->handle,
          self->plan, pack), "running", error);
  device_forget_errors ();
  return ok;
}

gboolean
pt_plan_run (PtPlan *self, PtOp *op,
    const gpointer pointers[PT_CONV_N_TENSORS], gpointer workspace,
    GError **error)
{
  PtDevice *device = op->workspace->device;
  PtCudnn *cudnn = pt_cudnn_get (device, error);
  g_autofree gchar *text = NULL;

  if (cudnn != NULL && pt_plan_execute (self, cudnn, pointers, workspace,
          error))
    return TRUE;
  text = pt_conv_graph_print (&self->graph);
  g_prefix_error (error, "device %s: %s: ", device->name, text);
  return FALSE;
}

/* Memory that the plans of one graph are tried on. */
typedef struct
{
  cudaStream_t stream;
  cudaEvent_t start, end;
  gpointer pointers[PT_CONV_N_TENSORS];
  gpointer workspace;
} Trial;

static gboolean
trial_init (Trial *trial, PtCudnn *cudnn, const GPtrArray *plans)
{
  const PtConvGraph *graph = &((PtPlan *) plans->pdata[0])->graph;
  const gint64 *dims[] = { [PT_CONV_X] = graph->x, [PT_CONV_Y] = graph->y,
    [PT_CONV_W] = graph->w, [PT_CONV_ADD] = graph->y };
  gsize workspace = 1;
  enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;

  for (guint i = 0; i < plans->len; i++)
    workspace = MAX (workspace, ((PtPlan *) plans->pdata[i])->workspace);
  if (cudnnGetStream (cudnn->handle, &trial->stream) != CUDNN_STATUS_SUCCESS
      || cudaStreamIsCapturing (trial->stream, &capture) != cudaSuccess
      || capture != cudaStreamCaptureStatusNone
      || cudaEventCreate (&trial->start) != cudaSuccess
      || cudaEventCreate (&trial->end) != cudaSuccess
      || cudaMalloc (&trial->workspace, workspace) != cudaSuccess
      || cudaMalloc (&trial->pointers[PT_CONV_B],
          graph->y[1] * sizeof (gfloat)) != cudaSuccess)
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (dims); i++) {
    gsize bytes = dims[i] == NULL ? 0 : sizeof (gfloat) * dims[i][0] *
        dims[i][1] * dims[i][2] * dims[i][3];

    if (bytes == 0 || (i == PT_CONV_ADD && !graph->add))
      continue;
    if (cudaMalloc (&trial->pointers[i], bytes) != cudaSuccess ||
        cudaMemsetAsync (trial->pointers[i], 0, bytes, trial->stream)
        != cudaSuccess)
      return FALSE;
  }
  return TRUE;
}

static void
trial_clear (Trial *trial)
{
  for (guint i = 0; i < PT_CONV_N_TENSORS; i++)
    cudaFree (trial->pointers[i]);
  cudaFree (trial->workspace);
  if (trial->start != NULL)
    cudaEventDestroy (trial->start);
  if (trial->end != NULL)
    cudaEventDestroy (trial->end);
  device_forget_errors ();
}

/* Milliseconds of some runs behind one that loads; G_MAXFLOAT if it fails. */
static gfloat
trial_run (Trial *trial, PtPlan *plan, PtCudnn *cudnn)
{
  gfloat ms = G_MAXFLOAT;
  gboolean ok = TRUE;

  for (gint i = -1; i < TIME_RUNS && ok; i++) {
    if (i == 0)
      ok = cudaEventRecord (trial->start, trial->stream) == cudaSuccess;
    ok = ok && pt_plan_execute (plan, cudnn, trial->pointers,
        trial->workspace, NULL);
  }
  if (!ok || cudaEventRecord (trial->end, trial->stream) != cudaSuccess ||
      cudaEventSynchronize (trial->end) != cudaSuccess ||
      cudaEventElapsedTime (&ms, trial->start, trial->end) != cudaSuccess)
    return G_MAXFLOAT;
  return ms;
}

guint
pt_plan_time (PtCudnn *cudnn, GPtrArray *plans)
{
  Trial trial = { NULL, };
  gfloat least = G_MAXFLOAT;
  guint best = 0;

  if (cudnn->handle == NULL)
    return 0;
  if (trial_init (&trial, cudnn, plans))
    for (guint i = 0; i < plans->len; i++) {
      gfloat ms = trial_run (&trial, plans->pdata[i], cudnn);

      if (ms < least) {
        least = ms;
        best = i;
      }
    }
  trial_clear (&trial);
  return best;
}
