/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <stdbool.h>

#include <cudnn_graph.h>

#include "device/cuda/plan.h"

G_BEGIN_DECLS

/* What lies behind plan.h: nobody else sees cuDNN. */

/* Descriptors that live and die together. After the first failure nothing
 * more is done to them, and pt_descriptors_check() tells it. */
typedef struct
{
  GPtrArray *all;
  cudnnStatus_t status;
  gchar *message;               /* cuDNN's own words about it */
} PtDescriptors;

PtDescriptors *pt_descriptors_new (void);
void pt_descriptors_free (PtDescriptors *self);
cudnnBackendDescriptor_t pt_descriptors_add (PtDescriptors *self,
    cudnnBackendDescriptorType_t type);
void pt_descriptors_set (PtDescriptors *self, cudnnBackendDescriptor_t to,
    cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
    gint64 n, gconstpointer values);
void pt_descriptors_finalize (PtDescriptors *self,
    cudnnBackendDescriptor_t which);
/* The caller owns it then. */
cudnnBackendDescriptor_t pt_descriptors_take_last (PtDescriptors *self);
/* TRUE, or FALSE with cuDNN's text: PT_ERROR_UNSUPPORTED for what it does not
 * do, else PT_ERROR_DEVICE. */
gboolean pt_descriptors_check (const PtDescriptors *self, const gchar *what,
    GError **error);
gboolean pt_cudnn_check (cudnnStatus_t status, const gchar *what,
    GError **error);

/* Of one value; its type in C is what cuDNN expects. */
#define PT_DESCRIPTORS_SET(self, to, name, type, value) \
  pt_descriptors_set ((self), (to), (name), (type), 1, &(value))

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtDescriptors, pt_descriptors_free)

struct _PtCudnn
{
  cudnnHandle_t handle;         /* NULL if its GPU is only described */
  guint ordinal, generation;    /* of the GPU, with a handle */
  PtDescriptors *descriptors;
  cudnnBackendDescriptor_t properties;  /* of the GPU */
  gchar *gpu;                   /* the GPU's name */
  guint capability;             /* 90 for sm_90 */
};

/* Makes the descriptor of the GPU's properties, which one attribute tells. */
gboolean pt_cudnn_describe (PtCudnn *self, cudnnBackendAttributeName_t name,
    cudnnBackendAttributeType_t type, gint64 n, gconstpointer values,
    GError **error);

/* The operation graph, finalized unless @all tells otherwise. */
cudnnBackendDescriptor_t pt_conv_graph_build (const PtConvGraph *graph,
    PtDescriptors *all);

/* The plan of @config, with its notes and its workspace; NULL if cuDNN makes
 * none. */
PtPlan *pt_plan_new_config (PtCudnn *cudnn, const PtConvGraph *graph,
    cudnnBackendDescriptor_t config);
gboolean pt_plan_execute (PtPlan *self, PtCudnn *cudnn,
    const gpointer pointers[PT_CONV_N_TENSORS], gpointer workspace,
    GError **error);
/* The number of the fastest of @plans on the GPU, by trying; 0 if they cannot
 * be tried. */
guint pt_plan_time (PtCudnn *cudnn, GPtrArray *plans);

G_END_DECLS
