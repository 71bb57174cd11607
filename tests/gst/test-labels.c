/* SPDX-FileCopyrightText: partimefilter contributors
 * SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which label reaches which frame, by the pad: time, order, waiting, ends. */

#include "label-test.h"

/* A thread that brings labels, as a streaming thread does. */
typedef struct
{
  GstHarness *h;
  guint first, n, step;
  gint64 offset;                /* ns */
  gboolean gaps, eos;
  gulong pause;                 /* us before each */
  gint pushed;                  /* atomic */
  gint flow;                    /* atomic: of the last push */
} Bringer;

static void
labels_bring_one (Bringer *self, guint number)
{
  GstClockTime pts = number * FRAME_TIME + self->offset;
  GstFlowReturn flow;

  GstBuffer *label = label_test_new_class (label_test_class (number), pts);

  if (number % self->step && self->gaps && number % 2)
    gst_harness_push_event (self->h, gst_event_new_gap (pts, FRAME_TIME));
  if (number % self->step && (!self->gaps || number % 2)) {
    gst_buffer_unref (label);
    return;
  }
  if (number % self->step)
    GST_BUFFER_FLAG_SET (label, GST_BUFFER_FLAG_GAP);
  flow = gst_harness_push (self->h, label);
  g_atomic_int_set (&self->flow, flow);
  g_atomic_int_inc (&self->pushed);
}

static gpointer
labels_bring (gpointer data)
{
  Bringer *self = data;

  label_test_set_caps (self->h, "GRAY8", 1, 1);
  for (guint i = self->first; i < self->first + self->n; i++) {
    if (self->pause)
      g_usleep (g_random_int_range (0, 2 * self->pause));
    labels_bring_one (self, i);
    if (g_atomic_int_get (&self->flow) != GST_FLOW_OK)
      break;
  }
  if (self->eos)
    gst_harness_push_event (self->h, gst_event_new_eos ());
  return NULL;
}

/* Labels at another pace than frames: each frame learns from its own. */
static void
test_threads (void)
{
  static const gulong paces[][2] = { {0, 0}, {2000, 0}, {0, 2000} };

  for (guint p = 0; p < G_N_ELEMENTS (paces); p++) {
    Rig rig = label_test_new (NET_CLASS, "", TRUE);
    Bringer bringer = {.h = rig.labels,.n = 100,.step = 1,.pause = paces[p][0]
    };
    GThread *thread = g_thread_new ("labels", labels_bring, &bringer);

    for (guint i = 0; i < 100; i++) {
      if (paces[p][1])
        g_usleep (g_random_int_range (0, 2 * paces[p][1]));
      label_test_push (&rig, i);
      label_test_check_class (&rig, i, label_test_class (i));
    }
    g_thread_join (thread);
    label_test_check_stats (rig.frames->element, 100, 0, 0, 0);
    label_test_free (&rig);
  }
}

/* Labels for every fifth frame: GAP events and buffers flagged as gaps say that
 * others have none, or the next label does, or the end. */
static void
test_sparse (void)
{
  for (guint gaps = 0; gaps < 2; gaps++) {
    Rig rig = label_test_new (NET_CLASS, "", TRUE);
    Bringer bringer = {.h = rig.labels,.n = 50,.step = 5,.gaps = gaps,
      .eos = !gaps,.pause = 500
    };
    GThread *thread = g_thread_new ("labels", labels_bring, &bringer);

    for (guint i = 0; i < 50; i++) {
      label_test_push (&rig, i);
      label_test_check_class (&rig, i, i % 5 ? -1 : (gint)
          label_test_class (i));
    }
    g_thread_join (thread);
    label_test_check_stats (rig.frames->element, 10, 40, 0, 0);
    label_test_free (&rig);
  }
}

typedef struct
{
  gint64 ms;
  guint class;
} Timed;

/* One thread brings all labels, then all frames. Expects of each frame the
 * class given, below 0 none. */
