/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Elements with the same model-instance-id share one network: its weights and
 * what it learns. Each has a stream of its own through the one pipeline. The
 * first says what the network is; the last one out stops it. */

#include "gstpartimefilter-private.h"

struct _GstPartimeInstance
{
  gchar *id;
  guint refs;                   /* under the lock of all instances */
  gchar *first;                 /* name of the element that came first */
  GHashTable *settings;         /* of that: names and values, of those set */
  gchar *path;
  gchar *resume;                /* checkpoint to go on from, or NULL */
  PtNetwork *network;
  PtPipeline *pipeline;
  gboolean learns;

  GMutex start_lock;
  gboolean started;

  GMutex lock;                  /* of what follows */
  GList *users;                 /* GstPartimeFilter, who came first first */
  GQueue savers;                /* who waits for a checkpoint: GstPartimeFilter,
                                 * or this instance for one that has left */
};

static GMutex instances_lock;
static GHashTable *instances;   /* by id; lent */
static GList *elements;         /* from READY up; lent */

/* What the network is, and how it learns: the same for all. */
static const gchar *const shared_settings[] = {
  "model", "weights", "devices", "stages", "precision", "deterministic",
  "learning-mode", "loss", "optimizer", "learning-rate", "seed", "settings",
  "checkpoint-location", "resume-stream",
};

/* -- messages -- */

/* Returns: (transfer full) (nullable): who asked for the checkpoint that was
 * asked for first */
static GstPartimeFilter *
instance_take_saver (GstPartimeInstance *self)
{
  GstPartimeFilter *saver;

  g_mutex_lock (&self->lock);
  saver = g_queue_pop_head (&self->savers);
  saver = saver && (gpointer) saver != self ? gst_object_ref (saver) : NULL;
  g_mutex_unlock (&self->lock);
  return saver;
}

/* Checkpoints are told to who asked for them, the rest to all. */
static void
instance_on_event (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  GstPartimeInstance *self = data;
  GList *users = NULL;

  if (event->type == PT_EVENT_CHECKPOINT) {
    g_autoptr (GstPartimeFilter) saver = instance_take_saver (self);

    if (saver)
      gst_partime_filter_on_event (pipeline, event, saver);
    return;
  }
  g_mutex_lock (&self->lock);
  for (GList *link = self->users; link; link = link->next)
    users = g_list_prepend (users, gst_object_ref (link->data));
  g_mutex_unlock (&self->lock);
  for (GList *link = users; link; link = link->next)
    gst_partime_filter_on_event (pipeline, event, link->data);
  g_list_free_full (users, gst_object_unref);
}

/* -- who takes part -- */

/* Returns: (transfer full) (nullable): the value of @name, if it was set */
static gchar *
instance_get_setting (GstPartimeFilter *filter, const gchar *name)
{
  GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (filter),
      name);
  g_auto (GValue) value = G_VALUE_INIT;

  g_value_init (&value, spec->value_type);
  g_object_get_property (G_OBJECT (filter), name, &value);
  return g_param_value_defaults (spec, &value) ? NULL :
      gst_value_serialize (&value);
}

static GHashTable *
instance_list_settings (GstPartimeFilter *filter)
{
  GHashTable *settings =
      g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);

  for (guint i = 0; i < G_N_ELEMENTS (shared_settings); i++) {
    gchar *value = instance_get_setting (filter, shared_settings[i]);

    if (value)
      g_hash_table_insert (settings, (gpointer) shared_settings[i], value);
  }
  return settings;
}

/* What another element has set must be what the first has; what it has not set
 * is. */
static gboolean
instance_check (GstPartimeInstance *self, GstPartimeFilter *filter,
    GError **error)
{
  g_autoptr (GHashTable) settings = instance_list_settings (filter);
  g_autofree gchar *name = gst_object_get_name (GST_OBJECT (filter));

  for (guint i = 0; i < G_N_ELEMENTS (shared_settings); i++) {
    const gchar *key = shared_settings[i];
    const gchar *mine = g_hash_table_lookup (settings, key);
    const gchar *its = g_hash_table_lookup (self->settings, key);

    if (!mine || g_strcmp0 (mine, its) == 0)
      continue;
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "model-instance-id=%s: "
        "found %s=%s in element %s, expected %s%s as in element %s, which "
        "shares the network and came first", self->id, key, mine, name,
        its ? its : "none", its ? "" : " set", self->first);
    return FALSE;
  }
  return TRUE;
}

