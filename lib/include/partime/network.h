/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include <partime/tensor.h>

G_BEGIN_DECLS

typedef struct _PtNetwork PtNetwork;

#define PT_TYPE_NETWORK (pt_network_get_type ())

PT_API GType pt_network_get_type (void);
PT_API PtNetwork *pt_network_new_from_file (const gchar *path, GError **error);
PT_API PtNetwork *pt_network_new_from_file_with (const gchar *path,
    const gchar * const *settings, GError **error);
PT_API PtNetwork *pt_network_new_from_file_for (const gchar *path,
    const gchar * const *settings, guint width, guint height,
    gboolean *is_open, GError **error);
PT_API PtNetwork *pt_network_new_from_data (const gchar *text, gssize length,
    const gchar *origin, GError **error);
PT_API PtNetwork *pt_network_ref (PtNetwork *self);
PT_API void pt_network_unref (PtNetwork *self);

PT_API gboolean pt_network_set (PtNetwork *self, const gchar *group,
    const gchar *key, const gchar *value, GError **error);
PT_API gchar *pt_network_get (PtNetwork *self, const gchar *group,
    const gchar *key);

PT_API const PtShape *pt_network_get_input_shape (PtNetwork *self);
PT_API const PtShape *pt_network_get_output_shape (PtNetwork *self);
PT_API const gchar *pt_network_get_left_out (PtNetwork *self);
PT_API guint pt_network_get_n_outputs (PtNetwork *self);
PT_API const gchar *pt_network_get_output_name (PtNetwork *self, guint index);
PT_API const PtShape *pt_network_get_output_shape_at (PtNetwork *self,
    guint index);
PT_API guint pt_network_get_n_layers (PtNetwork *self);
PT_API const gchar *pt_network_get_layer_name (PtNetwork *self, guint index);
PT_API guint64 pt_network_get_n_parameters (PtNetwork *self);
PT_API gchar *pt_network_describe (PtNetwork *self);
PT_API gchar *pt_network_describe_settings (void);
PT_API gchar *pt_network_describe_layer_kinds (void);

PT_API PtTensor *pt_network_get_weight (PtNetwork *self, const gchar *name);
PT_API void pt_network_init_weights (PtNetwork *self, guint64 seed);
PT_API gboolean pt_network_load_weights (PtNetwork *self, const gchar *path,
    GError **error);
PT_API gboolean pt_network_save_weights (PtNetwork *self, const gchar *path,
    GError **error);
PT_API gboolean pt_network_save_onnx (PtNetwork *self, const gchar *path,
    GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (PtNetwork, pt_network_unref)

G_END_DECLS