static void
labels_check_order (const gchar *properties, const Timed *labels,
    guint n_labels, const gint *expected, guint n_frames, guint late)
{
  Rig rig = label_test_new (NET_CLASS, properties, TRUE);
  guint found = 0;

  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  for (guint i = 0; i < n_labels; i++)
    g_assert_cmpint (gst_harness_push (rig.labels,
            label_test_new_class (labels[i].class, labels[i].ms
                * GST_MSECOND)), ==, GST_FLOW_OK);
  for (guint i = 0; i < n_frames; i++) {
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, expected[i]);
    found += expected[i] >= 0;
  }
  label_test_check_stats (rig.frames->element, found, n_frames - found, late,
      0);
  label_test_free (&rig);
}

/* Frames every 40 ms. */
static void
test_tolerance (void)
{
  const Timed off[] = { {15, 1}, {65, 2}, {140, 4} };
  const Timed pair[] = { {33, 1}, {42, 2}, {76, 3}, {81, 4}, {83, 0} };
  const Timed far[] = { {5, 1}, {28, 2}, {90, 3}, {111, 4} };
  const Timed wide[] = { {80, 1} };
  const Timed unordered[] = { {120, 1}, {40, 2}, {80, 3}, {0, 4} };

  /* half a frame's duration, either side; the middle is the earlier one's */
  labels_check_order ("", off, 3, (const gint[]) {
      1, -1, 2, 4, -1}, 5, 0);
  /* the nearest counts */
  labels_check_order ("", pair, 5, (const gint[]) {
      -1, 2, 4, -1}, 4, 3);
  labels_check_order ("label-tolerance=10000000", far, 4, (const gint[]) {
      1, -1, 3, 4, -1}, 5, 1);
  labels_check_order ("label-tolerance=0", far, 4, (const gint[]) {
      -1, -1, -1, -1}, 4, 4);
  /* however wide, it is the nearest frame's alone */
  labels_check_order ("label-tolerance=1000000000", wide, 1, (const gint[]) {
      -1, -1, 1, -1, -1}, 5, 0);
  labels_check_order ("", unordered, 4, (const gint[]) {
      4, 2, 3, 1}, 4, 0);
}

/* One thread brings each label after its frame: too late, and it does not
 * wait for itself. */
static void
test_late (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);

  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  for (guint i = 0; i < 10; i++) {
    label_test_push (&rig, i);
    gst_harness_push (rig.labels, label_test_new_class (1, i * FRAME_TIME));
    label_test_check_class (&rig, i, -1);
  }
  label_test_check_stats (rig.frames->element, 0, 10, 10, 0);
  label_test_free (&rig);
}

/* One thread may bring any number of labels before the first frame. */
static void
test_one_thread (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);

  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  for (guint i = 0; i < 1500; i++)
    gst_harness_push (rig.labels, label_test_new_class (label_test_class (i),
            i * FRAME_TIME));
  for (guint i = 0; i < 1500; i++) {
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, label_test_class (i));
  }
  label_test_check_stats (rig.frames->element, 1500, 0, 0, 0);
  label_test_free (&rig);
}

/* Another thread has to wait once it is far ahead. */
static void
test_bounded (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);
  Bringer bringer = {.h = rig.labels,.n = 1500,.step = 1,.eos = TRUE };
  GThread *thread = g_thread_new ("labels", labels_bring, &bringer);

  while (g_atomic_int_get (&bringer.pushed) < 1024)
    g_usleep (1000);
  g_usleep (20000);
  g_assert_cmpint (g_atomic_int_get (&bringer.pushed), ==, 1024);
  for (guint i = 0; i < 1500; i++) {
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, label_test_class (i));
  }
  g_thread_join (thread);
  label_test_check_stats (rig.frames->element, 1500, 0, 0, 0);
  label_test_free (&rig);
}

/* After the last label frames go on without; after the last frame labels go
 * nowhere, in any number. */
