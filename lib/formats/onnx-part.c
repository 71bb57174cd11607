/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "formats/onnx-structure.h"

#include <string.h>

/* Operators that take parts of tensors, or make them longer. */

/* -- parts -- */

typedef struct
{
  gint64 start[PT_MAX_DIMS], length[PT_MAX_DIMS], axis[PT_MAX_DIMS],
      step[PT_MAX_DIMS];
  guint n;
} Parts;

/* A slice layer after @layer, or @layer itself if there is nothing to cut. */
static gint
part_cut (OnnxImport *self, gint layer, const Parts *parts,
    GError **error)
{
  const guint n = parts->n;
  g_autofree gchar *start = pt_onnx_print_list ("start", parts->start, n);
  g_autofree gchar *length = pt_onnx_print_list ("length", parts->length, n);
  g_autofree gchar *axis = pt_onnx_print_list ("axis", parts->axis, n);
  g_autofree gchar *step = pt_onnx_print_list ("step", parts->step, n);
  g_autofree gchar *words = g_strjoin (" ", start, length, axis, step, NULL);

  if (n == 0)
    return layer;
  return pt_onnx_add_layer (self, "slice", &layer, 1, words, error);
}

/* From any number to a place in @low to @high. */
static gint64
part_clamp (gint64 place, gint64 size, gint64 low, gint64 high)
{
  if (place < 0)
    place = place < -size ? -1 : place + size;
  return CLAMP (place, low, high);
}

/* Adds what one axis of @size keeps. */
static gboolean
part_add_axis (OnnxImport *self, const OnnxValue *x, Parts *parts,
    gint64 axis, gint64 size, gint64 start, gint64 end, gint64 step,
    GError **error)
{
  const gint64 low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const gint64 from = part_clamp (start, size, MAX (low, 0), high);
  const gint64 to = part_clamp (end, size, low, high);
  const gint64 way = step > 0 ? to - from : from - to;
  const guint i = parts->n;

  if (step == 0 || way <= 0)
    return pt_onnx_refuse (self, error, "found a slice of axis %"
        G_GINT64_FORMAT " from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
        " in steps of %" G_GINT64_FORMAT ", expected something of the %"
        G_GINT64_FORMAT, axis, start, end, step, size);
  if (step == 1 && way == size)
    return TRUE;
  if (pt_onnx_need_axis (self, x, axis, error) < 0)
    return FALSE;
  step = CLAMP (step, -size, size);
  parts->start[i] = from;
  parts->step[i] = step;
  parts->length[i] = (way - 1) / ABS (step) + 1;
  parts->axis[i] = axis;
  parts->n++;
  return TRUE;
}

static gboolean
part_slice (OnnxImport *self, GError **error)
{
  gint64 starts[ONNX_MAX_DIMS], ends[ONNX_MAX_DIMS], axes[ONNX_MAX_DIMS],
      steps[ONNX_MAX_DIMS], dims[PT_MAX_DIMS];
  gboolean marked[PT_MAX_DIMS];
  guint n, n_ends, n_axes, n_steps;
  Parts parts = {.n = 0 };
  gint layer;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 1, &layer, dims, error);

  if (x == NULL ||
      !pt_onnx_get_list (self, 1, "starts", 10, starts, &n, error) ||
      !pt_onnx_get_list (self, 2, "ends", 10, ends, &n_ends, error) ||
      !pt_onnx_get_list (self, 3, "axes", 10, axes, &n_axes, error) ||
      !pt_onnx_get_list (self, 4, "steps", 10, steps, &n_steps, error))
    return FALSE;
  if (n == 0 || n_ends != n || (n_axes && n_axes != n) ||
      (n_steps && n_steps != n))
    return pt_onnx_refuse (self, error, "found %u starts, %u ends, %u axes and"
        " %u steps, expected as many of each", n, n_ends, n_axes, n_steps);
  for (guint i = 0; i < n && n_axes == 0; i++)
    axes[i] = i;
  if (!pt_onnx_mark_axes (self, axes, n, x->rank, marked, error))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    const gint64 axis = pt_onnx_get_axis (x, axes[i]);

    if (!part_add_axis (self, x, &parts, axis, dims[axis], starts[i],
            ends[i], n_steps ? steps[i] : 1, error))
      return FALSE;
  }
  if (parts.n == 0)
    return pt_onnx_pass (self, x, error);
  layer = part_cut (self, layer, &parts, error);
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, x->rank,
      error);
}

/* As many numbers as there are outputs, their sum is @size; 0 only where nobody
 * reads. */
