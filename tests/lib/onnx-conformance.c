/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs ONNX's own test models, folders with model.onnx and
 * test_data_set_N/{input,output}_K.pb:
 *   onnx-conformance FOLDER...
 *   onnx-conformance --fuzz N MODEL...
 * Prints a line for each, and the counts. Inputs after the first are
 * constants; each of a batch is a frame. */

#include "core/rng.h"
#include "formats/onnx-import.h"
#include "partime/partime.h"

#include <math.h>
#include <string.h>

typedef struct
{
  guint passed, refused, failed;
} Counts;

/* ONNX's runner compares with these. */
#define RELATIVE 1e-3
#define ABSOLUTE 1e-7

static Onnx__TensorProto *
load_tensor (const gchar *folder, const gchar *kind, guint i)
{
  g_autofree gchar *name =
      g_strdup_printf ("%s/test_data_set_0/%s_%u.pb", folder, kind, i);
  g_autofree gchar *data = NULL;
  gsize size;

  if (!g_file_get_contents (name, &data, &size, NULL))
    return NULL;
  return onnx__tensor_proto__unpack (NULL, size, (const guint8 *) data);
}

static void
free_tensor (gpointer tensor)
{
  if (tensor != NULL)
    onnx__tensor_proto__free_unpacked (tensor, NULL);
}

/* The names of the inputs that are no initializers, in order. */
static GPtrArray *
list_inputs (const Onnx__ModelProto *model)
{
  GPtrArray *names = g_ptr_array_new_with_free_func (g_free);

  for (gsize i = 0; i < model->graph->n_input; i++) {
    const gchar *name = model->graph->input[i]->name;
    gboolean constant = FALSE;

    for (gsize j = 0; j < model->graph->n_initializer; j++)
      constant |= g_strcmp0 (model->graph->initializer[j]->name, name) == 0;
    if (!constant && name != NULL)
      g_ptr_array_add (names, g_strdup (name));
  }
  return names;
}

static gfloat *
get_numbers (const Onnx__TensorProto *tensor, gint64 *batch, gint64 *n)
{
  const OnnxImport import = {.path = "test" };
  gint64 dims[ONNX_MAX_DIMS];
  guint n_dims;

  if (tensor == NULL || !pt_onnx_tensor_get_dims (&import, tensor, dims,
          &n_dims, n, NULL))
    return NULL;
  *batch = n_dims > 0 ? dims[0] : 1;
  return pt_onnx_tensor_get_floats (&import, tensor, NULL);
}

/* Whether the network's output for each frame of @x is @y; says what is not. */
static gchar *
run_frames (PtNetwork *network, const gfloat *x, gint64 n_x, const gfloat *y,
    gint64 n_y, gint64 batch)
{
  const PtShape *shape = pt_network_get_input_shape (network);
  const gint64 in = pt_shape_get_n_elements (shape);
  const gint64 out =
      pt_shape_get_n_elements (pt_network_get_output_shape (network));
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;

  if (n_x != in * batch || n_y != out * batch)
    return g_strdup_printf ("%" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
        " numbers a frame, expected %" G_GINT64_FORMAT " to %"
        G_GINT64_FORMAT, in, out, n_x / batch, n_y / batch);
  pt_network_set (network, "pipeline", "devices", "cpu:0", NULL);
  pt_network_set (network, "pipeline", "stages", "1", NULL);
  pt_network_set (network, "learning", "mode", "off", NULL);
  pipeline = pt_pipeline_new (network, &error);
  if (pipeline == NULL || !pt_pipeline_start (pipeline, &error))
    return g_strdup (error->message);
  for (gint64 f = 0; f < batch; f++) {
    g_autoptr (PtTensor) frame =
        pt_tensor_new (PT_F32, shape->dims + 1, 3, NULL);
    g_autoptr (PtResult) result = NULL;
    const gfloat *found;

    memcpy (pt_tensor_get_data (frame), x + f * in, in * sizeof *x);
    if (pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_NONE, &error) !=
        PT_FLOW_OK ||
        pt_pipeline_pull (pipeline, &result, &error) != PT_FLOW_OK)
      return g_strdup (error ? error->message : "no result");
    found = pt_tensor_get_data (result->output);
    for (gint64 i = 0; i < out; i++) {
      const gfloat expected = y[f * out + i];

      if (!(fabsf (found[i] - expected) <=
              ABSOLUTE + RELATIVE * fabsf (expected)))
        return g_strdup_printf ("frame %" G_GINT64_FORMAT " element %"
            G_GINT64_FORMAT ": found %.9g, expected %.9g", f, i, found[i],
            expected);
    }
  }
  return NULL;
}

