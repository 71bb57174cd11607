/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/rng.h"
#include "golden.h"
#include "layers/layer.h"
#include "op-test.h"

/* One layer on one device with all its tensors, as a stage would hold them. */
typedef struct
{
  PtDevice *device;
  PtWorkspace workspace;
  PtLayer *layer;
  PtLayerPlan plan;
  PtLayerArgs args;
} Rig;

/* A layer from a line of its kind's samples, "in=1x3x8x8,1x2x8x8 key=value".
 * The shapes are set, nothing is inferred yet. */
static inline PtLayer *
layer_from_sample (const PtLayerKind *kind, const gchar *sample,
    GError **error)
{
  g_autoptr (PtLayer) layer = pt_layer_new (kind, "layer");
  g_auto (GStrv) words = g_strsplit (sample, " ", 2);
  g_auto (GStrv) shapes = g_strsplit (words[0] + strlen ("in="), ",", 0);

  for (guint i = 0; shapes[i] != NULL; i++) {
    g_auto (GStrv) dims = g_strsplit (shapes[i], "x", 0);

    layer->inputs[i].n_dims = g_strv_length (dims);
    for (guint k = 0; dims[k] != NULL; k++)
      layer->inputs[i].dims[k] = g_ascii_strtoll (dims[k], NULL, 10);
    layer->n_inputs++;
  }
  if (!pt_params_parse_words (kind->params, layer->options,
          words[1] != NULL ? words[1] : "", sample, error))
    return NULL;
  return g_steal_pointer (&layer);
}

static inline PtTensor *
rig_tensor_new (Rig *rig, PtDType dtype, const PtShape *shape)
{
  g_autoptr (GError) error = NULL;
  PtTensor *tensor = pt_device_tensor_new (rig->device, dtype, shape, &error);

  g_assert_no_error (error);
  return tensor;
}

/* Weight @i, or its gradient, as large as its operation wants it. */
static inline PtTensor *
rig_weight_new (Rig *rig, guint i)
{
  const PtOp *packer = rig->plan.packers[i];
  const PtShape *shape = &rig->layer->weights[i].shape;
  gsize size = packer != NULL ? packer->weights_size :
      pt_shape_get_n_elements (shape) * sizeof (gfloat);
  g_autoptr (GError) error = NULL;
  g_autoptr (PtTensor) base = pt_device_bytes_new (rig->device, size, &error);

  g_assert_no_error (error);
  return pt_tensor_view (base, 0, shape, size);
}

static inline void rig_free (Rig *rig);

/* NULL: the device lacks an operation of it, the test is skipped. */
static inline Rig *
rig_new (const PtLayerKind *kind, const gchar *sample, gboolean training)
{
  g_autoptr (GError) error = NULL;
  Rig *rig = g_new0 (Rig, 1);
  PtLayerArgs *args = &rig->args;

  rig->device = op_test_device (NULL);
  pt_workspace_init (&rig->workspace, rig->device, training);
  rig->layer = layer_from_sample (kind, sample, &error);
  g_assert_no_error (error);
  pt_layer_infer (rig->layer, &error);
  g_assert_no_error (error);
  pt_layer_plan (rig->layer, &rig->workspace, &rig->plan, &error);
  if (op_test_unsupported (error)) {
    rig_free (rig);
    return NULL;
  }
  g_assert_no_error (error);
  pt_workspace_ready (&rig->workspace, &error);
  g_assert_no_error (error);

  for (guint i = 0; i < rig->layer->n_inputs; i++) {
    args->x[i] = rig_tensor_new (rig, PT_F32, &rig->layer->inputs[i]);
    args->dx[i] = rig_tensor_new (rig, PT_F32, &rig->layer->inputs[i]);
  }
  for (guint i = 0; i < rig->layer->n_weights; i++) {
    args->w[i] = rig_weight_new (rig, i);
    if (rig->layer->weights[i].learned)
      args->dw[i] = rig_weight_new (rig, i);
  }
  for (guint i = 0; training && i < rig->layer->n_saved; i++)
    args->saved[i] = rig_tensor_new (rig, rig->layer->saved[i].dtype,
        &rig->layer->saved[i].shape);
  args->y = rig_tensor_new (rig, PT_F32, &rig->layer->output);
  args->dy = rig_tensor_new (rig, PT_F32, &rig->layer->output);
  args->learning = training;
  args->seed = 7;
  return rig;
}

