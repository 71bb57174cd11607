/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-fold.h"

#include <errno.h>
#include <float.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__ ## name

typedef Onnx__TensorProto Tensor;

/* Little-endian elements, as they lie in the file. */
typedef struct
{
  const guint8 *data;
  gsize size;
  guint8 *owned;                /* or NULL */
} Bytes;

G_GNUC_PRINTF (4, 5)
static gboolean
tensor_fail (const OnnxImport *self, const Tensor *tensor, GError **error,
    const gchar *format, ...)
{
  g_autofree gchar *name = pt_params_quote (tensor->name ? tensor->name : "");
  g_autofree gchar *message = NULL;
  va_list args;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: tensor %s: %s",
      self->path, name, message);
  return FALSE;
}

gboolean
pt_onnx_tensor_get_dims (const OnnxImport *self, const Tensor *tensor,
    gint64 *dims, guint *n_dims, gint64 *n_elements, GError **error)
{
  gint64 n = 1;

  if (tensor->n_dims > ONNX_MAX_DIMS)
    return tensor_fail (self, tensor, error, "found %" G_GSIZE_FORMAT
        " dimensions, expected at most %d", tensor->n_dims, ONNX_MAX_DIMS);
  for (guint i = 0; i < tensor->n_dims; i++) {
    dims[i] = tensor->dims[i];
    if (dims[i] < 0 || (dims[i] > 0 && n > PT_MAX_ELEMENTS / dims[i]))
      return tensor_fail (self, tensor, error, "found dimension %u = %"
          G_GINT64_FORMAT ", expected at least 0 and at most %" G_GINT64_FORMAT
          " elements in all", i, dims[i], PT_MAX_ELEMENTS);
    n *= dims[i];
  }
  *n_dims = tensor->n_dims;
  *n_elements = n;
  return TRUE;
}

/* -- external data -- */

static const gchar *
tensor_find_entry (const Tensor *tensor, const gchar *key)
{
  for (gsize i = 0; i < tensor->n_external_data; i++) {
    const Onnx__StringStringEntryProto *entry = tensor->external_data[i];

    if (entry->key != NULL && entry->value != NULL &&
        strcmp (entry->key, key) == 0)
      return entry->value;
  }
  return NULL;
}

/* The file, which must lie in the model's folder, links followed. */
static gchar *
tensor_resolve (const OnnxImport *self, const Tensor *tensor, GError **error)
{
  const gchar *location = tensor_find_entry (tensor, "location");
  g_autofree gchar *quoted = pt_params_quote (location ? location : "");
  g_autofree gchar *folder = g_path_get_dirname (self->path);
  g_autofree gchar *path = NULL;
  g_autofree gchar *inside = NULL;
  gchar *real, *home;

  if (location == NULL || *location == '\0' || g_path_is_absolute (location)) {
    tensor_fail (self, tensor, error, "found external data at %s, expected a "
        "path from the model's folder", quoted);
    return NULL;
  }
  path = g_build_filename (folder, location, NULL);
  home = realpath (folder, NULL);
  real = realpath (path, NULL);
  if (home != NULL)
    inside = g_str_has_suffix (home, "/") ? g_strdup (home) :
        g_strconcat (home, "/", NULL);
  if (real == NULL || home == NULL)
    tensor_fail (self, tensor, error, "cannot open its external data %s: %s",
        quoted, g_strerror (errno));
  else if (!g_str_has_prefix (real, inside)) {
    tensor_fail (self, tensor, error, "found external data at %s, which leads "
        "out of the model's folder, expected a file in it", quoted);
    g_clear_pointer (&real, free);
  }
  path = (g_free (path), g_strdup (real));
  free (real);
  free (home);
  return g_steal_pointer (&path);
}

static gboolean
tensor_read_at (gint fd, guint8 *data, gsize size, guint64 offset)
{
  while (size > 0) {
    const gssize n = pread (fd, data, MIN (size, 1 << 30), offset);

    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return FALSE;
    data += n;
    offset += n;
    size -= n;
  }
  return TRUE;
}