static gchar *
run_network (PtNetwork *network, const gchar *folder)
{
  Onnx__TensorProto *input = load_tensor (folder, "input", 0);
  Onnx__TensorProto *output = load_tensor (folder, "output", 0);
  gint64 batch = 1, ignored, n_x, n_y;
  g_autofree gfloat *x = get_numbers (input, &batch, &n_x);
  g_autofree gfloat *y = get_numbers (output, &ignored, &n_y);
  gchar *wrong;

  if (x == NULL || y == NULL)
    wrong = g_strdup ("its data cannot be read");
  else
    wrong = run_frames (network, x, n_x, y, n_y, MAX (batch, 1));
  free_tensor (input);
  free_tensor (output);
  return wrong;
}

static void
run_model (const gchar *folder, Counts *counts)
{
  g_autofree gchar *name = g_path_get_basename (folder);
  g_autofree gchar *path = g_build_filename (folder, "model.onnx", NULL);
  g_autofree gchar *data = NULL;
  g_autofree gchar *wrong = NULL;
  g_autoptr (GHashTable) constants =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, free_tensor);
  g_autoptr (GPtrArray) names = NULL;
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GError) error = NULL;
  Onnx__ModelProto *model;
  gsize size;

  if (!g_file_get_contents (path, &data, &size, NULL))
    return;
  model = onnx__model_proto__unpack (NULL, size, (const guint8 *) data);
  names = list_inputs (model);
  onnx__model_proto__free_unpacked (model, NULL);
  for (guint i = 1; i < names->len; i++) {
    Onnx__TensorProto *tensor = load_tensor (folder, "input", i);

    if (tensor != NULL)
      g_hash_table_insert (constants, names->pdata[i], tensor);
  }
  network = pt_onnx_parse ((const guint8 *) data, size, path, NULL, constants,
      &error);
  if (network == NULL) {
    const gchar *reason = strstr (error->message, "model.onnx: ");

    counts->refused++;
    g_print ("refused %s: %.160s\n", name, reason ? reason + 12 :
        error->message);
    return;
  }
  wrong = run_network (network, folder);
  counts->passed += wrong == NULL;
  counts->failed += wrong != NULL;
  g_print ("%s %s%s%s\n", wrong ? "FAILED" : "passed", name,
      wrong ? ": " : "", wrong ? wrong : "");
}

static void
run_folder (const gchar *folder, Counts *counts)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  GSequence *names = g_sequence_new (g_free);
  const gchar *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    g_sequence_insert_sorted (names, g_build_filename (folder, name, NULL),
        (GCompareDataFunc) (void (*)(void)) g_strcmp0, NULL);
  for (GSequenceIter *i = g_sequence_get_begin_iter (names);
      !g_sequence_iter_is_end (i); i = g_sequence_iter_next (i))
    run_model (g_sequence_get (i), counts);
  g_sequence_free (names);
  if (dir != NULL)
    g_dir_close (dir);
}

/* -- damage -- */

/* Flips a few bits, or cuts the end off. */
static gsize
damage (guint8 *data, gsize size, GRand *rand)
{
  const guint flips = g_rand_int_range (rand, 1, 8);

  if (g_rand_int_range (rand, 0, 4) == 0)
    return g_rand_int_range (rand, 0, size);
  for (guint i = 0; i < flips; i++)
    data[g_rand_int_range (rand, 0, size)] ^= 1 << g_rand_int_range (rand, 0, 8);
  return size;
}

static void
fuzz_model (const gchar *path, guint n, Counts *counts)
{
  GRand *rand = g_rand_new_with_seed (20);
  g_autofree gchar *data = NULL;
  gsize size;

  if (!g_file_get_contents (path, &data, &size, NULL) || size == 0)
    g_error ("%s: cannot be read", path);
  for (guint i = 0; i < n; i++) {
    g_autofree guint8 *copy = g_memdup2 (data, size);
    g_autoptr (GError) error = NULL;
    const gsize left = damage (copy, size, rand);
    g_autoptr (PtNetwork) network =
        pt_onnx_parse (copy, left, path, NULL, NULL, &error);

    g_assert_true ((network == NULL) == (error != NULL));
    counts->passed += network != NULL;
    counts->refused += network == NULL;
  }
  g_rand_free (rand);
}

gint
main (gint argc, gchar **argv)
{
  const gboolean fuzz = argc > 3 && strcmp (argv[1], "--fuzz") == 0;
  Counts counts = { 0 };

  for (gint i = fuzz ? 3 : 1; i < argc; i++)
    if (fuzz)
      fuzz_model (argv[i], atoi (argv[2]), &counts);
    else
      run_folder (argv[i], &counts);
  g_print ("%u passed, %u refused, %u failed\n", counts.passed, counts.refused,
      counts.failed);
  return counts.failed > 0;
}
