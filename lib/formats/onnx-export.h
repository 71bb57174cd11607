/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "network/network.h"

#include <onnx.pb-c.h>

G_BEGIN_DECLS

/* What the files onnx-export*.c share. Each layer becomes one or more nodes;
 * the last one's output has the layer's name, and a tensor the dimensions it
 * has here. A kind that can be written has a row in a table of writers. */

#define ONNX_EXPORT_OPSET 20
/* What metadata_props are called that are settings: "partime.GROUP.KEY". */
#define ONNX_EXPORT_PREFIX "partime."
/* Options of layers that ONNX has no place for and that change no output. */
extern const gchar *const pt_onnx_layer_options[];

typedef struct _OnnxExport OnnxExport;

/* Writes the nodes of the layer at hand; FALSE with an error that says what
 * ONNX has no word for. */
typedef gboolean (*OnnxWriteFunc) (OnnxExport *self, GError **error);

typedef struct
{
  const gchar *kind;            /* PtLayerKind.name, or an activation's */
  OnnxWriteFunc func;           /* NULL: ONNX has nothing like it */
  const gchar *operator;        /* for the func, if it asks */
  const gchar *reason;          /* without one: "has no ..." */
} OnnxWriter;

struct _OnnxExport
{
  const gchar *path;            /* for messages */
  Onnx__GraphProto graph;
  GPtrArray *nodes, *initializers;      /* of the graph, made by @made */
  GPtrArray *made;              /* memory of everything */
  GHashTable *names;            /* of tensors, made by @made */
  /* the layer at hand */
  const PtLayer *layer;
  const gchar *inputs[PT_OP_MAX_INPUTS];
  const gchar *weights[PT_LAYER_MAX_WEIGHTS];
  PtShape weight_shapes[PT_LAYER_MAX_WEIGHTS];  /* as they are written */
  const OnnxWriter *writer;
  Onnx__NodeProto *main;        /* which the layer is known by when it is read
                                 * again: the first, or set by the writer */
  const gchar *last;            /* output of the newest node */
};

/* -- onnx-export.c -- */

OnnxExport *pt_onnx_export_new (const gchar *path);
void pt_onnx_export_free (OnnxExport *self);
/* A graph's input or output; returns its name, which lives as long as @self. */
const gchar *pt_onnx_export_add_input (OnnxExport *self, const gchar *name,
    const PtShape *shape);
void pt_onnx_export_add_output (OnnxExport *self, const gchar *name,
    const PtShape *shape);
/* The nodes of @layer, whose inputs have these names; NULL with an error, else
 * the name of its output: @output, or one made of the layer's. @weights are
 * lent until the model is packed. */
const gchar *pt_onnx_export_layer (OnnxExport *self, const PtLayer *layer,
    const gchar *const *inputs, PtTensor *const *weights, const gchar *output,
    GError **error);
/* The whole model as bytes; @network, or NULL, gives it its settings. */
GBytes *pt_onnx_export_pack (OnnxExport *self, PtNetwork *network,
    GError **error);
GBytes *pt_onnx_export_network (PtNetwork *network, const gchar *path,
    GError **error);
/* The row of a kind; NULL if there is none. */
const OnnxWriter *pt_onnx_find_writer (const gchar *kind);

/* -- onnx-settings.c: what partime itself has written into a model -- */

/* Settings of [network], [learning] and [output]. */
gboolean pt_onnx_take_settings (PtNetwork *network,
    const Onnx__ModelProto *model, const gchar *path, GError **error);
/* Options of layers, once they are there. */
gboolean pt_onnx_take_options (PtNetwork *network,
    const Onnx__ModelProto *model, GError **error);

/* -- onnx-export-node.c: for writers -- */

gpointer pt_onnx_make (OnnxExport *self, gsize size);
gchar *pt_onnx_make_text (OnnxExport *self, const gchar *text);
/* A name for a tensor that no other one has, from @name. */
gchar *pt_onnx_make_name (OnnxExport *self, const gchar *name);

/* A node that reads these tensors, up to NULL ("": left out), and whose
 * output is then self->last. */
