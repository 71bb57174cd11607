/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The properties: what the user sets, and how it overrides the network file.
 * A property that was not set leaves the file's value alone. */

#include <math.h>

#include "gstpartimefilter-private.h"

#define DEFAULT_STATS_INTERVAL GST_SECOND

enum
{
  PROP_0,
  PROP_MODEL,
  PROP_WEIGHTS,
  PROP_DEVICES,
  PROP_STAGES,
  PROP_PRECISION,
  PROP_DETERMINISTIC,
  PROP_LEARNING_MODE,
  PROP_LEARN,
  PROP_LOSS,
  PROP_OPTIMIZER,
  PROP_LEARNING_RATE,
  PROP_LEARN_INTERVAL,
  PROP_LEARN_POLICY,
  PROP_OUTPUT,
  PROP_OVERLAY,
  PROP_TIMING,
  PROP_LABELS_FILE,
  PROP_THRESHOLD,
  PROP_TOP_K,
  PROP_CHECKPOINT_LOCATION,
  PROP_CHECKPOINT_INTERVAL,
  PROP_SEED,
  PROP_QOS,
  PROP_LATENCY_REPORT,
  PROP_STATS,
  PROP_STATS_INTERVAL,
  PROP_LABEL_TOLERANCE,
  PROP_LABEL_WAIT,
  PROP_STATS_LOCATION,
  PROP_SETTINGS,
  PROP_CHECKPOINT_KEEP,
  PROP_CUDA_DEVICE_ID,
  PROP_RESUME_STREAM,
  PROP_IS_UPDATABLE,
  PROP_MODEL_INSTANCE_ID,
};

static GObjectClass *parent_class;

static const GEnumValue learning_modes[] = {
  {FROM_FILE, "As the network file says (its default: partime if it names a "
        "loss, else off)", "file"},
  {PT_MODE_OFF, "Inference only", "off"},
  {PT_MODE_EXACT, "Plain online backpropagation: stages wait for one another",
      "exact"},
  {PT_MODE_PARTIME, "Stages never wait; late gradients meet the activations "
        "of now (for smooth video)", "partime"},
  {PT_MODE_DELAYED, "Stages never wait; late gradients meet the activations "
        "of their own frame (for video that jumps)", "delayed"},
  {0, NULL, NULL},
};

static const GEnumValue learn_policies[] = {
  {FROM_FILE, "As the network file says (its default: every)", "file"},
  {PT_LEARN_EVERY, "Every frame that may learn does, whatever the frame rate",
      "every"},
  {PT_LEARN_WHEN_IDLE, "A frame learns only if the stages keep up: updates "
        "are skipped, frames are not", "when-idle"},
  {0, NULL, NULL},
};

static const GEnumValue outputs[] = {
  {GST_PARTIME_OUTPUT_FRAMES, "The frames that came in, with the result as "
        "GstPartimeMeta and drawn on them", "frames"},
  {GST_PARTIME_OUTPUT_NETWORK, "The network's output as a picture, in place "
        "of the frame", "network"},
  {GST_PARTIME_OUTPUT_TENSORS, "All outputs of the network as other/tensors, "
        "in place of the frame", "tensors"},
  {0, NULL, NULL},
};

static const GEnumValue timings[] = {
  {GST_PARTIME_TIMING_ALIGNED, "A frame waits for its own result", "aligned"},
  {GST_PARTIME_TIMING_LATEST, "A frame passes at once, with the newest result "
        "there is; its age is in the metadata", "latest"},
  {0, NULL, NULL},
};

#define ENUM_TYPE(Name, name, values)                                        \
static GType                                                                 \
properties_##name##_get_type (void)                                          \
{                                                                            \
  static gsize type = 0;                                                     \
                                                                             \
  if (g_once_init_enter (&type)) {                                           \
    GType fresh = g_enum_register_static (Name, values);                     \
                                                                             \
    gst_type_mark_as_plugin_api (fresh, 0);                                  \
    g_once_init_leave (&type, fresh);                                        \
  }                                                                          \
  return type;                                                               \
}