/* @size bytes of @fd, which are there before memory is taken for them. */
static gboolean
tensor_read_external (const OnnxImport *self, const Tensor *tensor, gint fd,
    gsize size, Bytes *bytes, GError **error)
{
  const gchar *text = tensor_find_entry (tensor, "offset");
  const gchar *length = tensor_find_entry (tensor, "length");
  guint64 offset = 0, n = size;
  struct stat about;

  if ((text != NULL && !g_ascii_string_to_unsigned (text, 10, 0, G_MAXINT64,
              &offset, NULL)) || (length != NULL &&
          !g_ascii_string_to_unsigned (length, 10, 0, G_MAXINT64, &n, NULL)))
    return tensor_fail (self, tensor, error, "found an offset or length of "
        "external data that is no number, expected one of at least 0");
  if (n != size)
    return tensor_fail (self, tensor, error, "found %" G_GUINT64_FORMAT
        " bytes of external data, expected %" G_GSIZE_FORMAT, n, size);
  if (fstat (fd, &about) != 0 || !S_ISREG (about.st_mode) ||
      offset > (guint64) about.st_size || n > about.st_size - offset)
    return tensor_fail (self, tensor, error, "found no %" G_GSIZE_FORMAT
        " bytes at offset %" G_GUINT64_FORMAT " of its external data, "
        "expected a file that has them", size, offset);
  bytes->owned = g_try_malloc (MAX (size, 1));
  if (bytes->owned == NULL || !tensor_read_at (fd, bytes->owned, size, offset))
    return tensor_fail (self, tensor, error, "cannot read its external data: "
        "%s", bytes->owned ? g_strerror (errno) : "no memory");
  bytes->data = bytes->owned;
  bytes->size = size;
  return TRUE;
}

static gboolean
tensor_open_external (const OnnxImport *self, const Tensor *tensor,
    gsize size, Bytes *bytes, GError **error)
{
  g_autofree gchar *path = tensor_resolve (self, tensor, error);
  gboolean done;
  gint fd;

  if (path == NULL)
    return FALSE;
  fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0)
    return tensor_fail (self, tensor, error, "cannot open %s: %s", path,
        g_strerror (errno));
  done = tensor_read_external (self, tensor, fd, size, bytes, error);
  close (fd);
  return done;
}

/* -- elements -- */

static gsize
tensor_get_width (gint type)
{
  switch (type) {
    case TYPE (DOUBLE):
    case TYPE (INT64):
    case TYPE (UINT64):
      return 8;
    case TYPE (FLOAT):
    case TYPE (INT32):
    case TYPE (UINT32):
      return 4;
    case TYPE (FLOAT16):
    case TYPE (BFLOAT16):
    case TYPE (INT16):
    case TYPE (UINT16):
      return 2;
    case TYPE (INT8):
    case TYPE (UINT8):
    case TYPE (BOOL):
      return 1;
    default:
      return 0;
  }
}

/* How many elements the typed field of @type has. */
static gsize
tensor_count_typed (const Tensor *tensor)
{
  switch (tensor->data_type) {
    case TYPE (DOUBLE):
      return tensor->n_double_data;
    case TYPE (INT64):
      return tensor->n_int64_data;
    case TYPE (UINT32):
    case TYPE (UINT64):
      return tensor->n_uint64_data;
    case TYPE (FLOAT):
      return tensor->n_float_data;
    default:
      return tensor->n_int32_data;
  }
}

static gboolean
tensor_is_splat (const Tensor *tensor)
{
  return tensor->doc_string == pt_onnx_splat;
}

