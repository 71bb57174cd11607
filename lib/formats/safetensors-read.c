/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nothing in the file is believed before it was checked. The data is read,
 * not mapped: a file that shrinks meanwhile is an error and not a SIGBUS. */

/* The bound of the reference implementation. */
#define READ_MAX_HEADER 100000000
/* {"name": {"shape": [...]}} */
#define READ_MAX_DEPTH 3

typedef struct
{
  const gchar *path;
  gint fd;
  guint64 size;                 /* of the file */
  guint64 start;                /* of the data */
} Reader;

typedef struct
{
  const gchar *name;            /* the header's */
  const gchar *dtype;
  PtShape shape;
  guint64 n_elements;
  guint64 begin, end;           /* from the data's start */
} Row;

G_GNUC_PRINTF (3, 4)
static gboolean
reader_fail (const Reader *self, GError **error, const gchar *format, ...)
{
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, PT_ERROR, PT_ERROR_FILE,
      "%s: cannot read the safetensors file: %s", self->path, message);
  return FALSE;
}

static gboolean
reader_get (const Reader *self, guint64 offset, gpointer data, gsize size,
    GError **error)
{
  guint8 *at = data;

  while (size > 0) {
    const gssize n = pread (self->fd, at, MIN (size, 1 << 30), offset);

    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return reader_fail (self, error, "%s", g_strerror (errno));
    if (n == 0)
      return reader_fail (self, error, "found its end at byte %"
          G_GUINT64_FORMAT ", expected %" G_GSIZE_FORMAT " bytes more", offset,
          size);
    at += n;
    offset += n;
    size -= n;
  }
  return TRUE;
}

