/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs ONNX's own test models, folders with model.onnx and
 * test_data_set_N/{input,output}_K.pb:
 *   onnx-conformance FOLDER...
 *   onnx-conformance --fuzz N MODEL...
 * Prints a line for each, and the counts. Each input of floats is the picture
 * in turn, the others are constants then; each output is compared, alone and
 * beside all that are taken. A model of one node that all of this refuses may be "folded": worked out at import. */

#include "core/rng.h"
#include "formats/onnx-fold.h"
#include "partime/partime.h"

#include <math.h>
#include <string.h>

typedef struct
{
  guint passed, folded, refused, failed;
} Counts;

typedef struct
{
  const gchar *folder;
  const guint8 *data;
  gsize size;
  Onnx__ModelProto *model;
  GPtrArray *inputs;            /* Onnx__ValueInfoProto, no initializers */
} Case;

/* ONNX's runner compares with these. */
#define RELATIVE 1e-3
#define ABSOLUTE 1e-7

static void
free_tensor (gpointer tensor)
{
  if (tensor != NULL)
    onnx__tensor_proto__free_unpacked (tensor, NULL);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Onnx__TensorProto, free_tensor)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (OnnxArray, pt_onnx_array_clear)

static gint
get_type (const Onnx__ValueInfoProto *value)
{
  return value->type != NULL && value->type->value_case ==
      ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ?
      (gint) value->type->tensor_type->elem_type : 0;
}

static Onnx__TensorProto *
load_tensor (const Case *test, guint set, const gchar *kind, guint i)
{
  const gint type = get_type (g_str_equal (kind, "input") ?
      test->inputs->pdata[i] : test->model->graph->output[i]);
  Onnx__TensorProto *tensor;
  g_autofree gchar *name = g_strdup_printf ("%s/test_data_set_%u/%s_%u.pb",
      test->folder, set, kind, i);
  g_autofree gchar *data = NULL;
  gsize size;

  if (!g_file_get_contents (name, &data, &size, NULL))
    return NULL;
  tensor = onnx__tensor_proto__unpack (NULL, size, (const guint8 *) data);
  /* which the data has as uint16 */
  if (tensor != NULL && type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16)
    tensor->data_type = type;
  return tensor;
}

static gboolean
load_array (const Case *test, guint set, const gchar *kind, guint i,
    OnnxArray *array)
{
  const OnnxImport import = {.path = "test" };
  g_autoptr (Onnx__TensorProto) tensor = load_tensor (test, set, kind, i);

  return tensor != NULL && pt_onnx_array_read (&import, tensor, array, NULL);
}

static gboolean
has_set (const Case *test, guint set)
{
  g_autofree gchar *folder =
      g_strdup_printf ("%s/test_data_set_%u", test->folder, set);

  return g_file_test (folder, G_FILE_TEST_IS_DIR);
}

static GPtrArray *
list_inputs (const Onnx__GraphProto *graph)
{
  GPtrArray *inputs = g_ptr_array_new ();

  for (gsize i = 0; i < graph->n_input; i++) {
    gboolean constant = FALSE;

    for (gsize j = 0; j < graph->n_initializer; j++)
      constant |= g_strcmp0 (graph->initializer[j]->name,
          graph->input[i]->name) == 0;
    if (!constant)
      g_ptr_array_add (inputs, graph->input[i]);
  }
  return inputs;
}

/* Both may be the same infinity, or no number. */
static gboolean
is_near (gdouble found, gdouble expected, gdouble relative)
{
  return (isnan (found) && isnan (expected)) || found == expected ||
      fabs (found - expected) <= ABSOLUTE + relative * fabs (expected);
}

/* -- a network -- */

/* Whether the sizes are the same but for ones. */
static gboolean
is_shaped (const PtShape *shape, const OnnxArray *array)
{
  guint i = 0, j = 0;

  for (;; i++, j++) {
    while (i < shape->n_dims && shape->dims[i] == 1)
      i++;
    while (j < array->rank && array->dims[j] == 1)
      j++;
    if (i == shape->n_dims || j == array->rank)
      return i == shape->n_dims && j == array->rank;
    if (shape->dims[i] != array->dims[j])
      return FALSE;
  }
}

static gchar *
compare_frame (const gfloat *found, const OnnxArray *y, gint64 f, gint64 out)
{
  for (gint64 i = 0; i < out; i++) {
    const OnnxCell *cell = &y->cells[f * out + i];
    const gdouble expected =
        pt_onnx_type_is_float (y->type) ? cell->f : cell->i;

    if (!is_near (found[i], expected, RELATIVE))
      return g_strdup_printf ("frame %" G_GINT64_FORMAT " element %"
          G_GINT64_FORMAT ": found %.9g, expected %.9g", f, i, found[i],
          expected);
  }
  return NULL;
}

