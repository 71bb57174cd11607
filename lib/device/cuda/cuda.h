/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <cuda_runtime.h>

#include "device/backend.h"

G_BEGIN_DECLS

/* One GPU, shared by all its devices in this process. */
typedef struct
{
  guint ordinal;
  guint n_users;
  guint generation;             /* of its context: another one after a reset */
  gint broken;                  /* atomic: it failed for good */
  struct cudaDeviceProp properties;
} PtCuda;

/* One host thread's way to one GPU: what it hands over is done in order. */
typedef struct
{
  PtCuda *cuda;
  guint generation;
  cudaStream_t stream;
  gpointer cudnn;               /* PtCudnn; see plan.h */
  void (*cudnn_free) (gpointer cudnn);  /* or keep for another thread */
} PtCudaLane;

PtCudaLane *pt_cuda_lane (PtDevice *device, GError **error);
void pt_cuda_leave (PtDevice *device);
/* TRUE, or FALSE with PT_ERROR_DEVICE naming device, @what and CUDA's text. */
gboolean pt_cuda_check (PtDevice *device, cudaError_t status,
    const gchar *what, GError **error);

#define PT_CUDA(device, call, error) \
  pt_cuda_check ((device), (call), #call, (error))

extern const PtBackend pt_backend_cuda;

/* emulated, those that are not linked are not supported */
#ifdef PT_CUDA_EMULATED
#define PT_CUDA_OP(name) \
  extern const PtOpImpl pt_cuda_##name __attribute__ ((weak))
#else
#define PT_CUDA_OP(name) extern const PtOpImpl pt_cuda_##name
#endif
PT_CUDA_OP (conv);
PT_CUDA_OP (conv_data);
PT_CUDA_OP (conv_weights);
PT_CUDA_OP (conv_transpose);
PT_CUDA_OP (conv_transpose_data);
PT_CUDA_OP (conv_transpose_weights);
PT_CUDA_OP (linear);
PT_CUDA_OP (linear_data);
PT_CUDA_OP (linear_weights);
PT_CUDA_OP (activation);
PT_CUDA_OP (activation_backward);
PT_CUDA_OP (pool);
PT_CUDA_OP (pool_backward);
PT_CUDA_OP (upsample);
PT_CUDA_OP (upsample_backward);
PT_CUDA_OP (batch_norm);
PT_CUDA_OP (batch_norm_backward);
PT_CUDA_OP (normalize);
PT_CUDA_OP (normalize_backward);
PT_CUDA_OP (lrn);
PT_CUDA_OP (lrn_backward);
PT_CUDA_OP (grid_sample);
PT_CUDA_OP (grid_sample_backward);
PT_CUDA_OP (softmax);
PT_CUDA_OP (softmax_backward);
PT_CUDA_OP (add);
PT_CUDA_OP (concat);
PT_CUDA_OP (split);
PT_CUDA_OP (flatten);
PT_CUDA_OP (unflatten);
PT_CUDA_OP (combine);
PT_CUDA_OP (dropout);
PT_CUDA_OP (multiply);
PT_CUDA_OP (binary);
PT_CUDA_OP (binary_backward);
PT_CUDA_OP (pointwise_loss);
PT_CUDA_OP (binary_cross_entropy);
PT_CUDA_OP (cross_entropy);
PT_CUDA_OP (ssim);
PT_CUDA_OP (flow_loss);
PT_CUDA_OP (update);
PT_CUDA_OP (dot);
PT_CUDA_OP (project);
PT_CUDA_OP (check_finite);
PT_CUDA_OP (gate);
PT_CUDA_OP (go);
#undef PT_CUDA_OP

G_END_DECLS