static gboolean
reader_open (Reader *self, GError **error)
{
  struct stat about;

  /* not blocking, so that a fifo does not */
  self->fd = g_open (self->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (self->fd < 0)
    return reader_fail (self, error, "%s", g_strerror (errno));
  if (fstat (self->fd, &about) != 0)
    return reader_fail (self, error, "%s", g_strerror (errno));
  if (!S_ISREG (about.st_mode))
    return reader_fail (self, error, "found %s, expected a regular file",
        S_ISDIR (about.st_mode) ? "a directory" : "a special file");
  self->size = about.st_size;
  return TRUE;
}

/* json-glib goes one call deeper with every bracket, and a header of brackets
 * would overflow the stack. It also takes comments and other quotes, in which
 * brackets could hide. */
static gboolean
reader_check_depth (const Reader *self, const gchar *header, gsize length,
    GError **error)
{
  gboolean in_string = FALSE;
  gint depth = 0;

  for (gsize i = 0; i < length; i++) {
    const gchar c = header[i];

    if (i > 0 && depth == 0 && !g_ascii_isspace (c))
      return reader_fail (self, error, "found more at byte %" G_GSIZE_FORMAT
          " of the header, expected its end", i);
    if (in_string && c == '\\')
      i++;
    else if (c == '"')
      in_string = !in_string;
    else if (!in_string && (c == '{' || c == '['))
      depth++;
    else if (!in_string && (c == '}' || c == ']'))
      depth--;
    else if (!in_string && strchr ("/#'`", c) != NULL)
      return reader_fail (self, error, "found '%c' at byte %" G_GSIZE_FORMAT
          " of the header, expected JSON", c, i);
    if (depth > READ_MAX_DEPTH)
      return reader_fail (self, error, "found JSON nested deeper than %d at "
          "byte %" G_GSIZE_FORMAT " of the header", READ_MAX_DEPTH, i);
  }
  return TRUE;
}

static gchar *
reader_get_header (Reader *self, gsize *length, GError **error)
{
  g_autofree gchar *header = NULL;
  guint64 n;

  if (self->size < 8) {
    reader_fail (self, error, "found %" G_GUINT64_FORMAT " bytes, expected at "
        "least the 8 of the header's length", self->size);
    return NULL;
  }
  if (!reader_get (self, 0, &n, sizeof n, error))
    return NULL;
  n = GUINT64_FROM_LE (n);
  if (n < 2 || n > READ_MAX_HEADER || n > self->size - 8) {
    reader_fail (self, error, "found a header length of %" G_GUINT64_FORMAT
        ", expected 2 to %" G_GUINT64_FORMAT " bytes", n,
        MIN (self->size - 8, READ_MAX_HEADER));
    return NULL;
  }
  header = g_malloc (n + 1);
  if (!reader_get (self, 8, header, n, error))
    return NULL;
  header[n] = '\0';
  if (header[0] != '{' || !g_utf8_validate (header, n, NULL)) {
    reader_fail (self, error, "found no JSON object in the header");
    return NULL;
  }
  if (!reader_check_depth (self, header, n, error))
    return NULL;
  self->start = 8 + n;
  *length = n;
  return g_steal_pointer (&header);
}

/* A whole number that is not negative, or %FALSE. */
static gboolean
row_get_number (JsonArray *array, guint index, guint64 *number)
{
  JsonNode *node = json_array_get_element (array, index);

  if (!JSON_NODE_HOLDS_VALUE (node) ||
      json_node_get_value_type (node) != G_TYPE_INT64 ||
      json_node_get_int (node) < 0)
    return FALSE;
  *number = json_node_get_int (node);
  return TRUE;
}

static JsonArray *
row_get_array (JsonObject *about, const gchar *key)
{
  JsonNode *node = json_object_get_member (about, key);

  return node != NULL && JSON_NODE_HOLDS_ARRAY (node) ?
      json_node_get_array (node) : NULL;
}

/* Bytes of an element; 0: a type that is not known. */
static guint
row_get_element_size (const Row *row)
{
  static const struct
  {
    const gchar *name;
    guint size;
  } types[] = {
    {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8}, {"I32", 4},
    {"U8", 1},
  };

  for (guint i = 0; i < G_N_ELEMENTS (types); i++)
    if (strcmp (types[i].name, row->dtype) == 0)
      return types[i].size;
  return 0;
}

static gboolean
row_read_shape (Row *row, JsonArray *dims, const Reader *reader,
    GError **error)
{
  const guint n = json_array_get_length (dims);

  if (n > PT_MAX_DIMS)
    return reader_fail (reader, error, "tensor %s: found %u dimensions, "
        "expected at most %d", row->name, n, PT_MAX_DIMS);
  /* a scalar is kept as one element */
  row->shape = PT_SHAPE (1);
  row->n_elements = 1;
  for (guint i = 0; i < n; i++) {
    guint64 dim;

    if (!row_get_number (dims, i, &dim) || dim < 1 ||
        dim > PT_MAX_ELEMENTS / row->n_elements)
      return reader_fail (reader, error, "tensor %s: found dimension %u of "
          "shape to be no whole number of at least 1, or too large for %"
          G_GINT64_FORMAT " elements", row->name, i, PT_MAX_ELEMENTS);
    row->shape.dims[i] = dim;
    row->n_elements *= dim;
  }
  row->shape.n_dims = MAX (n, 1);
  return TRUE;
}

static gboolean
row_read (Row *row, const gchar *name, JsonNode *node, const Reader *reader,
    GError **error)
{
  JsonObject *about = JSON_NODE_HOLDS_OBJECT (node) ?
      json_node_get_object (node) : NULL;
  JsonArray *dims = about ? row_get_array (about, "shape") : NULL;
  JsonArray *offsets = about ? row_get_array (about, "data_offsets") : NULL;
  guint64 size;

  row->name = name;
  row->dtype = about == NULL ? NULL :
      json_object_get_string_member_with_default (about, "dtype", NULL);
  if (row->dtype == NULL || dims == NULL || offsets == NULL ||
      json_array_get_length (offsets) != 2 ||
      !row_get_number (offsets, 0, &row->begin) ||
      !row_get_number (offsets, 1, &row->end))
    return reader_fail (reader, error, "tensor %s: expected dtype, shape and "
        "two data_offsets", name);
  if (!row_read_shape (row, dims, reader, error))
    return FALSE;
  if (row_get_element_size (row) == 0)
    return reader_fail (reader, error, "tensor %s: found dtype %s, expected "
        "one of F32, F16, BF16, F64, I32, I64, U8", name, row->dtype);
  size = row->n_elements * row_get_element_size (row);
  if (row->begin > row->end || row->end - row->begin != size)
    return reader_fail (reader, error, "tensor %s: found data_offsets %"
        G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT ", expected %"
        G_GUINT64_FORMAT " bytes for dtype and shape", name, row->begin,
        row->end, size);
  return TRUE;
}

static gint
row_compare (gconstpointer a, gconstpointer b)
{
  const Row *left = a, *right = b;

  return left->begin < right->begin ? -1 : left->begin > right->begin;
}

/* The format allows neither overlaps nor holes nor bytes left over. */
static gboolean
reader_check_rows (const Reader *self, GArray *rows, GError **error)
{
  const guint64 room = self->size - self->start;
  guint64 at = 0;

  g_array_sort (rows, row_compare);
  for (guint i = 0; i < rows->len; i++) {
    const Row *row = &g_array_index (rows, Row, i);

    if (row->end > room)
      return reader_fail (self, error, "tensor %s: found data_offsets %"
          G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT ", expected them within "
          "the %" G_GUINT64_FORMAT " bytes of data: the file is truncated or "
          "another's", row->name, row->begin, row->end, room);
    if (row->begin != at)
      return reader_fail (self, error, "tensor %s: found its data at %"
          G_GUINT64_FORMAT ", expected %" G_GUINT64_FORMAT
          ": tensors overlap or leave a hole", row->name, row->begin, at);
    at = row->end;
  }
  if (at != room)
    return reader_fail (self, error, "found %" G_GUINT64_FORMAT " bytes of "
        "data, expected the %" G_GUINT64_FORMAT " that its tensors need", room,
        at);
  return TRUE;
}

static gfloat
row_from_half (guint16 half)
{
  const guint32 sign = (guint32) (half & 0x8000) << 16;
  const guint32 exponent = (half >> 10) & 31, fraction = half & 0x3ff;
  guint32 bits;
  gfloat x;

  /* subnormal: fraction x 2^-24 */
  if (exponent == 0)
    return (sign ? -1 : 1) * (fraction * 0x1p-24f);
  bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 |
      fraction << 13;
  memcpy (&x, &bits, sizeof x);
  return x;
}

static gfloat
row_to_float (const guint8 *raw, guint size, gboolean brain)
{
  guint16 half;
  guint32 bits;
  gdouble wide;
  gfloat x;

  if (size == 8) {
    memcpy (&wide, raw, sizeof wide);
    return wide;
  }
  memcpy (&half, raw, sizeof half);
  if (!brain)
    return row_from_half (half);
  bits = (guint32) half << 16;
  memcpy (&x, &bits, sizeof x);
  return x;
}

/* F32, I32 and U8 as they are, the other floats as F32. */
static PtTensor *
reader_get_tensor (const Reader *self, const Row *row, GError **error)
{
  const guint size = row_get_element_size (row);
  const PtDType dtype = strcmp (row->dtype, "I32") == 0 ? PT_I32 :
      strcmp (row->dtype, "U8") == 0 ? PT_U8 : PT_F32;
  g_autoptr (PtTensor) tensor =
      pt_tensor_new_shaped (dtype, &row->shape, error);
  guint8 buffer[8192];
  gfloat *data;

  if (tensor == NULL) {
    g_prefix_error (error, "%s: tensor %s: ", self->path, row->name);
    return NULL;
  }
  if (size == pt_dtype_size (dtype))
    return reader_get (self, self->start + row->begin, tensor->data,
        tensor->size, error) ? g_steal_pointer (&tensor) : NULL;
  data = tensor->data;
  for (guint64 i = 0; i < row->n_elements;) {
    const gsize n = MIN (sizeof buffer / size, row->n_elements - i);

    if (!reader_get (self, self->start + row->begin + i * size, buffer,
            n * size, error))
      return NULL;
    for (gsize k = 0; k < n; k++)
      data[i + k] = row_to_float (buffer + k * size, size,
          row->dtype[0] == 'B');
    i += n;
  }
  return g_steal_pointer (&tensor);
}

static gboolean
reader_get_metadata (const Reader *self, JsonNode *node, PtTensorFile *file,
    GError **error)
{
  JsonObjectIter iter;
  const gchar *key;
  JsonNode *value;

  if (!JSON_NODE_HOLDS_OBJECT (node))
    return reader_fail (self, error, "found no object in __metadata__");
  json_object_iter_init_ordered (&iter, json_node_get_object (node));
  while (json_object_iter_next_ordered (&iter, &key, &value)) {
    if (!JSON_NODE_HOLDS_VALUE (value) || json_node_get_string (value) == NULL)
      return reader_fail (self, error, "found no text in __metadata__ at %s",
          key);
    pt_tensor_file_set_metadata (file, key, json_node_get_string (value));
  }
  return TRUE;
}

/* Sparse files make lengths cheap, memory is not. */
static gboolean
reader_check_memory (const Reader *self, GError **error)
{
  const gdouble memory =
      (gdouble) sysconf (_SC_PHYS_PAGES) * sysconf (_SC_PAGESIZE);

  if (self->size <= memory)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_NO_MEMORY, "%s: found %"
      G_GUINT64_FORMAT " bytes, expected at most the %.0f of this machine's "
      "memory", self->path, self->size, memory);
  return FALSE;
}