static gint64 *
part_get_split (OnnxImport *self, gint64 size, GError **error)
{
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "split");
  const guint n = self->node->n_output;
  g_autofree gint64 *split = g_new0 (gint64, MAX (n, 1));
  const gint64 each = n ? (size + n - 1) / n : 0;
  gint64 sum = 0;

  if (self->node->n_input > 1 && *self->node->input[1] != '\0') {
    const Onnx__TensorProto *tensor = pt_onnx_need_constant (self, 1, error);
    gint64 dims[ONNX_MAX_DIMS], count;
    guint rank;

    if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &rank,
            &count, error))
      return NULL;
    if (count == n) {
      g_free (split);
      split = pt_onnx_tensor_get_ints (self, tensor, error);
      if (split == NULL)
        return NULL;
    }
  } else if (attribute != NULL && n > 0 && attribute->n_ints == n)
    memcpy (split, attribute->ints, n * sizeof *split);
  else if (attribute == NULL)
    for (guint i = 0; i < n; i++)
      split[i] = MIN (each, size - (gint64) i * each);
  for (guint i = 0; i < n; i++) {
    const gboolean read = g_hash_table_contains (self->uses,
        self->node->output[i]);

    if (split[i] < read || split[i] > size - sum)
      break;
    sum += split[i];
    if (i == n - 1 && sum == size)
      return g_steal_pointer (&split);
  }
  pt_onnx_refuse (self, error, "found other sizes than %u that make %"
      G_GINT64_FORMAT " in all, expected none below 0, nor 0 where the output "
      "is used", n, size);
  return NULL;
}

static gboolean
part_split (OnnxImport *self, GError **error)
{
  g_autofree gint64 *split = NULL;
  gint64 dims[PT_MAX_DIMS], start = 0;
  gint layer, axis;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 1, &layer, dims, error);

  if (x == NULL)
    return FALSE;
  axis = pt_onnx_need_axis (self, x, pt_onnx_get_int (self, "axis", 0), error);
  if (axis < 0)
    return FALSE;
  split = part_get_split (self, dims[axis], error);
  if (split == NULL)
    return FALSE;
  if (split[0] == dims[axis])
    return pt_onnx_pass (self, x, error);
  for (guint i = 0; i < self->node->n_output; start += split[i++]) {
    const Parts part = { {start}, {split[i]}, {axis}, {1}, 1 };
    gint cut;

    if (!g_hash_table_contains (self->uses, self->node->output[i]))
      continue;
    cut = part_cut (self, layer, &part, error);
    if (cut == ONNX_NO_LAYER || !pt_onnx_set_output_at (self, i, cut, x->rank,
            error))
      return FALSE;
  }
  return TRUE;
}

static gboolean
part_gather (OnnxImport *self, GError **error)
{
  gint64 dims[PT_MAX_DIMS], shape[ONNX_MAX_DIMS], n, target[PT_MAX_DIMS +
      ONNX_MAX_DIMS];
  g_autofree gint64 *index = NULL;
  g_autofree gchar *list = NULL, *words = NULL;
  const Onnx__TensorProto *tensor;
  gint layer, axis;
  guint rank, all = 0;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 1, &layer, dims, error);

  if (x == NULL)
    return FALSE;
  axis = pt_onnx_need_axis (self, x, pt_onnx_get_int (self, "axis", 0), error);
  tensor = axis < 0 ? NULL : pt_onnx_need_constant (self, 1, error);
  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, shape, &rank,
          &n, error))
    return FALSE;
  index = pt_onnx_tensor_get_ints (self, tensor, error);
  if (index == NULL)
    return FALSE;
  list = pt_onnx_print_list ("index", index, n);
  words = g_strdup_printf ("axis=%d %s", axis, list);
  layer = pt_onnx_add_layer (self, "index-select", &layer, 1, words, error);
  if (layer == ONNX_NO_LAYER)
    return FALSE;
  for (gint i = 0; i < axis; i++)
    target[all++] = dims[i];
  for (guint i = 0; i < rank; i++)
    target[all++] = shape[i];
  for (guint i = axis + 1; i < x->rank; i++)
    target[all++] = dims[i];
  return pt_onnx_add_view (self, x, layer, target, all, error);
}

/* -- longer -- */

gint
pt_onnx_add_constant (OnnxImport *self, const Onnx__TensorProto *tensor,
    gint x, guint *rank, GError **error)
{
  g_autofree gchar *shape = NULL, *words = NULL;
  gint64 dims[ONNX_MAX_DIMS], n;
  gint layer;

  if (!pt_onnx_tensor_get_dims (self, tensor, dims, rank, &n, error))
    return ONNX_NO_LAYER;
  shape = *rank == 0 ? g_strdup ("shape=1") :
      pt_onnx_print_list ("shape", dims, *rank);
  words = g_strconcat (shape, " learned=false", NULL);
  layer = pt_onnx_add_layer (self, "parameter", &x, 1, words, error);
  return layer != ONNX_NO_LAYER && pt_onnx_take_weight (self, layer, 0, tensor,
      error) ? layer : ONNX_NO_LAYER;
}