static void
test_eos (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);
  Bringer bringer = {.h = rig.labels,.n = 5,.step = 1,.eos = TRUE };
  GThread *thread = g_thread_new ("labels", labels_bring, &bringer);

  for (guint i = 0; i < 10; i++) {
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, i < 5 ? (gint) label_test_class (i)
        : -1);
  }
  g_thread_join (thread);
  label_test_check_stats (rig.frames->element, 5, 5, 0, 0);
  label_test_free (&rig);

  rig = label_test_new (NET_CLASS, "", TRUE);
  bringer = (Bringer) {.h = rig.labels,.n = 3000,.step = 1 };
  thread = g_thread_new ("labels", labels_bring, &bringer);
  label_test_push (&rig, 0);
  label_test_check_class (&rig, 0, label_test_class (0));
  gst_harness_push_event (rig.frames, gst_event_new_eos ());
  g_thread_join (thread);
  g_assert_cmpint (bringer.pushed, ==, 3000);
  g_assert_cmpint (bringer.flow, ==, GST_FLOW_OK);
  label_test_free (&rig);
}

typedef struct
{
  Rig *rig;
  guint number;
  gint flow;
} Pusher;

static gpointer
labels_push_frame (gpointer data)
{
  Pusher *self = data;

  self->flow = gst_harness_push (self->rig->frames,
      label_test_new_frame (self->number));
  return NULL;
}

/* The end of a flush. */
static void
labels_go_on (GstHarness *h)
{
  GstSegment segment;

  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

static void
labels_restart (GstHarness *h)
{
  gst_harness_push_event (h, gst_event_new_flush_start ());
  labels_go_on (h);
}

/* A frame that waits for its label is let go by a flush. */
static void
test_flush_frames (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);

  for (guint round = 0; round < 5; round++) {
    Pusher pusher = {.rig = &rig };
    GThread *thread = g_thread_new ("frames", labels_push_frame, &pusher);

    g_usleep (5000);
    labels_restart (rig.frames);
    g_thread_join (thread);
    g_assert_true (pusher.flow == GST_FLOW_FLUSHING
        || pusher.flow == GST_FLOW_OK);
  }
  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  for (guint i = 0; i < 3; i++) {
    gst_harness_push (rig.labels, label_test_new_class (i, i * FRAME_TIME));
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, i);
  }
  label_test_free (&rig);
}

/* A flush of labels forgets those that wait, and lets a thread go that waits
 * for room. */
static void
test_flush_labels (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);
  Bringer bringer = {.h = rig.labels,.n = 1500,.step = 1 };
  GThread *thread = g_thread_new ("labels", labels_bring, &bringer);

  while (g_atomic_int_get (&bringer.pushed) < 1024)
    g_usleep (1000);
  labels_restart (rig.labels);
  g_thread_join (thread);
  g_assert_cmpint (bringer.flow, ==, GST_FLOW_FLUSHING);
  gst_harness_push (rig.labels, label_test_new_class (2, 0));
  label_test_push (&rig, 0);
  label_test_check_class (&rig, 0, 2);
  label_test_push (&rig, 1);
  label_test_check_class (&rig, 1, -1);
  label_test_check_stats (rig.frames->element, 1, 1, 0, 0);
  label_test_free (&rig);
}

/* The pad goes while a frame waits for it, or while its thread waits. */
static void
test_release (void)
{
  for (guint round = 0; round < 4; round++) {
    Rig rig = label_test_new (NET_CLASS, "", TRUE);
    g_autoptr (GstPad) pad = gst_element_get_static_pad (rig.frames->element,
        "label");
    Pusher pusher = {.rig = &rig };
    Bringer bringer = {.h = rig.labels,.n = 1500,.step = 1 };
    GThread *thread = round % 2 ? g_thread_new ("labels", labels_bring,
        &bringer) : g_thread_new ("frames", labels_push_frame, &pusher);

    while (round % 2 && g_atomic_int_get (&bringer.pushed) < 1024)
      g_usleep (1000);
    g_usleep (5000);
    if (round / 2)
      gst_pad_unlink (rig.labels->srcpad, pad);
    gst_element_release_request_pad (rig.frames->element, pad);
    g_thread_join (thread);
    if (round % 2)
      label_test_push (&rig, 0);
    label_test_check_class (&rig, 0, -1);
    gst_harness_teardown (rig.labels);
    /* another one may come, and serves */
    rig.labels = gst_harness_new_with_element (rig.frames->element, "label",
        NULL);
    label_test_set_caps (rig.labels, "GRAY8", 1, 1);
    gst_harness_push (rig.labels, label_test_new_class (4, FRAME_TIME));
    label_test_push (&rig, 1);
    label_test_check_class (&rig, 1, 4);
    label_test_free (&rig);
  }
}

