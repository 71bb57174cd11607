/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-import.h"

/* protobuf-c unpacks by recursion without a bound, and a field of two bytes
 * becomes an allocation: a small file could overrun the stack or fill the
 * memory. Only lengths are looked at here, with protobuf-c's own tables. */

#define GUARD_MAX_DEPTH 48
#define GUARD_MAX_FIELDS (8 << 20)

typedef enum
{
  WIRE_VARINT = 0,
  WIRE_64 = 1,
  WIRE_BYTES = 2,
  WIRE_32 = 5,
} Wire;

typedef struct
{
  const gchar *path;
  guint n_fields;
} Guard;

static gboolean
guard_read_varint (const guint8 **at, const guint8 *end, guint64 *value)
{
  *value = 0;
  for (guint shift = 0; *at < end && shift < 64; shift += 7) {
    const guint8 byte = *(*at)++;

    *value |= (guint64) (byte & 0x7f) << shift;
    if (!(byte & 0x80))
      return TRUE;
  }
  return FALSE;
}

static gboolean
guard_fail (const Guard *self, GError **error, const gchar *found)
{
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: cannot read the ONNX "
      "model: found %s, expected a model as onnx.save() writes it", self->path,
      found);
  return FALSE;
}

/* How many bytes the field's value has, its length read if it has one. */
static gboolean
guard_measure (const guint8 **at, const guint8 *end, Wire wire, guint64 *n)
{
  guint64 ignored;

  *n = 0;
  switch (wire) {
    case WIRE_VARINT:
      return guard_read_varint (at, end, &ignored);
    case WIRE_64:
      *n = 8;
      break;
    case WIRE_32:
      *n = 4;
      break;
    case WIRE_BYTES:
      if (!guard_read_varint (at, end, n))
        return FALSE;
      break;
    default:
      return FALSE;
  }
  return *n <= (guint64) (end - *at);
}

static gboolean
guard_message (Guard *self, const ProtobufCMessageDescriptor *about,
    const guint8 *at, const guint8 *end, guint depth, GError **error)
{
  if (depth > GUARD_MAX_DEPTH)
    return guard_fail (self, error, "graphs within graphs without end");
  while (at < end) {
    const ProtobufCFieldDescriptor *field;
    guint64 tag, n;

    if (++self->n_fields > GUARD_MAX_FIELDS)
      return guard_fail (self, error, "more than 8388608 fields");
    if (!guard_read_varint (&at, end, &tag) || tag >> 3 > G_MAXUINT32 ||
        !guard_measure (&at, end, tag & 7, &n))
      return guard_fail (self, error, "a field that is cut short, or none");
    field = protobuf_c_message_descriptor_get_field (about, tag >> 3);
    if (field != NULL && (tag & 7) == WIRE_BYTES &&
        field->type == PROTOBUF_C_TYPE_MESSAGE &&
        !guard_message (self, field->descriptor, at, at + n, depth + 1, error))
      return FALSE;
    at += n;
  }
  return TRUE;
}

gboolean
pt_onnx_guard (const guint8 *data, gsize size, const gchar *path,
    GError **error)
{
  Guard self = { path, 0 };

  return guard_message (&self, &onnx__model_proto__descriptor, data,
      data + size, 0, error);
}
