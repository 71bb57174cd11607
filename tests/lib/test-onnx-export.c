/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Layers written as ONNX. With an argument it writes every sample of every
 * kind there as a model NUMBER.onnx, with its inputs and what it computes here
 * in NUMBER.safetensors, for tests/test-export.py to run elsewhere. */

#include "layer-rig.h"

#include "formats/onnx-export.h"
#include "formats/onnx.h"

#include <glib/gstdio.h>
#include <unistd.h>

static PtTensor *
sample_weight (const gchar *line, const PtWeight *weight)
{
  PtTensor *golden = golden_find (line, "%s", weight->name);
  const gboolean positive = g_str_has_suffix (weight->name, "_var");
  PtTensor *host;

  if (golden != NULL)
    return pt_tensor_ref (golden);
  host = pt_tensor_new_shaped (PT_F32, &weight->shape, NULL);
  pt_rng_fill_uniform (host->data, pt_shape_get_n_elements (&weight->shape),
      positive ? 0.5 : -1, positive ? 2 : 1, 5, pt_rng_stream (weight->name));
  return host;
}

/* The model of a sample, and the numbers that go in and come out. */
static GBytes *
sample_export (const PtLayerKind *kind, const gchar *sample,
    PtTensorFile *numbers, GError **error)
{
  g_autofree gchar *line = g_strdup_printf ("%s %s", kind->name, sample);
  g_autoptr (Rig) rig = rig_new (kind, sample, FALSE);
  g_autoptr (OnnxExport) export = pt_onnx_export_new (line);
  g_autoptr (GPtrArray) weights =
      g_ptr_array_new_with_free_func ((GDestroyNotify) pt_tensor_unref);
  g_autoptr (PtTensor) y = NULL;
  const PtLayer *layer = rig->layer;
  const gchar *inputs[PT_OP_MAX_INPUTS], *output;

  for (guint i = 0; i < layer->n_inputs; i++) {
    g_autofree gchar *name = g_strdup_printf ("x%u", i);
    g_autoptr (PtTensor) x = rig_input (line, name, &layer->inputs[i]);

    rig_upload (rig, rig->args.x[i], x);
    pt_tensor_file_add (numbers, name, x);
    inputs[i] = pt_onnx_export_add_input (export, name, &layer->inputs[i]);
  }
  for (guint i = 0; i < layer->n_weights; i++) {
    g_ptr_array_add (weights, sample_weight (line, &layer->weights[i]));
    rig_pack (rig, i, g_ptr_array_index (weights, i));
  }
  rig_forward (rig);
  y = rig_download (rig, rig->args.y);
  pt_tensor_file_add (numbers, "y", y);
  output = pt_onnx_export_layer (export, layer, inputs,
      (PtTensor **) weights->pdata, NULL, error);
  if (output == NULL)
    return NULL;
  pt_onnx_export_add_output (export, output, &layer->output);
  return pt_onnx_export_pack (export, NULL, error);
}

static gboolean
write_samples (const gchar *folder, GError **error)
{
  guint n = 0;

  for (guint k = 0; pt_layer_kinds[k] != NULL; k++) {
    const PtLayerKind *kind = pt_layer_kinds[k];
    const OnnxWriter *writer = pt_onnx_find_writer (kind->name);

    if (writer == NULL || writer->func == NULL)
      continue;
    for (guint i = 0; kind->samples[i] != NULL; i++, n++) {
      g_autofree gchar *model = g_strdup_printf ("%s/%u.onnx", folder, n);
      g_autofree gchar *data = g_strdup_printf ("%s/%u.safetensors", folder, n);
      g_autoptr (PtTensorFile) numbers = pt_tensor_file_new ();
      g_autoptr (GBytes) bytes =
          sample_export (kind, kind->samples[i], numbers, error);

      if (bytes == NULL || !pt_tensor_file_save (numbers, data, error) ||
          !g_file_set_contents (model, g_bytes_get_data (bytes, NULL),
              g_bytes_get_size (bytes), error))
        return FALSE;
      g_print ("%u %s %s\n", n, kind->name, kind->samples[i]);
    }
  }
  return TRUE;
}