ENUM_TYPE ("GstPartimeLearningMode", learning_mode, learning_modes)
ENUM_TYPE ("GstPartimeLearnPolicy", learn_policy, learn_policies)
ENUM_TYPE ("GstPartimeOutput", output, outputs)
ENUM_TYPE ("GstPartimeTiming", timing, timings)

void
gst_partime_settings_init (GstPartimeSettings *self)
{
  *self = (GstPartimeSettings) {
    .learning_mode = FROM_FILE,
    .learn = TRUE,
    .learning_rate = FROM_FILE,
    .learn_policy = FROM_FILE,
    .overlay = TRUE,
    .threshold = 0.5,
    .top_k = 1,
    .seed = FROM_FILE,
    .latency_report = TRUE,
    .stats_interval = DEFAULT_STATS_INTERVAL,
    .checkpoint_keep = 1,
    .cuda_device_id = -1,
    .label_tolerance = GST_CLOCK_TIME_NONE,
    .label_wait = GST_CLOCK_TIME_NONE,
  };
}

void
gst_partime_settings_clear (GstPartimeSettings *self)
{
  g_clear_pointer (&self->model, g_free);
  g_clear_pointer (&self->weights, g_free);
  g_clear_pointer (&self->devices, g_free);
  g_clear_pointer (&self->stages, g_free);
  g_clear_pointer (&self->precision, g_free);
  g_clear_pointer (&self->loss, g_free);
  g_clear_pointer (&self->optimizer, g_free);
  g_clear_pointer (&self->checkpoint_location, g_free);
  g_clear_pointer (&self->labels_file, g_free);
  g_clear_pointer (&self->stats_location, g_free);
  g_clear_pointer (&self->model_instance_id, g_free);
  gst_clear_structure (&self->settings);
}

/* Where the value of @id lives; the type is that of its GParamSpec. */
static gpointer
settings_field (GstPartimeSettings *self, guint id)
{
  switch (id) {
    case PROP_MODEL:
      return &self->model;
    case PROP_WEIGHTS:
      return &self->weights;
    case PROP_DEVICES:
      return &self->devices;
    case PROP_STAGES:
      return &self->stages;
    case PROP_PRECISION:
      return &self->precision;
    case PROP_DETERMINISTIC:
      return &self->deterministic;
    case PROP_LEARNING_MODE:
      return &self->learning_mode;
    case PROP_LEARN:
      return &self->learn;
    case PROP_LOSS:
      return &self->loss;
    case PROP_OPTIMIZER:
      return &self->optimizer;
    case PROP_LEARNING_RATE:
      return &self->learning_rate;
    case PROP_LEARN_INTERVAL:
      return &self->learn_interval;
    case PROP_LEARN_POLICY:
      return &self->learn_policy;
    case PROP_OUTPUT:
      return &self->output;
    case PROP_OVERLAY:
      return &self->overlay;
    case PROP_TIMING:
      return &self->timing;
    case PROP_LABELS_FILE:
      return &self->labels_file;
    case PROP_THRESHOLD:
      return &self->threshold;
    case PROP_TOP_K:
      return &self->top_k;
    case PROP_CHECKPOINT_LOCATION:
      return &self->checkpoint_location;
    case PROP_CHECKPOINT_INTERVAL:
      return &self->checkpoint_interval;
    case PROP_SEED:
      return &self->seed;
    case PROP_QOS:
      return &self->qos;
    case PROP_LATENCY_REPORT:
      return &self->latency_report;
    case PROP_STATS_INTERVAL:
      return &self->stats_interval;
    case PROP_LABEL_TOLERANCE:
      return &self->label_tolerance;
    case PROP_LABEL_WAIT:
      return &self->label_wait;
    case PROP_STATS_LOCATION:
      return &self->stats_location;
    case PROP_SETTINGS:
      return &self->settings;
    case PROP_CHECKPOINT_KEEP:
      return &self->checkpoint_keep;
    case PROP_CUDA_DEVICE_ID:
      return &self->cuda_device_id;
    case PROP_RESUME_STREAM:
      return &self->resume_stream;
    case PROP_IS_UPDATABLE:
      return &self->is_updatable;
    case PROP_MODEL_INSTANCE_ID:
      return &self->model_instance_id;
    default:
      return NULL;
  }
}

