/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* An element whose network leaves height and width open, and its frames. */

#pragma once

#include "element-test.h"

#define DURATION (40 * GST_MSECOND)
#define OPEN "[network]\nchannels=1\n"
#define CLOSED(width, height) OPEN "width=" width "\nheight=" height "\n"
/* Learns the frame itself, and remembers what an optimizer can. The cut is
 * given: a measured one may be another each time. */
#define LAYERS \
  "[a]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\nactivation=relu\n" \
  "[norm]\ntype=batch-norm\n" \
  "[image]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[learning]\nloss=mse\ntarget=input\noptimizer=adam lr=1e-2\n" \
  "mode=delayed\nwarmup=0\n[output]\nkind=image\n[pipeline]\nstages=2,1\n"
/* Halved twice and doubled twice: for multiples of 4. */
#define UNET \
  "[down]\ntype=conv2d\nfilters=4\nkernel=3\npadding=1\nstride=4\n" \
  "[up]\ntype=upsample\nscale=4\n" \
  "[both]\ntype=concat\ninputs=up;input\n" \
  "[heat]\ntype=conv2d\nfilters=1\nkernel=1\n[output]\nkind=heatmap\n"

typedef struct
{
  GstHarness *harness;
  GstBus *bus;
  gint width, height;
  guint n_in, n_out;
} Rig;

/* Posts are left on the bus. */
static inline Rig *
rig_new (const gchar *network, const gchar *settings)
{
  Rig *self = g_new0 (Rig, 1);
  g_autofree gchar *path = network ? element_test_write ("net.cfg", network) :
      NULL;
  g_autofree gchar *line = g_strdup_printf ("partimefilter devices=cpu:0 "
      "%s%s %s", path ? "model=" : "", path ? path : "", settings);
  g_autoptr (GError) error = NULL;
  g_autoptr (GstElement) element = gst_parse_launch (line, &error);

  g_assert_no_error (error);
  self->harness = gst_harness_new_with_element (element, "sink", "src");
  self->bus = gst_bus_new ();
  gst_element_set_bus (element, self->bus);
  return self;
}

static inline void
rig_free (Rig *self)
{
  gst_element_set_bus (self->harness->element, NULL);
  gst_harness_teardown (self->harness);
  gst_object_unref (self->bus);
  g_free (self);
}

static inline void
rig_set_size (Rig *self, gint width, gint height)
{
  g_autofree gchar *caps = g_strdup_printf ("video/x-raw,format=GRAY8,"
      "width=%d,height=%d,framerate=25/1", width, height);

  self->width = width;
  self->height = height;
  gst_harness_set_src_caps_str (self->harness, caps);
}

static inline GstFlowReturn
rig_push (Rig *self)
{
  gint stride = GST_ROUND_UP_4 (self->width);
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, stride * self->height,
      NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  for (gsize i = 0; i < map.size; i++)
    map.data[i] = (i % stride * 7 + i / stride * 13 + self->n_in * 3) % 251;
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_PTS (buffer) = self->n_in++ * DURATION;
  GST_BUFFER_DURATION (buffer) = DURATION;
  return gst_harness_push (self->harness, buffer);
}

/* Takes the next frame. Returns: the hash of its result, whose grid must be
 * of @width x @height */
static inline guint64
rig_pull (Rig *self, gint width, gint height)
{
  g_autoptr (GstBuffer) buffer = gst_harness_pull (self->harness);
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "GstPartimeMeta");
  const gint expected[] = { height, width };
  const GValue *tensors, *dims;
  guint64 hash = 1;
  GstSample *sample;
  GstMapInfo map;

  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, self->n_out++ * DURATION);
  g_assert_nonnull (meta);
  tensors = gst_structure_get_value (gst_custom_meta_get_structure (meta),
      "tensors");
  sample = g_value_get_boxed (gst_value_array_get_value (tensors, 0));
  dims = gst_structure_get_value (gst_sample_get_info (sample), "dims");
  for (guint i = 0; i < 2 && width > 0; i++)
    g_assert_cmpint (g_value_get_int (gst_value_array_get_value (dims, 2 + i)),
        ==, expected[i]);
  gst_buffer_map (gst_sample_get_buffer (sample), &map, GST_MAP_READ);
  for (gsize i = 0; i < map.size; i++)
    hash = (hash ^ map.data[i]) * G_GUINT64_CONSTANT (0x100000001b3);
  gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
  return hash;
}

static inline guint64
rig_run (Rig *self, guint n, gint width, gint height)
{
  guint64 hash = 0;

  for (guint i = 0; i < n; i++) {
    g_assert_cmpint (rig_push (self), ==, GST_FLOW_OK);
    hash = hash * 31 + rig_pull (self, width, height);
  }
  return hash;
}

static inline GstMessage *
rig_wait (Rig *self, GstMessageType type, const gchar *name)
{
  for (;;) {
    g_autoptr (GstMessage) message = gst_bus_timed_pop_filtered (self->bus,
        WAIT, type);

    g_assert_nonnull (message);
    if (!name || gst_message_has_name (message, name))
      return g_steal_pointer (&message);
  }
}

/* A run of @n frames of one size, from a checkpoint to a checkpoint. */
static inline guint64
run_closed (const gchar *network, const gchar *path, gint width, gint height,
    guint n, guint first)
{
  g_autofree gchar *settings = g_strdup_printf ("checkpoint-location=%s", path);
  Rig *rig = rig_new (network, settings);
  guint64 hash;

  rig->n_in = rig->n_out = first;
  rig_set_size (rig, width, height);
  hash = rig_run (rig, n, width, height);
  gst_harness_push_event (rig->harness, gst_event_new_eos ());
  gst_message_unref (rig_wait (rig, GST_MESSAGE_ELEMENT,
          "partime-checkpoint"));
  rig_free (rig);
  return hash;
}
