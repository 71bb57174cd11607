/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "formats/onnx.h"

#include <onnx.pb-c.h>

G_BEGIN_DECLS

/* What the files onnx*.c share. A tensor of ONNX is a layer's output of the
 * same dimensions, perhaps with ones behind: pt_onnx_exact() takes those away.
 * Of a model whose batch is fixed to more than one, each is a frame of its own
 * and dimension 0 of every layer is 1 ("frames"); or, if an operator mixes
 * them, the whole batch is one frame, and every dimension is ONNX's. */

#define ONNX_MAX_DIMS 8
#define ONNX_NO_LAYER -2

/* Something in the graph that has a name. */
typedef struct
{
  const Onnx__TensorProto *constant;    /* lent; NULL: a layer's output */
  gint layer;                   /* or PT_NETWORK_INPUT */
  guint rank;                   /* ONNX's, 0 to PT_MAX_DIMS */
  gboolean alone;               /* the layer's output has one reader only */
  gboolean whole;               /* integers or truth values, though floats here */
} OnnxValue;

typedef enum
{
  ONNX_ASKED_ALL,
  ONNX_ASKED_FLOATS,            /* and the first */
  ONNX_ASKED_FIRST,
} OnnxAsked;

typedef struct
{
  PtNetwork *network;
  const gchar *path;            /* for messages, and for external data */
  const Onnx__GraphProto *graph;
  PtOpenSize *open;             /* of the frames, or NULL */
  GHashTable *constants;        /* given by the caller, or NULL */
  gint64 opset;
  gint64 batch;                 /* frames that N of all tensors stands for; 1
                                 * where dimensions are exact */
  GHashTable *values;           /* name, lent -> OnnxValue */
  GHashTable *uses;             /* name, lent -> how many read it */
  GHashTable *names;            /* of layers, owned */
  GHashTable *reshaped;         /* "layer shape", owned -> layer + 1 */
  GPtrArray *made;              /* constants that were worked out, or NULL */
  gint64 fold_left;             /* elements that those to come may have */
  gdouble weight_bytes;         /* of all layers */
  gboolean whole;               /* the batch is one frame */
  OnnxAsked asked;              /* outputs, where none is named */
  guint n_done;                 /* nodes */
  const Onnx__NodeProto *node;  /* at hand */
  guint number;                 /* of it */
} OnnxImport;

typedef gboolean (*OnnxFunc) (OnnxImport *self, GError **error);

typedef struct
{
  const gchar *name;            /* op_type */
  OnnxFunc func;
  const gchar *attributes;      /* those it may have, between spaces */
} OnnxOperator;

/* -- onnx.c -- */

/* "PATH: cannot use the ONNX model: ...", always FALSE. */
gboolean pt_onnx_fail (const OnnxImport *self, GError **error,
    const gchar *format, ...) G_GNUC_PRINTF (3, 4);
/* The network of @model, whose path, bounds and constants @self has. */
PtNetwork *pt_onnx_import (OnnxImport *self, const Onnx__ModelProto *model,
    const PtSettings *given, GError **error);

/* -- onnx-input.c -- */

gboolean pt_onnx_add_input (OnnxImport *self, GError **error);

/* -- onnx-output.c -- */

/* The names, lent, of the tensors that network.output names, else of the
 * outputs that are asked for. NULL with an error. */
GPtrArray *pt_onnx_find_outputs (OnnxImport *self, GError **error);
/* Asks for fewer outputs from here on; FALSE: there is only one. */
gboolean pt_onnx_ask_less (OnnxImport *self);
/* Leaves the layers that outputs @names need, which are a network then. */
gboolean pt_onnx_finish (OnnxImport *self, const GPtrArray *names,
    GError **error);

/* -- onnx-guard.c -- */

/* Whether unpacking @data stays within a sane depth and number of messages:
 * protobuf-c recurses without bound. */
gboolean pt_onnx_guard (const guint8 *data, gsize size, const gchar *path,
    GError **error);

/* -- onnx-tensor.c -- */

gboolean pt_onnx_tensor_get_dims (const OnnxImport *self,
    const Onnx__TensorProto *tensor, gint64 *dims, guint *n_dims,
    gint64 *n_elements, GError **error);
