/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "device/cuda/graph.h"

G_BEGIN_DECLS

/* cuDNN as one thread has it on one GPU. */
typedef struct _PtCudnn PtCudnn;

/* The lane's, made when first asked for. */
PtCudnn *pt_cudnn_get (PtDevice *device, GError **error);
/* Without a GPU: makes plans for the one that @json describes, in cuDNN's
 * words (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION), and runs none.
 * @capability is 90 for sm_90. */
PtCudnn *pt_cudnn_new_described (const gchar *json, const gchar *gpu,
    guint capability, GError **error);
void pt_cudnn_free (PtCudnn *self);

/* Which plans will do. */
typedef struct
{
  gboolean deterministic;
  gsize max_workspace;
  gboolean timed;               /* the fastest in a trial; else the first */
  gchar *cache;                 /* a folder; NULL: none */
} PtPlanRules;

/* As @workspace wants it and as the environment says:
 * PARTIME_CUDNN_WORKSPACE_MB, PARTIME_CUDNN_AUTOTUNE and XDG_CACHE_HOME. */
void pt_plan_rules_init (PtPlanRules *rules, const PtWorkspace *workspace,
    const PtCudnn *cudnn);
void pt_plan_rules_clear (PtPlanRules *rules);

#define PT_PLAN_PACKS 16

/* How cuDNN will do what a graph says. */
typedef struct
{
  PtConvGraph graph;
  gsize workspace;              /* bytes */
  guint32 numerical;            /* 1 << cudnnBackendNumericalNote_t */
  guint32 behavior;             /* 1 << cudnnBackendBehaviorNote_t */
  gboolean cached;              /* it was found in the cache */
  gpointer descriptors;
  gpointer plan;                /* cudnnBackendDescriptor_t */
  /* What it runs on. The pointers are few and come back, but cuDNN wants a
   * descriptor for each set of them that cannot be changed. */
  struct
  {
    gpointer pointers[PT_CONV_N_TENSORS + 1];
    gpointer descriptor;
  } packs[PT_PLAN_PACKS];
  guint n_packs;                /* so far; the oldest makes room */
} PtPlan;

/* TRUE with *plan NULL: cuDNN has none that obeys, or none but such as it
 * compiles when first used. FALSE: the GPU lacks the precision, or an
 * error. */
gboolean pt_plan_new (PtCudnn *cudnn, const PtConvGraph *graph,
    const PtPlanRules *rules, PtPlan **plan, GError **error);
void pt_plan_free (PtPlan *self);
/* The same for an operation on its device. */
gboolean pt_plan_new_for (PtOp *op, const PtConvGraph *graph, PtPlan **plan,
    GError **error);
/* @pointers by PtConvTensor; @workspace has the bytes it asks for. */
gboolean pt_plan_run (PtPlan *self, PtOp *op,
    const gpointer pointers[PT_CONV_N_TENSORS], gpointer workspace,
    GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtCudnn, pt_cudnn_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtPlan, pt_plan_free)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (PtPlanRules, pt_plan_rules_clear)

G_END_DECLS
