/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "partime/device.h"
#include "partime/frame.h"
#include "device/op.h"

G_BEGIN_DECLS

/* What a folder under device/ gives: one const PtBackend named
 * pt_backend_<folder>, and one PtOpImpl per operation it knows. */

typedef struct
{
  /* Chooses kernels, sets op->priv, op->scratch and op->weights_size. */
  gboolean (*plan) (PtOp *op, GError **error);
  gboolean (*run) (PtOp *op, const PtOpArgs *args, GError **error);
  void (*clear) (PtOp *op);     /* frees op->priv; may be NULL */
  /* Parameters between PyTorch's row-major order and the device's own; NULL
   * if they are the same. */
  gboolean (*pack) (PtOp *op, const PtTensor *host, PtTensor *device,
      GError **error);
  gboolean (*unpack) (PtOp *op, const PtTensor *device, PtTensor *host,
      GError **error);
} PtOpImpl;

/* A network's output over a frame, both in the device's memory, as is what
 * this points to. */
typedef struct
{
  PtOverlayStyle style;
  const gfloat *y;              /* NHWC */
  const gfloat *range;          /* value at full colour, of heat and flow */
  gint to_x, to_y, to_width, to_height; /* where on the frame it goes */
} PtOverlay;

/* A device computes in order what one thread hands to it. Where it computes
 * later than the call that hands it the work (has_fences), fences order what
 * several threads, several devices or the host do. */
typedef struct
{
  const gchar *name;            /* what a device name starts with */
  const gchar *summary;         /* one phrase and the syntax, for help */
  gboolean host_memory;         /* the CPU may touch its memory */
  guint precisions;             /* 1 << PtPrecision, besides fp32 */
  /* How many devices devices=auto takes, named "name:0" and so on; NULL: none.
   * 0 with an error if something that they need is missing. */
  guint (*count) (GError **error);
  /* @spec is what follows "name:", or NULL. Sets device->priv, n_threads and
   * memory. */
  gboolean (*open) (PtDevice *device, const gchar *spec, GError **error);
  void (*close) (PtDevice *device);
  gpointer (*alloc) (PtDevice *device, gsize bytes);    /* zeros, or NULL */
  void (*free) (PtDevice *device, gpointer data);
  gboolean (*copy) (PtDevice *device, gpointer dst, gconstpointer src,
      gsize bytes, GError **error);
  gboolean (*upload) (PtDevice *device, gpointer dst, gconstpointer host,
      gsize bytes, GError **error);
  gboolean (*download) (PtDevice *device, gpointer host, gconstpointer src,
      gsize bytes, GError **error);
  /* Makes the calling thread this device's: affinity, thread count, modes.
   * Called once by every thread that plans or runs on it. */
  void (*enter) (PtDevice *device);
  /* Gives back what the calling thread alone has of the device, which is done
   * with it; NULL: nothing. A thread that ends without has it taken then. */
  void (*leave) (PtDevice *device);
  gboolean (*wait) (PtDevice *device, GError **error);

  /* The rest is NULL for devices that are done when the call returns. */

  /* Memory of the host that the device reads and writes fast; zeros. */
  gpointer (*alloc_host) (PtDevice *device, gsize bytes);
  void (*free_host) (PtDevice *device, gpointer data);
  /* A fence is passed once all that the calling thread has handed to its
   * device before the signal is done. */
  gpointer (*fence_new) (PtDevice *device, GError **error);
  void (*fence_free) (PtDevice *device, gpointer fence);
  gboolean (*fence_signal) (PtDevice *device, gpointer fence, GError **error);
  /* What the calling thread hands to @waiter, of the same backend, after this
   * is done behind @fence; NULL: the thread itself waits. */
  gboolean (*fence_wait) (PtDevice *device, gpointer fence, PtDevice *waiter,
      GError **error);
  /* A fence that notes when it is passed, which takes a little longer; and the
   * ns between two, or -1 where that cannot be told yet. */
  gpointer (*clock_new) (PtDevice *device, GError **error);
  gint64 (*clock_between) (PtDevice *device, gpointer from, gpointer to);
  /* What the calling thread hands to @device between the first two is kept,
   * not done; the third does it, as often as wanted. */
  gboolean (*record) (PtDevice *device, GError **error);
  gpointer (*recorded) (PtDevice *device, GError **error);
  gboolean (*replay) (PtDevice *device, gpointer recording, GError **error);
  void (*recording_free) (PtDevice *device, gpointer recording);
  /* The next four are of video frames in the device's memory, in the order of
   * the calling thread's work; NULL: not supported. As packed bytes, likewise
   * there, rows @stride apart; or normalised, rows without gaps. */
  gboolean (*pack_frame) (PtDevice *device, const PtFrame *frame,
      const PtFrameView *view, guint8 *to, gsize stride, GError **error);
  gboolean (*normalise_frame) (PtDevice *device, const PtFrame *frame,
      const PtFrameView *view, gfloat *to, GError **error);
  /* @channels of each pixel of @from become the group @at of @n. */
  gboolean (*stack_frame) (PtDevice *device, const gfloat *from, gsize pixels,
      guint channels, gfloat *to, guint at, guint n, GError **error);
  gboolean (*blend_frame) (PtDevice *device, const PtFrame *frame,
      const PtOverlay *overlay, GError **error);
  const PtOpImpl *ops[PT_N_OPS];        /* NULL: not supported */
} PtBackend;