/* The layers of the node's inputs, of which @x is one. */
static gboolean
part_collect (OnnxImport *self, const OnnxValue *x, gint *layers, guint n,
    GError **error)
{
  for (guint i = 0; i < n; i++) {
    const OnnxValue *value = pt_onnx_get_input (self, i);
    gint64 dims[PT_MAX_DIMS];
    guint rank = x->rank;

    if (value != NULL && value->constant != NULL) {
      if (self->batch > 1)
        return pt_onnx_need_axis (self, x, 0, error) >= 0;
      layers[i] = pt_onnx_add_constant (self, value->constant, x->layer, &rank,
          error);
    } else if (pt_onnx_need_exact (self, i, 1, &layers[i], dims, error))
      rank = value->rank;
    else
      return FALSE;
    if (layers[i] == ONNX_NO_LAYER)
      return FALSE;
    if (rank != x->rank)
      return pt_onnx_refuse (self, error, "found inputs of %u and %u "
          "dimensions, expected as many in all", x->rank, rank);
  }
  return TRUE;
}

/* A layer takes eight inputs: more are joined in turn. */
static gboolean
part_concat (OnnxImport *self, GError **error)
{
  const guint n = self->node->n_input;
  g_autofree gint *layers = NULL;
  g_autofree gchar *words = NULL;
  const OnnxValue *x = NULL;
  gint layer, axis;

  if (!pt_onnx_count_inputs (self, 1, 4096, error))
    return FALSE;
  for (guint i = 0; i < n && (x == NULL || x->constant != NULL); i++)
    x = pt_onnx_get_input (self, i);
  if (x == NULL || x->constant != NULL)
    return pt_onnx_need_layer (self, 0, 1, PT_MAX_DIMS, error) != NULL;
  axis = pt_onnx_need_axis (self, x, pt_onnx_get_int (self, "axis", 1), error);
  if (axis < 0)
    return FALSE;
  if (n == 1)
    return pt_onnx_pass (self, x, error);
  layers = g_new (gint, n);
  if (!part_collect (self, x, layers, n, error))
    return FALSE;
  words = g_strdup_printf ("axis=%d", axis);
  layer = layers[0];
  for (guint done = 1; done < n && layer != ONNX_NO_LAYER;) {
    gint group[PT_OP_MAX_INPUTS] = { layer };
    const guint more = MIN (n - done, PT_OP_MAX_INPUTS - 1);

    memcpy (group + 1, layers + done, more * sizeof *layers);
    layer = pt_onnx_add_layer (self, "concat", group, more + 1, words, error);
    done += more;
  }
  return layer != ONNX_NO_LAYER && pt_onnx_set_output (self, layer, x->rank,
      error);
}

/* @pads are the layer's: two for each axis, from the last on. */
static gboolean
part_add_pad (OnnxImport *self, const OnnxValue *x, gint layer,
    gint64 *pads, const gchar *more, GError **error)
{
  g_autofree gchar *list = NULL, *words = NULL;
  guint n = 2 * x->rank;

  while (n > 0 && pads[n - 1] == 0 && pads[n - 2] == 0)
    n -= 2;
  if (n == 0)
    return pt_onnx_pass (self, x, error);
  if (n == 2 * x->rank && pt_onnx_need_axis (self, x, 0, error) < 0)
    return FALSE;
  list = pt_onnx_print_list ("pad", pads, n);
  words = g_strconcat (list, " ", more, NULL);
  return pt_onnx_add_reader (self, "pad", layer, words, x->rank, error);
}

/* What of ONNX's pads, all that begin and then all that end, is which of the
 * layer's. */
