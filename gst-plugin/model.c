/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* A network file, and the weights, become a network at work; what is wrong is
 * found here, before any of it runs. */

#include "gstpartimefilter-private.h"
#include "meta.h"

/* What networks that halve their input five times ask for. */
#define MODEL_MULTIPLE 32

GstPartimeModel *
gst_partime_model_ref (GstPartimeModel *self)
{
  return g_atomic_rc_box_acquire (self);
}

void
gst_partime_model_clear_painter (GstPartimeModel *self)
{
  if (self->painter)
    gst_partime_cuda_get_module ()->painter_free (self->painter);
  self->painter = NULL;
}

static void
model_clear (gpointer data)
{
  GstPartimeModel *self = data;

  g_clear_pointer (&self->stream, pt_stream_free);
  /* the one that took over may still hold on to it */
  if (self->pipeline)
    gst_partime_model_stop (self);
  g_clear_pointer (&self->pipeline, pt_pipeline_unref);
  g_clear_pointer (&self->shared, gst_partime_model_unref);
  g_clear_pointer (&self->instance, gst_partime_instance_unref);
  g_clear_pointer (&self->network, pt_network_unref);
  g_clear_pointer (&self->drawing, gst_partime_drawing_free);
  g_clear_pointer (&self->score_format, gst_partime_format_unref);
  gst_partime_model_clear_painter (self);
  g_clear_pointer (&self->tensor_infos, g_ptr_array_unref);
  g_free (self->path);
  g_free (self->weights);
}

void
gst_partime_model_unref (GstPartimeModel *self)
{
  g_atomic_rc_box_release_full (self, model_clear);
}

/* Returns: (transfer full) (nullable): the one for the next frame */
GstPartimeModel *
gst_partime_filter_ref_model (GstPartimeFilter *self)
{
  GstPartimeModel *model;

  GST_OBJECT_LOCK (self);
  model = self->model ? gst_partime_model_ref (self->model) : NULL;
  GST_OBJECT_UNLOCK (self);
  return model;
}

/* Whether no other has taken over from @pipeline meanwhile; at the end there is
 * none. */
gboolean
gst_partime_filter_is_current (GstPartimeFilter *self, PtPipeline *pipeline)
{
  g_autoptr (GstPartimeModel) model = gst_partime_filter_ref_model (self);
  g_autoptr (PtPipeline) now = model ? gst_partime_model_ref_pipeline (model) :
      NULL;

  return !now || now == pipeline;
}

static gboolean
model_load_by (GstPartimeModel *self, const GstPartimeSettings *decided,
    const gchar **culprit, GError **error)
{
  g_auto (GStrv) settings = gst_partime_settings_list (decided);
  GstPartimeSize *size = &self->size;

  *culprit = self->path;
  self->network = pt_network_new_from_file_for (self->path,
      (const gchar * const *) settings, size->width, size->height,
      &size->is_open, error);
  if (!self->network
      || !gst_partime_settings_apply (decided, self->network, error))
    return FALSE;
  *culprit = self->weights;
  return !self->weights || pt_network_load_weights (self->network,
      self->weights, error);
}

/* By the settings @decided, or those of @filter. */
static gboolean
model_load (GstPartimeModel *self, GstPartimeFilter *filter,
    const GstPartimeSettings *decided, const gchar **culprit, GError **error)
{
  GstPartimeSettings own;
  gboolean loaded;

  if (decided)
    return model_load_by (self, decided, culprit, error);
  GST_OBJECT_LOCK (filter);
  gst_partime_settings_copy (&filter->settings, &own);
  GST_OBJECT_UNLOCK (filter);
  loaded = model_load_by (self, &own, culprit, error);
  gst_partime_settings_clear (&own);
  return loaded;
}

/* Frames of one or three channels only are video. */
static gboolean
model_check_input (GstPartimeModel *self, GError **error)
{
  g_autofree gchar *text = pt_network_get (self->network, "network",
      "channels");
  guint64 channels = text ? g_ascii_strtoull (text, NULL, 10) : 0;

  if (channels == 1 || channels == 3)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%s: group [network]: key "
      "channels: found %s, expected 1 (luma) or 3 (RGB) for video", self->path,
      text);
  return FALSE;
}

/* Only a frame's own result can be compared with it. */
static gboolean
model_check_timing (GstPartimeModel *self, GstPartimeFilter *filter,
    GError **error)
{
  if (!self->drawing->annotator->compares
      || filter->timing == GST_PARTIME_TIMING_ALIGNED)
    return TRUE;
  g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "timing=latest: %s: group "
      "[output]: key kind: found error, which compares each frame with its "
      "own result: expected timing=aligned", self->path);
  return FALSE;
}

/* An output that nothing can draw passes as metadata; asked to be the
 * picture, it is an error. */