static gchar *
compare_outputs (const PtResult *result, const OnnxArray *ys, gint64 f)
{
  gchar *wrong = NULL;

  for (guint i = 0; i < result->n_outputs && wrong == NULL; i++)
    wrong = compare_frame (pt_tensor_get_data (result->outputs[i]), &ys[i], f,
        pt_tensor_get_n_elements (result->outputs[i]));
  return wrong;
}

static gchar *
run_pipeline (PtPipeline *pipeline, PtNetwork *network, const OnnxArray *x,
    const OnnxArray *ys)
{
  const PtShape *shape = pt_network_get_input_shape (network);
  const gint64 in = pt_shape_get_n_elements (shape);
  gchar *wrong = NULL;

  for (gint64 f = 0; f * in < x->n && wrong == NULL; f++) {
    g_autoptr (PtTensor) frame =
        pt_tensor_new (PT_F32, shape->dims + 1, 3, NULL);
    g_autoptr (PtResult) result = NULL;
    g_autoptr (GError) error = NULL;
    gfloat *data = pt_tensor_get_data (frame);

    for (gint64 i = 0; i < in; i++)
      data[i] = x->cells[f * in + i].f;
    if (pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_NONE, &error) !=
        PT_FLOW_OK ||
        pt_pipeline_pull (pipeline, &result, &error) != PT_FLOW_OK)
      return g_strdup (error ? error->message : "no result");
    wrong = compare_outputs (result, ys, f);
  }
  return wrong;
}

static gchar *
check_shape (PtNetwork *network, guint i, const OnnxArray *x,
    const OnnxArray *y)
{
  const PtShape *shape = pt_network_get_output_shape_at (network, i);
  const gint64 in =
      pt_shape_get_n_elements (pt_network_get_input_shape (network));
  const gint64 out = pt_shape_get_n_elements (shape);
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (x->n % in != 0 || x->n / in * out != y->n ||
      (x->n == in && !is_shaped (shape, y)))
    return g_strdup_printf ("%" G_GINT64_FORMAT " numbers to shape %s, "
        "expected %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, in,
        pt_shape_print (shape, text), x->n, y->n);
  return NULL;
}

/* Whether the network's outputs for each frame of @x are @ys; says what is
 * not. */
static gchar *
run_frames (PtNetwork *network, const OnnxArray *x, const OnnxArray *ys)
{
  g_autoptr (PtPipeline) pipeline = NULL;
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < pt_network_get_n_outputs (network); i++) {
    gchar *wrong = check_shape (network, i, x, &ys[i]);

    if (wrong != NULL)
      return wrong;
  }
  pt_network_set (network, "pipeline", "devices", "cpu:0", NULL);
  pt_network_set (network, "pipeline", "stages", "1", NULL);
  pt_network_set (network, "learning", "mode", "off", NULL);
  pipeline = pt_pipeline_new (network, &error);
  if (pipeline == NULL || !pt_pipeline_start (pipeline, &error))
    return g_strdup (error->message);
  return run_pipeline (pipeline, network, x, ys);
}

/* As floats: some data is as the memory was when they were written. */
static gboolean
is_finite (const OnnxArray *array)
{
  for (gint64 i = 0; i < array->n; i++)
    if (pt_onnx_type_is_float (array->type) &&
        !isfinite ((gfloat) array->cells[i].f))
      return FALSE;
  return TRUE;
}

/* All inputs but @i, by name. */
static GHashTable *
load_constants (const Case *test, guint set, guint i)
{
  GHashTable *constants =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, free_tensor);

  for (guint j = 0; j < test->inputs->len; j++) {
    const Onnx__ValueInfoProto *input = test->inputs->pdata[j];
    Onnx__TensorProto *tensor =
        j == i ? NULL : load_tensor (test, set, "input", j);

    if (tensor != NULL)
      g_hash_table_insert (constants, input->name, tensor);
  }
  return constants;
}

static void
clear_array (gpointer array)
{
  pt_onnx_array_clear (array);
}

/* What the outputs of @network are to be; NULL if it cannot be read. */
static GArray *
load_outputs (const Case *test, guint set, PtNetwork *network)
{
  const guint n = pt_network_get_n_outputs (network);
  g_autoptr (GArray) ys = g_array_new (FALSE, TRUE, sizeof (OnnxArray));

  g_array_set_clear_func (ys, clear_array);
  g_array_set_size (ys, n);
  for (guint i = 0; i < n; i++) {
    const gchar *name = pt_network_get_output_name (network, i);
    guint k = 0;

    while (!g_str_equal (test->model->graph->output[k]->name, name))
      k++;
    if (!load_array (test, set, "output", k, &g_array_index (ys, OnnxArray,
                i)))
      return NULL;
  }
  return g_steal_pointer (&ys);
}