static void
instance_add_user (GstPartimeInstance *self, GstPartimeFilter *filter)
{
  g_mutex_lock (&self->lock);
  self->users = g_list_append (self->users, filter);
  g_mutex_unlock (&self->lock);
}

/* From now on nothing is posted for @filter. */
void
gst_partime_instance_leave (GstPartimeInstance *self, GstPartimeFilter *filter)
{
  g_mutex_lock (&self->lock);
  self->users = g_list_remove (self->users, filter);
  for (GList *link = self->savers.head; link; link = link->next)
    if (link->data == filter)
      link->data = self;
  g_mutex_unlock (&self->lock);
}

/* Goes on from the checkpoint of @decider, if there is one; also checks that
 * the file is one. */
static gboolean
instance_find_checkpoint (GstPartimeInstance *self, GstPartimeFilter *decider,
    const gchar **culprit, GError **error)
{
  const gchar *path = decider->settings.checkpoint_location;

  if (!path || !g_file_test (path, G_FILE_TEST_EXISTS))
    return TRUE;
  *culprit = path;
  self->resume = g_strdup (path);
  return pt_pipeline_load (self->pipeline, path, error);
}

static GstPartimeInstance *
instance_new (const gchar *id, GstPartimeFilter *decider,
    GstPartimeModel *model)
{
  GstPartimeInstance *self = g_new0 (GstPartimeInstance, 1);

  self->refs = 1;
  self->id = g_strdup (id);
  self->first = gst_object_get_name (GST_OBJECT (decider));
  self->settings = instance_list_settings (decider);
  self->path = g_strdup (model->path);
  self->network = pt_network_ref (model->network);
  self->pipeline = pt_pipeline_ref (model->pipeline);
  self->learns = model->learns;
  g_mutex_init (&self->start_lock);
  g_mutex_init (&self->lock);
  pt_pipeline_set_event_func (self->pipeline, instance_on_event, self);
  return self;
}

static void
instance_free (GstPartimeInstance *self)
{
  pt_pipeline_unref (self->pipeline);
  pt_network_unref (self->network);
  g_hash_table_unref (self->settings);
  g_queue_clear (&self->savers);
  g_mutex_clear (&self->start_lock);
  g_mutex_clear (&self->lock);
  g_free (self->path);
  g_free (self->resume);
  g_free (self->first);
  g_free (self->id);
  g_free (self);
}

/* Under the lock of all, so that who comes next finds its files written. */
void
gst_partime_instance_unref (GstPartimeInstance *self)
{
  g_mutex_lock (&instances_lock);
  if (--self->refs > 0) {
    g_mutex_unlock (&instances_lock);
    return;
  }
  pt_pipeline_stop (self->pipeline);
  g_hash_table_remove (instances, self->id);
  g_mutex_unlock (&instances_lock);
  instance_free (self);
}

static GstPartimeModel *
instance_join (GstPartimeInstance *self, GstPartimeFilter *filter,
    GError **error)
{
  GstPartimeModel *model;

  if (!instance_check (self, filter, error))
    return NULL;
  model = gst_partime_model_new_shared (filter, self->path, self->network,
      self->pipeline, error);
  if (model) {
    model->learns = self->learns;
    model->instance = self;
    self->refs++;
  }
  return model;
}

const gchar *
gst_partime_instance_get_resume (GstPartimeInstance *self)
{
  return self->resume;
}

/* The elements of a pipeline become READY before any goes further: one that
 * has no model then finds who has. */
void
gst_partime_instance_know (GstPartimeFilter *filter, gboolean ready)
{
  g_mutex_lock (&instances_lock);
  if (ready)
    elements = g_list_append (elements, filter);
  else
    elements = g_list_remove (elements, filter);
  g_mutex_unlock (&instances_lock);
}