static gboolean
model_make_drawing (GstPartimeModel *self, GstPartimeFilter *filter,
    GError **error)
{
  g_autofree gchar *kind = pt_network_get (self->network, "output", "kind");

  if (!gst_partime_classes_count (self->network, &self->n_classes, error))
    return FALSE;
  if (!gst_partime_annotator_known (kind)) {
    if (filter->output != GST_PARTIME_OUTPUT_NETWORK) {
      GST_INFO_OBJECT (filter, "output of kind %s is not drawn", kind);
      return TRUE;
    }
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "output=network: %s: group "
        "[output]: key kind: found %s, expected error, flow, heatmap, image "
        "or segmentation", self->path, kind);
    return FALSE;
  }
  self->drawing = gst_partime_drawing_new (kind, self->network, error);
  if (self->drawing)
    return model_check_timing (self, filter, error);
  g_prefix_error (error, "%s: ", self->path);
  return FALSE;
}

/* What becomes of the network's outputs. */
static gboolean
model_make_output (GstPartimeModel *self, GstPartimeFilter *filter,
    GError **error)
{
  self->tensor_infos = gst_partime_meta_new_infos (self->network);
  return gst_partime_tensors_check (filter, self->network, error)
      && model_make_drawing (self, filter, error);
}

static gboolean
model_make_pipeline (GstPartimeModel *self, GstPartimeFilter *filter,
    GError **error)
{
  self->pipeline = pt_pipeline_new (self->network, error);
  if (!self->pipeline)
    return FALSE;
  pt_pipeline_set_event_func (self->pipeline, gst_partime_filter_on_event,
      filter);
  pt_pipeline_set_checkpoint_keep (self->pipeline,
      filter->settings.checkpoint_keep);
  self->learns = pt_pipeline_get_mode (self->pipeline) != PT_MODE_OFF;
  gst_partime_filter_apply_live (filter, self);
  return TRUE;
}

/* @size: its is_open is set here. */
static GstPartimeModel *
model_try (GstPartimeFilter *self, const GstPartimeSettings *decided,
    const gchar *path, const gchar *weights, GstPartimeSize *size,
    const gchar **culprit, GError **error)
{
  g_autoptr (GstPartimeModel) model = g_atomic_rc_box_new0 (GstPartimeModel);
  const gchar *file = NULL;
  gboolean loaded;

  model->path = g_strdup (path);
  model->weights = g_strdup (weights);
  model->size = *size;
  loaded = model_load (model, self, decided, &file, error);
  size->is_open = model->size.is_open;
  *culprit = loaded ? NULL : file == model->path ? path : weights;
  if (!loaded || !model_check_input (model, error)
      || !model_make_output (model, self, error)
      || !model_make_pipeline (model, self, error))
    return NULL;
  return g_steal_pointer (&model);
}

/* Whether @error, of a model for frames of @size, need not be there for frames
 * of another. @culprit: (nullable): the file that was read. */
gboolean
gst_partime_model_may_fit_other (const GstPartimeSize *size,
    const GError *error, const gchar *culprit)
{
  return size->is_open && (g_error_matches (error, PT_ERROR, PT_ERROR_SHAPE)
      || g_error_matches (error, PT_ERROR, PT_ERROR_UNSUPPORTED)
      || (g_error_matches (error, PT_ERROR, PT_ERROR_FILE) && culprit
          && g_file_test (culprit, G_FILE_TEST_EXISTS)));
}

/* The nearest multiple, but not none. */
static gint
model_round (gint x)
{
  return MAX ((x + MODEL_MULTIPLE / 2) / MODEL_MULTIPLE, 1) * MODEL_MULTIPLE;
}

static void
model_blame_size (const GstPartimeSize *size, GError **error)
{
  if (!size->nominal)
    g_prefix_error (error, "what is open of width and height was that of the "
        "frames, %dx%d; set network.width and network.height in the property "
        "settings to others: ", size->width, size->height);
}

/* The nearest multiples, for a network that cannot take @size. If that fails
 * later than @error, or not for its shapes, its own error takes the place. */
static GstPartimeModel *
model_try_multiple (GstPartimeFilter *self,
    const GstPartimeSettings *decided, const gchar *path,
    const gchar *weights, const GstPartimeSize *size, const gchar **culprit,
    GError **error)
{
  GstPartimeSize other = { model_round (size->width),
    model_round (size->height), FALSE, FALSE
  };
  g_autoptr (GError) second = NULL;
  GstPartimeModel *model = NULL;
  const gchar *file = NULL;

  if (other.width != size->width || other.height != size->height)
    model = model_try (self, decided, path, weights, &other, &file, &second);
  if (model)
    GST_ELEMENT_INFO (self, STREAM, FORMAT, ("%s: frames of %dx%d are scaled "
            "to %dx%d, which it can take", path, size->width, size->height,
            other.width, other.height), (NULL));
  else if (second && (!file || g_error_matches (second, PT_ERROR,
              PT_ERROR_FILE))) {
    g_error_free (*error);
    *error = g_steal_pointer (&second);
    *culprit = file;
  } else if (*culprit && (g_error_matches (*error, PT_ERROR, PT_ERROR_SHAPE)
          || (second && !g_str_equal (second->message, (*error)->message))))
    model_blame_size (size, error);
  return model;
}

