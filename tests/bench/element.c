/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The same frames through the element, and through the library after
 * GstVideoConverter alone, as a worker.
 *
 * load FILE element|overlay|library    answers which
 * run N                        answers the seconds that N frames took */

#include "worker.h"

#include <gst/app/gstappsrc.h>
#include <gst/video/video.h>
#include <partime/partime.h>

#define ELEMENT_WIDTH 320
#define ELEMENT_HEIGHT 240
/* More than stay inside, so that no frame is in a core's first cache. */
#define ELEMENT_FRAMES 16

static GstVideoInfo element_info;
static GstBuffer *element_frames[ELEMENT_FRAMES];
static guint64 element_n_frames;

static GstElement *element_line;
static GstAppSrc *element_source;
static GAsyncQueue *element_out;

static PtPipeline *element_pipeline;
static GstVideoInfo element_net_info;
static GstBuffer *element_net_frame;
static GstVideoConverter *element_converter;

static gboolean
element_failed (GError **error, const gchar *what)
{
  if (error && !*error)
    g_set_error (error, PT_ERROR, PT_ERROR_FAILED, "%s failed", what);
  return FALSE;
}

static void
element_make_frames (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);

  gst_video_info_set_format (&element_info, GST_VIDEO_FORMAT_I420,
      ELEMENT_WIDTH, ELEMENT_HEIGHT);
  for (guint i = 0; i < ELEMENT_FRAMES; i++) {
    GstMapInfo map;

    element_frames[i] = gst_buffer_new_allocate (NULL,
        GST_VIDEO_INFO_SIZE (&element_info), NULL);
    if (!gst_buffer_map (element_frames[i], &map, GST_MAP_WRITE))
      continue;
    for (gsize j = 0; j < map.size; j++)
      map.data[j] = g_rand_int (rand);
    gst_buffer_unmap (element_frames[i], &map);
  }
}

static GstPadProbeReturn
element_probe (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  g_async_queue_push (element_out, GINT_TO_POINTER (1));
  return GST_PAD_PROBE_OK;
}

static gboolean
element_load (const gchar *file, gboolean overlay, GError **error)
{
  g_autofree gchar *text = g_strdup_printf ("appsrc name=source format=time "
      "block=true max-buffers=2 ! partimefilter model=\"%s\" devices=cpu:0 "
      "stages=1 learning-mode=off overlay=%s ! fakesink name=sink "
      "sync=false", file, overlay ? "true" : "false");
  g_autoptr (GstCaps) caps = gst_video_info_to_caps (&element_info);
  g_autoptr (GstElement) sink = NULL;
  g_autoptr (GstPad) pad = NULL;

  element_line = gst_parse_launch_full (text, NULL,
      GST_PARSE_FLAG_FATAL_ERRORS, error);
  if (!element_line)
    return FALSE;
  element_source = GST_APP_SRC (gst_bin_get_by_name (GST_BIN (element_line),
          "source"));
  gst_app_src_set_caps (element_source, caps);
  element_out = g_async_queue_new ();
  sink = gst_bin_get_by_name (GST_BIN (element_line), "sink");
  pad = gst_element_get_static_pad (sink, "sink");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, element_probe, NULL,
      NULL);
  if (gst_element_set_state (element_line, GST_STATE_PLAYING)
      == GST_STATE_CHANGE_FAILURE)
    return element_failed (error, "starting the pipeline");
  return TRUE;
}

static gboolean
element_load_library (const gchar *file, GError **error)
{
  g_autoptr (PtNetwork) network = pt_network_new_from_file (file, error);
  const PtShape *shape;

  if (!network
      || !pt_network_set (network, "pipeline", "devices", "cpu:0", error)
      || !pt_network_set (network, "pipeline", "stages", "1", error)
      || !pt_network_set (network, "learning", "mode", "off", error))
    return FALSE;
  shape = pt_network_get_input_shape (network);
  gst_video_info_set_format (&element_net_info, GST_VIDEO_FORMAT_RGB,
      shape->dims[3], shape->dims[2]);
  element_net_frame = gst_buffer_new_allocate (NULL,
      GST_VIDEO_INFO_SIZE (&element_net_info), NULL);
  /* as the element asks for */
  element_converter = gst_video_converter_new (&element_info,
      &element_net_info, gst_structure_new ("options",
          GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
          GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_LINEAR,
          GST_VIDEO_CONVERTER_OPT_DITHER_METHOD, GST_TYPE_VIDEO_DITHER_METHOD,
          GST_VIDEO_DITHER_NONE, NULL));
  element_pipeline = pt_pipeline_new (network, error);
  return element_pipeline && pt_pipeline_start (element_pipeline, error);
}

