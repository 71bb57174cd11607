/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* One element of several that share a network: frames in, frames out. */

#pragma once

#include "element-test.h"

static inline GstHarness *
new_harness (const gchar *settings)
{
  g_autofree gchar *line = g_strdup_printf ("partimefilter devices=cpu:0 %s",
      settings);
  g_autoptr (GstElement) element = gst_parse_launch (line, NULL);
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");

  gst_harness_set_src_caps_str (h, "video/x-raw,format=RGB,width=20,"
      "height=14,framerate=25/1");
  return h;
}

static inline void
push (GstHarness *h, guint i)
{
  GstBuffer *buffer = gst_harness_create_buffer (h, 60 * 14);

  gst_buffer_memset (buffer, 0, i, -1);
  GST_BUFFER_PTS (buffer) = i * 40 * GST_MSECOND;
  GST_BUFFER_DURATION (buffer) = 40 * GST_MSECOND;
  g_assert_cmpint (gst_harness_push (h, buffer), ==, GST_FLOW_OK);
}

static inline void
pull (GstHarness *h, guint i)
{
  g_autoptr (GstBuffer) buffer = gst_harness_pull (h);

  g_assert_nonnull (buffer);
  g_assert_cmpuint (GST_BUFFER_PTS (buffer), ==, i * 40 * GST_MSECOND);
}
