/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* The element left running: hundreds of thousands of frames, learned from
 * with labels that are sometimes missing, sizes that change, checkpoints, and
 * a second thread that pauses, saves, loads, resets and turns every knob.
 * Every frame comes out once, in order, with its own time; memory stays where
 * it was.
 *
 * SOAK_FRAMES in the environment: how many, instead of 200000 */

#include "element-test.h"

#include <gst/app/gstappsrc.h>
#include <malloc.h>
#include <unistd.h>

#define FRAMES 200000
#define WARM_UP 4               /* part of the frames before memory is looked
                                 * at: one in this many */
#define GROWTH (1 << 20)
#define DURATION (40 * GST_MSECOND)

#define NET_SOAK \
  "[network]\nwidth=16\nheight=12\nchannels=1\nframes=2\n" \
  "[a]\ntype=conv2d\nfilters=4\nkernel=3\nstride=2\nactivation=relu\n" \
  "[b]\ntype=conv2d\nfilters=6\nkernel=3\nactivation=relu\n" \
  "[pool]\ntype=global-avg-pool\n[flat]\ntype=flatten\n" \
  "[classes]\ntype=linear\nunits=3\n" \
  "[learning]\nmode=partime\nloss=cross-entropy\noptimizer=adam lr=1e-3\n" \
  "replay=16\nreplay-interval=4\nclip-norm=1\n" \
  "schedule=cosine T_max=5000 restarts=true\n" \
  "[output]\nkind=classes\n[pipeline]\ndevices=cpu:0\nstages=2\n"

typedef struct
{
  GstElement *pipeline, *filter;
  GstAppSrc *frames, *labels;
  gchar *checkpoint;
  guint n;
  gint n_out;                   /* atomic */
  guint n_wrong;
  gint done;                    /* atomic */
  guint actions[8];
} Soak;

static gsize
soak_get_memory (void)
{
  g_autofree gchar *text = NULL;
  gchar *resident;

  malloc_trim (0);
  g_assert_true (g_file_get_contents ("/proc/self/statm", &text, NULL, NULL));
  resident = strchr (text, ' ');
  return g_ascii_strtoull (resident, NULL, 10) * sysconf (_SC_PAGESIZE);
}

static GstPadProbeReturn
soak_note_frame (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Soak *self = data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  guint64 expected = (guint64) self->n_out * DURATION;

  if (GST_BUFFER_PTS (buffer) != expected
      || GST_BUFFER_DURATION (buffer) != DURATION
      || !gst_buffer_get_custom_meta (buffer, "GstPartimeMeta"))
    self->n_wrong++;
  g_atomic_int_inc (&self->n_out);
  return GST_PAD_PROBE_OK;
}

static void
soak_pause (Soak *self, GRand *rand)
{
  gst_element_set_state (self->pipeline, GST_STATE_PAUSED);
  g_usleep (g_rand_int_range (rand, 0, 5000));
  gst_element_set_state (self->pipeline, GST_STATE_PLAYING);
}

static void
soak_act (Soak *self, GRand *rand)
{
  guint what = g_rand_int_range (rand, 0, G_N_ELEMENTS (self->actions));
  g_autoptr (GstStructure) stats = NULL;
  gboolean done;

  self->actions[what]++;
  switch (what) {
    case 0:
      soak_pause (self, rand);
      break;
    case 1:
      g_object_set (self->filter, "learning-rate",
          g_rand_double_range (rand, 0, 1e-2), NULL);
      break;
    case 2:
      g_object_set (self->filter, "learn", g_rand_boolean (rand),
          "learn-interval", g_rand_int_range (rand, 0, 4), NULL);
      break;
    case 3:
      g_signal_emit_by_name (self->filter, "save-checkpoint",
          self->checkpoint, &done);
      break;
    case 4:
      if (g_file_test (self->checkpoint, G_FILE_TEST_EXISTS))
        g_signal_emit_by_name (self->filter, "load-checkpoint",
            self->checkpoint, &done);
      break;
    case 5:
      if (g_rand_int_range (rand, 0, 8) == 0)
        g_signal_emit_by_name (self->filter, "reset", &done);
      break;
    case 6:
      g_object_get (self->filter, "stats", &stats, NULL);
      break;
    default:
      g_object_set (self->filter, "learn-policy", g_rand_int_range (rand, 0,
              2), "top-k", g_rand_int_range (rand, 1, 3), NULL);
      break;
  }
}

static gpointer
soak_disturb (gpointer data)
{
  Soak *self = data;
  g_autoptr (GRand) rand = g_rand_new_with_seed (5);

  while (!g_atomic_int_get (&self->done)) {
    g_usleep (g_rand_int_range (rand, 500, 20000));
    soak_act (self, rand);
  }
  return NULL;
}

static GstBuffer *
soak_new_buffer (gsize size, guint8 value, guint64 f)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, size, NULL);

  gst_buffer_memset (buffer, 0, value, size);
  GST_BUFFER_PTS (buffer) = f * DURATION;
  GST_BUFFER_DURATION (buffer) = DURATION;
  return buffer;
}

static void
soak_set_size (GstAppSrc *source, gint width, gint height)
{
  g_autoptr (GstCaps) caps = gst_caps_new_simple ("video/x-raw",
      "format", G_TYPE_STRING, "GRAY8", "width", G_TYPE_INT, width,
      "height", G_TYPE_INT, height, "framerate", GST_TYPE_FRACTION, 25, 1,
      NULL);

  gst_app_src_set_caps (source, caps);
}