/* Everything but the stages, which start by themselves. @decided: (nullable):
 * settings that say how the network learns, if not those of @self. @size: of the
 * frames; a network that is open and cannot take that gets the nearest multiples
 * of 32. @culprit: (out): the file that was read when it failed, if any. */
GstPartimeModel *
gst_partime_model_new (GstPartimeFilter *self,
    const GstPartimeSettings *decided, const gchar *path,
    const gchar *weights, GstPartimeSize *size, const gchar **culprit,
    GError **error)
{
  const gchar *left_out;
  GError *first = NULL;
  GstPartimeModel *model = model_try (self, decided, path, weights, size,
      culprit, &first);

  if (!model && gst_partime_model_may_fit_other (size, first, *culprit))
    model = model_try_multiple (self, decided, path, weights, size, culprit,
        &first);
  if (!model) {
    g_propagate_error (error, first);
    return NULL;
  }
  g_clear_error (&first);
  model->size = *size;
  left_out = pt_network_get_left_out (model->network);
  if (left_out && !(size->nominal && size->is_open))
    GST_ELEMENT_INFO (self, STREAM, FORMAT, ("%s", left_out), (NULL));
  return model;
}

/* What @shared runs, for one more element: the network is sound already. The
 * instance is for the caller to set. */
GstPartimeModel *
gst_partime_model_new_shared (GstPartimeFilter *self, GstPartimeModel *shared,
    GError **error)
{
  g_autoptr (GstPartimeModel) model = g_atomic_rc_box_new0 (GstPartimeModel);

  model->path = g_strdup (shared->path);
  model->weights = g_strdup (shared->weights);
  model->network = pt_network_ref (shared->network);
  model->learns = shared->learns;
  if (!model_make_output (model, self, error))
    return NULL;
  model->pipeline = pt_pipeline_ref (shared->pipeline);
  model->shared = gst_partime_model_ref (shared);
  return g_steal_pointer (&model);
}

/* Whether @b sees frames as @a does. */
gboolean
gst_partime_model_same_input (GstPartimeModel *a, GstPartimeModel *b)
{
  static const gchar *const keys[] = { "resize", "channels" };
  const PtShape *x = pt_network_get_input_shape (a->network);
  const PtShape *y = pt_network_get_input_shape (b->network);

  for (guint i = 0; i < G_N_ELEMENTS (keys); i++) {
    g_autofree gchar *mine = pt_network_get (a->network, "network", keys[i]);
    g_autofree gchar *its = pt_network_get (b->network, "network", keys[i]);

    if (g_strcmp0 (mine, its) != 0)
      return FALSE;
  }
  return x->dims[2] == y->dims[2] && x->dims[3] == y->dims[3];
}

/* Returns: (transfer full): the one that frames go to from now on */
PtPipeline *
gst_partime_model_ref_pipeline (GstPartimeModel *self)
{
  return self->instance ? gst_partime_instance_ref_pipeline (self->instance) :
      pt_pipeline_ref (self->pipeline);
}

/* Unless others are at it still. */
void
gst_partime_model_stop (GstPartimeModel *self)
{
  if (!self->shared)
    pt_pipeline_stop (self->pipeline);
}

/* -- its stream, or the pipeline -- */

PtFlow
gst_partime_model_push (GstPartimeModel *self, const GstPartimeSight *sight,
    PtTensor *target, PtPushFlags flags, GError **error)
{
  return self->stream ? pt_stream_push_pixels (self->stream, sight->pixels,
      sight->stride, target, flags, error) :
      pt_pipeline_push_pixels (self->pipeline, sight->pixels, sight->stride,
      target, flags, error);
}

/* Until frames in CUDA memory that went in have been read. Nothing is pushed
 * now. */
void
gst_partime_model_wait_frames (GstPartimeModel *self)
{
  if (!self->instance)
    pt_pipeline_wait_frames (self->pipeline);
}

PtFlow
gst_partime_model_pull (GstPartimeModel *self, PtResult **result,
    GError **error)
{
  return self->stream ? pt_stream_pull (self->stream, result, error) :
      pt_pipeline_pull (self->pipeline, result, error);
}

PtFlow
gst_partime_model_drain (GstPartimeModel *self, GError **error)
{
  return self->stream ? pt_stream_drain (self->stream, error) :
      pt_pipeline_drain (self->pipeline, error);
}

void
gst_partime_model_set_flushing (GstPartimeModel *self, gboolean flushing)
{
  if (self->stream)
    pt_stream_set_flushing (self->stream, flushing);
  else
    pt_pipeline_set_flushing (self->pipeline, flushing);
}

void
gst_partime_model_get_stats (GstPartimeModel *self, PtPipelineStats *stats)
{
  if (self->stream)
    pt_stream_get_stats (self->stream, stats);
  else
    pt_pipeline_get_stats (self->pipeline, stats);
}