/* All elements, converted; NULL with an error. */
gfloat *pt_onnx_tensor_get_floats (const OnnxImport *self,
    const Onnx__TensorProto *tensor, GError **error);
/* The same, where infinity is but a bound: it becomes the largest number. */
gfloat *pt_onnx_tensor_get_clamped (const OnnxImport *self,
    const Onnx__TensorProto *tensor, GError **error);
gint64 *pt_onnx_tensor_get_ints (const OnnxImport *self,
    const Onnx__TensorProto *tensor, GError **error);

/* -- onnx-fold.c -- */

/* Names the outputs of a node that depends on constants and shapes alone;
 * *@done tells whether it does. */
gboolean pt_onnx_fold (OnnxImport *self, gboolean *done, GError **error);

/* -- onnx-node.c: the node at hand -- */

/* "PATH: node NAME (OPERATOR): ...", always FALSE. */
gboolean pt_onnx_refuse (const OnnxImport *self, GError **error,
    const gchar *format, ...) G_GNUC_PRINTF (3, 4);
const Onnx__AttributeProto *pt_onnx_find (const OnnxImport *self,
    const gchar *name);
gint64 pt_onnx_get_int (const OnnxImport *self, const gchar *name,
    gint64 missing);
gdouble pt_onnx_get_float (const OnnxImport *self, const gchar *name,
    gdouble missing);
/* Compares; @missing counts where there is no such attribute. */
gboolean pt_onnx_is_text (const OnnxImport *self, const gchar *name,
    const gchar *text, const gchar *missing);
/* Into @values, which hold the defaults: exactly @n, each 0 to a million. */
gboolean pt_onnx_get_sizes (const OnnxImport *self, const gchar *name,
    gint64 *values, guint n, GError **error);
/* An output of the graph, or of any of its nodes, by its name; NULL if there
 * is none. */
const gchar *pt_onnx_find_tensor (const OnnxImport *self, const gchar *name);
/* Input @i: NULL if it was left out. */
const OnnxValue *pt_onnx_get_input (const OnnxImport *self, guint i);
/* Input @i, which must be a layer's output of rank @low to @high. */
const OnnxValue *pt_onnx_need_layer (const OnnxImport *self, guint i,
    guint low, guint high, GError **error);
const Onnx__TensorProto *pt_onnx_need_constant (const OnnxImport *self,
    guint i, GError **error);
/* A list of integers, at most ONNX_MAX_DIMS. */
gboolean pt_onnx_need_ints (const OnnxImport *self, guint i, gint64 *values,
    guint *n, GError **error);
/* An attribute that is not among @names, each between spaces, could change
 * what the node means. */
gboolean pt_onnx_check_attributes (const OnnxImport *self, const gchar *names,
    GError **error);
gboolean pt_onnx_count_inputs (const OnnxImport *self, guint low, guint high,
    GError **error);
/* A list of integers, at most ONNX_MAX_DIMS, which from opset @since on is
 * input @i and was attribute @name before; *@n is 0 if there is none. */
gboolean pt_onnx_get_list (const OnnxImport *self, guint i, const gchar *name,
    gint64 since, gint64 *values, guint *n, GError **error);
/* -1 counts from the end. */
gint64 pt_onnx_get_axis (const OnnxValue *value, gint64 axis);
/* The same for an operator that works along it: one that is not there is
 * refused, and so are frames. -1 with an error. */
gint pt_onnx_need_axis (const OnnxImport *self, const OnnxValue *value,
    gint64 axis, GError **error);

/* -- onnx-graph.c: layers -- */

const PtShape *pt_onnx_get_shape (const OnnxImport *self, gint layer);
/* ONNX's dimensions of a layer's output, ones behind value->rank. */
void pt_onnx_get_dims (const OnnxImport *self, const OnnxValue *value,
    gint64 dims[PT_MAX_DIMS]);
/* Adds a layer that reads @inputs; @words are its options, "kernel=3;3".
 * Returns its index, or ONNX_NO_LAYER. */
gint pt_onnx_add_layer (OnnxImport *self, const gchar *kind,
    const gint *inputs, guint n_inputs, const gchar *words, GError **error);