struct _PtDevice
{
  gatomicrefcount refs;
  const PtBackend *backend;
  gchar *name;                  /* as asked for, such as "cpu:0-1" */
  guint n_threads;              /* threads one operation computes with */
  guint memory;                 /* of the backend's memories, the number */
  gpointer priv;                /* the backend's */
};

/* Makes another backend known, as a module does; for as long as the process
 * lives. */
void pt_device_add_backend (const PtBackend *backend);
guint pt_device_get_n_threads (PtDevice *device);
const PtBackend *pt_device_find_backend (const gchar *name, GError **error);
/* Whether what one has in memory, the other can use as it is. */
gboolean pt_device_shares_memory (PtDevice *a, PtDevice *b);
void pt_device_enter (PtDevice *device);
void pt_device_leave (PtDevice *device);
gboolean pt_device_wait (PtDevice *device, GError **error);
PtTensor *pt_device_tensor_new (PtDevice *device, PtDType dtype,
    const PtShape *shape, GError **error);
PtTensor *pt_device_bytes_new (PtDevice *device, gsize bytes, GError **error);
PtTensor *pt_device_host_tensor_new (PtDevice *device, PtDType dtype,
    const PtShape *shape, GError **error);
gboolean pt_device_wait_frame (PtDevice *device, const PtFrame *frame,
    GError **error);
PtTensor *pt_tensor_view (PtTensor *base, gsize offset, const PtShape *shape,
    gsize bytes);
gboolean pt_device_upload (PtDevice *device, PtTensor *dst,
    const PtTensor *host, GError **error);
gboolean pt_device_download (PtDevice *device, PtTensor *host,
    const PtTensor *src, GError **error);
gboolean pt_device_copy (PtDevice *device, PtTensor *dst, const PtTensor *src,
    GError **error);
gboolean pt_device_transfer (PtDevice *to, PtTensor *dst, PtDevice *from,
    const PtTensor *src, GError **error);
/* Parses "cpu:0,cpu:1", "sim:500*8" or "auto" (all GPUs, or else one
 * device per core). */
GPtrArray *pt_device_open_list (const gchar *text, GError **error);
GPtrArray *pt_device_open_accelerators (GError **error);
/* A device of @count of the machine's cores, starting with @first. */
PtDevice *pt_device_open_cores (guint first, guint count, GError **error);
/* Numbers of the cores the process may run on, ascending; and how many. */
const guint *pt_device_get_cores (guint *n);
guint pt_device_count_cores (void);

G_END_DECLS
