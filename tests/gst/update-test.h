/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* An element in a test's hands: frames in, frames out, in order. */

#pragma once

#include "element-test.h"

#define DURATION (40 * GST_MSECOND)

typedef struct
{
  GstHarness *harness;
  GstBus *bus;
  guint n_in, n_out;
} Rig;

static inline Rig *
rig_new (const gchar *network, const gchar *settings)
{
  Rig *self = g_new0 (Rig, 1);
  g_autofree gchar *path = element_test_write ("first.cfg", network);
  g_autofree gchar *line = g_strdup_printf ("partimefilter model=%s "
      "devices=cpu:0 %s", path, settings);
  g_autoptr (GError) error = NULL;
  g_autoptr (GstElement) element = gst_parse_launch (line, &error);

  g_assert_no_error (error);
  self->harness = gst_harness_new_with_element (element, "sink", "src");
  self->bus = gst_bus_new ();
  gst_element_set_bus (element, self->bus);
  gst_harness_set_src_caps_str (self->harness, "video/x-raw,format=RGB,"
      "width=20,height=14,framerate=25/1");
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
rig_push (Rig *self)
{
  GstBuffer *buffer = gst_harness_create_buffer (self->harness, 20 * 14 * 3
      + 14 * (GST_ROUND_UP_4 (60) - 60));

  gst_buffer_memset (buffer, 0, 40 + self->n_in % 50, -1);
  GST_BUFFER_PTS (buffer) = self->n_in++ * DURATION;
  GST_BUFFER_DURATION (buffer) = DURATION;
  g_assert_cmpint (gst_harness_push (self->harness, buffer), ==, GST_FLOW_OK);
}

/* Returns: (transfer full): the next frame, which must be the next one */
static inline GstBuffer *
rig_pull (Rig *self)
{
  GstBuffer *buffer = gst_harness_pull (self->harness);

  g_assert_nonnull (buffer);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, self->n_out++ * DURATION);
  return buffer;
}

/* The result on @buffer: its dimensions, and its first number. */
static inline const gfloat *
rig_read (GstBuffer *buffer, gint dims[4], guint64 *frame)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "GstPartimeMeta");
  const GstStructure *fields, *info;
  const GValue *tensors, *shape;
  GstSample *sample;
  static gfloat values[4096];

  g_assert_nonnull (meta);
  fields = gst_custom_meta_get_structure (meta);
  g_assert_true (gst_structure_get_uint64 (fields, "frame", frame));
  tensors = gst_structure_get_value (fields, "tensors");
  sample = g_value_get_boxed (gst_value_array_get_value (tensors, 0));
  info = gst_sample_get_info (sample);
  shape = gst_structure_get_value (info, "dims");
  for (guint i = 0; i < 4; i++)
    dims[i] = i < gst_value_array_get_size (shape) ? g_value_get_int
        (gst_value_array_get_value (shape, i)) : 1;
  gst_buffer_extract (gst_sample_get_buffer (sample), 0, values,
      sizeof values);
  return values;
}

/* Frames go through until there is news. Returns: (transfer full): the message
 * partime-model-updated. @widths: (nullable): that of each frame's output */
static inline GstMessage *
rig_run_until_updated (Rig *self, GArray *widths)
{
  for (guint i = 0; i < 20000; i++) {
    g_autoptr (GstMessage) message = gst_bus_pop_filtered (self->bus,
        GST_MESSAGE_ELEMENT | GST_MESSAGE_ERROR);
    g_autoptr (GstBuffer) buffer = NULL;
    gint dims[4];
    guint64 frame;

    g_assert_false (message && GST_MESSAGE_TYPE (message)
        == GST_MESSAGE_ERROR);
    if (message && gst_message_has_name (message, "partime-model-updated"))
      return g_steal_pointer (&message);
    rig_push (self);
    buffer = rig_pull (self);
    rig_read (buffer, dims, &frame);
    g_assert_cmpuint (frame, ==, self->n_out - 1);
    if (widths)
      g_array_append_val (widths, dims[3]);
    g_usleep (500);
  }
  g_assert_not_reached ();
}

static inline void
rig_run (Rig *self, guint n, gint width)
{
  for (guint i = 0; i < n; i++)
    rig_push (self);
  for (guint i = 0; i < n; i++) {
    g_autoptr (GstBuffer) buffer = rig_pull (self);
    gint dims[4];
    guint64 frame;

    rig_read (buffer, dims, &frame);
    g_assert_cmpint (dims[3], ==, width);
  }
}