static gboolean
reader_get_tensors (const Reader *self, JsonObject *header,
    PtTensorFile *file, GError **error)
{
  g_autoptr (GArray) rows = g_array_new (FALSE, FALSE, sizeof (Row));
  JsonObjectIter iter;
  const gchar *name;
  JsonNode *node;

  json_object_iter_init_ordered (&iter, header);
  while (json_object_iter_next_ordered (&iter, &name, &node)) {
    Row row;

    if (strcmp (name, "__metadata__") == 0) {
      if (!reader_get_metadata (self, node, file, error))
        return FALSE;
      continue;
    }
    if (!row_read (&row, name, node, self, error))
      return FALSE;
    g_array_append_val (rows, row);
  }
  if (!reader_check_rows (self, rows, error) ||
      !reader_check_memory (self, error))
    return FALSE;
  for (guint i = 0; i < rows->len; i++) {
    const Row *row = &g_array_index (rows, Row, i);
    g_autoptr (PtTensor) tensor = NULL;

    /* counters of no use here, such as num_batches_tracked */
    if (strcmp (row->dtype, "I64") == 0)
      continue;
    tensor = reader_get_tensor (self, row, error);
    if (tensor == NULL)
      return FALSE;
    pt_tensor_file_add (file, row->name, tensor);
  }
  return TRUE;
}

static PtTensorFile *
reader_run (Reader *self, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_new ();
  g_autoptr (JsonParser) parser = json_parser_new_immutable ();
  g_autofree gchar *header = NULL;
  g_autoptr (GError) reason = NULL;
  JsonNode *root;
  gsize length;

  if (!reader_open (self, error))
    return NULL;
  header = reader_get_header (self, &length, error);
  if (header == NULL)
    return NULL;
  if (!json_parser_load_from_data (parser, header, length, &reason)) {
    reader_fail (self, error, "found a header that is no JSON: %s",
        reason->message);
    return NULL;
  }
  root = json_parser_get_root (parser);
  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root)) {
    reader_fail (self, error, "found no JSON object in the header");
    return NULL;
  }
  if (!reader_get_tensors (self, json_node_get_object (root), file, error))
    return NULL;
  return g_steal_pointer (&file);
}

/* Reads all tensors of @path into main memory, in the order of their data;
 * halves and doubles become float32, int64 is left out. NaN is let through. */
PtTensorFile *
pt_tensor_file_load (const gchar *path, GError **error)
{
  Reader reader = { path, -1, 0, 0 };
  PtTensorFile *file = reader_run (&reader, error);

  if (reader.fd >= 0)
    close (reader.fd);
  return file;
}