static GstBuffer *
element_next_frame (void)
{
  GstBuffer *frame = element_frames[element_n_frames % ELEMENT_FRAMES];

  frame = gst_buffer_copy (frame);
  GST_BUFFER_PTS (frame) = element_n_frames++ * 40 * GST_MSECOND;
  return frame;
}

/* As many are kept inside as will go. */
static gboolean
element_run (guint n, GError **error)
{
  guint got = 0;

  for (guint i = 0; i < n; i++) {
    if (gst_app_src_push_buffer (element_source, element_next_frame ())
        != GST_FLOW_OK)
      return element_failed (error, "pushing a frame");
    while (g_async_queue_try_pop (element_out))
      got++;
  }
  for (; got < n; got++)
    if (!g_async_queue_timeout_pop (element_out, 10 * G_USEC_PER_SEC))
      return element_failed (error, "waiting for the last frames");
  return TRUE;
}

static gboolean
element_convert (GError **error)
{
  g_autoptr (GstBuffer) buffer = element_next_frame ();
  GstVideoFrame in, out;

  if (!gst_video_frame_map (&in, &element_info, buffer, GST_MAP_READ))
    return element_failed (error, "mapping a frame");
  if (!gst_video_frame_map (&out, &element_net_info, element_net_frame,
          GST_MAP_WRITE)) {
    gst_video_frame_unmap (&in);
    return element_failed (error, "mapping the network's frame");
  }
  gst_video_converter_frame (element_converter, &in, &out);
  gst_video_frame_unmap (&out);
  gst_video_frame_unmap (&in);
  return TRUE;
}

static gboolean
element_pull (guint *got, GError **error)
{
  g_autoptr (PtResult) result = NULL;

  if (pt_pipeline_pull (element_pipeline, &result, error) != PT_FLOW_OK)
    return element_failed (error, "waiting for a result");
  (*got)++;
  return TRUE;
}

static gboolean
element_push_pixels (guint *got, GError **error)
{
  GstVideoFrame frame;
  PtFlow flow = PT_FLOW_FULL;

  if (!gst_video_frame_map (&frame, &element_net_info, element_net_frame,
          GST_MAP_READ))
    return element_failed (error, "mapping the network's frame");
  while (flow == PT_FLOW_FULL) {
    flow = pt_pipeline_push_pixels (element_pipeline,
        GST_VIDEO_FRAME_PLANE_DATA (&frame, 0),
        GST_VIDEO_FRAME_PLANE_STRIDE (&frame, 0), NULL, PT_PUSH_TRY, error);
    if (flow == PT_FLOW_FULL && !element_pull (got, error))
      break;
  }
  gst_video_frame_unmap (&frame);
  return flow == PT_FLOW_OK || element_failed (error, "pushing a frame");
}

static gboolean
element_run_library (guint n, GError **error)
{
  guint got = 0;

  for (guint i = 0; i < n; i++)
    if (!element_convert (error) || !element_push_pixels (&got, error))
      return FALSE;
  while (got < n)
    if (!element_pull (&got, error))
      return FALSE;
  return TRUE;
}

static gchar *
element_command (gchar **words, guint n_words, GError **error)
{
  if (g_str_equal (words[0], "load") && n_words == 3) {
    gboolean done = g_str_equal (words[2], "library") ?
        element_load_library (words[1], error) : element_load (words[1],
        g_str_equal (words[2], "overlay"), error);

    return done ? g_strdup (words[2]) : NULL;
  }
  if (g_str_equal (words[0], "run") && n_words == 2) {
    const guint n = worker_count (words[1]);
    const gdouble start = worker_seconds ();
    gboolean done = FALSE;

    if (element_line)
      done = element_run (n, error);
    else if (element_pipeline)
      done = element_run_library (n, error);
    return done ? g_strdup_printf ("%.9f", worker_seconds () - start) : NULL;
  }
  return NULL;
}

static void
element_clear (void)
{
  if (element_line)
    gst_element_set_state (element_line, GST_STATE_NULL);
  g_clear_object (&element_source);
  g_clear_object (&element_line);
  g_clear_pointer (&element_out, g_async_queue_unref);
  g_clear_pointer (&element_pipeline, pt_pipeline_unref);
  g_clear_pointer (&element_converter, gst_video_converter_free);
  gst_clear_buffer (&element_net_frame);
  for (guint i = 0; i < ELEMENT_FRAMES; i++)
    gst_clear_buffer (&element_frames[i]);
}

int
main (int argc, char **argv)
{
  int status;

  gst_init (&argc, &argv);
  element_make_frames ();
  status = worker_main (element_command);
  element_clear ();
  return status;
}
