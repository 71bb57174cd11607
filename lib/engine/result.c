/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/result.h"

typedef struct _PooledResult PooledResult;

struct _PooledResult
{
  PtResult result;              /* first: the two are cast */
  gatomicrefcount refs;
  PtResultPool *pool;           /* owned while out of the pool */
  PooledResult *next;           /* in the pool */
};

struct _PtResultPool
{
  gatomicrefcount refs;
  guint n_outputs;
  PtShape *shapes;              /* of the outputs */
  gchar **names;
  GMutex lock;
  PooledResult *idle;
};

G_DEFINE_BOXED_TYPE (PtResult, pt_result, pt_result_ref, pt_result_unref)

static void
result_free (PooledResult *self)
{
  for (guint i = 0; i < self->result.n_outputs; i++)
    g_clear_pointer (&self->result.outputs[i], pt_tensor_unref);
  g_free (self->result.outputs);
  g_free (self);
}

void
pt_result_pool_unref (PtResultPool *self)
{
  if (!g_atomic_ref_count_dec (&self->refs))
    return;
  while (self->idle != NULL) {
    PooledResult *result = self->idle;

    self->idle = result->next;
    result_free (result);
  }
  g_mutex_clear (&self->lock);
  g_strfreev (self->names);
  g_free (self->shapes);
  g_free (self);
}

static PooledResult *
result_new (PtResultPool *pool, GError **error)
{
  PooledResult *self = g_new0 (PooledResult, 1);

  self->result.n_outputs = pool->n_outputs;
  self->result.outputs = g_new0 (PtTensor *, pool->n_outputs);
  self->result.output_names = (const gchar *const *) pool->names;
  for (guint i = 0; i < pool->n_outputs; i++) {
    self->result.outputs[i] = pt_tensor_new_shaped (PT_F32, &pool->shapes[i],
        error);
    if (self->result.outputs[i] == NULL) {
      result_free (self);
      return NULL;
    }
  }
  self->result.output = self->result.outputs[0];
  return self;
}

/* A pool that already has @n results of @network. */
PtResultPool *
pt_result_pool_new (PtNetwork *network, guint n, GError **error)
{
  PtResultPool *self = g_new0 (PtResultPool, 1);

  g_atomic_ref_count_init (&self->refs);
  g_mutex_init (&self->lock);
  self->n_outputs = network->n_outputs;
  self->shapes = g_new (PtShape, network->n_outputs);
  self->names = g_new0 (gchar *, network->n_outputs + 1);
  for (guint i = 0; i < network->n_outputs; i++) {
    self->shapes[i] = *pt_network_get_output_shape_at (network, i);
    self->names[i] = g_strdup (network->outputs[i].name);
  }
  for (guint i = 0; i < n; i++) {
    PooledResult *result = result_new (self, error);

    if (result == NULL) {
      pt_result_pool_unref (self);
      return NULL;
    }
    result->next = self->idle;
    self->idle = result;
  }
  return self;
}

/* A result with one reference, its outputs of unknown content. Thread-safe. */
PtResult *
pt_result_pool_get (PtResultPool *self, GError **error)
{
  PooledResult *result;

  g_mutex_lock (&self->lock);
  result = self->idle;
  if (result != NULL)
    self->idle = result->next;
  g_mutex_unlock (&self->lock);
  if (result == NULL && !(result = result_new (self, error)))
    return NULL;
  g_atomic_ref_count_init (&result->refs);
  g_atomic_ref_count_inc (&self->refs);
  result->pool = self;
  return &result->result;
}

/**
 * pt_result_ref:
 * @self: a result
 *
 * Thread-safe.
 *
 * Returns: (transfer full): @self
 */
PtResult *
pt_result_ref (PtResult *self)
{
  g_atomic_ref_count_inc (&((PooledResult *) self)->refs);
  return self;
}

/**
 * pt_result_unref:
 * @self: (transfer full): a result
 *
 * Thread-safe, also after the pipeline is gone.
 */
void
pt_result_unref (PtResult *self)
{
  PooledResult *result = (PooledResult *) self;
  PtResultPool *pool = result->pool;

  if (!g_atomic_ref_count_dec (&result->refs))
    return;
  g_mutex_lock (&pool->lock);
  result->next = pool->idle;
  pool->idle = result;
  g_mutex_unlock (&pool->lock);
  pt_result_pool_unref (pool);
}