static gboolean
are_finite (const OnnxArray *x, GArray *ys)
{
  gboolean finite = is_finite (x);

  for (guint i = 0; i < ys->len; i++)
    finite = finite && is_finite (&g_array_index (ys, OnnxArray, i));
  return finite;
}

/* Output @name, or all, with input @i as the picture; NULL without @error: it
 * is right. */
static gchar *
run_one (const Case *test, guint set, guint i, const gchar *name,
    GError **error)
{
  g_autoptr (GHashTable) constants = load_constants (test, set, i);
  g_autofree gchar *path = g_build_filename (test->folder, "model.onnx", NULL);
  g_autofree gchar *choice = g_strconcat ("network.output=", name, NULL);
  const gchar *const settings[] = { choice, NULL };
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (GArray) ys = NULL;
  g_auto (OnnxArray) x = { 0 };

  network = pt_onnx_parse (test->data, test->size, path, settings, constants,
      error);
  if (network == NULL)
    return NULL;
  ys = load_outputs (test, set, network);
  if (ys == NULL || !load_array (test, set, "input", i, &x))
    return g_strdup ("its data cannot be read");
  if (are_finite (&x, ys))
    return run_frames (network, &x, (OnnxArray *) (gpointer) ys->data);
  g_set_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED, "%s: found NaN or "
      "infinity in its data, expected frames without", path);
  return NULL;
}

/* -- what is worked out at import -- */

static gchar *
compare_array (const OnnxArray *found, const OnnxArray *expected)
{
  /* bfloat16 is cut off in the data of ONNX 1.12, not rounded */
  const gdouble relative = expected->type ==
      ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16 ? 0x1p-7 : RELATIVE;

  if (found->rank != expected->rank || memcmp (found->dims, expected->dims,
          found->rank * sizeof *found->dims) != 0)
    return g_strdup ("another shape");
  for (gint64 i = 0; i < found->n; i++)
    if (pt_onnx_type_is_float (expected->type) ?
        !is_near (found->cells[i].f, expected->cells[i].f, relative) :
        found->cells[i].i != expected->cells[i].i)
      return g_strdup_printf ("element %" G_GINT64_FORMAT " is wrong", i);
  return NULL;
}

static gchar *
check_folded (const Case *test, OnnxImport *import, guint set)
{
  const OnnxValue *value = g_hash_table_lookup (import->values,
      import->node->output[0]);
  g_auto (OnnxArray) found = { 0 };
  g_auto (OnnxArray) expected = { 0 };

  if (value == NULL || !pt_onnx_array_read (import, value->constant, &found,
          NULL) || !load_array (test, set, "output", 0, &expected))
    return g_strdup ("its data cannot be read");
  return compare_array (&found, &expected);
}

/* A node whose inputs are all known; *@done tells whether it was folded. */
static gchar *
run_fold (const Case *test, guint set, gboolean *done)
{
  OnnxImport import = {.path = "test",.graph = test->model->graph,
    .node = test->model->graph->node[0],.fold_left = 1 << 24,.batch = 1,
    .opset = test->model->opset_import[0]->version
  };
  g_autoptr (GPtrArray) tensors =
      g_ptr_array_new_with_free_func (free_tensor);
  g_autoptr (GError) error = NULL;
  gchar *wrong = NULL;

  import.values = g_hash_table_new_full (g_str_hash, g_str_equal, NULL,
      g_free);
  for (guint j = 0; j < test->inputs->len; j++) {
    const Onnx__ValueInfoProto *input = test->inputs->pdata[j];
    OnnxValue value = {.constant = load_tensor (test, set, "input", j) };

    if (value.constant != NULL)
      pt_onnx_add_value (&import, input->name, &value, NULL);
    g_ptr_array_add (tensors, (gpointer) value.constant);
  }
  if (!pt_onnx_fold (&import, done, &error))
    *done = FALSE;
  if (*done)
    wrong = check_folded (test, &import, set);
  g_hash_table_unref (import.values);
  g_clear_pointer (&import.made, g_ptr_array_unref);
  return wrong;
}

/* -- models -- */

