/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

#include "core/rng.h"
#include "network/network.h"
#include "partime/partime.h"

#include <math.h>
#include <string.h>

/* A small network and a smooth stream for the tests of the engine. */

#define STREAM_WIDTH 12
#define STREAM_HEIGHT 10

#define STREAM_NETWORK \
  "[network]\nwidth=12\nheight=10\nchannels=1\nframes=2\n" \
  "[a]\ntype=conv2d\nfilters=6\nkernel=3\npadding=1\nactivation=tanh\n" \
  "[b]\ntype=conv2d\nfilters=5\nkernel=3\npadding=1\n" \
  "[c]\ntype=leaky-relu\n" \
  "[d]\ntype=concat\ninputs=a;c\n" \
  "[e]\ntype=conv2d\nfilters=6\nkernel=3\npadding=1\nactivation=relu\n" \
  "[f]\ntype=add\ninputs=e;a\n" \
  "[g]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[learning]\nloss=mse\noptimizer=adam lr=1e-3\nseed=7\n"

/* Each of @settings: group, key, value. */
static inline void
stream_set (PtNetwork *network, const gchar *settings[][3], guint n)
{
  g_autoptr (GError) error = NULL;

  for (guint i = 0; i < n; i++)
    pt_network_set (network, settings[i][0], settings[i][1], settings[i][2],
        &error);
  g_assert_no_error (error);
}

/* On @devices, or on those that the environment names instead. */
static inline PtNetwork *
stream_network (const gchar *mode, const gchar *devices, const gchar *stages)
{
  const gchar *given = g_getenv ("PARTIME_TEST_STAGES");
  g_autoptr (GError) error = NULL;
  PtNetwork *network = pt_network_new_from_data (STREAM_NETWORK, -1,
      "stream.cfg", &error);

  g_assert_no_error (error);
  g_assert_true (pt_network_set (network, "learning", "mode", mode, &error));
  g_assert_true (pt_network_set (network, "pipeline", "devices",
          given != NULL ? given : devices, &error));
  g_assert_true (pt_network_set (network, "pipeline", "stages", stages,
          &error));
  return network;
}

static inline PtPipeline *
stream_start (PtNetwork *network)
{
  g_autoptr (GError) error = NULL;
  PtPipeline *pipeline = pt_pipeline_new (network, &error);

  g_assert_no_error (error);
  pt_pipeline_start (pipeline, &error);
  g_assert_no_error (error);
  return pipeline;
}

/* Frame @f of a pattern that drifts. */
static inline PtTensor *
stream_frame (guint64 f)
{
  const gint64 dims[] = { 1, STREAM_HEIGHT, STREAM_WIDTH };
  PtTensor *frame = pt_tensor_new (PT_F32, dims, 3, NULL);
  gfloat *x = pt_tensor_get_data (frame);

  for (guint i = 0; i < STREAM_WIDTH * STREAM_HEIGHT; i++)
    x[i] = sinf (0.7f * (i % STREAM_WIDTH) + 0.11f * f)
        * cosf (0.5f * (i / STREAM_WIDTH) - 0.07f * f);
  return frame;
}

typedef struct
{
  guint frames, learned, invalid;
  guint64 hash;                 /* of every bit that came out */
} StreamSums;

static inline guint64
stream_hash (guint64 hash, gconstpointer data, gsize bytes)
{
  const guint8 *p = data;

  for (gsize i = 0; i < bytes; i++)
    hash = (hash ^ p[i]) * G_GUINT64_CONSTANT (0x100000001b3);
  return hash;
}

static inline void
stream_take (PtPipeline *pipeline, StreamSums *sums)
{
  g_autoptr (PtResult) result = NULL;
  g_autoptr (GError) error = NULL;
  PtFlow flow = pt_pipeline_pull (pipeline, &result, &error);

  g_assert_no_error (error);
  g_assert_cmpint (flow, ==, PT_FLOW_OK);
  g_assert_cmpuint (result->frame, ==, sums->frames);
  sums->frames++;
  sums->learned += result->learned;
  sums->invalid += !result->valid;
  for (guint i = 0; i < result->n_outputs; i++)
    sums->hash = stream_hash (sums->hash, pt_tensor_get_data
        (result->outputs[i]), pt_tensor_get_n_elements (result->outputs[i])
        * sizeof (gfloat));
  sums->hash = stream_hash (sums->hash, &result->loss, sizeof result->loss);
}

/* Frames @first to @first + @n - 1 of the pattern; all results are taken, no
 * end is marked. */
static inline void
stream_feed (PtPipeline *pipeline, StreamSums *sums, guint64 first, guint n)
{
  guint end = sums->frames + n;

  for (guint i = 0; i < n;) {
    g_autoptr (PtTensor) frame = stream_frame (first + i);
    g_autoptr (GError) error = NULL;
    PtFlow flow = pt_pipeline_push (pipeline, frame, NULL, PT_PUSH_TRY,
        &error);

    g_assert_no_error (error);
    if (flow == PT_FLOW_FULL)
      stream_take (pipeline, sums);
    else
      i++;
  }
  while (sums->frames < end)
    stream_take (pipeline, sums);
}

/* Every update of the frames so far is applied then. */
static inline void
stream_drain (PtPipeline *pipeline)
{
  g_autoptr (PtResult) none = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (pt_pipeline_drain (pipeline, &error), ==, PT_FLOW_OK);
  g_assert_cmpint (pt_pipeline_pull (pipeline, &none, &error), ==,
      PT_FLOW_DRAINED);
}

static inline StreamSums
stream_run (PtPipeline *pipeline, guint64 first, guint n)
{
  StreamSums sums = { 0, };

  stream_feed (pipeline, &sums, first, n);
  stream_drain (pipeline);
  return sums;
}

/* Every bit of the weights. */
static inline guint64
stream_hash_weights (PtNetwork *network)
{
  guint64 hash = 0;

  for (guint k = 0; k < network->n_nodes; k++)
    for (guint i = 0; i < network->nodes[k].layer->n_weights; i++)
      hash = stream_hash (hash, network->nodes[k].weights[i]->data,
          network->nodes[k].weights[i]->size);
  return hash;
}

/* ||a - b|| / ||b|| of all the weights. */
static inline gdouble
stream_weights_distance (const PtNetwork *a, const PtNetwork *b)
{
  gdouble difference = 0, size = 0;

  for (guint k = 0; k < a->n_nodes; k++) {
    for (guint i = 0; i < a->nodes[k].layer->n_weights; i++) {
      const gfloat *x = a->nodes[k].weights[i]->data;
      const gfloat *y = b->nodes[k].weights[i]->data;
      gsize n = pt_tensor_get_n_elements (a->nodes[k].weights[i]);

      for (gsize j = 0; j < n; j++) {
        difference += (x[j] - y[j]) * (gdouble) (x[j] - y[j]);
        size += y[j] * (gdouble) y[j];
      }
    }
  }
  return sqrt (difference / size);
}
