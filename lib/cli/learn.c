/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "cli/cli.h"
#include "core/tensor.h"
#include "formats/safetensors.h"

#include <math.h>
#include <string.h>

typedef struct
{
  gchar *frames, *targets, *weights, *out, *outputs;
  gchar **settings;
} LearnOptions;

static void
learn_options_clear (LearnOptions *self)
{
  g_free (self->frames);
  g_free (self->targets);
  g_free (self->weights);
  g_free (self->out);
  g_free (self->outputs);
  g_strfreev (self->settings);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (LearnOptions, learn_options_clear)

/* One stream on its way through. */
typedef struct
{
  PtPipeline *pipeline;
  PtTensor *frames;
  PtTensor *targets;            /* NULL: the network makes its own */
  GError *error;                /* of the thread that pushes */
} LearnStream;

/* What comes out of it, one for each frame. */
typedef struct
{
  guint n_outputs;
  PtTensor **outputs;           /* each of all frames along the first axis */
  PtTensor *losses;
  PtTensor *measures[PT_MAX_MEASURES];
  PtPipelineStats stats;        /* at the end */
} LearnRecord;

static void
learn_record_clear (LearnRecord *self)
{
  for (guint i = 0; i < self->n_outputs; i++)
    g_clear_pointer (&self->outputs[i], pt_tensor_unref);
  g_free (self->outputs);
  g_clear_pointer (&self->losses, pt_tensor_unref);
  for (guint i = 0; i < PT_MAX_MEASURES; i++)
    g_clear_pointer (&self->measures[i], pt_tensor_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (LearnRecord, learn_record_clear)

static gboolean
learn_record_init (LearnRecord *self, PtNetwork *network, gint64 n,
    GError **error)
{
  self->n_outputs = pt_network_get_n_outputs (network);
  self->outputs = g_new0 (PtTensor *, self->n_outputs);
  for (guint i = 0; i < self->n_outputs; i++) {
    PtShape shape = *pt_network_get_output_shape_at (network, i);

    shape.dims[0] *= n;
    self->outputs[i] = pt_tensor_new_shaped (PT_F32, &shape, error);
    if (self->outputs[i] == NULL)
      return FALSE;
  }
  self->losses = pt_tensor_new (PT_F32, &n, 1, error);
  if (self->losses == NULL)
    return FALSE;
  for (guint i = 0; i < PT_MAX_MEASURES; i++) {
    self->measures[i] = pt_tensor_new (PT_F32, &n, 1, error);
    if (self->measures[i] == NULL)
      return FALSE;
  }
  return TRUE;
}

static void
learn_record_add (LearnRecord *self, gint64 t, const PtResult *result)
{
  for (guint i = 0; i < self->n_outputs; i++) {
    const gsize size = self->outputs[i]->size / self->losses->shape.dims[0];

    memcpy ((guint8 *) self->outputs[i]->data + t * size,
        pt_tensor_get_data (result->outputs[i]), size);
  }
  ((gfloat *) self->losses->data)[t] = result->loss;
  for (guint i = 0; i < PT_MAX_MEASURES; i++)
    ((gfloat *) self->measures[i]->data)[t] = result->measures[i];
}

/* The tensor called @name, or the only one there is. */
static PtTensor *
learn_read (const gchar *path, const gchar *name, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_load (path, error);
  PtTensor *tensor;
  guint n;

  if (file == NULL)
    return NULL;
  n = pt_tensor_file_get_n_tensors (file);
  tensor = pt_tensor_file_get (file, name);
  if (tensor == NULL && n == 1)
    tensor = pt_tensor_file_get (file, pt_tensor_file_get_name (file, 0));
  if (tensor != NULL)
    return pt_tensor_ref (tensor);
  g_set_error (error, PT_ERROR, PT_ERROR_FILE, "%s: found %u tensors, "
      "expected one, or one that is called %s", path, n, name);
  return NULL;
}

/* Element @index along the first axis, without a copy. */
static PtTensor *
learn_slice (PtTensor *stack, gint64 index)
{
  const gsize size = stack->size / stack->shape.dims[0];
  PtShape shape = PT_SHAPE (1);

  if (stack->shape.n_dims > 1) {
    shape.n_dims = stack->shape.n_dims - 1;
    memcpy (shape.dims, stack->shape.dims + 1,
        shape.n_dims * sizeof *shape.dims);
  }
  return pt_tensor_new_take (stack->dtype, &shape, PT_LAYOUT_ROW_MAJOR,
      (guint8 *) stack->data + index * size, size, pt_tensor_ref (stack),
      (GDestroyNotify) pt_tensor_unref);
}

static PtFlow
learn_push_all (LearnStream *self)
{
  for (gint64 t = 0; t < self->frames->shape.dims[0]; t++) {
    g_autoptr (PtTensor) frame = learn_slice (self->frames, t);
    g_autoptr (PtTensor) target =
        self->targets ? learn_slice (self->targets, t) : NULL;
    const PtFlow flow = pt_pipeline_push (self->pipeline, frame, target,
        PT_PUSH_NONE, &self->error);

    if (flow != PT_FLOW_OK)
      return flow;
  }
  return pt_pipeline_drain (self->pipeline, &self->error);
}

static gpointer
learn_push_thread (gpointer data)
{
  LearnStream *self = data;

  /* so that the thread that pulls does not wait for ever */
  if (learn_push_all (self) != PT_FLOW_OK)
    pt_pipeline_set_flushing (self->pipeline, TRUE);
  return NULL;
}

/* Takes every result. */
static gboolean
learn_pull_all (PtPipeline *pipeline, LearnRecord *record, GError **error)
{
  const gint64 n = record->losses->shape.dims[0];

  for (gint64 t = 0;; t++) {
    g_autoptr (PtResult) result = NULL;
    const PtFlow flow = pt_pipeline_pull (pipeline, &result, error);

    if (flow == PT_FLOW_DRAINED && t == n)
      return TRUE;
    if (flow != PT_FLOW_OK || t == n) {
      if (flow != PT_FLOW_ERROR)
        g_set_error (error, PT_ERROR, PT_ERROR_FAILED, "found the stream's "
            "end after %" G_GINT64_FORMAT " results, expected %"
            G_GINT64_FORMAT, t, n);
      return FALSE;
    }
    learn_record_add (record, t, result);
  }
}

static gboolean
learn_stream (LearnStream *self, LearnRecord *record, GError **error)
{
  GThread *thread;
  gboolean done;

  if (!pt_pipeline_start (self->pipeline, error))
    return FALSE;
  thread = g_thread_new ("push", learn_push_thread, self);
  done = learn_pull_all (self->pipeline, record, error);
  pt_pipeline_get_stats (self->pipeline, &record->stats);
  if (!done)
    pt_pipeline_set_flushing (self->pipeline, TRUE);
  g_thread_join (thread);
  if (!done && self->error != NULL) {
    g_clear_error (error);
    g_propagate_error (error, g_steal_pointer (&self->error));
  }
  return done;
}

static gboolean
learn_check_lengths (const LearnStream *self, GError **error)
{
  const PtShape *frames = &self->frames->shape;
  gchar text[PT_SHAPE_TEXT_SIZE];

  if (self->frames->dtype != PT_F32 || frames->n_dims != 4) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "frames: found %s of shape "
        "%s, expected float32 of shape (T, C, H, W)",
        pt_dtype_name (self->frames->dtype), pt_shape_print (frames, text));
    return FALSE;
  }
  if (self->targets != NULL &&
      self->targets->shape.dims[0] != frames->dims[0]) {
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "targets: found shape %s, "
        "expected %" G_GINT64_FORMAT " of them, one for each frame",
        pt_shape_print (&self->targets->shape, text), frames->dims[0]);
    return FALSE;
  }
  return TRUE;
}