/* Raw or external bytes, or none of both; exactly @elements either way. */
static gboolean
tensor_get_bytes (const OnnxImport *self, const Tensor *tensor,
    gint64 elements, Bytes *bytes, GError **error)
{
  const gsize width = tensor_get_width (tensor->data_type);
  const gint64 n = tensor_is_splat (tensor) ? 1 : elements;

  memset (bytes, 0, sizeof *bytes);
  if (tensor->segment != NULL)
    return tensor_fail (self, tensor, error, "found a segment of a tensor, "
        "expected a whole one");
  if (tensor->has_data_location && tensor->data_location ==
      ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
    return tensor_open_external (self, tensor, n * width, bytes, error);
  if (!tensor->has_raw_data) {
    if (tensor_count_typed (tensor) == (gsize) n)
      return TRUE;
    return tensor_fail (self, tensor, error, "found %" G_GSIZE_FORMAT
        " elements, expected the %" G_GINT64_FORMAT " of its shape",
        tensor_count_typed (tensor), n);
  }
  bytes->data = tensor->raw_data.data;
  bytes->size = tensor->raw_data.len;
  if (bytes->size == n * width)
    return TRUE;
  return tensor_fail (self, tensor, error, "found %" G_GSIZE_FORMAT
      " bytes, expected %" G_GSIZE_FORMAT " for its shape", bytes->size,
      (gsize) n * width);
}

static gdouble
tensor_half (guint16 bits)
{
  const gint exponent = bits >> 10 & 31, fraction = bits & 1023;
  const gdouble sign = bits & 0x8000 ? -1 : 1;

  if (exponent == 31)
    return fraction ? NAN : sign * INFINITY;
  return sign * (exponent ? ldexp (1024 + fraction, exponent - 25) :
      ldexp (fraction, -24));
}

static guint64
tensor_get_raw (const guint8 *at, gsize width)
{
  guint64 bits = 0;

  for (gsize i = 0; i < width; i++)
    bits |= (guint64) at[i] << 8 * i;
  return bits;
}

/* The bits of element @i, or its typed field's. */
static guint64
tensor_get_bits (const Tensor *tensor, const Bytes *bytes, gsize place)
{
  const gsize width = tensor_get_width (tensor->data_type);
  const gsize i = tensor_is_splat (tensor) ? 0 : place;
  guint64 bits = 0;

  if (bytes->data != NULL)
    return tensor_get_raw (bytes->data + i * width, width);
  switch (tensor->data_type) {
    case TYPE (DOUBLE):
      memcpy (&bits, &tensor->double_data[i], 8);
      return bits;
    case TYPE (INT64):
      return tensor->int64_data[i];
    case TYPE (UINT32):
    case TYPE (UINT64):
      return tensor->uint64_data[i];
    case TYPE (FLOAT):{
      guint32 half = 0;

      memcpy (&half, &tensor->float_data[i], 4);
      return half;
    }
    default:
      return (guint32) tensor->int32_data[i];
  }
}

/* One beyond what int64 holds becomes the largest it does. */
static gint64
tensor_get_int (gint type, guint64 bits)
{
  switch (type) {
    case TYPE (INT8):
      return (gint8) bits;
    case TYPE (UINT8):
      return (guint8) bits;
    case TYPE (BOOL):
      return (guint8) bits != 0;
    case TYPE (INT16):
      return (gint16) bits;
    case TYPE (UINT16):
      return (guint16) bits;
    case TYPE (INT32):
      return (gint32) bits;
    case TYPE (UINT32):
      return (guint32) bits;
    case TYPE (UINT64):
      return MIN (bits, (guint64) G_MAXINT64);
    default:
      return bits;
  }
}

static gdouble
tensor_get_float (gint type, guint64 bits)
{
  const guint32 low = type == TYPE (BFLOAT16) ? (guint32) bits << 16 : bits;
  gfloat single;
  gdouble wide;

  switch (type) {
    case TYPE (DOUBLE):
      memcpy (&wide, &bits, 8);
      return wide;
    case TYPE (FLOAT16):
      return tensor_half (bits);
    case TYPE (FLOAT):
    case TYPE (BFLOAT16):
      memcpy (&single, &low, 4);
      return single;
    default:
      return tensor_get_int (type, bits);
  }
}

/* Numbers that are not finite are refused, or infinity becomes the largest
 * number if @clamp. */
static gfloat *
tensor_read_floats (const OnnxImport *self, const Tensor *tensor,
    gboolean clamp, GError **error)
{
  const gint type = tensor->data_type;
  gint64 dims[ONNX_MAX_DIMS], n;
  gfloat *data = NULL;
  guint n_dims;
  Bytes bytes;

  if (tensor_get_width (type) == 0) {
    tensor_fail (self, tensor, error, "found data type %d, expected float, "
        "float16, bfloat16 or double", type);
    return NULL;
  }
  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, error))
    return NULL;
  if (tensor_get_bytes (self, tensor, n, &bytes, error) &&
      (data = g_try_new (gfloat, MAX (n, 1))) == NULL)
    tensor_fail (self, tensor, error, "no memory for %" G_GINT64_FORMAT
        " elements", n);
  for (gint64 i = 0; data != NULL && i < n; i++) {
    data[i] = tensor_get_float (type, tensor_get_bits (tensor, &bytes, i));
    if (clamp)
      data[i] = CLAMP (data[i], -FLT_MAX, FLT_MAX);
    if (isfinite (data[i]))
      continue;
    tensor_fail (self, tensor, error, "found %s at element %" G_GINT64_FORMAT
        ", expected finite numbers", isnan (data[i]) ? "NaN" : "infinity", i);
    g_clear_pointer (&data, g_free);
  }
  g_free (bytes.owned);
  return data;
}