/* A new kind needs a writer, or a reason why there is none. */
static void
test_kinds (void)
{
  for (guint k = 0; pt_layer_kinds[k] != NULL; k++) {
    const OnnxWriter *writer = pt_onnx_find_writer (pt_layer_kinds[k]->name);

    if (writer == NULL)
      g_test_message ("layer kind %s: found no row in lib/formats/"
          "onnx-export-*.c, expected a writer or a reason",
          pt_layer_kinds[k]->name);
    if (writer == NULL || (writer->func == NULL) == (writer->reason == NULL))
      g_test_fail ();
  }
}

static void
test_activations (void)
{
  for (guint i = 1; pt_activation_names[i] != NULL; i++) {
    const OnnxWriter *writer = pt_onnx_find_writer (pt_activation_names[i]);

    if (writer == NULL || writer->func == NULL) {
      g_test_message ("activation=%s has no writer", pt_activation_names[i]);
      g_test_fail ();
    }
  }
}

static void
test_samples (void)
{
  g_autoptr (GError) error = NULL;

  for (guint k = 0; pt_layer_kinds[k] != NULL; k++) {
    const PtLayerKind *kind = pt_layer_kinds[k];
    const OnnxWriter *writer = pt_onnx_find_writer (kind->name);

    for (guint i = 0; writer && writer->func && kind->samples[i]; i++) {
      g_autoptr (PtTensorFile) numbers = pt_tensor_file_new ();
      g_autoptr (GBytes) bytes =
          sample_export (kind, kind->samples[i], numbers, &error);
      Onnx__ModelProto *model;

      g_assert_no_error (error);
      model = onnx__model_proto__unpack (NULL, g_bytes_get_size (bytes),
          g_bytes_get_data (bytes, NULL));
      g_assert_nonnull (model);
      g_assert_cmpuint (model->graph->n_node, >, 0);
      onnx__model_proto__free_unpacked (model, NULL);
    }
  }
}

