/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "formats/onnx-import.h"

G_BEGIN_DECLS

/* What the files of operators that move elements share. */

/* "key=1;2;3", (transfer full). */
gchar *pt_onnx_print_list (const gchar *key, const gint64 *values,
    guint n);
/* Input @i of @low dimensions or more, and a layer that has exactly ONNX's;
 * NULL with an error. */
const OnnxValue *pt_onnx_need_exact (OnnxImport *self, guint i,
    guint low, gint *layer, gint64 dims[PT_MAX_DIMS], GError **error);
/* The node's output is a layer that reads @input. */
gboolean pt_onnx_add_reader (OnnxImport *self, const gchar *kind,
    gint input, const gchar *words, guint rank, GError **error);
/* The node's output is @layer in other dimensions; or @x, made of that layer,
 * if they are the same. */
gboolean pt_onnx_add_view (OnnxImport *self, const OnnxValue *x,
    gint layer, const gint64 *dims, guint n, GError **error);
/* Which of @rank axes are named; FALSE with an error for one that is not
 * there, or is twice. */
gboolean pt_onnx_mark_axes (OnnxImport *self, const gint64 *axes, guint n,
    guint rank, gboolean *marked, GError **error);

G_END_DECLS
