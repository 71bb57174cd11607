/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames in CUDA memory, on a driver that is none and with emulated kernels:
 * what is shared, what is copied, and that the network sees the same as of
 * frames in the host's memory. */

#include <gst/app/gstappsink.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#include <gmodule.h>
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
#define ENOUGH 20               /* frames, for all that is under way to come */
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
set_devices (GstElement *pipeline, const gchar *devices, gboolean overlay)
{
  g_autoptr (GstElement) filter = gst_bin_get_by_name (GST_BIN (pipeline),
      "p");

  g_object_set (filter, "devices", devices, "overlay", overlay, "stages",
      "-1", NULL);
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
run_for_tensor (const gchar *format, const gchar *rest, const gchar *network,
    const gchar *devices)
{
  GstElement *pipeline = launch (format, rest, network);
  g_autoptr (GstSample) sample = NULL;
  GBytes *tensor;

  set_devices (pipeline, devices, FALSE);
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

/* The application's context is not the primary one: two planes go there, and
 * to be drawn on once more there and back. */
static void
test_other_context (gconstpointer devices)
{
  GstElement *pipeline = launch ("NV12", UPLOAD "partimefilter name=p "
      "! appsink name=s sync=false", NET_FLOW);
  GstCudaContext *cuda = gst_cuda_context_new (0);
  g_autoptr (GstContext) context = gst_context_new_cuda_context (cuda);
  FakeCudaCounts before, after;
  g_autoptr (GstSample) sample = NULL;

  set_devices (pipeline, devices, TRUE);
  count (&before);
  gst_element_set_context (pipeline, context);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  sample = pull (pipeline);
  g_assert_nonnull (sample);
  count (&after);
  g_assert_cmpint (after.peer_copies, >=, before.peer_copies + 6);
  g_assert_cmpint (after.downloaded, ==, before.downloaded);
  g_clear_pointer (&sample, gst_sample_unref);
  finish (pipeline);
  gst_object_unref (cuda);
}

typedef struct
{
  const gchar *format, *network;
} Sight;

/* The same as of frames in the host's memory; also where it is made in the
 * memory of the first stage. */
static void
test_same_sight (gconstpointer data)
{
  const Sight *item = data;
  g_autoptr (GBytes) host = run_for_tensor (item->format, "partimefilter "
      "name=p ! appsink name=s sync=false", item->network, "cpu");
  g_autoptr (GBytes) cuda = run_for_tensor (item->format, UPLOAD
      "partimefilter name=p ! appsink name=s sync=false", item->network,
      "cpu");
  g_autoptr (GBytes) direct = run_for_tensor (item->format, UPLOAD
      "partimefilter name=p ! appsink name=s sync=false", item->network,
      "cuda:0");
  gsize size, same;
  const gfloat *a = g_bytes_get_data (host, &size);
  const gfloat *b = g_bytes_get_data (cuda, &same);
  const gfloat *c = g_bytes_get_data (direct, &same);
  gsize n = size / sizeof (gfloat);
  gdouble worst = 0, mean = 0, sum = 0;

  g_assert_cmpuint (size, ==, same);
  /* one is rounded to bytes */
  for (gsize i = 0; i < n; i++)
    g_assert_cmpfloat (fabs (b[i] - c[i]) * 255, <=, 0.501);
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

/* Bytes that the emulated GPU was sent, or sent to the host. */
static guint64
count_bytes (gboolean down)
{
  static guint64 (*get_bytes) (gboolean) = NULL;
  g_autofree gchar *path = g_build_filename (g_getenv ("PARTIME_MODULE_DIR"),
      "libpartime-cuda.so", NULL);
  GModule *module;

  if (!get_bytes) {
    module = g_module_open (path, G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);
    g_assert_nonnull (module);
    g_assert_true (g_module_symbol (module, "pt_emulation_get_bytes",
            (gpointer *) &get_bytes));
  }
  return get_bytes (down);
}

/* The first stage is on the GPU where frames are: of a frame, nothing comes to
 * the host, and of what the network sees nothing goes there from it. */
static void
test_no_host (gconstpointer timing)
{
  g_autofree gchar *rest = g_strdup_printf (UPLOAD "partimefilter name=p "
      "timing=%s ! appsink name=s sync=false", (const gchar *) timing);
  GstElement *pipeline = launch ("NV12", rest, NET_FLOW);
  const guint64 output = 16 * 12 * 2 * sizeof (gfloat);
  guint64 up = count_bytes (FALSE), down = count_bytes (TRUE);
  FakeCudaCounts before, after;
  guint n = 0;

  set_devices (pipeline, "cuda:0", FALSE);
  count (&before);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (;; n++) {
    g_autoptr (GstSample) sample = pull (pipeline);

    if (!sample)
      break;
    g_assert_true (gst_is_cuda_memory (gst_buffer_peek_memory
            (gst_sample_get_buffer (sample), 0)));
    /* the first one brings the weights */
    if (n == 0 && g_str_equal (timing, "aligned"))
      up = count_bytes (FALSE);
  }
  g_assert_cmpuint (n, ==, FRAMES);
  count (&after);
  g_assert_cmpint (after.downloaded, ==, before.downloaded);
  g_assert_cmpint (after.peer_copies, ==, before.peer_copies);
  if (g_str_equal (timing, "aligned"))
    g_assert_cmpuint (count_bytes (FALSE), ==, up);
  g_assert_cmpuint (count_bytes (TRUE) - down, <=, FRAMES * (output + 64));
  finish (pipeline);
}

/* Luma and chroma of the last of the frames, from wherever they are. */
static GBytes *
run_for_pixels (const gchar *format, const gchar *rest, const gchar *network,
    gboolean overlay)
{
  GstElement *pipeline = launch (format, rest, network);
  g_autoptr (GstSample) last = NULL;
  GstVideoFrame frame;
  GstVideoInfo info;
  GByteArray *bytes = g_byte_array_new ();

  set_devices (pipeline, strstr (rest, UPLOAD) ? "cuda:0" : "cpu", overlay);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (guint n = 0; n < FRAMES; n++) {
    g_clear_pointer (&last, gst_sample_unref);
    last = pull (pipeline);
    g_assert_nonnull (last);
  }
  g_assert_true (gst_video_info_from_caps (&info,
          gst_sample_get_caps (last)));
  g_assert_true (gst_video_frame_map (&frame, &info,
          gst_sample_get_buffer (last), GST_MAP_READ));
  for (guint k = 0; k < GST_VIDEO_FRAME_N_COMPONENTS (&frame); k++)
    for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&frame, k); y++)
      for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (&frame, k); x++)
        g_byte_array_append (bytes, (guint8 *)
            GST_VIDEO_FRAME_COMP_DATA (&frame, k)
            + y * GST_VIDEO_FRAME_COMP_STRIDE (&frame, k)
            + x * GST_VIDEO_FRAME_COMP_PSTRIDE (&frame, k), 1);
  gst_video_frame_unmap (&frame);
  g_clear_pointer (&last, gst_sample_unref);
  finish (pipeline);
  return g_byte_array_free_to_bytes (bytes);
}