static inline void
rig_free (Rig *rig)
{
  PtLayerArgs *args = &rig->args;

  for (guint i = 0; i < PT_OP_MAX_INPUTS; i++) {
    g_clear_pointer (&args->x[i], pt_tensor_unref);
    g_clear_pointer (&args->dx[i], pt_tensor_unref);
  }
  for (guint i = 0; i < PT_LAYER_MAX_WEIGHTS; i++) {
    g_clear_pointer (&args->w[i], pt_tensor_unref);
    g_clear_pointer (&args->dw[i], pt_tensor_unref);
  }
  for (guint i = 0; i < PT_LAYER_MAX_SAVED; i++)
    g_clear_pointer (&args->saved[i], pt_tensor_unref);
  g_clear_pointer (&args->y, pt_tensor_unref);
  g_clear_pointer (&args->dy, pt_tensor_unref);
  pt_layer_plan_clear (&rig->plan);
  pt_layer_free (rig->layer);
  pt_workspace_clear (&rig->workspace);
  pt_device_unref (rig->device);
  g_free (rig);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC (Rig, rig_free)

/* From and to row-major tensors in main memory. */
static inline void
rig_upload (Rig *rig, PtTensor *dst, const PtTensor *host)
{
  g_autoptr (GError) error = NULL;

  pt_device_upload (rig->device, dst, host, &error);
  g_assert_no_error (error);
}

static inline PtTensor *
rig_download (Rig *rig, const PtTensor *src)
{
  g_autoptr (GError) error = NULL;
  PtTensor *host = pt_tensor_new_shaped (src->dtype, &src->shape, &error);

  pt_device_download (rig->device, host, src, &error);
  g_assert_no_error (error);
  return host;
}

static inline void
rig_pack (Rig *rig, guint i, const PtTensor *host)
{
  g_autoptr (GError) error = NULL;

  if (rig->plan.packers[i] == NULL)
    rig_upload (rig, rig->args.w[i], host);
  else
    pt_op_pack (rig->plan.packers[i], host, rig->args.w[i], &error);
  g_assert_no_error (error);
}

/* @tensor is weight @i or its gradient. */
static inline PtTensor *
rig_unpack (Rig *rig, guint i, const PtTensor *tensor)
{
  g_autoptr (GError) error = NULL;
  PtTensor *host;

  if (rig->plan.packers[i] == NULL)
    return rig_download (rig, tensor);
  host = pt_tensor_new_shaped (PT_F32, &rig->layer->weights[i].shape, &error);
  pt_op_unpack (rig->plan.packers[i], tensor, host, &error);
  g_assert_no_error (error);
  return host;
}

/* Random numbers for what PyTorch was not asked. */
static inline PtTensor *
random_tensor (const PtShape *shape, const gchar *name)
{
  PtTensor *host = pt_tensor_new_shaped (PT_F32, shape, NULL);

  pt_rng_fill_uniform (host->data, pt_shape_get_n_elements (shape), -2, 2, 11,
      pt_rng_stream (name));
  return host;
}

/* The numbers PyTorch had, or random ones. */
static inline PtTensor *
rig_input (const gchar *line, const gchar *name, const PtShape *shape)
{
  PtTensor *host = golden_find (line, "%s", name);

  return host != NULL ? pt_tensor_ref (host) : random_tensor (shape, name);
}

/* Puts x, weights and dy where they belong. */
static inline void
rig_load (Rig *rig, const gchar *line)
{
  const PtLayer *layer = rig->layer;
  g_autoptr (PtTensor) dy = rig_input (line, "dy", &layer->output);

  for (guint i = 0; i < layer->n_inputs; i++) {
    g_autofree gchar *name = g_strdup_printf ("x%u", i);
    g_autoptr (PtTensor) x = rig_input (line, name, &layer->inputs[i]);

    rig_upload (rig, rig->args.x[i], x);
  }
  for (guint i = 0; i < layer->n_weights; i++) {
    g_autoptr (PtTensor) w =
        rig_input (line, layer->weights[i].name, &layer->weights[i].shape);

    rig_pack (rig, i, w);
  }
  rig_upload (rig, rig->args.dy, dy);
}

static inline void
rig_forward (Rig *rig)
{
  g_autoptr (GError) error = NULL;

  pt_layer_forward (rig->layer, &rig->plan, &rig->args, &error);
  g_assert_no_error (error);
}

static inline void
rig_backward (Rig *rig)
{
  g_autoptr (GError) error = NULL;

  pt_layer_backward (rig->layer, &rig->plan, &rig->args, &error);
  g_assert_no_error (error);
}

static inline void
rig_append (Rig *rig, GByteArray *bytes, const PtTensor *tensor)
{
  g_autofree gpointer read = NULL;

  if (tensor == NULL)
    return;
  read = op_test_read_bytes (rig->device, tensor);
  g_byte_array_append (bytes, read, tensor->size);
}

/* Every bit of the gradients. */
static inline GByteArray *
rig_gradients (Rig *rig)
{
  GByteArray *bytes = g_byte_array_new ();

  for (guint i = 0; i < rig->layer->n_inputs; i++)
    rig_append (rig, bytes, rig->args.dx[i]);
  for (guint i = 0; i < rig->layer->n_weights; i++)
    rig_append (rig, bytes, rig->args.dw[i]);
  return bytes;
}

static inline gboolean
bytes_equal (const GByteArray *a, const GByteArray *b)
{
  return a->len == b->len
      && (a->len == 0 || memcmp (a->data, b->data, a->len) == 0);
}