static void
properties_store (gpointer field, const GValue *value)
{
  switch (G_TYPE_FUNDAMENTAL (G_VALUE_TYPE (value))) {
    case G_TYPE_STRING:
      g_free (*(gchar **) field);
      *(gchar **) field = g_value_dup_string (value);
      break;
    case G_TYPE_BOXED:
      gst_clear_structure ((GstStructure **) field);
      *(GstStructure **) field = g_value_dup_boxed (value);
      break;
    case G_TYPE_ENUM:
      *(gint *) field = g_value_get_enum (value);
      break;
    case G_TYPE_BOOLEAN:
      *(gboolean *) field = g_value_get_boolean (value);
      break;
    case G_TYPE_DOUBLE:
      *(gdouble *) field = g_value_get_double (value);
      break;
    case G_TYPE_INT:
      *(gint *) field = g_value_get_int (value);
      break;
    case G_TYPE_UINT:
      *(guint *) field = g_value_get_uint (value);
      break;
    case G_TYPE_INT64:
      *(gint64 *) field = g_value_get_int64 (value);
      break;
    default:
      *(guint64 *) field = g_value_get_uint64 (value);
      break;
  }
}

static void
properties_fetch (gconstpointer field, GValue *value)
{
  switch (G_TYPE_FUNDAMENTAL (G_VALUE_TYPE (value))) {
    case G_TYPE_STRING:
      g_value_set_string (value, *(gchar *const *) field);
      break;
    case G_TYPE_BOXED:
      g_value_set_boxed (value, *(GstStructure * const *) field);
      break;
    case G_TYPE_ENUM:
      g_value_set_enum (value, *(const gint *) field);
      break;
    case G_TYPE_BOOLEAN:
      g_value_set_boolean (value, *(const gboolean *) field);
      break;
    case G_TYPE_DOUBLE:
      g_value_set_double (value, *(const gdouble *) field);
      break;
    case G_TYPE_INT:
      g_value_set_int (value, *(const gint *) field);
      break;
    case G_TYPE_UINT:
      g_value_set_uint (value, *(const guint *) field);
      break;
    case G_TYPE_INT64:
      g_value_set_int64 (value, *(const gint64 *) field);
      break;
    default:
      g_value_set_uint64 (value, *(const guint64 *) field);
      break;
  }
}

static void
properties_set (GObject *object, guint id, const GValue *value,
    GParamSpec *pspec)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (object);
  gpointer field = settings_field (&self->settings, id);
  g_autoptr (GstPartimeModel) model = NULL;

  if (!field) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    return;
  }
  GST_OBJECT_LOCK (self);
  properties_store (field, value);
  GST_OBJECT_UNLOCK (self);
  model = gst_partime_filter_ref_model (self);
  if (model && (id == PROP_LEARN || id == PROP_LEARNING_RATE
          || id == PROP_LEARN_INTERVAL || id == PROP_LEARN_POLICY))
    gst_partime_filter_apply_live (self, model);
  /* what live frames may wait is latency */
  if (model && id == PROP_LABEL_WAIT)
    gst_element_post_message (GST_ELEMENT (self),
        gst_message_new_latency (GST_OBJECT (self)));
  if ((id == PROP_MODEL || id == PROP_WEIGHTS)
      && (model || gst_partime_update_is_held (self)))
    gst_partime_update_set (self, id == PROP_MODEL ? GST_PARTIME_UPDATE_MODEL
        : GST_PARTIME_UPDATE_WEIGHTS, pspec->name);
}