static gdouble
get_distance (GBytes *a, GBytes *b)
{
  gsize size, same;
  const guint8 *x = g_bytes_get_data (a, &size);
  const guint8 *y = g_bytes_get_data (b, &same);
  gdouble sum = 0;

  g_assert_cmpuint (size, ==, same);
  for (gsize i = 0; i < size; i++)
    sum += ABS (x[i] - y[i]);
  return sum / size;
}

/* What is drawn on a frame where it lies looks like what is on one of the
 * host; a frame that nothing is drawn on is as it was. */
static void
test_drawn (gconstpointer data)
{
  const Sight *item = data;
  const gchar *rest = "partimefilter name=p ! appsink name=s sync=false";
  g_autofree gchar *upload = g_strconcat (UPLOAD, rest, NULL);
  g_autoptr (GBytes) plain = run_for_pixels (item->format, rest,
      item->network, FALSE);
  g_autoptr (GBytes) host = run_for_pixels (item->format, rest,
      item->network, TRUE);
  g_autoptr (GBytes) cuda = run_for_pixels (item->format, upload,
      item->network, TRUE);
  g_autoptr (GBytes) untouched = run_for_pixels (item->format, upload,
      item->network, FALSE);
  gdouble drawn = get_distance (host, plain), apart = get_distance (cuda,
      host);

  g_test_message ("drawn %.3g levels, apart %.3g", drawn, apart);
  g_assert_cmpfloat (get_distance (untouched, plain), ==, 0);
  g_assert_cmpfloat (drawn, >, 1);
  g_assert_cmpfloat (apart, <, 0.3 * drawn);
}

/* What others see as well is copied before it is drawn on, on the GPU. */
static void
test_shared (void)
{
  const gchar *rest = UPLOAD "tee name=t ! queue ! appsink name=s sync=false "
      "t. ! queue ! partimefilter name=p ! fakesink sync=false";
  g_autoptr (GBytes) alone = run_for_pixels ("NV12", UPLOAD "partimefilter "
      "name=p ! appsink name=s sync=false", NET_IMAGE, FALSE);
  FakeCudaCounts before, after;
  g_autoptr (GBytes) beside = NULL;

  count (&before);
  beside = run_for_pixels ("NV12", rest, NET_IMAGE, TRUE);
  count (&after);
  g_assert_cmpfloat (get_distance (beside, alone), ==, 0);
  g_assert_cmpint (after.downloaded, <=, before.downloaded + 2);
}

/* Elements with one network get their frames by way of the host, as those do
 * whose stages are there. */