static gboolean
part_get_pads (OnnxImport *self, const OnnxValue *x, gint64 *pads,
    GError **error)
{
  gint64 given[2 * ONNX_MAX_DIMS], axes[ONNX_MAX_DIMS];
  const Onnx__AttributeProto *attribute = pt_onnx_find (self, "pads");
  gboolean marked[PT_MAX_DIMS];
  guint n_axes = 0;
  gint64 n = 0;

  if (self->node->n_input > 3 && *self->node->input[3] != '\0' &&
      !pt_onnx_need_ints (self, 3, axes, &n_axes, error))
    return FALSE;
  for (guint i = 0; i < x->rank && n_axes == 0; i++)
    axes[i] = i;
  n_axes = n_axes ? n_axes : x->rank;
  if (!pt_onnx_mark_axes (self, axes, n_axes, x->rank, marked, error))
    return FALSE;
  if (self->opset >= 11) {
    const Onnx__TensorProto *tensor = pt_onnx_need_constant (self, 1, error);
    gint64 dims[ONNX_MAX_DIMS];
    g_autofree gint64 *data = NULL;
    guint rank;

    if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &rank,
            &n, error))
      return FALSE;
    data = pt_onnx_tensor_get_ints (self, tensor, error);
    if (data == NULL)
      return FALSE;
    memcpy (given, data, MIN (n, 2 * ONNX_MAX_DIMS) * sizeof *data);
  } else if (attribute != NULL && attribute->n_ints > 0) {
    n = attribute->n_ints;
    memcpy (given, attribute->ints,
        MIN (n, 2 * ONNX_MAX_DIMS) * sizeof *given);
  }
  if (n != 2 * n_axes)
    return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " pads, "
        "expected two for each of %u axes", n, n_axes);
  for (guint i = 0; i < n_axes; i++) {
    const guint at = 2 * (x->rank - 1 - pt_onnx_get_axis (x, axes[i]));

    pads[at] = given[i];
    pads[at + 1] = given[i + n_axes];
  }
  return TRUE;
}

static gboolean
part_get_value (OnnxImport *self, gfloat *value, GError **error)
{
  const Onnx__TensorProto *tensor;
  gint64 dims[ONNX_MAX_DIMS], n;
  g_autofree gfloat *data = NULL;
  guint rank;

  *value = pt_onnx_get_float (self, "value", 0);
  if (self->node->n_input < 3 || *self->node->input[2] == '\0')
    return TRUE;
  tensor = pt_onnx_need_constant (self, 2, error);
  if (tensor == NULL || !pt_onnx_tensor_get_dims (self, tensor, dims, &rank,
          &n, error))
    return FALSE;
  data = pt_onnx_tensor_get_clamped (self, tensor, error);
  if (data != NULL && n == 1)
    *value = *data;
  return data != NULL && (n == 1 || pt_onnx_refuse (self, error, "found %"
          G_GINT64_FORMAT " values, expected one", n));
}

static gboolean
part_pad (OnnxImport *self, GError **error)
{
  static const gchar *const modes[][2] = { {"constant", "constant"},
    {"reflect", "reflect"}, {"edge", "replicate"}, {"wrap", "circular"}
  };
  gint64 dims[PT_MAX_DIMS], pads[2 * PT_MAX_DIMS] = { 0 };
  gchar number[G_ASCII_DTOSTR_BUF_SIZE];
  const gchar *mode = NULL;
  g_autofree gchar *words = NULL;
  gfloat value;
  gint layer;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 1, &layer, dims, error);

  if (x == NULL || !part_get_pads (self, x, pads, error) ||
      !part_get_value (self, &value, error))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    if (pt_onnx_is_text (self, "mode", modes[i][0], "constant"))
      mode = modes[i][1];
  if (mode == NULL)
    return pt_onnx_refuse (self, error, "attribute mode: found another word, "
        "expected constant, reflect, edge or wrap");
  words = g_strdup_printf ("mode=%s value=%s", mode,
      g_ascii_dtostr (number, sizeof number, value));
  return part_add_pad (self, x, layer, pads, words, error);
}

static gboolean
part_tile (OnnxImport *self, GError **error)
{
  gint64 dims[PT_MAX_DIMS], repeats[ONNX_MAX_DIMS];
  gint64 pads[2 * PT_MAX_DIMS] = { 0 };
  guint n = 0;
  gint layer;
  const OnnxValue *x = pt_onnx_need_exact (self, 0, 1, &layer, dims, error);

  if (x == NULL || !pt_onnx_need_ints (self, 1, repeats, &n, error))
    return FALSE;
  if (n != x->rank)
    return pt_onnx_refuse (self, error, "found %u repeats, expected one for "
        "each of %u axes", n, x->rank);
  for (guint i = 0; i < n; i++) {
    if (repeats[i] < 1 || repeats[i] > PT_MAX_ELEMENTS / dims[i])
      return pt_onnx_refuse (self, error, "found %" G_GINT64_FORMAT " repeats "
          "of axis %u, expected 1 or more", repeats[i], i);
    pads[2 * (n - 1 - i) + 1] = (repeats[i] - 1) * dims[i];
  }
  return part_add_pad (self, x, layer, pads, "mode=circular", error);
}

const OnnxOperator pt_onnx_ops_part[] = {
  {"Concat", part_concat, " axis "},
  {"Gather", part_gather, " axis "},
  {"Pad", part_pad, " mode pads value "},
  {"Slice", part_slice, " axes ends starts "},
  {"Split", part_split, " axis num_outputs split "},
  {"Tile", part_tile, ""},
  {NULL}
};