gfloat *
pt_onnx_tensor_get_floats (const OnnxImport *self, const Tensor *tensor,
    GError **error)
{
  return tensor_read_floats (self, tensor, FALSE, error);
}

gfloat *
pt_onnx_tensor_get_clamped (const OnnxImport *self, const Tensor *tensor,
    GError **error)
{
  return tensor_read_floats (self, tensor, TRUE, error);
}

gint64 *
pt_onnx_tensor_get_ints (const OnnxImport *self, const Tensor *tensor,
    GError **error)
{
  const gint type = tensor->data_type;
  gint64 dims[ONNX_MAX_DIMS], n;
  gint64 *data = NULL;
  guint n_dims;
  Bytes bytes;

  if (type != TYPE (INT64) && type != TYPE (INT32)) {
    tensor_fail (self, tensor, error, "found data type %d, expected int32 or "
        "int64", type);
    return NULL;
  }
  if (!pt_onnx_tensor_get_dims (self, tensor, dims, &n_dims, &n, error))
    return NULL;
  if (tensor_get_bytes (self, tensor, n, &bytes, error) &&
      (data = g_try_new (gint64, MAX (n, 1))) == NULL)
    tensor_fail (self, tensor, error, "no memory for %" G_GINT64_FORMAT
        " elements", n);
  for (gint64 i = 0; data != NULL && i < n; i++)
    data[i] = tensor_get_int (type, tensor_get_bits (tensor, &bytes, i));
  g_free (bytes.owned);
  return data;
}

gboolean
pt_onnx_array_read (const OnnxImport *self, const Tensor *tensor,
    OnnxArray *array, GError **error)
{
  const gint type = tensor->data_type;
  OnnxArray made = {.type = type };
  Bytes bytes;

  if (tensor_get_width (type) == 0)
    return tensor_fail (self, tensor, error, "found data type %d, expected "
        "numbers", type);
  if (!pt_onnx_tensor_get_dims (self, tensor, made.dims, &made.rank, &made.n,
          error))
    return FALSE;
  if (tensor_is_splat (tensor) && made.n > self->fold_left)
    return tensor_fail (self, tensor, error, "found %" G_GINT64_FORMAT
        " elements to work out, expected at most %" G_GINT64_FORMAT, made.n,
        self->fold_left);
  if (tensor_get_bytes (self, tensor, made.n, &bytes, error) &&
      (made.cells = g_try_new (OnnxCell, MAX (made.n, 1))) == NULL)
    tensor_fail (self, tensor, error, "no memory for %" G_GINT64_FORMAT
        " elements", made.n);
  for (gint64 i = 0; made.cells != NULL && i < made.n; i++) {
    const guint64 bits = tensor_get_bits (tensor, &bytes, i);

    if (pt_onnx_type_is_float (type))
      made.cells[i].f = tensor_get_float (type, bits);
    else
      made.cells[i].i = tensor_get_int (type, bits);
  }
  g_free (bytes.owned);
  *array = made;
  return made.cells != NULL;
}