/* Brightness is the class. One label in seven is missing, and one stretch in
 * forty has none. */
static void
soak_push (Soak *self, guint64 f)
{
  guint side = f / 3000 % 2 ? 24 : 16;
  guint8 class = f / 5 % 3;

  if (f % 3000 == 0)
    soak_set_size (self->frames, side, side);
  if (f % 7 != 3 && f / 250 % 40 != 7)
    gst_app_src_push_buffer (self->labels, soak_new_buffer (4, class, f));
  g_assert_cmpint (gst_app_src_push_buffer (self->frames,
          soak_new_buffer (side * side, 40 + 80 * class, f)), ==, GST_FLOW_OK);
}

static void
soak_open (Soak *self)
{
  g_autofree gchar *stats = element_test_path ("soak.jsonl");
  g_autofree gchar *saved = element_test_path ("soak.safetensors");
  g_autofree gchar *text = g_strdup_printf (
      "appsrc name=frames format=time block=true max-buffers=4 ! "
      "partimefilter name=filter model=%%s checkpoint-location=%s "
      "checkpoint-interval=5000000000 checkpoint-keep=3 stats-location=%s "
      "stats-interval=200000000 label-wait=1000000 ! "
      "fakesink name=sink sync=false "
      "appsrc name=labels format=time block=true max-buffers=4 ! filter.label",
      saved, stats);
  g_autoptr (GstElement) sink = NULL;
  g_autoptr (GstPad) pad = NULL;

  self->pipeline = element_test_launch (text, NET_SOAK);
  self->checkpoint = element_test_path ("by-hand.safetensors");
  self->filter = gst_bin_get_by_name (GST_BIN (self->pipeline), "filter");
  self->frames = GST_APP_SRC (gst_bin_get_by_name (GST_BIN (self->pipeline),
          "frames"));
  self->labels = GST_APP_SRC (gst_bin_get_by_name (GST_BIN (self->pipeline),
          "labels"));
  sink = gst_bin_get_by_name (GST_BIN (self->pipeline), "sink");
  pad = gst_element_get_static_pad (sink, "sink");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, soak_note_frame, self,
      NULL);
  soak_set_size (self->labels, 1, 1);
}

/* Messages pile up on the bus unless somebody takes them. */
static void
soak_take_messages (Soak *self)
{
  g_autoptr (GstBus) bus = gst_element_get_bus (self->pipeline);
  GstMessage *message;

  while ((message = gst_bus_pop (bus))) {
    g_autoptr (GError) error = NULL;

    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
      gst_message_parse_error (message, &error, NULL);
    gst_message_unref (message);
    g_assert_no_error (error);
  }
}

static void
test_soak (void)
{
  const gchar *asked = g_getenv ("SOAK_FRAMES");
  Soak self = { .n = asked ? g_ascii_strtoull (asked, NULL, 10) : FRAMES };
  gsize before = 0, after;
  gint64 start = g_get_monotonic_time ();
  g_autoptr (GstStructure) stats = NULL;
  guint64 learned = 0, labels = 0;
  GThread *thread;

  soak_open (&self);
  gst_element_set_state (self.pipeline, GST_STATE_PLAYING);
  thread = g_thread_new ("disturb", soak_disturb, &self);
  for (guint64 f = 0; f < self.n; f++) {
    soak_push (&self, f);
    if (f % 100 == 0)
      soak_take_messages (&self);
    if (f == self.n / WARM_UP)
      before = soak_get_memory ();
  }
  after = soak_get_memory ();
  g_atomic_int_set (&self.done, TRUE);
  g_thread_join (thread);
  gst_element_set_state (self.pipeline, GST_STATE_PLAYING);
  gst_app_src_end_of_stream (self.frames);
  gst_app_src_end_of_stream (self.labels);
  gst_message_unref (element_test_wait (self.pipeline, GST_MESSAGE_EOS));
  g_object_get (self.filter, "stats", &stats, NULL);
  gst_structure_get (stats, "learned", G_TYPE_UINT64, &learned,
      "labels", G_TYPE_UINT64, &labels, NULL);
  g_test_message ("%u frames in %.0f s, %" G_GUINT64_FORMAT " labels, %"
      G_GUINT64_FORMAT " learned; %u pauses, %u saves, %u loads; resident "
      "%.1f MB, then %.1f MB", self.n, (g_get_monotonic_time () - start) / 1e6,
      labels, learned, self.actions[0], self.actions[3], self.actions[4],
      before / 1e6, after / 1e6);
  g_assert_cmpuint (self.n_out, ==, self.n);
  g_assert_cmpuint (self.n_wrong, ==, 0);
  g_assert_cmpuint (labels, >, self.n / 2);
  g_assert_cmpuint (learned, >, self.n / 50);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
  g_assert_cmpuint (after, <, before + GROWTH);
#endif
  gst_element_set_state (self.pipeline, GST_STATE_NULL);
  gst_object_unref (self.frames);
  gst_object_unref (self.labels);
  gst_object_unref (self.filter);
  gst_object_unref (self.pipeline);
  g_free (self.checkpoint);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/soak", test_soak);
  return element_test_run ();
}
