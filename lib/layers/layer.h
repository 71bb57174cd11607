/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/params.h"
#include "device/op.h"

G_BEGIN_DECLS

/* A layer is a pure function over tensors handed to it. It never remembers a
 * tensor between forward and backward: what backward needs it declares here,
 * and the engine keeps and rotates it. That is what lets a gradient arrive
 * frames later.
 *
 * Parameter gradients and input gradients are overwritten, not added to; the
 * engine adds where a tensor has several readers. backward() may use dy as
 * scratch. */

#define PT_LAYER_MAX_WEIGHTS 4
#define PT_LAYER_MAX_SAVED 3
#define PT_LAYER_MAX_OPS 8

typedef struct _PtLayer PtLayer;
typedef struct _PtLayerKind PtLayerKind;
typedef struct _PtMap PtMap;

/* A parameter, or with learned FALSE a buffer in PyTorch's sense. */
typedef struct
{
  const gchar *name;            /* "weight", "bias", "running_mean" */
  PtShape shape;                /* as PyTorch's */
  gboolean learned;
} PtWeight;

typedef struct
{
  PtDType dtype;
  PtShape shape;
} PtSaved;

struct _PtLayer
{
  const PtLayerKind *kind;
  gchar *name;                  /* the group in the file */
  gpointer options;             /* the kind's options struct */
  guint n_inputs;
  PtShape inputs[PT_OP_MAX_INPUTS];
  /* set by infer() */
  gdouble lr_scale;             /* of the learning rate of its weights */
  PtShape output;
  guint n_weights;
  PtWeight weights[PT_LAYER_MAX_WEIGHTS];
  guint n_saved;
  PtSaved saved[PT_LAYER_MAX_SAVED];
  gboolean backward_uses_x;
  gboolean backward_uses_y;
};

/* A layer's operations on one device. packers[i] is the operation whose
 * layout weight i has there; NULL: that of any tensor, core/tensor.h. */
typedef struct
{
  PtOp *ops[PT_LAYER_MAX_OPS];  /* indexed by the kind's own enum */
  PtOp *packers[PT_LAYER_MAX_WEIGHTS];  /* lent, from ops */
} PtLayerPlan;

typedef struct
{
  PtTensor *x[PT_OP_MAX_INPUTS];
  PtTensor *y;
  PtTensor *w[PT_LAYER_MAX_WEIGHTS];
  PtTensor *half[PT_LAYER_MAX_WEIGHTS]; /* of w: see PtOpArgs; or NULL */
  PtTensor *saved[PT_LAYER_MAX_SAVED];
  PtTensor *dy;
  PtTensor *dx[PT_OP_MAX_INPUTS];       /* NULL: not wanted */
  PtTensor *dw[PT_LAYER_MAX_WEIGHTS];   /* NULL for buffers */
  gboolean frozen;              /* dw need not be filled in */
  gboolean learning;            /* the frame learns: statistics move, dropout
                                 * drops */
  guint64 seed;                 /* of this layer and frame */
  const PtLive *live;           /* on the device: its seed holds; or NULL */
} PtLayerArgs;

