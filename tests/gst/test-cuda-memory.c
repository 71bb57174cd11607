/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames in CUDA memory, on a driver that is none and with emulated kernels:
 * what is shared, what is copied, and that the network sees the same as of
 * frames in the host's memory. */

#include <gst/app/gstappsink.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#include <math.h>

#include "driver.h"
#include "element-test.h"

/* The network's input, as it is. */
#define NET_SAME(channels, resize) \
  "[network]\nwidth=20\nheight=12\nchannels=" channels "\nresize=" resize \
  "\n[same]\ntype=avg-pool2d\nkernel=1\nstride=1\n[output]\nkind=raw\n" \
  "[pipeline]\nstages=1\n"
#define NET_ERROR \
  "[network]\nwidth=16\nheight=12\nchannels=1\n" \
  "[image]\ntype=conv2d\nfilters=1\nkernel=3\npadding=1\n" \
  "[output]\nkind=error\n[pipeline]\nstages=1\n"
#define SOURCE "videotestsrc num-buffers=4 pattern=smpte ! " \
  "video/x-raw,format=%s,width=64,height=48%s ! "
#define UPLOAD "cudaupload ! video/x-raw(memory:CUDAMemory) ! "
#define FRAMES 4
/* Of 255: the converter has few bits; see test-cuda-frame.c. */
#define MOST_LEVELS 15
#define MOST_MEAN 3

static void
count (FakeCudaCounts *counts)
{
  fake_cuda_get_counts (counts);
}

static GstElement *
launch (const gchar *format, const gchar *rest, const gchar *network)
{
  g_autofree gchar *path = element_test_write ("net.cfg", network);
  g_autofree gchar *source = g_strdup_printf (SOURCE, format,
      g_strrstr (format, "RGB") || g_strrstr (format, "BGR") ? "" :
      ",colorimetry=bt709");
  g_autofree gchar *text = g_strdup_printf ("%s %s", source, rest);
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch (text, &error);
  g_autoptr (GstElement) filter = NULL;

  g_assert_no_error (error);
  filter = gst_bin_get_by_name (GST_BIN (pipeline), "p");
  g_object_set (filter, "model", path, "learning-mode", 0, "devices", "cpu",
      NULL);
  return pipeline;
}

static void
finish (GstElement *pipeline)
{
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

static void
refuse_errors (GstElement *pipeline)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (pipeline);
  g_autoptr (GstMessage) message =
      gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  g_autoptr (GError) error = NULL;

  if (message)
    gst_message_parse_error (message, &error, NULL);
  g_assert_no_error (error);
}

/* Returns: (transfer full) (nullable): the next frame that comes out, or NULL
 * at the end */
static GstSample *
pull (GstElement *pipeline)
{
  g_autoptr (GstElement) sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  GstSample *sample = gst_app_sink_try_pull_sample (GST_APP_SINK (sink),
      WAIT);

  refuse_errors (pipeline);
  return sample;
}

/* What the network made of a frame. */
static GBytes *
get_tensor (GstSample *sample)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta
      (gst_sample_get_buffer (sample), "GstPartimeMeta");
  const GValue *tensors;
  GstBuffer *data;
  gpointer copy;
  gsize size;

  g_assert_nonnull (meta);
  tensors = gst_structure_get_value (gst_custom_meta_get_structure (meta),
      "tensors");
  data = gst_sample_get_buffer (gst_value_get_sample
      (gst_value_array_get_value (tensors, 0)));
  gst_buffer_extract_dup (data, 0, -1, &copy, &size);
  return g_bytes_new_take (copy, size);
}

static GBytes *
run_for_tensor (const gchar *format, const gchar *rest, const gchar *network)
{
  GstElement *pipeline = launch (format, rest, network);
  g_autoptr (GstSample) sample = NULL;
  GBytes *tensor;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  sample = pull (pipeline);
  g_assert_nonnull (sample);
  tensor = get_tensor (sample);
  finish (pipeline);
  return tensor;
}

static void
test_templates (void)
{
  static const gchar *const names[] = { "sink", "src" };
  g_autoptr (GstElement) filter =
      gst_element_factory_make ("partimefilter", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    GstPadTemplate *template = gst_element_get_pad_template (filter,
        names[i]);
    g_autoptr (GstCaps) caps = gst_pad_template_get_caps (template);
    g_autoptr (GstCaps) frames = gst_caps_from_string
        ("video/x-raw(memory:CUDAMemory),format=NV12,width=64,height=48,"
        "framerate=30/1");

    g_assert_true (gst_caps_is_subset (frames, caps));
  }
}