/* Who says what the network is: @filter, or another that is to share it. */
static GstPartimeFilter *
instance_find_decider (GstPartimeFilter *filter, const gchar *id)
{
  if (filter->settings.model)
    return filter;
  for (GList *link = elements; link; link = link->next) {
    GstPartimeFilter *other = link->data;
    gboolean found;

    GST_OBJECT_LOCK (other);
    found = other->settings.model
        && g_strcmp0 (other->settings.model_instance_id, id) == 0;
    GST_OBJECT_UNLOCK (other);
    if (found)
      return other;
  }
  return NULL;
}

/* The first one. */
static GstPartimeModel *
instance_create (GstPartimeFilter *filter, const gchar *id,
    GstPartimeSize *size, const gchar **culprit, GError **error)
{
  GstPartimeFilter *decider = instance_find_decider (filter, id);
  g_autoptr (GstPartimeModel) model = NULL;
  GstPartimeInstance *self;

  if (!decider) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "no model: the property "
        "model is to name a network file, here or in another element with "
        "model-instance-id=%s", id);
    return NULL;
  }
  model = gst_partime_model_new (filter, decider, decider->settings.model,
      decider->settings.weights, size, culprit, error);
  if (!model)
    return NULL;
  self = instance_new (id, decider, model);
  if (!instance_check (self, filter, error)
      || !instance_find_checkpoint (self, decider, culprit, error)) {
    instance_free (self);
    return NULL;
  }
  if (size->is_open && size->nominal) {
    instance_free (self);
    return g_steal_pointer (&model);
  }
  model->instance = self;
  g_hash_table_insert (instances, self->id, self);
  return g_steal_pointer (&model);
}

/* As gst_partime_model_new(), for an element with a model-instance-id: a size
 * that is open is that of whose frames come first. */
GstPartimeModel *
gst_partime_instance_open (GstPartimeFilter *filter, GstPartimeSize *size,
    const gchar **culprit, GError **error)
{
  const gchar *id = filter->settings.model_instance_id;
  GstPartimeInstance *self;
  GstPartimeModel *model;

  g_mutex_lock (&instances_lock);
  if (!instances)
    instances = g_hash_table_new (g_str_hash, g_str_equal);
  self = g_hash_table_lookup (instances, id);
  model = self ? instance_join (self, filter, error) :
      instance_create (filter, id, size, culprit, error);
  g_mutex_unlock (&instances_lock);
  if (model && model->instance)
    instance_add_user (model->instance, filter);
  return model;
}

/* -- at work -- */

/* Starts the pipeline by @start, unless it runs, and gives @model its stream. */
gboolean
gst_partime_instance_start (GstPartimeFilter *filter, GstPartimeModel *model,
    GstPartimeStartFunc start)
{
  GstPartimeInstance *self = model->instance;
  g_autoptr (GError) error = NULL;
  PtStream *stream = NULL;

  g_mutex_lock (&self->start_lock);
  if (!self->started)
    self->started = start (filter);
  if (self->started)
    stream = pt_stream_new (self->pipeline, &error);
  g_mutex_unlock (&self->start_lock);
  if (error)
    gst_partime_filter_post_error (filter, error, NULL);
  GST_OBJECT_LOCK (filter);
  model->stream = stream;
  GST_OBJECT_UNLOCK (filter);
  return stream != NULL;
}

/* Whether @filter is the one that writes checkpoints by itself. */
gboolean
gst_partime_instance_is_writer (GstPartimeInstance *self,
    GstPartimeFilter *filter)
{
  GstPartimeFilter *writer = NULL;

  g_mutex_lock (&self->lock);
  for (GList *link = self->users; link && !writer; link = link->next)
    if (((GstPartimeFilter *) link->data)->checkpoint)
      writer = link->data;
  g_mutex_unlock (&self->lock);
  return writer == filter;
}

void
gst_partime_instance_save (GstPartimeInstance *self, GstPartimeFilter *filter,
    const gchar *path)
{
  g_mutex_lock (&self->lock);
  g_queue_push_tail (&self->savers, filter);
  g_mutex_unlock (&self->lock);
  pt_pipeline_save_async (self->pipeline, path);
}