static gboolean
learn_check_targets (const LearnStream *self, GError **error)
{
  PtTargetInfo info;

  if (self->targets != NULL
      || !pt_pipeline_get_target_info (self->pipeline, &info))
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "found no --targets, expected "
      "a safetensors file of them: the network learns from %s with loss %s (or "
      "--set learning.mode=off)", info.teacher ? "a teacher" : "labels",
      info.loss);
  return FALSE;
}

/* The loss, then what else is measured. */
static void
learn_report (const LearnRecord *record)
{
  const gfloat *loss = record->losses->data;
  gdouble sum = 0;
  gint64 n = 0;

  for (gint64 t = 0; t < record->losses->shape.dims[0]; t++)
    if (isfinite (loss[t])) {
      sum += loss[t];
      n++;
    }
  g_print ("%" G_GINT64_FORMAT " frames", record->losses->shape.dims[0]);
  if (n > 0)
    g_print (", %" G_GINT64_FORMAT " losses, mean %g", n, sum / n);
  g_print ("\n");
  for (guint i = 1; i < record->stats.n_measures; i++) {
    const PtMeasure *m = &record->stats.measures[i];

    if (isfinite (m->total))
      g_print ("%s: %.4g%s%s, over the last %d frames %.4g\n", m->name,
          m->total, m->unit[0] != '\0' ? " " : "", m->unit,
          PT_MEASURE_WINDOW, m->recent);
  }
}