struct _PtLayerKind
{
  const gchar *name;            /* type= in the file */
  const gchar *summary;         /* one phrase, with PyTorch's name for it */
  gsize options_size;
  const PtParam *params;
  guint min_inputs, max_inputs;
  gboolean any_shape;           /* inputs need not be 1xF or 1xCx... */
  /* Options and shapes as lines the tests run: "in=1x3x8x8 kernel=3"; inputs
   * are separated by commas. NULL-terminated. */
  const gchar *const *samples;
  /* From inputs and options to output, weights and saved. Errors say what
   * was found and expected; the caller adds file and group. */
  gboolean (*infer) (PtLayer *layer, GError **error);
  /* First values of weight i, row-major, from (seed, layer name); NULL if the
   * kind has no weights. PyTorch's defaults. */
  void (*init) (const PtLayer *layer, guint i, gfloat *data, guint64 seed);
  gboolean (*plan) (const PtLayer *layer, PtWorkspace *workspace,
      PtLayerPlan *plan, GError **error);
  gboolean (*forward) (const PtLayer *layer, PtLayerPlan *plan,
      const PtLayerArgs *args, GError **error);
  gboolean (*backward) (const PtLayer *layer, PtLayerPlan *plan,
      const PtLayerArgs *args, GError **error);
  /* For inference: whether y = scale x + shift with two numbers for each index
   * of @axis, and these from the weights' values, unless @scale is NULL. NULL:
   * never. */
  gboolean (*get_scale) (const PtLayer *layer, guint axis,
      PtTensor *const *weights, gdouble *scale, gdouble *shift);
  /* For inference: scales the output along channels_axis, but for the bias, by
   * changing the elements of weight 0. Weight 1 is the bias, which an option of
   * that name may leave out; another one is activation. NULL: no such layer. */
  void (*scale_weight) (const PtLayer *layer, const gdouble *scale,
      gfloat *weight);
  gint channels_axis;           /* of the output; -1: its last */
  /* Which of pt_activation_names the layer is, with their options; or NULL,
   * always if this is. */
  const gchar *(*get_activation) (const PtLayer *layer);
  /* What only moves elements: from where to where, layers/combine.h. NULL: it
   * does more. */
  gboolean (*get_map) (const PtLayer *layer, PtMap *map, GError **error);
  /* Rough cost of the forward pass in floating-point operations; NULL: the
   * number of output elements. */
  gdouble (*flops) (const PtLayer *layer);
};

extern const PtLayerKind *const pt_layer_kinds[];       /* NULL-terminated,
                                                         * made from the list
                                                         * in meson.build */

const PtLayerKind *pt_layer_kind_find (const gchar *name);
PtLayer *pt_layer_new (const PtLayerKind *kind, const gchar *name);
void pt_layer_free (PtLayer *layer);
gboolean pt_layer_infer (PtLayer *layer, GError **error);
guint64 pt_layer_count_parameters (const PtLayer *layer);
gdouble pt_layer_get_flops (const PtLayer *layer);
void pt_layer_init_weight (const PtLayer *layer, guint i, gfloat *data,
    guint64 seed);
gboolean pt_layer_plan (const PtLayer *layer, PtWorkspace *workspace,
    PtLayerPlan *plan, GError **error);
void pt_layer_plan_clear (PtLayerPlan *plan);
gboolean pt_layer_forward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
gboolean pt_layer_backward (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
/* PyTorch's reset_parameters(): U(-1/sqrt(fan_in), 1/sqrt(fan_in)). */
void pt_layer_init_fan_in (const PtLayer *layer, guint i, gint64 fan_in,
    gfloat *data, guint64 seed);

/* What the kinds share. An operation's description with shapes filled in. */
PtOpDesc pt_layer_op_desc (const PtLayer *layer,
    const PtWorkspace *workspace, PtOpType type);
gboolean pt_layer_plan_op (PtLayerPlan *plan, guint slot,
    PtWorkspace *workspace, const PtOpDesc *desc, GError **error);
/* Layers that are one operation each way: ops[0] x -> y is @desc, ops[1] is
 * of type @backward, dy -> dx with x and y if the layer says it uses them. */
gboolean pt_layer_plan_unary (PtLayerPlan *plan, PtWorkspace *workspace,
    const PtOpDesc *desc, PtOpType backward, GError **error);
gboolean pt_layer_forward_unary (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
gboolean pt_layer_backward_unary (const PtLayer *layer, PtLayerPlan *plan,
    const PtLayerArgs *args, GError **error);
gboolean pt_layer_check_rank (const PtLayer *layer, guint rank,
    GError **error);
gboolean pt_layer_same_shape (PtLayer *layer, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtLayer, pt_layer_free)

G_END_DECLS
