/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Elements with the same model-instance-id share one network: its weights and
 * what it learns. Each has a stream of its own through the one pipeline. The
 * first says what the network is; the last one out stops it. */

#include "gstpartimefilter-private.h"
#include "meta.h"

struct _GstPartimeInstance
{
  gchar *id;
  guint refs;                   /* under the lock of all instances */
  gchar *first;                 /* name of the element that came first */
  GHashTable *settings;         /* of that: names and values, of those set */
  GstPartimeSettings decided;   /* of that */
  gchar *resume;                /* checkpoint to go on from, or NULL */
  GstPartimeModel *model;       /* nobody's own; changes with the lock of all
                                 * instances and the next two held */
  GMutex replace_lock;          /* one network after the other */
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

/* Returns: (transfer full): who shares it */
static GList *
instance_ref_users (GstPartimeInstance *self)
{
  GList *users;

  g_mutex_lock (&self->lock);
  users = g_list_copy (self->users);
  for (GList *link = users; link; link = link->next)
    gst_object_ref (link->data);
  g_mutex_unlock (&self->lock);
  return users;
}

/* Checkpoints are told to who asked for them, the rest to all. */
static void
instance_on_event (PtPipeline *pipeline, const PtEvent *event, gpointer data)
{
  GstPartimeInstance *self = data;
  GList *users;

  if (event->type == PT_EVENT_CHECKPOINT) {
    g_autoptr (GstPartimeFilter) saver = instance_take_saver (self);

    if (saver)
      gst_partime_filter_on_event (pipeline, event, saver);
    return;
  }
  users = instance_ref_users (self);
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

/* Goes on from the checkpoint, if there is one; also checks that it is one. */
static gboolean
instance_find_checkpoint (GstPartimeInstance *self, const gchar **culprit,
    GError **error)
{
  const gchar *path = self->decided.checkpoint_location;

  if (!path || !g_file_test (path, G_FILE_TEST_EXISTS))
    return TRUE;
  *culprit = path;
  self->resume = g_strdup (path);
  return pt_pipeline_load (self->model->pipeline, path, error);
}

static GstPartimeInstance *
instance_new (const gchar *id, GstPartimeFilter *decider)
{
  GstPartimeInstance *self = g_new0 (GstPartimeInstance, 1);

  self->id = g_strdup (id);
  self->first = gst_object_get_name (GST_OBJECT (decider));
  self->settings = instance_list_settings (decider);
  GST_OBJECT_LOCK (decider);
  gst_partime_settings_copy (&decider->settings, &self->decided);
  GST_OBJECT_UNLOCK (decider);
  g_mutex_init (&self->replace_lock);
  g_mutex_init (&self->start_lock);
  g_mutex_init (&self->lock);
  return self;
}

static void
instance_free (GstPartimeInstance *self)
{
  g_clear_pointer (&self->model, gst_partime_model_unref);
  g_hash_table_unref (self->settings);
  gst_partime_settings_clear (&self->decided);
  g_queue_clear (&self->savers);
  g_mutex_clear (&self->replace_lock);
  g_mutex_clear (&self->start_lock);
  g_mutex_clear (&self->lock);
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
  pt_pipeline_stop (self->model->pipeline);
  g_hash_table_remove (instances, self->id);
  g_mutex_unlock (&instances_lock);
  instance_free (self);
}

/* With the lock of all instances. */
static void
instance_own (GstPartimeInstance *self, GstPartimeModel *model)
{
  model->instance = self;
  self->refs++;
}

static GstPartimeModel *
instance_join (GstPartimeInstance *self, GstPartimeFilter *filter,
    GError **error)
{
  GstPartimeModel *model;

  if (!instance_check (self, filter, error))
    return NULL;
  model = gst_partime_model_new_shared (filter, self->model, error);
  if (model)
    instance_own (self, model);
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

/* Before anybody joins. */
static gboolean
instance_make_model (GstPartimeInstance *self, GstPartimeFilter *filter,
    GstPartimeSize *size, const gchar **culprit, GError **error)
{
  self->model = gst_partime_model_new (filter, &self->decided,
      self->decided.model, self->decided.weights, size, culprit, error);
  if (!self->model)
    return FALSE;
  pt_pipeline_set_event_func (self->model->pipeline, instance_on_event, self);
  return instance_check (self, filter, error)
      && instance_find_checkpoint (self, culprit, error);
}

/* The first one. */
static GstPartimeModel *
instance_create (GstPartimeFilter *filter, const gchar *id,
    GstPartimeSize *size, const gchar **culprit, GError **error)
{
  GstPartimeFilter *decider = instance_find_decider (filter, id);
  GstPartimeModel *model = NULL;
  GstPartimeInstance *self;

  if (!decider) {
    g_set_error (error, PT_ERROR, PT_ERROR_CONFIG, "no model: the property "
        "model is to name a network file, here or in another element with "
        "model-instance-id=%s", id);
    return NULL;
  }
  self = instance_new (id, decider);
  if (instance_make_model (self, filter, size, culprit, error))
    model = size->is_open && size->nominal ?
        gst_partime_model_ref (self->model) : instance_join (self, filter,
        error);
  if (model && model->instance) {
    g_hash_table_insert (instances, self->id, self);
    return model;
  }
  /* the name of a file that is told of */
  *culprit = g_intern_string (*culprit);
  instance_free (self);
  return model;
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
  /* from here on another network is one for @filter too */
  if (model && model->instance)
    instance_add_user (model->instance, filter);
  g_mutex_unlock (&instances_lock);
  return model;
}

/* -- at work -- */

/* Starts the pipeline, unless it runs, and gives the model its stream. */
gboolean
gst_partime_instance_start (GstPartimeFilter *filter,
    GstPartimeStartFunc start)
{
  GstPartimeInstance *self = filter->model->instance;
  GstPartimeModel *before = NULL;
  g_autoptr (GError) error = NULL;
  PtStream *stream = NULL;

  g_mutex_lock (&self->start_lock);
  if (!self->started)
    self->started = start (filter);
  if (self->started) {
    before = gst_partime_update_take_early (filter);
    stream = pt_stream_new (filter->model->pipeline, &error);
  }
  g_mutex_unlock (&self->start_lock);
  gst_partime_update_end_early (filter, before);
  if (error)
    gst_partime_filter_post_error (filter, error, NULL);
  GST_OBJECT_LOCK (filter);
  filter->model->stream = stream;
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

/* Returns: (transfer full): the one that frames go to from now on */
PtPipeline *
gst_partime_instance_ref_pipeline (GstPartimeInstance *self)
{
  PtPipeline *pipeline;

  g_mutex_lock (&self->start_lock);
  pipeline = pt_pipeline_ref (self->model->pipeline);
  g_mutex_unlock (&self->start_lock);
  return pipeline;
}

void
gst_partime_instance_save (GstPartimeInstance *self, GstPartimeFilter *filter,
    const gchar *path)
{
  g_autoptr (PtPipeline) pipeline = gst_partime_instance_ref_pipeline (self);

  g_mutex_lock (&self->lock);
  g_queue_push_tail (&self->savers, filter);
  g_mutex_unlock (&self->lock);
  pt_pipeline_save_async (pipeline, path);
}

/* -- another network for all -- */

static gboolean
instance_same_target (GstPartimeModel *a, GstPartimeModel *b)
{
  GstPartimeTarget x, y;
  gboolean wanted = gst_partime_target_init (&x, a->network, a->pipeline);
  gboolean same = wanted == gst_partime_target_init (&y, b->network,
      b->pipeline) && (!wanted || gst_partime_target_equal (&x, &y));

  gst_partime_target_clear (&x);
  gst_partime_target_clear (&y);
  return same;
}

/* Whether elements can go on with @model without a change of theirs. */
static gboolean
instance_fits (GstPartimeInstance *self, GstPartimeModel *model,
    GError **error)
{
  const gchar *what = NULL;

  if (!gst_partime_model_same_input (self->model, model))
    what = "frames of another size, channels or resize";
  else if (!gst_partime_meta_equal_infos (self->model->tensor_infos,
          model->tensor_infos))
    what = "outputs of other names or shapes";
  else if (!instance_same_target (self->model, model))
    what = "other labels";
  if (what)
    g_set_error (error, PT_ERROR, PT_ERROR_SHAPE, "%s: found %s, expected them "
        "as in %s: elements with model-instance-id=%s share the network and go "
        "on with it", model->path, what, self->model->path, self->id);
  return !what;
}

/* With all locks. Returns: (nullable): @model for each of @users */
static GPtrArray *
instance_offer (GstPartimeModel *model, GList *users, GError **error)
{
  g_autoptr (GPtrArray) models = g_ptr_array_new_with_free_func
      ((GDestroyNotify) gst_partime_model_unref);

  for (GList *link = users; link; link = link->next) {
    GstPartimeFilter *user = link->data;
    GstPartimeModel *own = gst_partime_model_new_shared (user, model, error);
    g_autoptr (GstCaps) caps = gst_pad_get_current_caps (user->sinkpad);
    GstVideoInfo info;
    gboolean known = caps && gst_video_info_from_caps (&info, caps);

    if (own)
      g_ptr_array_add (models, own);
    if (!own || !gst_partime_labels_fit (user, own, error)
        || !gst_partime_update_check_caps (user, own, known ? &info : NULL,
            error)) {
      g_prefix_error (error, "element %s: ", GST_OBJECT_NAME (user));
      return NULL;
    }
  }
  return g_steal_pointer (&models);
}

/* With all locks, after the network has changed: unless it has left, @user goes
 * on with @model at its next frame. */
static void
instance_give (GstPartimeInstance *self, GstPartimeFilter *user,
    GstPartimeModel *model)
{
  GST_OBJECT_LOCK (user);
  if (user->settings.model) {
    g_free (user->settings.model);
    user->settings.model = g_strdup (model->path);
    g_free (user->settings.weights);
    user->settings.weights = g_strdup (model->weights);
  }
  GST_OBJECT_UNLOCK (user);
  g_mutex_lock (&self->lock);
  if (g_list_find (self->users, user)) {
    instance_own (self, model);
    gst_partime_filter_apply_live (user, model);
    gst_partime_update_give (user, gst_partime_model_ref (model));
  }
  g_mutex_unlock (&self->lock);
}

/* Takes @model. */
static void
instance_set_model (GstPartimeInstance *self, GstPartimeModel *model)
{
  self->model = model;
  g_hash_table_insert (self->settings, (gpointer) "model",
      g_strdup (model->path));
  if (model->weights)
    g_hash_table_insert (self->settings, (gpointer) "weights",
        g_strdup (model->weights));
  else
    g_hash_table_remove (self->settings, "weights");
}

/* With all locks: all of @users, or none. Returns: (nullable): what is to be
 * freed without the locks */
static GPtrArray *
instance_take_over (GstPartimeInstance *self, GstPartimeModel *model,
    GList *users, GError **error)
{
  g_autoptr (GPtrArray) models = instance_offer (model, users, error);
  PtReplacement what;
  GList *link = users;

  if (!models || !pt_pipeline_replace (self->model->pipeline, model->pipeline,
          &what, error))
    return NULL;
  for (guint i = 0; i < models->len; i++, link = link->next) {
    GstPartimeModel *own = g_ptr_array_index (models, i);

    own->what = what;
    instance_give (self, link->data, own);
  }
  g_ptr_array_add (models, self->model);
  instance_set_model (self, gst_partime_model_ref (model));
  return g_steal_pointer (&models);
}

static gboolean
instance_take_over_locked (GstPartimeInstance *self, GstPartimeModel *model,
    GError **error)
{
  g_autoptr (GPtrArray) left = NULL;
  GList *users;

  g_mutex_lock (&instances_lock);
  g_mutex_lock (&self->start_lock);
  users = instance_ref_users (self);
  left = instance_take_over (self, model, users, error);
  g_mutex_unlock (&self->start_lock);
  g_mutex_unlock (&instances_lock);
  g_list_free_full (users, gst_object_unref);
  return left != NULL;
}

/* Until another network, if it is about to, has taken over. */
void
gst_partime_instance_wait (GstPartimeInstance *self)
{
  g_mutex_lock (&self->start_lock);
  g_mutex_unlock (&self->start_lock);
}

/* Another network for all who share it, between two frames; each goes on with it
 * at its next frame. @running: of @filter, whose thread for updates this is.
 * Returns: FALSE if it cannot be, and nothing has changed */
gboolean
gst_partime_instance_replace (GstPartimeFilter *filter,
    GstPartimeModel *running, const gchar *path, const gchar *weights,
    GError **error)
{
  GstPartimeInstance *self = running->instance;
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&self->replace_lock);
  const PtShape *shape = pt_network_get_input_shape (self->model->network);
  GstPartimeSize size = { shape->dims[3], shape->dims[2], FALSE, FALSE };
  const gchar *culprit;
  g_autoptr (GstPartimeModel) model = gst_partime_model_new (filter,
      &self->decided, path, weights, &size, &culprit, error);
  gdouble fps;

  if (!model || !instance_fits (self, model, error))
    return FALSE;
  pt_pipeline_set_event_func (model->pipeline, instance_on_event, self);
  GST_OBJECT_LOCK (filter);
  fps = filter->target_fps;
  GST_OBJECT_UNLOCK (filter);
  pt_pipeline_set_target_fps (model->pipeline, fps);
  return pt_pipeline_start_beside (model->pipeline, self->model->pipeline,
      error) && instance_take_over_locked (self, model, error);
}
