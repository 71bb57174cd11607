/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/weights.h"

#include <math.h>
#include <string.h>

/* Only for names that are not a network's weights. */
static gboolean
weights_is_foreign (const gchar *name)
{
  return g_str_has_prefix (name, PT_WEIGHTS_OPTIMIZER) ||
      g_str_has_prefix (name, PT_WEIGHTS_STREAM) ||
      g_str_has_suffix (name, ".num_batches_tracked");
}

static gchar *
weights_get_name (const PtLayer *layer, guint index)
{
  return g_strdup_printf ("%s.%s", layer->name, layer->weights[index].name);
}

static gboolean
weights_check_finite (const PtTensor *tensor, const gchar *name,
    const gchar *path, GError **error)
{
  const gfloat *data = tensor->data;
  const gsize n = pt_shape_get_n_elements (&tensor->shape);

  for (gsize i = 0; i < n; i++)
    if (!isfinite (data[i])) {
      g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot load weights: "
          "tensor %s: found %s at element %" G_GSIZE_FORMAT
          ", expected finite numbers", path, name,
          isnan (data[i]) ? "NaN" : "infinity", i);
      return FALSE;
    }
  return TRUE;
}

static gboolean
weights_check_tensor (PtTensorFile *file, const PtWeight *weight,
    const gchar *name, const gchar *path, const gchar *origin, GError **error)
{
  const PtTensor *tensor = pt_tensor_file_get (file, name);
  gchar found[PT_SHAPE_TEXT_SIZE], expected[PT_SHAPE_TEXT_SIZE];

  pt_shape_print (&weight->shape, expected);
  if (tensor == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot load weights: "
        "tensor %s is missing, expected float32 of shape %s for %s", path,
        name, expected, origin);
    return FALSE;
  }
  if (tensor->dtype != PT_F32 ||
      !pt_shape_equal (&tensor->shape, &weight->shape)) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%s: cannot load weights: "
        "tensor %s: found %s of shape %s, expected float32 of shape %s for %s",
        path, name, pt_dtype_name (tensor->dtype),
        pt_shape_print (&tensor->shape, found), expected, origin);
    return FALSE;
  }
  return weights_check_finite (tensor, name, path, error);
}

/* Adds every name of @self to @known. */
static gboolean
weights_check_known (PtNetwork *self, PtTensorFile *file, const gchar *path,
    GHashTable *known, GError **error)
{
  for (guint i = 0; i < self->n_nodes; i++) {
    const PtLayer *layer = self->nodes[i].layer;

    for (guint j = 0; j < layer->n_weights; j++) {
      gchar *name = weights_get_name (layer, j);

      g_hash_table_add (known, name);
      if (!weights_check_tensor (file, &layer->weights[j], name, path,
              self->origin, error))
        return FALSE;
    }
  }
  return TRUE;
}

static gboolean
weights_check_extra (PtNetwork *self, PtTensorFile *file, const gchar *path,
    GHashTable *known, GError **error)
{
  gchar shape[PT_SHAPE_TEXT_SIZE];

  for (guint i = 0; i < pt_tensor_file_get_n_tensors (file); i++) {
    const gchar *name = pt_tensor_file_get_name (file, i);

    if (weights_is_foreign (name) || g_hash_table_contains (known, name))
      continue;
    pt_shape_print (&pt_tensor_file_get (file, name)->shape, shape);
    g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot load weights: "
        "found tensor %s of shape %s, expected only the %u of %s", path, name,
        shape, g_hash_table_size (known), self->origin);
    return FALSE;
  }
  return TRUE;
}

gboolean
pt_weights_check (PtNetwork *self, PtTensorFile *file, const gchar *path,
    GError **error)
{
  g_autoptr (GHashTable) known =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  return weights_check_known (self, file, path, known, error) &&
      weights_check_extra (self, file, path, known, error);
}

void
pt_weights_copy (PtNetwork *self, guint first, guint n, PtTensorFile *file)
{
  for (guint i = first; i < first + n; i++) {
    const PtNode *node = &self->nodes[i];

    for (guint j = 0; j < node->layer->n_weights; j++) {
      g_autofree gchar *name = weights_get_name (node->layer, j);

      memcpy (node->weights[j]->data, pt_tensor_file_get (file, name)->data,
          node->weights[j]->size);
    }
  }
}

gboolean
pt_weights_take (PtNetwork *self, PtTensorFile *file, const gchar *path,
    GError **error)
{
  if (!pt_weights_check (self, file, path, error) ||
      !pt_network_need_weights (self, error))
    return FALSE;
  pt_weights_copy (self, 0, self->n_nodes, file);
  return TRUE;
}

/**
 * pt_network_load_weights:
 * @self: a network
 * @path: a safetensors file
 * @error: return location
 *
 * Replaces all weights by those of the file, or none: every name, shape and
 * number is checked first. Tensors named "optimizer." and "stream.", and
 * PyTorch's "num_batches_tracked", are passed over. Not thread-safe.
 *
 * Returns: %TRUE, or %FALSE with %PT_ERROR_FILE for a file that cannot be
 *   read, lacks a tensor, has others or is not finite, %PT_ERROR_SHAPE for
 *   weights of another net, %PT_ERROR_NO_MEMORY
 */
gboolean
pt_network_load_weights (PtNetwork *self, const gchar *path, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_load (path, error);

  return file != NULL && pt_weights_take (self, file, path, error);
}

/**
 * pt_network_save_weights:
 * @self: a network
 * @path: where to
 * @error: return location
 *
 * Writes the weights as a safetensors file that PyTorch's load_state_dict()
 * takes, initialising them first if that was not done. A kill at any moment
 * leaves the old file or the new one. Waits for the disk.
 *
 * Returns: %TRUE, or %FALSE with %PT_ERROR_FILE, %PT_ERROR_NO_MEMORY
 */
gboolean
pt_network_save_weights (PtNetwork *self, const gchar *path, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_new ();

  if (!pt_network_need_weights (self, error))
    return FALSE;
  pt_tensor_file_set_metadata (file, "format", "pt");
  for (guint i = 0; i < self->n_nodes; i++) {
    const PtNode *node = &self->nodes[i];

    for (guint j = 0; j < node->layer->n_weights; j++) {
      g_autofree gchar *name = weights_get_name (node->layer, j);

      pt_tensor_file_add (file, name, node->weights[j]);
    }
  }
  return pt_tensor_file_save (file, path, error);
}