/* Once for all properties that are set together. */
static void
properties_dispatch (GObject *object, guint n, GParamSpec **pspecs)
{
  gst_partime_update_ask (GST_PARTIME_FILTER (object));
  parent_class->dispatch_properties_changed (object, n, pspecs);
}

static void
properties_get (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  GstPartimeFilter *self = GST_PARTIME_FILTER (object);
  gconstpointer field = settings_field (&self->settings, id);

  if (id == PROP_STATS) {
    g_value_take_boxed (value,
        gst_partime_filter_new_stats (self, "application/x-partime-stats"));
    return;
  }
  if (!field) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    return;
  }
  GST_OBJECT_LOCK (self);
  properties_fetch (field, value);
  GST_OBJECT_UNLOCK (self);
}

#define READY_FLAGS (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS \
    | GST_PARAM_MUTABLE_READY)
#define PLAYING_FLAGS (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS \
    | GST_PARAM_MUTABLE_PLAYING)

static void
properties_install_network (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_MODEL,
      g_param_spec_string ("model", "Model",
          "The network file (.cfg): layers, learning, devices and output; or "
          "a model (.onnx), with a .onnx.cfg beside it. Required. "
          "While it plays with is-updatable only", NULL, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_WEIGHTS,
      g_param_spec_string ("weights", "Weights",
          "A safetensors file with the weights to start from. Unset: random "
          "weights, drawn by seed. While it plays with is-updatable only", NULL, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_IS_UPDATABLE,
      g_param_spec_boolean ("is-updatable", "Is updatable",
          "Whether model and weights may be set in PLAYING: the new network is "
          "made ready aside and takes over between two frames", FALSE,
          READY_FLAGS));
  g_object_class_install_property (klass, PROP_MODEL_INSTANCE_ID,
      g_param_spec_string ("model-instance-id", "Model instance",
          "Elements of one process with the same name here share one network: "
          "its weights, and what it learns. The first that starts says what it "
          "is; each gets its own results", NULL, READY_FLAGS));
  g_object_class_install_property (klass, PROP_DEVICES,
      g_param_spec_string ("devices", "Devices",
          "What to compute on: cpu, cpu:0-3, cuda:0, sim:..., a list with "
          "commas, or auto (all GPUs, else one device per core). Unset: the "
          "file's, else auto", NULL, READY_FLAGS));
  g_object_class_install_property (klass, PROP_STAGES,
      g_param_spec_string ("stages", "Stages",
          "Into how many stages the layers are cut, each at work on another "
          "frame: a count, layers per stage such as 4,6,-1 (-1: the rest), or "
          "auto (measured at the start). Unset: the file's, else auto", NULL,
          READY_FLAGS));
  g_object_class_install_property (klass, PROP_PRECISION,
      g_param_spec_string ("precision", "Precision",
          "Of products on GPUs: fp32, tf32, bf16 or fp16; weights and sums are "
          "fp32. Unset: the file's, else fp32", NULL, READY_FLAGS));
  g_object_class_install_property (klass, PROP_DETERMINISTIC,
      g_param_spec_boolean ("deterministic", "Deterministic",
          "GPUs too give the same bits on each run, even where that is slower. "
          "False: as the file says", FALSE, READY_FLAGS));
  g_object_class_install_property (klass, PROP_SEED,
      g_param_spec_int64 ("seed", "Seed",
          "Random numbers (first weights, dropout) follow from it. -1: the "
          "file's", FROM_FILE, G_MAXINT64, FROM_FILE, READY_FLAGS));
  g_object_class_install_property (klass, PROP_SETTINGS,
      g_param_spec_boxed ("settings", "Settings",
          "Anything else instead of what the file says, as group.key=value: "
          "\"settings, learning.clip-norm=1, learning.freeze=conv*, "
          "head.lr_scale=0.1\"; \"partime kinds\" lists the keys",
          GST_TYPE_STRUCTURE, READY_FLAGS));
}

static void
properties_install_learning (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_LEARNING_MODE,
      g_param_spec_enum ("learning-mode", "Learning mode",
          "How gradients that arrive frames late are used",
          properties_learning_mode_get_type (), FROM_FILE, READY_FLAGS));
  g_object_class_install_property (klass, PROP_LEARN,
      g_param_spec_boolean ("learn", "Learn",
          "Whether frames are learned from; turn off and on to pause and "
          "resume", TRUE, PLAYING_FLAGS | GST_PARAM_CONTROLLABLE));
  g_object_class_install_property (klass, PROP_LOSS,
      g_param_spec_string ("loss", "Loss",
          "What learning makes small, as in the file: a name and its options, "
          "such as \"optical-flow smoothness=0.1\". Unset: the file's", NULL,
          READY_FLAGS));
  g_object_class_install_property (klass, PROP_OPTIMIZER,
      g_param_spec_string ("optimizer", "Optimizer",
          "How gradients become updates, as in the file: a name and its "
          "options, such as \"adam lr=1e-3\". Unset: the file's, else adam",
          NULL, READY_FLAGS));
  g_object_class_install_property (klass, PROP_LEARNING_RATE,
      g_param_spec_double ("learning-rate", "Learning rate",
          "Replaces the optimizer's learning rate (before staleness and "
          "warm-up). -1: the file's", FROM_FILE, G_MAXDOUBLE, FROM_FILE,
          PLAYING_FLAGS | GST_PARAM_CONTROLLABLE));
  g_object_class_install_property (klass, PROP_LEARN_INTERVAL,
      g_param_spec_uint ("learn-interval", "Learn interval",
          "Every so many frames one is learned from. 0: the file's, else 1",
          0, G_MAXINT, 0, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_LEARN_POLICY,
      g_param_spec_enum ("learn-policy", "Learn policy",
          "What gives way when the machine is too slow: the frame rate, or "
          "updates", properties_learn_policy_get_type (), FROM_FILE,
          PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_CHECKPOINT_LOCATION,
      g_param_spec_string ("checkpoint-location", "Checkpoint location",
          "A safetensors file to save what was learned to: at the interval, "
          "at EOS, on the signal save-checkpoint; with learning-mode=off on "
          "the signal only. If it is there at the start, learning resumes "
          "from it", NULL, READY_FLAGS));
  g_object_class_install_property (klass, PROP_CHECKPOINT_INTERVAL,
      g_param_spec_uint64 ("checkpoint-interval", "Checkpoint interval",
          "Time between checkpoints, in nanoseconds. 0: none but at EOS and "
          "on the signal", 0, G_MAXINT64, 0, READY_FLAGS));
  g_object_class_install_property (klass, PROP_CHECKPOINT_KEEP,
      g_param_spec_uint ("checkpoint-keep", "Checkpoints kept",
          "How many checkpoints there are at most: the one before out.st is "
          "out.1.st, and so on", 1, 1000, 1, READY_FLAGS));
  g_object_class_install_property (klass, PROP_RESUME_STREAM,
      g_param_spec_boolean ("resume-stream", "Resume stream",
          "Resume also the gradients and frames between the stages: learning "
          "goes on exactly as it would have, if the next frame is the one "
          "that came next then. Not for a camera, which went on meanwhile",
          FALSE, READY_FLAGS));
}

static void
properties_install_classes (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_LABELS_FILE,
      g_param_spec_string ("labels-file", "Labels file",
          "Names of classes, one in each line, for kind=classes and for "
          "text on the pad label", NULL, READY_FLAGS));
  g_object_class_install_property (klass, PROP_THRESHOLD,
      g_param_spec_double ("threshold", "Threshold",
          "With kind=classes, least probability of a class to be told", 0, 1,
          0.5, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_TOP_K,
      g_param_spec_uint ("top-k", "Top k",
          "With kind=classes, how many of the most probable classes are told",
          0, G_MAXUINT, 1, PLAYING_FLAGS));
}

static void
properties_install_labels (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_LABEL_TOLERANCE,
      g_param_spec_uint64 ("label-tolerance", "Label tolerance",
          "How far, in running time, in nanoseconds, a label may be from its "
          "frame. A label is for the frame nearest to it; of several the "
          "nearest counts. 18446744073709551615: half the frame's duration",
          0, G_MAXUINT64, GST_CLOCK_TIME_NONE, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_LABEL_WAIT,
      g_param_spec_uint64 ("label-wait", "Label wait",
          "How long, in nanoseconds, a frame waits until the stream of the "
          "pad label has passed it (data, GAP or EOS); then it goes on "
          "without. Never waits where one thread brings both. "
          "18446744073709551615: as long as it takes, or, if the frames are "
          "live or with timing=latest, not at all", 0, G_MAXUINT64,
          GST_CLOCK_TIME_NONE, PLAYING_FLAGS));
}

static void
properties_install_output (GObjectClass *klass)
{
  g_object_class_install_property (klass, PROP_OUTPUT,
      g_param_spec_enum ("output", "Output", "What leaves the source pad",
          properties_output_get_type (), GST_PARTIME_OUTPUT_FRAMES,
          READY_FLAGS));
  g_object_class_install_property (klass, PROP_OVERLAY,
      g_param_spec_boolean ("overlay", "Overlay",
          "Draw the result on the frame, in the way of kind= in the file's "
          "group [output]: flow, heatmap, image, segmentation, error", TRUE, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_TIMING,
      g_param_spec_enum ("timing", "Timing",
          "Whether frames wait for their results",
          properties_timing_get_type (), GST_PARTIME_TIMING_ALIGNED,
          READY_FLAGS));
  g_object_class_install_property (klass, PROP_QOS,
      g_param_spec_boolean ("qos", "QoS",
          "Drop frames that come too late for the sink before working on "
          "them; they are not learned from either", FALSE, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_LATENCY_REPORT,
      g_param_spec_boolean ("latency-report", "Latency report",
          "Answer latency queries from measurement, and tell the pipeline "
          "when the latency moves", TRUE, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_CUDA_DEVICE_ID,
      g_param_spec_int ("cuda-device-id", "CUDA device",
          "GPU that frames in CUDA memory are on, where this build and this "
          "machine have that. -1: that of the neighbours, or else the first",
          -1, G_MAXINT, -1, READY_FLAGS));
  g_object_class_install_property (klass, PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics",
          "application/x-partime-stats: frames, fps, loss, mean-loss, learned, "
          "updates, skipped, rollbacks, dropped, labels, unlabelled, "
          "late-labels, bad-labels, in-flight, latency, "
          "learning-rate, measures (loss and, by the task, accuracy, miou, "
          "iou, psnr, psnr-repeat, epe, each with newest, recent, of the last "
          "100 measured frames, total, unit and higher-is-better), and "
          "stages, each with device, layers, forward-ms, backward-ms, "
          "update-ms, age, learning-rate, memory", GST_TYPE_STRUCTURE,
          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
  g_object_class_install_property (klass, PROP_STATS_INTERVAL,
      g_param_spec_uint64 ("stats-interval", "Statistics interval",
          "Time between partime-learning messages on the bus, in "
          "nanoseconds; their fields are those of stats. 0: none", 0,
          G_MAXINT64, DEFAULT_STATS_INTERVAL, PLAYING_FLAGS));
  g_object_class_install_property (klass, PROP_STATS_LOCATION,
      g_param_spec_string ("stats-location", "Statistics location",
          "A file to which each partime-learning message is added as one line "
          "of JSON, and the last state at EOS; \"partime plot\" draws it",
          NULL, READY_FLAGS));
}

void
gst_partime_filter_install_properties (GObjectClass *klass)
{
  parent_class = g_type_class_peek_parent (klass);
  klass->set_property = properties_set;
  klass->get_property = properties_get;
  klass->dispatch_properties_changed = properties_dispatch;
  properties_install_network (klass);
  properties_install_learning (klass);
  properties_install_classes (klass);
  properties_install_labels (klass);
  properties_install_output (klass);
}