/* Frames that go in come out: nothing is copied but what the network sees,
 * and the GPU's context is the one that everybody uses. */
static void
test_passes (void)
{
  GstElement *pipeline = launch ("NV12", UPLOAD "partimefilter "
      "name=p ! appsink name=s sync=false", NET_FLOW);
  FakeCudaCounts before, after;
  guint n = 0;

  count (&before);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (;; n++) {
    g_autoptr (GstSample) sample = pull (pipeline);
    GstBuffer *buffer;

    if (!sample)
      break;
    buffer = gst_sample_get_buffer (sample);
    g_assert_cmpuint (gst_buffer_n_memory (buffer), ==, 1);
    g_assert_true (gst_is_cuda_memory (gst_buffer_peek_memory (buffer, 0)));
    g_assert_nonnull (gst_buffer_get_custom_meta (buffer, "GstPartimeMeta"));
    g_assert_null (gst_buffer_get_video_overlay_composition_meta (buffer));
  }
  g_assert_cmpuint (n, ==, FRAMES);
  count (&after);
  g_assert_cmpint (after.downloaded, ==, before.downloaded);
  g_assert_cmpint (after.peer_copies, ==, before.peer_copies);
  g_assert_cmpint (after.retained, >, before.retained);
  finish (pipeline);
  count (&after);
  g_assert_cmpint (after.retained, ==, before.retained);
}

/* The application's context is not the primary one. */
static void
test_other_context (void)
{
  GstElement *pipeline = launch ("NV12", UPLOAD "partimefilter name=p "
      "! appsink name=s sync=false", NET_FLOW);
  GstCudaContext *cuda = gst_cuda_context_new (0);
  g_autoptr (GstContext) context = gst_context_new_cuda_context (cuda);
  FakeCudaCounts before, after;
  g_autoptr (GstSample) sample = NULL;

  count (&before);
  gst_element_set_context (pipeline, context);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  sample = pull (pipeline);
  g_assert_nonnull (sample);
  count (&after);
  g_assert_cmpint (after.peer_copies, >=, before.peer_copies + 2);
  g_assert_cmpint (after.downloaded, ==, before.downloaded);
  g_clear_pointer (&sample, gst_sample_unref);
  finish (pipeline);
  gst_object_unref (cuda);
}

typedef struct
{
  const gchar *format, *network;
} Sight;

/* The same as of frames in the host's memory. */
static void
test_same_sight (gconstpointer data)
{
  const Sight *item = data;
  g_autoptr (GBytes) host = run_for_tensor (item->format, "partimefilter "
      "name=p ! appsink name=s sync=false", item->network);
  g_autoptr (GBytes) cuda = run_for_tensor (item->format, UPLOAD
      "partimefilter name=p ! appsink name=s sync=false", item->network);
  gsize size, same;
  const gfloat *a = g_bytes_get_data (host, &size);
  const gfloat *b = g_bytes_get_data (cuda, &same);
  gsize n = size / sizeof (gfloat);
  gdouble worst = 0, mean = 0, sum = 0;

  g_assert_cmpuint (size, ==, same);
  for (gsize i = 0; i < n; i++) {
    worst = MAX (worst, fabs (a[i] - b[i]) * 255);
    mean += fabs (a[i] - b[i]) * 255 / n;
    sum += a[i];
  }
  g_test_message ("worst %.3g, mean %.3g levels", worst, mean);
  g_assert_cmpfloat (sum, >, 0);
  g_assert_cmpfloat (worst, <=, MOST_LEVELS);
  g_assert_cmpfloat (mean, <=, MOST_MEAN);
}

static GstPadProbeReturn
offer_blending (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  GstQuery *query = GST_PAD_PROBE_INFO_QUERY (info);

  if (GST_QUERY_TYPE (query) != GST_QUERY_ALLOCATION)
    return GST_PAD_PROBE_OK;
  gst_query_add_allocation_meta (query,
      GST_VIDEO_OVERLAY_COMPOSITION_META_API_TYPE, NULL);
  return GST_PAD_PROBE_HANDLED;
}