/* The main output is "outputs", another "outputs.NAME". */
static gboolean
learn_write_outputs (const gchar *path, const LearnRecord *record,
    PtNetwork *network, GError **error)
{
  g_autoptr (PtTensorFile) file = pt_tensor_file_new ();

  pt_tensor_file_add (file, "outputs", record->outputs[0]);
  for (guint i = 1; i < record->n_outputs; i++) {
    g_autofree gchar *name = g_strconcat ("outputs.",
        pt_network_get_output_name (network, i), NULL);

    pt_tensor_file_add (file, name, record->outputs[i]);
  }
  pt_tensor_file_add (file, "losses", record->losses);
  for (guint i = 1; i < record->stats.n_measures; i++) {
    g_autofree gchar *name = g_strconcat ("measures.",
        record->stats.measures[i].name, NULL);

    pt_tensor_file_add (file, name, record->measures[i]);
  }
  return pt_tensor_file_save (file, path, error);
}

static gboolean
learn_run (const LearnOptions *options, PtNetwork *network, PtTensor *frames,
    GError **error)
{
  g_autoptr (PtTensor) targets = NULL;
  g_autoptr (PtPipeline) pipeline = NULL;
  g_auto (LearnRecord) record = { 0 };
  LearnStream stream = { NULL };
  gboolean done;

  if (options->targets != NULL) {
    targets = learn_read (options->targets, "targets", error);
    if (targets == NULL)
      return FALSE;
  }
  pipeline = pt_pipeline_new (network, error);
  if (pipeline == NULL)
    return FALSE;
  stream = (LearnStream) { pipeline, frames, targets, NULL };
  if (!learn_check_lengths (&stream, error)
      || !learn_check_targets (&stream, error)
      || !learn_record_init (&record, network, frames->shape.dims[0], error))
    return FALSE;
  done = learn_stream (&stream, &record, error);
  g_clear_error (&stream.error);
  pt_pipeline_stop (pipeline);
  if (!done)
    return FALSE;
  learn_report (&record);
  return (options->out == NULL ||
      pt_network_save_weights (network, options->out, error)) &&
      (options->outputs == NULL ||
      learn_write_outputs (options->outputs, &record, network, error));
}

/* A size that the model leaves open is that of the frames. */
static PtNetwork *
learn_open_network (const LearnOptions *options, const gchar *path,
    const PtTensor *frames, GError **error)
{
  const gint64 *dims = frames->shape.dims;
  const gboolean known = frames->shape.n_dims == 4;

  return pt_network_new_from_file_for (path,
      (const gchar * const *) options->settings, known ? dims[3] : 0,
      known ? dims[2] : 0, NULL, error);
}

gboolean
cli_learn (gint argc, gchar **argv, GError **error)
{
  g_auto (LearnOptions) options = { NULL };
  const GOptionEntry entries[] = {
    {"frames", 'f', 0, G_OPTION_ARG_FILENAME, &options.frames,
        "float32 frames (T, C, H, W), normalised", "FILE.safetensors"},
    {"targets", 't', 0, G_OPTION_ARG_FILENAME, &options.targets,
        "one target for each frame", "FILE.safetensors"},
    {"weights", 'w', 0, G_OPTION_ARG_FILENAME, &options.weights,
        "weights to start from", "FILE.safetensors"},
    {"set", 's', 0, G_OPTION_ARG_STRING_ARRAY, &options.settings,
        "overrides a value of the file", "GROUP.KEY=VALUE"},
    {"out", 'o', 0, G_OPTION_ARG_FILENAME, &options.out,
        "where the weights go at the end", "FILE.safetensors"},
    {"outputs", 'O', 0, G_OPTION_ARG_FILENAME, &options.outputs,
        "where outputs, losses and measures of all frames go: outputs, and "
        "outputs.NAME of those beside the main one", "FILE.safetensors"},
    {NULL}
  };
  g_autoptr (PtNetwork) network = NULL;
  g_autoptr (PtTensor) frames = NULL;

  if (!cli_parse (argc, &argv, entries, "NET.cfg",
          "Runs a network over a file of frames and learns from them.", 1,
          error))
    return FALSE;
  if (options.frames == NULL) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG,
        "found no --frames, expected a safetensors file of frames");
    return FALSE;
  }
  if (!cli_check_folder ("--out", options.out, error)
      || !cli_check_folder ("--outputs", options.outputs, error))
    return FALSE;
  frames = learn_read (options.frames, "frames", error);
  if (frames == NULL)
    return FALSE;
  network = learn_open_network (&options, argv[1], frames, error);
  if (network == NULL || (options.weights != NULL &&
          !pt_network_load_weights (network, options.weights, error)))
    return FALSE;
  return learn_run (&options, network, frames, error);
}
