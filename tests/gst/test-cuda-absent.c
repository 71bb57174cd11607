/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where CUDA memory cannot be used, for want of a driver or a module, nobody
 * is offered any, and all else is as ever. */

#include "element-test.h"

#define CUDA "video/x-raw(memory:CUDAMemory),format=NV12,width=64,height=48," \
  "framerate=30/1"

static void
test_not_offered (void)
{
  static const gchar *const names[] = { "sink", "src" };
  g_autoptr (GstElement) filter =
      gst_element_factory_make ("partimefilter", NULL);
  g_autoptr (GstCaps) cuda = gst_caps_from_string (CUDA);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GstPad) pad = gst_element_get_static_pad (filter, names[i]);
    g_autoptr (GstCaps) caps = gst_pad_query_caps (pad, NULL);

    g_assert_false (gst_caps_can_intersect (caps, cuda));
    g_assert_false (gst_pad_query_accept_caps (pad, cuda));
  }
}

static void
test_refused (void)
{
  GstElement *pipeline = element_test_launch ("fakesrc num-buffers=1 ! "
      "capsfilter name=c ! partimefilter model=%s ! fakesink", NET_FLOW);
  g_autoptr (GstElement) filter = gst_bin_get_by_name (GST_BIN (pipeline),
      "c");
  g_autoptr (GstCaps) cuda = gst_caps_from_string (CUDA);
  g_autoptr (GstMessage) message = NULL;

  g_object_set (filter, "caps", cuda, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = element_test_wait (pipeline, GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  g_assert_cmpint (GST_MESSAGE_TYPE (message), ==, GST_MESSAGE_ERROR);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

static void
test_as_ever (void)
{
  GstElement *pipeline = element_test_launch ("videotestsrc num-buffers=3 ! "
      "video/x-raw,format=I420,width=64,height=48 ! partimefilter model=%s "
      "cuda-device-id=0 devices=cpu ! fakesink", NET_FLOW);

  element_test_play (pipeline);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/cuda-absent/not-offered", test_not_offered);
  g_test_add_func ("/cuda-absent/refused", test_refused);
  g_test_add_func ("/cuda-absent/as-ever", test_as_ever);
  return element_test_run ();
}