/* Who can blend is given the drawing. */
static void
test_composition (void)
{
  GstElement *pipeline = launch ("NV12", UPLOAD "partimefilter name=p "
      "! identity name=i ! appsink name=s sync=false", NET_FLOW);
  g_autoptr (GstElement) next = gst_bin_get_by_name (GST_BIN (pipeline), "i");
  g_autoptr (GstPad) pad = gst_element_get_static_pad (next, "sink");
  g_autoptr (GstSample) sample = NULL;
  GstVideoOverlayCompositionMeta *meta;
  FakeCudaCounts before, after;

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM,
      offer_blending, NULL, NULL);
  count (&before);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  sample = pull (pipeline);
  meta = gst_buffer_get_video_overlay_composition_meta
      (gst_sample_get_buffer (sample));
  g_assert_nonnull (meta);
  g_assert_cmpuint (gst_video_overlay_composition_n_rectangles
      (meta->overlay), ==, 1);
  count (&after);
  g_assert_cmpint (after.downloaded, ==, before.downloaded);
  g_clear_pointer (&sample, gst_sample_unref);
  finish (pipeline);
}

/* [output] kind=error reads each frame twice, on two threads. */
static void
test_score (void)
{
  GstElement *pipeline = launch ("I420", UPLOAD "partimefilter name=p "
      "! appsink name=s sync=false", NET_ERROR);
  guint n = 0;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (;; n++) {
    g_autoptr (GstSample) sample = pull (pipeline);
    GstCustomMeta *meta;
    gdouble score;

    if (!sample)
      break;
    meta = gst_buffer_get_custom_meta (gst_sample_get_buffer (sample),
        "GstPartimeMeta");
    g_assert_true (gst_structure_get_double (gst_custom_meta_get_structure
            (meta), "score", &score));
  }
  g_assert_cmpuint (n, ==, FRAMES);
  finish (pipeline);
}

/* The network's picture is in the host's memory, wherever the frames are. */
static void
test_output_network (void)
{
  GstElement *pipeline = launch ("NV12", UPLOAD "partimefilter name=p "
      "output=network ! appsink name=s sync=false", NET_FLOW);
  g_autoptr (GstSample) sample = NULL;
  GstVideoInfo info;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  sample = pull (pipeline);
  g_assert_true (gst_video_info_from_caps (&info,
          gst_sample_get_caps (sample)));
  g_assert_cmpint (info.width, ==, 16);
  g_assert_false (gst_is_cuda_memory (gst_buffer_peek_memory
          (gst_sample_get_buffer (sample), 0)));
  g_clear_pointer (&sample, gst_sample_unref);
  finish (pipeline);
}

/* Of gstreamer1.0-plugins-bad, as it is installed. */
static void
test_no_cudaupload (void)
{
  g_test_skip ("there is no cudaupload");
}

static const Sight sights[] = {
  {"NV12", NET_SAME ("3", "stretch")}, {"NV12", NET_SAME ("1", "crop")},
  {"I420", NET_SAME ("3", "letterbox")}, {"Y444", NET_SAME ("3", "crop")},
  {"RGBA", NET_SAME ("3", "stretch")}, {"BGRA", NET_SAME ("1", "letterbox")},
  {"P010_10LE", NET_SAME ("3", "stretch")},
};

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_assert_true (gst_cuda_load_library ());
  g_test_add_func ("/cuda-memory/templates", test_templates);
  if (!gst_registry_check_feature_version (gst_registry_get (), "cudaupload",
          1, 0, 0)) {
    g_test_add_func ("/cuda-memory/frames", test_no_cudaupload);
    return element_test_run ();
  }
  g_test_add_func ("/cuda-memory/passes", test_passes);
  g_test_add_func ("/cuda-memory/other-context", test_other_context);
  for (guint i = 0; i < G_N_ELEMENTS (sights); i++) {
    g_autofree gchar *name = g_strdup_printf ("/cuda-memory/same-sight/%s/%u",
        sights[i].format, i);

    g_test_add_data_func (name, &sights[i], test_same_sight);
  }
  g_test_add_func ("/cuda-memory/composition", test_composition);
  g_test_add_func ("/cuda-memory/score", test_score);
  g_test_add_func ("/cuda-memory/output-network", test_output_network);
  return element_test_run ();
}