static void
test_refused (void)
{
  PtLayerKind kind = *pt_layer_kind_find ("relu");
  g_autoptr (OnnxExport) export = pt_onnx_export_new ("net.onnx");
  g_autoptr (GError) error = NULL;
  g_autoptr (PtLayer) layer = NULL;
  const gchar *inputs[] = { "x" };

  kind.name = "no-such-kind";
  layer = pt_layer_new (&kind, "here");
  layer->n_inputs = 1;
  g_assert_null (pt_onnx_export_layer (export, layer, inputs, NULL, NULL,
          &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
  g_assert_nonnull (strstr (error->message, "net.onnx"));
  g_assert_nonnull (strstr (error->message, "[here] (no-such-kind)"));
  g_assert_nonnull (strstr (error->message, "has no writer"));
}

/* 4 GiB of weights, refused before there is memory for them. */
static void
test_large (void)
{
  static const gchar text[] = "[network]\nwidth=8\nheight=8\nchannels=1\n"
      "[flat]\ntype=flatten\n[much]\ntype=linear\nunits=16777216\n";
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) network =
      pt_network_new_from_data (text, -1, "large.cfg", &error);

  g_assert_no_error (error);
  g_assert_false (pt_network_save_onnx (network, "large.onnx", &error));
  g_assert_error (error, PT_ERROR, PT_ERROR_UNSUPPORTED);
  g_assert_nonnull (strstr (error->message, "large.onnx"));
  g_assert_nonnull (strstr (error->message, "safetensors"));
  g_assert_false (g_file_test ("large.onnx", G_FILE_TEST_EXISTS));
}

static const gchar round_text[] =
    "[network]\nwidth=6\nheight=4\nchannels=2\nframes=3\nmean=0.25\n"
    "std=0.3\nresize=crop\n"
    "[conv1]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\nactivation=relu\n"
    "[conv2]\ntype=conv2d\nfilters=4\nkernel=1\nlr_scale=0.5\n"
    "activation=leaky-relu\nnegative_slope=0.2\n"
    "[conv3]\ntype=conv2d\nfilters=4\nkernel=1\ninputs=conv2;conv1\n"
    "activation=relu\n[sum]\ntype=add\ninputs=conv3;conv1\n"
    "[norm]\ntype=batch-norm\nstatistics=running\neps=1e-3\n"
    "[times]\ntype=mul\nother=4;1;1\nlearned=false\n"
    "[part]\ntype=slice\nstart=-3\nlength=2\n"
    "[both]\ntype=concat\ninputs=part;input\n"
    "[flat]\ntype=flatten\n[head]\ntype=linear\nunits=3\n"
    "[learning]\nloss=cross-entropy\ntarget=labels\noptimizer=sgd lr=0.25\n"
    "clip-norm=2.5\n[pipeline]\nstages=2\n[output]\nkind=classes\n";

/* What is read again is what was written, weights and settings. */
static void
test_round (void)
{
  static const gchar *const same[][2] = {
    {"network", "width"}, {"network", "frames"}, {"network", "channels"},
    {"network", "mean"}, {"network", "std"}, {"network", "resize"},
    {"learning", "loss"}, {"learning", "optimizer"},
    {"learning", "clip-norm"}, {"output", "kind"}, {"conv1", "activation"},
    {"conv2", "lr_scale"}, {"conv2", "negative_slope"}, {"conv3", "inputs"},
    {"conv3", "activation"}, {"sum", "inputs"},
    {"times", "learned"}, {"times", "other"}, {"norm", "eps"}, {"norm", "statistics"}, {"part", "type"},
    {"both", "inputs"}, {"head", "units"}
  };
  static const gchar *const given[] = { "network.mean=0.125", NULL };
  g_autoptr (GError) error = NULL;
  g_autoptr (PtNetwork) a =
      pt_network_new_from_data (round_text, -1, "a.cfg", &error);
  g_autoptr (PtNetwork) b = NULL, c = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autofree gchar *mean = NULL;

  g_assert_no_error (error);
  bytes = pt_onnx_export_network (a, "a.onnx", &error);
  g_assert_no_error (error);
  b = pt_onnx_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
      "a.onnx", NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (a->n_nodes, ==, b->n_nodes);
  for (guint i = 0; i < G_N_ELEMENTS (same); i++) {
    g_autofree gchar *x = pt_network_get (a, same[i][0], same[i][1]);
    g_autofree gchar *y = pt_network_get (b, same[i][0], same[i][1]);

    g_assert_cmpstr (x, ==, y);
  }
  for (guint i = 0; i < a->n_nodes; i++)
    for (guint j = 0; j < a->nodes[i].layer->n_weights; j++)
      g_assert_cmpmem (a->nodes[i].weights[j]->data,
          a->nodes[i].weights[j]->size, b->nodes[i].weights[j]->data,
          b->nodes[i].weights[j]->size);
  /* what is given comes over what the model says */
  c = pt_onnx_parse (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
      "a.onnx", given, NULL, &error);
  g_assert_no_error (error);
  mean = pt_network_get (c, "network", "mean");
  g_assert_cmpstr (mean, ==, "0.125");
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;

  if (argc == 2 && g_file_test (argv[1], G_FILE_TEST_IS_DIR)) {
    if (write_samples (argv[1], &error))
      return 0;
    g_printerr ("%s\n", error->message);
    return 1;
  }
  op_test_init (&argc, &argv);
  g_test_add_func ("/onnx-export/kinds", test_kinds);
  g_test_add_func ("/onnx-export/activations", test_activations);
  g_test_add_func ("/onnx-export/samples", test_samples);
  g_test_add_func ("/onnx-export/refused", test_refused);
  g_test_add_func ("/onnx-export/large", test_large);
  g_test_add_func ("/onnx-export/round", test_round);
  return g_test_run ();
}