static void
test_instance (void)
{
  const gchar *network = NET_SAME ("3", "letterbox");
  g_autoptr (GBytes) alone = run_for_tensor ("NV12", UPLOAD "partimefilter "
      "name=p ! appsink name=s sync=false", network, "cpu");
  g_autoptr (GBytes) shared = run_for_tensor ("NV12", UPLOAD "tee name=t "
      "! queue ! partimefilter name=q model-instance-id=two overlay=false "
      "! fakesink sync=false t. ! queue ! partimefilter name=p "
      "model-instance-id=two ! appsink name=s sync=false", network, "cuda:0");
  gsize size, same;
  const gfloat *a = g_bytes_get_data (alone, &size);
  const gfloat *b = g_bytes_get_data (shared, &same);

  g_assert_cmpuint (size, ==, same);
  for (gsize i = 0; i < size / sizeof *a; i++)
    g_assert_cmpfloat (fabs (a[i] - b[i]), <=, 1e-6);
}

/* Frames without end that are all the same. */
static GstElement *
launch_still (const gchar *model)
{
  g_autoptr (GError) error = NULL;
  GstElement *pipeline = gst_parse_launch ("videotestsrc pattern=smpte75 "
      "! video/x-raw,format=NV12,width=64,height=48,colorimetry=bt709 "
      "! " UPLOAD "partimefilter name=p is-updatable=true learning-mode=off "
      "! appsink name=s sync=false max-buffers=1", &error);
  g_autoptr (GstElement) filter = NULL;

  g_assert_no_error (error);
  filter = gst_bin_get_by_name (GST_BIN (pipeline), "p");
  g_object_set (filter, "model", model, NULL);
  set_devices (pipeline, "cuda:0", TRUE);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  return pipeline;
}

/* The tensor of the frame after @n others. */
static GBytes *
skip (GstElement *pipeline, guint n)
{
  g_autoptr (GstSample) sample = NULL;

  for (guint i = 0; i <= n; i++) {
    g_clear_pointer (&sample, gst_sample_unref);
    sample = pull (pipeline);
    g_assert_nonnull (sample);
  }
  return get_tensor (sample);
}

/* Another model takes over, of other input and output: the frames of it, too,
 * stay on the GPU, and are drawn on there. */
static void
test_other_model (void)
{
  g_autofree gchar *first = element_test_write ("first.cfg", NET_HEAT);
  g_autofree gchar *second = element_test_write ("second.cfg", NET_FLOW);
  GstElement *pipeline = launch_still (second);
  g_autoptr (GBytes) expected = skip (pipeline, ENOUGH);
  g_autoptr (GBytes) now = NULL;
  g_autoptr (GstElement) filter = NULL;
  guint64 up;

  finish (pipeline);
  pipeline = launch_still (first);
  now = skip (pipeline, ENOUGH);
  g_assert_cmpuint (g_bytes_get_size (now), !=, g_bytes_get_size (expected));
  filter = gst_bin_get_by_name (GST_BIN (pipeline), "p");
  g_object_set (filter, "model", second, NULL);
  while (g_bytes_get_size (now) != g_bytes_get_size (expected)) {
    g_clear_pointer (&now, g_bytes_unref);
    now = skip (pipeline, 0);
  }
  g_clear_pointer (&now, g_bytes_unref);
  now = skip (pipeline, ENOUGH);
  g_assert_true (g_bytes_equal (now, expected));
  g_object_set (filter, "overlay", FALSE, NULL);
  g_clear_pointer (&now, g_bytes_unref);
  now = skip (pipeline, ENOUGH);
  up = count_bytes (FALSE);
  g_clear_pointer (&now, g_bytes_unref);
  now = skip (pipeline, ENOUGH);
  g_assert_cmpuint (count_bytes (FALSE), ==, up);
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

static const Sight drawings[] = {
  {"NV12", NET_FLOW}, {"RGBA", NET_FLOW}, {"I420", NET_IMAGE},
  {"BGRA", NET_IMAGE}, {"NV12", NET_HEAT}, {"I420", NET_ERROR},
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
  g_test_add_data_func ("/cuda-memory/other-context/cpu", "cpu",
      test_other_context);
  g_test_add_data_func ("/cuda-memory/other-context/cuda", "cuda:0",
      test_other_context);
  for (guint i = 0; i < G_N_ELEMENTS (sights); i++) {
    g_autofree gchar *name = g_strdup_printf ("/cuda-memory/same-sight/%s/%u",
        sights[i].format, i);

    g_test_add_data_func (name, &sights[i], test_same_sight);
  }
  g_test_add_data_func ("/cuda-memory/no-host/aligned", "aligned",
      test_no_host);
  g_test_add_data_func ("/cuda-memory/no-host/latest", "latest",
      test_no_host);
  for (guint i = 0; i < G_N_ELEMENTS (drawings); i++) {
    g_autofree gchar *name = g_strdup_printf ("/cuda-memory/drawn/%s/%u",
        drawings[i].format, i);

    g_test_add_data_func (name, &drawings[i], test_drawn);
  }
  g_test_add_func ("/cuda-memory/shared", test_shared);
  g_test_add_func ("/cuda-memory/instance", test_instance);
  g_test_add_func ("/cuda-memory/other-model", test_other_model);
  g_test_add_func ("/cuda-memory/score", test_score);
  g_test_add_func ("/cuda-memory/output-network", test_output_network);
  return element_test_run ();
}