/* The same for one input, and the node's output is the layer's. */
gboolean pt_onnx_add_unary (OnnxImport *self, const gchar *kind,
    const OnnxValue *x, const gchar *words, GError **error);
/* Gives weight @i of @layer its values, (transfer full). */
gboolean pt_onnx_set_weight (OnnxImport *self, gint layer, guint i,
    gfloat *data, GError **error);
/* The same from a tensor, in the order it has there; @rank dimensions, which
 * but for trailing ones must be the weight's. */
gboolean pt_onnx_take_weight (OnnxImport *self, gint layer, guint i,
    const Onnx__TensorProto *tensor, GError **error);
/* Changes an option of a layer that is there. */
gboolean pt_onnx_set_option (OnnxImport *self, gint layer, const gchar *key,
    const gchar *value, GError **error);
/* The layer of @x, or a flatten layer after it, so that it is 1xF. */
gint pt_onnx_as_row (OnnxImport *self, const OnnxValue *x, GError **error);
/* The layer of @x, or a reshape layer after it, whose output has exactly the
 * dimensions of @x (but for frames, and rank 0, which is shape 1): to be used
 * before shapes are aligned from the right. ONNX_NO_LAYER with an error. */
gint pt_onnx_exact (OnnxImport *self, const OnnxValue *x, GError **error);
/* The same as (N, C, H, W) with ones for what rank 2 to 4 lacks, as layers of
 * images take it. */
gint pt_onnx_as_image (OnnxImport *self, const OnnxValue *x, GError **error);
/* A reshape layer after @layer, unless it has that shape; the same one for all
 * that ask. */
gint pt_onnx_reshape (OnnxImport *self, gint layer, const PtShape *shape,
    GError **error);
/* Names output @i of the node, which may lack it, or its first. */
gboolean pt_onnx_set_output_at (OnnxImport *self, guint i, gint layer,
    guint rank, GError **error);
gboolean pt_onnx_set_output (OnnxImport *self, gint layer, guint rank,
    GError **error);
/* The node's first output is @x. */
gboolean pt_onnx_pass (OnnxImport *self, const OnnxValue *x, GError **error);
gboolean pt_onnx_add_value (OnnxImport *self, const gchar *name,
    const OnnxValue *value, GError **error);

/* -- onnx-eltwise.c -- */

/* Two operands, one of which comes from the picture; the result is *@joined. */
gboolean pt_onnx_join (OnnxImport *self, const gchar *kind,
    const OnnxValue *a, const OnnxValue *b, OnnxValue *joined,
    GError **error);
/* Adds a layer that multiplies by @factor; its index, or ONNX_NO_LAYER. */
gint pt_onnx_multiply (OnnxImport *self, gint layer, gdouble factor,
    GError **error);

/* -- onnx-part.c -- */

/* A constant as a layer of its own, which must read something: @x. Its index,
 * or ONNX_NO_LAYER. */
gint pt_onnx_add_constant (OnnxImport *self, const Onnx__TensorProto *tensor,
    gint x, guint *rank, GError **error);

/* -- onnx-compare.c -- */

/* 1 where the value is not 0, else 0. */
gboolean pt_onnx_add_truth (OnnxImport *self, const OnnxValue *x,
    GError **error);

/* -- onnx-fuse.c -- */

/* A layer that computes what those that end with @layer do together, or
 * @layer itself; ONNX_NO_LAYER with an error. */
gint pt_onnx_fuse (OnnxImport *self, gint layer, GError **error);

/* -- operators, by file; each ends with a row whose name is NULL -- */

extern const OnnxOperator pt_onnx_ops[];
extern const OnnxOperator pt_onnx_ops_activation[];
extern const OnnxOperator pt_onnx_ops_compare[];
extern const OnnxOperator pt_onnx_ops_eltwise[];
extern const OnnxOperator pt_onnx_ops_norm[];
extern const OnnxOperator pt_onnx_ops_part[];
extern const OnnxOperator pt_onnx_ops_products[];
extern const OnnxOperator pt_onnx_ops_resize[];
extern const OnnxOperator pt_onnx_ops_scatter[];
extern const OnnxOperator pt_onnx_ops_structure[];
extern const OnnxOperator pt_onnx_ops_window[];

G_END_DECLS
