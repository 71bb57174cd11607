/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/safetensors.h"

#include <json-glib/json-glib.h>
#include <string.h>

/* https://github.com/huggingface/safetensors, "Format": 8 bytes with the
 * header's length, little-endian; the header, a JSON object; the data. */

typedef struct
{
  gchar *name;
  PtTensor *tensor;
} TensorEntry;

struct _PtTensorFile
{
  GPtrArray *entries;           /* TensorEntry, in order */
  GHashTable *by_name;          /* name, the entry's own -> entry */
  JsonObject *metadata;         /* keeps its members in order */
};

static void
tensor_entry_free (gpointer data)
{
  TensorEntry *entry = data;

  g_free (entry->name);
  pt_tensor_unref (entry->tensor);
  g_free (entry);
}

PtTensorFile *
pt_tensor_file_new (void)
{
  PtTensorFile *self = g_new0 (PtTensorFile, 1);

  self->entries = g_ptr_array_new_with_free_func (tensor_entry_free);
  self->by_name = g_hash_table_new (g_str_hash, g_str_equal);
  self->metadata = json_object_new ();
  return self;
}

void
pt_tensor_file_free (PtTensorFile *self)
{
  g_hash_table_unref (self->by_name);
  g_ptr_array_unref (self->entries);
  json_object_unref (self->metadata);
  g_free (self);
}

/* A tensor of the same name is replaced. */
void
pt_tensor_file_add (PtTensorFile *self, const gchar *name, PtTensor *tensor)
{
  TensorEntry *entry = g_hash_table_lookup (self->by_name, name);

  g_return_if_fail (tensor->layout == PT_LAYOUT_ROW_MAJOR ||
      tensor->shape.n_dims <= 2);
  pt_tensor_ref (tensor);
  if (entry != NULL) {
    pt_tensor_unref (entry->tensor);
    entry->tensor = tensor;
    return;
  }
  entry = g_new0 (TensorEntry, 1);
  entry->name = g_strdup (name);
  entry->tensor = tensor;
  g_ptr_array_add (self->entries, entry);
  g_hash_table_insert (self->by_name, entry->name, entry);
}

void
pt_tensor_file_add_all (PtTensorFile *self, PtTensorFile *other)
{
  JsonObjectIter iter;
  const gchar *key;
  JsonNode *value;

  for (guint i = 0; i < other->entries->len; i++) {
    const TensorEntry *entry = g_ptr_array_index (other->entries, i);

    pt_tensor_file_add (self, entry->name, entry->tensor);
  }
  json_object_iter_init (&iter, other->metadata);
  while (json_object_iter_next (&iter, &key, &value))
    pt_tensor_file_set_metadata (self, key, json_node_get_string (value));
}

/* Lent; %NULL if there is none of that name. */
PtTensor *
pt_tensor_file_get (PtTensorFile *self, const gchar *name)
{
  const TensorEntry *entry = g_hash_table_lookup (self->by_name, name);

  return entry != NULL ? entry->tensor : NULL;
}

guint
pt_tensor_file_get_n_tensors (PtTensorFile *self)
{
  return self->entries->len;
}

const gchar *
pt_tensor_file_get_name (PtTensorFile *self, guint index)
{
  const TensorEntry *entry = g_ptr_array_index (self->entries, index);

  return entry->name;
}

void
pt_tensor_file_set_metadata (PtTensorFile *self, const gchar *key,
    const gchar *value)
{
  json_object_set_string_member (self->metadata, key, value);
}

const gchar *
pt_tensor_file_get_metadata (PtTensorFile *self, const gchar *key)
{
  return json_object_get_string_member_with_default (self->metadata, key,
      NULL);
}

static const gchar *
safetensors_dtype_name (PtDType dtype)
{
  return dtype == PT_F32 ? "F32" : dtype == PT_I32 ? "I32" : "U8";
}

static JsonObject *
safetensors_describe (const PtTensor *tensor, gsize offset)
{
  JsonObject *about = json_object_new ();
  JsonArray *shape = json_array_new ();
  JsonArray *offsets = json_array_new ();

  for (guint i = 0; i < tensor->shape.n_dims; i++)
    json_array_add_int_element (shape, tensor->shape.dims[i]);
  json_array_add_int_element (offsets, offset);
  json_array_add_int_element (offsets, offset + tensor->size);
  json_object_set_string_member (about, "dtype",
      safetensors_dtype_name (tensor->dtype));
  json_object_set_array_member (about, "shape", shape);
  json_object_set_array_member (about, "data_offsets", offsets);
  return about;
}

/* The header with its length before it, and spaces behind it so that the data
 * begins at a multiple of 8. */
static GString *
safetensors_print_header (PtTensorFile *self)
{
  g_autoptr (JsonNode) root = json_node_new (JSON_NODE_OBJECT);
  g_autoptr (JsonGenerator) generator = json_generator_new ();
  JsonObject *object = json_object_new ();
  GString *header = g_string_new (NULL);
  guint64 length = 0;
  gsize offset = 0;

  if (json_object_get_size (self->metadata) > 0)
    json_object_set_object_member (object, "__metadata__",
        json_object_ref (self->metadata));
  for (guint i = 0; i < self->entries->len; i++) {
    const TensorEntry *entry = g_ptr_array_index (self->entries, i);

    json_object_set_object_member (object, entry->name,
        safetensors_describe (entry->tensor, offset));
    offset += entry->tensor->size;
  }
  json_node_take_object (root, object);
  json_generator_set_root (generator, root);
  g_string_append_len (header, (gchar *) & length, 8);
  json_generator_to_gstring (generator, header);
  while (header->len % 8 != 0)
    g_string_append_c (header, ' ');
  length = GUINT64_TO_LE (header->len - 8);
  memcpy (header->str, &length, 8);
  return header;
}

gboolean
pt_tensor_file_save (PtTensorFile *self, const gchar *path, GError **error)
{
  return pt_tensor_file_save_with (self, path, NULL, NULL, error);
}

gboolean
pt_tensor_file_save_with (PtTensorFile *self, const gchar *path,
    PtFileReadyFunc ready, gpointer data, GError **error)
{
  g_autoptr (GString) header = safetensors_print_header (self);
  g_autofree PtFilePart *parts = g_new (PtFilePart, self->entries->len + 1);

  parts[0] = (PtFilePart) { header->str, header->len };
  for (guint i = 0; i < self->entries->len; i++) {
    const TensorEntry *entry = g_ptr_array_index (self->entries, i);

    parts[i + 1] = (PtFilePart) { entry->tensor->data, entry->tensor->size };
  }
  return pt_file_replace (path, parts, self->entries->len + 1, ready, data,
      error);
}