/* label-wait=0: as there is no label yet, the frame goes on without one. */
static void
test_wait (void)
{
  static const struct
  {
    const gchar *properties;
    gint64 least, most;         /* us */
  } cases[] = {
    {"label-wait=0", 0, G_USEC_PER_SEC},
    {"label-wait=50000000", 45000, G_USEC_PER_SEC},
    {"timing=latest", 0, G_USEC_PER_SEC},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    Rig rig = label_test_new (NET_CLASS, cases[i].properties, TRUE);
    gint64 start = g_get_monotonic_time (), took;

    label_test_push (&rig, 0);
    took = g_get_monotonic_time () - start;
    g_assert_cmpint (took, >=, cases[i].least);
    g_assert_cmpint (took, <, cases[i].most);
    label_test_check_stats (rig.frames->element, 0, 1, 0, 0);
    label_test_set_caps (rig.labels, "GRAY8", 1, 1);
    gst_harness_push (rig.labels, label_test_new_class (1, 0));
    label_test_check_stats (rig.frames->element, 0, 1, 1, 0);
    label_test_free (&rig);
  }
}

/* A live stream does not wait, unless told; what it may wait is latency. */
static void
test_live (void)
{
  Rig rig = label_test_new (NET_CLASS, "latency-report=false", TRUE);

  gst_harness_set_upstream_latency (rig.frames, 0);
  gst_harness_set_live (rig.frames, TRUE);
  gst_harness_query_latency (rig.frames);
  label_test_push (&rig, 0);
  label_test_check_class (&rig, 0, -1);
  g_assert_cmpuint (gst_harness_query_latency (rig.frames), ==, 0);
  g_object_set (rig.frames->element, "label-wait", 30 * GST_MSECOND, NULL);
  g_assert_cmpuint (gst_harness_query_latency (rig.frames), ==,
      30 * GST_MSECOND);
  label_test_free (&rig);
}

/* Labels may change their size on the way; those that wait stay. */
static void
test_caps_change (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);

  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  gst_harness_push (rig.labels, label_test_new_class (3, 0));
  gst_harness_set_src_caps_str (rig.labels, "text/x-raw,format=utf8");
  gst_harness_push (rig.labels, label_test_new_text ("2", FRAME_TIME));
  label_test_set_caps (rig.labels, "GRAY8", 1, 1);
  gst_harness_push (rig.labels, label_test_new_class (1, 2 * FRAME_TIME));
  for (guint i = 0; i < 3; i++) {
    label_test_push (&rig, i);
    label_test_check_class (&rig, i, 3 - i);
  }
  label_test_free (&rig);
}

/* After the end other streams may come, with times from nothing again. */
static void
test_again (void)
{
  Rig rig = label_test_new (NET_CLASS, "", TRUE);
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  for (guint round = 0; round < 3; round++) {
    label_test_set_caps (rig.labels, "GRAY8", 1, 1);
    for (guint i = 0; i < 5; i++) {
      gst_harness_push (rig.labels, label_test_new_class (label_test_class (i
                  + round), i * FRAME_TIME));
      label_test_push (&rig, i);
      label_test_check_class (&rig, i, label_test_class (i + round));
    }
    gst_harness_push_event (rig.labels, gst_event_new_eos ());
    gst_harness_push_event (rig.frames, gst_event_new_eos ());
    gst_harness_push_event (rig.labels, gst_event_new_stream_start ("again"));
    gst_harness_push_event (rig.labels, gst_event_new_segment (&segment));
    gst_harness_push_event (rig.frames, gst_event_new_stream_start ("again"));
    gst_harness_push_event (rig.frames, gst_event_new_segment (&segment));
  }
  label_test_check_stats (rig.frames->element, 15, 0, 0, 0);
  label_test_free (&rig);
}

