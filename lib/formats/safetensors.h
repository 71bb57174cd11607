/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/tensor.h"
#include "formats/file-replace.h"

G_BEGIN_DECLS

/* Named float32 tensors and text metadata, in order. */
typedef struct _PtTensorFile PtTensorFile;

PtTensorFile *pt_tensor_file_new (void);
PtTensorFile *pt_tensor_file_load (const gchar *path, GError **error);
void pt_tensor_file_free (PtTensorFile *self);
/* Takes a reference on @tensor, which must be in main memory, row-major. */
void pt_tensor_file_add (PtTensorFile *self, const gchar *name,
    PtTensor *tensor);
/* References on all tensors of @other, and its metadata. */
void pt_tensor_file_add_all (PtTensorFile *self, PtTensorFile *other);
PtTensor *pt_tensor_file_get (PtTensorFile *self, const gchar *name);
guint pt_tensor_file_get_n_tensors (PtTensorFile *self);
const gchar *pt_tensor_file_get_name (PtTensorFile *self, guint index);
void pt_tensor_file_set_metadata (PtTensorFile *self, const gchar *key,
    const gchar *value);
const gchar *pt_tensor_file_get_metadata (PtTensorFile *self,
    const gchar *key);
/* Written aside, fsynced, renamed: a kill leaves the old or the new, whole. */
gboolean pt_tensor_file_save (PtTensorFile *self, const gchar *path,
    GError **error);
/* The same; @ready as for pt_file_replace(). */
gboolean pt_tensor_file_save_with (PtTensorFile *self, const gchar *path,
    PtFileReadyFunc ready, gpointer data, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtTensorFile, pt_tensor_file_free)

G_END_DECLS
