/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "formats/onnx-import.h"

G_BEGIN_DECLS

/* What depends on constants and shapes alone is worked out while the model is
 * read. */

/* @i for integers and truth values, @f for all floats. */
typedef union
{
  gint64 i;
  gdouble f;
} OnnxCell;

typedef struct
{
  gint type;                    /* ONNX's; 0: an input that was left out */
  guint rank;
  gint64 dims[ONNX_MAX_DIMS];
  gint64 n;
  OnnxCell *cells;              /* row-major, (transfer full) */
} OnnxArray;

/* From inputs @in to @out, of which nothing is set. */
typedef gboolean (*OnnxFoldFunc) (OnnxImport *self, const OnnxArray *in,
    guint n, OnnxArray *out, GError **error);

typedef struct
{
  const gchar *name;            /* op_type */
  guint low, high;              /* how many inputs */
  OnnxFoldFunc func;
  const gchar *attributes;      /* those it may have, between spaces */
} OnnxFold;

/* The doc_string, by address, of a tensor whose elements are all its first. */
extern const gchar pt_onnx_splat[];

/* -- onnx-array.c -- */

gboolean pt_onnx_type_is_float (gint type);
/* Whether an integer of @type can be @value. */
gboolean pt_onnx_type_holds (gint type, gint64 value);
/* A number as one of @type has it. */
gdouble pt_onnx_type_round (gint type, gdouble value);
/* All elements, not only finite ones. */
gboolean pt_onnx_array_read (const OnnxImport *self,
    const Onnx__TensorProto *tensor, OnnxArray *array, GError **error);
/* Zeros, within what a model may take for all of its constants. */
gboolean pt_onnx_array_init (OnnxImport *self, OnnxArray *array, gint type,
    const gint64 *dims, guint rank, GError **error);
void pt_onnx_array_clear (OnnxArray *array);
/* How far apart neighbours along each axis are. */
void pt_onnx_array_get_strides (const OnnxArray *array, gint64 *strides);
/* Names output @i of the node. */
gboolean pt_onnx_array_name (OnnxImport *self, guint i,
    const OnnxArray *array, GError **error);
/* The same elements in another shape, not copied. */
gboolean pt_onnx_tensor_name (OnnxImport *self, guint i,
    const Onnx__TensorProto *tensor, const gint64 *dims, guint rank,
    GError **error);

/* -- onnx-fold.c -- */

/* Numbers of a list, from input @i or an attribute; see pt_onnx_get_list. */
gboolean pt_onnx_fold_list (const OnnxImport *self, const OnnxArray *in,
    guint n_in, guint i, const gchar *name, gint64 since, gint64 *values,
    guint *n, GError **error);
/* -1 counts from the end; the result is below @rank. */
gboolean pt_onnx_fold_axis (const OnnxImport *self, guint rank, gint64 axis,
    guint *place, GError **error);

/* -- operators, by file; each ends with a row whose name is NULL -- */

extern const OnnxFold pt_onnx_folds_math[], pt_onnx_folds_move[],
    pt_onnx_folds_reduce[], pt_onnx_folds_scatter[];

G_END_DECLS