/* Notes the outcome of one way to run a model. */
static void
note (Counts *counts, gchar **says, GError *error, gchar *wrong)
{
  counts->passed += error == NULL && wrong == NULL;
  counts->failed += wrong != NULL;
  if (wrong != NULL) {
    g_free (*says);
    *says = wrong;
  } else if (error != NULL && *says == NULL) {
    const gchar *reason = strstr (error->message, "model.onnx: ");

    *says = g_strdup (reason ? reason + 12 : error->message);
  }
  g_clear_error (&error);
}

/* Each output alone, then all at once. */
static void
run_input (const Case *test, guint set, guint i, Counts *counts, gchar **says)
{
  const Onnx__GraphProto *graph = test->model->graph;
  const gsize n = graph->n_output > 1 ? graph->n_output + 1 : 1;

  for (gsize k = 0; k < n; k++) {
    GError *error = NULL;
    gchar *wrong = run_one (test, set, i, k < graph->n_output ?
        graph->output[k]->name : "", &error);

    note (counts, says, error, wrong);
  }
}

static void
run_case (const Case *test, Counts *counts)
{
  const Onnx__GraphProto *graph = test->model->graph;
  g_autofree gchar *name = g_path_get_basename (test->folder);
  g_autofree gchar *says = NULL;
  Counts mine = { 0 };
  gboolean folded = FALSE;

  for (guint set = 0; has_set (test, set); set++) {
    for (guint i = 0; i < test->inputs->len; i++)
      if (pt_onnx_type_is_float (get_type (test->inputs->pdata[i])))
        run_input (test, set, i, &mine, &says);
    if (graph->n_node == 1 && test->model->n_opset_import == 1) {
      gchar *wrong = run_fold (test, set, &folded);

      if (wrong != NULL)
        note (&mine, &says, NULL, g_strconcat ("folded: ", wrong, NULL));
      g_free (wrong);
    }
  }
  counts->failed += mine.failed > 0;
  counts->passed += !mine.failed && mine.passed;
  counts->folded += !mine.failed && !mine.passed && folded;
  counts->refused += !mine.failed && !mine.passed && !folded;
  g_print ("%s %s%s%.160s\n", mine.failed ? "FAILED" : mine.passed ? "passed" :
      folded ? "folded" : "refused", name, mine.passed && !mine.failed ? "" :
      ": ", mine.passed && !mine.failed ? "" : says ? says :
      "no input is of floats");
}

static void
run_model (const gchar *folder, Counts *counts)
{
  g_autofree gchar *path = g_build_filename (folder, "model.onnx", NULL);
  g_autofree gchar *data = NULL;
  g_autoptr (GPtrArray) inputs = NULL;
  Case test = {.folder = folder };

  if (!g_file_get_contents (path, &data, &test.size, NULL))
    return;
  test.data = (const guint8 *) data;
  test.model = onnx__model_proto__unpack (NULL, test.size, test.data);
  test.inputs = inputs = list_inputs (test.model->graph);
  run_case (&test, counts);
  onnx__model_proto__free_unpacked (test.model, NULL);
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

/* The first input of floats is the picture, where others are known. */
static GHashTable *
fuzz_load_constants (Case *test)
{
  guint i = 0;

  while (i < test->inputs->len &&
      !pt_onnx_type_is_float (get_type (test->inputs->pdata[i])))
    i++;
  return load_constants (test, 0, i);
}

static void
fuzz_model (const gchar *path, guint n, Counts *counts)
{
  GRand *rand = g_rand_new_with_seed (20);
  g_autofree gchar *folder = g_path_get_dirname (path);
  g_autofree gchar *data = NULL;
  g_autoptr (GHashTable) constants = NULL;
  Case test = {.folder = folder };

  if (!g_file_get_contents (path, &data, &test.size, NULL) || test.size == 0)
    g_error ("%s: cannot be read", path);
  test.model = onnx__model_proto__unpack (NULL, test.size,
      (const guint8 *) data);
  test.inputs = list_inputs (test.model->graph);
  constants = fuzz_load_constants (&test);
  for (guint i = 0; i < n; i++) {
    g_autofree guint8 *copy = g_memdup2 (data, test.size);
    g_autoptr (GError) error = NULL;
    const gsize left = i == 0 ? test.size : damage (copy, test.size, rand);
    g_autoptr (PtNetwork) network =
        pt_onnx_parse (copy, left, path, NULL, constants, &error);

    g_assert_true ((network == NULL) == (error != NULL));
    counts->passed += network != NULL;
    counts->refused += network == NULL;
  }
  g_rand_free (rand);
  g_ptr_array_unref (test.inputs);
  onnx__model_proto__free_unpacked (test.model, NULL);
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
  g_print ("%u passed, %u folded, %u refused, %u failed\n", counts.passed,
      counts.folded, counts.refused, counts.failed);
  return counts.failed > 0;
}