Onnx__NodeProto *pt_onnx_write (OnnxExport *self, const gchar *operator,
    ...) G_GNUC_NULL_TERMINATED;
/* One more input of it. */
void pt_onnx_write_input (OnnxExport *self, Onnx__NodeProto *node,
    const gchar *name);
void pt_onnx_put_int (OnnxExport *self, Onnx__NodeProto *node,
    const gchar *name, gint64 value);
void pt_onnx_put_ints (OnnxExport *self, Onnx__NodeProto *node,
    const gchar *name, const gint64 *values, guint n);
void pt_onnx_put_float (OnnxExport *self, Onnx__NodeProto *node,
    const gchar *name, gdouble value);
void pt_onnx_put_text (OnnxExport *self, Onnx__NodeProto *node,
    const gchar *name, const gchar *value);
/* Constants, called "LAYER.name": a list, a tensor, a number. */
const gchar *pt_onnx_make_ints (OnnxExport *self, const gchar *name,
    const gint64 *values, gint64 n);
const gchar *pt_onnx_make_floats (OnnxExport *self, const gchar *name,
    const gfloat *values, const gint64 *dims, guint n_dims);
const gchar *pt_onnx_make_number (OnnxExport *self, const gchar *name,
    gdouble value);
/* Options of the layer at hand, by key; a key that the kind does not have is
 * @missing. Whole numbers, words by their place, true and false: */
gboolean pt_onnx_has_option (const OnnxExport *self, const gchar *key);
gint64 pt_onnx_option (const OnnxExport *self, const gchar *key,
    gint64 missing);
/* Numbers between ";", at most @most; returns how many. */
guint pt_onnx_option_list (const OnnxExport *self, const gchar *key,
    gint64 *values, guint most);
guint pt_onnx_option_doubles (const OnnxExport *self, const gchar *key,
    gdouble *values, guint most);
gdouble pt_onnx_option_double (const OnnxExport *self, const gchar *key,
    gdouble missing);
/* Of an enum or text. */
const gchar *pt_onnx_option_word (const OnnxExport *self, const gchar *key,
    const gchar *missing);
gboolean pt_onnx_option_is (const OnnxExport *self, const gchar *key,
    const gchar *word);
/* From the start, of the first input. */
gint64 pt_onnx_option_axis (const OnnxExport *self, const gchar *key,
    gint64 missing);
gint64 pt_onnx_get_positive (const OnnxExport *self, gint64 axis);
/* "PATH: cannot write layer [NAME] (KIND): ...", always FALSE. */
gboolean pt_onnx_export_fail (const OnnxExport *self, GError **error,
    const gchar *format, ...) G_GNUC_PRINTF (3, 4);

/* -- onnx-export-ops.c -- */

/* A node that reads all inputs of the layer; and one that is self->writer's
 * operator. */
Onnx__NodeProto *pt_onnx_write_all (OnnxExport *self, const gchar *operator);
gboolean pt_onnx_write_plain (OnnxExport *self, GError **error);
/* Height and width, from the one or two that are given. */
void pt_onnx_get_pair (const OnnxExport *self, const gchar *key,
    gint64 missing, gint64 pair[2]);

/* -- onnx-export-shape.c -- */

/* self->last in the shape @dims, or that of the layer's output. */
void pt_onnx_write_reshape (OnnxExport *self, const gint64 *dims, guint n);
void pt_onnx_write_output_shape (OnnxExport *self);

/* -- onnx-export-activations.c -- */

/* What activation= asks for, applied to self->last. */
gboolean pt_onnx_write_activation (OnnxExport *self, GError **error);

/* -- tables of writers; each ends with a row whose kind is NULL -- */

extern const OnnxWriter pt_onnx_writers[], pt_onnx_writers_activation[],
    pt_onnx_writers_shape[], pt_onnx_writers_math[],
    pt_onnx_writers_norm[];

G_DEFINE_AUTOPTR_CLEANUP_FUNC (OnnxExport, pt_onnx_export_free)

G_END_DECLS