typedef struct
{
  Rig *rig;
  GMutex lock;                  /* held while a frame is on its way */
  gint stop;                    /* atomic */
  guint n;
} Feeder;

static gpointer
labels_feed (gpointer data)
{
  Feeder *self = data;

  while (!g_atomic_int_get (&self->stop)) {
    GstFlowReturn flow;
    GstBuffer *done;

    g_mutex_lock (&self->lock);
    flow = gst_harness_push (self->rig->frames,
        label_test_new_frame (self->n));
    g_mutex_unlock (&self->lock);
    g_assert_true (flow == GST_FLOW_OK || flow == GST_FLOW_FLUSHING);
    self->n += flow == GST_FLOW_OK;
    while ((done = gst_harness_try_pull (self->rig->frames)))
      gst_buffer_unref (done);
  }
  return NULL;
}

/* Pads come and go, with and without a flush or an end, while frames run. */
static void
test_commotion (void)
{
  Rig rig = label_test_new (NET_CLASS, "", FALSE);
  Feeder feeder = {.rig = &rig };
  GThread *frames;

  g_mutex_init (&feeder.lock);
  frames = g_thread_new ("frames", labels_feed, &feeder);
  for (guint round = 0; round < 40; round++) {
    Bringer bringer = {.n = 30 + round % 7 * 300,.step = 1 + round % 3,
      .gaps = round % 2,.eos = round % 4 == 0,.first = round * 50
    };
    g_autoptr (GstPad) pad = NULL;
    GThread *thread;

    bringer.h = gst_harness_new_with_element (rig.frames->element, "label",
        NULL);
    pad = gst_element_get_static_pad (rig.frames->element, "label");
    thread = g_thread_new ("labels", labels_bring, &bringer);
    while (round % 3 == 0 && g_atomic_int_get (&bringer.pushed) < 1)
      g_usleep (1000);
    g_usleep (round % 5 * 2000);
    if (round % 3 == 0)
      gst_harness_push_event (bringer.h, gst_event_new_flush_start ());
    if (round % 4 == 1) {
      gst_harness_push_event (rig.frames, gst_event_new_flush_start ());
      g_mutex_lock (&feeder.lock);
      labels_go_on (rig.frames);
      g_mutex_unlock (&feeder.lock);
    }
    gst_element_release_request_pad (rig.frames->element, pad);
    g_thread_join (thread);
    gst_harness_teardown (bringer.h);
  }
  g_atomic_int_set (&feeder.stop, TRUE);
  g_thread_join (frames);
  g_mutex_clear (&feeder.lock);
  g_assert_cmpuint (feeder.n, >, 40);
  label_test_free (&rig);
}

int
main (int argc, char **argv)
{
  element_test_init (&argc, &argv);
  g_test_add_func ("/labels/threads", test_threads);
  g_test_add_func ("/labels/sparse", test_sparse);
  g_test_add_func ("/labels/tolerance", test_tolerance);
  g_test_add_func ("/labels/late", test_late);
  g_test_add_func ("/labels/one-thread", test_one_thread);
  g_test_add_func ("/labels/bounded", test_bounded);
  g_test_add_func ("/labels/eos", test_eos);
  g_test_add_func ("/labels/flush-frames", test_flush_frames);
  g_test_add_func ("/labels/flush-labels", test_flush_labels);
  g_test_add_func ("/labels/release", test_release);
  g_test_add_func ("/labels/wait", test_wait);
  g_test_add_func ("/labels/live", test_live);
  g_test_add_func ("/labels/caps-change", test_caps_change);
  g_test_add_func ("/labels/again", test_again);
  g_test_add_func ("/labels/commotion", test_commotion);
  return element_test_run ();
}
